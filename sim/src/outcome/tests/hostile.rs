//! Outcomes as bad as they can be: no form of them panics.

use proptest::collection::vec;
use proptest::prelude::*;

use super::pages::{check_drawings, read};
use crate::outcome::{
    Breakdown, Comparison, Distribution, Line, Metric, Named, Outcome, Part, Point, Report, Series, Setting, Solution,
    Sweep, Target,
};

/// Numbers that break arithmetic, and ordinary ones.
fn numbers() -> impl Strategy<Value = f64> {
    let strange = [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MAX,
        f64::MIN,
        f64::MIN_POSITIVE,
        f64::MIN_POSITIVE / 4.0,
        -0.0,
        0.0,
        1e-300,
        1e17,
        1e17 + 64.0,
        999_999.999,
    ];
    prop_oneof![3 => -1e4..1e4f64, 1 => proptest::sample::select(strange.to_vec()), 1 => proptest::num::f64::ANY]
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![2 => "[a-zA-Z ]{0,20}", 1 => "\\PC{0,40}", 1 => proptest::collection::vec(any::<char>(), 0..12).prop_map(String::from_iter)]
}

fn units() -> impl Strategy<Value = String> {
    let known =
        ["", "Mb/s", "GB per month", "share", "s", "ms", "h", "d", "us", "PB", "homes", "EUR", "EB", "Pb/s", "o'clock"];
    prop_oneof![4 => proptest::sample::select(known.map(str::to_owned).to_vec()), 1 => texts()]
}

fn metric() -> impl Strategy<Value = Metric> {
    // Few keys, so that cases share some.
    ("[ab]", texts(), units(), texts(), vec(numbers(), 0..4), any::<bool>(), (numbers(), numbers())).prop_map(
        |(key, name, unit, group, runs, headline, (low, high))| {
            let metric = Metric::of(key, name, unit, group, runs);
            if headline { Metric { low, high, ..metric }.headline() } else { metric }
        },
    )
}

fn line() -> impl Strategy<Value = Line> {
    (texts(), vec(numbers(), 0..30), vec(numbers(), 0..30), vec(numbers(), 0..30))
        .prop_map(|(name, mean, low, high)| Line { name, mean, low, high })
}

fn series() -> impl Strategy<Value = Series> {
    (texts(), units(), units(), vec(numbers(), 0..30), vec(line(), 0..4), any::<bool>()).prop_map(
        |(name, unit, x_unit, x, lines, stacked)| Series {
            key: "a".into(),
            x_name: name.clone(),
            help: name.clone(),
            name,
            unit,
            x_unit,
            x,
            lines,
            stacked,
        },
    )
}

fn breakdown() -> impl Strategy<Value = Breakdown> {
    let part = (texts(), numbers(), numbers(), numbers()).prop_map(|(name, mean, low, high)| {
        let help = name.clone();
        Part { name, help, mean, low, high }
    });
    (texts(), units(), vec(part, 0..5)).prop_map(|(name, unit, parts)| Breakdown {
        key: "a".into(),
        help: String::new(),
        name,
        unit,
        parts,
    })
}

fn distribution() -> impl Strategy<Value = Distribution> {
    let point = (prop_oneof![4 => 0.0..=1.0f64, 1 => numbers()], numbers());
    (texts(), units(), any::<bool>(), vec(point, 0..20)).prop_map(|(name, unit, log, points)| Distribution {
        key: "a".into(),
        help: String::new(),
        of: name.clone(),
        name,
        unit,
        log,
        points,
    })
}

/// Any outcome.
pub(super) fn outcomes() -> impl Strategy<Value = Outcome> {
    let figures = (vec(series(), 0..3), vec(breakdown(), 0..3), vec(distribution(), 0..3));
    let plan = vec((texts(), texts(), units()).prop_map(|(path, value, unit)| Setting::new(path, value, unit)), 0..4);
    (vec(texts(), 6), 0..3u64, plan, vec(metric(), 0..5), figures).prop_map(
        |(texts, replications, plan, metrics, (series, breakdowns, distributions))| {
            let [title, question, answer, level, policy, note] =
                <[String; 6]>::try_from(texts).unwrap_or_else(|texts| panic!("six texts, not {}", texts.len()));
            let (answer, notes) = (vec![answer], vec![note]);
            Outcome {
                title,
                question,
                answer,
                level,
                policy,
                replications,
                plan,
                metrics,
                series,
                breakdowns,
                distributions,
                notes,
            }
        },
    )
}

/// Any result of several scenarios.
pub(super) fn studies() -> impl Strategy<Value = [Report; 3]> {
    let values = prop_oneof![4 => numbers().prop_map(|number| number.to_string()), 1 => texts()];
    (vec((values, outcomes()), 0..4), texts(), numbers(), units()).prop_map(|(points, text, limit, unit)| {
        let named = |(name, outcome): (String, Outcome)| Named { name, outcome };
        let comparison = Comparison::of(text.clone(), text.clone(), points.clone().into_iter().map(named).collect());
        let found = points.last().map(|(value, _)| value.clone());
        let sweep = Sweep {
            title: text.clone(),
            question: text.clone(),
            answer: vec![text.clone()],
            parameter: Setting::new(text.clone(), "1", unit),
            name: text,
            points: points.into_iter().map(|(value, outcome)| Point { value, outcome }).collect(),
        };
        let target = |key: &str| Target { key: key.into(), limit, at_least: false };
        let solution = Solution { sweep: sweep.clone(), targets: vec![target("a"), target("none")], found };
        [Report::Sweep(sweep), Report::Comparison(comparison), Report::Solution(solution)]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_study_has_every_form(reports in studies()) {
        for report in reports {
            check_drawings(&read(&report.page()));
            super::forms::check_table(&report.csv());
            super::forms::check_text(&report.to_string());
            let text = serde_json::to_string(&report).expect("serialises");
            prop_assert!(serde_json::from_str::<Report>(&text).is_ok());
        }
    }
}
