//! Heads: a chunk once more, small enough to start playback over a thin line (claim 1: the first chunk is sent in a
//! smaller format; claim 6: all chunks may be).
//!
//! A head replaces its source chunk in a stream of chunks, so it keeps everything but the picture's bits: every frame's
//! PTS, the source's own DTS in the same places, and the audio units as they are. It opens with an IDR picture, refers
//! to nothing outside itself, and is written in canonical form, so that counters close and any chunk may follow.
//!
//! ```text
//! chunk -> read_units -> source: times, frame rate, leading pictures
//!             |video -> decode -> resize -> encode -> annex B, timed as the source --+
//!             |audio ---------------------------------------------------------------+-> write_chunk -> head
//! ```
//!
//! Same input, same recipe, same libraries: same bytes. One thread does it all, because a seed makes many heads at
//! once. A call takes seconds of processor time: call it where blocking is allowed.

mod annexb;
mod decode;
mod encode;
mod rate;
mod resize;
mod source;

use std::sync::Once;

use aftercast_protocol::ccf::{
    AudioProfile, Profile, ReadError, Unit, VideoCodec, WriteError, read_units, write_chunk,
};
use aftercast_protocol::time::MediaTime;
use ffmpeg_next as ffmpeg;

use self::rate::Budget;
use self::source::{Source, VideoSource};

/// Most of its source's bytes that a head may have, in percent: beyond this it would not pay for the change of picture.
pub const MAX_SHARE_PERCENT: u64 = 40;
/// How often a head is made again because it came out too large.
const MAX_ATTEMPTS: u32 = 4;

/// How a rendition is made. Its name stands in manifests and never changes its meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// Name in manifests, for instance `h264-1500k`.
    pub name: String,
    /// Most bits a second of video on the average of a chunk, all framing but the transport stream's included.
    pub bitrate_bps: u32,
    /// Taller pictures, and such wider than 16:9 of this height, are scaled down; smaller ones keep their size.
    pub max_height: u32,
    /// Effort of the encoder.
    pub preset: Preset,
}

impl Recipe {
    /// `h264-1500k`: up to 1280x720 at 1.5 Mb/s.
    #[must_use]
    pub fn h264_1500k() -> Self {
        Self { name: "h264-1500k".into(), bitrate_bps: 1_500_000, max_height: 720, preset: Preset::VeryFast }
    }
}

/// How hard the encoder tries; x264's presets of these names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// A quarter of the time of `Medium` for about 0.8 dB less.
    VeryFast,
    /// Between the two.
    Faster,
    /// For renditions that are made ahead of time.
    Medium,
}

impl Preset {
    fn x264_name(self) -> &'static str {
        match self {
            Self::VeryFast => "veryfast",
            Self::Faster => "faster",
            Self::Medium => "medium",
        }
    }
}

/// No head. Unless it says otherwise, the chunk is the reason and another attempt ends the same way: serve the chunk.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// This machine's FFmpeg has no libx264 (or no H.264 decoder).
    #[error("ffmpeg on this machine has no {0}")]
    Missing(&'static str),
    /// Not a canonical chunk.
    #[error("source is no canonical chunk: {0}")]
    Chunk(#[from] ReadError),
    /// Radio.
    #[error("source has no video")]
    NoVideo,
    /// A video codec that heads are not made from.
    #[error("source video is {0}, heads are made from AVC")]
    Codec(VideoCodec),
    /// The chunk does not open with a random access point, so it cannot be decoded alone.
    #[error("source depends on the chunk before it")]
    Dependent,
    /// Times that no player could follow.
    #[error("source times step back or repeat at video unit {0}")]
    Times(usize),
    /// The recipe does not make this chunk smaller.
    #[error("source of {bytes} bytes in {ticks} ticks would not get smaller")]
    NotSmaller {
        /// Bytes of the source.
        bytes: usize,
        /// Its duration in 90 kHz ticks.
        ticks: i64,
    },
    /// A picture of the source cannot be decoded.
    #[error("source picture at pts {0} is damaged")]
    Damaged(MediaTime),
    /// The picture's size or format is another from this frame on.
    #[error("source picture changes its size or format at pts {0}")]
    Changed(MediaTime),
    /// FFmpeg refused a step that no content should make it refuse.
    #[error("ffmpeg failed to {step}: {error}")]
    Ffmpeg {
        /// What was being done.
        step: &'static str,
        /// What FFmpeg says.
        error: ffmpeg::Error,
    },
    /// The encoder did not give each frame back once, with an IDR picture first.
    #[error("encoder returned what does not fit the source: {0}")]
    Encoder(&'static str),
    /// The result cannot be written.
    #[error("head cannot be written: {0}")]
    Write(#[from] WriteError),
}

/// Names the step at which FFmpeg failed.
fn at(step: &'static str) -> impl Fn(ffmpeg::Error) -> HeadError {
    move |error| HeadError::Ffmpeg { step, error }
}

/// Whether this machine can make heads. Worth asking once at start.
///
/// # Errors
/// [`HeadError::Missing`] names what its FFmpeg lacks.
pub fn available() -> Result<(), HeadError> {
    set_up();
    decode::codec().and(encode::codec()).map(|_| ())
}

/// FFmpeg writes to stderr by itself, once per bad macroblock. What matters of it comes back as errors.
fn set_up() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        ffmpeg::util::error::register_all();
        ffmpeg::util::log::set_level(ffmpeg::util::log::Level::Quiet);
    });
}

/// Makes the smaller rendition of a canonical chunk, itself a canonical chunk: equal number of frames with equal PTS,
/// equal audio units, at most [`MAX_SHARE_PERCENT`] of the bytes.
///
/// Pictures that lead the opening RAP of an open GOP need the chunk before; in their places the RAP's picture is shown.
///
/// # Errors
/// See [`HeadError`]: a source without a smaller form, damaged or unsuitable, or an FFmpeg that fails.
pub fn transcode(chunk: &[u8], recipe: &Recipe) -> Result<Vec<u8>, HeadError> {
    set_up();
    let (profile, units) = read_units(chunk)?;
    let source = Source::new(&profile, units)?;
    let too_large = HeadError::NotSmaller { bytes: chunk.len(), ticks: source.video.duration().0 };
    let mut budget = Budget::new(chunk.len(), &source, recipe).ok_or(too_large)?;
    for attempt in 1..=MAX_ATTEMPTS {
        let video = encode_video(&source.video, recipe, &budget)?;
        let video_bytes: usize = video.iter().map(|unit| unit.data.len()).sum();
        let head = write(&profile.audio, video, &source.audio)?;
        tracing::debug!(recipe = recipe.name, attempt, source = chunk.len(), head = head.len(), "head made");
        if head.len() as u64 * 100 <= chunk.len() as u64 * MAX_SHARE_PERCENT {
            return Ok(head);
        }
        match budget.lower(head.len(), video_bytes) {
            Some(lower) => budget = lower,
            None => break,
        }
    }
    Err(HeadError::NotSmaller { bytes: chunk.len(), ticks: source.video.duration().0 })
}

fn encode_video(source: &VideoSource, recipe: &Recipe, budget: &Budget) -> Result<Vec<Unit>, HeadError> {
    let mut decoder = decode::Decoder::new()?;
    let mut resizer = resize::Resizer::new(recipe.max_height);
    let mut encoder = encode::Encoder::new(source, recipe.preset, budget);
    for unit in &source.units {
        decoder.send(source, unit)?;
        while let Some(frame) = decoder.receive(source)? {
            resizer.send(frame)?;
            resizer.drain(|frame| encoder.send(frame))?;
        }
    }
    decoder.finish()?;
    while let Some(frame) = decoder.receive(source)? {
        resizer.send(frame)?;
        resizer.drain(|frame| encoder.send(frame))?;
    }
    decoder.check_complete(source)?;
    resizer.finish()?;
    resizer.drain(|frame| encoder.send(frame))?;
    encoder.finish()
}

fn write(audio: &[AudioProfile], mut units: Vec<Unit>, audio_units: &[Unit]) -> Result<Vec<u8>, HeadError> {
    units.extend_from_slice(audio_units);
    Ok(write_chunk(&Profile::new(Some(VideoCodec::Avc), audio.to_vec()), &units)?)
}
