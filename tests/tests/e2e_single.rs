//! A broadcast that one home recorded alone: kept for its subscriber, and for nobody else.

use aftercast_net::exchange::FetchError;
use aftercast_protocol::wire::lane::LaneRefusal;
use aftercast_tests::device::Device;
use aftercast_tests::processes::{NodeOptions, NodeStatus, PATIENCE};
use aftercast_tests::stage::{CHANNEL, Stage};

/// How long the seed waits for a second witness: there is none.
const DEADLINE_MS: u64 = 500;

#[test]
fn what_one_home_recorded_is_stored_and_given_to_its_subscriber_only() {
    let stage = Stage::new(env!("CARGO_TARGET_TMPDIR"), 10, |seed| seed.deadline_ms = DEADLINE_MS).expect("a stage");
    let [alone] = stage.recorders(["alice"]).expect("a home");
    let own = stage.home(NodeOptions::new("alice-2").of("alice")).expect("a second device of hers");
    let other = stage.home(NodeOptions::new("bob")).expect("somebody else's");
    let mut stranger = Device::new("bob-2").expect("a device");
    stranger.enrol(&stage.seed, "bob").expect("enrols");
    let right = stranger.record(CHANNEL, None).expect("records");

    let count = stage.programme.count();
    stage.tap.open();
    let seed = stage.wait_stored(count).expect("it is stored");
    assert_eq!((seed.sum(|one| one.single), seed.sum(|one| one.confirmed)), (count, 0));
    assert_eq!(seed.unique_bytes, stage.programme.chunk_bytes());
    alone.finish(count).expect("alice has it all");
    own.finish(count).expect("so has her other device");
    other.node.stop_recording(&other.id).expect("bob stops");
    let closed = |status: &NodeStatus| status.recording(&other.id)?.manifest.clone().filter(|one| one.complete);
    let manifest = other.node.wait_for("his manifest is complete", PATIENCE, closed).expect("he learns of it");
    assert!(manifest.chunks == 0 && manifest.gaps >= count, "nothing for bob: {manifest:?}");

    for home in [&alone, &own] {
        let played = home.play_stream().expect("it plays");
        stage.programme.check_played(0, &played).expect("the source");
    }

    let grant = stranger.play(right.recording).expect("bob's own right");
    let device = stranger.greet_node(&alone.node, vec![grant]).expect("alice is reached");
    let seed = stage.seed.device().parse().expect("its id");
    for (cid, len) in stage.programme.ids().expect("CIDs") {
        for from in [device, seed] {
            let refused = stranger.fetch(from, cid, len).expect_err("nothing for bob");
            assert!(matches!(refused, FetchError::Refused(LaneRefusal::NoGrant)), "{refused}");
        }
    }
    assert_eq!(alone.node.status().expect("status").refused.get("no_grant"), Some(&count));
    assert_eq!(stage.seed.refused("NoGrant").expect("metrics"), count);
}
