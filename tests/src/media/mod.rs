//! Bringing media to programs and looking at what comes out: pace, UDP and RTP senders, HTTP sources, FFmpeg.

pub mod clock;
pub mod compare;
pub mod ffmpeg;
pub mod http;
pub mod pace;
pub mod sender;
pub mod tap;

pub use clock::Clock;
pub use http::HttpSource;
pub use pace::Pace;
pub use sender::{Carrier, Feed, Progress, Sender};
pub use tap::Tap;
