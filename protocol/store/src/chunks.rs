//! Chunks group by group: partial ones as they arrive, and every read.

use std::collections::BTreeSet;
use std::ops::Range;

use aftercast_protocol::ids::{ChunkCid, GroupIndex};
use aftercast_protocol::limits::{GROUP_BYTES, MAX_NOTE_BYTES};
use aftercast_protocol::verify::{GroupHashes, GroupRange, GroupSet};
use rocksdb::{ReadOptions, WriteBatch};

use crate::batch::{bounded, check_hashes, on_disk};
use crate::catalog::{Claim, Entry, Room};
use crate::record::{self, GROUPS, HASHES, META, NOTE, Position, RECORD, Record, Run, USED};
use crate::{ChunkInfo, Durability, Inner, Protection, PutError, ReadError, Store};

impl Store {
    /// Begins a chunk whose groups will come one by one, as unacknowledged. Room for all of it is set aside now, so
    /// that no group is refused later by the quota. Where the chunk is here, whole or in part, nothing changes.
    ///
    /// # Errors
    /// See [`PutError`]. [`PutError::WrongHashes`] also where the chunk was begun with another length: a length is
    /// proven by the last group only, so whoever said one of the two lied. Delete the chunk to begin it anew.
    pub fn begin_partial(&self, cid: ChunkCid, hashes: &GroupHashes, note: &[u8]) -> Result<(), PutError> {
        check_hashes(cid, hashes)?;
        bounded("the note on a chunk", note.len(), MAX_NOTE_BYTES)?;
        let inner = &self.inner;
        inner.writable()?;
        let _claim = inner.shared.claim(BTreeSet::from([cid]));
        let known = inner.shared.lock().get(cid).map(|entry| entry.record.len);
        if let Some(len) = known {
            return if len == hashes.len_bytes() { Ok(()) } else { Err(PutError::WrongHashes(cid)) };
        }
        let room = Room { quota: hashes.len_bytes(), disk: on_disk(hashes.len_bytes()) };
        inner.reserve(room)?;
        let begun = self.write_begun(cid, hashes, note);
        // What is in the catalog counts by itself.
        inner.shared.lock().release(room);
        begun
    }

    fn write_begun(&self, cid: ChunkCid, hashes: &GroupHashes, note: &[u8]) -> Result<(), PutError> {
        let inner = &self.inner;
        let record = Record { len: hashes.len_bytes(), runs: Vec::new(), protection: Protection::Unacknowledged };
        let used = inner.shared.lock().tick();
        let meta = inner.family(META);
        let mut batch = WriteBatch::default();
        batch.put_cf(meta, record::chunk_key(RECORD, cid), record.encode());
        batch.put_cf(meta, record::chunk_key(HASHES, cid), hashes.as_bytes());
        batch.put_cf(meta, record::chunk_key(NOTE, cid), note);
        batch.put_cf(meta, record::chunk_key(USED, cid), used.to_be_bytes());
        inner.write(batch, Durability::Buffered)?;
        inner.shared.lock().replace(cid, Some(Entry { record, used }));
        Ok(())
    }

    /// Adds a group to a chunk that was begun, after checking it against the chunk's hashes; true once the chunk is
    /// whole. Not synced: durable with the next synced write, of whatever, or [`Store::sync`].
    ///
    /// # Errors
    /// See [`PutError`]; the have-set is as before. With [`PutError::BadGroup`] blame the sender.
    pub fn put_group(&self, cid: ChunkCid, group: GroupIndex, bytes: &[u8]) -> Result<bool, PutError> {
        let inner = &self.inner;
        inner.writable()?;
        let _claim = inner.shared.claim(BTreeSet::from([cid]));
        let mut entry = inner.shared.lock().get(cid).cloned().ok_or(PutError::Unknown(cid))?;
        if group.0 >= entry.record.groups() {
            return Err(PutError::BadGroup { cid, group });
        }
        if entry.record.position(group).is_some() {
            return Ok(entry.record.is_complete());
        }
        let hashes = inner.read_hashes(cid, entry.record.len)?;
        hashes.check_group(group, bytes).map_err(|_| PutError::BadGroup { cid, group })?;
        inner.check_disk(on_disk(bytes.len() as u64))?;
        let position = inner.positions.take(1);
        entry.record.insert(group, position);
        let complete = entry.record.is_complete();
        if complete {
            // Whole from now on, and used as if it had come in one piece.
            entry.used = inner.shared.lock().tick();
        }
        if let Err(error) = inner.write_group(cid, &entry, position, bytes) {
            inner.positions.give_up(position, 1);
            return Err(error);
        }
        inner.shared.lock().replace(cid, Some(entry));
        Ok(complete)
    }

    /// The group hashes of a chunk; none where it is not here.
    ///
    /// # Errors
    /// [`ReadError::Io`].
    pub fn hashes(&self, cid: ChunkCid) -> Result<Option<GroupHashes>, ReadError> {
        let len = self.inner.shared.lock().get(cid).map(|entry| entry.record.len);
        let Some(len) = len else { return Ok(None) };
        match self.inner.read_hashes(cid, len) {
            Ok(hashes) => Ok(Some(hashes)),
            Err(_) if self.inner.shared.lock().get(cid).is_none() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Which groups of a chunk are here; none where nothing is known of it. Answered from memory.
    #[must_use]
    pub fn have(&self, cid: ChunkCid) -> Option<GroupSet> {
        let catalog = self.inner.shared.lock();
        let entry = catalog.get(cid)?;
        let mut have = GroupSet::empty(entry.record.groups()).ok()?;
        for run in &entry.record.runs {
            have.insert_range(GroupRange { start: run.group, end: run.group.saturating_add(run.count) });
        }
        Some(have)
    }

    /// Whether all of a chunk is here. Answered from memory.
    #[must_use]
    pub fn is_complete(&self, cid: ChunkCid) -> bool {
        self.inner.shared.lock().get(cid).is_some_and(|entry| entry.record.is_complete())
    }

    /// A group of a chunk; none where it is not here.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read_group(&self, cid: ChunkCid, group: GroupIndex) -> Result<Option<Vec<u8>>, ReadError> {
        let Some(hashes) = self.hashes(cid)? else { return Ok(None) };
        self.inner.touch(cid);
        self.read_checked(cid, &hashes, group)
    }

    /// A whole chunk; none where it is not all here.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read_chunk(&self, cid: ChunkCid) -> Result<Option<Vec<u8>>, ReadError> {
        if !self.is_complete(cid) {
            return Ok(None);
        }
        self.read_range(cid, 0..u64::MAX)
    }

    /// The bytes of a chunk that lie in this range, which may reach beyond its end; none where a group of them is not
    /// here.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read_range(&self, cid: ChunkCid, range: Range<u64>) -> Result<Option<Vec<u8>>, ReadError> {
        let Some(hashes) = self.hashes(cid)? else { return Ok(None) };
        self.inner.touch(cid);
        let end = range.end.min(hashes.len_bytes());
        let start = range.start.min(end);
        let mut out = Vec::with_capacity(usize::try_from(end - start).unwrap_or(0));
        let group_bytes = GROUP_BYTES as u64;
        for n in start / group_bytes..end.div_ceil(group_bytes) {
            let group = GroupIndex(u32::try_from(n).unwrap_or(u32::MAX));
            let Some(bytes) = self.read_checked(cid, &hashes, group)? else { return Ok(None) };
            let inside = |at: u64| usize::try_from(at.saturating_sub(n * group_bytes)).unwrap_or(usize::MAX);
            out.extend_from_slice(bytes.get(inside(start)..inside(end).min(bytes.len())).unwrap_or_default());
        }
        Ok(Some(out))
    }

    /// What is known of a chunk; none where it is not here.
    ///
    /// # Errors
    /// [`ReadError::Io`].
    pub fn chunk(&self, cid: ChunkCid) -> Result<Option<ChunkInfo>, ReadError> {
        let info = self.inner.shared.lock().get(cid).map(|entry| self.inner.info(cid, entry));
        info.map(|info| self.inner.with_note(info)).transpose()
    }

    /// Up to `limit` chunks in order of their ids, from behind `after` on, or from the first.
    ///
    /// # Errors
    /// [`ReadError::Io`].
    pub fn chunks(&self, after: Option<ChunkCid>, limit: usize) -> Result<Vec<ChunkInfo>, ReadError> {
        let found: Vec<ChunkInfo> = {
            let catalog = self.inner.shared.lock();
            catalog.after(after).take(limit).map(|(cid, entry)| self.inner.info(cid, entry)).collect()
        };
        found.into_iter().map(|info| self.inner.with_note(info)).collect()
    }

    /// A group that was checked. Where it is damaged, it leaves the have-set.
    fn read_checked(
        &self,
        cid: ChunkCid,
        hashes: &GroupHashes,
        group: GroupIndex,
    ) -> Result<Option<Vec<u8>>, ReadError> {
        loop {
            let Some(position) = self.inner.position(cid, group) else { return Ok(None) };
            match self.inner.fetch(position, hashes, group)? {
                Some(bytes) => return Ok(Some(bytes)),
                // Replaced, or deleted, while we looked: look again.
                None if self.inner.position(cid, group) != Some(position) => {}
                None => {
                    let claim = self.inner.shared.claim(BTreeSet::from([cid]));
                    if self.inner.position(cid, group) == Some(position) {
                        tracing::error!(%cid, %group, "a group is damaged on the disk");
                        // If it cannot be written down, the next read finds the damage again.
                        let _ = self.inner.drop_group(&claim, cid, group);
                        return Err(ReadError::Corrupt { cid, group });
                    }
                }
            }
        }
    }
}

impl Inner {
    fn position(&self, cid: ChunkCid, group: GroupIndex) -> Option<Position> {
        self.shared.lock().get(cid)?.record.position(group)
    }

    /// The bytes of a group from where it should lie; none where they are not there or not right.
    fn fetch(&self, position: Position, hashes: &GroupHashes, group: GroupIndex) -> Result<Option<Vec<u8>>, ReadError> {
        let mut options = ReadOptions::default();
        // The page cache keeps what is read often; twice in memory would be once too much.
        options.fill_cache(false);
        match self.db.get_pinned_cf_opt(self.family(GROUPS), position.key(), &options) {
            Ok(Some(bytes)) if hashes.check_group(group, &bytes).is_ok() => Ok(Some(bytes.to_vec())),
            Ok(_) => Ok(None),
            Err(error) if is_damage(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn read_hashes(&self, cid: ChunkCid, len: u64) -> Result<GroupHashes, ReadError> {
        let bytes = self.db.get_pinned_cf(self.family(META), record::chunk_key(HASHES, cid))?;
        GroupHashes::checked_bytes(cid, len, bytes.as_deref().unwrap_or_default())
            .map_err(|_| ReadError::Io(format!("the group hashes of chunk {cid} are damaged")))
    }

    /// Takes a group out of the have-set. The caller holds the claim.
    fn drop_group(&self, claim: &Claim<'_>, cid: ChunkCid, group: GroupIndex) -> Result<(), PutError> {
        debug_assert!(claim.covers(cid));
        self.writable()?;
        let Some(mut entry) = self.shared.lock().get(cid).cloned() else { return Ok(()) };
        let Some(position) = entry.record.remove(group) else { return Ok(()) };
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family(META), record::chunk_key(RECORD, cid), entry.record.encode());
        self.write(batch, Durability::Buffered)?;
        self.shared.lock().replace(cid, Some(entry));
        self.discard([Run { group: group.0, count: 1, position }].into_iter())
    }

    /// Writes a group with the record that says so.
    fn write_group(&self, cid: ChunkCid, entry: &Entry, position: Position, bytes: &[u8]) -> Result<(), PutError> {
        let meta = self.family(META);
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family(GROUPS), position.key(), bytes);
        batch.put_cf(meta, record::chunk_key(RECORD, cid), entry.record.encode());
        if entry.record.is_complete() {
            batch.put_cf(meta, record::chunk_key(USED, cid), entry.used.to_be_bytes());
        }
        self.write(batch, Durability::Buffered)
    }

    fn info(&self, cid: ChunkCid, entry: &Entry) -> ChunkInfo {
        let Record { len, protection, .. } = entry.record;
        ChunkInfo { cid, len, complete: entry.record.is_complete(), protection, note: Vec::new() }
    }

    fn with_note(&self, info: ChunkInfo) -> Result<ChunkInfo, ReadError> {
        let note = self.db.get_cf(self.family(META), record::chunk_key(NOTE, info.cid))?;
        Ok(ChunkInfo { note: note.unwrap_or_default(), ..info })
    }
}

/// Errors that stay: the file is damaged, gone, or on a bad sector. Others (no memory, too many open files) pass.
fn is_damage(error: &rocksdb::Error) -> bool {
    error.kind() == rocksdb::ErrorKind::Corruption
        || ["No such file", "Input/output error"].iter().any(|text| error.as_ref().contains(text))
}
