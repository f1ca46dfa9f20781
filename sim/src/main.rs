//! `aftercast-sim`: what a recording group can carry, judged by the decisions that ship.
//!
//! It runs `aftercast_protocol`'s own decisions in virtual time and holds no copy of a policy: truth and duties of a
//! recording group ([`world`]), and the exchange of chunks during playback beside other rules for it ([`compare`]). Not
//! yet here: both in one scenario, with demand for playback and peers' copies.

mod compare;
mod report;
mod scenario;
mod world;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use report::Outcome;
use scenario::Scenario;
use world::World;

/// Says what a recording group can carry: runs Aftercast's own decisions in virtual time.
#[derive(Debug, Parser)]
#[command(version, after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage or scenario.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one scenario and say who uploaded how much, what was covered, and how late.
    ///
    /// The same scenario gives the same result, byte for byte, on every machine. scenarios/ has examples.
    Run {
        /// What to run: a TOML file.
        scenario: PathBuf,
        /// Also write report.json and report.txt into this folder.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// Print the outcome as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Play over an exchange with the scheduler that ships, beside other rules, and say what viewers see and who pays.
    ///
    /// Of every run all policies get the same luck. Options have units: 8Mb/s, 10s, rate=6Mb/s,delay=10ms.
    Exchange(Box<compare::ExchangeArgs>),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run { scenario, out, json } => run_scenario(&scenario, out, json),
        Command::Exchange(args) => match args.setup() {
            Ok(setup) => said(args.run(&setup)),
            Err(wrong) => {
                eprintln!("aftercast-sim: {wrong}");
                ExitCode::from(2)
            }
        },
    }
}

fn said(result: anyhow::Result<()>) -> ExitCode {
    if let Err(error) = result {
        eprintln!("aftercast-sim: {error:#}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn run_scenario(scenario: &Path, out: Option<PathBuf>, json: bool) -> ExitCode {
    let scenario = match Scenario::read(scenario) {
        Ok(scenario) => scenario,
        Err(error) => {
            eprintln!("aftercast-sim: {error}");
            return ExitCode::from(2);
        }
    };
    said(run(&scenario, out, json))
}

fn run(scenario: &Scenario, out: Option<PathBuf>, as_json: bool) -> anyhow::Result<()> {
    let mut world = World::new(scenario);
    world.run();
    let outcome = Outcome::of(scenario, &world);
    let (text, json) = (outcome.to_string(), serde_json::to_string_pretty(&outcome)? + "\n");
    if let Some(folder) = out {
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        for (name, content) in [("report.txt", &text), ("report.json", &json)] {
            let path = folder.join(name);
            std::fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    print!("{}", if as_json { json } else { text });
    Ok(())
}
