//! The plan: what an operator asks the simulator, as numbers. A plan is read from a scenario file, taken from a
//! preset, or changed field by field in a sweep; either way every field is checked by the one table in `fields.rs`,
//! which holds its unit, range, defaults, their source and its help.
//!
//! ```text
//!  fields.rs   one table ──► structs, defaults (low, mid, high), ranges, help, sources (by the macros of rows.rs)
//!  check.rs    what fields forbid each other
//!  read.rs     TOML ──► Plan, or every fault with its line and what to write
//!  write.rs    Plan ──► TOML with all of the table as comments; the reference
//!  presets.rs  named plans, as changes to the defaults
//! ```
//!
//! A [`Plan`] that came from [`Plan::read`], [`Plan::parse`] or [`Plan::preset`] is legal. After [`Plan::set`] ask
//! [`Plan::check`] whether the fields still fit each other.

#[macro_use]
mod rows;

mod check;
mod fault;
mod fields;
mod presets;
mod read;
mod value;
mod write;

#[cfg(test)]
mod tests;

use serde::Serialize;

pub use fault::{Fault, PlanFaults};
pub use fields::{
    Access, AccessLine, Adversaries, Audience, Broadcast, Cost, Device, Devices, Exchange, FIELDS, Outages, Reach,
    Recording, Run, SECTIONS, Section, Seed, Targets, Viewing,
};
pub use presets::{Change, PRESETS, Preset};
pub use value::{Field, Kind, Value};
pub use write::reference;

use value::Slot;

/// Which of a field's defaults holds where the scenario does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Assumption {
    /// Homes are of little use to each other.
    Low = 0,
    /// What is likely.
    Mid = 1,
    /// Homes are of much use to each other.
    High = 2,
}

/// How the question is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Every chunk of every viewing is followed through virtual time.
    L1,
    /// Formulas, at once.
    L0,
}

/// A scenario. Units and ranges of all fields are in [`FIELDS`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// What the scenario is called, in reports.
    pub title: String,
    /// All chance follows from it.
    pub random_seed: u64,
    /// Which defaults hold.
    pub assumptions: Assumption,
    /// How the experiment is run.
    pub run: Run,
    /// Who takes part.
    pub audience: Audience,
    /// What is broadcast.
    pub broadcast: Broadcast,
    /// What homes record.
    pub recording: Recording,
    /// What homes watch, and when.
    pub viewing: Viewing,
    /// What records.
    pub devices: Devices,
    /// What connects homes.
    pub access: Access,
    /// Which homes reach each other.
    pub reach: Reach,
    /// What fails.
    pub outages: Outages,
    /// How chunks are fetched.
    pub exchange: Exchange,
    /// The broadcaster's own servers.
    pub seed: Seed,
    /// Who means harm.
    pub adversaries: Adversaries,
    /// What it costs.
    pub cost: Cost,
    /// What is asked of `solve`.
    pub targets: Targets,
}

impl Default for Plan {
    fn default() -> Self {
        Self::assumed(Assumption::Mid)
    }
}

impl Plan {
    /// The defaults under an assumption.
    pub fn assumed(assumption: Assumption) -> Self {
        let mut plan = Self::blank();
        for field in FIELDS.iter() {
            (field.put)(&mut plan, field.default(assumption));
        }
        plan.assumptions.put(&Slot::take(&assumption));
        plan
    }

    /// The plan of a preset; none where there is none of that name. The names are in [`PRESETS`].
    pub fn preset(name: &str) -> Option<Self> {
        PRESETS.iter().find(|preset| preset.name == name).map(Preset::plan)
    }

    /// A field's value as a number; none where there is no such field, or it is text.
    pub fn get(&self, path: &str) -> Option<f64> {
        self.value(path)?.number()
    }

    /// A field's value; none where there is no such field.
    pub fn value(&self, path: &str) -> Option<Value> {
        fields::find(path).map(|field| (field.take)(self))
    }

    /// All fields in the order of the file: path and value, as text.
    pub fn values(&self) -> Vec<(String, String)> {
        FIELDS.iter().map(|field| (field.path.to_owned(), (field.take)(self).to_string())).collect()
    }

    /// Changes a field to what the text says, which is written as in a scenario (quotes may be left out).
    /// `assumptions` changes the name alone: the defaults it chose are values by now.
    ///
    /// # Errors
    /// No such field, or none of its values. Whether the fields still fit each other is for [`Self::check`].
    pub fn set(&mut self, path: &str, text: &str) -> Result<(), Fault> {
        let field = fields::find(path).ok_or_else(|| read::unknown(path))?;
        let value = read::from_text(field, text)?;
        (field.put)(self, &value);
        Ok(())
    }

    /// As [`Self::set`], for a sweep: where the field is one of those that share out a whole (such as
    /// `access.fibre.share`), the others shrink or grow in proportion, so that they still add up to 1.
    ///
    /// # Errors
    /// As for [`Self::set`].
    pub fn vary(&mut self, path: &str, text: &str) -> Result<(), Fault> {
        self.set(path, text)?;
        if let Some(whole) = check::WHOLES.iter().find(|whole| whole.contains(&path)) {
            self.share_out(whole, path);
        }
        Ok(())
    }

    /// Gives the other parts of a whole, in proportion, what the one at `path` leaves.
    fn share_out(&mut self, whole: &[&str], path: &str) {
        let rest = 1.0 - self.get(path).unwrap_or(0.0);
        let others: Vec<&str> = whole.iter().copied().filter(|part| *part != path).collect();
        let sum: f64 = others.iter().filter_map(|part| self.get(part)).sum();
        for part in &others {
            let now = self.get(part).unwrap_or(0.0);
            let share = if sum > 0.0 { now / sum * rest } else { rest / others.len() as f64 };
            if let Some(field) = fields::find(part) {
                (field.put)(self, &Value::Number(share));
            }
        }
    }

    /// Whether the fields fit each other.
    ///
    /// # Errors
    /// Everything that does not, without file or line.
    pub fn check(&self) -> Result<(), PlanFaults> {
        let faults: Vec<Fault> = check::clashes(self).into_iter().map(|clash| clash.fault(|_| None)).collect();
        if faults.is_empty() { Ok(()) } else { Err(PlanFaults(faults)) }
    }
}
