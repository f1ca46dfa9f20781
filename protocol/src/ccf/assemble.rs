//! A chunk's video and the audio that belongs to it, judged and written (CCF 7, 14).

use std::collections::VecDeque;

use super::chunk::{Chunk, ChunkQuality, ChunkState, CleanChunk, WithheldChunk, WithheldReason};
use super::cutter::{CutChunk, RAP_WAIT};
use super::profile::Profile;
use super::unit_index::UnitIndex;
use super::writer::{MAX_AUDIO_UNIT_BYTES, UnitRef, unit_digest, write_refs};
use crate::ids::{ChunkCid, ChunkIndex, TimelineId, UnitDigest};
use crate::limits::MAX_AUDIO_WAITING_BYTES;
use crate::time::{MediaTime, Pts33, TICKS_PER_SECOND};
use crate::ts::audio::{AudioFrame, AudioFrames};
use crate::ts::video::HoleCause;

/// Audio whose times lie further than this from the video's does not belong to it.
const FAR: u64 = 900_000;

/// The frames of one audio that wait for their chunk. Times are as received.
#[derive(Debug)]
pub(super) struct AudioQueue {
    pub frames: AudioFrames,
    queue: VecDeque<AudioFrame>,
    /// Video clock when payload last came.
    heard: Option<MediaTime>,
    /// Newest frame's time lies far from the video's.
    far: bool,
    first_rate: Option<u32>,
    /// Frames were dropped before the next to come.
    dropped: Option<HoleCause>,
}

/// What a chunk finds of one audio.
struct Found {
    /// Frames of the chunk, in order.
    frames: Vec<AudioFrame>,
    /// Why it cannot be proven whole.
    reason: Option<HoleCause>,
    holes: u32,
}

impl AudioQueue {
    pub(super) fn new(frames: AudioFrames) -> Self {
        Self { frames, queue: VecDeque::new(), heard: None, far: false, first_rate: None, dropped: None }
    }

    /// Payload arrived while the video stood at `clock`.
    pub(super) fn heard(&mut self, clock: MediaTime) {
        if !self.far {
            self.heard = Some(clock);
        }
    }

    /// Takes over the frames found; true if there were any.
    pub(super) fn collect(&mut self, clock: MediaTime) -> bool {
        let mut any = false;
        while let Some(mut frame) = self.frames.poll() {
            any = true;
            self.first_rate.get_or_insert(frame.header.rate);
            self.far = (frame.pts.0 - clock.0).unsigned_abs() > FAR;
            if self.far {
                self.dropped = self.dropped.max(Some(HoleCause::Loss));
                continue;
            }
            frame.gap = frame.gap.max(self.dropped.take());
            self.queue.push_back(frame);
        }
        while let (Some(first), Some(last)) = (self.queue.front(), self.queue.back())
            && last.at - first.at > MAX_AUDIO_WAITING_BYTES
        {
            self.queue.pop_front();
            if let Some(next) = self.queue.front_mut() {
                next.gap = next.gap.max(Some(HoleCause::Loss));
            }
        }
        if any {
            let wanted = self.queue.front().map_or(u64::MAX, |frame| frame.at);
            self.frames.forget(wanted);
        }
        any
    }

    pub(super) fn first_rate(&self) -> Option<u32> {
        self.first_rate
    }

    /// Whether all of a chunk's audio is here, or need not be waited for.
    pub(super) fn is_ready(&self, chunk: &CutChunk, clock: MediaTime) -> bool {
        let end = chunk.end.0 + chunk.shift;
        self.queue.back().is_some_and(|last| last.pts.0 >= end)
            || (clock.0 > end + TICKS_PER_SECOND && self.is_omitted(chunk))
            || clock.0 > end + RAP_WAIT
    }

    /// No payload from a second before the chunk to a second after it (CCF 14).
    fn is_omitted(&self, chunk: &CutChunk) -> bool {
        let begin = chunk.opening.pts.0 + chunk.shift;
        self.heard.is_none_or(|heard| heard.0 < begin - TICKS_PER_SECOND)
            && !self.queue.iter().any(|frame| (begin..chunk.end.0 + chunk.shift).contains(&frame.pts.0))
    }

    /// Forgets what lies before a time, but for the last frame before it, which proves the next chunk's beginning.
    pub(super) fn forget_before(&mut self, time: MediaTime) {
        while self.queue.get(1).is_some_and(|second| second.pts < time) {
            self.queue.pop_front();
        }
        // Times far off belong to a clock that was left.
        while self.queue.front().is_some_and(|first| (first.pts.0 - time.0).unsigned_abs() > 4 * FAR) {
            self.queue.pop_front();
        }
        self.frames.forget(self.queue.front().map_or(u64::MAX, |frame| frame.at));
    }

    fn find(&self, chunk: &CutChunk, clock: MediaTime) -> Found {
        let (begin, end) = (chunk.opening.pts.0 + chunk.shift, chunk.end.0 + chunk.shift);
        let frames: Vec<_> = self.queue.iter().filter(|f| (begin..end).contains(&f.pts.0)).copied().collect();
        if frames.is_empty() && clock.0 > end + TICKS_PER_SECOND && self.is_omitted(chunk) {
            return Found { frames, reason: None, holes: 0 };
        }
        let before = self.queue.iter().rposition(|frame| frame.pts.0 < begin);
        let after = self.queue.iter().position(|frame| frame.pts.0 >= end);
        let from = before.map_or(0, |at| at + 1);
        let to = after.map_or(self.queue.len(), |at| at + 1);
        let gaps: Vec<_> = self.queue.range(from.min(to)..to).filter_map(|frame| frame.gap).collect();
        let edge = (before.is_none() || after.is_none() || from > to).then_some(HoleCause::Edge);
        Found { frames, reason: gaps.iter().copied().max().max(edge), holes: gaps.len() as u32 }
    }
}

/// Judges and writes a chunk.
pub(super) fn assemble(
    profile: &Profile,
    chunk: &CutChunk,
    queues: &[&AudioQueue],
    clock: MediaTime,
    timeline: TimelineId,
    index: ChunkIndex,
) -> Chunk {
    let audio: Vec<Found> = queues.iter().map(|queue| queue.find(chunk, clock)).collect();
    let mut reason = chunk.opening.uncertain.max(chunk.end_uncertain);
    let mut quality = ChunkQuality { units: chunk.seen, damaged_units: 0, holes: 0 };
    for (number, unit) in chunk.units.iter().enumerate() {
        let after_hole = unit.after_hole.filter(|_| number > 0 || !chunk.opening.anchored);
        let damage = unit.dirty.max(after_hole);
        quality.damaged_units += u32::from(unit.dirty.is_some());
        quality.holes += u32::from(damage.is_some());
        reason = reason.max(damage);
    }
    if chunk.oversize {
        reason = reason.max(Some(HoleCause::Loss));
    }
    for found in &audio {
        quality.holes += found.holes;
        reason = reason.max(found.reason);
    }
    let video = chunk.units.iter().filter(|unit| unit.dirty.is_none()).map(|unit| UnitRef {
        stream: 0,
        pts: unit.pts,
        dts: unit.dts,
        rap: unit.rap,
        data: &unit.data,
        digest: unit.digest,
    });
    let mut units: Vec<UnitRef<'_>> = video.collect();
    let has_video = !units.is_empty();
    for (number, (queue, found)) in queues.iter().zip(&audio).enumerate() {
        group(profile, chunk, 1 + number as u8, &queue.frames, &found.frames, &mut units);
    }
    let written = if has_video { write_refs(profile, units, chunk.opening.pts).ok() } else { None };
    let state = match (reason, written) {
        (None, Some((bytes, index))) => ChunkState::Clean(CleanChunk { cid: ChunkCid::of(&bytes), bytes, index }),
        (reason, written) => {
            let (salvaged, units) = written.map_or((None, UnitIndex::default()), |(bytes, index)| (Some(bytes), index));
            ChunkState::Withheld(WithheldChunk { reason: withheld(reason), salvaged, units })
        }
    };
    Chunk {
        timeline,
        index,
        pts: Pts33::of(chunk.opening.pts),
        duration: chunk.end - chunk.opening.pts,
        opening: chunk.units.first().map_or(UnitDigest([0; 16]), |unit| unit.digest),
        dependent: chunk.opening.dependent,
        quality,
        state,
        video_frames: chunk.seen,
    }
}

fn withheld(cause: Option<HoleCause>) -> WithheldReason {
    match cause {
        Some(HoleCause::Edge) => WithheldReason::Edge,
        Some(HoleCause::Scrambled) => WithheldReason::Scrambled,
        // Units that could not be written are damaged beyond what was noticed on the way.
        Some(HoleCause::Loss) | None => WithheldReason::Damaged,
    }
}

/// Groups frames into units: those of one cell of the audio grid, as far as they lie together.
fn group<'a>(
    profile: &Profile,
    chunk: &CutChunk,
    stream: u8,
    bytes: &'a AudioFrames,
    frames: &[AudioFrame],
    units: &mut Vec<UnitRef<'a>>,
) {
    let times = counted_times(chunk, frames);
    let cell = |at: usize| times[at].0.saturating_sub(chunk.opening.pts.0).div_euclid(profile.audio_grid.0);
    let mut first = 0;
    while first < frames.len() {
        let mut last = first;
        let end = |at: usize| frames[at].at + frames[at].header.bytes as u64;
        while last + 1 < frames.len()
            && cell(last + 1) == cell(first)
            && frames[last + 1].at == end(last)
            && end(last + 1) - frames[first].at <= MAX_AUDIO_UNIT_BYTES as u64
        {
            last += 1;
        }
        let data = bytes.bytes(frames[first].at, end(last));
        if !data.is_empty() {
            let pts = times[first];
            units.push(UnitRef { stream, pts, dts: pts, rap: true, data, digest: unit_digest(data) });
        }
        first = last + 1;
    }
}

/// Canonical times of a chunk's frames. Where a frame is no whole number of ticks long, received times depend on how
/// the frames were grouped into PES packets, so they are counted from the chunk (CCF 7).
fn counted_times(chunk: &CutChunk, frames: &[AudioFrame]) -> Vec<MediaTime> {
    let received = || frames.iter().map(|frame| MediaTime(frame.pts.0 - chunk.shift)).collect();
    let Some(first) = frames.first().map(|frame| frame.header) else { return Vec::new() };
    let (samples, rate) = (i64::from(first.samples), i64::from(first.rate));
    let uneven = frames.iter().any(|f| (f.header.samples, f.header.rate) != (first.samples, first.rate));
    if uneven || samples * 90_000 % rate == 0 {
        return received();
    }
    // In units of 1/rate tick, so that nothing is rounded.
    let begin = chunk.opening.pts.0;
    let offset =
        |(n, frame): (usize, &AudioFrame)| (frame.pts.0 - chunk.shift - begin) * rate - n as i64 * samples * 90_000;
    let offsets: Vec<i64> = frames.iter().enumerate().map(offset).collect();
    let mut sorted = offsets.clone();
    sorted.sort_unstable();
    let median = sorted[sorted.len() / 2];
    if offsets.iter().any(|offset| (offset - median).abs() > 90 * rate) {
        return received();
    }
    let origin = begin + 90 * (median + 2 * rate).div_euclid(90 * rate).max(0);
    (0..frames.len() as u64)
        .map(|n| MediaTime(origin + crate::ts::audio::ticks(n * samples as u64, rate as u64)))
        .collect()
}
