//! Devices without a right: refused with the reason, and counted.

use aftercast_net::exchange::FetchError;
use aftercast_protocol::ids::DeviceId;
use aftercast_protocol::wire::ctl::{CtlMsg, Refused};
use aftercast_protocol::wire::lane::LaneRefusal;
use aftercast_tests::device::Device;
use aftercast_tests::processes::{NodeOptions, NodeProcess};
use aftercast_tests::stage::{CHANNEL, Home, Stage};

/// A recording of two homes, stored; and a device that may fetch all of it.
struct Scene {
    stage: Stage,
    homes: [Home; 2],
    guest: Device,
    right: aftercast_tests::device::Right,
}

impl Scene {
    fn new() -> Self {
        let stage = Stage::new(env!("CARGO_TARGET_TMPDIR"), 8, |seed| seed.deadline_ms = 1_000).expect("a stage");
        let homes = stage.recorders(["alice", "bob"]).expect("two homes");
        let mut guest = Device::new("guest").expect("a device");
        guest.enrol(&stage.seed, "guest").expect("enrols");
        let right = guest.record(CHANNEL, None).expect("records");
        stage.tap.open();
        stage.wait_confirmed(stage.programme.count()).expect("it is stored");
        Self { stage, homes, guest, right }
    }

    fn seed(&self) -> DeviceId {
        self.stage.seed.device().parse().expect("an id")
    }

    /// The first chunk, as somebody gets it from somewhere.
    fn fetch(&self, who: &Device, from: DeviceId) -> Result<u64, LaneRefusal> {
        let (cid, len) = self.stage.programme.ids().expect("CIDs")[0];
        match who.fetch(from, cid, len) {
            Ok(bytes) => Ok(bytes.len() as u64),
            Err(FetchError::Refused(reason)) => Err(reason),
            Err(other) => panic!("neither served nor refused: {other}"),
        }
    }

    fn counted_by_alice(&self, reason: &str) -> u64 {
        self.homes[0].node.status().expect("status").refused.get(reason).copied().unwrap_or(0)
    }

    fn counted_by_seed(&self, reason: &str) -> u64 {
        self.stage.seed.refused(reason).expect("metrics")
    }
}

#[test]
fn refuses_a_device_that_is_not_enrolled() {
    let scene = Scene::new();
    // Those who joined were not enrolled before, either.
    let before = scene.counted_by_seed("NotEnrolled");
    let mut stranger = Device::new("stranger").expect("a device");
    stranger.greet_seed(&scene.stage.seed).expect("anybody may say hello");
    let seed = scene.seed();
    let answer = stranger.request(|req| CtlMsg::ListChannels { req }).expect("an answer");
    assert!(matches!(answer, CtlMsg::Refused { reason: Refused::NotEnrolled, .. }), "{answer:?}");
    assert!(stranger.record(CHANNEL, None).is_err(), "no recording");
    assert_eq!(scene.fetch(&stranger, seed), Err(LaneRefusal::NotEnrolled));
    assert_eq!(scene.counted_by_seed("NotEnrolled") - before, 4, "the greeting, two requests, a chunk");
    let alice = stranger.greet_node(&scene.homes[0].node, Vec::new()).expect("reached");
    assert_eq!(scene.fetch(&stranger, alice), Err(LaneRefusal::NoGrant));
    assert_eq!(scene.counted_by_alice("no_grant"), 1);

    let options = NodeOptions::new("never-joined");
    let folder = scene.stage.folder().join("never-joined");
    let mut node = NodeProcess::make(&scene.stage.programs, &folder, options).expect("a node");
    node.resume().expect("it runs all the same");
    let refused = node.record(CHANNEL).expect_err("nothing to record");
    assert!(format!("{refused:#}").contains("aftercast join"), "says what to do: {refused:#}");
}

#[test]
fn refuses_a_device_without_a_grant_of_its_own() {
    let mut scene = Scene::new();
    let grant = scene.guest.play(scene.right.recording).expect("a right");
    let seed = scene.seed();
    let mut stranger = Device::new("stranger").expect("a device");
    stranger.enrol(&scene.stage.seed, "stranger").expect("enrols");
    assert_eq!(scene.fetch(&stranger, seed), Err(LaneRefusal::NoGrant));
    assert_eq!(scene.counted_by_seed("NoGrant"), 1);
    let alice = stranger.greet_node(&scene.homes[0].node, vec![grant.clone()]).expect("reached");
    assert_eq!(scene.fetch(&stranger, alice), Err(LaneRefusal::NoGrant), "another's grant is worth nothing");
    assert_eq!((scene.counted_by_alice("no_grant"), scene.counted_by_alice("grant_not_genuine")), (1, 1));

    let (_, len) = scene.stage.programme.ids().expect("CIDs")[0];
    scene.guest.greet_node(&scene.homes[0].node, vec![grant]).expect("reached");
    assert_eq!(scene.fetch(&scene.guest, alice), Ok(len), "its owner is served");
    assert_eq!(scene.fetch(&scene.guest, seed), Ok(len));
}

#[test]
fn refuses_what_has_expired() {
    let mut scene = Scene::new();
    // From now on, nothing that the seed signs lasts any longer than it takes to say so.
    scene.stage.seed.change(|options| (options.grant_seconds, options.certificate_days) = (0, 0));
    scene.stage.seed.kill();
    let seed = scene.seed();
    scene.guest.wait_gone(seed).expect("notices");
    scene.stage.seed.resume().expect("the seed is back");
    scene.guest.greet_seed(&scene.stage.seed).expect("with a certificate that still holds");
    let grant = scene.guest.play(scene.right.recording).expect("a right that is over");
    let alice = scene.guest.greet_node(&scene.homes[0].node, vec![grant]).expect("reached");
    assert_eq!(scene.fetch(&scene.guest, alice), Err(LaneRefusal::Expired));
    assert_eq!(scene.counted_by_alice("expired"), 1);

    let mut late = Device::new("late").expect("a device");
    late.enrol(&scene.stage.seed, "late").expect("enrols");
    let refused = late.wait_heard("the seed's refusal", |from, msg| match msg {
        CtlMsg::Refused { reason: Refused::Expired, .. } if from == seed => Some(()),
        _ => None,
    });
    refused.expect("it says so");
    assert_eq!(scene.fetch(&late, seed), Err(LaneRefusal::Expired));
    assert!(scene.counted_by_seed("Expired") >= 2, "the greeting and a chunk");
}
