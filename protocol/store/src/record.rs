//! Keys and records as they lie on the disk (format 1).
//!
//! ```text
//! column family   key                                  value
//! meta            'c' cid                              record of a chunk (CBOR)
//!                 'h' cid                              its group hashes, 32 bytes each
//!                 'n' cid                              its note, the caller's
//!                 'u' cid                              when it was last read, a count (u64, big endian)
//!                 't' length(name) name key            an entry of an application's table
//! groups          ordinal (u64) group (u32)            bytes of a group of a whole chunk: one table file per chunk
//! parts           ordinal (u64) group (u32)            bytes of a group of a partial chunk
//!                 ordinal (u64) 0xffffffff             which of its groups `parts` holds: a bitmap
//! ```
//!
//! Ordinals number chunks in the order of their arrival and are never used twice while their groups exist, so one
//! chunk's groups lie together and the oldest chunks' table files are the first ones.

use aftercast_protocol::ids::{ChunkCid, GroupIndex};
use minicbor::{Decode, Encode};

use crate::Protection;

/// Format of the disk that this program writes, and the latest it reads.
pub(crate) const FORMAT: u32 = 1;

pub(crate) const META: &str = "meta";
pub(crate) const GROUPS: &str = "groups";
pub(crate) const PARTS: &str = "parts";

/// Local number of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub(crate) struct Ordinal(#[n(0)] pub u64);

/// A chunk's record.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Record {
    #[n(0)]
    pub ordinal: Ordinal,
    /// Length of the whole chunk in bytes.
    #[n(1)]
    pub len: u64,
    /// Its groups lie in `groups`, all but those in `dropped`.
    #[n(2)]
    pub settled: bool,
    /// Groups that were found damaged in `groups`.
    #[n(3)]
    pub dropped: Vec<u32>,
    #[n(4)]
    pub protection: Protection,
}

impl Record {
    pub(crate) fn encode(&self) -> Vec<u8> {
        minicbor::to_vec(self).expect("a record is written to memory")
    }
}

pub(crate) fn chunk_key(tag: u8, cid: ChunkCid) -> [u8; 33] {
    let mut key = [tag; 33];
    key[1..].copy_from_slice(&cid.0);
    key
}

pub(crate) fn cid_of_key(key: &[u8]) -> Option<ChunkCid> {
    key.get(1..)?.try_into().ok().map(ChunkCid)
}

pub(crate) const RECORD: u8 = b'c';
pub(crate) const HASHES: u8 = b'h';
pub(crate) const NOTE: u8 = b'n';
pub(crate) const USED: u8 = b'u';
const TABLE: u8 = b't';

pub(crate) fn group_key(ordinal: Ordinal, group: GroupIndex) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&ordinal.0.to_be_bytes());
    key[8..].copy_from_slice(&group.0.to_be_bytes());
    key
}

/// Key of the bits of a partial chunk; sorts behind its groups.
pub(crate) fn bits_key(ordinal: Ordinal) -> [u8; 12] {
    group_key(ordinal, GroupIndex(u32::MAX))
}

pub(crate) fn ordinal_of_key(key: &[u8]) -> Option<Ordinal> {
    Some(Ordinal(u64::from_be_bytes(key.get(..8)?.try_into().ok()?)))
}

/// What every key of a table begins with. `name` is a constant of ours, below 256 bytes.
pub(crate) fn table_prefix(name: &str) -> Vec<u8> {
    let len = u8::try_from(name.len()).expect("a table's name is a short constant");
    let mut prefix = vec![TABLE, len];
    prefix.extend(name.as_bytes());
    prefix
}

/// The first key behind all that begin with `prefix`; none where there is no such key.
pub(crate) fn behind_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let keep = prefix.iter().rposition(|&byte| byte != u8::MAX)?;
    let mut end = prefix[..=keep].to_vec();
    end[keep] += 1;
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_format_1_stays_readable() {
        let record = Record {
            ordinal: Ordinal(7),
            len: 70_000,
            settled: true,
            dropped: vec![1],
            protection: Protection::Pinned,
        };
        let golden = [0x85, 7, 0x1a, 0, 1, 0x11, 0x70, 0xf5, 0x81, 1, 2];
        assert_eq!(record.encode(), golden);
        assert_eq!(minicbor::decode::<Record>(&golden).ok(), Some(record));
    }

    #[test]
    fn the_end_of_a_prefix_carries_over_full_bytes() {
        assert_eq!(behind_prefix(&[1, 255, 255]), Some(vec![2]));
        assert_eq!(behind_prefix(&[255]), None);
    }
}
