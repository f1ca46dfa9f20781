//! How much room there is, and how it is made.

use std::collections::BTreeSet;

use aftercast_protocol::ids::ChunkCid;
use rocksdb::properties;

use crate::batch::on_disk;
use crate::catalog::Room;
use crate::garbage::LOT_BYTES;
use crate::record::GROUPS;
use crate::{Durability, Inner, Limit, NoRoom, Protection, PutError, Store};

/// Room that is kept for records while chunks are refused.
const RECORDS_BYTES: u64 = 4 << 20;

/// What the store takes and may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Lengths of all chunks in bytes, partial ones in full.
    pub chunk_bytes: u64,
    /// Number of chunks, partial ones included.
    pub chunks: u64,
    /// Bytes free on the disk for this process, the reserve included; none where the system does not say.
    pub disk_free: Option<u64>,
    /// Most bytes of chunks.
    pub quota: Option<u64>,
}

/// What [`Store::make_room`] deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evicted {
    /// The chunks.
    pub chunks: Vec<ChunkCid>,
    /// Sum of their lengths, in bytes.
    pub bytes: u64,
}

impl Store {
    /// What the store takes and may take.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let disk_free = self.inner.disk_free();
        let catalog = self.inner.shared.lock();
        Usage {
            chunk_bytes: catalog.bytes(),
            chunks: catalog.len() as u64,
            disk_free,
            quota: self.inner.config.quota_bytes,
        }
    }

    /// Makes room for `bytes` more: deletes acknowledged chunks, those first whose last use is longest ago. Deletes
    /// nothing where there is room, or where all of them would not be enough.
    ///
    /// # Errors
    /// [`PutError::NoRoom`] where it cannot be done, and [`PutError::Failed`].
    pub fn make_room(&self, bytes: u64) -> Result<Evicted, PutError> {
        let inner = &self.inner;
        inner.writable()?;
        let (victims, disk_is_full) = {
            let usable = inner.disk_usable();
            let catalog = inner.shared.lock();
            let more = Room { quota: bytes, disk: on_disk(bytes) };
            let Some(short) = catalog.shortfall(more, inner.config.quota_bytes, usable) else {
                return Ok(Evicted::default());
            };
            let deficit = short.needed - short.free;
            let length = |victims: &BTreeSet<ChunkCid>| {
                victims.iter().filter_map(|cid| Some(catalog.get(*cid)?.record.len)).sum::<u64>()
            };
            let victims = catalog.victims(deficit);
            if length(&victims) < deficit {
                return Err(short.into());
            }
            match short.limit {
                Limit::Quota(_) => (victims, false),
                // The disk gives room back by files of many chunks: taking their neighbours along, which are next
                // anyway, frees whole files instead of having them rewritten.
                Limit::Disk => (catalog.victims(deficit.max(LOT_BYTES.min(catalog.bytes() / 8))), true),
            }
        };
        let claim = inner.shared.claim(victims.clone());
        let mut batch = self.batch();
        let mut evicted = Evicted::default();
        {
            let catalog = inner.shared.lock();
            for cid in victims {
                // Someone may have changed his mind before we had the claim.
                if let Some(entry) = catalog.get(cid)
                    && entry.record.protection == Protection::Acknowledged
                {
                    evicted.chunks.push(cid);
                    evicted.bytes += entry.record.len;
                    batch.delete_chunk(cid);
                }
            }
        }
        batch.commit_claimed(&claim, Durability::Synced)?;
        if disk_is_full {
            inner.clear_garbage()?;
        }
        Ok(evicted)
    }
}

impl Inner {
    /// Sets room aside for a chunk that is about to be written.
    pub(crate) fn reserve(&self, room: Room) -> Result<(), NoRoom> {
        let usable = self.disk_usable();
        let mut catalog = self.shared.lock();
        if let Some(short) = catalog.shortfall(room, self.config.quota_bytes, usable) {
            return Err(short);
        }
        catalog.reserve(room);
        Ok(())
    }

    /// Whether the disk takes this much, whatever the quota says.
    pub(crate) fn check_disk(&self, bytes: u64) -> Result<(), NoRoom> {
        let usable = self.disk_usable();
        self.shared.lock().shortfall(Room { quota: 0, disk: bytes }, None, usable).map_or(Ok(()), Err)
    }

    fn disk_free(&self) -> Option<u64> {
        let disk = rustix::fs::statvfs(&self.path).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// Bytes of the disk that the store may still take. A disk that does not say is taken for one with room: a write
    /// says when it is not.
    fn disk_usable(&self) -> u64 {
        let Some(free) = self.disk_free() else { return u64::MAX };
        // Groups in memory that are only in the log so far will need their room again. Where the database does not say
        // how many, the reserve must do.
        let unflushed = self.db.property_int_value_cf(self.family(GROUPS), properties::CUR_SIZE_ALL_MEM_TABLES);
        let unflushed = unflushed.ok().flatten().unwrap_or(0);
        // Less would not do to write records and rewrite a table file, which is how room is made.
        let least = (self.config.write_buffer_bytes as u64).saturating_add(RECORDS_BYTES);
        free.saturating_sub(unflushed).saturating_sub(self.config.reserve_free_bytes.max(least))
    }
}
