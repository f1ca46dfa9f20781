//! The unit index of a chunk (CCF 20): what repair compares and fetches by.

use minicbor::{Decode, Encode};

use super::reader::{Placed, ReadError, read_placed};
use super::writer::unit_digest;
use crate::ids::UnitDigest;
use crate::limits::{MAX_CHUNK_BYTES, MAX_CHUNK_UNITS};
use crate::time::{MediaTime, PTS_WRAP, Pts33, Ticks};

const VERSION: u8 = 1;

/// One unit of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct UnitEntry {
    /// Stream, in profile order.
    #[n(0)]
    pub stream: u8,
    /// PTS less the chunk's PTS.
    #[n(1)]
    pub pts: Ticks,
    /// DTS less the chunk's PTS.
    #[n(2)]
    pub dts: Ticks,
    /// First byte of the unit's packets in the chunk.
    #[n(3)]
    pub start: u32,
    /// Length of its packets, PAT and PMT before it not included.
    #[n(4)]
    pub len: u32,
    /// Digest of its elementary bytes.
    #[n(5)]
    pub digest: UnitDigest,
}

/// All units of a chunk, in the order in which its bytes hold them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitIndex {
    /// The units.
    pub units: Vec<UnitEntry>,
}

/// A unit index that cannot be used: its sender is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitIndexError {
    /// Not the encoding of a unit index.
    #[error("not a unit index: {0}")]
    Malformed(String),
    /// A version that this program does not read.
    #[error("unit index version {0} is not supported")]
    Version(u8),
    /// More units than a chunk can have.
    #[error("unit index has {0} units, more than {MAX_CHUNK_UNITS}")]
    TooManyUnits(u64),
    /// Times farther from the chunk's than any 33 bits can say.
    #[error("unit {0} has an impossible time")]
    Time(usize),
    /// Ranges that overlap, go backward or lie outside the largest chunk.
    #[error("unit {0} has an impossible byte range")]
    Range(usize),
}

impl UnitIndex {
    /// The index of a chunk, or of a salvaged form, that begins at `pts`.
    ///
    /// # Errors
    /// Bytes that the writer of chunks could not have written.
    pub fn of_chunk(pts: Pts33, bytes: &[u8]) -> Result<Self, ReadError> {
        let origin = MediaTime(pts.0 as i64);
        let (_, placed) = read_placed(bytes, Some(origin))?;
        // A chunk's bytes are bounded to less than 2^32.
        let entry = |(unit, range): Placed| UnitEntry {
            stream: unit.stream,
            pts: unit.pts - origin,
            dts: unit.dts - origin,
            start: range.start as u32,
            len: range.len() as u32,
            digest: unit_digest(&unit.data),
        };
        Ok(Self { units: placed.into_iter().map(entry).collect() })
    }

    /// The index as bytes: CBOR `[version, [unit, ...]]`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16 + 40 * self.units.len());
        let mut e = minicbor::Encoder::new(&mut bytes);
        let written: Result<(), minicbor::encode::Error<std::convert::Infallible>> = (|| {
            e.array(2)?.u8(VERSION)?.array(self.units.len() as u64)?;
            self.units.iter().try_for_each(|unit| e.encode(unit).map(drop))
        })();
        match written {
            Ok(()) => bytes,
            // A vector takes all bytes, and no field's encoder fails of itself.
            Err(impossible) => unreachable!("{impossible}"),
        }
    }

    /// Reads an index from elsewhere.
    ///
    /// # Errors
    /// Anything that is not exactly one well-formed index with ranges that follow one another.
    pub fn decode(bytes: &[u8]) -> Result<Self, UnitIndexError> {
        let malformed = |e: minicbor::decode::Error| UnitIndexError::Malformed(e.to_string());
        let mut d = minicbor::Decoder::new(bytes);
        if d.array().map_err(malformed)? != Some(2) {
            return Err(UnitIndexError::Malformed("not a pair".into()));
        }
        let version = d.u8().map_err(malformed)?;
        if version != VERSION {
            return Err(UnitIndexError::Version(version));
        }
        let count = d.array().map_err(malformed)?.ok_or(UnitIndexError::Malformed("unbounded list".into()))?;
        if count > MAX_CHUNK_UNITS as u64 {
            return Err(UnitIndexError::TooManyUnits(count));
        }
        // The count is only a claim until the bytes follow; a unit takes at least 20 of them.
        let mut units = Vec::with_capacity((count as usize).min(bytes.len() / 20));
        let mut end = 0u64;
        for at in 0..count as usize {
            let unit: UnitEntry = d.decode().map_err(malformed)?;
            let start = u64::from(unit.start);
            let stop = start + u64::from(unit.len);
            if start < end || stop > MAX_CHUNK_BYTES as u64 {
                return Err(UnitIndexError::Range(at));
            }
            let near = |time: Ticks| time.0.unsigned_abs() <= PTS_WRAP;
            if !near(unit.pts) || !near(unit.dts) {
                return Err(UnitIndexError::Time(at));
            }
            end = stop;
            units.push(unit);
        }
        if d.position() != bytes.len() {
            return Err(UnitIndexError::Malformed("bytes after the index".into()));
        }
        Ok(Self { units })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(start: u32, len: u32) -> UnitEntry {
        UnitEntry { stream: 1, pts: Ticks(-7), dts: Ticks(-3600), start, len, digest: UnitDigest([9; 16]) }
    }

    #[test]
    fn survives_its_encoding() {
        let index = UnitIndex { units: vec![entry(0, 188), entry(188, 376), entry(1000, 188)] };
        assert_eq!(UnitIndex::decode(&index.encode()), Ok(index));
    }

    #[test]
    fn refuses_overlaps_trailing_bytes_and_other_versions() {
        let overlap = UnitIndex { units: vec![entry(0, 376), entry(188, 188)] };
        assert_eq!(UnitIndex::decode(&overlap.encode()), Err(UnitIndexError::Range(1)));
        let far = UnitEntry { dts: Ticks(i64::MIN), ..entry(0, 188) };
        assert_eq!(UnitIndex::decode(&UnitIndex { units: vec![far] }.encode()), Err(UnitIndexError::Time(0)));
        let mut bytes = UnitIndex::default().encode();
        bytes[1] = 2;
        assert_eq!(UnitIndex::decode(&bytes), Err(UnitIndexError::Version(2)));
        bytes[1] = 1;
        bytes.push(0);
        assert!(UnitIndex::decode(&bytes).is_err());
    }

    #[test]
    fn a_claimed_count_reserves_nothing() {
        // [1, array of 2^32 - 1]
        let claim = [0x82, 0x01, 0x9a, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(UnitIndex::decode(&claim), Err(UnitIndexError::TooManyUnits(u64::from(u32::MAX))));
    }
}
