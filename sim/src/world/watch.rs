//! Intervals of a run beside the least that any policy needs of the seed in them ([`crate::bound`]).
//!
//! What was delivered within an interval is what was due in it. A holder may have completed what its line carries in that
//! time, and what it had already sent of parts that were on their way. So what peers did is one of the flows that the
//! bound is the greatest of, and a run that needs less than the bound has a fault in its books.

use std::collections::{BTreeMap, BTreeSet};

use super::Event;
use super::World;
use super::catalogue::Programme;
use super::clock::{MINUTE, SECOND, Time};
use super::fleet::{NO_LINE, Traits};
use super::session::Session;
use crate::bound::{Snapshot, Want, bound};
use crate::rng::Purpose;

/// Length of an interval: some chunks.
const LENGTH: Time = MINUTE;

/// One interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// When it began.
    pub begins: Time,
    /// Bytes that viewers got of chunks, small first pieces aside.
    pub delivered: u64,
    /// Of these, from the seed.
    pub seed: u64,
    /// The least that any policy would have needed of it for the same.
    pub least: u64,
}

/// Who got which chunk of what.
type Due = (u64, u32, Programme, u32);

/// What is noted while an interval lasts.
#[derive(Debug, Default)]
pub(super) struct Watch {
    begins: Option<Time>,
    /// Bytes by viewing and chunk.
    due: BTreeMap<Due, u64>,
    seed: u64,
    /// Bytes that homes had sent of parts on their way when it began.
    before: BTreeMap<u32, u64>,
    /// What has been seen.
    pub seen: Vec<Interval>,
}

impl World<'_> {
    /// Chooses the intervals to be watched, one in each equal part of what is measured.
    pub(super) fn plan_watch(&mut self) {
        let (from, count) = (self.model.measured_from, self.model.snapshots);
        let each = (self.model.ends - from) / count.max(1);
        if each <= 2 * LENGTH {
            return;
        }
        for number in 0..count {
            let within = self.rng.below(each - 2 * LENGTH, Purpose::Snapshot, number, 0);
            self.calendar.push(from + number * each + within, Event::Watch);
        }
    }

    /// An interval begins, or ends.
    pub(super) fn on_watch(&mut self) {
        match self.watch.begins.take() {
            Some(begins) => self.end_watch(begins),
            None => {
                self.watch.begins = Some(self.now);
                self.watch.before = self.sent_of_parts();
                self.calendar.push(self.now + LENGTH, Event::Watch);
            }
        }
    }

    /// A viewing got bytes of a chunk.
    pub(super) fn note_delivery(&mut self, session: &Session, index: u32, bytes: u64, from_seed: bool) {
        if self.watch.begins.is_some() {
            *self.watch.due.entry((session.number, session.home, session.programme, index)).or_default() += bytes;
            self.watch.seed += if from_seed { bytes } else { 0 };
        }
    }

    fn end_watch(&mut self, begins: Time) {
        let due = std::mem::take(&mut self.watch.due);
        let seed = std::mem::take(&mut self.watch.seed);
        let snapshot = self.snapshot(begins, &due);
        let delivered = due.values().sum();
        let least = bound(&snapshot).seed_at_least_for(delivered);
        self.watch.seen.push(Interval { begins, delivered, seed, least });
    }

    fn snapshot(&self, begins: Time, due: &BTreeMap<Due, u64>) -> Snapshot {
        let mut uplinks: Vec<u64> = Vec::new();
        let mut downlinks: Vec<u64> = Vec::new();
        let (mut givers, mut takers): (BTreeMap<u32, usize>, BTreeMap<u64, usize>) = Default::default();
        let mut wants = Vec::new();
        for (&(number, home, programme, index), &bytes) in due {
            let viewer = *takers.entry(number).or_insert_with(|| {
                // What was on its way when the interval began comes on top of what the line carries in it.
                downlinks.push(u64::MAX / 1_000_000);
                downlinks.len() - 1
            });
            let recorders: BTreeSet<u32> = self.catalogue.recorders(programme).iter().copied().collect();
            let holders = recorders.into_iter().filter(|other| self.could_send(*other, home, programme, index, begins));
            let holders = holders.map(|other| {
                *givers.entry(other).or_insert_with(|| {
                    let line = self.fleet.uplink(self.model, other) * (self.now - begins) / SECOND;
                    uplinks.push(line + 1 + self.watch.before.get(&other).copied().unwrap_or(0));
                    uplinks.len() - 1
                })
            });
            wants.push(Want { viewer, bytes, holders: holders.collect() });
        }
        Snapshot { wants, uplinks, downlinks }
    }

    /// Whether a home could have sent a chunk within the interval, to the best of its abilities.
    fn could_send(&self, home: u32, to: u32, programme: Programme, index: u32, begins: Time) -> bool {
        let traits = self.fleet.homes[home as usize].traits;
        home != to
            && !traits.has(Traits::FREE_RIDER)
            && !traits.has(Traits::POLLUTER)
            && self.fleet.meet(self.model, home, to)
            && self.could_have(&self.holding(home, programme), index, begins)
            && (self.fleet.is_on(self.model, home, begins)
                || self.fleet.is_on(self.model, home, self.now)
                || self.fleet.is_on(self.model, home, (begins + self.now) / 2)
                || self.fleet.homes[home as usize].sending != NO_LINE
                || self.watch.before.contains_key(&home))
    }

    /// Bytes that homes have sent of what is on their lines.
    fn sent_of_parts(&mut self) -> BTreeMap<u32, u64> {
        let on_lines: Vec<u32> = self.lines.parts().collect();
        let mut sent = BTreeMap::new();
        for part in on_lines {
            let left = self.left_of(part);
            let part = self.parts[part];
            *sent.entry(part.from).or_default() += part.bytes - left;
        }
        sent
    }
}
