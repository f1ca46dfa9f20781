//! `aftercast-sim exchange`: policies beside each other, over the same runs.

use std::num::NonZeroU64;
use std::path::PathBuf;

use aftercast_protocol::time::Micros;
use aftercast_sim::exchange::{PolicyKind, Preset, Setup, Summary, Trace, run, run_traced};
use aftercast_sim::link::LinkSpec;
use aftercast_sim::rng::Rng;
use anyhow::Context as _;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Args, ValueEnum};

/// What `exchange` takes.
#[derive(Debug, Args)]
pub struct ExchangeArgs {
    /// What to begin with; the other options change it.
    #[arg(long, value_enum, default_value = "stalling")]
    preset: PresetName,
    /// Who decides; may be given more than once. Without it, all of them.
    #[arg(long, value_parser = PossibleValuesParser::new(PolicyKind::ALL.map(PolicyKind::name)).try_map(|name| name.parse::<PolicyKind>()))]
    policy: Vec<PolicyKind>,
    /// Number of runs, each with a random seed of its own.
    #[arg(long, value_name = "N", default_value = "20")]
    runs: u64,
    /// Random seed of the first run; the next has the next number.
    #[arg(long, value_name = "N", default_value = "1")]
    random_seed: u64,
    /// Players at once, who share the holders and the seed.
    #[arg(long, value_name = "N")]
    players: Option<u32>,
    /// Chunks that are played.
    #[arg(long, value_name = "N")]
    chunks: Option<u32>,
    /// How long each of them plays [default: 4s].
    #[arg(long, value_name = "TIME", value_parser = time)]
    interval: Option<Micros>,
    /// Bit rate of what is played, such as 8Mb/s.
    #[arg(long, value_name = "RATE", value_parser = rate)]
    bitrate: Option<NonZeroU64>,
    /// Number of holders.
    #[arg(long, value_name = "N")]
    holders: Option<u32>,
    /// Each holder's uplink, as aftercast-link writes links: rate=6Mb/s,delay=10ms,jitter=5ms,loss=0.3%/burst=4
    #[arg(long, value_name = "LINK")]
    holder: Option<LinkSpec>,
    /// Each holder's rate alone, such as 6Mb/s.
    #[arg(long, value_name = "RATE", value_parser = rate)]
    holder_rate: Option<NonZeroU64>,
    /// The last holder sends nothing for the first time in every second, such as 10s/30s.
    #[arg(long, value_name = "TIME/TIME", value_parser = stalling)]
    stalling: Option<(Micros, Micros)>,
    /// So many holders send a wrong byte in each chunk.
    #[arg(long, value_name = "N")]
    liars: Option<u32>,
    /// The seed's line.
    #[arg(long, value_name = "LINK", conflicts_with = "no_seed")]
    seed: Option<LinkSpec>,
    /// The seed is not reachable.
    #[arg(long)]
    no_seed: bool,
    /// Each player's own line, which all it gets has to pass; nothing is said: no bottleneck.
    #[arg(long, value_name = "LINK")]
    downlink: Option<LinkSpec>,
    /// How often a viewer jumps ahead, every 20 s.
    #[arg(long, value_name = "N")]
    seeks: Option<u32>,
    /// Also write what the first policy did in the first run, a line each, into this file.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Print the outcome as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PresetName {
    /// One chunk of 8 MiB from four holders at 20 Mb/s each.
    FourHolders,
    /// Ten minutes from four holders, one of which stalls.
    Stalling,
    /// The first minute, with a head at the seed.
    Start,
    /// Twelve jumps to where nothing is here yet.
    Seek,
    /// Ten minutes from four holders, one of which lies.
    Liar,
    /// The same as stalling in a home whose own line carries 20 Mb/s.
    ThinLine,
    /// Ten minutes from holders that cannot carry all of it.
    Scarce,
}

impl From<PresetName> for Preset {
    fn from(name: PresetName) -> Self {
        match name {
            PresetName::FourHolders => Self::FourHolders,
            PresetName::Stalling => Self::Stalling,
            PresetName::Start => Self::Start,
            PresetName::Seek => Self::Seek,
            PresetName::Liar => Self::Liar,
            PresetName::ThinLine => Self::ThinLine,
            PresetName::Scarce => Self::Scarce,
        }
    }
}

// Units are read as a link's are.

fn rate(text: &str) -> Result<NonZeroU64, String> {
    let link: LinkSpec = format!("rate={text}").parse().map_err(|_| "a rate is written 6Mb/s or 800kb/s".to_owned())?;
    link.rate.ok_or_else(|| "a rate is written 6Mb/s or 800kb/s".to_owned())
}

fn time(text: &str) -> Result<Micros, String> {
    let link = format!("delay={text}").parse::<LinkSpec>();
    let time = link.ok().map(|link| link.delay).filter(|time| *time > Micros(0));
    time.ok_or_else(|| "a time is written 4s or 500ms".to_owned())
}

fn stalling(text: &str) -> Result<(Micros, Micros), String> {
    let (length, every) = text.split_once('/').ok_or("write how long, and in how much: 10s/30s")?;
    let (length, every) = (time(length)?, time(every)?);
    if length >= every {
        return Err("the second time is the longer one: 10s/30s".to_owned());
    }
    Ok((length, every))
}

impl ExchangeArgs {
    /// What is to be run.
    ///
    /// # Errors
    /// The options do not go together; says why.
    pub fn setup(&self) -> Result<Setup, String> {
        let mut setup = Preset::from(self.preset).setup();
        let player = &mut setup.player;
        player.chunks = self.chunks.unwrap_or(player.chunks).max(1);
        let (interval, bits) = (player.interval.0, player.chunk_bytes * 8);
        let bitrate = self.bitrate.map_or(bits * 1_000_000 / interval, NonZeroU64::get);
        player.interval = self.interval.unwrap_or(player.interval);
        let changed = self.bitrate.is_some() || self.interval.is_some();
        if changed {
            player.chunk_bytes = u64::try_from(u128::from(bitrate) * u128::from(player.interval.0) / 8_000_000)
                .map_err(|_| "there are no such chunks")?;
        }
        let longest = player.chunk_bytes.saturating_mul(100 + player.spread_percent) / 100;
        if longest > aftercast_protocol::limits::MAX_CHUNK_BYTES as u64 {
            return Err(format!("chunks of {longest} bytes: no chunk has more than 64 MiB"));
        }
        player.downlink = self.downlink.clone().unwrap_or_else(|| player.downlink.clone());
        setup.players = self.players.unwrap_or(setup.players);
        setup.holders = self.holders.unwrap_or(setup.holders);
        setup.holder = self.holder.clone().unwrap_or(setup.holder);
        setup.holder.rate = self.holder_rate.or(setup.holder.rate);
        setup.stalling = self.stalling.or(setup.stalling);
        setup.liars = self.liars.unwrap_or(setup.liars);
        setup.seed = self.seed.clone().or(setup.seed).filter(|_| !self.no_seed);
        setup.seeks = self.seeks.unwrap_or(setup.seeks);
        Ok(setup)
    }

    /// Runs, and prints a table.
    ///
    /// # Errors
    /// The trace cannot be written.
    pub fn run(&self, setup: &Setup) -> anyhow::Result<()> {
        let policies = if self.policy.is_empty() { PolicyKind::ALL.to_vec() } else { self.policy.clone() };
        if let (Some(path), Some(policy)) = (&self.trace, policies.first()) {
            let (_, trace) = run_traced(&setup.scenario(Rng::new(self.random_seed)), *policy, self.random_seed);
            std::fs::write(path, written(&trace)).with_context(|| format!("cannot write {}", path.display()))?;
        }
        let seeds = || (0..self.runs).map(|n| self.random_seed.wrapping_add(n));
        let summaries = policies.into_iter().map(|policy| {
            let outcomes: Vec<_> = seeds().map(|seed| run(&setup.scenario(Rng::new(seed)), policy, seed)).collect();
            Summary::of(policy, &outcomes, setup.liars)
        });
        if self.json {
            let summaries: Vec<_> = summaries.collect();
            println!("{}", serde_json::to_string_pretty(&summaries)?);
        } else {
            println!("{} runs\n{}", self.runs, Summary::HEAD);
            summaries.for_each(|summary| println!("{summary}"));
        }
        Ok(())
    }
}

fn written(trace: &Trace) -> String {
    trace.iter().map(|(at, player, note)| format!("{:.6} {player} {note}\n", at.0 as f64 / 1e6)).collect()
}
