//! Video units of an H.262 elementary stream (CCF 6), and the times that it leaves out. References are to ISO/IEC
//! 13818-2.
//!
//! Bytes stay as they are: unlike a NAL unit, what stands between two start codes may end in zeros that mean something.

use std::collections::VecDeque;

use super::bits::Bits;
use super::marks::{Begin, Marks};
use super::mpeg2_times::{Pace, TimeFiller};
use super::pes::PesTimes;
use super::start_code::StartCodes;
use super::video::{HoleCause, VideoUnit};
use crate::limits::MAX_UNIT_BYTES;

/// Start codes (table 6-1).
const PICTURE: u8 = 0x00;
const LAST_SLICE: u8 = 0xAF;
const SEQUENCE: u8 = 0xB3;
const EXTENSION: u8 = 0xB5;
const GROUP: u8 = 0xB8;

/// How a picture is coded, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Intra coded.
    I,
    /// Predicted, or of a kind that does not occur.
    P,
    /// Bidirectionally predicted: shown as soon as it is decoded.
    B,
}

/// What headers say of a picture.
#[derive(Debug, Clone, Copy)]
struct Picture {
    temporal_reference: u32,
    kind: Kind,
    /// `picture_structure`: top field, bottom field, or frame.
    structure: Structure,
    /// Fields that it is shown for.
    fields: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Structure {
    Top,
    Bottom,
    Frame,
}

/// What a sequence header and its extension say.
#[derive(Debug, Clone, Copy)]
struct Sequence {
    /// Frames in so many seconds, by the header alone.
    header_rate: (u64, u64),
    pace: Pace,
    progressive: bool,
}

#[derive(Debug, Clone, Copy)]
struct Boundary {
    /// Index in `buf`.
    index: usize,
    begin: Begin,
}

/// What stands behind the newest start code.
#[derive(Debug, Clone, Copy)]
struct Element {
    code: u8,
    /// Index of its `00 00 01` in `buf`.
    index: usize,
    at: u64,
}

/// The unit in progress.
#[derive(Debug, Default)]
struct Current {
    begin: Option<Begin>,
    times: PesTimes,
    has_sequence: bool,
    /// Its first picture, once its start code came.
    picture: Option<Picture>,
    /// Its second field has come.
    paired: bool,
    /// No sequence header came before it.
    unreadable: bool,
}

/// Splits an H.262 elementary stream into units.
#[derive(Debug, Default)]
pub struct Mpeg2Units {
    pub(super) marks: Marks,
    /// Bytes of the unit in progress; the last one is the one before the position received.
    buf: Vec<u8>,
    /// Zero bytes discarded right before the front of `buf`.
    zeros_before: u64,
    /// Where the search for start codes goes on in `buf`.
    scan: usize,
    start_codes: StartCodes,
    element: Option<Element>,
    current: Current,
    /// A picture behind a lone field: its second field, or the next unit. Its coding extension will tell.
    undecided: Option<(Boundary, Picture)>,
    seen_sequence: bool,
    sequence: Option<Sequence>,
    times: TimeFiller,
    out: VecDeque<VideoUnit>,
}

impl Picture {
    /// Of whose header nothing is known yet.
    const UNKNOWN: Self = Self { temporal_reference: 0, kind: Kind::P, structure: Structure::Frame, fields: 2 };

    /// Whether `next` is this field's second one (6.1.1.4.1).
    fn pairs_with(&self, next: &Self) -> bool {
        let opposite = matches!(
            (self.structure, next.structure),
            (Structure::Top, Structure::Bottom) | (Structure::Bottom, Structure::Top)
        );
        opposite && self.temporal_reference == next.temporal_reference
    }
}

impl Mpeg2Units {
    /// Takes elementary bytes in.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.buf.len() + bytes.len() > MAX_UNIT_BYTES {
            self.drop_oversize();
        }
        self.buf.extend_from_slice(bytes);
        self.marks.received += bytes.len() as u64;
        while let Some((found, code)) = self.find_start_code() {
            let index = self.end_element(found);
            self.begin_element(index, code);
        }
        self.scan = self.scan.max(self.buf.len().saturating_sub(3));
        // What comes before the first unit is no part of one.
        if self.current.begin.is_none() {
            self.discard(self.scan);
        }
    }

    /// Ends the input: the last unit is never proven whole.
    pub(super) fn finish(&mut self) {
        self.marks.hole(true, HoleCause::Edge);
        self.end_element(self.buf.len());
        if let Some((boundary, picture)) = self.undecided.take() {
            self.complete(boundary);
            self.open_picture(boundary.begin, picture);
        }
        if self.current.picture.is_some() {
            let begin = Begin { zeros: self.marks.received, code: self.marks.received };
            self.complete(Boundary { index: self.buf.len(), begin });
        }
        self.times.finish(&mut self.out);
    }

    /// The next finished unit.
    pub(super) fn poll(&mut self) -> Option<VideoUnit> {
        self.out.pop_front()
    }

    fn position(&self, index: usize) -> u64 {
        self.marks.received.saturating_sub((self.buf.len() - index) as u64)
    }

    /// The next start code whose value has come too.
    fn find_start_code(&self) -> Option<(usize, u8)> {
        let floor = self.element.map_or(0, |element| element.index + 4);
        let found = self.start_codes.find(&self.buf, self.scan.max(floor))?;
        Some((found, *self.buf.get(found + 3)?))
    }

    /// Reads the element before the start code at `end`. Returns where that start code lies afterwards.
    fn end_element(&mut self, end: usize) -> usize {
        let Some(element) = self.element.take() else { return end };
        let damaged = self.marks.damaged(element.at, self.position(end));
        let content = &self.buf[element.index + 4..end];
        match element.code {
            SEQUENCE => {
                self.sequence = frame_rate(content).filter(|_| !damaged).map(|(count, seconds)| Sequence {
                    header_rate: (count, seconds),
                    pace: Pace { count, seconds, low_delay: false },
                    progressive: true,
                });
            }
            EXTENSION if content.first().is_some_and(|byte| byte >> 4 == 1) => {
                self.sequence =
                    self.sequence.filter(|_| !damaged).and_then(|sequence| extend_sequence(sequence, content));
            }
            EXTENSION if content.first().is_some_and(|byte| byte >> 4 == 8) => {
                return self.coding_extension(end, element);
            }
            PICTURE => {
                let picture = read_picture(content);
                match (&mut self.undecided, &mut self.current.picture) {
                    (Some((_, undecided)), _) => *undecided = picture,
                    (None, Some(current)) if !self.current.paired => *current = picture,
                    _ => {}
                }
            }
            _ => {}
        }
        end
    }

    /// Reads a picture coding extension: it tells whether a picture behind a lone field is its second one.
    fn coding_extension(&mut self, end: usize, element: Element) -> usize {
        let content = &self.buf[element.index + 4..end];
        let progressive = self.sequence.is_none_or(|sequence| sequence.progressive);
        let Some((structure, fields)) = read_coding(content, progressive) else { return end };
        let Some((boundary, picture)) = self.undecided.take() else {
            if let Some(picture) = self.current.picture.as_mut().filter(|_| !self.current.paired) {
                (picture.structure, picture.fields) = (structure, fields);
            }
            return end;
        };
        let picture = Picture { structure, fields, ..picture };
        if self.current.picture.is_some_and(|first| first.pairs_with(&picture)) {
            self.current.paired = true;
            // The second field's own times are not the next unit's.
            self.marks.times_at(boundary.begin.code);
            return end;
        }
        self.complete(boundary);
        self.open_picture(boundary.begin, picture);
        end - boundary.index
    }

    /// A start code at `index`: the unit in progress may end here.
    fn begin_element(&mut self, mut index: usize, code: u8) {
        let is_header = matches!(code, PICTURE | SEQUENCE | GROUP);
        // A picture without a coding extension is a frame of its own.
        if let Some((boundary, picture)) = self.undecided.take_if(|_| is_header || (1..=LAST_SLICE).contains(&code)) {
            self.complete(boundary);
            self.open_picture(boundary.begin, picture);
            index -= boundary.index;
        }
        let mut zeros = trailing_zeros(&self.buf[..index]);
        zeros += if zeros == index as u64 { self.zeros_before } else { 0 };
        let at = self.position(index);
        let begin = Begin { zeros: at - zeros, code: at };
        if is_header {
            let lone_field = self.current.picture.is_some_and(|first| first.structure != Structure::Frame);
            if code == PICTURE && lone_field && !self.current.paired {
                self.undecided = Some((Boundary { index, begin }, Picture::UNKNOWN));
            } else if self.current.picture.is_some() {
                self.complete(Boundary { index, begin });
                index = 0;
            }
            if self.current.begin.is_none() {
                self.discard(index);
                index = 0;
                self.current.begin = Some(begin);
            }
            if code == PICTURE && self.undecided.is_none() {
                self.open_picture(begin, Picture::UNKNOWN);
            }
            self.current.has_sequence |= code == SEQUENCE;
            self.seen_sequence |= code == SEQUENCE;
        }
        self.scan = index + 4;
        self.element = self.current.begin.map(|_| Element { code, index, at });
    }

    fn open_picture(&mut self, begin: Begin, picture: Picture) {
        self.current.picture = Some(picture);
        self.current.times = self.marks.times_at(begin.code);
        self.current.unreadable = !self.seen_sequence;
    }

    /// Forgets the front of the buffer.
    fn discard(&mut self, to: usize) {
        let zeros = trailing_zeros(&self.buf[..to]);
        self.zeros_before = if zeros == to as u64 { self.zeros_before + zeros } else { zeros };
        self.buf.drain(..to);
        self.scan = self.scan.saturating_sub(to);
    }

    /// Hands out the unit that ends at `end` and begins the next one there.
    fn complete(&mut self, end: Boundary) {
        let data = self.buf[..end.index].to_vec();
        self.discard(end.index);
        let next = Current { begin: Some(end.begin), ..Current::default() };
        let unit = std::mem::replace(&mut self.current, next);
        let judged = self.marks.judge(unit.begin.unwrap_or(end.begin), end.begin);
        let picture = unit.picture.unwrap_or(Picture::UNKNOWN);
        let fields = if unit.paired { 2 } else { picture.fields };
        let done = VideoUnit {
            times: unit.times,
            data,
            rap: unit.has_sequence && picture.kind == Kind::I,
            dirty: judged.dirty.max(unit.unreadable.then_some(HoleCause::Edge)),
            headless: judged.headless,
            after_hole: judged.after_hole,
        };
        self.times.push(done, picture.kind, fields, self.sequence.map(|sequence| sequence.pace), &mut self.out);
    }

    /// A unit beyond all bounds is no unit: its bytes go, the hole stays.
    fn drop_oversize(&mut self) {
        self.buf.clear();
        self.zeros_before = 0;
        self.scan = 0;
        self.element = None;
        self.undecided = None;
        self.marks.hole(false, HoleCause::Loss);
    }
}

fn trailing_zeros(bytes: &[u8]) -> u64 {
    bytes.iter().rev().take_while(|&&byte| byte == 0).count() as u64
}

/// Frames in so many seconds, by a sequence header (6.3.3, table 6-4).
fn frame_rate(header: &[u8]) -> Option<(u64, u64)> {
    const RATES: [(u64, u64); 8] =
        [(24_000, 1001), (24, 1), (25, 1), (30_000, 1001), (30, 1), (50, 1), (60_000, 1001), (60, 1)];
    RATES.get(usize::from(header.get(3)? & 0x0F).checked_sub(1)?).copied()
}

/// What a sequence extension adds (6.2.2.3).
fn extend_sequence(sequence: Sequence, content: &[u8]) -> Option<Sequence> {
    let &[_, flags, _, _, _, rate, ..] = content else { return None };
    let (progressive, low_delay) = (flags & 0x08 != 0, rate & 0x80 != 0);
    let (n, d) = (u64::from(rate >> 5 & 3), u64::from(rate & 0x1F));
    // Of the header's rate, not of what an extension before this one made of it.
    let (count, seconds) = sequence.header_rate;
    let pace = Pace { count: count * (n + 1), seconds: seconds * (d + 1), low_delay };
    Some(Sequence { pace, progressive, ..sequence })
}

/// A picture header (6.2.3).
fn read_picture(content: &[u8]) -> Picture {
    let mut bits = Bits::new(content);
    let Some((temporal_reference, kind)) = bits.bits(10).zip(bits.bits(3)) else { return Picture::UNKNOWN };
    let kind = match kind {
        1 => Kind::I,
        3 => Kind::B,
        _ => Kind::P,
    };
    Picture { temporal_reference, kind, ..Picture::UNKNOWN }
}

/// A picture coding extension (6.2.3.1): its structure, and the fields that it is shown for (6.3.10).
fn read_coding(content: &[u8], progressive_sequence: bool) -> Option<(Structure, u64)> {
    let &[_, _, precision, flags, ..] = content else { return None };
    let structure = match precision & 3 {
        1 => Structure::Top,
        2 => Structure::Bottom,
        _ => Structure::Frame,
    };
    let (top_first, repeat) = (flags & 0x80 != 0, flags & 0x02 != 0);
    let fields = match (structure, progressive_sequence, repeat) {
        (Structure::Top | Structure::Bottom, ..) => 1,
        (_, true, true) if top_first => 6,
        (_, true, true) => 4,
        (_, false, true) => 3,
        (_, _, false) => 2,
    };
    Some((structure, fields))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Pts33;

    const SEQUENCE_HEADER: [u8; 12] = [0, 0, 1, 0xB3, 0x10, 0x10, 0x10, 0x14, 0xFF, 0xFF, 0xE0, 0x18];

    /// A sequence of 30000/1001 frames a second.
    fn sequence(low_delay: bool) -> Vec<u8> {
        let extension = [0, 0, 1, 0xB5, 0x14, 0x82, 0, 1, 0, if low_delay { 0x80 } else { 0 }];
        [&SEQUENCE_HEADER[..], &extension[..]].concat()
    }

    /// A picture of a kind (1 I, 2 P, 3 B) and structure (1 top, 2 bottom, 3 frame).
    fn picture(reference: u16, kind: u8, structure: u8, repeat: bool) -> Vec<u8> {
        let header = [0, 0, 1, 0, (reference >> 2) as u8, (reference << 6) as u8 | kind << 3, 0xFF, 0xF8];
        let coding = [0, 0, 1, 0xB5, 0x8F, 0xFF, 0xF0 | structure, if repeat { 0x82 } else { 0x80 }, 0x80];
        [&header[..], &coding[..], &[0, 0, 1, 1, 0x5A, 0x5A, 0][..]].concat()
    }

    fn units(pes: &[(Option<u64>, Vec<u8>)]) -> Vec<VideoUnit> {
        let mut splitter = Mpeg2Units::default();
        for (time, data) in pes {
            splitter.marks.pes_start(PesTimes { pts: time.map(Pts33), dts: None });
            data.chunks(7).for_each(|piece| splitter.push(piece));
        }
        splitter.finish();
        std::iter::from_fn(|| splitter.poll()).collect()
    }

    #[test]
    fn two_fields_are_one_unit_and_a_lone_one_is_its_own() {
        let data = [
            sequence(false),
            picture(0, 1, 1, false),
            picture(0, 2, 2, false),
            picture(1, 2, 2, false),
            picture(1, 2, 1, false),
            picture(2, 2, 1, false),
            picture(3, 2, 1, false),
            picture(4, 2, 3, false),
        ];
        let found = units(&[(Some(90_000), data.concat())]);
        let sizes: Vec<_> = found.iter().map(|unit| unit.data.len()).collect();
        let one = picture(0, 1, 1, false).len();
        assert_eq!(sizes, [sequence(false).len() + 2 * one, 2 * one, one, one, one]);
        assert_eq!(found.iter().map(|unit| unit.rap).collect::<Vec<_>>(), [true, false, false, false, false]);
        let bytes: Vec<u8> = found.into_iter().flat_map(|unit| unit.data).collect();
        assert_eq!(bytes, data.concat(), "not a byte is changed");
    }

    #[test]
    fn missing_times_count_fields_and_wait_for_the_next_reference() {
        // Pulldown: 3, 2, 3, 2 fields; the last picture ends the input.
        let data = [
            sequence(false),
            picture(2, 1, 3, true),
            picture(0, 3, 3, false),
            picture(1, 3, 3, true),
            picture(5, 2, 3, false),
            picture(6, 2, 3, false),
        ];
        let found = units(&[(Some(90_000), data.concat())]);
        let times: Vec<_> =
            found.iter().map(|unit| (unit.times.pts.map(|t| t.0), unit.times.dts.map(|t| t.0))).collect();
        // A field lasts 1501.5 ticks.
        let at = |fields: u64| 90_000 + fields * 3003 / 2;
        assert_eq!(times[0], (Some(90_000), None));
        assert_eq!(times[1..3], [(Some(at(3)), Some(at(3))), (Some(at(5)), Some(at(5)))]);
        assert_eq!(times[3], (Some(at(10)), Some(at(8))));
        assert_eq!(times[4], (None, Some(at(10))));
        let low = [sequence(true), picture(0, 1, 3, false), picture(1, 2, 3, false), picture(2, 2, 3, false)];
        let low = units(&[(Some(90_000), low.concat())]);
        assert_eq!(low[1].times, PesTimes { pts: Some(Pts33(93_003)), dts: Some(Pts33(93_003)) });
    }

    #[test]
    fn a_time_belongs_to_the_picture_that_begins_behind_it() {
        let first = [sequence(false), picture(0, 1, 3, false)].concat();
        let tail = [picture(1, 2, 3, false), SEQUENCE_HEADER[..6].to_vec()].concat();
        let last = [SEQUENCE_HEADER[6..].to_vec(), picture(2, 1, 3, false)].concat();
        let found = units(&[(Some(1000), first), (Some(4003), tail), (Some(7006), last)]);
        let times: Vec<_> = found.iter().map(|unit| unit.times.pts.map(|t| t.0)).collect();
        assert_eq!(times, [Some(1000), Some(4003), Some(7006)]);
        assert_eq!(found.iter().map(|unit| unit.rap).collect::<Vec<_>>(), [true, false, true]);
    }
}
