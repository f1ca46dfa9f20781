//! Plays a recording over lines as homes have them; see `--help`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use aftercast_sim::link::LinkSpec;
use aftercast_tests::broadcast::BroadcastSpec;
use aftercast_tests::playback::{Lines, PlayerSpec, Theatre, TheatreSpec, evening, one_chunk, seeks, start};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

/// Records a broadcast in four homes and plays it in others over slow lines, one of which stalls again and again: what
/// viewers saw, where it came from, and how near the first moments are to what the lines allow. Real programs, real time.
#[derive(Parser)]
#[command(name = "aftercast-playback", version)]
struct Arguments {
    /// Where broadcasts are kept between runs
    #[arg(long)]
    cache: PathBuf,
    /// Length of the evening in seconds; 0 leaves it out
    #[arg(long, default_value_t = 600)]
    seconds: u32,
    /// Line of each holder in the evening
    #[arg(long, default_value = "rate=6Mb/s,delay=15ms,jitter=2ms")]
    line: LinkSpec,
    /// Line of the holder that stalls
    #[arg(long, default_value = "rate=6Mb/s,delay=15ms,jitter=2ms,stall=10s/every=30s")]
    stalling: LinkSpec,
    /// Line of each holder when one chunk is taken
    #[arg(long, default_value = "rate=20Mb/s,delay=10ms")]
    fast: LinkSpec,
    /// Line of the seed
    #[arg(long, default_value = "rate=20Mb/s,delay=10ms")]
    seed: LinkSpec,
}

const HOLDERS: usize = 4;
/// Jumps of the viewer who looks for a place.
const SEEKS: usize = 20;

/// Bounds that are promised; see the open issue on exchange and playback.
const MOST_SEED: f64 = 0.10;
const MOST_FIRST_GROUP: f64 = 1.5;
const MOST_HEAD: f64 = 1.3;
const MOST_ONE_CHUNK: f64 = 1.2;
const MOST_WIRE: f64 = 1.08;

struct Judge {
    well: bool,
}

impl Judge {
    fn say(&mut self, good: bool, what: &str) {
        self.well &= good;
        println!("{} {what}", if good { "ok  " } else { "FAIL" });
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let mut judge = Judge { well: true };
    beginnings(&arguments, &mut judge)?;
    if arguments.seconds > 0 {
        an_evening(&arguments, &mut judge)?;
    }
    Ok(if judge.well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One chunk of 8 MiB from four holders, the first moments, and jumps: over lines without troubles.
fn beginnings(arguments: &Arguments, judge: &mut Judge) -> anyhow::Result<()> {
    let spec = TheatreSpec {
        broadcast: broadcast(280, 8_200_000),
        interval: "8s".into(),
        holders: HOLDERS,
        viewers: 3,
        head_bps: None,
    };
    let mut theatre = open(&spec, arguments)?;
    let lines = Lines { holders: vec![arguments.fast.clone(); HOLDERS], seed: arguments.seed.clone() };
    theatre.set(&lines)?;
    let [starts, jumps, _] = &theatre.viewers[..] else { anyhow::bail!("three viewers") };
    let round_trip = Duration::from_micros(arguments.seed.delay.0 * 2);
    let begun = start(starts, bps(&arguments.seed), round_trip)?;
    let ratio = |(took, ideal): (Duration, Duration)| took.as_secs_f64() / ideal.as_secs_f64();
    let (group, head) = (ratio(begun.first_group), ratio(begun.head));
    judge.say(
        group <= MOST_FIRST_GROUP,
        &format!("first group at the player: {}, {group:.2} x the line alone", seconds(begun.first_group.0)),
    );
    judge.say(
        head <= MOST_HEAD,
        &format!("head of {} kB: {}, {head:.2} x the line alone", begun.bytes / 1000, seconds(begun.head.0)),
    );
    judge.say(
        begun.from_playlist <= Duration::from_secs(1),
        &format!("from the playlist to the first byte: {}", seconds(begun.from_playlist)),
    );
    // The same recording once more: its beginning is here now.
    let again = start(starts, bps(&arguments.seed), round_trip)?;
    judge.say(
        again.from_playlist <= Duration::from_millis(300),
        &format!("the same again, from the own disk: {}", seconds(again.from_playlist)),
    );

    let mut waits = seeks(jumps, SEEKS)?;
    waits.sort_unstable();
    let first: Vec<Duration> = waits.iter().map(|(first, _)| *first).collect();
    let mut ready: Vec<Duration> = waits.iter().map(|(_, ready)| *ready).collect();
    ready.sort_unstable();
    judge.say(
        p95(&first) <= Duration::from_secs(1),
        &format!(
            "{SEEKS} jumps: first byte after {} (P50), {} (P95); half a second of media after {} (P50), {} (P95)",
            seconds(first[first.len() / 2]),
            seconds(p95(&first)),
            seconds(ready[ready.len() / 2]),
            seconds(p95(&ready)),
        ),
    );

    let together = bps(&arguments.fast) * HOLDERS as u64;
    let (taken, wire) = one_chunk(&mut theatre, 2, together)?;
    for chunk in &taken {
        let ratio = chunk.took.as_secs_f64() / chunk.ideal.as_secs_f64();
        let (mib, took, ideal) = (chunk.bytes as f64 / 1048576.0, seconds(chunk.took), seconds(chunk.ideal));
        judge.say(
            ratio <= MOST_ONE_CHUNK,
            &format!(
                "{mib:.1} MiB from {HOLDERS} holders: {took}, the lines alone {ideal}: {ratio:.2} x; {} found silent, {} \
                 tails moved",
                chunk.stalls, chunk.splits
            ),
        );
    }
    let over = wire.wire as f64 / wire.useful.max(1) as f64;
    let twice = wire.twice as f64 / wire.useful.max(1) as f64 * 100.0;
    judge.say(over <= MOST_WIRE, &format!("bytes on the lines: {over:.3} x the useful ones; {twice:.2} % came twice"));
    Ok(())
}

/// Four slow lines, one of which stalls.
fn an_evening(arguments: &Arguments, judge: &mut Judge) -> anyhow::Result<()> {
    let broadcast = broadcast(arguments.seconds + 10, 7_800_000);
    let spec = TheatreSpec { broadcast, interval: "4s".into(), holders: HOLDERS, viewers: 1, head_bps: None };
    let mut theatre = open(&spec, arguments)?;
    let mut holders = vec![arguments.line.clone(); HOLDERS - 1];
    holders.push(arguments.stalling.clone());
    theatre.set(&Lines { holders, seed: arguments.seed.clone() })?;

    let all = f64::from(arguments.seconds);
    let bar = ProgressBar::new(u64::from(arguments.seconds));
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos} of {len} s, {eta} left")?;
    bar.set_style(style);
    bar.set_message("watching");
    let viewer = &theatre.viewers[0];
    let viewing = evening(&theatre, viewer, PlayerSpec::default(), all, |place, stalls| {
        bar.set_position(place as u64);
        if stalls > 0 {
            bar.set_message(format!("watching, ran dry {stalls} times"));
        }
    })?;
    bar.finish_and_clear();
    let (watched, played) = (&viewing.watched, &viewing.played);
    let stalls = watched.stalls.len();
    let stalled = seconds(watched.stalled());
    judge.say(stalls == 0, &format!("{:.0} s watched: ran dry {stalls} times, {stalled} in all", watched.seconds));
    watched.stalls.iter().for_each(|(place, span)| println!("       at {place:.1} s for {}", seconds(*span)));
    judge.say(
        viewing.wrong == 0,
        &format!("{} of {} segments are not the broadcast's", viewing.wrong, watched.digests.len()),
    );
    let share = viewing.seed_share();
    let mb = |bytes: u64| bytes as f64 / 1e6;
    judge.say(
        share <= MOST_SEED,
        &format!(
            "{:.1} MB from peers, {:.1} MB from the seed, {:.1} MB of it the head: the seed's share is {:.1} %",
            mb(played.bytes_peer),
            mb(played.bytes_seed + played.bytes_head),
            mb(played.bytes_head),
            share * 100.0
        ),
    );
    let fetch = viewer.node.status()?.fetch;
    let twice = fetch.duplicate_bytes as f64 / fetch.useful().max(1) as f64 * 100.0;
    let over = viewing.wire as f64 / viewing.useful().max(1) as f64;
    judge.say(over <= MOST_WIRE, &format!("bytes on the lines: {over:.3} x the useful ones; {twice:.2} % came twice"));
    println!(
        "     began after {}; {} requests, {} tails moved ({} to the seed), {} hedged, {} stalls of sources",
        seconds(watched.began),
        fetch.requests,
        fetch.splits,
        fetch.takeovers,
        fetch.hedges,
        fetch.stalls
    );
    Ok(())
}

fn broadcast(seconds: u32, video_bitrate: u64) -> BroadcastSpec {
    let mux_rate = video_bitrate * 5 / 4;
    BroadcastSpec { seconds, size: (640, 360), video_bitrate, mux_rate, gop: 50, ..BroadcastSpec::default() }
}

fn open(spec: &TheatreSpec, arguments: &Arguments) -> anyhow::Result<Theatre> {
    let began = Instant::now();
    Theatre::open(spec, &arguments.cache, |what| eprintln!("{:>5.1} s  {what}", began.elapsed().as_secs_f64()))
}

fn bps(line: &LinkSpec) -> u64 {
    line.rate.map_or(u64::MAX, std::num::NonZeroU64::get)
}

fn seconds(span: Duration) -> String {
    format!("{:.3} s", span.as_secs_f64())
}

/// The value that 95 of 100 do not exceed, of sorted ones.
fn p95(sorted: &[Duration]) -> Duration {
    sorted.get((sorted.len() * 95).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default()
}
