//! The plan: where a channel is cut.
//!
//! The grid lives in media time (DESIGN 5, CCF 11): the 33-bit PTS values divisible by the interval. So every
//! recorder finds the same cells alone, and the plan only has to carry the interval, the channel profile and a few
//! anchors that pin the numbering (which timeline, how many wraps). A target resolves to the first random access
//! point at or after it; nothing but the plan and a clock change cuts.
//! Not for: finding the random access points, which is [`crate::ccf`].

pub mod discovery;
pub mod timelines;

use minicbor::{Decode, Encode};

use crate::ccf::{Anchor, ChunkPlan, Profile};
use crate::ids::{ChannelId, ChunkIndex};
use crate::limits::{MAX_INTERVAL, MAX_SIGNED_ANCHORS, MIN_INTERVAL};
use crate::sign::{Raw, Statement, Verified};
use crate::time::{PTS_WRAP, Pts33, Ticks, UnixMillis};

/// The seed's signed word on where a channel is cut.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Plan {
    /// The channel.
    #[n(0)]
    pub channel: ChannelId,
    /// Counts up with every change of profile or interval.
    #[n(1)]
    pub version: u32,
    /// Distance of targets, in ticks.
    #[n(2)]
    pub interval: Ticks,
    /// The core streams that are recorded.
    #[n(3)]
    pub profile: Profile,
    /// Anchors of the newest chunks, oldest first; at most [`MAX_SIGNED_ANCHORS`].
    #[n(4)]
    pub anchors: Vec<Anchor>,
    /// When the seed signed.
    #[n(5)]
    pub issued: UnixMillis,
}

impl Statement for Plan {
    const DOMAIN: &'static str = "aftercast/plan/1";
    const MAX_BYTES: usize = 16 * 1024;
}

/// A plan nobody has checked yet.
pub type RawPlan = Raw<Plan>;
/// A plan that the seed signed.
pub type VerifiedPlan = Verified<Plan>;

/// Why an interval or a plan cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanRefused {
    /// Outside what chunks are made for.
    #[error("interval of {0} ticks; it must lie between {MIN_INTERVAL} and {MAX_INTERVAL} ticks (0.2 s to 60 s)")]
    Interval(Ticks),
    /// More anchors than a plan carries.
    #[error("{0} anchors, at most {MAX_SIGNED_ANCHORS}")]
    Anchors(usize),
}

impl Plan {
    /// What the chunker needs of it.
    ///
    /// # Errors
    /// When the interval or the number of anchors is out of bounds.
    pub fn chunk_plan(&self) -> Result<ChunkPlan, PlanRefused> {
        check_interval(self.interval)?;
        if self.anchors.len() > MAX_SIGNED_ANCHORS {
            return Err(PlanRefused::Anchors(self.anchors.len()));
        }
        Ok(ChunkPlan { profile: self.profile.clone(), interval: self.interval, anchors: self.anchors.clone() })
    }
}

/// Accepts intervals that chunks are made for.
///
/// # Errors
/// When it is shorter or longer than the limits.
pub fn check_interval(interval: Ticks) -> Result<(), PlanRefused> {
    if (MIN_INTERVAL..=MAX_INTERVAL).contains(&interval) { Ok(()) } else { Err(PlanRefused::Interval(interval)) }
}

/// Cells of the grid between two wraps of the PTS: `ceil(2^33 / interval)`, the last one short.
///
/// `interval` must be positive, as [`check_interval`] makes sure.
#[must_use]
pub fn cells_per_wrap(interval: Ticks) -> u64 {
    PTS_WRAP.div_ceil(interval.0.max(1) as u64)
}

/// Number of the grid cell of a chunk that opens at `pts` after `wraps` wraps (CCF 11).
#[must_use]
pub fn cell(wraps: u64, pts: Pts33, interval: Ticks) -> ChunkIndex {
    ChunkIndex(wraps.saturating_mul(cells_per_wrap(interval)).saturating_add(pts.0 / interval.0.max(1) as u64))
}

/// The target that opens a grid cell: a multiple of the interval, in 33-bit time.
#[must_use]
pub fn target(index: ChunkIndex, interval: Ticks) -> Pts33 {
    Pts33((index.0 % cells_per_wrap(interval)) * interval.0.max(1) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOUR_SECONDS: Ticks = Ticks(360_000);

    #[test]
    fn cells_go_on_counting_over_the_wrap() {
        let last = cell(0, Pts33(PTS_WRAP - 1), FOUR_SECONDS);
        assert_eq!(cell(1, Pts33(0), FOUR_SECONDS).0, last.0 + 1);
    }

    #[test]
    fn targets_are_the_grid_and_restart_at_the_wrap() {
        assert_eq!(target(ChunkIndex(123), FOUR_SECONDS), Pts33(44_280_000));
        assert_eq!(target(cell(1, Pts33(0), FOUR_SECONDS), FOUR_SECONDS), Pts33(0));
    }

    #[test]
    fn refuses_intervals_that_chunks_are_not_made_for() {
        assert!(check_interval(Ticks(0)).is_err());
        assert!(check_interval(Ticks(-360_000)).is_err());
        assert!(check_interval(Ticks(MAX_INTERVAL.0 + 1)).is_err());
        assert!(check_interval(MIN_INTERVAL).is_ok());
    }
}
