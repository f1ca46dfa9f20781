//! Video units of an elementary stream, of whatever codec: split, timed, judged whole or damaged (CCF 5, 6).

use super::mpeg2::Mpeg2Units;
use super::nal::{NalUnits, Syntax};
use super::pes::PesTimes;

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

/// Splits a video elementary stream into units.
#[derive(Debug)]
pub enum VideoUnits {
    /// H.264 or H.265.
    Nal(NalUnits),
    /// H.262.
    Mpeg2(Mpeg2Units),
}

impl VideoUnits {
    /// A splitter of H.264 at the beginning of a reception; filler NAL units may be dropped.
    #[must_use]
    pub fn avc(strip_filler: bool) -> Self {
        Self::Nal(NalUnits::new(Syntax::avc(), strip_filler))
    }

    /// The same of H.265.
    #[must_use]
    pub fn hevc(strip_filler: bool) -> Self {
        Self::Nal(NalUnits::new(Syntax::hevc(), strip_filler))
    }

    /// A splitter of H.262 at the beginning of a reception.
    #[must_use]
    pub fn mpeg2() -> Self {
        Self::Mpeg2(Mpeg2Units::default())
    }

    /// Bytes are missing here; `at_pes_start` where a PES packet begins with the next byte.
    pub fn hole(&mut self, at_pes_start: bool, cause: HoleCause) {
        match self {
            Self::Nal(units) => units.marks.hole(at_pes_start, cause),
            Self::Mpeg2(units) => units.marks.hole(at_pes_start, cause),
        }
    }

    /// A PES packet begins here.
    pub fn pes_start(&mut self, times: PesTimes) {
        match self {
            Self::Nal(units) => units.marks.pes_start(times),
            Self::Mpeg2(units) => units.marks.pes_start(times),
        }
    }

    /// Takes elementary bytes in.
    pub fn push(&mut self, bytes: &[u8]) {
        match self {
            Self::Nal(units) => units.push(bytes),
            Self::Mpeg2(units) => units.push(bytes),
        }
    }

    /// Ends the input: the last unit is never proven whole.
    pub fn finish(&mut self) {
        match self {
            Self::Nal(units) => units.finish(),
            Self::Mpeg2(units) => units.finish(),
        }
    }

    /// The next finished unit.
    pub fn poll(&mut self) -> Option<VideoUnit> {
        match self {
            Self::Nal(units) => units.poll(),
            Self::Mpeg2(units) => units.poll(),
        }
    }
}
