//! What holds in every network.

use proptest::prelude::*;

use super::net::{GROUP, Link, Net, SECOND, peer};
use crate::select::Source;
use crate::time::{Micros, Mono};

#[derive(Clone, Debug)]
struct World {
    peers: Vec<Link>,
    honest: Link,
    /// Whether the honest source is the seed or a peer.
    seed: bool,
    /// Length in bytes and deadline in seconds.
    wants: Vec<(u64, u64)>,
}

fn rate() -> impl Strategy<Value = u64> {
    prop_oneof![20_000..200_000u64, 200_000..3_000_000u64, 3_000_000..100_000_000u64]
}

fn honest() -> impl Strategy<Value = Link> {
    (rate(), 1..200u64, any::<bool>()).prop_map(|(rate, rtt, lan)| Link {
        rtt: Micros::from_millis(rtt),
        lan,
        ..Link::of(rate)
    })
}

fn vicious() -> impl Strategy<Value = Link> {
    let vices = (
        prop::option::weighted(0.3, (2..40u64, 1..10u64)),
        prop::option::weighted(0.2, 0..40u64),
        prop::option::weighted(0.2, 1..60u32),
        prop::option::weighted(0.2, 2..60u32),
        prop::option::weighted(0.2, 1..6u32),
        prop::bool::weighted(0.1),
    );
    (honest(), vices).prop_map(|(link, (stalls, dead, lies_every, breaks_every, busy_every, empty))| Link {
        stalls: stalls.map(|(period, part)| (period * SECOND, part.min(period - 1) * SECOND)),
        dead_from: dead.map(|seconds| Mono(seconds * SECOND)),
        lies_every,
        breaks_every,
        busy_every,
        empty,
        ..link
    })
}

fn worlds() -> impl Strategy<Value = World> {
    let wants = prop::collection::vec((1..60 * GROUP, 0..120u64), 1..6);
    (prop::collection::vec(vicious(), 0..6), honest(), any::<bool>(), wants)
        .prop_map(|(peers, honest, seed, wants)| World { peers, honest, seed, wants })
}

fn enact(world: &World) -> Net {
    let vicious = world.peers.iter().zip(1..).map(|(link, n)| (peer(n), link.clone()));
    let mut net = Net::new().with(vicious);
    net.connect(if world.seed { Source::Seed } else { peer(200) }, world.honest.clone());
    for (&(len, deadline), number) in world.wants.iter().zip(0..) {
        net.want(number, len, Mono(deadline * SECOND));
    }
    net.run();
    net
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// One honest source is enough for everything to arrive, whatever the others do.
    #[test]
    fn every_want_ends_complete(world in worlds()) {
        let net = enact(&world);
        prop_assert_eq!(net.done.len(), world.wants.len(), "{:?}", net.selector.stats());
        let (wants, requests, _) = net.selector.sizes();
        prop_assert_eq!((wants, requests), (0, 0));
    }

    /// What is counted is what came; each group comes once.
    #[test]
    fn bytes_are_conserved_and_none_comes_twice(world in worlds()) {
        let net = enact(&world);
        let stats = net.selector.stats();
        let counted = stats.seed_bytes + stats.peer_bytes + stats.lan_bytes;
        prop_assert_eq!(counted, net.useful());
        prop_assert_eq!(counted + stats.duplicate_bytes, net.delivered);
        prop_assert_eq!(stats.duplicate_bytes, 0);
    }

    #[test]
    fn a_liar_costs_at_most_one_group(world in worlds()) {
        let net = enact(&world);
        for (liar, bytes) in &net.false_bytes {
            prop_assert!(*bytes <= GROUP, "{:?} sent {} false bytes", liar, bytes);
        }
    }

    #[test]
    fn the_same_events_give_the_same_actions(world in worlds()) {
        prop_assert_eq!(enact(&world).log, enact(&world).log);
    }
}
