//! A damaged reception, the chunk's unit index and the byte ranges that repair asks for make the reference bytes.

mod ccf_kit;

use ccf_kit::*;

use aftercast_protocol::ccf::{Chunk, ChunkState, Repair, RepairError};

fn salvaged(chunk: &Chunk) -> Option<&[u8]> {
    match &chunk.state {
        ChunkState::Withheld(withheld) => withheld.salvaged.as_deref(),
        ChunkState::Clean(_) => None,
    }
}

#[test]
fn repair_gives_the_reference_bytes_and_fetches_only_what_is_missing() {
    let mut rng = Rng(20);
    let (mut repaired, mut held_units) = (0, 0);
    for (name, bytes) in SOURCES {
        let source = packets(bytes);
        let reference = run_packets(&source);
        let reference = (clean_chunks(&reference), reference.chunker.plan().expect("discovered").profile.clone());
        for _ in 0..40 {
            let damaged = run_packets(&lose_bursts(&source, &mut rng, 300));
            for chunk in damaged.chunks.iter() {
                let Some((right, wanted)) = reference.0.get(&chunk.index.0) else { continue };
                let Some(own) = salvaged(chunk) else { continue };
                let index = index_of(right);
                let mut repair = Repair::new(&reference.1, right.pts, &index).expect("its own profile");
                held_units += repair.stock(own).expect("our own form");
                let ranges = repair.missing();
                let fetched: u64 = ranges.iter().map(|range| range.end - range.start).sum();
                assert!(fetched <= wanted.bytes.len() as u64);
                assert!(ranges.is_empty() || matches!(repair.finish(wanted.cid), Err(RepairError::Missing(_))));
                for range in ranges {
                    let part = &wanted.bytes[range.start as usize..range.end as usize];
                    repair.handle_bytes(range.start, part).expect("the right bytes");
                }
                assert_eq!(repair.finish(wanted.cid).as_ref(), Ok(&wanted.bytes), "{name} {}", chunk.index.0);
                repaired += 1;
            }
        }
    }
    assert!(repaired > 100 && held_units > 1_000, "{repaired} chunks repaired, {held_units} units held");
}

#[test]
fn without_any_reception_the_ranges_are_the_chunk_but_for_its_tables() {
    for (_, bytes) in SOURCES {
        let reference = run(bytes);
        let profile = &reference.chunker.plan().expect("discovered").profile;
        for (chunk, wanted) in clean_chunks(&reference).into_values() {
            let index = index_of(chunk);
            let mut repair = Repair::new(profile, chunk.pts, &index).expect("its own profile");
            // In pieces of any size: units that lie across a border come with the next look.
            while let Some(range) = repair.missing().first().cloned() {
                let end = range.end.min(range.start + 30_000).max(range.start + 20_000).min(wanted.bytes.len() as u64);
                let taken = repair.handle_bytes(range.start, &wanted.bytes[range.start as usize..end as usize]);
                assert!(taken.expect("the right bytes") > 0);
            }
            assert_eq!(repair.finish(wanted.cid).as_ref(), Ok(&wanted.bytes));
        }
    }
}

#[test]
fn a_false_byte_convicts_its_sender_and_is_not_taken() {
    let mut rng = Rng(3);
    let reference = run(SOURCES[0].1);
    let profile = &reference.chunker.plan().expect("discovered").profile;
    let chunks = clean_chunks(&reference);
    let (chunk, wanted) = chunks.values().nth(1).expect("a few chunks");
    let index = index_of(chunk);
    for _ in 0..300 {
        let mut repair = Repair::new(profile, chunk.pts, &index).expect("its own profile");
        let at = rng.below(index.units.len());
        let entry = index.units[at];
        let range = entry.start as usize..(entry.start + entry.len) as usize;
        let mut part = wanted.bytes[range.clone()].to_vec();
        let flipped = rng.below(part.len());
        part[flipped] ^= 1 << rng.below(8);
        match repair.handle_bytes(range.start as u64, &part) {
            Err(error) => assert_eq!(error, RepairError::WrongUnit(at)),
            // A bit of a header that carries no unit byte: the unit is right all the same, and the chunk is made anew.
            Ok(taken) => assert_eq!(taken, 1),
        }
        repair.handle_bytes(0, &wanted.bytes).expect("the right bytes");
        assert_eq!(repair.finish(wanted.cid).as_ref(), Ok(&wanted.bytes));
    }
}

#[test]
fn an_index_of_another_chunk_makes_nothing_wrong() {
    let reference = run(SOURCES[0].1);
    let profile = &reference.chunker.plan().expect("discovered").profile;
    let chunks: Vec<_> = clean_chunks(&reference).into_values().collect();
    let [(chunk, wanted), (next, other), ..] = chunks[..] else { panic!("a few chunks") };
    let index = index_of(next);
    let mut repair = Repair::new(profile, chunk.pts, &index).expect("the same profile");
    repair.handle_bytes(0, &other.bytes).expect("the index's own bytes");
    assert!(matches!(repair.finish(wanted.cid), Err(RepairError::OtherChunk(_))));
    let mut strange = index.clone();
    strange.units[3].stream = 9;
    assert_eq!(Repair::new(profile, chunk.pts, &strange).err(), Some(RepairError::Stream(3)));
}

#[test]
fn garbage_as_stock_and_as_bytes_never_panics() {
    let mut rng = Rng(4);
    let reference = run(SOURCES[0].1);
    let profile = &reference.chunker.plan().expect("discovered").profile;
    let chunks = clean_chunks(&reference);
    let (chunk, wanted) = chunks.values().next().expect("a chunk");
    let index = index_of(chunk);
    for _ in 0..500 {
        let mut garbage = wanted.bytes.clone();
        for _ in 0..1 + rng.below(200) {
            let at = rng.below(garbage.len());
            garbage[at] = rng.next() as u8;
        }
        garbage.truncate(rng.below(garbage.len() + 1));
        let mut repair = Repair::new(profile, chunk.pts, &index).expect("its own profile");
        let _ = repair.stock(&garbage);
        let _ = repair.handle_bytes(rng.next() >> rng.below(64), &garbage);
        let _ = repair.handle_bytes(0, &garbage);
        match repair.finish(wanted.cid) {
            Ok(bytes) => assert_eq!(bytes, wanted.bytes),
            Err(RepairError::Missing(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
}
