//! The `ffmpeg` and `ffprobe` programs: running them, and decoding with them.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

/// FFmpeg could not do its part.
#[derive(Debug, thiserror::Error)]
pub enum FfmpegError {
    /// It is not installed.
    #[error("`{0}` is not there: install it with `apt-get install ffmpeg fonts-dejavu-core`")]
    Missing(String),
    /// It ended with an error; its last words.
    #[error("{tool} failed: {message}")]
    Failed {
        /// Which program.
        tool: String,
        /// What it wrote.
        message: String,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Runs a program to its end; what it wrote on stdout and on stderr.
pub fn run(tool: &str, arguments: &[OsString]) -> Result<(Vec<u8>, String), FfmpegError> {
    let output =
        Command::new(tool).args(arguments).stdin(Stdio::null()).output().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => FfmpegError::Missing(tool.to_owned()),
            _ => FfmpegError::Io(error),
        })?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        return Ok((output.stdout, said));
    }
    let last: Vec<_> = said.lines().rev().take(5).collect();
    let message = last.into_iter().rev().collect::<Vec<_>>().join("; ");
    Err(FfmpegError::Failed { tool: tool.to_owned(), message: format!("{} ({message})", output.status) })
}

/// Arguments from words.
pub fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// Arguments that copy the video and audio of a file without a word; `flag` is a global one.
pub(crate) fn quietly(input: &Path, flag: &str) -> Vec<OsString> {
    let before = words(&["-hide_banner", "-nostdin", "-loglevel", "error", "-y", flag, "-i"]);
    [before, vec![input.into()], words(&["-map", "0:v?", "-map", "0:a?", "-c", "copy"])].concat()
}

/// A decoded frame.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frame {
    /// Presentation time in 90 kHz ticks, as FFmpeg unwraps it.
    pub pts: i64,
    /// MD5 of its samples, hexadecimal.
    pub md5: String,
}

/// Frames of one kind of stream, and FFmpeg's complaints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// In output order.
    pub frames: Vec<Frame>,
    /// Lines at level warning or above.
    pub complaints: Vec<String>,
}

impl Decoded {
    /// The hashes alone, for comparing streams of different clocks.
    pub fn hashes(&self) -> Vec<&str> {
        self.frames.iter().map(|frame| frame.md5.as_str()).collect()
    }
}

/// Decodes picture and sound of a file or URL in one go, as a player does; `v:0`, `a:0`, and the complaints about both.
///
/// Frames of another size than the first stay as they are.
pub fn decode_both(input: &Path) -> Result<(Decoded, Decoded), FfmpegError> {
    let folder = tempfile::tempdir()?;
    let mut arguments = words(&["-hide_banner", "-nostdin", "-loglevel", "warning", "-y", "-copyts", "-i"]);
    arguments.push(input.into());
    let (pictures, sound) = (folder.path().join("video"), folder.path().join("audio"));
    let times = ["-enc_time_base", "1:90000", "-f", "framemd5"];
    arguments.extend(words(&["-map", "0:v:0", "-autoscale", "0", "-fps_mode", "passthrough"]));
    arguments.extend([words(&times), vec![pictures.clone().into()]].concat());
    arguments.extend(words(&["-map", "0:a:0"]));
    arguments.extend([words(&times), vec![sound.clone().into()]].concat());
    let (_, said) = run("ffmpeg", &arguments)?;
    let read = |path| -> Result<Decoded, FfmpegError> {
        let text = std::fs::read_to_string(path)?;
        let complaints = said.lines().map(str::to_owned).collect();
        Ok(Decoded { frames: text.lines().filter_map(frame).collect(), complaints })
    };
    Ok((read(pictures)?, read(sound)?))
}

/// Peak signal-to-noise ratio of a picture against another of the same frames, in dB; the first is brought to the size
/// of the second. Infinite where they are equal.
pub fn psnr(picture: &Path, reference: &Path) -> Result<f64, FfmpegError> {
    let mut arguments = words(&["-hide_banner", "-nostdin", "-i"]);
    arguments.extend([picture.into(), "-i".into(), reference.into()]);
    let graph =
        "[0:v:0][1:v:0]scale2ref=flags=bicubic[a][b];[a]setpts=PTS-STARTPTS[c];[b]setpts=PTS-STARTPTS[d];[c][d]psnr";
    arguments.extend(words(&["-lavfi", graph, "-f", "null", "-"]));
    let (_, said) = run("ffmpeg", &arguments)?;
    let value = said.rsplit("average:").next().and_then(|rest| rest.split_whitespace().next());
    let missing = || FfmpegError::Failed { tool: "ffmpeg".into(), message: "no PSNR in what it said".into() };
    value.and_then(|value| value.parse().ok()).ok_or_else(missing)
}

/// Decodes one stream (`"v:0"`, `"a:0"`) of a file or URL and hashes every frame, none dropped or doubled.
pub fn decode(input: &Path, stream: &str) -> Result<Decoded, FfmpegError> {
    let before = words(&["-hide_banner", "-nostdin", "-loglevel", "warning", "-copyts", "-i"]);
    let map = format!("0:{stream}");
    let after = words(&["-map", &map, "-fps_mode", "passthrough", "-enc_time_base", "1:90000", "-f", "framemd5", "-"]);
    let (out, said) = run("ffmpeg", &[before, vec![input.into()], after].concat())?;
    let frames = String::from_utf8_lossy(&out).lines().filter_map(frame).collect();
    Ok(Decoded { frames, complaints: said.lines().map(str::to_owned).collect() })
}

/// A line of framemd5: stream, dts, pts, duration, size, hash.
fn frame(line: &str) -> Option<Frame> {
    let fields: Vec<_> = line.split(',').map(str::trim).collect();
    match fields[..] {
        [_, _, pts, _, _, md5] if !line.starts_with('#') => Some(Frame { pts: pts.parse().ok()?, md5: md5.to_owned() }),
        _ => None,
    }
}
