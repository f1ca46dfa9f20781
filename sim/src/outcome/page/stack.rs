//! Parts of a whole over a common axis: layers on top of one another.

use super::super::Series;
use super::super::units::Unit;
use super::axis::{Axis, range};
use super::courses::{Pointer, beside, describe, names_px, strips, table};
use super::figure::{Figure, Tones};
use super::plot::{Form, Frame, LINE_PX, area, path, tone};

/// Columns that are drawn at most.
const MOST_COLUMNS: usize = 500;

/// One place: where, and the height of each layer there.
struct Column {
    x: f64,
    parts: Vec<f64>,
}

/// The figure of stacked courses.
pub(super) fn figure(series: &Series, id: &str, tones: &mut Tones) -> Figure {
    let (columns, left_out) = columns(series);
    let shades: Vec<usize> = series.lines.iter().map(|line| tones.of(&line.name)).collect();
    let mut figure =
        Figure { name: series.name.clone(), help: series.help.clone(), values: table(series), ..Figure::default() };
    let measured = series.lines.iter().flat_map(|line| &line.mean).any(|value| value.is_finite());
    let Some(x_range) = range(columns.iter().map(|column| column.x)).filter(|_| measured) else { return figure };
    figure.seen.extend(shares(series, &columns));
    if left_out > 0 {
        figure.seen.push(format!("{left_out} values were not measured or are below zero; they count as zero here."));
    }
    // From the top down, as the layers lie.
    figure.legend = shades.iter().copied().zip(series.lines.iter().map(|line| line.name.clone())).rev().collect();
    let columns = thin(columns);
    let highest = columns.iter().map(|column| column.parts.iter().sum()).fold(0.0, f64::max);
    let described = describe(series, &figure.seen);
    for form in [Form::Wide, Form::Narrow] {
        figure.drawings.push(draw(series, &columns, &shades, (x_range, highest), form, (id, &described)));
    }
    figure
}

fn draw(
    series: &Series,
    columns: &[Column],
    shades: &[usize],
    (x_range, highest): ((f64, f64), f64),
    form: Form,
    (id, described): (&str, &str),
) -> String {
    let names: Vec<&str> = series.lines.iter().map(|line| line.name.as_str()).collect();
    let mut frame = Frame::new(form, if form == Form::Wide { names_px(&names) } else { 0.0 });
    if form == Form::Wide {
        frame.make_room(names.len() as f64 * 2.0 * LINE_PX);
    }
    let (across, up) = frame.ticks();
    let x = Axis::places(x_range, &series.x_unit, across, frame.across());
    let y = Axis::values((0.0, highest), Unit::of(&series.unit), up, frame.up());
    let mut svg = frame.begin(id, &series.name, described);
    frame.axes(&mut svg, &x, &y, &series.x_name);
    let mut under = vec![0.0; columns.len()];
    // Names stand at the heights that their layers have where the whole is highest.
    let total = |column: &Column| column.parts.iter().sum::<f64>();
    let peak = (0..columns.len()).max_by(|a, b| total(&columns[*a]).total_cmp(&total(&columns[*b]))).unwrap_or(0);
    let mut middles = Vec::new();
    for (layer, shade) in shades.iter().enumerate() {
        let over: Vec<f64> = columns.iter().zip(&under).map(|(column, under)| under + column.parts[layer]).collect();
        let edge = |heights: &[f64]| {
            columns.iter().zip(heights).map(|(column, height)| (x.px(column.x), y.px(*height))).collect::<Vec<_>>()
        };
        let (upper, lower) = (edge(&over), edge(&under));
        match (&upper[..], &lower[..]) {
            // A single place is a bar.
            (&[(_, top)], &[(_, bottom)]) => {
                let bar = [(frame.left, top), (frame.right, top)];
                area(&mut svg, &format!("layer {}", tone(*shade)), &bar, &bar.map(|(across, _)| (across, bottom)));
            }
            _ => area(&mut svg, &format!("layer {}", tone(*shade)), &upper, &lower),
        }
        path(&mut svg, "seam", &upper);
        middles.push(Some(f64::midpoint(upper[peak].1, lower[peak].1)));
        under = over;
    }
    if form == Form::Wide {
        beside(&mut svg, &frame, (&names, shades), &middles, Pointer::Patch);
        strips(&mut svg, &frame, series, &x);
    }
    svg.finish()
}

/// The places in order of the axis, and how many values cannot be drawn: they count as zero.
fn columns(series: &Series) -> (Vec<Column>, usize) {
    let mut left_out = 0;
    let mut columns = Vec::new();
    for (index, x) in series.x.iter().enumerate().filter(|(_, x)| x.is_finite()) {
        let mut part = |value: Option<&f64>| match value {
            // Many layers of the largest numbers must still have a finite sum.
            Some(value) if value.is_finite() && *value >= 0.0 => value.min(1e290),
            _ => {
                left_out += 1;
                0.0
            }
        };
        columns.push(Column { x: *x, parts: series.lines.iter().map(|line| part(line.mean.get(index))).collect() });
    }
    columns.sort_by(|a, b| a.x.total_cmp(&b.x));
    (columns, left_out)
}

/// At most so many columns as there is room for, each the mean of its neighbours.
fn thin(columns: Vec<Column>) -> Vec<Column> {
    let bucket = columns.len().div_ceil(MOST_COLUMNS).max(1);
    if bucket == 1 {
        return columns;
    }
    let mean = |bucket: &[Column]| {
        let count = bucket.len() as f64;
        let of = |layer: usize| bucket.iter().map(|column| column.parts[layer]).sum::<f64>() / count;
        Column { x: bucket[bucket.len() / 2].x, parts: (0..bucket[0].parts.len()).map(of).collect() }
    };
    columns.chunks(bucket).map(mean).collect()
}

/// What part of the whole each layer is, over all places.
fn shares(series: &Series, columns: &[Column]) -> Option<String> {
    let total: f64 = columns.iter().flat_map(|column| &column.parts).sum();
    if !(total.is_finite() && total > 0.0) {
        return None;
    }
    let part = |layer: usize| columns.iter().map(|column| column.parts[layer]).sum::<f64>() / total;
    let each = series.lines.iter().enumerate().rev();
    let words: Vec<String> =
        each.map(|(layer, line)| format!("{} {}", line.name, Unit::of("share").show(part(layer)))).collect();
    Some(format!("Over the whole span: {}.", words.join(", ")))
}
