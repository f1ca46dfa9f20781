//! One tidy table of everything: a line per number, RFC 4180.
//!
//! | column | holds |
//! | --- | --- |
//! | `case` | which point of a sweep, or which case of a comparison; empty for a single scenario |
//! | `kind` | `setting`, `metric`, `series`, `breakdown`, `distribution`, `difference` |
//! | `key`, `name` | of the thing |
//! | `part` | line of a series, part of a breakdown, verdict of a difference, value of a setting |
//! | `unit` | of the numbers, never rescaled |
//! | `x` | place of a series, quantile of a distribution |
//! | `mean`, `low`, `high` | the value and the ends of its 95 % interval |
//! | `run_1`, … | the value in each run |
//!
//! What is not finite is an empty field.

use std::iter;

use super::{Difference, Outcome, Report};

const COLUMNS: [&str; 10] = ["case", "kind", "key", "name", "part", "unit", "x", "mean", "low", "high"];

/// One line of the table.
#[derive(Default)]
struct Row<'a> {
    kind: &'a str,
    key: &'a str,
    name: &'a str,
    part: &'a str,
    unit: &'a str,
    x: Option<f64>,
    values: [f64; 3],
    runs: &'a [f64],
}

/// The table being made.
struct Table {
    out: ::csv::Writer<Vec<u8>>,
    runs: usize,
}

/// The table of one scenario.
#[must_use]
pub fn csv(outcome: &Outcome) -> String {
    table(&[("", outcome)], &[])
}

/// The table of any result.
#[must_use]
pub fn report(report: &Report) -> String {
    let points = |sweep: &super::Sweep| -> String {
        let cases: Vec<_> = sweep.points.iter().map(|point| (point.value.as_str(), &point.outcome)).collect();
        table(&cases, &[])
    };
    match report {
        Report::Run(outcome) => csv(outcome),
        Report::Sweep(sweep) => points(sweep),
        Report::Solution(solution) => points(&solution.sweep),
        Report::Comparison(comparison) => {
            let cases: Vec<_> = comparison.cases.iter().map(|case| (case.name.as_str(), &case.outcome)).collect();
            table(&cases, &comparison.differences)
        }
    }
}

fn table(cases: &[(&str, &Outcome)], differences: &[Difference]) -> String {
    let runs =
        cases.iter().flat_map(|(_, outcome)| &outcome.metrics).map(|metric| metric.runs.len()).max().unwrap_or(0);
    let out = ::csv::WriterBuilder::new().terminator(::csv::Terminator::CRLF).from_writer(Vec::new());
    let mut table = Table { out, runs };
    let heads = COLUMNS.map(str::to_owned).into_iter().chain((1..=runs).map(|run| format!("run_{run}")));
    table.record(heads);
    for (case, outcome) in cases {
        table.outcome(case, outcome);
    }
    for difference in differences {
        let Difference { case, key, name, unit, mean, low, high, verdict } = difference;
        let values = [*mean, *low, *high];
        table.row(case, &Row { kind: "difference", key, name, part: verdict.words(), unit, values, ..Row::default() });
    }
    // Only our own strings and numbers go in: the bytes are UTF-8.
    table.out.into_inner().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

impl Table {
    fn outcome(&mut self, case: &str, outcome: &Outcome) {
        for setting in &outcome.plan {
            let values = [setting.value.parse().unwrap_or(f64::NAN), f64::NAN, f64::NAN];
            let (key, part, unit) = (&setting.path, &setting.value, &setting.unit);
            self.row(case, &Row { kind: "setting", key, name: &setting.help, part, unit, values, ..Row::default() });
        }
        for metric in &outcome.metrics {
            let values = [metric.mean, metric.low, metric.high];
            let (key, name, unit, runs) = (&metric.key, &metric.name, &metric.unit, &metric.runs);
            self.row(case, &Row { kind: "metric", key, name, unit, values, runs, ..Row::default() });
        }
        for series in &outcome.series {
            for line in &series.lines {
                for (index, (x, mean)) in series.x.iter().zip(&line.mean).enumerate() {
                    let end = |ends: &[f64]| ends.get(index).copied().unwrap_or(f64::NAN);
                    let values = [*mean, end(&line.low), end(&line.high)];
                    let (key, name, part, unit) = (&series.key, &series.name, &line.name, &series.unit);
                    self.row(
                        case,
                        &Row { kind: "series", key, name, part, unit, x: Some(*x), values, ..Row::default() },
                    );
                }
            }
        }
        for breakdown in &outcome.breakdowns {
            for part in &breakdown.parts {
                let values = [part.mean, part.low, part.high];
                let (key, name, unit) = (&breakdown.key, &breakdown.name, &breakdown.unit);
                self.row(case, &Row { kind: "breakdown", key, name, part: &part.name, unit, values, ..Row::default() });
            }
        }
        for distribution in &outcome.distributions {
            for (quantile, value) in &distribution.points {
                let values = [*value, f64::NAN, f64::NAN];
                let (key, name, unit) = (&distribution.key, &distribution.name, &distribution.unit);
                let x = Some(*quantile);
                self.row(case, &Row { kind: "distribution", key, name, unit, x, values, ..Row::default() });
            }
        }
    }

    fn row(&mut self, case: &str, row: &Row<'_>) {
        let words = [case, row.kind, row.key, row.name, row.part, row.unit].map(str::to_owned);
        let runs = row.runs.iter().copied().chain(iter::repeat(f64::NAN)).take(self.runs);
        let numbers = iter::once(row.x.unwrap_or(f64::NAN)).chain(row.values).chain(runs).map(number);
        self.record(words.into_iter().chain(numbers));
    }

    fn record(&mut self, fields: impl Iterator<Item = String>) {
        // Every record has as many fields, and memory does not refuse to be written.
        self.out.write_record(fields).expect("a record of the table's width, to memory");
    }
}

/// The shortest text that reads back as the same number.
fn number(value: f64) -> String {
    match value {
        value if !value.is_finite() => String::new(),
        value if value == 0.0 || (1e-6..1e15).contains(&value.abs()) => format!("{value}"),
        value => format!("{value:e}"),
    }
}
