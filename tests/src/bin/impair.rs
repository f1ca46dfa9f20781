//! Harms a transport stream file in known ways; see `--help`.

use std::path::PathBuf;

use aftercast_tests::broadcast;
use aftercast_tests::impair::{Recipe, impair};
use anyhow::Context;
use clap::Parser;

/// Turns a recording into what another receiver might have got, and says what it harmed.
#[derive(Parser)]
#[command(name = "aftercast-impair", version, after_help = format!("Recipes (order does not matter):\n{}", Recipe::HELP))]
struct Arguments {
    /// A transport stream, 188, 192 or 204 bytes a packet
    input: PathBuf,
    /// Where the reception goes
    output: PathBuf,
    /// What happens to it; may be given several times
    #[arg(long, value_name = "RECIPE")]
    recipe: Vec<Recipe>,
    /// Decides every random choice
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the damage log goes, as JSON
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let source = broadcast::own(&arguments.input)?;
    let impaired = impair(&source, &arguments.recipe, arguments.seed)?;
    std::fs::write(&arguments.output, &impaired.bytes).with_context(|| arguments.output.display().to_string())?;
    if let Some(path) = arguments.log {
        let json = serde_json::to_vec_pretty(&impaired.log)?;
        std::fs::write(&path, json).with_context(|| path.display().to_string())?;
    }
    let core = impaired.log.core().count();
    println!("{} bytes in, {} out, {core} video and audio packets harmed", source.len(), impaired.bytes.len());
    Ok(())
}
