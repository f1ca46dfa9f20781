//! The run: one thing after another in virtual time, the earliest first.

use std::cmp::Ordering;
use std::collections::{BTreeSet, BinaryHeap};
use std::fmt;

use aftercast_protocol::ids::{DeviceId, RequestId};
use aftercast_protocol::score::Lie;
use aftercast_protocol::select::{Action, FailReason, Fetch, Source, SourceInfo};
use aftercast_protocol::time::{Micros, Mono};

use super::outcome::Outcome;
use super::player::{Player, Running, chunk_of, cid_of};
use super::policy::PolicyKind;
use super::scenario::Scenario;
use super::server::{Job, Packet, Server};
use crate::link::Verdict;
use crate::rng::Rng;

/// Lanes that a player may open to a source.
const LANES: u8 = 2;
/// How long it takes to look for holders.
const SEARCH: Micros = Micros::from_millis(500);

/// What happens.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// A player has something to do, or its policy.
    Wake { player: usize },
    /// A request reaches its source.
    Asked { server: usize, epoch: u32, job: Job },
    /// The word that a request ends before a group; 0 cancels it.
    Trimmed { server: usize, player: usize, id: RequestId, end: u32 },
    /// A player has closed its connection to a liar.
    Closed { server: usize, player: usize },
    /// A source's line is free.
    LineFree { server: usize },
    /// A group reaches the player's home.
    AtHome { packet: Packet },
    /// A group is here.
    Arrived { packet: Packet },
    /// A source says no.
    Refused { server: usize, epoch: u32, player: usize, id: RequestId, reason: FailReason },
    /// A search for holders is over.
    Searched { player: usize, chunk: u32 },
    /// A source's connections are lost; it is back after a time.
    Gone { server: usize, back: Option<Micros> },
    /// A source is connected again.
    Back { server: usize },
}

/// An event in the queue: the earliest first, then in the order of queueing.
struct Entry {
    at: Mono,
    number: u64,
    event: Event,
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Entry {}

/// A thing of note, for finding out why a run went as it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// A policy acted.
    Act(Action),
    /// A request failed.
    Failed(RequestId, FailReason),
    /// A source's connections were lost.
    Down(Source),
    /// A source was connected again.
    Up(Source),
}

/// For a person to read: chunks and sources by number.
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |source: &Source| place(*source).map_or("seed".to_owned(), |n| format!("holder {n}"));
        match self {
            Self::Act(Action::Request(fetch)) => {
                let due = fetch.deadline.0 as f64 / 1e6;
                let chunk = chunk_of(fetch.cid);
                write!(f, "request {} {}: chunk {chunk} {} due {due:.3}", fetch.id, name(&fetch.source), fetch.range)
            }
            Self::Act(Action::Trim { id, end }) => write!(f, "trim {id} to {end}"),
            Self::Act(Action::Cancel { id }) => write!(f, "cancel {id}"),
            Self::Act(Action::Ban { peer, lie }) => write!(f, "ban {}: {lie}", name(&Source::Peer(*peer))),
            Self::Act(Action::NeedHolders { cid }) => write!(f, "look for holders of chunk {}", chunk_of(*cid)),
            Self::Act(Action::Complete { cid }) => write!(f, "complete chunk {}", chunk_of(*cid)),
            Self::Act(Action::GaveUp { cid }) => write!(f, "give up chunk {}", chunk_of(*cid)),
            Self::Failed(id, reason) => write!(f, "failed {id}: {reason:?}"),
            Self::Down(source) => write!(f, "down {}", name(source)),
            Self::Up(source) => write!(f, "up {}", name(source)),
        }
    }
}

/// What happened when to which player, in order.
pub type Trace = Vec<(Mono, usize, Note)>;

pub(super) struct World {
    now: Mono,
    limit: Mono,
    queue: BinaryHeap<Entry>,
    count: u64,
    servers: Vec<Server>,
    seed: Option<usize>,
    players: Vec<Player>,
    bans: BTreeSet<(usize, Source)>,
    gave_up: Vec<(Mono, usize, u32)>,
    /// Who said to whom that it does not have a chunk.
    denied: BTreeSet<(usize, u32, Source)>,
    trace: Option<Trace>,
    events: u64,
}

/// The device of a holder, by its place in the scenario.
#[must_use]
pub fn holder(number: usize) -> Source {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&(number as u64).to_be_bytes());
    Source::Peer(DeviceId(id))
}

/// A holder's place in the scenario; none for the seed.
fn place(source: Source) -> Option<usize> {
    match source {
        Source::Seed => None,
        Source::Peer(DeviceId([a, b, c, d, e, f, g, h, ..])) => {
            usize::try_from(u64::from_be_bytes([a, b, c, d, e, f, g, h])).ok()
        }
    }
}

impl World {
    pub fn new(scenario: &Scenario, policy: PolicyKind, rng: Rng, traced: bool) -> Self {
        let mut specs: Vec<_> =
            scenario.holders.iter().cloned().enumerate().map(|(n, spec)| (holder(n), spec)).collect();
        let seed = scenario.seed.clone().map(|spec| {
            specs.push((Source::Seed, spec));
            specs.len() - 1
        });
        let servers =
            specs.into_iter().enumerate().map(|(n, (source, spec))| Server::new(n, source, spec, rng)).collect();
        let start = |(n, spec): (usize, &super::scenario::PlayerSpec)| {
            Player::new(n, spec.clone(), policy.start(rng, n as u64), rng)
        };
        let players = scenario.players.iter().enumerate().map(start).collect();
        Self {
            now: Mono(0),
            limit: scenario.limit,
            queue: BinaryHeap::new(),
            count: 0,
            servers,
            seed,
            players,
            bans: BTreeSet::new(),
            gave_up: Vec::new(),
            denied: BTreeSet::new(),
            trace: traced.then(Vec::new),
            events: 0,
        }
    }

    pub fn run(mut self) -> (Outcome, Trace) {
        for server in 0..self.servers.len() {
            for player in (0..self.players.len()).filter(|player| self.players[*player].downlink.is_some()) {
                self.servers[server].mind_window(player);
            }
            self.connect(server);
            for (at, back) in self.servers[server].spec.faults.gone.clone() {
                self.put(at, Event::Gone { server, back });
            }
        }
        (0..self.players.len()).for_each(|player| self.go_on(player));
        while let Some(entry) = self.queue.pop() {
            if entry.at > self.limit || self.players.iter().all(|player| player.viewer.is_over()) {
                break;
            }
            self.now = entry.at;
            self.events += 1;
            self.handle(entry.event);
        }
        self.now = self.now.min(self.limit);
        for player in &mut self.players {
            player.viewer.stop(self.now);
        }
        (
            Outcome::of(&self.players, &self.servers, &self.bans, self.gave_up, self.events),
            self.trace.unwrap_or_default(),
        )
    }

    fn put(&mut self, at: Mono, event: Event) {
        self.count += 1;
        self.queue.push(Entry { at, number: self.count, event });
    }

    fn note(&mut self, player: usize, note: Note) {
        if let Some(trace) = &mut self.trace {
            trace.push((self.now, player, note));
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Wake { player } => self.wake(player),
            Event::Asked { server, epoch, job } => self.asked(server, epoch, job),
            Event::Trimmed { server, player, id, end } => self.servers[server].trim(player, id, end),
            Event::Closed { server, player } => self.servers[server].close(player),
            Event::LineFree { server } => {
                self.servers[server].awaits_line = false;
                self.serve(server);
            }
            Event::AtHome { packet } => self.pass_downlink(packet),
            Event::Arrived { packet } => self.arrived(packet),
            Event::Refused { server, epoch, player, id, reason } => {
                if self.servers[server].epoch == epoch {
                    self.fail(player, id, reason);
                    self.go_on(player);
                }
            }
            Event::Searched { player, chunk } => {
                let (now, subject) = (self.now, &mut self.players[player]);
                if subject.awaits(chunk) {
                    subject.policy.handle_holders(now, cid_of(chunk), &subject.holders_of(chunk));
                }
                self.go_on(player);
            }
            Event::Gone { server, back } => self.gone(server, back),
            Event::Back { server } => {
                self.servers[server].up = true;
                self.connect(server);
                (0..self.players.len()).for_each(|player| self.go_on(player));
            }
        }
    }

    /// A source is connected to everybody that has not banned it.
    fn connect(&mut self, server: usize) {
        let (now, server) = (self.now, &self.servers[server]);
        let info = SourceInfo { lan: server.spec.lan, rtt: server.spec.rtt(), lanes: LANES };
        let source = server.source;
        for n in 0..self.players.len() {
            if self.bans.contains(&(n, source)) {
                continue;
            }
            self.note(n, Note::Up(source));
            let player = &mut self.players[n];
            player.sources.insert(source);
            player.policy.handle_source_up(now, source, info);
            for chunk in player.awaited() {
                player.policy.handle_holders(now, cid_of(chunk), &player.holders_of(chunk));
            }
        }
    }

    fn gone(&mut self, server: usize, back: Option<Micros>) {
        if !self.servers[server].up {
            return;
        }
        self.servers[server].go_down();
        let (now, source) = (self.now, self.servers[server].source);
        for n in 0..self.players.len() {
            let player = &mut self.players[n];
            if player.sources.remove(&source) {
                player.running.retain(|_, running| running.source != source);
                player.policy.handle_source_down(now, source);
                self.note(n, Note::Down(source));
                self.go_on(n);
            }
        }
        if let Some(back) = back {
            self.put(now + back, Event::Back { server });
        }
    }

    fn wake(&mut self, player: usize) {
        let subject = &mut self.players[player];
        subject.alarm = None;
        if subject.policy.poll_timeout().is_some_and(|at| at <= self.now) {
            subject.policy.handle_timeout(self.now);
        }
        self.go_on(player);
    }

    /// After anything that concerns a player: what it does now, what its policy says, and when to look again.
    fn go_on(&mut self, player: usize) {
        self.players[player].advance(self.now);
        self.obey(player);
        let subject = &mut self.players[player];
        let wake = subject.wake_at(self.now).into_iter().chain(subject.policy.poll_timeout()).min();
        // One alarm at most is ahead of the next wake-up; a later one that is queued already does no harm.
        if let Some(at) = wake
            && subject.alarm.is_none_or(|alarm| at < alarm)
        {
            let at = at.max(self.now);
            subject.alarm = Some(at);
            self.put(at, Event::Wake { player });
        }
    }

    fn obey(&mut self, player: usize) {
        while let Some(action) = self.players[player].policy.poll_action() {
            self.note(player, Note::Act(action));
            match action {
                Action::Request(fetch) => self.request(player, fetch),
                Action::Trim { id, end } => {
                    if let Some(running) = self.players[player].running.get_mut(&id) {
                        running.end = running.end.min(end);
                        let source = running.source;
                        self.tell_end(player, source, id, end);
                    }
                }
                Action::Cancel { id } => {
                    if let Some(running) = self.players[player].running.remove(&id) {
                        self.tell_end(player, running.source, id, 0);
                    }
                }
                Action::Ban { peer, .. } => self.ban(player, Source::Peer(peer)),
                Action::NeedHolders { cid } => {
                    self.put(self.now + SEARCH, Event::Searched { player, chunk: chunk_of(cid) });
                }
                Action::Complete { cid } => {
                    let held = self.players[player].store.get(&chunk_of(cid));
                    assert!(held.is_some_and(|held| held.groups.is_complete()), "{cid} is called complete and is not");
                }
                Action::GaveUp { cid } => {
                    let chunk = chunk_of(cid);
                    let holders = self.players[player].holders_of(chunk);
                    self.gave_up.push((self.now, player, chunk));
                    let denied = |source: &Source| self.denied.contains(&(player, chunk, *source));
                    assert!(holders.iter().all(denied), "chunk {chunk} is given up too soon");
                }
            }
        }
    }

    fn server_of(&self, source: Source) -> usize {
        place(source).or(self.seed).expect("a policy knows of a seed only where there is one")
    }

    fn request(&mut self, player: usize, fetch: Fetch) {
        let server = self.server_of(fetch.source);
        let subject = &mut self.players[player];
        assert!(subject.sources.contains(&fetch.source), "asked one that is not connected: {fetch:?}");
        let chunk = chunk_of(fetch.cid);
        let held = subject.store.get(&chunk).expect("what is asked for is wanted");
        assert!(!fetch.range.is_empty() && fetch.range.end <= held.groups.groups(), "{fetch:?}");
        subject.requests += 1;
        subject.running.insert(fetch.id, Running { source: fetch.source, chunk, end: fetch.range.end });
        let job = Job {
            player,
            id: fetch.id,
            chunk,
            len: held.len,
            next: fetch.range.start,
            end: fetch.range.end,
            hashes: fetch.want_hashes,
            begun: false,
        };
        let at = self.now + self.servers[server].way();
        let epoch = self.servers[server].epoch;
        self.put(at, Event::Asked { server, epoch, job });
    }

    /// A word to a source that a request ends sooner.
    fn tell_end(&mut self, player: usize, source: Source, id: RequestId, end: u32) {
        let server = self.server_of(source);
        let at = self.now + self.servers[server].way();
        self.put(at, Event::Trimmed { server, player, id, end });
    }

    fn ban(&mut self, player: usize, source: Source) {
        self.bans.insert((player, source));
        self.players[player].sources.remove(&source);
        let server = self.server_of(source);
        let at = self.now + self.servers[server].way();
        self.put(at, Event::Closed { server, player });
    }

    fn asked(&mut self, server: usize, epoch: u32, job: Job) {
        let subject = &mut self.servers[server];
        if !subject.up || subject.epoch != epoch {
            return;
        }
        match subject.accept(job) {
            Ok(()) => self.serve(server),
            Err(reason) => {
                let at = self.now + subject.way();
                self.put(at, Event::Refused { server, epoch, player: job.player, id: job.id, reason });
            }
        }
    }

    /// Sends the next group as soon as the line is free.
    fn serve(&mut self, server: usize) {
        while !self.servers[server].awaits_line
            && let Some(at) = self.servers[server].free_at(self.now)
        {
            if at > self.now {
                self.servers[server].awaits_line = true;
                self.put(at, Event::LineFree { server });
            } else if let Some((packet, Some(at))) = self.servers[server].send(self.now, server) {
                self.put(at, Event::AtHome { packet });
            }
        }
    }

    fn pass_downlink(&mut self, packet: Packet) {
        let now = self.now;
        let arrival = match &mut self.players[packet.player].downlink {
            None => return self.arrived(packet),
            Some(downlink) => match downlink.offer(now, packet.wire_bytes()) {
                Verdict::Deliver(at) => at,
                Verdict::Lost | Verdict::Full => unreachable!("streams lose nothing, and all may wait"),
            },
        };
        if arrival < Mono(u64::MAX) {
            self.put(arrival, Event::Arrived { packet });
        }
    }

    fn arrived(&mut self, packet: Packet) {
        let now = self.now;
        self.servers[packet.server].settle(&packet);
        self.serve(packet.server);
        let (server, player) = (&mut self.servers[packet.server], &mut self.players[packet.player]);
        let traffic = &mut server.traffic;
        let running = player.running.get(&packet.id).filter(|running| packet.index.0 < running.end);
        let Some(running) = running.filter(|_| packet.epoch == server.epoch).copied() else {
            traffic.wasted += packet.wire_bytes();
            return;
        };
        traffic.overhead += packet.extra;
        if packet.is_false {
            traffic.false_bytes += packet.bytes;
            self.tell_end(packet.player, running.source, packet.id, 0);
            self.fail(packet.player, packet.id, FailReason::BadData(Lie::Group));
            return self.go_on(packet.player);
        }
        let cid = cid_of(packet.chunk);
        if packet.hashes
            && let Some(held) = player.store.get_mut(&packet.chunk)
        {
            held.hashes = true;
            player.policy.handle_hashes(now, cid, held.len);
        }
        let fresh = player.take_group(now, packet.chunk, packet.index);
        *(if fresh { &mut traffic.useful } else { &mut traffic.duplicate }) += packet.bytes;
        player.policy.handle_group(now, packet.id, packet.index, packet.bytes);
        self.obey(packet.player);
        let player = &mut self.players[packet.player];
        if packet.index.0 + 1 >= running.end && player.running.remove(&packet.id).is_some() {
            player.policy.handle_request_done(now, packet.id);
        }
        self.go_on(packet.player);
    }

    fn fail(&mut self, player: usize, id: RequestId, reason: FailReason) {
        if let Some(running) = self.players[player].running.remove(&id) {
            self.note(player, Note::Failed(id, reason));
            if reason == FailReason::NotFound {
                self.denied.insert((player, running.chunk, running.source));
            }
            self.players[player].policy.handle_request_failed(self.now, id, reason);
            self.obey(player);
        }
    }
}
