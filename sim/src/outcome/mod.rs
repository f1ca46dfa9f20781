//! What a study showed, and how it is told: the result's shape, and its readers' forms.
//!
//! ```text
//!   world, theory ──▶ Outcome ──▶ Sweep │ Comparison │ Solution ──▶ Report ──┬─▶ page     one HTML file, offline
//!                                                                           ├─▶ csv      one tidy table
//!                                                                           ├─▶ JSON     serde, and back again
//!                                                                           └─▶ Display  the terminal
//! ```
//!
//! An [`Outcome`] is data: names, units and numbers, in the order in which they are to be read. It decides nothing and
//! knows nothing of how it came about, so a page can be made anew from the JSON of an old run. The visible text is for
//! a capacity planner who has read nothing else: names and explanations are whole words, numbers carry a unit and, where
//! they come from several runs, a 95 % interval.
//!
//! Promises: the same outcome gives the same bytes in every form; nothing that an outcome can hold (no number, not-a-number,
//! a million points, hostile text) makes any form panic; no figure is empty without saying why.
//!
//! # Units
//!
//! A unit is text. Its first word is understood if it is one of these, and values are then shown with the prefix that
//! suits them (`3400 Mb/s` is shown as `3.4 Gb/s`); what follows is kept (`GB per home and month`). Any other unit is
//! shown as it is.
//!
//! | of | words |
//! | --- | --- |
//! | bits per second | `b/s` `kb/s` `Mb/s` `Gb/s` `Tb/s` |
//! | bytes | `B` `kB` `MB` `GB` `TB` `PB` |
//! | bytes per second | `B/s` `kB/s` `MB/s` `GB/s` |
//! | time | `us` `ms` `s` `min` `h` `d`, and `seconds` `minutes` `hours` `days` |
//! | a time of the day | `o'clock`, in hours, as the unit of an axis or a setting: 20.5 is shown as 20:30 |
//! | a part of a whole | `share`: 0.25 is shown as 25 % |

mod csv;
mod figures;
mod json;
mod metric;
mod page;
mod setting;
mod study;
mod text;
mod units;

use serde::{Deserialize, Serialize};

pub use csv::csv;
pub use figures::{Breakdown, Distribution, Line, Part, Series};
pub use metric::{Better, Metric};
pub use page::page;
pub use setting::Setting;
pub use study::{Comparison, Difference, Named, Point, Solution, Sweep, Target, Verdict};

/// What the runs of one scenario showed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Name of the scenario.
    pub title: String,
    /// What was asked, as a sentence.
    pub question: String,
    /// The answer, in sentences; the first is the one to remember.
    pub answer: Vec<String>,
    /// How it was found: `l0` closed forms, `l1` events, `l2` the real programs.
    pub level: String,
    /// Which policy of exchange decided.
    pub policy: String,
    /// Runs with different random numbers; 0 where nothing is random.
    pub replications: u64,
    /// The scenario, all of it.
    pub plan: Vec<Setting>,
    /// Single figures.
    pub metrics: Vec<Metric>,
    /// What happened over time.
    pub series: Vec<Series>,
    /// What a total is made of.
    pub breakdowns: Vec<Breakdown>,
    /// How often which value was met.
    pub distributions: Vec<Distribution>,
    /// What is not modelled, what to mind.
    pub notes: Vec<String>,
}

/// Any result, as its JSON tells: what `report` reads to make the other forms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Report {
    /// One scenario.
    Run(Outcome),
    /// One scenario at several values of a parameter.
    Sweep(Sweep),
    /// Several scenarios, or policies, under the same chance.
    Comparison(Comparison),
    /// The smallest value of a parameter that meets targets.
    Solution(Solution),
}

impl Report {
    /// Its page: one HTML file that needs nothing else.
    #[must_use]
    pub fn page(&self) -> String {
        page::report(self)
    }

    /// Its table, as [`csv`](csv()) has it.
    #[must_use]
    pub fn csv(&self) -> String {
        csv::report(self)
    }
}

impl Outcome {
    /// The metric of this key.
    #[must_use]
    pub fn metric(&self, key: &str) -> Option<&Metric> {
        self.metrics.iter().find(|metric| metric.key == key)
    }
}

#[cfg(test)]
mod tests;
