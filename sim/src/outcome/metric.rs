//! One figure of a study, with what is known of its accuracy.

use serde::{Deserialize, Serialize};

use super::json;
use crate::stats::Estimate;

/// Which way a figure should move.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// Less is better: costs, waiting.
    Lower,
    /// More is better: what homes carry.
    Higher,
    /// Neither is.
    #[default]
    Neither,
}

/// One figure: its mean over the runs and the 95 % interval of that mean.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Name for programs: `seed_egress_p95`.
    pub key: String,
    /// Name for people: "Seed egress at the evening's peak".
    pub name: String,
    /// Unit, as [the module](super) says.
    pub unit: String,
    /// Under which heading it stands; figures of one heading are neighbours.
    pub group: String,
    /// What it means, as a sentence; may be empty.
    pub help: String,
    /// Which way is better.
    pub better: Better,
    /// Whether it is one of the few to be seen first.
    pub headline: bool,
    /// Mean over the runs; not a number where nothing was measured.
    #[serde(with = "json::number")]
    pub mean: f64,
    /// Low end of the interval; the mean where there is none.
    #[serde(with = "json::number")]
    pub low: f64,
    /// High end of the interval; the mean where there is none.
    #[serde(with = "json::number")]
    pub high: f64,
    /// The value in each run, in order of the runs; empty where it was calculated.
    #[serde(with = "json::numbers")]
    pub runs: Vec<f64>,
}

impl Metric {
    /// A figure by its value in each run. Without runs its mean is not a number; with one it has no interval.
    pub fn of(
        key: impl Into<String>,
        name: impl Into<String>,
        unit: impl Into<String>,
        group: impl Into<String>,
        runs: Vec<f64>,
    ) -> Self {
        let (mean, low, high) = interval(&runs);
        let (key, name, unit, group) = (key.into(), name.into(), unit.into(), group.into());
        Self { key, name, unit, group, mean, low, high, runs, ..Self::default() }
    }

    /// A figure that was calculated, not observed.
    pub fn exact(
        key: impl Into<String>,
        name: impl Into<String>,
        unit: impl Into<String>,
        group: impl Into<String>,
        value: f64,
    ) -> Self {
        Self { mean: value, low: value, high: value, ..Self::of(key, name, unit, group, Vec::new()) }
    }

    /// What it means, as a sentence.
    #[must_use]
    pub fn explained(self, help: impl Into<String>) -> Self {
        Self { help: help.into(), ..self }
    }

    /// Less of it is better.
    #[must_use]
    pub fn lower_is_better(self) -> Self {
        Self { better: Better::Lower, ..self }
    }

    /// More of it is better.
    #[must_use]
    pub fn higher_is_better(self) -> Self {
        Self { better: Better::Higher, ..self }
    }

    /// One of the few to be seen first.
    #[must_use]
    pub fn headline(self) -> Self {
        Self { headline: true, ..self }
    }

    /// Whether it has an interval: two runs or more, and finite ends.
    #[must_use]
    pub fn has_interval(&self) -> bool {
        self.runs.len() > 1 && self.low.is_finite() && self.high.is_finite()
    }
}

/// Mean of the values and its 95 % interval: `(mean, low, high)`; not numbers where there is no value.
pub(super) fn interval(values: &[f64]) -> (f64, f64, f64) {
    if values.is_empty() {
        return (f64::NAN, f64::NAN, f64::NAN);
    }
    let Estimate { mean, low, high, .. } = Estimate::new(values.to_vec());
    (mean, low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_repeated_has_an_interval() {
        let repeated = Metric::of("k", "n", "s", "g", vec![1.0, 2.0, 3.0]);
        assert!(repeated.has_interval() && repeated.low < 2.0 && repeated.mean == 2.0 && repeated.high > 2.0);
        let once = Metric::of("k", "n", "s", "g", vec![7.0]);
        assert_eq!((once.mean, once.low, once.high, once.has_interval()), (7.0, 7.0, 7.0, false));
        let exact = Metric::exact("k", "n", "s", "g", 7.0);
        assert_eq!((exact.mean, exact.low, exact.high, exact.has_interval()), (7.0, 7.0, 7.0, false));
        assert!(Metric::of("k", "n", "s", "g", Vec::new()).mean.is_nan());
    }
}
