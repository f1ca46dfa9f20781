//! Audio frames, found by their headers: just enough to group them anew.

use super::pes::{Payload, Pes};
use super::prng::Prng;
use super::source::moved;

/// Length in bytes, samples and sampling rate of the frame at the start of `bytes`, for a stream type.
fn frame(bytes: &[u8], kind: u8) -> Option<(usize, u64, u64)> {
    let header: [u8; 7] = bytes.get(..7)?.try_into().ok()?;
    match kind {
        0x0f => adts(header),
        0x03 | 0x04 => mpeg(header),
        _ => None,
    }
}

/// ISO/IEC 13818-7 6.2.
fn adts(header: [u8; 7]) -> Option<(usize, u64, u64)> {
    const RATES: [u64; 13] =
        [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
    if header[0] != 0xff || header[1] & 0xf6 != 0xf0 {
        return None;
    }
    let rate = *RATES.get(usize::from(header[2] >> 2 & 0x0f))?;
    let length = usize::from(header[3] & 3) << 11 | usize::from(header[4]) << 3 | usize::from(header[5] >> 5);
    (length >= 7).then_some((length, 1024 * (u64::from(header[6] & 3) + 1), rate))
}

/// ISO/IEC 11172-3 2.4.2.3 and 13818-3 2.4.2.3, layers I to III.
fn mpeg(header: [u8; 7]) -> Option<(usize, u64, u64)> {
    const RATES: [u64; 3] = [44_100, 48_000, 32_000];
    const KBITS: [[u64; 15]; 5] = [
        [0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
        [0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
        [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
        [0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
        [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
    ];
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

/// Groups the frames of a stream anew, one to `most` in a PES packet, each with the PTS of its first frame. `None`
/// where frames cannot be told apart.
pub fn regroup(units: &[Pes], kind: u8, most: u32, prng: &mut Prng) -> Option<Vec<Pes>> {
    let mut stream = Payload::default();
    let mut marks = Vec::new();
    for unit in units {
        marks.extend(unit.pts.map(|pts| (stream.bytes.len(), pts)));
        stream.append(&unit.payload, 0..unit.payload.bytes.len());
    }
    let template = Pes { stream_id: units.first()?.stream_id, sized: true, ..Pes::default() };
    let frames = timed_frames(&stream.bytes, &marks, kind)?;
    let begin = frames.first()?.0;
    let mut groups = Vec::new();
    let mut group = |range: std::ops::Range<usize>, pts| {
        if !range.is_empty() {
            let mut unit = Pes { pts, ..template.clone() };
            unit.payload.append(&stream, range);
            groups.push(unit);
        }
    };
    group(0..begin, None);
    let mut first = 0;
    while first < frames.len() {
        let mut next = (first + 1 + prng.below(most as usize)).min(frames.len());
        // A length field of 16 bits holds the PES packet.
        while next > first + 1 && frames[next - 1].0 - frames[first].0 > 60_000 {
            next -= 1;
        }
        let end = frames.get(next).map_or(stream.bytes.len(), |frame| frame.0);
        group(frames[first].0..end, frames[first].1);
        first = next;
    }
    Some(groups)
}

/// Where frames begin, and their PTS once one is known. A PES packet's PTS counts for the first frame that begins in
/// it (2.4.3.7); frames after it follow by their length.
fn timed_frames(bytes: &[u8], marks: &[(usize, u64)], kind: u8) -> Option<Vec<(usize, Option<u64>)>> {
    let mut at = (0..bytes.len()).find(|at| {
        let next = frame(&bytes[*at..], kind).map(|(length, ..)| at + length);
        next.is_some_and(|next| {
            next == bytes.len() || bytes.get(next..).is_some_and(|rest| frame(rest, kind).is_some())
        })
    })?;
    let mut marks = marks.iter().peekable();
    let mut clock: Option<(u64, u64)> = None;
    let mut frames = Vec::new();
    while let Some((length, samples, rate)) = bytes.get(at..).and_then(|rest| frame(rest, kind)) {
        while let Some((_, pts)) = marks.next_if(|(mark, _)| *mark <= at) {
            clock = Some((*pts, 0));
        }
        frames.push((at, clock.map(|(pts, count)| moved(pts, (count * 90_000 / rate) as i64))));
        clock = clock.map(|(pts, count)| (pts, count + samples));
        at += length;
    }
    // Up to one torn frame at the end is a recording's edge; more is a stream we do not understand.
    (bytes.len() < at.saturating_add(8_192)).then_some(frames)
}

/// A frame and the packets it is known by.
#[derive(Debug, Clone, Copy)]
pub struct Framed<P> {
    /// Its time.
    pub pts: u64,
    /// The packet it begins in.
    pub first: P,
    /// The packet it ends in.
    pub last: P,
    /// The packet of the PES packet whose time it is counted from.
    pub packet_of_time: P,
    /// The packet that the next time behind it stands in.
    pub next_time: Option<P>,
    /// A frame lasts a whole number of ticks.
    pub whole_ticks: bool,
}

impl<P> Framed<P> {
    /// The same with packets named otherwise.
    pub fn map<Q>(self, name: impl Fn(P) -> Q) -> Framed<Q> {
        Framed {
            pts: self.pts,
            first: name(self.first),
            last: name(self.last),
            packet_of_time: name(self.packet_of_time),
            next_time: self.next_time.map(&name),
            whole_ticks: self.whole_ticks,
        }
    }
}

/// The frames of a stream that have a time, by their packets. Bytes that are no frame are passed over.
pub fn framed(units: &[Pes], kind: u8) -> Vec<Framed<u32>> {
    let mut stream = Payload::default();
    let mut marks = Vec::new();
    for unit in units {
        marks.extend(unit.pts.map(|pts| (stream.bytes.len(), pts)));
        stream.append(&unit.payload, 0..unit.payload.bytes.len());
    }
    let packet_of = |byte: usize| stream.packet_of(byte);
    let (mut at, mut next_mark, mut frames) = (0, 0, Vec::new());
    let mut clock: Option<(u64, u64, u32)> = None;
    while at < stream.bytes.len() {
        let Some((length, samples, rate)) = frame(&stream.bytes[at..], kind).filter(|(length, ..)| {
            stream.bytes.get(at + length..).is_some_and(|rest| rest.len() < 7 || frame(rest, kind).is_some())
        }) else {
            at += 1;
            continue;
        };
        while let Some((mark, pts)) = marks.get(next_mark).filter(|(mark, _)| *mark <= at) {
            clock = Some((*pts, 0, packet_of(*mark)));
            next_mark += 1;
        }
        if let Some((pts, count, packet_of_time)) = &mut clock {
            frames.push(Framed {
                pts: moved(*pts, (*count * 90_000 / rate) as i64),
                first: packet_of(at),
                last: packet_of(at + length - 1),
                packet_of_time: *packet_of_time,
                next_time: marks.get(next_mark).map(|(mark, _)| packet_of(*mark)),
                whole_ticks: (samples * 90_000).is_multiple_of(rate),
            });
            *count += samples;
        }
        at += length;
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_headers_of_known_frames() {
        // AAC-LC, 48 kHz, stereo, 512 bytes; MPEG-1 layer II, 192 kb/s, 48 kHz: 576 bytes; layer III, 128 kb/s, 44.1 kHz.
        assert_eq!(frame(&[0xff, 0xf1, 0x4c, 0x80, 0x40, 0x1f, 0xfc], 0x0f), Some((512, 1024, 48_000)));
        assert_eq!(frame(&[0xff, 0xfd, 0xa4, 0, 0, 0, 0], 0x03), Some((576, 1152, 48_000)));
        assert_eq!(frame(&[0xff, 0xfb, 0x90, 0, 0, 0, 0], 0x03), Some((417, 1152, 44_100)));
        assert_eq!(frame(&[0xff, 0xfb, 0xf0, 0, 0, 0, 0], 0x03), None);
    }
}
