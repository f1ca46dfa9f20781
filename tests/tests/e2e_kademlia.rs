//! Seed and multicast discovery gone: a manifest, a grant and the hash table are enough to play.

use aftercast_tests::processes::{NodeOptions, NodeStatus, PATIENCE};
use aftercast_tests::stage::Stage;

#[test]
fn a_home_that_never_played_finds_holders_without_the_seed() {
    let mut stage = Stage::new(env!("CARGO_TARGET_TMPDIR"), 12, |seed| seed.deadline_ms = 1_000).expect("a stage");
    let recorders = stage.recorders(["alice", "bob"]).expect("two homes");
    let player = stage.home(NodeOptions::new("player")).expect("a third");
    let count = stage.programme.count();
    stage.tap.open();
    stage.wait_confirmed(count).expect("it is stored");
    recorders.iter().for_each(|home| home.finish(count).expect("they stop"));
    player.finish(count).expect("it knows the recording");
    stage.seed.kill();
    let alone = |status: &NodeStatus| (!status.seed.connected).then_some(());
    player.node.wait_for("it lost the seed", PATIENCE, alone).expect("notices");

    let played = player.play().expect("it plays");
    stage.programme.check_played(0, &played).expect("the source");
    let counted = player.played().expect("status");
    assert_eq!(counted.bytes_peer, stage.programme.chunk_bytes(), "all of it from peers: {counted:?}");
}
