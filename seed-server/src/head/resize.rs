//! Frames brought to the size and sample format of the rendition.

use aftercast_protocol::time::{MediaTime, TICKS_PER_SECOND};
use ffmpeg_next as ffmpeg;
use ffmpeg_next::filter::{self, Graph};
use ffmpeg_next::format::Pixel;
use ffmpeg_next::frame;

use super::{HeadError, at};

/// Smallest height that a recipe can ask for: one macroblock.
const MIN_HEIGHT: u32 = 16;

/// A filter graph that is made when the first frame tells its format. As many frames leave it as entered, in order.
pub(super) struct Resizer {
    max_height: u32,
    running: Option<Running>,
    out: frame::Video,
}

struct Running {
    graph: Graph,
    input: (Pixel, u32, u32),
}

impl Resizer {
    pub fn new(max_height: u32) -> Self {
        Self { max_height: max_height.max(MIN_HEIGHT), running: None, out: frame::Video::empty() }
    }

    /// Takes a frame in and leaves it empty.
    pub fn send(&mut self, frame: &mut frame::Video) -> Result<(), HeadError> {
        let input = (frame.format(), frame.width(), frame.height());
        let running = match &mut self.running {
            Some(running) => running,
            none => none.insert(Running { graph: graph(frame, self.max_height)?, input }),
        };
        if running.input != input {
            return Err(HeadError::Changed(MediaTime(frame.pts().unwrap_or(0))));
        }
        let mut context = end(&mut running.graph, "in")?;
        context.source().add(frame).map_err(at("resize a frame"))
    }

    /// No more frames.
    pub fn finish(&mut self) -> Result<(), HeadError> {
        let Some(running) = &mut self.running else { return Ok(()) };
        end(&mut running.graph, "in")?.source().flush().map_err(at("end resizing"))
    }

    /// Hands on what is ready.
    pub fn drain(&mut self, mut take: impl FnMut(&mut frame::Video) -> Result<(), HeadError>) -> Result<(), HeadError> {
        let Some(running) = &mut self.running else { return Ok(()) };
        loop {
            match end(&mut running.graph, "out")?.sink().frame(&mut self.out) {
                Ok(()) => take(&mut self.out)?,
                Err(ffmpeg::Error::Eof | ffmpeg::Error::Other { errno: ffmpeg::error::EAGAIN }) => return Ok(()),
                Err(error) => return Err(at("take a resized frame")(error)),
            }
        }
    }
}

fn end(graph: &mut Graph, name: &str) -> Result<filter::Context, HeadError> {
    graph.get(name).ok_or(HeadError::Missing("filter"))
}

fn graph(frame: &frame::Video, max_height: u32) -> Result<Graph, HeadError> {
    let (width, height) = (frame.width(), frame.height());
    let format = frame.format().descriptor().ok_or(HeadError::Missing("name for the source's pixel format"))?;
    let aspect = frame.aspect_ratio();
    let input = format!(
        "video_size={width}x{height}:pix_fmt={}:time_base=1/{TICKS_PER_SECOND}:pixel_aspect={}/{}",
        format.name(),
        aspect.numerator(),
        aspect.denominator().max(1)
    );
    let (to_width, to_height) = fit(width, height, max_height);
    let mut spec = String::new();
    if (to_width, to_height) != (width, height) {
        // Scaling mixes neighbouring lines, which in interlaced frames belong to different moments: those frames are
        // made whole first, one for one. Frames not marked interlaced pass untouched.
        spec = format!("yadif=mode=send_frame:deint=interlaced,scale={to_width}:{to_height}:");
        spec.push_str("flags=bicubic+accurate_rnd+bitexact,");
    }
    spec.push_str("format=yuv420p");

    let filter = |name: &'static str| filter::find(name).ok_or(HeadError::Missing("filter"));
    let mut graph = Graph::new();
    graph.add(&filter("buffer")?, "in", &input).map_err(at("describe the source's frames"))?;
    graph.add(&filter("buffersink")?, "out", "").map_err(at("make a filter's end"))?;
    graph
        .output("in", 0)
        .and_then(|parser| parser.input("out", 0))
        .and_then(|parser| parser.parse(&spec))
        .and_then(|()| graph.validate())
        .map_err(at("set up resizing"))?;
    Ok(graph)
}

/// Largest even size of the same shape within 16:9 of `max_height`; the size itself where it fits.
fn fit(width: u32, height: u32, max_height: u32) -> (u32, u32) {
    let (width, height, max_height) = (u64::from(width), u64::from(height), u64::from(max_height));
    let max_width = max_height * 16 / 9;
    let (to_width, to_height) = if width <= max_width && height <= max_height {
        (width, height)
    } else if width * max_height <= height * max_width {
        (width * max_height / height.max(1), max_height)
    } else {
        (max_width, height * max_width / width.max(1))
    };
    // 4:2:0 needs even sizes.
    let even = |size: u64| u32::try_from(size & !1).unwrap_or(u32::MAX - 1).max(2);
    (even(to_width), even(to_height))
}

#[cfg(test)]
mod tests {
    use super::fit;

    #[test]
    fn keeps_what_fits_and_scales_the_rest_in_proportion() {
        for (size, fitted) in [
            ((1280, 720), (1280, 720)),
            ((960, 540), (960, 540)),
            ((720, 576), (720, 576)),
            ((1920, 1080), (1280, 720)),
            ((1440, 1080), (960, 720)),
            ((1920, 800), (1280, 532)),
            ((1080, 1920), (404, 720)),
            ((175, 99), (174, 98)),
        ] {
            assert_eq!(fit(size.0, size.1, 720), fitted, "{size:?}");
        }
    }
}
