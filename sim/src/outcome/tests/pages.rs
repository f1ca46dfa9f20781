//! Laws of the page.

use proptest::prelude::*;
use xmltree::{Element, XMLNode};

use super::hostile::outcomes;
use super::sample;
use crate::outcome::{Breakdown, Distribution, Line, Metric, Outcome, Part, Report, Series, page};

/// The page read by a strict XML parser: all is closed, all is escaped.
pub(super) fn read(page: &str) -> Element {
    let body = page.strip_prefix("<!DOCTYPE html>\n").expect("begins with its type");
    Element::parse(body.as_bytes()).unwrap_or_else(|error| panic!("{error}"))
}

/// All elements of a page, itself among them.
pub(super) fn elements(root: &Element) -> Vec<&Element> {
    let mut all = vec![root];
    let mut next = 0;
    while let Some(element) = all.get(next).copied() {
        all.extend(element.children.iter().filter_map(XMLNode::as_element));
        next += 1;
    }
    all
}

/// All text that is to be read, in order of depth.
pub(super) fn words(root: &Element) -> String {
    let visible = elements(root).into_iter().filter(|element| element.name != "style");
    let texts = visible.flat_map(|element| element.children.iter().filter_map(XMLNode::as_text));
    texts.collect::<Vec<_>>().join("\n")
}

fn reports() -> [Report; 4] {
    [
        Report::Run(sample::outcome(2e4, 0.085)),
        Report::Sweep(sample::sweep()),
        Report::Comparison(sample::comparison()),
        Report::Solution(sample::solution()),
    ]
}

/// The pairs of numbers in a path.
fn points(d: &str) -> Vec<(f64, f64)> {
    let numbers = d.split(|c: char| c.is_ascii_alphabetic() || c.is_whitespace()).filter(|part| !part.is_empty());
    let numbers: Vec<f64> =
        numbers.map(|number| number.parse().unwrap_or_else(|_| panic!("{number} in {d}"))).collect();
    numbers.chunks(2).map(|pair| (pair[0], pair[1])).collect()
}

/// All numbers of all drawings are finite and all drawings lie within their frames.
pub(super) fn check_drawings(root: &Element) {
    for svg in elements(root).into_iter().filter(|element| element.name == "svg") {
        let frame: Vec<f64> = svg.attributes["viewBox"].split(' ').map(|n| n.parse().expect("a number")).collect();
        let (width, height) = (frame[2], frame[3]);
        for element in elements(svg) {
            let number = |name: &str| {
                element
                    .attributes
                    .get(name)
                    .map(|value| value.parse::<f64>().unwrap_or_else(|_| panic!("{name}={value}")))
            };
            let x = ["x", "x1", "x2", "cx"].into_iter().filter_map(number);
            let y = ["y", "y1", "y2", "cy"].into_iter().filter_map(number);
            let path = element.attributes.get("d").map(|d| points(d)).unwrap_or_default();
            let sizes = ["width", "height", "r"].into_iter().filter_map(number).collect::<Vec<_>>();
            assert!(sizes.iter().all(|size| (0.0..=width.max(height)).contains(size)), "{element:?}");
            for x in x.chain(path.iter().map(|point| point.0)) {
                assert!((0.0..=width).contains(&x), "{x} of {width}: {element:?}");
            }
            for y in y.chain(path.iter().map(|point| point.1)) {
                assert!((0.0..=height).contains(&y), "{y} of {height}: {element:?}");
            }
        }
    }
}

#[test]
fn every_page_is_well_formed_and_drawn_within_its_frames() {
    for report in reports() {
        check_drawings(&read(&report.page()));
    }
}

#[test]
fn a_page_needs_nothing_from_elsewhere() {
    for report in reports() {
        let page = report.page();
        for outside in ["http:", "https:", "//", "@import", "url(", "src=", "<script", "<link", "javascript:"] {
            assert!(!page.contains(outside), "{outside}");
        }
        let root = read(&page);
        let links = elements(&root).into_iter().filter_map(|element| element.attributes.get("href"));
        let ids: Vec<_> = elements(&root).into_iter().filter_map(|element| element.attributes.get("id")).collect();
        for link in links {
            assert!(link.strip_prefix('#').is_some_and(|id| ids.iter().any(|known| *known == id)), "{link}");
        }
    }
}

#[test]
fn every_drawing_has_a_name_a_description_and_a_table_of_its_values() {
    for report in reports() {
        let root = read(&report.page());
        let mut ids = std::collections::BTreeSet::new();
        for id in elements(&root).into_iter().filter_map(|element| element.attributes.get("id")) {
            assert!(ids.insert(id.clone()), "{id} twice");
        }
        for figure in elements(&root).into_iter().filter(|element| element.name == "figure") {
            let drawings: Vec<_> =
                figure.children.iter().filter_map(XMLNode::as_element).filter(|e| e.name == "svg").collect();
            for drawing in &drawings {
                for id in drawing.attributes["aria-labelledby"].split(' ') {
                    assert!(ids.contains(id), "{id}");
                }
                assert!(drawing.get_child("title").is_some() && drawing.get_child("desc").is_some());
            }
            assert!(drawings.is_empty() || figure.get_child("details").is_some(), "no values: {}", words(figure));
            assert!(elements(figure).iter().any(|element| element.name == "table"), "no table: {}", words(figure));
        }
    }
}

#[test]
fn question_answer_and_the_meaning_of_seed_come_before_any_figure() {
    let outcome = sample::outcome(2e4, 0.085);
    let page = page(&outcome);
    let place = |text: &str| page.find(&text.replace('\'', "&#39;")).unwrap_or_else(|| panic!("{text}"));
    let order =
        [&outcome.title, &outcome.question, &outcome.answer[0], "the broadcaster's own servers", "class=\"cards\""];
    // The title is in the head too, so its place there must not count.
    assert!(order.windows(2).skip(1).all(|pair| place(pair[0]) < place(pair[1])));
    assert!(place(&outcome.title) < place(&outcome.question));
}

#[test]
fn a_band_holds_its_line() {
    let (x, mean): (Vec<f64>, Vec<f64>) = (0..5000).map(|n| (f64::from(n), (f64::from(n) / 300.0).sin() + 1.5)).unzip();
    let ends = |by: f64| mean.iter().map(|value| value + by).collect::<Vec<_>>();
    let line = Line { name: "one".into(), low: ends(-0.3), high: ends(0.2), mean: mean.clone() };
    let series = Series { name: "s".into(), unit: "Mb/s".into(), x, lines: vec![line], ..Series::default() };
    let root = read(&page(&Outcome { series: vec![series], ..Outcome::default() }));
    let paths = |class: &str| -> Vec<Vec<(f64, f64)>> {
        let of = |e: &&Element| e.name == "path" && e.attributes.get("class").is_some_and(|own| own.starts_with(class));
        elements(&root)
            .into_iter()
            .filter(of)
            .map(|element| points(element.attributes["d"].trim_end_matches('Z')))
            .collect()
    };
    let (bands, lines) = (paths("band"), paths("line"));
    assert_eq!((bands.len(), lines.len()), (2, 2), "one of each per form");
    for (band, line) in bands.iter().zip(&lines) {
        assert_eq!(band.len(), line.len() * 2);
        assert!(line.len() < 1000, "{} points of 5000 are drawn", line.len());
        for ((upper, lower), on) in band.iter().zip(band.iter().rev()).zip(line) {
            assert!(upper.1 <= on.1 && on.1 <= lower.1, "{upper:?} {on:?} {lower:?}");
        }
    }
}

#[test]
fn a_single_peak_among_many_values_is_drawn() {
    let course = |peak: Option<usize>| {
        let mean: Vec<f64> = (0..10_000).map(|n| if Some(n) == peak { 100.0 } else { 1.0 }).collect();
        let x = (0..10_000).map(f64::from).collect();
        Series { unit: "Mb/s".into(), x, lines: vec![Line::exact("", mean)], ..Series::default() }
    };
    let highest = |series| {
        let root = read(&page(&Outcome { series: vec![series], ..Outcome::default() }));
        let lines = elements(&root).into_iter().filter(|e| e.attributes.get("class").is_some_and(|c| c == "line t0"));
        let points = lines.flat_map(|line| points(&line.attributes["d"])).collect::<Vec<_>>();
        points.into_iter().map(|point| point.1).fold(f64::INFINITY, f64::min)
    };
    for peak in [0, 4711, 9999] {
        assert_eq!(highest(course(Some(peak))), 30.0, "at the top of the drawing");
    }
}

#[test]
fn what_was_not_measured_is_said_where_it_would_be_drawn() {
    let nothing = Outcome {
        series: vec![Series { name: "a course".into(), ..Series::default() }],
        breakdowns: vec![Breakdown { name: "a whole".into(), ..Breakdown::default() }],
        distributions: vec![Distribution {
            name: "a spread".into(),
            points: vec![(0.5, f64::NAN)],
            ..Distribution::default()
        }],
        metrics: vec![Metric::of("k", "a figure", "Mb/s", "g", Vec::new()).headline()],
        ..Outcome::default()
    };
    let words = words(&read(&page(&nothing)));
    assert_eq!(words.matches("Nothing is drawn here: no value was measured.").count(), 3, "{words}");
    assert!(words.contains("not measured") && !words.contains("NaN"), "{words}");
}

#[test]
fn gaps_and_strange_values_are_counted_in_words() {
    let lines = vec![Line::exact("", vec![1.0, f64::NAN, 3.0, f64::INFINITY, 5.0])];
    let x = vec![0.0, 1.0, 2.0, 3.0, 4.0];
    let single = Series { x, lines, ..Series::default() };
    let stacked =
        Series { lines: vec![Line::exact("a", vec![1.0, -1.0, f64::NAN, 1.0, 1.0])], stacked: true, ..single.clone() };
    let words = words(&read(&page(&Outcome { series: vec![single, stacked], ..Outcome::default() })));
    assert!(words.contains("2 values were not measured; they are left out."), "{words}");
    assert!(words.contains("2 values were not measured or are below zero; they count as zero here."), "{words}");
}

#[test]
fn hostile_text_stays_text() {
    let evil = "</title></style><script>alert(1)</script>\"'&<b onload=x>\u{0}\u{202e}\u{ffff}]]>";
    let text = || evil.to_owned();
    let mut outcome = sample::outcome(2e4, 0.085);
    (outcome.title, outcome.question, outcome.policy, outcome.level) = (text(), text(), text(), text());
    outcome.answer.push(text());
    outcome.notes.push(text());
    outcome.metrics[0] = Metric::of(evil, evil, evil, evil, vec![1.0, 2.0]).explained(evil).headline();
    outcome.series[0].lines[0].name = text();
    outcome.series[0].x_name = text();
    outcome.series[1].unit = text();
    outcome.distributions[0].of = text();
    outcome.breakdowns[0].parts[0] = Part { name: text(), help: text(), ..outcome.breakdowns[0].parts[0].clone() };
    outcome.plan[0].path = text();
    let root = read(&page(&outcome));
    let known = ["b", "script", "iframe", "object", "img"];
    let strange = |element: &&Element| known.contains(&element.name.as_str()) && words(element).contains("alert");
    let scripts =
        elements(&root).into_iter().filter(|e| e.name == "script" || e.attributes.contains_key("onload")).count();
    assert_eq!((scripts, elements(&root).into_iter().filter(strange).count()), (0, 0));
    assert!(words(&root).contains("<script>alert(1)</script>"));
}

#[test]
fn names_of_any_length_stay_within_their_drawing() {
    let long = "an immeasurably long name of a line ".repeat(40);
    let unbroken = "x".repeat(4000);
    let lines =
        |count: usize| (0..count).map(|n| Line::exact(format!("{n} {long}"), vec![1.0, 2.0])).collect::<Vec<_>>();
    let series = |count, stacked| Series {
        name: long.clone(),
        x_name: unbroken.clone(),
        unit: format!("Mb/s {unbroken}"),
        x: vec![0.0, 1.0],
        lines: lines(count),
        stacked,
        ..Series::default()
    };
    let outcome = Outcome { series: vec![series(3, false), series(40, false), series(40, true)], ..Outcome::default() };
    check_drawings(&read(&page(&outcome)));
}

#[test]
fn a_parameter_of_words_has_its_words_whole() {
    let mut sweep = sample::sweep();
    let long = "the policy with a name that no axis has room for";
    sweep.points[0].value = long.into();
    let root = read(&Report::Sweep(sweep).page());
    let figures: Vec<String> = elements(&root).into_iter().filter(|e| e.name == "figure").map(words).collect();
    assert!(!figures.is_empty() && figures.iter().all(|figure| figure.contains(long)), "{figures:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_outcome_has_a_page_that_is_well_formed_and_the_same_each_time(outcome in outcomes()) {
        let text = page(&outcome);
        check_drawings(&read(&text));
        prop_assert_eq!(text, page(&outcome));
    }
}
