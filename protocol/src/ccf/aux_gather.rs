//! The streams beside the core received, and given to the chunks they belong to (CCF 8).
//!
//! ```text
//! packets -> PES packets, sections -> those whose chunk is not cut yet -> aux object, when the chunk is handed out
//! ```
//!
//! Nothing here can withhold a chunk or hold it up: what is damaged or does not fit is dropped and counted, and what
//! comes after its chunk goes to the next, with its own time.

use std::cell::LazyCell;
use std::collections::VecDeque;
use std::sync::Arc;

use super::aux_mux::times_of_first_stream;
use super::aux_object::{AuxKind, AuxObject, AuxStream, AuxUnit, MIN_SECTION_BYTES, PesForm};
use super::cutter::{CutChunk, RAP_WAIT};
use crate::ids::ChunkCid;
use crate::limits::{MAX_AUX_BYTES, MAX_AUX_STREAMS, MAX_AUX_UNITS, MAX_AUX_WAITING_BYTES};
use crate::time::{MediaTime, Pts33, TICKS_PER_SECOND, Ticks};
use crate::ts::ReceptionCounters;
use crate::ts::continuity::{Continuity, ContinuityCheck};
use crate::ts::packet::Packet;
use crate::ts::pes::{PesEvent, PesParser};
use crate::ts::psi::{ProgramMap, SectionAssembler, crc32};
use crate::ts::scte35::{self, Cue};

/// A unit whose time lies further from its chunk than this belongs to none: ticks before it.
const BEHIND: i64 = -RAP_WAIT;
/// A unit comes ten seconds before its time at most, and its chunk may have waited ten seconds for its audio.
const AHEAD: i64 = 30 * TICKS_PER_SECOND;
/// Bytes that a waiting unit costs beside its own.
const UNIT_COST: usize = 128;

/// Where reception stands when a packet comes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Newest DTS of what is cut, as received.
    pub clock: Pts33,
    /// Clock of the cutter.
    pub epoch: u32,
}

/// A stream of the map in force. Streams that look alike are told apart by their order.
#[derive(Debug, PartialEq, Eq)]
struct Known {
    stream: AuxStream,
    nth: u8,
}

#[derive(Debug)]
struct Input {
    pid: u16,
    known: Arc<Known>,
    check: ContinuityCheck,
    reader: Reader,
}

#[derive(Debug)]
enum Reader {
    Pes(PesReader),
    Sections(SectionAssembler),
}

/// A unit whose chunk is not cut yet.
#[derive(Debug)]
struct Waiting {
    known: Arc<Known>,
    /// Where reception stood when it began.
    sent: Place,
    /// PTS as received, where it has one.
    shown: Option<Pts33>,
    pes: Option<PesForm>,
    data: Vec<u8>,
}

/// Where a unit belongs, seen from a chunk.
enum Belongs {
    /// Here, so long after the chunk's PTS.
    Here(Ticks),
    Later,
    Nowhere,
}

/// Gathers what a programme has beside its core.
#[derive(Debug, Default)]
pub(super) struct AuxGather {
    inputs: Vec<Input>,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
}

impl AuxGather {
    /// Follows a map. A stream that stays where it is goes on.
    pub(super) fn follow_map(&mut self, map: &ProgramMap) {
        let mut before = std::mem::take(&mut self.inputs);
        for (pid, stream) in map.streams.iter().filter_map(|one| Some((one.pid, AuxStream::of(one)?))) {
            if self.inputs.len() == MAX_AUX_STREAMS {
                break;
            }
            let nth = self.inputs.iter().filter(|input| input.known.stream == stream).count() as u8;
            let known = Known { stream, nth };
            let input = match before.iter().position(|input| input.pid == pid && *input.known == known) {
                Some(at) => before.swap_remove(at),
                None => Input::new(pid, known),
            };
            self.inputs.push(input);
        }
    }

    /// Forgets the map: the programme is not what it should be.
    pub(super) fn forget_map(&mut self) {
        self.inputs.clear();
    }

    /// PIDs that packets are wanted of.
    pub(super) fn pids(&self) -> impl Iterator<Item = u16> {
        self.inputs.iter().map(|input| input.pid)
    }

    /// Takes a packet; returns what it announces.
    pub(super) fn packet(
        &mut self,
        packet: &Packet<'_>,
        place: Place,
        counters: &mut ReceptionCounters,
    ) -> Option<Cue> {
        let input = self.inputs.iter_mut().find(|input| input.pid == packet.pid)?;
        let mut cue = None;
        let mut found = Vec::new();
        counters.aux_dropped += input.packet(packet, place, |unit| {
            if unit.pes.is_none() {
                cue = scte35::cue(&unit.data).or(cue);
            }
            found.push(unit);
        });
        for unit in found {
            self.wait(unit, counters);
        }
        cue
    }

    fn wait(&mut self, unit: Waiting, counters: &mut ReceptionCounters) {
        self.waiting_bytes += unit.data.len() + UNIT_COST;
        self.waiting.push_back(unit);
        while self.waiting_bytes > MAX_AUX_WAITING_BYTES
            && let Some(oldest) = self.waiting.pop_front()
        {
            self.waiting_bytes -= oldest.data.len() + UNIT_COST;
            counters.aux_dropped += 1;
        }
    }

    /// What belongs to a chunk that is handed out now, whose bytes are `written`: splice information lies behind a unit of
    /// the first core stream. `None` where the programme has nothing beside its core.
    pub(super) fn take(
        &mut self,
        chunk: &CutChunk,
        cid: Option<ChunkCid>,
        written: &[u8],
        counters: &mut ReceptionCounters,
    ) -> Option<AuxObject> {
        if self.inputs.is_empty() && self.waiting.is_empty() {
            return None;
        }
        let mut known: Vec<Arc<Known>> = self.inputs.iter().map(|input| Arc::clone(&input.known)).collect();
        let mut object = AuxObject { chunk: cid, streams: Vec::new(), units: Vec::new() };
        let mut bytes = 0;
        let times = LazyCell::new(|| times_of_first_stream(written, Pts33::of(chunk.opening.pts)));
        for unit in std::mem::take(&mut self.waiting) {
            let time = match unit.belongs(chunk) {
                Belongs::Here(time) => time,
                Belongs::Later => {
                    self.waiting.push_back(unit);
                    continue;
                }
                Belongs::Nowhere => {
                    self.waiting_bytes -= unit.data.len() + UNIT_COST;
                    counters.aux_dropped += 1;
                    continue;
                }
            };
            self.waiting_bytes -= unit.data.len() + UNIT_COST;
            bytes += unit.data.len();
            let place = known.iter().position(|one| *one == unit.known);
            let stream = place.or_else(|| {
                known.push(Arc::clone(&unit.known));
                (known.len() <= MAX_AUX_STREAMS).then(|| known.len() - 1)
            });
            let Some(stream) = stream.filter(|_| object.units.len() < MAX_AUX_UNITS && bytes <= MAX_AUX_BYTES) else {
                bytes -= unit.data.len();
                known.truncate(MAX_AUX_STREAMS);
                counters.aux_dropped += 1;
                continue;
            };
            counters.aux_units += 1;
            object.units.push(unit.finish(stream as u8, time, chunk, || &times));
        }
        object.units.sort_by_key(AuxUnit::order);
        object.streams = known.iter().map(|known| known.stream.clone()).collect();
        Some(object)
    }
}

impl Input {
    fn new(pid: u16, known: Known) -> Self {
        let reader = match known.stream.kind() {
            AuxKind::Splices => Reader::Sections(SectionAssembler::default()),
            AuxKind::Teletext | AuxKind::Subtitles | AuxKind::Data => Reader::Pes(PesReader::default()),
        };
        Self { pid, known: Arc::new(known), check: ContinuityCheck::default(), reader }
    }

    /// Takes a packet; returns how many units it showed to be damaged.
    fn packet(&mut self, packet: &Packet<'_>, place: Place, mut sink: impl FnMut(Waiting)) -> u64 {
        let Some(payload) = packet.payload else { return 0 };
        let lost = match self.check.next(packet.counter, payload) {
            Continuity::Duplicate => return 0,
            Continuity::Lost(_) => true,
            Continuity::First | Continuity::Follows => false,
        };
        let known = &self.known;
        let mut damaged = 0;
        match &mut self.reader {
            Reader::Pes(reader) => {
                damaged += u64::from((lost || packet.scrambled) && reader.drop_open());
                if packet.scrambled {
                    return damaged;
                }
                damaged += reader.push(packet.unit_start, payload, place, |sent, pts, form, data| {
                    // Teletext of real multiplexes has times of another clock, hours away: they mean nothing.
                    let shown = pts.filter(|pts| (BEHIND..AHEAD).contains(&since(*pts, sent.clock)));
                    let pes = Some(PesForm { timed: shown.is_some(), ..form });
                    sink(Waiting { known: Arc::clone(known), sent, shown, pes, data });
                });
            }
            Reader::Sections(sections) => {
                if lost || packet.scrambled {
                    sections.hole();
                    damaged += 1;
                }
                if packet.scrambled {
                    return damaged;
                }
                sections.push(packet.unit_start, payload, |section| {
                    let sound = section.first() == Some(&scte35::TABLE_ID) && section.len() >= MIN_SECTION_BYTES;
                    if !sound || crc32(section) != 0 {
                        damaged += 1;
                        return;
                    }
                    let (known, data) = (Arc::clone(known), section.to_vec());
                    sink(Waiting { known, sent: place, shown: None, pes: None, data });
                });
            }
        }
        damaged
    }
}

/// Collects whole PES packets. A video's may be without length; those of other streams may not (ISO/IEC 13818-1, 2.4.3.7).
#[derive(Debug, Default)]
struct PesReader {
    buf: Vec<u8>,
    /// Where the packet in progress began; `None` while bytes are skipped to the next start.
    began: Option<Place>,
}

impl PesReader {
    /// Drops the packet in progress; true if there was one.
    fn drop_open(&mut self) -> bool {
        self.buf.clear();
        self.began.take().is_some()
    }

    /// Takes a payload; returns how many PES packets it showed to be damaged.
    fn push(
        &mut self,
        unit_start: bool,
        payload: &[u8],
        place: Place,
        sink: impl FnOnce(Place, Option<Pts33>, PesForm, Vec<u8>),
    ) -> u64 {
        let mut damaged = 0;
        if unit_start {
            damaged += u64::from(self.drop_open());
            self.began = Some(place);
        }
        let Some(began) = self.began else { return damaged };
        self.buf.extend_from_slice(payload);
        let [0, 0, 1, _, high, low, ..] = self.buf[..] else {
            // Six bytes always fit the first packet, but for one that is mostly adaptation field.
            return damaged + u64::from(self.buf.len() >= 6 && self.drop_open());
        };
        let len = 6 + usize::from(u16::from_be_bytes([high, low]));
        if len > 6 && self.buf.len() < len {
            return damaged;
        }
        self.buf.truncate(len);
        let whole = read_pes(&self.buf);
        self.drop_open();
        match whole {
            Some((pts, form, data)) => {
                sink(began, pts, form, data);
                damaged
            }
            None => damaged + 1,
        }
    }
}

/// Time, form and payload of a whole PES packet.
fn read_pes(bytes: &[u8]) -> Option<(Option<Pts33>, PesForm, Vec<u8>)> {
    let mut parser = PesParser::default();
    let mut times = None;
    let mut data = Vec::new();
    parser.push(true, bytes, |event| match event {
        PesEvent::Start(found) => times = Some(found),
        PesEvent::Data(bytes) => data = bytes.to_vec(),
        PesEvent::Short | PesEvent::Unusable { .. } => {}
    });
    let pts = times?.pts;
    let form = PesForm { stream_id: bytes[3], timed: pts.is_some(), aligned: bytes[6] & 0x04 != 0 };
    form.can_carry(data.len()).then_some((pts, form, data))
}

impl Waiting {
    fn belongs(&self, chunk: &CutChunk) -> Belongs {
        let Place { clock, epoch } = self.sent;
        if epoch > chunk.epoch {
            return Belongs::Later;
        }
        let received = |time: MediaTime| Pts33::of(MediaTime(time.0.saturating_add(chunk.shift)));
        let sent = since(clock, received(chunk.begin_dts));
        let (time, length) = match self.shown {
            Some(pts) => (since(pts, received(chunk.opening.pts)), (chunk.end - chunk.opening.pts).0),
            // Where the next chunk begins; with none behind it, all that came belongs here.
            None => (sent, chunk.end_dts.map_or(AHEAD, |end| (end - chunk.begin_dts).0)),
        };
        let own_clock = epoch == chunk.epoch;
        match time {
            0.. if time < length => Belongs::Here(Ticks(time)),
            // Its chunk was handed out before it came.
            BEHIND..0 if own_clock && sent >= 0 => Belongs::Here(Ticks(time)),
            // What the old clock still sent runs to the change, like its audio.
            0.. if own_clock && chunk.end_dts.is_none() && time < length - BEHIND => Belongs::Here(Ticks(time)),
            0.. if own_clock && time < length + AHEAD => Belongs::Later,
            // Of the clock after this one, sent before the cutter knew of it.
            _ if own_clock && chunk.end_dts.is_none() => Belongs::Later,
            _ => Belongs::Nowhere,
        }
    }

    fn finish<'a>(self, stream: u8, time: Ticks, chunk: &CutChunk, times: impl FnOnce() -> &'a [Ticks]) -> AuxUnit {
        let Self { shown, pes, mut data, .. } = self;
        if pes.is_none() {
            scte35::shift(&mut data, chunk.shift.saturating_neg());
        }
        let time = match shown {
            Some(_) => time,
            None => {
                let sent = time.0.saturating_add((chunk.begin_dts - chunk.opening.pts).0);
                // In order of their times. Without any the chunk is withheld, and nothing is to be written.
                let times = times();
                let behind = times.partition_point(|dts| dts.0 <= sent).saturating_sub(1);
                times.get(behind).copied().unwrap_or(Ticks(sent))
            }
        };
        AuxUnit { stream, time, pes, data }
    }
}

/// How long one received time lies after another: the shorter way round the wrap.
pub(super) fn since(time: Pts33, origin: Pts33) -> i64 {
    (time.unwrap_near(MediaTime(origin.0 as i64)) - MediaTime(origin.0 as i64)).0
}
