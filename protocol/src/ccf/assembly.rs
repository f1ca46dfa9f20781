//! Making a chunk that nobody has whole: which units to fetch of whom, and what comes of them.
//!
//! ```text
//! Agreement: units, and which voices have each --> missing(): ranges of each voice's own form --> fetched
//!      bytes, each unit checked by its digest --> finish(): audio counted anew, written: the chunk
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::chunk::CleanChunk;
use super::combine::{AgreedUnit, Agreement, CombineError, Voice};
use super::profile::Profile;
use super::reader::read_unit_packets;
use super::unit_index::UnitEntry;
use super::writer::{Unit, unit_digest};
use crate::time::{MediaTime, Pts33};

/// A chunk being made of what several receptions have of it.
#[derive(Debug, Clone)]
pub struct Assembly<'a> {
    profile: &'a Profile,
    pts: Pts33,
    agreement: Agreement,
    voices: &'a [Voice<'a>],
    units: Vec<Option<Unit>>,
    /// Voices that are not asked any more.
    gone: BTreeSet<usize>,
}

impl<'a> Assembly<'a> {
    /// Begins with nothing. `voices` are those that the agreement was made of; `pts` is the chunk's canonical PTS.
    #[must_use]
    pub fn new(profile: &'a Profile, pts: Pts33, agreement: Agreement, voices: &'a [Voice<'a>]) -> Self {
        let units = vec![None; agreement.units().len()];
        Self { profile, pts, agreement, voices, units, gone: BTreeSet::new() }
    }

    /// What to fetch next: of each voice, by position, the ranges of its own form that hold missing units. Few voices
    /// are asked for much rather than all for little. Nothing once all is here, or nobody is left who has it.
    #[must_use]
    pub fn missing(&self) -> BTreeMap<usize, Vec<Range<u64>>> {
        let missing: Vec<&AgreedUnit> =
            self.agreement.units().iter().zip(&self.units).filter(|(_, have)| have.is_none()).map(|(u, _)| u).collect();
        let mut order: Vec<usize> = (0..self.voices.len()).filter(|voice| !self.gone.contains(voice)).collect();
        let held = |voice: &usize| missing.iter().filter(|unit| unit.held_by.contains(voice)).count();
        order.sort_by_key(|voice| std::cmp::Reverse(held(voice)));
        let mut ranges: BTreeMap<usize, Vec<Range<u64>>> = BTreeMap::new();
        for unit in missing {
            let Some(voice) = order.iter().find(|voice| unit.held_by.contains(voice)) else { continue };
            let Some(entry) = self.entry(*voice, unit) else { continue };
            ranges
                .entry(*voice)
                .or_default()
                .push(u64::from(entry.start)..u64::from(entry.start) + u64::from(entry.len));
        }
        ranges.values_mut().for_each(join);
        ranges
    }

    /// Takes bytes of a voice's own form from `start` on. Gives how many units they completed.
    ///
    /// # Errors
    /// [`CombineError::WrongUnit`]: the voice sent what is not in its own index. It is not asked again.
    pub fn handle_bytes(&mut self, voice: usize, start: u64, bytes: &[u8]) -> Result<usize, CombineError> {
        let mut taken = 0;
        for at in 0..self.units.len() {
            let (None, Some(unit)) = (&self.units[at], self.agreement.units().get(at)) else { continue };
            let Some(entry) = self.entry(voice, unit) else { continue };
            let from = u64::from(entry.start).checked_sub(start).and_then(|from| usize::try_from(from).ok());
            let part = from.and_then(|from| bytes.get(from..from.checked_add(entry.len as usize)?));
            let Some(part) = part else { continue };
            let near = MediaTime(self.pts.0 as i64) + unit.dts;
            let read = read_unit_packets(self.profile, unit.stream, near, part);
            let Some(read) = read.filter(|read| unit_digest(&read.data) == unit.digest) else {
                self.gone.insert(voice);
                return Err(CombineError::WrongUnit(at));
            };
            self.units[at] = Some(read);
            taken += 1;
        }
        Ok(taken)
    }

    /// A voice cannot be reached or does not give: it is not asked any more.
    pub fn handle_gone(&mut self, voice: usize) {
        self.gone.insert(voice);
    }

    /// The chunk, once nothing is missing.
    ///
    /// # Errors
    /// [`CombineError::WrongUnit`] for a unit that is still missing; see [`Agreement::build`].
    pub fn finish(&self) -> Result<CleanChunk, CombineError> {
        let units: BTreeMap<(u8, i64, crate::ids::UnitDigest), &Unit> = self
            .agreement
            .units()
            .iter()
            .zip(&self.units)
            .filter_map(|(agreed, unit)| Some(((agreed.stream, agreed.dts.0, agreed.digest), unit.as_ref()?)))
            .collect();
        self.agreement.build(self.profile, self.pts, |unit| units.get(&(unit.stream, unit.dts.0, unit.digest)).copied())
    }

    fn entry(&self, voice: usize, unit: &AgreedUnit) -> Option<&'a UnitEntry> {
        if !unit.held_by.contains(&voice) {
            return None;
        }
        let units = &self.voices.get(voice)?.units.units;
        units.iter().find(|entry| (entry.stream, entry.digest) == (unit.stream, unit.digest))
    }
}

/// Sorts ranges, and joins those that touch or overlap.
fn join(ranges: &mut Vec<Range<u64>>) {
    ranges.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
    for range in ranges.drain(..) {
        match joined.last_mut().filter(|last| last.end >= range.start) {
            Some(last) => last.end = last.end.max(range.end),
            None => joined.push(range),
        }
    }
    *ranges = joined;
}
