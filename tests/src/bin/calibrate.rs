//! Holds the simulator beside real programs; see `--help`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use aftercast_sim::plan::Plan;
use aftercast_sim::world::script::{Cast, once_each};
use aftercast_sim::world::{Model, World};
use aftercast_tests::calibrate::{Calibration, Enacted, Seen, check, enact, small_event};
use anyhow::{Context, anyhow};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

/// Lets real programs enact a scenario of the simulator: forty homes, each behind its line, record an event and watch it
/// by the clock. Then simulates the same homes and viewings, and says how far the simulator is off.
#[derive(Parser)]
#[command(name = "aftercast-calibrate", version)]
struct Arguments {
    /// A scenario of your own, as aftercast-sim reads it
    scenario: Option<PathBuf>,
    /// Where broadcasts are kept between runs
    #[arg(long)]
    cache: PathBuf,
    /// Time in which all viewings begin, in seconds
    #[arg(long, default_value_t = 240, value_parser = clap::value_parser!(u64).range(1..=3600))]
    within: u64,
    /// Another luck: other homes have other lines, record and watch at other times
    #[arg(long)]
    random_seed: Option<u64>,
    /// Only simulate, with the scenario's own sizes of chunks and heads: at once
    #[arg(long)]
    simulate: bool,
    /// Print each viewing
    #[arg(long)]
    each: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let mut plan = match &arguments.scenario {
        Some(path) => Plan::read(path),
        None => small_event(),
    }
    .map_err(|faults| anyhow!("{faults}"))?;
    plan.random_seed = arguments.random_seed.unwrap_or(plan.random_seed);
    let within = arguments.within * 1_000_000;
    let model = Model::of(&plan, plan.random_seed);
    let (cast, viewings) = (Cast::of(&model), once_each(&model, within));
    check(&plan, &cast)?;
    let last = viewings.iter().map(|one| one.at + u64::from(one.chunks) * model.chunk).max().unwrap_or(0);
    println!(
        "{} homes, {} of which recorded the event; each watches it once, from a time within {} s on",
        plan.audience.homes,
        cast.recorders.len(),
        arguments.within
    );
    if arguments.simulate {
        let seen = Seen::simulated(&World::enacting(&model, &viewings).run(|_| ()));
        println!("{seen}");
        return Ok(ExitCode::SUCCESS);
    }
    let bar = Bar::new(Duration::from_micros(last));
    let enacted = enact(&plan, &cast, &viewings, &arguments.cache, |what| bar.told(what))?;
    bar.end();
    if arguments.each {
        each(&enacted);
    }

    // The simulator is told what the encoders made of the scenario's figures.
    let (bytes, seconds) = enacted.chunk;
    set(&mut plan, "broadcast.chunk_s", seconds)?;
    set(&mut plan, "broadcast.bitrate_mbps", bytes * 8.0 / seconds / 1e6)?;
    set(&mut plan, "seed.head_kb", enacted.head / 1000.0)?;
    println!(
        "chunks of {:.0} kB and {seconds:.2} s, heads of {:.0} kB; homes' lines carried {:.2} bytes for each that was watched, \
         with what was fetched ahead for those who left",
        bytes / 1000.0,
        enacted.head / 1000.0,
        enacted.sent.1 as f64 / enacted.sent.0.max(1) as f64
    );
    let model = Model::of(&plan, plan.random_seed);
    let run = World::enacting(&model, &viewings).run(|_| ());
    let calibration = Calibration { real: Seen::really(&enacted), simulated: Seen::simulated(&run), cpu: enacted.cpu };
    print!("{calibration}");
    Ok(if calibration.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn set(plan: &mut Plan, path: &str, value: f64) -> anyhow::Result<()> {
    plan.set(path, &format!("{value:.6}")).map_err(|fault| anyhow!("{fault}")).context("what was measured")
}

fn each(enacted: &Enacted) {
    println!("{:>8} {:>5} {:>7} {:>7} {:>7} {:>8} {:>7}", "at", "home", "own MB", "homes", "seed", "start", "stalls");
    for one in &enacted.viewings {
        let mega = |bytes: u64| bytes as f64 / 1e6;
        println!(
            "{:>6.1} s {:>5} {:>7.2} {:>7.2} {:>7.2} {:>6.3} s {:>7}",
            one.viewing.at as f64 / 1e6,
            one.viewing.home,
            mega(one.from.bytes_local),
            mega(one.from.bytes_peer),
            mega(one.from.bytes_seed + one.from.bytes_head),
            one.start.as_secs_f64(),
            one.watched.stalls.len()
        );
    }
}

/// What goes on, and how long the watching takes.
struct Bar {
    bar: ProgressBar,
    began: Instant,
    watching: Duration,
}

impl Bar {
    fn new(watching: Duration) -> Self {
        Self { bar: ProgressBar::new_spinner(), began: Instant::now(), watching }
    }

    fn told(&self, what: &str) {
        self.bar.suspend(|| eprintln!("{:>5.1} s  {what}", self.began.elapsed().as_secs_f64()));
        if what == "watching" {
            let style = ProgressStyle::with_template("{spinner} watching for {elapsed}, of {msg}");
            self.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            self.bar.set_message(format!("{} s or a little more", self.watching.as_secs()));
            self.bar.reset_elapsed();
            self.bar.enable_steady_tick(Duration::from_secs(1));
        }
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}
