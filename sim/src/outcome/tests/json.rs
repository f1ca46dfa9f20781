//! A result comes back from its JSON.

use crate::outcome::{Distribution, Line, Metric, Outcome, Report, Series};

#[test]
fn a_report_comes_back_from_its_json() {
    let metric = Metric::of("egress", "Egress", "Mb/s", "Seed", vec![1.5, 2.5]).lower_is_better().headline();
    let series = Series { x: vec![0.0, 1.0], lines: vec![Line::exact("Seed", vec![0.25, 4.0])], ..Series::default() };
    let outcome = Outcome { title: "t".into(), metrics: vec![metric], series: vec![series], ..Outcome::default() };
    let report = Report::Run(outcome);
    let text = serde_json::to_string(&report).expect("serialises");
    assert_eq!(serde_json::from_str::<Report>(&text).expect("reads back"), report);
}

#[test]
fn what_is_not_finite_is_null_in_json_and_no_number_after_it() {
    let metric = Metric { mean: f64::INFINITY, runs: vec![f64::NAN, 1.0], ..Metric::default() };
    let points = vec![(0.5, f64::NEG_INFINITY)];
    let distributions = vec![Distribution { points, ..Distribution::default() }];
    let outcome = Outcome { metrics: vec![metric], distributions, ..Outcome::default() };
    let text = serde_json::to_string(&outcome).expect("serialises");
    let back: Outcome = serde_json::from_str(&text).expect("reads back");
    assert!(back.metrics[0].mean.is_nan() && back.metrics[0].runs[0].is_nan() && back.metrics[0].runs[1] == 1.0);
    assert!(back.distributions[0].points[0].1.is_nan());
}
