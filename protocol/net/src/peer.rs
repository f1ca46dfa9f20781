//! A device is its Ed25519 key; libp2p's peer id is another spelling of the same key.

use aftercast_protocol::ids::DeviceId;
use aftercast_protocol::sign::SecretKey;
use libp2p::PeerId;
use libp2p::identity::Keypair;
use libp2p::multihash::Multihash;

/// Multihash code "identity": the digest is the data itself.
const IDENTITY: u64 = 0;
/// Protobuf of libp2p's `PublicKey` up to the key: field 1 (type) = 1 (Ed25519), field 2 (data), 32 bytes
/// (libp2p specs, peer-ids).
const ED25519_KEY: [u8; 4] = [0x08, 0x01, 0x12, 0x20];

/// The peer id of a device. Total: no key arithmetic is needed, libp2p inlines short keys into the id.
#[must_use]
pub fn peer_id_of(device: DeviceId) -> PeerId {
    let mut key = [0; 36];
    key[..4].copy_from_slice(&ED25519_KEY);
    key[4..].copy_from_slice(&device.0);
    let hash = Multihash::<64>::wrap(IDENTITY, &key).expect("36 bytes fit a 64-byte multihash");
    PeerId::from_multihash(hash).expect("an identity multihash of 36 bytes is a peer id")
}

/// The device of a peer id; none where the peer's key is not Ed25519.
#[must_use]
pub fn device_of(peer: &PeerId) -> Option<DeviceId> {
    let hash: &Multihash<64> = peer.as_ref();
    let key = hash.digest().strip_prefix(&ED25519_KEY)?;
    (hash.code() == IDENTITY).then(|| key.try_into().ok().map(DeviceId)).flatten()
}

/// The device's key as libp2p wants it.
pub(crate) fn keypair_of(key: &SecretKey) -> Keypair {
    Keypair::ed25519_from_bytes(key.to_bytes()).expect("every 32 bytes are an Ed25519 seed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_and_its_peer_id_name_the_same_key() {
        let key = SecretKey::from_bytes(&[7; 32]);
        let pair = keypair_of(&key);
        assert_eq!(peer_id_of(key.device()), pair.public().to_peer_id());
        assert_eq!(device_of(&pair.public().to_peer_id()), Some(key.device()));
    }

    #[test]
    fn peers_without_an_ed25519_key_are_no_devices() {
        // A hashed identity, as RSA keys have: SHA2-256 (0x12) of the key.
        let hash = Multihash::<64>::wrap(0x12, &[1; 32]).unwrap();
        assert_eq!(device_of(&PeerId::from_multihash(hash).unwrap()), None);
    }
}
