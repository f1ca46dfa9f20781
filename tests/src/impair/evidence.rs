//! What a receiver must have whole of a source to prove a chunk: the rules of the canonical form (CCF 5, 7, 12, 14)
//! read backward, in packets of the source. A chunk may be withheld where some of that was harmed, and nowhere else.
//!
//! ```text
//! video:  ...| RAP before ......... | opening RAP ............................ | next RAP
//!            |<- unless anchored -->|<------------ the chunk ----------------->|<-->| up to its first slice
//! audio:                      | frame before | frames of the chunk | frame after |
//! ```

use aftercast_protocol::ccf::{Chunker, ChunkerEvent, ProgramSelect};
use aftercast_protocol::limits::MIN_INTERVAL;

use super::audio::{Framed, framed};
use super::log::{DamageLog, Harm, HarmKind};
use super::packet::Packet;
use super::pes::{self, Pes};
use super::psi::Role;
use super::source::{Source, apart};

/// Bytes of a slice within which its header ends, so that the picture can be told apart.
const SLICE_HEAD: usize = 48;

/// A source as a receiver needs it. One clock, one video; no wrap and no jump inside it.
#[derive(Debug)]
pub struct Evidence {
    video: u16,
    /// Random access points in the order they are sent.
    raps: Vec<Rap>,
    audio: Vec<(u16, Vec<Framed<u64>>)>,
    /// Offsets of the packets that PAT and PMT begin in.
    tables: [Vec<u64>; 2],
    pmts: Vec<u16>,
}

#[derive(Debug)]
struct Rap {
    pts: u64,
    /// Offset of the packet it begins in.
    first: u64,
    /// Offset of the packet that tells that it is a picture, and which.
    head: u64,
}

/// A chunk of the source.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// PTS of its opening picture.
    pub pts: u64,
    /// Ticks to the next chunk's.
    pub duration: u64,
    /// The receiver's plan names its opening picture.
    pub anchored: bool,
}

impl Evidence {
    /// Reads a source. `None` where it has no video with random access points.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let (source, packets) = Source::read(bytes);
        let offset = |packet: u32| source.offsets[packet as usize] as u64;
        let video = source.tables.pids(Role::Video).first().copied()?;
        let times = random_access_points(bytes);
        let pictures = pes::readable(&packets, video);
        let rap = |pes: &Pes| {
            let pts = pes.pts.filter(|pts| times.contains(pts))?;
            let (first, head) = (pes.payload.packet_of(0), pes.payload.packet_of(slice_head(&pes.payload.bytes)));
            // The PES header stands before its payload, at times in a packet of its own.
            let first =
                source.starts[&video].iter().rfind(|(start, _)| *start <= first).map_or(first, |(start, _)| *start);
            Some(Rap { pts, first: offset(first), head: offset(head) })
        };
        let raps: Vec<_> = pictures.iter().filter_map(rap).collect();
        let audio = source.tables.pids(Role::Audio).into_iter().map(|pid| {
            let kind = source.tables.streams[&pid];
            let frames = framed(&pes::readable(&packets, pid), kind).into_iter();
            (pid, frames.map(|frame| frame.map(offset)).collect())
        });
        let pmts: Vec<_> = source.tables.pmts.iter().copied().collect();
        let begins = |wanted: &dyn Fn(u16) -> bool| -> Vec<u64> {
            let found = packets.iter().filter(|packet| wanted(packet.pid()) && packet.starts_unit());
            found.map(|packet: &Packet| offset(packet.origin.start)).collect()
        };
        let tables = [begins(&|pid| pid == 0), begins(&|pid| pmts.contains(&pid))];
        let audio = audio.collect();
        (!raps.is_empty()).then_some(Self { video, raps, audio, tables, pmts })
    }

    /// Whether a reception with this log may lack the chunk: something it needs was harmed, or not received.
    #[must_use]
    pub fn excuses(&self, log: &DamageLog, span: Span) -> bool {
        !self.harms(log, span).is_empty() || self.is_cut_off(log, span)
    }

    /// Whether a reception with this log may have other bytes in the chunk and not know it: silent flips, and losses
    /// that counters cannot show.
    #[must_use]
    pub fn deceives(&self, log: &DamageLog, span: Span) -> bool {
        let invisible = |harm: &Harm| {
            log.invisible.iter().any(|loss| {
                let of_it = |other: &&Harm| other.pid == loss.pid && other.offset >= loss.offset;
                let mut run = log.harms.iter().filter(of_it).take(loss.packets as usize);
                run.any(|other| other.offset == harm.offset && other.pid == harm.pid)
            })
        };
        self.harms(log, span).into_iter().any(|harm| harm.kind == HarmKind::Flipped || invisible(harm))
    }

    /// What was harmed of what the chunk needs.
    fn harms<'a>(&self, log: &'a DamageLog, span: Span) -> Vec<&'a Harm> {
        let (from, to) = self.pictures(span);
        let mut needed = vec![(self.video, from, to)];
        for (pid, frames) in &self.audio {
            needed.extend(sound(frames, span).iter().map(|frame| {
                let (first, last) = reach(*pid, frame, log);
                (*pid, first, last)
            }));
        }
        let is_needed = |harm: &&Harm| {
            needed.iter().any(|(pid, first, last)| harm.pid == *pid && (*first..=*last).contains(&harm.offset))
        };
        log.core().filter(is_needed).collect()
    }

    /// First and last packet of the pictures that prove the chunk.
    fn pictures(&self, span: Span) -> (u64, u64) {
        let at = self.raps.iter().position(|rap| rap.pts == span.pts);
        let from = at.map(|at| if span.anchored { at } else { at.saturating_sub(1) });
        let next = self.raps.iter().find(|rap| apart(rap.pts, span.pts) >= span.duration as i64);
        (from.map_or(0, |from| self.raps[from].first), next.map_or(u64::MAX, |next| next.head))
    }

    /// Whether what the chunk needs begins before the reception knows its streams, or ends after it.
    fn is_cut_off(&self, log: &DamageLog, span: Span) -> bool {
        let (from, to) = self.pictures(span);
        let known = self.known_from(log);
        let end = log.end.as_ref().map_or(u64::MAX, |end| end.offset);
        let heard = |(_, frames): &(u16, Vec<Framed<u64>>)| {
            let sound = sound(frames, span);
            sound.first().is_none_or(|first| first.packet_of_time < known)
                || sound.last().is_some_and(|last| last.last >= end)
        };
        from < known || to >= end || self.audio.iter().any(heard)
    }

    /// Where the first PAT and then the first PMT came whole.
    fn known_from(&self, log: &DamageLog) -> u64 {
        let start = log.start.as_ref().map_or(0, |start| start.offset);
        let harmed = |offset: u64| log.harms.iter().any(|harm| harm.offset == offset);
        let next = |of: &[u64], from: u64| of.iter().copied().find(|&at| at >= from && !harmed(at)).unwrap_or(u64::MAX);
        let pat = next(&self.tables[0], start);
        if self.pmts.is_empty() { u64::MAX } else { next(&self.tables[1], pat) }
    }
}

/// Frames of an audio from the last before a chunk to the first behind it.
fn sound(frames: &[Framed<u64>], span: Span) -> &[Framed<u64>] {
    let before = frames.partition_point(|frame| apart(frame.pts, span.pts) < 0).saturating_sub(1);
    let after = frames.partition_point(|frame| apart(frame.pts, span.pts) < span.duration as i64);
    &frames[before..frames.len().min(after + 1)]
}

/// First and last packet in which a harm costs a frame. Beside its own these are, where its time does not count on from before,
/// those back to the time that it is counted from; or else, where a frame is a whole number of ticks, the frame is
/// counted back from the time behind it, unless that is harmed too (CCF 7).
fn reach(pid: u16, frame: &Framed<u64>, log: &DamageLog) -> (u64, u64) {
    let hit = |from: u64, to: u64| log.core().any(|other| other.pid == pid && (from..=to).contains(&other.offset));
    let counted_back = frame.whole_ticks && frame.next_time.is_some_and(|next| !hit(frame.first, next));
    (if counted_back { frame.first } else { frame.packet_of_time }, frame.last)
}

/// PTS of the random access points of a whole source.
fn random_access_points(bytes: &[u8]) -> Vec<u64> {
    let Ok(mut chunker) = Chunker::discover(MIN_INTERVAL, ProgramSelect::First) else { return Vec::new() };
    chunker.push(bytes);
    chunker.finish();
    let chunks = std::iter::from_fn(|| chunker.poll_event()).filter_map(|event| match event {
        ChunkerEvent::Chunk(chunk) => Some(chunk),
        _ => None,
    });
    chunks.filter(|chunk| !chunk.dependent).map(|chunk| chunk.pts.0).collect()
}

/// Where the header of the first slice of an H.264 picture ends at the latest.
fn slice_head(bytes: &[u8]) -> usize {
    let slice = bytes.windows(4).position(|four| four[..3] == [0, 0, 1] && matches!(four[3] & 0x1f, 1 | 2 | 5));
    slice.map_or(bytes.len(), |slice| slice + 4 + SLICE_HEAD).min(bytes.len().saturating_sub(1))
}
