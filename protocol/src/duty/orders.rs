//! What a node says of itself, and what the seed orders, as they travel.

use minicbor::{Decode, Encode};

use crate::ids::{ChannelId, ChunkCid, DeviceId, Slot};
use crate::sign::{Raw, Statement, Verified};
use crate::time::UnixMillis;

/// What a device can contribute: measured, declared and allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, serde::Serialize, serde::Deserialize)]
pub struct Capability {
    /// Uplink that the owner declared or the device assumes, in bits per second.
    #[n(0)]
    pub uplink_declared_bps: u64,
    /// Uplink as last measured on real transfers, in bits per second; 0 where nothing was measured yet.
    #[n(1)]
    pub uplink_measured_bps: u64,
    /// Share of the uplink that the owner allows for others, in percent, 0 to 100.
    #[n(2)]
    pub share_percent: u8,
    /// Bytes already promised and not yet sent.
    #[n(3)]
    pub backlog_bytes: u64,
    /// Bytes left in the tightest of the day's and month's budgets.
    #[n(4)]
    pub budget_left_bytes: u64,
    /// Free room for chunks, in bytes.
    #[n(5)]
    pub free_bytes: u64,
    /// The connection is paid by volume: nothing is uploaded.
    #[n(6)]
    pub metered: bool,
    /// On battery: asked last.
    #[n(7)]
    pub on_battery: bool,
    /// The owner paused sharing.
    #[n(8)]
    pub paused: bool,
}

/// What is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum DutyKind {
    /// Report every chunk of this channel from this slot on, as a witness.
    #[n(0)]
    Witness,
    /// Keep the chunk ready: the seed pulls it from you until the deadline.
    #[n(1)]
    Upload,
    /// Keep a copy for others.
    #[n(2)]
    Keep,
}

/// A signed order of the seed, bound to one device, one chunk and a deadline.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Duty {
    /// The only device it binds.
    #[n(0)]
    pub device: DeviceId,
    /// Channel of the chunk.
    #[n(1)]
    pub channel: ChannelId,
    /// Its place; for witnesses the first one.
    #[n(2)]
    pub slot: Slot,
    /// What to do.
    #[n(3)]
    pub kind: DutyKind,
    /// The chunk, where it is known.
    #[n(4)]
    pub cid: Option<ChunkCid>,
    /// Until when; for witnesses, when the order lapses.
    #[n(5)]
    pub deadline: UnixMillis,
    /// When the seed signed.
    #[n(6)]
    pub issued: UnixMillis,
}

impl Statement for Duty {
    const DOMAIN: &'static str = "aftercast/duty/1";
    const MAX_BYTES: usize = 512;
}

/// A duty nobody has checked yet.
pub type RawDuty = Raw<Duty>;
/// A duty that the seed signed.
pub type VerifiedDuty = Verified<Duty>;
