//! Results of several scenarios, and what they show together.

use serde::{Deserialize, Serialize};

use super::json;
use super::metric::{Better, Metric};
use super::{Outcome, Setting};
use crate::stats;

/// One scenario at several values of one parameter.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sweep {
    /// Name of the study.
    pub title: String,
    /// What was asked, as a sentence.
    pub question: String,
    /// The answer, in sentences.
    pub answer: Vec<String>,
    /// The parameter: its path, unit and meaning; its value is that of the scenario before the sweep.
    pub parameter: Setting,
    /// What the parameter is called on an axis: "Homes".
    pub name: String,
    /// The points, in the order in which they are to be read.
    pub points: Vec<Point>,
}

/// One point of a sweep.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The parameter's value as text; where all are numbers, they are drawn to scale.
    pub value: String,
    /// What the runs showed.
    pub outcome: Outcome,
}

/// Several scenarios or policies under the same chance: run by run, the same homes, programmes and viewers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Name of the study.
    pub title: String,
    /// What was asked, as a sentence.
    pub question: String,
    /// The answer, in sentences.
    pub answer: Vec<String>,
    /// What is compared; the first is what the others are held against.
    pub cases: Vec<Named>,
    /// Per further case and metric: how it differs from the first.
    pub differences: Vec<Difference>,
}

/// An outcome under the name by which it is compared.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Named {
    /// The name.
    pub name: String,
    /// What the runs showed.
    pub outcome: Outcome,
}

/// How one case differs from the first in one metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The case, by its name.
    pub case: String,
    /// The metric's key.
    pub key: String,
    /// The metric's name.
    pub name: String,
    /// The metric's unit.
    pub unit: String,
    /// Mean over the runs of (this case less the first).
    #[serde(with = "json::number")]
    pub mean: f64,
    /// Low end of the 95 % interval of that mean.
    #[serde(with = "json::number")]
    pub low: f64,
    /// High end of the 95 % interval of that mean.
    #[serde(with = "json::number")]
    pub high: f64,
    /// What that shows.
    pub verdict: Verdict,
}

/// What a difference shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The case is better than the first.
    Better,
    /// It is worse.
    Worse,
    /// It is higher, of something that has no better or worse.
    Higher,
    /// It is lower, of something that has no better or worse.
    Lower,
    /// Equal in every run.
    Equal,
    /// The interval holds zero: chance alone may have made the difference.
    NotShown,
    /// There are no two runs to hold against each other.
    Unknown,
}

/// The smallest value of a parameter that meets targets, and what was tried to find it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Solution {
    /// What was tried, in order of the parameter; with question and answer.
    pub sweep: Sweep,
    /// What was to be met.
    pub targets: Vec<Target>,
    /// The value found, as in the sweep's points; absent where none of them meets the targets.
    pub found: Option<String>,
}

/// A bound that a metric has to keep.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// The metric's key.
    pub key: String,
    /// The bound, in the metric's unit.
    #[serde(with = "json::number")]
    pub limit: f64,
    /// Whether the metric has to be at least the limit; otherwise at most.
    pub at_least: bool,
}

impl Sweep {
    /// The parameter's values where all of them are numbers.
    #[must_use]
    pub fn numbers(&self) -> Option<Vec<f64>> {
        let number = |point: &Point| point.value.trim().parse().ok().filter(|value: &f64| value.is_finite());
        self.points.iter().map(number).collect()
    }
}

impl Comparison {
    /// Holds every case against the first. Metrics are paired by key, their runs by place.
    pub fn of(title: impl Into<String>, question: impl Into<String>, cases: Vec<Named>) -> Self {
        let mut differences = Vec::new();
        if let Some((first, others)) = cases.split_first() {
            for metric in &first.outcome.metrics {
                for other in others {
                    if let Some(theirs) = other.outcome.metric(&metric.key) {
                        differences.push(Difference::between(&other.name, metric, theirs));
                    }
                }
            }
        }
        Self { title: title.into(), question: question.into(), answer: Vec::new(), cases, differences }
    }
}

impl Difference {
    /// How `case`'s metric differs from the same metric of the first case. Without runs (calculated figures) the
    /// difference is exact.
    #[must_use]
    pub fn between(case: &str, first: &Metric, metric: &Metric) -> Self {
        let calculated = metric.runs.is_empty() && first.runs.is_empty();
        let paired = stats::difference(&first.runs, &metric.runs).filter(|paired| paired.runs.len() > 1);
        let by = metric.mean - first.mean;
        let (mean, low, high) = paired.as_ref().map_or((by, by, by), |paired| (paired.mean, paired.low, paired.high));
        let known = (calculated || paired.is_some()) && low.is_finite() && high.is_finite();
        let verdict = if known { Verdict::of(low, high, first.better) } else { Verdict::Unknown };
        let (key, name, unit) = (first.key.clone(), first.name.clone(), first.unit.clone());
        Self { case: case.into(), key, name, unit, mean, low, high, verdict }
    }
}

impl Verdict {
    /// What an interval of differences shows.
    #[must_use]
    pub fn of(low: f64, high: f64, better: Better) -> Self {
        if low == 0.0 && high == 0.0 {
            return Self::Equal;
        }
        match (low > 0.0, high < 0.0, better) {
            (true, _, Better::Higher) | (_, true, Better::Lower) => Self::Better,
            (true, _, Better::Lower) | (_, true, Better::Higher) => Self::Worse,
            (true, _, Better::Neither) => Self::Higher,
            (_, true, Better::Neither) => Self::Lower,
            (false, false, _) => Self::NotShown,
        }
    }

    /// It in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Higher => "higher",
            Self::Lower => "lower",
            Self::Equal => "the same",
            Self::NotShown => "no difference shown",
            Self::Unknown => "not known",
        }
    }
}

impl Target {
    /// Whether the mean of this target's metric keeps the bound; not where it was not measured.
    #[must_use]
    pub fn is_met_by(&self, outcome: &Outcome) -> bool {
        outcome
            .metric(&self.key)
            .is_some_and(|metric| if self.at_least { metric.mean >= self.limit } else { metric.mean <= self.limit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison(first: Vec<f64>, second: Vec<f64>) -> Comparison {
        let case = |name: &str, runs| Named {
            name: name.into(),
            outcome: Outcome {
                metrics: vec![Metric::of("egress", "Egress", "Mb/s", "Seed", runs).lower_is_better()],
                ..Outcome::default()
            },
        };
        Comparison::of("t", "q", vec![case("first", first), case("second", second)])
    }

    #[test]
    fn runs_are_held_against_each_other_one_by_one() {
        // Both spread widely, yet the second is lower by one in every run, give or take little.
        let shown = comparison(vec![10.0, 50.0, 90.0], vec![9.0, 48.9, 89.1]);
        assert_eq!(shown.differences[0].verdict, Verdict::Better);
        assert!((shown.differences[0].mean + 1.0).abs() < 1e-9);
        let chance = comparison(vec![10.0, 50.0, 90.0], vec![50.0, 90.0, 10.0]);
        assert_eq!(chance.differences[0].verdict, Verdict::NotShown);
        assert_eq!(comparison(vec![1.0, 2.0], vec![1.0, 2.0]).differences[0].verdict, Verdict::Equal);
    }

    #[test]
    fn nothing_is_claimed_without_two_pairs_of_runs() {
        for (first, second) in [(vec![1.0], vec![2.0]), (vec![1.0, 2.0], vec![2.0]), (vec![], vec![1.0, 1.0])] {
            assert_eq!(comparison(first, second).differences[0].verdict, Verdict::Unknown);
        }
    }

    #[test]
    fn a_target_is_met_only_by_what_was_measured() {
        let outcome = comparison(vec![10.0, 10.0], vec![]).cases.remove(0).outcome;
        let target = |key: &str, limit, at_least| Target { key: key.into(), limit, at_least }.is_met_by(&outcome);
        assert!(target("egress", 10.0, false) && target("egress", 10.0, true));
        assert!(!target("egress", 9.0, false) && !target("egress", 11.0, true) && !target("other", 9.0, true));
        assert!(!target("egress", f64::NAN, true) && !target("egress", f64::NAN, false));
    }
}
