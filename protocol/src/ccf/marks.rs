//! Marks on their way to the chunk they lie in (CCF 11): a splice is announced seconds before it happens.

use std::collections::VecDeque;

use super::aux_gather::since;
use super::chunk::{Mark, MarkKind};
use super::cutter::{CutChunk, Cutter, RAP_WAIT};
use crate::ids::TimelineId;
use crate::limits::MAX_MARKS_WAITING;
use crate::time::{MediaTime, Pts33};
use crate::ts::scte35::CueKind;

/// A mark that lies this far from its chunk on one clock lies nowhere: a splice announced for hours ahead may never be.
const FAR: i64 = 60 * RAP_WAIT;

impl From<CueKind> for MarkKind {
    fn from(kind: CueKind) -> Self {
        match kind {
            CueKind::Out => Self::SpliceOut,
            CueKind::In => Self::SpliceIn,
            CueKind::TimeSignal => Self::TimeSignal,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Waiting {
    kind: MarkKind,
    /// As received: a PTS where the mark has one of its own, else a DTS.
    at: Pts33,
    has_pts: bool,
    epoch: u32,
}

/// Marks whose chunk is not handed out yet.
#[derive(Debug, Default)]
pub(super) struct WaitingMarks {
    waiting: VecDeque<Waiting>,
}

impl WaitingMarks {
    /// Notes a mark at a received PTS, or at the newest received DTS, `clock`. `None` if it is known: splices are
    /// announced several times.
    pub(super) fn note(
        &mut self,
        kind: MarkKind,
        pts: Option<Pts33>,
        clock: MediaTime,
        cutter: &Cutter,
    ) -> Option<Mark> {
        let mark = Waiting { kind, at: pts.unwrap_or(Pts33::of(clock)), has_pts: pts.is_some(), epoch: cutter.epoch };
        if self.waiting.contains(&mark) {
            return None;
        }
        self.waiting.push_back(mark);
        if self.waiting.len() > MAX_MARKS_WAITING {
            self.waiting.pop_front();
        }
        Some(mark.told(cutter.timeline, cutter.shift))
    }

    /// The marks of a chunk that is handed out now.
    pub(super) fn take(&mut self, chunk: &CutChunk, timeline: TimelineId) -> Vec<Mark> {
        let mut taken: Vec<(i64, Mark)> = Vec::new();
        self.waiting.retain(|mark| {
            if mark.epoch > chunk.epoch {
                return true;
            }
            let begin = if mark.has_pts { chunk.opening.pts } else { chunk.begin_dts };
            let end = if mark.has_pts { Some(chunk.end) } else { chunk.end_dts };
            let after = since(mark.at, Pts33::of(MediaTime(begin.0.saturating_add(chunk.shift))));
            let here = end.is_none_or(|end| after < (end - begin).0) && after < FAR && after > -RAP_WAIT;
            if here {
                taken.push((after, mark.told(timeline, chunk.shift)));
            }
            !here && mark.epoch == chunk.epoch && (0..FAR).contains(&after)
        });
        taken.sort_by_key(|(after, _)| *after);
        taken.into_iter().map(|(_, mark)| mark).collect()
    }
}

impl Waiting {
    fn told(self, timeline: TimelineId, shift: i64) -> Mark {
        let at = MediaTime((self.at.0 as i64).saturating_sub(shift));
        Mark { timeline, pts: Pts33::of(at), kind: self.kind }
    }
}
