//! Running readers and those who take part in them.
//!
//! ```text
//! source -> reader's thread -> outlet -+-> queue -> capture of one channel
//!                                      +-> queue -> capture of another channel of the same multiplex
//! ```

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use bytes::Bytes;

use super::{Block, QUEUED_BLOCKS, STOP_CHECK, Source};

/// What a capture went through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CaptureCounts {
    /// Bytes that the reader received.
    pub bytes: u64,
    /// Blocks that were dropped because this capture's cutter was too far behind.
    pub overruns: u64,
    /// RTP packets that never came.
    pub rtp_lost: u64,
    /// Times the input was opened anew.
    pub reopened: u64,
}

/// Counts of a reader, which all its captures share. They only grow.
#[derive(Debug, Default)]
pub(super) struct ReaderCounters {
    bytes: AtomicU64,
    pub(super) rtp_lost: AtomicU64,
    pub(super) reopened: AtomicU64,
}

/// Counts of a capture, as they are now.
#[derive(Debug, Clone, Default)]
pub struct CaptureCounters {
    reader: Arc<ReaderCounters>,
    overruns: Arc<AtomicU64>,
}

impl CaptureCounters {
    /// The counts.
    #[must_use]
    pub fn now(&self) -> CaptureCounts {
        let ReaderCounters { bytes, rtp_lost, reopened } = &*self.reader;
        CaptureCounts {
            bytes: bytes.load(Ordering::Relaxed),
            overruns: self.overruns.load(Ordering::Relaxed),
            rtp_lost: rtp_lost.load(Ordering::Relaxed),
            reopened: reopened.load(Ordering::Relaxed),
        }
    }
}

/// All running readers of live sources.
#[derive(Debug, Default)]
pub struct Captures(Mutex<Vec<(Source, Weak<Fan>)>>);

impl Captures {
    /// Takes part in the reader of this source, or starts one.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(&self, source: Source) -> io::Result<Capture> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|(_, fan)| fan.strong_count() > 0);
        let known = running.iter().filter(|(known, _)| *known == source && known.is_live());
        if let Some(capture) = known.filter_map(|(_, fan)| fan.upgrade()?.join()).next() {
            return Ok(capture);
        }
        let capture = Capture::start(source.clone())?;
        running.push((source, Arc::downgrade(&capture.fan)));
        Ok(capture)
    }
}

/// One reader's captures.
#[derive(Debug, Default)]
struct Fan {
    /// Nobody is left to read for.
    stop: AtomicBool,
    /// The reader saw that, and comes to its end; who joins until then has it begin anew.
    noticed: AtomicBool,
    counters: Arc<ReaderCounters>,
    queues: Mutex<Queues>,
}

#[derive(Debug, Default)]
struct Queues {
    /// The reader has ended: nobody can join any more.
    closed: bool,
    next: u64,
    open: Vec<Queue>,
}

#[derive(Debug, Clone)]
struct Queue {
    number: u64,
    sender: SyncSender<Block>,
    overruns: Arc<AtomicU64>,
}

impl Fan {
    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more capture; none where the reader has ended.
    fn join(self: Arc<Self>) -> Option<Capture> {
        let (sender, blocks) = sync_channel(QUEUED_BLOCKS);
        let overruns = Arc::<AtomicU64>::default();
        let mut queues = self.lock();
        if queues.closed {
            return None;
        }
        let number = queues.next;
        queues.next += 1;
        queues.open.push(Queue { number, sender, overruns: Arc::clone(&overruns) });
        self.stop.store(false, Ordering::Relaxed);
        drop(queues);
        Some(Capture { fan: self, number, overruns, blocks })
    }

    fn leave(&self, number: u64) {
        let mut queues = self.lock();
        queues.open.retain(|queue| queue.number != number);
        if queues.open.is_empty() {
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    /// The reader came to its end. False when it should read on, for those who joined meanwhile.
    fn close(&self) -> bool {
        let mut queues = self.lock();
        let called_off = self.noticed.swap(false, Ordering::Relaxed) && !queues.open.is_empty();
        if !called_off {
            queues.closed = true;
            queues.open.clear();
        }
        !called_off
    }
}

/// One channel's part in a running reader. The reader ends with the last of them, at the latest with its next block.
#[derive(Debug)]
pub struct Capture {
    fan: Arc<Fan>,
    number: u64,
    overruns: Arc<AtomicU64>,
    blocks: Receiver<Block>,
}

impl Capture {
    /// Starts a reader of one's own.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(source: Source) -> io::Result<Self> {
        let fan = Arc::<Fan>::default();
        let capture = Arc::clone(&fan).join().ok_or(io::ErrorKind::BrokenPipe)?;
        let out = Outlet { fan };
        thread::Builder::new().name("capture".into()).spawn(move || {
            loop {
                source.read(&out);
                if out.fan.close() {
                    return;
                }
            }
        })?;
        Ok(capture)
    }

    /// The blocks.
    #[must_use]
    pub fn blocks(&self) -> &Receiver<Block> {
        &self.blocks
    }

    /// The counters.
    #[must_use]
    pub fn counters(&self) -> CaptureCounters {
        CaptureCounters { reader: Arc::clone(&self.fan.counters), overruns: Arc::clone(&self.overruns) }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.fan.leave(self.number);
    }
}

/// The reader's end of the queues.
#[derive(Clone)]
pub(super) struct Outlet {
    fan: Arc<Fan>,
}

impl Outlet {
    pub(super) fn stopped(&self) -> bool {
        let stopped = self.fan.stop.load(Ordering::Relaxed);
        if stopped {
            self.fan.noticed.store(true, Ordering::Relaxed);
        }
        stopped
    }

    pub(super) fn counters(&self) -> &ReaderCounters {
        &self.fan.counters
    }

    /// Hands a block over; a capture whose queue is full misses it. False when the reader should end.
    pub(super) fn offer(&self, bytes: Vec<u8>) -> bool {
        let block = self.counted(bytes);
        for queue in &self.fan.lock().open {
            // Who is gone is about to leave.
            if let Err(TrySendError::Full(_)) = queue.sender.try_send(block.clone()) {
                queue.overruns.fetch_add(1, Ordering::Relaxed);
            }
        }
        !self.stopped()
    }

    /// Hands bytes over, waiting for room. False when the reader should end.
    pub(super) fn give_bytes(&self, bytes: Vec<u8>) -> bool {
        let block = self.counted(bytes);
        self.give(block)
    }

    /// Hands a block over, waiting for room. False when the reader should end.
    pub(super) fn give(&self, block: Block) -> bool {
        // Waiting under the lock would keep out the very capture that is waited for.
        let queues = self.fan.lock().open.clone();
        for queue in queues {
            let _gone = queue.sender.send(block.clone());
        }
        !self.stopped()
    }

    fn counted(&self, bytes: Vec<u8>) -> Block {
        self.fan.counters.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Block::Bytes(Bytes::from(bytes))
    }

    /// Waits, but not beyond the reader's end. False when the reader should end.
    pub(super) fn rest(&self, wait: Duration) -> bool {
        let mut left = wait;
        while !self.stopped() && !left.is_zero() {
            let step = left.min(STOP_CHECK);
            thread::sleep(step);
            left -= step;
        }
        !self.stopped()
    }
}
