//! Homes behind routers: they reach each other through holes, or the seed serves them in time.

use aftercast_tests::media::Tap;
use aftercast_tests::namespaces::{Internet, OUTSIDE, Residence, Router};
use aftercast_tests::processes::{
    NodeOptions, NodeStatus, PATIENCE, Reached, SeedStatus, fetch, get_text, segment_names,
};
use aftercast_tests::stage::{CHANNEL, Home, Stage};

/// Everything is dropped in this order: programs before the namespaces that they are in.
struct Shown {
    recorder: Home,
    player: Home,
    stage: Stage,
    /// Of the recorder, of the player.
    homes: [Residence; 2],
    internet: Internet,
}

fn anywhere(name: &str) -> NodeOptions {
    let listen = ["/ip4/0.0.0.0/tcp/0", "/ip4/0.0.0.0/udp/0/quic-v1"].map(str::to_owned).to_vec();
    NodeOptions { reached: Reached::At(listen), ..NodeOptions::new(name) }
}

/// A stage whose seed is outside.
fn stage(internet: &Internet) -> anyhow::Result<Stage> {
    internet.outside.run(|| {
        Stage::new(env!("CARGO_TARGET_TMPDIR"), 16, |seed| {
            seed.deadline_ms = 1_000;
            seed.listen = vec![format!("/ip4/{OUTSIDE}/tcp/0"), format!("/ip4/{OUTSIDE}/udp/0/quic-v1")];
        })
    })
}

/// A programme that two devices of one home recorded, of which one is left, and a player in another home that knows the
/// whole recording. None where there are no namespaces.
fn show(kind: Router) -> anyhow::Result<Option<Shown>> {
    let Some(mut internet) = Internet::or_skip()? else { return Ok(None) };
    let homes = [internet.home(kind)?, internet.home(kind)?];
    let stage = stage(&internet)?;
    let count = stage.programme.count();
    let player = homes[1].inside.run(|| stage.home(anywhere("carol")))?;
    let recorder = homes[0].inside.run(|| {
        let tap = Tap::new(stage.programme.bytes.clone())?;
        let at_the_tap = |name| stage.home(anywhere(name).input(CHANNEL, &tap.url()));
        let (recorder, second) = (at_the_tap("alice")?, at_the_tap("bob")?);
        anyhow::ensure!(tap.wait_clients(2, PATIENCE), "they do not listen");
        tap.open();
        recorder.wait_clean(count)?;
        second.wait_clean(count)?;
        // The seed has the second one's word before it goes.
        second.finish(count)?;
        anyhow::Ok(recorder)
    })?;
    internet.outside.run(|| stage.wait_confirmed(count))?;
    homes[1].inside.run(|| player.finish(count))?;
    for (home, one) in [(&homes[0], &recorder), (&homes[1], &player)] {
        let punches = |status: &NodeStatus| (status.reach.how == "hole_punching").then_some(());
        home.inside.run(|| one.node.wait_for("it has a place at the seed", PATIENCE, punches))?;
    }
    Ok(Some(Shown { recorder, player, stage, homes, internet }))
}

#[test]
fn two_homes_behind_cone_routers_exchange_chunks_through_a_hole() {
    let Some(mut shown) = show(Router::Cone).expect("a stage behind routers") else { return };
    let Shown { recorder, player, stage, homes, internet } = &mut shown;
    let places = |seed: &SeedStatus| (seed.relay_reservations >= 2).then_some(());
    let said = internet.outside.run(|| stage.seed.wait_for("it counts their places", PATIENCE, places));
    said.expect("both have one");

    // The last segment alone: the player looks for holders, and takes nothing ahead of it.
    homes[1].inside.run(|| {
        let playlist = player.node.playlist(&player.id).expect("its address");
        let names = segment_names(&get_text(&playlist, PATIENCE).expect("the playlist"));
        let last = names.last().expect("segments");
        let last = player.node.url(&format!("/recordings/{}/{last}", player.id)).expect("its address");
        fetch(&last).expect("the last segment");
        let punched = |status: &NodeStatus| (status.reach.holes_punched >= 1 && status.peers >= 1).then_some(());
        player.node.wait_for("a hole is punched", PATIENCE, punched).expect("it reaches the recorder");
    });
    internet
        .outside
        .run(|| stage.seed.wait_for("the circuit is closed", PATIENCE, |seed| (seed.relay_circuits == 0).then_some(())))
        .expect("what is direct needs no circuit");
    let before = homes[1].inside.run(|| player.played()).expect("status");

    // Neither seed nor relay: what comes now comes through the hole.
    stage.seed.kill();
    let (played, after, status) = homes[1].inside.run(|| {
        let played = player.play().expect("it plays");
        (played, player.played().expect("status"), player.node.status().expect("status"))
    });
    stage.programme.check_played(1, &played).expect("the source");
    let through = after.bytes_peer;
    assert!(through > 0 && before.bytes_peer <= through, "{before:?} {after:?}");
    let rest = after.bytes_seed + after.bytes_head;
    assert!(through > rest, "all but one chunk comes from the other home: {after:?}");
    assert_eq!((status.reach.holes_tried, status.reach.holes_failed), (1, 0));
    let sent = homes[0].inside.run(|| recorder.node.status()).expect("status").uplink.sent;
    assert!(sent.to_peers >= through, "{sent:?}");
    println!("through the hole: {through} bytes; from the seed before: {rest} bytes");
}

#[test]
fn two_homes_behind_symmetric_routers_are_served_by_the_seed_in_time() {
    let Some(shown) = show(Router::Symmetric).expect("a stage behind routers") else { return };
    let Shown { recorder, player, stage, homes, .. } = &shown;
    let played = homes[1].inside.run(|| player.play()).expect("it plays");
    stage.programme.check_played(1, &played).expect("the source");
    let failed = |status: &NodeStatus| (status.reach.holes_failed >= 1).then(|| status.clone());
    for (home, one) in [(&homes[1], player), (&homes[0], recorder)] {
        let status =
            home.inside.run(|| one.node.wait_for("the hole is given up", PATIENCE, failed)).expect("it says so");
        assert_eq!((status.reach.holes_tried, status.reach.holes_punched), (1, 0), "once");
        assert!(one.node.log().contains("no hole was punched"), "the reason is in the log");
    }
    let counted = homes[1].inside.run(|| player.played()).expect("status");
    // The first bytes are due at once; everything behind them was in time.
    assert!(counted.bytes_peer == 0 && counted.late <= 1, "{counted:?}");
    assert!(counted.bytes_seed > 0, "{counted:?}");
}

#[test]
fn a_public_host_is_proven_to_be_one() {
    let Some(internet) = Internet::or_skip().expect("namespaces") else { return };
    let stage = stage(&internet).expect("a stage");
    internet.outside.run(|| {
        let listen = vec![format!("/ip4/{OUTSIDE}/tcp/0"), format!("/ip4/{OUTSIDE}/udp/0/quic-v1")];
        let host =
            stage.home(NodeOptions { reached: Reached::At(listen), ..NodeOptions::new("dave") }).expect("a node");
        let proven = |status: &NodeStatus| (status.reach.how == "public").then(|| status.clone());
        let status = host.node.wait_for("the seed reached it", PATIENCE, proven).expect("it says so");
        assert_eq!(status.reach.holes_tried, 0);
    });
}
