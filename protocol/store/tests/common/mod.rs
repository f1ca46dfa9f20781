//! What the tests of the store share.

#![allow(dead_code, reason = "each test file uses its part of it")]

use std::path::{Path, PathBuf};

use aftercast_protocol::ids::ChunkCid;
use aftercast_protocol::verify::GroupHashes;
use aftercast_store::{Store, StoreConfig};

pub const GROUP: usize = aftercast_protocol::limits::GROUP_BYTES;

/// A chunk to store.
#[derive(Clone)]
pub struct Chunk {
    pub cid: ChunkCid,
    pub bytes: Vec<u8>,
    pub hashes: GroupHashes,
}

impl Chunk {
    /// Bytes that look random and follow from the seed.
    pub fn new(seed: u64, len: usize) -> Self {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend(state.to_le_bytes());
        }
        bytes.truncate(len);
        Self { cid: ChunkCid::of(&bytes), hashes: GroupHashes::of(&bytes), bytes }
    }

    pub fn group(&self, n: u32) -> &[u8] {
        let start = n as usize * GROUP;
        &self.bytes[start..self.bytes.len().min(start + GROUP)]
    }

    pub fn groups(&self) -> u32 {
        self.bytes.len().div_ceil(GROUP) as u32
    }
}

/// No reserve: tests may run on small disks.
pub fn config() -> StoreConfig {
    StoreConfig { reserve_free_bytes: 0, ..StoreConfig::default() }
}

pub fn open(path: &Path) -> Store {
    Store::open(path, config()).expect("the store opens")
}

/// Bytes that the database's files take.
pub fn disk_used(store: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    files(store).iter().map(|file| file.metadata().map_or(0, |meta| meta.blocks() * 512)).sum()
}

pub fn table_files(store: &Path) -> Vec<PathBuf> {
    files(store).into_iter().filter(|file| file.extension().is_some_and(|ext| ext == "sst")).collect()
}

fn files(store: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(store.join("db")).expect("the database's folder is there");
    entries.map(|entry| entry.expect("it can be listed").path()).collect()
}
