//! The scenario as a result carries it: every field in words, so that a page needs no scenario file.

use serde::{Deserialize, Serialize};

use crate::plan::{FIELDS, Field, Plan, SECTIONS};

/// One field of the scenario.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Section and name, as in the scenario's file: `audience.homes`.
    pub path: String,
    /// Its value as text.
    pub value: String,
    /// Unit of the value, as [the module](super) says; empty for a bare number or a word.
    pub unit: String,
    /// What it means; may be empty.
    pub help: String,
    /// What its section is about; may be empty.
    pub section: String,
}

impl Setting {
    /// A field by its path, value and unit (empty: none).
    pub fn new(path: impl Into<String>, value: impl Into<String>, unit: impl Into<String>) -> Self {
        Self { path: path.into(), value: value.into(), unit: unit.into(), ..Self::default() }
    }

    /// What it means.
    #[must_use]
    pub fn explained(self, help: impl Into<String>) -> Self {
        Self { help: help.into(), ..self }
    }

    /// All fields of a scenario in the order of its file.
    #[must_use]
    pub fn all(plan: &Plan) -> Vec<Self> {
        FIELDS.iter().map(|field| Self::of(field, plan)).collect()
    }

    /// One field of a scenario; none where there is no such field.
    #[must_use]
    pub fn one(plan: &Plan, path: &str) -> Option<Self> {
        FIELDS.iter().find(|field| field.path == path).map(|field| Self::of(field, plan))
    }

    fn of(field: &Field, plan: &Plan) -> Self {
        let section = SECTIONS.iter().find(|section| section.path == field.section());
        // Words and bare numbers have no unit, only a kind.
        let unit = if matches!(field.unit, "text" | "name" | "number" | "exponent") { "" } else { field.unit };
        Self {
            path: field.path.into(),
            value: plan.value(field.path).map_or_else(String::new, |value| value.to_string()),
            unit: unit.into(),
            help: field.help.into(),
            section: section.map_or("", |section| section.help).into(),
        }
    }
}
