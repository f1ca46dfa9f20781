//! What recorders state and what the seed decides, as they travel.

use minicbor::{Decode, Encode};

use crate::ccf::WithheldReason;
use crate::ids::{ChannelId, ChunkCid, ChunkIndex, Slot, TimelineId, UnitDigest};
use crate::sign::{Raw, Statement, Verified};
use crate::time::{Pts33, Ticks, UnixMillis};

/// What a recorder has of one chunk.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Reception {
    /// All of it, clean: emitted under this CID.
    #[n(0)]
    Clean {
        /// The chunk.
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
        /// Its clean units, where there are any: the seed may ask for their index, and for units of them.
        #[n(1)]
        piece: Option<ChunkCid>,
    },
}

/// A recorder's statement to the seed about one chunk, in private.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Report {
    /// The channel.
    #[n(0)]
    pub channel: ChannelId,
    /// Timeline as this recorder numbers it.
    #[n(1)]
    pub timeline: TimelineId,
    /// Cell as this recorder numbers it.
    #[n(2)]
    pub index: ChunkIndex,
    /// PTS of the opening unit, 33 bits, as received.
    #[n(3)]
    pub pts: Pts33,
    /// Distance to the next opening unit, in ticks.
    #[n(4)]
    pub duration: Ticks,
    /// Digest of the opening unit.
    #[n(5)]
    pub opening: UnitDigest,
    /// Wall time at which the opening unit was received, by this device's clock.
    #[n(6)]
    pub utc: UnixMillis,
    /// What it has.
    #[n(7)]
    pub reception: Reception,
    /// How it bears on truth: asked for, or of its own accord.
    #[n(8)]
    pub standing: Standing,
}

/// In which role a recorder reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Standing {
    /// It was asked to witness.
    #[n(0)]
    Witness,
    /// It found the published CID to differ from its own clean one.
    #[n(1)]
    Objection,
}

/// Receivers whose clean chunks agree; 0 until regional insertion splits a channel.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, serde::Serialize, serde::Deserialize,
)]
#[cbor(transparent)]
pub struct Class(#[n(0)] pub u16);

/// What the seed decided about a chunk.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Decision {
    /// Two subscribers or more agree, or the reference says so.
    #[n(0)]
    Confirmed {
        /// The chunk.
        #[n(0)]
        cid: ChunkCid,
        /// Its length in bytes.
        #[n(1)]
        bytes: u64,
        /// PTS of the opening unit.
        #[n(2)]
        pts: Pts33,
        /// Distance to the next opening unit, in ticks.
        #[n(3)]
        duration: Ticks,
        /// Digest of the opening unit.
        #[n(4)]
        opening: UnitDigest,
    },
    /// An earlier decision no longer holds.
    #[n(1)]
    Withdrawn {
        /// The chunk that was confirmed.
        #[n(0)]
        cid: ChunkCid,
    },
}

/// A published decision. Chunks with one reporter (*single*) or in dispute are not published.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Fact {
    /// The channel.
    #[n(0)]
    pub channel: ChannelId,
    /// Counts up by one per fact of the channel, from 0: what is missing can be asked for.
    #[n(1)]
    pub seq: u64,
    /// The place.
    #[n(2)]
    pub slot: Slot,
    /// For which class of receivers.
    #[n(3)]
    pub class: Class,
    /// What was decided.
    #[n(4)]
    pub decision: Decision,
    /// Wall time of the opening unit: median of the reporters.
    #[n(5)]
    pub utc: UnixMillis,
}

impl Statement for Fact {
    const DOMAIN: &'static str = "aftercast/fact/1";
    const MAX_BYTES: usize = 512;
}

/// A fact nobody has checked yet.
pub type RawFact = Raw<Fact>;
/// A fact that the seed signed.
pub type VerifiedFact = Verified<Fact>;
