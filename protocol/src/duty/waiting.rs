//! Chunks that wait for an uploader, and which of them are worth another look.
//!
//! Whether a chunk can be given out changes only when it changes itself, when one of its holders gets a place free, or
//! when a time comes that was foreseen. So a look costs what changed, not what waits: with a long backlog nearly all
//! chunks are left alone at each event.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::ids::{ChunkCid, DeviceId};
use crate::time::Mono;

/// Order of the queue: earliest deadline first, then first come.
pub(super) type Turn = (Mono, u64);

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Waiting {
    chunks: BTreeMap<Turn, ChunkCid>,
    /// Waiting chunks of each device.
    held: BTreeMap<DeviceId, BTreeSet<Turn>>,
    /// Chunks to be looked at.
    changed: BTreeSet<Turn>,
    /// Devices whose chunks are to be looked at, each from a turn on, as long as they have a place free.
    freed: BTreeSet<(Turn, DeviceId)>,
    cursors: BTreeMap<DeviceId, Turn>,
}

impl Waiting {
    pub(super) fn insert<'a>(&mut self, turn: Turn, cid: ChunkCid, holders: impl Iterator<Item = &'a DeviceId>) {
        self.chunks.insert(turn, cid);
        self.changed.insert(turn);
        for holder in holders {
            self.held.entry(*holder).or_default().insert(turn);
        }
    }

    pub(super) fn remove<'a>(&mut self, turn: Turn, holders: impl Iterator<Item = &'a DeviceId>) {
        if self.chunks.remove(&turn).is_none() {
            return;
        }
        self.changed.remove(&turn);
        for holder in holders {
            self.forget(turn, *holder);
        }
    }

    /// A waiting chunk has one more holder. Nothing happens to one that does not wait.
    pub(super) fn add_holder(&mut self, turn: Turn, holder: DeviceId) {
        if self.chunks.contains_key(&turn) {
            self.held.entry(holder).or_default().insert(turn);
            self.changed.insert(turn);
        }
    }

    pub(super) fn remove_holder(&mut self, turn: Turn, holder: DeviceId) {
        if self.chunks.contains_key(&turn) {
            self.forget(turn, holder);
        }
    }

    fn forget(&mut self, turn: Turn, holder: DeviceId) {
        let Some(held) = self.held.get_mut(&holder) else { return };
        held.remove(&turn);
        if held.is_empty() {
            self.held.remove(&holder);
        }
    }

    /// A waiting chunk's time has come.
    pub(super) fn look_at(&mut self, turn: Turn) {
        if self.chunks.contains_key(&turn) {
            self.changed.insert(turn);
        }
    }

    /// What [`super::machine::Duties`] is spared, for tests of that.
    #[cfg(test)]
    pub(super) fn look_at_all(&mut self) {
        self.changed.extend(self.chunks.keys());
    }

    /// A device has a place free, or can do more than before.
    pub(super) fn look_at_all_of(&mut self, device: DeviceId) {
        let first = self.held.get(&device).and_then(|held| held.first()).copied();
        self.set_cursor(device, first);
    }

    fn set_cursor(&mut self, device: DeviceId, turn: Option<Turn>) {
        if let Some(old) = self.cursors.remove(&device) {
            self.freed.remove(&(old, device));
        }
        if let Some(turn) = turn {
            self.cursors.insert(device, turn);
            self.freed.insert((turn, device));
        }
    }

    /// The chunk to be looked at next, in the order of the queue.
    pub(super) fn next(&mut self, free: &BTreeSet<DeviceId>) -> Option<ChunkCid> {
        loop {
            let freed = self.freed.first().map(|(turn, _)| *turn);
            let turn = self.changed.first().copied().into_iter().chain(freed).min()?;
            let mut due = self.changed.remove(&turn);
            while let Some(&(_, device)) = self.freed.first().filter(|(at, _)| *at == turn) {
                let held = self.held.get(&device).filter(|_| free.contains(&device));
                due |= held.is_some();
                let next = held.and_then(|held| held.range((Bound::Excluded(turn), Bound::Unbounded)).next().copied());
                self.set_cursor(device, next);
            }
            // A chunk may be gone that a device was to be looked at from.
            if let Some(cid) = self.chunks.get(&turn).filter(|_| due) {
                return Some(*cid);
            }
        }
    }
}
