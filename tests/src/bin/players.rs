//! Plays a recording of a real node in players that are not ours; see `--help`.

use std::path::PathBuf;
use std::process::ExitCode;

use aftercast_tests::players::{Seen, browser, vlc};
use aftercast_tests::processes::{fetch, get_text, segment_names};
use aftercast_tests::stage::Stage;
use anyhow::Context;
use clap::Parser;

/// Records a programme in one home and plays it in VLC and in hls.js (headless Chromium): the playlist, the one-file
/// form, and each chunk by itself.
#[derive(Parser)]
#[command(name = "aftercast-players", version)]
struct Arguments {
    /// The script of hls.js
    #[arg(long)]
    hls_js: PathBuf,
    /// Where the programme is kept between runs
    #[arg(long)]
    cache: PathBuf,
    /// Length in seconds
    #[arg(long, default_value_t = 12)]
    seconds: u32,
}

/// Pictures of `BroadcastSpec::small`.
const SIZE: (u32, u32) = (320, 180);
/// VLC's transcoder keeps the last picture and the last frame of sound to itself.
const KEPT: u64 = 1;
const KEPT_SOUND_MS: u64 = 30;

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let cache = arguments.cache.to_str().context("a folder with a readable name")?;
    let stage = Stage::new(cache, arguments.seconds, |seed| seed.deadline_ms = 500)?;
    let [home] = stage.recorders(["home"])?;
    stage.tap.open();
    let count = stage.programme.count();
    stage.wait_stored(count)?;
    home.finish(count)?;
    let (playlist, stream) = (home.node.playlist(&home.id)?, home.node.stream(&home.id)?);
    let (video, audio) = home.play()?;
    let (pictures, sound_ms) = (video.frames.len() as u64, audio.frames.len() as u64 * 1024 / 48);
    println!("recorded {count} chunks: {pictures} pictures, {:.2} s of sound (by FFmpeg)", sound_ms as f64 / 1e3);

    let mut well = true;
    let mut judge = |what: &str, seen: &Seen, pictures: u64, sound_ms: u64| {
        let heard = seen.sound_ms.is_none_or(|heard| heard + KEPT_SOUND_MS >= sound_ms);
        let good = seen.pictures + KEPT >= pictures && heard && seen.complaints.is_empty();
        well &= good;
        let heard = seen.sound_ms.map(|ms| format!(", {:.2} s of sound", ms as f64 / 1e3)).unwrap_or_default();
        println!("{} {what}: {} pictures{heard}", if good { "ok  " } else { "FAIL" }, seen.pictures);
        seen.complaints.iter().for_each(|line| println!("       {line}"));
    };
    judge("VLC, playlist", &vlc::play(&playlist, SIZE)?, pictures, sound_ms);
    judge("VLC, one file", &vlc::play(&stream, SIZE)?, pictures, sound_ms);

    let base = playlist.rsplit_once('/').context("a playlist has a folder")?.0;
    let text = get_text(&playlist, std::time::Duration::from_secs(10))?;
    let folder = tempfile::tempdir()?;
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let mut alone = Seen { pictures: 0, sound_ms: Some(0), complaints: Vec::new() };
    let names = segment_names(&text);
    for (number, name) in names.iter().enumerate() {
        let file = folder.path().join(format!("{number}.ts"));
        std::fs::write(&file, fetch(&format!("{base}/{name}"))?)?;
        let seen = vlc::play(file.to_str().context("a readable name")?, SIZE)?;
        alone.pictures += seen.pictures + KEPT;
        alone.sound_ms = alone.sound_ms.zip(seen.sound_ms).map(|(all, one)| all + one + KEPT_SOUND_MS);
        alone.complaints.extend(seen.complaints);
    }
    judge(&format!("VLC, {} chunks one by one", names.len()), &alone, pictures, sound_ms);

    let (seen, seconds) = browser::play(&playlist, &arguments.hls_js)?;
    judge(&format!("hls.js in Chromium, {seconds:.1} s played"), &seen, pictures, 0);
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
