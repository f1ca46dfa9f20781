//! Both beside each other, and whether that is near enough.

use std::fmt;
use std::time::Duration;

use aftercast_sim::stats::quantile_of_sorted;
use aftercast_sim::world::{Run, Why};

use super::enact::Enacted;

/// How far the simulator may be off: shares in points, starts in parts of what they are in reality.
const MOST_SHARE: f64 = 0.03;
const MOST_START: f64 = 0.20;
/// Beyond this programs wait for processors, as no home's device would.
const MOST_CPU: f64 = 0.5;

/// What viewers had of a scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Viewings.
    pub viewings: u64,
    /// Shares of their bytes: own disk, other homes, the seed.
    pub shares: [f64; 3],
    /// Seconds until what is not on the own disk begins: half, and 95 of 100, within this.
    pub start: [f64; 2],
    /// Times that the picture stood still, and seconds of it.
    pub stalls: (u64, f64),
    /// Why bytes came from the seed, with their shares in all; known of what was simulated.
    pub why: Vec<(&'static str, f64)>,
}

impl Seen {
    /// By real programs.
    #[must_use]
    pub fn really(enacted: &Enacted) -> Self {
        let sum = |part: fn(&crate::processes::PlayReport) -> u64| -> u64 {
            enacted.viewings.iter().map(|one| part(&one.from)).sum()
        };
        let bytes =
            [sum(|from| from.bytes_local), sum(|from| from.bytes_peer), sum(|from| from.bytes_seed + from.bytes_head)];
        let away = enacted.viewings.iter().filter(|one| one.from.bytes_local == 0);
        let mut starts: Vec<u64> = away.map(|one| micros(one.start)).collect();
        starts.sort_unstable();
        let quantile = |share| quantile_of_sorted(&starts, share).unwrap_or(0) as f64 / 1e6;
        let stalls = enacted.viewings.iter().flat_map(|one| &one.watched.stalls);
        let stalls = stalls.fold((0, 0.0), |(count, sum), (_, span)| (count + 1, sum + span.as_secs_f64()));
        Self {
            viewings: enacted.viewings.len() as u64,
            shares: shares(bytes),
            start: [quantile(0.5), quantile(0.95)],
            stalls,
            why: Vec::new(),
        }
    }

    /// In virtual time.
    #[must_use]
    pub fn simulated(run: &Run) -> Self {
        let quantile = |share| run.tally.start_away.quantile(share).unwrap_or(0) as f64 / 1e6;
        Self {
            viewings: run.tally.ended,
            shares: shares(run.tally.bytes),
            start: [quantile(0.5), quantile(0.95)],
            stalls: (run.tally.stalls, run.tally.stalled),
            why: reasons(run),
        }
    }
}

fn reasons(run: &Run) -> Vec<(&'static str, f64)> {
    let all: u64 = run.tally.bytes.iter().sum();
    let share = |why: Why| (why.name(), run.tally.why[why as usize] as f64 / all.max(1) as f64);
    Why::ALL.into_iter().map(share).filter(|(_, share)| *share > 0.0).collect()
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([own, homes, seed], [half, most]) = (self.shares.map(|share| share * 100.0), self.start);
        write!(
            f,
            "{} viewings: {own:.1} % from the own disk, {homes:.1} % from other homes, {seed:.1} % from the seed; half of the \
             starts within {half:.3} s, 95 of 100 within {most:.3} s; stood still {} times, {:.1} s",
            self.viewings, self.stalls.0, self.stalls.1
        )?;
        self.why.iter().try_for_each(|(why, share)| write!(f, "; {why} {:.2} %", share * 100.0))
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

fn shares(bytes: [u64; 3]) -> [f64; 3] {
    let all: u64 = bytes.iter().sum();
    bytes.map(|part| part as f64 / all.max(1) as f64)
}

/// Both.
#[derive(Debug)]
pub struct Calibration {
    /// By real programs.
    pub real: Seen,
    /// In virtual time.
    pub simulated: Seen,
    /// Share of the machine's processors in use.
    pub cpu: f64,
}

impl Calibration {
    /// Whether the simulator says what happens, near enough.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.cpu <= MOST_CPU
            && self.shares().iter().all(|(.., near)| *near)
            && self.starts().iter().all(|(.., near)| *near)
    }

    fn shares(&self) -> [(&'static str, f64, f64, bool); 3] {
        let of = |name, place: usize| {
            let (real, simulated) = (self.real.shares[place], self.simulated.shares[place]);
            (name, real, simulated, (simulated - real).abs() <= MOST_SHARE)
        };
        [of("from the own disk", 0), of("from other homes", 1), of("from the seed", 2)]
    }

    fn starts(&self) -> [(&'static str, f64, f64, bool); 2] {
        let of = |name, place: usize| {
            let (real, simulated) = (self.real.start[place], self.simulated.start[place]);
            (name, real, simulated, (simulated - real).abs() <= MOST_START * real)
        };
        [of("half of the starts within", 0), of("95 of 100 starts within", 1)]
    }
}

impl fmt::Display for Calibration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = |near| if near { "ok  " } else { "FAR " };
        writeln!(f, "     {:<28} {:>14} {:>14} {:>14}", "", "real programs", "simulated", "difference")?;
        for (name, real, simulated, near) in self.shares() {
            let [real, simulated] = [real, simulated].map(|share| share * 100.0);
            let off = simulated - real;
            writeln!(f, "{} {name:<28} {real:>12.1} % {simulated:>12.1} % {off:>+7.1} points", mark(near))?;
        }
        for (name, real, simulated, near) in self.starts() {
            let off = (simulated / real.max(1e-6) - 1.0) * 100.0;
            writeln!(f, "{} {name:<28} {real:>12.3} s {simulated:>12.3} s {off:>+12.0} %", mark(near))?;
        }
        let (real, simulated) = (self.real.stalls, self.simulated.stalls);
        writeln!(f, "     {:<28} {:>14} {:>14}", "interruptions", real.0, simulated.0)?;
        writeln!(f, "     {:<28} {:>12.1} s {:>12.1} s", "stood still", real.1, simulated.1)?;
        for (why, share) in &self.simulated.why {
            writeln!(f, "     {:<28} {:>14} {:>12.2} %", format!("  the seed, {why}"), "", share * 100.0)?;
        }
        let cpu = self.cpu * 100.0;
        writeln!(f, "{} {cpu:.0} % of the processors were in use meanwhile", mark(self.cpu <= MOST_CPU))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_off_too_far_is_marked() {
        let real =
            Seen { viewings: 40, shares: [0.4, 0.55, 0.05], start: [0.1, 0.2], stalls: (0, 0.0), why: Vec::new() };
        let near = Seen { shares: [0.4, 0.575, 0.025], start: [0.115, 0.17], ..real.clone() };
        let calibration = Calibration { real, simulated: near.clone(), cpu: 0.3 };
        assert!(calibration.holds(), "{calibration}");
        let far = Seen { shares: [0.4, 0.5, 0.1], ..near.clone() };
        let calibration = Calibration { simulated: far, ..calibration };
        assert!(!calibration.holds());
        let marked = calibration.to_string().lines().filter(|line| line.starts_with("FAR")).count();
        assert_eq!(marked, 2, "{calibration}");
        assert!(!Calibration { simulated: near, cpu: 0.7, ..calibration }.holds());
    }
}
