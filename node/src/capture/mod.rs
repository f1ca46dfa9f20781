//! From a tuner's address to transport stream bytes.
//!
//! One thread per running input reads and hands blocks to the cutter over a bounded queue; channels of one multiplex
//! share the input. Inputs that cannot wait (UDP, RTP) drop a block when a cutter is a whole queue behind, and count
//! it: the chunker sees the loss like any other. Inputs that can wait (files, HTTP, HLS) wait for the slowest cutter.

mod file;
mod hls;
mod http;
mod input;
mod pace;
mod rtp;
mod share;
mod udp;

use std::time::Duration;

use bytes::Bytes;

pub use input::{Input, InputError, Listen, Source, Speed};
pub use pace::UtcMap;
use share::Outlet;
pub use share::{Capture, CaptureCounters, CaptureCounts, Captures};

/// Most bytes of one block.
const BLOCK_BYTES: usize = 64 * 1024;
/// Blocks that may wait for the cutter: 32 MiB at most, ten seconds of the fastest channels, longer than a disk's
/// worst sync.
const QUEUED_BLOCKS: usize = 512;
/// How often a waiting reader looks whether it should end.
const STOP_CHECK: Duration = Duration::from_millis(100);

/// What a reader hands over.
#[derive(Debug, Clone)]
pub enum Block {
    /// Bytes of the transport stream, in order.
    Bytes(Bytes),
    /// The input is at its end; nothing will follow.
    End,
    /// The input cannot be opened or read; the reader tries again by itself unless this is the last block.
    Trouble(String),
}

impl Source {
    /// Whether it is there now and not before: who comes later takes part in what others receive. A file is read
    /// from its beginning by each.
    fn is_live(&self) -> bool {
        match self {
            Self::Udp(_) | Self::Rtp(_) | Self::Http { .. } => true,
            Self::Hls { url } => url.scheme() != "file",
            Self::File { .. } => false,
        }
    }

    fn read(&self, out: &Outlet) {
        match self {
            Self::Udp(listen) => udp::read(listen, out),
            Self::Rtp(listen) => rtp::read(listen, out),
            Self::File { path, speed } => file::read(path, *speed, out),
            Self::Http { url } => http::read(url, out),
            Self::Hls { url } => hls::read(url, out),
        }
    }
}
