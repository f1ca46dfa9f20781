//! A chunk's video and the audio that belongs to it, judged and written (CCF 7, 14).

use std::collections::VecDeque;

use super::chunk::{Chunk, ChunkQuality, ChunkState, CleanChunk, WithheldChunk, WithheldReason};
use super::cutter::{CutChunk, RAP_WAIT};
use super::profile::Profile;
use super::unit_index::UnitIndex;
use super::writer::{MAX_AUDIO_UNIT_BYTES, UnitRef, write_refs};
use crate::ids::{ChunkIndex, TimelineId, UnitDigest};
use crate::limits::{MAX_AUDIO_WAITING_BYTES, MAX_AUDIO_WAITING_FRAMES};
use crate::time::{MediaTime, Pts33, TICKS_PER_SECOND};
use crate::ts::audio::{AudioFrame, AudioFrames, FrameHeader};
use crate::ts::video::HoleCause;

/// Audio whose times lie further than this from the video's does not belong to it.
const FAR: i64 = 900_000;

/// The frames of one audio that wait for their chunk. Times are as received.
///
/// The queue may hold the end of one clock and the beginning of the next; [`AudioFrame::jump`] parts them.
#[derive(Debug)]
pub(super) struct AudioQueue {
    pub frames: AudioFrames,
    queue: VecDeque<AudioFrame>,
    /// Media time that had passed when payload last came.
    heard: Option<i64>,
    /// Clock of the video that the front of the queue belongs to.
    epoch: u32,
    first_rate: Option<u32>,
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
        Self { frames, queue: VecDeque::new(), heard: None, epoch: 0, first_rate: None }
    }

    /// Payload arrived when so much media time had passed.
    pub(super) fn heard(&mut self, passed: i64) {
        self.heard = Some(passed);
    }

    /// Takes over the frames found; returns how many there were.
    pub(super) fn collect(&mut self) -> usize {
        let mut found = 0;
        while let Some(frame) = self.frames.poll() {
            found += 1;
            self.first_rate.get_or_insert(frame.header.rate);
            self.queue.push_back(frame);
        }
        while let (Some(first), Some(last)) = (self.queue.front(), self.queue.back())
            && (last.at - first.at > MAX_AUDIO_WAITING_BYTES || self.queue.len() > MAX_AUDIO_WAITING_FRAMES)
        {
            self.queue.pop_front();
            if let Some(next) = self.queue.front_mut() {
                next.gap = next.gap.max(Some(HoleCause::Loss));
            }
        }
        // Also without frames, so that a stream of none cannot grow.
        self.frames.forget(self.queue.front().map_or(u64::MAX, |frame| frame.at));
        found
    }

    /// The newest frames, with their bytes.
    pub(super) fn newest(&self, count: usize) -> impl Iterator<Item = (AudioFrame, &[u8])> {
        let from = self.queue.len().saturating_sub(count);
        self.queue
            .range(from..)
            .map(|frame| (*frame, self.frames.bytes(frame.at, frame.at + frame.header.bytes as u64)))
    }

    pub(super) fn first_rate(&self) -> Option<u32> {
        self.first_rate
    }

    /// Leaves what belongs to an older clock than the chunk's. Without a jump in the audio nothing says where it ends.
    pub(super) fn follow_clock(&mut self, chunk: &CutChunk, passed: i64) {
        if self.epoch == chunk.epoch {
            return;
        }
        if let Some(jump) = self.next_jump() {
            self.queue.drain(..jump);
            self.epoch = chunk.epoch;
        } else if self.queue.front().is_some_and(|first| first.jump) || passed > chunk.cut_at + RAP_WAIT {
            self.epoch = chunk.epoch;
        }
    }

    /// Where the next clock begins in the queue. A jump at the very front begins the present one.
    fn next_jump(&self) -> Option<usize> {
        (1..self.queue.len()).find(|&at| self.queue[at].jump)
    }

    /// Frames of the present clock.
    fn present(&self) -> impl DoubleEndedIterator<Item = &AudioFrame> + ExactSizeIterator {
        self.queue.range(..self.next_jump().unwrap_or(self.queue.len()))
    }

    /// Whether all of a chunk's audio is here, or need not be waited for.
    pub(super) fn is_ready(&self, chunk: &CutChunk, passed: i64) -> bool {
        let end = chunk.end.0 + chunk.shift;
        let late = passed > chunk.cut_at + RAP_WAIT;
        if self.epoch != chunk.epoch {
            return late;
        }
        // After a clock change the video's clock says nothing about the chunk before it; the audio's own change does.
        let settled = match chunk.ends_clock {
            true => self.next_jump().is_some(),
            false => {
                !self.is_far(chunk) && (self.next_jump().is_some() || self.present().any(|frame| frame.pts.0 >= end))
            }
        };
        settled || self.is_omitted(chunk, passed) || late
    }

    /// No payload from a second before the chunk to a second after it, or only such as is far off (CCF 14).
    fn is_omitted(&self, chunk: &CutChunk, passed: i64) -> bool {
        let (begin, end) = (chunk.opening.pts.0 + chunk.shift, chunk.end.0 + chunk.shift);
        passed > chunk.cut_at + TICKS_PER_SECOND
            && self.epoch == chunk.epoch
            && (self.heard.is_none_or(|heard| heard < chunk.cut_at - (end - begin) - TICKS_PER_SECOND)
                || self.is_far(chunk))
            && !self.present().any(|frame| (begin..end).contains(&frame.pts.0))
    }

    /// There is audio, but none within ten seconds of the chunk.
    fn is_far(&self, chunk: &CutChunk) -> bool {
        let (begin, end) = (chunk.opening.pts.0 + chunk.shift, chunk.end.0 + chunk.shift);
        !self.queue.is_empty() && !self.present().any(|frame| (begin - FAR..end + FAR).contains(&frame.pts.0))
    }

    /// Forgets what a chunk used, but for the last frame before its end, which proves the next chunk's beginning.
    pub(super) fn forget_used(&mut self, chunk: &CutChunk) {
        if self.epoch != chunk.epoch {
            return;
        }
        if !chunk.ends_clock {
            let end = chunk.end.0 + chunk.shift;
            while self.queue.get(1).is_some_and(|second| !second.jump && second.pts.0 < end) {
                self.queue.pop_front();
            }
            // The audio changed its clock before the chunk's end and the video did not: go on with what it is now.
            let left = self.queue.front().is_some_and(|first| first.pts.0 < end);
            if left && self.queue.get(1).is_some_and(|second| second.jump) {
                self.queue.pop_front();
            }
        }
        self.frames.forget(self.queue.front().map_or(u64::MAX, |frame| frame.at));
    }

    fn find(&self, chunk: &CutChunk, passed: i64) -> Found {
        if self.is_omitted(chunk, passed) {
            return Found { frames: Vec::new(), reason: None, holes: 0 };
        }
        if self.epoch != chunk.epoch {
            return Found { frames: Vec::new(), reason: Some(HoleCause::Edge), holes: 0 };
        }
        let (begin, end) = (chunk.opening.pts.0 + chunk.shift, chunk.end.0 + chunk.shift);
        let jumped = self.queue.front().is_some_and(|first| first.jump);
        // At a clock change the audio of the old clock runs to its own change, that of the new one begins there.
        let from_jump = chunk.opens_clock && jumped;
        let to_jump = chunk.ends_clock && self.next_jump().is_some();
        let in_chunk = |frame: &&AudioFrame| (from_jump || frame.pts.0 >= begin) && (to_jump || frame.pts.0 < end);
        let frames: Vec<_> = self.present().filter(in_chunk).copied().collect();
        let before = self.present().rposition(|frame| frame.pts.0 < begin).filter(|_| !from_jump);
        let after = self.present().position(|frame| frame.pts.0 >= end).filter(|_| !to_jump);
        let from = before.map_or(0, |at| at + 1);
        let to = after.map_or(self.present().len(), |at| at + 1);
        let gaps: Vec<_> = self.present().take(to).skip(from).filter_map(|frame| frame.gap).collect();
        let edge = (before.is_none() && !from_jump) || (after.is_none() && !to_jump) || from > to;
        let reason = gaps.iter().copied().max().max(edge.then_some(HoleCause::Edge));
        Found { frames, reason, holes: gaps.len() as u32 }
    }
}

/// Judges and writes a chunk.
pub(super) fn assemble(
    profile: &Profile,
    chunk: &CutChunk,
    queues: &[&AudioQueue],
    passed: i64,
    timeline: TimelineId,
    index: ChunkIndex,
) -> Chunk {
    let audio: Vec<Found> = queues.iter().map(|queue| queue.find(chunk, passed)).collect();
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
    let audio_from = u8::from(profile.video.is_some());
    // Of radio, what was cut are frames of its first audio, which are written from their queue.
    let pictures = if profile.video.is_some() { &chunk.units[..] } else { &[] };
    let video = pictures.iter().filter(|unit| unit.dirty.is_none()).map(|unit| UnitRef {
        stream: 0,
        pts: unit.pts,
        dts: unit.dts,
        rap: unit.rap,
        data: &unit.data,
    });
    let mut units: Vec<UnitRef<'_>> = video.collect();
    for (number, (queue, found)) in queues.iter().zip(&audio).enumerate() {
        group(profile, chunk, audio_from + number as u8, &queue.frames, &found.frames, &mut units);
    }
    let opens = units.iter().any(|unit| unit.stream == 0);
    let written = if opens { write_refs(profile, units).ok() } else { None };
    let pts = Pts33::of(chunk.opening.pts);
    let state = match (reason, written) {
        (None, Some(bytes)) => ChunkState::Clean(CleanChunk::of(bytes)),
        (reason, salvaged) => {
            // What the writer wrote the reader reads.
            let units = salvaged.as_ref().and_then(|bytes| UnitIndex::of_chunk(pts, bytes).ok()).unwrap_or_default();
            ChunkState::Withheld(WithheldChunk { reason: withheld(reason), salvaged, units })
        }
    };
    Chunk {
        timeline,
        index,
        pts,
        duration: chunk.end - chunk.opening.pts,
        opening: chunk.units.first().map_or(UnitDigest([0; 16]), |unit| unit.digest()),
        dependent: chunk.opening.dependent,
        quality,
        state,
        video_frames: chunk.seen,
        marks: Vec::new(),
        aux: None,
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
            units.push(UnitRef { stream, pts, dts: pts, rap: true, data });
        }
        first = last + 1;
    }
}

/// Canonical times of a chunk's frames.
fn counted_times(chunk: &CutChunk, frames: &[AudioFrame]) -> Vec<MediaTime> {
    let placed: Vec<_> = frames.iter().map(|frame| (MediaTime(frame.pts.0 - chunk.shift), frame.header)).collect();
    canonical_times(chunk.opening.pts, &placed)
}

/// Canonical times of frames that follow one another in the chunk that begins at `begin`. Where a frame is no whole
/// number of ticks long, received times depend on how the frames were grouped into PES packets, so they are counted
/// from the chunk (CCF 7).
pub(super) fn canonical_times(begin: MediaTime, frames: &[(MediaTime, FrameHeader)]) -> Vec<MediaTime> {
    let received = || frames.iter().map(|(pts, _)| *pts).collect();
    let Some((_, first)) = frames.first() else { return Vec::new() };
    let (samples, rate) = (i64::from(first.samples), i64::from(first.rate));
    let uneven = frames.iter().any(|(_, header)| (header.samples, header.rate) != (first.samples, first.rate));
    if uneven || samples * 90_000 % rate == 0 {
        return received();
    }
    // In units of 1/rate tick, so that nothing is rounded.
    let offset = |(n, (pts, _)): (usize, &(MediaTime, FrameHeader))| {
        (pts.0 - begin.0) * rate - n as i64 * samples * TICKS_PER_SECOND
    };
    let offsets: Vec<i64> = frames.iter().enumerate().map(offset).collect();
    let mut sorted = offsets.clone();
    sorted.sort_unstable();
    let median = sorted[sorted.len() / 2];
    if offsets.iter().any(|offset| (offset - median).abs() > 90 * rate) {
        return received();
    }
    let cells = (median + 2 * rate).div_euclid(90 * rate);
    // No frame lies before its chunk, roundings aside, but for the first chunk of a clock: the sound that leads its
    // pictures stays ahead of them.
    let leads = median < -90 * rate;
    let origin = begin.0 + 90 * if leads { cells } else { cells.max(0) };
    (0..frames.len() as u64)
        .map(|n| MediaTime(origin + crate::ts::audio::ticks(n * samples as u64, rate as u64)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uneven_frames_keep_their_lead_and_are_not_put_before_their_chunk_by_rounding() {
        let header = FrameHeader { bytes: 576, samples: 1152, rate: 44_100 };
        let frames = |from: i64| -> Vec<_> {
            (0..10).map(|n| (MediaTime(from + crate::ts::audio::ticks(n * 1152, 44_100)), header)).collect()
        };
        let first = |from: i64| canonical_times(MediaTime(90_000), &frames(from))[0];
        // Sound that leads its pictures behind a clock change, on the grid of 90 ticks; rounding of a tick; and sound
        // that begins within the chunk.
        assert_eq!(first(90_000 - 10_000), MediaTime(90_000 - 10_080));
        assert_eq!(first(90_000 - 1), MediaTime(90_000));
        assert_eq!(first(90_000 + 179), MediaTime(90_180));
    }
}
