//! Chunks that this device received with damage and others have whole, and what repair makes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use aftercast_protocol::ccf::Profile;
use aftercast_protocol::ids::{ChannelId, ChunkCid, DeviceId, RecordingId, Slot};
use aftercast_protocol::limits::MAX_INTERVAL;
use aftercast_protocol::manifest::{Content, Entry};
use aftercast_protocol::time::{PTS_WRAP, Pts33, Ticks, UnixMillis};
use aftercast_protocol::truth::Class;
use aftercast_protocol::verify::GroupHashes;
use aftercast_store::{Durability, Protection, PutError};

use super::{ChunkNote, Library, LibraryError, LocalEntry, NoteKind, encode};

/// Times of one broadcast, by the clocks of different devices. PTS repeat every 26.5 hours.
const SAME_BROADCAST_MILLIS: u64 = 3_600_000;

/// A chunk of a recording that is here in pieces only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// A recording that it belongs to.
    pub recording: RecordingId,
    /// Its channel.
    pub channel: ChannelId,
    /// Its place.
    pub slot: Slot,
    /// The chunk.
    pub cid: ChunkCid,
    /// Its length in bytes.
    pub bytes: u64,
    /// PTS of its opening unit.
    pub pts: Pts33,
    /// Distance to the next opening unit, in ticks.
    pub duration: Ticks,
    /// Wall time of its opening unit.
    pub utc: UnixMillis,
    /// Whether two subscribers vouch for it.
    pub confirmed: bool,
    /// Own salvaged forms that may hold units of it, in the store.
    pub pieces: Vec<ChunkCid>,
}

impl Library {
    /// The chunks that the newest manifest of a recording names and that are here in pieces only.
    #[must_use]
    pub fn damaged(&self, id: RecordingId) -> Vec<Damaged> {
        let (Some(manifest), Some(recording)) = (self.manifest(id), self.recording(id)) else { return Vec::new() };
        let own = Pieces::of(&self.local_entries(id));
        if own.0.is_empty() {
            return Vec::new();
        }
        let damaged = |entry: &Entry| {
            let Content::Chunk { cid, bytes, confirmed, .. } = entry.content else { return None };
            if self.store.is_complete(cid) {
                return None;
            }
            let mut pieces = own.of_place(entry);
            pieces.retain(|piece| self.store.is_complete(*piece));
            let Entry { slot, pts, duration, utc, .. } = *entry;
            let channel = recording.channel.clone();
            let of = Damaged { recording: id, channel, slot, cid, bytes, pts, duration, utc, confirmed, pieces };
            (!of.pieces.is_empty()).then_some(of)
        };
        manifest.entries.iter().filter_map(damaged).collect()
    }

    /// How many chunks were received of a channel, whole or not.
    #[must_use]
    pub fn received(&self, channel: &ChannelId) -> u64 {
        self.state().channels.get(channel).map_or(0, |known| known.next_seq)
    }

    /// The profile by which a recording is cut, if `seed` says so.
    #[must_use]
    pub fn profile(&self, id: RecordingId, seed: &DeviceId) -> Option<Profile> {
        self.recording(id)?.plan.verify(seed).ok().map(|plan| plan.profile.clone())
    }

    /// Keeps a chunk that was repaired, durably, in the place of the pieces that it was made of. Where there is no room
    /// for it, these stay.
    ///
    /// # Errors
    /// See [`PutError`]; nothing has changed then.
    pub fn repaired(&self, damaged: &Damaged, bytes: &[u8], hashes: &GroupHashes) -> Result<(), PutError> {
        self.make_room(hashes.len_bytes())?;
        let Damaged { channel, slot, cid, utc, confirmed, .. } = damaged.clone();
        let note = ChunkNote {
            kind: NoteKind::Fetched,
            channel: channel.clone(),
            slot: Some(slot),
            class: Class::default(),
            utc,
            confirmed,
        };
        let mut batch = self.store.batch();
        batch.put_chunk(cid, bytes, hashes, &note.encode())?;
        // The seed or a peer had it whole: it may be evicted like any other that can be fetched.
        batch.set_protection(cid, Protection::Acknowledged);
        let replaced = self.entry_of(damaged);
        if let Some((seq, entry)) = &replaced {
            batch.put(&self.tables.entries, &super::entries::key(&channel, *seq), &encode(entry))?;
            // One that reaches beyond this chunk is of use for the next.
            let piece = entry.salvaged().filter(|_| entry.duration <= damaged.duration);
            piece.into_iter().for_each(|piece| batch.delete_chunk(piece));
        }
        batch.commit(Durability::Synced)?;
        let mut state = self.state();
        if let Some((seq, entry)) = replaced
            && let Some(there) = state.channels.get_mut(&channel).and_then(|known| known.entries.get_mut(&seq))
        {
            there.repaired = entry.repaired;
        }
        state.hold_as_noted(cid, note);
        drop(state);
        self.touch();
        Ok(())
    }

    /// What was withheld is whole all the same: its clean units are the chunk that others have. What was lost beside them
    /// was of another chunk, or of none.
    pub(super) fn proven(&self, channel: &ChannelId, seq: u64, slot: Slot) -> Result<(), LibraryError> {
        let one = BTreeSet::from([(channel.clone(), seq)]);
        self.change_entries(one, |entry| (entry.slot, entry.repaired) = (Some(slot), true))
    }

    /// The own entry of a chunk's place, marked as repaired.
    fn entry_of(&self, damaged: &Damaged) -> Option<(u64, LocalEntry)> {
        let state = self.state();
        let known = state.channels.get(&damaged.channel)?;
        let seq = known.by_pts.get(&damaged.pts).copied()?;
        let entry =
            known.entries.get(&seq).filter(|entry| entry.salvaged().is_some_and(|p| damaged.pieces.contains(&p)));
        Some((seq, LocalEntry { repaired: true, ..entry?.clone() }))
    }
}

/// The salvaged forms of a recording by the PTS at which they begin.
struct Pieces(BTreeMap<Pts33, Vec<(ChunkCid, UnixMillis, u64)>>);

impl Pieces {
    fn of(entries: &[LocalEntry]) -> Self {
        let mut pieces: BTreeMap<Pts33, Vec<_>> = BTreeMap::new();
        for entry in entries {
            let lasts = entry.duration.0.clamp(0, MAX_INTERVAL.0).unsigned_abs();
            if let Some(salvaged) = entry.salvaged() {
                pieces.entry(entry.pts).or_default().push((salvaged, entry.utc, lasts));
            }
        }
        Self(pieces)
    }

    /// Those that overlap a place: a lost random access point makes one cell of two.
    fn of_place(&self, place: &Entry) -> Vec<ChunkCid> {
        let begins = place.pts.0 % PTS_WRAP;
        let lasts = place.duration.0.clamp(0, MAX_INTERVAL.0).unsigned_abs();
        let after = |pts: Pts33| (PTS_WRAP + pts.0 - begins) % PTS_WRAP;
        let same = |utc: UnixMillis| utc.0.abs_diff(place.utc.0) < SAME_BROADCAST_MILLIS;
        let found: BTreeSet<ChunkCid> = around(begins, MAX_INTERVAL.0.unsigned_abs(), lasts)
            .into_iter()
            .flat_map(|range| self.0.range(range))
            .flat_map(|(pts, pieces)| pieces.iter().map(|piece| (*pts, piece)))
            .filter(|(pts, (_, utc, length))| {
                let overlaps = after(*pts) < lasts || PTS_WRAP - after(*pts) < *length;
                overlaps && same(*utc)
            })
            .map(|(_, (cid, ..))| *cid)
            .collect();
        found.into_iter().collect()
    }
}

/// The PTS from `before` ticks before one to `after` ticks after it: two stretches where the wrap lies between.
fn around(pts: u64, before: u64, after: u64) -> Vec<RangeInclusive<Pts33>> {
    let (from, to) = ((PTS_WRAP + pts - before) % PTS_WRAP, (pts + after) % PTS_WRAP);
    if from <= to {
        vec![Pts33(from)..=Pts33(to)]
    } else {
        vec![Pts33(from)..=Pts33(PTS_WRAP - 1), Pts33(0)..=Pts33(to)]
    }
}

#[cfg(test)]
mod tests {
    use aftercast_protocol::ccf::WithheldReason;
    use aftercast_protocol::ids::{ChunkIndex, TimelineId, UnitDigest};
    use aftercast_protocol::manifest::Gap;

    use super::*;
    use crate::library::LocalContent;

    fn piece(pts: u64, duration: i64, utc: u64, n: u8) -> LocalEntry {
        LocalEntry {
            timeline: TimelineId(0),
            index: ChunkIndex(0),
            pts: Pts33(pts),
            duration: Ticks(duration),
            opening: UnitDigest([0; 16]),
            utc: UnixMillis(utc),
            content: LocalContent::Withheld {
                reason: WithheldReason::Damaged,
                salvaged: Some(ChunkCid([n; 32])),
                bytes: 1,
            },
            slot: None,
            reported: false,
            confirmed: false,
            acked: false,
            objected: false,
            aux: None,
            repaired: false,
        }
    }

    fn place(pts: u64, duration: i64, utc: u64) -> Entry {
        Entry {
            slot: Slot { timeline: TimelineId(0), index: ChunkIndex(0) },
            pts: Pts33(pts),
            duration: Ticks(duration),
            opening: UnitDigest([0; 16]),
            utc: UnixMillis(utc),
            content: Content::Gap { reason: Gap::Pending },
        }
    }

    #[test]
    fn pieces_are_those_that_overlap_the_place_on_that_day() {
        let day = 5 * 86_400_000;
        let own = Pieces::of(&[
            piece(0, 360_000, day, 1),
            piece(360_000, 720_000, day, 2), // the next random access point was lost
            piece(1_080_000, 360_000, day, 3),
            piece(720_000, 360_000, day - 26 * 3_600_000, 4), // the same PTS, the day before
        ]);
        let found = |pts| own.of_place(&place(pts, 360_000, day));
        assert_eq!(found(0), [ChunkCid([1; 32])]);
        assert_eq!(found(360_000), [ChunkCid([2; 32])]);
        assert_eq!(found(720_000), [ChunkCid([2; 32])]);
        assert_eq!(found(1_080_000), [ChunkCid([3; 32])]);
        assert_eq!(found(1_440_000), []);
    }

    #[test]
    fn pieces_are_found_across_the_wrap() {
        let own = Pieces::of(&[piece(PTS_WRAP - 100_000, 360_000, 0, 1), piece(260_000, 360_000, 0, 2)]);
        assert_eq!(own.of_place(&place(PTS_WRAP - 100_000, 360_000, 0)), [ChunkCid([1; 32])]);
        assert_eq!(own.of_place(&place(100_000, 160_000, 0)), [ChunkCid([1; 32])]);
        assert_eq!(own.of_place(&place(260_000, 360_000, 0)), [ChunkCid([2; 32])]);
    }
}
