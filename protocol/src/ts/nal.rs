//! Video units of an H.264 or H.265 elementary stream: split and normalised (CCF 6).
//!
//! Bytes are copied from the packet into one buffer, and out of it at the unit's size. Start codes are found as payloads
//! arrive and normalised in place: what must move is at most the tail of one payload.
//!
//! ```text
//! unit: 00 00 00 01 09 F0 | 00 00 01 nal | 00 00 01 nal | ... | 00 00 01 nal of the next unit
//!       fixed delimiter                     boundary: where the next unit begins, if its slice says so
//! ```

use std::collections::VecDeque;

use super::avc::{ParameterSets, SLICE_HEAD_BYTES, SliceHead, sei_is_recovery_point};
use super::hevc;
use super::marks::{Begin, Marks};
use super::pes::PesTimes;
use super::start_code::StartCodes;
use super::video::{HoleCause, VideoUnit};
use crate::limits::MAX_UNIT_BYTES;

/// What tells pictures apart, and what is known of it.
#[derive(Debug)]
pub enum Syntax {
    /// H.264.
    Avc(ParameterSets),
    /// H.265.
    Hevc(hevc::SetsSeen),
}

/// What a NAL unit is to the splitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Part of a coded picture.
    Slice,
    /// A parameter set. It opens a unit, like the next three, if a picture came before it.
    Set,
    /// Supplemental information.
    Sei,
    /// An access unit delimiter.
    Delimiter,
    /// Others that precede their picture.
    Opens,
    /// Filler data.
    Filler,
    /// Stays with the picture before it.
    Stays,
}

/// What a slice says of its picture.
struct Slice {
    /// Its head, where parameter sets are known.
    head: Option<SliceHead>,
    /// It is the first of a picture by its own word.
    first: bool,
    /// A decoder can begin at the picture.
    rap: bool,
    /// The sets that it needs are known.
    readable: bool,
}

impl Syntax {
    /// H.264, nothing known.
    #[must_use]
    pub fn avc() -> Self {
        Self::Avc(ParameterSets::default())
    }

    /// H.265, nothing known.
    #[must_use]
    pub fn hevc() -> Self {
        Self::Hevc(hevc::SetsSeen::default())
    }

    /// The access unit delimiter that opens every unit.
    fn delimiter(&self) -> &'static [u8] {
        match self {
            Self::Avc(_) => &[0, 0, 0, 1, 9, 0xF0],
            Self::Hevc(_) => &[0, 0, 0, 1, 0x46, 1, 0x50],
        }
    }

    /// Bytes of a NAL unit that tell its role, and bytes of a slice that tell its picture.
    fn needs(&self) -> (usize, usize) {
        match self {
            Self::Avc(_) => (1, SLICE_HEAD_BYTES),
            Self::Hevc(_) => (hevc::HEADER_BYTES, hevc::HEADER_BYTES + 1),
        }
    }

    /// Role of a NAL unit (H.264 table 7-1); `None` where too little of it is there.
    fn role(&self, nal: &[u8]) -> Option<Role> {
        match self {
            Self::Avc(_) => Some(match nal.first()? & 0x1F {
                1 | 2 | 5 => Role::Slice,
                6 => Role::Sei,
                7 | 8 => Role::Set,
                9 => Role::Delimiter,
                12 => Role::Filler,
                14..=18 => Role::Opens,
                _ => Role::Stays,
            }),
            Self::Hevc(_) => hevc::role(nal),
        }
    }

    fn slice(&self, nal: &[u8]) -> Slice {
        match self {
            Self::Avc(sets) => {
                let head = sets.slice_head(nal);
                let first = nal.get(1).is_some_and(|byte| byte & 0x80 != 0);
                let idr = nal.first().is_some_and(|byte| byte & 0x1F == 5);
                Slice { head, first, rap: idr, readable: head.is_some() }
            }
            Self::Hevc(sets) => Slice {
                head: None,
                first: hevc::is_first_slice(nal),
                rap: hevc::is_random_access_point(nal),
                readable: sets.all(),
            },
        }
    }

    fn take_set(&mut self, nal: &[u8], damaged: bool) {
        match self {
            // Nobody can tell which set it was, and pictures are told apart by sets.
            Self::Avc(sets) if damaged => sets.clear(),
            Self::Avc(sets) if nal.first().is_some_and(|byte| byte & 0x1F == 7) => sets.take_sps(nal),
            Self::Avc(sets) => sets.take_pps(nal),
            Self::Hevc(sets) => sets.take(nal),
        }
    }

    fn were_sets_seen(&self) -> bool {
        match self {
            Self::Avc(sets) => sets.were_seen(),
            Self::Hevc(sets) => sets.all(),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Boundary {
    /// Index in `buf`.
    index: usize,
    begin: Begin,
}

#[derive(Debug, Clone, Copy)]
struct Nal {
    /// Index of its `00 00 01` in `buf`.
    index: usize,
    begin: Begin,
    head_read: bool,
}

/// The unit in progress.
#[derive(Debug, Default)]
struct Current {
    begin: Option<Begin>,
    times: PesTimes,
    rap: bool,
    /// Head of its first slice, once one was read.
    head: Option<SliceHead>,
    /// It has a slice.
    has_picture: bool,
    /// Its second field has come.
    paired: bool,
    /// A slice could not be read, because no parameter sets came yet (an edge) or they were damaged.
    unreadable: Option<HoleCause>,
}

/// Splits an H.264 or H.265 elementary stream into units.
#[derive(Debug)]
pub struct NalUnits {
    buf: Vec<u8>,
    /// Where the search for start codes goes on in `buf`.
    scan: usize,
    /// The last byte of `buf` is the one before the position received.
    pub(super) marks: Marks,
    nal: Option<Nal>,
    boundary: Option<Boundary>,
    current: Current,
    /// Recovery point found behind the boundary.
    next_rap: bool,
    syntax: Syntax,
    strip_filler: bool,
    start_codes: StartCodes,
    out: VecDeque<VideoUnit>,
}

impl NalUnits {
    /// A splitter at the beginning of a reception.
    #[must_use]
    pub fn new(syntax: Syntax, strip_filler: bool) -> Self {
        Self {
            buf: syntax.delimiter().to_vec(),
            scan: syntax.delimiter().len(),
            marks: Marks::default(),
            nal: None,
            boundary: None,
            current: Current::default(),
            next_rap: false,
            syntax,
            strip_filler,
            start_codes: StartCodes::default(),
            out: VecDeque::new(),
        }
    }

    /// Takes elementary bytes in.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.buf.len() + bytes.len() > MAX_UNIT_BYTES {
            self.drop_oversize();
        }
        self.buf.extend_from_slice(bytes);
        self.marks.received += bytes.len() as u64;
        while let Some(found) = self.find_start_code() {
            let (index, zeros) = self.end_nal(found);
            self.begin_nal(index, zeros);
        }
        self.scan = self.scan.max(self.buf.len().saturating_sub(2));
        self.read_head(self.buf.len(), false);
    }

    /// Ends the input: the last unit is never proven whole.
    pub fn finish(&mut self) {
        self.marks.hole(true, HoleCause::Edge);
        let end = self.buf.len();
        self.end_nal(end);
        if self.current.has_picture {
            let begin = Begin { zeros: self.marks.received, code: self.marks.received };
            let end = self.boundary.unwrap_or(Boundary { index: self.buf.len(), begin });
            self.complete(end);
        }
        // What is left has no picture of its own, or is the beginning of one that never came.
        self.current.has_picture = false;
    }

    /// The next finished unit.
    pub fn poll(&mut self) -> Option<VideoUnit> {
        self.out.pop_front()
    }

    /// Position in the received stream of an index in `buf` that lies behind the newest start code.
    fn position(&self, index: usize) -> u64 {
        self.marks.received.saturating_sub((self.buf.len() - index) as u64)
    }

    fn find_start_code(&self) -> Option<usize> {
        self.start_codes.find(&self.buf, self.scan.max(self.floor()))
    }

    /// First index that belongs to received bytes behind the newest start code.
    fn floor(&self) -> usize {
        self.nal.map_or(self.syntax.delimiter().len(), |nal| nal.index + 3)
    }

    /// Ends the NAL unit before the start code at `end`. Returns where that start code lies afterwards, and how many
    /// zero bytes before it were dropped.
    fn end_nal(&mut self, end: usize) -> (usize, u64) {
        let trailing_zeros = |bytes: &[u8]| bytes.iter().rev().take_while(|&&byte| byte == 0).count();
        // Reading the head may complete a unit and move everything to the front.
        let index_before = self.nal.map_or(0, |nal| nal.index);
        self.read_head(end, true);
        let Some(nal) = self.nal.take() else {
            let zeros = trailing_zeros(&self.buf[self.syntax.delimiter().len()..end]);
            return (self.cut(self.syntax.delimiter().len(), end), zeros as u64);
        };
        let end = end - (index_before - nal.index);
        let body = nal.index + 3;
        let zeros = trailing_zeros(&self.buf[body..end]);
        let trimmed = end - zeros;
        let damaged = self.marks.damaged(nal.begin.code, self.position(trimmed));
        let content = &self.buf[body..trimmed];
        let role = self.syntax.role(content);
        match role {
            Some(Role::Set) => self.syntax.take_set(content, damaged),
            Some(Role::Sei) if !damaged && matches!(self.syntax, Syntax::Avc(_)) => {
                self.next_rap |= sei_is_recovery_point(content);
            }
            _ => {}
        }
        let dropped =
            content.is_empty() || role == Some(Role::Delimiter) || (role == Some(Role::Filler) && self.strip_filler);
        (self.cut(if dropped { nal.index } else { trimmed }, end), zeros as u64)
    }

    /// Removes `buf[from..to]`; returns `from`, where the byte that was at `to` now lies.
    fn cut(&mut self, from: usize, to: usize) -> usize {
        if from < to {
            self.buf.copy_within(to.., from);
            self.buf.truncate(self.buf.len() - (to - from));
        }
        from
    }

    fn begin_nal(&mut self, index: usize, zeros: u64) {
        let code = self.position(index);
        let begin = Begin { zeros: code - zeros, code };
        if self.current.begin.is_none() {
            self.current = Current { begin: Some(begin), times: self.marks.times_at(code), ..Current::default() };
        }
        self.nal = Some(Nal { index, begin, head_read: false });
        self.scan = index + 3;
    }

    /// Decides by the first bytes of the NAL unit in progress whether a unit begins at or before it (7.4.1.2.3).
    fn read_head(&mut self, end: usize, complete: bool) {
        let Some(nal) = self.nal.filter(|nal| !nal.head_read) else { return };
        let mut content = &self.buf[nal.index + 3..end];
        // Zeros behind a NAL unit are no part of it, so none of its fields either.
        while let (true, [rest @ .., 0]) = (complete, content) {
            content = rest;
        }
        let (header, head) = self.syntax.needs();
        if content.is_empty() || (content.len() < header && !complete) {
            return;
        }
        match self.syntax.role(content) {
            Some(Role::Slice) if content.len() < head && !complete => return,
            Some(Role::Slice) => {
                let slice = self.syntax.slice(content);
                self.slice(nal, &slice);
            }
            Some(Role::Set | Role::Sei | Role::Delimiter | Role::Opens)
                if self.current.has_picture && self.boundary.is_none() =>
            {
                self.boundary = Some(Boundary { index: nal.index, begin: nal.begin });
            }
            _ => {}
        }
        if let Some(nal) = &mut self.nal {
            nal.head_read = true;
        }
    }

    fn slice(&mut self, nal: Nal, slice: &Slice) {
        if self.current.has_picture {
            let (new, second_field) = match (self.current.head, slice.head) {
                (Some(last), Some(next)) => (last.ends_before(&next), last.pairs_with(&next)),
                _ => (slice.first, false),
            };
            if new && second_field && !self.current.paired {
                self.current.paired = true;
                // The second field's own times are not the next unit's.
                let begin = self.boundary.map_or(nal.begin, |boundary| boundary.begin);
                self.marks.times_at(begin.code);
            } else if new {
                self.complete(self.boundary.unwrap_or(Boundary { index: nal.index, begin: nal.begin }));
            }
        }
        self.boundary = None;
        self.current.has_picture = true;
        self.current.head = slice.head;
        if !slice.readable {
            let cause = if self.syntax.were_sets_seen() { HoleCause::Loss } else { HoleCause::Edge };
            self.current.unreadable = Some(cause);
        }
        self.current.rap |= slice.rap || std::mem::take(&mut self.next_rap);
    }

    /// Hands out the unit that ends at `end` and begins the next one there.
    fn complete(&mut self, end: Boundary) {
        // Copied out at its very size: the buffer need not grow again for each unit, and units waste nothing.
        let data = self.buf[..end.index].to_vec();
        let moved = end.index - self.syntax.delimiter().len();
        self.cut(self.syntax.delimiter().len(), end.index);
        if let Some(nal) = &mut self.nal {
            nal.index -= moved;
        }
        self.scan = self.scan.saturating_sub(moved).max(self.syntax.delimiter().len());
        self.boundary = None;

        let next = Current { begin: Some(end.begin), times: self.marks.times_at(end.begin.code), ..Current::default() };
        let unit = std::mem::replace(&mut self.current, next);
        let begin = unit.begin.unwrap_or(end.begin);
        let judged = self.marks.judge(begin, end.begin);
        self.out.push_back(VideoUnit {
            times: unit.times,
            data,
            rap: unit.rap,
            dirty: judged.dirty.max(unit.unreadable),
            headless: judged.headless,
            after_hole: judged.after_hole,
        });
    }

    /// A unit beyond all bounds is no unit: its bytes go, the hole stays.
    fn drop_oversize(&mut self) {
        self.buf.truncate(self.syntax.delimiter().len());
        self.scan = self.syntax.delimiter().len();
        self.nal = None;
        self.boundary = None;
        self.marks.hole(false, HoleCause::Loss);
    }
}
