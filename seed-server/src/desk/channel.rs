//! One channel: its plan, its chunks and what is known of them.

use std::collections::{BTreeMap, BTreeSet};

use aftercast_protocol::ccf::Anchor;
use aftercast_protocol::duty::ChunkRef;
use aftercast_protocol::ids::{DeviceId, Slot, SubscriberId};
use aftercast_protocol::limits::MAX_SIGNED_ANCHORS;
use aftercast_protocol::manifest::{Entry, Manifest};
use aftercast_protocol::plan::Plan;
use aftercast_protocol::plan::timelines::Timelines;
use aftercast_protocol::time::{Micros, Mono, UnixMillis};
use aftercast_protocol::truth::{Truth, TruthConfig};

use super::mends::Pieces;
use crate::config::{ChannelSetup, Decide};
use crate::ledger::{Ledger, LedgerError, RecordingRecord, SlotRecord, SlotState};

/// When an upload should be done: soon enough that a viewer who starts over finds it at the seed. Slower lines upload
/// later; nothing is lost by it.
const UPLOAD_WITHIN: Micros = Micros::from_secs(60);

/// State of a channel.
pub(super) struct ChannelDesk {
    pub setup: ChannelSetup,
    pub truth: Truth,
    pub timelines: Timelines,
    pub slots: BTreeMap<Slot, SlotRecord>,
    /// Who holds which chunk, as far as nodes said; what the tracker samples from.
    pub holders: BTreeMap<Slot, BTreeSet<DeviceId>>,
    /// What homes have in part of chunks that are not confirmed.
    pub pieces: Pieces,
    /// Devices that record it now.
    pub recorders: BTreeMap<DeviceId, SubscriberId>,
    pub next_fact: u64,
    /// Counts every change of a slot: a manifest's revision.
    pub revision: u64,
}

impl ChannelDesk {
    pub fn open(
        ledger: &Ledger,
        setup: ChannelSetup,
        decide: &Decide,
        salt: [u8; 32],
        now: UnixMillis,
    ) -> Result<Self, LedgerError> {
        let config = TruthConfig {
            witnesses: decide.witnesses,
            decide_after: Micros::from_millis(decide.deadline_ms),
            ..TruthConfig::default()
        };
        let mut truth = Truth::new(config, salt);
        let mut timelines = Timelines::default();
        let mut slots = BTreeMap::new();
        for record in ledger.slots(&setup.id)? {
            timelines.restore(record.slot, record.pts, record.opening);
            match &record.state {
                SlotState::Confirmed { cid } => truth.restore_confirmed(record.slot, record.claim(*cid)),
                SlotState::Single { cid, subscriber } => {
                    truth.restore_single(record.slot, record.claim(*cid), subscriber.clone());
                }
                SlotState::Pending | SlotState::Disputed | SlotState::Damaged => {}
            }
            slots.insert(record.slot, record);
        }
        let next_fact = ledger.next_fact(&setup.id)?;
        // Above every revision of an earlier run: those began at an earlier time, and grew by less than one a millisecond.
        let revision = now.0;
        let (holders, pieces, recorders) = (BTreeMap::new(), Pieces::default(), BTreeMap::new());
        Ok(Self { setup, truth, timelines, slots, holders, pieces, recorders, next_fact, revision })
    }

    /// What recorders have to know.
    pub fn plan(&self, now: UnixMillis) -> Plan {
        let newest = self.slots.values().rev().filter(|record| matches!(record.state, SlotState::Confirmed { .. }));
        let anchor = |record: &SlotRecord| Anchor {
            timeline: record.slot.timeline,
            index: record.slot.index,
            pts: record.pts,
            digest: record.opening,
        };
        let mut anchors: Vec<Anchor> = newest.take(MAX_SIGNED_ANCHORS).map(anchor).collect();
        anchors.reverse();
        Plan {
            channel: self.setup.id.clone(),
            version: self.setup.profile.version,
            interval: self.setup.interval,
            profile: self.setup.profile.clone(),
            anchors,
            issued: now,
        }
    }

    /// What duties have to know of a chunk; nothing where there is none.
    pub fn chunk_ref(&self, record: &SlotRecord, now: Mono) -> Option<ChunkRef> {
        let (channel, slot, bytes) = (self.setup.id.clone(), record.slot, record.bytes);
        Some(ChunkRef { channel, slot, cid: record.cid()?, bytes, deadline: now + UPLOAD_WITHIN })
    }

    /// The slots of a recording, in order of broadcast.
    pub fn slots_of<'a>(&'a self, recording: &'a RecordingRecord) -> impl Iterator<Item = &'a SlotRecord> {
        self.slots.values().filter(|record| recording.covers(record.utc, record.duration))
    }

    /// The manifest of a recording as of now.
    pub fn manifest(&self, recording: &RecordingRecord, now: UnixMillis) -> Manifest {
        let entries: Vec<Entry> = self.slots_of(recording).map(|slot| slot.entry_for(&recording.subscriber)).collect();
        // Nothing is added once it is over and all that was broadcast is decided and stored, or lost for good.
        let settled = self.slots_of(recording).all(|slot| match slot.state {
            SlotState::Pending => false,
            SlotState::Confirmed { .. } | SlotState::Single { .. } => slot.stored,
            SlotState::Disputed | SlotState::Damaged => true,
        });
        Manifest {
            recording: recording.id,
            subscriber: recording.subscriber.clone(),
            channel: self.setup.id.clone(),
            revision: self.revision + u64::from(!recording.runs(now)),
            complete: settled && !recording.runs(now),
            entries,
        }
    }

    /// Notes that a device holds a chunk.
    pub fn note_holder(&mut self, slot: Slot, device: DeviceId) {
        self.holders.entry(slot).or_default().insert(device);
    }

    /// Forgets what a device held.
    pub fn forget_holder(&mut self, device: DeviceId) {
        self.holders.retain(|_, devices| {
            devices.remove(&device);
            !devices.is_empty()
        });
    }
}
