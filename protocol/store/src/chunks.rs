//! Chunks group by group: partial ones as they arrive, and every read.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use aftercast_protocol::ids::{ChunkCid, GroupIndex};
use aftercast_protocol::limits::{GROUP_BYTES, MAX_NOTE_BYTES};
use aftercast_protocol::verify::{GroupHashes, GroupSet};
use rocksdb::{ReadOptions, WriteBatch};

use crate::batch::{Staged, bounded, check_hashes};
use crate::catalog::{Claim, Entry, Place, Room};
use crate::record::{self, GROUPS, HASHES, META, NOTE, Ordinal, PARTS, RECORD, Record, USED};
use crate::{ChunkInfo, Durability, Inner, Protection, PutError, ReadError, Store};

/// Bytes deleted from `parts` before the room is asked back: less is not worth the work.
const RECLAIM_BYTES: u64 = 64 << 20;

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
        let claim = inner.shared.claim(BTreeSet::from([cid]));
        let known = inner.shared.lock().get(cid).cloned();
        if let Some(entry) = known {
            if entry.record.len != hashes.len_bytes() {
                return Err(PutError::WrongHashes(cid));
            }
            return self.settle_if_full(&claim, cid, &entry).map(|_| ());
        }
        let room = Room { quota: hashes.len_bytes(), disk: hashes.len_bytes() };
        inner.reserve(room)?;
        let begun = self.write_begun(cid, hashes, note);
        // What is in the catalog counts by itself.
        inner.shared.lock().release(room);
        begun
    }

    fn write_begun(&self, cid: ChunkCid, hashes: &GroupHashes, note: &[u8]) -> Result<(), PutError> {
        let inner = &self.inner;
        let record = Record {
            ordinal: inner.next_ordinal(),
            len: hashes.len_bytes(),
            settled: false,
            dropped: Vec::new(),
            protection: Protection::Unacknowledged,
        };
        let used = inner.shared.lock().tick();
        let meta = inner.family(META);
        let mut batch = WriteBatch::default();
        batch.put_cf(meta, record::chunk_key(RECORD, cid), record.encode());
        batch.put_cf(meta, record::chunk_key(HASHES, cid), hashes.as_bytes());
        batch.put_cf(meta, record::chunk_key(NOTE, cid), note);
        batch.put_cf(meta, record::chunk_key(USED, cid), used.to_be_bytes());
        inner.write(batch, Durability::Buffered)?;
        let mut entry = Entry { record, parts: None, used };
        entry.parts_mut();
        inner.shared.lock().replace(cid, Some(entry));
        Ok(())
    }

    /// Adds a group to a chunk that was begun, after checking it against the chunk's hashes; true once the chunk is
    /// whole. The call with the last group writes the chunk out and syncs its bytes; with the next synced write, of
    /// whatever, the chunk is durable as a whole.
    ///
    /// # Errors
    /// See [`PutError`]. With [`PutError::BadGroup`] the have-set is as before: blame the sender. With
    /// [`PutError::NoRoom`] for the last group, put it again once there is room.
    pub fn put_group(&self, cid: ChunkCid, group: GroupIndex, bytes: &[u8]) -> Result<bool, PutError> {
        let inner = &self.inner;
        inner.writable()?;
        let claim = inner.shared.claim(BTreeSet::from([cid]));
        let mut entry = inner.shared.lock().get(cid).cloned().ok_or(PutError::Unknown(cid))?;
        if entry.is_complete() {
            return Ok(true);
        }
        if group.0 >= entry.groups() {
            return Err(PutError::BadGroup { cid, group });
        }
        if entry.place(group).is_none() {
            let hashes = inner.read_hashes(cid, entry.record.len)?;
            hashes.check_group(group, bytes).map_err(|_| PutError::BadGroup { cid, group })?;
            inner.check_disk(bytes.len() as u64)?;
            if let Some(parts) = entry.parts_mut() {
                parts.insert(group);
            }
            inner.write_part(&entry, group, Some(bytes))?;
            inner.shared.lock().replace(cid, Some(entry.clone()));
        }
        self.settle_if_full(&claim, cid, &entry)
    }

    /// Partial chunks that lack nothing but being written out: the program ended right before.
    pub(crate) fn settle_full_partials(&self) {
        let all: Vec<(ChunkCid, Entry)> = {
            let catalog = self.inner.shared.lock();
            let partial = catalog.after(None).filter(|(_, entry)| !entry.is_complete());
            partial.map(|(cid, entry)| (cid, entry.clone())).collect()
        };
        for (cid, entry) in all {
            let claim = self.inner.shared.claim(BTreeSet::from([cid]));
            if let Err(error) = self.settle_if_full(&claim, cid, &entry) {
                tracing::warn!(%cid, %error, "a chunk with all its groups could not be written out");
            }
        }
    }

    /// Writes a chunk out as a table file once all its groups are here; false while they are not.
    fn settle_if_full(&self, claim: &Claim<'_>, cid: ChunkCid, entry: &Entry) -> Result<bool, PutError> {
        if entry.is_complete() {
            return Ok(true);
        }
        if (0..entry.groups()).any(|n| entry.place(GroupIndex(n)).is_none()) {
            return Ok(false);
        }
        let hashes = self.inner.read_hashes(cid, entry.record.len)?;
        let groups = (0..entry.groups()).map(|n| {
            let group = GroupIndex(n);
            let bytes = self.inner.fetch(entry, &hashes, group)?;
            bytes.map(Cow::Owned).ok_or(PutError::Read(ReadError::Corrupt { cid, group }))
        });
        match Staged::write(self, cid, &hashes, groups) {
            Ok(staged) => {
                let mut batch = self.batch();
                batch.add_staged(staged);
                batch.commit_claimed(claim, Durability::Buffered)?;
                Ok(true)
            }
            Err(PutError::Read(ReadError::Corrupt { group, .. })) => {
                tracing::warn!(%cid, %group, "a group is damaged on the disk and must be fetched again");
                self.inner.drop_group(claim, cid, group)?;
                Ok(false)
            }
            Err(error) => Err(error),
        }
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
        let mut have = GroupSet::empty(entry.groups()).ok()?;
        for group in (0..entry.groups()).map(GroupIndex).filter(|group| entry.place(*group).is_some()) {
            have.insert(group);
        }
        Some(have)
    }

    /// Whether all of a chunk is here. Answered from memory.
    #[must_use]
    pub fn is_complete(&self, cid: ChunkCid) -> bool {
        self.inner.shared.lock().get(cid).is_some_and(Entry::is_complete)
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
            let entry = self.inner.shared.lock().get(cid).cloned();
            let Some(entry) = entry.filter(|entry| entry.place(group).is_some()) else { return Ok(None) };
            match self.inner.fetch(&entry, hashes, group)? {
                Some(bytes) => return Ok(Some(bytes)),
                // Moved, or deleted, while we looked: look again.
                None if !self.inner.still(cid, &entry, group) => {}
                None => {
                    let claim = self.inner.shared.claim(BTreeSet::from([cid]));
                    if self.inner.still(cid, &entry, group) {
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
    /// The bytes of a group from where its entry says it lies; none where they are not there or not right.
    fn fetch(&self, entry: &Entry, hashes: &GroupHashes, group: GroupIndex) -> Result<Option<Vec<u8>>, ReadError> {
        let family = match entry.place(group) {
            Some(Place::Parts) => PARTS,
            Some(Place::Groups) => GROUPS,
            None => return Ok(None),
        };
        let mut options = ReadOptions::default();
        // The page cache keeps what is read often; twice in memory would be once too much.
        options.fill_cache(false);
        let key = record::group_key(entry.record.ordinal, group);
        match self.db.get_pinned_cf_opt(self.family(family), key, &options) {
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
        let Some(mut entry) = self.shared.lock().get(cid).cloned() else { return Ok(()) };
        self.writable()?;
        if entry.parts_mut().is_some_and(|parts| parts.remove(group)) {
            self.write_part(&entry, group, None)?;
        } else {
            entry.record.dropped.push(group.0);
            let mut batch = WriteBatch::default();
            batch.put_cf(self.family(META), record::chunk_key(RECORD, cid), entry.record.encode());
            self.write(batch, Durability::Buffered)?;
        }
        self.shared.lock().replace(cid, Some(entry));
        Ok(())
    }

    /// Writes or deletes a group in `parts`, with the bits that say so.
    fn write_part(&self, entry: &Entry, group: GroupIndex, bytes: Option<&[u8]>) -> Result<(), PutError> {
        let family = self.family(PARTS);
        let ordinal = entry.record.ordinal;
        let mut batch = WriteBatch::default();
        match bytes {
            Some(bytes) => batch.put_cf(family, record::group_key(ordinal, group), bytes),
            None => batch.delete_cf(family, record::group_key(ordinal, group)),
        }
        let bits = entry.parts.as_ref().map(GroupSet::bitmap).unwrap_or_default();
        batch.put_cf(family, record::bits_key(ordinal), bits);
        self.write_unlogged(batch)
    }

    pub(crate) fn delete_parts(&self, batch: &mut WriteBatch, ordinal: Ordinal) {
        let end = Ordinal(ordinal.0.saturating_add(1));
        let (from, to) = (record::group_key(ordinal, GroupIndex(0)), record::group_key(end, GroupIndex(0)));
        batch.delete_range_cf(self.family(PARTS), from, to);
    }

    /// Gets the room of deleted parts back once it is worth it. Mostly they never reached the disk.
    pub(crate) fn reclaim_parts(&self, bytes: u64) -> Result<(), PutError> {
        use std::sync::atomic::Ordering::Relaxed;
        let garbage = self.parts_garbage.fetch_add(bytes, Relaxed) + bytes;
        if garbage < RECLAIM_BYTES || self.parts_garbage.swap(0, Relaxed) < RECLAIM_BYTES {
            return Ok(());
        }
        let parts = self.family(PARTS);
        self.outcome(0, self.db.flush_cf(parts))?;
        self.db.compact_range_cf(parts, None::<&[u8]>, None::<&[u8]>);
        Ok(())
    }

    fn info(&self, cid: ChunkCid, entry: &Entry) -> ChunkInfo {
        let Record { len, protection, .. } = entry.record;
        ChunkInfo { cid, len, complete: entry.is_complete(), protection, note: Vec::new() }
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
