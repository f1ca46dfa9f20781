//! Frames to H.264 units that carry the source's times.

use aftercast_protocol::ccf::Unit;
use aftercast_protocol::time::MediaTime;
use ffmpeg_next as ffmpeg;
use ffmpeg_next::codec::Flags;
use ffmpeg_next::encoder::video::Encoder as Opened;
use ffmpeg_next::{Dictionary, Packet, Rational, format, frame, picture};

use super::rate::Budget;
use super::source::VideoSource;
use super::{HeadError, Preset, annexb, at};

/// Constant quality where the budget allows it: easy pictures make a smaller head. On the test broadcast the budget,
/// not this, decides.
const QUALITY: &str = "20";
/// Frames that rate control looks ahead; within a chunk's four seconds more changes little.
const LOOKAHEAD: &str = "40";

pub(super) fn codec() -> Result<ffmpeg::Codec, HeadError> {
    ffmpeg::encoder::find_by_name("libx264").ok_or(HeadError::Missing("libx264"))
}

/// An encoder that is opened when the first frame tells its format.
///
/// To the encoder, time is the frame's number: so irregular times of the source cannot upset it, and the true ones are
/// put back afterwards, to the tick.
pub(super) struct Encoder<'a> {
    source: &'a VideoSource,
    preset: Preset,
    budget: &'a Budget,
    opened: Option<Opened>,
    /// Frames taken in, those that fill the places of leading ones included.
    frames: usize,
    units: Vec<Unit>,
    /// Frames, by number, that came out.
    done: Vec<bool>,
}

impl<'a> Encoder<'a> {
    pub fn new(source: &'a VideoSource, preset: Preset, budget: &'a Budget) -> Self {
        let done = vec![false; source.pts.len()];
        Self { source, preset, budget, opened: None, frames: 0, units: Vec::with_capacity(done.len()), done }
    }

    /// Takes the next frame in, in order of presentation.
    pub fn send(&mut self, frame: &mut frame::Video) -> Result<(), HeadError> {
        // The decoder marks frames with the picture type they had; x264 would take that for an order.
        frame.set_kind(picture::Type::None);
        let copies = if self.frames == 0 { self.source.leading() + 1 } else { 1 };
        for _ in 0..copies {
            frame.set_pts(Some(self.frames as i64));
            self.frames += 1;
            let opened = match &mut self.opened {
                Some(opened) => opened,
                none => none.insert(open(frame, self.source, self.preset, self.budget)?),
            };
            opened.send_frame(frame).map_err(at("encode a frame"))?;
            self.drain()?;
        }
        Ok(())
    }

    /// Ends encoding and returns all units, in decoding order.
    pub fn finish(mut self) -> Result<Vec<Unit>, HeadError> {
        let opened = self.opened.as_mut().ok_or(HeadError::Encoder("no frame"))?;
        opened.send_eof().map_err(at("end encoding"))?;
        self.drain()?;
        if self.units.len() != self.source.pts.len() {
            return Err(HeadError::Encoder("another number of pictures"));
        }
        Ok(self.units)
    }

    fn drain(&mut self) -> Result<(), HeadError> {
        let Some(opened) = &mut self.opened else { return Ok(()) };
        let mut packet = Packet::empty();
        loop {
            match opened.receive_packet(&mut packet) {
                Ok(()) => {}
                Err(ffmpeg::Error::Eof | ffmpeg::Error::Other { errno: ffmpeg::error::EAGAIN }) => return Ok(()),
                Err(error) => return Err(at("take an encoded picture")(error)),
            }
            let number = packet.pts().and_then(|pts| usize::try_from(pts).ok()).unwrap_or(usize::MAX);
            let unit = unit(self.source, self.units.len(), number, packet.data().unwrap_or_default())?;
            match self.done.get_mut(number) {
                Some(done) if !*done => *done = true,
                _ => return Err(HeadError::Encoder("a picture twice")),
            }
            self.units.push(unit);
        }
    }
}

/// The unit at place `at` of the decoding order, which shows frame `number`. It is decoded when the source's unit at that
/// place is: so a decoder meets the same schedule, and the times join those of the chunks around.
fn unit(source: &VideoSource, at: usize, number: usize, bytes: &[u8]) -> Result<Unit, HeadError> {
    let pts: MediaTime = *source.pts.get(number).ok_or(HeadError::Encoder("a picture too many"))?;
    let dts = source.units.get(at).ok_or(HeadError::Encoder("a picture too many"))?.dts;
    let (data, rap) = annexb::normalise(bytes);
    if at == 0 && !rap {
        return Err(HeadError::Encoder("no IDR picture first"));
    }
    if dts > pts {
        return Err(HeadError::Encoder("a picture reordered too far"));
    }
    Ok(Unit { stream: 0, pts, dts, rap, data })
}

fn open(frame: &frame::Video, source: &VideoSource, preset: Preset, budget: &Budget) -> Result<Opened, HeadError> {
    let context = ffmpeg::codec::Context::new_with_codec(codec()?);
    let mut encoder = context.encoder().video().map_err(at("make an encoder"))?;
    let (rate, per) = source.frame_rate;
    encoder.set_width(frame.width());
    encoder.set_height(frame.height());
    encoder.set_format(format::Pixel::YUV420P);
    encoder.set_time_base(Rational(per, rate));
    encoder.set_frame_rate(Some(Rational(rate, per)));
    encoder.set_aspect_ratio(frame.aspect_ratio());
    encoder.set_color_range(frame.color_range());
    encoder.set_colorspace(frame.color_space());
    encoder.set_color_primaries(frame.color_primaries());
    encoder.set_color_transfer_characteristic(frame.color_transfer_characteristic());
    let interlaced = if frame.is_interlaced() { Flags::INTERLACED_DCT } else { Flags::empty() };
    encoder.set_flags(Flags::CLOSED_GOP | interlaced);
    encoder.open_with(options(source, preset, budget)).map_err(at("open the encoder"))
}

fn options(source: &VideoSource, preset: Preset, budget: &Budget) -> Dictionary<'static> {
    let vbv = budget.vbv().to_string();
    let (b_frames, pyramid) = match source.reorder_depth() {
        0 => ("0", "none"),
        1 => ("3", "none"),
        _ => ("3", "normal"),
    };
    let mut options = Dictionary::new();
    for (name, value) in [
        ("preset", preset.x264_name()),
        ("crf", QUALITY),
        ("maxrate", &vbv),
        ("bufsize", &vbv),
        ("rc-lookahead", LOOKAHEAD),
        ("bf", b_frames),
        ("b-pyramid", pyramid),
        // One picture group; a cut inside may still begin another.
        ("g", &source.pts.len().max(2).to_string()),
        // With more threads x264's decisions depend on how many there are.
        ("threads", "1"),
    ] {
        options.set(name, value);
    }
    options
}
