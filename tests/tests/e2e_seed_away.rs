//! A seed that goes away loses nothing: what it missed is recorded, and follows when it is back.

use aftercast_tests::processes::{NodeStatus, PATIENCE};
use aftercast_tests::stage::{Home, Stage};

const SECONDS: u32 = 16;

/// All confirmed, all stored, and all in the manifest of a home.
fn nothing_is_lost(stage: &Stage, homes: &[Home]) {
    let count = stage.programme.count();
    let seed = stage.wait_confirmed(count).expect("everything is stored");
    assert_eq!((seed.sum(|one| one.confirmed), seed.sum(|one| one.stored)), (count, count), "and nothing else");
    for home in homes {
        home.finish(count).expect("the manifest names everything");
        let status = home.node.status().expect("status");
        let recording = status.recording(&home.id).expect("its recording");
        assert_eq!((recording.clean, recording.unreported, recording.contradicted), (count, 0, 0));
        let manifest = recording.manifest.as_ref().expect("a manifest");
        assert!(manifest.chunks == count && manifest.gaps <= stage.programme.edges, "{manifest:?}");
    }
}

#[test]
fn a_seed_killed_in_mid_recording_loses_nothing() {
    let mut stage = Stage::new(env!("CARGO_TARGET_TMPDIR"), SECONDS, |_| {}).expect("a stage");
    let homes = stage.recorders(["alice", "bob"]).expect("two homes");
    let count = stage.programme.count();
    stage.flow(count / 3);
    stage.wait_confirmed(count / 3).expect("some of it is stored");
    // More is on its way to the seed in every form: reports, decisions, uploads.
    stage.flow(count * 2 / 3);
    homes.iter().for_each(|home| home.wait_clean(count * 2 / 3).expect("more is received"));
    stage.seed.kill();
    stage.flow(count - 1);
    homes.iter().for_each(|home| home.wait_clean(count - 1).expect("recording goes on"));
    stage.seed.resume().expect("the seed is back");
    let after = stage.seed.status().expect("status");
    assert!(after.sum(|one| one.stored) >= count / 3, "what was stored still is");
    stage.tap.open();
    nothing_is_lost(&stage, &homes);
}

#[test]
fn without_a_seed_recording_goes_on_and_uploads_follow() {
    let mut stage = Stage::new(env!("CARGO_TARGET_TMPDIR"), SECONDS, |_| {}).expect("a stage");
    let homes = stage.recorders(["alice", "bob"]).expect("two homes");
    let count = stage.programme.count();
    stage.seed.kill();
    for home in &homes {
        let alone = |status: &NodeStatus| (!status.seed.connected).then_some(());
        home.node.wait_for("it lost the seed", PATIENCE, alone).expect("notices");
    }
    stage.tap.open();
    for home in &homes {
        home.wait_clean(count).expect("everything is received");
        let status = home.node.status().expect("status");
        let recording = status.recording(&home.id).expect("its recording");
        assert_eq!((recording.acknowledged, recording.confirmed), (0, 0), "nobody could say so");
        assert!(recording.unreported >= count);
    }
    stage.seed.resume().expect("the seed is back");
    nothing_is_lost(&stage, &homes);
}
