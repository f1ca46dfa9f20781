//! One cell of the table: recipes over a source, and every chunk judged.

use std::collections::BTreeMap;

use aftercast_protocol::ccf::{Chunk, ChunkState, Chunker};
use aftercast_protocol::ts::rtp::Reorder;

use super::rows::{Mode, Row};
use super::source::{Key, Source, cid, clean, cut, discovering, planned};
use crate::impair::{DamageLog, Impaired, Prng, Recipe, Span, impair};

/// What became of the chunks of a cell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Emitted as in the reference.
    pub identical: u32,
    /// Not emitted.
    pub withheld: u32,
    /// Emitted otherwise, deceived.
    pub different: u32,
    /// Emitted otherwise, for a tick of rounding at 44.1 kHz.
    pub residue: u32,
    /// Another broadcast's content, by right.
    pub other: u32,
    /// What broke a law, in words.
    pub broken: Vec<String>,
}

impl Outcome {
    /// Adds another one's counts.
    pub fn add(&mut self, other: &Self) {
        self.identical += other.identical;
        self.withheld += other.withheld;
        self.different += other.different;
        self.residue += other.residue;
        self.other += other.other;
        self.broken.extend_from_slice(&other.broken);
    }
}

/// Runs a row over a source.
#[must_use]
pub fn run_row(source: &Source, row: &Row) -> Outcome {
    let first_audio = (row.mode == Mode::FirstAudio).then(|| source.with_first_audio_only());
    let source = first_audio.as_ref().unwrap_or(source);
    let mut all = Outcome::default();
    if row.mode == Mode::Derived {
        return super::derived::run(source, row);
    }
    for seed in 1..=row.seeds {
        let impaired = apply(&source.bytes, row.recipes, seed);
        for with_plan in [false, true] {
            let wanted = match row.mode {
                Mode::Harmless => !with_plan,
                Mode::Foreign | Mode::FirstAudio => with_plan,
                Mode::Harmful => true,
                Mode::Derived => false,
            };
            if wanted {
                all.add(&judge(source, row, &impaired, with_plan, seed));
            }
        }
    }
    all
}

/// Applies a row's recipes.
///
/// # Panics
/// Where one cannot be applied: a cell that is not there would be taken for a good one.
pub fn apply(bytes: &[u8], recipes: &[&str], seed: u64) -> Impaired {
    let recipes: Vec<Recipe> = recipes.iter().map(|text| text.parse().expect("a recipe")).collect();
    impair(bytes, &recipes, seed).unwrap_or_else(|error| panic!("{recipes:?}: {error}"))
}

/// The transport stream that a receiver gets: over RTP, what is left when order is restored.
pub fn received(impaired: &Impaired) -> Vec<u8> {
    let Some(datagrams) = &impaired.datagrams else { return impaired.bytes.clone() };
    let (mut order, mut bytes) = (Reorder::default(), Vec::new());
    datagrams.iter().for_each(|datagram| order.push(datagram, |payload| bytes.extend_from_slice(payload)));
    order.finish(|payload| bytes.extend_from_slice(payload));
    bytes
}

fn judge(source: &Source, row: &Row, impaired: &Impaired, with_plan: bool, seed: u64) -> Outcome {
    let bytes = received(impaired);
    let chunker = || if with_plan { planned(&source.plan) } else { discovering() };
    let chunks = cut(&mut chunker(), &bytes, 100_000);
    let mut outcome = Outcome::default();
    let at = |what: String| {
        format!(
            "{}, {}, seed {seed}, {}: {what}",
            source.combination,
            row.name(),
            if with_plan { "plan" } else { "no plan" }
        )
    };
    if seed == 1 {
        outcome.broken.extend(read_sizes_matter(&mut chunker(), &bytes, &chunks).map(at));
    }
    let found = clean(chunks);
    outcome.broken.extend(cut_again(&found).into_iter().map(at));
    compare(source, &found, &impaired.log, with_plan, at, row.mode, &mut outcome);
    outcome
}

fn compare(
    source: &Source,
    found: &BTreeMap<Key, Chunk>,
    log: &DamageLog,
    with_plan: bool,
    at: impl Fn(String) -> String,
    mode: Mode,
    outcome: &mut Outcome,
) {
    let residue_allowed = mode == Mode::Foreign && source.combination.sound.iter().any(|sound| sound.is_uneven());
    for (key, reference) in &source.reference {
        let span = Span { pts: reference.pts.0, duration: reference.duration.0 as u64, anchored: with_plan };
        match found.get(key) {
            Some(chunk) if cid(chunk) == cid(reference) => outcome.identical += 1,
            Some(_) if source.evidence.deceives(log, span) => outcome.different += 1,
            Some(_) if residue_allowed => outcome.residue += 1,
            Some(chunk) => outcome.broken.push(at(format!("chunk {} at {} differs", chunk.index, chunk.pts))),
            None => {
                outcome.withheld += 1;
                if !source.evidence.excuses(log, span) {
                    let text = format!("chunk {} at {} is missing", reference.index, reference.pts);
                    outcome.broken.push(at(text));
                }
            }
        }
    }
    // An anchor proves an edge that the source alone could not; a deceived clock may name a chunk otherwise.
    for (key, chunk) in found.iter().filter(|(key, _)| !source.reference.contains_key(key)) {
        let span = Span { pts: chunk.pts.0, duration: chunk.duration.0 as u64, anchored: with_plan };
        if !with_plan && !source.evidence.deceives(log, span) {
            outcome.broken.push(at(format!("chunk {key:?} at {} is none of the reference's", chunk.pts)));
        }
    }
}

/// Law e.
fn read_sizes_matter(chunker: &mut Chunker, bytes: &[u8], chunks: &[Chunk]) -> Option<String> {
    let piece = 1 + Prng::new(bytes.len() as u64, "reads").below(3_000);
    (cut(chunker, bytes, piece) != chunks).then(|| format!("reads of {piece} bytes give other chunks"))
}

/// Law d: runs of chunks that follow one another, put together and cut again, come out again, edges aside.
pub fn cut_again(found: &BTreeMap<Key, Chunk>) -> Vec<String> {
    let mut broken = Vec::new();
    let all: Vec<&Chunk> = found.values().collect();
    let follows =
        |a: &Chunk, b: &Chunk| a.timeline == b.timeline && (a.pts.0 + a.duration.0 as u64) & ((1 << 33) - 1) == b.pts.0;
    for run in all.chunk_by(|a, b| follows(a, b)).filter(|run| run.len() > 2) {
        let bytes: Vec<u8> = run.iter().flat_map(|chunk| bytes_of(chunk)).copied().collect();
        let again = clean(cut(&mut discovering(), &bytes, 50_000));
        let again: BTreeMap<u64, &Chunk> = again.values().map(|chunk| (chunk.pts.0, chunk)).collect();
        for (number, chunk) in run.iter().enumerate() {
            let edge = number == 0 || number + 1 == run.len();
            match again.get(&chunk.pts.0) {
                Some(other) if cid(other) == cid(chunk) => {}
                None if edge => {}
                Some(_) => broken.push(format!("chunk {} differs when cut again", chunk.index)),
                None => broken.push(format!("chunk {} is missing when cut again", chunk.index)),
            }
        }
    }
    broken
}

fn bytes_of(chunk: &Chunk) -> &[u8] {
    match &chunk.state {
        ChunkState::Clean(clean) => &clean.bytes,
        ChunkState::Withheld(_) => &[],
    }
}
