//! The commands of the program, one file each.

pub mod chunk;
mod client;
mod enrol;
mod input;
mod inspect;
mod progress;
mod remote;
pub mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Config, ConfigError};
use crate::{daemon, logging};

/// Exit code of wrong usage or configuration.
pub const EXIT_USAGE: u8 = 2;

/// Record broadcasts together with other viewers, and play them back.
#[derive(Debug, Parser)]
#[command(name = "aftercast", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the node: capture, share, play
    Run(ConfigArg),
    /// Print this device's id
    Id(ConfigArg),
    /// Enrol this device with the code that the broadcaster gave
    Join(enrol::JoinArgs),
    #[command(flatten)]
    Remote(remote::RemoteCommand),
    Chunk(chunk::ChunkArgs),
    Inspect(inspect::InspectArgs),
    Verify(verify::VerifyArgs),
}

/// Which configuration.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ConfigArg {
    /// Configuration file (default: aftercast.toml in this folder where there is one)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigArg {
    fn load(&self) -> Result<Config, ConfigError> {
        Config::load(self.config.as_deref())
    }
}

/// Reads the command line and runs the command. Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.
#[must_use]
pub fn main() -> ExitCode {
    let done = match Args::parse().command {
        Command::Run(config) => run(&config),
        Command::Id(config) => enrol::id(&config),
        Command::Join(args) => enrol::join(&args),
        Command::Remote(command) => remote::run(command),
        Command::Chunk(args) => chunk::run(args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Verify(args) => verify::run(args),
    };
    done.unwrap_or_else(|error| {
        if reader_is_gone(&error) {
            return ExitCode::SUCCESS;
        }
        eprintln!("error: {error:#}");
        if error.is::<ConfigError>() { ExitCode::from(EXIT_USAGE) } else { ExitCode::FAILURE }
    })
}

/// Whether an error means only that whoever read our results wants no more of them, as `head` does.
fn reader_is_gone(error: &anyhow::Error) -> bool {
    let io = error.root_cause().downcast_ref::<std::io::Error>();
    io.is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
}

fn run(config: &ConfigArg) -> anyhow::Result<ExitCode> {
    let config = config.load()?;
    logging::init("info");
    runtime()?.block_on(daemon::run(config))?;
    Ok(ExitCode::SUCCESS)
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}
