//! The whole product on one machine; see `--help`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use aftercast_tests::broadcast::BroadcastSpec;
use aftercast_tests::demo::{DemoOptions, Group, Shown, Teller, run};
use aftercast_tests::processes::end_all;
use anyhow::Context;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

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
    let arguments = Arguments::parse();
    let (keep, ended) = (arguments.keep, Arc::new(OnceLock::new()));
    if let Err(error) = end_on_signals(Arc::clone(&ended)) {
        eprintln!("aftercast-demo: cannot listen for signals: {error}");
        return ExitCode::FAILURE;
    }
    match show(arguments) {
        Ok((holds, _group)) => {
            let code = u8::from(!holds);
            let _ = ended.set(code); // only set here
            if keep {
                // Ends with a signal.
                loop {
                    std::thread::park();
                }
            }
            ExitCode::from(code)
        }
        Err(error) => {
            eprintln!("aftercast-demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Ends the daemons with this process, also where no handle is dropped. The exit code is the demo's, once it is over.
fn end_on_signals(ended: Arc<OnceLock<u8>>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut signals = runtime.block_on(async {
        let kinds = [(SignalKind::interrupt(), 2), (SignalKind::terminate(), 15), (SignalKind::hangup(), 1)];
        kinds.into_iter().map(|(kind, n)| Ok((signal(kind)?, n))).collect::<std::io::Result<Vec<_>>>()
    })?;
    std::thread::spawn(move || {
        let number = runtime.block_on(async {
            let first = signals.iter_mut().map(|(signal, number)| {
                Box::pin(async move {
                    signal.recv().await;
                    *number
                })
            });
            futures::future::select_all(first).await.0
        });
        end_all();
        std::process::exit(ended.get().map_or(128 + number, |code| i32::from(*code)));
    });
    Ok(())
}

fn show(arguments: Arguments) -> anyhow::Result<(bool, Group)> {
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
    } else {
        println!("\nTo watch it yourself, in VLC for instance: make demo KEEP=1");
    }
    Ok((summary.passed, group))
}
