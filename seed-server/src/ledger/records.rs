//! The records, as they lie on disk: explicit field numbers, so that a later version can add fields.

use aftercast_protocol::ids::{ChannelId, ChunkCid, DeviceId, RecordingId, Slot, SubscriberId, UnitDigest};
use aftercast_protocol::manifest::{Content, Entry, Gap, Rendition};
use aftercast_protocol::time::{Pts33, Ticks, UnixMillis};
use aftercast_protocol::truth::Claim;
use minicbor::{Decode, Encode};

/// What was decided about a slot.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum SlotState {
    /// Reports came in, nothing is decided.
    #[n(0)]
    Pending,
    /// Two subscribers or more agree.
    #[n(1)]
    Confirmed {
        /// The chunk.
        #[n(0)]
        cid: ChunkCid,
    },
    /// One subscriber alone has it: stored, and served to that subscriber.
    #[n(2)]
    Single {
        /// The chunk.
        #[n(0)]
        cid: ChunkCid,
        /// Whose it is.
        #[n(1)]
        subscriber: SubscriberId,
    },
    /// Recorders disagree.
    #[n(3)]
    Disputed,
    /// Nobody has it whole.
    #[n(4)]
    Damaged,
}

/// A slot of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SlotRecord {
    /// The place.
    #[n(0)]
    pub slot: Slot,
    /// PTS of the opening unit.
    #[n(1)]
    pub pts: Pts33,
    /// Distance to the next opening unit.
    #[n(2)]
    pub duration: Ticks,
    /// Digest of the opening unit.
    #[n(3)]
    pub opening: UnitDigest,
    /// Wall time of the opening unit, median of the reporters.
    #[n(4)]
    pub utc: UnixMillis,
    /// What was decided.
    #[n(5)]
    pub state: SlotState,
    /// Length of the chunk in bytes; 0 where there is none.
    #[n(6)]
    pub bytes: u64,
    /// Whether the seed holds its copy, durably.
    #[n(7)]
    pub stored: bool,
    /// Small rendition for a quick start.
    #[n(8)]
    pub head: Option<Rendition>,
    /// Rendition for the archive (claim 6).
    #[n(9)]
    pub archive: Option<Rendition>,
}

impl SlotRecord {
    /// The chunk, if one was decided on.
    #[must_use]
    pub fn cid(&self) -> Option<ChunkCid> {
        match self.state {
            SlotState::Confirmed { cid } | SlotState::Single { cid, .. } => Some(cid),
            SlotState::Pending | SlotState::Disputed | SlotState::Damaged => None,
        }
    }

    /// What truth has to remember of it.
    #[must_use]
    pub fn claim(&self, cid: ChunkCid) -> Claim {
        Claim { cid, bytes: self.bytes, pts: self.pts, duration: self.duration, opening: self.opening }
    }

    /// Whether a subscriber may have the chunk.
    #[must_use]
    pub fn open_to(&self, subscriber: &SubscriberId) -> bool {
        match &self.state {
            SlotState::Confirmed { .. } => true,
            SlotState::Single { subscriber: owner, .. } => owner == subscriber,
            SlotState::Pending | SlotState::Disputed | SlotState::Damaged => false,
        }
    }

    /// How a subscriber's manifest lists it.
    #[must_use]
    pub fn entry_for(&self, subscriber: &SubscriberId) -> Entry {
        let gap = |reason| Content::Gap { reason };
        let content = match (&self.state, self.cid()) {
            (_, Some(cid)) if self.open_to(subscriber) => Content::Chunk {
                cid,
                bytes: self.bytes,
                confirmed: matches!(self.state, SlotState::Confirmed { .. }),
                head: self.head.clone(),
                archive: self.archive.clone(),
            },
            (SlotState::Disputed, _) => gap(Gap::Disputed),
            (SlotState::Damaged, _) => gap(Gap::Damaged),
            _ => gap(Gap::Pending),
        };
        Entry { slot: self.slot, pts: self.pts, duration: self.duration, opening: self.opening, utc: self.utc, content }
    }
}

/// A recording of a subscriber.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RecordingRecord {
    /// Its id.
    #[n(0)]
    pub id: RecordingId,
    /// Whose it is.
    #[n(1)]
    pub subscriber: SubscriberId,
    /// The device that asked for it.
    #[n(2)]
    pub device: DeviceId,
    /// Of which channel.
    #[n(3)]
    pub channel: ChannelId,
    /// From when.
    #[n(4)]
    pub from: UnixMillis,
    /// Until when; open while it runs without an end.
    #[n(5)]
    pub to: Option<UnixMillis>,
    /// Whether the viewer stopped it.
    #[n(6)]
    pub stopped: bool,
}

impl RecordingRecord {
    /// Whether a chunk that opens at `utc` and lasts `duration` belongs to it, even in part.
    #[must_use]
    pub fn covers(&self, utc: UnixMillis, duration: Ticks) -> bool {
        let ends = utc.plus_millis(duration.as_millis().max(0) as u64);
        ends > self.from && self.to.is_none_or(|to| utc < to)
    }

    /// Whether it still grows.
    #[must_use]
    pub fn runs(&self, now: UnixMillis) -> bool {
        !self.stopped && self.to.is_none_or(|to| now < to)
    }
}

/// An enrolled device.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct DeviceRecord {
    /// Its key.
    #[n(0)]
    pub device: DeviceId,
    /// Whose it is.
    #[n(1)]
    pub subscriber: SubscriberId,
    /// Bytes pulled from it so far.
    #[n(2)]
    pub uploaded_bytes: u64,
}
