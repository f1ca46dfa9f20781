//! Who is served next, and how much of the user's line that may take.
//!
//! [`FairQueue`] takes requests for groups and hands out *quanta* of at most 64 KiB to be sent:
//!
//! ```text
//! handle_request ──> per peer, per class: first come, first served
//!                        │  class first; a long wait lifts a request's class, so that nothing starves
//!                        │  deficit round robin over the peers of the best class: equal bytes, not equal requests
//!                        │  at most 4 MiB per peer and 64 MiB in all handed out and not yet written
//! poll_next <────────────┘  the token bucket and the day's and month's budgets hold for peers outside the home
//! ```
//!
//! Promise: a request is served, refused with a reason, or handed back by [`FairQueue::poll_refused`]; never silently
//! forgotten. A peer that asks for a thousand chunks waits for its own, not before the peer that asks for one.
//!
//! Not here: who may have a chunk at all (grants), and where its bytes come from (stores).

mod bucket;
mod budget;
mod queue;
#[cfg(test)]
mod tests;

pub use bucket::TokenBucket;
pub use budget::{Budgets, Period, Usage};
pub use queue::{FairQueue, Quantum, Refused, ServeConfig, ServeRequest, ServeStat, Uplink};

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::time::Micros;

/// What bytes are wanted for. In order of urgency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Somebody watches, or will within the read-ahead.
    #[n(0)]
    Playback,
    /// The seed pulls a copy, as a duty says.
    #[n(1)]
    Upload,
    /// A damaged reception is being made whole, or a lost replica replaced.
    #[n(2)]
    Repair,
    /// May become useful.
    #[n(3)]
    Prefetch,
}

impl Class {
    /// All classes, most urgent first.
    pub const ALL: [Self; 4] = [Self::Playback, Self::Upload, Self::Repair, Self::Prefetch];

    /// Place in [`Self::ALL`].
    #[must_use]
    pub const fn rank(self) -> u8 {
        match self {
            Self::Playback => 0,
            Self::Upload => 1,
            Self::Repair => 2,
            Self::Prefetch => 3,
        }
    }
}

/// Why a request is not served. Each has its own counter in the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Too much is waiting. The same request is welcome later.
    #[error("busy, again in {} ms", .retry_after.0 / 1000)]
    Busy {
        /// When it is worth asking again.
        retry_after: Micros,
    },
    /// The user's line is metered: nothing leaves the home.
    #[error("the line is metered")]
    Metered,
    /// The user has paused sharing, or allows no rate.
    #[error("sharing is paused")]
    Paused,
    /// What the user allows for the day or the month is used up.
    #[error("the budget of the {0} is used up")]
    Budget(Period),
    /// No bytes, or more than a chunk has: the peer's fault, asking again does not help.
    #[error("a request for {0} bytes")]
    Size(u64),
    /// The peer has already used this id for a request that still waits: the peer's fault.
    #[error("request id is in use")]
    Duplicate,
}
