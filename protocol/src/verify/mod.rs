//! Group hashes of a BLAKE3 CID: how a part of a chunk is proven without the rest.
//!
//! A chunk's CID is the root of a BLAKE3 tree. Its subtrees of 64 KiB are the *groups*; the list of their chaining
//! values (0.05 % of the data) merges to the CID, and each value proves its own group, in any order, from any source.
//!
//! ```text
//!            CID                 merges_to_cid: the list is right, or its giver lied
//!         /       \
//!       .           cv3          check_group:   a group is right, or its giver lied
//!     /   \        /
//!   cv0   cv1 ...  64 KiB
//! ```
//!
//! Promise: no byte that passes [`GroupHashes::check_group`] differs from the chunk's.
//!
//! **The length must be trusted.** A chaining value does not say how much it stands for: the list `[cv0+cv1, cv2+cv3]`
//! merges to the same CID as `[cv0, cv1, cv2, cv3]`, under another length. So take the length from a signed fact or
//! manifest. Without one, a failed check convicts nobody until the last group has been verified under that length,
//! which nobody can bring about for a wrong one.
//!
//! Not here: the block view that foreign protocols want, who is asked, what a lie costs ([`crate::score`]).

mod groups;
mod set;

pub use groups::{BadGroup, BadHashes, GroupHashes};
pub use set::{BadSet, GroupRange, GroupSet};

use crate::limits::{GROUP_BYTES, MAX_CHUNK_BYTES};

/// Number of groups of a chunk of `len` bytes; none where no chunk has that length (zero, or over
/// [`MAX_CHUNK_BYTES`]).
#[must_use]
pub fn groups_of_len(len: u64) -> Option<u32> {
    if len == 0 || len > MAX_CHUNK_BYTES as u64 {
        return None;
    }
    u32::try_from(len.div_ceil(GROUP_BYTES as u64)).ok()
}

/// Number of bytes of group `index` in a chunk of `len` bytes; zero outside the chunk.
#[must_use]
pub fn group_len(len: u64, index: crate::ids::GroupIndex) -> usize {
    let start = u64::from(index.0) * GROUP_BYTES as u64;
    usize::try_from(len.saturating_sub(start)).map_or(GROUP_BYTES, |rest| rest.min(GROUP_BYTES))
}
