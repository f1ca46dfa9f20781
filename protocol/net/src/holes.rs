//! With whom holes are being punched, and with whom that came to nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aftercast_protocol::limits::{HOLE_BACKOFF, MAX_HOLE_BACKOFFS};
use libp2p::PeerId;

/// Shared by who dials, who admits connections and who decides.
#[derive(Debug, Clone, Default)]
pub(crate) struct Holes(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Peers connected through a relay only to punch a hole: the swarm's connection limits bound them.
    under_way: BTreeSet<PeerId>,
    /// When the last attempt failed. At most [`MAX_HOLE_BACKOFFS`].
    failed: BTreeMap<PeerId, Instant>,
}

impl Holes {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection through a relay is there.
    pub fn begin(&self, peer: PeerId) {
        self.lock().under_way.insert(peer);
    }

    /// It is gone, whatever came of it.
    pub fn end(&self, peer: &PeerId) {
        self.lock().under_way.remove(peer);
    }

    /// Whether one is being punched.
    pub fn under_way(&self, peer: &PeerId) -> bool {
        self.lock().under_way.contains(peer)
    }

    /// Nothing came of it: the pair is left alone for a while.
    pub fn fail(&self, peer: PeerId, now: Instant) {
        let failed = &mut self.lock().failed;
        if failed.len() >= MAX_HOLE_BACKOFFS
            && let Some(oldest) = failed.iter().min_by_key(|(_, at)| **at).map(|(peer, _)| *peer)
        {
            failed.remove(&oldest);
        }
        failed.insert(peer, now);
    }

    /// A direct connection came about after all.
    pub fn succeed(&self, peer: &PeerId) {
        self.lock().failed.remove(peer);
    }

    /// Whether the pair is left alone now.
    pub fn given_up(&self, peer: &PeerId, now: Instant) -> bool {
        let wait = Duration::from_micros(HOLE_BACKOFF.0);
        self.lock().failed.get(peer).is_some_and(|at| now.saturating_duration_since(*at) < wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_that_failed_is_left_alone_for_a_while() {
        let (holes, peer, start) = (Holes::default(), PeerId::random(), Instant::now());
        assert!(!holes.given_up(&peer, start));
        holes.fail(peer, start);
        let end = start + Duration::from_micros(HOLE_BACKOFF.0);
        assert!(holes.given_up(&peer, end - Duration::from_millis(1)));
        assert!(!holes.given_up(&peer, end));
        holes.succeed(&peer);
        assert!(!holes.given_up(&peer, start));
    }

    #[test]
    fn failed_pairs_have_a_bound_and_the_oldest_goes_first() {
        let (holes, first, start) = (Holes::default(), PeerId::random(), Instant::now());
        holes.fail(first, start);
        for n in 1..=MAX_HOLE_BACKOFFS {
            holes.fail(PeerId::random(), start + Duration::from_millis(n as u64));
        }
        assert_eq!(holes.lock().failed.len(), MAX_HOLE_BACKOFFS);
        assert!(!holes.given_up(&first, start));
    }
}
