//! Scenarios described in a few words: so many holders of a kind, a player, and what goes wrong.

use aftercast_protocol::time::{Micros, Mono};
use serde::Serialize;

use super::scenario::{Faults, PlayerSpec, Scenario, SourceSpec, Step};
use crate::link::LinkSpec;
use crate::rng::{Purpose, Rng};

/// Chunks from one seek to the next: after [`SEEK_EVERY`] of playing nothing is here of what lies so far ahead.
const SEEK_CHUNKS: u32 = 45;
const SEEK_EVERY: Micros = Micros::from_secs(20);
/// A run ends after this many times the media's length, and not before [`LEAST`].
const PATIENCE: u64 = 3;
const LEAST: Micros = Micros::from_secs(600);

/// What to run. Each run draws from it by its random seed where the holder stalls and where the viewer goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// Number of holders.
    pub holders: u32,
    /// Each holder's uplink.
    pub holder: LinkSpec,
    /// The last holder sends nothing for the first span, once in every second span.
    pub stalling: Option<(Micros, Micros)>,
    /// So many holders, from the first on, send a wrong byte in each chunk.
    pub liars: u32,
    /// The seed's line to the players, if there is a seed.
    pub seed: Option<LinkSpec>,
    /// Number of players who do the same at the same time.
    pub players: u32,
    /// Who plays.
    pub player: PlayerSpec,
    /// How often the viewer jumps ahead, every 20 s, to where nothing is here yet.
    pub seeks: u32,
}

/// A setup that shows a promise of the exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// One chunk of 8 MiB from four holders at 20 Mb/s each, without a seed.
    FourHolders,
    /// Ten minutes of 8 Mb/s from four holders at 6 Mb/s, one of which stalls for 10 s in every 30 s.
    Stalling,
    /// The first minute, with a head of 0.75 MB at the seed.
    Start,
    /// Twelve jumps to where nothing is here yet, with the holders of [`Preset::Stalling`].
    Seek,
    /// Ten minutes of 8 Mb/s from four holders at 6 Mb/s, the first of which sends a wrong byte in each chunk.
    Liar,
    /// [`Preset::Stalling`] in a home whose own line carries 20 Mb/s, less than the sources together.
    ThinLine,
    /// Ten minutes of 8 Mb/s from three holders that can carry five eighths of it.
    Scarce,
}

impl Preset {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::FourHolders, Self::Stalling, Self::Start, Self::Seek, Self::Liar, Self::ThinLine, Self::Scarce];

    /// What it stands for.
    #[must_use]
    pub fn setup(self) -> Setup {
        let link = |text: &str| text.parse().expect("a link's text");
        let home = || link("rate=6Mb/s,delay=10ms,jitter=5ms");
        let player = |chunks| PlayerSpec::of(chunks, 8_000_000);
        let plain = Setup {
            holders: 4,
            holder: home(),
            stalling: None,
            liars: 0,
            seed: Some(link("rate=20Mb/s,delay=10ms,jitter=2ms")),
            players: 1,
            player: player(150),
            seeks: 0,
        };
        let stalling = Some((Micros::from_secs(10), Micros::from_secs(30)));
        match self {
            Self::FourHolders => Setup {
                holder: link("rate=20Mb/s,delay=10ms,jitter=5ms"),
                seed: None,
                player: PlayerSpec { chunk_bytes: 8 << 20, ..player(1) },
                ..plain
            },
            Self::Stalling => Setup { stalling, ..plain },
            Self::Start => {
                Setup { player: PlayerSpec { head_bytes: Some(750_000), spread_percent: 30, ..player(15) }, ..plain }
            }
            Self::Seek => Setup { stalling, seeks: 12, player: player(13 * SEEK_CHUNKS), ..plain },
            Self::Liar => Setup { liars: 1, ..plain },
            Self::ThinLine => {
                Setup { stalling, player: PlayerSpec { downlink: link("rate=20Mb/s"), ..player(150) }, ..plain }
            }
            Self::Scarce => Setup {
                holders: 3,
                holder: link("rate=1670kb/s,delay=20ms,jitter=10ms"),
                player: PlayerSpec { spread_percent: 30, ..player(150) },
                ..plain
            },
        }
    }
}

impl Setup {
    /// The scenario of one run.
    #[must_use]
    pub fn scenario(&self, rng: Rng) -> Scenario {
        let holders = (0..self.holders).map(|n| self.holder(n, rng)).collect();
        let players: Vec<_> = (0..self.players).map(|n| self.player(n, rng)).collect();
        let longest = players.iter().map(|player| player.duration().0).max().unwrap_or(0);
        let limit = Mono(longest.saturating_mul(PATIENCE).max(LEAST.0));
        Scenario { players, holders, seed: self.seed.clone().map(SourceSpec::honest), limit }
    }

    fn holder(&self, n: u32, rng: Rng) -> SourceSpec {
        let mut spec = SourceSpec::honest(self.holder.clone());
        spec.faults = Faults { lies_once_a_chunk: n < self.liars, ..Faults::default() };
        if let Some((length, every)) = self.stalling.filter(|_| n + 1 == self.holders) {
            let phase = rng.below(every.0, Purpose::Off, u64::from(n), 0);
            let text = format!("stall={}us/every={}us/phase={phase}us", length.0, every.0);
            if let Ok(LinkSpec { outages, .. }) = text.parse() {
                spec.link.outages = outages;
            }
        }
        spec
    }

    fn player(&self, n: u32, rng: Rng) -> PlayerSpec {
        let mut player = self.player.clone();
        let seek = |k: u32| Step::Seek {
            at: player.begin + Micros(SEEK_EVERY.0 * u64::from(k)),
            to: SEEK_CHUNKS * k + rng.below(20, Purpose::Viewer, u64::from(n), u64::from(k)) as u32,
        };
        player.steps.extend((1..=self.seeks).map(seek));
        player
    }
}
