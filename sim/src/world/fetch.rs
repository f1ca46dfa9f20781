//! How a viewing gets its chunks: which are wanted, what arrives, what breaks off.

use std::ops::Range;

use aftercast_protocol::limits::GROUP_BYTES;
use aftercast_protocol::select::rules::Outlook;
use aftercast_protocol::time::{Micros, Mono};

use super::clock::{SECOND, Time};
use super::fleet::Traits;
use super::holding::Holding;
use super::session::{Chunk, Owner, Part, Peer, Queue, SEED, Session};
use super::why::Why;
use super::{Event, World};
use crate::rng::Purpose;

/// Bytes of a group.
pub(super) const GROUP: u64 = GROUP_BYTES as u64;
/// Media that a player wants before it shows a picture.
const FIRST_MEDIA: Time = SECOND / 2;
/// A recording is played from the network no sooner than this after it was broadcast: it has to be confirmed.
const PUBLISHED: Time = 3 * SECOND;
/// More holders are looked for at most this often.
const PROBE_EVERY: Time = 10 * SECOND;
/// Recorders that are looked at in one search, for each holder that is wanted.
const LOOKED_AT: usize = 8;
/// Shortest time between two looks at what may be late.
const LOOK_AGAIN: Time = SECOND / 4;
/// What a connection costs beside its round trips where a hole has to be punched.
const HOLE: Time = SECOND / 2;

impl World<'_> {
    /// A viewing begins.
    pub(super) fn begin(&mut self, mut session: Box<Session>) {
        let now = self.now;
        let here = session.own.is_some_and(|own| self.has(&own, 0));
        self.tally.began(&session);
        let started = if here {
            now + self.model.player
        } else {
            let line = session.line;
            let rtt = line.rtt + self.model.seed_rtt;
            let bytes = self.model.head_bytes;
            let picture =
                (bytes * FIRST_MEDIA.min(self.model.chunk) / self.model.chunk).next_multiple_of(GROUP).min(bytes);
            // One round trip to begin the viewing, which says what to ask for, and one for that.
            let first = 2 * rtt + self.answers(&session) + picture * SECOND / line.down.max(1);
            self.count_seed(&mut session, bytes, Why::Start, now + rtt + bytes * SECOND / line.down.max(1));
            // The small first piece stands for the first chunk.
            (session.head, session.next) = (true, 1);
            now + self.model.player + first
        };
        self.tally.started(&session, started - now);
        session.anchor = started;
        let place = self.sessions.put(None);
        self.pump(place, session);
    }

    /// What the two answers at the beginning of a viewing take beside the lines.
    fn answers(&self, session: &Session) -> Time {
        let answer = |number| -self.rng.unit(Purpose::Answer, session.number, number).ln() * self.model.answer as f64;
        (answer(0) + answer(1)) as Time
    }

    /// When a chunk can be had from others.
    fn published(&self, session: &Session, index: u32) -> Time {
        session.begins + (u64::from(index) + 1) * self.model.chunk + PUBLISHED
    }

    /// Does what there is to do for a viewing, and puts it back into its place.
    pub(super) fn pump(&mut self, place: u32, mut session: Box<Session>) {
        let now = self.now;
        let opens = self.open(&mut session);
        if session.chunks.is_empty() && session.next >= session.until && session.left == 0 {
            let heads = u64::from(session.head);
            let wanted = (u64::from(session.watched) - heads) * self.model.chunk_bytes + heads * self.model.head_bytes;
            self.tally.ended(&session, u64::from(session.watched) * self.model.chunk, wanted);
            self.sessions[place] = None;
            self.sessions.free(place);
            return;
        }
        let looks = if session.chunks.is_empty() { Time::MAX } else { self.choose(place, &mut session) };
        // An event that comes too early looks again; one that is too late would not.
        let wakes = opens.min(looks).max(now + 1);
        if wakes < session.wakes {
            session.wakes = wakes;
            self.calendar.push(wakes, Event::Wake { place });
        }
        self.sessions[place] = Some(session);
    }

    /// A viewing is due, unless that has changed.
    pub(super) fn on_wake(&mut self, place: u32) {
        if self.sessions[place].as_ref().is_none_or(|session| session.wakes != self.now) {
            return;
        }
        if let Some(mut session) = self.sessions[place].take() {
            session.wakes = Time::MAX;
            self.pump(place, session);
        }
    }

    /// Opens what is within the read-ahead; gives when there is more to open.
    fn open(&mut self, session: &mut Session) -> Time {
        let (now, chunk) = (self.now, self.model.chunk);
        loop {
            if session.next >= session.until {
                if session.left == 0 || !session.chunks.is_empty() {
                    return Time::MAX;
                }
                let reached = session.deadline(session.until, chunk);
                if reached > now {
                    return reached;
                }
                self.jump(session);
            }
            let run = session.own.map_or(0, |own| self.run_of(&own, session.next..session.until));
            if run > 0 {
                self.play_own(session, run);
                continue;
            }
            let index = session.next;
            let published = self.published(session, index);
            let wanted = session.deadline(index, chunk).saturating_sub(self.read_ahead()).max(published);
            if wanted > now {
                return wanted;
            }
            session.next += 1;
            self.tally.chunks += 1;
            let why = if session.jumped.is_some() { Why::Jump } else { Why::Late };
            let open = self.model.chunk_bytes;
            session.chunks.push_back(Chunk { index, since: now, last: 0, open, coming: 0, why });
            if session.jumped.is_some() {
                // What comes after it has time until the picture is there.
                return Time::MAX;
            }
        }
    }

    /// How many of these chunks, from the first on, are there.
    fn run_of(&self, own: &Holding, indexes: Range<u32>) -> u32 {
        indexes.take_while(|index| self.has(own, *index)).map(|_| 1).sum()
    }

    /// The next so many chunks come from the viewer's own disk.
    fn play_own(&mut self, session: &mut Session, chunks: u32) {
        let now = self.now;
        self.tally.local(session, u64::from(chunks) * self.model.chunk_bytes, now);
        self.tally.chunks += u64::from(chunks);
        if let Some(since) = session.jumped.take() {
            session.anchor = now + self.model.player;
            self.tally.jumped(session, now + self.model.player - since);
        }
        session.next += chunks;
    }

    /// The viewer jumps to another place.
    fn jump(&mut self, session: &mut Session) {
        let now = self.now;
        session.jumps += 1;
        let broadcast =
            (now.saturating_sub(session.begins + PUBLISHED) / self.model.chunk).min(u64::from(self.model.chunks()));
        let broadcast = u32::try_from(broadcast).unwrap_or(u32::MAX).max(1);
        let target = self.rng.below(u64::from(broadcast), Purpose::Seek, session.number, u64::from(session.jumps));
        let target = target as u32;
        let watch = self.until_jump(session).min(session.left).min(self.model.chunks() - target);
        (session.base, session.next, session.until) = (target, target, target + watch.max(1));
        session.left -= watch.max(1).min(session.left);
        session.anchor = now;
        session.jumped = Some(now);
    }

    /// Chunks that are watched before the next jump.
    pub(super) fn until_jump(&self, session: &Session) -> u32 {
        if self.model.seeks_per_hour <= 0.0 {
            return u32::MAX;
        }
        let even = self.rng.unit(Purpose::Seek, session.number, (1 << 32) + u64::from(session.jumps));
        let hours = -even.ln() / self.model.seeks_per_hour;
        (hours * 3600.0 * SECOND as f64 / self.model.chunk as f64) as u32 + 1
    }

    /// Connects to more holders where there are few; gives when to do so again.
    pub(super) fn gather(&mut self, session: &mut Session) -> Time {
        let now = self.now;
        let live = session.peers.iter().filter(|peer| !peer.done).count();
        let recorders = self.catalogue.recorders(session.programme);
        let there = recorders.len();
        if live >= self.model.holders || session.probed as usize >= there {
            return Time::MAX;
        }
        if now < session.probe_at {
            return session.probe_at;
        }
        session.probe_at = now + PROBE_EVERY;
        let first = self.rng.below(there as u64, Purpose::Probe, session.number, 0) as usize;
        let mut wanted = self.model.holders - live;
        let mut looks = self.model.holders * LOOKED_AT;
        while wanted > 0 && looks > 0 && (session.probed as usize) < there {
            let home = self.catalogue.recorders(session.programme)[(first + session.probed as usize) % there];
            (session.probed, looks) = (session.probed + 1, looks - 1);
            // The seed names those that are connected to it.
            let known = home == session.home || session.peers.iter().any(|peer| peer.home == home);
            if known || !self.fleet.is_on(self.model, home, now) {
                continue;
            }
            wanted -= 1;
            self.tally.probes += 1;
            if !self.fleet.meet(self.model, home, session.home) {
                session.unreached += 1;
                continue;
            }
            let rtt = self.fleet.line(self.model, home).rtt + session.line.rtt;
            // Dial and lanes take two round trips, and a hole its time.
            let routed = self.fleet.homes[home as usize].reach > 0 && self.fleet.homes[session.home as usize].reach > 0;
            let ready = now + 2 * rtt + if routed { HOLE } else { 0 };
            session.peers.push(Peer {
                home,
                ready,
                outlook: Outlook { rtt: Micros(rtt), rate: self.model.select.peer_rate, ahead: 0, doubt: Micros(0) },
                score: Default::default(),
                done: false,
                queue: Default::default(),
                holding: self.holding(home, session.programme),
                gives: self.gives(home),
            });
        }
        session.peers.retain(|peer| !peer.done || !peer.queue.as_slice().is_empty());
        session.probe_at
    }

    /// Whether a home sends anything.
    fn gives(&self, home: u32) -> bool {
        !self.fleet.homes[home as usize].traits.has(Traits::FREE_RIDER) && self.fleet.uplink(self.model, home) > 0
    }

    /// Asks a connected source for a part of a chunk.
    pub(super) fn ask(
        &mut self,
        place: u32,
        session: &mut Session,
        peer: usize,
        index: u32,
        bytes: u64,
        expected: Time,
    ) {
        let now = self.now;
        let source = &mut session.peers[peer];
        let polluter = self.fleet.homes[source.home as usize].traits.has(Traits::POLLUTER);
        // The first false group ends it.
        let sent = if polluter { bytes.min(GROUP) } else { bytes };
        let owner = Owner::Viewing { session: place, chunk: index };
        let part = Part { owner, from: source.home, transfer: None, bytes: sent, since: now, asked: now, expected };
        let part = self.parts.put(part);
        source.outlook.ahead += sent;
        let alone = source.queue.as_slice().is_empty();
        source.queue.push(part);
        if let Some(chunk) = session.chunk(index) {
            chunk.open -= sent;
            chunk.coming += sent;
        }
        if alone {
            self.send(part);
        }
    }

    /// Asks the seed for a part of a chunk.
    pub(super) fn ask_seed(&mut self, place: u32, session: &mut Session, index: u32, bytes: u64, why: Why) {
        let now = self.now;
        let owner = Owner::Viewing { session: place, chunk: index };
        let line = session.line;
        let rtt = line.rtt + self.model.seed_rtt;
        if let Some(chunk) = session.chunk(index) {
            (chunk.open, chunk.coming, chunk.why) = (chunk.open - bytes, chunk.coming + bytes, why);
        }
        let part = Part { owner, from: SEED, transfer: None, bytes, since: now, asked: now, expected: rtt };
        let part = self.parts.put(part);
        if self.model.egress.is_some() {
            self.send(part);
        } else {
            let at = now + rtt + bytes * SECOND / line.down.max(1);
            self.calendar.push(at, Event::Arrived { part });
        }
    }

    /// All bytes of a part are there.
    pub(super) fn arrived(&mut self, part: u32) {
        let Part { owner, from, bytes, since, asked, expected, .. } = self.parts[part];
        self.parts.free(part);
        match owner {
            Owner::Upload { channel, index } => self.uploaded(channel, index, from, bytes),
            Owner::Viewing { session: place, chunk } => {
                let Some(mut session) = self.sessions[place].take() else { return };
                if from == SEED {
                    let why = session.chunk(chunk).map_or(Why::Late, |chunk| chunk.why);
                    self.count_seed(&mut session, bytes, why, self.now);
                    self.note_delivery(&session, chunk, bytes, true);
                } else {
                    self.came(&mut session, (part, chunk), from, bytes, (since, asked, expected));
                    self.next_in_queue(&mut session, from);
                }
                if from != SEED && self.fleet.homes[from as usize].traits.has(Traits::POLLUTER) {
                    self.reopen(&mut session, chunk, bytes, 0);
                    if let Some(chunk) = session.chunk(chunk) {
                        chunk.why = Why::Hash;
                    }
                } else {
                    self.settle(&mut session, chunk, bytes, from);
                }
                self.pump(place, session);
            }
        }
    }

    /// What a source sent, whole.
    fn came(&mut self, session: &mut Session, what: (u32, u32), from: u32, bytes: u64, times: (Time, Time, Time)) {
        let ((part, chunk), (since, asked, expected)) = (what, times);
        let now = self.now;
        self.fleet.send(from, bytes, now, now >= self.model.measured_from);
        let polluter = self.fleet.homes[from as usize].traits.has(Traits::POLLUTER);
        if polluter {
            self.tally.thrown(session, bytes);
        } else {
            self.tally.peer(session, bytes, now);
            self.note_delivery(session, chunk, bytes, false);
        }
        let Some(peer) = session.peer(from) else { return };
        peer.outlook.ahead -= bytes;
        peer.queue.remove(part);
        if polluter {
            self.tally.banned += 1;
            peer.done = true;
            return;
        }
        peer.sent(bytes, Micros((now - since).max(1)), Micros(expected), Micros(now - asked));
    }

    /// The next part that a source was asked for goes on its line.
    fn next_in_queue(&mut self, session: &mut Session, from: u32) {
        let next = session.peer(from).and_then(|peer| peer.queue.as_slice().first().copied());
        if let Some(part) = next.filter(|part| self.parts[*part].transfer.is_none()) {
            self.send(part);
        }
    }

    /// A part broke off; `left` bytes of it are missing.
    pub(super) fn broken(&mut self, part: u32, left: u64) {
        let Part { owner, from, bytes, .. } = self.parts[part];
        self.parts.free(part);
        match owner {
            Owner::Upload { channel, index } => self.upload_broken(channel, index, from, bytes, left),
            Owner::Viewing { session: place, chunk } => {
                let Some(mut session) = self.sessions[place].take() else { return };
                self.give_up(&mut session, part, chunk, bytes, left);
                let mut waiting = Queue::default();
                if let Some(peer) = session.peer(from) {
                    peer.done = true;
                    waiting = std::mem::take(&mut peer.queue);
                }
                for &part in waiting.as_slice() {
                    let Part { owner, bytes, .. } = self.parts[part];
                    self.parts.free(part);
                    if let Owner::Viewing { chunk, .. } = owner {
                        self.give_up(&mut session, part, chunk, bytes, bytes);
                    }
                }
                self.pump(place, session);
            }
        }
    }

    /// Takes a part from a source in favour of another one; gives the bytes that are open again.
    pub(super) fn withdraw(&mut self, session: &mut Session, part: u32) -> u64 {
        let Part { owner, from, bytes, .. } = self.parts[part];
        let left = self.take_back(part);
        self.parts.free(part);
        let Owner::Viewing { chunk, .. } = owner else { return 0 };
        let open = self.give_up(session, part, chunk, bytes, left);
        self.next_in_queue(session, from);
        open
    }

    /// A part ends early: whole groups of it are here.
    fn give_up(&mut self, session: &mut Session, part: u32, index: u32, bytes: u64, left: u64) -> u64 {
        let from = self.parts[part].from;
        let now = self.now;
        let got = (bytes - left) / GROUP * GROUP;
        self.fleet.send(from, bytes - left, now, now >= self.model.measured_from);
        self.tally.peer(session, got, now);
        self.note_delivery(session, index, got, false);
        self.tally.thrown(session, bytes - left - got);
        if let Some(peer) = session.peer(from) {
            peer.outlook.ahead -= bytes;
            peer.queue.remove(part);
        }
        self.reopen(session, index, bytes, got);
        bytes - got
    }

    /// Of a part, only `got` bytes came, or were true.
    fn reopen(&mut self, session: &mut Session, index: u32, bytes: u64, got: u64) {
        let now = self.now;
        if let Some(chunk) = session.chunk(index) {
            chunk.coming -= bytes;
            chunk.open += bytes - got;
            if got > 0 {
                chunk.last = chunk.last.max(now);
            }
        }
    }

    /// Bytes of a chunk are here.
    fn settle(&mut self, session: &mut Session, index: u32, bytes: u64, from: u32) {
        let now = self.now;
        let way = match from {
            SEED => 0,
            home => session.peer(home).map_or(0, |peer| peer.outlook.rtt.0),
        };
        let Some(chunk) = session.chunk(index) else { return };
        chunk.coming -= bytes;
        chunk.last = chunk.last.max(now + way);
        if chunk.open == 0 && chunk.coming == 0 {
            let done = *chunk;
            session.chunks.retain(|other| other.index != index);
            self.complete(session, done);
        }
    }

    /// A chunk is there: was it in time? It is played as it comes, so its last byte is needed when its last picture is.
    fn complete(&mut self, session: &mut Session, chunk: Chunk) {
        let length = self.model.chunk;
        if let Some(since) = session.jumped.take() {
            let took = chunk.last - chunk.since;
            let shown = since + self.model.player + took * FIRST_MEDIA.min(length) / length;
            self.tally.jumped(session, shown - since);
            // Slower than it plays, it is waited for at its end.
            session.anchor = shown.max(chunk.last.saturating_sub(length));
            return;
        }
        let deadline = session.deadline(chunk.index, length);
        let late = chunk.last.saturating_sub(deadline + length);
        if late > 0 {
            session.stalls += 1;
            session.stalled += late;
            session.anchor += late;
        }
    }

    /// Bytes of the seed's.
    fn count_seed(&mut self, session: &mut Session, bytes: u64, why: Why, at: Time) {
        self.tally.seed(session, bytes, why, at);
    }

    /// How far ahead the rule in use fetches.
    fn read_ahead(&self) -> Time {
        super::choice::read_ahead(self.model)
    }

    /// When a look at what may be late is due again, not too often.
    pub(super) fn look_again(&self, at: Mono) -> Time {
        at.0.max(self.now + LOOK_AGAIN)
    }
}
