//! What the store holds, in memory: about 200 bytes per chunk (more where its groups came one by one among others),
//! read once when the store is opened.
//!
//! It answers "have you" without touching the disk, keeps the order of eviction, counts the bytes, and makes
//! changes to one chunk happen one after another: whoever changes a chunk holds its [`Claim`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use aftercast_protocol::ids::ChunkCid;

use crate::record::Record;
use crate::{Limit, NoRoom, Protection};

/// A chunk as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub record: Record,
    /// When it was last used, in steps of [`Catalog::tick`].
    pub used: u64,
}

/// Room for something that is about to be written, in bytes. A chunk that was begun is in the quota already when its
/// groups are written, but they still need their room on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Room {
    pub quota: u64,
    pub disk: u64,
}

#[derive(Default)]
pub(crate) struct Catalog {
    chunks: BTreeMap<ChunkCid, Entry>,
    /// Acknowledged chunks, least recently used first.
    evictable: BTreeSet<(u64, ChunkCid)>,
    claimed: BTreeSet<ChunkCid>,
    /// Lengths of all chunks, partial ones in full.
    bytes: u64,
    /// Room of chunks that are being written.
    reserved: Room,
    /// Chunks used since their use was last written down.
    touched: BTreeSet<ChunkCid>,
    clock: u64,
}

impl Catalog {
    pub(crate) fn get(&self, cid: ChunkCid) -> Option<&Entry> {
        self.chunks.get(&cid)
    }
    pub(crate) fn len(&self) -> usize {
        self.chunks.len()
    }
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
    /// Chunks behind this one, in order of their ids.
    pub(crate) fn after(&self, cid: Option<ChunkCid>) -> impl Iterator<Item = (ChunkCid, &Entry)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = cid.map_or(Unbounded, Excluded);
        self.chunks.range((from, Unbounded)).map(|(cid, entry)| (*cid, entry))
    }

    /// Sets or removes what is known of a chunk; gives back what was known before.
    pub(crate) fn replace(&mut self, cid: ChunkCid, entry: Option<Entry>) -> Option<Entry> {
        let before = self.chunks.remove(&cid);
        if let Some(old) = &before {
            self.evictable.remove(&(old.used, cid));
            self.bytes -= old.record.len;
        }
        match entry {
            Some(entry) => {
                self.clock = self.clock.max(entry.used);
                self.bytes += entry.record.len;
                if entry.record.protection == Protection::Acknowledged {
                    self.evictable.insert((entry.used, cid));
                }
                self.chunks.insert(cid, entry);
            }
            None => {
                self.touched.remove(&cid);
            }
        }
        before
    }

    /// The next step of the clock that orders uses.
    pub(crate) fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// Notes that a chunk was read; gives how many uses wait to be written down.
    pub(crate) fn touch(&mut self, cid: ChunkCid) -> usize {
        let now = self.clock + 1;
        if let Some(entry) = self.chunks.get_mut(&cid) {
            // Group after group of one chunk is one use.
            if entry.used != self.clock {
                if self.evictable.remove(&(entry.used, cid)) {
                    self.evictable.insert((now, cid));
                }
                entry.used = now;
                self.clock = now;
            }
            self.touched.insert(cid);
        }
        self.touched.len()
    }

    /// Uses that were not written down yet, each once.
    pub(crate) fn take_touched(&mut self) -> Vec<(ChunkCid, u64)> {
        let touched = std::mem::take(&mut self.touched);
        touched.into_iter().filter_map(|cid| Some((cid, self.chunks.get(&cid)?.used))).collect()
    }

    /// Which limit forbids so much more: the one that lacks most. `usable` is what the disk may take.
    pub(crate) fn shortfall(&self, more: Room, quota: Option<u64>, usable: u64) -> Option<NoRoom> {
        let disk = NoRoom { needed: more.disk, free: usable.saturating_sub(self.reserved.disk), limit: Limit::Disk };
        let taken = self.bytes.saturating_add(self.reserved.quota);
        let quota = quota.map(|quota| NoRoom {
            needed: more.quota,
            free: quota.saturating_sub(taken),
            limit: Limit::Quota(quota),
        });
        let short = quota.into_iter().chain([disk]).filter(|limit| limit.free < limit.needed);
        short.max_by_key(|limit| limit.needed - limit.free)
    }

    pub(crate) fn reserve(&mut self, room: Room) {
        self.reserved.quota += room.quota;
        self.reserved.disk += room.disk;
    }
    pub(crate) fn release(&mut self, room: Room) {
        self.reserved.quota -= room.quota;
        self.reserved.disk -= room.disk;
    }

    /// Least recently used acknowledged chunks that together hold at least `bytes`, or all there are.
    pub(crate) fn victims(&self, bytes: u64) -> BTreeSet<ChunkCid> {
        let mut sum = 0;
        let mut victims = BTreeSet::new();
        for (_, cid) in &self.evictable {
            if sum >= bytes {
                break;
            }
            if !self.claimed.contains(cid) {
                sum += self.chunks.get(cid).map_or(0, |entry| entry.record.len);
                victims.insert(*cid);
            }
        }
        victims
    }
}

/// The catalog, its lock, and the turn-taking of those who change chunks.
#[derive(Default)]
pub(crate) struct Shared {
    catalog: Mutex<Catalog>,
    freed: Condvar,
}

impl Shared {
    /// A thread that panicked while it held this lock left the catalog whole: every change of it is finished before
    /// anything that can fail.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Catalog> {
        self.catalog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the exclusive right to change these chunks. All at once, so that two who want the same ones in
    /// different order do not wait for each other; hence never while holding another claim.
    pub(crate) fn claim(&self, cids: BTreeSet<ChunkCid>) -> Claim<'_> {
        let mut catalog = self.lock();
        while cids.iter().any(|cid| catalog.claimed.contains(cid)) {
            catalog = self.freed.wait(catalog).unwrap_or_else(PoisonError::into_inner);
        }
        catalog.claimed.extend(&cids);
        Claim { shared: self, cids }
    }
}

/// The exclusive right to change some chunks.
pub(crate) struct Claim<'a> {
    shared: &'a Shared,
    cids: BTreeSet<ChunkCid>,
}

impl Claim<'_> {
    pub(crate) fn covers(&self, cid: ChunkCid) -> bool {
        self.cids.contains(&cid)
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut catalog = self.shared.lock();
        for cid in &self.cids {
            catalog.claimed.remove(cid);
        }
        self.shared.freed.notify_all();
    }
}
