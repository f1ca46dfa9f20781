//! What a field may hold: its kind, its value, and how both are put into words.

use std::borrow::Cow;
use std::fmt;

use crate::exchange::PolicyKind;

use super::{Assumption, Level, Plan};

/// A field's value, apart from its place.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A whole number; at most 2^53, so that it is exact as a number too.
    Count(u64),
    /// A number.
    Number(f64),
    /// Text, or a name of a list.
    Text(Cow<'static, str>),
}

impl Value {
    /// As TOML has it.
    pub(super) fn toml(&self) -> String {
        match self {
            Self::Count(count) => grouped(*count),
            Self::Number(number) => decimal(*number),
            Self::Text(text) => toml::Value::String(text.to_string()).to_string(),
        }
    }

    /// As a number; none where it is text.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Count(count) => Some(*count as f64),
            Self::Number(number) => Some(*number),
            Self::Text(_) => None,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// What a field takes, bounds included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// A whole number.
    Count {
        /// The least.
        least: u64,
        /// The most.
        most: u64,
    },
    /// A number.
    Number {
        /// The least.
        least: f64,
        /// The most.
        most: f64,
    },
    /// One of these names.
    Choice(&'static [&'static str]),
    /// Text of so many characters at most.
    Text {
        /// The most.
        longest: usize,
    },
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count { least, most } => write!(f, "a whole number from {} to {}", grouped(*least), grouped(*most)),
            Self::Number { least, most } => write!(f, "a number from {} to {}", decimal(*least), decimal(*most)),
            Self::Choice(names) => {
                for (at, name) in names.iter().enumerate() {
                    let joint = if at == 0 {
                        ""
                    } else if at + 1 == names.len() {
                        " or "
                    } else {
                        ", "
                    };
                    write!(f, "{joint}\"{name}\"")?;
                }
                Ok(())
            }
            Self::Text { longest } => write!(f, "text of at most {longest} characters, in quotes"),
        }
    }
}

impl Kind {
    /// The value as this kind holds it; none where it does not.
    pub(super) fn accept(self, value: Value) -> Option<Value> {
        match (self, value) {
            (Self::Count { least, most }, Value::Count(count)) => {
                (least..=most).contains(&count).then_some(Value::Count(count))
            }
            // 2e4 homes are 20000 homes.
            (Self::Count { least, most }, Value::Number(number)) => {
                let whole = number.fract() == 0.0 && (least as f64..=most as f64).contains(&number);
                whole.then_some(Value::Count(number as u64))
            }
            (Self::Number { least, most }, value @ (Value::Count(_) | Value::Number(_))) => {
                let number = value.number()?;
                // The sum makes 0 of -0, which would be written differently.
                (least..=most).contains(&number).then_some(Value::Number(number + 0.0))
            }
            (Self::Choice(names), Value::Text(text)) => {
                names.iter().find(|name| **name == text).map(|name| Value::Text(Cow::Borrowed(*name)))
            }
            (Self::Text { longest }, Value::Text(text)) => {
                let fits = text.chars().count() <= longest && !text.chars().any(char::is_control);
                fits.then_some(Value::Text(text))
            }
            _ => None,
        }
    }
}

/// One field: all that is known of it.
#[derive(Debug)]
pub struct Field {
    /// Its name with its sections', such as "audience.homes".
    pub path: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Unit; "share" for a part of 1, "text" and "name" for what is no number.
    pub unit: &'static str,
    /// Under the assumptions low, mid and high.
    pub defaults: [Value; 3],
    /// One line on what it means.
    pub help: &'static str,
    /// Where the defaults come from.
    pub source: &'static str,
    pub(super) take: fn(&Plan) -> Value,
    pub(super) put: fn(&mut Plan, &Value),
}

impl Field {
    /// Its section, empty for the fields before the first one.
    pub fn section(&self) -> &'static str {
        self.path.rsplit_once('.').map_or("", |(section, _)| section)
    }

    /// Its name within its section.
    pub fn name(&self) -> &'static str {
        self.path.rsplit_once('.').map_or(self.path, |(_, name)| name)
    }

    /// Its default under an assumption.
    pub fn default(&self, assumption: Assumption) -> &Value {
        &self.defaults[assumption as usize]
    }

    /// What to write instead of what the field does not take.
    pub(super) fn advice(&self) -> String {
        format!("write {}", self.kind)
    }

    /// A value with the field's unit, where that is one to be spoken.
    pub(super) fn with_unit(&self, value: &str) -> String {
        match self.unit {
            "share" | "text" | "name" | "exponent" | "number" => value.to_owned(),
            unit => format!("{value} {unit}"),
        }
    }
}

/// What holds a field's value in a [`Plan`].
pub(super) trait Slot {
    fn take(&self) -> Value;
    /// The value is one that the field's kind accepts.
    fn put(&mut self, value: &Value);
}

impl Slot for u64 {
    fn take(&self) -> Value {
        Value::Count(*self)
    }
    fn put(&mut self, value: &Value) {
        if let Value::Count(count) = value {
            *self = *count;
        }
    }
}

impl Slot for f64 {
    fn take(&self) -> Value {
        Value::Number(*self)
    }
    fn put(&mut self, value: &Value) {
        if let Some(number) = value.number() {
            *self = number;
        }
    }
}

impl Slot for String {
    fn take(&self) -> Value {
        Value::Text(Cow::Owned(self.clone()))
    }
    fn put(&mut self, value: &Value) {
        if let Value::Text(text) = value {
            text.as_ref().clone_into(self);
        }
    }
}

/// Something with a name of a list.
pub(super) trait Choice: Copy + 'static {
    const ALL: &'static [Self];
    const NAMES: &'static [&'static str];
    fn at(self) -> usize;
}

macro_rules! choice {
    ($type:ty { $($variant:ident $name:literal),+ }) => {
        impl Choice for $type {
            const ALL: &'static [Self] = &[$(Self::$variant),+];
            const NAMES: &'static [&'static str] = &[$($name),+];
            fn at(self) -> usize {
                self as usize
            }
        }
        impl Slot for $type {
            fn take(&self) -> Value {
                Value::Text(Cow::Borrowed(Self::NAMES[self.at()]))
            }
            fn put(&mut self, value: &Value) {
                let named = Self::NAMES.iter().position(|name| matches!(value, Value::Text(text) if text == name));
                if let Some(at) = named {
                    *self = Self::ALL[at];
                }
            }
        }
    };
}
choice!(Assumption { Low "low", Mid "mid", High "high" });
choice!(Level { L1 "l1", L0 "l0" });
choice!(PolicyKind {
    Ours "ours", SeedOnly "seed-only", InOrder "in-order", Windows "windows", Deadlines "deadlines"
});

/// A whole number as TOML takes it, in groups of three where it is long.
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    if digits.len() < 5 {
        return digits;
    }
    let head = digits.len() % 3;
    let mut out = digits[..head].to_owned();
    for group in digits.as_bytes()[head..].chunks(3) {
        if !out.is_empty() {
            out.push('_');
        }
        out.extend(group.iter().map(|digit| char::from(*digit)));
    }
    out
}

/// A number as TOML takes it, with no more digits than tell it from its neighbours.
pub(super) fn decimal(number: f64) -> String {
    if number.fract() == 0.0 && (0.0..9e15).contains(&number) {
        return grouped(number as u64);
    }
    number.to_string()
}
