//! The whole product on one machine; see `--help`.

use std::path::PathBuf;
use std::process::ExitCode;

use aftercast_tests::broadcast::BroadcastSpec;
use aftercast_tests::demo::{DemoOptions, Shown, Teller, run};
use anyhow::Context;
use clap::Parser;

/// Records one broadcast in five homes, plays it in two, and says what happened.
#[derive(Parser)]
#[command(name = "aftercast-demo", version)]
struct Arguments {
    /// A broadcast of your own: a transport stream with AVC video and AAC or MPEG audio
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Keep everything running at the end, until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// Folder of everything that is written
    #[arg(long, value_name = "DIR", default_value = "demo-out")]
    out: PathBuf,
    /// Length of the programme; of your own, so much is taken
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u32).range(12..=3600))]
    seconds: u32,
    /// Times real time
    #[arg(long, default_value_t = 1.5)]
    speed: f64,
}

fn main() -> ExitCode {
    match show(Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("aftercast-demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn show(arguments: Arguments) -> anyhow::Result<bool> {
    std::fs::create_dir_all(&arguments.out).with_context(|| arguments.out.display().to_string())?;
    let options = DemoOptions {
        input: arguments.input,
        spec: BroadcastSpec { seconds: arguments.seconds, ..BroadcastSpec::default() },
        out: arguments.out.canonicalize()?,
        speed: arguments.speed,
        interval: "2s".into(),
    };
    let mut teller = Teller::new(false);
    let Shown { summary, group } = run(&options, &mut teller)?;
    teller.step("done");
    let path = options.out.join("summary.json");
    std::fs::write(&path, serde_json::to_vec_pretty(&summary)?).with_context(|| path.display().to_string())?;
    println!("{summary}");
    println!("All figures: {}", path.display());
    if summary.passed {
        println!("Everything holds.");
    } else {
        let broken = summary.promises.iter().filter(|promise| !promise.holds).count();
        println!(
            "{broken} of {} promises do not hold; logs are in {}",
            summary.promises.len(),
            options.out.join("work").display()
        );
    }
    let member = group.member("home-6")?;
    if arguments.keep {
        println!("\nWatch it: open this in VLC (Media > Open Network Stream), mpv or Safari; Ctrl-C ends everything:");
        println!("  {}", member.node.playlist(&member.recording)?);
        wait_for_the_end()?;
    } else {
        println!("\nTo watch it yourself, in VLC for instance: make demo KEEP=1");
    }
    Ok(summary.passed)
}

fn wait_for_the_end() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            result = tokio::signal::ctrl_c() => result,
            _ = terminate.recv() => Ok(()),
        }
    })?;
    Ok(())
}
