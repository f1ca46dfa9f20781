use crate::limits::GROUP_BYTES;
use crate::time::{Micros, Mono};

const MICROS_PER_SECOND: u128 = 1_000_000;

/// A rate limit: so many bytes a second on average, and a burst after a pause.
///
/// Levels are kept in millionths of a byte, so that polling often loses nothing to rounding.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    rate: u64,
    burst: u64,
    level: u128,
    filled_at: Mono,
}

impl TokenBucket {
    /// A full bucket for `rate` bytes per second. A burst of less than a group would never let one pass, so it is
    /// raised to that.
    #[must_use]
    pub fn new(now: Mono, rate: u64, burst: u64) -> Self {
        let burst = burst.max(GROUP_BYTES as u64);
        Self { rate, burst, level: u128::from(burst) * MICROS_PER_SECOND, filled_at: now }
    }

    /// Bytes per second.
    #[must_use]
    pub fn rate(&self) -> u64 {
        self.rate
    }

    /// Changes rate and burst; what has gathered is kept as far as it fits.
    pub fn set(&mut self, now: Mono, rate: u64, burst: u64) {
        self.refill(now);
        self.rate = rate;
        self.burst = burst.max(GROUP_BYTES as u64);
        self.level = self.level.min(u128::from(self.burst) * MICROS_PER_SECOND);
    }

    /// Takes `bytes` if they are there; otherwise takes nothing and says false. More than the burst never is.
    pub fn take(&mut self, now: Mono, bytes: u64) -> bool {
        self.refill(now);
        let wanted = u128::from(bytes) * MICROS_PER_SECOND;
        let enough = self.level >= wanted;
        if enough {
            self.level -= wanted;
        }
        enough
    }

    /// When `bytes` will be there; none if never.
    #[must_use]
    pub fn ready_at(&self, now: Mono, bytes: u64) -> Option<Mono> {
        let wanted = u128::from(bytes) * MICROS_PER_SECOND;
        let level = self.level_at(now);
        if level >= wanted {
            return Some(now);
        }
        if self.rate == 0 || bytes > self.burst {
            return None;
        }
        let wait = (wanted - level).div_ceil(u128::from(self.rate));
        Some(now + Micros(u64::try_from(wait).unwrap_or(u64::MAX)))
    }

    fn refill(&mut self, now: Mono) {
        self.level = self.level_at(now);
        self.filled_at = self.filled_at.max(now);
    }

    fn level_at(&self, now: Mono) -> u128 {
        let gained = u128::from((now - self.filled_at).0) * u128::from(self.rate);
        self.level.saturating_add(gained).min(u128::from(self.burst) * MICROS_PER_SECOND)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn never_gives_more_than_burst_and_rate_allow(
            rate in 0..10_000_000u64,
            burst in 0..1_000_000u64,
            steps in prop::collection::vec((0..2_000_000u64, 1..200_000u64), 1..60),
        ) {
            let mut bucket = TokenBucket::new(Mono(0), rate, burst);
            let (mut now, mut given) = (Mono(0), 0u64);
            for (wait, bytes) in steps {
                now = now + Micros(wait);
                if bucket.take(now, bytes) {
                    given += bytes;
                }
                let allowed = burst.max(GROUP_BYTES as u64) + (u128::from(now.0) * u128::from(rate) / 1_000_000) as u64;
                prop_assert!(given <= allowed, "{} of {}", given, allowed);
            }
        }

        #[test]
        fn is_ready_when_it_said_and_not_a_moment_sooner(rate in 1..10_000_000u64, bytes in 1..=65_536u64, now: u32) {
            let now = Mono(u64::from(now));
            let mut bucket = TokenBucket::new(now, rate, 65_536);
            prop_assert!(bucket.take(now, 65_536));
            let ready = bucket.ready_at(now, bytes).unwrap();
            prop_assert!(!bucket.clone().take(Mono(ready.0 - 1), bytes));
            prop_assert!(bucket.take(ready, bytes));
        }
    }

    #[test]
    fn polling_often_loses_nothing_to_rounding() {
        let mut bucket = TokenBucket::new(Mono(0), 3, 0);
        assert!(bucket.take(Mono(0), GROUP_BYTES as u64));
        // Three bytes a second: a microsecond brings three millionths of one.
        assert!((1..1_000_000).all(|micro| !bucket.take(Mono(micro), 3)));
        assert!(bucket.take(Mono(1_000_000), 3));
    }

    #[test]
    fn what_can_never_be_given_has_no_time() {
        let mut bucket = TokenBucket::new(Mono(0), 0, 0);
        assert!(bucket.take(Mono(0), GROUP_BYTES as u64));
        assert_eq!(bucket.ready_at(Mono(0), 1), None);
        assert_eq!(TokenBucket::new(Mono(0), u64::MAX, 0).ready_at(Mono(5), u64::MAX), None);
    }
}
