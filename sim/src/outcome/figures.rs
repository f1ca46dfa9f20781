//! What is told by more than one number: courses over time, parts of a whole, and spreads.

use serde::{Deserialize, Serialize};

use super::json;
use super::metric::interval;

/// One or more courses over a common axis, in most cases time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Name for programs.
    pub key: String,
    /// Name for people.
    pub name: String,
    /// What it shows and how to read it; may be empty.
    pub help: String,
    /// Unit of the values, as [the module](super) says.
    pub unit: String,
    /// What the axis is: "Hour of the day".
    pub x_name: String,
    /// Unit of the axis; `h` and `o'clock` get ticks that divide a day.
    pub x_unit: String,
    /// Places on the axis, in rising order.
    #[serde(with = "json::numbers")]
    pub x: Vec<f64>,
    /// The courses, each as long as `x`.
    pub lines: Vec<Line>,
    /// Whether the lines are parts of a whole, to be drawn on top of one another.
    pub stacked: bool,
}

/// One course.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Whose it is.
    pub name: String,
    /// Mean over the runs at each place; not a number where nothing was measured.
    #[serde(with = "json::numbers")]
    pub mean: Vec<f64>,
    /// Low ends of the 95 % intervals; empty: none.
    #[serde(with = "json::numbers")]
    pub low: Vec<f64>,
    /// High ends of the 95 % intervals; empty: none.
    #[serde(with = "json::numbers")]
    pub high: Vec<f64>,
}

/// What a total is made of, such as the reasons why bytes came from the seed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Breakdown {
    /// Name for programs.
    pub key: String,
    /// Name for people.
    pub name: String,
    /// What it shows and how to read it; may be empty.
    pub help: String,
    /// Unit of the parts, as [the module](super) says.
    pub unit: String,
    /// The parts, in the order in which they are to be read.
    pub parts: Vec<Part>,
}

/// One part of a total.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// What it means and what to do about it, as a sentence.
    pub help: String,
    /// Mean over the runs.
    #[serde(with = "json::number")]
    pub mean: f64,
    /// Low end of the 95 % interval; the mean where there is none.
    #[serde(with = "json::number")]
    pub low: f64,
    /// High end of the 95 % interval; the mean where there is none.
    #[serde(with = "json::number")]
    pub high: f64,
}

/// How often which value was met.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// Name for programs.
    pub key: String,
    /// Name for people: "Time until playback begins".
    pub name: String,
    /// What it shows and how to read it; may be empty.
    pub help: String,
    /// Unit of the values, as [the module](super) says.
    pub unit: String,
    /// What is counted, in the plural: "starts", "homes".
    pub of: String,
    /// Whether the values call for a logarithmic axis.
    pub log: bool,
    /// Quantile (0 to 1) and value, in rising order.
    #[serde(with = "json::pairs")]
    pub points: Vec<(f64, f64)>,
}

impl Line {
    /// A course by its values in each run (the runs need not be equally long; a place's mean is over those that reach it).
    pub fn of(name: impl Into<String>, runs: &[Vec<f64>]) -> Self {
        let places = runs.iter().map(Vec::len).max().unwrap_or(0);
        let mut line = Self { name: name.into(), ..Self::default() };
        for place in 0..places {
            let values: Vec<f64> = runs.iter().filter_map(|run| run.get(place).copied()).collect();
            let (mean, low, high) = interval(&values);
            line.mean.push(mean);
            line.low.push(low);
            line.high.push(high);
        }
        line
    }

    /// A course that was calculated: without intervals.
    pub fn exact(name: impl Into<String>, values: Vec<f64>) -> Self {
        Self { name: name.into(), mean: values, ..Self::default() }
    }
}

impl Breakdown {
    /// What the parts add up to, where that is a whole to say their shares of: none where a part is below zero, or where
    /// they are shares already.
    #[must_use]
    pub fn whole(&self) -> Option<f64> {
        let known = self.parts.iter().map(|part| part.mean).filter(|mean| mean.is_finite());
        let total: f64 = known.clone().sum();
        let sound = total.is_finite() && total > 0.0 && known.clone().all(|mean| mean >= 0.0);
        (sound && !self.unit.starts_with("share")).then_some(total)
    }
}

impl Distribution {
    /// The value that so great a part of all cases (0 to 1) does not exceed, between neighbouring points in proportion; none
    /// beyond the outermost points.
    #[must_use]
    pub fn at(&self, quantile: f64) -> Option<f64> {
        at(&self.drawable(), quantile)
    }

    /// The points that are on a scale of quantiles and finite, in order.
    pub(super) fn drawable(&self) -> Vec<(f64, f64)> {
        let sound = |(part, value): &&(f64, f64)| (0.0..=1.0).contains(part) && value.is_finite();
        let mut points: Vec<(f64, f64)> = self.points.iter().filter(sound).copied().collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        points
    }
}

/// The value at a quantile of points in order.
pub(super) fn at(points: &[(f64, f64)], quantile: f64) -> Option<f64> {
    let after = points.iter().position(|(part, _)| *part >= quantile - 1e-9)?;
    let (part, value) = points[after];
    if part <= quantile + 1e-9 {
        return Some(value);
    }
    let (before, from) = *points.get(after.checked_sub(1)?)?;
    // In halves, so that not even the largest numbers overflow.
    let weight = (quantile - before) / (part - before);
    Some(from * (1.0 - weight) + value * weight)
}

impl Part {
    /// A part by its value in each run, and what it means.
    pub fn of(name: impl Into<String>, help: impl Into<String>, runs: &[f64]) -> Self {
        let (mean, low, high) = interval(runs);
        Self { name: name.into(), help: help.into(), mean, low, high }
    }
}
