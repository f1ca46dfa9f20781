//! A device that serves wrong bytes: they are neither stored nor played, it is banned, and everything still plays.

use aftercast_tests::device::{Device, FlippedShelf, cut};
use aftercast_tests::processes::{NodeOptions, NodeStatus, PATIENCE};
use aftercast_tests::stage::{CHANNEL, Home, Stage};

fn plays_the_source(stage: &Stage, home: &Home) {
    let played = home.play().expect("it plays");
    stage.programme.check_played(0, &played).expect("the source");
}

#[test]
fn a_player_bans_a_peer_that_lies_and_plays_on() {
    let stage = Stage::new(env!("CARGO_TARGET_TMPDIR"), 10, |seed| seed.deadline_ms = 1_000).expect("a stage");
    let recorders = stage.recorders(["alice", "bob"]).expect("two homes");
    let player = stage.home(NodeOptions::new("player")).expect("a third");
    let mut liar = Device::new("liar").expect("a device");
    liar.enrol(&stage.seed, "liar").expect("enrols as anybody does");
    let right = liar.record(CHANNEL, None).expect("records");
    liar.serve(FlippedShelf::new(&cut(&stage.programme.bytes, &stage.programme.plan).expect("cuts")));

    let count = stage.programme.count();
    stage.tap.open();
    stage.wait_confirmed(count).expect("it is stored");
    player.finish(count).expect("it knows the recording");
    let grant = liar.play(right.recording).expect("a right");
    liar.claim(&grant).expect("says it has everything");
    // An answer to a later request: the claim has been taken in.
    liar.play(right.recording).expect("a right");
    // With the honest ones gone, only the liar and the seed are left to ask.
    for mut home in recorders {
        home.node.stop().expect("ends");
    }

    plays_the_source(&stage, &player);
    let counted = player.played().expect("status");
    assert!(counted.wrong_groups > 0 && counted.liars_banned == 1, "it was asked, and found out: {counted:?}");
    assert_eq!((counted.bytes_peer, counted.bytes_seed), (0, stage.programme.chunk_bytes()), "{counted:?}");
    let device = player.node.device().expect("its id").parse().expect("an id");
    liar.wait_gone(device).expect("shown the door");
    let alone = |status: &NodeStatus| (status.peers == 0).then_some(());
    player.node.wait_for("it has no peers", PATIENCE, alone).expect("gone for the player too");
    // From its own store now: what is there is right.
    plays_the_source(&stage, &player);
}

#[test]
fn the_seed_bans_an_uploader_that_lies_and_takes_a_stand_in() {
    let stage = Stage::new(env!("CARGO_TARGET_TMPDIR"), 10, |seed| seed.deadline_ms = 2_000).expect("a stage");
    let chunks = cut(&stage.programme.bytes, &stage.programme.plan).expect("cuts");
    let mut liar = Device::new("liar").expect("a device");
    liar.enrol(&stage.seed, "liar").expect("enrols as anybody does");
    liar.record(CHANNEL, None).expect("records");
    liar.serve(FlippedShelf::new(&chunks));
    // A line far behind the liar's, so that the liar is asked first.
    let honest = NodeOptions { uplink_bps: 20_000_000, ..stage.at_the_tap("honest") };
    let honest = stage.home(honest).expect("a home");
    stage.wait_at_the_tap(1).expect("it listens");

    let count = stage.programme.count();
    stage.tap.open();
    liar.report(CHANNEL, &chunks).expect("reports what is true");
    let seed = stage.wait_confirmed(count).expect("everything is stored");
    assert!(stage.seed.counter("aftercast_seed_liars_total").expect("metrics") > 0, "counted");
    let own = liar.id().to_string();
    let uploaded = |lied: bool| -> u64 {
        seed.nodes.iter().filter(|node| (node.device == own) == lied).map(|node| node.uploaded_bytes).sum()
    };
    assert_eq!((uploaded(true), uploaded(false)), (0, stage.programme.chunk_bytes()));
    liar.wait_gone(stage.seed.device().parse().expect("an id")).expect("shown the door");
    honest.finish(count).expect("its manifest is whole");

    // What the seed gives is right: a fetch checks every byte against the chunk's CID.
    let mut guest = Device::new("guest").expect("a device");
    guest.enrol(&stage.seed, "honest").expect("enrols");
    let device = stage.seed.device().parse().expect("an id");
    for (cid, len) in stage.programme.ids().expect("CIDs") {
        assert_eq!(guest.fetch(device, cid, len).expect("served").len() as u64, len);
    }
}
