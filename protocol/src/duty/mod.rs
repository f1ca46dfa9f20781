//! Duties: who witnesses, uploads and keeps which chunk, chosen by capability (DESIGN 7).
//!
//! ```text
//!            gathered, somebody can            bytes arrive
//!  chunk --> queued ------------------> pulled --------------> stored --> Keep
//!              ^  |  nobody can             |  late, broken, gone
//!              |  +-----> starved --+       |  (Abandon; what came is kept)
//!              +--------------------+<------+
//! ```
//!
//! - A device's contribution is its uplink times the share its owner allows ([`contributed_bps`]). Each has an account
//!   of the time its line would have been busy with what it was given; whoever is furthest behind is next. So uploads
//!   stay in proportion to contributions, also for a device that holds only some of the chunks.
//! - Before that comes the deadline: who would be late is asked after who would not, and batteries after mains.
//! - The seed pulls; a late or failing uploader loses what is left to the next, and sits out for a while.
//! - A device on a metered line never uploads, not even as the only holder: the owner would pay for it. The chunk
//!   *starves*, stays queued, and is uploaded as soon as another holder appears or the line is no longer metered.
//! - Uplinks too thin for real time only make the queue longer: nothing in it is ever dropped.
//!
//! Not for: who has a chunk, which is [`crate::truth`]; the bytes themselves, which are the exchange's.

mod account;
mod machine;
mod orders;
#[cfg(test)]
mod tests;
mod waiting;

pub use account::{Reliability, contributed_bps};
pub use machine::{ChunkRef, Duties, DutyAction, DutyConfig, DutyCounters, DutyQueueFull, FailReason, Node};
pub use orders::{Capability, Duty, DutyKind, RawDuty, VerifiedDuty};
