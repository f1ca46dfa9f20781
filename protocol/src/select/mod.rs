//! Which source for which groups, when: the scheduler of everything a device fetches.
//!
//! [`Selector`] is told what is wanted by when, who holds it, and what arrives; it says whom to ask for which groups.
//! It sees no bytes: what it is told has arrived has been verified ([`crate::verify`]). What the device holds itself
//! is handed in as held and never requested.
//!
//! ```text
//!            now                    urgent window                     beyond
//!   ──────────┼──────────────────────────┼──────────────────────────────────────────> deadlines of wants
//!             │ earliest deadline first, │ peers only; each source takes its next
//!             │ least expected arrival   │ piece when it has room
//!             │
//!             │ seed: what peers are not expected to bring by the deadline D, from D - (1.5 t_seed + 0.25 s) on;
//!             │       with no peer at all, early enough in any case
//! ```
//!
//! - Expected arrival of n bytes: `rtt + (outstanding + reported queue + n) / rate + 2 x deviation`.
//! - A chunk is cut into pieces for several holders at once, smaller for slow ones and towards the end. Groups are
//!   asked for in order, so that what is played first arrives first; a source too slow for the front takes the tail.
//! - Outstanding bytes per source are bounded by what it carries in about a second: lanes stay full, and a change of
//!   mind costs little.
//! - A source that falls behind loses its tail to one that is at least twice as fast, after a second of doubt; its
//!   request is trimmed, so that no group comes twice.
//! - Only what a player needs next, of a source that is late beyond its deviation, is asked of a second one as well
//!   (hedging), within 3 % of the useful bytes; who comes second is cancelled.
//! - What is played within two seconds is asked for in short queues: it comes about in order, a silence is noticed
//!   early, and whoever helps out has little to do before.
//! - One in sixteen requests that have time goes to a source of which little is known, and a line that had a rest is
//!   expected half-way between its average and its best: who was slow once is not slow for ever.
//! - Holders are looked for while fewer than eight are connected, or fewer than two in good standing have nothing to
//!   do: before they run out, not after.
//! - Home first: where a source on the local network is in time, no other is asked.
//!
//! Promises: a chunk is not given up while a source is left that could bring it, a deadline passed only makes it more
//! urgent; a proven liar is never asked again and costs at most what was in flight; a slow or silent source is asked
//! less and later; a group is asked of two at most, and seldom; nothing grows past its limit; the same events give the same actions.
//!
//! Not here: connections, lanes, verification, and who may hold what.

mod hedge;
mod plan;
mod repairs;
pub mod rules;
mod selector;
mod source;
#[cfg(test)]
mod tests;
mod want;

pub use repairs::{RepairAction, RepairFailure, Repairs};
pub use selector::Selector;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::ids::{ChunkCid, DeviceId, RequestId};
use crate::score::Lie;
use crate::serve::Class;
use crate::time::{Micros, Mono};
use crate::verify::GroupRange;

/// Where bytes can come from. The local store is none: what it has is handed in as held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize)]
pub enum Source {
    /// Another device.
    #[n(0)]
    Peer(#[n(0)] DeviceId),
    /// The seed: thin, and for what nobody else brings in time.
    #[n(1)]
    Seed,
}

/// A connected source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceInfo {
    /// Whether it is on the local network.
    pub lan: bool,
    /// Round trip time.
    pub rtt: Micros,
    /// Lanes that may be open to it, 1 to [`crate::limits::MAX_LANES`].
    pub lanes: u8,
}

/// A chunk that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// Which.
    pub cid: ChunkCid,
    /// Its length in bytes, from a signed fact or manifest; without it the first request asks.
    pub len: Option<u64>,
    /// When it is to be there.
    pub deadline: Mono,
    /// What for.
    pub class: Class,
    /// Whether its beginning is of use before its end, as for a player.
    pub in_order: bool,
}

/// A request to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Names it in everything that follows.
    pub id: RequestId,
    /// Whom to ask.
    pub source: Source,
    /// For which chunk.
    pub cid: ChunkCid,
    /// For which groups; not empty.
    pub range: GroupRange,
    /// When the chunk is due. May have passed.
    pub deadline: Mono,
    /// What for.
    pub class: Class,
    /// Whether the list of group hashes is to come with the answer, because it is not known yet.
    pub want_hashes: bool,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask a source.
    Request(Fetch),
    /// Take no group at or after `end` from this request: its tail has gone to another source. Tell the source where
    /// that costs less than letting it send; otherwise reset the lane when `end` is reached.
    Trim {
        /// The request.
        id: RequestId,
        /// New end of its range; what comes before is still expected.
        end: u32,
    },
    /// Reset this request. Nothing more is to be reported for it.
    Cancel {
        /// The request.
        id: RequestId,
    },
    /// The device has lied: close its connections, put it into the list of bans.
    Ban {
        /// Who.
        peer: DeviceId,
        /// How.
        lie: Lie,
    },
    /// Few or no sources for this chunk: look for some, connect, report them as holders.
    NeedHolders {
        /// The chunk.
        cid: ChunkCid,
    },
    /// All groups of this chunk have arrived; it is wanted no more.
    Complete {
        /// The chunk.
        cid: ChunkCid,
    },
    /// The deadline has passed and no source is left. Said once; it stays wanted and resumes when a holder appears.
    GaveUp {
        /// The chunk.
        cid: ChunkCid,
    },
}

/// How a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailReason {
    /// The source has too much to do.
    Busy {
        /// When it is worth asking again.
        retry_after: Micros,
    },
    /// The source does not have the chunk.
    NotFound,
    /// The source does not serve us this chunk (grant, meter, budget).
    Refused,
    /// The connection or lane broke, or the answer was malformed.
    Broken,
    /// The source was proven to lie. To be said only where the length that the proof rests on is trusted.
    BadData(Lie),
    /// Nothing came for too long. The scheduler notices that itself; a shell may be quicker.
    Stalled,
}

/// A want that is not taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WantRefusal {
    /// [`crate::limits::MAX_WANTS`] reached; drop some first.
    #[error("too many chunks are wanted at once")]
    Full,
    /// No chunk has that length.
    #[error("no chunk has {0} bytes")]
    Length(u64),
}

/// Starting values; measurement replaces them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelectConfig {
    /// Wants due within this are urgent: they may queue deeper at their sources.
    pub urgent: Micros,
    /// The seed is asked this long before the deadline where no peer holds a chunk.
    pub seed_alone: Micros,
    /// Holders among connected peers below which more are looked for.
    pub min_holders: usize,
    /// Rate assumed of an unknown peer, bytes per second.
    pub peer_rate: u64,
    /// Rate assumed of an unknown source on the local network, bytes per second.
    pub lan_rate: u64,
    /// Rate assumed of the seed, bytes per second.
    pub seed_rate: u64,
}

impl Default for SelectConfig {
    fn default() -> Self {
        Self {
            // Two to three chunks of the default interval.
            urgent: Micros::from_secs(10),
            seed_alone: Micros::from_secs(8),
            min_holders: 8,
            // A home uplink of 8 Mb/s, a wired home network, a share of a seed's line.
            peer_rate: 1_000_000,
            lan_rate: 40_000_000,
            seed_rate: 2_500_000,
        }
    }
}

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SelectStats {
    /// Verified bytes from the seed.
    pub seed_bytes: u64,
    /// Verified bytes from peers elsewhere.
    pub peer_bytes: u64,
    /// Verified bytes from peers on the local network.
    pub lan_bytes: u64,
    /// Verified bytes that were there already, from whomever; not counted above.
    pub duplicate_bytes: u64,
    /// Requests made.
    pub requests: u64,
    /// Requests cancelled.
    pub cancels: u64,
    /// Requests whose tail went to another source.
    pub splits: u64,
    /// Requests, among these, whose tail or whole went to the seed because a peer would have been late.
    pub takeovers: u64,
    /// Times that what was needed next, and late, was asked of a second source as well.
    pub hedges: u64,
    /// Bytes asked for twice; [`Self::duplicate_bytes`] says how many of them came twice.
    pub hedged_bytes: u64,
    /// Requests made to learn what a source carries.
    pub explored: u64,
    /// Sources found stalled.
    pub stalls: u64,
    /// Answers of Busy.
    pub busy: u64,
    /// Answers that the chunk is not there.
    pub not_found: u64,
    /// Refused requests.
    pub refused: u64,
    /// Broken requests, and requests that ended short.
    pub broken: u64,
    /// Proven lies.
    pub lies: u64,
    /// Chunks completed in time.
    pub in_time: u64,
    /// Chunks completed after their deadline.
    pub late: u64,
    /// Holders and sources not taken up because a limit was reached.
    pub over_limit: u64,
}
