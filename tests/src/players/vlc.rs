//! VLC without a screen: it plays into files, whose sizes tell how much it decoded.

use std::ffi::OsStr;
use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use super::Seen;

/// Words of VLC's log that mean that something is wrong with a stream, not with this machine's screen or sound.
const COMPLAINTS: [&str; 8] =
    ["discontinuity", "lost", "corrupt", "invalid", "libdvbpsi", "ts demux", "cannot decode", "decoder error"];

/// Plays a URL; `size` is that of its pictures, and its sound is stereo at 48 kHz.
///
/// # Errors
/// VLC is not there, or failed.
pub fn play(url: &str, size: (u32, u32)) -> anyhow::Result<Seen> {
    let folder = tempfile::tempdir()?;
    // VLC refuses to run as root, so it runs as nobody, who must be able to write here.
    set_permissions(folder.path(), Permissions::from_mode(0o777))?;
    let (video, said) = run(url, folder.path(), "video", "vcodec=I420", "--no-sout-audio")?;
    let (audio, said_too) = run(url, folder.path(), "audio", "acodec=s16l,channels=2", "--no-sout-video")?;
    let picture_bytes = u64::from(size.0) * u64::from(size.1) * 3 / 2;
    ensure!(video % picture_bytes == 0, "{video} bytes are no number of pictures of {size:?}");
    let complaints = said.lines().chain(said_too.lines()).filter(|line| is_complaint(line)).map(str::to_owned);
    Ok(Seen {
        pictures: video / picture_bytes,
        sound_ms: Some(audio * 1000 / (4 * 48_000)),
        complaints: complaints.collect(),
    })
}

fn is_complaint(line: &str) -> bool {
    (line.contains(" warning: ") || line.contains(" error: "))
        && COMPLAINTS.iter().any(|word| line.contains(word))
        // The encoder of raw pictures that stands for a screen.
        && !line.contains("avcodec encoder")
}

/// Bytes that it made, and its log.
fn run(url: &str, folder: &Path, name: &str, codec: &str, without: &str) -> anyhow::Result<(u64, String)> {
    let made = folder.join(name);
    let chain = format!("#transcode{{{codec}}}:std{{access=file,mux=dummy,dst={}}}", made.display());
    let mut command = as_nobody("cvlc");
    command.args(["-vv", "--no-color", "--play-and-exit", without, "--sout", &chain, url]).env("HOME", folder);
    let output = command.stdin(Stdio::null()).output().context("cannot start cvlc: install the package vlc-bin")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "VLC ended with {}: {said}", output.status);
    Ok((made.metadata().map_or(0, |made| made.len()), said))
}

fn as_nobody(program: impl AsRef<OsStr>) -> Command {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if !is_root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
    command
}
