//! What the demo found, as figures (`summary.json`), as promises that hold or do not, and in words.

mod promises;
mod words;

use std::collections::BTreeMap;

use serde::Serialize;

pub use promises::Promise;

/// Everything.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Whether every promise holds.
    pub passed: bool,
    /// Each of them.
    pub promises: Vec<Promise>,
    /// The broadcast.
    pub programme: Programme,
    /// The homes.
    pub homes: Vec<HomeReport>,
    /// Share of the chunks received whole that equal the source's, over all homes; 1 is all.
    pub identical_share: f64,
    /// The seed.
    pub seed: SeedReport,
    /// Bytes uploaded per byte stored.
    pub upload_amplification: f64,
    /// The players.
    pub players: Vec<PlayerReport>,
}

/// The broadcast.
#[derive(Debug, Clone, Serialize)]
pub struct Programme {
    /// Its length.
    pub seconds: f64,
    /// Its bytes, stuffing included.
    pub bytes: u64,
    /// Times real time at which it was sent.
    pub speed: f64,
    /// Somebody's own.
    pub own: bool,
    /// Its whole chunks.
    pub chunks: u64,
}

/// A home that records.
#[derive(Debug, Clone, Serialize)]
pub struct HomeReport {
    /// Its name.
    pub home: String,
    /// What is special about it.
    pub words: String,
    /// Whether its tuner delivers anything.
    pub receives: bool,
    /// Whether its line is paid by volume.
    pub metered: bool,
    /// Its declared uplink, bits per second.
    pub uplink_bps: u64,
    /// Bytes that the seed pulled from it.
    pub uploaded_bytes: u64,
    /// Bytes that it gave to peers.
    pub to_peers_bytes: u64,
    /// Chunks of the source that nothing harmed on the way to it, by the damage log.
    pub unharmed: u64,
    /// Of those: not cut out of the file of its reception.
    pub unharmed_missing: u64,
    /// Chunks cut out of the file of its reception.
    pub clean_in_file: u64,
    /// Of those: equal to the source's.
    pub identical_in_file: u64,
    /// Chunks that its node recorded whole.
    pub recorded: u64,
    /// Of those: equal to what the seed confirmed.
    pub recorded_confirmed: u64,
    /// Of those: not equal.
    pub recorded_otherwise: u64,
    /// Chunks that its node withheld, by reason.
    pub withheld: BTreeMap<String, u64>,
    /// Of those: made whole with the help of others.
    pub repaired: u64,
    /// Bytes that this took.
    pub repair_bytes: u64,
    /// Bytes sent to it.
    pub bytes_sent: u64,
    /// Bytes that its tuner got.
    pub bytes_received: u64,
}

impl HomeReport {
    /// Chunks that came with damage and are not whole yet.
    fn damaged(&self) -> u64 {
        self.withheld.values().sum::<u64>().saturating_sub(self.repaired)
    }
}

/// The seed.
#[derive(Debug, Clone, Serialize)]
pub struct SeedReport {
    /// Chunks vouched for by two homes or more.
    pub confirmed: u64,
    /// By one.
    pub single: u64,
    /// In dispute.
    pub disputed: u64,
    /// Held by the seed.
    pub stored: u64,
    /// Clean reports that differ from what was confirmed.
    pub objections: u64,
    /// Devices that said two things about one chunk.
    pub contradictions: u64,
    /// Decisions withdrawn.
    pub withdrawn: u64,
    /// Bytes pulled from homes.
    pub pulled_bytes: u64,
    /// Bytes of the chunks stored.
    pub unique_bytes: u64,
    /// Heads made.
    pub heads: u64,
    /// Their bytes.
    pub head_bytes: u64,
    /// Bytes served to players.
    pub served_bytes: u64,
}

/// A home that plays.
#[derive(Debug, Clone, Serialize)]
pub struct PlayerReport {
    /// Its name.
    pub home: String,
    /// Segments of its playlist.
    pub segments: u64,
    /// Bytes that it had.
    pub bytes_local: u64,
    /// Bytes from peers.
    pub bytes_peer: u64,
    /// Bytes from the seed, the head aside.
    pub bytes_seed: u64,
    /// Bytes of the head.
    pub bytes_head: u64,
    /// From the request of the playlist to the first byte of media, in milliseconds.
    pub startup_ms: Option<u64>,
    /// Chunks that came too late for a player without pauses.
    pub late: u64,
    /// How long playing as fast as possible took.
    pub took_seconds: f64,
    /// Pictures after the head.
    pub pictures: Match,
    /// Sound after the head.
    pub sound: Match,
    /// What FFmpeg complained about.
    pub complaints: Vec<String>,
    /// Segments that are not the source's chunk.
    pub wrong_segments: u64,
    /// Segments of edges, where the source has no whole chunk: what the home itself received there.
    pub edge_segments: u64,
    /// Faults of the one-file form: against its segments, and of a range against it.
    pub wrong_in_file: u64,
    /// Answers of others that were wrong, and thrown away.
    pub wrong_answers: u64,
    /// The small first chunk, if it played one.
    pub head: Option<HeadReport>,
}

/// Decoded frames against the source's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Match {
    /// Frames of the source.
    pub expected: u64,
    /// Frames that were played.
    pub got: u64,
    /// Of those: equal.
    pub equal: u64,
}

impl Match {
    /// Whether all are there, all equal, and no more.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.expected > 0 && self.expected == self.equal && self.got == self.equal
    }
}

/// The small form of the first chunk.
#[derive(Debug, Clone, Serialize)]
pub struct HeadReport {
    /// Its bytes.
    pub bytes: u64,
    /// Bytes of the chunk that it stands for.
    pub chunk_bytes: u64,
    /// Its pictures.
    pub frames: u64,
    /// Pictures of the chunk.
    pub source_frames: u64,
    /// Whether they have the same times.
    pub same_times: bool,
    /// Its likeness to the chunk, in dB.
    pub psnr_db: f64,
}

impl Summary {
    /// Judges the figures.
    #[must_use]
    pub fn new(programme: Programme, homes: Vec<HomeReport>, seed: SeedReport, players: Vec<PlayerReport>) -> Self {
        let sum = |of: fn(&HomeReport) -> u64| homes.iter().map(of).sum::<u64>();
        let identical_share = ratio(sum(|home| home.identical_in_file), sum(|home| home.clean_in_file));
        let upload_amplification = ratio(seed.pulled_bytes, seed.unique_bytes);
        let mut summary = Self {
            passed: false,
            promises: Vec::new(),
            programme,
            homes,
            identical_share,
            seed,
            upload_amplification,
            players,
        };
        summary.promises = promises::judge(&summary);
        summary.passed = summary.promises.iter().all(|promise| promise.holds);
        summary
    }

    /// Uploads of the homes that share, relative to their part of the declared uplinks; 1 is exactly it.
    #[must_use]
    pub fn upload_shares(&self) -> Vec<(&HomeReport, f64)> {
        let sharing: Vec<_> = self.homes.iter().filter(|home| home.receives && !home.metered).collect();
        let (uploaded, declared) = (
            sharing.iter().map(|home| home.uploaded_bytes).sum::<u64>(),
            sharing.iter().map(|home| home.uplink_bps).sum::<u64>(),
        );
        let share = |home: &HomeReport| ratio(home.uploaded_bytes, uploaded) / ratio(home.uplink_bps, declared);
        sharing.into_iter().map(|home| (home, share(home))).collect()
    }
}

/// 0 where there is nothing to divide by: no promise holds on nothing.
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
