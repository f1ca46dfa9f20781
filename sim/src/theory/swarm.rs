//! What share of what viewers need its holders can serve.
//!
//! A fluid model (C. Huang, J. Li, K. Ross: Can Internet video-on-demand be profitable?, SIGCOMM 2007, and R.
//! Kumar, Y. Liu, K. Ross: Stochastic fluid theory for P2P streaming systems, INFOCOM 2007): what peers can send at a
//! time is what those of them who are there can upload together; the seed sends what is missing, and only that.
//!
//! Of `n` holders each is on and reachable with probability `a`, independently; `K` of them are, binomially distributed.
//! Each uploads at most `u`. `v` viewers need `r` each. The peers carry `min(v r, K u)`, so
//!
//! ```text
//! share by peers = E[min(1, K u / (v r))] = 1 - sum over k < v r / u of P(K = k) (1 - k u / (v r))
//! ```
//!
//! It is an upper limit: nobody waits for a source that turns out to be slow or gone, all uplinks can be filled at any
//! time, and nothing is stored ahead of need while there is a surplus.

use statrs::distribution::{Binomial, Discrete, Poisson};

use super::{offered, positive, probability};

/// Who can serve a title.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Swarm {
    /// How many hold it.
    pub holders: u64,
    /// The probability that one of them is on and reachable.
    pub available: f64,
    /// What each can upload of it, bytes per second.
    pub uplink: f64,
    /// What each viewer needs, bytes per second.
    pub bit_rate: f64,
}

impl Swarm {
    /// The share of the bytes that peers carry while so many view.
    #[must_use]
    pub fn peer_share(&self, viewers: u64) -> f64 {
        let demand = viewers as f64 * positive(self.bit_rate);
        if demand <= 0.0 { 1.0 } else { 1.0 - self.missing(demand) / demand }
    }

    /// The same where the number of viewers is Poisson distributed with this mean (see [`offered`]), of all bytes viewed:
    /// `1 - E[(V r - K u)+] / (E[V] r)`.
    #[must_use]
    pub fn peer_share_of_mean(&self, viewers: f64) -> f64 {
        let (viewers, bit_rate) = (positive(viewers), positive(self.bit_rate));
        let (Ok(count), Some(most)) = (Poisson::new(viewers), offered::quantile(1.0 - 1e-12, viewers)) else {
            return 1.0;
        };
        if bit_rate <= 0.0 {
            return 1.0;
        }
        let missing = |viewers: u64| count.pmf(viewers) * self.missing(viewers as f64 * bit_rate);
        probability(1.0 - (1..=most).map(missing).sum::<f64>() / (viewers * bit_rate))
    }

    /// Mean rate that the seed must send for a demand, both bytes per second: `E[(demand - K u)+]`.
    #[must_use]
    pub fn missing(&self, demand: f64) -> f64 {
        let (demand, uplink) = (positive(demand), positive(self.uplink));
        let Ok(there) = Binomial::new(probability(self.available), self.holders) else {
            return demand;
        };
        // With more than these nothing is missing.
        let enough = if uplink > 0.0 { (demand / uplink).ceil() as u64 } else { u64::MAX };
        if enough > self.holders && uplink * self.holders as f64 <= demand {
            return demand - uplink * self.holders as f64 * probability(self.available);
        }
        (0..enough).map(|k| there.pmf(k) * positive(demand - k as f64 * uplink)).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::*;

    #[test]
    fn a_small_swarm_is_counted_by_hand() {
        // Of two holders none, one, both are there in 1/4, 1/2, 1/4 of the time and carry 0, 0.8 and all of it.
        let swarm = Swarm { holders: 2, available: 0.5, uplink: 0.8e6, bit_rate: 1e6 };
        assert!((swarm.peer_share(1) - 0.65).abs() < 1e-12);
        // Two viewers: 0, 0.4 and 0.8.
        assert!((swarm.peer_share(2) - 0.4).abs() < 1e-12);
    }

    #[test]
    fn nobody_there_serves_nothing_and_nobody_viewing_needs_nothing() {
        let swarm = Swarm { holders: 5, available: 0.5, uplink: 1e6, bit_rate: 1e6 };
        assert_eq!((swarm.peer_share(0), swarm.peer_share_of_mean(0.0)), (1.0, 1.0));
        for nobody in [Swarm { holders: 0, ..swarm }, Swarm { available: 0.0, ..swarm }, Swarm { uplink: 0.0, ..swarm }]
        {
            assert!(nobody.peer_share(3).abs() < 1e-12 && nobody.peer_share_of_mean(3.0) < 1e-9, "{nobody:?}");
        }
    }

    proptest! {
        #[test]
        fn more_of_anything_that_helps_never_harms(
            holders in 0u64..200, available in 0.0..1.0f64, uplink in 0.0..3.0f64, viewers in 1u64..100
        ) {
            let swarm = Swarm { holders, available, uplink, bit_rate: 1.0 };
            let share = swarm.peer_share(viewers);
            prop_assert!((-1e-9..=1.0 + 1e-9).contains(&share), "{share}");
            let better = [
                Swarm { holders: holders + 1, ..swarm }.peer_share(viewers),
                Swarm { available: (available + 0.1).min(1.0), ..swarm }.peer_share(viewers),
                Swarm { uplink: uplink + 0.1, ..swarm }.peer_share(viewers),
                Swarm { bit_rate: 0.9, ..swarm }.peer_share(viewers),
                swarm.peer_share(viewers - 1),
            ];
            for better in better {
                prop_assert!(better >= share - 1e-9, "{better} {share}");
            }
            // Never more than what is there on the average.
            prop_assert!(share <= holders as f64 * available * uplink / viewers as f64 + 1e-9);
        }

        #[test]
        fn viewers_by_chance_are_the_mean_over_their_number(
            holders in 0u64..30, available in 0.0..1.0f64, uplink in 0.0..3.0f64, mean in 0.1..10.0f64
        ) {
            let swarm = Swarm { holders, available, uplink, bit_rate: 1.0 };
            let (mut term, mut carried) = ((-mean).exp(), 0.0);
            for viewers in 1..100 {
                term *= mean / viewers as f64;
                carried += term * viewers as f64 * swarm.peer_share(viewers);
            }
            prop_assert!((swarm.peer_share_of_mean(mean) - carried / mean).abs() < 1e-9);
        }
    }
}
