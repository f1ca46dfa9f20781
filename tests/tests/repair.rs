//! What repair moves, and what several damaged receptions make together, over bursts of loss as lines have them.

use std::collections::BTreeMap;
use std::path::Path;

use aftercast_protocol::ccf::{
    Agreement, Anchor, Assembly, Bounds, Chunk, ChunkPlan, ChunkState, Chunker, ChunkerEvent, CleanChunk, CombineError,
    ProgramSelect, Repair, Testimony, UnitIndex, Voice, WithheldChunk,
};
use aftercast_protocol::time::Ticks;
use aftercast_tests::broadcast::{BroadcastSpec, generate};
use aftercast_tests::impair::{Evidence, Recipe, Span, impair};

const INTERVAL: Ticks = Ticks(180_000);

/// Received without loss: what the seed has.
struct Source {
    bytes: Vec<u8>,
    evidence: Evidence,
    plan: ChunkPlan,
    chunks: BTreeMap<u64, (Chunk, CleanChunk)>,
}

impl Source {
    fn new() -> Self {
        let spec = BroadcastSpec {
            seconds: 40,
            size: (640, 360),
            video_bitrate: 2_000_000,
            mux_rate: 2_600_000,
            ..BroadcastSpec::default()
        };
        let path = generate(&spec, Path::new(env!("CARGO_TARGET_TMPDIR"))).expect("a programme");
        let bytes = std::fs::read(path).expect("reads it");
        let mut chunker = Chunker::discover(INTERVAL, ProgramSelect::First).expect("a legal interval");
        let clean = |chunk: Chunk| match chunk.state.clone() {
            ChunkState::Clean(clean) => Some((chunk.index.0, (chunk, clean))),
            ChunkState::Withheld(_) => None,
        };
        let chunks: BTreeMap<_, _> = run(&mut chunker, &bytes).into_iter().filter_map(clean).collect();
        assert!(chunks.len() >= 15, "{}", chunks.len());
        let anchor = |(chunk, _): &(Chunk, CleanChunk)| Anchor {
            timeline: chunk.timeline,
            index: chunk.index,
            pts: chunk.pts,
            digest: chunk.opening,
        };
        let plan =
            ChunkPlan { anchors: chunks.values().map(anchor).collect(), ..chunker.plan().expect("discovered").clone() };
        let evidence = Evidence::of(&bytes).expect("a programme with key pictures");
        Self { bytes, evidence, plan, chunks }
    }

    /// What a home with this loss has of each chunk that it does not have right.
    fn damaged(&self, loss: &str, seed: u64) -> BTreeMap<u64, Held> {
        let loss: Recipe = loss.parse().expect("a recipe");
        let impaired = impair(&self.bytes, &[loss], seed).expect("applies");
        let mut chunker = Chunker::new(self.plan.clone(), ProgramSelect::First).expect("a legal plan");
        let mut missing: BTreeMap<u64, Held> = self.chunks.keys().map(|index| (*index, Held::default())).collect();
        for chunk in run(&mut chunker, &impaired.bytes) {
            let Some((right_chunk, right)) = self.chunks.get(&chunk.index.0) else { continue };
            match chunk.state {
                ChunkState::Clean(clean) => {
                    if clean.cid == right.cid {
                        missing.remove(&chunk.index.0);
                        continue;
                    }
                    // A multiple of 16 packets leaves no gap in the counters. Truth tells such a home that it is wrong.
                    let span = Span { pts: right_chunk.pts.0, duration: right_chunk.duration.0 as u64, anchored: true };
                    assert!(self.evidence.deceives(&impaired.log, span), "chunk {} differs", chunk.index);
                    let units = UnitIndex::of_chunk(chunk.pts, &clean.bytes).expect("canonical");
                    missing.insert(chunk.index.0, Held { stock: Some(clean.bytes), units });
                }
                ChunkState::Withheld(WithheldChunk { salvaged, units, .. }) => {
                    missing.insert(chunk.index.0, Held { stock: salvaged, units });
                }
            }
        }
        missing
    }
}

/// Units of a chunk that is not right.
#[derive(Default)]
struct Held {
    stock: Option<Vec<u8>>,
    units: UnitIndex,
}

fn run(chunker: &mut Chunker, bytes: &[u8]) -> Vec<Chunk> {
    chunker.push(bytes);
    chunker.finish();
    let events = std::iter::from_fn(|| chunker.poll_event());
    events.filter_map(|event| if let ChunkerEvent::Chunk(chunk) = event { Some(chunk) } else { None }).collect()
}

#[test]
fn repair_after_bursts_of_loss_moves_a_small_part_and_gives_the_same_bytes() {
    let source = Source::new();
    let (mut recorded, mut index_bytes, mut unit_bytes, mut whole, mut damaged) = (0, 0, 0, 0, 0);
    for seed in 1..6 {
        recorded += source.chunks.values().map(|(_, clean)| clean.bytes.len()).sum::<usize>();
        for (index, held) in source.damaged("loss=0.4%/burst=12", seed) {
            let (chunk, right) = &source.chunks[&index];
            let units = UnitIndex::of_chunk(chunk.pts, &right.bytes).expect("canonical");
            let mut repair = Repair::new(&source.plan.profile, chunk.pts, &units).expect("its own profile");
            if let Some(stock) = held.stock {
                repair.stock(&stock).expect("our own form");
            }
            for range in repair.missing() {
                unit_bytes += (range.end - range.start) as usize;
                let part = &right.bytes[range.start as usize..range.end as usize];
                repair.handle_bytes(range.start, part).expect("the right bytes");
            }
            assert!(repair.finish(right.cid).is_ok_and(|bytes| bytes == right.bytes), "chunk {index}, seed {seed}");
            index_bytes += units.encode().len();
            whole += right.bytes.len();
            damaged += 1;
        }
    }
    let part = |bytes: usize| 100.0 * bytes as f64 / recorded as f64;
    let fetched = index_bytes + unit_bytes;
    println!(
        "{damaged} of {} chunks damaged; fetched {:.2} % of the recording ({:.2} % units, {:.2} % indexes), whole chunks \
         would be {:.0} %",
        5 * source.chunks.len(),
        part(fetched),
        part(unit_bytes),
        part(index_bytes),
        part(whole),
    );
    assert!(damaged >= 20, "{damaged} chunks damaged");
    assert!(part(fetched) <= 4.0, "fetched {:.2} %", part(fetched));
}

#[test]
fn five_lossy_homes_make_the_chunks_that_none_of_them_has() {
    let source = Source::new();
    let (mut made, mut short, mut somebody) = (0, 0, 0);
    for round in 0..4 {
        let homes: Vec<_> = (0..5).map(|home| source.damaged("loss=0.8%/burst=4", 100 + 5 * round + home)).collect();
        for (index, (chunk, right)) in &source.chunks {
            let nobody_whole = homes.iter().all(|home| home.contains_key(index));
            let Some((next, next_clean)) = source.chunks.get(&(index + 1)) else { continue };
            if !nobody_whole {
                somebody += 1;
                continue;
            }
            let voices: Vec<&Held> = homes.iter().map(|home| &home[index]).collect();
            let next_units = UnitIndex::of_chunk(next.pts, &next_clean.bytes).expect("canonical");
            let bounds = Bounds {
                opening: chunk.opening,
                duration: chunk.duration,
                next_dts: Ticks(chunk.duration.0 + next_units.units[0].dts.0),
            };
            match combine(&source.plan, chunk, bounds, &voices) {
                Ok((clean, fetched)) => {
                    assert_eq!(clean.cid, right.cid, "chunk {index}");
                    assert!(fetched <= clean.bytes.len() as u64, "no unit is fetched twice");
                    made += 1;
                }
                // Fewer than two homes have some unit: nothing is made up.
                Err(CombineError::Gap { .. } | CombineError::Opening) => short += 1,
                Err(other) => panic!("chunk {index}: {other}"),
            }
        }
    }
    println!("{somebody} chunks whole somewhere; of the others {made} made by five homes together, {short} not");
    assert!(made >= 10 && made >= 3 * short, "{made} made, {short} not");
}

/// Makes the chunk as the seed does: by the ranges of each home's own form that are asked for. Gives their bytes too.
fn combine(
    plan: &ChunkPlan,
    chunk: &Chunk,
    bounds: Bounds,
    homes: &[&Held],
) -> Result<(CleanChunk, u64), CombineError> {
    let voices: Vec<_> =
        homes.iter().zip(0..).map(|(home, subscriber)| Voice { subscriber, units: &home.units }).collect();
    let agreement = Agreement::of(&plan.profile, bounds, &voices)?;
    let mut assembly = Assembly::new(&plan.profile, chunk.pts, agreement, &voices);
    let mut fetched = 0;
    for (voice, ranges) in assembly.missing() {
        let stock = homes[voice].stock.as_deref().expect("it has units");
        for range in ranges {
            fetched += range.end - range.start;
            let part = &stock[range.start as usize..range.end as usize];
            assert!(assembly.handle_bytes(voice, range.start, part).expect("its own units") > 0);
        }
    }
    assert!(assembly.missing().is_empty());
    Ok((assembly.finish()?, fetched))
}

#[test]
fn one_home_that_sends_something_else_is_told_and_left_out() {
    let source = Source::new();
    let homes: Vec<_> = (0..5).map(|home| source.damaged("loss=0.8%/burst=4", 100 + home)).collect();
    let mut made = 0;
    for (index, (chunk, right)) in &source.chunks {
        let voices: Vec<&Held> = homes.iter().filter_map(|home| home.get(index)).collect();
        let Some((next, next_clean)) = source.chunks.get(&(index + 1)) else { continue };
        let next_units = UnitIndex::of_chunk(next.pts, &next_clean.bytes).expect("canonical");
        let next_dts = Ticks(chunk.duration.0 + next_units.units[0].dts.0);
        let bounds = Bounds { opening: chunk.opening, duration: chunk.duration, next_dts };
        let heard: Vec<_> =
            voices.iter().zip(0..).map(|(home, subscriber)| Voice { subscriber, units: &home.units }).collect();
        let Ok(agreement) = Agreement::of(&source.plan.profile, bounds, &heard) else { continue };
        let mut assembly = Assembly::new(&source.plan.profile, chunk.pts, agreement, &heard);
        let liar = *assembly.missing().keys().next().expect("somebody is asked");
        let mut told = false;
        loop {
            let missing = assembly.missing();
            if missing.is_empty() {
                break;
            }
            for (voice, ranges) in missing {
                for range in ranges {
                    let stock = voices[voice].stock.as_deref().expect("it has units");
                    let mut part = stock[range.start as usize..range.end as usize].to_vec();
                    if voice == liar {
                        part[100] ^= 1;
                    }
                    match assembly.handle_bytes(voice, range.start, &part) {
                        Ok(_) => {}
                        Err(CombineError::WrongUnit(_)) if voice == liar => {
                            told = true;
                            break;
                        }
                        Err(other) => panic!("chunk {index}: {other}"),
                    }
                }
            }
        }
        assert!(told);
        // Without the liar some unit may be nobody's.
        match assembly.finish() {
            Ok(clean) => {
                assert_eq!(clean.cid, right.cid);
                made += 1;
            }
            Err(CombineError::WrongUnit(_)) => {}
            Err(other) => panic!("chunk {index}: {other}"),
        }
    }
    assert!(made >= 3, "{made} chunks made without the liar");
}

#[test]
fn a_damaged_home_speaks_for_the_right_chunk_and_against_any_other() {
    let source = Source::new();
    let (mut supported, mut abstained, mut caught) = (0, 0, 0);
    for seed in 1..4 {
        let lossy = source.damaged("loss=0.2%/burst=6", seed);
        // Losses that leave no gap in the counters: the home believes that it has the chunk.
        let deceived = source.damaged("lose16=3", 50 + seed);
        for (index, held) in &lossy {
            let (chunk, right) = &source.chunks[index];
            let units = UnitIndex::of_chunk(chunk.pts, &right.bytes).expect("canonical");
            match units.testimony(&held.units) {
                Testimony::For => supported += 1,
                Testimony::Silent => abstained += 1,
                Testimony::Against => panic!("chunk {index}: against the right one"),
            }
            if let Some(wrong) = deceived.get(index) {
                // It may speak for a chunk that lacks just what it lost itself, and for no other.
                let lacks_the_same =
                    held.units.units.iter().all(|unit| {
                        unit.stream > 0 || wrong.units.units.iter().any(|other| other.digest == unit.digest)
                    });
                let said = wrong.units.testimony(&held.units);
                assert!(lacks_the_same || said != Testimony::For, "chunk {index}");
                caught += u32::from(said == Testimony::Against);
            }
        }
    }
    println!(
        "{supported} damaged receptions speak for the chunk, {abstained} abstain; {caught} speak against a wrong one"
    );
    assert!(supported > 3 * abstained && caught > 0, "{supported}, {abstained}, {caught}");
}
