//! A node that dies with uploads ordered from it and not delivered: the next in rank delivers them.

use aftercast_tests::media::Tap;
use aftercast_tests::processes::{NodeOptions, NodeStatus, PATIENCE};
use aftercast_tests::stage::{CHANNEL, Stage};

/// Slow beside the other's line, so that the other is asked first; fast enough for all of it.
const STAND_IN_BPS: u64 = 8_000_000;

#[test]
fn a_stand_in_uploads_what_a_killed_node_was_ordered_to() {
    let stage = Stage::new(env!("CARGO_TARGET_TMPDIR"), 12, |_| {}).expect("a stage");
    let [mut first] = stage.recorders(["first"]).expect("a home");
    let tap = Tap::new(stage.programme.bytes.clone()).expect("a tap of its own");
    let options = NodeOptions::new("stand-in").input(CHANNEL, &tap.url());
    let stand_in = stage.home(NodeOptions { uplink_bps: STAND_IN_BPS, ..options }).expect("another");
    assert!(tap.wait_clients(1, PATIENCE), "it listens");

    let count = stage.programme.count();
    stage.tap.open();
    let told = |status: &NodeStatus| {
        let recording = status.recording(&first.id)?;
        (recording.clean >= count && recording.unreported == 0).then_some(())
    };
    first.node.wait_for("it reported everything", PATIENCE, told).expect("reports");
    // From here on it does nothing more. What it reported makes it a witness and, its line being the best, the first
    // to be ordered to upload.
    first.node.freeze().expect("freezes");
    tap.open();
    let device = first.node.device().expect("its id");
    let ordered = stage.seed.wait_for("uploads are ordered from it", PATIENCE, |status| {
        let node = status.nodes.iter().find(|node| node.device == device)?;
        (node.uploads_due > 0).then_some(node.uploaded_bytes)
    });
    assert_eq!(ordered.expect("it is ordered to"), 0, "it uploaded nothing");
    first.node.kill();

    let seed = stage.wait_confirmed(count).expect("everything is stored");
    let uploaded: Vec<(bool, u64)> =
        seed.nodes.iter().map(|node| (node.device == device, node.uploaded_bytes)).collect();
    let all = stage.programme.chunk_bytes();
    assert!(uploaded.contains(&(true, 0)) && uploaded.contains(&(false, all)), "{uploaded:?}");
    stand_in.finish(count).expect("its manifest is whole");
}
