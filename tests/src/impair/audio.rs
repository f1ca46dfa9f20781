//! Audio frames of a whole stream: grouped anew, and by the packets they came in.

use super::frame::{Framing, HEADER};
use super::pes::{Payload, Pes};
use super::prng::Prng;
use super::source::moved;

/// Groups the frames of a stream anew, one to `most` in a PES packet, each with the PTS of its first frame. `None`
/// where frames cannot be told apart.
pub fn regroup(units: &[Pes], kind: u8, most: u32, prng: &mut Prng) -> Option<Vec<Pes>> {
    let (stream, marks) = joined(units);
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

/// The elementary stream, and where in it each PES packet with a PTS begins.
fn joined(units: &[Pes]) -> (Payload, Vec<(usize, u64)>) {
    let mut stream = Payload::default();
    let mut marks = Vec::new();
    for unit in units {
        marks.extend(unit.pts.map(|pts| (stream.bytes.len(), pts)));
        stream.append(&unit.payload, 0..unit.payload.bytes.len());
    }
    (stream, marks)
}

/// Where frames begin, and their PTS once one is known. A PES packet's PTS counts for the first frame that begins in
/// it (2.4.3.7); frames after it follow by their length.
fn timed_frames(bytes: &[u8], marks: &[(usize, u64)], kind: u8) -> Option<Vec<(usize, Option<u64>)>> {
    let framing = Framing::of(bytes, kind);
    let mut at = (0..bytes.len()).find(|at| framing.followed(&bytes[*at..]).is_some())?;
    let mut marks = marks.iter().peekable();
    let mut clock: Option<(u64, u64)> = None;
    let mut frames = Vec::new();
    while let Some(frame) = bytes.get(at..).and_then(|rest| framing.read(rest)) {
        while let Some((_, pts)) = marks.next_if(|(mark, _)| *mark <= at) {
            clock = Some((*pts, 0));
        }
        frames.push((at, clock.map(|(pts, count)| moved(pts, (count * 90_000 / frame.rate) as i64))));
        clock = clock.map(|(pts, count)| (pts, count + frame.samples));
        at += frame.length;
    }
    // Up to one torn frame at the end is a recording's edge; more is a stream we do not understand.
    (bytes.len() < at.saturating_add(8_192)).then_some(frames)
}

/// A frame and the packets it is known by.
#[derive(Debug, Clone, Copy)]
pub struct Framed {
    /// Its time.
    pub pts: u64,
    /// Where it begins in the elementary stream.
    pub at: usize,
    /// The packet it begins in.
    pub first: u64,
    /// The packet it ends in.
    pub last: u64,
    /// The packet in which the header behind it ends; `None` for the stream's last.
    pub next_head: Option<u64>,
    /// A frame ends where the next begins: without that header it is not whole.
    pub ends_at_next: bool,
    /// It brings the configuration of those behind it (LATM), or needs none.
    pub configured: bool,
    /// The packet of the PES packet whose time it is counted from.
    pub packet_of_time: u64,
    /// The packet that the next time behind it stands in.
    pub next_time: Option<u64>,
    /// A frame lasts a whole number of ticks.
    pub whole_ticks: bool,
}

/// The frames of a stream that have a time, by their packets, which `name` names. Bytes that are no frame are passed
/// over.
pub fn framed(units: &[Pes], kind: u8, name: impl Fn(u32) -> u64) -> Vec<Framed> {
    let (stream, marks) = joined(units);
    let framing = Framing::of(&stream.bytes, kind);
    let packet_of = |byte: usize| name(stream.packet_of(byte));
    let (mut at, mut next_mark, mut frames) = (0, 0, Vec::new());
    let mut clock: Option<(u64, u64, u64)> = None;
    while at < stream.bytes.len() {
        let Some(frame) = framing.followed(&stream.bytes[at..]) else {
            at += 1;
            continue;
        };
        while let Some((mark, pts)) = marks.get(next_mark).filter(|(mark, _)| *mark <= at) {
            clock = Some((*pts, 0, packet_of(*mark)));
            next_mark += 1;
        }
        let end = at + frame.length;
        if let Some((pts, count, packet_of_time)) = &mut clock {
            frames.push(Framed {
                pts: moved(*pts, (*count * 90_000 / frame.rate) as i64),
                at,
                first: packet_of(at),
                last: packet_of(end - 1),
                next_head: (end + HEADER <= stream.bytes.len()).then(|| packet_of(end + HEADER - 1)),
                ends_at_next: framing.ends_at_next(),
                configured: frame.configured,
                packet_of_time: *packet_of_time,
                next_time: marks.get(next_mark).map(|(mark, _)| packet_of(*mark)),
                whole_ticks: (frame.samples * 90_000).is_multiple_of(frame.rate),
            });
            *count += frame.samples;
        }
        at = end;
    }
    frames
}
