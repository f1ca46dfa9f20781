//! A full disk: what the seed has goes first; then recording stops between two chunks, says so, and goes on by itself.

use aftercast_tests::processes::{NodeOptions, NodeStatus, PATIENCE};
use aftercast_tests::stage::{CHANNEL, Home, Stage};

const SECONDS: u32 = 20;
/// Room for so many chunks.
const ROOM: u64 = 4;

struct Scene {
    stage: Stage,
    small: Home,
    large: Home,
    quota: u64,
}

impl Scene {
    fn new() -> Self {
        // Chunks that the small one drops have one witness only: decided soon.
        let stage = Stage::new(env!("CARGO_TARGET_TMPDIR"), SECONDS, |seed| seed.deadline_ms = 1_000).expect("a stage");
        let largest = stage.programme.chunks.iter().filter_map(|line| line.bytes).max().expect("chunks");
        let quota = largest * ROOM;
        let options = NodeOptions { quota_bytes: Some(quota), ..stage.at_the_tap("small") };
        let small = stage.home(options).expect("a home");
        let large = stage.home(stage.at_the_tap("large")).expect("another");
        stage.wait_at_the_tap(2).expect("they listen");
        Self { stage, small, large, quota }
    }

    fn status(&self) -> NodeStatus {
        self.small.node.status().expect("status")
    }

    fn dropped(&self) -> u64 {
        self.status().inputs.get(CHANNEL).map_or(0, |input| input.dropped_for_room)
    }

    fn clean(&self) -> u64 {
        self.status().recording(&self.small.id).map_or(0, |recording| recording.clean)
    }
}

#[test]
fn a_full_disk_evicts_what_is_acknowledged_then_stops_and_goes_on() {
    let mut scene = Scene::new();
    let count = scene.stage.programme.count();

    // As long as the seed keeps up, nothing is lost, however much comes.
    let half = count / 2;
    assert!(half > ROOM, "more than there is room for");
    for chunks in 1..=half {
        scene.stage.flow(chunks);
        let acknowledged = |status: &NodeStatus| {
            let recording = status.recording(&scene.small.id)?;
            (recording.clean >= chunks && recording.acknowledged == recording.clean).then_some(())
        };
        scene.small.node.wait_for("the seed has all of it", PATIENCE, acknowledged).expect("acknowledged");
    }
    let status = scene.status();
    assert_eq!(scene.dropped(), 0);
    assert!(status.store.chunk_bytes <= scene.quota, "{:?}", status.store);

    // Without it there is an end.
    scene.stage.seed.kill();
    scene.stage.flow(count - 3);
    let full = |status: &NodeStatus| {
        let input = status.inputs.get(CHANNEL)?;
        (input.state == "full" && input.dropped_for_room > 0).then_some(())
    };
    scene.small.node.wait_for("it is full", PATIENCE, full).expect("stops");
    scene.large.wait_clean(count - 3).expect("the other goes on");
    let status = scene.status();
    assert!(status.store.chunk_bytes <= scene.quota, "{:?}", status.store);
    assert!(scene.small.node.log().contains("the disk is full"), "an error that says what to do");
    let (before, dropped) = (scene.clean(), scene.dropped());
    // A quarter may be kept for others by order, and what was received of the first chunk counts too.
    assert!(before >= half + ROOM - 2, "it went on for a while: {before} chunks, {half} with the seed");

    // Once the seed has taken what is there, there is room again.
    scene.stage.seed.resume().expect("the seed is back");
    let acknowledged = |status: &NodeStatus| {
        let recording = status.recording(&scene.small.id)?;
        (recording.acknowledged == recording.clean).then_some(())
    };
    scene.small.node.wait_for("the seed has all of it", PATIENCE, acknowledged).expect("acknowledged");
    scene.stage.tap.open();
    scene.small.wait_clean(before + 1).expect("it goes on");
    scene.large.wait_clean(count).expect("the other has everything");
    assert!(scene.status().store.chunk_bytes <= scene.quota);
    let seed = scene.stage.wait_stored(count).expect("everything is stored");
    assert!(seed.sum(|one| one.single) <= scene.dropped(), "only what it dropped has one witness");
    assert!(scene.clean() + scene.dropped() >= count && dropped > 0);
}
