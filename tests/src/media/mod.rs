//! Bringing media to programs and looking at what comes out: pace, UDP and RTP senders, an HTTP source, FFmpeg.

pub mod clock;
pub mod ffmpeg;
pub mod http;
pub mod pace;
pub mod sender;

pub use clock::Clock;
pub use http::HttpSource;
pub use pace::Pace;
pub use sender::{Carrier, Feed, Progress, Sender};
