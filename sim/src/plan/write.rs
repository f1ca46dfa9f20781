//! Plans as text: the commented scenario file, and the reference of all fields.

use std::fmt::Write;

use super::{Assumption, FIELDS, Field, Kind, Plan, Preset, SECTIONS};

/// Where comments are broken.
const COLUMNS: usize = 100;

impl Plan {
    /// The plan as a scenario file: every field with its help, unit, range, defaults and source. It reads back as the
    /// same plan. Fields at their default are there as comments, so that what was chosen stands out, and the
    /// assumptions can be changed in the file.
    pub fn to_toml(&self) -> String {
        scenario(self, None)
    }
}

/// The scenario file of a plan; of a preset with the reasons for its changes.
pub(super) fn scenario(plan: &Plan, preset: Option<&Preset>) -> String {
    let mut out = String::new();
    if let Some(preset) = preset {
        comment(&mut out, preset.question);
        comment(&mut out, &format!("The preset \"{}\" of aftercast-sim.", preset.name));
        out.push_str("#\n");
    }
    comment(
        &mut out,
        "A scenario for aftercast-sim. All fields are here with what they mean. Those that begin with # have their \
         default under the assumptions chosen below; take the # away to choose yourself.",
    );
    for section in SECTIONS {
        if !section.path.is_empty() {
            let _ = write!(out, "\n\n# ---- {} ----\n[{}]\n", section.help, section.path);
        }
        for field in FIELDS.iter().filter(|field| field.section() == section.path) {
            let change = preset.and_then(|preset| preset.changes.iter().find(|change| change.path == field.path));
            out.push('\n');
            comment(&mut out, &format!("{}.", field.help));
            comment(&mut out, &format!("{}; {}.", range(field), defaults(field)));
            comment(&mut out, &source(field));
            if let Some(change) = change {
                comment(&mut out, &format!("Here: {}.", change.why));
            }
            let value = (field.take)(plan);
            let chosen = change.is_some() || field.path == "assumptions" || value != *field.default(plan.assumptions);
            let mark = if chosen { "" } else { "# " };
            let _ = writeln!(out, "{mark}{} = {}", field.name(), value.toml());
        }
    }
    out
}

/// All fields with unit, range, defaults, help and source, for people.
pub fn reference() -> String {
    let mut out = String::from(
        "Fields of a scenario. Where a default depends on the assumptions, it is given for low, mid and high:\nhomes \
         are of little, likely or much use to each other.\n",
    );
    for section in SECTIONS {
        let name = if section.path.is_empty() { String::new() } else { format!("[{}] ", section.path) };
        let _ = write!(out, "\n{name}{}\n", section.help);
        for field in FIELDS.iter().filter(|field| field.section() == section.path) {
            let _ = writeln!(out, "\n  {}", field.path);
            wrapped(&mut out, "    ", &format!("{}.", field.help));
            wrapped(&mut out, "    ", &format!("{}; {}.", range(field), defaults(field)));
            wrapped(&mut out, "    ", &source(field));
        }
    }
    out
}

/// What a field takes, with its unit, as the beginning of a sentence.
fn range(field: &Field) -> String {
    let range = match field.kind {
        Kind::Choice(_) => format!("one of {}", field.kind),
        _ => field.kind.to_string(),
    };
    let mut range = match field.unit {
        "text" | "name" | "exponent" | "number" => range,
        unit => format!("{range} ({unit})"),
    };
    range[..1].make_ascii_uppercase();
    range
}

/// The defaults, in one word where all are the same.
fn defaults(field: &Field) -> String {
    let of = |assumption| field.default(assumption).toml();
    let (low, mid, high) = (of(Assumption::Low), of(Assumption::Mid), of(Assumption::High));
    // What the assumptions are when nobody chooses does not hang on what is chosen.
    if field.path == "assumptions" || (low == mid && mid == high) {
        format!("default {mid}")
    } else {
        format!("default low {low}, mid {mid}, high {high}")
    }
}

/// Where the defaults come from, as a sentence.
fn source(field: &Field) -> String {
    match field.source.split_once(": ") {
        Some(("our choice", reason)) => format!("Our choice: {reason}."),
        Some(("assumption", reason)) => format!("Assumption: {reason}."),
        _ => format!("Source: {}.", field.source),
    }
}

fn comment(out: &mut String, text: &str) {
    wrapped(out, "# ", text);
}

/// The words of a text in lines that begin like this.
fn wrapped(out: &mut String, begin: &str, text: &str) {
    let mut column = 0;
    for word in text.split(' ') {
        if column > 0 && column + 1 + word.chars().count() > COLUMNS {
            out.push('\n');
            column = 0;
        }
        let before = if column == 0 { begin } else { " " };
        out.push_str(before);
        out.push_str(word);
        column += before.chars().count() + word.chars().count();
    }
    out.push('\n');
}
