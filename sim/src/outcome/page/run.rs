//! The page of one scenario, and the pieces of it that other pages have too.

use super::super::units::{Unit, as_written};
use super::super::{Breakdown, Metric, Outcome, Series, Setting};
use super::bars::{self, Bar};
use super::figure::{Figure, Tones};
use super::markup::Markup;
use super::{Top, courses, spread, stack, whole};

/// Figures that are seen first where the outcome names none.
const FIRST: usize = 6;

/// The page.
pub(super) fn page(outcome: &Outcome) -> String {
    let mut tones = Tones::default();
    let series = outcome.series.iter().enumerate();
    let over_time = series.map(|(index, series)| course(series, &format!("course-{index}"), &mut tones)).collect();
    let distributions = outcome.distributions.iter().enumerate();
    let spreads = distributions
        .map(|(index, one)| spread::figure(&[("", one)], &format!("spread-{index}"), &mut tones))
        .collect();
    let sections = [
        ("First to look at", cards(outcome)),
        ("How it goes over time", figures(over_time)),
        ("What it is made of", breakdowns(&outcome.breakdowns)),
        ("How it varies", figures(spreads)),
        ("All figures", all_figures(&outcome.metrics)),
        ("The scenario", settings(&outcome.plan)),
        ("What to mind", notes(&outcome.notes)),
    ];
    let top = Top {
        kind: "capacity study",
        title: &outcome.title,
        question: &outcome.question,
        answer: &outcome.answer,
        how: how(outcome),
    };
    whole(&top, &sections)
}

/// How the figures came about, in sentences.
pub(super) fn how(outcome: &Outcome) -> Vec<String> {
    let mut sentences = vec![match outcome.level.as_str() {
        "l0" => "Calculated with closed formulas, without chance.".to_owned(),
        "l1" => "Simulated chunk by chunk; a chunk is some seconds of a programme.".to_owned(),
        "l2" => "Measured with the real programs.".to_owned(),
        other => other.to_owned(),
    }];
    match outcome.replications {
        0 => {}
        1 => sentences.push("One run: chance may have made any of these figures, and none has an interval.".into()),
        runs => sentences.push(format!("Mean of {runs} runs, each with chance of its own.")),
    }
    if !outcome.policy.is_empty() {
        sentences.push(format!("Who delivers is decided by the policy “{}”.", outcome.policy));
    }
    sentences
}

/// The figure of a series.
pub(super) fn course(series: &Series, id: &str, tones: &mut Tones) -> Figure {
    // A single line has no name to be told by, so it takes no tone from those that have.
    match (series.stacked, series.lines.len()) {
        (true, _) => stack::figure(series, id, tones),
        (false, 1) => courses::figure(series, id, &mut Tones::default()),
        (false, _) => courses::figure(series, id, tones),
    }
}

/// Figures below one another.
pub(super) fn figures(figures: Vec<Figure>) -> String {
    let mut out = Markup::default();
    for figure in figures {
        figure.write(&mut out);
    }
    out.finish()
}

/// The metrics that are to be seen first.
pub(super) fn first<'a>(metrics: impl Iterator<Item = &'a Metric> + Clone) -> Vec<&'a Metric> {
    let headlines: Vec<&Metric> = metrics.clone().filter(|metric| metric.headline).collect();
    if headlines.is_empty() { metrics.take(FIRST).collect() } else { headlines }
}

fn cards(outcome: &Outcome) -> String {
    let mut out = Markup::default();
    let first = first(outcome.metrics.iter());
    if first.is_empty() {
        return String::new();
    }
    out.open("ul", &[("class", "cards")]);
    for metric in first {
        let shown = Unit::of(&metric.unit).estimate(metric.mean, metric.low, metric.high);
        out.open("li", &[]).leaf("h3", &[], &metric.name);
        out.open("p", &[("class", "figure")]).text(&shown.value);
        if !shown.unit.is_empty() {
            out.text(" ").leaf("span", &[], &shown.unit);
        }
        out.close().leaf("p", &[("class", "between")], &accuracy(metric));
        if !metric.help.is_empty() {
            out.leaf("p", &[("class", "help")], &metric.help);
        }
        out.close();
    }
    out.finish()
}

/// How accurate a metric is, in words.
fn accuracy(metric: &Metric) -> String {
    let shown = Unit::of(&metric.unit).estimate(metric.mean, metric.low, metric.high);
    match (&shown.ends, metric.runs.len()) {
        _ if !metric.mean.is_finite() => String::new(),
        (Some((low, high)), _) => format!("95 % interval: {low} to {high}"),
        (None, 0) => "calculated".into(),
        (None, 1) => "one run, no interval".into(),
        (None, runs) if metric.runs.iter().all(|run| *run == metric.runs[0]) => format!("the same in all {runs} runs"),
        (None, _) => "no interval".into(),
    }
}

fn breakdowns(breakdowns: &[Breakdown]) -> String {
    let mut out = Markup::default();
    for breakdown in breakdowns {
        breakdown_into(&mut out, breakdown);
    }
    out.finish()
}

/// One breakdown as bars, the parts in their order.
fn breakdown_into(out: &mut Markup, breakdown: &Breakdown) {
    out.open("figure", &[]).open("figcaption", &[]).leaf("h3", &[], &breakdown.name);
    if !breakdown.help.is_empty() {
        out.leaf("p", &[], &breakdown.help);
    }
    out.close();
    let whole = breakdown.whole();
    let share = |mean: f64| if mean.is_finite() { Unit::of("share").show(mean) } else { String::new() };
    let bar = |part: &super::super::Part| Bar {
        name: part.name.clone(),
        help: part.help.clone(),
        mean: part.mean,
        low: part.low,
        high: part.high,
        tone: 0,
        more: whole.map(|total| ("", share(part.mean / total))).into_iter().collect(),
    };
    let bars: Vec<Bar> = breakdown.parts.iter().map(bar).collect();
    let heads: &[&str] = if whole.is_some() { &["Part", "Amount", "Of all"] } else { &["Part", "Amount"] };
    bars::write(out, heads, &bars, Unit::of(&breakdown.unit));
    if let Some(total) = whole {
        let all = format!("Together: {}.", Unit::of(&breakdown.unit).show(total));
        out.leaf("p", &[("class", "small")], &all);
    }
    out.close();
}

/// The metrics under their headings, in order of the headings' first appearance.
pub(super) fn groups<'a>(metrics: impl Iterator<Item = &'a Metric>) -> Vec<(&'a str, Vec<&'a Metric>)> {
    let mut groups: Vec<(&str, Vec<&Metric>)> = Vec::new();
    for metric in metrics {
        match groups.iter_mut().find(|(group, _)| *group == metric.group) {
            Some((_, members)) => members.push(metric),
            None => groups.push((&metric.group, vec![metric])),
        }
    }
    groups
}

fn all_figures(metrics: &[Metric]) -> String {
    let mut out = Markup::default();
    for (group, members) in groups(metrics.iter()) {
        out.leaf("h3", &[("class", "group")], if group.is_empty() { "Others" } else { group });
        out.open("div", &[("class", "scroll")]).open("table", &[("class", "figures")]);
        out.open("thead", &[]).open("tr", &[]);
        for head in ["Figure", "Mean", "95 % interval", "Lowest to highest"] {
            out.leaf("th", &[("scope", "col")], head);
        }
        out.close().close().open("tbody", &[]);
        for metric in members {
            row(&mut out, metric);
        }
        out.close().close().close();
    }
    out.finish()
}

fn row(out: &mut Markup, metric: &Metric) {
    let unit = Unit::of(&metric.unit);
    let shown = unit.estimate(metric.mean, metric.low, metric.high);
    out.open("tr", &[]).open("th", &[("scope", "row")]).text(&metric.name);
    if !metric.help.is_empty() {
        out.leaf("small", &[], &metric.help);
    }
    out.close().leaf("td", &[], &shown.with_unit());
    let interval = shown.ends.map_or_else(|| accuracy(metric), |(low, high)| format!("{low} to {high}"));
    out.leaf("td", &[], &interval);
    let runs = super::axis::range(metric.runs.iter().copied()).filter(|(low, high)| low < high);
    let scale = unit.scale(metric.mean);
    let runs = runs.map_or_else(String::new, |(low, high)| format!("{} to {}", scale.number(low), scale.number(high)));
    out.leaf("td", &[], &runs).close();
}

/// The scenario by its sections.
pub(super) fn settings(plan: &[Setting]) -> String {
    let mut sections: Vec<(&str, Vec<(&str, &Setting)>)> = Vec::new();
    for setting in plan {
        let (section, name) = setting.path.rsplit_once('.').unwrap_or(("", &setting.path));
        match sections.iter_mut().find(|(known, _)| *known == section) {
            Some((_, members)) => members.push((name, setting)),
            None => sections.push((section, vec![(name, setting)])),
        }
    }
    let mut out = Markup::default();
    for (section, members) in sections {
        let told = members.iter().map(|(_, setting)| setting.section.as_str()).find(|told| !told.is_empty());
        let heading = if section.is_empty() { "The study".to_owned() } else { spoken(section) };
        out.leaf("h3", &[("class", "group")], told.unwrap_or(&heading));
        out.open("div", &[("class", "scroll")]).open("table", &[("class", "settings")]).open("tbody", &[]);
        for (name, setting) in members {
            // What it means says more than its name, which is for those who write the file.
            let told = if setting.help.is_empty() { &spoken(name) } else { &setting.help };
            out.open("tr", &[]).open("th", &[("scope", "row")]).text(told).leaf("small", &[], &setting.path).close();
            out.leaf("td", &[], &as_written(&setting.value, &setting.unit)).close();
        }
        out.close().close().close();
    }
    out.finish()
}

/// A path's part as words: `devices.tv` as "Devices: tv".
fn spoken(name: &str) -> String {
    let words = name.replace('_', " ").replace('.', ": ");
    let mut characters = words.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

/// Sentences below one another.
pub(super) fn notes(notes: &[String]) -> String {
    let mut out = Markup::default();
    if notes.is_empty() {
        return String::new();
    }
    out.open("ul", &[("class", "notes")]);
    for note in notes {
        out.leaf("li", &[], note);
    }
    out.finish()
}
