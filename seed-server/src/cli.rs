//! The command line of the seed (DESIGN 14). Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use aftercast_protocol::grant::{EnrolCode, JoinCode};
use aftercast_protocol::ids::SubscriberId;
use anyhow::Context;
use clap::{Args, Parser, Subcommand};

use crate::clock::Clock;
use crate::desk::Status;
use crate::{config, daemon, identity};

#[derive(Parser)]
#[command(name = "aftercast-seed", version, about = "Aftercast at the broadcaster: plans, decides, orders, stores")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a new seed: a folder with a key and a configuration to edit.
    Init {
        /// Folder to make.
        dir: PathBuf,
    },
    /// Run the seed.
    Run(ConfigArg),
    /// Show what a running seed does.
    Status {
        #[command(flatten)]
        config: ConfigArg,
        /// Print JSON for scripts.
        #[arg(long)]
        json: bool,
    },
    /// Print a code that enrols one device of a subscriber (`aftercast join CODE`).
    Enrol {
        #[command(flatten)]
        config: ConfigArg,
        /// The subscriber: letters, digits, `.`, `_`, `-`.
        #[arg(long)]
        subscriber: SubscriberId,
        /// How long the code can be used, in hours.
        #[arg(long, default_value_t = 72)]
        hours: u64,
        /// Where nodes reach the seed, as a multiaddr; may be given several times. Default: `announce` or `listen`.
        #[arg(long = "addr")]
        addrs: Vec<String>,
    },
}

#[derive(Args)]
struct ConfigArg {
    /// Configuration file.
    #[arg(long, default_value = config::FILE_NAME)]
    config: PathBuf,
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    start_tracing();
    match cli.command {
        Command::Init { dir } => done(init(&dir), 1),
        Command::Run(arg) => match config::load(&arg.config) {
            Ok(loaded) => done(daemon::run(loaded), 1),
            Err(error) => done(Err(error), 2),
        },
        Command::Status { config: arg, json } => match config::load(&arg.config) {
            Ok(loaded) => done(status(&loaded.config.http, json), 1),
            Err(error) => done(Err(error), 2),
        },
        Command::Enrol { config: arg, subscriber, hours, addrs } => match config::load(&arg.config) {
            Ok(loaded) => done(enrol(&loaded, subscriber, hours, addrs), 1),
            Err(error) => done(Err(error), 2),
        },
    }
}

fn done(result: anyhow::Result<()>, failed: u8) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("aftercast-seed: {error:#}");
            ExitCode::from(failed)
        }
    }
}

/// Logs go to standard error: readable on a terminal, JSON for machines. `RUST_LOG` filters them.
fn start_tracing() {
    use tracing_subscriber::EnvFilter;
    /// A device behind a router cannot be reached for a test: that is what the test is for, and no warning.
    const DEFAULT_LOG: &str = "info,libp2p_autonat=error";
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_LOG));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() { builder.init() } else { builder.json().init() }
}

const TEMPLATE: &str = r#"# Configuration of an Aftercast seed. Every key that is left out has a sensible default.

# Where nodes connect: TCP for bulk, QUIC for homes behind routers.
listen = ["/ip4/0.0.0.0/tcp/4801", "/ip4/0.0.0.0/udp/4801/quic-v1"]

# What join codes name, where it differs from `listen`:
# announce = ["/dns4/seed.example.org/tcp/4801"]

# Status and metrics (loopback: put a proxy with a login before it).
http = "127.0.0.1:4880"

# A channel. Learn its core streams from a capture of it:
#   aftercast chunk CAPTURE.ts --write-plan one.toml
# [[channel]]
# id = "one"
# title = "Channel One"
# plan = "one.toml"
"#;

fn init(dir: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let key = identity::create(dir)?;
    let file = dir.join(config::FILE_NAME);
    if !file.exists() {
        std::fs::write(&file, TEMPLATE).with_context(|| format!("cannot write {}", file.display()))?;
    }
    println!("seed {} is ready", key.device());
    println!(
        "next: name your channels in {}, then run: aftercast-seed run --config {}",
        file.display(),
        file.display()
    );
    Ok(())
}

fn enrol(loaded: &config::Loaded, subscriber: SubscriberId, hours: u64, addrs: Vec<String>) -> anyhow::Result<()> {
    let key = identity::load(&loaded.data_dir)?;
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).map_err(|e| anyhow::anyhow!("no randomness from the system: {e}"))?;
    let expires = Clock::default().utc().plus_millis(hours.saturating_mul(3_600_000));
    let code = key.sign(EnrolCode { subscriber, nonce, expires }).raw().clone();
    let named = if loaded.config.announce.is_empty() { &loaded.config.listen } else { &loaded.config.announce };
    let addrs = if addrs.is_empty() { named.clone() } else { addrs };
    println!("{}", JoinCode { seed: key.device(), addrs, code });
    Ok(())
}

fn status(http: &str, json: bool) -> anyhow::Result<()> {
    let url = format!("http://{http}/api/status");
    let mut answer = ureq::get(&url).call().with_context(|| format!("no answer from {url}; is the seed running?"))?;
    let text = answer.body_mut().read_to_string().with_context(|| format!("cannot read the answer of {url}"))?;
    if json {
        println!("{text}");
        return Ok(());
    }
    let status: Status = serde_json::from_str(&text).with_context(|| format!("{url} is not a seed of this version"))?;
    print!("{}", describe(&status));
    Ok(())
}

/// The status in words.
fn describe(status: &Status) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    let mega = |bytes: u64| bytes as f64 / 1e6;
    let _ = writeln!(out, "seed {}", status.device);
    for channel in &status.channels {
        let _ = writeln!(
            out,
            "channel {}: {} recording; {} chunks confirmed, {} with one home only, {} disputed, {} whole nowhere; {} stored here",
            channel.channel,
            channel.recorders,
            channel.confirmed,
            channel.single,
            channel.disputed,
            channel.damaged,
            channel.stored,
        );
    }
    for node in &status.nodes {
        let state = if node.connected { "connected" } else { "away" };
        let device: String = node.device.to_string().chars().take(8).collect();
        let _ = writeln!(
            out,
            "node {device} of {}: {state}, uploaded {:.1} MB",
            node.subscriber,
            mega(node.uploaded_bytes)
        );
    }
    let _ = writeln!(
        out,
        "pulled {:.1} MB for {:.1} MB of chunks; {} heads of {:.1} MB; served {:.1} MB",
        mega(status.pulled_bytes),
        mega(status.unique_bytes),
        status.heads,
        mega(status.head_bytes),
        mega(status.served_bytes),
    );
    let _ = writeln!(
        out,
        "relay: a place for {} devices behind routers; {} meetings under way, {} in all",
        status.relay_reservations, status.relay_circuits, status.relay_circuits_opened,
    );
    for (reason, count) in &status.refusals {
        let _ = writeln!(out, "refused {count} times: {reason}");
    }
    out
}
