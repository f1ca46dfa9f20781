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
//! `cargo bench -p aftercast-net --profile dev --bench carrier -- [--quick] [--libtorrent PYTHON] [row ...]`

mod bare;
mod hashes;
mod lanes;
mod libtorrent;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
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
/// The row of [`libtorrent`]'s comparison: lanes from file to file, in chunks of 4 MiB.
const FILE_ROW: usize = 10;
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
        // Not `ru_maxrss`: it begins with what the parent had at the fork.
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
        Ok(Self { cpu: Duration::from_micros(micros.unsigned_abs()), peak_kib: peak.unwrap_or(usage.max_rss()) })
    }
}

fn main() -> Result<()> {
    let args: Vec<_> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.first().map(String::as_str) {
        Some("hold") => single_thread(hold(args[1].parse()?, args.get(2).cloned())),
        Some("ask") => {
            single_thread(ask(args[1].parse()?, &args[2], args[3].parse()?, args.get(4).map(String::as_str)))
        }
        _ => table(&args),
    }
}

fn single_thread(task: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(task)
}

/// Serves a row until standard input ends. Says where it is, and what it used.
async fn hold(row: usize, file: Option<String>) -> Result<()> {
    let (say, mut at) = tokio::sync::mpsc::channel(1);
    let serving = async move {
        match (row, file) {
            (_, Some(file)) => lanes::hold_file(row, &file, say).await,
            (6 | 7 | 9, _) => lanes::hold(row, say).await,
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

async fn ask(row: usize, at: &str, bytes: u64, into: Option<&str>) -> Result<()> {
    let (took, before) = match row {
        6 | 7 | 9 | FILE_ROW => lanes::ask(row, at, bytes, into).await?,
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
    fn start(program: &Path, args: &[&str]) -> Result<Self> {
        let mut child = Command::new(program).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
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
    let (us, number) = (std::env::current_exe()?, row.to_string());
    let mut holder = Process::start(&us, &["hold", &number])?;
    let at = holder.line()?;
    let asker = Process::start(&us, &["ask", &number, &at, &bytes.to_string()])?.finish()?;
    Ok((asker, holder.finish()?))
}

/// One line of the table; its throughput in MB/s.
fn line(name: &str, bytes: u64, (asker, holder): &(Side, Side), first: Option<f64>) -> Result<f64> {
    let gigabytes = bytes as f64 / 1e9;
    let rate = bytes as f64 / 1e6 / asker.secs;
    println!(
        "{name:<42} {rate:>7.0} {:>8.2} {:>8.2} {:>7.0} {:>7.0} {:>8.2}",
        holder.cpu_secs / gigabytes,
        asker.cpu_secs / gigabytes,
        holder.peak_kib / 1024.0,
        asker.peak_kib / 1024.0,
        rate / first.unwrap_or(rate),
    );
    std::io::stdout().flush()?;
    Ok(rate)
}

fn table(args: &[String]) -> Result<()> {
    let quick = args.iter().any(|arg| arg == "--quick");
    let python = args.iter().position(|arg| arg == "--libtorrent").and_then(|at| args.get(at + 1));
    let wanted: Vec<usize> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
    let bytes: u64 = if quick { 512 << 20 } else { 2 << 30 };
    let began = Instant::now();
    println!("{} MiB over loopback, one thread each side, {LANES} streams", bytes >> 20);
    println!("{:<42} {:>7} {:>8} {:>8} {:>7} {:>7} {:>8}", "", "MB/s", "s/GB", "s/GB", "MiB", "MiB", "to first");
    println!("{:<42} {:>7} {:>8} {:>8} {:>7} {:>7} {:>8}", "", "", "holder", "asker", "holder", "asker", "line");
    let mut rates = BTreeMap::new();
    for (row, name) in ROWS.iter().enumerate() {
        if wanted.is_empty() || wanted.contains(&row) {
            let sides = measure(row, bytes).with_context(|| (*name).to_owned())?;
            let rate = line(name, bytes, &sides, rates.values().next().copied())?;
            rates.insert(row, rate);
        }
    }
    let ratio = |over: usize, under: usize| Some(rates.get(&over)? / rates.get(&under)?);
    let shown = |ratio: Option<f64>| ratio.map_or("not measured".to_owned(), |ratio| format!("{ratio:.2}"));
    println!("transport to stock TCP, Noise, Yamux: {} (at least 1.5)", shown(ratio(5, 1)));
    println!("lanes to their transport: 4 MiB {}, 8 MiB {} (at least 0.85)", shown(ratio(6, 5)), shown(ratio(7, 5)));
    hashes::table(quick);
    match python {
        Some(python) => libtorrent::table(Path::new(python))?,
        None => println!("libtorrent NOT MEASURED: benches/libtorrent/setup prints what to pass as --libtorrent"),
    }
    println!("took {:.0} s", began.elapsed().as_secs_f64());
    Ok(())
}
