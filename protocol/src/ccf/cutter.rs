//! Where chunks begin and end: targets, random access points, certainty (CCF 9 to 13).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::OnceLock;

use super::profile::Anchor;
use super::writer::unit_digest;
use crate::ids::{ChunkIndex, TimelineId, UnitDigest};
use crate::limits::{MAX_CHUNK_BYTES, MAX_CHUNK_UNITS, MAX_INTERVAL, MAX_PLAN_ANCHORS};
use crate::time::{MediaTime, PTS_WRAP, Pts33, TICKS_PER_SECOND, Ticks};
use crate::ts::audio::AudioFrame;
use crate::ts::video::{HoleCause, VideoUnit};

const WRAP: i64 = PTS_WRAP as i64;
/// How long a target waits for a random access point.
pub(super) const RAP_WAIT: i64 = 900_000;
/// A forward step of DTS beyond this is a clock change.
const CLOCK_STEP: i64 = TICKS_PER_SECOND;
/// Steps of DTS that tell the frame duration.
const STEPS: usize = 8;

/// A video unit with its times.
#[derive(Debug)]
pub(super) struct CutUnit {
    /// Canonical times.
    pub pts: MediaTime,
    pub dts: MediaTime,
    pub rap: bool,
    pub data: Vec<u8>,
    digest: OnceLock<UnitDigest>,
    pub dirty: Option<HoleCause>,
    pub after_hole: Option<HoleCause>,
}

impl CutUnit {
    /// Digest of its bytes. Made when first asked for: of most units nobody asks, and hashing is half of all work.
    pub fn digest(&self) -> UnitDigest {
        *self.digest.get_or_init(|| unit_digest(&self.data))
    }
}

/// A place where a chunk begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Boundary {
    pub pts: MediaTime,
    /// Wrap and grid cell of the target it resolves.
    wrap: i64,
    cell: i64,
    pub dependent: bool,
    /// Why another receiver might have cut elsewhere; `None` if it is certain.
    pub uncertain: Option<HoleCause>,
    /// Certain because an anchor matched, whatever was lost before it.
    pub anchored: bool,
}

/// A chunk's video.
#[derive(Debug)]
pub(super) struct CutChunk {
    pub epoch: u32,
    pub timeline: TimelineId,
    pub index: ChunkIndex,
    pub opening: Boundary,
    /// Canonical PTS of the next chunk, or where the clock changed.
    pub end: MediaTime,
    /// Canonical DTS of its opening unit, and of the next chunk's where one follows on the same clock.
    pub begin_dts: MediaTime,
    pub end_dts: Option<MediaTime>,
    pub end_uncertain: Option<HoleCause>,
    pub units: Vec<CutUnit>,
    /// Elementary bytes of its units.
    pub bytes: usize,
    /// Received time less canonical time.
    pub shift: i64,
    /// It begins, or ends, where the clock changed without a hole.
    pub opens_clock: bool,
    pub ends_clock: bool,
    /// Media time that had passed when its video was complete.
    pub cut_at: i64,
    /// Units seen, dropped ones included.
    pub seen: u32,
    /// More than a chunk can hold came, and was dropped.
    pub oversize: bool,
}

#[derive(Debug)]
struct Open {
    opening: Boundary,
    begin_dts: MediaTime,
    opens_clock: bool,
    units: Vec<CutUnit>,
    bytes: usize,
    seen: u32,
    greatest_pts: MediaTime,
    oversize: bool,
}

/// Units between an anchor whose time did not match and the one after it.
#[derive(Debug)]
struct Held {
    first: Anchor,
    next: Anchor,
    /// Ticks between them.
    spacing: i64,
    /// Received PTS of the first.
    received: MediaTime,
    units: Vec<CutUnit>,
    bytes: usize,
}

/// A stretch of units without a hole.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    least_pts: Option<MediaTime>,
    first_rap: Option<MediaTime>,
    /// It reaches back to a certain boundary.
    from_boundary: bool,
}

/// The unit before.
#[derive(Debug, Clone, Copy)]
struct Last {
    /// Newest DTS that was received. A guessed one is none to judge the next by: too late a guess would make the next
    /// step a backward one.
    received: MediaTime,
    /// Where the unit stands: there, or where it was guessed to be.
    stands: MediaTime,
    /// Its end was whole.
    whole: bool,
}

/// Cuts video units into chunks.
#[derive(Debug)]
pub(super) struct Cutter {
    interval: i64,
    anchors: BTreeMap<UnitDigest, Vec<Anchor>>,
    in_order: BTreeMap<(TimelineId, ChunkIndex), Anchor>,
    /// The same by time, to tell cheaply that a unit is none of them.
    by_time: BTreeSet<(TimelineId, Pts33, ChunkIndex)>,
    pub epoch: u32,
    pub timeline: TimelineId,
    next_local: u32,
    identified: bool,
    pub shift: i64,
    /// Added to the wrap count of canonical times: 0 at a timeline's beginning, or as the anchors number it.
    wrap_base: i64,
    open: Option<Open>,
    target: MediaTime,
    run: Run,
    last: Option<Last>,
    steps: VecDeque<i64>,
    /// A recent step over a hole, and for how many steps more it is remembered.
    missed: Option<(i64, usize)>,
    why_broken: HoleCause,
    /// The next unit is the first after a clock change without a hole.
    clock_changed: bool,
    held: Option<Held>,
    out: VecDeque<CutChunk>,
    /// Numbers of a timeline that became another, to be told.
    pub renamed: VecDeque<(TimelineId, TimelineId)>,
}

impl Cutter {
    pub(super) fn new(interval: Ticks, anchors: &[Anchor]) -> Self {
        let mut cutter = Self {
            interval: interval.0,
            anchors: BTreeMap::new(),
            in_order: BTreeMap::new(),
            by_time: BTreeSet::new(),
            epoch: 0,
            timeline: TimelineId(0),
            next_local: 1,
            identified: false,
            shift: 0,
            wrap_base: 0,
            open: None,
            target: MediaTime(0),
            run: Run::default(),
            last: None,
            steps: VecDeque::new(),
            missed: None,
            why_broken: HoleCause::Edge,
            clock_changed: false,
            held: None,
            out: VecDeque::new(),
            renamed: VecDeque::new(),
        };
        cutter.add_anchors(anchors);
        cutter
    }

    /// Learns anchors; an open chunk that one of them opens becomes certain.
    pub(super) fn add_anchors(&mut self, anchors: &[Anchor]) {
        for anchor in anchors {
            if self.in_order.len() >= MAX_PLAN_ANCHORS
                && let Some((_, oldest)) = self.in_order.pop_first()
            {
                self.forget(&oldest);
            }
            match self.in_order.insert((anchor.timeline, anchor.index), *anchor) {
                Some(known) if known == *anchor => continue,
                Some(other) => self.forget(&other),
                None => {}
            }
            self.anchors.entry(anchor.digest).or_default().push(*anchor);
            self.by_time.insert((anchor.timeline, anchor.pts, anchor.index));
        }
        let opening =
            self.open.as_ref().and_then(|open| open.units.first()).map(|unit| (unit.digest(), unit.pts, unit.rap));
        let Some((digest, pts, rap)) = opening else { return };
        self.identify(digest, pts, rap);
        let first = self.open.as_ref().and_then(|open| open.units.first());
        if let Some(found) = first.and_then(|unit| self.anchored(unit))
            && let Some(open) = &mut self.open
        {
            open.opening = found;
        }
    }

    fn forget(&mut self, anchor: &Anchor) {
        self.by_time.remove(&(anchor.timeline, anchor.pts, anchor.index));
        if let Some(known) = self.anchors.get_mut(&anchor.digest) {
            known.retain(|known| known != anchor);
            if known.is_empty() {
                self.anchors.remove(&anchor.digest);
            }
        }
    }

    /// The next chunk whose video is complete.
    pub(super) fn poll(&mut self) -> Option<CutChunk> {
        let mut chunk = self.out.pop_front()?;
        if chunk.epoch == self.epoch {
            chunk.timeline = self.timeline;
            chunk.index = self.index(chunk.opening);
        }
        Some(chunk)
    }

    /// Timeline and index of a chunk cut earlier, as they are known by now.
    pub(super) fn name(&self, chunk: &CutChunk) -> (TimelineId, ChunkIndex) {
        if chunk.epoch == self.epoch {
            (self.timeline, self.index(chunk.opening))
        } else {
            (chunk.timeline, chunk.index)
        }
    }

    /// Takes the next frame of a radio's first audio: a unit that a decoder can begin at, cut like a picture.
    pub(super) fn push_frame(&mut self, frame: &AudioFrame, data: &[u8]) {
        // Forward over a hole the clock may well have gone on.
        let backward = self.last.is_some_and(|last| frame.pts < last.received);
        if frame.jump && (backward || frame.gap.is_none()) {
            self.change_clock(frame.gap.is_none());
        }
        self.last = Some(Last { received: frame.pts, stands: frame.pts, whole: true });
        let digest = unit_digest(data);
        // Frames of silence are alike, so an anchor at another time proves nothing: received times stand.
        self.identify(digest, frame.pts, true);
        let unit = CutUnit {
            pts: frame.pts,
            dts: frame.pts,
            rap: true,
            // Its bytes are written from the queue.
            data: Vec::new(),
            digest: OnceLock::from(digest),
            dirty: None,
            after_hole: frame.gap,
        };
        if let Some(cause) = frame.gap
            && let Some(last) = self.open.as_mut().and_then(|open| open.units.last_mut())
        {
            // Frames may be missing behind it.
            last.dirty = Some(cause);
        }
        self.place(unit);
    }

    /// Takes the next unit in decode order.
    pub(super) fn push(&mut self, mut unit: VideoUnit) {
        let Some((received_pts, received_dts)) = self.unwrap(&mut unit) else { return };
        let step = self.last.map_or(0, |last| received_dts.0 - last.received.0);
        let follows = unit.after_hole.is_none() && !unit.headless && self.last.is_some_and(|last| last.whole);
        if step < 0 || (step > CLOCK_STEP && follows) {
            self.change_clock(follows);
        } else if follows {
            self.follow_rate(step, &mut unit);
        }
        self.last = Some(Last {
            received: self.last.filter(|_| unit.headless).map_or(received_dts, |last| last.received),
            stands: received_dts,
            whole: unit.dirty.is_none() && !unit.headless,
        });
        let unit = CutUnit {
            pts: MediaTime(received_pts.0 - self.shift),
            dts: MediaTime(received_dts.0 - self.shift),
            rap: unit.rap,
            data: unit.data,
            digest: OnceLock::new(),
            dirty: unit.dirty,
            after_hole: unit.after_hole.max(unit.headless.then_some(unit.dirty).flatten()),
        };
        if self.seeks_anchors() {
            self.identify(unit.digest(), unit.pts, unit.rap);
            if self.identified {
                self.release_held();
            }
        }
        if let Some(unit) = self.match_shift(unit) {
            self.place(unit);
        }
    }

    /// Ends the input.
    pub(super) fn finish(&mut self) {
        self.release_held();
        self.close(None, None, Some(HoleCause::Edge), false);
    }

    /// Times of a unit, unwrapped. A unit without times of its own is damaged, and stands a frame after the one before.
    fn unwrap(&self, unit: &mut VideoUnit) -> Option<(MediaTime, MediaTime)> {
        match unit.times.pts.filter(|_| !unit.headless) {
            Some(pts) => {
                let dts33 = unit.times.dts.unwrap_or(pts);
                let dts = self.last.map_or(MediaTime(dts33.0 as i64), |last| dts33.unwrap_near(last.received));
                Some((pts.unwrap_near(dts), dts))
            }
            None => {
                unit.dirty = unit.dirty.or(Some(HoleCause::Loss));
                unit.headless = true;
                unit.rap = false;
                let dts = self.last?.stands + Ticks(self.steps.back().copied().unwrap_or(0));
                Some((dts, dts))
            }
        }
    }

    /// A step of 1.5 frames and more: frames are missing though no counter says so (CCF 14). Streams of changing frame
    /// duration are given the longest of their recent steps. A step over a hole is none of those, unless it comes twice
    /// (a slower rate, or pulldown that begins).
    fn follow_rate(&mut self, step: i64, unit: &mut VideoUnit) {
        let missing = self.steps.iter().max().is_some_and(|&longest| longest > 0 && 2 * step >= 3 * longest);
        if missing {
            unit.after_hole = Some(HoleCause::Loss);
            if let Some(last) = self.open.as_mut().and_then(|open| open.units.last_mut()) {
                last.dirty = last.dirty.max(Some(HoleCause::Loss));
            }
        }
        let recurs = self.missed.is_some_and(|(missed, _)| step <= missed + 1);
        self.missed = match self.missed {
            _ if missing && !recurs => Some((step, STEPS)),
            Some((missed, left)) if !missing && left > 1 => Some((missed, left - 1)),
            _ => None,
        };
        if !missing || recurs {
            if self.steps.len() == STEPS {
                self.steps.pop_front();
            }
            self.steps.push_back(step);
        }
    }

    /// Begins a new timeline. With continuous counters the change is a boundary itself (CCF 9, 12).
    fn change_clock(&mut self, certain: bool) {
        self.release_held();
        let uncertain = (!certain).then_some(HoleCause::Loss);
        self.close(None, None, uncertain, certain);
        self.epoch += 1;
        let from = std::mem::replace(&mut self.timeline, TimelineId(self.next_local));
        self.renamed.push_back((from, self.timeline));
        self.next_local = self.next_local.saturating_add(1);
        self.identified = false;
        self.shift = 0;
        self.wrap_base = 0;
        self.run = Run::default();
        self.why_broken = HoleCause::Loss;
        self.clock_changed = certain;
        self.steps.clear();
        self.missed = None;
    }

    /// Not yet on a timeline of the plan, and there is one to be on: any unit may tell.
    fn seeks_anchors(&self) -> bool {
        !self.identified && !self.anchors.is_empty()
    }

    /// Finds out which timeline of the plan this is, by one anchor whose time matches too.
    fn identify(&mut self, digest: UnitDigest, pts: MediaTime, rap: bool) {
        if self.identified {
            return;
        }
        let known = self.anchors.get(&digest).map_or(&[][..], |known| known);
        let Some(anchor) = known.iter().find(|anchor| anchor.pts == Pts33::of(pts)).copied() else { return };
        self.identified = true;
        if self.timeline != anchor.timeline {
            self.renamed.push_back((self.timeline, anchor.timeline));
            self.timeline = anchor.timeline;
            self.next_local = self.next_local.max(anchor.timeline.0.saturating_add(1));
        }
        let resolves = if rap { pts.0 } else { pts.0 - RAP_WAIT };
        let wrap = i64::try_from(anchor.index.0 / self.cells() as u64).unwrap_or(0);
        self.wrap_base = wrap - resolves.div_euclid(WRAP);
    }

    /// Times may be shifted against the plan's (a remuxer did it). Two consecutive anchors whose digests and spacing
    /// match tell by how much (CCF 9). Between the first and the second, units are held. Returns the unit unless it
    /// was.
    fn match_shift(&mut self, unit: CutUnit) -> Option<CutUnit> {
        if !self.seeks_anchors() {
            return Some(unit);
        }
        if let Some(held) = &mut self.held {
            let spacing = unit.pts.0 - held.received.0;
            if unit.digest() == held.next.digest && spacing == held.spacing {
                let shift = held.received.0 - held.first.pts.0 as i64;
                self.shift_to(shift);
                let (pts, dts) = (MediaTime(unit.pts.0 - shift), MediaTime(unit.dts.0 - shift));
                return Some(CutUnit { pts, dts, ..unit });
            }
            held.bytes += unit.data.len();
            // Units that are decoded before the second anchor may be shown after it.
            let waits = !unit.rap || spacing < held.spacing;
            if waits && held.units.len() < MAX_CHUNK_UNITS && held.bytes < MAX_CHUNK_BYTES {
                held.units.push(unit);
                return None;
            }
            self.release_held();
        }
        let known = self.anchors.get(&unit.digest()).map_or(&[][..], |known| known);
        let pair = known.iter().find_map(|first| Some((*first, self.successor(first)?)));
        let Some((first, next)) = pair else { return Some(unit) };
        let spacing = (next.pts.0 as i64 - first.pts.0 as i64).rem_euclid(WRAP);
        if spacing > MAX_INTERVAL.0 + RAP_WAIT {
            return Some(unit);
        }
        let (received, bytes) = (unit.pts, unit.data.len());
        self.held = Some(Held { first, next, spacing, received, units: vec![unit], bytes });
        None
    }

    fn successor(&self, anchor: &Anchor) -> Option<Anchor> {
        let after = (anchor.timeline, ChunkIndex(anchor.index.0.checked_add(1)?));
        self.in_order.range(after..).next().map(|(_, next)| *next).filter(|next| next.timeline == anchor.timeline)
    }

    /// Times are from now on `shift` before the received ones, and what was held is cut by them.
    fn shift_to(&mut self, shift: i64) {
        let next_dts = self.held.as_ref().and_then(|held| held.units.first()).map(|unit| unit.dts);
        self.close(None, next_dts, Some(HoleCause::Edge), false);
        self.shift = shift;
        self.run = Run::default();
        let Some(held) = self.held.take() else { return };
        self.identify(held.first.digest, MediaTime(held.received.0 - shift), held.units.first().is_some_and(|u| u.rap));
        for unit in held.units {
            let (pts, dts) = (MediaTime(unit.pts.0 - shift), MediaTime(unit.dts.0 - shift));
            self.place(CutUnit { pts, dts, ..unit });
        }
    }

    /// The second anchor did not come: what was held is cut by received times.
    fn release_held(&mut self) {
        for unit in self.held.take().map(|held| held.units).unwrap_or_default() {
            self.place(unit);
        }
    }

    /// The boundary at a unit that an anchor names.
    fn anchored(&self, unit: &CutUnit) -> Option<Boundary> {
        let pts = Pts33::of(unit.pts);
        let at = |index| (self.timeline, pts, ChunkIndex(index));
        let expected = self.identified && self.by_time.range(at(0)..=at(u64::MAX)).next().is_some();
        if !expected {
            return None;
        }
        let known = self.anchors.get(&unit.digest())?;
        known.iter().find(|a| a.timeline == self.timeline && a.pts == pts)?;
        Some(Boundary { uncertain: None, anchored: true, ..self.boundary_at(unit.pts, unit.rap) })
    }

    /// A boundary at a unit, certain so far.
    fn boundary_at(&self, pts: MediaTime, rap: bool) -> Boundary {
        let resolves = if rap { pts.0 } else { pts.0 - RAP_WAIT };
        // The grid restarts at each wrap.
        let (wrap, cell) = (resolves.div_euclid(WRAP), resolves.rem_euclid(WRAP) / self.interval);
        Boundary { pts, wrap, cell, dependent: !rap, uncertain: None, anchored: false }
    }

    /// Puts a unit into its chunk, opening one where it is a boundary.
    fn place(&mut self, unit: CutUnit) {
        let start_whole = unit.after_hole.is_none();
        if !start_whole {
            self.why_broken = unit.after_hole.unwrap_or(HoleCause::Loss);
            self.run = Run::default();
        }
        if let Some(boundary) = self.boundary(&unit) {
            self.close(Some(boundary.pts), Some(unit.dts), boundary.uncertain, false);
            self.run.from_boundary = boundary.uncertain.is_none();
            let cell_start = (boundary.wrap * WRAP) + boundary.cell * self.interval;
            self.target = MediaTime((cell_start + self.interval).min((boundary.wrap + 1) * WRAP));
            self.open = Some(Open {
                opening: boundary,
                begin_dts: unit.dts,
                opens_clock: std::mem::take(&mut self.clock_changed),
                units: Vec::new(),
                bytes: 0,
                seen: 0,
                greatest_pts: unit.pts,
                oversize: false,
            });
        }
        self.run.least_pts = Some(self.run.least_pts.map_or(unit.pts, |least| least.min(unit.pts)));
        if unit.rap && self.run.first_rap.is_none() {
            self.run.first_rap = Some(unit.pts);
        }
        if let Some(cause) = unit.dirty {
            self.why_broken = cause;
            self.run = Run::default();
        }
        let Some(open) = &mut self.open else { return };
        open.seen += 1;
        open.greatest_pts = open.greatest_pts.max(unit.pts);
        open.bytes += unit.data.len();
        open.oversize |= open.bytes > MAX_CHUNK_BYTES || open.units.len() >= MAX_CHUNK_UNITS;
        if !open.oversize {
            open.units.push(unit);
        }
    }

    fn boundary(&self, unit: &CutUnit) -> Option<Boundary> {
        if let Some(found) = self.anchored(unit) {
            return Some(found);
        }
        let broken = Some(self.why_broken);
        if self.open.is_none() {
            // The first unit of the input, or of a clock: it says where its chunk lies.
            let uncertain = if self.clock_changed { None } else { broken };
            return Some(Boundary { dependent: !unit.rap, uncertain, ..self.boundary_at(unit.pts, true) });
        }
        let certain = if unit.rap && unit.pts >= self.target {
            self.run.first_rap.is_some_and(|first| first < self.target)
        } else if unit.pts.0 >= self.target.0 + RAP_WAIT {
            self.run.from_boundary || self.run.least_pts.is_some_and(|least| least.0 < self.target.0 - TICKS_PER_SECOND)
        } else {
            return None;
        };
        Some(Boundary { uncertain: if certain { None } else { broken }, ..self.boundary_at(unit.pts, unit.rap) })
    }

    /// Closes the open chunk at `end`, or at its greatest time where there is none.
    fn close(
        &mut self,
        end: Option<MediaTime>,
        end_dts: Option<MediaTime>,
        end_uncertain: Option<HoleCause>,
        ends_clock: bool,
    ) {
        let Some(open) = self.open.take() else { return };
        self.out.push_back(CutChunk {
            epoch: self.epoch,
            timeline: self.timeline,
            index: self.index(open.opening),
            opening: open.opening,
            end: end.unwrap_or(open.greatest_pts),
            begin_dts: open.begin_dts,
            end_dts,
            end_uncertain,
            opens_clock: open.opens_clock,
            ends_clock,
            cut_at: 0,
            bytes: open.bytes.min(MAX_CHUNK_BYTES),
            units: open.units,
            shift: self.shift,
            seen: open.seen,
            oversize: open.oversize,
        });
    }

    fn cells(&self) -> i64 {
        (WRAP + self.interval - 1) / self.interval
    }

    fn index(&self, boundary: Boundary) -> ChunkIndex {
        let wrap = boundary.wrap.saturating_add(self.wrap_base).max(0);
        ChunkIndex(wrap.saturating_mul(self.cells()).saturating_add(boundary.cell) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ts::pes::PesTimes;

    fn unit(dts: Option<u64>) -> VideoUnit {
        let times = PesTimes { pts: dts.map(Pts33), dts: None };
        VideoUnit { times, data: vec![1], rap: false, dirty: None, headless: false, after_hole: None }
    }

    /// Which units, by number, are taken to follow a hole, and on how many timelines they lie.
    fn holes(times: impl IntoIterator<Item = Option<u64>>) -> (Vec<usize>, u32) {
        let mut cutter = Cutter::new(Ticks(MAX_INTERVAL.0), &[]);
        times.into_iter().for_each(|time| cutter.push(unit(time)));
        cutter.finish();
        let units: Vec<_> = std::iter::from_fn(|| cutter.poll()).flat_map(|chunk| chunk.units).collect();
        let after_hole = units.iter().enumerate().filter(|(_, unit)| unit.after_hole.is_some()).map(|(at, _)| at);
        (after_hole.collect(), cutter.epoch + 1)
    }

    #[test]
    fn a_silent_loss_does_not_hide_the_next_smaller_one() {
        let times = (0..30).filter(|n| !(10..14).contains(n) && *n != 17).map(|n| Some(n * 3600));
        assert_eq!(holes(times).0, [10, 13]);
    }

    #[test]
    fn a_slower_rate_and_pulldown_are_learnt() {
        let slower = (0..10).map(|n| n * 1800).chain((10..40).map(|n| 16_200 + (n - 9) * 3600)).map(Some);
        assert_eq!(holes(slower).0, [10, 11]);
        let pulldown = (0..10).map(|n| n * 3003).chain((0..30).map(|n| 27_027 + 3003 + n / 2 * 7508 + n % 2 * 4505));
        assert_eq!(holes(pulldown.map(Some)).0, [11, 13]);
    }

    #[test]
    fn a_unit_without_times_after_a_long_step_does_not_turn_the_clock_back() {
        let times = [0, 3600, 7200, 14_400, 21_600].map(Some).into_iter().chain([None, Some(25_200), Some(28_800)]);
        assert_eq!(holes(times).1, 1);
    }
}
