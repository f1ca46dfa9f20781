//! Which positions of groups are in use. What is not is garbage, and disappears when its table file is compacted.
//!
//! Deleting a group writes nothing: there are no tombstones among the groups, whose way down the levels would drag
//! everything between the oldest and the newest groups through a rewrite.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::record::{Position, Run};

/// Positions in use, shared with the compaction filter.
#[derive(Default)]
pub(crate) struct Positions(RwLock<Inner>);

#[derive(Default)]
struct Inner {
    /// First position in use -> how many. Ranges do not overlap.
    used: BTreeMap<u64, u64>,
    next: u64,
    /// Nothing is garbage until the records were read.
    ready: bool,
}

impl Positions {
    /// Takes positions that were never used, from before anything is written there.
    pub(crate) fn take(&self, count: u32) -> Position {
        let mut inner = self.write();
        let start = inner.next;
        // 2^64 groups are more than any disk outlives.
        inner.next = start.saturating_add(u64::from(count));
        inner.used.insert(start, u64::from(count));
        Position(start)
    }

    /// Says what the records say, once.
    pub(crate) fn begin<'a>(&self, runs: impl Iterator<Item = &'a Run>, next: Position) {
        let mut inner = self.write();
        inner.used.extend(runs.map(|run| (run.position.0, u64::from(run.count))));
        let behind = inner.used.last_key_value().map_or(0, |(start, count)| start.saturating_add(*count));
        inner.next = next.0.max(behind);
        inner.ready = true;
    }

    /// Gives positions up.
    pub(crate) fn give_up(&self, position: Position, count: u32) {
        let (from, to) = (position.0, position.plus(count).0);
        let mut inner = self.write();
        let first = inner.used.range(..=from).next_back().map_or(from, |(start, _)| *start);
        let touched: Vec<(u64, u64)> = inner.used.range(first..to).map(|(start, count)| (*start, *count)).collect();
        for (start, count) in touched {
            let end = start.saturating_add(count);
            if end <= from {
                continue;
            }
            inner.used.remove(&start);
            for (start, end) in [(start, from), (to, end)] {
                if start < end {
                    inner.used.insert(start, end - start);
                }
            }
        }
    }

    pub(crate) fn is_garbage(&self, position: Position) -> bool {
        let inner = self.read();
        inner.ready && position.0 < inner.next && inner.count(position, position) == 0
    }

    /// How many positions from `first` to `last` are in use.
    pub(crate) fn used_between(&self, first: Position, last: Position) -> u64 {
        self.read().count(first, last)
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn count(&self, first: Position, last: Position) -> u64 {
        let from = self.used.range(..=first.0).next_back().map_or(first.0, |(start, _)| *start);
        let behind = last.0.saturating_add(1);
        let inside = |(start, count): (&u64, &u64)| {
            start.saturating_add(*count).min(behind).saturating_sub((*start).max(first.0))
        };
        self.used.range(from.min(last.0)..=last.0).map(inside).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_is_garbage_before_the_records_were_read() {
        let positions = Positions::default();
        assert!(!positions.is_garbage(Position(3)));
        let run = Run { group: 0, count: 2, position: Position(4) };
        positions.begin([&run].into_iter(), Position(5));
        assert!(positions.is_garbage(Position(3)) && !positions.is_garbage(Position(5)));
        assert_eq!(positions.take(1), Position(6));
        assert!(!positions.is_garbage(Position(7)), "not given out yet: it may be in the making");
    }

    proptest! {
        #[test]
        fn ranges_hold_what_a_set_would(ops in prop::collection::vec((0..40_u64, 1..9_u32, any::<bool>()), 0..40)) {
            let positions = Positions::default();
            positions.begin(std::iter::empty(), Position(0));
            let mut set = BTreeSet::new();
            for (from, count, take) in ops {
                if take {
                    let start = positions.take(count).0;
                    set.extend(start..start + u64::from(count));
                } else {
                    positions.give_up(Position(from), count);
                    set.retain(|position| !(from..from + u64::from(count)).contains(position));
                }
                for position in 0..60 {
                    let inside = set.range(position..=position + 7).count() as u64;
                    prop_assert_eq!(positions.used_between(Position(position), Position(position + 7)), inside);
                }
            }
        }
    }
}
