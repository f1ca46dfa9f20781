//! A home with a bad aerial: what it received is made whole in the background, for a small part of its bytes.

use aftercast_tests::device::{Device, FalseUnits, cut};
use aftercast_tests::impair::impair;
use aftercast_tests::media::Tap;
use aftercast_tests::processes::{NodeOptions, NodeStatus, PATIENCE};
use aftercast_tests::stage::{CHANNEL, Home, Stage};

fn stage() -> Stage {
    Stage::new(env!("CARGO_TARGET_TMPDIR"), 16, |seed| seed.deadline_ms = 1_000).expect("a stage")
}

/// A home whose reception loses a burst of packets now and then.
fn weak(stage: &Stage) -> (Tap, Home) {
    let recipe = "loss=0.4%/burst=6".parse().expect("a recipe");
    let tap = Tap::new(impair(&stage.programme.bytes, &[recipe], 11).expect("impaired").bytes.into()).expect("a tap");
    let home = stage.home(NodeOptions::new("weak").input(CHANNEL, &tap.url())).expect("a home");
    assert!(tap.wait_clients(1, PATIENCE), "it listens");
    (tap, home)
}

/// Waits until all of the recording is here.
fn wait_whole(stage: &Stage, home: &Home) -> NodeStatus {
    let count = stage.programme.count();
    let whole = |status: &NodeStatus| {
        let one = status.recording(&home.id)?;
        (one.clean + one.repaired == count).then(|| status.clone())
    };
    home.node.wait_for(&format!("all {count} chunks are here"), PATIENCE, whole).expect("repaired")
}

/// The recording is the source, and nothing of it comes from elsewhere.
fn plays_from_its_own_store(stage: &Stage, home: &Home) {
    let played = home.play_stream().expect("FFmpeg reads it without a warning");
    stage.programme.check_played(0, &played).expect("it is the source");
    let counted = home.played().expect("status");
    assert_eq!((counted.bytes_peer, counted.bytes_seed, counted.salvaged), (0, 0, 0), "{counted:?}");
    assert_eq!(counted.bytes_local, stage.programme.chunk_bytes());
}

#[test]
fn a_damaged_recording_is_made_whole_by_peers_before_anybody_watches() {
    let stage = stage();
    let count = stage.programme.count();
    let (bad, weak) = weak(&stage);
    let recorders = stage.recorders(["alice", "bob"]).expect("two homes");
    stage.tap.open();
    bad.open();
    stage.wait_confirmed(count).expect("it is stored");
    let status = wait_whole(&stage, &weak);
    let one = status.recording(&weak.id).expect("its recording");
    assert!(one.repaired >= 3, "enough was damaged: {one:?}");
    assert_eq!(status.repair.chunks, one.repaired);
    // A chunk of this small programme is two groups of 64 KiB: whole ones would be nearly all of it.
    let whole = stage.programme.chunk_bytes() / count * one.repaired;
    let fetched = status.repair.fetched_bytes;
    assert!(fetched * 3 < whole, "{fetched} bytes were fetched to repair {whole}");
    assert_eq!(status.store.held, count, "repaired chunks are offered to others like any");
    weak.finish(count).expect("its manifest is whole");
    for mut home in recorders {
        home.node.stop().expect("ends");
    }
    plays_from_its_own_store(&stage, &weak);
}

#[test]
fn false_units_repair_nothing_and_the_seed_helps_in_the_end() {
    let stage = stage();
    let count = stage.programme.count();
    let recorders = stage.recorders(["alice", "bob"]).expect("two homes");
    let mut liar = Device::new("liar").expect("a device");
    liar.enrol(&stage.seed, "liar").expect("enrols as anybody does");
    let right = liar.record(CHANNEL, None).expect("records");
    liar.serve(FalseUnits::new(&cut(&stage.programme.bytes, &stage.programme.plan).expect("cuts")));
    let (bad, weak) = weak(&stage);
    stage.tap.open();
    stage.wait_confirmed(count).expect("it is stored");
    for mut home in recorders {
        home.node.stop().expect("ends");
    }
    let grant = liar.play(right.recording).expect("a right");
    liar.claim(&grant).expect("says it has everything");
    liar.play(right.recording).expect("the claim has been taken in");
    bad.open();
    let status = wait_whole(&stage, &weak);
    assert!(status.repair.failed > 0 && status.repair.chunks > 0, "{:?}", status.repair);
    let device = weak.node.device().expect("its id").parse().expect("an id");
    liar.wait_gone(device).expect("shown the door");
    weak.finish(count).expect("its manifest is whole");
    plays_from_its_own_store(&stage, &weak);
}
