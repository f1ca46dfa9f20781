//! What the tests of the canonical form share: sources, harmless and harmful changes to them, and runs of the chunker.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;

use aftercast_protocol::ccf::{
    Anchor, Chunk, ChunkState, Chunker, ChunkerEvent, CleanChunk, ProgramSelect, UnitIndex, VideoCodec,
};
use aftercast_protocol::ids::{ChunkCid, TimelineId};
use aftercast_protocol::time::Ticks;
use aftercast_protocol::ts::psi::crc32;

pub const P: usize = 188;
pub const INTERVAL: Ticks = Ticks(43_200);
pub const VIDEO: u16 = 0x100;
pub const AUDIO: u16 = 0x101;

/// Made by FFmpeg: six seconds of a test picture and a tone.
pub const SOURCES: [(&str, &[u8]); 7] = [
    ("avc-aac", include_bytes!("../data/avc-aac.ts")),
    ("avc-mp2", include_bytes!("../data/avc-mp2.ts")),
    ("avc-latm", include_bytes!("../data/avc-latm.ts")),
    // Signalled as ATSC does it, and as DVB does it.
    ("avc-ac3", include_bytes!("../data/avc-ac3.ts")),
    ("avc-eac3", include_bytes!("../data/avc-eac3.ts")),
    ("hevc-aac", include_bytes!("../data/hevc-aac.ts")),
    ("mpeg2-mp2", include_bytes!("../data/mpeg2-mp2.ts")),
];

/// Radio: eight seconds of a tone, MPEG audio at 48 kHz and AAC at 44.1 kHz.
pub const RADIO: [(&str, &[u8]); 2] =
    [("radio-mp2", include_bytes!("../data/radio-mp2.ts")), ("radio-aac", include_bytes!("../data/radio-aac.ts"))];

/// Small deterministic generator (splitmix64), so that a failing seed replays.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

pub type Packets = Vec<[u8; P]>;

pub fn packets(bytes: &[u8]) -> Packets {
    bytes.as_chunks::<P>().0.to_vec()
}

pub fn pid(packet: &[u8; P]) -> u16 {
    u16::from(packet[1] & 0x1F) << 8 | u16::from(packet[2])
}

/// What a run gave.
#[derive(Debug)]
pub struct Run {
    pub chunks: Vec<Chunk>,
    pub mismatches: Vec<String>,
    pub chunker: Chunker,
}

impl Run {
    /// CIDs of clean chunks by index.
    pub fn clean(&self) -> BTreeMap<u64, ChunkCid> {
        let clean = self.chunks.iter().filter_map(|chunk| match &chunk.state {
            ChunkState::Clean(clean) => Some((chunk.index.0, clean.cid)),
            ChunkState::Withheld(_) => None,
        });
        clean.collect()
    }

    /// Bytes of the clean chunks, one after the other.
    pub fn bytes(&self) -> Vec<u8> {
        let clean = self.chunks.iter().filter_map(|chunk| match &chunk.state {
            ChunkState::Clean(clean) => Some(&clean.bytes[..]),
            ChunkState::Withheld(_) => None,
        });
        clean.collect::<Vec<_>>().concat()
    }
}

/// A chunk's canonical form, if it has one.
/// A clean chunk's units.
pub fn index_of(chunk: &Chunk) -> UnitIndex {
    let clean = clean_of(chunk).expect("a clean chunk");
    UnitIndex::of_chunk(chunk.pts, &clean.bytes).expect("canonical bytes")
}

pub fn clean_of(chunk: &Chunk) -> Option<&CleanChunk> {
    match &chunk.state {
        ChunkState::Clean(clean) => Some(clean),
        ChunkState::Withheld(_) => None,
    }
}

/// Anchors of the clean chunks of a run.
pub fn anchors_of(run: &Run) -> Vec<Anchor> {
    let anchor =
        |chunk: &Chunk| Anchor { timeline: TimelineId(0), index: chunk.index, pts: chunk.pts, digest: chunk.opening };
    run.chunks.iter().filter(|chunk| clean_of(chunk).is_some()).map(anchor).collect()
}

pub fn run_with(mut chunker: Chunker, bytes: &[u8], piece: usize) -> Run {
    let mut run = (Vec::new(), Vec::new());
    let drain = |chunker: &mut Chunker, run: &mut (Vec<Chunk>, Vec<String>)| {
        while let Some(event) = chunker.poll_event() {
            match event {
                ChunkerEvent::Chunk(chunk) => run.0.push(chunk),
                ChunkerEvent::ProfileMismatch { reason } => run.1.push(reason),
                ChunkerEvent::Timeline { .. } | ChunkerEvent::Mark(_) => {}
            }
        }
    };
    for piece in bytes.chunks(piece) {
        chunker.push(piece);
        drain(&mut chunker, &mut run);
    }
    chunker.finish();
    drain(&mut chunker, &mut run);
    Run { chunks: run.0, mismatches: run.1, chunker }
}

pub fn run(bytes: &[u8]) -> Run {
    let chunker = Chunker::discover(INTERVAL, ProgramSelect::First).expect("a legal interval");
    run_with(chunker, bytes, 64 * 1024)
}

pub fn run_packets(packets: &Packets) -> Run {
    run(packets.as_flattened())
}

// --- changes that harm nothing -------------------------------------------------------------------------------------

pub fn stuff_nulls(source: &Packets, rng: &mut Rng) -> Packets {
    let mut null = [0xFF; P];
    null[..4].copy_from_slice(&[0x47, 0x1F, 0xFF, 0x10]);
    let mut out = Vec::new();
    for packet in source {
        out.extend(std::iter::repeat_n(null, rng.below(3)));
        out.push(*packet);
    }
    out
}

pub fn jitter_pcr(source: &Packets, rng: &mut Rng) -> Packets {
    let mut out = source.clone();
    for packet in &mut out {
        if packet[3] & 0x20 != 0 && packet[4] >= 7 && packet[5] & 0x10 != 0 {
            packet[8] ^= rng.below(256) as u8;
            packet[9] ^= rng.below(256) as u8;
        }
    }
    out
}

pub fn rephase_counters(source: &Packets, rng: &mut Rng) -> Packets {
    let mut phases: BTreeMap<u16, u8> = BTreeMap::new();
    let mut out = source.clone();
    for packet in &mut out {
        let phase = *phases.entry(pid(packet)).or_insert_with(|| rng.below(16) as u8);
        packet[3] = packet[3] & 0xF0 | (packet[3] + phase) & 0x0F;
    }
    out
}

/// Delays the packets of one PID behind packets of others, by at most a few, in their own order.
pub fn reorder_across_pids(source: &Packets, rng: &mut Rng) -> Packets {
    let moved = if rng.below(2) == 0 { VIDEO } else { AUDIO };
    let mut out = Vec::new();
    let mut held = std::collections::VecDeque::new();
    for packet in source {
        if pid(packet) == moved {
            held.push_back(*packet);
        } else {
            out.push(*packet);
        }
        while held.len() > 1 + rng.below(6) {
            out.extend(held.pop_front());
        }
    }
    out.extend(held);
    out
}

pub fn duplicate_some(source: &Packets, rng: &mut Rng) -> Packets {
    let mut out = Vec::new();
    for packet in source {
        out.push(*packet);
        if packet[3] & 0x10 != 0 && rng.below(10) == 0 {
            out.push(*packet);
        }
    }
    out
}

pub fn flip_harmless_flags(source: &Packets, rng: &mut Rng) -> Packets {
    let mut out = source.clone();
    for packet in &mut out {
        // Transport priority; random access and priority indicators where there is a field with flags.
        packet[1] ^= if rng.below(2) == 0 { 0x20 } else { 0 };
        if packet[3] & 0x20 != 0 && packet[4] > 0 {
            packet[5] ^= if rng.below(2) == 0 { 0xE0 } else { 0 };
        }
    }
    out
}

/// Gives every PID but the PAT's another number, in packets and tables.
pub fn remap_pids(source: &Packets) -> Packets {
    let new = |old: u16| if matches!(old, 0 | 0x10..=0x1F | 0x1FFF) { old } else { old + 0x234 };
    let pmt_pid = source.iter().find(|packet| pid(packet) == 0).map(|pat| pid_at(pat, 5 + 8 + 2)).expect("a PAT");
    let mut out = source.clone();
    for packet in &mut out {
        let own = pid(packet);
        let section = 5 + usize::from(packet[4]);
        if own == 0 {
            set_pid_at(packet, section + 10, new(pid_at(packet, section + 10)));
            fix_crc(packet, section);
        } else if own == pmt_pid {
            let end = section_end(packet, section);
            set_pid_at(packet, section + 8, new(pid_at(packet, section + 8)));
            let mut at = section + 12 + usize::from(packet[section + 11]);
            while at + 4 < end {
                set_pid_at(packet, at + 1, new(pid_at(packet, at + 1)));
                at += 5 + usize::from(packet[at + 4]);
            }
            fix_crc(packet, section);
        }
        set_pid_at(packet, 1, new(own));
    }
    out
}

/// Counts the PMT's version on in the middle of the stream.
pub fn bump_pmt_version(source: &Packets) -> Packets {
    let pmt_pid = source.iter().find(|packet| pid(packet) == 0).map(|pat| pid_at(pat, 5 + 8 + 2)).expect("a PAT");
    let mut out = source.clone();
    let half = out.len() / 2;
    for packet in out[half..].iter_mut().filter(|packet| pid(packet) == pmt_pid) {
        packet[5 + 5] += 2;
        fix_crc(packet, 5);
    }
    out
}

fn pid_at(packet: &[u8; P], at: usize) -> u16 {
    u16::from(packet[at] & 0x1F) << 8 | u16::from(packet[at + 1])
}

fn set_pid_at(packet: &mut [u8; P], at: usize, pid: u16) {
    packet[at] = packet[at] & 0xE0 | (pid >> 8) as u8;
    packet[at + 1] = pid as u8;
}

fn section_end(packet: &[u8; P], section: usize) -> usize {
    section + 3 + (usize::from(packet[section + 1] & 0x0F) << 8 | usize::from(packet[section + 2])) - 4
}

fn fix_crc(packet: &mut [u8; P], section: usize) {
    let end = section_end(packet, section);
    let crc = crc32(&packet[section..end]).to_be_bytes();
    packet[end..end + 4].copy_from_slice(&crc);
}

/// Each packet with bytes before and after it: 192- and 204-byte framings.
pub fn frame(source: &Packets, before: usize, after: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for packet in source {
        out.extend(std::iter::repeat_n(0x11, before));
        out.extend(packet);
        out.extend(std::iter::repeat_n(0x22, after));
    }
    out
}

// --- PES level -----------------------------------------------------------------------------------------------------

/// A PES packet of a source.
#[derive(Debug, Clone)]
pub struct Pes {
    pub pid: u16,
    pub pts: u64,
    pub dts: Option<u64>,
    pub data: Vec<u8>,
    /// It has no times of its own; `pts` tells only where it lies.
    pub untimed: bool,
}

/// Everything but tables and null packets, as PES packets in the order in which they begin.
pub fn pes_of(source: &Packets) -> Vec<Pes> {
    let mut raw: Vec<(u16, Vec<u8>)> = Vec::new();
    for packet in source.iter().filter(|packet| matches!(pid(packet), VIDEO | AUDIO) && packet[3] & 0x10 != 0) {
        let at = if packet[3] & 0x20 != 0 { 5 + usize::from(packet[4]) } else { 4 };
        if packet[1] & 0x40 != 0 {
            raw.push((pid(packet), Vec::new()));
        }
        let open = raw.iter_mut().rev().find(|(of, _)| *of == pid(packet)).expect("a packet begins a PES first");
        open.1.extend(&packet[at..]);
    }
    let stamp = |b: &[u8]| {
        u64::from(b[0] >> 1 & 7) << 30
            | u64::from(b[1]) << 22
            | u64::from(b[2] >> 1) << 15
            | u64::from(b[3]) << 7
            | u64::from(b[4] >> 1)
    };
    let parse = |(pid, raw): (u16, Vec<u8>)| Pes {
        pid,
        pts: stamp(&raw[9..]),
        dts: (raw[7] & 0x40 != 0).then(|| stamp(&raw[14..])),
        data: raw[9 + usize::from(raw[8])..].to_vec(),
        untimed: false,
    };
    raw.into_iter().map(parse).collect()
}

/// How PES packets are written.
#[derive(Debug, Clone, Copy, Default)]
pub struct Layout {
    /// Stuffing bytes in each PES header.
    pub header_stuffing: usize,
    /// Write lengths for video too, where they fit.
    pub video_length: bool,
    /// Added to every time stamp, modulo 2^33.
    pub shift: u64,
}

/// Multiplexes PES packets one after the other, with the tables of `source` before each tenth.
pub fn mux(source: &Packets, pes: &[Pes], layout: Layout) -> Packets {
    let pmt_pid = source.iter().find(|packet| pid(packet) == 0).map(|pat| pid_at(pat, 5 + 8 + 2)).expect("a PAT");
    let tables: Vec<[u8; P]> =
        [0, pmt_pid].iter().filter_map(|table| source.iter().find(|packet| pid(packet) == *table)).copied().collect();
    let mut counters: BTreeMap<u16, u8> = BTreeMap::new();
    let mut out = Vec::new();
    for (number, one) in pes.iter().enumerate() {
        if number % 10 == 0 {
            for table in &tables {
                let mut table = *table;
                let counter = counters.entry(pid(&table)).or_default();
                table[3] = table[3] & 0xF0 | *counter & 0x0F;
                *counter = counter.wrapping_add(1);
                out.push(table);
            }
        }
        let counter = counters.entry(one.pid).or_default();
        let bytes = write_pes(one, layout);
        for (at, payload) in bytes.chunks(184).enumerate() {
            let mut packet = [0xFF; P];
            packet[..4].copy_from_slice(&[0x47, (one.pid >> 8) as u8, one.pid as u8, 0x10 | *counter & 0x0F]);
            *counter = counter.wrapping_add(1);
            packet[1] |= if at == 0 { 0x40 } else { 0 };
            let stuffing = 184 - payload.len();
            if stuffing > 0 {
                packet[3] |= 0x20;
                packet[4] = (stuffing - 1) as u8;
                if stuffing > 1 {
                    packet[5] = 0;
                }
            }
            packet[4 + stuffing..].copy_from_slice(payload);
            out.push(packet);
        }
    }
    out
}

fn write_pes(pes: &Pes, layout: Layout) -> Vec<u8> {
    let stamp = |prefix: u8, time: u64| {
        let time = (time + layout.shift) % (1 << 33);
        [
            prefix << 4 | (time >> 29) as u8 & 0x0E | 1,
            (time >> 22) as u8,
            (time >> 14) as u8 | 1,
            (time >> 7) as u8,
            (time << 1) as u8 | 1,
        ]
    };
    let mut header = Vec::new();
    let times = if pes.untimed { 0 } else { 0x80 | u8::from(pes.dts.is_some()) << 6 };
    if !pes.untimed {
        header.extend(stamp(times >> 6, pes.pts));
        header.extend(pes.dts.into_iter().flat_map(|dts| stamp(1, dts)));
    }
    header.extend(std::iter::repeat_n(0xFF, layout.header_stuffing));
    let video = pes.pid == VIDEO;
    let len = 3 + header.len() + pes.data.len();
    let len = if (video && !layout.video_length) || len > 0xFFFF { 0 } else { len as u16 };
    let mut out = vec![0, 0, 1, if video { 0xE0 } else { 0xC0 }];
    out.extend(len.to_be_bytes());
    out.extend([0x80, times, header.len() as u8]);
    out.extend(header);
    out.extend(&pes.data);
    out
}

/// Bytes and ticks of the frame at the front, told for the sources alone: all of them have 48 kHz.
pub fn frame_len(header: &[u8]) -> (usize, u64) {
    let number = |at: usize, bits: u8| usize::from(header[at] & bits);
    match (header[0], header[1]) {
        (0x56, _) => (3 + (number(1, 0x1F) << 8 | number(2, 0xFF)), 1920),
        (0x0B, _) if header[5] >> 3 > 10 => (2 * (1 + (number(2, 7) << 8 | number(3, 0xFF))), 2880),
        // AC-3 of 64 kb/s, MPEG audio of 32 kb/s.
        (0x0B, _) => (256, 2880),
        (_, kind) if kind & 0x06 == 0 => (number(3, 3) << 11 | number(4, 0xFF) << 3 | number(5, 0xE0) >> 5, 1920),
        _ => (96, 2160),
    }
}

/// Audio regrouped: so many frames in each PES packet, found by their length fields alone.
pub fn regroup_audio(pes: &[Pes], per_packet: usize) -> Vec<Pes> {
    let mut out = Vec::new();
    let mut frames: Vec<Pes> = Vec::new();
    let flush = |frames: &mut Vec<Pes>, out: &mut Vec<Pes>| {
        if let Some(first) = frames.first().cloned() {
            let data = frames.drain(..).flat_map(|frame| frame.data).collect();
            out.push(Pes { data, ..first });
        }
    };
    for one in pes {
        if one.pid == VIDEO {
            out.push(one.clone());
            continue;
        }
        let (mut at, mut number) = (0, 0);
        while at < one.data.len() {
            let header = &one.data[at..];
            let (len, ticks) = frame_len(header);
            frames.push(Pes { pts: one.pts + number * ticks, data: header[..len].to_vec(), ..one.clone() });
            number += 1;
            at += len;
            if frames.len() == per_packet {
                flush(&mut frames, &mut out);
            }
        }
    }
    flush(&mut frames, &mut out);
    out
}

/// Pictures spread over PES packets of at most so many bytes, the first of each picture with its times.
pub fn spread_pictures(pes: &[Pes], most: usize) -> Vec<Pes> {
    let spread = pes.iter().flat_map(|one| {
        let most = if one.pid == VIDEO { most } else { usize::MAX };
        one.data.chunks(most).enumerate().map(|(at, data)| Pes { data: data.to_vec(), untimed: at > 0, ..one.clone() })
    });
    spread.collect()
}

/// Audio in PES packets of so many bytes, whatever frames begin and end in them. Each has the time of the first frame
/// that begins in it, or none.
pub fn slice_audio(pes: &[Pes], bytes: usize) -> Vec<Pes> {
    let frames = regroup_audio(pes, 1);
    let mut out: Vec<Pes> = Vec::new();
    let mut open: Option<Pes> = None;
    for one in frames {
        if one.pid == VIDEO {
            out.push(one);
            continue;
        }
        let mut begins = true;
        for byte in &one.data {
            let packet = open.get_or_insert_with(|| Pes { data: Vec::new(), untimed: true, ..one.clone() });
            if std::mem::take(&mut begins) && packet.untimed {
                (packet.pts, packet.untimed) = (one.pts, false);
            }
            packet.data.push(*byte);
            if packet.data.len() == bytes {
                out.extend(open.take());
            }
        }
    }
    out.extend(open);
    out
}

/// Pictures grouped: so many in each PES packet, with the times of the first.
pub fn group_pictures(pes: &[Pes], per_packet: usize) -> Vec<Pes> {
    let mut out: Vec<Pes> = Vec::new();
    let mut open: Option<(usize, usize)> = None;
    for one in pes {
        match open.filter(|(_, count)| one.pid == VIDEO && *count < per_packet) {
            Some((at, count)) => {
                out[at].data.extend(&one.data);
                open = Some((at, count + 1));
            }
            None => {
                out.push(one.clone());
                open = if one.pid == VIDEO { Some((out.len() - 1, 1)) } else { open };
            }
        }
    }
    out
}

/// Access unit delimiters removed, or one added before every picture's first byte where none stands.
pub fn change_delimiters(pes: &[Pes], codec: VideoCodec, add: bool) -> Vec<Pes> {
    let change = |one: &Pes| {
        let mut one = one.clone();
        // H.262 has none.
        let delimiter: &[u8] = match codec {
            VideoCodec::Avc => &[0, 0, 0, 1, 9, 0xF0],
            VideoCodec::Hevc => &[0, 0, 0, 1, 0x46, 1, 0x50],
            VideoCodec::Mpeg2 => return one,
        };
        let has = one.data.starts_with(&delimiter[..5]);
        if one.pid == VIDEO && has && !add {
            one.data.drain(..delimiter.len());
        } else if one.pid == VIDEO && !has && add {
            one.data.splice(0..0, delimiter.iter().copied());
        }
        one
    };
    pes.iter().map(change).collect()
}

/// Drops bursts of packets, about one in `rarity` begins one.
pub fn lose_bursts(source: &Packets, rng: &mut Rng, rarity: usize) -> Packets {
    let mut out = Vec::new();
    let mut left = 0;
    for packet in source {
        if left == 0 && rng.below(rarity) == 0 {
            left = 1 + rng.below(20);
        }
        if left > 0 {
            left -= 1;
        } else {
            out.push(*packet);
        }
    }
    out
}

/// Clean chunks by index.
pub fn clean_chunks(run: &Run) -> BTreeMap<u64, (&Chunk, &CleanChunk)> {
    let clean = run.chunks.iter().filter_map(|chunk| match &chunk.state {
        ChunkState::Clean(clean) => Some((chunk.index.0, (chunk, clean))),
        ChunkState::Withheld(_) => None,
    });
    clean.collect()
}
