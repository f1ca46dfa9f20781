//! Every bound of the system, with its reason. Over a bound there is a refusal with a reason and a counter.

use crate::time::Ticks;

/// Longest channel or subscriber name. Names become path and key parts; 64 leaves room in both.
pub const MAX_NAME_BYTES: usize = 64;

/// Unit of transfer, verification and storage: a BLAKE3 subtree of 64 leaves of 1 KiB. Small enough that a liar
/// costs at most this much, large enough that its hash is 0.05 % of the data.
pub const GROUP_BYTES: usize = 64 * 1024;

/// Largest chunk: a ten-second chunk (the longest a target may wait for a random access point) at 25 Mb/s, doubled.
pub const MAX_CHUNK_BYTES: usize = 64 * 1024 * 1024;

/// Most groups of a chunk.
pub const MAX_CHUNK_GROUPS: usize = MAX_CHUNK_BYTES / GROUP_BYTES;

/// Most units of a chunk: ten seconds at 120 pictures a second with 16 audios in 100 ms groups, several times over.
pub const MAX_CHUNK_UNITS: usize = 16 * 1024;

/// Most core audios of a channel: as many as a PMT of one packet holds. Real multiplexes carry up to about eight.
pub const MAX_CORE_AUDIO: usize = 14;

/// Shortest distance of targets: below it a chunk's 32 tables alone would outweigh a radio's audio.
pub const MIN_INTERVAL: Ticks = Ticks(18_000);
/// Longest distance of targets: a minute, beyond which a chunk of video outgrows [`MAX_CHUNK_BYTES`].
pub const MAX_INTERVAL: Ticks = Ticks(5_400_000);

/// Most anchors of a plan file or message that is kept at once: a wrap of 26.5 hours in 2-second chunks.
pub const MAX_PLAN_ANCHORS: usize = 48 * 1024;

/// Bytes handed to connections and not yet written out, over all peers: what serving may cost in memory.
pub const SERVE_BYTES_TOTAL: u64 = 64 * 1024 * 1024;
/// The same for one peer: enough to fill 1 Gb/s over 30 ms, and sixteen slow readers cannot eat the total alone.
pub const SERVE_BYTES_PER_PEER: u64 = 4 * 1024 * 1024;
/// Requests one peer may have waiting: four lanes, a scheduler that looks a few chunks ahead, and room.
pub const SERVE_REQUESTS_PER_PEER: usize = 64;
/// Requests waiting in all; each costs some 32 bytes. Over it the answer is Busy.
pub const SERVE_REQUESTS_TOTAL: usize = 4096;
/// Peers with something waiting or in flight; each quantum handed out looks at all of them once.
pub const SERVE_PEERS: usize = 512;

/// Peers whose score is remembered, 100 bytes each; over it the one not heard of for longest is forgotten.
pub const MAX_SCORES: usize = 4096;
/// Banned peers remembered; over it the oldest ban is forgotten. Devices are enrolled, so new names are not free.
pub const MAX_BANS: usize = 4096;
/// Chunks wanted at once: more than an hour of read-ahead at 4 s. Over it a want is refused.
pub const MAX_WANTS: usize = 1024;
/// Holders remembered per wanted chunk. The scheduler samples eight; the rest is reserve.
pub const MAX_HOLDERS: usize = 64;
/// Connected sources that the scheduler weighs; over it a new one is not used until another goes.
pub const MAX_SOURCES: usize = 512;
/// Lanes to one source (one request each at a time; the scheduler keeps one more per lane waiting).
pub const MAX_LANES: u8 = 4;

/// Largest video unit: no level of H.264 or H.265 that is broadcast allows an intra picture of 8 MiB.
pub const MAX_UNIT_BYTES: usize = 8 * 1024 * 1024;

/// Most bytes of one audio that wait for the video they belong to: a minute of the highest AAC and MPEG rates.
pub const MAX_AUDIO_WAITING_BYTES: u64 = 4 * 1024 * 1024;

/// Most chunks that wait for their audio. The wait ends 10 seconds of media time after a chunk at the latest; this
/// bounds it where the interval is short.
pub const MAX_CHUNKS_WAITING: usize = 128;
