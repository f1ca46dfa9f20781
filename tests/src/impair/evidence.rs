//! What a receiver must have whole of a source to prove a chunk: the rules of the canonical form (CCF 5, 7, 12, 14)
//! read backward, in packets of the source. A chunk may be withheld where some of that was harmed, and nowhere else.
//!
//! ```text
//! video:  ...| RAP before ......... | opening RAP ............................ | next RAP
//!            |<- unless anchored -->|<------------ the chunk ----------------->|<-->| up to its first slice
//! audio:                      | frame before | frames of the chunk | frame after |
//! ```
//!
//! Radio has the second line only. Nothing here comes from the code that is judged by it.

use super::audio::{Framed, framed};
use super::log::{DamageLog, Harm, HarmKind};
use super::packet::Packet;
use super::pes::{self, Pes};
use super::picture;
use super::psi::Role;
use super::source::{Source, apart};

/// A silent flip in a header's length field lets a splitter run on over at most so many bytes: the longest frame that
/// a length of 13 bits can name.
const FLIP_REACH: usize = 8_192;

/// A source as a receiver needs it. One clock, at most one video; no wrap and no jump inside it.
#[derive(Debug)]
pub struct Evidence {
    video: Option<Video>,
    audio: Vec<(u16, Vec<Framed>)>,
    /// Offsets of the packets that PAT and PMT begin in.
    tables: [Vec<u64>; 2],
}

#[derive(Debug)]
struct Video {
    pid: u16,
    /// Random access points in the order they are sent.
    raps: Vec<Rap>,
    /// Offsets of the packets that PES packets with a time begin in.
    starts: Vec<u64>,
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
    /// Reads a source. `None` where it has neither video with random access points nor, without video, audio.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let (source, packets) = Source::read(bytes);
        let offset = |packet: u32| source.offsets[packet as usize] as u64;
        let video = source.tables.pids(Role::Video).first().map(|pid| Video::of(*pid, &source, &packets));
        let audio = source.tables.pids(Role::Audio).into_iter().map(|pid| {
            let kind = source.tables.streams[&pid];
            (pid, framed(&pes::readable(&packets, pid), kind, offset))
        });
        let audio: Vec<_> = audio.collect();
        let pmts = &source.tables.pmts;
        let begins = |wanted: &dyn Fn(u16) -> bool| -> Vec<u64> {
            let found = packets.iter().filter(|packet| wanted(packet.pid()) && packet.starts_unit());
            found.map(|packet: &Packet| offset(packet.origin.start)).collect()
        };
        let tables = [begins(&|pid| pid == 0), begins(&|pid| pmts.contains(&pid))];
        let usable = match &video {
            Some(video) => !video.raps.is_empty(),
            None => audio.iter().any(|(_, frames)| !frames.is_empty()),
        };
        usable.then_some(Self { video, audio, tables })
    }

    /// Leaves all audios but the first `count` out: for a plan that does not name them.
    #[must_use]
    pub fn with_audios(mut self, count: usize) -> Self {
        self.audio.truncate(count);
        self
    }

    /// PTS of the random access points, in the order they are sent; empty for radio.
    #[must_use]
    pub fn random_access_points(&self) -> Vec<u64> {
        self.video.iter().flat_map(|video| &video.raps).map(|rap| rap.pts).collect()
    }

    /// Whether a reception with this log may lack the chunk: something it needs was harmed, or not received.
    #[must_use]
    pub fn excuses(&self, log: &DamageLog, span: Span) -> bool {
        let end = log.end.as_ref().map_or(u64::MAX, |end| end.offset);
        let known = self.known_from(log);
        let pictures = self.pictures(span).is_some_and(|(pid, from, to)| {
            from < known || to >= end || log.core().any(|harm| harm.pid == pid && (from..=to).contains(&harm.offset))
        });
        let heard = self.heard_from(log, known);
        pictures || self.audio.iter().any(|(pid, frames)| !is_heard(*pid, frames, log, span, heard, end))
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
        let needed: Vec<_> = self
            .pictures(span)
            .into_iter()
            .chain(self.audio.iter().filter_map(|(pid, frames)| sound(*pid, frames, span)))
            .collect();
        let is_needed = |harm: &&Harm| {
            needed.iter().any(|(pid, first, last)| harm.pid == *pid && (*first..=*last).contains(&harm.offset))
        };
        log.core().filter(is_needed).any(|harm| harm.kind == HarmKind::Flipped || invisible(harm))
    }

    /// PID, first and last packet of the pictures that prove the chunk.
    fn pictures(&self, span: Span) -> Option<(u16, u64, u64)> {
        let Video { pid, raps, .. } = self.video.as_ref()?;
        let at = raps.iter().position(|rap| rap.pts == span.pts);
        let from = at.map(|at| if span.anchored { at } else { at.saturating_sub(1) });
        let next = raps.iter().find(|rap| apart(rap.pts, span.pts) >= span.duration as i64);
        Some((*pid, from.map_or(0, |from| raps[from].first), next.map_or(u64::MAX, |next| next.head)))
    }

    /// Where the first PAT and then the first PMT came whole.
    fn known_from(&self, log: &DamageLog) -> u64 {
        let start = log.start.as_ref().map_or(0, |start| start.offset);
        let pat = first_whole(&self.tables[0], log, start);
        first_whole(&self.tables[1], log, pat)
    }

    /// Where audio begins to count: which wrap its times belong to is told by a video time before it.
    fn heard_from(&self, log: &DamageLog, known: u64) -> u64 {
        self.video.as_ref().map_or(known, |video| first_whole(&video.starts, log, known))
    }
}

fn first_whole(offsets: &[u64], log: &DamageLog, from: u64) -> u64 {
    let harmed = |offset: u64| log.harms.iter().any(|harm| harm.offset == offset);
    offsets.iter().copied().find(|&at| at >= from && !harmed(at)).unwrap_or(u64::MAX)
}

impl Video {
    fn of(pid: u16, source: &Source, packets: &[Packet]) -> Self {
        let offset = |packet: u32| source.offsets[packet as usize] as u64;
        let kind = source.tables.streams[&pid];
        let starts = source.starts.get(&pid).map_or(&[][..], |starts| starts);
        let rap = |pes: &Pes| {
            let pts = pes.pts.filter(|_| picture::is_random_access(&pes.payload.bytes, kind))?;
            let (first, head) =
                (pes.payload.packet_of(0), pes.payload.packet_of(picture::head(&pes.payload.bytes, kind)));
            // The PES header stands before its payload, at times in a packet of its own.
            let first = starts.iter().rfind(|(start, _)| *start <= first).map_or(first, |(start, _)| *start);
            Some(Rap { pts, first: offset(first), head: offset(head) })
        };
        let raps = pes::readable(packets, pid).iter().filter_map(rap).collect();
        Self { pid, raps, starts: starts.iter().map(|(start, _)| offset(*start)).collect() }
    }
}

/// Positions of the first frame of a chunk's sound and behind its last: from the last before it to the first behind.
fn around(frames: &[Framed], span: Span) -> std::ops::Range<usize> {
    let before = frames.partition_point(|frame| apart(frame.pts, span.pts) < 0).saturating_sub(1);
    let after = frames.partition_point(|frame| apart(frame.pts, span.pts) < span.duration as i64);
    before..frames.len().min(after + 1)
}

/// PID, first and last packet of all that a chunk's sound depends on.
fn sound(pid: u16, frames: &[Framed], span: Span) -> Option<(u16, u64, u64)> {
    let range = around(frames, span);
    let first = frames.get(range.start)?;
    let last = frames[range.clone()].last().map_or(u64::MAX, |last| last.next_head.unwrap_or(last.last));
    // A LATM frame is read by the configuration before it.
    let configuration = frames[..=range.start].iter().rfind(|frame| frame.configured).map_or(first.first, |c| c.first);
    // A flip may let a splitter run on from before.
    let run_on = frames.iter().find(|frame| frame.at + FLIP_REACH > first.at).map_or(first.first, |f| f.first);
    Some((pid, first.packet_of_time.min(configuration).min(run_on), last))
}

/// Whether a receiver of one PID's packets from `from` on and before `end` is sure of a chunk's sound.
fn is_heard(pid: u16, frames: &[Framed], log: &DamageLog, span: Span, from: u64, end: u64) -> bool {
    let harms: Vec<&Harm> = log.core().filter(|harm| harm.pid == pid).collect();
    let missing = |first: u64, last: u64| {
        first < from || last >= end || harms.iter().any(|harm| (first..=last).contains(&harm.offset))
    };
    // Nothing counts before a PES packet begins.
    let begun = |time: &u64| *time >= from && harms.iter().all(|harm| harm.offset != *time);
    let from = frames.iter().map(|frame| frame.packet_of_time).find(begun).unwrap_or(u64::MAX);
    let missing = |first: u64, last: u64| first < from || missing(first, last);
    let wanted = around(frames, span);
    let has_end = frames[wanted.clone()].last().is_some_and(|last| apart(last.pts, span.pts) >= span.duration as i64);
    let has_begin = frames.get(wanted.start).is_some_and(|first| apart(first.pts, span.pts) < 0);
    let (mut synced, mut configured, mut any_timed) = (false, false, false);
    let (mut behind, mut run_on) = (from, 0);
    let mut sure = has_end && has_begin;
    for (number, frame) in frames.iter().enumerate().take(wanted.end) {
        let whole = !missing(frame.first, frame.last);
        let flip = harms.iter().any(|harm| {
            harm.kind == HarmKind::Flipped
                && (frame.first..=frame.next_head.unwrap_or(frame.last)).contains(&harm.offset)
        });
        if flip {
            run_on = frame.at + FLIP_REACH;
        }
        // A hole between two frames, in a packet that has bytes of neither.
        let follows = synced && !missing(behind, frame.first);
        behind = frame.last;
        let next_is_seen = frame.next_head.is_some_and(|head| !missing(frame.first, head));
        synced = whole && (next_is_seen || (follows && !frame.ends_at_next)) && (configured || frame.configured);
        configured |= whole && frame.configured;
        // Times count on from a received one, or back from the next where no fraction is rounded (CCF 7).
        let timed = !missing(frame.packet_of_time, frame.first)
            || (frame.whole_ticks && any_timed && frame.next_time.is_some_and(|next| !missing(frame.first, next)));
        any_timed |= synced && timed;
        if wanted.contains(&number) {
            sure &= synced && timed && frame.at >= run_on && (follows || number == wanted.start);
        }
    }
    sure
}
