//! From a tuner's address to transport stream bytes.
//!
//! One thread per running input reads and hands blocks to the cutter over a bounded queue. Inputs that cannot wait
//! (UDP, RTP) drop a block when the cutter is a whole queue behind, and count it: the chunker sees the loss like any
//! other. Inputs that can wait (files, HTTP, HLS) wait.

mod file;
mod hls;
mod http;
mod input;
mod pace;
mod rtp;
mod udp;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

pub use input::{Input, InputError, Listen, Source, Speed};
pub use pace::UtcMap;

/// Most bytes of one block.
const BLOCK_BYTES: usize = 64 * 1024;
/// Blocks that may wait for the cutter: 32 MiB at most, ten seconds of the fastest channels, longer than a disk's
/// worst sync.
const QUEUED_BLOCKS: usize = 512;
/// How often a waiting reader looks whether it should end.
const STOP_CHECK: Duration = Duration::from_millis(100);

/// What a reader hands over.
#[derive(Debug)]
pub enum Block {
    /// Bytes of the transport stream, in order.
    Bytes(Vec<u8>),
    /// The input is at its end; nothing will follow.
    End,
    /// The input cannot be opened or read; the reader tries again by itself unless this is the last block.
    Trouble(String),
}

/// What a reader went through. All counts only grow.
#[derive(Debug, Default)]
pub struct CaptureCounters {
    /// Bytes handed over.
    pub bytes: AtomicU64,
    /// Blocks dropped because the cutter was too far behind.
    pub overruns: AtomicU64,
    /// RTP packets that never came.
    pub rtp_lost: AtomicU64,
    /// Times the input was opened anew.
    pub reopened: AtomicU64,
}

/// A running reader. Dropping it ends the thread, at the latest with its next block.
#[derive(Debug)]
pub struct Capture {
    stop: Arc<AtomicBool>,
    counters: Arc<CaptureCounters>,
    blocks: Receiver<Block>,
}

impl Capture {
    /// Starts reading.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(source: Source) -> std::io::Result<Self> {
        let (sender, blocks) = sync_channel(QUEUED_BLOCKS);
        let stop = Arc::new(AtomicBool::new(false));
        let counters = Arc::<CaptureCounters>::default();
        let out = Outlet { stop: Arc::clone(&stop), counters: Arc::clone(&counters), sender };
        thread::Builder::new().name("capture".into()).spawn(move || match source {
            Source::Udp(listen) => udp::read(&listen, &out),
            Source::Rtp(listen) => rtp::read(&listen, &out),
            Source::File { path, speed } => file::read(&path, speed, &out),
            Source::Http { url } => http::read(&url, &out),
            Source::Hls { url } => hls::read(&url, &out),
        })?;
        Ok(Self { stop, counters, blocks })
    }

    /// The blocks.
    #[must_use]
    pub fn blocks(&self) -> &Receiver<Block> {
        &self.blocks
    }

    /// The counters.
    #[must_use]
    pub fn counters(&self) -> &Arc<CaptureCounters> {
        &self.counters
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The reader's end of the queue.
#[derive(Clone)]
struct Outlet {
    stop: Arc<AtomicBool>,
    counters: Arc<CaptureCounters>,
    sender: SyncSender<Block>,
}

impl Outlet {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Hands a block over, or drops it where the queue is full. False when the reader should end.
    fn offer(&self, bytes: Vec<u8>) -> bool {
        let len = bytes.len() as u64;
        match self.sender.try_send(Block::Bytes(bytes)) {
            Ok(()) => self.counters.bytes.fetch_add(len, Ordering::Relaxed),
            Err(TrySendError::Full(_)) => self.counters.overruns.fetch_add(1, Ordering::Relaxed),
            Err(TrySendError::Disconnected(_)) => return false,
        };
        !self.stopped()
    }

    /// Hands a block over, waiting for room. False when the reader should end.
    fn give(&self, block: Block) -> bool {
        if let Block::Bytes(bytes) = &block {
            self.counters.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        !self.stopped() && self.sender.send(block).is_ok() && !self.stopped()
    }

    /// Waits, but not beyond the reader's end. False when the reader should end.
    fn rest(&self, wait: Duration) -> bool {
        let mut left = wait;
        while !self.stopped() && !left.is_zero() {
            let step = left.min(STOP_CHECK);
            thread::sleep(step);
            left -= step;
        }
        !self.stopped()
    }
}
