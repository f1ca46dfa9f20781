//! Recordings: begun, ended, deleted, counted.

use std::collections::BTreeMap;

use aftercast_protocol::grant::{RawGrant, VerifiedGrant};
use aftercast_protocol::ids::{ChannelId, ChunkIndex, DeviceId, RecordingId, Slot, TimelineId};
use aftercast_protocol::plan::RawPlan;
use aftercast_protocol::time::UnixMillis;
use aftercast_store::Durability;
use serde::Serialize;

use super::{ChannelState, Library, LibraryError, LocalContent, LocalEntry, Recording, State, encode};

/// Where a recording stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordingState {
    /// Its time has not come.
    Scheduled,
    /// It grows.
    Recording,
    /// It is over.
    Stopped,
}

impl Recording {
    /// Where it stands at a time.
    #[must_use]
    pub fn state(&self, now: UnixMillis) -> RecordingState {
        if self.stopped.is_some() || self.to.is_some_and(|to| now >= to) {
            RecordingState::Stopped
        } else if now < self.from {
            RecordingState::Scheduled
        } else {
            RecordingState::Recording
        }
    }

    /// Whether an entry of its channel belongs to it.
    #[must_use]
    pub fn holds(&self, seq: u64) -> bool {
        self.first_seq.is_some_and(|first| seq >= first) && self.last_seq.is_none_or(|last| seq <= last)
    }
}

/// What this device has of a recording, in numbers of chunks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RecordingCounts {
    /// Received whole.
    pub clean: u64,
    /// Not received whole, by reason.
    pub withheld: BTreeMap<String, u64>,
    /// Of those: made whole with the help of others.
    pub repaired: u64,
    /// Of the clean ones: a fact says that they are right.
    pub confirmed: u64,
    /// Of the clean ones: a fact says that another is right.
    pub contradicted: u64,
    /// Of the clean ones: the seed holds them durably.
    pub acknowledged: u64,
    /// Not told to the seed yet.
    pub unreported: u64,
    /// Bytes of clean chunks.
    pub bytes: u64,
    /// Units of teletext, subtitles, splice information and data that came beside clean chunks.
    pub aux_units: u64,
    /// Bytes of the objects that hold them.
    pub aux_bytes: u64,
}

impl RecordingCounts {
    fn add(&mut self, entry: &LocalEntry) {
        match entry.content {
            LocalContent::Clean { bytes, .. } => {
                self.clean += 1;
                self.bytes += bytes;
            }
            LocalContent::Withheld { reason, .. } => *self.withheld.entry(reason.to_string()).or_default() += 1,
        }
        self.repaired += u64::from(entry.repaired);
        if let Some(aux) = entry.aux {
            self.aux_units += aux.units;
            self.aux_bytes += aux.bytes;
        }
        self.confirmed += u64::from(entry.confirmed);
        self.contradicted += u64::from(entry.objected);
        self.acknowledged += u64::from(entry.acked);
        self.unreported += u64::from(!entry.reported);
    }
}

impl Library {
    /// All recordings that are not deleted, in order of their beginning.
    #[must_use]
    pub fn recordings(&self) -> Vec<Recording> {
        let state = self.state();
        let mut all: Vec<Recording> = state.recordings.values().filter(|one| !one.deleted).cloned().collect();
        all.sort_by_key(|one| (one.from, one.id));
        all
    }

    /// A recording, deleted ones excluded.
    #[must_use]
    pub fn recording(&self, id: RecordingId) -> Option<Recording> {
        self.state().recordings.get(&id).filter(|one| !one.deleted).cloned()
    }

    /// Takes up a recording that the seed has on its books. Plan and grant were verified.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add_recording(&self, recording: Recording) -> Result<(), LibraryError> {
        self.put_recording(recording)
    }

    /// Renews plan and grant of a recording that the seed confirmed again.
    ///
    /// # Errors
    /// When it is not here, or cannot be written.
    pub fn renew(&self, id: RecordingId, plan: Option<RawPlan>, grant: RawGrant) -> Result<(), LibraryError> {
        self.change_recording(id, |recording, _| {
            recording.grant = grant;
            if let Some(plan) = plan {
                recording.plan = plan;
            }
        })
    }

    /// Notes that a recording's time has come: what is cut from now on belongs to it.
    ///
    /// # Errors
    /// When it is not here, or cannot be written.
    pub fn begin(&self, id: RecordingId) -> Result<(), LibraryError> {
        self.change_recording(id, |recording, channel| {
            recording.first_seq.get_or_insert(channel.next_seq);
        })
    }

    /// Ends a recording; the chunk that is being received still belongs to it.
    ///
    /// # Errors
    /// When it is not here, or cannot be written.
    pub fn stop(&self, id: RecordingId, now: UnixMillis) -> Result<(), LibraryError> {
        self.change_recording(id, |recording, channel| {
            recording.stopped.get_or_insert(now);
            recording.last_seq.get_or_insert(channel.next_seq);
        })?;
        self.state().stale_manifests.insert(id);
        self.touch();
        Ok(())
    }

    /// The seed knows that a recording ended.
    ///
    /// # Errors
    /// When it is not here, or cannot be written.
    pub fn stop_told(&self, id: RecordingId) -> Result<(), LibraryError> {
        self.change_recording(id, |recording, _| recording.stop_told = true)
    }

    /// Deletes a recording: at once for the user, and for good once [`Library::forget`] was called. Chunks that no
    /// other recording holds go at once where the seed has them; the others stay until it does.
    ///
    /// # Errors
    /// When it is not here, or cannot be written.
    pub fn delete(&self, id: RecordingId, now: UnixMillis) -> Result<(), LibraryError> {
        self.stop(id, now)?;
        self.change_recording(id, |recording, _| recording.deleted = true)?;
        self.drop_chunks_of(id)
    }

    /// Forgets a deleted recording: the seed knows.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn forget(&self, id: RecordingId) -> Result<(), LibraryError> {
        self.tables.recordings.delete(&id.0, Durability::Buffered)?;
        self.forget_manifest(id)?;
        self.state().recordings.remove(&id);
        self.touch();
        Ok(())
    }

    /// Recordings whose end or deletion the seed does not know yet, and whose last chunk is here: the seed closes the
    /// manifest when it hears of the end, and that chunk still belongs to it. `receiving` says whether anything may
    /// still come on a channel.
    #[must_use]
    pub fn untold(&self, receiving: impl Fn(&ChannelId) -> bool) -> Vec<Recording> {
        let untold: Vec<(Recording, bool)> = {
            let state = self.state();
            let came = |one: &Recording| {
                let next = state.channels.get(&one.channel).map_or(0, |channel| channel.next_seq);
                one.last_seq.is_none_or(|last| next > last)
            };
            let untold = |one: &&Recording| one.deleted || (one.stopped.is_some() && !one.stop_told);
            state.recordings.values().filter(untold).map(|one| (one.clone(), came(one))).collect()
        };
        let ripe = untold.into_iter().filter(|(one, came)| *came || !receiving(&one.channel));
        ripe.map(|(one, _)| one).collect()
    }

    /// What this device may fetch of a recording, if `seed` says so.
    #[must_use]
    pub fn grant(&self, id: RecordingId, seed: &DeviceId) -> Option<VerifiedGrant> {
        let raw = self.state().recordings.get(&id).map(|one| one.grant.clone())?;
        raw.verify(seed).ok()
    }

    /// What this device itself received of a recording, in order. Entries that no fact names have their place from
    /// their neighbours, where those have one.
    #[must_use]
    pub fn local_entries(&self, id: RecordingId) -> Vec<LocalEntry> {
        let mut entries: Vec<LocalEntry> = {
            let state = self.state();
            state.entries_of(id).map(|(_, entry)| entry.clone()).collect()
        };
        place(entries.iter_mut());
        place(entries.iter_mut().rev());
        entries
    }

    /// What this device has of a recording, in numbers.
    #[must_use]
    pub fn counts(&self, id: RecordingId) -> RecordingCounts {
        let state = self.state();
        let mut counts = RecordingCounts::default();
        state.entries_of(id).for_each(|(_, entry)| counts.add(entry));
        counts
    }

    fn put_recording(&self, recording: Recording) -> Result<(), LibraryError> {
        self.tables.recordings.put(&recording.id.0, &encode(&recording), Durability::Synced)?;
        self.state().recordings.insert(recording.id, recording);
        self.touch();
        Ok(())
    }

    fn change_recording(
        &self,
        id: RecordingId,
        change: impl FnOnce(&mut Recording, &ChannelState),
    ) -> Result<(), LibraryError> {
        let changed = {
            let mut state = self.state();
            let mut recording = state.recordings.get(&id).cloned().ok_or(LibraryError::NoSuchRecording(id))?;
            let channel = state.channels.entry(recording.channel.clone()).or_default();
            change(&mut recording, channel);
            if state.recordings.get(&id) == Some(&recording) {
                return Ok(());
            }
            recording
        };
        self.put_recording(changed)
    }

    fn drop_chunks_of(&self, id: RecordingId) -> Result<(), LibraryError> {
        let mut batch = self.store.batch();
        let gone: Vec<(ChannelId, u64, LocalEntry)> = {
            let state = self.state();
            let Some(recording) = state.recordings.get(&id) else { return Ok(()) };
            let others: Vec<&Recording> = state
                .recordings
                .values()
                .filter(|one| one.id != id && !one.deleted && one.channel == recording.channel)
                .collect();
            let alone = |seq: u64| !others.iter().any(|other| other.holds(seq));
            let of = state.entries_of(id).filter(|(seq, entry)| alone(*seq) && (entry.acked || entry.cid().is_none()));
            of.map(|(seq, entry)| (recording.channel.clone(), seq, entry.clone())).collect()
        };
        for (channel, seq, entry) in &gone {
            batch.delete(&self.tables.entries, &super::entries::key(channel, *seq));
            if let Some(cid) = entry.cid().or(entry.salvaged()) {
                batch.delete_chunk(cid);
                if entry.aux.is_some() {
                    batch.delete(&self.tables.aux, &cid.0);
                }
            }
        }
        batch.commit(Durability::Synced)?;
        let mut state = self.state();
        for (channel, seq, entry) in gone {
            if let Some(known) = state.channels.get_mut(&channel) {
                known.remove(seq);
            }
            if let Some(cid) = entry.cid() {
                state.drop_holding(cid);
            }
        }
        drop(state);
        self.touch();
        Ok(())
    }
}

/// Numbers entries without a place like those before them: on one timeline the seed's numbering and ours differ by a
/// constant (DESIGN 5).
fn place<'a>(entries: impl Iterator<Item = &'a mut LocalEntry>) {
    let mut known: Option<(TimelineId, Slot, u64)> = None;
    for entry in entries {
        match (entry.slot, known) {
            (Some(slot), _) => known = Some((entry.timeline, slot, entry.index.0)),
            (None, Some((timeline, slot, index))) if timeline == entry.timeline => {
                let cells = entry.index.0.wrapping_sub(index) as i64;
                let index = slot.index.0.checked_add_signed(cells).map(ChunkIndex);
                entry.slot = index.map(|index| Slot { timeline: slot.timeline, index });
            }
            (None, _) => {}
        }
    }
}

impl State {
    /// Entries of a recording, in order.
    pub(super) fn entries_of(&self, id: RecordingId) -> impl Iterator<Item = (u64, &LocalEntry)> {
        let range = self.recordings.get(&id).and_then(|recording| {
            let channel = self.channels.get(&recording.channel)?;
            let (first, last) = (recording.first_seq?, recording.last_seq.unwrap_or(u64::MAX));
            (first <= last).then(|| channel.entries.range(first..=last))
        });
        range.into_iter().flatten().map(|(seq, entry)| (*seq, entry))
    }
}

#[cfg(test)]
mod tests {
    use aftercast_protocol::ccf::WithheldReason;
    use aftercast_protocol::ids::UnitDigest;
    use aftercast_protocol::time::{Pts33, Ticks};

    use super::*;

    fn entry(timeline: u32, index: u64, slot: Option<(u32, u64)>) -> LocalEntry {
        LocalEntry {
            timeline: TimelineId(timeline),
            index: ChunkIndex(index),
            pts: Pts33(0),
            duration: Ticks(0),
            opening: UnitDigest([0; 16]),
            utc: UnixMillis(0),
            content: LocalContent::Withheld { reason: WithheldReason::Damaged, salvaged: None, bytes: 0 },
            slot: slot.map(|(timeline, index)| Slot { timeline: TimelineId(timeline), index: ChunkIndex(index) }),
            reported: false,
            confirmed: false,
            acked: false,
            objected: false,
            aux: None,
            repaired: false,
        }
    }

    #[test]
    fn damaged_chunks_take_their_place_from_neighbours_of_the_same_timeline() {
        let mut entries = [entry(0, 3, None), entry(0, 4, Some((7, 104))), entry(0, 6, None), entry(1, 0, None)];
        place(entries.iter_mut());
        place(entries.iter_mut().rev());
        let indexes: Vec<Option<u64>> = entries.iter().map(|one| one.slot.map(|slot| slot.index.0)).collect();
        assert_eq!(indexes, [Some(103), Some(104), Some(106), None]);
    }
}
