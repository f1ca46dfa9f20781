//! What a run is made of: a player, the holders around it, the seed, and what happens to them.

use aftercast_protocol::time::{Micros, Mono};

use crate::link::LinkSpec;
use crate::rng::{Purpose, Rng};

/// One run, but for the policy and the random seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// Who plays. Several share the holders' uplinks and the seed's line.
    pub players: Vec<PlayerSpec>,
    /// Devices that hold everything, as far as the players are told.
    pub holders: Vec<SourceSpec>,
    /// The seed, if it is reachable.
    pub seed: Option<SourceSpec>,
    /// The run ends then at the latest.
    pub limit: Mono,
}

/// Somebody who plays a recording from its beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlayerSpec {
    /// When the first request comes.
    pub begin: Mono,
    /// Chunks of the recording.
    pub chunks: u32,
    /// How long each plays.
    pub interval: Micros,
    /// Mean length of a chunk in bytes.
    pub chunk_bytes: u64,
    /// Chunks are longer or shorter than the mean by up to so many percent.
    pub spread_percent: u64,
    /// Length in bytes of the small rendition that stands for the first chunk and is at the seed only.
    pub head_bytes: Option<u64>,
    /// So much must be there to be played before playing begins, or goes on after a stall.
    pub start: Micros,
    /// The player asks for the next chunk while it has less than this before it.
    pub buffer: Micros,
    /// The home's line, which all that it gets has to pass; without a rate it is no bottleneck.
    pub downlink: LinkSpec,
    /// What the viewer does, in the order of time.
    pub steps: Vec<Step>,
}

/// Something a viewer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Goes to the beginning of a chunk.
    Seek {
        /// When.
        at: Mono,
        /// Its number.
        to: u32,
    },
    /// Holds the picture.
    Pause {
        /// When.
        at: Mono,
        /// For how long.
        length: Micros,
    },
}

impl Step {
    /// When it happens.
    #[must_use]
    pub fn at(self) -> Mono {
        match self {
            Self::Seek { at, .. } | Self::Pause { at, .. } => at,
        }
    }
}

/// Somebody who sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSpec {
    /// Its uplink. Requests need its delay too.
    pub link: LinkSpec,
    /// Whether it is in the player's home.
    pub lan: bool,
    /// What it does wrong.
    pub faults: Faults,
}

/// What a source does wrong. Rates are parts per million.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// A byte of the first group it sends of each chunk is wrong.
    pub lies_once_a_chunk: bool,
    /// A byte is wrong in so many groups.
    pub lies_ppm: u32,
    /// It says Busy to so many requests, and to come back after [`Faults::BUSY_FOR`].
    pub busy_ppm: u32,
    /// So many chunks it does not have after all.
    pub absent_ppm: u32,
    /// Its connections are lost, and it is back after the time, if there is one.
    pub gone: Vec<(Mono, Option<Micros>)>,
}

impl Faults {
    /// When a busy source says that it is worth asking again.
    pub const BUSY_FOR: Micros = Micros::from_millis(500);
}

impl SourceSpec {
    /// An honest source behind this line.
    #[must_use]
    pub fn honest(link: LinkSpec) -> Self {
        Self { link, lan: false, faults: Faults::default() }
    }

    /// There and back.
    #[must_use]
    pub fn rtt(&self) -> Micros {
        self.link.delay + self.link.delay
    }
}

impl PlayerSpec {
    /// Plays so many chunks of 4 s at a bitrate in bits a second, like a player in a browser: begins with a second of
    /// media, keeps half a minute before it.
    #[must_use]
    pub fn of(chunks: u32, bitrate: u64) -> Self {
        let interval = Micros::from_secs(4);
        Self {
            begin: Mono(0),
            chunks,
            interval,
            chunk_bytes: bitrate / 8 * interval.0 / 1_000_000,
            spread_percent: 0,
            head_bytes: None,
            start: Micros::from_secs(1),
            buffer: Micros::from_secs(30),
            downlink: LinkSpec::default(),
            steps: Vec::new(),
        }
    }

    /// Length in bytes of what is played for a chunk.
    #[must_use]
    pub fn len_of(&self, rng: Rng, chunk: u32) -> u64 {
        match self.head_bytes {
            Some(bytes) if chunk == 0 => bytes.max(1),
            _ => rng.around(self.chunk_bytes, self.spread_percent, Purpose::Size, 0, u64::from(chunk)).max(1),
        }
    }

    /// How long all of it plays.
    #[must_use]
    pub fn duration(&self) -> Micros {
        Micros(self.interval.0.saturating_mul(u64::from(self.chunks)))
    }
}
