//! Laws of the table and of the terminal's text.

use proptest::prelude::*;
use unicode_width::UnicodeWidthStr;

use super::hostile::outcomes;
use super::sample;
use crate::outcome::{Metric, Outcome, Report, csv};

/// The records of a table, heads first; all as long as the heads.
pub(super) fn check_table(table: &str) -> Vec<Vec<String>> {
    let reader =
        ::csv::ReaderBuilder::new().has_headers(false).flexible(false).from_reader(table.as_bytes()).into_records();
    let records =
        reader.map(|record| record.expect("a record as long as the heads").iter().map(str::to_owned).collect());
    records.collect()
}

/// A text fits a terminal, and does nothing but stand there.
pub(super) fn check_text(text: &str) {
    for line in text.lines() {
        assert!(line.width() <= 100, "{} columns: {line}", line.width());
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
}

#[test]
fn the_table_holds_every_number_of_an_outcome() {
    let outcome = sample::outcome(2e4, 0.085);
    let records = check_table(&csv(&outcome));
    let of = |kind: &str| records.iter().filter(|record| record[1] == kind).count();
    assert_eq!(records[0][..10], ["case", "kind", "key", "name", "part", "unit", "x", "mean", "low", "high"]);
    assert_eq!(records[0].len(), 10 + 10, "ten runs");
    assert_eq!((of("setting"), of("metric")), (outcome.plan.len(), outcome.metrics.len()));
    assert_eq!(of("series"), outcome.series.iter().map(|series| series.x.len() * series.lines.len()).sum::<usize>());
    assert_eq!(of("breakdown"), 6);
    assert_eq!(of("distribution"), outcome.distributions.iter().map(|one| one.points.len()).sum::<usize>());
    let metric = &outcome.metrics[0];
    let record = records.iter().find(|record| record[2] == metric.key).expect("is there");
    let numbers: Vec<f64> = record[7..].iter().map(|field| field.parse().expect("a number")).collect();
    assert_eq!(numbers[..3], [metric.mean, metric.low, metric.high]);
    assert_eq!(numbers[3..], metric.runs);
}

#[test]
fn the_table_quotes_what_would_end_a_field() {
    let name = "a, \"b\"\r\nc\n";
    let metrics = vec![Metric::of("k", name, ",", "", vec![f64::NAN, 1e300, -1e-300])];
    let table = csv(&Outcome { metrics, ..Outcome::default() });
    let records = check_table(&table);
    assert_eq!((records[1][3].as_str(), records[1][5].as_str()), (name, ","));
    assert_eq!(records[1][7..], ["", "", "", "", "1e300", "-1e-300"]);
    assert!(table.ends_with("\r\n"));
}

#[test]
fn a_study_names_the_case_of_every_line_and_its_differences() {
    let records = check_table(&Report::Comparison(sample::comparison()).csv());
    let differences: Vec<_> = records.iter().filter(|record| record[1] == "difference").collect();
    assert!(
        differences.iter().any(|record| record[0] == "In order" && record[2] == "seed_share" && record[4] == "worse")
    );
    assert!(differences.iter().all(|record| record[0] != "Ours"));
    let sweep = check_table(&Report::Sweep(sample::sweep()).csv());
    assert!(
        sweep[1..]
            .iter()
            .all(|record| ["1000", "2000", "5000", "10000", "20000", "50000", "100000"].contains(&&*record[0]))
    );
}

#[test]
fn a_terminal_shows_every_figure_with_its_unit_and_accuracy() {
    let outcome = sample::outcome(2e4, 0.085);
    let text = outcome.to_string();
    check_text(&text);
    assert!(outcome.metrics.iter().all(|metric| text.contains(&metric.name)), "{text}");
    assert!(text.contains("31.4 ± 0.4 TB") && text.contains("60 GB per month"), "{text}");
    for report in
        [Report::Comparison(sample::comparison()), Report::Sweep(sample::sweep()), Report::Solution(sample::solution())]
    {
        check_text(&report.to_string());
    }
    assert!(
        sample::comparison().to_string().contains("the same")
            && sample::solution().to_string().contains("20,000 homes")
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_outcome_has_a_table_and_a_text(outcome in outcomes()) {
        check_table(&csv(&outcome));
        check_text(&outcome.to_string());
    }
}
