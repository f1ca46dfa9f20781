//! A series of sums over time.

use super::quantile_of_sorted;

/// What came in each interval of a run: bytes, events. Amounts are whole and none is lost: what is after the last
/// interval is kept apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bins {
    width: u64,
    sums: Vec<u64>,
    beyond: u64,
}

impl Bins {
    /// Intervals of `width` microseconds (at least 1) from 0 on, the last of which has `until` at its end or in it.
    #[must_use]
    pub fn new(width: u64, until: u64) -> Self {
        let width = width.max(1);
        Self { width, sums: vec![0; until.div_ceil(width) as usize], beyond: 0 }
    }

    /// Adds an amount at one time, microseconds.
    pub fn add(&mut self, at: u64, amount: u64) {
        *self.bin(at / self.width) += amount;
    }

    /// Adds an amount that came evenly from `from` to `to`. Parts are rounded so that they sum up to the amount.
    pub fn add_over(&mut self, from: u64, to: u64, amount: u64) {
        if to <= from {
            return self.add(from, amount);
        }
        let come_by = |at: u64| (u128::from(amount) * u128::from(at - from) / u128::from(to - from)) as u64;
        let mut come = 0;
        for number in from / self.width..=(to - 1) / self.width {
            let last = number as usize >= self.sums.len();
            let by_its_end = if last { amount } else { come_by((number + 1).saturating_mul(self.width).min(to)) };
            *self.bin(number) += by_its_end - come;
            come = by_its_end;
            if last {
                break;
            }
        }
    }

    /// Adds what another series of the same intervals has.
    ///
    /// # Panics
    ///
    /// If they are not the same.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!((self.width, self.sums.len()), (other.width, other.sums.len()), "series of different intervals");
        for (sum, more) in self.sums.iter_mut().zip(&other.sums) {
            *sum += more;
        }
        self.beyond += other.beyond;
    }

    /// Length of an interval, microseconds.
    #[must_use]
    pub fn width(&self) -> u64 {
        self.width
    }

    /// The sum of each interval.
    #[must_use]
    pub fn sums(&self) -> &[u64] {
        &self.sums
    }

    /// What came after the last interval.
    #[must_use]
    pub fn beyond(&self) -> u64 {
        self.beyond
    }

    /// All that was added.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.sums.iter().sum::<u64>() + self.beyond
    }

    /// The intervals that begin at `from` (microseconds) or later: a run without its warm-up.
    #[must_use]
    pub fn since(&self, from: u64) -> &[u64] {
        self.sums.get(from.div_ceil(self.width) as usize..).unwrap_or_default()
    }

    /// Each interval's amount per second.
    #[must_use]
    pub fn rates(&self) -> Vec<f64> {
        self.sums.iter().map(|sum| *sum as f64 * 1e6 / self.width as f64).collect()
    }

    /// The amount per interval that at least `share` of the intervals from `from` on do not exceed; `None` of none.
    #[must_use]
    pub fn quantile(&self, from: u64, share: f64) -> Option<u64> {
        let mut sums = self.since(from).to_vec();
        sums.sort_unstable();
        quantile_of_sorted(&sums, share)
    }

    fn bin(&mut self, number: u64) -> &mut u64 {
        usize::try_from(number).ok().and_then(|number| self.sums.get_mut(number)).unwrap_or(&mut self.beyond)
    }
}

/// The billing percentile, in the unit of the samples: traffic is sampled every five minutes, the top twentieth of the
/// samples is dropped, the highest of the rest is what is charged ("95th percentile" or burstable billing). `None` of
/// no sample.
#[must_use]
pub fn billed(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    quantile_of_sorted(&sorted, 0.95)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn an_even_flow_fills_each_interval_by_its_part() {
        let mut bins = Bins::new(10, 35);
        bins.add_over(5, 25, 200);
        assert_eq!(bins.sums(), [50, 100, 50, 0]);
        bins.add_over(30, 50, 7);
        assert_eq!((bins.sums()[3], bins.beyond(), bins.total()), (3, 4, 207));
        bins.add_over(12, 12, 1);
        bins.add(u64::MAX, 1);
        assert_eq!((bins.sums()[1], bins.beyond()), (101, 5));
        assert_eq!((bins.since(11), bins.since(10_000)), (&[50, 3][..], &[][..]));
        assert_eq!(bins.rates()[0], 5e6);
        assert_eq!((bins.quantile(10, 0.5), bins.quantile(u64::MAX, 0.5)), (Some(50), None));
    }

    proptest! {
        #[test]
        fn no_amount_is_lost(flows in prop::collection::vec((0u64..3000, 0u64..3000, 0u64..1 << 50), 0..50), width in 1u64..999) {
            let (mut bins, mut halves) = (Bins::new(width, 2000), [Bins::new(width, 2000), Bins::new(width, 2000)]);
            for (number, (from, length, amount)) in flows.iter().enumerate() {
                bins.add_over(*from, from + length, *amount);
                halves[number % 2].add_over(*from, from + length, *amount);
            }
            prop_assert_eq!(bins.total(), flows.iter().map(|(_, _, amount)| amount).sum::<u64>());
            let [mut first, second] = halves;
            first.merge(&second);
            prop_assert_eq!(first, bins);
        }
    }

    #[test]
    fn a_twentieth_of_the_samples_is_not_charged() {
        let mut samples: Vec<f64> = (1..=100).map(f64::from).collect();
        samples.reverse();
        assert_eq!(billed(&samples), Some(95.0));
        assert_eq!(billed(&[]), None);
    }
}
