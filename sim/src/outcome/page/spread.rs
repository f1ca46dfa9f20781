//! How often which value was met: the part of all cases that is at most a value.

use super::super::Distribution;
use super::super::figures::at;
use super::super::units::Unit;
use super::axis::{Axis, range};
use super::figure::{Figure, Table, Tones, missing};
use super::markup::Markup;
use super::plot::{self, Form, Frame, dot, path, text, text_px, tone};

/// Quantiles that are told in words and marked.
const MARKS: [(f64, &str); 4] = [(0.5, "half"), (0.9, "90 of 100"), (0.95, "95 of 100"), (0.99, "99 of 100")];
/// Points of a curve that are drawn at most.
const MOST_POINTS: usize = 500;

/// The figure of one distribution, or of the same one in several cases, each under its name.
pub(super) fn figure(curves: &[(&str, &Distribution)], id: &str, tones: &mut Tones) -> Figure {
    let Some((_, first)) = curves.first() else { return Figure::default() };
    let unit = Unit::of(&first.unit);
    let points: Vec<Vec<(f64, f64)>> = curves.iter().map(|(_, curve)| curve.drawable()).collect();
    let mut figure = Figure { name: first.name.clone(), help: first.help.clone(), ..Figure::default() };
    let heads = std::iter::once("Part of all".to_owned()).chain(curves.iter().map(|(name, _)| (*name).to_owned()));
    let row = |(mark, words): (f64, &str)| {
        let value = |curve: &Vec<(f64, f64)>| at(curve, mark).map_or("not measured".into(), |value| unit.show(value));
        std::iter::once(format!("{words}, at most")).chain(points.iter().map(value)).collect()
    };
    let all = points.iter().flatten();
    let values = || all.clone().map(|(_, value)| *value);
    let Some((low, high)) = range(values()) else { return figure };
    figure.values = Table { heads: heads.collect(), rows: MARKS.into_iter().map(row).collect(), every: 1 };
    if curves.len() == 1 {
        figure.values.heads = vec!["Part of all".into(), "Value".into()];
        let of = if first.of.is_empty() { "cases" } else { &first.of };
        let told = MARKS.into_iter().filter_map(|(mark, words)| Some((words, unit.show(at(&points[0], mark)?))));
        let told: Vec<String> = told.map(|(words, value)| format!("{words} at most {value}")).collect();
        figure.seen.push(format!("Of all {of}: {}.", told.join(", ")));
    } else {
        figure.legend = curves.iter().map(|(name, _)| (tones.of(name), (*name).to_owned())).collect();
        figure.legend_always = true;
    }
    let lost = curves.iter().map(|(_, curve)| curve.points.len()).sum::<usize>() - all.clone().count();
    figure.seen.extend(missing(lost));
    let least = values().filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
    let log = first.log && least.is_finite();
    if log {
        figure.seen.push("The horizontal axis grows by multiples: equal steps are equal factors.".into());
        if low <= 0.0 {
            figure.seen.push("Values of zero are drawn at its left edge.".into());
        }
    }
    let shades: Vec<usize> =
        curves.iter().map(|(name, _)| if curves.len() == 1 { 0 } else { tones.of(name) }).collect();
    for form in [Form::Wide, Form::Narrow] {
        let frame = Frame::new(form, 0.0);
        let (across, _) = frame.ticks();
        let x = if log {
            Axis::logarithmic((least.max(low), high), unit, across, frame.across())
        } else {
            Axis::values((low, high), unit, across, frame.across())
        };
        figure.drawings.push(draw(first, &points, &shades, x, &frame, (id, &figure.seen.join(" "))));
    }
    figure
}

fn draw(
    first: &Distribution,
    curves: &[Vec<(f64, f64)>],
    shades: &[usize],
    x: Axis,
    frame: &Frame,
    (id, described): (&str, &str),
) -> String {
    let mut y = Axis::values((0.0, 1.0), Unit::of("share"), 4.0, frame.up());
    y.ticks = [0.0, 0.25, 0.5, 0.75, 0.95].map(|part| (part, Unit::of("share").show(part))).to_vec();
    let of = if first.of.is_empty() { "cases" } else { &first.of };
    y.word = format!("part of all {of} that is at most the value below");
    let mut svg = frame.begin(id, &first.name, described);
    frame.axes(&mut svg, &x, &y, &first.name);
    for (curve, shade) in curves.iter().zip(shades) {
        let shade = tone(*shade);
        let every = curve.len().div_ceil(MOST_POINTS).max(1);
        let last = curve.last().filter(|_| (curve.len().max(1) - 1) % every != 0);
        let drawn = curve.iter().step_by(every).chain(last);
        let drawn: Vec<(f64, f64)> = drawn.map(|(part, value)| (x.px(*value), y.px(*part))).collect();
        path(&mut svg, &format!("line {shade}"), &drawn);
        for (mark, words) in MARKS {
            if let Some(value) = at(curve, mark) {
                let says = format!("{words} at most {}", Unit::of(&first.unit).show(value));
                dot(&mut svg, &format!("dot {shade}"), (x.px(value), y.px(mark)), 4.0, &says);
            }
        }
    }
    if let [curve] = curves {
        feet(&mut svg, curve, Unit::of(&first.unit), (&x, &y), frame);
    }
    svg.finish()
}

/// Lines from the marks down to their values, which stand beside them where there is room: all are in the words above.
fn feet(svg: &mut Markup, curve: &[(f64, f64)], unit: Unit<'_>, (x, y): (&Axis, &Axis), frame: &Frame) {
    let marks = MARKS.iter().filter(|(mark, _)| *mark != 0.9);
    let feet: Vec<(f64, f64, f64)> =
        marks.filter_map(|(mark, _)| at(curve, *mark).map(|value| (x.px(value), y.px(*mark), value))).collect();
    for (across, down, _) in &feet {
        plot::line(svg, "drop", (*across, *down), (*across, frame.bottom));
    }
    for (index, (across, _, value)) in feet.iter().enumerate() {
        let words = unit.parts().0.show(*value);
        let limit = feet.get(index + 1).map_or(frame.right + 16.0, |next| next.0);
        if across + 6.0 + text_px(&words) <= limit {
            text(svg, "mark", (across + 6.0, frame.bottom - 8.0), &words);
        }
    }
}
