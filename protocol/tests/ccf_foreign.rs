//! Others' eyes on chunks: FFmpeg must read them without a word, and real broadcasts must be cut or refused for a true
//! reason.

mod ccf_kit;

use std::path::{Path, PathBuf};
use std::process::Command;

use ccf_kit::*;

use aftercast_protocol::ccf::{Anchor, Chunk, ChunkPlan, Chunker, Profile, ProgramSelect, WithheldReason};
use aftercast_protocol::ids::TimelineId;
use aftercast_protocol::time::Ticks;

/// What FFmpeg says on `-v warning`, and the MD5 of each frame of a stream.
fn frames(input: &Path, stream: &str, copy: bool) -> (String, Vec<String>) {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "warning", "-i"]).arg(input).args(["-map", stream]);
    if copy {
        command.args(["-c", "copy"]);
    }
    let done = command.args(["-f", "framemd5", "-"]).output().expect("FFmpeg is installed");
    assert!(done.status.success());
    let text = String::from_utf8(done.stdout).expect("text");
    let md5 = |line: &str| line.split(',').nth(5).map(|field| field.trim().to_owned());
    let lines = text.lines().filter(|line| !line.starts_with('#')).filter_map(md5).collect();
    (String::from_utf8_lossy(&done.stderr).into_owned(), lines)
}

#[test]
fn ffmpeg_reads_joined_chunks_without_a_warning_and_finds_the_sources_frames() {
    for (name, source) in SOURCES.into_iter().chain(RADIO) {
        let folder = std::env::temp_dir();
        let file = |kind: &str| folder.join(format!("ccf-{}-{name}-{kind}.ts", std::process::id()));
        let (whole, joined) = (file("source"), file("chunks"));
        std::fs::write(&whole, source).expect("writes");
        std::fs::write(&joined, run(source).bytes()).expect("writes");
        let is_radio = name.starts_with("radio");
        for (stream, copy) in [("0:v", false), ("0:a", true)].into_iter().skip(usize::from(is_radio)) {
            let (warnings, chunks) = frames(&joined, stream, copy);
            let (_, all) = frames(&whole, stream, copy);
            // The decoder's words at an open group's start are its own (law c).
            let warnings: Vec<_> =
                warnings.lines().filter(|line| name == "avc-aac" || !line.contains("[h264")).collect();
            let warnings: Vec<_> = warnings.iter().filter(|line| !line.contains("Last message repeated")).collect();
            assert!(warnings.is_empty(), "{name} {stream}: {warnings:?}");
            assert!(chunks.len() * 10 > all.len() * 6, "{name} {stream}: {} of {} frames", chunks.len(), all.len());
            // The pictures that lead an open group's first key picture cannot be decoded without what was before.
            let from = if copy || name == "avc-aac" { 0 } else { 3 };
            let inner = &chunks[from..];
            assert!(all.windows(inner.len()).any(|window| window == inner), "{name} {stream}");
        }
        for path in [whole, joined] {
            std::fs::remove_file(path).expect("removes what it wrote");
        }
    }
}

/// A capture from the folder beside the workspace, which is not everywhere.
fn capture(name: &str) -> Option<Vec<u8>> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../../shared/media", name].iter().collect();
    let read = std::fs::read(path).ok();
    if read.is_none() {
        println!("skipped: ../shared/media/{name} is not here");
    }
    read
}

/// Cuts one programme of a capture with the boundaries that it shows itself for anchors: captures are too short to
/// prove many without. They also end before the sound of their last pictures, so it may be left out.
fn anchored(bytes: &[u8], program: &ProgramSelect, sound: bool) -> Run {
    let alone = run_with(Chunker::discover(INTERVAL, program.clone()).expect("a legal interval"), bytes, 70_000);
    let mut plan = alone.chunker.plan().expect("a programme that can be cut").clone();
    let anchor =
        |chunk: &Chunk| Anchor { timeline: TimelineId(0), index: chunk.index, pts: chunk.pts, digest: chunk.opening };
    plan.anchors = alone.chunks.iter().skip(1).map(anchor).collect();
    if !sound {
        plan.profile.audio.clear();
    }
    run_with(Chunker::new(plan, program.clone()).expect("a legal plan"), bytes, 70_000)
}

#[test]
fn real_broadcasts_give_the_same_chunks_however_they_are_carried() {
    // The multiplex lasts 1.3 seconds: a picture group or none of each programme.
    let number = ProgramSelect::Number;
    for (name, program, pictures, with_sound) in [
        ("rtp-sequence-wrap.ts", ProgramSelect::First, 1, 0),
        ("mpeg2-mp2.ts", ProgramSelect::First, 2, 1),
        ("mux-8-programs.ts", number(3401), 1, 0),
        ("mux-8-programs.ts", number(3402), 1, 0),
        ("mux-8-programs.ts", number(3403), 0, 0),
        ("mux-8-programs.ts", number(3410), 0, 0),
        ("mux-8-programs.ts", number(3411), 1, 0),
    ] {
        let Some(bytes) = capture(name) else { continue };
        let source = packets(&bytes);
        for (sound, expected) in [(false, pictures), (true, with_sound)] {
            let reference = anchored(&bytes, &program, sound).clean();
            assert_eq!(reference.len(), expected, "{name}, {program:?}, sound: {sound}");
            for seed in 0..2 {
                let mut rng = Rng(seed);
                let carried = flip_harmless_flags(&rephase_counters(&source, &mut rng), &mut rng);
                let carried = duplicate_some(&stuff_nulls(&carried, &mut rng), &mut rng);
                let other = anchored(carried.as_flattened(), &program, sound);
                assert_eq!(other.clean(), reference, "{name}, {program:?}, seed {seed}");
            }
        }
    }
}

#[test]
fn programmes_of_a_real_multiplex_are_found_by_name_and_cut_beside_each_other() {
    let Some(bytes) = capture("mux-8-programs.ts") else { return };
    for (name, number) in [("rai 2", 3402), ("Rai Radio1", 3404), ("Rai 3 TGR Emilia Romagna", 3403)] {
        let by = |program: ProgramSelect| {
            let run = run_with(Chunker::discover(INTERVAL, program).expect("a legal interval"), &bytes, 5_000);
            run.chunks
        };
        let chunks = by(ProgramSelect::Number(number));
        assert!(!chunks.is_empty(), "{name}");
        // Names come less often than maps, so the beginning may be missed.
        let named = by(name.parse().expect("any text"));
        assert!(
            chunks.ends_with(&named[1..]) && named.len() > 1 || named == chunks,
            "{name}: {} of {}",
            named.len(),
            chunks.len()
        );
    }
    assert!(
        run_with(Chunker::discover(INTERVAL, ProgramSelect::Name("Rai 9".into())).expect("legal"), &bytes, 5_000)
            .chunks
            .is_empty()
    );
}

#[test]
fn real_radio_gives_the_same_chunks_however_it_is_carried() {
    let Some(bytes) = capture("mux-8-programs.ts") else { return };
    let source = packets(&bytes);
    for number in [3404, 3405, 3406] {
        let cut = |bytes: &[u8]| {
            let chunker = Chunker::discover(INTERVAL, ProgramSelect::Number(number)).expect("a legal interval");
            run_with(chunker, bytes, 5_000)
        };
        let reference = cut(&bytes).clean();
        assert!(!reference.is_empty(), "programme {number}");
        let mut rng = Rng(u64::from(number));
        let carried = duplicate_some(&stuff_nulls(&source, &mut rng), &mut rng);
        assert_eq!(cut(carried.as_flattened()).clean(), reference, "programme {number}");
    }
}

#[test]
fn a_real_broadcast_in_fields_is_cut_where_anchors_prove_its_only_two_key_pictures() {
    let Some(bytes) = capture("rtp-sequence-wrap.ts") else { return };
    let alone = run(&bytes);
    // Two key pictures in three seconds: neither boundary can be proven without one before it.
    assert!(alone.clean().is_empty());
    assert!(alone.chunks.iter().all(|chunk| reason(chunk) == Some(WithheldReason::Edge)));
    let keys: Vec<_> = alone.chunks.iter().skip(1).collect();
    let anchor = |chunk: &&aftercast_protocol::ccf::Chunk| Anchor {
        timeline: TimelineId(0),
        index: chunk.index,
        pts: chunk.pts,
        digest: chunk.opening,
    };
    let plan =
        ChunkPlan { anchors: keys.iter().map(anchor).collect(), ..alone.chunker.plan().expect("discovered").clone() };
    let run_by = |plan| run_with(Chunker::new(plan, ProgramSelect::First).expect("a legal plan"), &bytes, 70_000);
    // The capture ends before the audio frame that would close the chunk: its pictures are whole, its sound is not.
    let with_sound = run_by(plan.clone());
    assert!(with_sound.chunks.iter().all(|chunk| reason(chunk) == Some(WithheldReason::Edge)));
    let pictures = Profile { audio: Vec::new(), ..plan.profile.clone() };
    let planned = run_by(ChunkPlan { profile: pictures, ..plan });
    assert_eq!(planned.clean().len(), 1);
    let chunk = planned.chunks.iter().find(|chunk| reason(chunk).is_none()).expect("one is clean");
    // Fields in pairs: 25 units a second.
    assert_eq!((chunk.duration, chunk.video_frames), (Ticks(180_000), 50));
}

fn reason(chunk: &aftercast_protocol::ccf::Chunk) -> Option<WithheldReason> {
    match &chunk.state {
        aftercast_protocol::ccf::ChunkState::Clean(_) => None,
        aftercast_protocol::ccf::ChunkState::Withheld(withheld) => Some(withheld.reason),
    }
}

#[test]
fn badly_damaged_captures_give_nothing_wrong_and_no_panic() {
    for name in ["damaged-terrestrial.ts", "french-avc-eac3-damaged.ts", "mux-8-programs.ts"] {
        let Some(bytes) = capture(name) else { continue };
        let run = run(&bytes);
        assert!(run.clean().is_empty(), "{name}");
        assert!(run.chunker.counters().packets > 3_000, "{name}");
    }
}
