//! Harmless recipes change bytes round the coded frames, never the frames.

use std::path::Path;

use aftercast_tests::broadcast::{AudioCodec, BroadcastSpec, generate};
use aftercast_tests::impair::{Prng, Recipe, impair, packet, psi};
use aftercast_tests::media::ffmpeg::{Decoded, decode};

const TMP: &str = env!("CARGO_TARGET_TMPDIR");

fn source(spec: &BroadcastSpec) -> Vec<u8> {
    std::fs::read(generate(spec, Path::new(TMP)).expect("a programme")).expect("reads it")
}

fn aac() -> Vec<u8> {
    source(&BroadcastSpec::small(6))
}

fn mp2_at_44_1() -> Vec<u8> {
    let audio = BroadcastSpec { audio: AudioCodec::Mp2, sample_rate: 44_100, b_frames: 0, ..BroadcastSpec::small(6) };
    source(&BroadcastSpec { languages: vec!["eng".into(), "deu".into()], ..audio })
}

fn recipes(texts: &[&str]) -> Vec<Recipe> {
    texts.iter().map(|text| text.parse().expect("a recipe")).collect()
}

fn frames(bytes: &[u8]) -> (Decoded, Decoded) {
    let file = tempfile::NamedTempFile::with_suffix(".ts").expect("a file");
    std::fs::write(file.path(), bytes).expect("writes");
    (decode(file.path(), "v:0").expect("video"), decode(file.path(), "a:0").expect("audio"))
}

/// Applies recipes and asks: nothing logged, other bytes than before, the same frames, no complaint from FFmpeg.
fn leaves_frames_alone(source: &[u8], texts: &[&str]) {
    let recipes = recipes(texts);
    assert!(recipes.iter().all(Recipe::is_harmless), "{texts:?}");
    let impaired = impair(source, &recipes, 7).expect("applies");
    assert_eq!((&impaired.log.harms, &impaired.log.invisible), (&vec![], &vec![]), "{texts:?}");
    assert_eq!((&impaired.log.start, &impaired.log.end), (&None, &None), "{texts:?}");
    assert_ne!(impaired.bytes, source, "{texts:?} did nothing");
    let (before, after) = (frames(source), frames(&without_duplicates(&impaired.bytes)));
    assert!(before.0.frames.len() >= 150 && before.1.frames.len() > 200, "the source itself decodes");
    assert_eq!(after.0.hashes(), before.0.hashes(), "video of {texts:?}");
    assert_eq!(after.1.hashes(), before.1.hashes(), "audio of {texts:?}");
    // A data stream with nothing readable in it has no start time; that is all that FFmpeg may find.
    let complaints: Vec<_> = after.0.complaints.iter().filter(|line| !line.contains("start time for stream")).collect();
    assert_eq!(complaints, Vec::<&String>::new(), "{texts:?}");
}

/// FFmpeg 5.1 takes legal duplicates for damage and their payload twice, so they are dropped for it.
fn without_duplicates(bytes: &[u8]) -> Vec<u8> {
    let mut last = std::collections::BTreeMap::new();
    let packets = packet::offsets(bytes).into_iter().map(|at| &bytes[at..at + 188]);
    packets.filter(|packet| last.insert(packet::pid(packet), *packet) != Some(*packet)).flatten().copied().collect()
}

macro_rules! harmless {
    ($($name:ident: $source:ident, $texts:expr;)*) => {
        $(#[test]
        fn $name() {
            leaves_frames_alone(&$source(), &$texts);
        })*
    };
}

harmless! {
    remux_leaves_frames_alone: aac, ["remux=10s"];
    hls_leaves_frames_alone: aac, ["hls=1s"];
    repacketising_leaves_frames_alone: aac, ["repacketise"];
    pes_headers_leave_frames_alone: aac, ["pes-headers"];
    regrouping_leaves_aac_alone: aac, ["regroup=6"];
    regrouping_leaves_mp2_at_44_1_khz_alone: mp2_at_44_1, ["regroup=6"];
    removing_delimiters_leaves_frames_alone: aac, ["delimiters=remove"];
    adding_delimiters_leaves_frames_alone: aac_without_delimiters, ["delimiters=add"];
    shifting_clocks_leaves_frames_alone: aac, ["pts-shift=100.5s"];
    wrapping_clocks_leave_frames_alone: aac, ["pts-wrap=3s"];
    dropping_nulls_leaves_frames_alone: aac, ["nulls=drop"];
    adding_nulls_leaves_frames_alone: aac, ["nulls=30%"];
    moving_clock_references_leaves_frames_alone: aac, ["pcr-restamp=-20ms"];
    clock_jitter_leaves_frames_alone: aac, ["pcr-jitter=2ms"];
    counter_phase_leaves_frames_alone: aac, ["counters"];
    flags_leave_frames_alone: aac, ["flags"];
    foreign_sections_leave_frames_alone: aac, ["si-noise=5%"];
    duplicates_leave_frames_alone: aac, ["duplicates=5%"];
    other_pids_leave_frames_alone: mp2_at_44_1, ["pid-remap"];
    pmt_versions_leave_frames_alone: aac, ["pmt-version=3"];
    reordering_leaves_frames_alone: aac, ["reorder=8"];
    framing_of_192_leaves_frames_alone: aac, ["framing=192"];
    framing_of_204_leaves_frames_alone: aac, ["framing=204"];
    all_at_once_leaves_frames_alone: aac, [
        "repacketise", "pes-headers", "regroup=5", "delimiters=remove", "pts-shift=-1s", "nulls=10%", "pcr-jitter=1ms",
        "counters", "flags", "si-noise=2%", "duplicates=2%", "pid-remap", "pmt-version=2", "reorder=6", "framing=204",
    ];
    remux_of_another_multiplex_leaves_frames_alone: mp2_at_44_1, ["remux=3s", "regroup=4", "pid-remap", "counters"];
}

fn aac_without_delimiters() -> Vec<u8> {
    impair(&aac(), &recipes(&["delimiters=remove"]), 1).expect("applies").bytes
}

#[test]
fn same_seed_same_bytes_another_seed_others() {
    let source = aac();
    let recipes =
        recipes(&["repacketise", "si-noise=2%", "pid-remap", "reorder=8", "loss=1%/burst=5", "late=1s", "framing=204"]);
    let run = |seed| impair(&source, &recipes, seed).expect("applies");
    assert_eq!(run(3).bytes, run(3).bytes);
    assert_eq!(run(3).log, run(3).log);
    assert_ne!(run(3).bytes, run(4).bytes);
    let reversed: Vec<_> = recipes.iter().rev().cloned().collect();
    assert_eq!(
        impair(&source, &reversed, 3).expect("applies").bytes,
        run(3).bytes,
        "order of stages is not the caller's"
    );
}

#[test]
fn rewritten_tables_have_the_right_crc() {
    let impaired = impair(&mp2_at_44_1(), &recipes(&["pid-remap", "pmt-version=4"]), 9).expect("applies").bytes;
    let sections = |wanted: u16| {
        let offsets = packet::offsets(&impaired);
        let packets = offsets.into_iter().map(|at| impaired[at..at + 188].to_vec());
        // FFmpeg writes each table into one packet, header and pointer field in front.
        packets.filter(move |bytes| packet::pid(bytes) == wanted).map(|bytes| {
            let length = usize::from(u16::from_be_bytes([bytes[6] & 0x0f, bytes[7]]));
            bytes[5..8 + length].to_vec()
        })
    };
    let pats: Vec<_> = sections(0).collect();
    assert!(pats.len() > 10 && pats.iter().all(|pat| psi::crc32(pat) == 0));
    let pmt = psi::pid_at(&pats[0], 10);
    assert_ne!(pmt, 0x1000);
    let pmts: Vec<_> = sections(pmt).collect();
    assert!(pmts.len() > 10 && pmts.iter().all(|pmt| psi::crc32(pmt) == 0));
    let versions: std::collections::BTreeSet<_> = pmts.iter().map(|pmt| pmt[5] >> 1 & 0x1f).collect();
    assert!(versions.len() > 1, "{versions:?}");
}

#[test]
fn refuses_what_is_no_transport_stream() {
    assert!(impair(&[], &[], 1).is_err());
    assert!(impair(&[0x48; 10_000], &[], 1).is_err());
}

/// A programme of one's own may be broken anywhere: a recipe is applied or refused, never a panic.
#[test]
fn broken_source_is_no_reason_to_panic() {
    let source = &aac()[..188 * 400];
    let every = [
        "repacketise",
        "pes-headers",
        "regroup=3",
        "delimiters=add",
        "delimiters=remove",
        "pts-shift=1s",
        "pts-wrap=1s",
        "jump=0.1s/by=1s",
        "nulls=drop",
        "nulls=9%",
        "pcr-restamp=1s",
        "pcr-jitter=1s",
        "counters",
        "flags",
        "si-noise=9%",
        "duplicates=9%",
        "pid-remap",
        "pmt-version=3",
        "reorder=9",
        "loss=9%/burst=3",
        "single=9",
        "lose16=2",
        "truncate=9",
        "tei=9%",
        "flips=9",
        "late=1s",
        "early=0.1s",
        "framing=204",
    ];
    for seed in 0..40 {
        let mut prng = Prng::new(seed, "damage");
        let mut broken = source.to_vec();
        for _ in 0..400 {
            // Mostly in headers, where it hurts.
            let at = prng.below(400) * 188 + if prng.below(3) == 0 { prng.below(188) } else { 1 + prng.below(24) };
            broken[at] = prng.next() as u8;
        }
        for text in every {
            let _ = impair(&broken, &recipes(&[text]), seed);
        }
        let _ = impair(&broken, &recipes(&every[8..]), seed);
    }
}
