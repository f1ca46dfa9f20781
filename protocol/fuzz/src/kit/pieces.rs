//! An input split in an arbitrary but repeatable way.

/// Pieces of one byte to a few hundred, by a generator that begins with `salt` and the length.
pub fn pieces(bytes: &[u8], salt: u64) -> impl Iterator<Item = &[u8]> {
    let mut state = salt ^ (bytes.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let size = match state % 4 {
            0 => 1 + (state >> 8) as usize % 4,
            1 => 188,
            _ => 1 + (state >> 8) as usize % 700,
        };
        let (piece, after) = rest.split_at(size.min(rest.len()));
        rest = after;
        Some(piece)
    })
}
