//! How often which value was met: the part of all cases that is at most a value.

use super::super::Distribution;
use super::super::figures::at;
use super::super::units::Unit;
use super::axis::{Axis, range};
use super::figure::{Figure, Table, Tones, missing};
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
        let mut free = frame.left;
        for (mark, words) in MARKS {
            if let Some(value) = at(curve, mark) {
                let place = (x.px(value), y.px(mark));
                let foot = Unit::of(&first.unit).parts().0.show(value);
                if curves.len() == 1 && mark != 0.9 {
                    plot::line(&mut svg, "drop", place, (place.0, frame.bottom));
                    // What would stand on its neighbour, or beyond the edge, is in the words above the drawing.
                    if place.0 + 6.0 >= free && place.0 + 6.0 + text_px(&foot) <= frame.right + 16.0 {
                        text(&mut svg, "mark", (place.0 + 6.0, frame.bottom - 8.0), &foot);
                        free = place.0 + 12.0 + text_px(&foot);
                    }
                }
                let says = format!("{words} at most {}", Unit::of(&first.unit).show(value));
                dot(&mut svg, &format!("dot {shade}"), place, 4.0, &says);
            }
        }
    }
    svg.finish()
}
