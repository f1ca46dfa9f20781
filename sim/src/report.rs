//! What a run showed, for people and for programs.

use std::fmt::{self, Write as _};

use aftercast_protocol::time::{Micros, Mono};
use aftercast_protocol::truth::SlotState;
use serde::Serialize;

use crate::scenario::Scenario;
use crate::world::World;

/// Outcome of a run. Only whole numbers: equal runs are equal byte for byte.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// Seed that replays the run.
    pub random_seed: u64,
    /// Homes in all.
    pub homes: u64,
    /// Chunks by what became of them.
    pub chunks: Chunks,
    /// Share of received chunks of which the seed has a copy, in hundredths of a percent.
    pub coverage_permyriad: u64,
    /// From a chunk's end to its confirmation, in milliseconds.
    pub confirmed_after_ms: Quantiles,
    /// From a chunk's end to its storing, in milliseconds.
    pub stored_after_ms: Quantiles,
    /// Bytes uploaded by all.
    pub uploaded_bytes: u64,
    /// Bytes of the chunks stored.
    pub stored_bytes: u64,
    /// Uploaded over stored bytes, in thousandths; 1000 means that nothing was sent twice.
    pub upload_amplification_permille: u64,
    /// Most bytes that ever waited for their upload.
    pub worst_backlog_bytes: u64,
    /// Bytes that waited when the programme ended.
    pub backlog_at_end_bytes: u64,
    /// Per class of homes.
    pub classes: Vec<ClassOutcome>,
}

/// Numbers of chunks.
#[derive(Debug, Default, Serialize)]
pub struct Chunks {
    /// Of the programme.
    pub broadcast: u64,
    /// That an honest home has whole.
    pub received: u64,
    /// Confirmed in the end.
    pub confirmed: u64,
    /// With one subscriber's word.
    pub single: u64,
    /// Without agreement.
    pub disputed: u64,
    /// That nobody reported whole.
    pub damaged: u64,
    /// That were not decided, or not reported.
    pub undecided: u64,
    /// Of which the seed has a copy.
    pub stored: u64,
    /// For which a lie was confirmed, for a while at least.
    pub false_confirmed: u64,
}

/// Middle and high end of a distribution; absent where there is nothing to measure.
#[derive(Debug, Default, Serialize)]
pub struct Quantiles {
    /// Half are at most this.
    pub p50: Option<u64>,
    /// 95 % are at most this.
    pub p95: Option<u64>,
}

/// What a class of homes did.
#[derive(Debug, Serialize)]
pub struct ClassOutcome {
    /// Its name.
    pub class: String,
    /// Homes in it.
    pub homes: u64,
    /// What each contributes, in kilobits per second; 0 where metered.
    pub contributed_kbps: u64,
    /// Bytes uploaded by all of them.
    pub uploaded_bytes: u64,
    /// Their share of all uploads, in hundredths of a percent.
    pub uploaded_permyriad: u64,
    /// Their share of all contributed uplinks, in hundredths of a percent.
    pub contributed_permyriad: u64,
    /// The home that uploaded least.
    pub least_home_bytes: u64,
    /// The home that uploaded most.
    pub most_home_bytes: u64,
}

/// `part / whole` in so many parts; 0 of nothing is nothing.
fn ratio(part: u64, whole: u64, parts: u64) -> u64 {
    (u128::from(part) * u128::from(parts) + u128::from(whole) / 2)
        .checked_div(u128::from(whole))
        .map_or(0, |ratio| u64::try_from(ratio).unwrap_or(u64::MAX))
}

impl Quantiles {
    fn of(mut values: Vec<u64>) -> Self {
        values.sort_unstable();
        let at = |percent: usize| values.get((values.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        Self { p50: at(50), p95: at(95) }
    }
}

impl Outcome {
    /// What a finished run showed.
    pub fn of(scenario: &Scenario, world: &World<'_>) -> Self {
        let after = |at: fn(&crate::world::Fate) -> Option<Mono>| {
            let since = |fate: &crate::world::Fate| Some((at(fate)? - fate.ended).0 / Micros::from_millis(1).0);
            Quantiles::of(world.chunks.iter().filter_map(since).collect())
        };
        let stored = || world.chunks.iter().filter(|fate| fate.stored.is_some());
        let (uploaded_bytes, stored_bytes) =
            (world.homes.iter().map(|home| home.uploaded).sum(), stored().map(|fate| fate.bytes).sum());
        let chunks = count(world);
        Self {
            random_seed: scenario.random_seed,
            homes: world.homes.len() as u64,
            coverage_permyriad: ratio(chunks.stored, chunks.received, 10_000),
            chunks,
            confirmed_after_ms: after(|fate| fate.confirmed),
            stored_after_ms: after(|fate| fate.stored),
            uploaded_bytes,
            stored_bytes,
            upload_amplification_permille: ratio(uploaded_bytes, stored_bytes, 1000),
            worst_backlog_bytes: world.worst_backlog_bytes,
            backlog_at_end_bytes: world.backlog_at_end_bytes,
            classes: classes(scenario, world, uploaded_bytes),
        }
    }
}

fn count(world: &World<'_>) -> Chunks {
    let mut chunks = Chunks { broadcast: world.chunks.len() as u64, ..Chunks::default() };
    for (index, fate) in (0..).zip(&world.chunks) {
        match world.state(index) {
            Some(SlotState::Confirmed(_)) => chunks.confirmed += 1,
            Some(SlotState::Single(..)) => chunks.single += 1,
            Some(SlotState::Disputed) => chunks.disputed += 1,
            Some(SlotState::Damaged) => chunks.damaged += 1,
            Some(SlotState::Open) | None => chunks.undecided += 1,
        }
        chunks.received += u64::from(fate.received);
        chunks.stored += u64::from(fate.stored.is_some());
        chunks.false_confirmed += u64::from(fate.false_confirmed);
    }
    chunks
}

fn classes(scenario: &Scenario, world: &World<'_>, all_bytes: u64) -> Vec<ClassOutcome> {
    let contributed = |class: usize| {
        let homes = scenario.homes[class].get_ref();
        if homes.metered { 0 } else { homes.sending_bps() / 1000 }
    };
    let all_kbps: u64 = world.homes.iter().map(|home| contributed(home.class)).sum();
    let outcome = |class: usize| {
        let uploads: Vec<u64> = world.homes.iter().filter(|h| h.class == class).map(|h| h.uploaded).collect();
        let uploaded_bytes = uploads.iter().sum();
        let homes = uploads.len() as u64;
        ClassOutcome {
            class: scenario.homes[class].get_ref().class.clone(),
            homes,
            contributed_kbps: contributed(class),
            uploaded_bytes,
            uploaded_permyriad: ratio(uploaded_bytes, all_bytes, 10_000),
            contributed_permyriad: ratio(contributed(class) * homes, all_kbps, 10_000),
            least_home_bytes: uploads.iter().copied().min().unwrap_or(0),
            most_home_bytes: uploads.iter().copied().max().unwrap_or(0),
        }
    };
    (0..scenario.homes.len()).map(outcome).collect()
}

fn percent(permyriad: u64) -> String {
    format!("{}.{:02} %", permyriad / 100, permyriad % 100)
}

fn megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000)
}

fn seconds(millis: Option<u64>) -> String {
    millis.map_or_else(|| "-".into(), |ms| format!("{}.{} s", ms / 1000, ms % 1000 / 100))
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Chunks { broadcast, received, confirmed, single, disputed, damaged, undecided, stored, false_confirmed } =
            &self.chunks;
        writeln!(f, "{} homes, {broadcast} chunks, random seed {}", self.homes, self.random_seed)?;
        writeln!(
            f,
            "decided     {confirmed} confirmed, {single} single, {disputed} disputed, {damaged} damaged, \
             {undecided} undecided, {false_confirmed} false"
        )?;
        writeln!(f, "coverage    {stored} of {received} received chunks ({})", percent(self.coverage_permyriad))?;
        let times = |q: &Quantiles| format!("P50 {}, P95 {}", seconds(q.p50), seconds(q.p95));
        writeln!(f, "confirmed   {} after the chunk's end", times(&self.confirmed_after_ms))?;
        writeln!(f, "stored      {} after the chunk's end", times(&self.stored_after_ms))?;
        let amplification = self.upload_amplification_permille;
        writeln!(
            f,
            "uploaded    {} for {} stored, amplification {}.{:03}",
            megabytes(self.uploaded_bytes),
            megabytes(self.stored_bytes),
            amplification / 1000,
            amplification % 1000
        )?;
        writeln!(
            f,
            "backlog     at most {}, {} at the end of the programme",
            megabytes(self.worst_backlog_bytes),
            megabytes(self.backlog_at_end_bytes)
        )?;
        let mut table = String::new();
        writeln!(
            table,
            "\n{:<16} {:>6} {:>12} {:>12} {:>10} {:>10} {:>12} {:>12}",
            "class", "homes", "kb/s each", "uploaded", "share", "of uplink", "least home", "most home"
        )?;
        for class in &self.classes {
            writeln!(
                table,
                "{:<16} {:>6} {:>12} {:>12} {:>10} {:>10} {:>12} {:>12}",
                class.class,
                class.homes,
                class.contributed_kbps,
                megabytes(class.uploaded_bytes),
                percent(class.uploaded_permyriad),
                percent(class.contributed_permyriad),
                megabytes(class.least_home_bytes),
                megabytes(class.most_home_bytes)
            )?;
        }
        f.write_str(&table)
    }
}
