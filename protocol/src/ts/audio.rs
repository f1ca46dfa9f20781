//! Audio frames of an elementary stream: split by header, timed from PES times, holes between them recorded
//! (CCF 5, 7).

use std::collections::VecDeque;

use super::video::HoleCause;
use super::{ac3, adts, latm, mpeg_audio};
use crate::limits::MAX_STREAM_MARKS;
use crate::time::{MediaTime, Pts33, TICKS_PER_SECOND};

/// What a frame's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// Bytes of the frame, header included.
    pub bytes: usize,
    /// Samples that it decodes to, per channel.
    pub samples: u32,
    /// Samples per second.
    pub rate: u32,
}

/// How the frames of a codec are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// AAC in ADTS.
    Adts,
    /// AAC in LATM.
    Latm,
    /// MPEG-1 and MPEG-2 audio.
    Mpeg,
    /// AC-3.
    Ac3,
    /// Enhanced AC-3: a frame is an access unit, all its substreams together.
    Eac3,
}

/// What stands at the front of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Front {
    /// More bytes will tell.
    More,
    /// No frame.
    None,
    /// A frame, of which not all need be there.
    Frame(FrameHeader),
}

impl Framing {
    /// First byte of every frame.
    fn first_byte(self) -> u8 {
        match self {
            Self::Adts | Self::Mpeg => 0xFF,
            Self::Latm => 0x56,
            Self::Ac3 | Self::Eac3 => 0x0B,
        }
    }

    /// Reads the front of `bytes`. `known` is the duration that a LATM frame may leave to those before it.
    fn read(self, bytes: &[u8], known: Option<latm::Timing>) -> Front {
        let need = match self {
            Self::Adts => adts::HEADER_BYTES,
            Self::Latm => latm::HEADER_BYTES,
            Self::Mpeg => mpeg_audio::HEADER_BYTES,
            Self::Ac3 | Self::Eac3 => ac3::HEADER_BYTES,
        };
        if bytes.len() < need {
            return Front::More;
        }
        let header = match self {
            Self::Adts => adts::read_header(bytes),
            Self::Latm if latm::frame_bytes(bytes).is_some_and(|frame| bytes.len() < frame) => return Front::More,
            Self::Latm => latm::read_header(bytes, known),
            Self::Mpeg => mpeg_audio::read_header(bytes),
            Self::Ac3 => ac3::read_header(bytes),
            Self::Eac3 => {
                let first = ac3::read_substream(bytes).filter(|first| first.opens).map(|first| first.header);
                return match first.map(|first| (first, ac3::extent(bytes, first.bytes))) {
                    Some((first, ac3::Extent::Whole(bytes))) => Front::Frame(FrameHeader { bytes, ..first }),
                    Some((_, ac3::Extent::More)) => Front::More,
                    Some((_, ac3::Extent::Broken)) | None => Front::None,
                };
            }
        };
        header.map_or(Front::None, Front::Frame)
    }

    /// Whether a frame of this rate begins at the front of `bytes`; `None` while they do not tell.
    fn confirms(self, bytes: &[u8], rate: u32) -> Option<bool> {
        match self {
            // What follows an access unit was seen to open the next.
            Self::Eac3 => Some(ac3::read_substream(bytes).is_some_and(|next| next.header.rate == rate)),
            // A frame that refers to the one before it has its rate.
            Self::Latm if bytes.len() < latm::HEADER_BYTES => None,
            Self::Latm => Some(latm::frame_bytes(bytes).is_some()),
            _ => match self.read(bytes, None) {
                Front::More => None,
                Front::None => Some(false),
                Front::Frame(next) => Some(next.rate == rate),
            },
        }
    }
}

/// A frame as received; its bytes are in [`AudioFrames::bytes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioFrame {
    /// Presentation time, unwrapped.
    pub pts: MediaTime,
    /// Position of its first byte in the received elementary stream.
    pub at: u64,
    /// Its header.
    pub header: FrameHeader,
    /// Bytes are missing between the frame before and this one.
    pub gap: Option<HoleCause>,
    /// The clock changed between the frame before and this one.
    pub jump: bool,
}

/// Counting of frames from the last received time.
#[derive(Debug, Clone, Copy)]
struct Count {
    base: MediaTime,
    samples: u64,
}

/// Most frames without a time that wait for one: the largest PES packet holds fewer than this many smallest frames.
const MAX_UNTIMED: usize = 1024;

/// Splits an audio elementary stream into frames.
#[derive(Debug)]
pub struct AudioFrames {
    framing: Framing,
    /// Bytes from `base` on: frames still wanted, then what is not yet a frame.
    buf: VecBytes,
    /// Position up to which frames were taken.
    taken: u64,
    /// Duration of the frame before, which a LATM frame may refer to.
    known: Option<latm::Timing>,
    synced: bool,
    gap: Option<HoleCause>,
    count: Option<Count>,
    /// Where the next frame would have begun before the last hole.
    last_end: Option<MediaTime>,
    /// Frames behind a hole whose time the next PES packet tells.
    untimed: Vec<AudioFrame>,
    packets: VecDeque<(u64, Pts33)>,
    out: VecDeque<AudioFrame>,
}

/// A vector that forgets its front.
#[derive(Debug, Default)]
struct VecBytes {
    bytes: Vec<u8>,
    /// Bytes at the front that are forgotten but not yet removed.
    dead: usize,
    base: u64,
}

impl VecBytes {
    fn end(&self) -> u64 {
        self.base + (self.bytes.len() - self.dead) as u64
    }
    fn from(&self, at: u64) -> &[u8] {
        let skip = usize::try_from(at.saturating_sub(self.base)).unwrap_or(usize::MAX);
        self.bytes.get(self.dead.saturating_add(skip)..).unwrap_or_default()
    }
    fn forget(&mut self, to: u64) {
        let count = (to.clamp(self.base, self.end()) - self.base) as usize;
        self.dead += count;
        self.base += count as u64;
        // Moving the rest costs less than what was read since, amortised.
        if self.dead > self.bytes.len() / 2 {
            self.bytes.drain(..self.dead);
            self.dead = 0;
        }
    }
}

impl AudioFrames {
    /// A splitter at the beginning of a reception.
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        Self {
            framing,
            buf: VecBytes::default(),
            taken: 0,
            known: None,
            synced: false,
            gap: Some(HoleCause::Edge),
            count: None,
            last_end: None,
            untimed: Vec::new(),
            packets: VecDeque::new(),
            out: VecDeque::new(),
        }
    }

    /// Bytes are missing here.
    pub fn hole(&mut self, cause: HoleCause) {
        // A frame that is not complete by now has the hole inside it.
        self.taken = self.buf.end();
        self.synced = false;
        self.gap = self.gap.max(Some(cause)).max(self.drop_untimed());
        self.count = None;
        self.packets.clear();
    }

    /// A PES packet with this time begins here.
    pub fn pes_start(&mut self, pts: Option<Pts33>) {
        if let Some(pts) = pts {
            self.packets.push_back((self.buf.end(), pts));
            if self.packets.len() > MAX_STREAM_MARKS {
                self.packets.pop_front();
            }
        }
    }

    /// Takes elementary bytes in. `near` tells which wrap the first time belongs to.
    pub fn push(&mut self, bytes: &[u8], near: MediaTime) {
        self.buf.bytes.extend_from_slice(bytes);
        while self.take_frame(near) {}
    }

    /// The next frame.
    pub fn poll(&mut self) -> Option<AudioFrame> {
        self.out.pop_front()
    }

    /// Bytes of the elementary stream from a position to another; empty where they are forgotten.
    #[must_use]
    pub fn bytes(&self, from: u64, to: u64) -> &[u8] {
        if from < self.buf.base {
            return &[];
        }
        self.buf.from(from).get(..to.saturating_sub(from) as usize).unwrap_or_default()
    }

    /// Bytes before this position are not wanted any more.
    pub fn forget(&mut self, to: u64) {
        let first_wanted = self.untimed.first().map_or(self.taken, |frame| frame.at);
        self.buf.forget(to.min(first_wanted));
    }

    fn take_frame(&mut self, near: MediaTime) -> bool {
        let rest = self.buf.from(self.taken);
        let header = match self.framing.read(rest, self.known) {
            Front::More => return false,
            Front::None => return self.skip(),
            Front::Frame(header) => header,
        };
        let Some(behind) = rest.get(header.bytes..) else { return false };
        if !self.synced {
            // Sync wants a second header of equal rate one frame later.
            match self.framing.confirms(behind, header.rate) {
                None => return false,
                Some(false) => return self.skip(),
                Some(true) => self.synced = true,
            }
        }
        self.known = Some(latm::Timing { samples: header.samples, rate: header.rate });
        self.frame(header, near);
        true
    }

    /// Goes one byte on in search of a header.
    fn skip(&mut self) -> bool {
        self.gap = self.gap.max(Some(HoleCause::Loss));
        self.synced = false;
        self.taken += 1;
        let rest = self.buf.from(self.taken);
        self.taken += memchr::memchr(self.framing.first_byte(), rest).unwrap_or(rest.len()) as u64;
        true
    }

    fn frame(&mut self, header: FrameHeader, near: MediaTime) {
        let at = self.taken;
        self.taken += header.bytes as u64;
        let mut received = None;
        while let Some((_, pts)) = self.packets.pop_front_if(|(start, _)| *start <= at) {
            received = Some(pts);
        }
        let rate = u64::from(header.rate);
        let expected = self.count.map(|count| MediaTime(count.base.0 + ticks(count.samples, rate)));
        let mut gap = self.gap.take();
        let pts = match (received, expected) {
            (Some(pts), Some(expected)) => pts.unwrap_near(expected),
            (Some(pts), None) => pts.unwrap_near(self.last_end.unwrap_or(near)),
            (None, Some(expected)) => {
                self.count =
                    self.count.map(|count| Count { samples: count.samples + u64::from(header.samples), ..count });
                self.emit(AudioFrame { pts: expected, at, header, gap, jump: false });
                return;
            }
            (None, None) => {
                if self.untimed.len() == MAX_UNTIMED {
                    gap = gap.max(self.drop_untimed());
                }
                self.untimed.push(AudioFrame { pts: MediaTime(0), at, header, gap, jump: false });
                return;
            }
        };
        // Half a frame off the count is a hole; backward, or far forward, the clock itself changed (CCF 9, 14).
        let off = expected.or(self.last_end).map_or(0, |expected| pts.0 - expected.0);
        let late = 2 * off.saturating_mul(i64::from(header.rate)) > i64::from(header.samples) * 90_000;
        let early = -2 * off.saturating_mul(i64::from(header.rate)) > i64::from(header.samples) * 90_000;
        let jump = early || off > TICKS_PER_SECOND;
        if late && !jump && expected.is_some() {
            gap = gap.max(Some(HoleCause::Loss));
        }
        gap = self.time_untimed(pts).or(gap);
        self.count = Some(Count { base: pts, samples: u64::from(header.samples) });
        self.emit(AudioFrame { pts, at, header, gap, jump });
    }

    fn emit(&mut self, frame: AudioFrame) {
        let ticks = ticks(u64::from(frame.header.samples), u64::from(frame.header.rate));
        self.last_end = Some(MediaTime(frame.pts.0 + ticks));
        self.out.push_back(frame);
    }

    /// Counts back from the first time behind a hole, where that gives exactly what counting on from before the hole
    /// gives: whole frames of a whole number of ticks are missing. Otherwise the untimed frames count as lost.
    /// Returns the gap that lost frames leave before the next.
    fn time_untimed(&mut self, next: MediaTime) -> Option<HoleCause> {
        let (Some(first), Some(before)) = (self.untimed.first().copied(), self.last_end) else {
            return self.drop_untimed();
        };
        let (samples, rate) = (u64::from(first.header.samples), u64::from(first.header.rate));
        let frame_ticks = ticks(samples, rate);
        let exact = (samples * 90_000).is_multiple_of(rate);
        let even =
            self.untimed.iter().all(|f| (f.header.samples, f.header.rate) == (first.header.samples, first.header.rate));
        if !exact || !even || frame_ticks == 0 || (next.0 - before.0) % frame_ticks != 0 {
            return self.drop_untimed();
        }
        let count = self.untimed.len() as i64;
        for (number, frame) in std::mem::take(&mut self.untimed).into_iter().enumerate() {
            self.emit(AudioFrame { pts: MediaTime(next.0 - (count - number as i64) * frame_ticks), ..frame });
        }
        None
    }

    fn drop_untimed(&mut self) -> Option<HoleCause> {
        let lost = self.untimed.iter().filter_map(|frame| frame.gap).max();
        let any = !self.untimed.is_empty();
        self.untimed.clear();
        lost.max(any.then_some(HoleCause::Edge))
    }
}

/// Ticks of so many samples, rounded to nearest (CCF 7).
#[must_use]
pub fn ticks(samples: u64, rate: u64) -> i64 {
    let doubled = 2 * u128::from(samples) * 90_000 + u128::from(rate);
    i64::try_from(doubled / (2 * u128::from(rate.max(1)))).unwrap_or(i64::MAX)
}
