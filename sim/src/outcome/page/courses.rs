//! Courses over a common axis: lines with their intervals as bands.

use super::super::units::{CLOCK, Unit, clock};
use super::super::{Line, Series};
use super::axis::{Axis, range};
use super::figure::{Figure, Table, Tones, missing};
use super::markup::Markup;
use super::plot::{self, Form, Frame, LINE_PX, area, dot, fold, path, spread, text, text_px, tone};

/// Points of a line that are drawn at most: about one per pixel.
const MOST_POINTS: usize = 700;
/// Strips that tell their values when pointed at, at most.
const MOST_STRIPS: usize = 150;
/// Room that a name beside its line gets at most.
const NAME_PX: f64 = 170.0;

/// One place of a course.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    /// Where.
    pub(super) x: f64,
    /// Mean; not a number where nothing was measured.
    pub(super) mean: f64,
    /// Low end of the interval, or the mean.
    pub(super) low: f64,
    /// High end of the interval, or the mean.
    pub(super) high: f64,
}

/// The figure of courses that are not stacked.
pub(super) fn figure(series: &Series, id: &str, tones: &mut Tones) -> Figure {
    let lines: Vec<Vec<Sample>> = series.lines.iter().map(|line| samples(series, line)).collect();
    let shades: Vec<usize> = series.lines.iter().map(|line| tones.of(&line.name)).collect();
    let values = || lines.iter().flatten().filter(|sample| sample.mean.is_finite());
    let mut figure =
        Figure { name: series.name.clone(), help: series.help.clone(), values: table(series), ..Figure::default() };
    let reach =
        range(values().map(|sample| sample.x)).zip(range(values().flat_map(|sample| [sample.low, sample.high])));
    let Some((x_range, y_range)) = reach else { return figure };
    let banded = values().any(|sample| sample.high > sample.low);
    if let [line] = &lines[..] {
        figure.seen.extend(extremes(series, line));
    } else {
        figure.legend = shades.iter().copied().zip(series.lines.iter().map(|line| line.name.clone())).collect();
    }
    if banded {
        figure.seen.push("The shaded band is the 95 % interval of the mean.".into());
    }
    figure.seen.extend(missing(lines.iter().flatten().count() - values().count()));
    for form in [Form::Wide, Form::Narrow] {
        let described = describe(series, &figure.seen);
        figure.drawings.push(draw(series, &lines, &shades, (x_range, y_range), form, &(id, described)));
    }
    figure
}

fn draw(
    series: &Series,
    lines: &[Vec<Sample>],
    shades: &[usize],
    (x_range, y_range): ((f64, f64), (f64, f64)),
    form: Form,
    (id, described): &(&str, String),
) -> String {
    let names: Vec<&str> = series.lines.iter().map(|line| line.name.as_str()).collect();
    let named = form == Form::Wide && lines.len() > 1;
    let mut frame = Frame::new(form, if named { names_px(&names) } else { 0.0 });
    if named {
        frame.make_room(names.iter().map(|name| fold(name, NAME_PX).len() as f64 * LINE_PX).sum());
    }
    let (across, up) = frame.ticks();
    let x = Axis::places(x_range, &series.x_unit, across, frame.across());
    let y = Axis::values(y_range, Unit::of(&series.unit), up, frame.up());
    let mut svg = frame.begin(id, &series.name, described);
    frame.axes(&mut svg, &x, &y, &series.x_name);
    let thinned: Vec<Vec<Sample>> = lines.iter().map(|line| thin(line)).collect();
    for (line, shade) in thinned.iter().zip(shades) {
        for piece in pieces(line) {
            let at = |value: fn(&Sample) -> f64| piece.iter().map(|s| (x.px(s.x), y.px(value(s)))).collect::<Vec<_>>();
            area(&mut svg, &format!("band {}", tone(*shade)), &at(|s| s.high), &at(|s| s.low));
        }
    }
    for (line, shade) in thinned.iter().zip(shades) {
        for piece in pieces(line) {
            let points: Vec<_> = piece.iter().map(|sample| (x.px(sample.x), y.px(sample.mean))).collect();
            path(&mut svg, &format!("line {}", tone(*shade)), &points);
            if let [only] = points[..] {
                dot(&mut svg, &format!("dot {}", tone(*shade)), only, 3.5, "");
            }
        }
    }
    if named {
        let ends: Vec<Option<f64>> =
            thinned.iter().map(|line| line.iter().rfind(|s| s.mean.is_finite()).map(|s| y.px(s.mean))).collect();
        beside(&mut svg, &frame, (&names, shades), &ends, Pointer::Line);
    }
    if let [line] = &thinned[..] {
        peak(&mut svg, &frame, series, line, (&x, &y), shades[0]);
    }
    if form == Form::Wide {
        strips(&mut svg, &frame, series, &x);
    }
    svg.finish()
}

/// Room at the right that names of lines need.
pub(super) fn names_px(names: &[&str]) -> f64 {
    let widest = names.iter().flat_map(|name| fold(name, NAME_PX)).map(|part| text_px(&part)).fold(0.0, f64::max);
    widest + 32.0
}

/// How a name shows what it names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pointer {
    /// By a line to its end.
    Line,
    /// By a patch of its tone.
    Patch,
}

/// Names at the right edge, near the heights of what they name: none for what has no height.
pub(super) fn beside(
    svg: &mut Markup,
    frame: &Frame,
    (names, shades): (&[&str], &[usize]),
    ends: &[Option<f64>],
    pointer: Pointer,
) {
    let known: Vec<(usize, f64)> = ends.iter().enumerate().filter_map(|(index, end)| Some((index, (*end)?))).collect();
    let parts: Vec<Vec<String>> = known.iter().map(|(index, _)| fold(names[*index], NAME_PX)).collect();
    let wanted: Vec<f64> = known.iter().map(|(_, end)| *end).collect();
    let heights: Vec<f64> = parts.iter().map(|part| part.len() as f64 * LINE_PX).collect();
    let places = spread(&wanted, &heights, (4.0, frame.bottom));
    for (((index, end), part), (place, height)) in known.iter().zip(&parts).zip(places.iter().zip(&heights)) {
        let shade = tone(shades[*index]);
        match pointer {
            Pointer::Line => {
                path(svg, &format!("leader {shade}"), &[(frame.right + 3.0, *end), (frame.right + 18.0, *place)]);
            }
            Pointer::Patch => {
                let (left, top) = (frame.right + 6.0, place - height / 2.0 + 2.5);
                let square = [(left, top), (left + 12.0, top)];
                area(svg, &format!("layer {shade}"), &square, &square.map(|(across, down)| (across, down + 12.0)));
            }
        }
        for (row, words) in part.iter().enumerate() {
            let baseline = place - height / 2.0 + (row as f64 + 1.0) * LINE_PX - 4.5;
            text(svg, &format!("name {shade}"), (frame.right + 24.0, baseline), words);
        }
    }
}

/// Marks the highest place of a single line.
fn peak(svg: &mut Markup, frame: &Frame, series: &Series, line: &[Sample], (x, y): (&Axis, &Axis), shade: usize) {
    let top = line.iter().filter(|sample| sample.mean.is_finite()).max_by(|a, b| a.mean.total_cmp(&b.mean));
    let Some(top) = top else { return };
    let at = (x.px(top.x), y.px(top.mean));
    dot(svg, &format!("dot {}", tone(shade)), at, 4.0, &told(series, top));
    // Above the band's edge, which may be well above the line.
    plot::mark(svg, frame, (at.0, y.px(top.high)), &Unit::of(&series.unit).parts().0.show(top.mean));
}

/// Strips across the drawing that tell their values when pointed at.
pub(super) fn strips(svg: &mut Markup, frame: &Frame, series: &Series, x: &Axis) {
    let mut places: Vec<usize> = (0..series.x.len()).filter(|index| series.x[*index].is_finite()).collect();
    places.sort_by(|a, b| series.x[*a].total_cmp(&series.x[*b]));
    let shown: Vec<usize> = places.iter().step_by(places.len().div_ceil(MOST_STRIPS).max(1)).copied().collect();
    let unit = Unit::of(&series.unit);
    for (index, place) in shown.iter().enumerate() {
        let at = |other: Option<&usize>| other.map(|other| x.px(series.x[*other]));
        let here = x.px(series.x[*place]);
        let from =
            at(index.checked_sub(1).and_then(|before| shown.get(before))).map_or(frame.left, |b| (b + here) / 2.0);
        let to = at(shown.get(index + 1)).map_or(frame.right, |after| (after + here) / 2.0);
        let value = |line: &Line| {
            let shown = line.mean.get(*place).filter(|value| value.is_finite()).map(|value| unit.show(*value))?;
            Some(if series.lines.len() > 1 { format!("{}: {shown}", line.name) } else { shown })
        };
        let values: Vec<String> = series.lines.iter().filter_map(value).collect();
        let says = format!("{} — {}", place_name(series, series.x[*place]), values.join("; "));
        let (left, top) = (plot::px(from), plot::px(frame.top));
        let (width, height) = (plot::px((to - from).max(0.0)), plot::px(frame.bottom - frame.top));
        svg.open("rect", &[("class", "strip"), ("x", &left), ("y", &top), ("width", &width), ("height", &height)]);
        svg.leaf("title", &[], &says).close();
    }
}

/// The places of a course, in order of the axis; those without a place are left out.
fn samples(series: &Series, line: &Line) -> Vec<Sample> {
    let sample = |(index, (x, mean)): (usize, (&f64, &f64))| {
        let end = |ends: &[f64]| ends.get(index).copied().filter(|end| end.is_finite()).unwrap_or(*mean);
        Sample { x: *x, mean: *mean, low: end(&line.low).min(*mean), high: end(&line.high).max(*mean) }
    };
    let mut samples: Vec<Sample> = series.x.iter().zip(&line.mean).enumerate().map(sample).collect();
    samples.retain(|sample| sample.x.is_finite());
    for sample in samples.iter_mut().filter(|sample| !sample.mean.is_finite()) {
        sample.mean = f64::NAN;
    }
    samples.sort_by(|a, b| a.x.total_cmp(&b.x));
    samples
}

/// At most so many samples as there is room for: of each bucket the lowest and the highest, under the widest band, so that no
/// peak is lost.
fn thin(samples: &[Sample]) -> Vec<Sample> {
    if samples.len() <= MOST_POINTS {
        return samples.to_vec();
    }
    let bucket = samples.len().div_ceil(MOST_POINTS / 2);
    let mut thinned = Vec::new();
    for bucket in samples.chunks(bucket) {
        let known = || bucket.iter().filter(|sample| sample.mean.is_finite());
        let ends =
            known().min_by(|a, b| a.mean.total_cmp(&b.mean)).zip(known().max_by(|a, b| a.mean.total_cmp(&b.mean)));
        let Some((lowest, highest)) = ends else {
            thinned.push(bucket[0]);
            continue;
        };
        let low = known().map(|sample| sample.low).fold(f64::INFINITY, f64::min);
        let high = known().map(|sample| sample.high).fold(f64::NEG_INFINITY, f64::max);
        let (first, second) = if lowest.x <= highest.x { (lowest, highest) } else { (highest, lowest) };
        thinned.push(Sample { low, high, ..*first });
        thinned.push(Sample { low, high, ..*second });
    }
    thinned
}

/// Stretches without a gap.
fn pieces(samples: &[Sample]) -> impl Iterator<Item = &[Sample]> {
    samples.split(|sample| !sample.mean.is_finite()).filter(|piece| !piece.is_empty())
}

fn extremes(series: &Series, line: &[Sample]) -> Option<String> {
    let known = || line.iter().filter(|sample| sample.mean.is_finite());
    let highest = known().max_by(|a, b| a.mean.total_cmp(&b.mean))?;
    let lowest = known().min_by(|a, b| a.mean.total_cmp(&b.mean))?;
    if highest.mean == lowest.mean {
        return None;
    }
    Some(format!("Highest: {}; lowest: {}.", told(series, highest), told(series, lowest)))
}

fn told(series: &Series, sample: &Sample) -> String {
    format!("{} at {}", Unit::of(&series.unit).show(sample.mean), place_name(series, sample.x))
}

/// A place on the axis in words.
pub(super) fn place_name(series: &Series, x: f64) -> String {
    match series.x_unit.as_str() {
        CLOCK => clock(x),
        "h" | "hours" => format!("{x:.1} h").replace(".0 h", " h"),
        unit => Unit::of(unit).show(x),
    }
}

/// What a drawing shows, in a sentence or two.
pub(super) fn describe(series: &Series, seen: &[String]) -> String {
    let names: Vec<&str> = series.lines.iter().map(|line| line.name.as_str()).filter(|name| !name.is_empty()).collect();
    let of = if names.len() > 1 { format!(" of {}", names.join(", ")) } else { String::new() };
    format!("{}{of} over {}. {}", series.name, series.x_name, seen.join(" "))
}

/// The values of a series, with their intervals.
pub(super) fn table(series: &Series) -> Table {
    let mut heads = vec![series.x_name.clone()];
    heads.extend(series.lines.iter().map(|line| line.name.clone()));
    let unit = Unit::of(&series.unit);
    let row = |index: usize| {
        let cell = |line: &Line| {
            let mean = line.mean.get(index).copied().unwrap_or(f64::NAN);
            let end = |ends: &[f64]| ends.get(index).copied().unwrap_or(mean);
            unit.estimate(mean, end(&line.low), end(&line.high)).with_interval()
        };
        std::iter::once(place_name(series, series.x[index])).chain(series.lines.iter().map(cell)).collect()
    };
    Table::of(heads, series.x.len(), row)
}
