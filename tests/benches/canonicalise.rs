//! What it costs to cut a broadcast into canonical chunks, beside what others do with the same file.
//!
//! One programme of 8 Mb/s (AVC, AAC, constant rate) on a RAM disk, one core, in turns:
//!
//! * `aftercast chunk`: canonical chunks and their CIDs;
//! * `ffmpeg -c copy -f null`: taken apart, nothing written;
//! * `ffmpeg -c copy -f hls`: taken apart and written as segments;
//! * BLAKE3 alone over the file: what any content id costs at least.
//!
//! What counts is processor time of the whole process, the median of the rounds. Then the same file goes through the
//! stages of the chunker one after another, to show where the time goes.
//!
//! `make bench`, or `cargo bench --profile dev --workspace --bench canonicalise -- [SECONDS [ROUNDS]]`; the programme
//! is sent four times.

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use aftercast_protocol::ccf::{Chunker, ProgramSelect};
use aftercast_protocol::time::Ticks;
use aftercast_protocol::ts::ReceptionCounters;
use aftercast_protocol::ts::framer::Framer;
use aftercast_protocol::ts::packet::Packet;
use aftercast_protocol::ts::pes::{PesEvent, PesParser};
use aftercast_protocol::ts::video::VideoUnits;
use aftercast_tests::broadcast::{BroadcastSpec, generate};
use aftercast_tests::processes::Programs;
use anyhow::Context;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

const MUX_RATE: u64 = 8_000_000;
/// So often the programme is sent.
const REPEATS: u32 = 4;
/// Bytes pushed at once, as a receiver reads them.
const READ_BYTES: usize = 64 * 1024;
/// PID that FFmpeg gives the first stream.
const VIDEO_PID: u16 = 0x100;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let seconds = arguments.first().map_or(Ok(120), |text| text.parse()).context("SECONDS")?;
    let rounds = arguments.get(1).map_or(Ok(5), |text| text.parse()).context("ROUNDS")?;
    let spec = BroadcastSpec {
        seconds,
        size: (1280, 720),
        video_bitrate: 7_300_000,
        gop: 48,
        mux_rate: MUX_RATE,
        ..BroadcastSpec::default()
    };
    eprintln!("making {seconds} s of broadcast (once) ...");
    let made = generate(&spec, Path::new(env!("CARGO_TARGET_TMPDIR")))?;
    let ram = Path::new("/dev/shm");
    let folder = if ram.is_dir() { tempfile::tempdir_in(ram) } else { tempfile::tempdir() }?;
    let file = folder.path().join("broadcast.ts");
    // Long enough that starting a program and probing a file do not count.
    let mut repeat = ffmpeg_copy(&["-stream_loop", &(REPEATS - 1).to_string()], &made);
    repeat.args(["-muxrate", &MUX_RATE.to_string(), "-f", "mpegts"]).arg(&file);
    anyhow::ensure!(repeat.status().context("cannot start ffmpeg")?.success(), "ffmpeg failed");
    let seconds = REPEATS * seconds;
    let bytes = fs::metadata(&file)?.len();
    println!("{seconds} s of an 8 Mb/s programme, {:.0} MB, in {}", bytes as f64 / 1e6, ram_or_disk(folder.path()));
    against_others(&file, bytes, seconds, rounds)?;
    stages(&fs::read(&file)?);
    Ok(())
}

struct Contender {
    name: &'static str,
    command: Command,
    cpu: Vec<Duration>,
}

fn against_others(file: &Path, bytes: u64, seconds: u32, rounds: usize) -> anyhow::Result<()> {
    let node = Programs::find()?.node;
    let playlist = file.with_file_name("out.m3u8");
    let ffmpeg = |output: &[&str]| {
        let mut command = pinned(&ffmpeg_copy(&[], file));
        command.args(output);
        command
    };
    let mut chunk = Command::new(node);
    chunk.arg("chunk").arg(file);
    let chunk = pinned(&chunk);
    let playlist = playlist.to_str().context("a folder with a readable name")?;
    let contender = |name, command| Contender { name, command, cpu: Vec::new() };
    let mut contenders = [
        contender("aftercast chunk", chunk),
        contender("ffmpeg to nowhere", ffmpeg(&["-f", "null", "-"])),
        contender("ffmpeg to HLS", ffmpeg(&["-f", "hls", "-hls_time", "4", "-hls_list_size", "0", playlist])),
    ];
    for _ in 0..rounds {
        for Contender { name, command, cpu } in &mut contenders {
            let before = children_cpu()?;
            let ended = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
            anyhow::ensure!(ended.with_context(|| format!("cannot start {name}"))?.success(), "{name} failed");
            cpu.push(children_cpu()? - before);
        }
    }
    let own = median(&mut contenders[0].cpu);
    println!("\n{:20} {:>8} {:>9} {:>10} {:>16}", "", "CPU s", "MB/s", "x our time", "CPU s per hour");
    for Contender { name, cpu, .. } in &mut contenders {
        line(name, median(cpu), own, bytes, seconds);
    }
    let content = fs::read(file)?;
    let mut alone: Vec<Duration> = (0..rounds).map(|_| timed(|| black_box(blake3::hash(&content)))).collect();
    line("BLAKE3 alone", median(&mut alone), own, bytes, seconds);
    Ok(())
}

fn line(name: &str, cpu: Duration, own: Duration, bytes: u64, seconds: u32) {
    let cpu = cpu.as_secs_f64();
    println!(
        "{name:20} {cpu:8.3} {:9.0} {:10.2} {:16.2}",
        bytes as f64 / 1e6 / cpu,
        cpu / own.as_secs_f64(),
        cpu * 3600.0 / f64::from(seconds),
    );
}

/// FFmpeg that copies every stream of a file.
fn ffmpeg_copy(before: &[&str], file: &Path) -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-nostdin", "-loglevel", "error", "-y"]).args(before).arg("-i").arg(file);
    command.args(["-c", "copy"]);
    command
}

/// The same command held to one core.
fn pinned(command: &Command) -> Command {
    let mut pinned = Command::new("taskset");
    pinned.args(["-c", "0"]).arg(command.get_program()).args(command.get_args());
    pinned
}

fn ram_or_disk(folder: &Path) -> &'static str {
    if folder.starts_with("/dev/shm") { "on a RAM disk" } else { "on a disk: its speed counts too" }
}

/// Processor time of all programs that were started and have ended.
fn children_cpu() -> anyhow::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = (usage.user_time() + usage.system_time()).num_microseconds();
    Ok(Duration::from_micros(micros.try_into()?))
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    black_box(work());
    start.elapsed()
}

/// The chunker's stages over bytes in memory, each with all before it.
fn stages(bytes: &[u8]) {
    let rate = |name: &str, work: &dyn Fn()| {
        let mut times: Vec<Duration> = (0..3).map(|_| timed(work)).collect();
        let took = median(&mut times).as_secs_f64();
        println!("{name:44} {:8.3} s {:8.0} MB/s", took, bytes.len() as f64 / 1e6 / took);
    };
    println!("\nwhere the time goes (each line holds those above it)");
    rate("packets found", &|| {
        packets(bytes, |packet| {
            black_box(packet);
        })
    });
    rate("  taken apart to pieces of video", &|| {
        video(bytes, |piece| {
            black_box(piece);
        })
    });
    rate("  split into pictures, normalised", &|| {
        let mut units = VideoUnits::avc(false);
        let units = std::cell::RefCell::new(&mut units);
        video(bytes, |event| {
            let mut units = units.borrow_mut();
            match event {
                PesEvent::Start(times) => units.pes_start(times),
                PesEvent::Data(piece) => units.push(piece),
                PesEvent::Short | PesEvent::Unusable { .. } => {}
            }
            while let Some(unit) = units.poll() {
                black_box(unit);
            }
        });
    });
    rate("  cut, written in canonical form, hashed", &|| {
        let mut chunker = Chunker::discover(Ticks(360_000), ProgramSelect::First).expect("a legal interval");
        for piece in bytes.chunks(READ_BYTES) {
            chunker.push(piece);
            while let Some(event) = chunker.poll_event() {
                black_box(event);
            }
        }
    });
    rate("BLAKE3 over as many bytes", &|| {
        black_box(blake3::hash(bytes));
    });
}

fn packets(bytes: &[u8], mut each: impl FnMut(Packet<'_>)) {
    let (mut framer, mut counters) = (Framer::default(), ReceptionCounters::default());
    for piece in bytes.chunks(READ_BYTES) {
        framer.push(piece, &mut counters, |packet, _| {
            if let Ok(packet) = Packet::parse(packet) {
                each(packet);
            }
        });
    }
}

fn video(bytes: &[u8], mut each: impl FnMut(PesEvent<'_>)) {
    let mut pes = PesParser::default();
    packets(bytes, |packet| {
        if let (VIDEO_PID, Some(payload)) = (packet.pid, packet.payload) {
            pes.push(packet.unit_start, payload, &mut each);
        }
    });
}
