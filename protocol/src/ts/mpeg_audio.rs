//! MPEG-1 and MPEG-2 audio frames (ISO/IEC 11172-3, 2.4.2.3; ISO/IEC 13818-3, 2.4.2.3).

use super::audio::FrameHeader;

/// Bytes of a frame header.
pub const HEADER_BYTES: usize = 4;

/// Bit rates in kb/s by index: MPEG-1 layers I, II, III, then MPEG-2 layer I, then layers II and III.
const BIT_RATES: [[u32; 15]; 5] = [
    [0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
    [0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
    [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    [0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
    [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];

/// Reads a header. Free-format frames (bit rate index 0) do not tell their length and are refused.
#[must_use]
pub fn read_header(bytes: &[u8]) -> Option<FrameHeader> {
    let &[sync, flags, rates, _, ..] = bytes else { return None };
    // Twelve ones: the later MPEG-2.5 (eleven) is not broadcast.
    if sync != 0xFF || flags & 0xF0 != 0xF0 {
        return None;
    }
    let mpeg1 = flags & 0x08 != 0;
    let layer = 4 - usize::from(flags >> 1 & 3);
    let full_rate = *[44_100, 48_000, 32_000].get(usize::from(rates >> 2 & 3))?;
    let rate = if mpeg1 { full_rate } else { full_rate / 2 };
    let row = match (mpeg1, layer) {
        (_, 4) => return None,
        (true, layer) => layer - 1,
        (false, 1) => 3,
        (false, _) => 4,
    };
    let bit_rate = *BIT_RATES[row].get(usize::from(rates >> 4)).filter(|&&rate| rate != 0)? * 1000;
    let padding = u32::from(rates >> 1 & 1);
    let (samples, bytes) = match layer {
        1 => (384, (12 * bit_rate / rate + padding) * 4),
        3 if !mpeg1 => (576, 72 * bit_rate / rate + padding),
        _ => (1152, 144 * bit_rate / rate + padding),
    };
    Some(FrameHeader { bytes: bytes as usize, samples, rate })
}
