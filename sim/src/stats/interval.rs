//! Means over replications.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

/// The confidence that intervals are given with.
pub const CONFIDENCE: f64 = 0.95;

/// A mean over independent replications and where the true mean is with 95 % confidence (Student's t; A. Law: Simulation
/// Modeling and Analysis, 5th ed. 2015, section 4.5). Right for values that are themselves means or sums of many; what
/// is far from normal (a maximum, a share near 0 or 1) has an interval that is off by a little.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// The mean; 0 of no replication.
    pub mean: f64,
    /// Lower end of the interval. Of fewer than two replications there is none: both ends are the mean.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// The value of each replication, in their order.
    pub runs: Vec<f64>,
}

impl Estimate {
    /// The mean of these replications and its 95 % interval.
    #[must_use]
    pub fn new(runs: Vec<f64>) -> Self {
        Self::with_confidence(runs, CONFIDENCE)
    }

    /// The same with another confidence, between 0 and 1: where many intervals are judged together.
    #[must_use]
    pub fn with_confidence(runs: Vec<f64>, confidence: f64) -> Self {
        let count = runs.len() as f64;
        let mean = if runs.is_empty() { 0.0 } else { runs.iter().sum::<f64>() / count };
        let squares: f64 = runs.iter().map(|run| (run - mean).powi(2)).sum();
        let half = match runs.len() {
            0 | 1 => 0.0,
            _ => t_quantile(runs.len() - 1, confidence) * (squares / (count - 1.0) / count).sqrt(),
        };
        Self { mean, low: mean - half, high: mean + half, runs }
    }

    /// Half the width of the interval.
    #[must_use]
    pub fn half_width(&self) -> f64 {
        (self.high - self.low) / 2.0
    }

    /// Whether the interval has this value in it.
    #[must_use]
    pub fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// What a Student's t of so many degrees of freedom stays within, to both sides, with this probability.
fn t_quantile(freedom: usize, confidence: f64) -> f64 {
    let t = StudentsT::new(0.0, 1.0, freedom as f64).expect("there are degrees of freedom");
    t.inverse_cdf(0.5 + confidence / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// E. Pearson, H. Hartley: Biometrika Tables for Statisticians I, table 12.
    #[test]
    fn the_interval_is_as_wide_as_the_printed_table_says() {
        let table = [
            (1, 12.706, 63.657),
            (2, 4.303, 9.925),
            (3, 3.182, 5.841),
            (4, 2.776, 4.604),
            (9, 2.262, 3.250),
            (19, 2.093, 2.861),
            (29, 2.045, 2.756),
            (60, 2.000, 2.660),
            (120, 1.980, 2.617),
        ];
        for (freedom, t95, t99) in table {
            assert!((t_quantile(freedom, 0.95) - t95).abs() < 6e-4, "{freedom}");
            assert!((t_quantile(freedom, 0.99) - t99).abs() < 6e-4, "{freedom}");
        }
        for freedom in 1..100 {
            assert!(t_quantile(freedom, 0.95) > t_quantile(freedom + 1, 0.95), "{freedom}");
        }
    }

    #[test]
    fn a_worked_example_comes_out() {
        // Law, example 4.26: ten values, 90 % interval 1.34 +- 0.24.
        let runs = vec![1.20, 1.50, 1.68, 1.89, 0.95, 1.49, 1.58, 1.55, 0.50, 1.09];
        let estimate = Estimate::with_confidence(runs, 0.9);
        assert!((estimate.mean - 1.34).abs() < 0.005 && (estimate.half_width() - 0.24).abs() < 0.005, "{estimate:?}");
        assert!(estimate.contains(1.2) && !estimate.contains(1.6));
    }

    #[test]
    fn one_replication_has_no_interval_and_none_no_mean() {
        let one = Estimate::new(vec![3.0]);
        assert_eq!((one.mean, one.low, one.high), (3.0, 3.0, 3.0));
        assert_eq!(Estimate::new(Vec::new()).mean, 0.0);
    }
}
