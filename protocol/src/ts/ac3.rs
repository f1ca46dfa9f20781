//! AC-3 and Enhanced AC-3 frames (ETSI TS 102 366, clause 4 and annex E).

use super::audio::FrameHeader;

/// Bytes that hold a frame's length and kind.
pub const HEADER_BYTES: usize = 6;
/// An access unit of E-AC-3 has at most eight independent substreams with eight dependent ones each (E.1.3.1.2).
const MAX_SUBSTREAMS: usize = 8 * 9;
/// Samples of a block; six make an AC-3 frame.
const BLOCK: u32 = 256;
const RATES: [u32; 3] = [48_000, 44_100, 32_000];
/// kb/s by half of `frmsizecod` (table 4.13).
const BIT_RATES: [u32; 19] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640];

/// A frame of E-AC-3, and which substream it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Substream {
    /// Its header.
    pub header: FrameHeader,
    /// It opens an access unit: the first independent substream.
    pub opens: bool,
}

fn bsid(bytes: &[u8]) -> Option<u8> {
    bytes.get(..HEADER_BYTES).filter(|bytes| bytes[..2] == [0x0B, 0x77]).map(|bytes| bytes[5] >> 3)
}

/// Reads the header of an AC-3 frame. Half and quarter rates (`bsid` 9 and 10) are not broadcast.
#[must_use]
pub fn read_header(bytes: &[u8]) -> Option<FrameHeader> {
    bsid(bytes).filter(|bsid| *bsid <= 8)?;
    let rate = *RATES.get(usize::from(bytes[4] >> 6))?;
    let code = bytes[4] & 0x3F;
    let bit_rate = BIT_RATES.get(usize::from(code >> 1))? * 1000;
    // Two-byte words that hold six blocks; at 44.1 kHz every other frame may have one more.
    let odd = u32::from(rate == 44_100) * u32::from(code & 1);
    let words = bit_rate * 6 * BLOCK / rate / 16 + odd;
    Some(FrameHeader { bytes: 2 * words as usize, samples: 6 * BLOCK, rate })
}

/// Reads the header of an E-AC-3 frame, or of an AC-3 frame that stands in for an independent substream (E.1.3.1.1).
#[must_use]
pub fn read_substream(bytes: &[u8]) -> Option<Substream> {
    if bsid(bytes)? <= 8 {
        return read_header(bytes).map(|header| Substream { header, opens: true });
    }
    if !(11..=16).contains(&bsid(bytes)?) {
        return None;
    }
    let (kind, id) = (bytes[2] >> 6, bytes[2] >> 3 & 7);
    let words = (usize::from(bytes[2] & 7) << 8 | usize::from(bytes[3])) + 1;
    let (rate, blocks) = match (bytes[4] >> 6, bytes[4] >> 4 & 3) {
        // Reduced rates have six blocks always.
        (3, reduced) => (RATES.get(usize::from(reduced))? / 2, 6),
        (full, blocks) => (RATES[usize::from(full)], [1, 2, 3, 6][usize::from(blocks)]),
    };
    let header = FrameHeader { bytes: 2 * words, samples: blocks * BLOCK, rate };
    // Type 3 is reserved.
    (kind != 3 && header.bytes > HEADER_BYTES).then_some(Substream { header, opens: kind != 1 && id == 0 })
}

/// How far an access unit of E-AC-3 is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// The next one must be seen first.
    More,
    /// So many bytes.
    Whole(usize),
    /// What follows is none.
    Broken,
}

/// Where an access unit ends whose first frame has so many bytes: at the frame that opens the next.
#[must_use]
pub fn extent(bytes: &[u8], first: usize) -> Extent {
    let mut end = first;
    for _ in 0..MAX_SUBSTREAMS {
        let Some(next) = bytes.get(end..).filter(|next| next.len() >= HEADER_BYTES) else { return Extent::More };
        match read_substream(next) {
            Some(next) if next.opens => return Extent::Whole(end),
            Some(next) => end += next.header.bytes,
            None => return Extent::Broken,
        }
    }
    Extent::Broken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, id: u8, words: usize) -> Vec<u8> {
        let mut frame = vec![0x55; 2 * words];
        frame[..6].copy_from_slice(&[
            0x0B,
            0x77,
            kind << 6 | id << 3 | ((words - 1) >> 8) as u8,
            (words - 1) as u8,
            0x34,
            16 << 3,
        ]);
        frame
    }

    #[test]
    fn reads_lengths_of_both_kinds() {
        let header = |bytes, rate| Some(FrameHeader { bytes, samples: 1536, rate });
        // 64 kb/s at 48 kHz; 448 kb/s at 44.1 kHz, short and long.
        assert_eq!(read_header(&[0x0B, 0x77, 0, 0, 0x08, 0x40]), header(256, 48_000));
        assert_eq!(read_header(&[0x0B, 0x77, 0, 0, 0x5E, 0x40]), header(1950, 44_100));
        assert_eq!(read_header(&[0x0B, 0x77, 0, 0, 0x5F, 0x40]), header(1952, 44_100));
        assert_eq!(read_header(&[0x0B, 0x77, 0, 0, 0xC8, 0x40]), None);
        let read = read_substream(&frame(0, 0, 128)).expect("a frame");
        assert_eq!((Some(read.header), read.opens), (header(256, 48_000), true));
        assert_eq!(read_substream(&frame(3, 0, 128)), None);
    }

    #[test]
    fn an_access_unit_reaches_to_the_next_first_substream() {
        let unit = [frame(0, 0, 100), frame(1, 0, 50), frame(0, 1, 60), frame(1, 0, 10)].concat();
        let mut stream = [&unit[..], &unit[..]].concat();
        assert_eq!(extent(&stream, 200), Extent::Whole(unit.len()));
        assert_eq!(extent(&stream[unit.len()..], 200), Extent::More);
        stream[unit.len()] = 0;
        assert_eq!(extent(&stream, 200), Extent::Broken);
        let endless: Vec<u8> =
            [frame(0, 0, 100)].into_iter().chain((0..100).map(|_| frame(1, 0, 10))).flatten().collect();
        assert_eq!(extent(&endless, 200), Extent::Broken);
    }
}
