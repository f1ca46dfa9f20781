//! Names of things, each its own type, so that a chunk's index is never taken for a group's.

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits::MAX_NAME_BYTES;

/// A name or identifier that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not a CIDv1 of codec raw with a BLAKE3-256 multihash.
    #[error("not a chunk CID (CIDv1, raw, BLAKE3-256): {0:?}")]
    Cid(String),
    /// Not the given number of bytes in hexadecimal.
    #[error("not {bytes} bytes in hexadecimal: {text:?}")]
    Hex {
        /// Length wanted, in bytes.
        bytes: usize,
        /// What was given.
        text: String,
    },
    /// A name that is empty, too long or holds characters outside `a-z A-Z 0-9 . _ -`.
    #[error("not a name (1 to {MAX_NAME_BYTES} of a-z A-Z 0-9 . _ -): {0:?}")]
    Name(String),
}

/// Multicodec code of raw bytes, the codec of every chunk's CID.
const CODEC_RAW: u64 = 0x55;
/// Multihash code of BLAKE3.
const MULTIHASH_BLAKE3: u64 = 0x1e;

/// Content id of a chunk: the BLAKE3-256 digest of its canonical bytes (CCF 19).
///
/// Displayed and parsed as CIDv1, codec raw, multihash BLAKE3-256, base32 (`bafkr4…`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct ChunkCid(#[cbor(with = "minicbor::bytes")] pub [u8; 32]);

impl ChunkCid {
    /// Content id of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The CID as the `cid` crate has it, for foreign protocols.
    #[must_use]
    pub fn to_cid(self) -> cid::Cid {
        let hash = multihash::Multihash::wrap(MULTIHASH_BLAKE3, &self.0).expect("32 bytes fit a 64-byte multihash");
        cid::Cid::new_v1(CODEC_RAW, hash)
    }
}

impl fmt::Display for ChunkCid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_cid().fmt(f)
    }
}

impl fmt::Debug for ChunkCid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ChunkCid {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let bad = || IdError::Cid(text.chars().take(80).collect());
        let cid = cid::Cid::try_from(text).map_err(|_| bad())?;
        if cid.version() != cid::Version::V1 || cid.codec() != CODEC_RAW || cid.hash().code() != MULTIHASH_BLAKE3 {
            return Err(bad());
        }
        cid.hash().digest().try_into().map(Self).map_err(|_| bad())
    }
}

fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], IdError> {
    let bad = || IdError::Hex { bytes: N, text: text.chars().take(80).collect() };
    if text.len() != 2 * N || !text.is_ascii() {
        return Err(bad());
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| bad())?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| bad())?;
    }
    Ok(out)
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        #[cbor(transparent)]
        pub struct $name(#[cbor(with = "minicbor::bytes")] pub [u8; $len]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                parse_hex(text).map(Self)
            }
        }
    };
}

hex_id!(
    /// A device: its Ed25519 public key, which is also its libp2p identity.
    DeviceId, 32
);
hex_id!(
    /// A recording of one subscriber, drawn by the seed.
    RecordingId, 16
);
hex_id!(
    /// First 16 bytes of BLAKE3 of an anchor's access unit (CCF 11), or of any unit (CCF 20).
    UnitDigest, 16
);

macro_rules! name_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode)]
        #[cbor(transparent)]
        pub struct $name(#[n(0)] String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let fits = (1..=MAX_NAME_BYTES).contains(&text.len());
                let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
                // A leading dot would make a name a hidden file or a parent folder where names become paths.
                if fits && plain && !text.starts_with('.') {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(IdError::Name(text.chars().take(80).collect()))
                }
            }
        }
        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
                d.str()?.parse().map_err(minicbor::decode::Error::custom)
            }
        }
    };
}

name_id!(
    /// A channel, as the broadcaster names it.
    ChannelId
);
name_id!(
    /// A subscriber: the unit of independence when witnesses are counted.
    SubscriberId
);

macro_rules! serde_as_text {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
serde_as_text!(ChunkCid, DeviceId, RecordingId, UnitDigest, ChannelId, SubscriberId);

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $int:ty) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
        )]
        #[cbor(transparent)]
        #[serde(transparent)]
        pub struct $name(#[n(0)] pub $int);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_id!(
    /// A stretch of a channel without a clock discontinuity, numbered from 0.
    TimelineId, u32
);
number_id!(
    /// Number of a chunk's grid cell (CCF 11): `wrap * ceil(2^33 / interval) + floor(pts33 / interval)`.
    ChunkIndex, u64
);
number_id!(
    /// Number of a 64 KiB group inside a chunk.
    GroupIndex, u32
);

number_id!(
    /// A request for groups of a chunk, numbered by the side that asks; never used twice on one connection.
    RequestId, u64
);

/// Where a chunk belongs: a cell of one timeline of one channel. Several CIDs may claim one slot; truth decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize)]
pub struct Slot {
    /// Timeline as the seed numbers it.
    #[n(0)]
    pub timeline: TimelineId,
    /// Grid cell.
    #[n(1)]
    pub index: ChunkIndex,
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.timeline, self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cid_survives_its_text_form() {
        let cid = ChunkCid::of(b"aftercast");
        let text = cid.to_string();
        assert!(text.starts_with("bafkr4"), "{text}");
        assert_eq!(text.parse(), Ok(cid));
    }

    #[test]
    fn refuses_cids_of_other_hashes_and_codecs() {
        // CIDv1 raw SHA2-256, and a CIDv0.
        for text in [
            "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy",
            "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG",
            "",
        ] {
            assert!(text.parse::<ChunkCid>().is_err(), "{text}");
        }
    }

    #[test]
    fn names_that_could_be_paths_are_refused() {
        for text in ["", "a/b", "..", ".x", "a b", "é", &"x".repeat(MAX_NAME_BYTES + 1)] {
            assert!(text.parse::<ChannelId>().is_err(), "{text}");
        }
        assert!("das-erste.hd_1".parse::<ChannelId>().is_ok());
    }
}
