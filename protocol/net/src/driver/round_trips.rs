//! How long the way to a device and back takes.

use std::collections::VecDeque;
use std::time::Duration;

/// Pings that are remembered: two minutes of them.
const REMEMBERED: usize = 8;

/// Round trips of late. A ping that waits behind bytes we asked for measures our own queue, so the least one counts, as
/// in BBR (draft-ietf-ccwg-bbr, 2.13); a way that has become longer is believed when the shorter ones are forgotten.
#[derive(Debug, Default)]
pub(super) struct RoundTrips(VecDeque<Duration>);

impl RoundTrips {
    pub fn note(&mut self, measured: Duration) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(measured);
    }

    /// None before the first ping.
    pub fn least(&self) -> Option<Duration> {
        self.0.iter().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ping_that_had_to_wait_makes_the_way_no_longer_and_a_longer_way_is_believed_in_time() {
        let mut trips = RoundTrips::default();
        assert_eq!(trips.least(), None);
        let (idle, queued) = (Duration::from_millis(20), Duration::from_millis(240));
        trips.note(idle);
        for _ in 1..REMEMBERED {
            trips.note(queued);
            assert_eq!(trips.least(), Some(idle));
        }
        trips.note(queued);
        assert_eq!(trips.least(), Some(queued));
        assert_eq!(trips.0.len(), REMEMBERED);
    }
}
