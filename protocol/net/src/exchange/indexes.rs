//! Unit indexes of the chunks that somebody repairs: made when they are asked for, kept for those who ask next.
//!
//! A storm damages the same chunk in many homes, so an index is rarely asked for once. Making one reads the whole chunk
//! and hashes its units: a small question with a large answer in work. They are therefore made one at a time, and between
//! two there is a rest, whoever asks.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use aftercast_protocol::ccf::UnitIndex;
use aftercast_protocol::ids::ChunkCid;
use aftercast_protocol::limits::{LANE_TURN, MAX_PART_BYTES};
use aftercast_protocol::time::Pts33;
use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::duration;
use super::server::{ChunkProvider, Description};

/// Indexes kept: of the chunks of two minutes, some 2 MiB.
const KEPT: usize = 32;
/// Rest after an index was made, in times of what making it took: at most a fifth of a core goes into indexes.
const REST: u32 = 4;

/// Why there is no index.
#[derive(Debug)]
pub(super) enum NoIndex {
    /// Not all of the chunk is here, or it is none.
    NotFound,
    /// Others wait for theirs.
    Busy,
    /// The store failed.
    Store(io::Error),
}

/// The indexes of one program.
#[derive(Debug)]
pub(super) struct Indexes {
    kept: Mutex<VecDeque<((ChunkCid, Pts33), Bytes)>>,
    turn: Arc<Semaphore>,
}

impl Default for Indexes {
    fn default() -> Self {
        Self { kept: Mutex::default(), turn: Arc::new(Semaphore::new(1)) }
    }
}

impl Indexes {
    /// The index of a chunk, as bytes.
    pub async fn get(
        &self,
        provider: &Arc<dyn ChunkProvider>,
        cid: ChunkCid,
        from: Pts33,
        description: &Description,
    ) -> Result<Bytes, NoIndex> {
        if let Some(index) = self.kept(&(cid, from)) {
            return Ok(index);
        }
        if !description.have.is_complete() {
            return Err(NoIndex::NotFound);
        }
        let turn = timeout(duration(LANE_TURN), Arc::clone(&self.turn).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(NoIndex::Busy) };
        // Whoever had the turn before may have made the same one.
        if let Some(index) = self.kept(&(cid, from)) {
            return Ok(index);
        }
        let began = Instant::now();
        let (provider, groups) = (Arc::clone(provider), description.hashes.groups());
        let made = spawn_blocking(move || make(&*provider, cid, from, groups)).await;
        let took = began.elapsed();
        tokio::spawn(async move {
            tokio::time::sleep(took * REST).await;
            drop(turn);
        });
        let index = made.map_err(|e| NoIndex::Store(io::Error::other(e)))??;
        self.keep((cid, from), index.clone());
        Ok(index)
    }

    fn kept(&self, key: &(ChunkCid, Pts33)) -> Option<Bytes> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|(known, _)| known == key).map(|(_, index)| index.clone())
    }

    fn keep(&self, key: (ChunkCid, Pts33), index: Bytes) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_front((key, index));
        kept.truncate(KEPT);
    }
}

fn make(provider: &dyn ChunkProvider, cid: ChunkCid, from: Pts33, groups: u32) -> Result<Bytes, NoIndex> {
    let mut chunk = Vec::new();
    for group in 0..groups {
        let read = provider.read_group(&cid, aftercast_protocol::ids::GroupIndex(group)).map_err(NoIndex::Store)?;
        chunk.extend_from_slice(&read.ok_or(NoIndex::NotFound)?);
    }
    // Heads are no chunks in canonical form: there is nothing to repair with them.
    let index = UnitIndex::of_chunk(from, &chunk).map_err(|_| NoIndex::NotFound)?.encode();
    if index.len() > MAX_PART_BYTES { Err(NoIndex::NotFound) } else { Ok(index.into()) }
}
