//! What is written down, row by row. The version of a row is part of its table's name.

use aftercast_protocol::ccf::WithheldReason;
use aftercast_protocol::grant::RawGrant;
use aftercast_protocol::ids::{ChannelId, ChunkCid, ChunkIndex, RecordingId, Slot, TimelineId, UnitDigest};
use aftercast_protocol::plan::RawPlan;
use aftercast_protocol::time::{Pts33, Ticks, UnixMillis};
use aftercast_protocol::truth::{Class, Reception, Report, Standing};
use minicbor::{Decode, Encode};
use serde::Serialize;

/// A recording that the seed has on its books for this device.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Recording {
    /// Its id, drawn by the seed.
    #[n(0)]
    pub id: RecordingId,
    /// The channel.
    #[n(1)]
    pub channel: ChannelId,
    /// From when.
    #[n(2)]
    pub from: UnixMillis,
    /// Until when; until stopped if absent.
    #[n(3)]
    pub to: Option<UnixMillis>,
    /// When it ended.
    #[n(4)]
    pub stopped: Option<UnixMillis>,
    /// First entry of the channel that belongs to it; none before it began.
    #[n(5)]
    pub first_seq: Option<u64>,
    /// Last entry that belongs to it, once it ended.
    #[n(6)]
    pub last_seq: Option<u64>,
    /// Where the channel is cut.
    #[n(7)]
    pub plan: RawPlan,
    /// What this device may fetch of it.
    #[n(8)]
    pub grant: RawGrant,
    /// The seed knows that it ended.
    #[n(9)]
    pub stop_told: bool,
    /// The user deleted it; kept until the seed knows.
    #[n(10)]
    pub deleted: bool,
}

/// What this device itself has of one chunk of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct LocalEntry {
    /// Timeline, as this device numbers it.
    #[n(0)]
    pub timeline: TimelineId,
    /// Cell, as this device numbers it.
    #[n(1)]
    pub index: ChunkIndex,
    /// PTS of the opening unit.
    #[n(2)]
    pub pts: Pts33,
    /// Distance to the next opening unit.
    #[n(3)]
    pub duration: Ticks,
    /// Digest of the opening unit.
    #[n(4)]
    pub opening: UnitDigest,
    /// Wall time of the opening unit.
    #[n(5)]
    pub utc: UnixMillis,
    /// What was received.
    #[n(6)]
    pub content: LocalContent,
    /// The seed's place of it, once a fact or a manifest said so.
    #[n(7)]
    pub slot: Option<Slot>,
    /// The seed was told.
    #[n(8)]
    pub reported: bool,
    /// A fact says that this is the chunk.
    #[n(9)]
    pub confirmed: bool,
    /// The seed holds it durably.
    #[n(10)]
    pub acked: bool,
    /// A fact says that another chunk is right, and the seed was told that this one was clean.
    #[n(11)]
    pub objected: bool,
    /// What came beside its core, where it was received whole.
    #[n(12)]
    pub aux: Option<AuxKept>,
    /// It was received with damage, and is whole since: others helped out.
    #[n(13)]
    #[cbor(default)]
    pub repaired: bool,
}

/// An aux object that was stored beside its chunk. It goes with the chunk; the length for players stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct AuxKept {
    /// Number of the layout, of those of the channel, by which it is written for players.
    #[n(0)]
    pub layout: u64,
    /// Length in bytes of the chunk as it is written for players.
    #[n(1)]
    pub muxed: u64,
    /// Length of the object.
    #[n(2)]
    pub bytes: u64,
    /// Units in it.
    #[n(3)]
    pub units: u64,
}

/// What was received of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum LocalContent {
    /// All of it.
    #[n(0)]
    Clean {
        /// The chunk, in the store under this id unless it was evicted.
        #[n(0)]
        cid: ChunkCid,
        /// Its length in bytes.
        #[n(1)]
        bytes: u64,
    },
    /// Not all of it.
    #[n(1)]
    Withheld {
        /// Why.
        #[n(0)]
        reason: WithheldReason,
        /// Its clean units as a playable stream, in the store under the hash of these bytes; never announced.
        #[n(1)]
        salvaged: Option<ChunkCid>,
        /// Their length in bytes.
        #[n(2)]
        bytes: u64,
    },
}

impl LocalEntry {
    /// The chunk, where it was received whole.
    #[must_use]
    pub fn cid(&self) -> Option<ChunkCid> {
        match self.content {
            LocalContent::Clean { cid, .. } => Some(cid),
            LocalContent::Withheld { .. } => None,
        }
    }

    /// The key of what can be played of it from this device alone, where it was not received whole.
    #[must_use]
    pub fn salvaged(&self) -> Option<ChunkCid> {
        match self.content {
            LocalContent::Clean { .. } => None,
            LocalContent::Withheld { salvaged, .. } => salvaged,
        }
    }

    /// The statement to the seed about it.
    #[must_use]
    pub fn report(&self, channel: &ChannelId, standing: Standing) -> Report {
        let reception = match self.content {
            LocalContent::Clean { cid, bytes } => Reception::Clean { cid, bytes },
            LocalContent::Withheld { reason, salvaged, .. } => Reception::Withheld { reason, piece: salvaged },
        };
        Report {
            channel: channel.clone(),
            timeline: self.timeline,
            index: self.index,
            pts: self.pts,
            duration: self.duration,
            opening: self.opening,
            utc: self.utc,
            reception,
            standing,
        }
    }
}

/// What a stored chunk is, in the note beside it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ChunkNote {
    /// Where it came from.
    #[n(0)]
    pub kind: NoteKind,
    /// Its channel.
    #[n(1)]
    pub channel: ChannelId,
    /// Its place, once known.
    #[n(2)]
    pub slot: Option<Slot>,
    /// Its class of receivers.
    #[n(3)]
    pub class: Class,
    /// Wall time of its opening unit.
    #[n(4)]
    pub utc: UnixMillis,
    /// The seed said that this is the chunk of that place, so that it may be given to holders of grants.
    #[n(5)]
    pub confirmed: bool,
}

impl ChunkNote {
    /// As the store keeps it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        super::encode(self)
    }

    /// Reads a note.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        super::decode("note of a chunk", bytes)
    }
}

/// Where a stored chunk came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum NoteKind {
    /// Received whole by this device.
    #[n(0)]
    Recorded,
    /// Clean units of a chunk that was not received whole: for this device only.
    #[n(1)]
    Salvaged,
    /// Fetched and verified.
    #[n(2)]
    Fetched,
    /// A transcoded form, fetched and verified; given to nobody.
    #[n(3)]
    Rendition,
}

/// The user's wish about sharing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode, Serialize)]
pub struct ShareSetting {
    /// Nothing leaves the home until resumed.
    #[n(0)]
    pub paused: bool,
    /// Limit in bits per second, below what the configuration allows.
    #[n(1)]
    pub limit_bps: Option<u64>,
}

impl ShareSetting {
    pub(super) const KEY: &'static [u8] = b"share";
}
