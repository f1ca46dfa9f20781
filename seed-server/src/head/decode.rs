//! Frames out of the source's access units, in order of presentation, each proven to be the one expected.

use aftercast_protocol::ccf::Unit;
use aftercast_protocol::time::{MediaTime, TICKS_PER_SECOND};
use ffmpeg_next as ffmpeg;
use ffmpeg_next::codec::threading;
use ffmpeg_next::frame;

use super::source::VideoSource;
use super::{HeadError, at};

/// 4096x2304, level 5.1: a hostile parameter set could claim a picture of gigabytes.
const MAX_PIXELS: &str = "9437184";

pub(super) fn codec() -> Result<ffmpeg::Codec, HeadError> {
    ffmpeg::decoder::find(ffmpeg::codec::Id::H264).ok_or(HeadError::Missing("H.264 decoder"))
}

pub(super) struct Decoder {
    opened: ffmpeg::decoder::Opened,
    frame: frame::Video,
    /// Next place in the source's order of presentation.
    next: Option<usize>,
}

impl Decoder {
    pub fn new() -> Result<Self, HeadError> {
        let codec = codec()?;
        let mut context = ffmpeg::codec::Context::new_with_codec(codec);
        context.set_threading(threading::Config { kind: threading::Type::None, count: 1, ..Default::default() });
        // By default the decoder guesses how far frames are reordered where the stream does not say, and drops frames
        // until it has learned; strict, it waits as long as the level allows.
        context.compliance(ffmpeg::codec::Compliance::Strict);
        let mut decoder = context.decoder();
        decoder.set_packet_time_base((1, TICKS_PER_SECOND as i32));
        let options = [("max_pixels", MAX_PIXELS)].iter().collect();
        let opened = decoder.open_as_with(codec, options).map_err(at("open the decoder"))?;
        Ok(Self { opened, frame: frame::Video::empty(), next: None })
    }

    /// Takes an access unit in. [`Self::receive`] must have returned `None` before.
    pub fn send(&mut self, source: &VideoSource, unit: &Unit) -> Result<(), HeadError> {
        let mut packet = ffmpeg::Packet::copy(&unit.data);
        packet.set_pts(Some(unit.pts.0));
        packet.set_dts(Some(unit.dts.0));
        match self.opened.send_packet(&packet) {
            Ok(()) => Ok(()),
            // What leads the opening refers to pictures of the chunk before.
            Err(_) if unit.pts < source.opening => Ok(()),
            Err(ffmpeg::Error::InvalidData) => Err(HeadError::Damaged(unit.pts)),
            Err(error) => Err(at("decode a picture")(error)),
        }
    }

    /// No more units.
    pub fn finish(&mut self) -> Result<(), HeadError> {
        self.opened.send_eof().map_err(at("end decoding"))
    }

    /// The next frame in order of presentation, from the opening on.
    pub fn receive(&mut self, source: &VideoSource) -> Result<Option<&mut frame::Video>, HeadError> {
        let next = self.next.get_or_insert_with(|| source.leading());
        loop {
            match self.opened.receive_frame(&mut self.frame) {
                Ok(()) => {}
                Err(ffmpeg::Error::Eof | ffmpeg::Error::Other { errno: ffmpeg::error::EAGAIN }) => return Ok(None),
                Err(_) => return Err(HeadError::Damaged(expected(source, *next))),
            }
            let pts = self.frame.pts().map(MediaTime);
            if pts.is_some_and(|pts| pts < source.opening) {
                continue;
            }
            if pts != source.pts.get(*next).copied() || self.frame.is_corrupt() || self.frame.has_decode_errors() {
                return Err(HeadError::Damaged(expected(source, *next)));
            }
            *next += 1;
            return Ok(Some(&mut self.frame));
        }
    }

    /// Every frame of the source came out.
    pub fn check_complete(&self, source: &VideoSource) -> Result<(), HeadError> {
        match self.next {
            Some(next) if next == source.pts.len() => Ok(()),
            next => Err(HeadError::Damaged(expected(source, next.unwrap_or(0)))),
        }
    }
}

fn expected(source: &VideoSource, next: usize) -> MediaTime {
    source.pts.get(next).or(source.pts.last()).copied().unwrap_or(source.opening)
}
