//! Every bound of the system, with its reason. Over a bound there is a refusal with a reason and a counter.

use crate::time::Ticks;

/// Longest channel or subscriber name. Names become path and key parts; 64 leaves room in both.
pub const MAX_NAME_BYTES: usize = 64;

/// Unit of transfer, verification and storage: a BLAKE3 subtree of 64 leaves of 1 KiB. Small enough that a liar
/// costs at most this much, large enough that its hash is 0.05 % of the data.
pub const GROUP_BYTES: usize = 64 * 1024;

/// Largest chunk: a ten-second chunk (the longest a target may wait for a random access point) at 25 Mb/s, doubled.
pub const MAX_CHUNK_BYTES: usize = 64 * 1024 * 1024;

/// Longest note that a store keeps on a chunk. A unit index (CCF 20) of a ten-second chunk with every unit listed is
/// about 100 KiB.
pub const MAX_NOTE_BYTES: usize = 256 * 1024;

/// Longest key of a record in a store. Keys are made of ids and names, a few hundred bytes at most.
pub const MAX_TABLE_KEY_BYTES: usize = 1024;

/// Largest record in a store. A manifest of a day of four-second chunks is about 2 MiB; all of it passes the log twice.
pub const MAX_TABLE_VALUE_BYTES: usize = 16 * 1024 * 1024;

/// Most groups of a chunk.
pub const MAX_CHUNK_GROUPS: usize = MAX_CHUNK_BYTES / GROUP_BYTES;

/// Most units of a chunk: ten seconds at 120 pictures a second with 16 audios in 100 ms groups, several times over.
pub const MAX_CHUNK_UNITS: usize = 16 * 1024;

/// Most core audios of a channel. Real multiplexes carry up to about eight.
pub const MAX_CORE_AUDIO: usize = 16;

/// Shortest distance of targets: below it a chunk's 32 tables alone would outweigh a radio's audio.
pub const MIN_INTERVAL: Ticks = Ticks(18_000);
/// Longest distance of targets: a minute, beyond which a chunk of video outgrows [`MAX_CHUNK_BYTES`].
pub const MAX_INTERVAL: Ticks = Ticks(5_400_000);

/// Most anchors of a plan file or message that is kept at once: a wrap of 26.5 hours in 2-second chunks.
pub const MAX_PLAN_ANCHORS: usize = 48 * 1024;

/// Most anchors in a signed plan: enough newest ones to pin the numbering, small enough for one control frame.
pub const MAX_SIGNED_ANCHORS: usize = 16;
/// Anchors the seed remembers per channel to match reports with: an hour of 4-second chunks.
pub const MAX_TRACKED_ANCHORS: usize = 900;
/// Recorders' own numberings that the seed maps per channel: the recorders of one shard, with a clock jump or two.
pub const MAX_LOCAL_TIMELINES: usize = 4096;

/// Largest frame of the control stream. Larger things go over lanes or in pages.
pub const MAX_CTL_FRAME_BYTES: usize = 64 * 1024;
/// Most items of a list in a control frame: 128 facts or reports of up to 400 bytes fit a frame.
pub const MAX_CTL_LIST: usize = 128;
/// Grants one peer may show: a home watches a few recordings at once, not hundreds.
pub const MAX_GRANTS_PER_PEER: usize = 8;
/// Stretches of one grant: one per timeline of a recording; a clock that jumps more often is not worth following.
pub const MAX_GRANT_SPANS: usize = 64;
/// Addresses of one peer.
pub const MAX_ADDRS_PER_PEER: usize = 8;
/// Longest multiaddr text.
pub const MAX_ADDR_BYTES: usize = 256;
/// Longest free text of a message, such as a title.
pub const MAX_TEXT_BYTES: usize = 256;

/// Entries of a manifest page: the largest entries, two renditions each, still fit a control frame.
pub const MANIFEST_PAGE_ENTRIES: usize = 192;
/// Most pages of a manifest: a week in 4-second chunks, with room.
pub const MAX_MANIFEST_PAGES: u32 = 1024;
