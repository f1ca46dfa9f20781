//! What holds in every network.

use proptest::prelude::*;

use super::net::{GROUP, Link, Net, SECOND, cid, peer};
use crate::ids::DeviceId;
use crate::select::{Action, Source};
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

/// What happens beside the transfers.
#[derive(Clone, Debug)]
enum Event {
    /// A peer's connection is gone.
    Leave(u8),
    /// It is back, with everything.
    Return(u8),
    /// The player jumps: a chunk is due at another time.
    Seek(u32, u64),
    /// A chunk is not wanted any more, and then it is again.
    Again(u32, u64),
}

fn events() -> impl Strategy<Value = Vec<(u64, Event)>> {
    let event = prop_oneof![
        (1..7u8).prop_map(Event::Leave),
        (1..7u8).prop_map(Event::Return),
        (0..6u32, 0..120u64).prop_map(|(number, deadline)| Event::Seek(number, deadline)),
        (0..6u32, 0..120u64).prop_map(|(number, deadline)| Event::Again(number, deadline)),
    ];
    prop::collection::vec((1..4_000u64, event), 0..40)
}

/// A world in which things happen, some milliseconds after one another.
fn enact_with(world: &World, events: &[(u64, Event)]) -> Net {
    let mut net = begin(world);
    for (after, event) in events {
        let now = Mono(net.now.0 + after * 1000);
        net.run_until(now);
        match *event {
            Event::Leave(number) => net.disconnect(peer(number)),
            Event::Return(number) => {
                if let Some(link) = world.peers.get(usize::from(number) - 1).filter(|_| !net.is_banned(peer(number))) {
                    net.disconnect(peer(number));
                    net.connect(peer(number), link.clone());
                    (0..6).for_each(|number_of| net.selector.handle_holders(now, cid(number_of), &[peer(number)]));
                }
            }
            Event::Seek(number, deadline) => net.seek(number, Mono(deadline * SECOND)),
            Event::Again(number, deadline) => net.want_again(number, Mono(deadline * SECOND)),
        }
    }
    net.run();
    net
}

fn begin(world: &World) -> Net {
    let vicious = world.peers.iter().zip(1..).map(|(link, n)| (peer(n), link.clone()));
    let mut net = Net::new().with(vicious);
    net.connect(if world.seed { Source::Seed } else { peer(200) }, world.honest.clone());
    for (&(len, deadline), number) in world.wants.iter().zip(0..) {
        net.want(number, len, Mono(deadline * SECOND));
    }
    net
}

fn enact(world: &World) -> Net {
    let mut net = begin(world);
    net.run();
    net
}

fn liars(world: &World) -> Vec<DeviceId> {
    let lies = world.peers.iter().zip(1..).filter(|(link, _)| link.lies_every.is_some());
    lies.filter_map(|(_, number)| match peer(number) {
        Source::Peer(device) => Some(device),
        Source::Seed => None,
    })
    .collect()
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

    /// What is counted is what came; each group comes once, but what was hedged.
    #[test]
    fn bytes_are_conserved_and_few_come_twice(world in worlds()) {
        let net = enact(&world);
        let stats = net.selector.stats();
        let counted = stats.seed_bytes + stats.peer_bytes + stats.lan_bytes;
        prop_assert_eq!(counted, net.useful());
        prop_assert_eq!(counted + stats.duplicate_bytes, net.delivered);
        prop_assert!(stats.duplicate_bytes <= stats.hedged_bytes, "{:?}", stats);
        prop_assert!(stats.hedged_bytes <= net.useful() * 3 / 100 + 4 * GROUP, "{:?}", stats);
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Sources come, go, stall, lie and break, players jump: all that is still wanted arrives, and nobody is banned
    /// who has not lied.
    #[test]
    fn whatever_happens_all_that_is_wanted_arrives_and_only_liars_are_banned(world in worlds(), events in events()) {
        let net = enact_with(&world, &events);
        let whole = (0..).zip(&world.wants).filter(|(number, _)| net.is_whole(cid(*number))).count();
        prop_assert_eq!(whole, world.wants.len(), "{:?}", net.selector.stats());
        let (wants, requests, _) = net.selector.sizes();
        prop_assert_eq!((wants, requests), (0, 0));
        let liars = liars(&world);
        for (_, action) in &net.log {
            if let Action::Ban { peer, .. } = action {
                prop_assert!(liars.contains(peer), "{:?} has not lied", peer);
            }
        }
    }
}
