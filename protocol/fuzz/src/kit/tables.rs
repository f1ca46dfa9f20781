//! The stream's outer layers: packets, sections, PES headers, and the person's view of all of them.

use aftercast_protocol::inspect::Inspector;
use aftercast_protocol::ts::ReceptionCounters;
use aftercast_protocol::ts::framer::{Framer, PACKET_BYTES};
use aftercast_protocol::ts::names::names;
use aftercast_protocol::ts::packet::Packet;
use aftercast_protocol::ts::pes::{PesEvent, PesParser, PesTimes};
use aftercast_protocol::ts::program::{ProgramFinder, Wanted};
use aftercast_protocol::ts::psi::{SectionAssembler, crc32, parse_pat, parse_pmt};

use super::pieces::pieces;
use super::sources::{PACKET, SOURCES};

/// Packets found do not depend on the pieces in which bytes come, and no byte is told twice.
pub fn framer(input: &[u8]) {
    let found = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let (mut framer, mut counters) = (Framer::default(), ReceptionCounters::default());
        let mut packets: Vec<[u8; PACKET_BYTES]> = Vec::new();
        for piece in pieces {
            framer.push(piece, &mut counters, |packet, _| packets.push(*packet));
        }
        framer.finish(&mut counters, |packet, _| packets.push(*packet));
        (packets, counters)
    };
    let whole = found(&mut std::iter::once(input));
    assert!(whole == found(&mut pieces(input, 1)), "the same however the input is split");
    let (packets, counters) = whole;
    assert_eq!(counters.bytes, input.len() as u64);
    assert!(counters.skipped_bytes <= counters.bytes);
    assert!((packets.len() * PACKET_BYTES) as u64 + counters.skipped_bytes <= counters.bytes);
    for packet in &packets {
        let _ = Packet::parse(packet).map(|packet| packet.payload.map(<[u8]>::len));
    }
}

/// Tables: the input's first byte says how the section is cut, the rest is the section; its CRC is made right, since no
/// mutation would hit it.
pub fn sections(input: &[u8]) {
    let Some((&how, body)) = input.split_first() else { return };
    let mut section = body.to_vec();
    section.truncate(4093);
    if how & 1 == 0 && section.len() >= 3 {
        let len = section.len() + 4 - 3;
        section[1] = section[1] & 0xF0 | (len >> 8) as u8 & 0x0F;
        section[2] = len as u8;
        section.extend(crc32(&section).to_be_bytes());
        assert_eq!(crc32(&section), 0);
    }
    let streams = parse_pmt(&section).map_or(0, |map| map.streams.len());
    let programs = parse_pat(&section).map_or(0, |programs| programs.len());
    assert!(5 * streams <= section.len() && 4 * programs <= section.len());
    assert!(names(&section).len() <= section.len());

    // The same out of packets, however they are cut; bytes may follow.
    let payload = [&[0][..], &section, &[0xFF; 3][..usize::from(how >> 1 & 3)]].concat();
    let assembled = |sizes: &mut dyn Iterator<Item = &[u8]>| {
        let mut assembler = SectionAssembler::default();
        let mut found: Vec<Vec<u8>> = Vec::new();
        for (number, piece) in sizes.enumerate() {
            assembler.push(number == 0, piece, |section| found.push(section.to_vec()));
        }
        found
    };
    let whole = assembled(&mut std::iter::once(&payload[..]));
    assert_eq!(whole, assembled(&mut payload.chunks(184)));
    assert!(whole.iter().map(Vec::len).sum::<usize>() <= payload.len());

    // As PAT and as PMT of a finder, all in one.
    for wanted in [Wanted::First, Wanted::Number(1), Wanted::Name("tv".into())] {
        let mut finder = ProgramFinder::new(wanted);
        let mut counters = ReceptionCounters::default();
        let pat = packets(0, &SOURCES[0].1[PACKET + 5..PACKET + 5 + 16]);
        for round in 0..3 {
            let tables = if round == 0 { vec![] } else { pat.clone() };
            for pid in [0, 0x1000, 0x11, 0x1FFB] {
                for packet in tables.iter().chain(&packets(pid, &section)) {
                    let packet = Packet::parse(packet).expect("a packet of our own");
                    finder.push(&packet, &mut counters, |_| false, |_| true);
                }
            }
            assert!(finder.pids().count() <= 1 << 13);
        }
    }
}

fn packets(pid: u16, section: &[u8]) -> Vec<[u8; PACKET]> {
    let payload = [&[0][..], section].concat();
    let cut = payload.chunks(184).enumerate();
    cut.map(|(number, part)| {
        let mut packet = [0xFF; PACKET];
        let start = u8::from(number == 0) << 6;
        packet[..4].copy_from_slice(&[0x47, (pid >> 8) as u8 | start, pid as u8, 0x10 | (number & 15) as u8]);
        packet[4..4 + part.len()].copy_from_slice(part);
        packet
    })
    .collect()
}

/// PAT, PMT and SDT of the sources, without CRC.
pub fn section_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (_, source) in SOURCES {
        for packet in source.as_chunks::<PACKET>().0.iter().take(3) {
            let len = 3 + (usize::from(packet[6] & 0x0F) << 8 | usize::from(packet[7]));
            seeds.extend(packet.get(5..5 + len - 4).map(|section| [&[0][..], section].concat()));
        }
    }
    seeds.sort();
    seeds.dedup();
    seeds
}

/// What a PES parser told, with data joined.
fn told<'a>(payloads: impl Iterator<Item = (bool, &'a [u8])>) -> (Vec<(usize, Option<PesTimes>)>, Vec<u8>) {
    let mut parser = PesParser::default();
    let (mut events, mut data) = (Vec::new(), Vec::new());
    for (start, payload) in payloads {
        parser.push(start, payload, |event| match event {
            PesEvent::Start(times) => events.push((data.len(), Some(times))),
            PesEvent::Data(bytes) => data.extend_from_slice(bytes),
            PesEvent::Short | PesEvent::Unusable { .. } => events.push((data.len(), None)),
        });
    }
    (events, data)
}

/// PES packets: cut in other places they tell the same. The input is a script whose flags' lowest bit begins one.
pub fn pes(input: &[u8]) {
    let records = super::script::records(input);
    let starts = |record: &super::script::Record<'_>| record.flags & super::script::START != 0;
    let whole = told(records.iter().map(|record| (starts(record), record.payload)));
    let cut = records.iter().flat_map(|record| {
        // A start with nothing behind it is still a start.
        let first = record.payload.is_empty().then_some((starts(record), record.payload));
        let parts = pieces(record.payload, 7).enumerate();
        first.into_iter().chain(parts.map(move |(number, part)| (number == 0 && starts(record), part)))
    });
    assert_eq!(whole, told(cut));
    assert!(whole.1.len() <= input.len());
}

/// Whole PES packets of the sources, headers included.
pub fn pes_seeds() -> Vec<Vec<u8>> {
    let seed = |source: &[u8]| {
        let packets = source.as_chunks::<PACKET>().0.iter().filter(|packet| packet[1] & 0x1F == 1).take(8);
        let records = packets.map(|packet| {
            let at = if packet[3] & 0x20 != 0 { 5 + usize::from(packet[4]) } else { 4 };
            super::script::write(packet[1] >> 6 & 1, 0, &packet[at..])
        });
        records.collect::<Vec<_>>().concat()
    };
    SOURCES.iter().map(|(_, source)| seed(source)).collect()
}

/// The report on a stream does not depend on the pieces in which it comes.
pub fn inspect(input: &[u8]) {
    let mut whole = Inspector::default();
    whole.push(input);
    let whole = whole.finish();
    let mut cut = Inspector::default();
    pieces(input, 3).for_each(|piece| cut.push(piece));
    assert_eq!(whole, cut.finish());
    assert!(whole.packets as usize <= input.len() / PACKET_BYTES);
}
