//! The laws of the canonical form over impaired receptions: what is emitted equals the reference, and nothing is
//! withheld that was not harmed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use aftercast_protocol::ccf::{Anchor, Chunk, ChunkPlan, ChunkState, Chunker, ChunkerEvent, ProgramSelect};
use aftercast_protocol::ids::{ChunkCid, TimelineId};
use aftercast_protocol::time::Ticks;
use aftercast_tests::broadcast::{AudioCodec, BroadcastSpec, generate};
use aftercast_tests::impair::{Evidence, Recipe, Span, impair};

const TMP: &str = env!("CARGO_TARGET_TMPDIR");
const INTERVAL: Ticks = Ticks(43_200);

struct Source {
    interval: Ticks,
    name: &'static str,
    path: PathBuf,
    bytes: Vec<u8>,
    plan: ChunkPlan,
    evidence: Evidence,
    /// Clean chunks of the whole source, by index.
    reference: BTreeMap<u64, Chunk>,
}

fn sources() -> Vec<Source> {
    let small = BroadcastSpec::small(8);
    let mp2 = BroadcastSpec { audio: AudioCodec::Mp2, languages: vec!["eng".into(), "deu".into()], ..small.clone() };
    let cd_rate = BroadcastSpec { audio: AudioCodec::Mp2, sample_rate: 44_100, b_frames: 0, ..small.clone() };
    // Chunks of two picture groups: the boundary's group is another than the chunk's first.
    let long = source("aac in long chunks", &BroadcastSpec::small(16), Ticks(90_000));
    let short = [("aac", small), ("two mp2", mp2), ("mp2 at 44.1 kHz", cd_rate)];
    short.map(|(name, spec)| source(name, &spec, INTERVAL)).into_iter().chain([long]).collect()
}

fn source(name: &'static str, spec: &BroadcastSpec, interval: Ticks) -> Source {
    let path = generate(spec, Path::new(TMP)).expect("a programme");
    let bytes = std::fs::read(&path).expect("reads it");
    let mut chunker = Chunker::discover(interval, ProgramSelect::First).expect("a legal interval");
    let reference = clean(run(&mut chunker, &bytes));
    assert!(reference.len() >= 12, "{name} gives {} chunks", reference.len());
    let anchor =
        |chunk: &Chunk| Anchor { timeline: TimelineId(0), index: chunk.index, pts: chunk.pts, digest: chunk.opening };
    let anchors = reference.values().map(anchor).collect();
    let plan = ChunkPlan { anchors, ..chunker.plan().expect("discovered").clone() };
    let evidence = Evidence::of(&bytes).expect("a programme with key pictures");
    Source { interval, name, path, bytes, plan, evidence, reference }
}

fn run(chunker: &mut Chunker, bytes: &[u8]) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    for piece in bytes.chunks(100_000) {
        chunker.push(piece);
        while let Some(event) = chunker.poll_event() {
            match event {
                ChunkerEvent::Chunk(chunk) => chunks.push(chunk),
                ChunkerEvent::ProfileMismatch { reason } => panic!("{reason}"),
                ChunkerEvent::Timeline { .. } | ChunkerEvent::Mark(_) => {}
            }
        }
    }
    chunker.finish();
    while let Some(event) = chunker.poll_event() {
        if let ChunkerEvent::Chunk(chunk) = event {
            chunks.push(chunk);
        }
    }
    chunks
}

fn clean(chunks: Vec<Chunk>) -> BTreeMap<u64, Chunk> {
    let clean = chunks.into_iter().filter(|chunk| matches!(chunk.state, ChunkState::Clean(_)));
    clean.map(|chunk| (chunk.index.0, chunk)).collect()
}

fn cid(chunk: &Chunk) -> Option<ChunkCid> {
    match &chunk.state {
        ChunkState::Clean(clean) => Some(clean.cid),
        ChunkState::Withheld(_) => None,
    }
}

fn span(chunk: &Chunk, anchored: bool) -> Span {
    Span { pts: chunk.pts.0, duration: chunk.duration.0 as u64, anchored }
}

/// Runs recipes over a source, and holds the result against its log.
fn check(source: &Source, texts: &[&str], seed: u64, with_plan: bool) {
    let recipes: Vec<Recipe> = texts.iter().map(|text| text.parse().expect("a recipe")).collect();
    let impaired = impair(&source.bytes, &recipes, seed).expect("applies");
    let mut chunker = match with_plan {
        true => Chunker::new(source.plan.clone(), ProgramSelect::First).expect("a legal plan"),
        false => Chunker::discover(source.interval, ProgramSelect::First).expect("a legal interval"),
    };
    let found = clean(run(&mut chunker, &impaired.bytes));
    let at = format!("{}, {texts:?}, seed {seed}", source.name);
    for (index, chunk) in &found {
        let Some(reference) = source.reference.get(index) else {
            // An anchor proves an edge that the source alone could not.
            assert!(with_plan, "{at}: chunk {index} is not the reference's");
            continue;
        };
        let deceived = source.evidence.deceives(&impaired.log, span(reference, with_plan));
        assert!(cid(chunk) == cid(reference) || deceived, "{at}: chunk {index} differs");
    }
    for (index, chunk) in &source.reference {
        let there = found.contains_key(index) || source.evidence.excuses(&impaired.log, span(chunk, with_plan));
        assert!(there, "{at}: chunk {index} at {} is missing", chunk.pts);
    }
}

#[test]
fn harmless_recipes_leave_every_chunk_as_it_is() {
    for source in &sources() {
        for texts in [
            &["repacketise"][..],
            &["pes-headers"],
            &["delimiters=add"],
            &["delimiters=remove"],
            &["nulls=drop"],
            &["nulls=10%"],
            &["pcr-restamp=-20ms", "pcr-jitter=2ms"],
            &["counters", "flags", "si-noise=2%"],
            &["duplicates=1%"],
            &["pid-remap", "pmt-version=3"],
            &["reorder=8"],
            &["framing=192"],
            &["framing=204"],
        ] {
            for seed in 1..3 {
                check(source, texts, seed, false);
            }
        }
    }
}

#[test]
fn other_clocks_and_foreign_multiplexers_are_seen_through_with_anchors() {
    for source in &sources() {
        // At 44.1 kHz a tick of rounding may move a frame over a boundary (CCF 7), so only the others must agree.
        if source.name == "mp2 at 44.1 kHz" {
            continue;
        }
        for texts in [
            &["pts-shift=5s"][..],
            &["pts-wrap=5s"],
            &["regroup=6"],
            &["regroup=1", "repacketise"],
            &["remux=10s"],
            &["hls=2s"],
        ] {
            check(source, texts, 3, true);
        }
    }
}

#[test]
fn losses_cost_what_they_harm_and_nothing_else() {
    for source in &sources() {
        for texts in [
            &["single=3"][..],
            &["loss=0.3%/burst=20"],
            &["loss=0.5%/burst=1"],
            &["truncate=2"],
            &["tei=0.1%"],
            &["flips=3"],
            &["lose16=1"],
            &["late=3.2s"],
            &["early=1.5s"],
            &["late=1.1s", "nulls=10%", "counters", "pid-remap", "loss=0.3%/burst=8", "framing=204"],
        ] {
            for seed in 1..6 {
                check(source, texts, seed, true);
                check(source, texts, seed, false);
            }
        }
    }
}

/// The program, built before tests are (`make test` does).
fn aftercast() -> Command {
    let test = std::env::current_exe().expect("a test has a path");
    let folder = test.parent().and_then(Path::parent).expect("target folder");
    let program = folder.join("aftercast");
    assert!(program.exists(), "{} is missing: build the programs first (make build)", program.display());
    Command::new(program)
}

/// Clean chunks that `aftercast chunk --json` prints: index to CID, PTS and duration.
fn chunk_command(input: &Path, more: &[&str]) -> BTreeMap<u64, (String, u64, u64)> {
    let done = aftercast().arg("chunk").arg(input).args(["--json"]).args(more).output().expect("runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let lines = String::from_utf8(done.stdout).expect("text");
    let mut lines: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect();
    let summary = lines.pop().expect("a last line");
    assert!(summary["summary"]["packets"].as_u64() > Some(0), "{summary}");
    let clean = lines.into_iter().filter(|line| line["state"] == "clean").map(|line| {
        let number = |key: &str| line[key].as_u64().expect("a number");
        (number("index"), (line["cid"].as_str().expect("a CID").to_owned(), number("pts"), number("duration")))
    });
    clean.collect()
}

#[test]
fn the_command_gives_the_same_chunks_from_two_harmed_receptions() {
    let source = source("aac", &BroadcastSpec::small(8), INTERVAL);
    let folder = tempfile::tempdir().expect("a folder");
    let plan = folder.path().join("plan.toml");
    let plan = plan.to_str().expect("text");
    let whole = chunk_command(&source.path, &["--interval", "480ms", "--write-plan", plan]);
    assert_eq!(whole.len(), source.reference.len());
    let receptions = [
        &["nulls=10%", "counters", "pid-remap", "pcr-jitter=2ms", "loss=0.3%/burst=6"][..],
        &["reorder=8", "repacketise", "duplicates=1%", "single=4", "framing=192"],
    ];
    let found = receptions.map(|texts| {
        let recipes: Vec<Recipe> = texts.iter().map(|text| text.parse().expect("a recipe")).collect();
        let impaired = impair(&source.bytes, &recipes, 11).expect("applies");
        let path = folder.path().join(format!("{}.ts", texts.len()));
        std::fs::write(&path, &impaired.bytes).expect("writes");
        let out = folder.path().join(format!("{}", texts.len()));
        let out = out.to_str().expect("text");
        let chunks = chunk_command(&path, &["--interval", "480ms", "--plan", plan, "--out", out]);
        for chunk in source.reference.values() {
            let excused = source.evidence.excuses(&impaired.log, span(chunk, true));
            let there = excused || chunks.contains_key(&chunk.index.0);
            assert!(there, "{texts:?}: chunk {} was not harmed and is missing", chunk.index);
        }
        let verified = aftercast().arg("verify").arg(out).output().expect("runs");
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
        chunks
    });
    let both = found[0].iter().filter(|(index, _)| found[1].contains_key(index)).count();
    assert!(both >= 4, "only {both} chunks are clean in both");
    for (index, chunk) in found.iter().flatten() {
        assert!(whole.get(index).is_none_or(|known| known == chunk), "chunk {index} differs");
    }
}
