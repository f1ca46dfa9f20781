//! Under which keys holders of chunks announce themselves in the Kademlia table (DESIGN 9).
//!
//! One key per channel, class and hour of broadcast: 900 keys per channel-hour, one a chunk, would drown any table.
//! Chunks with few holders and first chunks are announced by their own CID as well.

use crate::ids::{ChannelId, ChunkCid};
use crate::time::UnixMillis;
use crate::truth::Class;

const HOUR_MILLIS: u64 = 3_600_000;

/// Key of everyone who holds chunks of that hour of a channel; `utc` is the wall time of a chunk's opening unit.
#[must_use]
pub fn provider_key(channel: &ChannelId, class: Class, utc: UnixMillis) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("aftercast 2026 provider key of a channel's hour");
    hasher.update(channel.as_str().as_bytes());
    hasher.update(&[0]);
    hasher.update(&class.0.to_be_bytes());
    hasher.update(&(utc.0 / HOUR_MILLIS).to_be_bytes());
    *hasher.finalize().as_bytes()
}

/// Key of everyone who holds this very chunk.
#[must_use]
pub fn chunk_key(cid: ChunkCid) -> [u8; 32] {
    cid.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_an_hour_and_none_shared_between_channels_or_classes() {
        let one: ChannelId = "one".parse().unwrap();
        let key = provider_key(&one, Class(0), UnixMillis(7_200_000));
        assert_eq!(key, provider_key(&one, Class(0), UnixMillis(10_799_999)));
        assert_ne!(key, provider_key(&one, Class(0), UnixMillis(10_800_000)));
        assert_ne!(key, provider_key(&one, Class(1), UnixMillis(7_200_000)));
        assert_ne!(key, provider_key(&"two".parse().unwrap(), Class(0), UnixMillis(7_200_000)));
    }
}
