//! Several writes as one: chunks, what is known about them, and entries of tables.
//!
//! ```text
//! put_chunk   check hashes -> reserve room -> table file in new/, synced
//! commit      claim the chunks -> ingest the table files -> one write to the log: the moment it all exists
//!             -> catalog -> drop what was replaced or deleted
//! ```

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use aftercast_protocol::ids::{ChunkCid, GroupIndex};
use aftercast_protocol::limits::{GROUP_BYTES, MAX_NOTE_BYTES, MAX_TABLE_KEY_BYTES, MAX_TABLE_VALUE_BYTES};
use aftercast_protocol::verify::{GroupHashes, groups_of_len};
use rocksdb::{IngestExternalFileOptions, SstFileWriter, WriteBatch};

use crate::catalog::{Claim, Entry, Room};
use crate::error::Fault;
use crate::record::{self, GROUPS, HASHES, META, NOTE, Ordinal, RECORD, Record, USED};
use crate::{Durability, Inner, Limit, NoRoom, Protection, PutError, ReadError, Store, Table};

/// Writes that happen together or not at all, in the order they were added. Made by [`Store::batch`].
///
/// Chunks are written out while the batch is filled, so that it holds none of their bytes in memory; dropping it
/// undoes that.
#[must_use = "a batch does nothing until it is committed"]
pub struct Batch {
    store: Store,
    ops: Vec<Op>,
}

enum Op {
    Put { key: Vec<u8>, value: Vec<u8> },
    Delete { key: Vec<u8> },
    Chunk { staged: Staged, note: Option<Vec<u8>> },
    DeleteChunk(ChunkCid),
    Note(ChunkCid, Vec<u8>),
    Protect(ChunkCid, Protection),
}

impl Store {
    /// An empty batch.
    pub fn batch(&self) -> Batch {
        Batch { store: self.clone(), ops: Vec::new() }
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

    /// Deletes a chunk, whole or partial, whatever its protection; no error where it is not here. Its room comes back
    /// at once.
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
    /// Adds a whole chunk: see [`Store::put_chunk`]. Its bytes are written and synced here already; it exists from the
    /// commit on. Where it is here and another deletes it before the commit, the commit fails with
    /// [`PutError::Unknown`]: make the batch again.
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
        if self.store.is_complete(cid) && !deleted_here {
            self.ops.push(Op::Note(cid, note.to_vec()));
            return Ok(());
        }
        let groups = bytes.chunks(GROUP_BYTES).zip(0..).map(|(bytes, n)| {
            let group = GroupIndex(n);
            let fits = hashes.check_group(group, bytes);
            fits.map(|()| Cow::Borrowed(bytes)).map_err(|_| PutError::BadGroup { cid, group })
        });
        let staged = Staged::write(&self.store, cid, hashes, groups)?;
        self.ops.push(Op::Chunk { staged, note: Some(note.to_vec()) });
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
        self.ops.push(Op::Put { key: table.key(key), value: value.to_vec() });
        Ok(())
    }

    /// Adds the deletion of an entry of a table; nothing happens where there is none.
    pub fn delete(&mut self, table: &Table, key: &[u8]) {
        self.ops.push(Op::Delete { key: table.key(key) });
    }

    /// Makes it all happen.
    ///
    /// # Errors
    /// See [`PutError`]: then none of it happened, unless the store turned to failed ([`PutError::Failed`]), when the
    /// next opening tells.
    pub fn commit(self, durability: Durability) -> Result<(), PutError> {
        let store = self.store.clone();
        let claim = store.inner.shared.claim(self.ops.iter().filter_map(Op::chunk).collect());
        self.commit_claimed(&claim, durability)
    }

    pub(crate) fn add_staged(&mut self, staged: Staged) {
        self.ops.push(Op::Chunk { staged, note: None });
    }

    /// The commit of one who holds the claim to all of the batch's chunks already.
    pub(crate) fn commit_claimed(self, claim: &Claim<'_>, durability: Durability) -> Result<(), PutError> {
        let inner = &self.store.inner;
        inner.writable()?;
        debug_assert!(self.ops.iter().filter_map(Op::chunk).all(|cid| claim.covers(cid)));
        let mut plan = Plan { inner, batch: WriteBatch::default(), after: BTreeMap::new() };
        for op in &self.ops {
            plan.add(op)?;
        }
        let durability = if plan.drops_files() { Durability::Synced } else { durability };
        let Plan { batch, after, .. } = plan;
        let kept: BTreeSet<Ordinal> = after.values().flatten().map(|entry| entry.record.ordinal).collect();
        let staged = self.ops.iter().filter_map(Op::staged).filter(|staged| kept.contains(&staged.ordinal));
        let staged: Vec<&Staged> = staged.collect();
        inner.ingest(&staged)?;
        if let Err(error) = inner.write(batch, durability) {
            if inner.failed.get().is_none() {
                // Only for want of room. Without a record the table files are not ours; the next start would say so.
                inner.delete_files(staged.iter().map(|staged| staged.ordinal).collect())?;
            }
            return Err(error);
        }
        inner.adopt(after)
    }
}

impl Op {
    fn chunk(&self) -> Option<ChunkCid> {
        match self {
            Self::Put { .. } | Self::Delete { .. } => None,
            Self::Chunk { staged, .. } => Some(staged.cid),
            Self::DeleteChunk(cid) | Self::Note(cid, _) | Self::Protect(cid, _) => Some(*cid),
        }
    }
    fn staged(&self) -> Option<&Staged> {
        match self {
            Self::Chunk { staged, .. } => Some(staged),
            _ => None,
        }
    }
}

/// What a batch will write, and what the catalog will say of its chunks then.
struct Plan<'a> {
    inner: &'a Inner,
    batch: WriteBatch,
    after: BTreeMap<ChunkCid, Option<Entry>>,
}

impl Plan<'_> {
    fn add(&mut self, op: &Op) -> Result<(), PutError> {
        let meta = self.inner.family(META);
        match op {
            Op::Put { key, value } => self.batch.put_cf(meta, key, value),
            Op::Delete { key } => self.batch.delete_cf(meta, key),
            Op::Chunk { staged, note } => {
                self.add_chunk(staged);
                if let Some(note) = note {
                    self.batch.put_cf(meta, record::chunk_key(NOTE, staged.cid), note);
                }
            }
            Op::DeleteChunk(cid) => {
                for tag in [RECORD, HASHES, NOTE, USED] {
                    self.batch.delete_cf(meta, record::chunk_key(tag, *cid));
                }
                self.after.insert(*cid, None);
            }
            Op::Note(cid, note) => {
                self.now(*cid).ok_or(PutError::Unknown(*cid))?;
                self.batch.put_cf(meta, record::chunk_key(NOTE, *cid), note);
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
        if before.as_ref().is_some_and(Entry::is_complete) {
            return;
        }
        let record = Record {
            ordinal: staged.ordinal,
            len: staged.len,
            settled: true,
            dropped: Vec::new(),
            protection: before.map_or(Protection::Unacknowledged, |before| before.record.protection),
        };
        let used = self.inner.shared.lock().tick();
        let meta = self.inner.family(META);
        self.batch.put_cf(meta, record::chunk_key(HASHES, staged.cid), &staged.hashes);
        self.batch.put_cf(meta, record::chunk_key(USED, staged.cid), used.to_be_bytes());
        self.set(staged.cid, Entry { record, parts: None, used });
    }

    /// What is known of a chunk after the operations so far.
    fn now(&self, cid: ChunkCid) -> Option<Entry> {
        self.after.get(&cid).cloned().unwrap_or_else(|| self.inner.shared.lock().get(cid).cloned())
    }

    /// Files go at once and for good: a record that came back after a power cut would be a chunk without bytes.
    fn drops_files(&self) -> bool {
        let catalog = self.inner.shared.lock();
        self.after.iter().any(|(cid, entry)| {
            let ordinal = entry.as_ref().map(|entry| entry.record.ordinal);
            catalog.get(*cid).is_some_and(|now| now.record.settled && Some(now.record.ordinal) != ordinal)
        })
    }

    fn set(&mut self, cid: ChunkCid, entry: Entry) {
        self.batch.put_cf(self.inner.family(META), record::chunk_key(RECORD, cid), entry.record.encode());
        self.after.insert(cid, Some(entry));
    }
}

impl Inner {
    fn ingest(&self, staged: &[&Staged]) -> Result<(), PutError> {
        if staged.is_empty() {
            return Ok(());
        }
        let mut how = IngestExternalFileOptions::default();
        how.set_move_files(true);
        let paths: Vec<&PathBuf> = staged.iter().map(|staged| &staged.path).collect();
        let needed = staged.iter().map(|staged| staged.len).sum();
        self.outcome(needed, self.db.ingest_external_file_cf_opts(self.family(GROUPS), &how, paths))
    }

    /// Brings the catalog to what was written, then drops what no chunk has any more. Readers that looked up an old
    /// place look again when they find nothing there.
    fn adopt(&self, after: BTreeMap<ChunkCid, Option<Entry>>) -> Result<(), PutError> {
        let mut gone = Vec::new();
        {
            let mut catalog = self.shared.lock();
            for (cid, entry) in after {
                let used = catalog.get(cid).map(|now| now.used);
                // It may have been read meanwhile; that is not to be forgotten.
                let entry = entry.map(|entry| Entry { used: entry.used.max(used.unwrap_or(0)), ..entry });
                let ordinal = entry.as_ref().map(|entry| entry.record.ordinal);
                gone.extend(catalog.replace(cid, entry).filter(|old| Some(old.record.ordinal) != ordinal));
            }
        }
        self.retire(&gone)
    }

    fn retire(&self, gone: &[Entry]) -> Result<(), PutError> {
        self.delete_files(gone.iter().filter(|old| old.record.settled).map(|old| old.record.ordinal).collect())?;
        let mut batch = WriteBatch::default();
        let mut bytes = 0;
        for old in gone.iter().filter(|old| old.parts.is_some()) {
            self.delete_parts(&mut batch, old.record.ordinal);
            bytes += old.record.len;
        }
        self.write_unlogged(batch)?;
        self.reclaim_parts(bytes)
    }

    /// Drops the table files of these chunks. Neighbours go together: each call rewrites the list of files.
    pub(crate) fn delete_files(&self, mut ordinals: Vec<Ordinal>) -> Result<(), PutError> {
        ordinals.sort();
        for run in ordinals.chunk_by(|a, b| a.0.checked_add(1) == Some(b.0)) {
            if let (Some(first), Some(last)) = (run.first(), run.last()) {
                let (from, to) = (record::group_key(*first, GroupIndex(0)), record::bits_key(*last));
                self.outcome(0, self.db.delete_file_in_range_cf(self.family(GROUPS), from, to))?;
            }
        }
        Ok(())
    }
}

/// A chunk as a table file that is not part of the store yet. Removed when dropped; its room is reserved until then.
pub(crate) struct Staged {
    store: Store,
    cid: ChunkCid,
    ordinal: Ordinal,
    len: u64,
    room: Room,
    /// Group hashes as they are stored.
    hashes: Vec<u8>,
    path: PathBuf,
}

impl Staged {
    /// Writes and syncs the table file.
    pub(crate) fn write<'a>(
        store: &Store,
        cid: ChunkCid,
        hashes: &GroupHashes,
        groups: impl Iterator<Item = Result<Cow<'a, [u8]>, PutError>>,
    ) -> Result<Self, PutError> {
        let inner = &store.inner;
        inner.writable()?;
        let len = hashes.len_bytes();
        let counted = inner.shared.lock().get(cid).map_or(0, |entry| entry.record.len);
        let room = Room { quota: len.saturating_sub(counted), disk: len };
        inner.reserve(room)?;
        let ordinal = inner.next_ordinal();
        let staged = Self {
            store: store.clone(),
            cid,
            ordinal,
            len,
            room,
            hashes: hashes.as_bytes().to_vec(),
            path: inner.path.join("new").join(ordinal.0.to_string()),
        };
        let refused = |error: rocksdb::Error| staged.refused(error);
        let mut writer = SstFileWriter::create(&inner.group_options);
        writer.open(&staged.path).map_err(refused)?;
        for (bytes, n) in groups.zip(0..) {
            writer.put(record::group_key(ordinal, GroupIndex(n)), bytes?).map_err(refused)?;
        }
        writer.finish().map_err(refused)?;
        drop(writer);
        Ok(staged)
    }

    /// A full disk is harmless here even if it shows in the sync: the file is thrown away.
    fn refused(&self, error: rocksdb::Error) -> PutError {
        if matches!(Fault::of(&error), Fault::Full) || error.as_ref().contains("No space left") {
            return NoRoom { needed: self.len, free: 0, limit: Limit::Disk }.into();
        }
        self.store.inner.fail(error.into_string())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Gone already where it was ingested; what cannot be removed is removed at the next start.
        let _ = fs::remove_file(&self.path);
        self.store.inner.shared.lock().release(self.room);
    }
}

/// Refuses hashes of another chunk, and lengths that no chunk has.
pub(crate) fn check_hashes(cid: ChunkCid, hashes: &GroupHashes) -> Result<(), PutError> {
    if hashes.cid() == cid && groups_of_len(hashes.len_bytes()).is_some() {
        Ok(())
    } else {
        Err(PutError::WrongHashes(cid))
    }
}

pub(crate) fn bounded(what: &'static str, bytes: usize, limit: usize) -> Result<(), PutError> {
    if bytes <= limit { Ok(()) } else { Err(PutError::TooLarge { what, bytes, limit }) }
}

impl From<rocksdb::Error> for ReadError {
    fn from(error: rocksdb::Error) -> Self {
        Self::Io(error.into_string())
    }
}
