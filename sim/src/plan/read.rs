//! Scenario files in. All faults are found at once, each with its line and what to write instead. Whatever the file
//! holds, reading it ends in a plan or in faults.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::value::decimal;
use super::{Assumption, FIELDS, Fault, Field, Kind, Plan, PlanFaults, SECTIONS, Value, check, fields};

/// Largest scenario: thirty times one with all comments.
const MAX_BYTES: usize = 1024 * 1024;
/// Faults that are told: more would not be read.
const MAX_FAULTS: usize = 100;
/// Characters of the file that a fault quotes.
const MAX_QUOTED: usize = 60;

impl Plan {
    /// Reads a scenario file.
    ///
    /// # Errors
    /// All faults of the file; the author's.
    pub fn read(path: &Path) -> Result<Self, PlanFaults> {
        let name = path.display().to_string();
        let whole = |what: String, write: &str| {
            PlanFaults(vec![Fault {
                file: name.clone(),
                line: None,
                path: String::new(),
                what,
                write: write.to_owned(),
            }])
        };
        let bytes = std::fs::read(path)
            .map_err(|e| whole(format!("cannot be read ({e})"), "give the path of a scenario file"))?;
        match String::from_utf8(bytes) {
            Ok(text) => Self::parse(&text, &name),
            Err(e) => {
                let at = e.utf8_error().valid_up_to();
                let line = 1 + e.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count();
                let mut faults = whole("has bytes that are not UTF-8".to_owned(), "save it as UTF-8");
                faults.0[0].line = Some(line);
                Err(faults)
            }
        }
    }

    /// Reads a scenario from its text. The file's name is for the faults.
    ///
    /// # Errors
    /// All faults of the text, in the order of their lines; a hundred at most.
    pub fn parse(text: &str, file_name: &str) -> Result<Self, PlanFaults> {
        let mut reader = Reader::new(text);
        let plan = reader.read();
        if reader.faults.is_empty() { Ok(plan) } else { Err(reader.report(file_name)) }
    }
}

struct Reader<'a> {
    text: &'a str,
    /// Where lines begin.
    starts: Vec<usize>,
    /// Lines of the fields that the file gives.
    given: BTreeMap<&'static str, usize>,
    /// Fields whose value is not known, for a fault of their own.
    spoilt: BTreeSet<&'static str>,
    /// Names that mean nothing: line, path, and whether it is a section's.
    strange: Vec<(usize, String, bool)>,
    faults: Vec<Fault>,
    /// Faults that nobody would read, counted only.
    more: usize,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let (given, spoilt) = (BTreeMap::new(), BTreeSet::new());
        Self { text, starts, given, spoilt, strange: Vec::new(), faults: Vec::new(), more: 0 }
    }

    fn read(&mut self) -> Plan {
        if self.text.len() > MAX_BYTES {
            let what = format!("this scenario has {} bytes", self.text.len());
            self.faults.push(Fault::new("", what, format!("write at most {MAX_BYTES}")));
            return Plan::default();
        }
        let (root, errors) = DeTable::parse_recoverable(self.text);
        self.syntax(&errors);
        let root = root.get_ref();
        let mut plan = Plan::assumed(self.assumption(root));
        self.table("", root, &mut plan);
        self.strange();
        // What is not TOML may hide a field, and a clash may only be with what is hidden.
        if errors.is_empty() {
            self.clashes(&plan);
        }
        plan
    }

    /// The assumption that chooses the defaults. A fault in it is found with the other fields'.
    fn assumption(&self, root: &DeTable<'_>) -> Assumption {
        match root.get("assumptions").and_then(|value| value.get_ref().as_str()) {
            Some("low") => Assumption::Low,
            Some("high") => Assumption::High,
            _ => Assumption::Mid,
        }
    }

    /// What is not TOML, once a line: one slip makes several errors.
    fn syntax(&mut self, errors: &[toml::de::Error]) {
        let mut lines = BTreeMap::new();
        for error in errors {
            let span = error.span().unwrap_or(0..0);
            lines.entry(self.line(span.start)).or_insert((error, span));
        }
        self.more += lines.len().saturating_sub(MAX_FAULTS);
        for (line, (error, span)) in lines.into_iter().take(MAX_FAULTS) {
            let fault = if error.message().starts_with("duplicate key") {
                let path = self.path_at(&span);
                Fault::new(&path, "is given twice", "write it once")
            } else {
                let what = format!("this is not TOML ({})", error.message());
                Fault::new("", what, "write [section] or name = value, with text in quotes")
            };
            self.faults.push(fault.at(Some(line)));
        }
    }

    /// The path of the key at a place, by the last section's header before it.
    fn path_at(&self, span: &Range<usize>) -> String {
        let line = self.line(span.start);
        let key = quoted(self.text.get(span.clone()).unwrap_or_default().trim_matches(['"', '\'']));
        let header = |number: usize| {
            let line = self.text[self.starts[number - 1]..].lines().next().unwrap_or_default().trim_start();
            let name = line.strip_prefix('[')?.split(']').next()?;
            Some(quoted(name.trim_matches(['[', ' ', '\t'])))
        };
        if let Some(own) = header(line) {
            return own;
        }
        match (1..line).rev().find_map(header) {
            Some(section) => format!("{section}.{key}"),
            None => key,
        }
    }

    /// All fields below a section, or a part of a section's name.
    fn table(&mut self, section: &str, table: &DeTable<'_>, plan: &mut Plan) {
        for (key, value) in table {
            let line = self.line(key.span().start);
            let path =
                if section.is_empty() { key.get_ref().to_string() } else { format!("{section}.{}", key.get_ref()) };
            if let Some(field) = fields::find(&path) {
                self.given.insert(field.path, line);
                match self.value(field, value) {
                    Ok(value) => (field.put)(plan, &value),
                    Err(fault) => {
                        self.spoilt.insert(field.path);
                        self.faults.push(fault.at(Some(line)));
                    }
                }
            } else if is_section(&path) {
                match value.get_ref() {
                    DeValue::Table(table) => self.table(&path, table, plan),
                    DeValue::Array(_) => {
                        let fault = Fault::new(&path, "is given as a list", format!("write [{path}], once"));
                        self.faults.push(fault.at(Some(line)));
                    }
                    _ => {
                        let advice = format!("write [{path}] and its fields below");
                        self.faults.push(Fault::new(&path, "is a section and has no value", advice).at(Some(line)));
                    }
                }
            } else {
                self.strange.push((line, path, value.get_ref().is_table()));
            }
        }
    }

    /// Names that mean nothing, each with the likest one that does.
    fn strange(&mut self) {
        self.strange.sort_unstable();
        self.more += self.strange.len().saturating_sub(MAX_FAULTS);
        for (line, path, section) in self.strange.iter().take(MAX_FAULTS) {
            let fault = if *section { unknown_section(path) } else { unknown(path) };
            self.faults.push(fault.at(Some(*line)));
        }
    }

    fn value(&self, field: &'static Field, value: &Spanned<DeValue<'_>>) -> Result<Value, Fault> {
        let raw = quoted(self.text.get(value.span()).unwrap_or_default());
        let given = match value.get_ref() {
            DeValue::Integer(integer) => whole(integer),
            DeValue::Float(float) => Value::Number(float.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::String(text) => return from_string(field, text),
            DeValue::Boolean(yes) => return Err(refused(field, if *yes { "true" } else { "false" })),
            DeValue::Datetime(_) => return Err(refused(field, "a date")),
            DeValue::Array(_) => return Err(refused(field, "a list")),
            DeValue::Table(_) => return Err(refused(field, "a section")),
        };
        match field.kind.accept(given) {
            Some(value) => Ok(value),
            None => Err(refused(field, &field.with_unit(&raw))),
        }
    }

    fn clashes(&mut self, plan: &Plan) {
        for clash in check::clashes(plan) {
            if clash.paths.iter().any(|path| self.spoilt.contains(path)) {
                continue;
            }
            let given = &self.given;
            self.faults.push(clash.fault(|path| given.get(path).copied()));
        }
    }

    /// Number of the line that a byte is in.
    fn line(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at)
    }

    fn report(self, file_name: &str) -> PlanFaults {
        let mut faults = self.faults;
        faults.sort_by_key(|fault| fault.line);
        let more = self.more + faults.len().saturating_sub(MAX_FAULTS);
        if more > 0 {
            let what = format!("{more} more faults follow");
            faults.truncate(MAX_FAULTS);
            faults.push(Fault::new("", what, "mend those above first"));
        }
        for fault in &mut faults {
            file_name.clone_into(&mut fault.file);
        }
        PlanFaults(faults)
    }
}

/// Whether this is a section's name, or a part of one, such as "devices".
fn is_section(path: &str) -> bool {
    SECTIONS.iter().any(|section| {
        let rest = section.path.strip_prefix(path);
        rest.is_some_and(|rest| !path.is_empty() && (rest.is_empty() || rest.starts_with('.')))
    })
}

/// A whole number of any length: exact where it fits, a number otherwise.
fn whole(integer: &DeInteger<'_>) -> Value {
    match i128::from_str_radix(integer.as_str(), integer.radix()) {
        Ok(number) => u64::try_from(number).map_or(Value::Number(number as f64), Value::Count),
        Err(_) => Value::Number(f64::NAN),
    }
}

/// A value as a sweep or the command line gives it: quotes may be left out.
pub(super) fn from_text(field: &'static Field, text: &str) -> Result<Value, Fault> {
    let text = text.trim();
    let bare = ['"', '\''].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote)).unwrap_or(text);
    let given = match field.kind {
        Kind::Choice(_) | Kind::Text { .. } => return from_string(field, bare),
        Kind::Count { .. } | Kind::Number { .. } => number(text),
    };
    match given {
        Some(given) => field.kind.accept(given).ok_or_else(|| refused(field, &field.with_unit(&quoted(text)))),
        None => from_string(field, bare),
    }
}

/// A number as TOML has it.
fn number(text: &str) -> Option<Value> {
    let digits = text.replace('_', "");
    digits.parse().map(Value::Count).or_else(|_| digits.parse().map(Value::Number)).ok()
}

/// A value in quotes.
fn from_string(field: &'static Field, text: &str) -> Result<Value, Fault> {
    match field.kind {
        Kind::Choice(_) | Kind::Text { .. } => {
            let given = Value::Text(text.to_owned().into());
            field.kind.accept(given).ok_or_else(|| refused(field, &format!("\"{}\"", quoted(text))))
        }
        Kind::Count { .. } | Kind::Number { .. } => {
            let advice = match meant(field, text) {
                Some(number) => format!("write {number}, without quotes{}", unit_of(field)),
                None => format!("{}, without quotes{}", field.advice(), unit_of(field)),
            };
            Err(Fault::new(field.path, format!("is the text \"{}\"", quoted(text)), advice))
        }
    }
}

fn unit_of(field: &Field) -> String {
    match field.unit {
        "share" | "exponent" | "number" => String::new(),
        unit => format!("; it is in {unit}"),
    }
}

/// The number that a text with a unit seems to mean.
fn meant(field: &Field, text: &str) -> Option<String> {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || ".+-_".contains(c))).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let given = number(digits)?.number()?;
    let unit = unit.trim().to_ascii_lowercase();
    let known: &[&str] = match field.unit {
        "Mb/s" => &["mb/s", "mbit/s", "mbps", "mbits"],
        "hours" | "hours a day" => &["h", "hour", "hours"],
        "minutes" => &["min", "mins", "minute", "minutes"],
        "seconds" => &["s", "sec", "secs", "second", "seconds"],
        "ms" => &["ms"],
        "days" => &["d", "day", "days"],
        "GB" | "GB a day" | "GB a month" => &["gb"],
        "kB" => &["kb"],
        "share" => &["%"],
        _ => &[],
    };
    if !unit.is_empty() && unit != field.unit.to_ascii_lowercase() && !known.contains(&unit.as_str()) {
        return None;
    }
    let value = if unit == "%" { given / 100.0 } else { given };
    field.kind.accept(Value::Number(value))?.number().map(decimal)
}

fn refused(field: &Field, given: &str) -> Fault {
    Fault::new(field.path, format!("is {given}"), field.advice())
}

/// The fault of a field that there is not.
pub(super) fn unknown(path: &str) -> Fault {
    let found = nearest(path, FIELDS.iter().map(|field| field.path));
    let advice = if found.is_empty() {
        "\"aftercast-sim fields\" lists all".to_owned()
    } else {
        format!("did you mean {}?", found.join(" or "))
    };
    Fault::new(&quoted(path), "is no field", advice)
}

fn unknown_section(path: &str) -> Fault {
    let sections = SECTIONS.iter().map(|section| section.path).filter(|path| !path.is_empty());
    // Also what several have in common, such as "devices".
    let groups = sections.clone().filter_map(|path| Some(path.split_once('.')?.0));
    let mut found = nearest(path, sections.chain(groups));
    found.dedup();
    let advice = if found.is_empty() {
        "\"aftercast-sim fields\" lists all".to_owned()
    } else {
        format!("did you mean [{}]?", found.join("] or ["))
    };
    Fault::new(&quoted(path), "is no section", advice)
}

/// The names that are likest to a path: four at most, none where none is like it.
fn nearest<'a>(path: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let path = quoted(path).to_ascii_lowercase();
    let (section, name) = path.rsplit_once('.').unwrap_or(("", &path));
    let scored = names.map(|candidate| {
        let (its_section, its_name) = candidate.rsplit_once('.').unwrap_or(("", candidate));
        // Most names carry a unit, which is easily left out or another.
        let stem = |name: &str| name.split('_').next().unwrap_or_default().to_owned();
        let by_name = if its_name == name {
            0
        } else if stem(its_name) == stem(name) {
            1
        } else {
            strsim::damerau_levenshtein(its_name, name)
        };
        // A right name in a wrong section is likelier than a wrong name in the right one.
        let by_section = usize::from(its_section != section);
        ((by_name + by_section).min(strsim::damerau_levenshtein(candidate, &path)), candidate)
    });
    let mut scored: Vec<(usize, &str)> = scored.collect();
    scored.sort_unstable();
    let Some(&(best, _)) = scored.first() else { return Vec::new() };
    if best > 1 + name.chars().count() / 3 {
        return Vec::new();
    }
    scored.into_iter().take_while(|(score, _)| *score == best).take(4).map(|(_, name)| name).collect()
}

/// A piece of the file that is fit to be shown: on one line, not long, no control characters.
fn quoted(text: &str) -> String {
    let mut out: String = text.chars().take(MAX_QUOTED).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(MAX_QUOTED).is_some() {
        out.push_str("...");
    }
    out
}
