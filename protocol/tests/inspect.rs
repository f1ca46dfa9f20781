//! What an inspection says is so: FFmpeg counts the same, and every harm shows under its name.

mod ccf_kit;

use std::process::Command;

use ccf_kit::*;

use aftercast_protocol::inspect::{EventKind, Inspector, Report};

fn inspect(bytes: &[u8]) -> Report {
    let mut inspector = Inspector::default();
    // Any size of pieces gives the same.
    bytes.chunks(10_007).for_each(|piece| inspector.push(piece));
    inspector.finish()
}

/// Packets of a stream as FFmpeg counts them: pictures of video.
fn counted(bytes: &[u8], name: &str, stream: &str) -> u64 {
    let path = std::env::temp_dir().join(format!("inspect-{}-{name}.ts", std::process::id()));
    std::fs::write(&path, bytes).expect("writes");
    let entries = ["-v", "error", "-count_packets", "-show_entries", "stream=nb_read_packets", "-of", "csv=p=0"];
    let output = Command::new("ffprobe").args(entries).args(["-select_streams", stream]).arg(&path).output();
    std::fs::remove_file(&path).expect("removes what it wrote");
    let text = String::from_utf8(output.expect("FFmpeg is installed").stdout).expect("text");
    text.lines().next().and_then(|line| line.trim_matches([',', ' ']).parse().ok()).expect("a number")
}

#[test]
fn pictures_are_those_that_ffmpeg_counts_and_a_whole_reception_has_no_faults() {
    for (name, bytes) in SOURCES {
        let report = inspect(bytes);
        assert!(report.quality.is_clean(), "{name}: {:?}", report.quality);
        assert_eq!(report.packets, packets(bytes).len() as u64, "{name}");
        assert!(report.bits_per_second > 0, "{name}");
        let [program] = &report.programs[..] else { panic!("{name}: {:?}", report.programs) };
        let video = program.streams.iter().find_map(|stream| stream.pictures).expect("a video");
        assert_eq!(video.pictures, counted(bytes, name, "v:0"), "{name}");
        assert_eq!((video.damaged, video.holes), (0, 0), "{name}");
        assert!(video.key_pictures > 1 && video.shortest_group <= video.longest_group, "{name}: {video:?}");
        let keys = report.events.iter().filter(|event| matches!(event.kind, EventKind::KeyPicture { .. })).count();
        assert_eq!(keys as u64, video.key_pictures, "{name}");
        assert!(
            report.seconds > 1.0 && report.events.iter().all(|event| event.at_millis as f64 <= report.seconds * 1e3)
        );
    }
}

#[test]
fn each_harm_shows_under_its_name() {
    let source = packets(SOURCES[0].1);
    let mut rng = Rng(5);
    let lost = inspect(lose_bursts(&source, &mut rng, 200).as_flattened());
    assert!(lost.quality.continuity_count_errors > 0);
    let video = |report: &Report| {
        report.programs.iter().flat_map(|program| &program.streams).find_map(|stream| stream.pictures).expect("a video")
    };
    assert!(video(&lost).damaged > 0);
    assert!(lost.events.iter().any(|event| matches!(event.kind, EventKind::Loss { packets: 1.. })));

    let mut errored = source.clone();
    errored[100][1] |= 0x80;
    assert_eq!(inspect(errored.as_flattened()).quality.transport_errors, 1);

    let twice = [&source[..300], &source[299..]].concat();
    assert_eq!(inspect(twice.as_flattened()).quality.duplicates, 1);

    // Joined to itself: counters and clocks begin again.
    let joined = inspect([&source[..], &source[..]].concat().as_flattened());
    assert!(
        joined.quality.pcr_discontinuities == 1 && joined.programs[0].streams.iter().all(|one| one.clock_jumps == 1)
    );
    assert!(joined.events.iter().any(|event| matches!(event.kind, EventKind::ClockJump { ticks: ..0 })));

    let mut bad_crc = source.clone();
    let pmt = bad_crc.iter_mut().find(|packet| packet[1] & 0x40 != 0 && pid(packet) == 0x1000).expect("a PMT");
    pmt[20] ^= 1;
    assert_eq!(inspect(bad_crc.as_flattened()).quality.crc_errors, 1);
}

#[test]
fn garbage_never_panics() {
    let mut rng = Rng(6);
    for (_, bytes) in SOURCES {
        for _ in 0..20 {
            let mut bytes = bytes.to_vec();
            for _ in 0..rng.below(5_000) {
                let at = rng.below(bytes.len());
                bytes[at] = rng.next() as u8;
            }
            let _ = inspect(&bytes);
        }
    }
    let noise: Vec<u8> = (0..100_000).map(|_| rng.next() as u8).collect();
    assert_eq!(inspect(&noise).programs, []);
}
