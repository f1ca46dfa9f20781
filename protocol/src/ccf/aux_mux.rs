//! Playback of a chunk together with its aux object: the canonical bytes, with further streams announced and written.
//!
//! ```text
//! canonical   PAT PMT  V  A  V  A ...             PAT PMT  V  A ...
//! for players PAT PMT' V  A  V  A  T ... T  V  S  PAT PMT' V  A ...     T teletext, S subtitles
//! ```
//!
//! All chunks of a recording announce the same streams, those of its [`AuxLayout`], whether they have units or not: a
//! player that is told of other streams forgets what its viewer chose. Every PID closes its counter in every chunk (CCF
//! 18), so that chunks follow one another in any order, with and without units. Core packets stay as they are, and the
//! result is read as the same chunk with the same aux object.

use minicbor::{Decode, Encode};

use super::aux_gather::since;
use super::aux_object::{AuxKind, AuxObject, AuxStream, AuxUnit, PesForm};
use super::writer::{FIRST_PID, PMT_PID, stamp};
use crate::limits::{MAX_AUX_STREAMS, MAX_CHUNK_BYTES};
use crate::time::{MediaTime, Pts33, Ticks};
use crate::ts::framer::PACKET_BYTES;
use crate::ts::packet::Packet;
use crate::ts::pes::{PesEvent, PesParser, PesTimes};
use crate::ts::psi::crc32;

/// PID of the layout's first stream; the others follow. Core streams end below.
const FIRST_AUX_PID: u16 = 0x140;
/// Every PID has a multiple of this many payload packets (CCF 18).
const COUNTER_CYCLE: usize = 16;
/// Bytes after a packet's header.
const CAPACITY: usize = PACKET_BYTES - 4;
/// Longest PMT section (ISO/IEC 13818-1, 2.4.4.9), with its pointer field.
const MAX_MAP_BYTES: usize = 1 + 1024;
/// Registration of splice information, which belongs to the programme (SCTE 35, 8.1).
const SPLICES_REGISTERED: [u8; 6] = *b"\x05\x04CUEI";
/// Header of a teletext PES packet: `PES_header_data_length` is 0x24 (EN 300 472, 4.2), so that data units fill packets.
const TELETEXT_HEADER_BYTES: usize = 45;

/// The streams that a recording announces beside its core. It grows where the programme gets another stream, and what it
/// has stays: PIDs and lengths do not change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct AuxLayout {
    #[n(0)]
    streams: Vec<AuxStream>,
    /// Packets of a map.
    #[n(1)]
    map_packets: u8,
    /// How often a stream joined, in the layouts before this one too: what the map's version is made of.
    #[n(2)]
    joined: u8,
}

/// A chunk that cannot be written with its aux object: it is not canonical, or too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuxMuxError {
    /// Not the bytes of a chunk.
    #[error("packet {0} is of no canonical chunk")]
    Packet(usize),
    /// More bytes than a chunk may have.
    #[error("{0} bytes are no chunk")]
    Length(usize),
}

impl AuxLayout {
    /// Announces the streams of a chunk's aux object too; true if some are new. The first object decides how many packets
    /// a map has, one if ever possible: streams that would make it longer later are left out, since lengths must not
    /// change.
    pub fn learn(&mut self, chunk: &[u8], streams: &[AuxStream]) -> bool {
        let before = self.streams.len();
        let begins = self.streams.is_empty();
        let core = chunk.as_chunks::<PACKET_BYTES>().0.iter().find(|packet| is_map(packet));
        let Some(core_bytes) = core.and_then(core_section).map(|section| 1 + section.len()) else { return false };
        for (at, stream) in streams.iter().enumerate() {
            let nth = streams[..at].iter().filter(|one| *one == stream).count();
            if self.place(stream, nth).is_some() || self.streams.len() >= MAX_AUX_STREAMS {
                continue;
            }
            self.streams.push(stream.clone());
            let bytes = core_bytes + self.map_bytes(self.streams.len());
            let packets = bytes.div_ceil(CAPACITY);
            if begins && bytes <= MAX_MAP_BYTES {
                self.map_packets = packets as u8;
            } else if packets > usize::from(self.map_packets) {
                self.streams.pop();
                continue;
            }
            self.joined = self.joined.wrapping_add(1);
        }
        self.streams.len() > before
    }

    /// The layout to begin with from a chunk on, where this one has no room left for its streams: programmes come and go,
    /// and so do their languages. `None` as long as a new one would announce no more of them.
    #[must_use]
    pub fn anew(&self, chunk: &[u8], streams: &[AuxStream]) -> Option<Self> {
        let placed = |layout: &Self| {
            let nth = |at: usize| streams[..at].iter().filter(|one| **one == streams[at]).count();
            (0..streams.len()).filter(|&at| layout.place(&streams[at], nth(at)).is_some()).count()
        };
        let mut new = Self { joined: self.joined, ..Self::default() };
        new.learn(chunk, streams);
        (placed(&new) > placed(self)).then_some(new)
    }

    /// The streams, in the order of their PIDs.
    #[must_use]
    pub fn streams(&self) -> &[AuxStream] {
        &self.streams
    }

    /// Whether nothing is announced beside the core: chunks play as they are.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Length in bytes of a chunk as [`Self::mux`] writes it. `None` where that cannot be: more than a chunk may have.
    #[must_use]
    pub fn len_of(&self, chunk_bytes: u64, aux: Option<&AuxObject>) -> Option<u64> {
        let mut packets = COUNTER_CYCLE * usize::from(self.map_packets.max(1)) - COUNTER_CYCLE;
        for (stream, units) in self.units_of(aux).iter().enumerate() {
            let all: usize = units.iter().map(|unit| packets_of(self.payload_len(stream, unit))).sum();
            packets += all.next_multiple_of(COUNTER_CYCLE);
        }
        chunk_bytes.checked_add((packets * PACKET_BYTES) as u64).filter(|&len| len <= 2 * MAX_CHUNK_BYTES as u64)
    }

    /// Whether a chunk without aux object has its own length: its maps are replaced where they stand, see
    /// [`Self::announce`].
    #[must_use]
    pub fn keeps_length(&self) -> bool {
        self.map_packets <= 1
    }

    /// Announces the layout's streams in a packet of a canonical chunk, if it is a map; all others stay as they are.
    /// Only where [`Self::keeps_length`].
    pub fn announce(&self, packet: &mut [u8; PACKET_BYTES]) {
        if self.is_empty() || !is_map(packet) || !self.keeps_length() {
            return;
        }
        if let Some(section) = self.section(packet).filter(|section| section.len() < CAPACITY) {
            packet[5..5 + section.len()].copy_from_slice(&section);
            packet[5 + section.len()..].fill(0xFF);
        }
    }

    /// Writes a chunk with its aux object. `pts` is the chunk's.
    ///
    /// # Errors
    /// Bytes that are no canonical chunk.
    pub fn mux(&self, chunk: &[u8], pts: Pts33, aux: Option<&AuxObject>) -> Result<Vec<u8>, AuxMuxError> {
        let (packets, []) = chunk.as_chunks::<PACKET_BYTES>() else { return Err(AuxMuxError::Length(chunk.len())) };
        let len =
            self.len_of(chunk.len() as u64, aux).filter(|_| !packets.is_empty() && chunk.len() <= MAX_CHUNK_BYTES);
        let len = len.ok_or(AuxMuxError::Length(chunk.len()))?;
        let by_stream = self.units_of(aux);
        let mut units: Vec<Placed<'_>> = Vec::new();
        for (stream, of_stream) in by_stream.iter().enumerate() {
            for (nth, unit) in of_stream.iter().enumerate() {
                units.push(Placed { unit, stream, last: nth + 1 == of_stream.len() });
            }
        }
        // As the object has them, which the layout may have in another order of streams.
        units.sort_by_key(|placed| placed.unit.order());
        let mut out = Output { bytes: Vec::with_capacity(len as usize), counts: vec![0; self.streams.len()], maps: 0 };
        let mut next = units.iter().peekable();
        for (number, packet) in packets.iter().enumerate() {
            let parsed = Packet::parse(packet).ok().filter(|_| packet[0] == 0x47);
            let parsed = parsed.ok_or(AuxMuxError::Packet(number))?;
            if parsed.pid == PMT_PID {
                out.map(self, packet);
                continue;
            }
            if parsed.pid >= FIRST_PID && parsed.unit_start {
                let times = first_times(&packets[number..]).ok_or(AuxMuxError::Packet(number))?;
                let dts = times.dts.or(times.pts).ok_or(AuxMuxError::Packet(number))?;
                while let Some(placed) = next.next_if(|placed| placed.unit.time.0 < since(dts, pts)) {
                    out.unit(self, placed, pts);
                }
            }
            out.bytes.extend_from_slice(packet);
        }
        next.for_each(|placed| out.unit(self, placed, pts));
        debug_assert_eq!(out.bytes.len() as u64, len, "the length that was announced");
        Ok(out.bytes)
    }

    /// Where the layout has the `nth` stream of this description.
    fn place(&self, stream: &AuxStream, nth: usize) -> Option<usize> {
        self.streams.iter().enumerate().filter(|(_, one)| *one == stream).nth(nth).map(|(at, _)| at)
    }

    /// Units by stream of the layout; those of streams that it does not have are left out.
    fn units_of<'a>(&self, aux: Option<&'a AuxObject>) -> Vec<Vec<&'a AuxUnit>> {
        let mut units = vec![Vec::new(); self.streams.len()];
        let Some(aux) = aux else { return units };
        let place = |(at, stream): (usize, &AuxStream)| {
            let nth = aux.streams[..at].iter().filter(|one| *one == stream).count();
            self.place(stream, nth)
        };
        let places: Vec<Option<usize>> = aux.streams.iter().enumerate().map(place).collect();
        for unit in &aux.units {
            if let Some(place) = places.get(usize::from(unit.stream)).copied().flatten() {
                units[place].push(unit);
            }
        }
        units
    }

    fn is_teletext(&self, stream: usize) -> bool {
        self.streams.get(stream).is_some_and(|stream| stream.kind() == AuxKind::Teletext)
    }

    /// Bytes that a unit takes in the payload of packets.
    fn payload_len(&self, stream: usize, unit: &AuxUnit) -> usize {
        match unit.pes {
            Some(form) => pes_header_len(form, self.is_teletext(stream), unit.data.len()) + unit.data.len(),
            None => 1 + unit.data.len(),
        }
    }

    /// Bytes that the first `count` streams add to a map.
    fn map_bytes(&self, count: usize) -> usize {
        let streams = &self.streams[..count];
        let info = if registers_splices(streams) { SPLICES_REGISTERED.len() } else { 0 };
        info + streams.iter().map(|stream| 5 + stream.descriptors.len()).sum::<usize>()
    }

    /// The map that stands in the place of a canonical one. `None` where that is none.
    fn section(&self, packet: &[u8; PACKET_BYTES]) -> Option<Vec<u8>> {
        let canonical = core_section(packet)?;
        let core = canonical.get(12..canonical.len().checked_sub(4)?)?;
        let room = usize::from(self.map_packets.max(1)) * CAPACITY;
        let mut count = self.streams.len();
        // A core that grew since the layout began may leave room for fewer.
        while count > 0 && 1 + 16 + core.len() + self.map_bytes(count) > room.min(MAX_MAP_BYTES) {
            count -= 1;
        }
        let info: &[u8] = if registers_splices(&self.streams[..count]) { &SPLICES_REGISTERED } else { &[] };
        let mut body = canonical[8..10].to_vec();
        body.extend((0xF000 | info.len() as u16).to_be_bytes());
        body.extend(info);
        body.extend(core);
        for (stream, pid) in self.streams[..count].iter().zip(FIRST_AUX_PID..) {
            body.push(stream.stream_type);
            body.extend((0xE000 | pid).to_be_bytes());
            body.extend((0xF000 | stream.descriptors.len() as u16).to_be_bytes());
            body.extend(&stream.descriptors);
        }
        let mut section = vec![0x02];
        section.extend((0xB000 | (5 + body.len() + 4) as u16).to_be_bytes());
        section.extend(&canonical[3..5]);
        // Never version 0, which is the canonical map's; another one whenever a stream joined.
        section.push(0xC1 | (1 + self.joined % 31) << 1);
        section.extend([0, 0]);
        section.extend(body);
        section.extend(crc32(&section).to_be_bytes());
        Some(section)
    }
}

fn registers_splices(streams: &[AuxStream]) -> bool {
    streams.iter().any(|stream| stream.kind() == AuxKind::Splices)
}

fn is_map(packet: &[u8; PACKET_BYTES]) -> bool {
    let [high, low] = PMT_PID.to_be_bytes();
    packet[0] == 0x47 && packet[1] == 0x40 | high && packet[2] == low && packet[3] & 0xF0 == 0x10
}

/// The map in a packet of canonical bytes.
fn core_section(packet: &[u8; PACKET_BYTES]) -> Option<&[u8]> {
    let payload = &packet[4..];
    let len = 3 + usize::from(u16::from_be_bytes([payload[2] & 0x0F, payload[3]]));
    payload.get(1..1 + len).filter(|section| payload[0] == 0 && crc32(section) == 0)
}

/// DTS of the units of the first core stream in canonical bytes, less the chunk's PTS, in order.
pub(super) fn times_of_first_stream(chunk: &[u8], pts: Pts33) -> Vec<Ticks> {
    let packets = chunk.as_chunks::<PACKET_BYTES>().0;
    let [high, low] = FIRST_PID.to_be_bytes();
    let begins = (0..packets.len()).filter(|&at| packets[at][1] == 0x40 | high && packets[at][2] == low);
    let times = begins.filter_map(|at| first_times(&packets[at..]));
    times.filter_map(|times| Some(Ticks(since(times.dts.or(times.pts)?, pts)))).collect()
}

/// Times of the PES packet that begins in the first of these packets. Its header may be spread over a few.
fn first_times(packets: &[[u8; PACKET_BYTES]]) -> Option<PesTimes> {
    let mut parser = PesParser::default();
    let mut times = None;
    for (number, packet) in packets.iter().enumerate() {
        let payload = Packet::parse(packet).ok()?.payload?;
        parser.push(number == 0, payload, |event| {
            if let PesEvent::Start(found) = event {
                times = Some(found);
            }
        });
        if times.is_some() {
            break;
        }
    }
    times
}

fn packets_of(payload_bytes: usize) -> usize {
    payload_bytes.div_ceil(CAPACITY)
}

/// Length of a PES header: fixed for teletext; else as short as can be, but so that the packet fills 16 packets with a
/// byte each.
fn pes_header_len(form: PesForm, teletext: bool, data_bytes: usize) -> usize {
    let shortest = if form.timed { 14 } else { 9 };
    if teletext { TELETEXT_HEADER_BYTES } else { shortest.max(COUNTER_CYCLE.saturating_sub(data_bytes)) }
}

/// A unit of the layout's stream.
struct Placed<'a> {
    unit: &'a AuxUnit,
    stream: usize,
    /// The last of its stream in the chunk: it closes the counter.
    last: bool,
}

struct Output {
    bytes: Vec<u8>,
    /// Payload packets written of each stream.
    counts: Vec<usize>,
    /// Packets of maps written.
    maps: usize,
}

impl Output {
    fn map(&mut self, layout: &AuxLayout, canonical: &[u8; PACKET_BYTES]) {
        if layout.keeps_length() {
            let mut packet = *canonical;
            layout.announce(&mut packet);
            return self.bytes.extend_from_slice(&packet);
        }
        let section = layout.section(canonical).unwrap_or_else(|| canonical[5..].to_vec());
        let payload = [&[0][..], &section].concat();
        let packets = usize::from(layout.map_packets);
        let pieces = even(payload.len(), packets);
        self.spread(PMT_PID, self.maps, &payload, pieces);
        self.maps += packets;
    }

    fn unit(&mut self, layout: &AuxLayout, placed: &Placed<'_>, origin: Pts33) {
        let Placed { unit, stream, last } = *placed;
        let payload = match unit.pes {
            Some(form) => pes(unit, form, layout.is_teletext(stream), origin),
            None => [&[0][..], &unit.data].concat(),
        };
        let count = self.counts[stream];
        let mut packets = packets_of(payload.len());
        if last {
            packets = (count + packets).next_multiple_of(COUNTER_CYCLE) - count;
        }
        let pid = FIRST_AUX_PID + stream as u16;
        if last {
            self.spread(pid, count, &payload, even(payload.len(), packets));
        } else {
            self.spread(pid, count, &payload, full(payload.len()));
        }
        self.counts[stream] += packets;
    }

    /// Writes a payload in packets that take so many bytes each.
    fn spread(&mut self, pid: u16, counter: usize, mut payload: &[u8], pieces: impl Iterator<Item = usize>) {
        let [high, low] = pid.to_be_bytes();
        for (number, len) in pieces.enumerate() {
            let (now, later) = payload.split_at(len.min(payload.len()));
            payload = later;
            let field = CAPACITY - now.len();
            let control = if field > 0 { 0x30 } else { 0x10 } | ((counter + number) % COUNTER_CYCLE) as u8;
            self.bytes.extend_from_slice(&[0x47, if number == 0 { 0x40 | high } else { high }, low, control]);
            let end = self.bytes.len() + field;
            if field > 0 {
                self.bytes.push((field - 1) as u8);
            }
            if field > 1 {
                self.bytes.push(0);
            }
            self.bytes.resize(end, 0xFF);
            self.bytes.extend_from_slice(now);
        }
    }
}

/// Full packets, and what is left in the last.
fn full(len: usize) -> impl Iterator<Item = usize> {
    (0..packets_of(len)).map(move |number| CAPACITY.min(len - number * CAPACITY))
}

/// As many packets as asked for, alike but for a byte, longer first.
fn even(len: usize, packets: usize) -> impl Iterator<Item = usize> {
    (0..packets).map(move |number| len / packets + usize::from(number < len % packets))
}

fn pes(unit: &AuxUnit, form: PesForm, teletext: bool, origin: Pts33) -> Vec<u8> {
    let header = pes_header_len(form, teletext, unit.data.len());
    let len = (header - 6 + unit.data.len()) as u16;
    let mut bytes = Vec::with_capacity(header + unit.data.len());
    bytes.extend_from_slice(&[0, 0, 1, form.stream_id]);
    bytes.extend_from_slice(&len.to_be_bytes());
    bytes.push(if form.aligned { 0x84 } else { 0x80 });
    bytes.push(if form.timed { 0x80 } else { 0 });
    bytes.push((header - 9) as u8);
    if form.timed {
        bytes.extend_from_slice(&stamp(2, MediaTime((origin.0 as i64).saturating_add(unit.time.0))));
    }
    bytes.resize(header, 0xFF);
    bytes.extend_from_slice(&unit.data);
    bytes
}
