//! A figure of the page: name, what it shows, drawings, and the values that were drawn.

use std::collections::BTreeMap;

use super::markup::Markup;
use super::plot::tone;

/// Rows that a table of drawn values has at most: more are for the CSV.
const MOST_ROWS: usize = 120;

/// A figure, ready to be written.
#[derive(Default)]
pub(super) struct Figure {
    /// What it shows.
    pub(super) name: String,
    /// How to read it.
    pub(super) help: String,
    /// What is to be seen, in sentences.
    pub(super) seen: Vec<String>,
    /// Tone and name of what is drawn, where that is not written beside it.
    pub(super) legend: Vec<(usize, String)>,
    /// Whether the wide drawing needs the legend as well as the narrow one.
    pub(super) legend_always: bool,
    /// The drawings, one per form; none where there is nothing to draw.
    pub(super) drawings: Vec<String>,
    /// The values.
    pub(super) values: Table,
}

/// Rows and columns of text.
#[derive(Default)]
pub(super) struct Table {
    /// Heads of the columns; the first column names the row.
    pub(super) heads: Vec<String>,
    /// The rows.
    pub(super) rows: Vec<Vec<String>>,
    /// One row in so many was taken.
    pub(super) every: usize,
}

/// One tone for one name, all over the page, given in order of appearance.
#[derive(Default)]
pub(super) struct Tones(BTreeMap<String, usize>);

impl Tones {
    /// The tone of this name.
    pub(super) fn of(&mut self, name: &str) -> usize {
        let next = self.0.len();
        *self.0.entry(name.to_owned()).or_insert(next)
    }
}

impl Figure {
    /// Writes it.
    pub(super) fn write(&self, out: &mut Markup) {
        out.open("figure", &[]).open("figcaption", &[]);
        out.leaf("h3", &[], &self.name);
        if !self.help.is_empty() {
            out.leaf("p", &[], &self.help);
        }
        if !self.seen.is_empty() {
            out.leaf("p", &[("class", "seen")], &self.seen.join(" "));
        }
        out.close();
        if self.drawings.is_empty() {
            out.leaf("p", &[("class", "nothing")], "Nothing is drawn here: no value was measured.");
        } else if !self.legend.is_empty() {
            let class = if self.legend_always { "legend" } else { "legend narrow" };
            out.open("ul", &[("class", class)]);
            for (index, name) in &self.legend {
                out.open("li", &[]).open("i", &[("class", tone(*index))]).close().text(name).close();
            }
            out.close();
        }
        for drawing in &self.drawings {
            out.raw(drawing);
        }
        if !self.values.rows.is_empty() {
            out.open("details", &[]).leaf("summary", &[], "Values");
            self.values.write(out, &self.name);
            out.close();
        }
        out.close();
    }
}

impl Table {
    /// A table of so many rows; of many only every so-manieth is made.
    pub(super) fn of(heads: Vec<String>, rows: usize, row: impl FnMut(usize) -> Vec<String>) -> Self {
        let every = rows.div_ceil(MOST_ROWS).max(1);
        Self { heads, rows: (0..rows).step_by(every).map(row).collect(), every }
    }

    /// Writes it. `name` is for those who hear it.
    pub(super) fn write(&self, out: &mut Markup, name: &str) {
        if self.every > 1 {
            let note = format!("One row in {}; all are in the CSV file.", self.every);
            out.leaf("p", &[("class", "small")], &note);
        }
        out.open("div", &[("class", "scroll"), ("role", "region"), ("tabindex", "0"), ("aria-label", name)]);
        out.open("table", &[]).open("thead", &[]).open("tr", &[]);
        for head in &self.heads {
            out.leaf("th", &[("scope", "col")], head);
        }
        out.close().close().open("tbody", &[]);
        for row in &self.rows {
            out.open("tr", &[]);
            for (index, cell) in row.iter().enumerate() {
                if index == 0 {
                    out.leaf("th", &[("scope", "row")], cell)
                } else {
                    out.leaf("td", &[], cell)
                };
            }
            out.close();
        }
        out.close().close().close();
    }
}

/// How many values cannot be drawn, in words; nothing where all can.
pub(super) fn missing(count: usize) -> Option<String> {
    match count {
        0 => None,
        1 => Some("One value was not measured; it is left out.".into()),
        count => Some(format!("{count} values were not measured; they are left out.")),
    }
}
