use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};

use super::{group_len, groups_of_len};
use crate::ids::{ChunkCid, GroupIndex};
use crate::limits::GROUP_BYTES;

/// A list of group hashes that is not the list of the chunk it was given for. Its giver lied, provided that the
/// length is trusted (module page); asking another source helps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadHashes {
    /// No chunk is that long.
    #[error("no chunk has {0} bytes")]
    Length(u64),
    /// Not one hash per group.
    #[error("{given} group hashes for a chunk of {wanted} groups")]
    Count {
        /// Groups in a chunk of this length.
        wanted: u32,
        /// Hashes in the list; whole ones, where the list came as bytes.
        given: usize,
    },
    /// The list merges to another digest than the CID's.
    #[error("group hashes do not merge to {0}")]
    Root(ChunkCid),
}

/// A group that is not the chunk's. Asking another source helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadGroup {
    /// The chunk has no group of that index: our own request was wrong.
    #[error("the chunk has no group {0}")]
    NoSuchGroup(GroupIndex),
    /// Too few or too many bytes: the sender did not send what the length says.
    #[error("group {index} has {given} bytes, not {wanted}")]
    Length {
        /// The group.
        index: GroupIndex,
        /// Its length in bytes.
        wanted: usize,
        /// Bytes given.
        given: usize,
    },
    /// The bytes hash to something else: the sender lied.
    #[error("group {0} does not match its hash")]
    Hash(GroupIndex),
}

/// The proven list of a chunk's group hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupHashes {
    cid: ChunkCid,
    len: u64,
    /// Chaining value of each group's subtree; the root digest itself where there is only one group.
    hashes: Vec<[u8; 32]>,
}

impl GroupHashes {
    /// Hashes a whole chunk: its list, and with it its CID. Bytes of no legal length (none, or more than a chunk
    /// may have) are hashed all the same; such a list is refused by [`Self::checked`] everywhere else.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let len = bytes.len() as u64;
        if bytes.len() <= GROUP_BYTES {
            let cid = ChunkCid::of(bytes);
            return Self { cid, len, hashes: vec![cid.0] };
        }
        let hashes: Vec<_> =
            bytes.chunks(GROUP_BYTES).zip(0..).map(|(group, index)| chaining_value(index, group)).collect();
        Self { cid: merge_root(&hashes), len, hashes }
    }

    /// Takes a list from elsewhere if it is the list of chunk `cid`, whose length in bytes is `len` (trusted: see the
    /// module page).
    pub fn checked(cid: ChunkCid, len: u64, hashes: Vec<[u8; 32]>) -> Result<Self, BadHashes> {
        let wanted = groups_of_len(len).ok_or(BadHashes::Length(len))?;
        if hashes.len() != wanted as usize {
            return Err(BadHashes::Count { wanted, given: hashes.len() });
        }
        if merge_root(&hashes) != cid {
            return Err(BadHashes::Root(cid));
        }
        Ok(Self { cid, len, hashes })
    }

    /// [`Self::checked`] for a list as [`Self::as_bytes`] writes it.
    pub fn checked_bytes(cid: ChunkCid, len: u64, bytes: &[u8]) -> Result<Self, BadHashes> {
        let (hashes, rest) = bytes.as_chunks::<32>();
        if !rest.is_empty() {
            let wanted = groups_of_len(len).ok_or(BadHashes::Length(len))?;
            return Err(BadHashes::Count { wanted, given: hashes.len() });
        }
        // The count is compared before anything is copied: a long list costs its giver more than us.
        match groups_of_len(len) {
            Some(wanted) if wanted as usize != hashes.len() => Err(BadHashes::Count { wanted, given: hashes.len() }),
            _ => Self::checked(cid, len, hashes.to_vec()),
        }
    }

    /// The chunk's content id.
    #[must_use]
    pub fn cid(&self) -> ChunkCid {
        self.cid
    }

    /// The chunk's length in bytes.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.len
    }

    /// Number of groups.
    #[must_use]
    pub fn groups(&self) -> u32 {
        u32::try_from(self.hashes.len()).expect("a chunk in memory has fewer than 2^32 groups")
    }

    /// The hashes, one per group, in order.
    #[must_use]
    pub fn as_slice(&self) -> &[[u8; 32]] {
        &self.hashes
    }

    /// The hashes one after another, 32 bytes each: the form for wire and disk.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.hashes.as_flattened()
    }

    /// Length of a group in bytes; zero where the chunk has no such group.
    #[must_use]
    pub fn group_len(&self, index: GroupIndex) -> usize {
        group_len(self.len, index)
    }

    /// Whether `bytes` are the chunk's group `index`.
    pub fn check_group(&self, index: GroupIndex, bytes: &[u8]) -> Result<(), BadGroup> {
        let expected = self.hashes.get(index.0 as usize).ok_or(BadGroup::NoSuchGroup(index))?;
        let wanted = self.group_len(index);
        if bytes.len() != wanted {
            return Err(BadGroup::Length { index, wanted, given: bytes.len() });
        }
        let actual =
            if self.hashes.len() == 1 { *blake3::hash(bytes).as_bytes() } else { chaining_value(index.0, bytes) };
        if actual == *expected { Ok(()) } else { Err(BadGroup::Hash(index)) }
    }
}

/// Chaining value of one group among several. `group` is not empty and at most [`GROUP_BYTES`] long.
fn chaining_value(index: u32, group: &[u8]) -> [u8; 32] {
    blake3::Hasher::new().set_input_offset(u64::from(index) * GROUP_BYTES as u64).update(group).finalize_non_root()
}

/// The digest that a list stands for. One group alone was finalised as the root: it has no parent. The list is not
/// empty.
fn merge_root(hashes: &[[u8; 32]]) -> ChunkCid {
    match hashes {
        [only] => ChunkCid(*only),
        _ => {
            let (left, right) = halves(hashes);
            ChunkCid(*merge_subtrees_root(&merge(left), &merge(right), Mode::Hash).as_bytes())
        }
    }
}

fn merge(hashes: &[[u8; 32]]) -> [u8; 32] {
    match hashes {
        [only] => *only,
        _ => {
            let (left, right) = halves(hashes);
            merge_subtrees_non_root(&merge(left), &merge(right), Mode::Hash)
        }
    }
}

/// BLAKE3's tree shape: the left subtree is the largest power of two that leaves the right one something
/// (BLAKE3 paper, 2.1). Two hashes or more.
fn halves(hashes: &[[u8; 32]]) -> (&[[u8; 32]], &[[u8; 32]]) {
    hashes.split_at(hashes.len().div_ceil(2).next_power_of_two())
}

#[cfg(test)]
mod tests {
    use bao_tree::io::outboard::PostOrderMemOutboard;
    use bao_tree::io::sync::Outboard;
    use bao_tree::{BaoTree, BlockSize, TreeNode};
    use proptest::prelude::*;

    use super::*;

    fn bytes_of(len: usize, seed: u8) -> Vec<u8> {
        (0..len).map(|at| ((at * 31 + at / 251) as u8) ^ seed).collect()
    }

    /// The group hashes as `bao-tree` has them: the children of its outboard's nodes that are groups themselves.
    fn oracle(bytes: &[u8]) -> ([u8; 32], Vec<[u8; 32]>) {
        let outboard = PostOrderMemOutboard::create(bytes, BlockSize::from_chunk_log(6));
        let mut hashes = Vec::new();
        let mut at: u64 = 0;
        for node in in_order(&outboard.tree) {
            let Some((left, right)) = outboard.load(node).unwrap() else { continue };
            let covered = node.chunk_range();
            let (start, end) = (covered.start.to_bytes(), covered.end.to_bytes().min(bytes.len() as u64));
            let mid = (node.chunk_range().start.to_bytes() + node.chunk_range().end.to_bytes()) / 2;
            for (hash, (from, to)) in [(left, (start, mid)), (right, (mid, end))] {
                if from == at && to - from <= GROUP_BYTES as u64 {
                    hashes.push(*hash.as_bytes());
                    at = to;
                }
            }
        }
        (*outboard.root.as_bytes(), hashes)
    }

    fn in_order(tree: &BaoTree) -> Vec<TreeNode> {
        let mut nodes: Vec<_> = tree.pre_order_nodes_iter().collect();
        nodes.sort();
        nodes
    }

    fn lens() -> impl Strategy<Value = usize> {
        let near = (1..20usize, -2..=2isize).prop_map(|(groups, off)| (groups * GROUP_BYTES).wrapping_add_signed(off));
        prop_oneof![1..3000usize, near, 1..20 * GROUP_BYTES]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn agrees_with_bao_tree(len in lens(), seed: u8) {
            let bytes = bytes_of(len, seed);
            let ours = GroupHashes::of(&bytes);
            let (root, hashes) = oracle(&bytes);
            prop_assert_eq!(ours.cid(), ChunkCid(root));
            prop_assert_eq!(ours.cid(), ChunkCid::of(&bytes));
            if len > GROUP_BYTES {
                prop_assert_eq!(ours.as_slice(), hashes);
            }
            let read = GroupHashes::checked_bytes(ours.cid(), len as u64, ours.as_bytes());
            prop_assert_eq!(read, Ok(ours));
        }

        #[test]
        fn every_true_group_passes_and_no_changed_one_does(len in lens(), at: prop::sample::Index, flip in 1..=255u8) {
            let mut bytes = bytes_of(len, 7);
            let hashes = GroupHashes::of(&bytes);
            for (group, index) in bytes.chunks(GROUP_BYTES).zip(0..) {
                prop_assert_eq!(hashes.check_group(GroupIndex(index), group), Ok(()));
            }
            let at = at.index(len);
            bytes[at] ^= flip;
            let index = GroupIndex((at / GROUP_BYTES) as u32);
            let group = bytes.chunks(GROUP_BYTES).nth(index.0 as usize).unwrap();
            prop_assert_eq!(hashes.check_group(index, group), Err(BadGroup::Hash(index)));
        }

        #[test]
        fn any_change_to_a_list_is_refused(len in lens(), which: prop::sample::Index, byte in 0..32usize) {
            let whole = GroupHashes::of(&bytes_of(len, 1));
            let mut list = whole.as_slice().to_vec();
            let which = which.index(list.len());
            list[which][byte] ^= 1;
            prop_assert_eq!(
                GroupHashes::checked(whole.cid(), len as u64, list),
                Err(BadHashes::Root(whole.cid()))
            );
        }

        #[test]
        fn arbitrary_lists_are_refused(len: u64, list in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(GroupHashes::checked_bytes(ChunkCid([3; 32]), len, &list).is_err());
        }
    }

    #[test]
    fn a_group_in_the_wrong_place_fails() {
        // Equal bytes have different chaining values at different offsets, so not even twins can be confused in a list.
        let hashes = GroupHashes::of(&vec![9; 3 * GROUP_BYTES]);
        assert_ne!(hashes.as_slice()[0], hashes.as_slice()[1]);
        let bytes = bytes_of(3 * GROUP_BYTES, 0);
        let hashes = GroupHashes::of(&bytes);
        assert_eq!(hashes.check_group(GroupIndex(1), &bytes[..GROUP_BYTES]), Err(BadGroup::Hash(GroupIndex(1))));
    }

    #[test]
    fn lengths_and_indices_outside_the_chunk_are_refused() {
        let bytes = bytes_of(GROUP_BYTES + 5, 0);
        let hashes = GroupHashes::of(&bytes);
        assert_eq!(hashes.groups(), 2);
        assert_eq!(hashes.group_len(GroupIndex(1)), 5);
        assert_eq!(hashes.group_len(GroupIndex(2)), 0);
        assert_eq!(
            hashes.check_group(GroupIndex(1), &bytes[GROUP_BYTES..GROUP_BYTES + 4]),
            Err(BadGroup::Length { index: GroupIndex(1), wanted: 5, given: 4 })
        );
        assert_eq!(hashes.check_group(GroupIndex(2), &[]), Err(BadGroup::NoSuchGroup(GroupIndex(2))));
        assert_eq!(hashes.check_group(GroupIndex(u32::MAX), &[]), Err(BadGroup::NoSuchGroup(GroupIndex(u32::MAX))));
    }

    #[test]
    fn a_list_under_another_length_is_refused_where_the_count_shows_it() {
        let hashes = GroupHashes::of(&bytes_of(3 * GROUP_BYTES, 0));
        let list = hashes.as_slice().to_vec();
        assert_eq!(
            GroupHashes::checked(hashes.cid(), 2 * GROUP_BYTES as u64, list),
            Err(BadHashes::Count { wanted: 2, given: 3 })
        );
        assert_eq!(GroupHashes::checked(hashes.cid(), 0, vec![]), Err(BadHashes::Length(0)));
    }

    #[test]
    fn a_list_of_larger_subtrees_never_proves_its_last_group() {
        // The forged list merges to the true CID under half the length; no bytes can satisfy its last group.
        let bytes = bytes_of(4 * GROUP_BYTES, 0);
        let whole = GroupHashes::of(&bytes);
        let forged = whole.as_slice().chunks(2).map(merge).collect();
        let forged = GroupHashes::checked(whole.cid(), 2 * GROUP_BYTES as u64, forged).unwrap();
        for group in bytes.chunks(GROUP_BYTES) {
            assert!(forged.check_group(GroupIndex(1), group).is_err());
        }
    }
}
