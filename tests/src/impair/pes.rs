//! PES packets (ISO/IEC 13818-1 2.4.3.6): their clocks rewritten in place, and whole streams taken apart and put
//! together anew.

use std::collections::BTreeMap;
use std::ops::Range;

use super::ImpairError;
use super::packet::{PACKET, Packet};
use super::psi::Tables;

/// One PES packet of a video or audio stream.
#[derive(Debug, Clone, Default)]
pub struct Pes {
    /// stream_id.
    pub stream_id: u8,
    /// Presentation time, 33 bits.
    pub pts: Option<u64>,
    /// Decoding time, 33 bits, where it is sent.
    pub dts: Option<u64>,
    /// The flags beside the optional fields: priority, alignment, copyright, original.
    pub flags: u8,
    /// Whether PES_packet_length is set.
    pub sized: bool,
    /// Stuffing bytes in the header.
    pub stuffing: u8,
    /// 16 bytes of PES private data in an extension.
    pub private: Option<[u8; 16]>,
    /// Bytes that its length promises and the source does not have (at the source's end).
    pub short: usize,
    /// random_access_indicator of its first packet.
    pub random_access: bool,
    /// The elementary stream.
    pub payload: Payload,
}

/// Bytes of an elementary stream that know which packet they came in.
#[derive(Debug, Clone, Default)]
pub struct Payload {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// From which byte on they came in which packet, ascending.
    runs: Vec<(usize, u32)>,
}

impl Payload {
    /// Appends bytes of a packet.
    pub fn push(&mut self, bytes: &[u8], packet: u32) {
        if self.runs.last().is_none_or(|(_, last)| *last != packet) {
            self.runs.push((self.bytes.len(), packet));
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Which packet a byte came in.
    pub fn packet_of(&self, byte: usize) -> u32 {
        let run = self.runs.partition_point(|(start, _)| *start <= byte).saturating_sub(1);
        self.runs.get(run).map_or(0, |(_, packet)| *packet)
    }

    /// Appends a part of another payload.
    pub fn append(&mut self, other: &Payload, range: Range<usize>) {
        let mut at = range.start;
        while at < range.end {
            let next = other.runs.partition_point(|(start, _)| *start <= at);
            let end = other.runs.get(next).map_or(range.end, |(start, _)| (*start).min(range.end));
            self.push(&other.bytes[at..end], other.packet_of(at));
            at = end;
        }
    }
}

/// Packets in which PES packets with a PTS begin, per elementary PID.
pub fn starts(packets: &[Packet], tables: &Tables) -> BTreeMap<u16, Vec<(u32, u64)>> {
    let mut found: BTreeMap<u16, Vec<_>> = BTreeMap::new();
    for (index, packet) in packets.iter().enumerate() {
        if packet.starts_unit() && !packet.duplicate && tables.streams.contains_key(&packet.pid()) {
            let header = header_places(packets, index);
            let bytes: Vec<_> = header.iter().map(|(index, at)| packets[*index].data[*at]).collect();
            if let Some(pts) = time_fields(&bytes).first().map(|at| read_time(&bytes[*at..])) {
                found.entry(packet.pid()).or_default().push((index as u32, pts));
            }
        }
    }
    found
}

/// Moves PTS and DTS of every PES packet that begins in one of the packets `from..`.
pub fn move_times(packets: &mut [Packet], tables: &Tables, from: usize, by: i64) {
    for index in from..packets.len() {
        if !packets[index].starts_unit() || !tables.streams.contains_key(&packets[index].pid()) {
            continue;
        }
        let places = header_places(packets, index);
        let mut bytes: Vec<_> = places.iter().map(|(index, at)| packets[*index].data[*at]).collect();
        for at in time_fields(&bytes) {
            let time = super::source::moved(read_time(&bytes[at..]), by);
            write_time(&mut bytes[at..], time);
        }
        for ((index, at), byte) in places.iter().zip(bytes) {
            packets[*index].data[*at] = byte;
        }
    }
}

/// Where the first 19 bytes of a PES packet lie, which may be in several transport packets.
fn header_places(packets: &[Packet], first: usize) -> Vec<(usize, usize)> {
    let pid = packets[first].pid();
    let mut places = Vec::with_capacity(19);
    for (index, packet) in packets.iter().enumerate().skip(first).take(4096) {
        if packet.pid() != pid || (index > first && (packet.duplicate || !packet.has_payload())) {
            continue;
        }
        if index > first && packet.starts_unit() {
            break;
        }
        places.extend(packet.payload().map(|at| (index, at)).take(19 - places.len()));
        if places.len() == 19 {
            break;
        }
    }
    places
}

/// Where PTS and DTS lie in a PES header.
fn time_fields(header: &[u8]) -> Vec<usize> {
    if header.len() < 14 || header[..3] != [0, 0, 1] || !has_optional_header(header[3]) {
        return Vec::new();
    }
    match header[7] >> 6 {
        2 => vec![9],
        3 if header.len() >= 19 => vec![9, 14],
        _ => Vec::new(),
    }
}

fn has_optional_header(stream_id: u8) -> bool {
    !matches!(stream_id, 0xbc | 0xbe | 0xbf | 0xf0 | 0xf1 | 0xf2 | 0xf8 | 0xff)
}

fn read_time(field: &[u8]) -> u64 {
    u64::from(field[0] >> 1 & 7) << 30
        | u64::from(field[1]) << 22
        | u64::from(field[2] >> 1) << 15
        | u64::from(field[3]) << 7
        | u64::from(field[4] >> 1)
}

fn write_time(field: &mut [u8], time: u64) {
    field[0] = field[0] & 0xf0 | ((time >> 30 & 7) as u8) << 1 | 1;
    field[1] = (time >> 22) as u8;
    field[2] = ((time >> 15) as u8) << 1 | 1;
    field[3] = (time >> 7) as u8;
    field[4] = (time as u8) << 1 | 1;
}

/// How PES packets are spread over transport packets.
pub enum Layout<'a> {
    /// Full packets; the last of a PES packet is stuffed.
    Full,
    /// The payload capacity of each packet (1 to 184) is asked for.
    Asked(&'a mut dyn FnMut() -> usize),
}

/// The PES packets of a stream that can be read, however damaged it is.
pub fn readable(packets: &[Packet], pid: u16) -> Vec<Pes> {
    let mut units: Vec<Raw> = Vec::new();
    for (index, packet) in packets.iter().enumerate() {
        if packet.pid() != pid || packet.duplicate || !packet.has_payload() {
            continue;
        }
        if packet.starts_unit() {
            units.push(Raw { random_access: false, bytes: Payload::default() });
        }
        if let Some(unit) = units.last_mut() {
            unit.bytes.push(&packet.data[packet.payload()], index as u32);
        }
    }
    units.iter().filter_map(Raw::parse).collect()
}

/// Takes a stream apart. What precedes its first PES start stays in place and is not returned.
pub fn disassemble(packets: &[Packet], pid: u16) -> Result<Vec<Pes>, ImpairError> {
    let mut units: Vec<Raw> = Vec::new();
    let mut counter = None;
    for (index, packet) in packets.iter().enumerate() {
        if packet.pid() != pid || packet.duplicate || !packet.has_payload() {
            continue;
        }
        if packet.starts_unit() {
            let random_access = packet.data[3] & 0x20 != 0 && packet.data[4] > 0 && packet.data[5] & 0x40 != 0;
            units.push(Raw { random_access, bytes: Payload::default() });
        }
        if let Some(unit) = units.last_mut() {
            if counter.is_some_and(|last: u8| (last + 1) & 15 != packet.counter()) {
                return Err(ImpairError::DamagedSource { pid });
            }
            counter = Some(packet.counter());
            unit.bytes.push(&packet.data[packet.payload()], index as u32);
        }
    }
    units.iter().map(|raw| raw.parse().ok_or(ImpairError::DamagedSource { pid })).collect()
}

struct Raw {
    random_access: bool,
    bytes: Payload,
}

impl Raw {
    fn parse(&self) -> Option<Pes> {
        let bytes = &self.bytes.bytes;
        let body = 9 + usize::from(*bytes.get(8)?);
        if bytes[..3] != [0, 0, 1] || !has_optional_header(bytes[3]) || bytes.len() < body {
            return None;
        }
        let times: Vec<_> = time_fields(&bytes[..body.min(19)]).iter().map(|at| read_time(&bytes[*at..])).collect();
        let declared = usize::from(u16::from_be_bytes([bytes[4], bytes[5]]));
        let end = if declared == 0 { bytes.len() } else { bytes.len().min(6 + declared) };
        let mut payload = Payload::default();
        payload.append(&self.bytes, body..end.max(body));
        Some(Pes {
            stream_id: bytes[3],
            pts: times.first().copied(),
            dts: times.get(1).copied(),
            flags: bytes[6] & 0x0f,
            sized: declared != 0,
            short: (6 + declared).saturating_sub(bytes.len()).min(declared),
            random_access: self.random_access,
            payload,
            ..Pes::default()
        })
    }
}

impl Pes {
    fn header(&self) -> Vec<u8> {
        let mut fields = Vec::new();
        let mut present = 0;
        for (index, time) in [self.pts, self.dts].into_iter().flatten().enumerate() {
            let marker = match (index, self.dts) {
                (0, None) => 0x20,
                (0, Some(_)) => 0x30,
                _ => 0x10,
            };
            let mut field = [marker, 0, 0, 0, 0];
            write_time(&mut field, time);
            fields.extend(field);
            present = if self.dts.is_some() { 0xc0 } else { 0x80 };
        }
        if let Some(private) = self.private {
            present |= 0x01;
            fields.push(0x8e); // private data only; the bits between are reserved ones
            fields.extend(private);
        }
        fields.extend(vec![0xff; usize::from(self.stuffing)]);
        let length = 3 + fields.len() + self.payload.bytes.len() + self.short;
        let length = if self.sized { u16::try_from(length).unwrap_or(0) } else { 0 }.to_be_bytes();
        let start = [0, 0, 1, self.stream_id, length[0], length[1], 0x80 | self.flags, present, fields.len() as u8];
        [&start[..], &fields].concat()
    }

    fn packets(&self, pid: u16, counter: &mut u8, layout: &mut Layout<'_>, out: &mut Vec<(u32, Packet)>) {
        // The origin is in packets of the list taken apart, for now.
        let header = self.header();
        let bytes = [&header[..], &self.payload.bytes].concat();
        let packet_of = |byte: usize| self.payload.packet_of(byte.saturating_sub(header.len()));
        let mut at = 0;
        while at < bytes.len() {
            let flags = if at == 0 && self.random_access { Some(0x40) } else { None };
            let room = PACKET - 4 - if flags.is_some() { 2 } else { 0 };
            let asked = match layout {
                Layout::Full => room,
                Layout::Asked(ask) => ask(),
            };
            let end = (at + asked.clamp(1, room)).min(bytes.len());
            let mut packet = fill(pid, *counter, at == 0, flags, &bytes[at..end]);
            packet.origin = packet_of(at)..packet_of(end - 1) + 1;
            out.push((packet_of(end - 1), packet));
            *counter = (*counter + 1) & 15;
            at = end;
        }
    }
}

/// A packet with exactly this payload (1 to 184 bytes), the rest stuffed in the adaptation field.
fn fill(pid: u16, counter: u8, start: bool, flags: Option<u8>, payload: &[u8]) -> Packet {
    let mut packet = Packet::section(pid, counter, start, &[]);
    let stuffing = PACKET - 4 - payload.len();
    if stuffing > 0 {
        packet.data[3] |= 0x20;
        packet.data[4] = stuffing as u8 - 1;
        if stuffing > 1 {
            packet.data[5] = flags.unwrap_or(0);
        }
    }
    packet.data[PACKET - payload.len()..].copy_from_slice(payload);
    packet
}

/// Puts a stream together anew: each new packet stands where the last of its bytes stood, clock references keep their
/// places in packets of their own.
pub fn assemble(packets: &mut Vec<Packet>, pid: u16, units: &[Pes], mut layout: Layout<'_>) {
    let Some(first) = packets.iter().position(|packet| packet.pid() == pid && packet.starts_unit()) else { return };
    let mut counter = packets[first].counter();
    let mut fresh = Vec::new();
    units.iter().for_each(|unit| unit.packets(pid, &mut counter, &mut layout, &mut fresh));
    let mut fresh = fresh.into_iter().peekable();
    let mut last = (packets[first].counter() + 15) & 15;
    let origins: Vec<_> = packets.iter().map(|packet| packet.origin.clone()).collect();
    let mut out = Vec::with_capacity(packets.len());
    for (index, packet) in packets.drain(..).enumerate() {
        if index < first || packet.pid() != pid {
            out.push(packet);
            continue;
        }
        if let Some(clock) = packet.pcr() {
            let mut only = fill(pid, last, false, None, &[]);
            only.data[3] = 0x20 | last;
            only.data[5] = 0x10;
            only.set_pcr(clock);
            only.origin = packet.origin.clone();
            only.source_pid = packet.source_pid;
            out.push(only);
        }
        while let Some((_, mut new)) = fresh.next_if(|(slot, _)| *slot as usize <= index) {
            new.source_pid = packet.source_pid;
            new.origin = origins[new.origin.start as usize].start..origins[new.origin.end as usize - 1].end;
            last = new.counter();
            out.push(new);
        }
    }
    *packets = out;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_field_survives_reading_and_writing() {
        for time in [0, 1, 0x7fff, 0x8000, (1 << 30) - 1, (1 << 33) - 1, 0x1_2345_6789] {
            let mut field = [0x21, 0, 0, 0, 0];
            write_time(&mut field, time);
            assert_eq!((read_time(&field), field[0] & 0xf1, field[2] & 1, field[4] & 1), (time, 0x21, 1, 1));
        }
    }
}
