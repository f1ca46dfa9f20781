//! One metric at several values of a parameter: points with their intervals, or bars where the values are words.

use super::super::units::{Unit, as_written};
use super::super::{Metric, Point, Sweep, Target};
use super::axis::{Axis, range};
use super::bars::{self, Bar};
use super::figure::{Figure, Table, missing};
use super::markup::Markup;
use super::plot::{self, Form, Frame, dot, line, path};

/// From this ratio on a parameter is drawn on a logarithmic axis.
const WIDE: f64 = 50.0;

/// One metric of a sweep, with what it is held against.
pub(super) struct Dots<'a> {
    pub(super) sweep: &'a Sweep,
    /// The parameter at each point.
    pub(super) places: Vec<f64>,
    /// The metric at each point, where it was measured.
    pub(super) metrics: Vec<Option<&'a Metric>>,
    pub(super) target: Option<&'a Target>,
    /// The parameter's value that a search ended at.
    pub(super) found: Option<&'a str>,
}

/// The figure of a metric by its key; none where no point has it.
pub(super) fn figure(dots: &Dots<'_>, id: &str) -> Option<Figure> {
    let first = dots.metrics.iter().flatten().next()?;
    let unit = Unit::of(&first.unit);
    let parameter = Unit::of(&dots.sweep.parameter.unit);
    let mut figure = Figure { name: first.name.clone(), help: first.help.clone(), ..Figure::default() };
    let heads = vec![dots.sweep.name.clone(), first.name.clone()];
    let row = |index: usize| {
        let shown = dots.metrics[index].map(|metric| unit.estimate(metric.mean, metric.low, metric.high));
        let value = shown.map_or_else(|| "not measured".into(), |shown| shown.with_interval());
        vec![as_written(&dots.sweep.points[index].value, &dots.sweep.parameter.unit), value]
    };
    figure.values = Table::of(heads, dots.metrics.len(), row);
    let limit = dots.target.map(|target| target.limit).filter(|limit| limit.is_finite());
    let known = || dots.metrics.iter().flatten().filter(|metric| metric.mean.is_finite());
    let Some(y_range) = range(known().flat_map(|metric| [metric.mean, metric.low, metric.high])) else {
        return Some(figure);
    };
    let y_range = range([y_range.0, y_range.1].into_iter().chain(limit)).unwrap_or(y_range);
    if let Some((target, limit)) = dots.target.zip(limit) {
        let bound = if target.at_least { "at least" } else { "at most" };
        figure.seen.push(format!("Asked for: {bound} {} (dashed line).", unit.show(limit)));
    }
    figure.seen.extend(missing(dots.metrics.len() - known().count()));
    let described = describe(dots, &figure, unit);
    let frame = Frame::new(Form::Narrow, 0.0);
    figure.drawings.push(draw(dots, y_range, (unit, parameter), &frame, (id, &described)));
    Some(figure)
}

fn draw(
    dots: &Dots<'_>,
    y_range: (f64, f64),
    (unit, parameter): (Unit<'_>, Unit<'_>),
    frame: &Frame,
    (id, described): (&str, &str),
) -> String {
    let (across, up) = frame.ticks();
    let y = Axis::values(y_range, unit, up, frame.up());
    let name = dots.metrics.iter().flatten().next().map_or("", |metric| metric.name.as_str());
    // Points keep away from the edges of the drawing.
    let inner = (frame.left + 16.0, frame.right - 10.0);
    let reach = range(dots.places.iter().copied()).unwrap_or((0.0, 1.0));
    let x = if spans_wide(&dots.places) {
        Axis::logarithmic(reach, parameter, across, inner)
    } else {
        Axis::places(reach, &dots.sweep.parameter.unit, across, inner)
    };
    let mut svg = frame.begin(id, name, described);
    frame.axes(&mut svg, &x, &y, &dots.sweep.name);
    if let Some(limit) = dots.target.map(|target| target.limit).filter(|limit| limit.is_finite()) {
        line(&mut svg, "limit", (frame.left, y.px(limit)), (frame.right, y.px(limit)));
    }
    let points: Vec<(f64, &Metric, &str)> = dots
        .places
        .iter()
        .zip(&dots.metrics)
        .zip(&dots.sweep.points)
        .filter_map(|((place, metric), point)| Some((x.px(*place), (*metric)?, point.value.as_str())))
        .filter(|(_, metric, _)| metric.mean.is_finite())
        .collect();
    let mut through: Vec<(f64, f64)> = points.iter().map(|(at, metric, _)| (*at, y.px(metric.mean))).collect();
    through.sort_by(|a, b| a.0.total_cmp(&b.0));
    path(&mut svg, "line faint t0", &through);
    for (at, metric, value) in points {
        whisker(&mut svg, at, metric, &y);
        let class = if dots.found == Some(value) { "dot found t3" } else { "dot t0" };
        let shown = unit.estimate(metric.mean, metric.low, metric.high).with_interval();
        let says = format!("{} — {shown}", as_written(value, &dots.sweep.parameter.unit));
        dot(&mut svg, class, (at, y.px(metric.mean)), 4.5, &says);
        if dots.found == Some(value) {
            plot::mark(&mut svg, frame, (at, y.px(metric.high.max(metric.mean))), "found");
        }
    }
    svg.finish()
}

fn whisker(svg: &mut Markup, at: f64, metric: &Metric, y: &Axis) {
    if metric.low.is_finite() && metric.high.is_finite() && metric.high > metric.low {
        let (low, high) = (y.px(metric.low), y.px(metric.high));
        line(svg, "whisker", (at, low), (at, high));
        for end in [low, high] {
            line(svg, "whisker", (at - 4.0, end), (at + 4.0, end));
        }
    }
}

fn spans_wide(values: &[f64]) -> bool {
    range(values.iter().copied()).is_some_and(|(low, high)| low > 0.0 && high / low >= WIDE)
}

/// Whether the parameter is drawn on a logarithmic axis.
pub(super) fn is_wide(sweep: &Sweep) -> bool {
    sweep.numbers().is_some_and(|values| spans_wide(&values))
}

/// The metric as bars, for a parameter of words.
pub(super) fn bars(out: &mut Markup, sweep: &Sweep, metrics: &[Option<&Metric>]) {
    let Some(first) = metrics.iter().flatten().next() else { return };
    out.open("figure", &[]).open("figcaption", &[]).leaf("h3", &[], &first.name);
    if !first.help.is_empty() {
        out.leaf("p", &[], &first.help);
    }
    out.close();
    let nothing = f64::NAN;
    let bar = |(point, metric): (&Point, &Option<&Metric>)| {
        let (mean, low, high) =
            metric.map_or((nothing, nothing, nothing), |metric| (metric.mean, metric.low, metric.high));
        Bar { name: point.value.clone(), help: String::new(), mean, low, high, tone: 0, more: Vec::new() }
    };
    let bars: Vec<Bar> = sweep.points.iter().zip(metrics).map(bar).collect();
    bars::write(out, &[&sweep.name, "Mean"], &bars, Unit::of(&first.unit));
    out.close();
}

fn describe(dots: &Dots<'_>, figure: &Figure, unit: Unit<'_>) -> String {
    let ends: Vec<String> = [dots.metrics.first(), dots.metrics.last()]
        .into_iter()
        .zip([dots.sweep.points.first(), dots.sweep.points.last()])
        .filter_map(|(metric, point)| {
            let metric = (*metric?)?;
            Some(format!("{} at {}", unit.show(metric.mean), point?.value))
        })
        .collect();
    format!("{} over {}: {}. {}", figure.name, dots.sweep.name, ends.join(", "), figure.seen.join(" "))
}
