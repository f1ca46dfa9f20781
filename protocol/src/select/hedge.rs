//! Hedging: what the player needs next and its source is late with is asked of a second one as well, within a budget.
//!
//! A split moves what has not begun to come; it cannot help with the very group that a player waits for, because that
//! one may be in flight, and throwing it away on every hiccup costs more than it gains. So the first missing groups of
//! an urgent chunk are asked for twice, when
//!
//! - their source has been silent for longer than its rate and deviation explain,
//! - waiting until it counts as stalled, and asking another one then, would make them late,
//! - another source could bring them in time, or sooner than that,
//!
//! and the budget allows it: [`HEDGE_PERCENT`] of the useful bytes of late. Whoever is first is right; the other is
//! cancelled.

use super::plan::{Candidate, GROUP, PATIENCE_LATE};
use super::{Action, Selector, Source};
use crate::ids::{ChunkCid, GroupIndex, RequestId};
use crate::serve::Class;
use crate::time::Micros;
use crate::verify::GroupRange;

/// Share of useful bytes that may be asked for twice, in percent.
const HEDGE_PERCENT: u64 = 3;
/// What may be saved up: the start of a playback has earned nothing yet, and a quiet hour is no reason for a flood.
const HEDGE_BURST: u64 = 4 * GROUP;
/// Most groups of one hedge: what a player at 8 Mb/s needs until the silent source counts as stalled.
const HEDGE_GROUPS: u32 = 2;

/// Bytes that may be asked for twice.
#[derive(Debug)]
pub(super) struct HedgeBudget {
    /// In hundredths of a byte.
    credit: u64,
}

impl Default for HedgeBudget {
    fn default() -> Self {
        Self { credit: HEDGE_BURST * 100 }
    }
}

impl HedgeBudget {
    /// Useful bytes have come.
    pub fn earn(&mut self, bytes: u64) {
        self.credit = self.credit.saturating_add(bytes.saturating_mul(HEDGE_PERCENT)).min(HEDGE_BURST * 100);
    }

    /// Whole groups that it allows.
    fn groups(&self) -> u32 {
        u32::try_from(self.credit / (GROUP * 100)).unwrap_or(u32::MAX)
    }

    fn spend(&mut self, groups: u32) {
        self.credit = self.credit.saturating_sub(u64::from(groups) * GROUP * 100);
    }
}

impl Selector {
    /// Asks for what is needed next, and late, of a second source.
    pub(super) fn hedge(&mut self) {
        if self.hedges.groups() == 0 {
            return;
        }
        let window = self.config.urgent;
        let urgent = self.wants.values().filter(|want| want.want.in_order && want.is_urgent(self.now, window));
        let mut urgent: Vec<_> = urgent.map(|want| (want.want.deadline, want.want.cid)).collect();
        urgent.sort_unstable();
        for (_, cid) in urgent {
            if let Some((source, range)) = self.hedge_for(cid) {
                self.hedges.spend(range.len());
                self.stats.hedges += 1;
                self.stats.hedged_bytes += u64::from(range.len()) * GROUP;
                self.request(cid, source, range);
            }
        }
    }

    /// Who should be asked for which first groups of a chunk as well.
    fn hedge_for(&self, cid: ChunkCid) -> Option<(Source, GroupRange)> {
        let want = self.wants.get(&cid)?;
        let progress = want.progress.as_ref().filter(|_| want.want.class == Class::Playback)?;
        let head = progress.first_missing().filter(|head| !progress.is_hedged(*head))?;
        let late = self.requests.values().find(|request| request.cid == cid && request.range.contains(head))?;
        let silent = self.sources.get(&late.source)?;
        if silent.overdue(self.now) == Micros(0) {
            return None;
        }
        // The seed is hurried by its own rule; a second question would only burden it.
        let patience = self.patience(late.source, silent).max(PATIENCE_LATE);
        let wait = Micros(patience.0.saturating_sub(silent.overdue(self.now).0));
        let most = late.range.end.saturating_sub(head.0).min(HEDGE_GROUPS).min(self.hedges.groups());
        let twice = (head.0..head.0 + most).find(|index| progress.is_hedged(GroupIndex(*index)));
        let range = GroupRange::new(head.0, twice.unwrap_or(head.0 + most));
        let bytes = u64::from(range.len()) * GROUP;
        let arrival = |other: &Candidate| Some(self.sources.get(&other.source)?.arrival(self.now, bytes));
        // Whoever is soonest, however much it has to do: its room was measured for what comes later.
        let others = self.candidates(want, range.len()).into_iter();
        let others = others.filter(|other| other.source != late.source && !other.on_trial);
        let (soonest, source) = others.filter_map(|other| Some((arrival(&other)?, other.source))).min()?;
        // To wait and then ask would be late; to ask now is not, or is at least sooner by the wait.
        (soonest + wait > want.want.deadline && !range.is_empty()).then_some((source, range))
    }

    /// A group that two were asked for has come from one: the other is not to send it, if that can still be said.
    pub(super) fn settle_hedge(&mut self, cid: ChunkCid, index: GroupIndex) {
        let other = self.requests.iter().find(|(_, other)| other.cid == cid && other.range.contains(index));
        let Some(id) = other.map(|(id, _)| *id) else { return };
        self.shrink(id);
    }

    /// Takes groups that are here off both ends of a request.
    fn shrink(&mut self, id: RequestId) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        let progress = self.wants.get(&request.cid).and_then(|want| want.progress.as_ref());
        let Some(progress) = progress else { return };
        let held = |index: u32| progress.held.contains(GroupIndex(index));
        let before = request.range;
        while !request.range.is_empty() && held(request.range.start) {
            request.range.start += 1;
        }
        while !request.range.is_empty() && held(request.range.end.saturating_sub(1)) {
            request.range.end -= 1;
        }
        let (after, source) = (request.range, request.source);
        if let Some(source) = self.sources.get_mut(&source) {
            source.note_settled(before.len() - after.len());
        }
        if after.is_empty() {
            self.cancel(id);
        } else if after.end < before.end {
            self.actions.push_back(Action::Trim { id, end: after.end });
        }
    }
}
