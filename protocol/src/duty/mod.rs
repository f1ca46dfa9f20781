//! Duties: who witnesses, uploads and keeps which chunk, chosen by capability (DESIGN 7).

mod orders;

pub use orders::{Capability, Duty, DutyKind, RawDuty, VerifiedDuty};
