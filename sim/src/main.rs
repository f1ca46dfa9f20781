//! `aftercast-sim`: what an audience needs of the broadcaster's servers and of each other, judged by the decisions that
//! ship.

mod ask;
mod compare;
mod progress;
mod write;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use aftercast_sim::outcome::Report;

/// Plans capacity: runs Aftercast's own decisions in virtual time, for homes by the million.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "SCENARIO is a TOML file, or preset:NAME (small, regional, national, flash, hostile).\nExit codes: 0 done, 1 failed, 2 wrong usage or scenario."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a scenario: what the servers send, what homes upload, what viewers feel, what it costs.
    Run {
        #[command(flatten)]
        scenario: Scenario,
        #[command(flatten)]
        how: How,
    },
    /// Run a scenario at several values of one of its fields.
    Sweep {
        #[command(flatten)]
        scenario: Scenario,
        /// The field and its values: viewing.own_share=0.5,0.7,0.9
        #[arg(long, value_name = "FIELD=VALUES")]
        over: String,
        #[command(flatten)]
        how: How,
    },
    /// Find the smallest value of a field with which the scenario's targets are met.
    Solve {
        #[command(flatten)]
        scenario: Scenario,
        /// The field, and between which values: exchange.holders=1..32
        #[arg(long, value_name = "FIELD=FROM..TO")]
        smallest: String,
        #[command(flatten)]
        how: How,
    },
    /// Run scenarios, or one with several policies, with the same luck, and say what differs.
    Compare {
        #[command(flatten)]
        scenario: Scenario,
        /// Another scenario; may be given more than once.
        #[arg(long, value_name = "SCENARIO")]
        with: Vec<String>,
        /// The same scenario with something else: exchange.policy=seed-only; may be given more than once.
        #[arg(long, value_name = "FIELD=VALUE")]
        change: Vec<String>,
        /// The same scenario with each of the policies that ours is compared with.
        #[arg(long)]
        policies: bool,
        #[command(flatten)]
        how: How,
    },
    /// Say why bytes came from the broadcaster's servers.
    Explain {
        #[command(flatten)]
        scenario: Scenario,
        #[command(flatten)]
        how: How,
    },
    /// Make the page of a scenario, or anew of the report.json of an earlier run.
    Report {
        #[command(flatten)]
        scenario: Scenario,
        #[command(flatten)]
        how: How,
    },
    /// Write a scenario to begin with: every field with its unit, range, default and where that comes from.
    New {
        /// Which: small, regional, national, flash, hostile.
        #[arg(default_value = "regional")]
        preset: String,
    },
    /// Describe every field that a scenario may have.
    Fields,
    /// Play over an exchange with the scheduler that ships, beside other rules, and say what viewers see and who pays.
    ///
    /// Of every run all policies get the same luck. Options have units: 8Mb/s, 10s, rate=6Mb/s,delay=10ms.
    Exchange(Box<compare::ExchangeArgs>),
}

/// What is asked about.
#[derive(Debug, Args)]
struct Scenario {
    /// A TOML file, or preset:NAME.
    scenario: String,
    /// Change a field: audience.homes=50000; may be given more than once.
    #[arg(long, value_name = "FIELD=VALUE")]
    set: Vec<String>,
}

/// How it is answered.
#[derive(Debug, Args)]
struct How {
    /// Also write report.html, report.json, report.csv and report.txt into this folder.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
    /// Runs at once; the result is the same with any number [default: one for each processor].
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

/// What went wrong: what was asked, or the answering.
enum Trouble {
    Asked(String),
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Trouble {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

fn main() -> ExitCode {
    match answer(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Trouble::Asked(wrong)) => {
            eprintln!("aftercast-sim: {wrong}");
            ExitCode::from(2)
        }
        Err(Trouble::Failed(error)) => {
            eprintln!("aftercast-sim: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn answer(command: Command) -> Result<(), Trouble> {
    match command {
        Command::Run { scenario, how } => {
            let plan = ask::plan(&scenario.scenario, &scenario.set)?;
            let report = ask::run(plan, &how)?;
            write::all(&report, &how)
        }
        Command::Sweep { scenario, over, how } => {
            let plan = ask::plan(&scenario.scenario, &scenario.set)?;
            let report = ask::sweep(&plan, &over, &how)?;
            write::all(&report, &how)
        }
        Command::Solve { scenario, smallest, how } => {
            let plan = ask::plan(&scenario.scenario, &scenario.set)?;
            let report = ask::solve(&plan, &smallest, &how)?;
            write::all(&report, &how)
        }
        Command::Compare { scenario, with, change, policies, how } => {
            let plan = ask::plan(&scenario.scenario, &scenario.set)?;
            let report = ask::compare(plan, &with, &change, policies, &how)?;
            write::all(&report, &how)
        }
        Command::Explain { scenario, how } => {
            let plan = ask::plan(&scenario.scenario, &scenario.set)?;
            let Report::Run(mut outcome) = ask::run(plan, &how)? else { return Ok(()) };
            outcome.metrics.retain(|metric| metric.key == aftercast_sim::study::SEED_SHARE);
            outcome.series.clear();
            outcome.distributions.clear();
            write::all(&Report::Run(outcome), &how)
        }
        Command::Report { scenario, mut how } => {
            let report = match ask::earlier(&scenario.scenario)? {
                Some(report) => report,
                None => ask::run(ask::plan(&scenario.scenario, &scenario.set)?, &how)?,
            };
            how.out.get_or_insert_with(|| PathBuf::from("."));
            write::all(&report, &how)
        }
        Command::New { preset } => {
            let known = aftercast_sim::plan::PRESETS.iter().find(|known| known.name == preset);
            let known =
                known.ok_or_else(|| Trouble::Asked(format!("there is no preset {preset}; {}", ask::presets())))?;
            write::print(&known.to_toml())
        }
        Command::Fields => write::print(&aftercast_sim::plan::reference()),
        Command::Exchange(args) => {
            let setup = args.setup().map_err(|wrong| Trouble::Asked(wrong.to_string()))?;
            args.run(&setup).map_err(Trouble::Failed)
        }
    }
}
