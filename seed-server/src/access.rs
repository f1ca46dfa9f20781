//! Who may fetch what from the seed.
//!
//! The desk writes this index as it decides; lanes read it for every request. A device gets a chunk when it is
//! enrolled, its subscriber has a recording that covers the chunk, and the chunk is confirmed or that subscriber's
//! own. Renditions go with the chunk that they were made from.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use aftercast_protocol::grant::AccessDenied;
use aftercast_protocol::ids::{ChannelId, ChunkCid, DeviceId, SubscriberId};
use aftercast_protocol::time::UnixMillis;

use crate::ledger::{RecordingRecord, SlotRecord};

#[derive(Debug, Clone)]
struct Item {
    channel: ChannelId,
    record: SlotRecord,
}

#[derive(Debug, Clone)]
struct Enrolled {
    subscriber: SubscriberId,
    expires: UnixMillis,
}

#[derive(Debug, Default)]
struct Index {
    items: BTreeMap<ChunkCid, Item>,
    devices: BTreeMap<DeviceId, Enrolled>,
    recordings: BTreeMap<SubscriberId, Vec<RecordingRecord>>,
}

/// The index, shared between the desk and the lanes.
#[derive(Debug, Default)]
pub struct Access {
    index: RwLock<Index>,
}

impl Access {
    fn write(&self, change: impl FnOnce(&mut Index)) {
        change(&mut self.index.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// A connected device showed a valid certificate.
    pub fn admit(&self, device: DeviceId, subscriber: SubscriberId, expires: UnixMillis) {
        self.write(|index| {
            index.devices.insert(device, Enrolled { subscriber, expires });
        });
    }

    /// Whether a connected device showed a certificate that is still good.
    #[must_use]
    pub fn is_admitted(&self, device: DeviceId, now: UnixMillis) -> bool {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        index.devices.get(&device).is_some_and(|enrolled| now < enrolled.expires)
    }

    /// The device left.
    pub fn dismiss(&self, device: DeviceId) {
        self.write(|index| {
            index.devices.remove(&device);
        });
    }

    /// A chunk, and its renditions, can be asked for from now on.
    pub fn list(&self, channel: &ChannelId, record: &SlotRecord) {
        self.write(|index| {
            let renditions = [&record.head, &record.archive].into_iter().flatten().map(|rendition| rendition.cid);
            for cid in record.cid().into_iter().chain(renditions) {
                index.items.insert(cid, Item { channel: channel.clone(), record: record.clone() });
            }
        });
    }

    /// A chunk was withdrawn.
    pub fn unlist(&self, cid: ChunkCid) {
        self.write(|index| {
            index.items.remove(&cid);
        });
    }

    /// The recordings of a subscriber changed.
    pub fn set_recordings(&self, subscriber: SubscriberId, recordings: Vec<RecordingRecord>) {
        self.write(|index| {
            index.recordings.insert(subscriber, recordings);
        });
    }

    /// Whether a device may have a chunk now.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, device: DeviceId, cid: ChunkCid, now: UnixMillis) -> Result<(), AccessDenied> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let enrolled = index.devices.get(&device).ok_or(AccessDenied::NotEnrolled)?;
        if now >= enrolled.expires {
            return Err(AccessDenied::Expired);
        }
        let item = index.items.get(&cid).ok_or(AccessDenied::NoGrant)?;
        let recordings = index.recordings.get(&enrolled.subscriber).map_or(&[][..], Vec::as_slice);
        let covers = |recording: &RecordingRecord| {
            recording.channel == item.channel && recording.covers(item.record.utc, item.record.duration)
        };
        if item.record.open_to(&enrolled.subscriber) && recordings.iter().any(covers) {
            Ok(())
        } else {
            Err(AccessDenied::NoGrant)
        }
    }
}

#[cfg(test)]
mod tests {
    use aftercast_protocol::ids::{ChunkIndex, RecordingId, Slot, TimelineId, UnitDigest};
    use aftercast_protocol::time::{Pts33, Ticks};

    use super::*;
    use crate::ledger::SlotState;

    const ALICE: DeviceId = DeviceId([1; 32]);
    const BOB: DeviceId = DeviceId([2; 32]);

    fn record(state: SlotState) -> SlotRecord {
        SlotRecord {
            slot: Slot { timeline: TimelineId(0), index: ChunkIndex(1) },
            pts: Pts33(0),
            duration: Ticks(360_000),
            opening: UnitDigest([0; 16]),
            utc: UnixMillis(10_000),
            state,
            bytes: 1,
            stored: true,
            head: None,
            archive: None,
        }
    }
    fn recording(subscriber: &str, from: u64, to: u64) -> RecordingRecord {
        RecordingRecord {
            id: RecordingId([0; 16]),
            subscriber: subscriber.parse().unwrap(),
            device: ALICE,
            channel: "one".parse().unwrap(),
            from: UnixMillis(from),
            to: Some(UnixMillis(to)),
            stopped: false,
        }
    }
    fn access(state: SlotState) -> Access {
        let access = Access::default();
        access.admit(ALICE, "alice".parse().unwrap(), UnixMillis(1_000_000));
        access.admit(BOB, "bob".parse().unwrap(), UnixMillis(1_000_000));
        access.list(&"one".parse().unwrap(), &record(state));
        access.set_recordings("alice".parse().unwrap(), vec![recording("alice", 0, 20_000)]);
        access.set_recordings("bob".parse().unwrap(), vec![recording("bob", 0, 20_000)]);
        access
    }

    #[test]
    fn a_single_chunk_goes_to_its_own_subscriber_only() {
        let cid = ChunkCid([9; 32]);
        let access = access(SlotState::Single { cid, subscriber: "alice".parse().unwrap() });
        assert_eq!(access.check(ALICE, cid, UnixMillis(1)), Ok(()));
        assert_eq!(access.check(BOB, cid, UnixMillis(1)), Err(AccessDenied::NoGrant));
    }

    #[test]
    fn a_confirmed_chunk_goes_to_those_whose_recording_covers_it() {
        let cid = ChunkCid([9; 32]);
        let access = access(SlotState::Confirmed { cid });
        assert_eq!(access.check(BOB, cid, UnixMillis(1)), Ok(()));
        access.set_recordings("bob".parse().unwrap(), vec![recording("bob", 14_000, 20_000)]);
        assert_eq!(access.check(BOB, cid, UnixMillis(1)), Err(AccessDenied::NoGrant), "begins as the chunk ends");
        assert_eq!(access.check(ALICE, cid, UnixMillis(1_000_000)), Err(AccessDenied::Expired));
        assert!(access.is_admitted(ALICE, UnixMillis(1)) && !access.is_admitted(ALICE, UnixMillis(1_000_000)));
        access.dismiss(ALICE);
        assert!(!access.is_admitted(ALICE, UnixMillis(1)));
        assert_eq!(access.check(ALICE, cid, UnixMillis(1)), Err(AccessDenied::NotEnrolled));
    }
}
