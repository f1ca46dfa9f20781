//! Several writes as one: chunks, what is known about them, and entries of tables.

use std::collections::BTreeMap;

use aftercast_protocol::ids::{ChunkCid, GroupIndex};
use aftercast_protocol::limits::{GROUP_BYTES, MAX_NOTE_BYTES, MAX_TABLE_KEY_BYTES, MAX_TABLE_VALUE_BYTES};
use aftercast_protocol::verify::{GroupHashes, groups_of_len};
use rocksdb::WriteBatch;

use crate::catalog::{Claim, Entry, Room};
use crate::record::{self, GROUPS, HASHES, META, NOTE, Position, RECORD, Record, Run, USED};
use crate::{Durability, Inner, Protection, PutError, Store, Table};

/// Writes that happen together or not at all, in the order they were added. Made by [`Store::batch`]. It holds the
/// bytes of its chunks in memory.
#[must_use = "a batch does nothing until it is committed"]
pub struct Batch {
    store: Store,
    /// What will be written; the groups of chunks go in at once, records with the commit.
    writes: WriteBatch,
    ops: Vec<Op>,
}

enum Op {
    Chunk(Staged),
    DeleteChunk(ChunkCid),
    Note(ChunkCid, Vec<u8>),
    Protect(ChunkCid, Protection),
}

impl Store {
    /// An empty batch.
    pub fn batch(&self) -> Batch {
        Batch { store: self.clone(), writes: WriteBatch::default(), ops: Vec::new() }
    }

    /// Stores a whole chunk with the caller's note on it, as unacknowledged. Where the chunk is here already, only the
    /// note is replaced; where part of it is, it is completed.
    ///
    /// # Errors
    /// See [`PutError`]; nothing of the chunk is stored then.
    pub fn put_chunk(
        &self,
        cid: ChunkCid,
        bytes: &[u8],
        hashes: &GroupHashes,
        note: &[u8],
        durability: Durability,
    ) -> Result<(), PutError> {
        loop {
            let mut batch = self.batch();
            batch.put_chunk(cid, bytes, hashes, note)?;
            match batch.commit(durability) {
                // It was here when we looked, and deleted before we had noted anything on it.
                Err(PutError::Unknown(_)) => {}
                done => return done,
            }
        }
    }

    /// Deletes a chunk, whole or partial, whatever its protection; no error where it is not here. Under the quota its
    /// room comes back at once, on the disk in lots of 64 MiB.
    ///
    /// # Errors
    /// [`PutError::NoRoom`] (records are written) and [`PutError::Failed`].
    pub fn delete(&self, cid: ChunkCid, durability: Durability) -> Result<(), PutError> {
        let mut batch = self.batch();
        batch.delete_chunk(cid);
        batch.commit(durability)
    }

    /// Replaces the note on a chunk.
    ///
    /// # Errors
    /// [`PutError::Unknown`] where it is not here; see [`PutError`].
    pub fn set_note(&self, cid: ChunkCid, note: &[u8], durability: Durability) -> Result<(), PutError> {
        let mut batch = self.batch();
        batch.set_note(cid, note)?;
        batch.commit(durability)
    }

    /// Says whether a chunk may be evicted.
    ///
    /// # Errors
    /// [`PutError::Unknown`] where it is not here; see [`PutError`].
    pub fn set_protection(
        &self,
        cid: ChunkCid,
        protection: Protection,
        durability: Durability,
    ) -> Result<(), PutError> {
        let mut batch = self.batch();
        batch.set_protection(cid, protection);
        batch.commit(durability)
    }
}

impl Batch {
    /// Adds a whole chunk: see [`Store::put_chunk`]. Where it is here and another deletes it before the commit, the
    /// commit fails with [`PutError::Unknown`]: make the batch again.
    ///
    /// # Errors
    /// See [`PutError`]; the batch is as it was before.
    pub fn put_chunk(
        &mut self,
        cid: ChunkCid,
        bytes: &[u8],
        hashes: &GroupHashes,
        note: &[u8],
    ) -> Result<(), PutError> {
        check_hashes(cid, hashes)?;
        bounded("the note on a chunk", note.len(), MAX_NOTE_BYTES)?;
        if bytes.len() as u64 != hashes.len_bytes() {
            return Err(PutError::WrongHashes(cid));
        }
        let deleted_here = self.ops.iter().any(|op| matches!(op, Op::DeleteChunk(gone) if *gone == cid));
        if !self.store.is_complete(cid) || deleted_here {
            for (bytes, n) in bytes.chunks(GROUP_BYTES).zip(0..) {
                let group = GroupIndex(n);
                hashes.check_group(group, bytes).map_err(|_| PutError::BadGroup { cid, group })?;
            }
            let staged = Staged::new(&self.store, cid, hashes)?;
            let family = self.store.inner.family(GROUPS);
            for (bytes, n) in bytes.chunks(GROUP_BYTES).zip(0..) {
                self.writes.put_cf(family, staged.position.plus(n).key(), bytes);
            }
            self.ops.push(Op::Chunk(staged));
        }
        self.ops.push(Op::Note(cid, note.to_vec()));
        Ok(())
    }

    /// Adds a deletion: see [`Store::delete`].
    pub fn delete_chunk(&mut self, cid: ChunkCid) {
        self.ops.push(Op::DeleteChunk(cid));
    }

    /// Adds a note: see [`Store::set_note`]. The commit fails where the chunk is not here.
    ///
    /// # Errors
    /// [`PutError::TooLarge`].
    pub fn set_note(&mut self, cid: ChunkCid, note: &[u8]) -> Result<(), PutError> {
        bounded("the note on a chunk", note.len(), MAX_NOTE_BYTES)?;
        self.ops.push(Op::Note(cid, note.to_vec()));
        Ok(())
    }

    /// Adds a protection: see [`Store::set_protection`]. The commit fails where the chunk is not here.
    pub fn set_protection(&mut self, cid: ChunkCid, protection: Protection) {
        self.ops.push(Op::Protect(cid, protection));
    }

    /// Adds an entry of a table, replacing one of the same key.
    ///
    /// # Errors
    /// [`PutError::TooLarge`].
    pub fn put(&mut self, table: &Table, key: &[u8], value: &[u8]) -> Result<(), PutError> {
        bounded("the key of a record", key.len(), MAX_TABLE_KEY_BYTES)?;
        bounded("the value of a record", value.len(), MAX_TABLE_VALUE_BYTES)?;
        self.writes.put_cf(self.store.inner.family(META), table.key(key), value);
        Ok(())
    }

    /// Adds the deletion of an entry of a table; nothing happens where there is none.
    pub fn delete(&mut self, table: &Table, key: &[u8]) {
        self.writes.delete_cf(self.store.inner.family(META), table.key(key));
    }

    /// Makes it all happen.
    ///
    /// # Errors
    /// See [`PutError`]: then none of it happened, unless the store turned to failed ([`PutError::Failed`]), when the
    /// next opening tells.
    pub fn commit(self, durability: Durability) -> Result<(), PutError> {
        let store = self.store.clone();
        let claim = store.inner.shared.claim(self.ops.iter().map(Op::chunk).collect());
        self.commit_claimed(&claim, durability)
    }

    /// The commit of one who holds the claim to all of the batch's chunks already.
    pub(crate) fn commit_claimed(self, claim: &Claim<'_>, durability: Durability) -> Result<(), PutError> {
        let Self { store, writes, mut ops } = self;
        let inner = &store.inner;
        inner.writable()?;
        debug_assert!(ops.iter().map(Op::chunk).all(|cid| claim.covers(cid)));
        let mut plan = Plan { inner, writes, after: BTreeMap::new() };
        for op in &ops {
            plan.add(op)?;
        }
        let Plan { writes, after, .. } = plan;
        inner.write(writes, durability)?;
        for op in &mut ops {
            if let Op::Chunk(staged) = op {
                staged.adopted = after
                    .get(&staged.cid)
                    .is_some_and(|entry| entry.as_ref().is_some_and(|entry| staged.is_in(&entry.record)));
            }
        }
        inner.adopt(after)
    }
}

impl Op {
    fn chunk(&self) -> ChunkCid {
        match self {
            Self::Chunk(staged) => staged.cid,
            Self::DeleteChunk(cid) | Self::Note(cid, _) | Self::Protect(cid, _) => *cid,
        }
    }
}

/// What a batch will write, and what the catalog will say of its chunks then.
struct Plan<'a> {
    inner: &'a Inner,
    writes: WriteBatch,
    after: BTreeMap<ChunkCid, Option<Entry>>,
}

impl Plan<'_> {
    fn add(&mut self, op: &Op) -> Result<(), PutError> {
        let meta = self.inner.family(META);
        match op {
            Op::Chunk(staged) => self.add_chunk(staged),
            Op::DeleteChunk(cid) => {
                for tag in [RECORD, HASHES, NOTE, USED] {
                    self.writes.delete_cf(meta, record::chunk_key(tag, *cid));
                }
                self.after.insert(*cid, None);
            }
            Op::Note(cid, note) => {
                self.now(*cid).ok_or(PutError::Unknown(*cid))?;
                self.writes.put_cf(meta, record::chunk_key(NOTE, *cid), note);
            }
            Op::Protect(cid, protection) => {
                let mut entry = self.now(*cid).ok_or(PutError::Unknown(*cid))?;
                entry.record.protection = *protection;
                self.set(*cid, entry);
            }
        }
        Ok(())
    }

    fn add_chunk(&mut self, staged: &Staged) {
        let before = self.now(staged.cid);
        if before.as_ref().is_some_and(|before| before.record.is_complete()) {
            return;
        }
        let protection = before.map_or(Protection::Unacknowledged, |before| before.record.protection);
        let record = Record { len: staged.len, runs: vec![staged.run()], protection };
        let used = self.inner.shared.lock().tick();
        let meta = self.inner.family(META);
        self.writes.put_cf(meta, record::chunk_key(HASHES, staged.cid), &staged.hashes);
        self.writes.put_cf(meta, record::chunk_key(USED, staged.cid), used.to_be_bytes());
        self.set(staged.cid, Entry { record, used });
    }

    /// What is known of a chunk after the operations so far.
    fn now(&self, cid: ChunkCid) -> Option<Entry> {
        self.after.get(&cid).cloned().unwrap_or_else(|| self.inner.shared.lock().get(cid).cloned())
    }

    fn set(&mut self, cid: ChunkCid, entry: Entry) {
        self.writes.put_cf(self.inner.family(META), record::chunk_key(RECORD, cid), entry.record.encode());
        self.after.insert(cid, Some(entry));
    }
}

impl Inner {
    /// Brings the catalog to what was written, and gives up what no chunk has any more.
    fn adopt(&self, after: BTreeMap<ChunkCid, Option<Entry>>) -> Result<(), PutError> {
        let mut garbage = Vec::new();
        {
            let mut catalog = self.shared.lock();
            for (cid, entry) in after {
                let used = catalog.get(cid).map(|now| now.used);
                // It may have been read meanwhile; that is not to be forgotten.
                let entry = entry.map(|entry| Entry { used: entry.used.max(used.unwrap_or(0)), ..entry });
                let runs = entry.as_ref().map(|entry| entry.record.runs.clone()).unwrap_or_default();
                let old = catalog.replace(cid, entry);
                // Runs are replaced as a whole here: the old ones stay, or none of them does.
                garbage.extend(old.filter(|old| old.record.runs != runs).map(|old| old.record.runs));
            }
        }
        self.discard(garbage.into_iter().flatten())
    }
}

/// A chunk that is about to be written: its positions and its room, given back unless it is.
struct Staged {
    store: Store,
    cid: ChunkCid,
    len: u64,
    /// Group hashes as they are stored.
    hashes: Vec<u8>,
    position: Position,
    room: Room,
    adopted: bool,
}

impl Staged {
    fn new(store: &Store, cid: ChunkCid, hashes: &GroupHashes) -> Result<Self, PutError> {
        let inner = &store.inner;
        inner.writable()?;
        let len = hashes.len_bytes();
        let counted = inner.shared.lock().get(cid).map_or(0, |entry| entry.record.len);
        let room = Room { quota: len.saturating_sub(counted), disk: on_disk(len) };
        inner.reserve(room)?;
        Ok(Self {
            store: store.clone(),
            cid,
            len,
            hashes: hashes.as_bytes().to_vec(),
            position: inner.positions.take(hashes.groups()),
            room,
            adopted: false,
        })
    }

    fn run(&self) -> Run {
        Run { group: 0, count: groups_of_len(self.len).unwrap_or(0), position: self.position }
    }

    fn is_in(&self, record: &Record) -> bool {
        record.runs.first().is_some_and(|run| run.position == self.position)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        let inner = &self.store.inner;
        inner.shared.lock().release(self.room);
        if !self.adopted {
            let run = self.run();
            inner.positions.give_up(run.position, run.count);
        }
    }
}

/// Bytes go to the log first and to a table file later, and for a while they are in both.
pub(crate) fn on_disk(bytes: u64) -> u64 {
    bytes.saturating_mul(2)
}

/// Refuses hashes of another chunk, and lengths that no chunk has.
pub(crate) fn check_hashes(cid: ChunkCid, hashes: &GroupHashes) -> Result<(), PutError> {
    let fits = hashes.cid() == cid && groups_of_len(hashes.len_bytes()).is_some();
    if fits { Ok(()) } else { Err(PutError::WrongHashes(cid)) }
}

pub(crate) fn bounded(what: &'static str, bytes: usize, limit: usize) -> Result<(), PutError> {
    if bytes <= limit { Ok(()) } else { Err(PutError::TooLarge { what, bytes, limit }) }
}
