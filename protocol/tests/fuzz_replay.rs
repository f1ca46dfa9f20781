//! The fuzz targets on a stable toolchain and in seconds: the committed corpus, and mutations of it and of the seeds.
//! `make fuzz` runs the same targets for longer.

#[path = "../fuzz/src/kit/mod.rs"]
#[allow(dead_code, reason = "the fuzzer uses all of it")]
mod kit;

use kit::{TARGETS, Target};

/// Mutated inputs per target.
const MUTATIONS: usize = 3000;
/// Longest input that is mutated; whole ones of any length are replayed.
const MUTATED_BYTES: usize = 12_000;

/// Small deterministic generator (splitmix64), so that a failing input comes again.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// Inputs of a target that are committed, in order of their names.
fn corpus(target: &Target) -> Vec<(String, Vec<u8>)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target.name);
    let mut inputs: Vec<(String, Vec<u8>)> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("a readable folder").path())
        .map(|path| (path.display().to_string(), std::fs::read(&path).expect("a readable file")))
        .collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{} has a corpus", target.name);
    inputs
}

fn mutate(inputs: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut input = inputs[rng.below(inputs.len())].clone();
    for _ in 0..1 + rng.below(8) {
        let (at, len) = (rng.below(input.len() + 1), rng.below(64));
        let end = (at + len).min(input.len());
        match rng.below(6) {
            0 => drop(input.drain(at..end)),
            1 => input[at..end].iter_mut().for_each(|byte| *byte = rng.next() as u8),
            2 => {
                let copy = input[at..end].to_vec();
                input.splice(at..at, copy);
            }
            3 => {
                let other = &inputs[rng.below(inputs.len())];
                let from = rng.below(other.len() + 1);
                let part = other[from..(from + 8 * len).min(other.len())].to_vec();
                input.splice(at..end, part);
            }
            _ => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << rng.below(8);
                }
            }
        }
    }
    input
}

fn replay(names: &[&str]) {
    for target in TARGETS.iter().filter(|target| names.contains(&target.name)) {
        let seeds = (target.seeds)();
        seeds.iter().for_each(|seed| (target.run)(seed));
        let corpus = corpus(target);
        for (path, input) in &corpus {
            println!("{path}");
            (target.run)(input);
        }
        let mut rng = Rng(1);
        let all: Vec<Vec<u8>> = corpus.into_iter().map(|(_, input)| input).chain(seeds).collect();
        let inputs: Vec<Vec<u8>> = all.into_iter().filter(|input| input.len() < MUTATED_BYTES).collect();
        assert!(!inputs.is_empty(), "{} has something to mutate", target.name);
        for number in 0..MUTATIONS {
            println!("{} mutation {number}", target.name);
            (target.run)(&mutate(&inputs, &mut rng));
        }
    }
}

const STREAM: [&str; 4] = ["framer", "sections", "pes", "inspect"];
const VIDEO: [&str; 3] = ["avc", "hevc", "mpeg2"];
const AUDIO: [&str; 5] = ["mpeg-audio", "adts", "latm", "ac3", "eac3"];
const CHUNKS: [&str; 5] = ["reader", "unit-index", "object", "repair", "combine"];
const WHOLE: [&str; 2] = ["chunker", "program"];
const MESSAGES: [&str; 3] = ["control", "lane-request", "lane-answer"];

#[test]
fn packets_and_tables_keep_their_promises_on_any_input() {
    replay(&STREAM);
}

#[test]
fn video_keeps_its_promises_on_any_input() {
    replay(&VIDEO);
}

#[test]
fn audio_keeps_its_promises_on_any_input() {
    replay(&AUDIO);
}

#[test]
fn chunks_keep_their_promises_on_any_input() {
    replay(&CHUNKS);
}

#[test]
fn chunkers_keep_their_promises_on_any_input() {
    replay(&WHOLE);
}

#[test]
fn messages_keep_their_promises_on_any_input() {
    replay(&MESSAGES);
}

#[test]
fn every_target_is_replayed() {
    let replayed = [&STREAM[..], &VIDEO, &AUDIO, &CHUNKS, &WHOLE, &MESSAGES].concat();
    assert!(TARGETS.iter().all(|target| replayed.contains(&target.name)));
    assert_eq!(replayed.len(), TARGETS.len());
}
