//! What the seed must carry at least, whatever the policy: a lower bound from the maximum flow.
//!
//! A snapshot is an interval of a run: who wants which bytes by its end, who holds them, and what each line carries in
//! it. No policy, however clever or clairvoyant, gets more from holders to viewers than the maximum flow through
//!
//! ```text
//!  source --uplink--> holder --> want (if it holds it) --bytes--> viewer --downlink--> sink
//! ```
//!
//! and what is to be delivered beyond that only the seed can send. The bound is kind to policies: bytes move in any order
//! and in the instant, nothing is lost, and holders are known. What a run's seed sent, over the bound, is what its policy
//! leaves to be gained.

mod flow;

pub use flow::Network;

/// Bytes that a viewer needs within the interval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// Who, a place in [`Snapshot::downlinks`].
    pub viewer: usize,
    /// How many.
    pub bytes: u64,
    /// Who has them, places in [`Snapshot::uplinks`]. The viewer's own are not wanted.
    pub holders: Vec<usize>,
}

/// An interval of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// What is wanted by its end.
    pub wants: Vec<Want>,
    /// What each holder can upload within it, bytes.
    pub uplinks: Vec<u64>,
    /// What each viewer can download within it, bytes.
    pub downlinks: Vec<u64>,
}

/// What a snapshot allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// Bytes that all viewers together can get from anywhere: what they want, as far as their lines carry it.
    pub due: u64,
    /// Bytes of these that holders can send, at most.
    pub peers_at_most: u64,
}

impl Bound {
    /// Bytes that the seed carries at least if all that is due is delivered.
    #[must_use]
    pub fn seed_at_least(&self) -> u64 {
        self.due - self.peers_at_most
    }

    /// The same where only so much was delivered.
    #[must_use]
    pub fn seed_at_least_for(&self, delivered: u64) -> u64 {
        delivered.saturating_sub(self.peers_at_most)
    }
}

/// Bytes the seed must carry at least so that everybody gets what is due.
///
/// # Panics
///
/// If a want names a viewer or holder that the snapshot does not have, or all bytes together do not fit a u64.
#[must_use]
pub fn lower_bound(snapshot: &Snapshot) -> u64 {
    bound(snapshot).seed_at_least()
}

/// What is due in a snapshot and what of it holders can send.
///
/// # Panics
///
/// As [`lower_bound`].
#[must_use]
pub fn bound(snapshot: &Snapshot) -> Bound {
    let (holders, viewers) = (snapshot.uplinks.len(), snapshot.downlinks.len());
    let (source, sink, first_viewer, first_want) = (0, 1, 2 + holders, 2 + holders + viewers);
    let mut network = Network::new(first_want + snapshot.wants.len());
    for (holder, uplink) in snapshot.uplinks.iter().enumerate() {
        network.connect(source, 2 + holder, *uplink);
    }
    let mut wanted = vec![0u64; viewers];
    for (number, want) in snapshot.wants.iter().enumerate() {
        wanted[want.viewer] += want.bytes;
        for holder in &want.holders {
            assert!(*holder < holders, "holder {holder} of {holders}");
            network.connect(2 + holder, first_want + number, want.bytes);
        }
        network.connect(first_want + number, first_viewer + want.viewer, want.bytes);
    }
    for (viewer, downlink) in snapshot.downlinks.iter().enumerate() {
        network.connect(first_viewer + viewer, sink, *downlink);
    }
    let due = wanted.iter().zip(&snapshot.downlinks).map(|(wanted, downlink)| wanted.min(downlink)).sum();
    Bound { due, peers_at_most: network.maximum_flow(source, sink) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, prop, prop_assert, prop_assert_eq, proptest};

    use super::*;

    /// Up to four viewers and holders and six wants.
    fn any_snapshot() -> impl Strategy<Value = Snapshot> {
        let lines = || prop::collection::vec(0u64..20, 1..5);
        let wants = prop::collection::vec((0usize..4, 0u64..15, prop::collection::vec(0usize..4, 0..4)), 0..7);
        (lines(), lines(), wants).prop_map(|(uplinks, downlinks, wants)| {
            let want = |(viewer, bytes, holders): (usize, u64, Vec<usize>)| Want {
                viewer: viewer % downlinks.len(),
                bytes,
                holders: holders.into_iter().map(|holder| holder % uplinks.len()).collect(),
            };
            Snapshot { wants: wants.into_iter().map(want).collect(), uplinks, downlinks }
        })
    }

    /// The same by the cheapest cut: every choice of who is on the source's side. Given the holders and viewers that are,
    /// each want is where it costs less.
    fn by_cuts(snapshot: &Snapshot) -> u64 {
        let (holders, viewers) = (snapshot.uplinks.len(), snapshot.downlinks.len());
        let cut = |sides: u32| {
            let with_source = |place: usize| sides >> place & 1 == 1;
            let uplinks = (0..holders).filter(|holder| !with_source(*holder)).map(|holder| snapshot.uplinks[holder]);
            let downlinks =
                (0..viewers).filter(|viewer| with_source(holders + viewer)).map(|viewer| snapshot.downlinks[viewer]);
            let wants = snapshot.wants.iter().map(|want| {
                let fed = want.holders.iter().filter(|holder| with_source(**holder)).count() as u64;
                let beyond = if with_source(holders + want.viewer) { 0 } else { want.bytes };
                beyond.min(fed * want.bytes)
            });
            uplinks.chain(downlinks).chain(wants).sum::<u64>()
        };
        (0..1 << (holders + viewers)).map(cut).min().unwrap()
    }

    /// What holders send when each want in turn takes what it can get: what some policy does.
    fn greedily(snapshot: &Snapshot) -> u64 {
        let (mut uplinks, mut downlinks) = (snapshot.uplinks.clone(), snapshot.downlinks.clone());
        let mut sent = 0;
        for want in &snapshot.wants {
            let mut missing = want.bytes;
            for holder in &want.holders {
                let bytes = missing.min(uplinks[*holder]).min(downlinks[want.viewer]);
                uplinks[*holder] -= bytes;
                downlinks[want.viewer] -= bytes;
                missing -= bytes;
                sent += bytes;
            }
        }
        sent
    }

    proptest! {
        #[test]
        fn holders_send_what_the_cheapest_cut_lets_through(snapshot in any_snapshot()) {
            let bound = bound(&snapshot);
            prop_assert_eq!(bound.peers_at_most, by_cuts(&snapshot));
            prop_assert!(bound.peers_at_most <= bound.due);
            prop_assert_eq!(lower_bound(&snapshot), bound.due - bound.peers_at_most);
        }

        #[test]
        fn no_policy_undercuts_the_bound(snapshot in any_snapshot()) {
            let (bound, sent) = (bound(&snapshot), greedily(&snapshot));
            prop_assert!(bound.due - sent >= bound.seed_at_least());
            prop_assert_eq!(bound.seed_at_least_for(sent), 0);
        }
    }

    #[test]
    fn the_right_holder_is_left_to_who_has_no_other() {
        let want = |viewer, holders: &[usize]| Want { viewer, bytes: 10, holders: holders.to_vec() };
        let snapshot = Snapshot {
            wants: vec![want(0, &[0, 1]), want(1, &[0]), want(2, &[])],
            uplinks: vec![10, 8],
            downlinks: vec![100, 100, 4],
        };
        // Who asks first for the first holder's bytes costs the seed eight more.
        assert_eq!((greedily(&snapshot), bound(&snapshot)), (10, Bound { due: 24, peers_at_most: 18 }));
        assert_eq!(lower_bound(&snapshot), 6);
        assert_eq!(lower_bound(&Snapshot::default()), 0);
    }

    #[test]
    fn a_city_is_bounded_in_a_moment() {
        // Each home wants a chunk of which eight others, spread over all, hold a copy on thin lines.
        let homes = 20_000u64;
        let want = |viewer: u64| Want {
            viewer: viewer as usize,
            bytes: 4_000_000,
            holders: (1..=8).map(|n| ((viewer * 7919 + n * n * 104_729) % homes) as usize).collect(),
        };
        let snapshot = Snapshot {
            wants: (0..homes).map(want).collect(),
            uplinks: (0..homes).map(|home| home % 10 * 1_000_000).collect(),
            downlinks: vec![100_000_000; homes as usize],
        };
        let bound = bound(&snapshot);
        assert_eq!(bound.due, homes * 4_000_000);
        assert!(bound.peers_at_most > bound.due * 9 / 10, "{bound:?}");
    }
}
