//! A second implementation of CCF's units, to disagree with: slow, the whole stream in memory, one pass per question,
//! written from the standards and from CCF.md. It shares no code with `protocol/src`.
//!
//! Where packets were lost a stream falls into runs, and each run is read on its own: no chunk reaches over a hole.
#![allow(dead_code, reason = "each test file uses its part")]

pub mod audio;
pub mod bits;
pub mod oracle;
pub mod video;

use std::collections::BTreeMap;

pub const PACKET: usize = 188;

/// A transport packet (ISO/IEC 13818-1, 2.4.3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    pub pid: u16,
    pub errored: bool,
    pub start: bool,
    pub scrambled: bool,
    pub counter: u8,
    /// Nothing where there is none.
    pub payload: Vec<u8>,
}

/// Reads one packet; nothing where it has no sync byte or contradicts itself.
pub fn packet(bytes: &[u8]) -> Option<Packet> {
    if bytes[0] != 0x47 {
        return None;
    }
    let payload = match bytes[3] >> 4 & 3 {
        1 => bytes[4..].to_vec(),
        2 => Vec::new(),
        3 => bytes.get(5 + usize::from(bytes[4])..)?.to_vec(),
        _ => return None,
    };
    Some(Packet {
        pid: u16::from(bytes[1] & 0x1F) * 256 + u16::from(bytes[2]),
        errored: bytes[1] >= 0x80,
        start: bytes[1] & 0x40 != 0,
        scrambled: bytes[3] >= 0x40,
        counter: bytes[3] & 0x0F,
        payload,
    })
}

/// A PES packet with the elementary bytes that belong to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pes {
    pub pts: Option<u64>,
    pub dts: Option<u64>,
    pub data: Vec<u8>,
}

/// Stretches of PES packets of a PID between which packets are missing.
pub type Runs = Vec<Vec<Pes>>;

/// One stream of a programme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    pub pid: u16,
    pub stream_type: u8,
    /// Tags of its descriptors, and the letters of a registration (2.6.8).
    pub tags: Vec<u8>,
    pub registration: Vec<u8>,
}

/// Programmes by number, as the first good PAT and PMTs of the stream say.
pub fn programs(packets: &[Packet]) -> BTreeMap<u16, Vec<Stream>> {
    let mut programs = BTreeMap::new();
    let pats = sections(packets, 0);
    let Some(pat) = pats.iter().find(|section| section[0] == 0 && section[5] & 1 == 1) else { return programs };
    for entry in pat[8..pat.len() - 4].chunks_exact(4) {
        let (number, pid) = (u16::from_be_bytes([entry[0], entry[1]]), u16::from_be_bytes([entry[2] & 0x1F, entry[3]]));
        let maps = sections(packets, pid);
        let map = maps.iter().find(|section| {
            section[0] == 2 && section[5] & 1 == 1 && u16::from_be_bytes([section[3], section[4]]) == number
        });
        if let Some(map) = map.filter(|_| number != 0) {
            programs.insert(number, streams(map));
        }
    }
    programs
}

fn streams(map: &[u8]) -> Vec<Stream> {
    let end = map.len() - 4;
    let length = |at: usize| usize::from(map[at] & 0x0F) * 256 + usize::from(map[at + 1]);
    let mut at = 12 + length(10);
    let mut streams = Vec::new();
    while at + 5 <= end {
        let mut stream = Stream {
            pid: u16::from_be_bytes([map[at + 1] & 0x1F, map[at + 2]]),
            stream_type: map[at],
            tags: Vec::new(),
            registration: Vec::new(),
        };
        let next = at + 5 + length(at + 3);
        at += 5;
        while at + 2 <= next.min(end) {
            let content = &map[at + 2..at + 2 + usize::from(map[at + 1])];
            stream.tags.push(map[at]);
            if map[at] == 5 {
                stream.registration = content[..4].to_vec();
            }
            at += 2 + content.len();
        }
        at = next;
        streams.push(stream);
    }
    streams
}

/// Whole sections of a PID with a good CRC-32 (2.4.4).
pub fn sections(packets: &[Packet], pid: u16) -> Vec<Vec<u8>> {
    let own: Vec<&Packet> = packets.iter().filter(|packet| packet.pid == pid && !packet.errored).collect();
    let mut found = Vec::new();
    for (at, first) in own.iter().enumerate().filter(|(_, packet)| packet.start && !packet.payload.is_empty()) {
        let pointer = usize::from(first.payload[0]);
        let mut bytes = first.payload.get(1 + pointer..).unwrap_or_default().to_vec();
        for more in own[at + 1..].iter().take_while(|packet| !packet.start) {
            bytes.extend(&more.payload);
        }
        if bytes.len() > 12 {
            let length = 3 + usize::from(bytes[1] & 0x0F) * 256 + usize::from(bytes[2]);
            if bytes.len() >= length && length > 12 && crc32(&bytes[..length]) == 0 {
                found.push(bytes[..length].to_vec());
            }
        }
    }
    found
}

/// Annex A, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        for bit in (0..8).rev() {
            let one = (byte >> bit & 1 == 1) != (crc >> 31 == 1);
            crc = (crc << 1) ^ if one { 0x04C1_1DB7 } else { 0 };
        }
    }
    crc
}

/// PES packets of a PID (2.4.3.6), in runs.
pub fn pes(packets: &[Packet], pid: u16) -> Runs {
    let mut runs: Runs = vec![Vec::new()];
    let mut open: Option<Vec<u8>> = None;
    let mut before: Option<&Packet> = None;
    let close = |open: &mut Option<Vec<u8>>, runs: &mut Runs, broken: bool| {
        if let Some(raw) = open.take() {
            let (pes, short) = read_pes(&raw);
            runs.last_mut().expect("one").extend(pes);
            if short && !broken {
                runs.push(Vec::new());
            }
        }
        if broken {
            runs.push(Vec::new());
        }
    };
    for packet in packets.iter().filter(|packet| packet.pid == pid && !packet.errored && !packet.payload.is_empty()) {
        if let Some(before) = before {
            if before.counter == packet.counter && before.payload == packet.payload {
                continue;
            }
            if (before.counter + 1) % 16 != packet.counter {
                close(&mut open, &mut runs, true);
            }
        }
        before = Some(packet);
        if packet.scrambled {
            close(&mut open, &mut runs, true);
        } else if packet.start {
            close(&mut open, &mut runs, false);
            open = Some(packet.payload.clone());
        } else if let Some(open) = &mut open {
            open.extend(&packet.payload);
        }
    }
    close(&mut open, &mut runs, false);
    runs.retain(|run| !run.is_empty());
    runs
}

/// One PES packet; whether its end is missing.
fn read_pes(raw: &[u8]) -> (Option<Pes>, bool) {
    let header = raw.len() >= 9 && raw[..3] == [0, 0, 1] && raw[6] >> 6 == 2;
    let Some(at) = header.then(|| 9 + usize::from(raw[8])).filter(|at| *at <= raw.len()) else { return (None, true) };
    let length = usize::from(raw[4]) * 256 + usize::from(raw[5]);
    let end = if length == 0 { raw.len() } else { 6 + length };
    let flags = raw[7] >> 6;
    let pes = Pes {
        pts: (flags & 2 != 0).then(|| time(&raw[9..])),
        dts: (flags == 3).then(|| time(&raw[14..])),
        data: raw[at..end.clamp(at, raw.len())].to_vec(),
    };
    (Some(pes), end > raw.len())
}

fn time(bytes: &[u8]) -> u64 {
    let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(|at| u64::from(bytes[at]));
    (a / 2 % 8) * (1 << 30) + b * (1 << 22) + (c / 2) * (1 << 15) + d * (1 << 7) + e / 2
}

/// Where a PES packet begins in a run's elementary bytes, and its PTS and DTS.
pub type Start = (usize, Option<u64>, Option<u64>);

/// The elementary bytes of a run, and where each of its PES packets begins in them.
pub fn join(run: &[Pes]) -> (Vec<u8>, Vec<Start>) {
    let (mut bytes, mut starts) = (Vec::new(), Vec::new());
    for pes in run {
        starts.push((bytes.len(), pes.pts, pes.dts));
        bytes.extend(&pes.data);
    }
    (bytes, starts)
}

/// First 16 bytes of BLAKE3.
pub fn digest(bytes: &[u8]) -> [u8; 16] {
    blake3::hash(bytes).as_bytes()[..16].try_into().expect("16 of 32")
}
