//! The demo's path in small: three homes record one broadcast, one of them with losses; a fourth only plays it.

use aftercast_tests::impair::{Impaired, impair};
use aftercast_tests::media::ffmpeg::{run, words};
use aftercast_tests::media::{Carrier, Clock, Feed, Sender};
use aftercast_tests::processes::{NodeOptions, NodeProcess, PATIENCE, fetch, get_text, segment_names};
use aftercast_tests::stage::{CHANNEL, Home, Stage};

/// The lossy home's broadcast runs at this multiple of real time: its datagrams do not wait for a busy machine.
const SPEED: f64 = 4.0;
/// Less than the programme has, so that a head is worth it.
const HEAD_BPS: u64 = 300_000;
/// The player is asked for its word too and never gives it: decided soon all the same.
const DEADLINE_MS: u64 = 1_000;

struct Shown {
    stage: Stage,
    player: Home,
    /// Kept running: the player fetches from them.
    _recorders: [Home; 2],
    _weak: Home,
}

/// Records, and waits until the player knows the whole recording.
fn show() -> anyhow::Result<Shown> {
    let stage = Stage::new(env!("CARGO_TARGET_TMPDIR"), 16, |seed| {
        (seed.head_bps, seed.deadline_ms) = (HEAD_BPS, DEADLINE_MS);
    })?;
    let recorders = stage.recorders(["clean-1", "clean-2"])?;
    let port = NodeProcess::free_port()?;
    let weak = stage.home(NodeOptions::new("weak").input(CHANNEL, &format!("rtp://127.0.0.1:{port}")))?;
    weak.node.wait_listening(port)?;
    let player = stage.home(NodeOptions::new("player"))?;

    let Impaired { bytes, pace, .. } = impair(&stage.programme.bytes, &["loss=1%/burst=10".parse()?], 7)?;
    let to = ([127, 0, 0, 1], port).into();
    let sender = Sender::new(vec![Feed { to, carrier: Carrier::Rtp, bytes: bytes.into(), pace }], &Clock::new(SPEED))?;
    sender.start();
    stage.tap.open();
    sender.join()?;

    let count = stage.programme.count();
    for home in &recorders {
        home.wait_clean(count)?;
    }
    let seed = stage.wait_confirmed(count)?;
    assert_eq!((seed.sum(|one| one.confirmed), seed.sum(|one| one.single)), (count, 0), "all is confirmed");
    assert_eq!(seed.sum(|one| one.stored), count);
    assert_eq!(seed.pulled_bytes, seed.unique_bytes, "every chunk was uploaded once");
    assert_eq!(seed.unique_bytes, stage.programme.chunk_bytes());
    let lossy = weak.node.status()?;
    let lossy = lossy.recording(&weak.id).expect("its recording");
    assert!(!lossy.withheld.is_empty() && lossy.clean > 0, "some chunks were harmed, some not: {lossy:?}");
    player.finish(count)?;
    Ok(Shown { stage, player, _recorders: recorders, _weak: weak })
}

#[test]
fn a_home_that_recorded_nothing_plays_the_source_from_its_peers() {
    let shown = show().expect("recorded");
    let Shown { stage, player, .. } = &shown;
    let played = player.play().expect("FFmpeg reads the HLS without a warning");
    let counted = player.played().expect("status");
    // Behind the head a decoder begins anew.
    stage.programme.check_played(1, &played).expect("the HLS is the source");
    assert!(counted.bytes_head > 0, "begins with the seed's head: {counted:?}");
    assert!(counted.bytes_peer > 4 * counted.bytes_seed, "most comes from peers: {counted:?}");
    assert_eq!(counted.wrong_groups, 0);
    let played = player.play_stream().expect("FFmpeg reads the stream without a warning");
    stage.programme.check_played(0, &played).expect("the stream is the source");

    let playlist = player.node.playlist(&player.id).expect("its address");
    let stream = player.node.stream(&player.id).expect("its address");
    for url in [&playlist, &stream] {
        let (_, said) = run("ffprobe", &words(&["-v", "warning", "-show_streams", url])).expect("ffprobe reads it");
        assert_eq!(said, "", "ffprobe of {url}");
    }

    let names = segment_names(&get_text(&playlist, PATIENCE).expect("the playlist"));
    assert_eq!(names.len() as u64, stage.programme.count());
    let segment = |name: &String| {
        let name = name.trim_start_matches("head-");
        let url = player.node.url(&format!("/recordings/{}/{name}", player.id)).expect("its address");
        fetch(&url).expect("a segment")
    };
    let chunks: Vec<u8> = names.iter().flat_map(segment).collect();
    assert!(fetch(&stream).expect("the stream") == chunks, "the stream is its chunks, one behind the other");
}
