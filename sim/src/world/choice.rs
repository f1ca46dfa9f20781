//! Whom a viewing asks for what is open: the rules that ship ([`aftercast_protocol::select::rules`]), and the ones they
//! are compared with.
//!
//! A device decides piece by piece, some hundred times a chunk; here it is done once for each chunk, as a fluid:
//!
//! - What has time goes whole to the source of the best rank, if that one is in time.
//! - What is urgent, or what nobody alone brings in time, is dealt out so that all sources end together, which is what
//!   many small pieces, each to the earliest, come to.
//! - From the seed's takeover time on, it takes what is open, and what peers would bring too late.

use aftercast_protocol::select::rules::{Outlook, Rank, seed_lead};
use aftercast_protocol::select::{Source, SourceInfo};
use aftercast_protocol::time::{Micros, Mono};
use aftercast_protocol::{ids::DeviceId, limits::MAX_LANES};

use super::World;
use super::clock::{SECOND, Time};
use super::fetch::GROUP;
use super::model::Model;
use super::session::{Chunk, Peer, Session};
use super::why::Why;
use crate::exchange::PolicyKind;
use crate::exchange::baseline::{deadlines, in_order, windows};
use crate::rng::Purpose;

/// How far ahead of the picture a rule fetches.
pub fn read_ahead(model: &Model) -> Time {
    match model.policy {
        PolicyKind::Windows => windows::WINDOW.0,
        _ => model.read_ahead,
    }
}

/// A source that could be asked.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    /// Place among the peers; none: the seed.
    peer: Option<usize>,
    rank: Rank,
    in_time: bool,
    outlook: Outlook,
}

/// Who could bring a chunk, and what keeps the others from it.
#[derive(Debug, Default)]
pub(super) struct Found {
    candidates: Vec<Candidate>,
    /// Connected holders.
    holders: usize,
    /// Holders that have their hands full or may not send.
    busy: usize,
    /// Bytes per second that all holders are thought to carry together.
    together: u64,
}

impl Found {
    fn clear(&mut self) {
        self.candidates.clear();
        (self.holders, self.busy, self.together) = (0, 0, 0);
    }
}

impl World<'_> {
    /// Asks whoever is to be asked for the chunks under way; gives when to look again.
    pub(super) fn choose(&mut self, place: u32, session: &mut Session) -> Time {
        let mut again = match self.model.policy {
            PolicyKind::SeedOnly => Time::MAX,
            _ => self.gather(session),
        };
        let mut found = std::mem::take(&mut self.found);
        // No chunk is complete, or opened, by asking for parts of it.
        for number in 0..session.chunks.len() {
            let chunk = session.chunks[number];
            let look = match self.model.policy {
                PolicyKind::Ours => self.ours(place, session, chunk, &mut found),
                PolicyKind::SeedOnly => self.all_from_seed(place, session, chunk, Why::Rule),
                PolicyKind::InOrder => self.in_order(place, session, chunk, &mut found),
                PolicyKind::Windows => self.windows(place, session, chunk, &mut found),
                PolicyKind::Deadlines => self.deadlines(place, session, chunk, &mut found),
            };
            again = again.min(look);
        }
        self.found = found;
        let ready = session.peers.iter().map(|peer| peer.ready).filter(|ready| *ready > self.now).min();
        again.min(ready.unwrap_or(Time::MAX))
    }

    fn ours(&mut self, place: u32, session: &mut Session, chunk: Chunk, found: &mut Found) -> Time {
        let now = Mono(self.now);
        let deadline = Mono(session.deadline(chunk.index, self.model.chunk));
        let missing = chunk.open + self.left_of_chunk(session, chunk);
        let seed = self.seed_outlook(session);
        let expected = seed.arrival(now, missing) - now;
        let alone = !session.peers.iter().any(|peer| self.is_holder(peer, chunk.index));
        let lead = seed_lead(&self.model.select, expected, alone);
        let takeover = Mono(deadline.0.saturating_sub(lead.0));
        let due = takeover <= now;
        if due {
            self.take_late(place, session, chunk.index, deadline);
        }
        let Some(chunk) = session.chunk(chunk.index).copied().filter(|chunk| chunk.open > 0) else {
            return self.look_again(takeover);
        };
        self.find(session, chunk, deadline, found);
        if due {
            let arrival = seed.arrival(now, chunk.open);
            let in_time = arrival <= deadline;
            let rank = Rank::new(Source::Seed, &info(seed.rtt), arrival, in_time, false);
            found.candidates.push(Candidate { peer: None, rank, in_time, outlook: seed });
        }
        let best = found.candidates.iter().min_by_key(|candidate| candidate.rank);
        let Some(best) = best.copied() else { return self.look_again(takeover) };
        let urgent = deadline <= now + self.model.select.urgent;
        let why = if due { self.reason(session, chunk, found) } else { chunk.why };
        if best.in_time && (!urgent || best.peer.is_none()) {
            self.ask_one(place, session, chunk.index, best, chunk.open, why);
        } else {
            found.candidates.retain(|candidate| candidate.in_time || !best.in_time);
            for (candidate, bytes) in deal(now, chunk.open, &found.candidates) {
                self.ask_one(place, session, chunk.index, candidate, bytes, why);
            }
        }
        self.look_again(takeover)
    }

    /// Why the seed is asked now.
    fn reason(&self, session: &Session, chunk: Chunk, found: &Found) -> Why {
        let rate = self.model.byte_rate();
        match chunk.why {
            Why::Hash | Why::Jump => chunk.why,
            _ if session.base == 0 && self.now < session.anchor + self.model.select.urgent.0 => Why::Start,
            _ if found.holders == 0 && session.unreached > 0 => Why::Unreachable,
            _ if found.holders == 0 => Why::Cold,
            _ if found.busy == found.holders => Why::Busy,
            _ if found.together < rate => Why::Overload,
            _ => Why::Late,
        }
    }

    /// Takes from peers what they would bring too late.
    fn take_late(&mut self, place: u32, session: &mut Session, index: u32, deadline: Mono) {
        let now = self.now;
        let mut late = Vec::new();
        for peer in &session.peers {
            let rate = peer.outlook.rate;
            let mut ahead = 0;
            for part in peer.queue.as_slice() {
                let left = self.left_of(*part);
                ahead += left;
                let of_chunk =
                    self.parts[*part].owner == super::session::Owner::Viewing { session: place, chunk: index };
                // The group that is on its way is worth waiting for.
                if of_chunk && left > GROUP && now + ahead * SECOND / rate > deadline.0 {
                    late.push(*part);
                }
            }
        }
        for part in late {
            self.withdraw(session, part);
        }
    }

    /// Bytes of a chunk that peers and the seed still owe.
    fn left_of_chunk(&mut self, session: &Session, chunk: Chunk) -> u64 {
        if chunk.coming == 0 {
            return 0;
        }
        let of_chunk = |owner| matches!(owner, super::session::Owner::Viewing { chunk: of, .. } if of == chunk.index);
        let mut left = 0;
        for part in session.peers.iter().flat_map(|peer| peer.queue.as_slice()) {
            if of_chunk(self.parts[*part].owner) {
                left += self.left_of(*part);
            }
        }
        left
    }

    fn seed_outlook(&self, session: &Session) -> Outlook {
        let line = &session.line;
        let rtt = Micros(line.rtt + self.model.seed_rtt);
        let rate = line.down.min(self.model.egress.unwrap_or(u64::MAX)).max(1);
        Outlook { rtt, rate, ahead: 0, doubt: Micros(0) }
    }

    /// Whether a source is connected and has a chunk.
    fn is_holder(&self, peer: &Peer, index: u32) -> bool {
        !peer.done && peer.ready <= self.now && self.has(&peer.holding, index)
    }

    /// Connected holders of a chunk that could take what is open of it now.
    fn find(&self, session: &Session, chunk: Chunk, deadline: Mono, found: &mut Found) {
        let (now, bytes) = (Mono(self.now), chunk.open);
        found.clear();
        for (place, peer) in session.peers.iter().enumerate() {
            if !self.is_holder(peer, chunk.index) {
                continue;
            }
            found.holders += 1;
            if !peer.gives || peer.queue.is_full() || !self.fleet.may_send(self.model, peer.home) {
                found.busy += 1;
                continue;
            }
            let outlook = peer.outlook;
            found.together += outlook.rate;
            let arrival = outlook.arrival(now, bytes);
            let in_time = arrival <= deadline;
            let rank = Rank::new(Source::Peer(device(peer.home)), &info(outlook.rtt), arrival, in_time, false);
            found.candidates.push(Candidate { peer: Some(place), rank, in_time, outlook });
        }
    }

    fn ask_one(&mut self, place: u32, session: &mut Session, index: u32, from: Candidate, bytes: u64, why: Why) {
        let expected = from.outlook.arrival(Mono(self.now), bytes).0 - self.now;
        match from.peer {
            Some(peer) => self.ask(place, session, peer, index, bytes, expected),
            None => self.ask_seed(place, session, index, bytes, why),
        }
    }

    fn all_from_seed(&mut self, place: u32, session: &mut Session, chunk: Chunk, why: Why) -> Time {
        if chunk.open > 0 {
            self.ask_seed(place, session, chunk.index, chunk.open, why);
        }
        Time::MAX
    }

    fn in_order(&mut self, place: u32, session: &mut Session, chunk: Chunk, found: &mut Found) -> Time {
        let deadline = session.deadline(chunk.index, self.model.chunk);
        let late = deadline.saturating_sub(in_order::LATE.0);
        self.find(session, chunk, Mono(Time::MAX), found);
        if late <= self.now || found.holders == 0 {
            let why = self.reason(session, chunk, found);
            self.take_all(place, session, chunk.index);
            let open = session.chunk(chunk.index).map_or(0, |chunk| chunk.open);
            if open > 0 {
                self.ask_seed(place, session, chunk.index, open, why);
            }
            return Time::MAX;
        }
        let idle: Vec<_> = found.candidates.iter().filter(|other| other.outlook.ahead == 0).collect();
        if chunk.open > 0 && !idle.is_empty() {
            let drawn = self.draw(session, chunk, idle.len());
            self.ask_one(place, session, chunk.index, *idle[drawn], chunk.open, chunk.why);
        }
        self.look_again(Mono(late))
    }

    fn windows(&mut self, place: u32, session: &mut Session, chunk: Chunk, found: &mut Found) -> Time {
        let deadline = session.deadline(chunk.index, self.model.chunk);
        if chunk.open == 0 {
            return Time::MAX;
        }
        if deadline <= self.now + windows::HIGH_DEMAND.0 {
            return self.all_from_seed(place, session, chunk, Why::Rule);
        }
        self.find(session, chunk, Mono(Time::MAX), found);
        let busy: usize = session.peers.iter().map(|peer| peer.queue.as_slice().len()).sum();
        let least = found.candidates.iter().map(|other| other.outlook.ahead).min();
        let idle: Vec<_> = found.candidates.iter().filter(|other| Some(other.outlook.ahead) == least).collect();
        if busy < windows::PEER_REQUESTS && !idle.is_empty() {
            let drawn = self.draw(session, chunk, idle.len());
            self.ask_one(place, session, chunk.index, *idle[drawn], chunk.open, chunk.why);
        }
        self.look_again(Mono(deadline - windows::HIGH_DEMAND.0))
    }

    fn deadlines(&mut self, place: u32, session: &mut Session, chunk: Chunk, found: &mut Found) -> Time {
        if chunk.open == 0 {
            return Time::MAX;
        }
        let now = Mono(self.now);
        self.find(session, chunk, Mono(Time::MAX), found);
        let outlook = self.seed_outlook(session);
        let rank = Rank::new(Source::Seed, &info(outlook.rtt), outlook.arrival(now, chunk.open), true, false);
        found.candidates.push(Candidate { peer: None, rank, in_time: true, outlook });
        let queue = |other: &Candidate| other.outlook.transfer_time(other.outlook.ahead).0;
        found.candidates.retain(|other| queue(other) <= deadlines::LONGEST_QUEUE.0);
        for (candidate, bytes) in deal(now, chunk.open, &found.candidates) {
            self.ask_one(place, session, chunk.index, candidate, bytes, Why::Rule);
        }
        self.now + SECOND
    }

    /// Takes everything of a chunk from peers.
    fn take_all(&mut self, place: u32, session: &mut Session, index: u32) {
        let owner = super::session::Owner::Viewing { session: place, chunk: index };
        let parts = session.peers.iter().flat_map(|peer| peer.queue.as_slice()).copied();
        let parts: Vec<u32> = parts.filter(|part| self.parts[*part].owner == owner).collect();
        for part in parts {
            self.withdraw(session, part);
        }
    }

    fn draw(&self, session: &Session, chunk: Chunk, among: usize) -> usize {
        let occasion = (self.now << 12) ^ u64::from(chunk.index);
        self.rng.below(among as u64, Purpose::Choice, session.number, occasion) as usize
    }
}

/// Deals bytes out so that all end together: sources join in the order in which they could begin. In whole groups; who
/// would get less than one gets none.
fn deal(now: Mono, bytes: u64, candidates: &[Candidate]) -> Vec<(Candidate, u64)> {
    let mut starts: Vec<(Time, Candidate)> =
        candidates.iter().map(|candidate| (candidate.outlook.arrival(now, 0).0 - now.0, *candidate)).collect();
    starts.sort_by_key(|(start, candidate)| (*start, candidate.rank));
    let (mut rates, mut owed) = (0u128, u128::from(bytes) * u128::from(SECOND));
    let mut ends = u128::MAX;
    let mut taking = 0;
    for (start, candidate) in &starts {
        if u128::from(*start) >= ends {
            break;
        }
        rates += u128::from(candidate.outlook.rate.max(1));
        owed += u128::from(*start) * u128::from(candidate.outlook.rate.max(1));
        ends = owed / rates;
        taking += 1;
    }
    let mut left = bytes;
    let mut shares = Vec::with_capacity(taking);
    for (start, candidate) in starts.into_iter().take(taking) {
        let time = ends.saturating_sub(u128::from(start));
        let share = (time * u128::from(candidate.outlook.rate) / u128::from(SECOND)) as u64 / GROUP * GROUP;
        let share = share.min(left);
        if share > 0 {
            left -= share;
            shares.push((candidate, share));
        }
    }
    match shares.first_mut() {
        // What rounding left goes to whom begins first.
        Some((_, share)) => *share += left,
        None => shares.extend(candidates.iter().min_by_key(|candidate| candidate.rank).map(|best| (*best, bytes))),
    }
    shares
}

fn info(rtt: Micros) -> SourceInfo {
    SourceInfo { lan: false, rtt, lanes: MAX_LANES }
}

/// A device's name for the rules, which only tell names apart.
pub fn device(home: u32) -> DeviceId {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&home.to_be_bytes());
    DeviceId(id)
}
