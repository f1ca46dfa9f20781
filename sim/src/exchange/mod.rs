//! Playback over an exchange, in virtual time: players, the holders around them and the seed, with the scheduler that
//! ships or with one of the rules it is compared with.
//!
//! ```text
//!  viewer ── player ── play head ──want, deadline──> Policy ──Request, Trim, Cancel──> half a round trip ──> source
//!                         ^                            ^                                                      │ 2 lanes,
//!                         └────────── groups ──────────┴──────── downlink <──────── link: rate, delay, ... <──┘ in turn
//! ```
//!
//! - A source answers what it is asked for in the order of asking, two requests of a player at a time, group by group
//!   in turn, over one line of [`crate::link`]. What it has put on the line arrives, whatever is cancelled meanwhile.
//! - The play head gives deadlines as a node's does; a player asks for chunk after chunk, as players of HLS do.
//! - Every byte that a source puts on its line is useful, there already, false, wasted, overhead or still on its way;
//!   a run that loses one panics. So does a policy that asks for what it may not, or calls a chunk complete that is not.
//!
//! The same scenario and seed give the same run. Not modelled: the handshake and the slow start of connections, bytes
//! that wait in sockets, the cost of hashing, requests' own bytes.

pub(crate) mod baseline;
mod outcome;
mod player;
mod policy;
mod scenario;
mod server;
mod setup;
mod summary;
mod viewer;
mod world;

#[cfg(test)]
mod tests;

pub use outcome::{Outcome, PlayerOutcome};
pub use policy::{Policy, PolicyKind, UnknownPolicy};
pub use scenario::{Faults, PlayerSpec, Scenario, SourceSpec, Step};
pub use server::Traffic;
pub use setup::{Preset, Setup};
pub use summary::{Quantiles, Summary};
pub use viewer::Seen;
pub use world::{Note, Trace, holder};

use crate::rng::Rng;

/// Runs a scenario.
#[must_use]
pub fn run(scenario: &Scenario, policy: PolicyKind, random_seed: u64) -> Outcome {
    world::World::new(scenario, policy, Rng::new(random_seed), false).run().0
}

/// Runs a scenario and says all that the policies did.
#[must_use]
pub fn run_traced(scenario: &Scenario, policy: PolicyKind, random_seed: u64) -> (Outcome, Trace) {
    world::World::new(scenario, policy, Rng::new(random_seed), true).run()
}
