//! AAC in ADTS framing (ISO/IEC 13818-7, 6.2).

use super::audio::FrameHeader;

/// Bytes that hold a frame's length.
pub const HEADER_BYTES: usize = 7;
const RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// Reads the fixed and variable header.
#[must_use]
pub fn read_header(bytes: &[u8]) -> Option<FrameHeader> {
    let &[sync, flags, profile, mid, low, last, blocks, ..] = bytes else { return None };
    // Sync word 0xFFF, layer 0.
    if sync != 0xFF || flags & 0xF6 != 0xF0 {
        return None;
    }
    let rate = *RATES.get(usize::from(profile >> 2 & 0x0F))?;
    let len = usize::from(mid & 3) << 11 | usize::from(low) << 3 | usize::from(last >> 5);
    let shortest = if flags & 1 == 0 { HEADER_BYTES + 2 } else { HEADER_BYTES };
    let samples = 1024 * (u32::from(blocks & 3) + 1);
    (len > shortest).then_some(FrameHeader { bytes: len, samples, rate })
}
