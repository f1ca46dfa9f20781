//! What players make of chunks that are written with what came beside their core. FFmpeg stands for them.

mod aux_kit;
mod ccf_kit;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use aux_kit::*;
use ccf_kit::*;

use aftercast_protocol::ccf::{Anchor, AuxKind, AuxLayout, Chunk, ChunkState, Chunker, ProgramSelect};
use aftercast_protocol::ids::TimelineId;

/// The chunks of a run for players: those with numbers that `held` is false of have no units, as if another home had
/// given them.
fn written(run: &Run, held: impl Fn(usize) -> bool) -> (AuxLayout, Vec<u8>) {
    let mut layout = AuxLayout::default();
    let chunks = clean_chunks(run);
    for (chunk, clean) in chunks.values() {
        layout.learn(&clean.bytes, &chunk.aux.as_deref().expect("something beside the core").streams);
    }
    let bytes = chunks.values().enumerate().map(|(number, (chunk, clean))| {
        layout.mux(&clean.bytes, chunk.pts, chunk.aux.as_deref().filter(|_| held(number))).expect("a canonical chunk")
    });
    let bytes = bytes.collect::<Vec<_>>().concat();
    (layout, bytes)
}

/// What ffprobe lists of a file, and what it complains of. That FFmpeg has no decoder for splices is no complaint.
fn probed(path: &Path) -> (BTreeSet<String>, String) {
    let entries = "stream=codec_name,codec_type:stream_tags=language";
    let output = Command::new("ffprobe")
        .args(["-v", "warning", "-show_entries", entries, "-of", "compact=p=0:nk=1"])
        .arg(path)
        .output()
        .expect("ffprobe is there");
    let said = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = said.lines().filter(|line| !line.starts_with("Unsupported codec with id 98305")).collect();
    (String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect(), said.join("\n"))
}

fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, bytes).expect("writes");
    path
}

#[test]
fn players_are_told_of_teletext_subtitles_and_splices_whether_a_chunk_has_them_or_not() {
    let announced = &extras()[..3];
    let run = run_packets(&with_aux(&packets(SOURCES[0].1), announced).0);
    let always = file("aux-always.ts", &written(&run, |_| true).1);
    // Every other chunk came from elsewhere, the first among them.
    let sometimes = file("aux-sometimes.ts", &written(&run, |number| number % 2 == 1).1);
    for path in [&always, &sometimes] {
        let (listed, said) = probed(path);
        assert_eq!(said, "");
        for wanted in ["dvb_subtitle|subtitle|fra", "dvb_teletext|subtitle|eng,deu", "scte_35|data", "h264|video"] {
            assert!(listed.contains(wanted), "{wanted} in {listed:?}");
        }
    }
    for path in [always, sometimes] {
        let output = Command::new("ffmpeg")
            .args(["-v", "warning", "-nostdin", "-i"])
            .arg(&path)
            .args(["-map", "0:v", "-map", "0:a", "-f", "null", "-"])
            .output()
            .expect("ffmpeg is there");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        std::fs::remove_file(path).expect("removes what it wrote");
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

/// Cuts the video of a capture with the boundaries that it shows itself for anchors: captures are too short to prove
/// many without, and end before the sound of their last pictures.
fn pictures(bytes: &[u8], program: ProgramSelect) -> Run {
    let alone = run_with(Chunker::discover(INTERVAL, program.clone()).expect("a legal interval"), bytes, 70_000);
    let mut plan = alone.chunker.plan().expect("a programme that can be cut").clone();
    let anchor =
        |chunk: &Chunk| Anchor { timeline: TimelineId(0), index: chunk.index, pts: chunk.pts, digest: chunk.opening };
    plan.anchors = alone.chunks.iter().skip(1).map(anchor).collect();
    plan.profile.audio.clear();
    run_with(Chunker::new(plan, program).expect("a legal plan"), bytes, 70_000)
}

#[test]
fn real_teletext_and_subtitles_come_through() {
    let number = ProgramSelect::Number;
    for (name, program, wanted) in [
        ("mpeg2-mp2.ts", ProgramSelect::First, "dvb_subtitle|subtitle|eng"),
        ("mux-8-programs.ts", number(3401), "dvb_teletext|subtitle|ita,ita,eng"),
        ("mux-8-programs.ts", number(3402), "dvb_teletext|subtitle|ita,ita,eng"),
        ("mux-8-programs.ts", number(3411), "dvb_teletext|subtitle|ita,ita,eng"),
    ] {
        let Some(bytes) = capture(name) else { continue };
        let run = pictures(&bytes, program);
        assert!(run.chunks.iter().any(|chunk| matches!(chunk.state, ChunkState::Clean(_))), "{name}");
        let counters = run.chunker.counters();
        let late = run.chunks.iter().filter_map(|chunk| chunk.aux.as_deref());
        let late = late.flat_map(|aux| &aux.units).filter(|unit| unit.time.0 < 0).count();
        println!("{name} {wanted}: {} units, {} dropped, {late} late", counters.aux_units, counters.aux_dropped);
        assert!(counters.aux_dropped * 20 <= counters.aux_units + 20, "{name}: {counters:?}");
        let (layout, bytes) = written(&run, |_| true);
        assert!(layout.streams().iter().any(|stream| stream.kind() != AuxKind::Data));
        let path = file(&format!("aux-{}-{name}", wanted.len()), &bytes);
        let (listed, warnings) = probed(&path);
        assert!(listed.contains(wanted), "{name}: {listed:?}");
        assert_eq!(warnings, "", "{name}");
        // What the decoder of subtitles makes of them, where there is one.
        let subtitles = |input: &Path| {
            let output = Command::new("ffmpeg")
                .args(["-v", "warning", "-nostdin", "-i"])
                .arg(input)
                .args(["-map", "0:s:0", "-c:s", "dvbsub", "-f", "null", "-"])
                .output()
                .expect("ffmpeg is there");
            String::from_utf8_lossy(&output.stderr).into_owned()
        };
        if wanted.starts_with("dvb_subtitle") {
            assert_eq!(subtitles(&path), "", "{name}");
        }
        std::fs::remove_file(path).expect("removes what it wrote");
    }
}
