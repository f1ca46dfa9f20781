//! One source: what it was asked for, in the order of asking, over one uplink.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use aftercast_protocol::ids::{GroupIndex, RequestId};
use aftercast_protocol::limits::GROUP_BYTES;
use aftercast_protocol::select::{FailReason, Source};
use aftercast_protocol::time::{Micros, Mono};
use aftercast_protocol::verify::{group_len, groups_of_len};
use serde::Serialize;

use super::scenario::{Faults, SourceSpec};
use crate::link::{Kind, Link, Verdict};
use crate::rng::{Purpose, Rng};

/// Requests of one player that are answered at once; others wait behind them.
const LANES: usize = 2;
/// Bytes on their way from here to a player whose own line is a bottleneck: one group that passes and one that waits, as
/// routers let little wait in front of a home. What there is no room for waits here and can still be cancelled.
const WINDOW: u64 = 128 * 1024;
/// Bytes of an answer before its groups.
const ANSWER_BYTES: u64 = 64;
/// Bytes of a group's hash.
const HASH_BYTES: u64 = 32;

/// A request as the source sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job {
    pub player: usize,
    pub id: RequestId,
    pub chunk: u32,
    /// Length of the chunk in bytes.
    pub len: u64,
    /// The next group to be sent, and one past the last.
    pub next: u32,
    pub end: u32,
    /// Whether the list of group hashes is to come with the first group.
    pub hashes: bool,
    pub begun: bool,
}

/// A group on its way, with what was sent before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packet {
    pub server: usize,
    /// The connection it was sent on.
    pub epoch: u32,
    pub player: usize,
    pub id: RequestId,
    pub chunk: u32,
    pub index: GroupIndex,
    /// Length of the group.
    pub bytes: u64,
    /// Bytes of the answer and the list of hashes.
    pub extra: u64,
    pub hashes: bool,
    pub is_false: bool,
}

impl Packet {
    pub fn wire_bytes(&self) -> u64 {
        self.bytes + self.extra
    }
}

/// What became of the bytes that a source sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Put on the line.
    pub sent: u64,
    /// Verified and new.
    pub useful: u64,
    /// Verified, and there already.
    pub duplicate: u64,
    /// Not what the chunk's hashes say.
    pub false_bytes: u64,
    /// Came after the request had been cancelled or trimmed, or was lost with its connection.
    pub wasted: u64,
    /// Answers and lists of hashes.
    pub overhead: u64,
    /// Not arrived when the run ended.
    pub in_flight: u64,
}

impl Traffic {
    /// The same for two together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            sent: self.sent + other.sent,
            useful: self.useful + other.useful,
            duplicate: self.duplicate + other.duplicate,
            false_bytes: self.false_bytes + other.false_bytes,
            wasted: self.wasted + other.wasted,
            overhead: self.overhead + other.overhead,
            in_flight: self.in_flight + other.in_flight,
        }
    }

    /// Whether every byte that was sent is somewhere.
    #[must_use]
    pub fn is_conserved(&self) -> bool {
        self.sent == self.useful + self.duplicate + self.false_bytes + self.wasted + self.overhead + self.in_flight
    }
}

pub(super) struct Server {
    pub source: Source,
    pub spec: SourceSpec,
    pub up: bool,
    /// Counts connections: what was sent on an earlier one is lost.
    pub epoch: u32,
    pub traffic: Traffic,
    /// Whether the world will say when the line is free.
    pub awaits_line: bool,
    link: Link,
    waiting: VecDeque<Job>,
    active: VecDeque<Job>,
    rng: Rng,
    number: u64,
    requests: u64,
    groups: u64,
    /// Bytes on their way to players whose own line is a bottleneck.
    windows: BTreeMap<usize, u64>,
    /// Chunks it has lied about, per player.
    lied: BTreeSet<(usize, u32)>,
}

impl Server {
    pub fn new(number: usize, source: Source, spec: SourceSpec, rng: Rng) -> Self {
        let number = number as u64;
        let link = Link::new(Mono(0), spec.link.clone(), Kind::Stream, rng, number);
        Self {
            source,
            spec,
            up: true,
            epoch: 0,
            traffic: Traffic::default(),
            awaits_line: false,
            link,
            waiting: VecDeque::new(),
            active: VecDeque::new(),
            rng,
            number,
            requests: 0,
            groups: 0,
            windows: BTreeMap::new(),
            lied: BTreeSet::new(),
        }
    }

    /// How long a word takes there.
    pub fn way(&self) -> Micros {
        self.spec.link.delay
    }

    /// Takes a request up, or says why not.
    pub fn accept(&mut self, job: Job) -> Result<(), FailReason> {
        let faults = &self.spec.faults;
        self.requests += 1;
        let chance = |purpose, occasion| self.rng.below(1_000_000, purpose, self.number, occasion);
        if chance(Purpose::Absence, u64::from(job.chunk)) < u64::from(faults.absent_ppm) {
            return Err(FailReason::NotFound);
        }
        if chance(Purpose::Busy, self.requests) < u64::from(faults.busy_ppm) {
            return Err(FailReason::Busy { retry_after: Faults::BUSY_FOR });
        }
        self.waiting.push_back(job);
        self.open_lanes();
        Ok(())
    }

    /// Sends nothing at or after a group for this request.
    pub fn trim(&mut self, player: usize, id: RequestId, end: u32) {
        for job in self.active.iter_mut().chain(&mut self.waiting) {
            if (job.player, job.id) == (player, id) {
                job.end = job.end.min(end);
            }
        }
        self.drop_jobs(|job| job.next >= job.end);
    }

    /// Forgets a player's requests.
    pub fn close(&mut self, player: usize) {
        self.drop_jobs(|job| job.player == player);
    }

    /// All connections are lost.
    pub fn go_down(&mut self) {
        (self.up, self.epoch) = (false, self.epoch + 1);
        self.drop_jobs(|_| true);
    }

    /// A player's own line is a bottleneck.
    pub fn mind_window(&mut self, player: usize) {
        self.windows.insert(player, 0);
    }

    /// So many bytes have come to a player, or never will.
    pub fn settle(&mut self, packet: &Packet) {
        self.traffic.in_flight -= packet.wire_bytes();
        if let Some(window) = self.windows.get_mut(&packet.player) {
            *window -= packet.wire_bytes();
        }
    }

    /// When the line is free to send; none if it never is again, or there is nothing that may be sent.
    pub fn free_at(&self, now: Mono) -> Option<Mono> {
        let at = self.link.next_free(now);
        (self.turn().is_some() && at < Mono(u64::MAX)).then_some(at)
    }

    /// The place of the lane whose turn it is.
    fn turn(&self) -> Option<usize> {
        self.active.iter().position(|job| self.windows.get(&job.player).is_none_or(|window| *window < WINDOW))
    }

    /// Puts the next group on the line, which is free: round robin over the lanes. With it, when it arrives; none if
    /// it never does.
    pub fn send(&mut self, now: Mono, server: usize) -> Option<(Packet, Option<Mono>)> {
        let mut job = self.active.remove(self.turn()?)?;
        let index = GroupIndex(job.next);
        let list = if job.hashes { HASH_BYTES * u64::from(groups_of_len(job.len).unwrap_or(0)) } else { 0 };
        let packet = Packet {
            server,
            epoch: self.epoch,
            player: job.player,
            id: job.id,
            chunk: job.chunk,
            index,
            bytes: group_len(job.len, index) as u64,
            extra: if job.begun { 0 } else { ANSWER_BYTES + list },
            hashes: job.hashes && !job.begun,
            is_false: self.is_false(&job),
        };
        (job.next, job.begun) = (job.next + 1, true);
        if job.next < job.end {
            self.active.push_back(job);
        } else {
            self.open_lanes();
        }
        self.groups += 1;
        self.traffic.sent += packet.wire_bytes();
        self.traffic.in_flight += packet.wire_bytes();
        if let Some(window) = self.windows.get_mut(&packet.player) {
            *window += packet.wire_bytes();
        }
        let arrival = match self.link.offer(now, packet.wire_bytes()) {
            Verdict::Deliver(at) => Some(at).filter(|at| *at < Mono(u64::MAX)),
            // A stream loses nothing, and only one packet is offered at a time.
            Verdict::Lost | Verdict::Full => None,
        };
        Some((packet, arrival))
    }

    fn is_false(&mut self, job: &Job) -> bool {
        let faults = &self.spec.faults;
        let once = faults.lies_once_a_chunk && self.lied.insert((job.player, job.chunk));
        let drawn = self.rng.below(1_000_000, Purpose::Lie, self.number, self.groups);
        once || drawn < u64::from(faults.lies_ppm)
    }

    fn drop_jobs(&mut self, chosen: impl Fn(&Job) -> bool) {
        self.active.retain(|job| !chosen(job));
        self.waiting.retain(|job| !chosen(job));
        self.open_lanes();
    }

    fn open_lanes(&mut self) {
        let mut n = 0;
        while let Some(job) = self.waiting.get(n) {
            if self.active.iter().filter(|other| other.player == job.player).count() < LANES {
                self.active.extend(self.waiting.remove(n));
            } else {
                n += 1;
            }
        }
    }
}

/// [`GROUP_BYTES`] as a count.
pub(super) const GROUP: u64 = GROUP_BYTES as u64;
