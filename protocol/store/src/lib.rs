//! The store of chunks and small records that node and seed share, on RocksDB.
//!
//! # Promises
//!
//! * A write that returned with [`Durability::Synced`] survives a power cut. One that returned with
//!   [`Durability::Buffered`] survives the end of the process, and becomes durable with the next synced write or
//!   [`Store::sync`], in order: what a durable record was written after is durable too.
//! * Many chunks and records of tables can be written as one: all or nothing ([`Batch`]).
//! * No group joins a chunk before it was checked against the chunk's hashes, and none is handed out before it was
//!   checked again: a read gives the right bytes, nothing, or an error that names chunk and group, which is then
//!   missing and can be put anew. The second check costs 13 µs for a group of 64 KiB.
//! * Room is checked before writing. Only [`Store::make_room`] deletes on its own, and only acknowledged chunks.
//! * After a write or sync that failed for another reason than room, every write is refused until the store is opened
//!   anew ([`PutError::Failed`]): a second sync may report success for pages that the first one lost.
//!
//! # Layout
//!
//! ```text
//! folder/FORMAT     "aftercast-store 1"; read before anything else
//! folder/db/        RocksDB (`record.rs` has the keys)
//!
//! log  ->  groups: position 0, 1, 2 ...  in the order of writing, 64 KiB each; table files never overlap
//!          meta:   chunk -> length, positions of its groups, hashes, note; the application's tables
//! ```
//!
//! All goes through one log, so bytes and records are one write. Groups are numbered as they are written: a chunk's
//! place in the chunk order or among peers does not matter, and table files of groups are moved to the last level
//! unread. Deleting a chunk writes no tombstones: its positions are out of use, files without used positions are
//! dropped, files with few are rewritten. Bytes of chunks are not compressed (video does not get smaller), records
//! are (LZ4).
//!
//! Chosen by `benches/layout.rs`: chunks of 2.5 MB, each put synced, then read group by group in scattered order, then
//! every second one deleted and its room got back; one run on a busy two-core machine with a virtual disk.
//!
//! | layout | put MB/s | median ms | written / stored | read MB/s | room back after ms |
//! | --- | --- | --- | --- | --- | --- |
//! | a file per chunk, synced | 186 | 10.9 | 1.00 | 5776 | 77 |
//! | log and groups, no tombstones (this one) | 262 | 6.9 | 2.00 | 3666 | 1064 |
//! | the same with range tombstones | 287 | 5.7 | 2.00 | 2165 | 3225 |
//! | BlobDB | 135 | 15.9 | 2.00 | 577 | 3167 |
//! | a table file per chunk, ingested | 120 | 21.6 | 1.01 | 532 | 761 |
//!
//! Ingesting writes half as much, but each ingest copies RocksDB's list of files: 2.4 ms of processor time with 1,000
//! chunks, 11 ms with 16,000, and a disk of a terabyte holds 400,000. Tombstones look good in a fresh store; in one
//! that deletes its oldest while it writes its newest, each flush spans all positions and has everything between
//! rewritten.
//!
//! # Use
//!
//! All calls block: call them where blocking is allowed. [`Store`] is shared by cloning.

mod batch;
mod catalog;
mod chunks;
mod error;
mod garbage;
mod open;
mod positions;
mod record;
mod room;
mod salvage;
mod table;

use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock};

use aftercast_protocol::ids::ChunkCid;
use minicbor::{Decode, Encode};
use rocksdb::{ColumnFamily, DB, WriteBatch, WriteOptions};

pub use batch::Batch;
pub use error::{Limit, NoRoom, OpenError, PutError, ReadError};
pub use room::{Evicted, Usage};
pub use table::{Pair, Table};

use catalog::Shared;
use error::Fault;
use positions::Positions;
use record::{META, Run};

/// How a store is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// Most bytes of chunks, partial ones counted in full; none: as the disk allows. Records come on top of it, about
    /// 0.1 %.
    pub quota_bytes: Option<u64>,
    /// Bytes of the disk that are left to others. On a disk of our own `write_buffer_bytes` and a little stay free
    /// whatever is said here: records are written, and room is made, while chunks are refused.
    pub reserve_free_bytes: u64,
    /// Memory for blocks of records and for indexes of table files, in bytes. Chunks' bytes are left to the system's
    /// page cache.
    pub cache_bytes: usize,
    /// Memory for groups between the log and a table file, in bytes, and length of a table file; up to three times as
    /// much memory is used while the disk is busy.
    pub write_buffer_bytes: usize,
    /// Table files kept open.
    pub max_open_files: u16,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            quota_bytes: None,
            reserve_free_bytes: 256 << 20,
            cache_bytes: 16 << 20,
            write_buffer_bytes: 32 << 20,
            max_open_files: 256,
        }
    }
}

/// What a write survives once it returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A power cut.
    Synced,
    /// The end of the process; a power cut after the next synced write.
    Buffered,
}

/// Whether a chunk may be evicted. Chunks begin as unacknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Protection {
    /// Perhaps the only copy: never evicted.
    #[n(0)]
    Unacknowledged,
    /// Stored elsewhere for sure: evicted when room is needed.
    #[n(1)]
    Acknowledged,
    /// Wanted here: never evicted.
    #[n(2)]
    Pinned,
}

/// A chunk in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkInfo {
    /// Its id.
    pub cid: ChunkCid,
    /// Length of the whole chunk, in bytes.
    pub len: u64,
    /// All its groups are here.
    pub complete: bool,
    /// Whether it may be evicted.
    pub protection: Protection,
    /// The caller's note on it.
    pub note: Vec<u8>,
}

/// An open store. Clones share it; the last one to go closes it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    config: StoreConfig,
    db: DB,
    shared: Shared,
    positions: Arc<Positions>,
    /// Groups that no chunk has any more, and whose positions were not given up yet.
    discarded: Mutex<Vec<Run>>,
    /// Their bytes.
    garbage_bytes: AtomicU64,
    clearing: Mutex<()>,
    failed: OnceLock<String>,
}

impl Store {
    /// Makes everything durable that was written so far.
    ///
    /// # Errors
    /// [`PutError::NoRoom`] and [`PutError::Failed`].
    pub fn sync(&self) -> Result<(), PutError> {
        self.inner.writable()?;
        self.inner.write_uses()?;
        let inner = &self.inner;
        inner.outcome(0, inner.db.flush_wal(true))
    }

    /// Why every write is refused, once one failed; none while all is well.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.inner.failed.get().map(String::as_str)
    }
}

impl Inner {
    fn writable(&self) -> Result<(), PutError> {
        self.failed.get().map_or(Ok(()), |reason| Err(PutError::Failed(reason.clone())))
    }

    /// What a database's answer to a write means; turns the store to failed where what is on the disk is in doubt.
    fn outcome<T>(&self, needed: u64, result: Result<T, rocksdb::Error>) -> Result<T, PutError> {
        result.map_err(|error| match Fault::of(&error) {
            Fault::Full => NoRoom { needed, free: 0, limit: Limit::Disk }.into(),
            Fault::Corrupt | Fault::Other => self.fail(error.into_string()),
        })
    }

    fn fail(&self, reason: String) -> PutError {
        tracing::error!(store = %self.path.display(), reason, "a write failed: the store stops until it is opened anew");
        PutError::Failed(self.failed.get_or_init(|| reason).clone())
    }

    fn family(&self, name: &str) -> &ColumnFamily {
        self.db.cf_handle(name).expect("the store was opened with its column families")
    }

    fn write(&self, batch: WriteBatch, durability: Durability) -> Result<(), PutError> {
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Synced);
        let size = batch.size_in_bytes() as u64;
        self.outcome(size, self.db.write_opt(batch, &options))
    }

    /// Notes that a chunk is in use. Uses are written down in lots: a kill forgets at most a lot of them, which costs
    /// nothing but a slightly worse choice of what to evict.
    fn touch(&self, cid: ChunkCid) {
        const LOT: usize = 256;
        let waiting = self.shared.lock().touch(cid);
        if waiting >= LOT && self.failed.get().is_none() {
            // A failure has been noted and shows with the next write.
            let _ = self.write_uses();
        }
    }

    fn write_uses(&self) -> Result<(), PutError> {
        let uses = self.shared.lock().take_touched();
        let mut batch = WriteBatch::default();
        for (cid, used) in uses {
            batch.put_cf(self.family(META), record::chunk_key(record::USED, cid), used.to_be_bytes());
        }
        self.write(batch, Durability::Buffered)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Only for a better choice of what to evict; nothing that was promised hangs on it.
        if self.failed.get().is_none() {
            let _ = self.write_uses();
        }
    }
}
