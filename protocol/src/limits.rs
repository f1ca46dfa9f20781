//! Every bound of the system, with its reason. Over a bound there is a refusal with a reason and a counter.

/// Longest channel or subscriber name. Names become path and key parts; 64 leaves room in both.
pub const MAX_NAME_BYTES: usize = 64;

/// Unit of transfer, verification and storage: a BLAKE3 subtree of 64 leaves of 1 KiB. Small enough that a liar
/// costs at most this much, large enough that its hash is 0.05 % of the data.
pub const GROUP_BYTES: usize = 64 * 1024;

/// Largest chunk: a ten-second chunk (the longest a target may wait for a random access point) at 25 Mb/s, doubled.
pub const MAX_CHUNK_BYTES: usize = 64 * 1024 * 1024;

/// Most groups of a chunk.
pub const MAX_CHUNK_GROUPS: usize = MAX_CHUNK_BYTES / GROUP_BYTES;
