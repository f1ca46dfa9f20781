//! How fast one device can take bytes from another, and what each layer in between costs.
//!
//! ```text
//!   this program --- starts --> holder   one process, one thread for I/O, bytes from RAM
//!        |                        ^  bytes over loopback
//!        +---------- starts --> asker    the same; takes the time
//! ```
//!
//! Each row moves the same number of bytes. Ratios are to the row named beside them, from the same run. The CPU time
//! is each process's own (user and system) from the moment it was ready; so is the throughput, from the first request.
//!
//! `cargo bench -p aftercast-net --profile dev --bench carrier -- [--quick] [row ...]`

mod bare;
mod hashes;
mod lanes;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

/// As in the programs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What is measured, in the order of the table.
const ROWS: [&str; 10] = [
    "raw TCP",
    "TCP, Noise, Yamux: stock libp2p",
    "TCP, TLS, Yamux: stock libp2p",
    "TCP, our TLS, Yamux of libp2p",
    "TCP, Noise, ours otherwise",
    "TCP, our TLS, our Yamux",
    "lanes over it, 4 MiB chunks, verified",
    "lanes over it, 8 MiB chunks, verified",
    "QUIC: stock libp2p",
    "lanes over QUIC, 8 MiB chunks, verified",
];
/// Bytes in one go on a raw stream: a group.
const PIECE: usize = 64 * 1024;
/// Streams or lanes at once.
const LANES: usize = 2;

/// A process's CPU time and memory.
#[derive(Debug, Clone, Copy)]
struct Usage {
    cpu: Duration,
    peak_kib: i64,
}

impl Usage {
    fn now() -> Result<Self> {
        let usage = getrusage(UsageWho::RUSAGE_SELF)?;
        let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
        Ok(Self { cpu: Duration::from_micros(micros.unsigned_abs()), peak_kib: usage.max_rss() })
    }
}

fn main() -> Result<()> {
    let args: Vec<_> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.first().map(String::as_str) {
        Some("hold") => single_thread(hold(args[1].parse()?)),
        Some("ask") => single_thread(ask(args[1].parse()?, &args[2], args[3].parse()?)),
        _ => table(&args),
    }
}

fn single_thread(task: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(task)
}

/// Serves a row until standard input ends. Says where it is, and what it used.
async fn hold(row: usize) -> Result<()> {
    let (say, mut at) = tokio::sync::mpsc::channel(1);
    let serving = async move {
        match row {
            6 | 7 | 9 => lanes::hold(row, say).await,
            _ => bare::hold(row, say).await,
        }
    };
    let serving = tokio::spawn(serving);
    let Some(at) = at.recv().await else { return serving.await? };
    println!("{at}");
    let before = Usage::now()?;
    let (end, ended) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_line(&mut String::new());
        let _ = end.send(());
    });
    ended.await?;
    report(None, before)
}

async fn ask(row: usize, at: &str, bytes: u64) -> Result<()> {
    let (took, before) = match row {
        6 | 7 | 9 => lanes::ask(row, at, bytes).await?,
        _ => bare::ask(row, at, bytes).await?,
    };
    report(Some(took), before)
}

fn report(took: Option<Duration>, before: Usage) -> Result<()> {
    let now = Usage::now()?;
    let took = took.unwrap_or_default().as_secs_f64();
    println!("{took} {} {}", (now.cpu - before.cpu).as_secs_f64(), now.peak_kib);
    Ok(())
}

/// What came of a row, per process.
struct Side {
    secs: f64,
    cpu_secs: f64,
    peak_kib: f64,
}

struct Process(Child, BufReader<std::process::ChildStdout>);

impl Process {
    fn start(args: &[&str]) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let out = child.stdout.take().context("a pipe")?;
        Ok(Self(child, BufReader::new(out)))
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.1.read_line(&mut line)? == 0 {
            bail!("ended without an answer");
        }
        Ok(line.trim().to_owned())
    }

    /// Closes its input, takes its report.
    fn finish(mut self) -> Result<Side> {
        drop(self.0.stdin.take());
        let line = self.line()?;
        let figures = line.split(' ').map(str::parse).collect::<Result<Vec<f64>, _>>()?;
        let [secs, cpu_secs, peak_kib] = figures[..] else { bail!("odd report: {line}") };
        self.0.wait()?;
        Ok(Side { secs, cpu_secs, peak_kib })
    }
}

fn measure(row: usize, bytes: u64) -> Result<(Side, Side)> {
    let number = row.to_string();
    let mut holder = Process::start(&["hold", &number])?;
    let at = holder.line()?;
    let asker = Process::start(&["ask", &number, &at, &bytes.to_string()])?.finish()?;
    Ok((asker, holder.finish()?))
}

fn table(args: &[String]) -> Result<()> {
    let quick = args.iter().any(|arg| arg == "--quick");
    let wanted: Vec<usize> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
    let bytes: u64 = if quick { 256 << 20 } else { 2 << 30 };
    let began = Instant::now();
    println!("{} MiB over loopback, one thread each side, {LANES} streams", bytes >> 20);
    println!("{:<42} {:>7} {:>8} {:>8} {:>7} {:>7} {:>8}", "", "MB/s", "s/GB", "s/GB", "MiB", "MiB", "to row");
    println!("{:<42} {:>7} {:>8} {:>8} {:>7} {:>7} {:>8}", "", "", "holder", "asker", "holder", "asker", "before");
    let mut first = None;
    for (row, name) in ROWS.iter().enumerate() {
        if !wanted.is_empty() && !wanted.contains(&row) {
            continue;
        }
        let (asker, holder) = measure(row, bytes).with_context(|| (*name).to_owned())?;
        let gigabytes = bytes as f64 / 1e9;
        let rate = bytes as f64 / 1e6 / asker.secs;
        let ratio = rate / *first.get_or_insert(rate);
        println!(
            "{name:<42} {rate:>7.0} {:>8.2} {:>8.2} {:>7.0} {:>7.0} {ratio:>8.2}",
            holder.cpu_secs / gigabytes,
            asker.cpu_secs / gigabytes,
            holder.peak_kib / 1024.0,
            asker.peak_kib / 1024.0,
        );
        std::io::stdout().flush()?;
    }
    hashes::table(quick);
    println!("took {:.0} s", began.elapsed().as_secs_f64());
    Ok(())
}
