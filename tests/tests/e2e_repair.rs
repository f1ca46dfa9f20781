//! A home with a bad aerial: what it received is made whole in the background, for a small part of its bytes.

use aftercast_tests::device::{Device, FalseUnits, cut};
use aftercast_tests::impair::impair;
use aftercast_tests::media::Tap;
use aftercast_tests::processes::{NodeOptions, NodeStatus, PATIENCE, SeedStatus};
use aftercast_tests::stage::{CHANNEL, Home, Stage};

fn stage() -> Stage {
    Stage::new(env!("CARGO_TARGET_TMPDIR"), 16, |seed| seed.deadline_ms = 1_000).expect("a stage")
}

/// A home whose reception loses a burst of packets now and then.
fn weak(stage: &Stage, name: &str, seed: u64) -> (Tap, Home) {
    let recipe = "loss=0.4%/burst=6".parse().expect("a recipe");
    let tap = Tap::new(impair(&stage.programme.bytes, &[recipe], seed).expect("impaired").bytes.into()).expect("a tap");
    let home = stage.home(NodeOptions::new(name).input(CHANNEL, &tap.url())).expect("a home");
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
    assert!(counted.bytes_local >= stage.programme.chunk_bytes());
}

#[test]
fn a_damaged_recording_is_made_whole_by_peers_before_anybody_watches() {
    let stage = stage();
    let count = stage.programme.count();
    let (bad, weak) = weak(&stage, "weak", 11);
    let recorders = stage.recorders(["alice", "bob"]).expect("two homes");
    stage.tap.open();
    bad.open();
    stage.wait_confirmed(count).expect("it is stored");
    let status = wait_whole(&stage, &weak);
    let one = status.recording(&weak.id).expect("its recording");
    assert!(one.repaired >= 3, "enough was damaged: {one:?}");
    // Of some nothing was missing but what lies between them.
    let repaired = status.repair.chunks;
    assert!((3..=one.repaired).contains(&repaired), "{repaired} of {one:?}");
    // A chunk of this small programme is two or three groups of 64 KiB: these would be nearly all of it.
    let whole = stage.programme.chunk_bytes() / count * repaired;
    let fetched = status.repair.fetched_bytes;
    assert!(fetched * 3 < whole, "{fetched} bytes were fetched to repair {whole}");
    let held = |status: &NodeStatus| (status.store.held == count).then_some(());
    weak.node.wait_for("repaired chunks are offered to others like any", PATIENCE, held).expect("offered");
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
    let (bad, weak) = weak(&stage, "weak", 11);
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

#[test]
fn homes_with_bad_aerials_make_together_what_none_of_them_has() {
    let stage = stage();
    let count = stage.programme.count();
    let (taps, homes): (Vec<Tap>, Vec<Home>) = (0..5).map(|n| weak(&stage, &format!("weak-{n}"), 20 + n)).unzip();
    taps.iter().for_each(Tap::open);
    // Bounded by the next chunk, which the last one lacks; it may be whole somewhere all the same.
    let made = |status: &SeedStatus| {
        let (confirmed, assembled) = (status.sum(|one| one.confirmed), status.sum(|one| one.assembled));
        (confirmed + 1 >= count && assembled > 0).then(|| status.clone())
    };
    let seed = stage.seed.wait_for("all but the last chunk are there", PATIENCE, made).expect("made");
    println!(
        "{} of {count} chunks assembled, {} voices of damaged homes",
        seed.sum(|one| one.assembled),
        seed.sum(|one| one.testimonies)
    );

    // Everybody's recording is whole now, but for the last chunk.
    for home in &homes {
        let whole = |status: &NodeStatus| {
            let one = status.recording(&home.id)?;
            (one.clean + one.repaired + 1 >= count).then_some(())
        };
        home.node.wait_for("nearly all chunks are here", PATIENCE, whole).expect("repaired");
    }
    // And what was made is the broadcast: a fetch checks every byte against the ids of the clean source.
    let mut guest = Device::new("guest").expect("a device");
    guest.enrol(&stage.seed, "weak-0").expect("enrols");
    let device = stage.seed.device().parse().expect("an id");
    let ids = stage.programme.ids().expect("CIDs");
    let right = ids.iter().filter(|(cid, len)| guest.fetch(device, *cid, *len).is_ok()).count();
    assert!(right as u64 + 1 >= count, "{right} of {count}");
}
