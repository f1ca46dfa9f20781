//! A programme to record: made by FFmpeg, the same for the same specification, kept in a folder between runs.
//!
//! The picture moves everywhere and carries noise, so that the encoder needs its bits; a time code is burnt in, and
//! the tone's pitch tells the second. The multiplex has constant rate, null packets and service information.

pub mod variety;

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::media::ffmpeg::{self, FfmpegError, words};

/// Audio codecs of a generated programme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum AudioCodec {
    /// AAC-LC in ADTS, 128 kb/s.
    Aac,
    /// MPEG-1 layer II, 192 kb/s.
    Mp2,
}

/// What to make. The default is the demo's programme.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BroadcastSpec {
    /// Length.
    pub seconds: u32,
    /// Pixels across and down, even numbers.
    pub size: (u32, u32),
    /// Frames a second.
    pub frame_rate: u32,
    /// Video bits a second; the encoder keeps to it within a second.
    pub video_bitrate: u64,
    /// Frames from one key frame to the next (closed groups).
    pub gop: u32,
    /// B-frames between two others.
    pub b_frames: u32,
    /// Audio codec of every audio stream.
    pub audio: AudioCodec,
    /// Sampling rate in Hz.
    pub sample_rate: u32,
    /// Languages of the audio streams (ISO 639-2), one stream each, an octave apart.
    pub languages: Vec<String>,
    /// Bits a second of the multiplex, null packets included.
    pub mux_rate: u64,
    /// Added to all times, in milliseconds; the first picture is about 1.5 s later.
    pub start_ms: u64,
}

impl Default for BroadcastSpec {
    fn default() -> Self {
        BroadcastSpec {
            seconds: 120,
            size: (960, 540),
            frame_rate: 25,
            video_bitrate: 4_500_000,
            gop: 24,
            b_frames: 2,
            audio: AudioCodec::Aac,
            sample_rate: 48_000,
            languages: vec!["eng".into()],
            mux_rate: 5_500_000,
            start_ms: 0,
        }
    }
}

impl BroadcastSpec {
    /// A small, quickly made programme for tests: 320x180 at 1 Mb/s, half-second picture groups.
    pub fn small(seconds: u32) -> Self {
        BroadcastSpec {
            seconds,
            size: (320, 180),
            video_bitrate: 900_000,
            gop: 12,
            mux_rate: 1_400_000,
            ..BroadcastSpec::default()
        }
    }
}

/// No programme.
#[derive(Debug, thiserror::Error)]
pub enum BroadcastError {
    /// FFmpeg is missing or failed.
    #[error(transparent)]
    Ffmpeg(#[from] FfmpegError),
    /// The time code's font is missing.
    #[error("no DejaVu font for the time code: install it with `apt-get install ffmpeg fonts-dejavu-core`")]
    Font,
    /// The folder or a file cannot be used.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Somebody's own file that is no transport stream.
    #[error("{0} is no transport stream (no packets of 188, 192 or 204 bytes in step)")]
    NoTransportStream(PathBuf),
}

/// Raised when the commands below change, so that kept files of an older form are not taken for the new one.
const FORM: u32 = 1;
const FONT: &str = "/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf";

/// Makes a programme, or finds it in `folder` if it was made before. Safe for several processes at once.
pub fn generate(spec: &BroadcastSpec, folder: &Path) -> Result<PathBuf, BroadcastError> {
    let text = serde_json::to_string(spec).unwrap_or_default();
    kept(folder, &format!("{FORM} {text}"), "ts", |path| make(spec, path))
}

/// Makes a file that `what` describes fully, or finds it in `folder`. Safe for several processes at once: one makes it,
/// the others wait.
fn kept(
    folder: &Path,
    what: &str,
    ending: &str,
    make: impl FnOnce(&Path) -> Result<(), BroadcastError>,
) -> Result<PathBuf, BroadcastError> {
    let name = blake3::hash(what.as_bytes()).to_hex();
    let path = folder.join(format!("broadcast-{}.{ending}", &name[..16]));
    let failed = |error| BroadcastError::File { path: path.clone(), error };
    if path.exists() {
        return Ok(path);
    }
    fs::create_dir_all(folder).map_err(failed)?;
    let lock = File::create(path.with_extension("lock")).map_err(failed)?;
    lock.lock().map_err(failed)?;
    if path.exists() {
        return Ok(path);
    }
    let unfinished = path.with_extension("unfinished");
    make(&unfinished)?;
    fs::rename(&unfinished, &path).map_err(failed)?;
    Ok(path)
}

/// Makes a programme at a place of one's own, kept or not.
pub fn make(spec: &BroadcastSpec, path: &Path) -> Result<(), BroadcastError> {
    if !Path::new(FONT).exists() {
        return Err(BroadcastError::Font);
    }
    let mut arguments = words(&["-hide_banner", "-nostdin", "-loglevel", "error", "-y"]);
    arguments.extend(words(&["-f", "lavfi", "-i", &picture(spec)]));
    for index in 0..spec.languages.len() {
        arguments.extend(words(&["-f", "lavfi", "-i", &tone(spec, index)]));
    }
    arguments.extend(words(&["-map", "0:v"]));
    for (index, language) in spec.languages.iter().enumerate() {
        let (input, key) = (format!("{}:a", index + 1), format!("-metadata:s:a:{index}"));
        arguments.extend(words(&["-map", &input, &key, &format!("language={language}")]));
    }
    arguments.extend(encoding(spec));
    arguments.push(path.into());
    ffmpeg::run("ffmpeg", &arguments)?;
    Ok(())
}

/// Reads somebody's own recording instead: any transport stream.
pub fn own(path: &Path) -> Result<Vec<u8>, BroadcastError> {
    let bytes = fs::read(path).map_err(|error| BroadcastError::File { path: path.to_owned(), error })?;
    let probe = &bytes[..bytes.len().min(4 << 20)];
    if crate::impair::packet::offsets(probe).len() < 5 {
        return Err(BroadcastError::NoTransportStream(path.to_owned()));
    }
    Ok(bytes)
}

/// Test picture that scrolls, with noise on it (more would drown a small rendition's quality), and the time code.
fn picture(spec: &BroadcastSpec) -> String {
    let BroadcastSpec { seconds, size: (width, height), frame_rate, .. } = spec;
    let font_size = (height / 11).max(12);
    format!(
        "testsrc2=size={width}x{height}:rate={frame_rate}:duration={seconds},scroll=h=0.004:v=0.002,format=yuv420p,\
         noise=alls=10:allf=t,drawtext=fontfile={FONT}:timecode='00\\:00\\:00\\:00':rate={frame_rate}:\
         fontsize={font_size}:fontcolor=white:box=1:boxcolor=black@0.7:x=(w-tw)/2:y=h-th-{font_size}"
    )
}

/// A tone that rises with each second of twelve; whole Hertz, so that it goes on without a click.
fn tone(spec: &BroadcastSpec, index: usize) -> String {
    let base = 220 << index.min(4);
    let BroadcastSpec { seconds, sample_rate, .. } = spec;
    format!("aevalsrc='0.3*sin(2*PI*t*({base}+20*mod(floor(t)\\,12)))':s={sample_rate}:c=stereo:d={seconds}")
}

fn encoding(spec: &BroadcastSpec) -> Vec<OsString> {
    let (rate, gop, b_frames) = (spec.video_bitrate.to_string(), spec.gop.to_string(), spec.b_frames.to_string());
    let video = [
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-b:v",
        &rate,
        "-maxrate",
        &rate,
        "-bufsize",
        &rate,
        "-g",
        &gop,
        "-keyint_min",
        &gop,
        "-sc_threshold",
        "0",
        "-bf",
        &b_frames,
        "-flags",
        "+cgop",
        // One slice thread layout on every machine, so that the same specification gives the same pictures.
        "-threads",
        "2",
    ];
    let audio: &[&str] = match spec.audio {
        AudioCodec::Aac => &["-c:a", "aac", "-b:a", "128k"],
        AudioCodec::Mp2 => &["-c:a", "mp2", "-b:a", "192k"],
    };
    let (mux_rate, start) = (spec.mux_rate.to_string(), format!("{:.3}", spec.start_ms as f64 / 1e3));
    let mux = [
        "-muxrate",
        &mux_rate,
        "-output_ts_offset",
        &start,
        "-metadata",
        "service_provider=Aftercast",
        "-metadata",
        "service_name=Aftercast test",
        "-f",
        "mpegts",
    ];
    [words(&video), words(audio), words(&mux)].concat()
}
