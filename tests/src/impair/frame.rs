//! Headers of audio frames, read as plainly as the standards print them: where each frame ends, and how long it sounds.

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Its bytes.
    pub length: usize,
    /// Samples a channel.
    pub samples: u64,
    /// Samples a second.
    pub rate: u64,
    /// It brings the configuration that LATM frames behind it may refer to; true for all other codecs.
    pub configured: bool,
}

/// How the frames of one stream are told apart.
#[derive(Debug, Clone, Copy)]
pub struct Framing {
    kind: u8,
    /// Samples and rate of LATM frames, as the stream's first configuration has them.
    latm: Option<(u64, u64)>,
}

/// Bytes that tell a frame by its header.
pub const HEADER: usize = 7;

impl Framing {
    /// For a stream type and all of the stream's bytes.
    pub fn of(bytes: &[u8], kind: u8) -> Self {
        let configured = |at: usize| {
            let rest = &bytes[at..];
            loas(rest).filter(|length| *length > 9 && rest.len() >= *length && rest[3] & 0x80 == 0)?;
            configuration(&rest[3..])
        };
        let latm = if kind == 0x11 { (0..bytes.len()).find_map(configured) } else { None };
        Self { kind, latm }
    }

    /// The frame at the start of `bytes`. Of E-AC-3 that is an independent substream 0 and all behind it up to the next.
    pub fn read(&self, bytes: &[u8]) -> Option<Frame> {
        let plain = |(length, samples, rate)| Frame { length, samples, rate, configured: true };
        match self.kind {
            0x0f => adts(bytes).map(plain),
            0x03 | 0x04 => mpeg(bytes).map(plain),
            0x11 => {
                let (samples, rate) = self.latm?;
                let configured = bytes.get(3)? & 0x80 == 0;
                loas(bytes).map(|length| Frame { length, samples, rate, configured })
            }
            0x81 => ac3(bytes).map(plain),
            0x87 => {
                let (mut length, samples, rate) = eac3(bytes).filter(|_| opens_set(bytes))?;
                while let Some((more, ..)) = bytes.get(length..).filter(|next| !opens_set(next)).and_then(eac3) {
                    length += more;
                }
                Some(plain((length, samples, rate)))
            }
            _ => None,
        }
    }

    /// The frame at the start of `bytes`, if another one or nothing stands behind it.
    pub fn followed(&self, bytes: &[u8]) -> Option<Frame> {
        let frame = self.read(bytes)?;
        let behind = bytes.get(frame.length..)?;
        (behind.len() < HEADER || self.read(behind).is_some()).then_some(frame)
    }

    /// A frame ends where the next one is seen to begin, and not before.
    pub fn ends_at_next(&self) -> bool {
        self.kind == 0x87
    }
}

/// ISO/IEC 13818-7 6.2: length, samples, rate.
fn adts(bytes: &[u8]) -> Option<(usize, u64, u64)> {
    const RATES: [u64; 13] =
        [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
    let header = bytes.get(..7)?;
    if header[0] != 0xff || header[1] & 0xf6 != 0xf0 {
        return None;
    }
    let rate = *RATES.get(usize::from(header[2] >> 2 & 0x0f))?;
    let length = usize::from(header[3] & 3) << 11 | usize::from(header[4]) << 3 | usize::from(header[5] >> 5);
    (length >= 7).then_some((length, 1024 * (u64::from(header[6] & 3) + 1), rate))
}

/// ISO/IEC 11172-3 2.4.2.3 and 13818-3 2.4.2.3, layers I to III.
fn mpeg(bytes: &[u8]) -> Option<(usize, u64, u64)> {
    const RATES: [u64; 3] = [44_100, 48_000, 32_000];
    const KBITS: [[u64; 15]; 5] = [
        [0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
        [0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
        [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
        [0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
        [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
    ];
    let header = bytes.get(..4)?;
    if header[0] != 0xff || header[1] & 0xf0 != 0xf0 {
        return None;
    }
    let full = header[1] & 0x08 != 0;
    let layer = 4 - usize::from(header[1] >> 1 & 3);
    let table = match (full, layer) {
        (_, 4) => return None,
        (true, layer) => layer - 1,
        (false, 1) => 3,
        (false, _) => 4,
    };
    let bits = 1000 * *KBITS[table].get(usize::from(header[2] >> 4)).filter(|kbits| **kbits > 0)?;
    let rate = *RATES.get(usize::from(header[2] >> 2 & 3))? / if full { 1 } else { 2 };
    let padding = u64::from(header[2] >> 1 & 1);
    let (length, samples) = match (layer, full) {
        (1, _) => ((12 * bits / rate + padding) * 4, 384),
        (3, false) => (72 * bits / rate + padding, 576),
        _ => (144 * bits / rate + padding, 1152),
    };
    Some((length as usize, samples, rate))
}

/// Length of an `AudioSyncStream` element (ISO/IEC 14496-3 1.7.2), sync word included.
fn loas(bytes: &[u8]) -> Option<usize> {
    let header = bytes.get(..3)?;
    let length = usize::from(header[1] & 0x1f) << 8 | usize::from(header[2]);
    (header[0] == 0x56 && header[1] & 0xe0 == 0xe0 && length > 0).then_some(3 + length)
}

/// Samples and rate of a `StreamMuxConfig` of version 0 with one AAC-LC layer (ISO/IEC 14496-3 1.7.3, 1.6.2.1), which is
/// what FFmpeg writes: useSameStreamMux, version, same framing, 6 bits of sub-frames, 4 of programmes, 3 of layers; then
/// 5 of object type, 4 of rate, 4 of channels, and the frame length flag.
fn configuration(bytes: &[u8]) -> Option<(u64, u64)> {
    const RATES: [u64; 13] =
        [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
    let head = bytes.get(..4)?.iter().fold(0_u32, |all, byte| all << 8 | u32::from(*byte));
    let field = |from: u32, bits: u32| (head >> (32 - from - bits)) & ((1 << bits) - 1);
    if field(0, 2) != 0 || field(3, 6) != 0 || field(16, 5) != 2 {
        return None;
    }
    let samples = if field(29, 1) == 1 { 960 } else { 1024 };
    RATES.get(field(21, 4) as usize).map(|rate| (samples, *rate))
}

/// ETSI TS 102 366 4.4.1: length, samples, rate.
fn ac3(bytes: &[u8]) -> Option<(usize, u64, u64)> {
    const KBITS: [u64; 19] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640];
    let header = bytes.get(..6)?;
    if header[..2] != [0x0b, 0x77] || header[5] >> 3 > 8 {
        return None;
    }
    let rate = *[48_000, 44_100, 32_000].get(usize::from(header[4] >> 6))?;
    let code = header[4] & 0x3f;
    let words = KBITS.get(usize::from(code >> 1))? * 96_000 / rate + u64::from(rate == 44_100) * u64::from(code & 1);
    Some((2 * words as usize, 1536, rate))
}

/// ETSI TS 102 366 E.1.3.1, one substream.
fn eac3(bytes: &[u8]) -> Option<(usize, u64, u64)> {
    let header = bytes.get(..6)?;
    if header[..2] != [0x0b, 0x77] {
        return None;
    }
    match header[5] >> 3 {
        ..=8 => return ac3(bytes),
        11..=16 => {}
        _ => return None,
    }
    let length = 2 * ((usize::from(header[2] & 7) << 8 | usize::from(header[3])) + 1);
    let rates = [48_000, 44_100, 32_000];
    let (rate, blocks) = match header[4] >> 6 {
        3 => (*rates.get(usize::from(header[4] >> 4 & 3))? / 2, 6),
        code => (rates[usize::from(code)], [1, 2, 3, 6][usize::from(header[4] >> 4 & 3)]),
    };
    Some((length, 256 * blocks, rate))
}

/// Whether an E-AC-3 frame opens a set: independent substream 0, or AC-3 in its place.
fn opens_set(bytes: &[u8]) -> bool {
    bytes.len() < 6 || bytes[5] >> 3 <= 8 || (bytes[2] >> 6 != 1 && bytes[2] >> 3 & 7 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], kind: u8) -> Option<(usize, u64, u64)> {
        Framing { kind, latm: Some((1024, 48_000)) }.read(bytes).map(|frame| (frame.length, frame.samples, frame.rate))
    }

    #[test]
    fn reads_headers_of_known_frames() {
        // AAC-LC, 48 kHz, stereo, 512 bytes; MPEG-1 layer II, 192 kb/s, 48 kHz: 576 bytes; layer III, 128 kb/s, 44.1 kHz.
        assert_eq!(read(&[0xff, 0xf1, 0x4c, 0x80, 0x40, 0x1f, 0xfc], 0x0f), Some((512, 1024, 48_000)));
        assert_eq!(read(&[0xff, 0xfd, 0xa4, 0, 0, 0, 0], 0x03), Some((576, 1152, 48_000)));
        assert_eq!(read(&[0xff, 0xfb, 0x90, 0, 0, 0, 0], 0x03), Some((417, 1152, 44_100)));
        assert_eq!(read(&[0xff, 0xfb, 0xf0, 0, 0, 0, 0], 0x03), None);
        // 128 kb/s at 48 kHz, twice; LATM of 315 bytes with FFmpeg's configuration.
        assert_eq!(read(&[0x0b, 0x77, 0, 0, 0x10, 0x40, 0], 0x81), Some((512, 1536, 48_000)));
        assert_eq!(read(&[0x0b, 0x77, 0, 0xff, 0x34, 0x87, 0xc0], 0x87), Some((512, 1536, 48_000)));
        assert_eq!(read(&[0x56, 0xe1, 0x3b, 0x20, 0, 0x11, 0x90], 0x11), Some((318, 1024, 48_000)));
        assert_eq!(configuration(&[0x20, 0, 0x11, 0x90]), Some((1024, 48_000)));
    }

    #[test]
    fn a_set_of_substreams_is_one_frame() {
        let substream = |kind: u8, words: u8| {
            let mut frame = vec![0x55; 2 * usize::from(words)];
            frame[..6].copy_from_slice(&[0x0b, 0x77, kind << 6, words - 1, 0x34, 0x80]);
            frame
        };
        let set = [substream(0, 40), substream(1, 30)].concat();
        assert_eq!(read(&[&set[..], &set[..]].concat(), 0x87), Some((140, 1536, 48_000)));
        assert_eq!(read(&substream(1, 30), 0x87), None);
    }
}
