//! The generated programme is what its specification says, and is made once.

use std::collections::BTreeMap;

use aftercast_tests::broadcast::{AudioCodec, BroadcastError, BroadcastSpec, generate, own};
use aftercast_tests::impair::packet;
use aftercast_tests::media::Pace;
use aftercast_tests::media::ffmpeg::{run, words};

#[test]
fn programme_has_the_streams_the_rate_and_the_stuffing_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let spec = BroadcastSpec { audio: AudioCodec::Mp2, start_ms: 20_000, ..BroadcastSpec::small(4) };
    let path = generate(&spec, folder.path()).expect("a programme");
    let bytes = own(&path).expect("a transport stream");
    let mut pids: BTreeMap<u16, usize> = BTreeMap::new();
    packet::offsets(&bytes).into_iter().for_each(|at| *pids.entry(packet::pid(&bytes[at..])).or_default() += 1);
    assert!(pids[&packet::NULL_PID] > 20 && pids[&0x11] > 2, "null packets and service information: {pids:?}");
    let rate = bytes.len() as u64 * 8_000_000 / Pace::from_pcr(&bytes).duration();
    assert!(rate.abs_diff(spec.mux_rate) < spec.mux_rate / 100, "{rate} bits a second");
    let ask = words(&["-v", "error", "-show_entries", "stream=codec_name,start_time", "-of", "csv=p=0"]);
    let (answer, _) = run("ffprobe", &[&ask[..], &[path.into()]].concat()).expect("probes");
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.contains("h264,21.") && answer.contains("mp2,21."), "{answer}");
}

#[test]
fn several_at_once_make_it_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let make = || generate(&BroadcastSpec::small(1), folder.path()).expect("a programme");
    let paths: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(make)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(paths.iter().all(|path| *path == paths[0]));
    let kept = std::fs::read_dir(folder.path()).expect("lists").filter_map(Result::ok);
    let programmes = kept.filter(|file| file.path().extension().is_none_or(|kind| kind != "lock"));
    assert_eq!(programmes.count(), 1, "nothing unfinished stays behind");
}

#[test]
fn own_file_that_is_no_transport_stream_is_refused() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), b"something else").expect("writes");
    assert!(matches!(own(file.path()), Err(BroadcastError::NoTransportStream(_))));
    assert!(matches!(own("/nonexistent.ts".as_ref()), Err(BroadcastError::File { .. })));
}
