//! Which timeline, and which number, a reported chunk has.
//!
//! Recorders number timelines and PTS wraps from their own start; the seed has to map all of them onto one numbering
//! per channel (DESIGN 5). Two reports speak of the same chunk when their opening anchors agree: same 33-bit PTS and
//! same unit digest. From there on a recorder's own numbering is offset by a constant, until its clock jumps.

use std::collections::BTreeMap;

use crate::ids::{ChunkIndex, DeviceId, Slot, TimelineId, UnitDigest};
use crate::limits::{MAX_LOCAL_TIMELINES, MAX_TRACKED_ANCHORS};
use crate::time::Pts33;

/// What a recorder says of a chunk's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalPlace {
    /// The recorder's own number of the timeline.
    pub timeline: TimelineId,
    /// The recorder's own number of the cell.
    pub index: ChunkIndex,
    /// PTS of the opening unit.
    pub pts: Pts33,
    /// Digest of the opening unit.
    pub opening: UnitDigest,
}

#[derive(Debug, Clone, Copy)]
struct Offset {
    timeline: TimelineId,
    cells: i64,
}

/// The seed's numbering of one channel.
#[derive(Debug, Default)]
pub struct Timelines {
    /// Anchors of recent chunks, oldest first out.
    anchors: BTreeMap<(Pts33, UnitDigest), Slot>,
    order: std::collections::VecDeque<(Pts33, UnitDigest)>,
    /// How each recorder's numbering maps onto ours.
    offsets: BTreeMap<(DeviceId, TimelineId), Offset>,
    next: u32,
}

impl Timelines {
    /// Takes up a numbering again, from chunks that were decided before a restart.
    pub fn restore(&mut self, slot: Slot, pts: Pts33, opening: UnitDigest) {
        self.next = self.next.max(slot.timeline.0.saturating_add(1));
        self.remember(slot, pts, opening);
    }

    /// The place of a reported chunk in the channel's own numbering.
    pub fn locate(&mut self, device: DeviceId, place: LocalPlace) -> Slot {
        let key = (device, place.timeline);
        let slot = match (self.anchors.get(&(place.pts, place.opening)), self.offsets.get(&key)) {
            (Some(&slot), _) => slot,
            (None, Some(offset)) => {
                Slot { timeline: offset.timeline, index: ChunkIndex(shift(place.index.0, offset.cells)) }
            }
            (None, None) => self.first_sight(place),
        };
        self.remember(slot, place.pts, place.opening);
        let cells = slot.index.0 as i64 - place.index.0 as i64;
        if self.offsets.len() >= MAX_LOCAL_TIMELINES && !self.offsets.contains_key(&key) {
            self.forget_oldest(device);
        }
        self.offsets.insert(key, Offset { timeline: slot.timeline, cells });
        slot
    }

    /// A recorder that nothing is known of yet, with a chunk that nobody else reported so far.
    fn first_sight(&mut self, place: LocalPlace) -> Slot {
        // Clocks of one channel agree: where the newest timeline has a neighbouring cell, this is the same timeline,
        // seen first by this recorder. Anything else is a clock nobody has seen.
        const NEIGHBOURHOOD_CELLS: u64 = 900;
        let newest = TimelineId(self.next.saturating_sub(1));
        let near = self.order.iter().rev().filter_map(|key| self.anchors.get(key)).find(|slot| slot.timeline == newest);
        match near {
            Some(slot) if slot.index.0.abs_diff(place.index.0) <= NEIGHBOURHOOD_CELLS => {
                Slot { timeline: newest, index: place.index }
            }
            _ => {
                let timeline = TimelineId(self.next);
                self.next = self.next.saturating_add(1);
                Slot { timeline, index: place.index }
            }
        }
    }

    fn remember(&mut self, slot: Slot, pts: Pts33, opening: UnitDigest) {
        if self.anchors.insert((pts, opening), slot).is_none() {
            self.order.push_back((pts, opening));
        }
        while self.order.len() > MAX_TRACKED_ANCHORS {
            if let Some(old) = self.order.pop_front() {
                self.anchors.remove(&old);
            }
        }
    }

    /// Makes room among recorders' numberings: first what this very device left behind, so that one device that
    /// jumps its clock all day pushes out nobody else's.
    fn forget_oldest(&mut self, device: DeviceId) {
        let own = self.offsets.range((device, TimelineId(0))..=(device, TimelineId(u32::MAX))).next().map(|(k, _)| *k);
        if let Some(key) = own.or_else(|| self.offsets.keys().next().copied()) {
            self.offsets.remove(&key);
        }
    }
}

fn shift(index: u64, cells: i64) -> u64 {
    index.saturating_add_signed(cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(n: u8) -> DeviceId {
        DeviceId([n; 32])
    }
    fn place(timeline: u32, index: u64, digest: u8) -> LocalPlace {
        LocalPlace {
            timeline: TimelineId(timeline),
            index: ChunkIndex(index),
            pts: Pts33(index * 360_000 % (1 << 33)),
            opening: UnitDigest([digest; 16]),
        }
    }

    #[test]
    fn recorders_that_saw_the_same_anchor_share_a_slot() {
        let mut timelines = Timelines::default();
        let first = timelines.locate(device(1), place(0, 100, 1));
        assert_eq!(timelines.locate(device(2), place(3, 100, 1)), first);
    }

    #[test]
    fn a_recorder_that_missed_the_wrap_is_numbered_like_the_others() {
        let interval = crate::time::Ticks(360_000);
        let wrap = crate::plan::cells_per_wrap(interval);
        let mut timelines = Timelines::default();
        let old = timelines.locate(device(1), LocalPlace { index: ChunkIndex(wrap), pts: Pts33(0), ..place(0, 0, 7) });
        assert_eq!(
            timelines.locate(device(2), LocalPlace { index: ChunkIndex(0), pts: Pts33(0), ..place(0, 0, 7) }),
            old
        );
        let next = timelines.locate(device(2), place(0, 1, 8));
        assert_eq!(next.index, ChunkIndex(wrap + 1), "the offset learned at the anchor carries on");
    }

    #[test]
    fn a_clock_jump_starts_a_timeline_that_all_recorders_agree_on() {
        let mut timelines = Timelines::default();
        let before = timelines.locate(device(1), place(0, 5_000, 1));
        let after = timelines.locate(device(1), place(1, 10, 2));
        assert_ne!(before.timeline, after.timeline);
        assert_eq!(timelines.locate(device(2), place(0, 10, 2)), after);
    }

    #[test]
    fn memory_is_bounded_whatever_is_reported() {
        let mut timelines = Timelines::default();
        for n in 0..(2 * MAX_TRACKED_ANCHORS as u64) {
            timelines.locate(device((n % 251) as u8), place(n as u32, n * 2_000, (n % 256) as u8));
        }
        assert!(timelines.anchors.len() <= MAX_TRACKED_ANCHORS);
        assert!(timelines.offsets.len() <= MAX_LOCAL_TIMELINES);
    }
}
