//! Several damaged receptions of one chunk make the chunk, or nothing.

mod ccf_kit;

use std::collections::BTreeMap;

use ccf_kit::*;

use aftercast_protocol::ccf::{
    Agreement, Bounds, Chunk, ChunkState, CombineError, Profile, Unit, UnitIndex, Voice, WithheldChunk, read_units,
};
use aftercast_protocol::ids::ChunkCid;
use aftercast_protocol::time::Ticks;

/// Drops single packets, one in `rarity`.
fn lose_singles(source: &Packets, rng: &mut Rng, rarity: usize) -> Packets {
    source.iter().filter(|_| rng.below(rarity) != 0).copied().collect()
}

fn withheld(run: &Run, index: u64) -> Option<&WithheldChunk> {
    let chunk = run.chunks.iter().find(|chunk| chunk.index.0 == index)?;
    match &chunk.state {
        ChunkState::Withheld(withheld) => Some(withheld),
        ChunkState::Clean(_) => None,
    }
}

/// What is known of a chunk from the anchors of it and the next.
fn bounds(reference: &Run, chunk: &Chunk) -> Option<Bounds> {
    let next = reference.chunks.iter().find(|next| next.pts.0 == chunk.pts.0 + chunk.duration.0 as u64)?;
    let index = match &next.state {
        ChunkState::Clean(_) => index_of(next),
        ChunkState::Withheld(withheld) => withheld.units.clone(),
    };
    let next_dts = Ticks(chunk.duration.0 + index.units.first()?.dts.0);
    Some(Bounds { opening: chunk.opening, duration: chunk.duration, next_dts })
}

/// The chunk that these receptions make together. What is known of it from elsewhere is its place.
fn combine(
    profile: &Profile,
    right: &Chunk,
    bounds: Bounds,
    receptions: &[&WithheldChunk],
) -> Result<ChunkCid, CombineError> {
    let voice = |(who, one): (usize, &&'_ WithheldChunk)| (who as u64, one.units.clone());
    let indexes: Vec<(u64, UnitIndex)> = receptions.iter().enumerate().map(voice).collect();
    let voices: Vec<_> = indexes.iter().map(|(subscriber, units)| Voice { subscriber: *subscriber, units }).collect();
    let agreement = Agreement::of(profile, bounds, &voices)?;
    let held: Vec<Vec<Unit>> = receptions.iter().map(|one| units_of(one)).collect();
    let made = agreement.build(profile, right.pts, |wanted| {
        let from = *wanted.held_by.first()?;
        // Of an own form's units the position says which: the index is in the order of its bytes.
        let entry = indexes[from]
            .1
            .units
            .iter()
            .position(|unit| (unit.stream, unit.digest) == (wanted.stream, wanted.digest))?;
        held[from].get(entry)
    });
    made.map(|chunk| chunk.cid)
}

fn units_of(withheld: &WithheldChunk) -> Vec<Unit> {
    withheld.salvaged.as_deref().map(|bytes| read_units(bytes).expect("our own form").1).unwrap_or_default()
}

#[test]
fn five_lossy_receptions_make_the_chunks_that_none_has_whole() {
    let mut rng = Rng(21);
    let mut tally: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, bytes) in SOURCES {
        let source = packets(bytes);
        let reference = run_packets(&source);
        let profile = reference.chunker.plan().expect("discovered").profile.clone();
        for _ in 0..40 {
            let receptions: Vec<Run> = (0..5).map(|_| run_packets(&lose_singles(&source, &mut rng, 125))).collect();
            for (index, (right, wanted)) in clean_chunks(&reference) {
                let damaged: Vec<_> = receptions.iter().filter_map(|run| withheld(run, index)).collect();
                let Some(bounds) = bounds(&reference, right).filter(|_| damaged.len() == receptions.len()) else {
                    continue;
                };
                match combine(&profile, right, bounds, &damaged) {
                    Ok(cid) => {
                        assert_eq!(cid, wanted.cid, "{name} {index}");
                        *tally.entry("made").or_default() += 1;
                    }
                    Err(CombineError::Gap { .. } | CombineError::Opening) => *tally.entry("lacking").or_default() += 1,
                    Err(other) => panic!("{name} {index}: {other}"),
                }
            }
        }
    }
    println!("{tally:?}");
    assert!(tally["made"] >= 20, "{tally:?}");
}

#[test]
fn what_all_lost_alike_makes_no_chunk() {
    let mut rng = Rng(22);
    let mut refused = 0;
    for (name, bytes) in SOURCES {
        let source = packets(bytes);
        let reference = run_packets(&source);
        let profile = reference.chunker.plan().expect("discovered").profile.clone();
        for _ in 0..100 {
            // One burst for all, short of the 16 packets that no counter shows, and losses of each one's own.
            let (at, len) = (rng.below(source.len() - 15), 1 + rng.below(15));
            let common = [&source[..at], &source[at + len..]].concat();
            let receptions: Vec<Run> = (0..3).map(|_| run_packets(&lose_singles(&common, &mut rng, 200))).collect();
            for (index, (right, wanted)) in clean_chunks(&reference) {
                let damaged: Vec<_> = receptions.iter().filter_map(|run| withheld(run, index)).collect();
                let Some(bounds) = bounds(&reference, right).filter(|_| damaged.len() >= 2) else { continue };
                match combine(&profile, right, bounds, &damaged) {
                    Ok(cid) => assert_eq!(cid, wanted.cid, "{name} {index}: {len} packets lost at {at}"),
                    Err(_) => refused += 1,
                }
            }
        }
    }
    assert!(refused > 30, "{refused}");
}

#[test]
fn one_voice_twice_and_voices_of_liars_make_nothing_false() {
    let source = packets(SOURCES[0].1);
    let reference = run_packets(&source);
    let profile = reference.chunker.plan().expect("discovered").profile.clone();
    let mut rng = Rng(23);
    let one = run_packets(&lose_singles(&source, &mut rng, 125));
    for (index, (right, wanted)) in clean_chunks(&reference) {
        let (Some(damaged), Some(bounds)) = (withheld(&one, index), bounds(&reference, right)) else { continue };
        let alone = [Voice { subscriber: 1, units: &damaged.units }; 2];
        assert!(Agreement::of(&profile, bounds, &alone).is_err(), "one subscriber is one voice");
        let whole = index_of(right);
        // A liar adds pictures that nobody else has: they are left out.
        let mut more = whole.clone();
        let mut phantom = more.units[1];
        phantom.dts.0 += 1;
        phantom.digest.0[0] ^= 1;
        more.units.insert(2, phantom);
        let voices = [
            Voice { subscriber: 1, units: &whole },
            Voice { subscriber: 2, units: &more },
            Voice { subscriber: 3, units: &damaged.units },
        ];
        let agreement = Agreement::of(&profile, bounds, &voices).expect("two have it whole");
        assert_eq!(agreement.units().len(), whole.units.len());
        let (_, units) = read_units(&wanted.bytes).expect("canonical");
        let by_digest = |unit: &aftercast_protocol::ccf::AgreedUnit| {
            whole.units.iter().position(|one| (one.stream, one.digest) == (unit.stream, unit.digest))
        };
        let made = agreement.build(&profile, right.pts, |unit| units.get(by_digest(unit)?));
        assert_eq!(made.expect("a chunk").cid, wanted.cid);
        // Bytes that are not the unit's are found out.
        let first = units.first();
        assert_eq!(agreement.build(&profile, right.pts, |_| first).err(), Some(CombineError::WrongUnit(1)));
    }
}
