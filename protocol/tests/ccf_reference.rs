//! Emitted chunks against implementations that can disagree: our own slow one, the `mpeg2ts-reader` crate, FFmpeg.

mod ccf_kit;
mod reference;

use std::collections::BTreeMap;
use std::process::Command;

use ccf_kit::{INTERVAL, P, RADIO, Run, SOURCES, clean_of, index_of, run, run_with};
use reference::audio::{self, Codec, Frame};
use reference::video::{self, Picture};
use reference::{Packet, Pes, Runs, Stream, digest, oracle};

use aftercast_protocol::ccf::{
    Anchor, AudioCodec, Chunk, ChunkState, Chunker, Profile, ProgramSelect, UnitIndex, VideoCodec, read_units,
};
use aftercast_protocol::ids::TimelineId;
use aftercast_protocol::time::{PTS_WRAP, Ticks};

/// At most so much of a capture.
const CAPTURE_BYTES: usize = 21_000 * P;

/// Further sources, made like those of the kit: interlaced, with open groups of pictures, with two audios.
const MORE: [(&str, &[u8]); 3] = [
    ("mpeg2-ac3", include_bytes!("data/mpeg2-ac3.ts")),
    ("hevc-eac3", include_bytes!("data/hevc-eac3.ts")),
    ("avc-two-audios", include_bytes!("data/avc-two-audios.ts")),
];

fn sources() -> impl Iterator<Item = (String, Vec<u8>)> {
    let committed = SOURCES.into_iter().chain(RADIO).chain(MORE).map(|(name, bytes)| (name.to_owned(), bytes.to_vec()));
    committed.chain(captures())
}

fn captures() -> Vec<(String, Vec<u8>)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/media");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!("skipped: no captures in {}", folder.display());
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.expect("a readable folder").path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|ext| ext == "ts")).collect();
    paths.sort();
    let read = |path: std::path::PathBuf| {
        let mut bytes = std::fs::read(&path).expect("a readable file");
        bytes.truncate(CAPTURE_BYTES);
        (path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), bytes)
    };
    paths.into_iter().map(read).collect()
}

fn packets(bytes: &[u8]) -> Vec<Packet> {
    bytes.chunks_exact(P).filter_map(reference::packet).collect()
}

#[test]
fn another_demultiplexer_reads_the_same_packets_tables_and_pes() {
    for (name, bytes) in sources() {
        let (mut same, mut pids) = (0, BTreeMap::<u16, Vec<Vec<u8>>>::new());
        for (number, raw) in bytes.chunks_exact(P).enumerate() {
            let (own, theirs) = (reference::packet(raw), oracle::packet(raw));
            // Of a packet in error or scrambled nothing counts but that.
            let Some(own) = own.filter(|own| !own.errored) else { continue };
            assert_eq!(Some(&own), theirs.as_ref(), "{name}: packet {number}");
            same += 1;
            let begun = pids.entry(own.pid).or_default();
            if own.start && !own.scrambled {
                begun.push(Vec::new());
            }
            if let Some(last) = begun.last_mut() {
                last.extend(own.payload);
            }
        }
        let packets = packets(&bytes);
        let pats: Vec<_> = reference::sections(&packets, 0).iter().map(|section| oracle::pat(section)).collect();
        for (number, streams) in reference::programs(&packets) {
            let pid = pats.iter().flatten().find(|(theirs, _)| *theirs == number).expect("a programme of theirs").1;
            let own: Vec<_> = streams.iter().map(|stream| (stream.stream_type, stream.pid)).collect();
            let maps = reference::sections(&packets, pid);
            let mut theirs = maps.iter().filter(|section| section[0] == 2).map(|section| oracle::pmt(section));
            assert!(theirs.any(|theirs| theirs == own), "{name}: programme {number}");
        }
        // Whole PES packets: of PIDs without a loss.
        let mut whole = 0;
        for (pid, raw) in pids {
            let runs = reference::pes(&packets, pid);
            let [own] = &runs[..] else { continue };
            if raw.iter().any(|raw| !raw.starts_with(&[0, 0, 1])) {
                continue;
            }
            // A legal duplicate doubles its bytes in what was joined here.
            let theirs: Vec<_> = raw.iter().filter_map(|raw| oracle::pes(raw)).collect();
            if own.len() == theirs.len() && raw.iter().map(Vec::len).sum::<usize>() > 0 {
                // They take no time whose marker bits are wrong (2.4.3.7); CCF has no rule for such.
                let unmarked = |own: &&Pes, theirs: &Pes| theirs.pts.is_none() && own.data == theirs.data;
                let differ = own.iter().zip(&theirs).position(|(own, theirs)| own != theirs && !unmarked(&own, theirs));
                assert_eq!(differ, None, "{name}: PES of {pid:#x}");
                whole += own.len();
            }
        }
        println!("{name}: {same} packets and {whole} PES packets alike");
        assert!(same > 100);
    }
}

/// What the reference finds on a PID.
enum Found {
    Video(Vec<Vec<Picture>>),
    Audio(Vec<Vec<Frame>>),
}

fn find(kind: Kind, runs: &Runs) -> Found {
    match kind {
        Kind::Video(VideoCodec::Avc) => Found::Video(video::avc(runs)),
        Kind::Video(VideoCodec::Hevc) => Found::Video(video::hevc(runs)),
        Kind::Video(VideoCodec::Mpeg2) => Found::Video(video::mpeg2(runs)),
        Kind::Audio(codec) => Found::Audio(audio::frames(
            match codec {
                AudioCodec::Mpeg => Codec::Mpeg,
                AudioCodec::AacAdts => Codec::Adts,
                AudioCodec::AacLatm => Codec::Latm,
                AudioCodec::Ac3 => Codec::Ac3,
                AudioCodec::Eac3 => Codec::Eac3,
            },
            runs,
        )),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Video(VideoCodec),
    Audio(AudioCodec),
}

/// What a stream of a map carries: DVB's and ATSC's ways (EN 300 468 annex D; A/52 annex A).
fn kind(stream: &Stream) -> Option<Kind> {
    let tag = |tag| stream.tags.contains(&tag);
    Some(match stream.stream_type {
        0x1B => Kind::Video(VideoCodec::Avc),
        0x24 => Kind::Video(VideoCodec::Hevc),
        0x02 => Kind::Video(VideoCodec::Mpeg2),
        0x03 | 0x04 => Kind::Audio(AudioCodec::Mpeg),
        0x0F => Kind::Audio(AudioCodec::AacAdts),
        0x11 => Kind::Audio(AudioCodec::AacLatm),
        0x81 => Kind::Audio(AudioCodec::Ac3),
        0x87 => Kind::Audio(AudioCodec::Eac3),
        0x06 if tag(0x6A) || stream.registration == b"AC-3" => Kind::Audio(AudioCodec::Ac3),
        0x06 if tag(0x7A) || stream.registration == b"EAC3" => Kind::Audio(AudioCodec::Eac3),
        _ => return None,
    })
}

/// One programme cut without anchors, and where a capture is too short to prove many boundaries, with those that it
/// shows itself: as it is, and without its sound, which ends before the last pictures.
fn cuts(bytes: &[u8], number: u16) -> Vec<Run> {
    let program = ProgramSelect::Number(number);
    let alone = run_with(Chunker::discover(INTERVAL, program.clone()).expect("a legal interval"), bytes, 64 * 1024);
    let Some(mut plan) = alone.chunker.plan().cloned() else { return Vec::new() };
    let anchor =
        |chunk: &Chunk| Anchor { timeline: TimelineId(0), index: chunk.index, pts: chunk.pts, digest: chunk.opening };
    plan.anchors = alone.chunks.iter().skip(1).map(anchor).collect();
    let mut runs = vec![alone];
    let silent = plan.profile.video.is_some() && !plan.profile.audio.is_empty();
    for sound in if silent { &[true, false][..] } else { &[true] } {
        if !sound {
            plan.profile.audio.clear();
        }
        let chunker = Chunker::new(plan.clone(), program.clone()).expect("a legal plan");
        runs.push(run_with(chunker, bytes, 64 * 1024));
    }
    runs
}

/// Units compared.
#[derive(Debug, Default)]
struct Tally {
    chunks: usize,
    pictures: usize,
    groups: usize,
    /// Pictures of withheld chunks.
    withheld: usize,
}

#[test]
fn every_unit_of_every_chunk_is_the_references() {
    let mut compared = BTreeMap::<String, Tally>::new();
    for (name, bytes) in sources() {
        let packets = packets(&bytes);
        for (number, streams) in reference::programs(&packets) {
            let kinds = streams.iter().filter_map(|one| Some((one.pid, kind(one)?)));
            let found: Vec<(Kind, Found)> =
                kinds.map(|(pid, kind)| (kind, find(kind, &reference::pes(&packets, pid)))).collect();
            for run in cuts(&bytes, number) {
                let tally = compared.entry(format!("{name} {number}")).or_default();
                let profile = &run.chunker.plan().expect("discovered").profile;
                for chunk in &run.chunks {
                    check_chunk(chunk, profile, &found, tally, &format!("{name} {number}, chunk {}", chunk.index));
                }
            }
        }
    }
    for (name, Tally { chunks, pictures, groups, withheld }) in &compared {
        println!(
            "{name}: {chunks} chunks alike, {pictures} pictures, {groups} groups of audio; {withheld} withheld pictures"
        );
    }
    assert!(compared.len() >= SOURCES.len() + RADIO.len());
    assert!(compared.values().map(|tally| tally.chunks).sum::<usize>() > 100);
}

fn check_chunk(chunk: &Chunk, profile: &Profile, found: &[(Kind, Found)], tally: &mut Tally, place: &str) {
    let video: Vec<&Vec<Vec<Picture>>> = found
        .iter()
        .filter(|(kind, _)| profile.video.map(Kind::Video) == Some(*kind))
        .filter_map(|(_, found)| if let Found::Video(runs) = found { Some(runs) } else { None })
        .collect();
    let has_video = profile.video.is_some();
    let index = match &chunk.state {
        ChunkState::Clean(_) => index_of(chunk),
        ChunkState::Withheld(withheld) => {
            // Clean units of a damaged chunk are pictures of the reference too. Those that it cannot prove are left out.
            for unit in withheld.units.units.iter().filter(|unit| has_video && unit.stream == 0) {
                let pts = (chunk.pts.0 as i64 + unit.pts.0).rem_euclid(PTS_WRAP as i64) as u64;
                let of_time: Vec<&Picture> =
                    video.iter().flat_map(|runs| runs.iter().flatten()).filter(|one| one.pts == Some(pts)).collect();
                let same = of_time.iter().any(|picture| digest(&picture.data) == unit.digest.0);
                assert!(same || of_time.is_empty(), "{place}: a withheld picture at {pts}");
                tally.withheld += usize::from(same);
            }
            return;
        }
    };
    if has_video {
        let same = video.iter().any(|runs| check_video(runs, &index, chunk.pts.0, chunk.duration, place));
        assert!(same, "{place}: no such pictures in the reference");
    }
    let audio_from = u8::from(has_video);
    for (audio, stream) in profile.audio.iter().zip(audio_from..) {
        let own = index.units.iter().filter(|unit| unit.stream == stream);
        let own: Vec<_> = own.map(|unit| (unit.pts.0, unit.digest.0)).collect();
        let groups: Vec<Vec<(i64, [u8; 16])>> = found
            .iter()
            .filter(|(kind, _)| *kind == Kind::Audio(audio.codec))
            .filter_map(|(_, found)| if let Found::Audio(runs) = found { Some(runs) } else { None })
            .flatten()
            .map(|run| audio::groups(run, chunk.pts.0 as i64, chunk.duration.0, profile.audio_grid.0))
            .collect();
        // An audio that says nothing is empty in the chunk (CCF 14).
        assert!(own.is_empty() || groups.contains(&own), "{place}: audio {stream}: {own:x?}, reference {groups:x?}");
    }
    tally.chunks += 1;
    tally.pictures += index.units.iter().filter(|unit| unit.stream < audio_from).count();
    tally.groups += index.units.iter().filter(|unit| unit.stream >= audio_from).count();
}

/// Whether the pictures of a chunk follow one another in one of these runs, and the next one opens the next chunk.
fn check_video(runs: &[Vec<Picture>], index: &UnitIndex, pts: u64, duration: Ticks, place: &str) -> bool {
    let own: Vec<_> = index.units.iter().filter(|unit| unit.stream == 0).collect();
    let wrapped = |ticks: i64| (pts as i64 + ticks).rem_euclid(PTS_WRAP as i64) as u64;
    let opening = own[0].digest.0;
    let Some((run, at)) = runs.iter().find_map(|run| {
        let at = run.iter().position(|picture| picture.pts == Some(pts) && digest(&picture.data) == opening)?;
        Some((run, at))
    }) else {
        return false;
    };
    for (number, unit) in own.iter().enumerate() {
        let Some(picture) = run.get(at + number) else { panic!("{place}: picture {number} is not in the reference") };
        let times = (Some(wrapped(unit.pts.0)), Some(wrapped(unit.dts.0)));
        assert_eq!((picture.pts, picture.dts), times, "{place}: picture {number}");
        assert_eq!(digest(&picture.data), unit.digest.0, "{place}: picture {number}");
    }
    // Nothing is missing at the end. The next may be one that the reference cannot prove whole.
    if let Some(next) = run.get(at + own.len()) {
        assert_eq!(next.pts, Some(wrapped(duration.0)), "{place}: what opens the next chunk");
    }
    true
}

/// A packet as FFmpeg tells it.
struct Told {
    stream: u64,
    pts: Option<u64>,
    dts: Option<u64>,
    size: usize,
    key: bool,
    crc: String,
}

fn ffprobe(name: &str, bytes: &[u8]) -> Vec<Told> {
    let path = std::env::temp_dir().join(format!("reference-{}-{name}.ts", std::process::id()));
    std::fs::write(&path, bytes).expect("writes");
    let flags = ["-v", "error", "-show_packets", "-show_data_hash", "CRC32", "-of", "json", "-probesize", "50M"];
    let output = Command::new("ffprobe").args(flags).arg(&path).output().expect("FFmpeg is installed");
    std::fs::remove_file(&path).expect("removes what it wrote");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{name}: FFmpeg has nothing to complain of");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packets = json["packets"].as_array().expect("packets");
    let told = packets.iter().map(|packet| Told {
        stream: packet["stream_index"].as_u64().expect("a number"),
        pts: packet["pts"].as_i64().map(|pts| pts as u64),
        dts: packet["dts"].as_i64().map(|dts| dts as u64),
        size: packet["size"].as_str().and_then(|size| size.parse().ok()).expect("a size"),
        key: packet["flags"].as_str().is_some_and(|flags| flags.starts_with('K')),
        crc: packet["data_hash"].as_str().unwrap_or_default().to_owned(),
    });
    told.collect()
}

/// ISO 3309, as FFmpeg prints it.
fn crc_text(bytes: &[u8]) -> String {
    let crc = bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 })
    });
    format!("CRC32:{:08x}", !crc)
}

#[test]
fn ffmpeg_reads_the_references_times_in_the_sources() {
    for (name, bytes) in SOURCES.into_iter().chain(MORE) {
        let told = ffprobe(name, bytes);
        let packets = packets(bytes);
        let streams = reference::programs(&packets).into_values().next().expect("a programme");
        for (index, stream) in streams.iter().enumerate() {
            let told: Vec<&Told> = told.iter().filter(|told| told.stream == index as u64).collect();
            let runs = reference::pes(&packets, stream.pid);
            match find(kind(stream).expect("a known kind"), &runs) {
                Found::Video(runs) => {
                    let own = &runs[0];
                    assert_eq!(own.len() + 1, told.len(), "{name}: all but the last, which has no proven end");
                    for (number, (own, told)) in own.iter().zip(told).enumerate() {
                        assert_eq!((own.pts, own.dts), (told.pts, told.dts), "{name}: picture {number}");
                        // FFmpeg calls every I picture of MPEG-2 a key picture; for a cut it needs its sequence header.
                        assert!(own.key == told.key || (told.key && stream.stream_type == 2), "{name}: {number}");
                    }
                }
                Found::Audio(runs) => {
                    let own = &runs[0];
                    let common = own.len().min(told.len());
                    assert!(told.len() - common <= 1, "{name}: the last may lack its proof");
                    for (number, (own, told)) in own.iter().zip(told).enumerate() {
                        assert_eq!(own.data.len(), told.size, "{name}: frame {number}");
                        // Times inside a PES packet are FFmpeg's own count, rounded in its own way.
                        let off = told.pts.map(|pts| pts.abs_diff(own.pts as u64));
                        let most = u64::from(own.samples * 90_000 % own.rate != 0);
                        assert!(off.is_some_and(|off| off <= most), "{name}: frame {number}: {off:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn ffmpeg_reads_the_units_of_joined_chunks() {
    for (name, bytes) in SOURCES.into_iter().chain(RADIO).chain(MORE) {
        let run: Run = run(bytes);
        let video = run.chunker.plan().expect("discovered").profile.video;
        let has_video = video.is_some();
        let told = ffprobe(name, &run.bytes());
        let units: Vec<_> = run
            .chunks
            .iter()
            .filter_map(clean_of)
            .flat_map(|clean| read_units(&clean.bytes).expect("ours").1)
            .collect();
        if has_video {
            let told = told.iter().filter(|told| told.stream == 0);
            let told: Vec<_> = told.map(|told| (told.pts, told.dts, told.size, told.crc.clone())).collect();
            let pictures = units.iter().filter(|unit| unit.stream == 0);
            let count = pictures.clone().count();
            let own = pictures.enumerate().map(|(number, unit)| {
                let [pts, dts] = [unit.pts, unit.dts].map(|time| Some(time.0.rem_euclid(PTS_WRAP as i64) as u64));
                let mut data = unit.data.clone();
                // FFmpeg's parser of HEVC leaves the zero byte before a start code to the picture before.
                if video == Some(VideoCodec::Hevc) {
                    data.extend((number + 1 < count).then_some(0));
                    data.drain(..usize::from(number > 0));
                }
                (pts, dts, data.len(), crc_text(&data))
            });
            let own: Vec<_> = own.collect();
            assert_eq!(own.len(), told.len(), "{name}");
            for (number, (own, told)) in own.iter().zip(&told).enumerate() {
                assert_eq!(own, told, "{name}: picture {number}");
            }
        }
        let audio = u8::from(has_video);
        let own: usize = units.iter().filter(|unit| unit.stream == audio).map(|unit| unit.data.len()).sum();
        let told: usize = told.iter().filter(|told| told.stream == u64::from(audio)).map(|told| told.size).sum();
        assert_eq!(own, told, "{name}: bytes of audio");
    }
}
