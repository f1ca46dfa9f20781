//! Streams beside the core for tests: FFmpeg makes neither teletext nor splice information, so they are written here.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;

use aftercast_protocol::ts::psi::crc32;

use crate::ccf_kit::{P, Packets, VIDEO, pid};

/// A stream to be announced.
#[derive(Debug, Clone)]
pub struct Extra {
    pub pid: u16,
    pub stream_type: u8,
    pub descriptors: Vec<u8>,
}

pub const TELETEXT: u16 = 0x200;
pub const SUBTITLES: u16 = 0x201;
pub const SPLICES: u16 = 0x202;
pub const DATA: u16 = 0x203;

/// Teletext with two pages, subtitles, splice information and private data without a descriptor.
pub fn extras() -> Vec<Extra> {
    let extra = |pid, stream_type, descriptors: &[u8]| Extra { pid, stream_type, descriptors: descriptors.to_vec() };
    vec![
        extra(TELETEXT, 0x06, b"\x52\x01\x30\x56\x0Aeng\x09\x00deu\x10\x88"),
        extra(SUBTITLES, 0x06, b"\x09\x04\x01\x02\xE3\x04\x59\x08fra\x10\x00\x01\x00\x01"),
        extra(SPLICES, 0x86, b"\x8A\x01\x01"),
        extra(DATA, 0x06, b""),
    ]
}

/// A unit as it was sent: PID, PTS where it has one, payload or section.
pub type Sent = (u16, Option<u64>, Vec<u8>);

/// What is sent while the picture number `n` of DTS `dts` is.
pub fn units_at(n: u64, dts: u64) -> Vec<Sent> {
    let later = |ticks: u64| Some((dts + ticks) % (1 << 33));
    // A data identifier and data units of 46 bytes, so that packets are filled (EN 300 472, 4.2).
    let data_units = 1 + n % 2 * 4;
    let mut teletext = vec![0x10];
    for unit in 0..3 + (data_units - 1) / 4 * 4 {
        teletext.extend([0x02, 0x2C, 0xE4 | (unit as u8 & 1)]);
        teletext.extend((0..43).map(|byte| (n * 7 + unit * 3 + byte) as u8));
    }
    let mut units = vec![(TELETEXT, later(5000), teletext)];
    if n % 13 == 3 {
        // A stuffing segment and an end (EN 300 743, 7.2).
        let len = 100 + n * 9;
        let begin = [0x20, 0x00, 0x0F, 0xFF, 0, 1, (len >> 8) as u8, len as u8];
        let bytes = begin.into_iter().chain((0..len).map(|byte| (byte * n) as u8));
        units.push((SUBTITLES, later(30_000), bytes.chain([0x0F, 0x80, 0, 1, 0, 0, 0xFF]).collect()));
    }
    if n % 20 == 5 {
        let splice = later(90_000).unwrap_or_default();
        let time = [&[0xFE | (splice >> 32) as u8][..], &(splice as u32).to_be_bytes()].concat();
        let insert = |flags: u8| [&[0, 0, 0, n as u8, 0x7F, flags][..], &time, &[0, 1, 0, 0]].concat();
        units.push(match n / 20 % 3 {
            0 => (SPLICES, None, splice_section(0x05, &insert(0xCF))),
            1 => (SPLICES, None, splice_section(0x05, &insert(0x4F))),
            _ => (SPLICES, None, splice_section(0x06, &time)),
        });
    }
    if n % 7 == 2 {
        units.push((DATA, None, vec![n as u8; 1 + n as usize % 30]));
    }
    units
}

pub fn splice_section(command: u8, body: &[u8]) -> Vec<u8> {
    let len = (11 + body.len() + 2 + 4) as u16;
    let mut bytes = vec![0xFC];
    bytes.extend((0x3000 | len).to_be_bytes());
    bytes.extend([0, 0, 0, 0, 0, 0, 0, 0xFF, 0xF0, body.len() as u8, command]);
    bytes.extend(body);
    bytes.extend([0, 0]);
    bytes.extend(crc32(&bytes).to_be_bytes());
    bytes
}

/// A source with these streams announced and the units of [`units_at`] sent, and what was sent.
pub fn with_aux(source: &Packets, extras: &[Extra]) -> (Packets, Vec<Sent>) {
    let pmt_pid =
        source.iter().find(|packet| pid(packet) == 0).map(|pat| u16::from_be_bytes([pat[15] & 0x1F, pat[16]]));
    let mut out = Packets::new();
    let mut sent = Vec::new();
    let mut counters: BTreeMap<u16, u8> = BTreeMap::new();
    let mut number = 0;
    for packet in source {
        let mut packet = *packet;
        if Some(pid(&packet)) == pmt_pid {
            announce(&mut packet, extras);
        }
        out.push(packet);
        let Some(dts) = dts_of(&packet).filter(|_| pid(&packet) == VIDEO) else { continue };
        for unit in units_at(number, dts).into_iter().filter(|unit| extras.iter().any(|extra| extra.pid == unit.0)) {
            write(&unit, &mut counters, &mut out);
            sent.push(unit);
        }
        number += 1;
    }
    (out, sent)
}

/// DTS of the PES packet that begins in a packet, or its PTS where it has none.
fn dts_of(packet: &[u8; P]) -> Option<u64> {
    let at = if packet[3] & 0x20 != 0 { 5 + usize::from(packet[4]) } else { 4 };
    if packet[1] & 0x40 == 0 || packet.get(at..at + 3)? != [0, 0, 1] || packet.get(at + 7)? & 0x80 == 0 {
        return None;
    }
    let b = packet.get(if packet[at + 7] & 0x40 != 0 { at + 14 } else { at + 9 }..)?;
    Some(
        u64::from(b[0] >> 1 & 7) << 30
            | u64::from(b[1]) << 22
            | u64::from(b[2] >> 1) << 15
            | u64::from(b[3]) << 7
            | u64::from(b[4] >> 1),
    )
}

fn announce(packet: &mut [u8; P], extras: &[Extra]) {
    let len = usize::from(packet[6] & 0x0F) << 8 | usize::from(packet[7]);
    let mut section = packet[5..5 + 3 + len - 4].to_vec();
    for extra in extras {
        section.push(extra.stream_type);
        section.extend((0xE000 | extra.pid).to_be_bytes());
        section.extend((0xF000 | extra.descriptors.len() as u16).to_be_bytes());
        section.extend(&extra.descriptors);
    }
    let len = (section.len() - 3 + 4) as u16;
    section[1..3].copy_from_slice(&(0xB000 | len).to_be_bytes());
    section.extend(crc32(&section).to_be_bytes());
    packet[5..5 + section.len()].copy_from_slice(&section);
    packet[5 + section.len()..].fill(0xFF);
}

fn write(unit: &Sent, counters: &mut BTreeMap<u16, u8>, out: &mut Packets) {
    let (pid, pts, data) = unit;
    let payload = if *pid == SPLICES { [&[0][..], data].concat() } else { pes(*pid == TELETEXT, *pts, data) };
    let counter = counters.entry(*pid).or_default();
    for (number, payload) in payload.chunks(184).enumerate() {
        let stuffing = 184 - payload.len();
        let mut packet = [0xFF; P];
        let control = if stuffing > 0 { 0x30 } else { 0x10 } | *counter & 0x0F;
        let start = if number == 0 { 0x40 } else { 0 };
        packet[..4].copy_from_slice(&[0x47, start | (pid >> 8) as u8, *pid as u8, control]);
        *counter = counter.wrapping_add(1);
        if stuffing > 0 {
            packet[4] = (stuffing - 1) as u8;
        }
        if stuffing > 1 {
            packet[5] = 0;
        }
        packet[4 + stuffing..].copy_from_slice(payload);
        out.push(packet);
    }
}

fn pes(teletext: bool, pts: Option<u64>, data: &[u8]) -> Vec<u8> {
    let mut header = Vec::new();
    if let Some(pts) = pts {
        header.extend([
            0x21 | (pts >> 29) as u8 & 0x0E,
            (pts >> 22) as u8,
            (pts >> 14) as u8 | 1,
            (pts >> 7) as u8,
            (pts << 1) as u8 | 1,
        ]);
    }
    if teletext {
        header.resize(0x24, 0xFF);
    }
    let mut bytes = vec![0, 0, 1, 0xBD];
    bytes.extend(((3 + header.len() + data.len()) as u16).to_be_bytes());
    bytes.extend([0x84, if pts.is_some() { 0x80 } else { 0 }, header.len() as u8]);
    bytes.extend(header);
    bytes.extend(data);
    bytes
}
