//! The engine beside SimPy on one bare model, which both compute to the microsecond.
//!
//! Homes watch: a pause of a minute on average, exponential, then thirty chunks one after another, each over the line of
//! a home drawn evenly, which serves one chunk after the other; then again. Two ways to write it:
//!
//! ```text
//! turns   a home waits for its turn on a line and then for its chunk: queues of homes (SimPy's Resource)
//! times   a line is the time until which it is taken: nothing but the queue of events, SimPy at its fastest
//! ```
//!
//! An event is counted where a home goes on; there are equally many on both sides, so that the ratio of events per CPU
//! second is that of the time for the same result. SimPy's further events (a line's release) are not counted. Both are
//! measured without the making of homes, on one core, the faster of two runs of each; ours as built here, with overflow
//! checks. Python collects garbage, as it does by default: without it, turns of 100,000 homes took a tenth to a third less,
//! and the other rows the same within what runs differ by.
//!
//! `cargo bench --profile dev -p aftercast-sim --bench simpy -- --python PYTHON`, where `benches/simpy/setup FOLDER`
//! prints what to pass as PYTHON.

#[path = "../common/mod.rs"]
mod common;
mod model;

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

/// The fastest of so many runs counts, of each.
const RUNS: usize = 2;
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/simpy/model.py");

/// How a line is written; see above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Turns,
    Times,
}

/// What came of a run.
#[derive(Debug, Clone, Copy, Default)]
struct Outcome {
    cpu_secs: f64,
    /// How often homes went on.
    resumed: u64,
    chunks: u64,
    /// How long these waited for their turn, microseconds.
    waited: u64,
}

impl Outcome {
    /// Million events per CPU second.
    fn rate(&self) -> f64 {
        self.resumed as f64 / self.cpu_secs / 1e6
    }

    fn results(&self) -> [u64; 3] {
        [self.resumed, self.chunks, self.waited]
    }
}

fn main() -> Result<()> {
    let args: Vec<_> = std::env::args().collect();
    let python = args.iter().position(|arg| arg == "--python").and_then(|at| args.get(at + 1)).map(Path::new);
    let version = python.and_then(|python| said(python, &["version"]).ok());
    let python = python.filter(|_| version.is_some());
    println!("homes that watch, the same in both; million events per CPU second, best of {RUNS}");
    println!(
        "{:<6} {:>8} {:>8} {:>10} {:>8} {:>10} {:>8} {:>8} {:>6}",
        "lines", "homes", "minutes", "events", "chunks", "waited, s", "SimPy", "engine", "ratio"
    );
    for (kind, homes, minutes) in
        [(Kind::Turns, 1_000, 30), (Kind::Times, 1_000, 30), (Kind::Turns, 100_000, 1), (Kind::Times, 100_000, 1)]
    {
        let ours = best(|| Ok(model::run(kind, homes, minutes * 60)))?;
        let theirs = python.map(|python| best(|| simpy(python, kind, homes, minutes * 60))).transpose()?;
        if let Some(theirs) = theirs {
            ensure!(ours.results() == theirs.results(), "not the same: {ours:?}, SimPy {theirs:?}");
        }
        let figure = |figure: Option<f64>, digits| figure.map_or("-".to_owned(), |value| format!("{value:.digits$}"));
        println!(
            "{:<6} {homes:>8} {minutes:>8} {:>10} {:>8} {:>10.6} {:>8} {:>8.2} {:>6}",
            name(kind),
            ours.resumed,
            ours.chunks,
            ours.waited as f64 / ours.chunks as f64 / 1e6,
            figure(theirs.map(|theirs| theirs.rate()), 3),
            ours.rate(),
            figure(theirs.map(|theirs| ours.rate() / theirs.rate()), 0),
        );
    }
    match version {
        Some(version) => println!("SimPy {version}: events, chunks and waiting agree to the microsecond"),
        None => println!(
            "SimPy NOT MEASURED, which is not a pass: sim/benches/simpy/setup FOLDER installs it (python3 -m venv FOLDER, \
             FOLDER/bin/pip install simpy) and prints what to pass as --python"
        ),
    }
    Ok(())
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Turns => "turns",
        Kind::Times => "times",
    }
}

/// The fastest run; all must have the same results.
fn best(mut run: impl FnMut() -> Result<Outcome>) -> Result<Outcome> {
    let mut best = run()?;
    for _ in 1..RUNS {
        let again = run()?;
        ensure!(again.results() == best.results(), "not the same twice: {best:?}, {again:?}");
        best.cpu_secs = best.cpu_secs.min(again.cpu_secs);
    }
    Ok(best)
}

fn simpy(python: &Path, kind: Kind, homes: u32, seconds: u64) -> Result<Outcome> {
    let said = said(python, &[name(kind), &homes.to_string(), &seconds.to_string()])?;
    let (cpu_secs, results) = said.split_once(' ').context("no results")?;
    let results = results.split(' ').map(str::parse).collect::<Result<Vec<u64>, _>>()?;
    let [resumed, chunks, waited] = results[..] else { anyhow::bail!("odd results: {said}") };
    Ok(Outcome { cpu_secs: cpu_secs.parse()?, resumed, chunks, waited })
}

/// What the script says, in one line.
fn said(python: &Path, args: &[&str]) -> Result<String> {
    let ran = Command::new(python).arg(SCRIPT).args(args).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = ran.with_context(|| format!("{} could not be run", python.display()))?;
    ensure!(output.status.success(), "{} {SCRIPT} {}: {}", python.display(), args.join(" "), output.status);
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
