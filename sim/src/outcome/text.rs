//! Results on a terminal: aligned, at most [`WIDTH`] columns, numbers with the prefix that suits.

use std::fmt::{self, Display, Formatter};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::units::{Unit, as_written};
use super::{
    Breakdown, Comparison, Difference, Distribution, Metric, Outcome, Report, Series, Solution, Sweep, Target, Verdict,
};

/// Columns of a terminal that are used.
const WIDTH: usize = 100;
/// Columns between those of a table.
const GAP: usize = 2;
/// Places of a course that is drawn with blocks.
const BLOCKS: usize = 48;

impl Display for Outcome {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        opening(f, &self.title, &self.question, &self.answer)?;
        let runs = match self.replications {
            0 => "calculated".to_owned(),
            1 => "1 run, no intervals".to_owned(),
            runs => format!("mean of {runs} runs, ± is the 95 % interval"),
        };
        let level = match self.level.as_str() {
            "l0" => "closed formulas",
            "l1" => "simulated chunk by chunk",
            "l2" => "measured with the real programs",
            other => other,
        };
        let policy = if self.policy.is_empty() { String::new() } else { format!("policy “{}”", self.policy) };
        let how = [level, policy.as_str(), runs.as_str()];
        wrapped(f, &how.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", "), 0)?;
        metrics(f, &self.metrics)?;
        for breakdown in &self.breakdowns {
            parts(f, breakdown)?;
        }
        if !self.distributions.is_empty() {
            let heads = ["How it spreads", "half at most", "95 of 100", "99 of 100"].map(str::to_owned).to_vec();
            table(f, &heads, self.distributions.iter().map(quantiles).collect())?;
        }
        if !self.series.is_empty() {
            writeln!(f)?;
        }
        for series in &self.series {
            course(f, series)?;
        }
        notes(f, &self.notes)
    }
}

impl Display for Sweep {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        opening(f, &self.title, &self.question, &self.answer)?;
        points(f, self)
    }
}

impl Display for Solution {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        opening(f, &self.sweep.title, &self.sweep.question, &self.sweep.answer)?;
        let unit = self.sweep.parameter.unit.as_str();
        match &self.found {
            Some(value) => {
                wrapped(f, &format!("The smallest value that meets all targets: {}", as_written(value, unit)), 0)?
            }
            None => writeln!(f, "None of the values that were tried meets all targets.")?,
        }
        for target in &self.targets {
            let metric = self.sweep.points.iter().find_map(|point| point.outcome.metric(&target.key));
            let (name, unit) = metric.map_or((target.key.as_str(), ""), |metric| (&metric.name, &metric.unit));
            let bound = if target.at_least { "at least" } else { "at most" };
            wrapped(f, &format!("Target: {name}, {bound} {}", Unit::of(unit).show(target.limit)), 0)?;
        }
        let mut heads = vec![self.sweep.name.clone()];
        heads.extend(self.targets.iter().map(|target| target.key.clone()));
        heads.push("meets all".into());
        let row = |point: &super::Point| {
            let met = |target: &Target| target.is_met_by(&point.outcome);
            let cell = |target: &Target| point.outcome.metric(&target.key).map_or_else(|| "not measured".into(), shown);
            let mut row = vec![as_written(&point.value, unit)];
            row.extend(self.targets.iter().map(cell));
            row.push(if self.targets.iter().all(met) { "yes" } else { "no" }.into());
            row
        };
        table(f, &heads, self.sweep.points.iter().map(row).collect())?;
        points(f, &self.sweep)
    }
}

impl Display for Comparison {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        opening(f, &self.title, &self.question, &self.answer)?;
        let Some((base, others)) = self.cases.split_first() else { return Ok(()) };
        for metric in &base.outcome.metrics {
            let against = format!("against {}", fit(&base.name, 24));
            let heads = vec![metric.name.clone(), "mean".into(), against, String::new()];
            let mut rows = vec![vec![base.name.clone(), shown(metric), String::new(), String::new()]];
            for case in others {
                let theirs = case.outcome.metric(&metric.key).map_or_else(|| "not measured".into(), shown);
                let difference = self.differences.iter().find(|one| one.case == case.name && one.key == metric.key);
                let (by, verdict) = difference.map(said).unwrap_or_default();
                rows.push(vec![case.name.clone(), theirs, by, verdict]);
            }
            table(f, &heads, rows)?;
        }
        Ok(())
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(outcome) => outcome.fmt(f),
            Self::Sweep(sweep) => sweep.fmt(f),
            Self::Comparison(comparison) => comparison.fmt(f),
            Self::Solution(solution) => solution.fmt(f),
        }
    }
}

fn opening(f: &mut Formatter<'_>, title: &str, question: &str, answer: &[String]) -> fmt::Result {
    for text in [title, question] {
        if !text.is_empty() {
            wrapped(f, text, 0)?;
        }
    }
    if !answer.is_empty() {
        writeln!(f)?;
    }
    for sentence in answer {
        wrapped(f, sentence, 0)?;
    }
    writeln!(f)
}

fn shown(metric: &Metric) -> String {
    Unit::of(&metric.unit).estimate(metric.mean, metric.low, metric.high).with_interval()
}

fn metrics(f: &mut Formatter<'_>, metrics: &[Metric]) -> fmt::Result {
    let mut groups: Vec<&str> = Vec::new();
    for metric in metrics {
        if !groups.contains(&metric.group.as_str()) {
            groups.push(&metric.group);
        }
    }
    for group in groups {
        let members = metrics.iter().filter(|metric| metric.group == group);
        let rows = members.map(|metric| vec![metric.name.clone(), shown(metric)]).collect();
        table(f, &[group.to_owned(), String::new()], rows)?;
    }
    Ok(())
}

fn parts(f: &mut Formatter<'_>, breakdown: &Breakdown) -> fmt::Result {
    let unit = Unit::of(&breakdown.unit);
    let share = |mean: f64| Some(Unit::of("share").show(mean / breakdown.whole().filter(|_| mean.is_finite())?));
    let row = |part: &super::Part| {
        let value = unit.estimate(part.mean, part.low, part.high).with_interval();
        vec![part.name.clone(), value, share(part.mean).unwrap_or_default()]
    };
    let heads = [breakdown.name.as_str(), "", breakdown.whole().map_or("", |_| "of all")].map(str::to_owned);
    table(f, &heads, breakdown.parts.iter().map(row).collect())
}

fn quantiles(distribution: &Distribution) -> Vec<String> {
    let unit = Unit::of(&distribution.unit);
    let at = |mark| distribution.at(mark).map_or_else(|| "not measured".into(), |value| unit.show(value));
    vec![distribution.name.clone(), at(0.5), at(0.95), at(0.99)]
}

/// A course in blocks of eight heights, one line each, under its name.
fn course(f: &mut Formatter<'_>, series: &Series) -> fmt::Result {
    let values = || series.lines.iter().flat_map(|line| &line.mean).copied().filter(|value| value.is_finite());
    let highest = values().fold(0.0, f64::max);
    writeln!(f, "{}", fit(&format!("{}, up to {}", series.name, Unit::of(&series.unit).show(highest)), WIDTH))?;
    for line in &series.lines {
        let bucket = line.mean.len().div_ceil(BLOCKS).max(1);
        let block = |bucket: &[f64]| {
            let value = bucket.iter().copied().filter(|value| value.is_finite()).fold(f64::NEG_INFINITY, f64::max);
            let part = if highest > 0.0 { value / highest } else { 0.0 };
            if value.is_finite() {
                ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'][(part * 7.0).round().clamp(0.0, 7.0) as usize]
            } else {
                ' '
            }
        };
        let blocks: String = line.mean.chunks(bucket).map(block).collect();
        writeln!(f, "  {:<BLOCKS$}  {}", blocks, fit(&line.name, WIDTH - BLOCKS - 4))?;
    }
    Ok(())
}

fn points(f: &mut Formatter<'_>, sweep: &Sweep) -> fmt::Result {
    let unit = sweep.parameter.unit.as_str();
    let Some(first) = sweep.points.first() else { return Ok(()) };
    for metric in &first.outcome.metrics {
        let row = |point: &super::Point| {
            let value = point.outcome.metric(&metric.key).map_or_else(|| "not measured".into(), shown);
            vec![as_written(&point.value, unit), value]
        };
        table(f, &[sweep.name.clone(), metric.name.clone()], sweep.points.iter().map(row).collect())?;
    }
    Ok(())
}

fn said(difference: &Difference) -> (String, String) {
    if difference.verdict == Verdict::Unknown {
        return (String::new(), difference.verdict.words().into());
    }
    let by = Unit::of(&difference.unit).estimate(difference.mean, difference.low, difference.high).with_interval();
    let sign = if difference.mean > 0.0 { "+" } else { "" };
    (format!("{sign}{by}"), difference.verdict.words().into())
}

fn notes(f: &mut Formatter<'_>, notes: &[String]) -> fmt::Result {
    if !notes.is_empty() {
        writeln!(f)?;
    }
    for note in notes {
        wrapped(f, &format!("- {note}"), 2)?;
    }
    Ok(())
}

/// A table under its heads, first column to the left, all others to the right, a blank line before it. Where it would be
/// too wide, its widest columns give way.
fn table(f: &mut Formatter<'_>, heads: &[String], mut rows: Vec<Vec<String>>) -> fmt::Result {
    rows.insert(0, heads.to_vec());
    let widest =
        |index: usize| rows.iter().filter_map(|row| row.get(index)).map(|cell| cell.width()).max().unwrap_or(0);
    let mut widths: Vec<usize> = (0..heads.len()).map(widest).collect();
    let room = WIDTH.saturating_sub(GAP * heads.len().saturating_sub(1));
    while widths.iter().sum::<usize>() > room
        && let Some(widest) = widths.iter_mut().max().filter(|width| **width > 1)
    {
        *widest -= 1;
    }
    writeln!(f)?;
    for row in &rows {
        let mut line = String::new();
        for (index, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let cell = fit(cell, *width);
            let padding = " ".repeat(width.saturating_sub(cell.width()));
            line += &if index == 0 { cell + &padding } else { " ".repeat(GAP) + &padding + &cell };
        }
        // Many columns may be too wide however narrow each is.
        writeln!(f, "{}", fit(line.trim_end(), WIDTH))?;
    }
    Ok(())
}

/// As much of a text as fits; what would move the cursor is left out.
fn fit(text: &str, columns: usize) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() || c == '\u{a0}' { ' ' } else { c }).collect();
    if clean.width() <= columns {
        return clean;
    }
    let mut used = 1;
    let fits = |character: &char| {
        used += character.width().unwrap_or(0);
        used <= columns
    };
    clean.chars().take_while(fits).collect::<String>() + "…"
}

/// Text over as many lines as it takes, all but the first indented.
fn wrapped(f: &mut Formatter<'_>, text: &str, indent: usize) -> fmt::Result {
    let mut line = String::new();
    for word in text.split_whitespace() {
        let word = fit(word, WIDTH - indent);
        if !line.trim().is_empty() && line.width() + 1 + word.width() > WIDTH {
            writeln!(f, "{line}")?;
            line = " ".repeat(indent);
        } else if !line.trim().is_empty() {
            line.push(' ');
        }
        line += &word;
    }
    writeln!(f, "{line}")
}
