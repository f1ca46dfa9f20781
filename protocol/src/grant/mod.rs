//! Rights of devices: who is enrolled, and who may fetch what.
//!
//! Both are signed by the seed, bound to a device key and short-lived, and a serving peer checks them offline
//! (DESIGN 12). A grant moved to another device is worthless, because the connection proves the device's key.

mod join;

use minicbor::{Decode, Encode};

pub use join::{JoinCode, JoinCodeError};

use crate::ids::{ChannelId, ChunkIndex, DeviceId, RecordingId, Slot, SubscriberId, TimelineId};
use crate::limits::MAX_GRANT_SPANS;
use crate::sign::{Raw, Statement, Verified};
use crate::time::UnixMillis;

/// One-time right to enrol one device for a subscriber; travels as text from the operator to the viewer.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct EnrolCode {
    /// Whom the device will belong to.
    #[n(0)]
    pub subscriber: SubscriberId,
    /// Makes the code unique, so that it works once.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub nonce: [u8; 16],
    /// When it lapses.
    #[n(2)]
    pub expires: UnixMillis,
}

impl Statement for EnrolCode {
    const DOMAIN: &'static str = "aftercast/enrol-code/1";
    const MAX_BYTES: usize = 256;
}

/// The broadcaster's word that a device belongs to a subscriber.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Certificate {
    /// The device.
    #[n(0)]
    pub device: DeviceId,
    /// Its subscriber.
    #[n(1)]
    pub subscriber: SubscriberId,
    /// Certificates of an epoch below the seed's current one are revoked.
    #[n(2)]
    pub epoch: u32,
    /// When the seed signed.
    #[n(3)]
    pub issued: UnixMillis,
    /// When it lapses.
    #[n(4)]
    pub expires: UnixMillis,
}

impl Statement for Certificate {
    const DOMAIN: &'static str = "aftercast/certificate/1";
    const MAX_BYTES: usize = 512;
}

/// A half-open stretch of chunks of one timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct SlotSpan {
    /// The timeline.
    #[n(0)]
    pub timeline: TimelineId,
    /// First cell.
    #[n(1)]
    pub from: ChunkIndex,
    /// First cell after the stretch; the largest number where it has no end yet.
    #[n(2)]
    pub to: ChunkIndex,
}

impl SlotSpan {
    /// All of a timeline, to come as well.
    #[must_use]
    pub fn of_timeline(timeline: TimelineId) -> Self {
        Self { timeline, from: ChunkIndex(0), to: ChunkIndex(u64::MAX) }
    }

    /// Whether a slot lies in it.
    #[must_use]
    pub fn contains(&self, slot: Slot) -> bool {
        slot.timeline == self.timeline && (self.from..self.to).contains(&slot.index)
    }
}

/// Right of one device to fetch chunks of a recording of its subscriber from anyone who holds them.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Grant {
    /// The only device that may use it.
    #[n(0)]
    pub device: DeviceId,
    /// Whose recording it is.
    #[n(1)]
    pub subscriber: SubscriberId,
    /// Channel of the chunks.
    #[n(2)]
    pub channel: ChannelId,
    /// The recording.
    #[n(3)]
    pub recording: RecordingId,
    /// What may be fetched, at most [`MAX_GRANT_SPANS`] stretches.
    #[n(4)]
    pub spans: Vec<SlotSpan>,
    /// Revocation epoch, as in [`Certificate::epoch`].
    #[n(5)]
    pub epoch: u32,
    /// When the seed signed.
    #[n(6)]
    pub issued: UnixMillis,
    /// When it lapses.
    #[n(7)]
    pub expires: UnixMillis,
}

impl Statement for Grant {
    const DOMAIN: &'static str = "aftercast/grant/1";
    const MAX_BYTES: usize = 4096;
}

/// A grant nobody has checked yet.
pub type RawGrant = Raw<Grant>;
/// A grant that the seed signed.
pub type VerifiedGrant = Verified<Grant>;

/// Why a device may not have what it asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, thiserror::Error)]
#[cbor(index_only)]
pub enum AccessDenied {
    /// No certificate of this broadcaster.
    #[n(0)]
    #[error("device is not enrolled")]
    NotEnrolled,
    /// No grant that names this chunk.
    #[n(1)]
    #[error("no grant for this chunk")]
    NoGrant,
    /// The grant or certificate lapsed.
    #[n(2)]
    #[error("grant or certificate has expired")]
    Expired,
    /// Issued to another device.
    #[n(3)]
    #[error("issued to another device")]
    OtherDevice,
    /// Of a revoked epoch.
    #[n(4)]
    #[error("revoked by the broadcaster")]
    Revoked,
    /// The seed did not sign it.
    #[n(5)]
    #[error("not signed by this broadcaster")]
    Forged,
}

impl Certificate {
    /// Whether this certificate enrols `device` now.
    ///
    /// # Errors
    /// Why it does not.
    pub fn admits(&self, device: DeviceId, epoch: u32, now: UnixMillis) -> Result<(), AccessDenied> {
        check(self.device, device, self.epoch, epoch, self.expires, now)
    }
}

impl Grant {
    /// Whether this grant lets `device` fetch the chunk of `slot` of `channel` now.
    ///
    /// # Errors
    /// Why it does not.
    pub fn allows(
        &self,
        device: DeviceId,
        channel: &ChannelId,
        slot: Slot,
        epoch: u32,
        now: UnixMillis,
    ) -> Result<(), AccessDenied> {
        check(self.device, device, self.epoch, epoch, self.expires, now)?;
        // The bound holds for what is looked at, too: a longer list is read no further.
        let spans = self.spans.iter().take(MAX_GRANT_SPANS);
        if self.channel == *channel && spans.into_iter().any(|span| span.contains(slot)) {
            Ok(())
        } else {
            Err(AccessDenied::NoGrant)
        }
    }
}

fn check(
    issued_to: DeviceId,
    device: DeviceId,
    issued_epoch: u32,
    epoch: u32,
    expires: UnixMillis,
    now: UnixMillis,
) -> Result<(), AccessDenied> {
    if issued_to != device {
        Err(AccessDenied::OtherDevice)
    } else if issued_epoch < epoch {
        Err(AccessDenied::Revoked)
    } else if now >= expires {
        Err(AccessDenied::Expired)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant() -> Grant {
        Grant {
            device: DeviceId([1; 32]),
            subscriber: "alice".parse().unwrap(),
            channel: "one".parse().unwrap(),
            recording: RecordingId([2; 16]),
            spans: vec![SlotSpan { timeline: TimelineId(0), from: ChunkIndex(10), to: ChunkIndex(20) }],
            epoch: 3,
            issued: UnixMillis(1_000),
            expires: UnixMillis(2_000),
        }
    }
    fn slot(timeline: u32, index: u64) -> Slot {
        Slot { timeline: TimelineId(timeline), index: ChunkIndex(index) }
    }

    #[test]
    fn allows_its_holder_its_stretch_until_it_lapses() {
        let (me, one, now) = (DeviceId([1; 32]), "one".parse().unwrap(), UnixMillis(1_500));
        assert_eq!(grant().allows(me, &one, slot(0, 10), 3, now), Ok(()));
        assert_eq!(grant().allows(me, &one, slot(0, 19), 3, now), Ok(()));
        assert_eq!(grant().allows(me, &one, slot(0, 20), 3, now), Err(AccessDenied::NoGrant));
        assert_eq!(grant().allows(me, &one, slot(1, 10), 3, now), Err(AccessDenied::NoGrant));
        assert_eq!(grant().allows(me, &"two".parse().unwrap(), slot(0, 10), 3, now), Err(AccessDenied::NoGrant));
        assert_eq!(grant().allows(DeviceId([9; 32]), &one, slot(0, 10), 3, now), Err(AccessDenied::OtherDevice));
        assert_eq!(grant().allows(me, &one, slot(0, 10), 4, now), Err(AccessDenied::Revoked));
        assert_eq!(grant().allows(me, &one, slot(0, 10), 3, UnixMillis(2_000)), Err(AccessDenied::Expired));
    }
}
