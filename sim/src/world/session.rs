//! A viewing: what is played, from whom it comes, and what is under way.

use std::collections::VecDeque;

use aftercast_protocol::score::Score;
use aftercast_protocol::select::rules::{Outlook, doubt};
use aftercast_protocol::time::Micros;

use super::catalogue::Programme;
use super::clock::Time;
use super::holding::Holding;
use super::model::LineKind;
use super::why::Why;
use crate::engine::TransferId;

/// A viewing.
#[derive(Debug)]
pub struct Session {
    /// Whose.
    pub home: u32,
    /// Its line.
    pub line: LineKind,
    /// What is watched.
    pub programme: Programme,
    /// When that began.
    pub begins: Time,
    /// The viewer's own recording of it.
    pub own: Option<Holding>,
    /// Number of the viewing: its luck.
    pub number: u64,
    /// Whether it began with a small first piece instead of the first chunk.
    pub head: bool,
    /// Whether it counts.
    pub measured: bool,
    /// Next chunk that is to be fetched.
    pub next: u32,
    /// One past the last chunk before the viewer jumps or ends.
    pub until: u32,
    /// Chunks still to be watched after that.
    pub left: u32,
    /// Chunks that are watched in all.
    pub watched: u32,
    /// Chunk that began to play at [`Self::anchor`].
    pub base: u32,
    /// When it did; moved by stalls.
    pub anchor: Time,
    /// Since when a viewer waits for a jump to be done.
    pub jumped: Option<Time>,
    /// Number of jumps.
    pub jumps: u32,
    /// Sources that are connected.
    pub peers: Vec<Peer>,
    /// Recorders that were looked at.
    pub probed: u32,
    /// Recorders that were there and could not be reached.
    pub unreached: u32,
    /// Not to look for more before.
    pub probe_at: Time,
    /// Chunks under way, in order.
    pub chunks: VecDeque<Chunk>,
    /// When its next event is due.
    pub wakes: Time,
    /// Bytes played from its own disk, from peers, from the seed.
    pub bytes: [u64; 3],
    /// Stalls.
    pub stalls: u32,
    /// Time stood still.
    pub stalled: Time,
}

/// A connected source. A viewing looks through all of them for each chunk: it is small.
#[derive(Debug)]
pub struct Peer {
    /// Which home.
    pub home: u32,
    /// When its connection is up.
    pub ready: Time,
    /// What follows from [`Self::score`], and what it owes.
    pub outlook: Outlook,
    /// What is known of it, kept by the rules that ship.
    pub score: Box<Score>,
    /// Never to be asked again: it lied, or is gone.
    pub done: bool,
    /// Parts it has been asked for, in order; the first is on its line.
    pub queue: Queue,
    /// What it has of the programme.
    pub holding: Holding,
    /// Whether it sends at all.
    pub gives: bool,
}

impl Peer {
    /// So many bytes came of it, all that was asked for, after so long.
    pub fn sent(&mut self, bytes: u64, moving: Micros, expected: Micros, actual: Micros) {
        self.score.record_rate(bytes, moving);
        self.score.record_success(expected, actual, true);
        (self.outlook.rate, self.outlook.doubt) = (self.score.rate, doubt(&self.score));
    }
}

/// Parts that a source is asked for at once: one on its way, and one behind it.
const QUEUE: usize = 2;

/// Parts that a source has been asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Queue {
    parts: [u32; QUEUE],
    len: u8,
}

impl Queue {
    /// In order.
    pub fn as_slice(&self) -> &[u32] {
        &self.parts[..usize::from(self.len)]
    }

    /// Whether it is asked for no more.
    pub fn is_full(&self) -> bool {
        usize::from(self.len) == QUEUE
    }

    /// One more, where it is not full.
    pub fn push(&mut self, part: u32) {
        self.parts[usize::from(self.len)] = part;
        self.len += 1;
    }

    /// One less, if it is there.
    pub fn remove(&mut self, part: u32) {
        if let Some(place) = self.as_slice().iter().position(|other| *other == part) {
            self.parts.copy_within(place + 1.., place);
            self.len -= 1;
        }
    }
}

/// A chunk under way.
#[derive(Debug, Clone, Copy)]
pub struct Chunk {
    /// Its place in the programme.
    pub index: u32,
    /// When it was opened.
    pub since: Time,
    /// When what came last came.
    pub last: Time,
    /// Bytes nobody has been asked for.
    pub open: u64,
    /// Bytes asked for and not here.
    pub coming: u64,
    /// Why the seed is asked, if it is.
    pub why: Why,
}

impl Session {
    /// When a chunk is to be played.
    pub fn deadline(&self, index: u32, chunk: Time) -> Time {
        self.anchor + u64::from(index.saturating_sub(self.base)) * chunk
    }

    /// A source.
    pub fn peer(&mut self, home: u32) -> Option<&mut Peer> {
        self.peers.iter_mut().find(|peer| peer.home == home)
    }

    /// A chunk under way.
    pub fn chunk(&mut self, index: u32) -> Option<&mut Chunk> {
        self.chunks.iter_mut().find(|chunk| chunk.index == index)
    }
}

/// A piece of a chunk that a source has been asked for.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// For whom: a viewing, or none for an upload to the seed.
    pub owner: Owner,
    /// Whose line; [`SEED`] for the seed's.
    pub from: u32,
    /// Which transfer of that line, once it is on it.
    pub transfer: Option<TransferId>,
    /// Bytes.
    pub bytes: u64,
    /// When it began to move.
    pub since: Time,
    /// When it was asked for, and how long that was expected to take.
    pub asked: Time,
    /// See above.
    pub expected: Time,
}

/// Place of the seed among those who send.
pub const SEED: u32 = u32::MAX;

/// Whom bytes are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// A viewing and its chunk.
    Viewing { session: u32, chunk: u32 },
    /// The seed, which stores it: a channel's recording group and the chunk.
    Upload { channel: u32, index: u64 },
}
