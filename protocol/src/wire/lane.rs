//! Headers of a chunk lane, `/aftercast/chunk/1`: a bidirectional stream that carries one request after another.
//!
//! ```text
//! asker                                     holder
//!   u16 length, LaneRequest  ->
//!                                        <- u16 length, LaneAnswer
//!                                        <- group bytes, in order, nothing between them
//!   u16 length, LaneRequest  ->             (the next one, on the same stream)
//! ```
//!
//! Lengths are big endian. The groups that follow an answer are those of its ranges; the chunk's length, which the
//! answer states, gives the length of each. Resetting the stream cancels. Both headers have a version and numbered
//! fields: a later version adds fields that this one skips, and raises the version only to change meaning.
//!
//! Repair asks for less than groups: for the unit index of a chunk, and for the packets of single units. These prove
//! themselves by the index and, in the end, by the chunk's id ([`crate::ccf::Repair`]), not on arrival.

use std::ops::Range;

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use crate::grant::AccessDenied;
use crate::ids::{ChunkCid, RequestId};
use crate::limits::{
    GROUP_BYTES, MAX_ANSWER_RANGES, MAX_CHUNK_BYTES, MAX_CHUNK_GROUPS, MAX_LANE_ANSWER_BYTES, MAX_LANE_REQUEST_BYTES,
    MAX_PART_BYTES, MAX_PART_RANGES,
};
use crate::serve::{Class, Refusal};
use crate::time::Pts33;
use crate::verify::{GroupRange, groups_of_len};

/// Version of both headers.
pub const LANE_VERSION: u32 = 1;

/// Asks for groups of a chunk, or for what repair needs of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneRequest {
    /// Number of the request, chosen by the asker; the answer repeats it.
    pub id: RequestId,
    /// The chunk.
    pub cid: ChunkCid,
    /// What of it.
    pub what: What,
    /// Milliseconds from now after which the bytes are of no use; the holder then need not begin.
    pub deadline_ms: u32,
    /// What for.
    pub class: Class,
}

/// What of a chunk is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Groups.
    Groups {
        /// Which. May reach beyond the end of a chunk whose length the asker does not know.
        range: GroupRange,
        /// Whether the list of group hashes is wanted too.
        want_hashes: bool,
    },
    /// A part that does not prove itself on arrival.
    Part(Part),
}

/// What repair asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The unit index (CCF 20), with times counted from this PTS: the chunk's own.
    Index(Pts33),
    /// Bytes: at most [`MAX_PART_RANGES`] ranges in order, not touching, none empty, of at most [`MAX_PART_BYTES`]
    /// together. They follow the answer without anything between them.
    Bytes(Vec<ByteRange>),
}

/// Bytes of a chunk, from `start` up to and without `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct ByteRange {
    /// First byte.
    #[n(0)]
    pub start: u32,
    /// The byte after the last.
    #[n(1)]
    pub end: u32,
}

impl ByteRange {
    /// How many bytes.
    #[must_use]
    pub fn len(self) -> u32 {
        self.end.saturating_sub(self.start)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Distributes ranges, which are in order and apart, over as few requests as their bounds allow. A range that is
    /// longer than an answer goes over several.
    #[must_use]
    pub fn requests(ranges: &[Range<u64>]) -> Vec<Vec<Self>> {
        let mut requests: Vec<Vec<Self>> = Vec::new();
        let mut room = 0;
        for range in ranges {
            // Beyond a chunk's length there is nothing to ask for.
            let [mut start, end] = [range.start, range.end].map(|at| at.min(MAX_CHUNK_BYTES as u64) as u32);
            while start < end {
                if room == 0 || requests.last().is_none_or(|last| last.len() == MAX_PART_RANGES) {
                    requests.push(Vec::new());
                    room = MAX_PART_BYTES as u32;
                }
                let stop = end.min(start + room);
                requests.last_mut().expect("one was just pushed").push(Self { start, end: stop });
                room -= stop - start;
                start = stop;
            }
        }
        requests
    }
}

/// Answers a [`LaneRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneAnswer {
    /// The request's number.
    pub id: RequestId,
    /// What becomes of it.
    pub status: LaneStatus,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaneStatus {
    /// All groups asked for (that the chunk has) follow.
    Ok(Described),
    /// Only these groups of those asked for follow: in order, not touching, none empty, at most
    /// [`MAX_ANSWER_RANGES`].
    Partial(Described, Vec<GroupRange>),
    /// The [`Part`] asked for follows.
    Part {
        /// Its length in bytes: of an index at most [`MAX_PART_BYTES`], of ranges their sum.
        len: u32,
    },
    /// Nothing of it is held here.
    NotFound,
    /// Not for this asker, or not now; asking again does not help soon.
    Refused(LaneRefusal),
    /// Too much is waiting here.
    Busy {
        /// Milliseconds until it is worth asking again.
        retry_after_ms: u32,
    },
}

/// What the holder says of the chunk. Nothing of it is proven until the hashes are checked against the CID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// The chunk's length in bytes; a length that a chunk can have.
    pub len: u64,
    /// The list of group hashes if asked for, 32 bytes each: as many as a chunk of that length has groups.
    pub hashes: Option<Vec<u8>>,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, thiserror::Error)]
#[cbor(index_only)]
pub enum LaneRefusal {
    /// The asker has not shown a certificate of this broadcaster.
    #[n(0)]
    #[error("device is not enrolled")]
    NotEnrolled,
    /// No grant of the asker's names this chunk.
    #[n(1)]
    #[error("no grant for this chunk")]
    NoGrant,
    /// The grant or certificate lapsed.
    #[n(2)]
    #[error("grant or certificate has expired")]
    Expired,
    /// The grant or certificate is of a revoked epoch.
    #[n(3)]
    #[error("revoked by the broadcaster")]
    Revoked,
    /// The grant or certificate is somebody else's, or nobody's.
    #[n(4)]
    #[error("grant or certificate is not genuine")]
    Forged,
    /// The holder's line is metered.
    #[n(5)]
    #[error("the line is metered")]
    Metered,
    /// The holder's user has paused sharing.
    #[n(6)]
    #[error("sharing is paused")]
    Paused,
    /// The holder's budget is used up.
    #[n(7)]
    #[error("the budget is used up")]
    Budget,
    /// The request makes no sense.
    #[n(8)]
    #[error("malformed request")]
    Malformed,
}

impl LaneRefusal {
    /// All reasons, for counters.
    pub const ALL: [Self; 9] = [
        Self::NotEnrolled,
        Self::NoGrant,
        Self::Expired,
        Self::Revoked,
        Self::Forged,
        Self::Metered,
        Self::Paused,
        Self::Budget,
        Self::Malformed,
    ];
}

impl From<AccessDenied> for LaneRefusal {
    fn from(denied: AccessDenied) -> Self {
        match denied {
            AccessDenied::NotEnrolled => Self::NotEnrolled,
            AccessDenied::NoGrant => Self::NoGrant,
            AccessDenied::Expired => Self::Expired,
            AccessDenied::Revoked => Self::Revoked,
            AccessDenied::OtherDevice | AccessDenied::Forged => Self::Forged,
        }
    }
}

impl From<Refusal> for LaneStatus {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Busy { retry_after } => {
                Self::Busy { retry_after_ms: u32::try_from(retry_after.0 / 1000).unwrap_or(u32::MAX) }
            }
            Refusal::Metered => Self::Refused(LaneRefusal::Metered),
            Refusal::Paused => Self::Refused(LaneRefusal::Paused),
            Refusal::Budget(_) => Self::Refused(LaneRefusal::Budget),
            Refusal::Size(_) | Refusal::Duplicate => Self::Refused(LaneRefusal::Malformed),
        }
    }
}

/// A header that breaks the rules. Its sender is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LaneWireError {
    /// Longer than a header may be.
    #[error("lane header of {0} bytes")]
    TooLarge(usize),
    /// Of a version with another meaning.
    #[error("lane version {0} is not spoken here")]
    Version(u32),
    /// Not readable.
    #[error("malformed lane header: {0}")]
    Malformed(String),
    /// Readable, but no chunk or answer is like that.
    #[error("impossible lane header: {0}")]
    Impossible(&'static str),
}

/// What came of several requests for bytes, in whole stretches with the place of their first byte: a range may have
/// taken more than one request. Answers have the lengths that were asked for.
#[must_use]
pub fn stretches(parts: &[(Vec<ByteRange>, Vec<u8>)]) -> Vec<(u64, Vec<u8>)> {
    let mut stretches: Vec<(u64, Vec<u8>)> = Vec::new();
    for (ranges, bytes) in parts {
        let mut rest = bytes.as_slice();
        for range in ranges {
            let (piece, after) = rest.split_at_checked(range.len() as usize).unwrap_or((rest, &[]));
            rest = after;
            let start = u64::from(range.start);
            match stretches.last_mut().filter(|(at, known)| at + known.len() as u64 == start) {
                Some((_, known)) => known.extend_from_slice(piece),
                None => stretches.push((start, piece.to_vec())),
            }
        }
    }
    stretches
}

/// [`LaneRequest`] as it travels.
#[derive(Encode, Decode)]
struct RequestV1 {
    #[n(0)]
    version: u32,
    #[n(1)]
    id: RequestId,
    #[n(2)]
    cid: ChunkCid,
    #[n(3)]
    groups: GroupRange,
    #[n(4)]
    deadline_ms: u32,
    #[n(5)]
    class: Class,
    #[n(6)]
    want_hashes: bool,
    /// With it `groups` is empty, which a holder that does not know parts refuses.
    #[n(7)]
    part: Option<PartV1>,
}

#[derive(Encode, Decode)]
enum PartV1 {
    #[n(0)]
    Index(#[n(0)] Pts33),
    #[n(1)]
    Bytes(#[n(0)] Vec<ByteRange>),
}

/// [`LaneAnswer`] as it travels.
#[derive(Encode, Decode)]
struct AnswerV1 {
    #[n(0)]
    version: u32,
    #[n(1)]
    id: RequestId,
    #[n(2)]
    status: StatusV1,
}

#[derive(Encode, Decode)]
enum StatusV1 {
    #[n(0)]
    Ok {
        #[n(0)]
        len: u64,
        #[n(1)]
        hashes: Option<ByteVec>,
    },
    #[n(1)]
    NotFound,
    #[n(2)]
    Refused {
        #[n(0)]
        reason: LaneRefusal,
    },
    #[n(3)]
    Busy {
        #[n(0)]
        retry_after_ms: u32,
    },
    #[n(4)]
    Partial {
        #[n(0)]
        len: u64,
        #[n(1)]
        hashes: Option<ByteVec>,
        #[n(2)]
        ranges: Vec<GroupRange>,
    },
    #[n(5)]
    Part {
        #[n(0)]
        len: u32,
    },
}

fn malformed(error: &minicbor::decode::Error) -> LaneWireError {
    LaneWireError::Malformed(error.to_string())
}

/// Reads the version before anything else: later ones may not have the shape of this one.
fn check_version(header: &[u8]) -> Result<(), LaneWireError> {
    let mut decoder = minicbor::Decoder::new(header);
    decoder.array().map_err(|e| malformed(&e))?;
    match decoder.u32().map_err(|e| malformed(&e))? {
        LANE_VERSION => Ok(()),
        other => Err(LaneWireError::Version(other)),
    }
}

/// A header with its length in front. Headers have fixed bounds far below 64 KiB.
fn framed(header: &[u8]) -> Vec<u8> {
    let len = u16::try_from(header.len()).expect("a lane header is at most MAX_LANE_ANSWER_BYTES long");
    [&len.to_be_bytes(), header].concat()
}

impl LaneRequest {
    /// The header's bytes, its length included.
    #[must_use]
    pub fn to_frame(&self) -> Vec<u8> {
        let Self { id, cid, what, deadline_ms, class } = self.clone();
        let (groups, want_hashes, part) = match what {
            What::Groups { range, want_hashes } => (range, want_hashes, None),
            What::Part(Part::Index(from)) => (GroupRange::new(0, 0), false, Some(PartV1::Index(from))),
            What::Part(Part::Bytes(ranges)) => (GroupRange::new(0, 0), false, Some(PartV1::Bytes(ranges))),
        };
        let wire = RequestV1 { version: LANE_VERSION, id, cid, groups, deadline_ms, class, want_hashes, part };
        framed(&minicbor::to_vec(wire).expect("encoding into memory does not fail"))
    }

    /// Reads a header, without its length.
    ///
    /// # Errors
    /// When it breaks the rules; see [`LaneWireError`].
    pub fn from_header(header: &[u8]) -> Result<Self, LaneWireError> {
        if header.len() > MAX_LANE_REQUEST_BYTES {
            return Err(LaneWireError::TooLarge(header.len()));
        }
        check_version(header)?;
        let wire: RequestV1 = minicbor::decode(header).map_err(|e| malformed(&e))?;
        let RequestV1 { version: _, id, cid, groups, deadline_ms, class, want_hashes, part } = wire;
        let what = match part {
            Some(_) if !groups.is_empty() => return Err(LaneWireError::Impossible("groups and a part at once")),
            Some(PartV1::Index(from)) => What::Part(Part::Index(from)),
            Some(PartV1::Bytes(ranges)) => {
                check_ranges(&ranges)?;
                What::Part(Part::Bytes(ranges))
            }
            None if groups.is_empty() || groups.end as usize > MAX_CHUNK_GROUPS => {
                return Err(LaneWireError::Impossible("a range that no chunk has"));
            }
            None => What::Groups { range: groups, want_hashes },
        };
        Ok(Self { id, cid, what, deadline_ms, class })
    }
}

fn check_ranges(ranges: &[ByteRange]) -> Result<(), LaneWireError> {
    let sane = |range: &ByteRange| !range.is_empty() && range.end as usize <= MAX_CHUNK_BYTES;
    let apart = ranges.windows(2).all(|pair| pair[0].end < pair[1].start);
    let bytes: usize = ranges.iter().map(|range| range.len() as usize).sum();
    let few = (1..=MAX_PART_RANGES).contains(&ranges.len()) && bytes <= MAX_PART_BYTES;
    if few && apart && ranges.iter().all(sane) { Ok(()) } else { Err(LaneWireError::Impossible("byte ranges")) }
}

impl LaneAnswer {
    /// The header's bytes, its length included.
    ///
    /// # Errors
    /// When our own answer breaks a bound.
    pub fn to_frame(&self) -> Result<Vec<u8>, LaneWireError> {
        self.check()?;
        let bytes = |described: &Described| described.hashes.clone().map(ByteVec::from);
        let status = match &self.status {
            LaneStatus::Ok(d) => StatusV1::Ok { len: d.len, hashes: bytes(d) },
            LaneStatus::Partial(d, ranges) => {
                StatusV1::Partial { len: d.len, hashes: bytes(d), ranges: ranges.clone() }
            }
            LaneStatus::Part { len } => StatusV1::Part { len: *len },
            LaneStatus::NotFound => StatusV1::NotFound,
            LaneStatus::Refused(reason) => StatusV1::Refused { reason: *reason },
            LaneStatus::Busy { retry_after_ms } => StatusV1::Busy { retry_after_ms: *retry_after_ms },
        };
        let wire = AnswerV1 { version: LANE_VERSION, id: self.id, status };
        let header = minicbor::to_vec(wire).map_err(|e| LaneWireError::Malformed(e.to_string()))?;
        if header.len() > MAX_LANE_ANSWER_BYTES {
            return Err(LaneWireError::TooLarge(header.len()));
        }
        Ok(framed(&header))
    }

    /// Reads a header, without its length.
    ///
    /// # Errors
    /// When it breaks the rules; see [`LaneWireError`].
    pub fn from_header(header: &[u8]) -> Result<Self, LaneWireError> {
        if header.len() > MAX_LANE_ANSWER_BYTES {
            return Err(LaneWireError::TooLarge(header.len()));
        }
        check_version(header)?;
        let AnswerV1 { version: _, id, status } = minicbor::decode(header).map_err(|e| malformed(&e))?;
        let described = |len, hashes: Option<ByteVec>| Described { len, hashes: hashes.map(Vec::from) };
        let status = match status {
            StatusV1::Ok { len, hashes } => LaneStatus::Ok(described(len, hashes)),
            StatusV1::Partial { len, hashes, ranges } => LaneStatus::Partial(described(len, hashes), ranges),
            StatusV1::Part { len } => LaneStatus::Part { len },
            StatusV1::NotFound => LaneStatus::NotFound,
            StatusV1::Refused { reason } => LaneStatus::Refused(reason),
            StatusV1::Busy { retry_after_ms } => LaneStatus::Busy { retry_after_ms },
        };
        let answer = Self { id, status };
        answer.check()?;
        Ok(answer)
    }

    fn check(&self) -> Result<(), LaneWireError> {
        let (described, ranges) = match &self.status {
            LaneStatus::Ok(described) => (described, &[][..]),
            LaneStatus::Partial(described, ranges) if !ranges.is_empty() => (described, ranges.as_slice()),
            LaneStatus::Partial(..) => return Err(LaneWireError::Impossible("a part of nothing")),
            LaneStatus::Part { len } if *len as usize > MAX_PART_BYTES => {
                return Err(LaneWireError::Impossible("a part longer than any"));
            }
            _ => return Ok(()),
        };
        let groups = groups_of_len(described.len).ok_or(LaneWireError::Impossible("a length that no chunk has"))?;
        if described.hashes.as_ref().is_some_and(|hashes| hashes.len() != 32 * groups as usize) {
            return Err(LaneWireError::Impossible("not one hash per group"));
        }
        if ranges.len() > MAX_ANSWER_RANGES {
            return Err(LaneWireError::Impossible("too many ranges"));
        }
        let whole = ranges.iter().all(|range| !range.is_empty() && range.end <= groups);
        let apart = ranges.windows(2).all(|pair| pair[0].end < pair[1].start);
        if whole && apart { Ok(()) } else { Err(LaneWireError::Impossible("ranges out of order or bounds")) }
    }
}

// A whole list of hashes, the ranges and the fixed fields fit, and so does the length in 16 bits.
const _: () = assert!(
    32 * MAX_CHUNK_GROUPS + 12 * MAX_ANSWER_RANGES + 64 <= MAX_LANE_ANSWER_BYTES
        && 11 * MAX_PART_RANGES + 128 <= MAX_LANE_REQUEST_BYTES
        && MAX_LANE_ANSWER_BYTES <= u16::MAX as usize
        && MAX_LANE_REQUEST_BYTES <= GROUP_BYTES
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::Micros;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn request() -> LaneRequest {
        LaneRequest {
            id: RequestId(7),
            cid: ChunkCid([0xab; 32]),
            what: What::Groups { range: GroupRange::new(3, 300), want_hashes: true },
            deadline_ms: 1500,
            class: Class::Repair,
        }
    }

    fn part(part: Part) -> LaneRequest {
        LaneRequest { what: What::Part(part), ..request() }
    }

    fn answer(status: LaneStatus) -> LaneAnswer {
        LaneAnswer { id: RequestId(7), status }
    }

    #[test]
    fn version_1_of_a_request_is_these_bytes() {
        let golden = format!("002f8701075820{}820319012c1905dc02f5", "ab".repeat(32));
        assert_eq!(hex(&request().to_frame()), golden);
    }

    #[test]
    fn version_1_of_requests_for_parts_is_these_bytes() {
        let ranges = vec![ByteRange { start: 188, end: 376 }, ByteRange { start: 65_536, end: 65_724 }];
        for (what, golden) in [
            (Part::Index(Pts33(90_000)), "00358801075820CID8200001905dc02f48200811a00015f90"),
            (Part::Bytes(ranges), "00428801075820CID8200001905dc02f4820181828218bc190178821a000100001a000100bc"),
        ] {
            let frame = part(what.clone()).to_frame();
            assert_eq!(hex(&frame), golden.replace("CID", &"ab".repeat(32)), "{what:?}");
            assert_eq!(LaneRequest::from_header(&frame[2..]), Ok(part(what)));
        }
    }

    #[test]
    fn version_1_of_the_answers_is_these_bytes() {
        let described = |hashes| Described { len: 65_537, hashes };
        let partial = LaneStatus::Partial(described(None), vec![GroupRange::new(1, 2)]);
        for (status, golden) in [
            (LaneStatus::Ok(described(None)), "000b8301078200811a00010001".to_owned()),
            (
                LaneStatus::Ok(described(Some(vec![9; 64]))),
                format!("004d8301078200821a000100015840{}", "09".repeat(64)),
            ),
            (partial, "00108301078204831a00010001f681820102".to_owned()),
            (LaneStatus::Part { len: 40_000 }, "0009830107820581199c40".to_owned()),
            (LaneStatus::NotFound, "0006830107820180".to_owned()),
            (LaneStatus::Refused(LaneRefusal::NoGrant), "000783010782028101".to_owned()),
            (LaneStatus::Busy { retry_after_ms: 250 }, "000883010782038118fa".to_owned()),
        ] {
            let frame = answer(status.clone()).to_frame().unwrap();
            assert_eq!(hex(&frame), golden, "{status:?}");
            assert_eq!(LaneAnswer::from_header(&frame[2..]).unwrap().status, status);
        }
    }

    #[test]
    fn refuses_another_version_whatever_follows() {
        let mut header = request().to_frame().split_off(2);
        header[1] = 2;
        assert_eq!(LaneRequest::from_header(&header), Err(LaneWireError::Version(2)));
    }

    #[test]
    fn skips_fields_of_later_minor_changes() {
        let mut header = request().to_frame().split_off(2);
        // With the field of parts, which nobody asks for here, and one more.
        header[0] = 0x89;
        header.extend([0xf6, 0x05]);
        assert_eq!(LaneRequest::from_header(&header), Ok(request()));
    }

    #[test]
    fn refuses_ranges_that_no_chunk_has() {
        for groups in [GroupRange::new(5, 5), GroupRange::new(6, 5), GroupRange::new(0, MAX_CHUNK_GROUPS as u32 + 1)] {
            let what = What::Groups { range: groups, want_hashes: false };
            let header = LaneRequest { what, ..request() }.to_frame().split_off(2);
            assert!(matches!(LaneRequest::from_header(&header), Err(LaneWireError::Impossible(_))), "{groups}");
        }
    }

    #[test]
    fn refuses_parts_that_no_repair_needs() {
        let range = |start, end| ByteRange { start, end };
        let many = (0..=MAX_PART_RANGES as u32).map(|n| range(2 * n, 2 * n + 1)).collect();
        for ranges in [
            vec![],
            vec![range(5, 5)],
            vec![range(6, 5)],
            vec![range(0, 5), range(5, 6)],
            vec![range(8, 9), range(0, 1)],
            vec![range(MAX_CHUNK_BYTES as u32 - 1, MAX_CHUNK_BYTES as u32 + 1)],
            vec![range(0, MAX_PART_BYTES as u32 + 1)],
            many,
        ] {
            let header = part(Part::Bytes(ranges.clone())).to_frame().split_off(2);
            assert!(LaneRequest::from_header(&header).is_err(), "{ranges:?}");
        }
        let long = answer(LaneStatus::Part { len: MAX_PART_BYTES as u32 + 1 });
        assert!(matches!(long.to_frame(), Err(LaneWireError::Impossible(_))));
    }

    #[test]
    fn ranges_are_asked_for_in_requests_within_bounds() {
        let most = MAX_PART_BYTES as u64;
        let few = vec![10..20, 30..40];
        assert_eq!(ByteRange::requests(&few), [[ByteRange { start: 10, end: 20 }, ByteRange { start: 30, end: 40 }]]);
        let mut ranges: Vec<Range<u64>> = (0..600).map(|n| 400 * n..400 * n + 188).collect();
        ranges.push(most..most + 5 * most / 2);
        let requests = ByteRange::requests(&ranges);
        assert_eq!(requests.len(), 5);
        for ranges in &requests {
            assert_eq!(check_ranges(ranges), Ok(()));
        }
        let mut covered: Vec<Range<u64>> = Vec::new();
        for range in requests.into_iter().flatten().map(|range| u64::from(range.start)..u64::from(range.end)) {
            match covered.last_mut().filter(|last| last.end == range.start) {
                Some(last) => last.end = range.end,
                None => covered.push(range),
            }
        }
        assert_eq!(covered, ranges);
    }

    #[test]
    fn answers_are_joined_where_a_stretch_took_several() {
        let range = |start, end| ByteRange { start, end };
        let parts = [
            (vec![range(2, 4), range(10, 12)], vec![2, 3, 10, 11]),
            (vec![range(12, 13), range(20, 21)], vec![12, 20]),
        ];
        assert_eq!(stretches(&parts), [(2, vec![2, 3]), (10, vec![10, 11, 12]), (20, vec![20])]);
    }

    #[test]
    fn the_longest_request_fits() {
        let at = |n: u32| 60_000_000 + 300 * n;
        let ranges = (0..MAX_PART_RANGES as u32).map(|n| ByteRange { start: at(n), end: at(n) + 188 }).collect();
        let longest = LaneRequest { id: RequestId(u64::MAX), deadline_ms: u32::MAX, ..part(Part::Bytes(ranges)) };
        assert_eq!(LaneRequest::from_header(&longest.to_frame()[2..]), Ok(longest));
    }

    #[test]
    fn refuses_answers_that_cannot_be() {
        let described = |len, hashes| Described { len, hashes };
        let range = GroupRange::new;
        for status in [
            LaneStatus::Ok(described(0, None)),
            LaneStatus::Ok(described(u64::MAX, None)),
            LaneStatus::Ok(described(65_537, Some(vec![0; 32]))),
            LaneStatus::Partial(described(65_537, None), vec![]),
            LaneStatus::Partial(described(65_537, None), vec![range(1, 3)]),
            LaneStatus::Partial(described(200_000, None), vec![range(0, 1), range(1, 2)]),
            LaneStatus::Partial(described(200_000, None), vec![range(2, 3), range(0, 1)]),
            LaneStatus::Partial(described(1 << 25, None), (0..65).map(|n| range(2 * n, 2 * n + 1)).collect()),
        ] {
            assert!(matches!(answer(status.clone()).to_frame(), Err(LaneWireError::Impossible(_))), "{status:?}");
        }
    }

    #[test]
    fn the_longest_answer_fits() {
        let len = crate::limits::MAX_CHUNK_BYTES as u64;
        let ranges = (0..MAX_ANSWER_RANGES as u32).map(|n| GroupRange::new(600 + 2 * n, 601 + 2 * n)).collect();
        let hashes = Some(vec![0xff; 32 * MAX_CHUNK_GROUPS]);
        let full =
            LaneAnswer { id: RequestId(u64::MAX), status: LaneStatus::Partial(Described { len, hashes }, ranges) };
        assert_eq!(LaneAnswer::from_header(&full.to_frame().unwrap()[2..]), Ok(full));
    }

    #[test]
    fn every_refusal_has_an_answer() {
        let busy = LaneStatus::from(Refusal::Busy { retry_after: Micros(250_999) });
        assert_eq!(busy, LaneStatus::Busy { retry_after_ms: 250 });
        assert_eq!(LaneStatus::from(Refusal::Metered), LaneStatus::Refused(LaneRefusal::Metered));
        for reason in LaneRefusal::ALL {
            let frame = answer(LaneStatus::Refused(reason)).to_frame().unwrap();
            assert_eq!(LaneAnswer::from_header(&frame[2..]).unwrap().status, LaneStatus::Refused(reason));
        }
    }

    proptest! {
        #[test]
        fn requests_survive_the_wire(id: u64, start in 0..1000u32, len in 1..24u32, deadline_ms: u32, rank in 0..4usize,
            want_hashes: bool, cid: [u8; 32]) {
            let groups = GroupRange::new(start, start + len);
            let class = Class::ALL[rank];
            let what = What::Groups { range: groups, want_hashes };
            let request = LaneRequest { id: RequestId(id), cid: ChunkCid(cid), what, deadline_ms, class };
            prop_assert_eq!(LaneRequest::from_header(&request.to_frame()[2..]), Ok(request));
        }

        #[test]
        fn hostile_bytes_are_refused_or_read_never_worse(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = LaneRequest::from_header(&bytes);
            if let Ok(answer) = LaneAnswer::from_header(&bytes) {
                prop_assert!(answer.to_frame().is_ok());
            }
        }

        #[test]
        fn damaged_headers_are_refused_or_read_never_worse(at: prop::sample::Index, to: u8) {
            let hashes = Some(vec![1; 96]);
            let status = LaneStatus::Partial(Described { len: 140_000, hashes }, vec![GroupRange::new(0, 2)]);
            let mut bytes = answer(status).to_frame().unwrap().split_off(2);
            let at = at.index(bytes.len());
            bytes[at] = to;
            if let Ok(answer) = LaneAnswer::from_header(&bytes) {
                prop_assert!(answer.to_frame().is_ok());
            }
            let mut bytes = request().to_frame().split_off(2);
            let at = at % bytes.len();
            bytes[at] = to;
            let _ = LaneRequest::from_header(&bytes);
        }
    }
}
