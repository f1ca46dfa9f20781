//! Many runs of one policy in one line.

use std::fmt;

use aftercast_protocol::time::Micros;
use serde::Serialize;

use super::outcome::Outcome;
use super::policy::PolicyKind;
use super::server::Traffic;

/// Several runs of one policy. Only whole numbers: equal runs are equal byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Which.
    pub policy: PolicyKind,
    /// Number of runs.
    pub runs: u64,
    /// From the first request to the first verified group, in microseconds.
    pub first_group: Quantiles,
    /// From the first request until playing began, in microseconds.
    pub start: Quantiles,
    /// From a seek until playing went on, in microseconds.
    pub seek: Quantiles,
    /// When the first chunk was complete, in microseconds from the beginning of the run.
    pub first_chunk: Quantiles,
    /// How often playing stopped, in all runs.
    pub stalls: u64,
    /// For how long in all, in microseconds.
    pub stalled: Micros,
    /// Players who did not get to the end.
    pub unfinished: u64,
    /// Part of the useful bytes that the seed sent, in hundredths of a percent.
    pub seed_permyriad: u64,
    /// Bytes on the wire over useful bytes, in hundredths of a percent.
    pub wire_permyriad: u64,
    /// Bytes of all sources.
    pub traffic: Traffic,
    /// Liars that were banned.
    pub bans: u64,
    /// Others that were banned.
    pub wrong_bans: u64,
    /// Chunks given up.
    pub gave_up: u64,
}

/// Half of the values are at or below the first, 95 % at or below the second; 0 where there are none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Quantiles {
    /// Median.
    pub p50: u64,
    /// 95th percentile.
    pub p95: u64,
    /// Number of values.
    pub count: u64,
}

impl Quantiles {
    fn of(values: impl Iterator<Item = u64>) -> Self {
        let mut values: Vec<_> = values.collect();
        values.sort_unstable();
        let rank = |percent: usize| {
            let place = (values.len() * percent).div_ceil(100).saturating_sub(1);
            values.get(place).copied().unwrap_or(0)
        };
        Self { p50: rank(50), p95: rank(95), count: values.len() as u64 }
    }
}

impl Summary {
    /// What these runs of a policy showed; the first `liars` holders are liars.
    #[must_use]
    pub fn of(policy: PolicyKind, outcomes: &[Outcome], liars: u32) -> Self {
        let players = || outcomes.iter().flat_map(|outcome| &outcome.players);
        let seen = |of: fn(&super::Seen) -> Option<Micros>| {
            Quantiles::of(players().filter_map(|player| of(&player.seen)).map(|span| span.0))
        };
        let traffic = outcomes.iter().map(|outcome| outcome.traffic).fold(Traffic::default(), Traffic::plus);
        let from_seed: u64 = outcomes.iter().map(|outcome| outcome.seed.useful).sum();
        let is_liar = |holder: usize| u32::try_from(holder).is_ok_and(|holder| holder < liars);
        let bans = outcomes.iter().flat_map(|outcome| &outcome.bans).copied();
        let (right, wrong): (Vec<_>, Vec<_>) = bans.partition(|(_, holder)| is_liar(*holder));
        Self {
            policy,
            runs: outcomes.len() as u64,
            first_group: seen(|seen| seen.first_group),
            start: seen(|seen| seen.start),
            seek: Quantiles::of(players().flat_map(|player| &player.seen.seeks).map(|span| span.0)),
            first_chunk: Quantiles::of(players().filter_map(|player| player.complete.get(&0)).map(|at| at.0)),
            stalls: players().map(|player| player.seen.stalls).sum(),
            stalled: players().map(|player| player.seen.stalled).fold(Micros(0), |sum, span| sum + span),
            unfinished: players().filter(|player| player.seen.ended_at.is_none()).count() as u64,
            seed_permyriad: from_seed * 10_000 / traffic.useful.max(1),
            wire_permyriad: traffic.sent * 10_000 / traffic.useful.max(1),
            traffic,
            bans: right.len() as u64,
            wrong_bans: wrong.len() as u64,
            gave_up: outcomes.iter().map(|outcome| outcome.gave_up.len() as u64).sum(),
        }
    }

    /// Above the lines of a table.
    pub const HEAD: &str = "\
policy      1st group     start P50/P95      1st chunk       seek P95   stalls  stalled    seed   wire   false  bans
                   ms                ms             ms             ms        n        s       %      %     KiB  right/wrong";
}

/// One line of a table.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |micros: u64| format!("{}.{}", micros / 1000, micros / 100 % 10);
        let percent = |permyriad: u64| format!("{}.{:02}", permyriad / 100, permyriad % 100);
        let of = |quantiles: Quantiles, value: u64| if quantiles.count == 0 { "-".to_owned() } else { ms(value) };
        write!(
            f,
            "{:<10} {:>10} {:>17} {:>14} {:>14} {:>8} {:>8} {:>7} {:>6} {:>7}  {}/{}",
            self.policy,
            of(self.first_group, self.first_group.p50),
            format!("{} / {}", of(self.start, self.start.p50), of(self.start, self.start.p95)),
            of(self.first_chunk, self.first_chunk.p50),
            of(self.seek, self.seek.p95),
            self.stalls,
            format!("{}.{}", self.stalled.0 / 1_000_000, self.stalled.0 / 100_000 % 10),
            percent(self.seed_permyriad),
            percent(self.wire_permyriad),
            self.traffic.false_bytes / 1024,
            self.bans,
            self.wrong_bans,
        )?;
        if self.unfinished > 0 {
            write!(f, "  ({} of {} did not get to the end)", self.unfinished, self.start.count.max(self.unfinished))?;
        }
        Ok(())
    }
}
