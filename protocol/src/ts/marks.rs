//! Places of an elementary stream: where bytes are missing, where PES packets begin, and what both say of a unit
//! (CCF 5, 6).

use std::collections::VecDeque;

use super::pes::PesTimes;
use super::video::HoleCause;
use crate::limits::MAX_STREAM_MARKS;

#[derive(Debug, Clone, Copy)]
struct Hole {
    at: u64,
    at_pes_start: bool,
    cause: HoleCause,
}

/// Where a unit begins in the received elementary stream: its first zero byte and its `00 00 01`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Begin {
    pub zeros: u64,
    pub code: u64,
}

/// What holes say of a unit.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Judgement {
    pub dirty: Option<HoleCause>,
    pub headless: bool,
    pub after_hole: Option<HoleCause>,
}

/// Marks that no unit has claimed yet.
#[derive(Debug)]
pub(super) struct Marks {
    /// Elementary bytes received.
    pub received: u64,
    holes: VecDeque<Hole>,
    packets: VecDeque<(u64, PesTimes)>,
}

impl Default for Marks {
    /// A reception begins with an edge.
    fn default() -> Self {
        let edge = Hole { at: 0, at_pes_start: true, cause: HoleCause::Edge };
        Self { received: 0, holes: VecDeque::from([edge]), packets: VecDeque::new() }
    }
}

impl Marks {
    /// Bytes are missing here; `at_pes_start` where a PES packet begins with the next byte.
    pub fn hole(&mut self, at_pes_start: bool, cause: HoleCause) {
        let hole = Hole { at: self.received, at_pes_start, cause };
        let full = self.holes.len() >= MAX_STREAM_MARKS;
        match self.holes.back_mut() {
            // One position is judged once, by the worst that happened there.
            Some(last) if last.at == hole.at => {
                last.at_pes_start &= at_pes_start;
                last.cause = last.cause.max(cause);
            }
            // All of them lie in the unit in progress and its successor; the first few damage it, the newest the other.
            Some(last) if full => *last = hole,
            _ => self.holes.push_back(hole),
        }
    }

    /// A PES packet begins here.
    pub fn pes_start(&mut self, times: PesTimes) {
        match self.packets.back_mut() {
            Some(last) if last.0 == self.received => last.1 = times,
            _ => self.packets.push_back((self.received, times)),
        }
        if self.packets.len() > MAX_STREAM_MARKS {
            self.packets.pop_front();
        }
    }

    /// Times of the PES packet that holds the position, unless an earlier unit had them.
    pub fn times_at(&mut self, code: u64) -> PesTimes {
        let mut times = PesTimes::default();
        while let Some((_, latest)) = self.packets.pop_front_if(|(at, _)| *at <= code) {
            times = latest;
        }
        times
    }

    /// Whether bytes are missing between two positions.
    pub fn damaged(&self, from: u64, to: u64) -> bool {
        self.holes.iter().any(|hole| hole.at > from && hole.at <= to)
    }

    /// Judges the unit between two beginnings, and forgets what does not touch the next.
    pub fn judge(&mut self, begin: Begin, end: Begin) -> Judgement {
        let mut judged = Judgement::default();
        for hole in self.holes.iter().filter(|hole| hole.at >= begin.zeros && hole.at <= end.code) {
            let at_begin = hole.at <= begin.code;
            if at_begin && hole.at_pes_start {
                judged.after_hole = judged.after_hole.max(Some(hole.cause));
            } else {
                judged.headless |= at_begin;
                judged.dirty = judged.dirty.max(Some(hole.cause));
            }
        }
        while self.holes.pop_front_if(|hole| hole.at < end.zeros).is_some() {}
        judged
    }
}
