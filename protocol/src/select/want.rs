//! A wanted chunk: which of its groups are held, asked for, or open; and a request for some of them.

use std::collections::BTreeSet;

use super::{Source, Want};
use crate::ids::{ChunkCid, GroupIndex, RequestId};
use crate::serve::Class;
use crate::time::{Micros, Mono};
use crate::verify::{GroupRange, GroupSet, group_len, groups_of_len};

/// Holders are looked for again after this, twice this, four times this...
const ASK_FIRST: Micros = Micros::from_secs(2);
const ASK_MAX: Micros = Micros::from_secs(60);

#[derive(Debug)]
pub(super) struct WantState {
    pub want: Want,
    /// None while the length is unknown.
    pub progress: Option<Progress>,
    pub hashes_known: bool,
    pub holders: BTreeSet<Source>,
    /// The request that is to bring the length.
    pub probe: Option<RequestId>,
    /// When to look for holders, if there are few.
    pub ask_at: Mono,
    pub ask_pause: Micros,
    /// Since when no source has been connected that holds it.
    pub alone_since: Option<Mono>,
    pub gave_up: bool,
}

#[derive(Debug)]
pub(super) struct Progress {
    pub len: u64,
    /// Bytes not held.
    missing: u64,
    pub held: GroupSet,
    /// Asked for and not yet arrived. Disjoint from `held`; each group in the range of one request...
    asked: GroupSet,
    /// ...or of two, where it was hedged; part of `asked`.
    twice: GroupSet,
}

impl Progress {
    /// None where no chunk has that length.
    pub fn new(len: u64) -> Option<Self> {
        let empty = GroupSet::empty(groups_of_len(len)?).ok()?;
        Some(Self { len, missing: len, held: empty.clone(), asked: empty.clone(), twice: empty })
    }

    /// A request has been made for these groups.
    pub fn ask(&mut self, range: GroupRange) {
        for index in range.iter() {
            if !self.asked.insert(index) {
                self.twice.insert(index);
            }
        }
    }

    /// A request that was to bring this group will not.
    pub fn miss(&mut self, index: GroupIndex) {
        if !self.twice.remove(index) {
            self.asked.remove(index);
        }
    }

    /// A group is here. False where it was already.
    pub fn take(&mut self, index: GroupIndex) -> bool {
        self.twice.remove(index);
        self.asked.remove(index);
        let fresh = self.held.insert(index);
        if fresh {
            self.missing = self.missing.saturating_sub(group_len(self.len, index) as u64);
        }
        fresh
    }

    /// Whether a group is expected from two sources.
    pub fn is_hedged(&self, index: GroupIndex) -> bool {
        self.twice.contains(index)
    }

    /// The first group that is not here.
    pub fn first_missing(&self) -> Option<GroupIndex> {
        self.held.first_missing(GroupIndex(0))
    }

    /// The first run of groups neither held nor asked for.
    pub fn first_open(&self) -> Option<GroupRange> {
        let start = (0..self.held.groups()).find(|&index| self.is_open(index))?;
        let end = (start..self.held.groups()).find(|&index| !self.is_open(index)).unwrap_or(self.held.groups());
        Some(GroupRange::new(start, end))
    }

    /// The last run of groups neither held nor asked for.
    pub fn last_open(&self) -> Option<GroupRange> {
        let last = (0..self.held.groups()).rev().find(|&index| self.is_open(index))?;
        let start = (0..last).rev().find(|&index| !self.is_open(index)).map_or(0, |index| index + 1);
        Some(GroupRange::new(start, last + 1))
    }

    pub fn open_groups(&self) -> u32 {
        self.held.groups() - self.held.len() - self.asked.len()
    }

    /// Bytes not held.
    pub fn missing_bytes(&self) -> u64 {
        self.missing
    }

    fn is_open(&self, index: u32) -> bool {
        !self.held.contains(GroupIndex(index)) && !self.asked.contains(GroupIndex(index))
    }
}

impl WantState {
    pub fn new(now: Mono, want: Want, progress: Option<Progress>) -> Self {
        Self {
            want,
            progress,
            hashes_known: false,
            holders: BTreeSet::new(),
            probe: None,
            ask_at: now,
            ask_pause: ASK_FIRST,
            alone_since: None,
            gave_up: false,
        }
    }

    /// The length has become known; what is known already stays.
    pub fn learn_len(&mut self, mut progress: Progress) {
        if self.progress.is_none() {
            if self.probe.is_some() {
                // The probe asks for the first group.
                progress.ask(GroupRange::new(0, 1));
            }
            self.progress = Some(progress);
        }
    }

    pub fn is_complete(&self) -> bool {
        self.progress.as_ref().is_some_and(|progress| progress.held.is_complete())
    }

    /// Whether there are groups that nobody has been asked for.
    pub fn is_open(&self) -> bool {
        match &self.progress {
            Some(progress) => progress.open_groups() > 0,
            None => self.probe.is_none(),
        }
    }

    /// Bytes not held; a group's worth while the length is unknown.
    pub fn missing_bytes(&self) -> u64 {
        self.progress.as_ref().map_or(crate::limits::GROUP_BYTES as u64, Progress::missing_bytes)
    }

    pub fn is_urgent(&self, now: Mono, window: Micros) -> bool {
        self.want.class == Class::Playback && self.want.deadline <= now + window
    }

    /// Its place among the wants: what is urgent first, by deadline; then class by class, by deadline.
    pub fn order(&self, now: Mono, window: Micros) -> (u8, Mono, ChunkCid) {
        let tier = if self.is_urgent(now, window) { 0 } else { 1 + self.want.class.rank() };
        (tier, self.want.deadline, self.want.cid)
    }

    /// Notes that holders have been asked for.
    pub fn note_ask(&mut self, now: Mono) {
        self.ask_at = now + self.ask_pause;
        self.ask_pause = (self.ask_pause + self.ask_pause).min(ASK_MAX);
    }
}

#[derive(Debug)]
pub(super) struct RequestState {
    pub source: Source,
    pub cid: ChunkCid,
    /// What is left of it: begins at the first group that has not come, and loses its tail when that is split off.
    pub range: GroupRange,
    pub started: Mono,
    /// How long it was expected to take, without the allowance for doubt.
    pub expected: Micros,
    /// When a group last came by it.
    pub last_progress: Mono,
    /// Since when another source would be much faster.
    pub behind_since: Option<Mono>,
}

impl RequestState {
    /// Whether a group has come by it.
    pub fn has_begun(&self) -> bool {
        self.last_progress > self.started
    }
}
