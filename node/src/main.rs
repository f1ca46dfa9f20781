//! Aftercast on a viewer's device: record, share, play.

mod cli;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Record broadcasts together with other viewers, and play them back.
#[derive(Debug, Parser)]
#[command(name = "aftercast", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Chunk(cli::chunk::ChunkArgs),
    Verify(cli::verify::VerifyArgs),
}

fn main() -> ExitCode {
    let done = match Args::parse().command {
        Command::Chunk(args) => cli::chunk::run(args),
        Command::Verify(args) => cli::verify::run(args),
    };
    done.unwrap_or_else(|e| {
        eprintln!("error: {e:#}");
        ExitCode::FAILURE
    })
}
