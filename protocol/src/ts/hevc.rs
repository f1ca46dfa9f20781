//! H.265 syntax as far as pictures must be told apart. References are to ISO/IEC 23008-2 (H.265).

use super::nal::Role;

/// Bytes of a NAL unit header (7.3.1.2).
pub const HEADER_BYTES: usize = 2;

/// Which kinds of parameter set were seen. Pictures are told apart without their content.
#[derive(Debug, Clone, Copy, Default)]
pub struct SetsSeen {
    kinds: [bool; 3],
}

impl SetsSeen {
    /// A video, sequence or picture parameter set came.
    pub fn take(&mut self, nal: &[u8]) {
        if let Some(seen) = nal.first().and_then(|byte| self.kinds.get_mut(usize::from(kind(*byte)).wrapping_sub(32))) {
            *seen = true;
        }
    }

    /// Whether one of each kind came.
    #[must_use]
    pub fn all(&self) -> bool {
        self.kinds.iter().all(|seen| *seen)
    }
}

/// `nal_unit_type`.
fn kind(header: u8) -> u8 {
    header >> 1 & 0x3F
}

/// Role of a NAL unit (table 7-1, 7.4.2.4.4). Those of further layers stay with the base layer's picture.
pub(super) fn role(nal: &[u8]) -> Option<Role> {
    let &[first, second, ..] = nal else { return None };
    // `nuh_temporal_id_plus1` is never 0: such a second byte is a zero behind a NAL unit of one byte.
    if first & 1 != 0 || second >> 3 != 0 || second == 0 {
        return Some(Role::Stays);
    }
    Some(match kind(first) {
        0..=31 => Role::Slice,
        32..=34 => Role::Set,
        35 => Role::Delimiter,
        38 => Role::Filler,
        39 => Role::Sei,
        41..=44 | 48..=55 => Role::Opens,
        _ => Role::Stays,
    })
}

/// `first_slice_segment_in_pic_flag` (7.3.6.1).
#[must_use]
pub fn is_first_slice(nal: &[u8]) -> bool {
    nal.get(HEADER_BYTES).is_some_and(|byte| byte & 0x80 != 0)
}

/// Whether the slice belongs to an intra random access point picture: BLA, IDR or CRA.
#[must_use]
pub fn is_random_access_point(nal: &[u8]) -> bool {
    nal.first().is_some_and(|byte| (16..=21).contains(&kind(*byte)))
}
