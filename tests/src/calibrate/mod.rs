//! The simulator beside what it simulates: one scenario, run chunk by chunk in virtual time (level L1), and enacted by
//! real programs over link proxies (level L2).
//!
//! ```text
//! scenario ──> cast (lines, recorders) and viewings ──┬──> aftercast_sim::world ──> shares, starts, stalls
//!                                                     └──> seed, nodes, proxies, players by the clock ──> the same
//! ```
//!
//! Both get the same homes, lines, recordings and viewings. What programs make of it that a scenario cannot say, the
//! sizes of chunks and heads, is measured and then given to the simulator.

mod enact;
mod tell;

pub use enact::{Enacted, Played, check, enact};
pub use tell::{Calibration, Seen};

use aftercast_sim::plan::{Plan, PlanFaults};

/// The scenario for forty homes on one machine.
///
/// # Errors
/// None: it is part of the program, and a test reads it.
pub fn small_event() -> Result<Plan, PlanFaults> {
    Plan::parse(include_str!("scenario.toml"), "scenario.toml")
}
