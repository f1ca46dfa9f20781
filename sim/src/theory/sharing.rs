//! How long transfers take on a line that they share equally, where they begin by chance: the M/G/1 queue with processor
//! sharing.
//!
//! L. Kleinrock: Time-shared systems: a theoretical treatment, Journal of the ACM 14(2), 1967, and, for any distribution of
//! sizes, M. Sakata, S. Noguchi, J. Oizumi: An analysis of the M/G/1 queue under round-robin scheduling, Operations
//! Research 19(2), 1971. All that counts of the sizes is their mean.

use super::positive;

/// How much longer than alone on the line a transfer takes on the average, however large it is: `1 / (1 - load)`.
/// `load` is bytes per second asked for over bytes per second of the line; infinite from 1 on.
#[must_use]
pub fn stretch(load: f64) -> f64 {
    let load = positive(load);
    if load < 1.0 { 1.0 / (1.0 - load) } else { f64::INFINITY }
}

/// Mean time of a transfer of `bytes`, seconds, on a line of `rate` bytes per second; of the mean of all, with the mean of
/// the sizes.
#[must_use]
pub fn time_s(bytes: f64, rate: f64, load: f64) -> f64 {
    positive(bytes) / rate * stretch(load)
}

/// The probability that `count` transfers are in progress: `(1 - load) load^count`; 0 from a load of 1 on.
#[must_use]
pub fn in_progress(count: u64, load: f64) -> f64 {
    let load = positive(load);
    positive(1.0 - load) * load.min(1.0).powf(count as f64)
}

/// The greatest load at which transfers take at most so many times as long as alone; 0 where that is not even 1.
#[must_use]
pub fn load_for(stretch: f64) -> f64 {
    positive(1.0 - 1.0 / positive(stretch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_half_busy_takes_twice_as_long() {
        assert_eq!((stretch(0.5), stretch(0.0), stretch(1.0)), (2.0, 1.0, f64::INFINITY));
        assert_eq!(time_s(1e6, 1e6, 0.75), 4.0);
        assert_eq!((load_for(4.0), load_for(1.0), load_for(0.0)), (0.75, 0.0, 0.0));
    }

    #[test]
    fn the_numbers_in_progress_are_a_distribution_with_the_mean_that_littles_law_asks_for() {
        for load in [0.1, 0.5, 0.9] {
            let shares: Vec<f64> = (0..2000).map(|count| in_progress(count, load)).collect();
            assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            let mean: f64 = shares.iter().zip(0u32..).map(|(share, count)| share * f64::from(count)).sum();
            assert!((mean - load * stretch(load)).abs() < 1e-9);
        }
        assert_eq!(in_progress(3, 1.5), 0.0);
    }
}
