//! Video units of an H.264 elementary stream: split, normalised, timed, judged whole or damaged (CCF 5, 6).
//!
//! Bytes are copied once, from the packet into the unit. Start codes are found as payloads arrive and normalised in
//! place: what must move is at most the tail of one payload.
//!
//! ```text
//! unit: 00 00 00 01 09 F0 | 00 00 01 nal | 00 00 01 nal | ... | 00 00 01 nal of the next unit
//!       fixed delimiter                     boundary: where the next unit begins, if its slice says so
//! ```

use std::collections::VecDeque;

use super::avc::{ParameterSets, SLICE_HEAD_BYTES, SliceHead, sei_is_recovery_point};
use super::pes::PesTimes;
use crate::limits::{MAX_STREAM_MARKS, MAX_UNIT_BYTES};

/// The access unit delimiter that opens every unit.
const DELIMITER: [u8; 6] = [0, 0, 0, 1, 9, 0xF0];
/// Room given to a new unit: most pictures fit, and few waste much.
const UNIT_BYTES_HINT: usize = 24 * 1024;

/// Why bytes are missing or cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HoleCause {
    /// The reception begins or ends here.
    Edge,
    /// Lost.
    Loss,
    /// Scrambled.
    Scrambled,
}

/// A coded picture as received.
#[derive(Debug, Clone, PartialEq)]
pub struct VideoUnit {
    /// Times of the PES packet in which the unit begins; none for later units of a packet.
    pub times: PesTimes,
    /// Normalised elementary bytes.
    pub data: Vec<u8>,
    /// A decoder can begin here.
    pub rap: bool,
    /// Bytes are missing inside or at the end.
    pub dirty: Option<HoleCause>,
    /// Bytes are missing at its very beginning too: not even its times are its own.
    pub headless: bool,
    /// Whole units may be missing before it.
    pub after_hole: Option<HoleCause>,
}

#[derive(Debug, Clone, Copy)]
struct Hole {
    at: u64,
    at_pes_start: bool,
    cause: HoleCause,
}

/// Where a unit begins in the received elementary stream: its first zero byte and its `00 00 01`.
#[derive(Debug, Clone, Copy)]
struct Begin {
    zeros: u64,
    code: u64,
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

/// Splits an H.264 elementary stream into units.
#[derive(Debug)]
pub struct AvcUnits {
    buf: Vec<u8>,
    /// Where the search for start codes goes on in `buf`.
    scan: usize,
    /// Elementary bytes received; the last byte of `buf` is the one before this position.
    received: u64,
    nal: Option<Nal>,
    boundary: Option<Boundary>,
    current: Current,
    /// Recovery point found behind the boundary.
    next_rap: bool,
    sets: ParameterSets,
    holes: VecDeque<Hole>,
    packets: VecDeque<(u64, PesTimes)>,
    strip_filler: bool,
    out: VecDeque<VideoUnit>,
}

impl AvcUnits {
    /// A splitter at the beginning of a reception.
    #[must_use]
    pub fn new(strip_filler: bool) -> Self {
        Self {
            buf: DELIMITER.to_vec(),
            scan: DELIMITER.len(),
            received: 0,
            nal: None,
            boundary: None,
            current: Current::default(),
            next_rap: false,
            sets: ParameterSets::default(),
            holes: VecDeque::from([Hole { at: 0, at_pes_start: true, cause: HoleCause::Edge }]),
            packets: VecDeque::new(),
            strip_filler,
            out: VecDeque::new(),
        }
    }

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

    /// Takes elementary bytes in.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.buf.len() + bytes.len() > MAX_UNIT_BYTES {
            self.drop_oversize();
        }
        self.buf.extend_from_slice(bytes);
        self.received += bytes.len() as u64;
        while let Some(found) = self.find_start_code() {
            let (index, zeros) = self.end_nal(found);
            self.begin_nal(index, zeros);
        }
        self.scan = self.scan.max(self.buf.len().saturating_sub(2));
        self.read_head(self.buf.len(), false);
    }

    /// Ends the input: the last unit is never proven whole.
    pub fn finish(&mut self) {
        self.hole(true, HoleCause::Edge);
        let end = self.buf.len();
        self.end_nal(end);
        if self.current.has_picture {
            let begin = Begin { zeros: self.received, code: self.received };
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
        self.received.saturating_sub((self.buf.len() - index) as u64)
    }

    fn find_start_code(&self) -> Option<usize> {
        // A one is rarer in coded data than a zero, so it is looked for first.
        let mut at = self.scan;
        loop {
            let one = at + memchr::memchr(1, self.buf.get(at..)?)?;
            if one >= 2 && one - 2 >= self.floor() && self.buf[one - 1] == 0 && self.buf[one - 2] == 0 {
                return Some(one - 2);
            }
            at = one + 1;
        }
    }

    /// First index that belongs to received bytes behind the newest start code.
    fn floor(&self) -> usize {
        self.nal.map_or(DELIMITER.len(), |nal| nal.index + 3)
    }

    /// Ends the NAL unit before the start code at `end`. Returns where that start code lies afterwards, and how many
    /// zero bytes before it were dropped.
    fn end_nal(&mut self, end: usize) -> (usize, u64) {
        let trailing_zeros = |bytes: &[u8]| bytes.iter().rev().take_while(|&&byte| byte == 0).count();
        // Reading the head may complete a unit and move everything to the front.
        let index_before = self.nal.map_or(0, |nal| nal.index);
        self.read_head(end, true);
        let Some(nal) = self.nal.take() else {
            let zeros = trailing_zeros(&self.buf[DELIMITER.len()..end]);
            return (self.cut(DELIMITER.len(), end), zeros as u64);
        };
        let end = end - (index_before - nal.index);
        let body = nal.index + 3;
        let zeros = trailing_zeros(&self.buf[body..end]);
        let trimmed = end - zeros;
        let damaged = self.damaged(nal.begin.code, self.position(trimmed));
        let content = &self.buf[body..trimmed];
        let kind = content.first().map(|byte| byte & 0x1F);
        match kind {
            Some(7 | 8) if damaged => self.sets.clear(),
            Some(7) => self.sets.take_sps(content),
            Some(8) => self.sets.take_pps(content),
            Some(6) if !damaged && sei_is_recovery_point(content) => self.next_rap = true,
            _ => {}
        }
        let dropped = kind.is_none() || kind == Some(9) || (kind == Some(12) && self.strip_filler);
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

    fn damaged(&self, from: u64, to: u64) -> bool {
        self.holes.iter().any(|hole| hole.at > from && hole.at <= to)
    }

    fn begin_nal(&mut self, index: usize, zeros: u64) {
        let code = self.position(index);
        let begin = Begin { zeros: code - zeros, code };
        if self.current.begin.is_none() {
            self.current = Current { begin: Some(begin), times: self.times_at(code), ..Current::default() };
        }
        self.nal = Some(Nal { index, begin, head_read: false });
        self.scan = index + 3;
    }

    /// Times of the PES packet that holds the position, unless an earlier unit had them.
    fn times_at(&mut self, code: u64) -> PesTimes {
        let mut times = PesTimes::default();
        while let Some((_, latest)) = self.packets.pop_front_if(|(at, _)| *at <= code) {
            times = latest;
        }
        times
    }

    /// Decides by the first bytes of the NAL unit in progress whether a unit begins at or before it (7.4.1.2.3).
    fn read_head(&mut self, end: usize, complete: bool) {
        let Some(nal) = self.nal.filter(|nal| !nal.head_read) else { return };
        let content = &self.buf[nal.index + 3..end];
        let Some(&header) = content.first() else { return };
        match header & 0x1F {
            1 | 2 | 5 if content.len() < SLICE_HEAD_BYTES && !complete => return,
            1 | 2 | 5 => {
                let head = self.sets.slice_head(content);
                let first_macroblock = content.get(1).is_some_and(|byte| byte & 0x80 != 0);
                self.slice(nal, head, first_macroblock, header & 0x1F == 5);
            }
            6..=9 | 14..=18 if self.current.has_picture && self.boundary.is_none() => {
                self.boundary = Some(Boundary { index: nal.index, begin: nal.begin });
            }
            _ => {}
        }
        if let Some(nal) = &mut self.nal {
            nal.head_read = true;
        }
    }

    fn slice(&mut self, nal: Nal, head: Option<SliceHead>, first_macroblock: bool, idr: bool) {
        if self.current.has_picture {
            let (new, second_field) = match (self.current.head, head) {
                (Some(last), Some(next)) => (last.ends_before(&next), last.pairs_with(&next)),
                _ => (first_macroblock, false),
            };
            if new && second_field && !self.current.paired {
                self.current.paired = true;
            } else if new {
                self.complete(self.boundary.unwrap_or(Boundary { index: nal.index, begin: nal.begin }));
            }
        }
        self.boundary = None;
        self.current.has_picture = true;
        self.current.head = head;
        if head.is_none() {
            self.current.unreadable = Some(if self.sets.were_seen() { HoleCause::Loss } else { HoleCause::Edge });
        }
        self.current.rap |= idr || std::mem::take(&mut self.next_rap);
    }

    /// Hands out the unit that ends at `end` and begins the next one there.
    fn complete(&mut self, end: Boundary) {
        let mut rest = Vec::with_capacity(DELIMITER.len() + self.buf.len() - end.index + UNIT_BYTES_HINT);
        rest.extend_from_slice(&DELIMITER);
        rest.extend_from_slice(&self.buf[end.index..]);
        let mut data = std::mem::replace(&mut self.buf, rest);
        data.truncate(end.index);
        let moved = end.index - DELIMITER.len();
        if let Some(nal) = &mut self.nal {
            nal.index -= moved;
        }
        self.scan = self.scan.saturating_sub(moved).max(DELIMITER.len());
        self.boundary = None;

        let next = Current { begin: Some(end.begin), times: self.times_at(end.begin.code), ..Current::default() };
        let unit = std::mem::replace(&mut self.current, next);
        let begin = unit.begin.unwrap_or(end.begin);
        let mut judged = VideoUnit {
            times: unit.times,
            data,
            rap: unit.rap,
            dirty: unit.unreadable,
            headless: false,
            after_hole: None,
        };
        for hole in self.holes.iter().filter(|hole| hole.at >= begin.zeros && hole.at <= end.begin.code) {
            let at_begin = hole.at <= begin.code;
            if at_begin && hole.at_pes_start {
                judged.after_hole = judged.after_hole.max(Some(hole.cause));
            } else {
                judged.headless |= at_begin;
                judged.dirty = judged.dirty.max(Some(hole.cause));
            }
        }
        while self.holes.pop_front_if(|hole| hole.at < end.begin.zeros).is_some() {}
        self.out.push_back(judged);
    }

    /// A unit beyond all bounds is no unit: its bytes go, the hole stays.
    fn drop_oversize(&mut self) {
        self.buf.truncate(DELIMITER.len());
        self.scan = DELIMITER.len();
        self.nal = None;
        self.boundary = None;
        self.hole(false, HoleCause::Loss);
    }
}
