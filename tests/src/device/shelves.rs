//! What a dishonest device offers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use aftercast_net::exchange::{ChunkProvider, Description};
use aftercast_protocol::ccf::{Chunk, ChunkState};
use aftercast_protocol::ids::{ChunkCid, DeviceId, GroupIndex};
use aftercast_protocol::limits::GROUP_BYTES;
use aftercast_protocol::serve::Class;
use aftercast_protocol::verify::{GroupHashes, GroupSet};
use aftercast_protocol::wire::lane::LaneRefusal;
use bytes::Bytes;

/// Offers chunks to everybody, with one bit of every group turned. Its lists of hashes are the true ones.
#[derive(Debug, Default)]
pub struct FlippedShelf {
    chunks: BTreeMap<ChunkCid, Vec<u8>>,
}

impl FlippedShelf {
    /// Of these chunks.
    #[must_use]
    pub fn new(chunks: &[(usize, Chunk)]) -> Self {
        Self { chunks: clean_bytes(chunks) }
    }
}

impl ChunkProvider for FlippedShelf {
    fn authorise(&self, _: DeviceId, _: &ChunkCid, _: Class) -> Result<(), LaneRefusal> {
        Ok(())
    }

    fn describe(&self, _: DeviceId, cid: &ChunkCid) -> Option<Description> {
        let hashes = GroupHashes::of(self.chunks.get(cid)?);
        let have = GroupSet::full(hashes.groups()).ok()?;
        Some(Description { hashes, have })
    }

    fn read_group(&self, cid: &ChunkCid, index: GroupIndex) -> std::io::Result<Option<Bytes>> {
        let Some(bytes) = self.chunks.get(cid) else { return Ok(None) };
        let hashes = GroupHashes::of(bytes);
        let from = index.0 as usize * GROUP_BYTES;
        let mut group = bytes[from..from + hashes.group_len(index)].to_vec();
        group[0] ^= 1;
        Ok(Some(group.into()))
    }
}

/// Offers chunks to everybody with true unit indexes, and with one bit turned in what comes after.
#[derive(Debug, Default)]
pub struct FalseUnits {
    chunks: BTreeMap<ChunkCid, Vec<u8>>,
    read: Mutex<BTreeSet<(ChunkCid, GroupIndex)>>,
}

impl FalseUnits {
    /// Of these chunks.
    #[must_use]
    pub fn new(chunks: &[(usize, Chunk)]) -> Self {
        Self { chunks: clean_bytes(chunks), read: Mutex::default() }
    }
}

impl ChunkProvider for FalseUnits {
    fn authorise(&self, _: DeviceId, _: &ChunkCid, _: Class) -> Result<(), LaneRefusal> {
        Ok(())
    }

    fn describe(&self, _: DeviceId, cid: &ChunkCid) -> Option<Description> {
        let hashes = GroupHashes::of(self.chunks.get(cid)?);
        let have = GroupSet::full(hashes.groups()).ok()?;
        Some(Description { hashes, have })
    }

    fn read_group(&self, cid: &ChunkCid, index: GroupIndex) -> std::io::Result<Option<Bytes>> {
        let Some(bytes) = self.chunks.get(cid) else { return Ok(None) };
        let mut group = bytes.chunks(GROUP_BYTES).nth(index.0 as usize).unwrap_or_default().to_vec();
        // Every group is read once for the index.
        if !self.read.lock().unwrap_or_else(PoisonError::into_inner).insert((*cid, index)) {
            group.chunks_mut(188).for_each(|packet| packet[100] ^= 1);
        }
        Ok(Some(group.into()))
    }
}

fn clean_bytes(chunks: &[(usize, Chunk)]) -> BTreeMap<ChunkCid, Vec<u8>> {
    let clean = chunks.iter().filter_map(|(_, chunk)| match &chunk.state {
        ChunkState::Clean(clean) => Some((clean.cid, clean.bytes.clone())),
        ChunkState::Withheld(_) => None,
    });
    clean.collect()
}
