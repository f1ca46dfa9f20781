//! The table as text that is Markdown too.

use std::fmt::Write;

use super::cell::Outcome;
use super::rows::ROWS;

/// One row per recipe, one column per combination; in a cell identical, withheld, different (and the residue of 44.1
/// kHz, and the content of another broadcast, where there is some). `cells` holds columns of rows; `None` where a recipe
/// does not fit.
#[must_use]
pub fn markdown(columns: &[String], cells: &[Vec<Option<Outcome>>]) -> String {
    let names: Vec<String> = ROWS.iter().map(super::Row::name).collect();
    let texts: Vec<Vec<String>> =
        cells.iter().map(|column| column.iter().map(|cell| cell.as_ref().map_or("-".into(), text)).collect()).collect();
    // Long lists of recipes are told below the table.
    let short = |number: usize| {
        if names[number].len() > 40 { format!("several at once ({number})") } else { names[number].clone() }
    };
    let first = (0..ROWS.len()).map(|number| short(number).len()).max().unwrap_or(0);
    let mut out = String::new();
    let mut line = |head: &str, rest: &mut dyn Iterator<Item = (String, usize)>| {
        let _ = write!(out, "| {head:first$} |");
        rest.for_each(|(text, width)| {
            let _ = write!(out, " {text:width$} |");
        });
        out.push('\n');
    };
    let widths: Vec<usize> = columns
        .iter()
        .zip(&texts)
        .map(|(name, column)| column.iter().map(String::len).max().unwrap_or(0).max(name.len()))
        .collect();
    line("recipe", &mut columns.iter().cloned().zip(widths.iter().copied()));
    line(&"-".repeat(first), &mut widths.iter().map(|width| ("-".repeat(*width), *width)));
    for number in 0..ROWS.len() {
        let row = texts.iter().map(|column| column[number].clone());
        line(&short(number), &mut row.zip(widths.iter().copied()));
    }
    out.push('\n');
    for (number, name) in names.iter().enumerate().filter(|(_, name)| name.len() > 40) {
        let _ = writeln!(out, "several at once ({number}): {name}");
    }
    out
}

fn text(outcome: &Outcome) -> String {
    let Outcome { identical, withheld, different, residue, other, broken } = outcome;
    let mut text = format!("{identical} / {withheld} / {different}");
    for (count, what) in [(*residue, "residue"), (*other, "other"), (broken.len() as u32, "BROKEN")] {
        if count > 0 {
            let _ = write!(text, ", {count} {what}");
        }
    }
    text
}
