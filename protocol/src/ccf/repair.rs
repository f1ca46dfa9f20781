//! Repair by unit: a damaged reception, the chunk's unit index and a few byte ranges make the chunk (CCF, Repair).
//!
//! ```text
//! unit index (trusted by its CID) --> which units are wanted, where each lies in the chunk
//! own salvaged form ---------------> units held ---------+
//! missing() -> ranges -> fetched --> units, each checked -+--> written anew --> CID must be the chunk's
//! ```
//!
//! Bytes of others count only once a unit's digest is right, so a liar is told at the first range that it falsified.

use std::collections::BTreeMap;
use std::ops::Range;

use super::profile::Profile;
use super::reader::{ReadError, read_unit_packets, read_units};
use super::unit_index::{UnitEntry, UnitIndex};
use super::writer::{Unit, UnitRef, WriteError, unit_digest, write_refs};
use crate::ids::{ChunkCid, UnitDigest};
use crate::limits::MAX_CHUNK_BYTES;
use crate::time::{MediaTime, Pts33};
use crate::ts::framer::PACKET_BYTES;

/// Two ranges that are this close are fetched as one: what lies between is a pair of tables, and a request costs more.
const NEAR_BYTES: u64 = 4 * PACKET_BYTES as u64;

/// Why a chunk cannot be repaired, or a range not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RepairError {
    /// The salvaged form is not one that this program wrote. A local fault; repair goes on without it.
    #[error(transparent)]
    Stock(#[from] ReadError),
    /// The index names a stream that the profile does not have. Whoever made the index is at fault.
    #[error("unit {0} of the index is of a stream that the profile does not have")]
    Stream(usize),
    /// The bytes of a range do not hold this unit. Whoever sent them is at fault.
    #[error("the bytes received are not unit {0} of the index")]
    WrongUnit(usize),
    /// Units are still missing; fetch [`Repair::missing`].
    #[error("{0} units are still missing")]
    Missing(usize),
    /// The units cannot be written. Whoever made the index is at fault.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// All units are right, and make another chunk: the index or the profile is not the chunk's.
    #[error("the units of the index make chunk {0}, not the one wanted")]
    OtherChunk(ChunkCid),
}

/// A chunk being put together.
#[derive(Debug, Clone)]
pub struct Repair<'a> {
    profile: &'a Profile,
    origin: MediaTime,
    entries: &'a [UnitEntry],
    units: Vec<Option<Unit>>,
}

impl<'a> Repair<'a> {
    /// Begins with nothing. `pts` is the chunk's canonical PTS; `index` is trusted only as far as its own hash is.
    ///
    /// # Errors
    /// [`RepairError::Stream`].
    pub fn new(profile: &'a Profile, pts: Pts33, index: &'a UnitIndex) -> Result<Self, RepairError> {
        let strange = index.units.iter().position(|unit| usize::from(unit.stream) >= profile.streams());
        if let Some(at) = strange {
            return Err(RepairError::Stream(at));
        }
        let units = vec![None; index.units.len()];
        Ok(Self { profile, origin: MediaTime(pts.0 as i64), entries: &index.units, units })
    }

    /// Takes the units of an own salvaged form that the chunk has too. Gives how many.
    ///
    /// # Errors
    /// [`RepairError::Stock`].
    pub fn stock(&mut self, salvaged: &[u8]) -> Result<usize, RepairError> {
        let (_, units) = read_units(salvaged)?;
        let held: BTreeMap<(u8, UnitDigest), Unit> =
            units.into_iter().map(|unit| ((unit.stream, unit_digest(&unit.data)), unit)).collect();
        let mut taken = 0;
        for (entry, place) in self.entries.iter().zip(&mut self.units).filter(|(_, place)| place.is_none()) {
            if let Some(unit) = held.get(&(entry.stream, entry.digest)) {
                *place = Some(placed(unit.clone(), entry, self.origin));
                taken += 1;
            }
        }
        Ok(taken)
    }

    /// Byte ranges of the chunk that hold the missing units, in order; near ones joined.
    #[must_use]
    pub fn missing(&self) -> Vec<Range<u64>> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for (entry, _) in self.entries.iter().zip(&self.units).filter(|(_, unit)| unit.is_none()) {
            let range = range_of(entry);
            match ranges.last_mut() {
                Some(last) if range.start.saturating_sub(last.end) <= NEAR_BYTES => last.end = range.end,
                _ => ranges.push(range),
            }
        }
        ranges
    }

    /// Takes bytes of the chunk from `start` on, from somebody else. Gives how many units they completed; units that
    /// lie only partly in them are left for later.
    ///
    /// # Errors
    /// [`RepairError::WrongUnit`]; units before it are kept, since they were proven.
    pub fn handle_bytes(&mut self, start: u64, bytes: &[u8]) -> Result<usize, RepairError> {
        let mut taken = 0;
        for (at, (entry, place)) in self.entries.iter().zip(&mut self.units).enumerate() {
            let range = range_of(entry);
            let inside = range.start.checked_sub(start).zip(range.end.checked_sub(start));
            let part = inside.and_then(|(from, to)| bytes.get(usize::try_from(from).ok()?..usize::try_from(to).ok()?));
            let (None, Some(part)) = (&place, part) else { continue };
            let near = self.origin + entry.dts;
            let unit = read_unit_packets(self.profile, entry.stream, near, part)
                .filter(|unit| unit_digest(&unit.data) == entry.digest)
                .ok_or(RepairError::WrongUnit(at))?;
            *place = Some(placed(unit, entry, self.origin));
            taken += 1;
        }
        Ok(taken)
    }

    /// The chunk, once nothing is missing.
    ///
    /// # Errors
    /// [`RepairError::Missing`], [`RepairError::Write`], [`RepairError::OtherChunk`].
    pub fn finish(&self, cid: ChunkCid) -> Result<Vec<u8>, RepairError> {
        let missing = self.units.iter().filter(|unit| unit.is_none()).count();
        if missing > 0 {
            return Err(RepairError::Missing(missing));
        }
        let refs = self.units.iter().flatten().map(|unit| UnitRef {
            stream: unit.stream,
            pts: unit.pts,
            dts: unit.dts,
            rap: unit.rap,
            data: &unit.data,
        });
        let bytes = write_refs(self.profile, refs.collect())?;
        match ChunkCid::of(&bytes) {
            made if made == cid => Ok(bytes),
            other => Err(RepairError::OtherChunk(other)),
        }
    }
}

/// A unit at the time that the index gives it. Its own may be another reception's count of the same frames (CCF 7).
fn placed(unit: Unit, entry: &UnitEntry, origin: MediaTime) -> Unit {
    Unit { pts: origin + entry.pts, dts: origin + entry.dts, ..unit }
}

fn range_of(entry: &UnitEntry) -> Range<u64> {
    // Within MAX_CHUNK_BYTES where the index was decoded; elsewhere it only finds nothing.
    const { assert!(MAX_CHUNK_BYTES <= u32::MAX as usize) };
    let start = u64::from(entry.start);
    start..start + u64::from(entry.len)
}
