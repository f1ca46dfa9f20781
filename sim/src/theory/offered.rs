//! How many sessions are on at time t, where they begin by chance at a rate that changes over the day and none waits for
//! another: the M_t/G/infinity queue.
//!
//! S. Eick, W. Massey, W. Whitt: The physics of the M_t/G/infinity queue, Operations Research 41(4), 1993, theorem 1: the
//! number is Poisson distributed with mean `m(t)`, the integral over all past `u` of `rate(t - u) x P(session > u)`. With a
//! rate that is constant by parts, `m(t)` is a sum over the parts of `rate x (H(t - begin) - H(t - end))`, where
//! `H(u)` is the integral of `P(session > x)` over `x` from 0 to `u`. So nothing is approximated.

use statrs::distribution::{DiscreteCDF, Poisson};

use super::{positive, probability};

/// How long sessions are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Holding {
    /// All as long, in seconds.
    Fixed(f64),
    /// Exponentially distributed with this mean, in seconds.
    Exponential(f64),
    /// Pareto distributed: few very long ones.
    Pareto {
        /// The shortest, in seconds.
        least: f64,
        /// The tail's exponent; above 1, or the mean is infinite.
        exponent: f64,
    },
}

impl Holding {
    /// Mean in seconds.
    #[must_use]
    pub fn mean(self) -> f64 {
        self.until(f64::INFINITY)
    }

    /// `H(age)`: the integral of the share of sessions longer than `x` over `x` from 0 to `age`, in seconds.
    fn until(self, age: f64) -> f64 {
        let age = positive(age);
        match self {
            Self::Fixed(length) => age.min(positive(length)),
            Self::Exponential(mean) if mean > 0.0 => -mean * (-age / mean).exp_m1(),
            Self::Exponential(_) => 0.0,
            Self::Pareto { least, .. } if age <= least || least <= 0.0 => age.min(positive(least)),
            Self::Pareto { least, exponent } if (exponent - 1.0).abs() < 1e-12 => least * (1.0 + (age / least).ln()),
            Self::Pareto { least, exponent } => {
                least + least / (exponent - 1.0) * (1.0 - (age / least).powf(1.0 - exponent))
            }
        }
    }
}

/// The rate at which sessions begin, constant by parts of equal length.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Length of a part, seconds.
    pub part_s: f64,
    /// Sessions per second in each part.
    pub rates: Vec<f64>,
    /// Whether it begins anew after its last part and always has: a day like all others. Otherwise nothing begins before
    /// and after it.
    pub repeats: bool,
}

impl Profile {
    /// The mean number of sessions that are on `at` seconds after the profile's begin.
    #[must_use]
    pub fn mean_on(&self, at: f64, holding: Holding) -> f64 {
        let length = self.part_s * self.rates.len() as f64;
        if !self.repeats || length <= 0.0 {
            return self.of_one(at, holding);
        }
        // Earlier days, until hardly a session lasts that long: at most the day's sessions, of those that still last.
        let at = at.rem_euclid(length);
        let (begun, whole) = (self.rates.iter().sum::<f64>() * self.part_s, holding.mean());
        let mut mean = self.of_one(at, holding);
        for day in 1..MOST_DAYS {
            let age = at + f64::from(day) * length;
            mean += self.of_one(age, holding);
            // What all days before this one add is near their mean rate x what is left of H.
            let rest = begun / length * (whole - holding.until(age));
            if rest <= mean * 1e-12 {
                break;
            }
            if day == MOST_DAYS - 1 && rest.is_finite() {
                mean += rest;
            }
        }
        mean
    }

    /// What one run of the profile adds.
    fn of_one(&self, at: f64, holding: Holding) -> f64 {
        let part = |(number, rate): (usize, &f64)| {
            let age = at - number as f64 * self.part_s;
            positive(*rate) * (holding.until(age) - holding.until(age - self.part_s))
        };
        self.rates.iter().enumerate().map(part).sum()
    }
}

/// After so many days without an end the rest of a heavy tail is taken as even.
const MOST_DAYS: u32 = 1000;

/// The probability that at most `count` sessions are on, where `mean` are on the average.
#[must_use]
pub fn at_most(count: u64, mean: f64) -> f64 {
    poisson(mean).map_or(1.0, |poisson| poisson.cdf(count))
}

/// The least number of sessions that is not exceeded with this probability: what capacity must be planned for. `None`
/// for certainty, as there is no such number, or an infinite mean.
#[must_use]
pub fn quantile(share: f64, mean: f64) -> Option<u64> {
    let share = probability(share);
    if share >= 1.0 || mean == f64::INFINITY {
        return None;
    }
    let Some(poisson) = poisson(mean) else {
        return Some(0);
    };
    let (mut low, mut high) = (0, 1);
    while poisson.cdf(high) < share {
        (low, high) = (high, high.checked_mul(2)?);
    }
    while low < high {
        let middle = low + (high - low) / 2;
        if poisson.cdf(middle) < share {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Some(low)
}

/// `None` where nothing ever is on.
fn poisson(mean: f64) -> Option<Poisson> {
    Poisson::new(positive(mean)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, prop, prop_assert, prop_oneof, proptest};

    use super::*;

    fn any_holding() -> impl Strategy<Value = Holding> {
        prop_oneof![
            (1.0..5000.0f64).prop_map(Holding::Fixed),
            (1.0..5000.0f64).prop_map(Holding::Exponential),
            (1.0..500.0f64, 1.2..4.0f64).prop_map(|(least, exponent)| Holding::Pareto { least, exponent }),
        ]
    }

    fn longer(holding: Holding, age: f64) -> f64 {
        match holding {
            Holding::Fixed(length) => f64::from(age < length),
            Holding::Exponential(mean) => (-age / mean).exp(),
            Holding::Pareto { least, exponent } => (age / least).max(1.0).powf(-exponent),
        }
    }

    proptest! {
        #[test]
        fn the_mean_is_the_integral_over_the_past(
            rates in prop::collection::vec(0.0..3.0f64, 1..20), at in 0.0..3000.0f64, holding in any_holding()
        ) {
            let profile = Profile { part_s: 100.0, rates: rates.clone(), repeats: false };
            let (step, mut sum) = (0.25, 0.0);
            let mut began = step / 2.0;
            while began < at.min(100.0 * rates.len() as f64) {
                sum += rates[(began / 100.0) as usize] * longer(holding, at - began) * step;
                began += step;
            }
            prop_assert!((profile.mean_on(at, holding) - sum).abs() < 2.0, "{sum}");
        }

        #[test]
        fn a_day_like_all_others_goes_on_from_the_day_before(
            rates in prop::collection::vec(0.0..3.0f64, 1..10), at in 0.0..1.0f64, holding in any_holding()
        ) {
            let many = Profile { part_s: 600.0, rates: rates.repeat(500), repeats: false };
            let day = 600.0 * rates.len() as f64;
            let repeating = Profile { part_s: 600.0, rates, repeats: true };
            let (exact, long) = (repeating.mean_on(at * day, holding), many.mean_on((499.0 + at) * day, holding));
            // A heavy tail has more than 500 days in it.
            prop_assert!(exact >= long * (1.0 - 1e-9) && long >= exact * 0.7, "{exact} {long}");
            let heavy = matches!(holding, Holding::Pareto { .. });
            prop_assert!(heavy || (exact - long).abs() <= 1e-9 * exact);
        }

        #[test]
        fn the_quantile_is_the_first_count_that_suffices(mean in 0.0..3000.0f64, share in 0.0..0.9999f64) {
            let count = quantile(share, mean).unwrap();
            prop_assert!(at_most(count, mean) >= share);
            prop_assert!(count == 0 || at_most(count - 1, mean) < share);
        }
    }

    #[test]
    fn a_steady_rate_has_rate_times_length_on() {
        for holding in
            [Holding::Fixed(50.0), Holding::Exponential(50.0), Holding::Pareto { least: 20.0, exponent: 5.0 / 3.0 }]
        {
            assert!((holding.mean() - 50.0).abs() < 1e-9);
            let day = Profile { part_s: 60.0, rates: vec![2.0; 24], repeats: true };
            assert!((day.mean_on(77.0, holding) - 100.0).abs() < 0.01, "{holding:?} {}", day.mean_on(77.0, holding));
        }
        assert_eq!((quantile(0.99, 0.0), quantile(1.0, 5.0), at_most(0, 0.0)), (Some(0), None, 1.0));
    }
}
