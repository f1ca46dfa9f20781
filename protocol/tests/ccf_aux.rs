//! Teletext, subtitles, splice information and data: beside the chunks, never in them, and back again for players.

mod aux_kit;
mod ccf_kit;

use std::collections::BTreeMap;

use aux_kit::*;
use ccf_kit::*;

use aftercast_protocol::ccf::{
    AuxKind, AuxLayout, AuxObject, AuxStream, AuxUnit, Chunk, ChunkPlan, Chunker, MarkKind, PesForm, ProgramSelect,
};
use aftercast_protocol::ids::ChunkCid;
use aftercast_protocol::inspect::{EventKind, Inspector};
use aftercast_protocol::time::{Pts33, Ticks};
use aftercast_protocol::ts::packet::Packet;
use aftercast_protocol::ts::scte35;

fn aux(chunk: &Chunk) -> &AuxObject {
    chunk.aux.as_deref().expect("the programme has streams beside its core")
}

/// Aux objects of clean chunks by index.
fn objects(run: &Run) -> BTreeMap<u64, AuxObject> {
    clean_chunks(run).into_iter().map(|(index, (chunk, _))| (index, aux(chunk).clone())).collect()
}

fn any_chunk(run: &Run) -> &[u8] {
    &run.chunks.iter().find_map(clean_of).expect("a clean chunk").bytes
}

fn planned(run: &Run) -> Chunker {
    let plan = run.chunker.plan().expect("a plan").clone();
    let plan = ChunkPlan { anchors: anchors_of(run), ..plan };
    Chunker::new(plan, ProgramSelect::First).expect("a sound plan")
}

#[test]
fn streams_beside_the_core_change_no_chunk() {
    for (name, source) in SOURCES {
        let (mixed, _) = with_aux(&packets(source), &extras());
        let with = run_packets(&mixed);
        assert_eq!(with.clean(), run(source).clean(), "{name}");
        assert!(run(source).chunks.iter().all(|chunk| chunk.aux.is_none()), "nothing beside the core, nothing to keep");
    }
}

#[test]
fn each_unit_belongs_to_the_chunk_of_its_time_and_to_no_other() {
    let (mixed, mut sent) = with_aux(&packets(SOURCES[0].1), &extras());
    let run = run_packets(&mixed);
    let mut found: Vec<Sent> = Vec::new();
    for (number, chunk) in run.chunks.iter().enumerate() {
        let object = aux(chunk);
        assert_eq!(object.streams.len(), 4);
        for unit in &object.units {
            assert!(unit.time.0 < chunk.duration.0 || number + 1 == run.chunks.len(), "{unit:?}");
            let timed = unit.pes.is_some_and(|pes| pes.timed);
            let pts = timed.then(|| (chunk.pts.0 as i64 + unit.time.0).rem_euclid(1 << 33) as u64);
            found.push((TELETEXT + u16::from(unit.stream), pts, unit.data.clone()));
        }
        if clean_of(chunk).is_some() {
            let untimed = |unit: &AuxUnit| unit.pes.is_none_or(|pes| !pes.timed);
            assert!(object.units.iter().all(|unit| unit.time.0 >= 0 || untimed(unit)), "nothing was late");
        }
    }
    let counters = run.chunker.counters();
    assert_eq!((counters.aux_units as usize, counters.aux_dropped), (found.len(), 0));
    found.sort();
    sent.sort();
    // The PTS of the last few lie behind the last picture.
    let missing = sent.iter().filter(|unit| !found.contains(unit)).count();
    assert!(missing <= 3, "{missing}");
    assert_eq!(found.len() + missing, sent.len());
}

#[test]
fn a_chunk_written_with_its_units_is_read_as_the_same_chunk_and_units() {
    for (name, source) in SOURCES {
        let run = run_packets(&with_aux(&packets(source), &extras()).0);
        let mut layout = AuxLayout::default();
        let mut written = Vec::new();
        for (chunk, clean) in clean_chunks(&run).into_values() {
            layout.learn(any_chunk(&run), &aux(chunk).streams);
            let bytes = layout.mux(&clean.bytes, chunk.pts, chunk.aux.as_deref()).expect("a canonical chunk");
            assert_eq!(Some(bytes.len() as u64), layout.len_of(clean.bytes.len() as u64, chunk.aux.as_deref()));
            written.extend(bytes);
        }
        assert!(layout.keeps_length() && !layout.is_empty());
        assert_counters_close(&written);
        let again = run_with(planned(&run), &written, 64 * 1024);
        let (before, after) = (objects(&run), objects(&again));
        // The first lacks the sound before it, the last the picture behind it.
        assert!(after.len() + 2 >= before.len() && after.len() > 2, "{name}: {} of {}", after.len(), before.len());
        for (index, object) in after {
            assert_eq!(Some(&object), before.get(&index), "{name} {index}");
        }
        assert_eq!(again.chunker.counters().discontinuities, 0);
        assert_eq!(again.chunker.counters().aux_dropped, 0);
    }
}

/// Counters of all PIDs count on from packet to packet, and end at a multiple of 16.
fn assert_counters_close(bytes: &[u8]) {
    let mut counts: BTreeMap<u16, usize> = BTreeMap::new();
    for packet in bytes.as_chunks::<P>().0 {
        let packet = Packet::parse(packet).expect("legal");
        let count = counts.entry(packet.pid).or_default();
        assert_eq!(usize::from(packet.counter), *count % 16, "PID {}", packet.pid);
        assert!(!packet.payload.expect("all carry payload").is_empty());
        *count += 1;
    }
    assert!(counts.values().all(|count| count % 16 == 0), "{counts:?}");
}

#[test]
fn a_chunk_without_units_keeps_its_length_and_announces_the_same_streams() {
    let run = run_packets(&with_aux(&packets(SOURCES[0].1), &extras()).0);
    let mut layout = AuxLayout::default();
    layout.learn(any_chunk(&run), &aux(&run.chunks[0]).streams);
    for (chunk, clean) in clean_chunks(&run).into_values() {
        let bytes = layout.mux(&clean.bytes, chunk.pts, None).expect("a canonical chunk");
        let mut announced = packets(&clean.bytes);
        announced.iter_mut().for_each(|packet| layout.announce(packet));
        assert_eq!(bytes, announced.as_flattened());
        let changed = packets(&clean.bytes).iter().zip(&announced).filter(|(before, after)| before != after).count();
        assert_eq!(changed, 16, "its maps");
        let map = |bytes: &[u8]| packets(bytes).into_iter().find(|packet| pid(packet) == 0x1000);
        let with = layout.mux(&clean.bytes, chunk.pts, chunk.aux.as_deref()).expect("a canonical chunk");
        assert_eq!(map(&bytes), map(&with));
    }
}

#[test]
fn maps_longer_than_a_packet_are_read_too() {
    let many: Vec<Extra> = (0..20)
        .map(|n| Extra {
            pid: TELETEXT + n,
            stream_type: 0x06,
            descriptors: b"\x59\x08fra\x10\x00\x01\x00\x01".to_vec(),
        })
        .collect();
    // The maker writes maps of one packet: a few of them are announced, the others learned by hand.
    let run = run_packets(&with_aux(&packets(SOURCES[0].1), &many[..4]).0);
    let mut streams = aux(&run.chunks[0]).streams.clone();
    streams.extend(
        (4..20u8).map(|n| AuxStream { stream_type: 0x06, descriptors: vec![0x59, 8, b'd', b'e', n, 1, 0, 1, 0, 2] }),
    );
    let mut layout = AuxLayout::default();
    assert!(layout.learn(any_chunk(&run), &streams) && !layout.keeps_length());
    assert_eq!(layout.streams().len(), 20);
    let mut written = Vec::new();
    for (chunk, clean) in clean_chunks(&run).into_values() {
        let bytes = layout.mux(&clean.bytes, chunk.pts, chunk.aux.as_deref()).expect("a canonical chunk");
        assert_eq!(Some(bytes.len() as u64), layout.len_of(clean.bytes.len() as u64, chunk.aux.as_deref()));
        written.extend(bytes);
    }
    assert_counters_close(&written);
    let again = run_with(planned(&run), &written, 64 * 1024);
    let (before, after) = (objects(&run), objects(&again));
    assert!(after.len() > 2);
    for (index, object) in after {
        assert_eq!((object.streams.len(), &object.units), (20, &before[&index].units), "{index}");
    }
}

#[test]
fn a_layout_gives_what_it_announced_a_place_for_good() {
    let run = run_packets(&with_aux(&packets(SOURCES[0].1), &extras()).0);
    let streams = &aux(&run.chunks[0]).streams;
    let mut layout = AuxLayout::default();
    assert!(layout.learn(any_chunk(&run), &streams[..2]));
    let before = layout.streams().to_vec();
    assert!(!layout.learn(any_chunk(&run), &streams[..1]));
    assert!(layout.learn(any_chunk(&run), &streams[1..]));
    assert_eq!(layout.streams()[..2], before);
    let fat = AuxStream { stream_type: 0x06, descriptors: [&[0x59, 200][..], &[1; 200]].concat() };
    assert!(!layout.learn(any_chunk(&run), std::slice::from_ref(&fat)), "the map would outgrow its packet");
    assert!(layout.keeps_length() && layout.anew(any_chunk(&run), streams).is_none());
    let anew = layout.anew(any_chunk(&run), &[fat]).expect("a layout that has it");
    assert!(!anew.keeps_length() && anew.streams().len() == 1);
}

#[test]
fn times_are_those_of_the_plan_whatever_the_receivers_clock_says() {
    let source = packets(SOURCES[0].1);
    let pes = pes_of(&source);
    let (straight, _) = with_aux(&mux(&source, &pes, Layout::default()), &extras());
    let reference = run_packets(&straight);
    let first = reference.chunks[0].pts.0;
    // The second makes the clock wrap in the middle.
    for shift in [123_456, (1 << 33) - first - 200_000] {
        let (shifted, _) = with_aux(&mux(&source, &pes, Layout { shift, ..Layout::default() }), &extras());
        let run = run_with(planned(&reference), shifted.as_flattened(), 5000);
        let (wanted, found) = (objects(&reference), objects(&run));
        assert!(found.len() > 4, "{}", found.len());
        // To the first falls what came for the one before, which was never cut.
        for (index, object) in found.into_iter().skip(1) {
            let wanted = &wanted[&index];
            assert_eq!(object.streams, wanted.streams);
            assert_eq!(object.units.len(), wanted.units.len(), "{index}");
            for (unit, wanted) in object.units.iter().zip(&wanted.units) {
                assert_eq!((unit.stream, unit.time, unit.pes), (wanted.stream, wanted.time, wanted.pes));
                if unit.pes.is_some() {
                    assert_eq!(unit.data, wanted.data);
                } else {
                    assert_eq!(scte35::cue(&unit.data), scte35::cue(&wanted.data), "moved by its adjustment");
                }
            }
        }
        let marks = |run: &Run| -> BTreeMap<u64, Vec<(MarkKind, Pts33)>> {
            let of = |chunk: &Chunk| chunk.marks.iter().map(|mark| (mark.kind, mark.pts)).collect();
            clean_chunks(run).into_iter().map(|(index, (chunk, _))| (index, of(chunk))).collect()
        };
        let wanted = marks(&reference);
        assert!(marks(&run).iter().all(|(index, marks)| wanted[index] == *marks));
    }
}

#[test]
fn a_wrap_inside_the_reception_moves_nothing() {
    let source = packets(SOURCES[0].1);
    let pes = pes_of(&source);
    let first = run_packets(&source).chunks[0].pts.0;
    let at = |shift| {
        let (mixed, sent) = with_aux(&mux(&source, &pes, Layout { shift, ..Layout::default() }), &extras());
        let run = run_packets(&mixed);
        assert_eq!(run.chunker.counters().aux_dropped, 0);
        (run.chunks.iter().map(|chunk| aux(chunk).units.len()).sum::<usize>(), sent.len())
    };
    let (found, sent) = at((1 << 33) - first - 200_000);
    assert!(sent - found <= 3, "{found} of {sent}");
}

#[test]
fn lost_packets_harm_only_the_units_they_were_in() {
    let (mixed, _) = with_aux(&packets(SOURCES[0].1), &extras());
    let whole = run_packets(&mixed);
    let mut rng = Rng(7);
    let beside = |packet: &[u8; P]| (TELETEXT..=DATA).contains(&pid(packet));
    let lossy: Packets = mixed.iter().filter(|packet| !beside(packet) || rng.below(10) > 0).copied().collect();
    let run = run_packets(&lossy);
    assert_eq!(run.clean(), whole.clean());
    assert_eq!(run.chunker.counters().discontinuities, 0, "reception quality is that of the core");
    assert!(run.chunker.counters().aux_dropped > 5);
    let known = objects(&whole);
    let mut kept = 0;
    for (index, object) in objects(&run) {
        for unit in &object.units {
            assert!(known[&index].units.contains(unit), "{unit:?}");
            kept += 1;
        }
    }
    assert!(kept > 100, "{kept}");
}

#[test]
fn splices_and_map_changes_are_marks_of_the_chunk_they_lie_in() {
    let (mut mixed, _) = with_aux(&packets(SOURCES[0].1), &extras());
    // Half way the private data is announced no more.
    let (other, _) = with_aux(&packets(SOURCES[0].1), &extras()[..3]);
    let pmt_pid = pid(other.iter().find(|packet| packet[5] == 0x02 && packet[1] & 0x40 != 0).expect("a map"));
    let map = *other.iter().find(|packet| pid(packet) == pmt_pid).expect("a map");
    let half = mixed.len() / 2;
    for packet in mixed[half..].iter_mut().filter(|packet| pid(packet) == pmt_pid) {
        let counter = packet[3];
        *packet = map;
        packet[3] = counter;
    }
    let run = run_packets(&mixed);
    let mut kinds = BTreeMap::new();
    for chunk in &run.chunks {
        for mark in &chunk.marks {
            *kinds.entry(format!("{:?}", mark.kind)).or_insert(0) += 1;
            let after = (mark.pts.0 as i64 - chunk.pts.0 as i64).rem_euclid(1 << 33);
            let reach = chunk.duration.0 + if mark.kind == MarkKind::ProgramMap { 0 } else { 1 };
            assert!(after < reach || mark.kind == MarkKind::ProgramMap, "{mark:?} {after}");
        }
    }
    let kinds: Vec<_> = kinds.iter().map(|(kind, count)| (&kind[..], *count)).collect();
    assert_eq!(kinds, [("ProgramMap", 1), ("SpliceIn", 3), ("SpliceOut", 3), ("TimeSignal", 2)]);
}

#[test]
fn an_inspection_tells_of_announced_splices_once() {
    let (mixed, sent) = with_aux(&packets(SOURCES[0].1), &extras());
    let mut inspector = Inspector::default();
    inspector.push(mixed.as_flattened());
    let report = inspector.finish();
    let splices = report.events.iter().filter(|event| matches!(event.kind, EventKind::Splice { pts: Some(_), .. }));
    assert_eq!(splices.count(), sent.iter().filter(|unit| unit.0 == SPLICES).count());
}

#[test]
fn the_binary_form_is_fixed() {
    let object = AuxObject {
        chunk: Some(ChunkCid([7; 32])),
        streams: vec![
            AuxStream { stream_type: 0x06, descriptors: b"\x56\x05eng\x09\x00".to_vec() },
            AuxStream { stream_type: 0x86, descriptors: vec![] },
        ],
        units: vec![
            AuxUnit { stream: 1, time: Ticks(-3600), pes: None, data: splice_section(0, &[]) },
            AuxUnit {
                stream: 0,
                time: Ticks(5),
                pes: Some(PesForm { stream_id: 0xBD, timed: true, aligned: true }),
                data: vec![1, 2, 3],
            },
        ],
    };
    let bytes = object.encode();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, include_str!("golden/aux.hex").trim());
    assert_eq!(AuxObject::decode(&bytes), Ok(object));
}

#[test]
fn any_flipped_byte_of_an_object_is_noticed() {
    let run = run_packets(&with_aux(&packets(SOURCES[0].1), &extras()).0);
    let bytes = objects(&run).into_values().next().expect("an object").encode();
    for at in (0..300).chain((300..bytes.len()).step_by(97)) {
        let mut bad = bytes.clone();
        bad[at] ^= 0x10;
        assert!(AuxObject::decode(&bad).is_err(), "byte {at}");
    }
    assert!(AuxObject::decode(&bytes[..bytes.len() - 1]).is_err());
}

/// A body with a digest of its own, as a liar would write it.
fn forged(body: &[u8]) -> Vec<u8> {
    let mut bytes = b"CCFA\x01\0\0\0".to_vec();
    bytes.extend(&ChunkCid::of(body).0[..16]);
    bytes.extend(body);
    bytes
}

#[test]
fn forged_objects_are_refused() {
    let refused: [&[u8]; 6] = [
        // Counts that are not there: streams, units.
        &[0x83, 0xF6, 0x9A, 0xFF, 0xFF, 0xFF, 0xFF],
        &[0x83, 0xF6, 0x80, 0x99, 0x20, 0x00],
        // A unit of a stream that is not announced.
        &[0x83, 0xF6, 0x80, 0x81, 0x84, 0, 0, 0x83, 0x18, 0xBD, 0xF5, 0xF5, 0x41, 1],
        // A descriptor longer than its loop.
        &[0x83, 0xF6, 0x81, 0x82, 6, 0x42, 0x56, 9, 0x80],
        // A section on a stream of PES packets.
        &[0x83, 0xF6, 0x81, 0x82, 6, 0x40, 0x81, 0x84, 0, 0, 0xF6, 0x41, 1],
        // Bytes behind the end.
        &[0x83, 0xF6, 0x80, 0x80, 0],
    ];
    for body in refused {
        assert!(AuxObject::decode(&forged(body)).is_err(), "{body:02x?}");
    }
    assert_eq!(AuxObject::decode(&forged(&[0x83, 0xF6, 0x80, 0x80])), Ok(AuxObject::default()));
}

#[test]
fn noise_beside_the_core_harms_nothing() {
    for seed in 0..20 {
        let mut rng = Rng(seed);
        let (mut mixed, _) = with_aux(&packets(SOURCES[0].1), &extras());
        let wanted = run(SOURCES[0].1).clean();
        for packet in mixed.iter_mut().filter(|packet| (TELETEXT..=DATA).contains(&pid(packet))) {
            let from = [4, 4, 11, 13, 40][rng.below(5)];
            // An adaptation field that contradicts itself makes the packet unusable, which is a case too.
            for byte in &mut packet[from..] {
                *byte = if rng.below(8) == 0 { rng.next() as u8 } else { *byte };
            }
        }
        let run = run_packets(&mixed);
        assert_eq!(run.clean(), wanted);
        for chunk in &run.chunks {
            let object = aux(chunk);
            assert_eq!(AuxObject::decode(&object.encode()).as_ref(), Ok(object), "only what can be read is kept");
        }
    }
}

#[test]
fn kinds_are_told_by_type_and_descriptors() {
    let run = run_packets(&with_aux(&packets(SOURCES[0].1), &extras()).0);
    let streams = &aux(&run.chunks[0]).streams;
    let kinds: Vec<AuxKind> = streams.iter().map(AuxStream::kind).collect();
    assert_eq!(kinds, [AuxKind::Teletext, AuxKind::Subtitles, AuxKind::Splices, AuxKind::Data]);
    assert!(streams[1].descriptors.starts_with(&[0x59]), "what tells of scrambling is left out");
}
