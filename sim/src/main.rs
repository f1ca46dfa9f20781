//! `aftercast-sim`: what a recording group can carry, judged by the decisions that ship.
//!
//! It runs `aftercast_protocol`'s own truth and duties in virtual time ([`world`]) and holds no copy of a policy. Not
//! yet here: playback demand, links other than uplinks, peers' copies.

mod report;
mod scenario;
mod world;

use std::path::PathBuf;
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
}

fn main() -> ExitCode {
    let Command::Run { scenario, out, json } = Cli::parse().command;
    let scenario = match Scenario::read(&scenario) {
        Ok(scenario) => scenario,
        Err(error) => {
            eprintln!("aftercast-sim: {error}");
            return ExitCode::from(2);
        }
    };
    match run(&scenario, out, json) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("aftercast-sim: {error:#}");
            ExitCode::FAILURE
        }
    }
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
