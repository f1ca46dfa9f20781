//! Truth: from recorders' reports to confirmed chunks (DESIGN 6).
//!
//! ```text
//!              majority of those asked, two subscribers or more; or the reference
//!          +-------------------------------------------------------------------------+
//!          |                                                                         v
//!  report  |   all answered, or deadline; nobody left to ask                     Confirmed --+
//!  ---> Open --+--> one clean subscriber:   Single   --another agrees--------------> ^       | outweighed:
//!              +--> no agreement:           Disputed --a majority appears----------> |       | Withdrawn, then
//!              +--> nobody clean:           Damaged  --somebody clean--> Single      +-------+ the new one
//! ```
//!
//! - Reports are private; a chunk is published only once decided, so copying it earns nothing.
//! - Voices are subscribers, not devices: of one subscriber's devices the first one speaks.
//! - Per chunk, [`TruthConfig::witnesses`] devices are asked, drawn by secret rendezvous hashing, distinct subscribers
//!   and address prefixes first; only theirs count. Cost per chunk does not grow with the audience.
//! - *Confirmed* takes more than half of the subscribers asked. Where that is not reached, more are asked. Once nobody
//!   is left, silent and damaged recorders abstain, and more than half of the clean ones decide, at least two: a small
//!   group with a dead tuner in it must still agree.
//! - A damaged recorder speaks for the chunk that has all its units, like a clean one, though it holds no copy; and against
//!   one that has others in their place. A chunk that nobody has whole is confirmed once the seed has made it of units that two subscribers
//!   each have alike.
//! - Objections after a decision make the seed draw further witnesses; a decision that they outweigh is withdrawn.
//! - Every table is bounded (`limits.rs`), and whoever is over a bound is told so.
//!
//! Not here yet, with their place kept: [`Class`]es (one ballot per cluster of reports). Not for: where a report belongs,
//! which is [`crate::plan::timelines`]; what units say, which is [`crate::ccf`]; who uploads, which is [`crate::duty`].

mod ballot;
mod facts;
mod machine;
#[cfg(test)]
mod tests;
mod witnesses;

pub use ballot::Claim;
pub use facts::{Class, Decision, Fact, RawFact, Reception, Report, Standing, VerifiedFact};
pub use machine::{Heard, SlotState, Truth, TruthAction, TruthConfig, TruthCounters};
pub use witnesses::NetPrefix;
