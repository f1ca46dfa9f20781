//! AAC in LATM with LOAS framing (ISO/IEC 14496-3, 1.7.2 and 1.7.3): how long each frame is and how long it sounds.

use super::audio::FrameHeader;
use super::bits::Bits;

/// Sync word and length.
pub const HEADER_BYTES: usize = 3;
const RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// What a `StreamMuxConfig` says of a frame's duration. Frames may leave it to an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Samples of a frame.
    pub samples: u32,
    /// Samples per second.
    pub rate: u32,
}

/// Bytes of the frame at the front.
#[must_use]
pub fn frame_bytes(bytes: &[u8]) -> Option<usize> {
    let &[sync, high, low, ..] = bytes else { return None };
    let len = usize::from(high & 0x1F) << 8 | usize::from(low);
    (sync == 0x56 && high & 0xE0 == 0xE0 && len > 0).then_some(HEADER_BYTES + len)
}

/// Reads a whole frame's header. `known` is the timing in force before it; without one, a frame that does not bring
/// its own cannot be timed and is none.
#[must_use]
pub fn read_header(frame: &[u8], known: Option<Timing>) -> Option<FrameHeader> {
    let bytes = frame_bytes(frame)?;
    let mut bits = Bits::new(frame.get(HEADER_BYTES..bytes)?);
    let same_as_before = bits.bit()?;
    let timing = if same_as_before { known? } else { mux_config(&mut bits)? };
    Some(FrameHeader { bytes, samples: timing.samples, rate: timing.rate })
}

/// `StreamMuxConfig` (table 1.42), up to the first layer of the first program: all of them last equally long.
fn mux_config(bits: &mut Bits<'_>) -> Option<Timing> {
    let version = bits.bit()?;
    if version {
        // A later syntax (audioMuxVersionA) is reserved.
        if bits.bit()? {
            return None;
        }
        value(bits)?;
    }
    let _same_time_framing = bits.bit()?;
    let sub_frames = bits.bits(6)? + 1;
    let _programs = bits.bits(4)?;
    let _layers = bits.bits(3)?;
    if version {
        value(bits)?;
    }
    let (samples, rate) = audio_config(bits)?;
    Some(Timing { samples: samples * sub_frames, rate })
}

/// `LatmGetValue` (table 1.43).
fn value(bits: &mut Bits<'_>) -> Option<u32> {
    let bytes = bits.bits(2)?;
    bits.bits(8 * (bytes + 1))
}

/// `AudioSpecificConfig` (table 1.15): samples of a frame at the core coder's rate.
fn audio_config(bits: &mut Bits<'_>) -> Option<(u32, u32)> {
    let mut object = object_type(bits)?;
    let rate = sampling_rate(bits)?;
    let _channels = bits.bits(4)?;
    // Spectral band replication around a core: the core's frame says how long it lasts.
    if object == 5 || object == 29 {
        sampling_rate(bits)?;
        object = object_type(bits)?;
    }
    // `GASpecificConfig` begins with the frame length flag; low delay AAC has shorter frames.
    let short = bits.bit()?;
    let samples = match (object, short) {
        (1..=4 | 6 | 17, false) => 1024,
        (1..=4 | 6 | 17, true) => 960,
        (23, false) => 512,
        (23, true) => 480,
        _ => return None,
    };
    Some((samples, rate))
}

fn object_type(bits: &mut Bits<'_>) -> Option<u32> {
    match bits.bits(5)? {
        31 => Some(32 + bits.bits(6)?),
        object => Some(object),
    }
}

fn sampling_rate(bits: &mut Bits<'_>) -> Option<u32> {
    match bits.bits(4)? {
        15 => bits.bits(24).filter(|&rate| (1_000..=384_000).contains(&rate)),
        index => RATES.get(index as usize).copied(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_frame_with_its_config_and_one_that_refers_to_it() {
        // 48 kHz AAC-LC as FFmpeg writes it.
        let mut frame = vec![0x56, 0xE0, 0x6C, 0x20, 0x00, 0x11, 0x90, 0x1F, 0xE3];
        frame.resize(3 + 0x6C, 0x55);
        let header = Some(FrameHeader { bytes: 111, samples: 1024, rate: 48_000 });
        assert_eq!(read_header(&frame, None), header);
        frame[3] = 0xA0;
        assert_eq!(read_header(&frame, None), None);
        assert_eq!(read_header(&frame, Some(Timing { samples: 1024, rate: 48_000 })), header);
        assert_eq!(read_header(&frame[..8], None), None);
    }

    #[test]
    fn explicit_band_replication_lasts_as_long_as_its_core() {
        // Object 5, core rate 24 kHz (6), 2 channels, extended rate 48 kHz (3), object 2, 1024 samples.
        let mut bits = Bits::new(&[0b0010_1011, 0b0001_0001, 0b1000_1000, 0]);
        assert_eq!(audio_config(&mut bits), Some((1024, 24_000)));
    }
}
