//! Bars beside their names: a table that can be read as such, for names and explanations of any length.

use super::super::units::Unit;
use super::axis::range;
use super::markup::Markup;
use super::plot::{px, tone};

/// Length of all bars' common axis, in units of their drawing: the page stretches it.
const LENGTH: f64 = 1000.0;

/// One row.
pub(super) struct Bar {
    /// Its name.
    pub(super) name: String,
    /// What it means; may be empty.
    pub(super) help: String,
    /// Mean, and the ends of its interval.
    pub(super) mean: f64,
    pub(super) low: f64,
    pub(super) high: f64,
    /// Its tone.
    pub(super) tone: usize,
    /// What else is said of it, per further column: its class in the style, which may be empty, and the text.
    pub(super) more: Vec<(&'static str, String)>,
}

/// Writes the rows under heads: name, (bar), value, and one for each further column.
pub(super) fn write(out: &mut Markup, heads: &[&str], bars: &[Bar], unit: Unit<'_>) {
    let ends = bars.iter().flat_map(|bar| [bar.mean, bar.low, bar.high, 0.0]);
    let Some((low, high)) = range(ends).filter(|_| bars.iter().any(|bar| bar.mean.is_finite())) else {
        out.leaf("p", &[("class", "nothing")], "Nothing is drawn here: no value was measured.");
        return;
    };
    let reach = if high > low { high - low } else { 1.0 };
    // Not a number where the value is none.
    let at = |value: f64| if value.is_finite() { ((value - low) / reach).clamp(0.0, 1.0) * LENGTH } else { f64::NAN };
    // Explanations need more room than bare names.
    let class = if bars.iter().all(|bar| bar.help.is_empty()) { "bars" } else { "bars told" };
    out.open("div", &[("class", "scroll")]).open("table", &[("class", class)]).open("thead", &[]).open("tr", &[]);
    for (index, head) in heads.iter().enumerate() {
        out.leaf("th", &[("scope", "col")], head);
        if index == 0 {
            out.open("td", &[("class", "bar")]).close();
        }
    }
    out.close().close().open("tbody", &[]);
    for bar in bars {
        out.open("tr", &[]).open("th", &[("scope", "row")]).text(&bar.name);
        if !bar.help.is_empty() {
            out.leaf("small", &[], &bar.help);
        }
        out.close().open("td", &[("class", "bar")]);
        if bar.mean.is_finite() {
            draw(out, bar, (at(0.0), at(bar.mean), at(bar.low), at(bar.high)));
        }
        out.close();
        out.leaf("td", &[("class", "value")], &unit.estimate(bar.mean, bar.low, bar.high).with_interval());
        for (class, more) in &bar.more {
            out.leaf("td", &[("class", class)], more);
        }
        out.close();
    }
    out.close().close().close();
}

fn draw(out: &mut Markup, bar: &Bar, (zero, mean, low, high): (f64, f64, f64, f64)) {
    let attributes = [("viewBox", "0 0 1000 20"), ("preserveAspectRatio", "none"), ("aria-hidden", "true")];
    out.open("svg", &attributes);
    let (left, width) = (px(zero.min(mean)), px((mean - zero).abs()));
    let class = format!("fill {}", tone(bar.tone));
    out.void("rect", &[("class", &class), ("x", &left), ("y", "2"), ("width", &width), ("height", "16")]);
    if low.is_finite() && high.is_finite() && high > low {
        let (low, high) = (px(low), px(high));
        let d = format!("M{low} 10L{high} 10M{low} 5L{low} 15M{high} 5L{high} 15");
        out.void("path", &[("class", "whisker"), ("d", &d)]);
    }
    out.close();
}
