//! A player and the home device that feeds it.
//!
//! ```text
//!   viewer: plays, pauses, seeks        position ──────> plays at the speed of the clock
//!                                          │ ready: media whose bytes are here without a gap
//!   player: asks for a chunk after the other, until it has `buffer` before it
//!                                          │ go(n)
//!   play head: clock, deadlines, what is wanted ahead ──> policy
//! ```
//!
//! The play head does what a node's does (`node/src/playback/head.rs`, `flow.rs`), with the same numbers.

use std::collections::{BTreeMap, BTreeSet};

use aftercast_protocol::ids::{ChunkCid, GroupIndex, RequestId};
use aftercast_protocol::select::{Source, Want};
use aftercast_protocol::serve::Class;
use aftercast_protocol::time::{Micros, Mono};
use aftercast_protocol::verify::{GroupSet, groups_of_len};

use super::policy::Policy;
use super::scenario::{PlayerSpec, Step};
use super::server::GROUP;
use super::viewer::Viewer;
use crate::link::{Kind, Link, LinkSpec};
use crate::rng::Rng;

/// How far ahead of the play head chunks are wanted...
const AHEAD: Micros = Micros::from_secs(40);
/// ...at most so many, and so many bytes.
const AHEAD_CHUNKS: u32 = 12;
const AHEAD_BYTES: u64 = 64 * 1024 * 1024;
/// A player that begins waits at least this long for what it asks.
const START: Micros = Micros::from_millis(300);
/// After a seek, what was wanted before is wanted for so long: until then the player may be one of several.
const HUNG_UP: Micros = Micros::from_secs(2);
/// Less than this is not waiting.
const INSTANT: Micros = Micros::from_millis(5);
/// Players' own lines draw their luck behind those of all sources.
const DOWNLINK: u64 = 1 << 32;

/// What a player has of one chunk.
#[derive(Debug)]
pub(super) struct Held {
    pub len: u64,
    pub groups: GroupSet,
    /// When it was complete.
    pub complete_at: Option<Mono>,
    pub hashes: bool,
}

/// A request in flight.
#[derive(Debug, Clone, Copy)]
pub(super) struct Running {
    pub source: Source,
    pub chunk: u32,
    pub end: u32,
}

/// The chunk that goes to the player.
#[derive(Debug, Clone, Copy)]
struct Reading {
    chunk: u32,
    /// The next group it needs, and since when it waits for it.
    group: u32,
    asked: Mono,
    /// When the chunk is played, as the play head assumes.
    due: Mono,
}

pub(super) struct Player {
    pub spec: PlayerSpec,
    pub policy: Box<dyn Policy>,
    pub running: BTreeMap<RequestId, Running>,
    pub store: BTreeMap<u32, Held>,
    /// Connected and not banned.
    pub sources: BTreeSet<Source>,
    pub viewer: Viewer,
    pub requests: u64,
    /// The home's line, where it can be a bottleneck.
    pub downlink: Option<Link>,
    /// The earliest wake-up that the world knows of.
    pub alarm: Option<Mono>,
    rng: Rng,
    begun: bool,
    /// Steps that were taken.
    steps: usize,
    /// When a chunk is played, as the play head assumes.
    clock: (Mono, u32),
    /// What is wanted, and from when on no more.
    wanted: BTreeMap<u32, Option<Mono>>,
    reading: Option<Reading>,
    /// The next chunk to be asked for.
    next: u32,
}

/// The harness's own names for chunks: its bytes are imagined.
pub(super) fn cid_of(chunk: u32) -> ChunkCid {
    let mut digest = [0; 32];
    digest[..4].copy_from_slice(&chunk.to_be_bytes());
    ChunkCid(digest)
}

pub(super) fn chunk_of(cid: ChunkCid) -> u32 {
    let [a, b, c, d, ..] = cid.0;
    u32::from_be_bytes([a, b, c, d])
}

impl Player {
    pub fn new(number: usize, spec: PlayerSpec, policy: Box<dyn Policy>, rng: Rng) -> Self {
        // Who sends too much waits at the line, and what policies ask for is bounded.
        let link = LinkSpec { queue: u64::MAX, ..spec.downlink.clone() };
        let line = || Link::new(Mono(0), link, Kind::Stream, rng, DOWNLINK + number as u64);
        let downlink = spec.downlink.rate.is_some().then(line);
        Self {
            viewer: Viewer::new(spec.begin, spec.start, spec.duration()),
            policy,
            running: BTreeMap::new(),
            store: BTreeMap::new(),
            sources: BTreeSet::new(),
            requests: 0,
            downlink,
            alarm: None,
            rng,
            begun: false,
            steps: 0,
            clock: (spec.begin, 0),
            wanted: BTreeMap::new(),
            reading: None,
            next: 0,
            spec,
        }
    }

    /// Takes a verified group; false if it was there already.
    pub fn take_group(&mut self, now: Mono, chunk: u32, index: GroupIndex) -> bool {
        let Some(held) = self.store.get_mut(&chunk) else { return false };
        let fresh = held.groups.insert(index);
        if fresh && held.groups.is_complete() {
            held.complete_at = Some(now);
        }
        if fresh && self.viewer.seen.first_group.is_none() {
            self.viewer.seen.first_group = Some(now - self.spec.begin);
        }
        fresh
    }

    /// Does what is due: the viewer's steps, what goes to the player, what is wanted.
    pub fn advance(&mut self, now: Mono) {
        if now < self.spec.begin || self.viewer.is_over() {
            return;
        }
        if !self.begun {
            (self.begun, self.clock) = (true, (now + START, 0));
        }
        self.end_lingering(now);
        self.step(now);
        self.read(now);
        self.viewer.watch(now, self.ready());
    }

    /// When to call [`Self::advance`] if nothing arrives.
    pub fn wake_at(&self, now: Mono) -> Option<Mono> {
        if self.viewer.is_over() {
            return None;
        }
        if !self.begun {
            return Some(self.spec.begin);
        }
        let step = self.spec.steps.get(self.steps).map(|step| step.at());
        let lingering = self.wanted.values().flatten().min().copied();
        let ready = self.ready();
        let dry = self.viewer.reaches(ready);
        let asks = self.reading.is_none() && self.next < self.spec.chunks;
        let room = Micros((ready.0 + 1).saturating_sub(self.spec.buffer.0));
        let ask = asks.then(|| self.viewer.reaches(room)).flatten();
        [step, lingering, dry, ask].into_iter().flatten().filter(|at| *at > now).min()
    }

    /// Who is said to hold a chunk.
    pub fn holders_of(&self, chunk: u32) -> Vec<Source> {
        let head = chunk == 0 && self.spec.head_bytes.is_some();
        self.sources.iter().copied().filter(|source| !head || *source == Source::Seed).collect()
    }

    /// Whether a chunk is wanted and not here.
    pub fn awaits(&self, chunk: u32) -> bool {
        self.wanted.contains_key(&chunk) && self.store.get(&chunk).is_some_and(|held| held.complete_at.is_none())
    }

    /// Chunks that are wanted and not here.
    pub fn awaited(&self) -> Vec<u32> {
        self.wanted.keys().copied().filter(|&chunk| self.awaits(chunk)).collect()
    }

    /// What can be played without a gap, from where the player is.
    fn ready(&self) -> Micros {
        let begin = Micros(self.spec.interval.0 * u64::from(self.next));
        let Some(reading) = &self.reading else { return begin };
        let Some(held) = self.store.get(&reading.chunk) else { return begin };
        begin + self.played(reading.group, held.len)
    }

    /// How long so many groups of a chunk play.
    fn played(&self, groups: u32, len: u64) -> Micros {
        let bytes = (u64::from(groups) * GROUP).min(len);
        let micros = u128::from(self.spec.interval.0) * u128::from(bytes) / u128::from(len.max(1));
        Micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    fn step(&mut self, now: Mono) {
        while let Some(step) = self.spec.steps.get(self.steps).copied().filter(|step| step.at() <= now) {
            self.steps += 1;
            match step {
                Step::Pause { length, .. } => self.viewer.pause(now, length),
                Step::Seek { to, .. } => {
                    let to = to.min(self.spec.chunks.saturating_sub(1));
                    self.viewer.seek(now, Micros(self.spec.interval.0 * u64::from(to)));
                    self.wanted.values_mut().for_each(|until| *until = Some(now + HUNG_UP));
                    (self.reading, self.next, self.clock) = (None, to, (now + START, to));
                }
            }
        }
    }

    /// Hands to the player what is here, in order.
    fn read(&mut self, now: Mono) {
        loop {
            let Some(mut reading) = self.reading else {
                let ahead = self.ready().0.saturating_sub(self.viewer.position(now).0);
                if self.next >= self.spec.chunks || ahead >= self.spec.buffer.0 {
                    return;
                }
                self.go(now, self.next);
                self.reading = Some(Reading { chunk: self.next, group: 0, asked: now, due: self.due(self.next) });
                continue;
            };
            let Some(held) = self.store.get(&reading.chunk) else { return };
            if !held.groups.contains(GroupIndex(reading.group)) {
                return;
            }
            let (len, groups) = (held.len, held.groups.groups());
            self.judge(now, &mut reading, len);
            (reading.group, reading.asked) = (reading.group + 1, now);
            self.reading = Some(reading);
            if reading.group == groups {
                (self.reading, self.next) = (None, reading.chunk + 1);
            }
        }
    }

    /// Sets the clock back where the player waited for what it should be playing by now.
    fn judge(&mut self, now: Mono, reading: &mut Reading, len: u64) {
        let needed = reading.due + self.played(reading.group, len);
        let by = now - needed.max(reading.asked);
        if now - reading.asked > INSTANT && by > Micros(0) {
            self.clock.0 = self.clock.0 + by;
            reading.due = reading.due + by;
        }
    }

    fn due(&self, chunk: u32) -> Mono {
        let ahead = chunk.saturating_sub(self.clock.1);
        self.clock.0 + Micros(self.spec.interval.0 * u64::from(ahead))
    }

    /// The player asks for a chunk: what comes after it is wanted too, what lies behind it is not.
    fn go(&mut self, now: Mono, chunk: u32) {
        if self.due(chunk) < now {
            self.clock = (now + START, chunk);
        }
        let mut bytes = 0;
        let mut window = Vec::new();
        for ahead in chunk..self.spec.chunks.min(chunk + 1 + AHEAD_CHUNKS) {
            bytes += self.spec.len_of(self.rng, ahead);
            let far = self.spec.interval.0 * u64::from(ahead - chunk) > AHEAD.0 || bytes > AHEAD_BYTES;
            if far && ahead > chunk + 1 {
                break;
            }
            window.push(ahead);
        }
        let behind: Vec<_> =
            self.wanted.iter().filter(|(n, until)| until.is_none() && !window.contains(n)).map(|(n, _)| *n).collect();
        for n in behind {
            self.forget(now, n);
        }
        for n in window {
            self.want(now, n);
        }
    }

    fn want(&mut self, now: Mono, chunk: u32) {
        let (cid, len) = (cid_of(chunk), self.spec.len_of(self.rng, chunk));
        let groups = groups_of_len(len).expect("scenarios have chunks of legal length");
        let empty = || Held {
            len,
            groups: GroupSet::empty(groups).expect("a legal number of groups"),
            complete_at: None,
            hashes: false,
        };
        let deadline = self.due(chunk);
        let held = self.store.entry(chunk).or_insert_with(empty);
        if held.complete_at.is_some() {
            self.wanted.remove(&chunk);
            return;
        }
        let known = self.wanted.insert(chunk, None).is_some();
        let want = Want { cid, len: Some(len), deadline, class: Class::Playback, in_order: true };
        self.policy.handle_want(now, want);
        if known {
            return;
        }
        if held.hashes {
            self.policy.handle_hashes(now, cid, len);
        }
        if !held.groups.is_empty() {
            self.policy.handle_held(now, cid, &held.groups);
        }
        self.policy.handle_holders(now, cid, &self.holders_of(chunk));
    }

    fn forget(&mut self, now: Mono, chunk: u32) {
        let awaited = self.awaits(chunk);
        self.wanted.remove(&chunk);
        if awaited {
            self.policy.handle_drop(now, cid_of(chunk));
        }
    }

    fn end_lingering(&mut self, now: Mono) {
        let over = |until: &Option<Mono>| until.is_some_and(|until| until <= now);
        let gone: Vec<_> = self.wanted.iter().filter(|(_, until)| over(until)).map(|(n, _)| *n).collect();
        for n in gone {
            self.forget(now, n);
        }
    }
}
