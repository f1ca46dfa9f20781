//! What is said about many replications, and about many values within one.
//!
//! - [`Estimate`]: a mean over replications with its 95 % interval; [`difference`]: the same of what a change does.
//! - [`Histogram`]: quantiles of millions of values in fixed memory. [`Bins`]: a day as a series of sums.
//!
//! Within a replication counts are whole numbers, so that merging in any order gives the same result.

pub mod bins;
pub mod histogram;
pub mod interval;
pub mod paired;

pub use bins::{Bins, billed};
pub use histogram::Histogram;
pub use interval::Estimate;
pub use paired::difference;

/// The nearest-rank quantile (R. Hyndman, Y. Fan: Sample quantiles in statistical packages, The American Statistician
/// 50(4), 1996, definition 1): the least value with at least `share` of all at or below it. `None` of nothing.
/// `share` is cut to 0..=1; values are sorted.
#[must_use]
pub fn quantile_of_sorted<T: Copy>(sorted: &[T], share: f64) -> Option<T> {
    let rank = (sorted.len() as f64 * share.clamp(0.0, 1.0)).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_value_that_enough_do_not_exceed() {
        let values: Vec<u64> = (1..=20).collect();
        for (share, expected) in [(0.0, 1), (0.05, 1), (0.051, 2), (0.5, 10), (0.95, 19), (1.0, 20), (7.0, 20)] {
            assert_eq!(quantile_of_sorted(&values, share), Some(expected), "{share}");
        }
        assert_eq!(quantile_of_sorted::<u64>(&[], 0.5), None);
    }
}
