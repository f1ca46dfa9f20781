//! The envelope of a chunk on disk, wire and export (CCF 19): the chunk contains its hash, and its reader checks it.
//!
//! ```text
//! 0   4  "CCFO"
//! 4   1  version, 1
//! 5   3  zero
//! 8   8  length of the canonical bytes, big endian
//! 16 32  BLAKE3-256 of the canonical bytes: the CID's digest
//! 48     hash of each 64 KiB group, 32 bytes each
//! ...    canonical bytes
//! ```

use crate::ids::ChunkCid;
use crate::verify::{BadGroup, BadHashes, GroupHashes, groups_of_len};

const MAGIC: [u8; 4] = *b"CCFO";
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 48;

/// A chunk object whose contents were checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object<'a> {
    /// Content id of the chunk.
    pub cid: ChunkCid,
    /// Hashes of its groups, which merge to the CID.
    pub hashes: GroupHashes,
    /// The canonical bytes.
    pub bytes: &'a [u8],
}

/// Bytes that are no sound chunk object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// Something else altogether.
    #[error("not a chunk object")]
    Magic,
    /// A version that this program does not read.
    #[error("chunk object version {0} is not supported")]
    Version(u8),
    /// Shorter or longer than its header says.
    #[error("chunk object of {have} bytes should have {wanted}")]
    Length {
        /// Bytes given.
        have: u64,
        /// Bytes that the header announces.
        wanted: u64,
    },
    /// Group hashes that are not the CID's.
    #[error(transparent)]
    Hashes(#[from] BadHashes),
    /// A group that is not what its hash says.
    #[error(transparent)]
    Group(#[from] BadGroup),
}

/// The object of a chunk's canonical bytes.
#[must_use]
pub fn encode(bytes: &[u8]) -> Vec<u8> {
    let hashes = GroupHashes::of(bytes);
    let mut out = Vec::with_capacity(HEADER_BYTES + hashes.as_bytes().len() + bytes.len());
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[VERSION, 0, 0, 0]);
    out.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
    out.extend_from_slice(&hashes.cid().0);
    out.extend_from_slice(hashes.as_bytes());
    out.extend_from_slice(bytes);
    out
}

/// Reads an object and checks all of it.
///
/// # Errors
/// The first thing that is wrong with it. The bytes' giver is at fault.
pub fn decode(object: &[u8]) -> Result<Object<'_>, ObjectError> {
    let Some((header, rest)) = object.split_first_chunk::<HEADER_BYTES>() else { return Err(ObjectError::Magic) };
    let (fixed, digest) = header.split_at(16);
    let (magic, rest_of_fixed) = fixed.split_at(4);
    if magic != MAGIC {
        return Err(ObjectError::Magic);
    }
    let mut be = [0; 8];
    be.copy_from_slice(&rest_of_fixed[4..]);
    let (version, reserved, len) = (rest_of_fixed[0], &rest_of_fixed[1..4], u64::from_be_bytes(be));
    if version != VERSION || reserved != [0; 3] {
        return Err(ObjectError::Version(version));
    }
    let groups = groups_of_len(len).ok_or(BadHashes::Length(len))?;
    let hash_bytes = 32 * groups as usize;
    let wanted = HEADER_BYTES as u64 + hash_bytes as u64 + len;
    let (Some((hashes, bytes)), true) = (rest.split_at_checked(hash_bytes), wanted == object.len() as u64) else {
        return Err(ObjectError::Length { have: object.len() as u64, wanted });
    };
    let mut cid = [0; 32];
    cid.copy_from_slice(digest);
    let cid = ChunkCid(cid);
    let hashes = GroupHashes::checked_bytes(cid, len, hashes)?;
    for (number, group) in bytes.chunks(crate::limits::GROUP_BYTES).enumerate() {
        hashes.check_group(crate::ids::GroupIndex(number as u32), group)?;
    }
    Ok(Object { cid, hashes, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_flipped_byte_is_noticed() {
        let bytes: Vec<u8> = (0..150_000u32).map(|n| ((n * 7) >> 3) as u8).collect();
        let object = encode(&bytes);
        let read = decode(&object).expect("sound");
        assert_eq!((read.cid, read.bytes), (ChunkCid::of(&bytes), &bytes[..]));
        for at in (0..200).chain((200..object.len()).step_by(997)) {
            let mut bad = object.clone();
            bad[at] ^= 0x20;
            assert!(decode(&bad).is_err(), "byte {at}");
        }
        for cut in [0, 47, 48, object.len() - 1] {
            assert!(decode(&object[..cut]).is_err());
        }
        assert!(decode(&[&object[..], &[0]].concat()).is_err());
    }
}
