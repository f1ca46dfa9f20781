//! Pages of several scenarios: a sweep, a comparison, a search.

use super::super::units::{Unit, as_written};
use super::super::{
    Breakdown, Comparison, Difference, Distribution, Line, Metric, Outcome, Series, Solution, Sweep, Target, Verdict,
};
use super::bars::{self, Bar};
use super::dots::{self, Dots};
use super::figure::{Table, Tones};
use super::markup::Markup;
use super::run::{course, figures, first, groups, how, notes, settings};
use super::{Top, spread, stack, whole};

/// The page of a sweep.
pub(super) fn sweep(sweep: &Sweep) -> String {
    let sections = [
        ("What changes", metrics_over(sweep, &[], None)),
        ("What it is made of", parts_over(sweep)),
        ("All figures at each value", table_over(sweep)),
        ("The scenario", settings_of(sweep)),
        ("What to mind", notes_of(sweep.points.iter().map(|point| &point.outcome))),
    ];
    whole(&top_of(sweep, "what changes if …"), &sections)
}

/// The page of a search.
pub(super) fn solution(solution: &Solution) -> String {
    let sweep = &solution.sweep;
    let sections = [
        ("What was tried", tried(solution)),
        ("How the targets were neared", metrics_over(sweep, &solution.targets, solution.found.as_deref())),
        ("What it is made of", parts_over(sweep)),
        ("All figures at each value", table_over(sweep)),
        ("The scenario", settings_of(sweep)),
        ("What to mind", notes_of(sweep.points.iter().map(|point| &point.outcome))),
    ];
    whole(&top_of(sweep, "what is needed"), &sections)
}

fn top_of<'a>(sweep: &'a Sweep, kind: &'a str) -> Top<'a> {
    let how = sweep.points.first().map(|point| how(&point.outcome)).unwrap_or_default();
    Top { kind, title: &sweep.title, question: &sweep.question, answer: &sweep.answer, how }
}

fn metrics_of(sweep: &Sweep) -> impl Iterator<Item = &Metric> + Clone {
    sweep.points.first().into_iter().flat_map(|point| &point.outcome.metrics)
}

fn over<'a>(sweep: &'a Sweep, key: &str) -> Vec<Option<&'a Metric>> {
    sweep.points.iter().map(|point| point.outcome.metric(key)).collect()
}

/// A small figure for each metric that has a target or is to be seen first.
fn metrics_over(sweep: &Sweep, targets: &[Target], found: Option<&str>) -> String {
    let mut out = Markup::default();
    let asked = targets.iter().map(|target| (target.key.as_str(), Some(target)));
    let seen = first(metrics_of(sweep));
    let others = seen.iter().map(|metric| metric.key.as_str()).filter(|key| targets.iter().all(|t| t.key != *key));
    if dots::is_wide(sweep) {
        let words = format!("The axis of {} grows by multiples: equal steps are equal factors.", sweep.name);
        out.leaf("p", &[("class", "intro")], &words);
    }
    let wanted: Vec<(&str, Option<&Target>)> = asked.chain(others.map(|key| (key, None))).collect();
    let Some(places) = sweep.numbers() else {
        for (key, _) in wanted {
            dots::bars(&mut out, sweep, &over(sweep, key));
        }
        return out.finish();
    };
    let figure = |(index, (key, target)): (usize, (&str, Option<&Target>))| {
        let dots = Dots { sweep, places: places.clone(), metrics: over(sweep, key), target, found };
        dots::figure(&dots, &format!("dots-{index}"))
    };
    let figures: Vec<_> = wanted.into_iter().enumerate().filter_map(figure).collect();
    if figures.is_empty() {
        return String::new();
    }
    out.open("div", &[("class", "pair")]);
    for figure in figures {
        figure.write(&mut out);
    }
    out.finish()
}

/// Breakdowns over the parameter as layers, where its values are numbers.
fn parts_over(sweep: &Sweep) -> String {
    let (Some(x), Some(first)) = (sweep.numbers().filter(|numbers| numbers.len() > 1), sweep.points.first()) else {
        return String::new();
    };
    let mut tones = Tones::default();
    let layers = |breakdown: &Breakdown| Series {
        key: breakdown.key.clone(),
        name: breakdown.name.clone(),
        help: breakdown.help.clone(),
        unit: breakdown.unit.clone(),
        x_name: sweep.name.clone(),
        x_unit: sweep.parameter.unit.clone(),
        x: x.clone(),
        lines: breakdown.parts.iter().map(|part| layer(sweep, &breakdown.key, &part.name)).collect(),
        stacked: true,
    };
    let breakdowns = first.outcome.breakdowns.iter().enumerate();
    figures(breakdowns.map(|(n, each)| stack::figure(&layers(each), &format!("parts-{n}"), &mut tones)).collect())
}

fn layer(sweep: &Sweep, key: &str, name: &str) -> Line {
    let mean = |outcome: &Outcome| {
        let breakdown = outcome.breakdowns.iter().find(|breakdown| breakdown.key == key)?;
        breakdown.parts.iter().find(|part| part.name == name).map(|part| part.mean)
    };
    Line::exact(name, sweep.points.iter().map(|point| mean(&point.outcome).unwrap_or(f64::NAN)).collect())
}

fn table_over(sweep: &Sweep) -> String {
    let mut out = Markup::default();
    let parameter = sweep.parameter.unit.as_str();
    for (group, members) in groups(metrics_of(sweep)) {
        let group = if group.is_empty() { "Others" } else { group };
        out.leaf("h3", &[("class", "group")], group);
        let heads =
            std::iter::once(sweep.name.clone()).chain(members.iter().map(|metric| metric.name.clone())).collect();
        let row = |index: usize| {
            let point = &sweep.points[index];
            let cell = |metric: &&Metric| point.outcome.metric(&metric.key).map_or_else(String::new, with_interval);
            std::iter::once(as_written(&point.value, parameter)).chain(members.iter().map(cell)).collect()
        };
        Table::of(heads, sweep.points.len(), row).write(&mut out, group);
    }
    out.finish()
}

fn with_interval(metric: &Metric) -> String {
    Unit::of(&metric.unit).estimate(metric.mean, metric.low, metric.high).with_interval()
}

fn settings_of(sweep: &Sweep) -> String {
    let Some(first) = sweep.points.first() else { return String::new() };
    let fixed: Vec<_> = first.outcome.plan.iter().filter(|one| one.path != sweep.parameter.path).cloned().collect();
    let mut out = Markup::default();
    let changed = format!("What is changed: {} ({}).", sweep.name, sweep.parameter.path);
    out.leaf("p", &[("class", "intro")], &changed).leaf("p", &[("class", "intro")], &sweep.parameter.help);
    out.raw(&settings(&fixed));
    out.finish()
}

/// All outcomes' notes, each once.
fn notes_of<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> String {
    let mut all: Vec<String> = Vec::new();
    for note in outcomes.flat_map(|outcome| &outcome.notes) {
        if !all.contains(note) {
            all.push(note.clone());
        }
    }
    notes(&all)
}

fn tried(solution: &Solution) -> String {
    let sweep = &solution.sweep;
    let mut out = Markup::default();
    let parameter = sweep.parameter.unit.as_str();
    let words = match &solution.found {
        Some(value) => format!("The smallest value that meets all targets: {}.", as_written(value, parameter)),
        None => "None of the values that were tried meets all targets.".to_owned(),
    };
    out.leaf("p", &[], &words);
    let name = |key: &str| {
        let metric = sweep.points.iter().find_map(|point| point.outcome.metric(key));
        metric.map_or_else(|| (key.to_owned(), String::new()), |metric| (metric.name.clone(), metric.unit.clone()))
    };
    let head = |target: &Target| {
        let (name, unit) = name(&target.key);
        let bound = if target.at_least { "at least" } else { "at most" };
        format!("{name} ({bound} {})", Unit::of(&unit).show(target.limit))
    };
    let mut heads = vec![sweep.name.clone()];
    heads.extend(solution.targets.iter().map(head));
    heads.push("Meets all".into());
    let row = |index: usize| {
        let point = &sweep.points[index];
        let cell = |target: &Target| {
            let shown = point.outcome.metric(&target.key).map_or_else(|| "not measured".into(), with_interval);
            if target.is_met_by(&point.outcome) { shown } else { format!("{shown} — missed") }
        };
        let met = solution.targets.iter().all(|target| target.is_met_by(&point.outcome));
        let mut row = vec![as_written(&point.value, parameter)];
        row.extend(solution.targets.iter().map(cell));
        row.push(if met { "yes" } else { "no" }.into());
        row
    };
    Table::of(heads, sweep.points.len(), row).write(&mut out, "What was tried");
    out.finish()
}

/// The page of a comparison.
pub(super) fn comparison(comparison: &Comparison) -> String {
    let sections = [
        ("First to look at", blocks(comparison, true)),
        ("How it goes over time", courses(comparison)),
        ("What it is made of", parts(comparison)),
        ("How it varies", spreads(comparison)),
        ("All figures", blocks(comparison, false)),
        ("What was changed", changed(comparison)),
        ("The scenario", comparison.cases.first().map(|case| settings(&case.outcome.plan)).unwrap_or_default()),
        ("What to mind", mind(comparison)),
    ];
    let mut how = comparison.cases.first().map(|case| how(&case.outcome)).unwrap_or_default();
    how.pop();
    how.push(
        "All met the same homes, programmes and viewers, run by run, so that only what was changed differs.".into(),
    );
    let (title, question, answer) = (&comparison.title, &comparison.question, &comparison.answer);
    whole(&Top { kind: "comparison", title, question, answer, how }, &sections)
}

/// Per metric the cases below one another, with their difference to the first: those to be seen first, or the others.
fn blocks(comparison: &Comparison, wanted: bool) -> String {
    let Some((base, others)) = comparison.cases.split_first() else { return String::new() };
    let mut tones = Tones::default();
    let seen: Vec<&str> = first(base.outcome.metrics.iter()).iter().map(|metric| metric.key.as_str()).collect();
    let chosen = base.outcome.metrics.iter().filter(|metric| seen.contains(&metric.key.as_str()) == wanted);
    let shades: Vec<usize> = comparison.cases.iter().map(|case| tones.of(&case.name)).collect();
    let mut out = Markup::default();
    let against = format!("Against “{}”", base.name);
    for metric in chosen {
        out.open("figure", &[]).open("figcaption", &[]).leaf("h3", &[], &metric.name);
        if !metric.help.is_empty() {
            out.leaf("p", &[], &metric.help);
        }
        out.close();
        let mut bars = vec![bar(&base.name, metric, shades[0], Vec::new())];
        for (case, shade) in others.iter().zip(&shades[1..]) {
            let missing = Metric { mean: f64::NAN, ..Metric::default() };
            let theirs = case.outcome.metric(&metric.key).unwrap_or(&missing);
            let difference = comparison.differences.iter().find(|one| one.case == case.name && one.key == metric.key);
            bars.push(bar(&case.name, theirs, *shade, difference.map(|one| said(one, metric)).unwrap_or_default()));
        }
        bars::write(&mut out, &["Case", "Mean", &against, "Shown"], &bars, Unit::of(&metric.unit));
        out.close();
    }
    out.finish()
}

fn bar(name: &str, metric: &Metric, tone: usize, more: Vec<(&'static str, String)>) -> Bar {
    let more = if more.is_empty() { vec![("", String::new()); 2] } else { more };
    Bar { name: name.into(), help: String::new(), mean: metric.mean, low: metric.low, high: metric.high, tone, more }
}

/// A difference in numbers and in words.
fn said(difference: &Difference, base: &Metric) -> Vec<(&'static str, String)> {
    let class = match difference.verdict {
        Verdict::Better => "better",
        Verdict::Worse => "worse",
        _ => "",
    };
    let unit = Unit::of(&difference.unit);
    let shown = unit.estimate(difference.mean, difference.low, difference.high).with_interval();
    let shown = if difference.mean > 0.0 { format!("+{shown}") } else { shown };
    let part = difference.mean / base.mean.abs();
    let relative = if part.is_finite() && base.unit != "share" && part.abs() < 100.0 {
        let part = Unit::of("share").show(part);
        format!(" ({}{part})", if difference.mean > 0.0 { "+" } else { "" })
    } else {
        String::new()
    };
    let known = !matches!(difference.verdict, Verdict::Unknown | Verdict::Equal);
    vec![("", if known { shown + &relative } else { String::new() }), (class, difference.verdict.words().to_owned())]
}

/// Courses of one line in one drawing, those of several side by side.
fn courses(comparison: &Comparison) -> String {
    let Some(base) = comparison.cases.first() else { return String::new() };
    let (mut cases, mut layers) = (Tones::default(), Tones::default());
    for case in &comparison.cases {
        cases.of(&case.name);
    }
    let mut all = Vec::new();
    for (index, series) in base.outcome.series.iter().enumerate() {
        let same = |outcome: &'_ Outcome| outcome.series.iter().find(|other| other.key == series.key).cloned();
        let theirs = comparison.cases.iter().filter_map(|case| Some((&case.name, same(&case.outcome)?)));
        if series.lines.len() == 1 && theirs.clone().all(|(_, theirs)| theirs.lines.len() == 1 && theirs.x == series.x)
        {
            let lines = theirs.flat_map(|(name, theirs)| renamed(theirs.lines, name)).collect();
            let together = Series { lines, stacked: false, ..series.clone() };
            all.push(course(&together, &format!("course-{index}"), &mut cases));
            continue;
        }
        for (place, (name, theirs)) in theirs.enumerate() {
            let theirs = Series { name: format!("{}: {name}", theirs.name), ..theirs };
            all.push(course(&theirs, &format!("course-{index}-{place}"), &mut layers));
        }
    }
    figures(all)
}

fn renamed(lines: Vec<Line>, name: &str) -> Vec<Line> {
    lines.into_iter().map(|line| Line { name: name.to_owned(), ..line }).collect()
}

fn parts(comparison: &Comparison) -> String {
    let Some(base) = comparison.cases.first() else { return String::new() };
    let mut out = Markup::default();
    for breakdown in &base.outcome.breakdowns {
        let unit = Unit::of(&breakdown.unit);
        out.leaf("h3", &[("class", "group")], &breakdown.name).leaf("p", &[], &breakdown.help);
        let mut heads = vec!["Part".to_owned()];
        heads.extend(comparison.cases.iter().map(|case| case.name.clone()));
        let cell = |outcome: &Outcome, name: &str| {
            let same = outcome.breakdowns.iter().find(|other| other.key == breakdown.key);
            let part = same.and_then(|same| same.parts.iter().find(|part| part.name == name));
            part.map_or_else(String::new, |part| unit.estimate(part.mean, part.low, part.high).with_interval())
        };
        let row = |index: usize| {
            let name = &breakdown.parts[index].name;
            let cells = comparison.cases.iter().map(|case| cell(&case.outcome, name));
            std::iter::once(name.clone()).chain(cells).collect()
        };
        Table::of(heads, breakdown.parts.len(), row).write(&mut out, &breakdown.name);
    }
    out.finish()
}

fn spreads(comparison: &Comparison) -> String {
    let Some(base) = comparison.cases.first() else { return String::new() };
    let mut tones = Tones::default();
    for case in &comparison.cases {
        tones.of(&case.name);
    }
    let mut all = Vec::new();
    for (index, distribution) in base.outcome.distributions.iter().enumerate() {
        let same = |outcome: &'_ Outcome| outcome.distributions.iter().position(|other| other.key == distribution.key);
        let curves: Vec<(&str, &Distribution)> = comparison
            .cases
            .iter()
            .filter_map(|case| Some((case.name.as_str(), &case.outcome.distributions[same(&case.outcome)?])))
            .collect();
        all.push(spread::figure(&curves, &format!("spread-{index}"), &mut tones));
    }
    figures(all)
}

/// Fields in which the cases' scenarios differ.
fn changed(comparison: &Comparison) -> String {
    let Some((base, others)) = comparison.cases.split_first() else { return String::new() };
    let value = |outcome: &Outcome, path: &str| {
        let setting = outcome.plan.iter().find(|setting| setting.path == path);
        setting.map_or_else(String::new, |setting| as_written(&setting.value, &setting.unit))
    };
    let differs = |path: &str| others.iter().any(|case| value(&case.outcome, path) != value(&base.outcome, path));
    let paths: Vec<&str> = base.outcome.plan.iter().map(|one| one.path.as_str()).filter(|path| differs(path)).collect();
    if paths.is_empty() {
        return String::new();
    }
    let mut heads = vec!["Field".to_owned()];
    heads.extend(comparison.cases.iter().map(|case| case.name.clone()));
    let row = |index: usize| {
        let cells = comparison.cases.iter().map(|case| value(&case.outcome, paths[index]));
        std::iter::once(paths[index].to_owned()).chain(cells).collect()
    };
    let mut out = Markup::default();
    Table::of(heads, paths.len(), row).write(&mut out, "What was changed");
    out.finish()
}

fn mind(comparison: &Comparison) -> String {
    let tested = comparison.differences.iter().filter(|one| one.verdict != Verdict::Unknown).count();
    let mut all = vec![
        "“Better” and “worse” are said where the 95 % interval of the difference, run by run, does not hold zero."
            .to_owned(),
    ];
    if tested >= 20 {
        all.push(format!(
            "Of {tested} differences, some {} would be called better or worse by chance alone if there were none.",
            tested.div_ceil(20)
        ));
    }
    notes(&all) + &notes_of(comparison.cases.iter().map(|case| &case.outcome))
}
