//! Keys and records as they lie on the disk (format 1).
//!
//! ```text
//! column family   key                      value
//! meta            'c' cid                  record of a chunk (CBOR): its length, where its groups are, its protection
//!                 'h' cid                  its group hashes, 32 bytes each
//!                 'n' cid                  its note, the caller's
//!                 'u' cid                  when it was last used, a count (u64, big endian)
//!                 't' length(name) name key    an entry of an application's table
//! groups          position (u64)           bytes of a group
//! ```

use aftercast_protocol::ids::{ChunkCid, GroupIndex};
use aftercast_protocol::verify::groups_of_len;
use minicbor::{Decode, Encode};

use crate::Protection;

/// Format of the disk that this program writes, and the latest it reads.
pub(crate) const FORMAT: u32 = 1;

pub(crate) const META: &str = "meta";
pub(crate) const GROUPS: &str = "groups";

/// Where a group lies: groups are numbered in the order in which they are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub(crate) struct Position(#[n(0)] pub u64);

impl Position {
    pub(crate) fn key(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
    pub(crate) fn of_key(key: &[u8]) -> Option<Self> {
        Some(Self(u64::from_be_bytes(key.try_into().ok()?)))
    }
    pub(crate) fn plus(self, count: u32) -> Self {
        Self(self.0.saturating_add(u64::from(count)))
    }
}

/// Groups of a chunk that follow each other, in the chunk and in their positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Run {
    #[n(0)]
    pub group: u32,
    #[n(1)]
    pub count: u32,
    #[n(2)]
    pub position: Position,
}

/// A chunk's record.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Record {
    /// Length of the whole chunk in bytes.
    #[n(0)]
    pub len: u64,
    /// The groups that are here, in order.
    #[n(1)]
    pub runs: Vec<Run>,
    #[n(2)]
    pub protection: Protection,
}

impl Record {
    pub(crate) fn encode(&self) -> Vec<u8> {
        minicbor::to_vec(self).expect("a record is written to memory")
    }

    /// Why this record cannot be one of ours, if so.
    pub(crate) fn flaw(&self) -> Option<String> {
        let Some(groups) = groups_of_len(self.len) else { return Some(format!("{} bytes", self.len)) };
        let mut behind = 0;
        for run in &self.runs {
            let end = run.group.checked_add(run.count).filter(|end| *end <= groups);
            match end {
                Some(end) if run.count > 0 && run.group >= behind => behind = end,
                _ => return Some(format!("groups {} + {} of {groups}", run.group, run.count)),
            }
        }
        None
    }

    pub(crate) fn groups(&self) -> u32 {
        // Lengths outside the limits are refused where records are read and chunks begun.
        groups_of_len(self.len).unwrap_or(0)
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.runs.iter().map(|run| run.count).sum::<u32>() == self.groups()
    }

    pub(crate) fn position(&self, group: GroupIndex) -> Option<Position> {
        let before = self.runs.partition_point(|run| run.group <= group.0);
        let run = self.runs.get(before.checked_sub(1)?)?;
        let inside = group.0 - run.group;
        (inside < run.count).then(|| run.position.plus(inside))
    }

    /// Adds a group that is not here yet.
    pub(crate) fn insert(&mut self, group: GroupIndex, position: Position) {
        let at = self.runs.partition_point(|run| run.group <= group.0);
        if let Some(run) = at.checked_sub(1).and_then(|before| self.runs.get_mut(before))
            && run.group + run.count == group.0
            && run.position.plus(run.count) == position
        {
            run.count += 1;
        } else {
            self.runs.insert(at, Run { group: group.0, count: 1, position });
        }
    }

    /// Takes a group out; gives where it lay.
    pub(crate) fn remove(&mut self, group: GroupIndex) -> Option<Position> {
        let position = self.position(group)?;
        let at = self.runs.partition_point(|run| run.group <= group.0).checked_sub(1)?;
        let run = self.runs.remove(at);
        let before = Run { count: group.0 - run.group, ..run };
        let behind = Run {
            group: group.0 + 1,
            count: run.count - before.count - 1,
            position: run.position.plus(before.count + 1),
        };
        let rest = [before, behind].into_iter().filter(|run| run.count > 0);
        self.runs.splice(at..at, rest);
        Some(position)
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
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_record_of_format_1_stays_readable() {
        let runs = vec![Run { group: 0, count: 1, position: Position(300) }];
        let record = Record { len: 70_000, runs, protection: Protection::Pinned };
        let golden = [0x83, 0x1a, 0, 1, 0x11, 0x70, 0x81, 0x83, 0, 1, 0x19, 1, 0x2c, 2];
        assert_eq!(record.encode(), golden);
        assert_eq!(minicbor::decode::<Record>(&golden).ok(), Some(record));
    }

    #[test]
    fn records_that_cannot_be_ours_are_found() {
        let record = |len, runs: &[(u32, u32)]| Record {
            len,
            runs: runs.iter().map(|&(group, count)| Run { group, count, position: Position(0) }).collect(),
            protection: Protection::Pinned,
        };
        assert_eq!(record(70_000, &[(0, 1), (1, 1)]).flaw(), None);
        for bad in [&[(0, 3)][..], &[(1, 1), (0, 1)], &[(0, 2), (1, 1)], &[(0, 0)], &[(u32::MAX, 2)]] {
            assert!(record(70_000, bad).flaw().is_some(), "{bad:?}");
        }
        assert!(record(0, &[]).flaw().is_some());
        assert!(record(u64::MAX, &[]).flaw().is_some());
    }

    #[test]
    fn the_end_of_a_prefix_carries_over_full_bytes() {
        assert_eq!(behind_prefix(&[1, 255, 255]), Some(vec![2]));
        assert_eq!(behind_prefix(&[255]), None);
    }

    proptest! {
        #[test]
        fn runs_hold_what_a_map_would(ops in prop::collection::vec((0..12_u32, any::<bool>()), 0..60)) {
            let len = 12 * 65536;
            let mut record = Record { len, runs: Vec::new(), protection: Protection::Pinned };
            let mut map = BTreeMap::new();
            for (next, (group, insert)) in ops.into_iter().enumerate() {
                let (n, position) = (GroupIndex(group), Position(next as u64));
                if !insert {
                    prop_assert_eq!(record.remove(n), map.remove(&group));
                } else if let std::collections::btree_map::Entry::Vacant(vacant) = map.entry(group) {
                    vacant.insert(position);
                    record.insert(n, position);
                }
                prop_assert_eq!(record.flaw(), None);
                for group in 0..12 {
                    prop_assert_eq!(record.position(GroupIndex(group)), map.get(&group).copied());
                }
                prop_assert_eq!(record.is_complete(), map.len() == 12);
            }
        }
    }
}
