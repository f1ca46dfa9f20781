use std::collections::BTreeMap;
use std::fmt;

use minicbor::decode::Error as DecodeError;
use minicbor::{Decode, Decoder, Encode};
use serde::{Deserialize, Serialize};

use crate::ids::DeviceId;
use crate::limits::MAX_BANS;
use crate::time::UnixMillis;

/// What a device was proven to have lied about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "lowercase")]
pub enum Lie {
    /// A list of group hashes that does not merge to the CID.
    #[n(0)]
    Hashes,
    /// A group that does not match its hash.
    #[n(1)]
    Group,
    /// Bytes that are not the units which its own unit index says they are.
    #[n(2)]
    Unit,
}

impl fmt::Display for Lie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hashes => "false list of group hashes",
            Self::Group => "false group",
            Self::Unit => "false units",
        })
    }
}

/// Why and since when a device is banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Ban {
    /// The proven lie.
    #[n(0)]
    pub lie: Lie,
    /// When it was told.
    #[n(1)]
    pub at: UnixMillis,
}

/// Banned devices, at most [`MAX_BANS`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode)]
#[cbor(transparent)]
pub struct Bans(#[n(0)] BTreeMap<DeviceId, Ban>);

impl Bans {
    /// Bans a device. A device that is banned already keeps its first ban. When full, the oldest is forgotten.
    pub fn ban(&mut self, device: DeviceId, lie: Lie, at: UnixMillis) {
        if self.0.contains_key(&device) {
            return;
        }
        if self.0.len() >= MAX_BANS
            && let Some(oldest) = self.0.iter().min_by_key(|(id, ban)| (ban.at, **id)).map(|(id, _)| *id)
        {
            self.0.remove(&oldest);
        }
        self.0.insert(device, Ban { lie, at });
    }

    /// Lifts a ban, on the user's or the operator's word. True if there was one.
    pub fn lift(&mut self, device: DeviceId) -> bool {
        self.0.remove(&device).is_some()
    }

    /// The device's ban, if it is banned.
    #[must_use]
    pub fn get(&self, device: DeviceId) -> Option<Ban> {
        self.0.get(&device).copied()
    }

    /// All bans, by device.
    pub fn iter(&self) -> impl Iterator<Item = (DeviceId, Ban)> {
        self.0.iter().map(|(id, ban)| (*id, *ban))
    }

    /// Number of banned devices.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nobody is banned.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'b, C> Decode<'b, C> for Bans {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, DecodeError> {
        bounded_map(d, ctx, MAX_BANS).map(Self)
    }
}

/// Decodes a map of definite length and at most `max` entries.
pub(super) fn bounded_map<'b, C, V: Decode<'b, C>>(
    d: &mut Decoder<'b>,
    ctx: &mut C,
    max: usize,
) -> Result<BTreeMap<DeviceId, V>, DecodeError> {
    let len = d.map()?.ok_or_else(|| DecodeError::message("map of indefinite length"))?;
    if len > max as u64 {
        return Err(DecodeError::message("map has too many entries"));
    }
    (0..len).map(|_| Ok((DeviceId::decode(d, ctx)?, V::decode(d, ctx)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(number: u32) -> DeviceId {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&number.to_be_bytes());
        DeviceId(id)
    }

    #[test]
    fn the_list_is_bounded_and_forgets_the_oldest() {
        let mut bans = Bans::default();
        for number in 0..MAX_BANS as u32 + 3 {
            // Later devices sort first, so that age and not the name decides.
            bans.ban(device(u32::MAX - number), Lie::Group, UnixMillis(u64::from(number)));
        }
        assert_eq!(bans.len(), MAX_BANS);
        assert_eq!(bans.get(device(u32::MAX - 2)), None);
        assert_eq!(bans.get(device(u32::MAX - 3)), Some(Ban { lie: Lie::Group, at: UnixMillis(3) }));
    }

    #[test]
    fn survives_the_disk_and_refuses_a_list_over_the_limit() {
        let mut bans = Bans::default();
        bans.ban(device(1), Lie::Hashes, UnixMillis(5));
        bans.ban(device(1), Lie::Group, UnixMillis(9));
        let bytes = minicbor::to_vec(&bans).unwrap();
        let read: Bans = minicbor::decode(&bytes).unwrap();
        assert_eq!(read.get(device(1)), Some(Ban { lie: Lie::Hashes, at: UnixMillis(5) }));
        // A map that promises 2^32 entries.
        assert!(minicbor::decode::<Bans>(&[0xba, 0xff, 0xff, 0xff, 0xff]).is_err());
    }

    #[test]
    fn a_lifted_ban_is_gone() {
        let mut bans = Bans::default();
        bans.ban(device(1), Lie::Group, UnixMillis(5));
        assert!(bans.lift(device(1)));
        assert!(bans.is_empty() && !bans.lift(device(1)));
    }
}
