//! Harmful recipes harm what they say, and the log says all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use aftercast_tests::broadcast::{BroadcastSpec, generate};
use aftercast_tests::impair::{HarmKind, Impaired, Recipe, impair, packet};
use aftercast_tests::media::ffmpeg::{Frame, decode};

const TMP: &str = env!("CARGO_TARGET_TMPDIR");

fn source(seconds: u32) -> Vec<u8> {
    std::fs::read(generate(&BroadcastSpec::small(seconds), Path::new(TMP)).expect("a programme")).expect("reads it")
}

fn impaired(source: &[u8], texts: &[&str], seed: u64) -> Impaired {
    let recipes: Vec<Recipe> = texts.iter().map(|text| text.parse().expect("a recipe")).collect();
    impair(source, &recipes, seed).expect("applies")
}

fn has_payload(packet: &[u8]) -> bool {
    packet[3] & 0x10 != 0 && packet::pid(packet) != packet::NULL_PID
}

/// Every payload packet of the source is either in the reception, in its order, or in the log.
fn log_explains_what_is_missing(texts: &[&str], seed: u64) {
    let source = source(12);
    let got = impaired(&source, texts, seed);
    let mut logged: BTreeSet<u64> = got.log.harms.iter().map(|harm| harm.offset).collect();
    assert!(!logged.is_empty(), "{texts:?} harmed nothing");
    let mut cursors: BTreeMap<u16, usize> = BTreeMap::new();
    for at in packet::offsets(&source) {
        let packet = &source[at..at + 188];
        if !has_payload(packet) || logged.remove(&(at as u64)) {
            continue;
        }
        let from = cursors.entry(packet::pid(packet)).or_default();
        let found = got.bytes[*from..].windows(188).position(|window| window == packet);
        let found = found.unwrap_or_else(|| panic!("{texts:?} seed {seed}: packet at {at} is missing and not logged"));
        *from += found + 188;
    }
    assert_eq!(logged, BTreeSet::new(), "{texts:?}: logged offsets that are no payload packets of the source");
}

#[test]
fn log_explains_every_missing_packet() {
    for seed in 0..3 {
        for texts in [
            &["loss=1%/burst=20"][..],
            &["loss=0.5%"],
            &["single=5"],
            &["lose16=2"],
            &["truncate=4"],
            &["tei=0.5%"],
            &["flips=5"],
            &["loss=1%/burst=4", "tei=0.3%", "flips=3", "truncate=2", "lose16=1", "reorder=8", "nulls=drop"],
        ] {
            log_explains_what_is_missing(texts, seed);
        }
    }
}

#[test]
fn lost_packets_are_truly_gone() {
    let source = source(12);
    let got = impaired(&source, &["loss=1%/burst=20"], 5);
    let (before, after) = (packet::offsets(&source).len(), packet::offsets(&got.bytes).len());
    let nulls = |bytes: &[u8]| {
        packet::offsets(bytes).into_iter().filter(|at| packet::pid(&bytes[*at..]) == packet::NULL_PID).count()
    };
    let lost_nulls = nulls(&source) - nulls(&got.bytes);
    // Clock references without payload may be lost unlogged too.
    let unlogged = before - after - got.log.harms.len();
    assert!(unlogged >= lost_nulls && unlogged <= lost_nulls + 60, "{unlogged} against {lost_nulls}");
}

#[test]
fn loss_meets_rate_and_burst_length() {
    let source = source(60);
    let packets = packet::offsets(&source).len();
    for (texts, rate) in [(["loss=0.3%/burst=20"], 0.003), (["loss=2%/burst=5"], 0.02), (["loss=0.1%"], 0.001)] {
        let got = impaired(&source, &texts, 11);
        let lost = packets - packet::offsets(&got.bytes).len();
        assert_eq!(lost, (packets as f64 * rate).ceil() as usize, "{texts:?}");
    }
    let bursts = |texts: &[&str]| {
        // Runs of packets that stand nowhere in the reception, nulls told apart by counting from both sides.
        let got = impaired(&source, texts, 11);
        let offsets: Vec<_> = got.log.harms.iter().map(|harm| harm.offset).collect();
        1 + offsets.windows(2).filter(|pair| pair[1] - pair[0] > 20 * 188).count()
    };
    let (short, long) = (bursts(&["loss=0.5%"]), bursts(&["loss=0.5%/burst=20"]));
    assert!(short > 5 * long, "single losses {short}, bursts {long}");
}

#[test]
fn sixteen_lost_packets_are_logged_as_invisible_and_leave_no_counter_gap() {
    let source = source(12);
    let got = impaired(&source, &["lose16=3"], 2);
    assert_eq!(got.log.invisible.iter().map(|loss| loss.packets).collect::<Vec<_>>(), [16, 16, 16]);
    assert_eq!(got.log.harms.len(), 48);
    assert!(got.log.harms.iter().all(|harm| harm.kind == HarmKind::Lost && harm.pts.is_some()));
    assert_eq!(counter_gaps(&got.bytes), 0);
    let first = got.log.invisible[0].pts.expect("a time");
    assert!(got.log.deceives_span(first, 1, 0, 0) && got.log.harms_span(first, 1, 0, 0));
    assert!(!got.log.deceives_span(first + 90_000 * 3600, 90_000, 0, 0));
    assert!(impaired(&source, &["single=9"], 2).log.invisible.is_empty());
    assert!(counter_gaps(&impaired(&source, &["single=9"], 2).bytes) > 0);
}

fn counter_gaps(bytes: &[u8]) -> usize {
    let mut last = BTreeMap::new();
    let packets =
        packet::offsets(bytes).into_iter().map(|at| &bytes[at..at + 188]).filter(|packet| has_payload(packet));
    packets
        .filter(|packet| {
            last.insert(packet::pid(packet), packet[3] & 15).is_some_and(|before| (before + 1) & 15 != packet[3] & 15)
        })
        .count()
}

#[test]
fn duplicates_save_what_is_lost_once() {
    let source = source(6);
    let got = impaired(&source, &["duplicates=100%", "single=40"], 3);
    assert!(got.log.harms.len() < 10, "{:?}", got.log.harms);
    assert!(got.bytes.len() > source.len() * 3 / 2);
}

#[test]
fn late_start_and_early_end_are_edges() {
    let source = source(12);
    let got = impaired(&source, &["late=3.2s", "early=2s", "loss=0.5%"], 4);
    let (start, end) = (got.log.start.expect("a start"), got.log.end.expect("an end"));
    assert!(!got.bytes.len().is_multiple_of(188), "torn packets at the edges");
    assert!(start.offset > source.len() as u64 / 5 && start.offset < source.len() as u64 / 3, "{start:?}");
    assert!(end.offset > source.len() as u64 * 3 / 4 && end.offset < source.len() as u64 * 9 / 10, "{end:?}");
    assert!(got.log.harms.iter().all(|harm| harm.offset >= start.offset && harm.offset < end.offset));
    assert!((3_199_000..3_300_000).contains(&got.pace.at(0)), "{}", got.pace.at(0));
    assert!((9_900_000..10_100_000).contains(&got.pace.duration()), "{}", got.pace.duration());
}

#[test]
fn jump_is_a_shift_in_the_log() {
    let source = source(6);
    let got = impaired(&source, &["pts-shift=10s", "jump=3s/by=-5s"], 1);
    let by: Vec<_> = got.log.shifts.iter().map(|shift| shift.by).collect();
    assert_eq!(by, [900_000, 450_000]);
    let times = [&got.log.shifts[0], &got.log.shifts[1]].map(|shift| shift.pts.expect("a picture"));
    assert!((270_000..316_000).contains(&(times[1] - times[0])), "{times:?}");
    assert!(got.log.harms.is_empty());
}

/// Source frames that lie outside of what the log admits come out of a decoder as they were.
fn unlogged_frames_survive(texts: &[&str], seed: u64) {
    const GROUP: u64 = 12 * 3_600;
    let source = source(12);
    let got = impaired(&source, texts, seed);
    let folder = tempfile::tempdir().expect("a folder");
    let decoded = |bytes: &[u8], stream: &str, name: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("writes");
        decode(&path, stream).expect("decodes").frames
    };
    let shift = got.log.shifts.first().map_or(0, |shift| shift.by);
    // Behind a hole FFmpeg gives up two whole PES packets of audio before it is in step again.
    for (stream, before, after) in [("v:0", GROUP, 3_600), ("a:0", 45_000, 9_000)] {
        let present: BTreeSet<Frame> = decoded(&got.bytes, stream, "got.ts").into_iter().collect();
        let whole = decoded(&source, stream, "source.ts");
        // FFmpeg needs a moment at the start, and holds what it doubts at the end.
        let inner = &whole[..whole.len() - 3];
        let spared: Vec<_> =
            inner.iter().filter(|frame| !got.log.harms_span(frame.pts as u64, 0, before, after)).collect();
        assert!(spared.len() * 4 > whole.len(), "{texts:?}: only {} of {} frames spared", spared.len(), whole.len());
        assert!(spared.len() < whole.len(), "{texts:?} harmed nothing");
        for frame in spared {
            // FFmpeg rounds audio times of regrouped frames.
            let found = (-2..=2).any(|off| present.contains(&Frame { pts: frame.pts + shift + off, ..frame.clone() }));
            assert!(found, "{texts:?}, {stream}: frame at {} is gone, and the log does not say so", frame.pts);
        }
    }
}

#[test]
fn frames_outside_of_the_log_survive() {
    for texts in [
        &["loss=0.2%/burst=20"][..],
        &["flips=4", "truncate=2"],
        &["lose16=1", "tei=0.05%"],
        &["repacketise", "regroup=4", "pid-remap", "counters", "reorder=6", "loss=0.2%/burst=10"],
        &["remux=5s", "loss=0.2%/burst=10"],
        &["hls=2s", "regroup=3", "loss=0.2%/burst=10"],
    ] {
        unlogged_frames_survive(texts, 21);
    }
}
