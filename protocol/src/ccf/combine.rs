//! One clean chunk from several damaged receptions, where nobody has it whole (DESIGN 6).
//!
//! ```text
//! unit indexes of receptions --> Agreement: units that two subscribers have alike, and nothing missing between them
//! bytes of those units, from whoever holds them --> checked by digest --> audio counted anew --> written: the chunk
//! ```
//!
//! A unit needs two agreeing voices, as a chunk does. That none is missing where all receptions lost the same is judged
//! by time: video steps, audio frames counted from end to end. What cannot be judged is refused.

use std::collections::{BTreeMap, BTreeSet};

use super::assemble::canonical_times;
use super::chunk::CleanChunk;
use super::chunker::framing;
use super::profile::Profile;
use super::unit_index::{UnitEntry, UnitIndex};
use super::writer::{Unit, UnitRef, WriteError, unit_digest, write_refs};
use crate::ids::UnitDigest;
use crate::time::{MediaTime, Pts33, Ticks};
use crate::ts::audio::{AudioFrames, FrameHeader, Framing};

/// Voices that must have a unit alike.
const VOICES: usize = 2;
/// Ticks by which a step of DTS may be off where a picture lasts no whole number of them.
const ROUNDING: i64 = 2;

/// What one subscriber has of a chunk: its withheld form's units.
#[derive(Debug, Clone, Copy)]
pub struct Voice<'a> {
    /// Who: of equal ones only the first counts.
    pub subscriber: u64,
    /// Units, with times from the chunk's PTS.
    pub units: &'a UnitIndex,
}

/// Where a chunk begins and ends: known from its own opening picture and from the next chunk's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Digest of the opening unit.
    pub opening: UnitDigest,
    /// From the chunk's PTS to the next one's.
    pub duration: Ticks,
    /// DTS of the next chunk's opening unit, from this chunk's PTS: the first that is no longer here.
    pub next_dts: Ticks,
}

/// A unit that is agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgreedUnit {
    /// Stream, in profile order.
    pub stream: u8,
    /// PTS from the chunk's.
    pub pts: Ticks,
    /// DTS from the chunk's PTS.
    pub dts: Ticks,
    /// Digest of its elementary bytes.
    pub digest: UnitDigest,
    /// Which of the voices have it, by position.
    pub held_by: Vec<usize>,
}

/// The units of a chunk that nobody has whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreement {
    bounds: Bounds,
    units: Vec<AgreedUnit>,
}

/// Why there is no chunk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CombineError {
    /// The opening unit is not agreed on.
    #[error("fewer than two receptions have the chunk's first picture")]
    Opening,
    /// A time at which voices disagree, two or more on each side. Repeating with more receptions may help.
    #[error("receptions disagree on stream {stream} at {at:?} from the chunk's beginning")]
    Disputed {
        /// The stream.
        stream: u8,
        /// The time.
        at: Ticks,
    },
    /// A unit that fewer than two receptions have. Repeating with more receptions may help.
    #[error("stream {stream} is missing something at {at:?} from the chunk's beginning")]
    Gap {
        /// The stream.
        stream: u8,
        /// Where.
        at: Ticks,
    },
    /// The bytes given for a unit are not it, or there are none. Their sender is at fault.
    #[error("the bytes given for unit {0} are not it")]
    WrongUnit(usize),
    /// A profile that does not fit the units.
    #[error("a unit of stream {0}, which the profile does not have")]
    Stream(u8),
    /// The units cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl Agreement {
    /// What voices agree on between two bounds.
    ///
    /// # Errors
    /// [`CombineError::Opening`], [`CombineError::Disputed`], [`CombineError::Gap`], [`CombineError::Stream`].
    pub fn of(profile: &Profile, bounds: Bounds, voices: &[Voice<'_>]) -> Result<Self, CombineError> {
        let mut ballots: BTreeMap<(u8, i64), Ballot> = BTreeMap::new();
        let mut heard = BTreeSet::new();
        for (who, voice) in voices.iter().enumerate().filter(|(_, voice)| heard.insert(voice.subscriber)) {
            for unit in &voice.units.units {
                if usize::from(unit.stream) >= profile.streams() {
                    return Err(CombineError::Stream(unit.stream));
                }
                ballots.entry(place(profile, unit)).or_default().vote(who, unit);
            }
        }
        let mut units = Vec::new();
        for ((stream, _), ballot) in ballots {
            units.extend(ballot.decide(stream, stream == 0 && profile.video.is_some())?);
        }
        // The order of a chunk's bytes (CCF 16).
        units.sort_by_key(|unit| (unit.dts, unit.stream));
        if profile.video.is_some() {
            check_video(&units, bounds)?;
        }
        // An audio of which nobody has anything may be omitted (CCF 14) or lost: nothing here tells.
        let silent = (0..profile.streams() as u8).find(|stream| !units.iter().any(|unit| unit.stream == *stream));
        match silent {
            Some(stream) => Err(CombineError::Gap { stream, at: Ticks(0) }),
            None => Ok(Self { bounds, units }),
        }
    }

    /// The units, in the order of the chunk's bytes.
    #[must_use]
    pub fn units(&self) -> &[AgreedUnit] {
        &self.units
    }

    /// Writes the chunk. `find` gives a unit as a reception holds it: what counts of it are its bytes, which are
    /// checked, and whether a decoder can begin there.
    ///
    /// # Errors
    /// [`CombineError::WrongUnit`], [`CombineError::Gap`], [`CombineError::Write`].
    pub fn build<'b>(
        &self,
        profile: &Profile,
        pts: Pts33,
        find: impl Fn(&AgreedUnit) -> Option<&'b Unit>,
    ) -> Result<CleanChunk, CombineError> {
        let origin = MediaTime(pts.0 as i64);
        let mut refs = Vec::with_capacity(self.units.len());
        for (at, unit) in self.units.iter().enumerate() {
            let found = find(unit).filter(|found| unit_digest(&found.data) == unit.digest);
            let Unit { rap, data, .. } = found.ok_or(CombineError::WrongUnit(at))?;
            let (pts, dts) = (origin + unit.pts, origin + unit.dts);
            refs.push(UnitRef { stream: unit.stream, pts, dts, rap: *rap, data });
        }
        let audio_from = u8::from(profile.video.is_some());
        for (number, audio) in profile.audio.iter().enumerate() {
            let stream = audio_from + number as u8;
            let mut of_stream: Vec<&mut UnitRef<'b>> = refs.iter_mut().filter(|unit| unit.stream == stream).collect();
            count_audio(framing(audio.codec), origin, self.bounds.duration, stream, &mut of_stream)?;
        }
        Ok(CleanChunk::of(write_refs(profile, refs)?))
    }
}

/// What a damaged reception says of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Testimony {
    /// It has three quarters of the chunk's units or more, and nothing else in their place.
    For,
    /// It has something else in the place of one of them.
    Against,
    /// It has too little.
    Silent,
}

impl UnitIndex {
    /// What a damaged reception says of the chunk of this index. Of audio it may have a shorter part of a unit, where loss
    /// took the rest of it; what it has before and behind the chunk says nothing.
    #[must_use]
    pub fn testimony(&self, damaged: &Self) -> Testimony {
        let known: BTreeSet<(u8, UnitDigest)> = self.units.iter().map(|unit| (unit.stream, unit.digest)).collect();
        let mut places: BTreeMap<(u8, Ticks), u32> = BTreeMap::new();
        let mut spans: BTreeMap<u8, (Ticks, Ticks)> = BTreeMap::new();
        for unit in &self.units {
            let longest = places.entry((unit.stream, unit.pts)).or_default();
            *longest = (*longest).max(unit.len);
            let span = spans.entry(unit.stream).or_insert((unit.dts, unit.dts));
            *span = (span.0.min(unit.dts), span.1.max(unit.dts));
        }
        let inside =
            |unit: &&UnitEntry| spans.get(&unit.stream).is_some_and(|span| span.0 <= unit.dts && unit.dts <= span.1);
        let mut alike = 0;
        for unit in damaged.units.iter().filter(inside) {
            if known.contains(&(unit.stream, unit.digest)) {
                alike += 1;
                continue;
            }
            // The unit of the chunk that begins there or last before it.
            let whole = places.range((unit.stream, Ticks(i64::MIN))..=(unit.stream, unit.pts)).next_back();
            let is_part = unit.stream > 0 && whole.is_some_and(|(_, len)| unit.len < *len);
            if !is_part {
                return Testimony::Against;
            }
        }
        if alike > 0 && 4 * alike >= 3 * self.units.len() { Testimony::For } else { Testimony::Silent }
    }
}

/// Where units of different receptions are the same one: a picture by its DTS, audio by its cell of the grid.
fn place(profile: &Profile, unit: &UnitEntry) -> (u8, i64) {
    let is_video = unit.stream == 0 && profile.video.is_some();
    (unit.stream, if is_video { unit.dts.0 } else { unit.pts.0.div_euclid(profile.audio_grid.0.max(1)) })
}

/// What receptions have at one place, by digest.
#[derive(Default)]
struct Ballot(BTreeMap<UnitDigest, Vec<(usize, UnitEntry)>>);

impl Ballot {
    fn vote(&mut self, who: usize, unit: &UnitEntry) {
        let votes = self.0.entry(unit.digest).or_default();
        if votes.last().is_none_or(|(last, _)| *last != who) {
            votes.push((who, *unit));
        }
    }

    /// The unit that two voices or more have alike; none where nobody has company. Of audio, some may have a part of
    /// what others have whole: the longest counts.
    fn decide(self, stream: u8, is_video: bool) -> Result<Option<AgreedUnit>, CombineError> {
        let mut agreed: Vec<_> = self.0.into_iter().filter(|(_, votes)| votes.len() >= VOICES).collect();
        let length = |votes: &[(usize, UnitEntry)]| votes.iter().map(|(_, unit)| unit.len).min();
        agreed.sort_by_key(|(_, votes)| length(votes));
        let Some((digest, votes)) = agreed.pop() else { return Ok(None) };
        let Some((pts, dts)) = common_time(&votes) else { return Ok(None) };
        if agreed.last().is_some_and(|(_, others)| is_video || length(others) == length(&votes)) {
            return Err(CombineError::Disputed { stream, at: pts });
        }
        Ok(Some(AgreedUnit { stream, pts, dts, digest, held_by: votes.into_iter().map(|(who, _)| who).collect() }))
    }
}

/// The times that most have; the earliest of those where some are equal. Audio at 44.1 kHz may differ by a tick.
fn common_time(votes: &[(usize, UnitEntry)]) -> Option<(Ticks, Ticks)> {
    let mut counts: BTreeMap<(Ticks, Ticks), usize> = BTreeMap::new();
    for (_, unit) in votes {
        *counts.entry((unit.pts, unit.dts)).or_default() += 1;
    }
    let most = counts.values().max().copied()?;
    counts.into_iter().find(|(_, count)| *count == most).map(|(times, _)| times)
}

/// Whether pictures follow one another from the opening to the end without a step that is too long.
fn check_video(units: &[AgreedUnit], bounds: Bounds) -> Result<(), CombineError> {
    let video: Vec<&AgreedUnit> = units.iter().filter(|unit| unit.stream == 0).collect();
    let (Some(first), Some(last)) = (video.first(), video.last()) else { return Err(CombineError::Opening) };
    if first.digest != bounds.opening || first.pts != Ticks(0) {
        return Err(CombineError::Opening);
    }
    let steps: Vec<i64> = video.windows(2).map(|pair| pair[1].dts.0 - pair[0].dts.0).collect();
    let shortest = steps.iter().min().copied().unwrap_or(bounds.duration.0);
    // Pulldown shows every other picture half as long again; a lost picture makes a step of two or more.
    let too_long = |step: i64| 2 * (step - ROUNDING) > 3 * shortest;
    if let Some(at) = steps.iter().position(|step| too_long(*step)) {
        return Err(CombineError::Gap { stream: 0, at: video[at].dts });
    }
    if too_long(bounds.next_dts.0 - last.dts.0) {
        return Err(CombineError::Gap { stream: 0, at: last.dts });
    }
    Ok(())
}

/// Counts the frames of an audio from its first to its last, and gives its units their canonical times.
fn count_audio(
    framing: Framing,
    origin: MediaTime,
    duration: Ticks,
    stream: u8,
    units: &mut [&mut UnitRef<'_>],
) -> Result<(), CombineError> {
    let Some(first) = units.first().map(|unit| unit.data) else {
        return Err(CombineError::Gap { stream, at: Ticks(0) });
    };
    let mut frames = AudioFrames::new(framing);
    let mut starts = Vec::with_capacity(units.len());
    let mut length = 0u64;
    for unit in units.iter() {
        starts.push(length);
        frames.pes_start(Some(Pts33::of(unit.pts)));
        frames.push(unit.data, unit.pts);
        length += unit.data.len() as u64;
    }
    // A frame is proven by what follows it: here the first unit once more.
    frames.pes_start(None);
    frames.push(first, units.last().map_or(origin, |unit| unit.pts));
    let found: Vec<_> = std::iter::from_fn(|| frames.poll()).take_while(|frame| frame.at < length).collect();

    let gap = |at: MediaTime| CombineError::Gap { stream, at: at - origin };
    let mut end = 0;
    for (n, frame) in found.iter().enumerate() {
        if frame.at != end || (n > 0 && (frame.gap.is_some() || frame.jump)) {
            return Err(gap(frame.pts));
        }
        end = frame.at + frame.header.bytes as u64;
    }
    let (Some(opens), Some(closes)) = (found.first(), found.last()) else { return Err(gap(origin)) };
    let lasts = |header: FrameHeader| crate::ts::audio::ticks(u64::from(header.samples), u64::from(header.rate));
    // The frame before the first belongs to the chunk before, the one after the last to the next.
    if end != length || opens.pts.0 - origin.0 >= lasts(opens.header) {
        return Err(gap(opens.pts));
    }
    if closes.pts.0 + lasts(closes.header) < (origin + duration).0 {
        return Err(gap(closes.pts));
    }
    let placed: Vec<_> = found.iter().map(|frame| (frame.pts, frame.header)).collect();
    let times: BTreeMap<u64, MediaTime> =
        found.iter().map(|frame| frame.at).zip(canonical_times(origin, &placed)).collect();
    for (unit, start) in units.iter_mut().zip(starts) {
        let time = times.get(&start).copied().ok_or_else(|| gap(unit.pts))?;
        (unit.pts, unit.dts) = (time, time);
    }
    Ok(())
}
