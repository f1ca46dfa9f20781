//! How many bits a head's video may have.

use aftercast_protocol::time::TICKS_PER_SECOND;

use super::source::Source;
use super::{MAX_SHARE_PERCENT, Recipe};

/// Below this there is no picture worth sending.
const MIN_RATE_BPS: u64 = 100_000;
/// Transport bytes of a unit beside its elementary bytes: PES header, PCR, and half a packet of stuffing.
const UNIT_OVERHEAD: u64 = 19 + 8 + 94;
/// Tables, and the packets that close the counters of a stream.
const STREAM_OVERHEAD: u64 = 16 * 188;

/// What the encoder must keep to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Budget {
    /// Average over the chunk.
    pub bps: u64,
    /// Duration of the video in ticks.
    ticks: u64,
    /// Most bytes of the head.
    limit: u64,
}

impl Budget {
    /// `None` where the source is no larger than the recipe's rate, or too small to hold more than its audio.
    pub fn new(bytes: usize, source: &Source, recipe: &Recipe) -> Option<Self> {
        let ticks = source.video.duration().0 as u64;
        if rate_of(bytes as u64, ticks) <= u64::from(recipe.bitrate_bps) {
            return None;
        }
        let limit = bytes as u64 * MAX_SHARE_PERCENT / 100;
        let streams = 2 + source.audio.iter().map(|unit| u64::from(unit.stream)).max().unwrap_or(0) + 1;
        let units = (source.video.units.len() + source.audio.len()) as u64;
        let audio: u64 = source.audio.iter().map(|unit| unit.data.len() as u64).sum();
        let fixed = audio * 188 / 184 + units * UNIT_OVERHEAD + streams * STREAM_OVERHEAD;
        let video = limit.saturating_sub(fixed) * 184 / 188;
        Self { bps: rate_of(video, ticks).min(u64::from(recipe.bitrate_bps)), ticks, limit }.checked()
    }

    /// A budget for the next attempt, when the head came out too large: as much less as it was over, and a little more.
    pub fn lower(&self, head_bytes: usize, video_bytes: usize) -> Option<Self> {
        let over = (head_bytes as u64).saturating_sub(self.limit);
        let video = (video_bytes as u64).saturating_sub(over);
        let bps = rate_of(video, self.ticks).min(self.bps) * 9 / 10;
        Self { bps, ..*self }.checked()
    }

    fn checked(self) -> Option<Self> {
        (self.bps >= MIN_RATE_BPS).then_some(self)
    }

    /// Rate and size of the decoder's buffer model: a buffer of a second, nine tenths full when it starts, so that the
    /// opening picture may be good. What it lends at the start is taken off the rate, or short chunks would be over.
    pub fn vbv(&self) -> u64 {
        let second = TICKS_PER_SECOND as u64;
        self.bps * self.ticks / (self.ticks + second * 9 / 10)
    }
}

fn rate_of(bytes: u64, ticks: u64) -> u64 {
    bytes * 8 * TICKS_PER_SECOND as u64 / ticks.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 90_000;

    #[test]
    fn buffer_never_lends_more_than_the_budget_holds() {
        for ticks in [SECOND / 2, SECOND, 4 * SECOND, 60 * SECOND] {
            let budget = Budget { bps: 1_500_000, ticks, limit: 0 };
            let (vbv, bits) = (budget.vbv(), budget.bps * ticks / SECOND);
            assert!(vbv * ticks / SECOND + vbv * 9 / 10 <= bits + 2, "{ticks}");
        }
    }

    #[test]
    fn each_attempt_asks_for_less_until_nothing_is_left() {
        let mut budget = Budget { bps: 150_000, ticks: 4 * SECOND, limit: 60_000 };
        for _ in 0..32 {
            let Some(lower) = budget.lower(90_000, 80_000) else { return };
            assert!(lower.bps < budget.bps);
            budget = lower;
        }
        panic!("never gave up");
    }
}
