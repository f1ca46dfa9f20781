//! Closed forms: what can be said about a scenario without running it, and what a run must agree with where their
//! assumptions hold. Pure functions; each says its units, its assumptions and where it comes from.
//!
//! - [`erlang`]: how often a limited number of servers is full, and how many are needed.
//! - [`offered`]: how many sessions are on at a time of the day.
//! - [`sharing`]: how long a transfer takes on a shared line.
//! - [`swarm`]: what share of the bytes holders can serve.
//! - [`probes`]: how often none of the holders asked answers.
//! - [`availability`]: how often a copy is there, and how many copies are needed.
//! - [`cost`]: storage, home upload and money.
//!
//! Arguments out of range are cut to it (a probability to 0..=1, what cannot be negative to 0), so that no result is
//! not a number.

pub mod availability;
pub mod cost;
pub mod erlang;
pub mod offered;
pub mod probes;
pub mod sharing;
pub mod swarm;

/// A probability from any number.
fn probability(value: f64) -> f64 {
    if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) }
}

/// A number that cannot be negative from any number.
fn positive(value: f64) -> f64 {
    value.max(0.0)
}
