//! The rules by which a source is chosen, by themselves: for [`super::Selector`], which decides piece by piece, and for
//! whoever has to judge millions of chunks and can afford one decision for each.

use super::{SelectConfig, Source, SourceInfo};
use crate::score::Score;
use crate::time::{Micros, Mono};

/// Weight of the deviation in an expected arrival.
const DEVIATIONS: u64 = 2;
/// Allowance for what the seed's expected time does not know.
const SEED_MARGIN: Micros = Micros::from_millis(250);

/// What a source is expected to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// Round trip time.
    pub rtt: Micros,
    /// Bytes per second; 0 counts as 1.
    pub rate: u64,
    /// Bytes that it owes us, and bytes that it says wait before ours.
    pub ahead: u64,
    /// Allowance for what its past says of its lateness: [`doubt`].
    pub doubt: Micros,
}

impl Outlook {
    /// When `bytes` more would be here.
    #[must_use]
    pub fn arrival(&self, now: Mono, bytes: u64) -> Mono {
        now + self.rtt + self.transfer_time(self.ahead.saturating_add(bytes)) + self.doubt
    }

    /// How long `bytes` take once they flow.
    #[must_use]
    pub fn transfer_time(&self, bytes: u64) -> Micros {
        time_for(bytes, self.rate)
    }
}

pub(super) fn time_for(bytes: u64, rate: u64) -> Micros {
    let micros = u128::from(bytes) * 1_000_000 / u128::from(rate.max(1));
    Micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

/// Allowance for a source's lateness.
#[must_use]
pub fn doubt(score: &Score) -> Micros {
    Micros(score.deviation.0.saturating_mul(DEVIATIONS))
}

/// Order of choice, least first: in time and not on trial before others, home before elsewhere before the seed, early
/// before late. Among those who would be late only being less late counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    poor: bool,
    preference: u8,
    arrival: Mono,
    source: Source,
}

impl Rank {
    /// Rank of a source whose piece would be here at `arrival`. `on_trial`: its latest request failed.
    #[must_use]
    pub fn new(source: Source, info: &SourceInfo, arrival: Mono, in_time: bool, on_trial: bool) -> Self {
        let preference = match source {
            _ if !in_time => 0,
            _ if info.lan => 0,
            Source::Peer(_) => 1,
            Source::Seed => 2,
        };
        Self { poor: !in_time || on_trial, preference, arrival, source }
    }
}

/// How long before its deadline the seed is asked for what is missing of a chunk, where it is expected to bring that
/// within `expected`; `alone`: no peer that holds the chunk is connected.
#[must_use]
pub fn seed_lead(config: &SelectConfig, expected: Micros, alone: bool) -> Micros {
    let lead = Micros(expected.0.saturating_add(expected.0 / 2)) + SEED_MARGIN;
    if alone { lead.max(config.seed_alone) } else { lead }
}
