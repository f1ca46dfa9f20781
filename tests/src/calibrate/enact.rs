//! The scenario by real programs.

use std::num::NonZeroU64;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use aftercast_protocol::time::Micros;
use aftercast_sim::link::LinkSpec;
use aftercast_sim::plan::Plan;
use aftercast_sim::world::script::{Cast, Viewing};
use anyhow::{Context, bail, ensure};

use crate::broadcast::BroadcastSpec;
use crate::playback::{Lines, PlayerSpec, Theatre, TheatreSpec, Watched, segments, watch};
use crate::processes::PlayReport;
use crate::stage::Home;

/// What the sound and the transport stream need of a broadcast, in bits a second.
const BESIDE_PICTURE: f64 = 150_000.0;
/// What the sound needs of a head.
const BESIDE_HEAD: f64 = 130_000.0;
/// Seconds at the ends of a broadcast that make no whole chunk, at most, for each second of a chunk.
const EDGES: f64 = 2.0;

/// One viewing, as it was.
#[derive(Debug, Clone)]
pub struct Played {
    /// Which.
    pub viewing: Viewing,
    /// What the viewer saw.
    pub watched: Watched,
    /// From the request of the playlist until enough was there to begin.
    pub start: Duration,
    /// Where it came from.
    pub from: PlayReport,
}

/// What programs made of a scenario.
#[derive(Debug)]
pub struct Enacted {
    /// All viewings.
    pub viewings: Vec<Played>,
    /// Mean bytes and seconds of a chunk.
    pub chunk: (f64, f64),
    /// Mean bytes of a head.
    pub head: f64,
    /// Share of the machine's processors that was in use while homes watched.
    pub cpu: f64,
    /// Bytes that homes sent to others, and all that lines carried from them, protocols included.
    pub sent: (u64, u64),
}

/// What real programs on one machine cannot enact of a scenario, and what to write instead.
///
/// # Errors
/// The first of these.
pub fn check(plan: &Plan, cast: &Cast) -> anyhow::Result<()> {
    let one = |what: &str, is: bool| {
        ensure!(is, "real programs on one machine cannot enact this: {what}");
        Ok(())
    };
    one("write audience.homes of at most 60", plan.audience.homes <= 60)?;
    one("write broadcast.channels = 1 and broadcast.event_share = 1", {
        plan.broadcast.channels == 1 && plan.broadcast.event_share == 1.0
    })?;
    one("write viewing.seeks_per_hour = 0", plan.viewing.seeks_per_hour == 0.0)?;
    one("write reach.open = 1 and reach.open_any = 1", plan.reach.open == 1.0 && plan.reach.open_any == 1.0)?;
    one("write seed.egress_mbps, which is its line", plan.seed.egress_mbps > 0.0)?;
    let same = cast.rtts.windows(2).all(|pair| pair[0] == pair[1]);
    one("write the same rtt_ms for all access lines: a proxy stands only before who sends", same)?;
    one("let somebody record the event: write recording.per_home_day", !cast.recorders.is_empty())?;
    one("let somebody not record it", cast.recorders.len() < cast.uplinks.len())
}

/// Records the event and lets everybody watch. `told` hears what goes on.
///
/// # Errors
/// A program does not start, does not answer, or does not bring what a player asks for.
pub fn enact(
    plan: &Plan,
    cast: &Cast,
    viewings: &[Viewing],
    cache: &Path,
    mut told: impl FnMut(&str),
) -> anyhow::Result<Enacted> {
    let spec = spec(plan, cast)?;
    let mut theatre = Theatre::open(&spec, cache, &mut told)?;
    theatre.set(&lines(plan, cast)?)?;
    told("watching");
    let homes = places(&theatre, cast)?;
    let (cpu, before) = (Processors::now()?, carried(&theatre));
    let began = Instant::now();
    let played = thread::scope(|scope| {
        let viewers: Vec<_> = viewings
            .iter()
            .map(|viewing| {
                let home = homes[viewing.home as usize];
                scope.spawn(move || play(home, *viewing, began))
            })
            .collect();
        let join = |viewer: thread::ScopedJoinHandle<_>| viewer.join().expect("a player does not panic");
        viewers.into_iter().map(join).collect::<anyhow::Result<Vec<Played>>>()
    })?;
    let cpu = cpu.share_until(&Processors::now()?);
    let carried = carried(&theatre) - before;
    let programme = &theatre.stage.programme;
    let (bytes, count) = (programme.chunk_bytes() as f64, programme.count() as f64);
    let ticks: u64 = programme.chunks.iter().map(|chunk| chunk.duration).sum();
    let heads: Vec<u64> = played.iter().map(|one| one.from.bytes_head).filter(|bytes| *bytes > 0).collect();
    let sent = played.iter().map(|one| one.from.bytes_peer).sum();
    Ok(Enacted {
        viewings: played,
        chunk: (bytes / count, ticks as f64 / 90_000.0 / count),
        head: heads.iter().sum::<u64>() as f64 / heads.len().max(1) as f64,
        cpu,
        sent: (sent, carried),
    })
}

fn spec(plan: &Plan, cast: &Cast) -> anyhow::Result<TheatreSpec> {
    let bps = plan.broadcast.bitrate_mbps * 1e6;
    let video_bitrate = bps - BESIDE_PICTURE;
    ensure!(video_bitrate >= 100_000.0, "write broadcast.bitrate_mbps of at least 0.25: sound needs its part");
    let broadcast = BroadcastSpec {
        seconds: (plan.broadcast.programme_min * 60.0 + EDGES * plan.broadcast.chunk_s).ceil() as u32,
        video_bitrate: video_bitrate as u64,
        mux_rate: (bps * 1.4) as u64,
        ..BroadcastSpec::small(0)
    };
    let head = plan.seed.head_kb * 8000.0 / plan.broadcast.chunk_s - BESIDE_HEAD;
    Ok(TheatreSpec {
        broadcast,
        interval: format!("{}ms", (plan.broadcast.chunk_s * 1000.0) as u64),
        holders: cast.recorders.len(),
        viewers: cast.uplinks.len() - cast.recorders.len(),
        head_bps: Some((head as u64).max(50_000)),
    })
}

fn lines(plan: &Plan, cast: &Cast) -> anyhow::Result<Lines> {
    let line = |bytes_per_second: u64, round_trip: u64| -> anyhow::Result<LinkSpec> {
        let rate = NonZeroU64::new(bytes_per_second * 8).context("a line that carries nothing")?;
        Ok(LinkSpec { rate: Some(rate), delay: Micros(round_trip / 2), ..LinkSpec::default() })
    };
    let rtt = *cast.rtts.first().context("no homes")?;
    let seed_rtt = (plan.seed.rtt_ms * 1000.0) as u64;
    Ok(Lines {
        holders: cast
            .recorders
            .iter()
            .map(|home| line(cast.uplinks[*home as usize], 2 * rtt))
            .collect::<anyhow::Result<_>>()?,
        seed: line((plan.seed.egress_mbps * 125_000.0) as u64, rtt + seed_rtt)?,
    })
}

/// The programs of each home of the scenario, by its number.
fn places<'a>(theatre: &'a Theatre, cast: &Cast) -> anyhow::Result<Vec<&'a Home>> {
    let (mut holders, mut viewers) = (theatre.holders.iter(), theatre.viewers.iter());
    (0..cast.uplinks.len() as u32)
        .map(|home| if cast.recorders.binary_search(&home).is_ok() { holders.next() } else { viewers.next() })
        .map(|home| home.context("fewer programs than homes"))
        .collect()
}

fn play(home: &Home, viewing: Viewing, began: Instant) -> anyhow::Result<Played> {
    let at = began + Duration::from_micros(viewing.at);
    thread::sleep(at.saturating_duration_since(Instant::now()));
    let asked = Instant::now();
    let mut list = segments(&home.node.playlist(&home.id)?)?;
    list.truncate(viewing.chunks as usize);
    let listed = asked.elapsed();
    let watched = watch(&list, PlayerSpec::default(), |_, _| ())?;
    Ok(Played { viewing, start: listed + watched.began, watched, from: home.played()? })
}

fn carried(theatre: &Theatre) -> u64 {
    theatre.carried().0.iter().map(|line| line.down.line_bytes).sum()
}

/// Time that the machine's processors were in use, and in all.
struct Processors {
    used: u64,
    all: u64,
}

impl Processors {
    /// See `proc_stat(5)`: user, nice, system, idle, iowait, irq, softirq, steal; guests are in user.
    fn now() -> anyhow::Result<Self> {
        let text = std::fs::read_to_string("/proc/stat").context("/proc/stat")?;
        let line = text.lines().next().and_then(|line| line.strip_prefix("cpu ")).context("/proc/stat has no cpu")?;
        let times: Vec<u64> = line.split_whitespace().take(8).map(str::parse).collect::<Result<_, _>>()?;
        let [.., idle, wait, _, _, _] = times[..] else { bail!("/proc/stat: {line}") };
        let all = times.iter().sum();
        Ok(Self { used: all - idle - wait, all })
    }

    fn share_until(&self, later: &Self) -> f64 {
        (later.used - self.used) as f64 / (later.all - self.all).max(1) as f64
    }
}
