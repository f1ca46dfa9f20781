use std::fmt;

use minicbor::decode::Error as DecodeError;
use minicbor::encode::{Error as EncodeError, Write};
use minicbor::{Decode, Decoder, Encode, Encoder};

use crate::ids::GroupIndex;
use crate::limits::MAX_CHUNK_GROUPS;

/// A set of groups that no chunk can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSet {
    /// Over [`MAX_CHUNK_GROUPS`].
    #[error("no chunk has {0} groups")]
    Groups(u32),
    /// The bitmap's length is not that of its number of groups, or bits beyond the last group are set.
    #[error("bitmap does not fit {0} groups")]
    Bitmap(u32),
}

/// A half-open range of groups of one chunk: `start <= index < end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct GroupRange {
    /// First group.
    #[n(0)]
    pub start: u32,
    /// One past the last group.
    #[n(1)]
    pub end: u32,
}

impl GroupRange {
    /// The range `start..end`.
    #[must_use]
    pub const fn new(start: u32, end: u32) -> Self {
        Self { start, end }
    }

    /// Number of groups; zero where `end` is not after `start`.
    #[must_use]
    pub const fn len(self) -> u32 {
        self.end.saturating_sub(self.start)
    }

    /// Whether there is no group in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.end <= self.start
    }

    /// Whether the group is in it.
    #[must_use]
    pub const fn contains(self, index: GroupIndex) -> bool {
        self.start <= index.0 && index.0 < self.end
    }

    /// The groups in order. A range from elsewhere must be held against the chunk's number of groups first.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = GroupIndex> {
        (self.start..self.end).map(GroupIndex)
    }
}

impl fmt::Display for GroupRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

/// Which groups of one chunk are held: a bitmap of at most [`MAX_CHUNK_GROUPS`] bits (128 bytes).
///
/// On the wire and on disk: an array of the number of groups and a byte string, group 0 in the lowest bit of the
/// first byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSet {
    groups: u32,
    bits: Vec<u8>,
}

impl GroupSet {
    /// Nothing held of a chunk of `groups` groups.
    pub fn empty(groups: u32) -> Result<Self, BadSet> {
        if groups as usize > MAX_CHUNK_GROUPS {
            return Err(BadSet::Groups(groups));
        }
        Ok(Self { groups, bits: vec![0; (groups as usize).div_ceil(8)] })
    }

    /// All held of a chunk of `groups` groups.
    pub fn full(groups: u32) -> Result<Self, BadSet> {
        let mut set = Self::empty(groups)?;
        set.insert_range(GroupRange::new(0, groups));
        Ok(set)
    }

    /// Reads a bitmap as [`Self::bitmap`] gives it.
    pub fn from_bitmap(groups: u32, bits: &[u8]) -> Result<Self, BadSet> {
        if groups as usize > MAX_CHUNK_GROUPS {
            return Err(BadSet::Groups(groups));
        }
        let spare = (!groups.is_multiple_of(8)).then(|| 0xffu8 << (groups % 8));
        let clean = bits.last().zip(spare).is_none_or(|(last, spare)| last & spare == 0);
        if bits.len() != (groups as usize).div_ceil(8) || !clean {
            return Err(BadSet::Bitmap(groups));
        }
        Ok(Self { groups, bits: bits.to_vec() })
    }

    /// The bitmap, group 0 in the lowest bit of the first byte.
    #[must_use]
    pub fn bitmap(&self) -> &[u8] {
        &self.bits
    }

    /// Number of groups of the whole chunk.
    #[must_use]
    pub fn groups(&self) -> u32 {
        self.groups
    }

    /// Number of groups held.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.bits.iter().map(|byte| byte.count_ones()).sum()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bits.iter().all(|&byte| byte == 0)
    }

    /// Whether everything is held.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.len() == self.groups
    }

    /// Whether the group is held.
    #[must_use]
    pub fn contains(&self, index: GroupIndex) -> bool {
        self.bits.get(index.0 as usize / 8).is_some_and(|byte| byte >> (index.0 % 8) & 1 == 1)
    }

    /// Adds a group. True if it is new; false if it was there or the chunk has no such group.
    pub fn insert(&mut self, index: GroupIndex) -> bool {
        if index.0 >= self.groups || self.contains(index) {
            return false;
        }
        if let Some(byte) = self.bits.get_mut(index.0 as usize / 8) {
            *byte |= 1 << (index.0 % 8);
        }
        true
    }

    /// Takes a group out. True if it was there.
    pub fn remove(&mut self, index: GroupIndex) -> bool {
        let held = self.contains(index);
        if held && let Some(byte) = self.bits.get_mut(index.0 as usize / 8) {
            *byte &= !(1 << (index.0 % 8));
        }
        held
    }

    /// Adds a range; what reaches beyond the chunk is left out.
    pub fn insert_range(&mut self, range: GroupRange) {
        for index in GroupRange::new(range.start, range.end.min(self.groups)).iter() {
            self.insert(index);
        }
    }

    /// Adds all of another set of the same chunk; groups beyond this set's chunk are left out.
    pub fn union(&mut self, other: &Self) {
        other.held().into_iter().for_each(|range| self.insert_range(range));
    }

    /// What is held, as ordered ranges that do not touch.
    #[must_use]
    pub fn held(&self) -> Vec<GroupRange> {
        self.runs(true)
    }

    /// What is missing, as ordered ranges that do not touch.
    #[must_use]
    pub fn missing(&self) -> Vec<GroupRange> {
        self.runs(false)
    }

    /// The first missing group at or after `from`.
    #[must_use]
    pub fn first_missing(&self, from: GroupIndex) -> Option<GroupIndex> {
        (from.0..self.groups).map(GroupIndex).find(|&index| !self.contains(index))
    }

    /// Whether every group of the range is held.
    #[must_use]
    pub fn contains_range(&self, range: GroupRange) -> bool {
        range.end <= self.groups && range.iter().all(|index| self.contains(index))
    }

    fn runs(&self, held: bool) -> Vec<GroupRange> {
        let mut runs: Vec<GroupRange> = Vec::new();
        for index in 0..self.groups {
            if self.contains(GroupIndex(index)) != held {
                continue;
            }
            match runs.last_mut() {
                Some(last) if last.end == index => last.end += 1,
                _ => runs.push(GroupRange::new(index, index + 1)),
            }
        }
        runs
    }
}

impl<C> Encode<C> for GroupSet {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), EncodeError<W::Error>> {
        e.array(2)?.u32(self.groups)?.bytes(&self.bits)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for GroupSet {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
        if d.array()? != Some(2) {
            return Err(DecodeError::message("group set is not an array of two"));
        }
        let groups = d.u32()?;
        Self::from_bitmap(groups, d.bytes()?).map_err(DecodeError::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set_of(groups: u32, members: &[u32]) -> GroupSet {
        let mut set = GroupSet::empty(groups).unwrap();
        members.iter().for_each(|&index| {
            set.insert(GroupIndex(index));
        });
        set
    }

    proptest! {
        #[test]
        fn held_and_missing_partition_the_chunk(groups in 0..300u32, members in prop::collection::vec(0..400u32, 0..80)) {
            let set = set_of(groups, &members);
            let mut ranges: Vec<_> = set.held().into_iter().chain(set.missing()).collect();
            ranges.sort();
            let mut at = 0;
            for range in &ranges {
                prop_assert_eq!(range.start, at);
                prop_assert!(!range.is_empty());
                at = range.end;
            }
            prop_assert_eq!(at, groups);
            prop_assert_eq!(set.held().iter().map(|range| range.len()).sum::<u32>(), set.len());
            prop_assert_eq!(set.is_complete(), set.missing().is_empty());
        }

        #[test]
        fn survives_its_encoding(groups in 0..=MAX_CHUNK_GROUPS as u32, members in prop::collection::vec(0..1024u32, 0..80)) {
            let set = set_of(groups, &members);
            let bytes = minicbor::to_vec(&set).unwrap();
            prop_assert!(bytes.len() <= MAX_CHUNK_GROUPS / 8 + 8);
            prop_assert_eq!(minicbor::decode::<GroupSet>(&bytes).unwrap(), set);
        }

        #[test]
        fn hostile_bytes_decode_to_a_legal_set_or_not_at_all(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(set) = minicbor::decode::<GroupSet>(&bytes) {
                prop_assert!(set.groups() as usize <= MAX_CHUNK_GROUPS);
                prop_assert!(set.len() <= set.groups());
            }
        }
    }

    #[test]
    fn bits_beyond_the_last_group_are_refused() {
        assert_eq!(GroupSet::from_bitmap(3, &[0b1000]), Err(BadSet::Bitmap(3)));
        assert_eq!(GroupSet::from_bitmap(8, &[0xff]).map(|set| set.len()), Ok(8));
        assert_eq!(GroupSet::from_bitmap(u32::MAX, &[]), Err(BadSet::Groups(u32::MAX)));
        assert_eq!(GroupSet::from_bitmap(9, &[0]), Err(BadSet::Bitmap(9)));
    }

    #[test]
    fn ranges_from_elsewhere_cannot_reach_beyond_the_chunk() {
        let mut set = GroupSet::empty(4).unwrap();
        set.insert_range(GroupRange::new(2, u32::MAX));
        assert_eq!(set.held(), [GroupRange::new(2, 4)]);
        assert!(!set.insert(GroupIndex(u32::MAX)));
        assert!(!set.contains_range(GroupRange::new(2, u32::MAX)));
        set.insert_range(GroupRange::new(3, 1));
        assert_eq!(set.len(), 2);
    }
}
