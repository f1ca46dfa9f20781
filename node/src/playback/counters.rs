//! What a recording's players were given, and from where.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use aftercast_protocol::ids::RecordingId;
use aftercast_protocol::time::Micros;
use serde::Serialize;

/// Where delivered bytes came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// They were in the store when they were wanted.
    Local,
    /// A peer sent them.
    Peer,
    /// The seed sent them.
    Seed,
}

/// Counters of one recording's playback since the program started.
#[derive(Debug, Default)]
pub struct PlayCounters {
    local: AtomicU64,
    peer: AtomicU64,
    seed: AtomicU64,
    head: AtomicU64,
    /// Microseconds plus one; 0 while no session has begun to play.
    startup: AtomicU64,
    sessions: AtomicU64,
    late: AtomicU64,
    late_micros: AtomicU64,
    salvaged: AtomicU64,
    wrong_groups: AtomicU64,
    liars: AtomicU64,
}

/// A reading of [`PlayCounters`], as `/api/status` gives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlayReport {
    /// The recording.
    pub recording: RecordingId,
    /// Bytes handed to players that this device held when they were wanted.
    pub bytes_local: u64,
    /// Bytes handed to players that peers sent for it.
    pub bytes_peer: u64,
    /// Bytes handed to players that the seed sent for it, heads aside.
    pub bytes_seed: u64,
    /// Bytes of heads handed to players that the seed sent for it.
    pub bytes_head: u64,
    /// From the request of the playlist to the first byte of the first segment, in the latest session; milliseconds.
    pub startup_ms: Option<u64>,
    /// Sessions begun.
    pub sessions: u64,
    /// Chunks of which a part came later than a player that plays without pause needs it.
    pub late: u64,
    /// By how much, in all; milliseconds.
    pub late_ms: u64,
    /// Chunks played in their salvaged form.
    pub salvaged: u64,
    /// Answers discarded because they did not match their hash.
    pub wrong_groups: u64,
    /// Devices banned for them.
    pub liars_banned: u64,
}

impl PlayCounters {
    /// Bytes were handed to a player.
    pub(crate) fn delivered(&self, origin: Origin, head: bool, bytes: u64) {
        let counter = match (origin, head) {
            (Origin::Local, _) => &self.local,
            (Origin::Peer, _) => &self.peer,
            (Origin::Seed, true) => &self.head,
            (Origin::Seed, false) => &self.seed,
        };
        counter.fetch_add(bytes, Relaxed);
    }

    /// A session's first media byte was handed over.
    pub(crate) fn started(&self, after: Micros) {
        self.startup.store(after.0.saturating_add(1), Relaxed);
        self.sessions.fetch_add(1, Relaxed);
    }

    /// A chunk made its player wait.
    pub(crate) fn late(&self, first: bool, by: Micros) {
        self.late.fetch_add(u64::from(first), Relaxed);
        self.late_micros.fetch_add(by.0, Relaxed);
    }

    /// A chunk is played in its salvaged form.
    pub(crate) fn salvaged(&self) {
        self.salvaged.fetch_add(1, Relaxed);
    }

    /// An answer was wrong.
    pub(crate) fn wrong(&self, banned: bool) {
        self.wrong_groups.fetch_add(1, Relaxed);
        self.liars.fetch_add(u64::from(banned), Relaxed);
    }

    /// The counters now.
    #[must_use]
    pub fn report(&self, recording: RecordingId) -> PlayReport {
        PlayReport {
            recording,
            bytes_local: self.local.load(Relaxed),
            bytes_peer: self.peer.load(Relaxed),
            bytes_seed: self.seed.load(Relaxed),
            bytes_head: self.head.load(Relaxed),
            startup_ms: self.startup.load(Relaxed).checked_sub(1).map(|micros| micros / 1000),
            sessions: self.sessions.load(Relaxed),
            late: self.late.load(Relaxed),
            late_ms: self.late_micros.load(Relaxed) / 1000,
            salvaged: self.salvaged.load(Relaxed),
            wrong_groups: self.wrong_groups.load(Relaxed),
            liars_banned: self.liars.load(Relaxed),
        }
    }
}
