//! A whole programme from a script: right tables and counters around whatever the elementary streams hold, so that
//! mutations reach cutter and assembly. Two bytes say which codecs, how it is cut, and whether a plan is given.

use std::sync::OnceLock;

use aftercast_protocol::ccf::{ChunkPlan, Chunker, ProgramSelect};

use super::chunks::{check_stream, interval};
use super::script::{AUDIO, DTS, HOLE, PTS, Record, SCRAMBLED, START, records, write};
use super::sources::{self, PACKET, SOURCES};

pub fn program(input: &[u8]) {
    let Some((&[which, how], script)) = input.split_first_chunk::<2>() else { return };
    let (tables, plan) = &programs()[usize::from(which) % SOURCES.len()];
    let stream = multiplex(tables, &records(script));
    let interval = interval(how);
    check_stream(&stream, || {
        let made = match how & 4 {
            0 => Chunker::discover(interval, ProgramSelect::First),
            _ => Chunker::new(ChunkPlan { interval, ..plan.clone() }, ProgramSelect::First),
        };
        made.expect("a legal plan")
    });
}

/// Tables and discovered plan of each source.
fn programs() -> &'static [(Vec<[u8; PACKET]>, ChunkPlan)] {
    static PROGRAMS: OnceLock<Vec<(Vec<[u8; PACKET]>, ChunkPlan)>> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let program = |(_, stream): &(&str, &[u8])| {
            let packets = stream.as_chunks::<PACKET>().0;
            let is_table = |packet: &&[u8; PACKET]| matches!((packet[1] & 0x1F, packet[2]), (0, 0) | (0x10, 0));
            let tables: Vec<_> = packets.iter().filter(is_table).take(2).copied().collect();
            let mut chunker = Chunker::discover(interval(0), ProgramSelect::First).expect("a legal interval");
            chunker.push(stream);
            (tables, chunker.plan().expect("discovered").clone())
        };
        SOURCES.iter().map(program).collect()
    })
}

fn multiplex(tables: &[[u8; PACKET]], records: &[Record<'_>]) -> Vec<u8> {
    let mut counters = [0u8; 3];
    let mut out = Vec::new();
    let mut time = 10 * 90_000;
    for (number, record) in records.iter().enumerate() {
        if number % 16 == 0 {
            for table in tables {
                let mut table = *table;
                table[3] = table[3] & 0xF0 | counters[2] & 15;
                out.extend(table);
            }
            counters[2] = counters[2].wrapping_add(1);
        }
        time += record.step;
        let stream = usize::from(record.flags & AUDIO != 0);
        let mut bytes = Vec::new();
        if record.flags & START != 0 {
            bytes.extend(pes_header(record.flags, stream == 0, time));
        }
        bytes.extend(record.payload);
        let counter = &mut counters[stream];
        *counter = counter.wrapping_add(u8::from(record.flags & HOLE != 0));
        for (at, payload) in bytes.chunks(184).enumerate() {
            let start = at == 0 && record.flags & START != 0;
            out.extend(packet(stream, *counter, start, record.flags & SCRAMBLED != 0, payload));
            *counter = counter.wrapping_add(1);
        }
    }
    out
}

fn packet(stream: usize, counter: u8, start: bool, scrambled: bool, payload: &[u8]) -> [u8; PACKET] {
    let mut packet = [0xFF; PACKET];
    packet[..4].copy_from_slice(&[0x47, 1 | u8::from(start) << 6, stream as u8, 0x10 | counter & 15]);
    packet[3] |= if scrambled { 0x80 } else { 0 };
    let stuffing = 184 - payload.len();
    if stuffing > 0 {
        packet[3] |= 0x20;
        packet[4] = (stuffing - 1) as u8;
        if stuffing > 1 {
            packet[5] = 0;
        }
    }
    packet[4 + stuffing..].copy_from_slice(payload);
    packet
}

fn pes_header(flags: u8, video: bool, time: i64) -> Vec<u8> {
    let stamp = |prefix: u8, time: i64| {
        let time = (time as u64) & ((1 << 33) - 1);
        [
            prefix << 4 | (time >> 29) as u8 & 0x0E | 1,
            (time >> 22) as u8,
            (time >> 14) as u8 | 1,
            (time >> 7) as u8,
            (time << 1) as u8 | 1,
        ]
    };
    let mut header = vec![0, 0, 1, if video { 0xE0 } else { 0xC0 }, 0, 0, 0x80];
    match (flags & PTS != 0, flags & DTS != 0) {
        (false, _) => header.extend([0, 0]),
        (true, false) => {
            header.extend([0x80, 5]);
            header.extend(stamp(2, time));
        }
        // Two pictures of 25 a second later.
        (true, true) => {
            header.extend([0xC0, 10]);
            header.extend(stamp(3, time + 7_200));
            header.extend(stamp(1, time));
        }
    }
    header
}

/// The sources, as scripts.
pub fn seeds() -> Vec<Vec<u8>> {
    let seed = |(number, (_, stream)): (usize, &(&str, &[u8]))| {
        let mut out = vec![number as u8, (number as u8 & 1) << 2];
        let mut last = None;
        for (pid, pts, dts, payload) in sources::pes(stream) {
            let audio = pid == sources::AUDIO;
            // A radio's only stream lies on the first PID, as the video of the others does.
            let time = dts.unwrap_or(pts);
            let kind = START | PTS | if dts.is_some() { DTS } else { 0 } | if audio { AUDIO } else { 0 };
            out.extend(write(kind, time - last.unwrap_or(time), &payload));
            last = Some(time);
        }
        out
    };
    SOURCES.iter().enumerate().map(seed).collect()
}
