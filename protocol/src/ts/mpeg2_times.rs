//! Times that an H.262 stream leaves out, where a PES packet holds several pictures (CCF 6).

use std::collections::VecDeque;

use super::mpeg2::Kind;
use super::pes::PesTimes;
use super::video::VideoUnit;
use crate::time::{PTS_WRAP, Pts33};

/// Pictures that may stand between two I or P pictures: broadcasts have up to three.
const MAX_BETWEEN: usize = 8;

/// Frames in so many seconds, and whether pictures are shown in the order in which they are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    pub count: u64,
    pub seconds: u64,
    pub low_delay: bool,
}

impl Pace {
    /// Ticks of so many fields, rounded down.
    fn ticks(self, fields: u64) -> u64 {
        let ticks = u128::from(fields) * 90_000 * u128::from(self.seconds) / (2 * u128::from(self.count.max(1)));
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }
}

/// The last received decoding time, and the fields since.
#[derive(Debug, Clone, Copy)]
struct Count {
    from: Pts33,
    fields: u64,
    pace: Pace,
}

/// Fills in times: the decoding time counts on from the last received one; a B picture is shown when it is decoded, an
/// I or P picture when the next I or P picture is decoded.
#[derive(Debug, Default)]
pub(super) struct TimeFiller {
    count: Option<Count>,
    /// An I or P picture without a presentation time, and those behind it.
    waiting: VecDeque<VideoUnit>,
}

impl TimeFiller {
    /// Takes the next unit in decode order.
    pub(super) fn push(
        &mut self,
        mut unit: VideoUnit,
        kind: Kind,
        fields: u64,
        pace: Option<Pace>,
        out: &mut VecDeque<VideoUnit>,
    ) {
        let hole = unit.after_hole.is_some() || unit.headless;
        if hole {
            self.count = None;
        }
        let received = unit.times.pts.filter(|_| !unit.headless);
        let decoded = match (received, self.count) {
            (Some(pts), _) => Some(unit.times.dts.unwrap_or(pts)),
            (None, Some(count)) => Some(moved(count.from, count.pace.ticks(count.fields))),
            (None, None) => None,
        };
        // A damaged unit does not tell how long it is shown.
        self.count = match (decoded, pace.filter(|_| unit.dirty.is_none())) {
            (Some(decoded), Some(pace)) => {
                Some(match self.count.filter(|count| received.is_none() && count.pace == pace) {
                    Some(count) => Count { fields: count.fields.saturating_add(fields), ..count },
                    None => Count { from: decoded, fields, pace },
                })
            }
            _ => None,
        };
        if kind != Kind::B || hole || self.waiting.len() >= MAX_BETWEEN {
            self.release(decoded.filter(|_| kind != Kind::B && !hole), out);
        }
        let shown_at_once = kind == Kind::B || pace.is_some_and(|pace| pace.low_delay);
        if received.is_none()
            && let Some(dts) = decoded
        {
            unit.times = PesTimes { pts: shown_at_once.then_some(dts), dts: Some(dts) };
        }
        let waits = received.is_none() && decoded.is_some() && !shown_at_once;
        if waits || !self.waiting.is_empty() {
            self.waiting.push_back(unit);
        } else {
            out.push_back(unit);
        }
    }

    /// Ends the input: what waits has no presentation time.
    pub(super) fn finish(&mut self, out: &mut VecDeque<VideoUnit>) {
        self.release(None, out);
    }

    fn release(&mut self, shown: Option<Pts33>, out: &mut VecDeque<VideoUnit>) {
        if let Some(first) = self.waiting.front_mut() {
            first.times.pts = shown;
        }
        out.append(&mut self.waiting);
    }
}

fn moved(from: Pts33, ticks: u64) -> Pts33 {
    Pts33((from.0 + ticks % PTS_WRAP) % PTS_WRAP)
}
