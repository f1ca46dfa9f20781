//! What events run on: [`Calendar`] says what happens next, [`SharedLine`] when what is sent over a shared line has
//! arrived.
//!
//! Times are whole microseconds since the run's beginning, bytes and rates whole numbers, ties are broken by order of
//! insertion: the same calls give the same answers on every machine. Neither knows what it is used for.
//!
//! A line does not push events itself. Whoever owns it keeps at most one event per line in the calendar, pushes the
//! next one when [`SharedLine::generation`] has changed, and passes over one that carries an older generation.

pub mod calendar;
pub mod sharing;

#[cfg(test)]
mod laws;

pub use calendar::Calendar;
pub use sharing::{SharedLine, TransferId};
