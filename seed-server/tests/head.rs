//! Heads of real chunks: what a player relies on when the seed sends a smaller picture in a chunk's place.

use std::path::Path;
use std::process::Command;

use aftercast_protocol::ccf::{
    ChunkState, Chunker, ChunkerEvent, Profile, ProgramSelect, Unit, check_canonical, read_units, write_chunk,
};
use aftercast_protocol::time::{MediaTime, Ticks};
use aftercast_seed::head::{HeadError, MAX_SHARE_PERCENT, Preset, Recipe, available, transcode};

const PICTURE: &str = "scroll=h=0.004:v=0.002,format=yuv420p,noise=alls=10:allf=t";
const AAC: [&str; 2] = ["-c:a", "aac"];
const MP2: [&str; 2] = ["-c:a", "mp2"];

/// Runs FFmpeg or ffprobe and returns what it printed on stdout and stderr.
fn run(program: &str, arguments: &[&str]) -> (String, String) {
    let output = Command::new(program).args(arguments).output().expect("ffmpeg is installed");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {}", text(&output.stderr));
    (text(&output.stdout), text(&output.stderr))
}

const INTERVAL: Ticks = Ticks(360_000);

/// Nine seconds of moving test picture with a tone, cut into canonical chunks.
fn chunks(size: &str, rate: &str, bitrate: &str, coding: &[&str]) -> Vec<Vec<u8>> {
    cut(&stream(size, rate, bitrate, coding), INTERVAL)
}

fn stream(size: &str, rate: &str, bitrate: &str, coding: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("source.ts");
    let picture = format!("testsrc2=size={size}:rate={rate}:duration=9,{PICTURE}");
    let head = ["-hide_banner", "-loglevel", "error", "-f", "lavfi", "-i", &picture, "-f", "lavfi", "-i"];
    let tone = ["sine=440:sample_rate=48000:duration=9", "-c:v", "libx264", "-preset", "ultrafast", "-b:v", bitrate];
    let rates = ["-maxrate", bitrate, "-bufsize", bitrate, "-g", "24", "-sc_threshold", "0"];
    let path = path.to_str().expect("name");
    run("ffmpeg", &[&head[..], &tone, &rates, coding, &["-f", "mpegts", path]].concat());
    std::fs::read(path).expect("made")
}

fn cut(stream: &[u8], interval: Ticks) -> Vec<Vec<u8>> {
    let mut chunker = Chunker::discover(interval, ProgramSelect::First).expect("interval");
    chunker.push(stream);
    chunker.finish();
    let events = std::iter::from_fn(|| chunker.poll_event());
    let clean = events.filter_map(|event| match event {
        ChunkerEvent::Chunk(chunk) => match chunk.state {
            ChunkState::Clean(clean) => Some(clean.bytes),
            ChunkState::Withheld(_) => None,
        },
        _ => None,
    });
    let chunks: Vec<_> = clean.collect();
    assert!(!chunks.is_empty(), "source gave no whole chunk");
    chunks
}

/// A chunk of four seconds at 4.5 Mb/s: small pictures, for the encoder's time grows with them.
fn broadcast(coding: &[&str]) -> Vec<u8> {
    chunks("480x270", "25", "4500k", coding).remove(0)
}

fn take_apart(chunk: &[u8]) -> (Profile, Vec<Unit>, Vec<Unit>) {
    let (profile, units) = read_units(chunk).expect("canonical");
    let (video, audio) = units.into_iter().partition(|unit| unit.stream == 0);
    (profile, video, audio)
}

fn sorted_pts(units: &[Unit]) -> Vec<MediaTime> {
    let mut pts: Vec<_> = units.iter().map(|unit| unit.pts).collect();
    pts.sort();
    pts
}

/// PTS of the frames that a decoder shows, in order; the decoder must have nothing to complain about.
fn decoded_pts(stream: &[u8]) -> Vec<MediaTime> {
    let folder = tempfile::tempdir().expect("folder");
    let path = save(folder.path(), "stream.ts", stream);
    let fields = ["-select_streams", "v", "-show_entries", "frame=pts", "-of", "csv=p=0"];
    let (out, err) = run("ffprobe", &[&["-v", "warning"][..], &fields, &[&path]].concat());
    assert_eq!(err, "", "ffprobe warned");
    let number = |line: &str| line.split(',').next().and_then(|pts| pts.trim().parse().ok());
    out.lines().filter(|line| !line.trim().is_empty()).map(|line| MediaTime(number(line).expect("pts"))).collect()
}

fn save(folder: &Path, name: &str, bytes: &[u8]) -> String {
    let path = folder.join(name);
    std::fs::write(&path, bytes).expect("written");
    path.to_str().expect("name").to_owned()
}

/// Mean PSNR in dB over all frames and planes, both scaled to `size`.
fn psnr(head: &[u8], source: &[u8], size: &str) -> f64 {
    let folder = tempfile::tempdir().expect("folder");
    let (head, source) = (save(folder.path(), "head.ts", head), save(folder.path(), "source.ts", source));
    let same = format!("setpts=PTS-STARTPTS,scale={size},format=yuv420p");
    let graph = format!("[0:v]{same}[a];[1:v]{same}[b];[a][b]psnr");
    let (_, err) = run("ffmpeg", &["-hide_banner", "-i", &head, "-i", &source, "-lavfi", &graph, "-f", "null", "-"]);
    let average = err.split("average:").nth(1).and_then(|text| text.split_whitespace().next());
    average.and_then(|text| text.parse().ok()).expect("psnr")
}

/// All that a head promises, whatever its source looks like.
fn assert_stands_for(head: &[u8], source: &[u8]) {
    check_canonical(head).expect("canonical");
    assert!(head.len() as u64 * 100 <= source.len() as u64 * MAX_SHARE_PERCENT, "{} of {}", head.len(), source.len());
    let (profile, video, audio) = take_apart(head);
    let (source_profile, source_video, source_audio) = take_apart(source);
    assert_eq!(profile, source_profile);
    assert_eq!(audio, source_audio);
    assert_eq!(sorted_pts(&video), sorted_pts(&source_video));
    assert_eq!(decoded_pts(head), sorted_pts(&source_video), "shown frames");
    let dts = |units: &[Unit]| units.iter().map(|unit| unit.dts).collect::<Vec<_>>();
    assert_eq!(dts(&video), dts(&source_video));
    assert!(video[0].rap && video[0].pts == sorted_pts(&video)[0], "opens with an IDR picture that nothing leads");
    assert!(video.iter().all(|unit| unit.dts <= unit.pts && unit.data.starts_with(&[0, 0, 0, 1, 9, 0xF0])));
}

#[test]
fn this_machine_can_make_heads() {
    available().expect("libx264");
}

#[test]
fn keeps_times_and_audio_in_fewer_bytes_at_good_quality() {
    for audio in [AAC, MP2] {
        let source = chunks("960x540", "25", "4500k", &[&audio[..], &["-bf", "2"]].concat()).remove(0);
        let head = transcode(&source, &Recipe::h264_1500k()).expect("head");
        assert_stands_for(&head, &source);
        let psnr = psnr(&head, &source, "960x540");
        assert!(psnr >= 32.0, "psnr {psnr}");
    }
}

#[test]
fn same_chunk_and_recipe_make_the_same_bytes() {
    let source = broadcast(&AAC);
    let head = |preset| transcode(&source, &Recipe { preset, ..Recipe::h264_1500k() }).expect("head");
    let veryfast = head(Preset::VeryFast);
    assert_eq!(veryfast, head(Preset::VeryFast));
    for preset in [Preset::Faster, Preset::Medium] {
        let other = head(preset);
        assert_stands_for(&other, &source);
        assert_ne!(other, veryfast);
    }
}

#[test]
fn reorders_frames_only_as_far_as_the_source_did() {
    for b_frames in ["0", "1", "3"] {
        let source = broadcast(&[&AAC[..], &["-bf", b_frames, "-b_strategy", "0"]].concat());
        let head = transcode(&source, &Recipe::h264_1500k()).expect("head");
        assert_stands_for(&head, &source);
        let (_, video, _) = take_apart(&head);
        let reordered = video.windows(2).any(|pair| pair[1].pts < pair[0].pts);
        assert_eq!(reordered, b_frames != "0");
    }
}

#[test]
fn a_head_joins_the_chunk_that_follows_it() {
    let stream = stream("480x270", "25", "4M", &[&AAC[..], &["-bf", "2"]].concat());
    let chunks = cut(&stream, Ticks(INTERVAL.0 / 2));
    let [first, second, third, ..] = &chunks[..] else { panic!("{} chunks", chunks.len()) };
    let head = transcode(first, &Recipe::h264_1500k()).expect("head");
    let joined = [&head[..], second, third].concat();
    let pts = |chunk: &[u8]| sorted_pts(&take_apart(chunk).1);
    assert_eq!(decoded_pts(&joined), [pts(first), pts(second), pts(third)].concat());
    // A chunker finds counters, times and boundaries unbroken where the head ends.
    assert!(cut(&joined, Ticks(INTERVAL.0 / 2)).contains(second));
}

#[test]
fn large_pictures_are_scaled_down_in_proportion() {
    let source = chunks("1920x1080", "25", "8M", &AAC).remove(0);
    let head = transcode(&source, &Recipe { max_height: 360, ..Recipe::h264_1500k() }).expect("head");
    assert_stands_for(&head, &source);
    let folder = tempfile::tempdir().expect("folder");
    let path = save(folder.path(), "head.ts", &head);
    let entries = "stream=width,height,sample_aspect_ratio,r_frame_rate";
    let fields = ["-v", "error", "-select_streams", "v", "-show_entries", entries, "-of", "csv=p=0", &path];
    let (out, _) = run("ffprobe", &fields);
    assert_eq!(out.lines().next().unwrap_or_default().trim_end_matches(','), "640,360,1:1,25/1");
    assert!(psnr(&head, &source, "640x360") >= 32.0);
}

#[test]
fn places_of_undecodable_leading_pictures_are_filled() {
    let open = ["-bf", "3", "-b_strategy", "0", "-x264-params", "open-gop=1:keyint=24:min-keyint=24"];
    let chunks = chunks("480x270", "25", "4M", &[&AAC[..], &open].concat());
    let led = |chunk: &&Vec<u8>| {
        let (_, video, _) = take_apart(chunk);
        video.iter().any(|unit| unit.pts < video[0].pts)
    };
    let source = chunks.iter().find(led).expect("a chunk with leading pictures");
    let head = transcode(source, &Recipe::h264_1500k()).expect("head");
    assert_stands_for(&head, source);
}

#[test]
fn interlaced_frames_stay_whole_frames() {
    let interlaced = ["-vf", "interlace", "-flags", "+ildct+ilme", "-x264-params", "tff=1"];
    let coding = [&MP2[..], &interlaced].concat();
    let source = chunks("720x576", "50", "5M", &coding).remove(0);
    let head = transcode(&source, &Recipe::h264_1500k()).expect("head");
    assert_stands_for(&head, &source);
    assert!(psnr(&head, &source, "720x576") >= 32.0);
    let small = transcode(&source, &Recipe { max_height: 288, ..Recipe::h264_1500k() }).expect("head");
    assert_stands_for(&small, &source);
}

#[test]
fn fractional_frame_rates_keep_their_uneven_times() {
    for rate in ["30000/1001", "60000/1001"] {
        let source = chunks("480x270", rate, "4500k", &AAC).remove(0);
        assert_stands_for(&transcode(&source, &Recipe::h264_1500k()).expect("head"), &source);
    }
}

#[test]
fn a_source_that_is_small_already_is_not_made_again() {
    let source = chunks("320x180", "25", "900k", &AAC).remove(0);
    let result = transcode(&source, &Recipe::h264_1500k());
    assert!(matches!(result, Err(HeadError::NotSmaller { bytes, .. }) if bytes == source.len()), "{result:?}");
}

#[test]
fn radio_and_dependent_chunks_are_refused() {
    let (profile, mut video, audio) = take_apart(&broadcast(&AAC));
    let radio = Profile::new(None, profile.audio.clone());
    let frames: Vec<_> = audio.into_iter().map(|unit| Unit { stream: 0, ..unit }).collect();
    let radio = write_chunk(&radio, &frames).expect("radio");
    assert!(matches!(transcode(&radio, &Recipe::h264_1500k()), Err(HeadError::NoVideo)));

    video.iter_mut().for_each(|unit| unit.rap = false);
    let dependent = write_chunk(&profile, &video).expect("dependent");
    assert!(matches!(transcode(&dependent, &Recipe::h264_1500k()), Err(HeadError::Dependent)));
}

#[test]
fn chunks_that_are_cut_or_not_canonical_are_refused() {
    let source = broadcast(&AAC);
    for len in [0, 1, 187, 188, 376, source.len() / 2, source.len() - 1] {
        assert!(transcode(&source[..len], &Recipe::h264_1500k()).is_err(), "{len} bytes");
    }
    for at in [0, 188, source.len() / 2 / 188 * 188] {
        let mut bad = source.clone();
        bad[at] ^= 0xFF;
        assert!(matches!(transcode(&bad, &Recipe::h264_1500k()), Err(HeadError::Chunk(_))), "byte {at}");
    }
}

/// The bytes' hash is checked before; but a broadcaster's encoder can be broken too, and then its chunks are canonical.
#[test]
fn broken_pictures_are_refused_with_their_time() {
    let (profile, video, audio) = take_apart(&broadcast(&AAC));
    let broken = |harm: &dyn Fn(&mut Vec<Unit>)| {
        let mut units = video.clone();
        harm(&mut units);
        units.extend_from_slice(&audio);
        transcode(&write_chunk(&profile, &units).expect("written"), &Recipe::h264_1500k())
    };
    let refusals = [
        broken(&|units| units[30].data.truncate(40)),
        broken(&|units| units[30].data[6..].fill(0x55)),
        broken(&|units| units[0].data[6..].fill(0xFF)),
        broken(&|units| drop(units[1].data.splice(6.., [1, 2, 3]))),
        broken(&|units| units.iter_mut().for_each(|unit| unit.data[6..].fill(0))),
    ];
    for (number, refusal) in refusals.iter().enumerate() {
        assert!(matches!(refusal, Err(HeadError::Damaged(_))), "harm {number}: {:?}", refusal.as_ref().map(Vec::len));
    }
}

/// Whatever the pictures hold, there is a head that keeps its promises or an error, never a panic or a hang.
#[test]
fn flipped_bits_never_break_more_than_the_head() {
    let (profile, video, audio) = take_apart(&chunks("160x90", "25", "4M", &AAC).remove(0));
    let mut state = 1u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for _ in 0..24 {
        let mut units = video.clone();
        for _ in 0..=random(4) {
            let unit = random(units.len());
            let byte = 6 + random(units[unit].data.len().min(200) - 6);
            units[unit].data[byte] ^= 1 << random(8);
        }
        units.extend_from_slice(&audio);
        let source = write_chunk(&profile, &units).expect("written");
        if let Ok(head) = transcode(&source, &Recipe::h264_1500k()) {
            check_canonical(&head).expect("canonical");
            assert_eq!(sorted_pts(&take_apart(&head).1), sorted_pts(&video));
        }
    }
}
