//! One channel's reception: from its input to chunks in the store.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use aftercast_protocol::ccf::{ChunkPlan, Chunker, ChunkerEvent, PlanError};
use aftercast_protocol::ids::ChannelId;
use aftercast_protocol::ts::ReceptionCounters;
use serde::Serialize;
use tokio::sync::watch;

use crate::capture::{Block, Capture, CaptureCounters, CaptureCounts, Captures, Input, UtcMap};
use crate::clock::wall;
use crate::library::{Library, NewChunk, Recorded};

/// An input that gives nothing for this long is worth a warning, once.
const SILENCE: Duration = Duration::from_secs(10);
/// How often a silent input's thread looks whether it should end.
const LOOK: Duration = Duration::from_millis(200);
/// How long an ended reception waits for what its input had already received: inputs gather datagrams for a moment.
const TAIL: Duration = Duration::from_millis(100);

/// What an input does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "state", content = "reason")]
pub enum TunerState {
    /// Nothing has come yet.
    Waiting,
    /// It gives bytes.
    Receiving,
    /// It gave bytes, and gives none now.
    Silent,
    /// It cannot be opened or read; it is tried again.
    Trouble(String),
    /// A file was read to its end.
    Ended,
    /// What it gives is not what the channel's profile says.
    Mismatch(String),
    /// The disk is full: chunks are dropped until there is room.
    Full,
    /// Reception was ended.
    Stopped,
}

/// How reception of a channel goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TunerStatus {
    /// What the input does.
    #[serde(flatten)]
    pub state: TunerState,
    /// Bytes received.
    pub bytes: u64,
    /// Blocks dropped because cutting did not keep up.
    pub overruns: u64,
    /// RTP packets that never came.
    pub rtp_lost: u64,
    /// Times the input was opened anew.
    pub reopened: u64,
    /// Chunks dropped because there was no room.
    pub dropped_for_room: u64,
    /// The stream itself.
    pub reception: ReceptionCounters,
}

struct Shared {
    status: TunerStatus,
}

impl Shared {
    fn count(&mut self, counters: Option<&CaptureCounters>) {
        let TunerStatus { bytes, overruns, rtp_lost, reopened, .. } = &mut self.status;
        if let Some(counters) = counters {
            CaptureCounts { bytes: *bytes, overruns: *overruns, rtp_lost: *rtp_lost, reopened: *reopened } =
                counters.now();
        }
    }
}

/// A running reception.
pub struct Tuner {
    stop: Arc<AtomicBool>,
    view: TunerView,
    thread: Option<JoinHandle<()>>,
}

/// How a reception goes, or went: it may outlive the reception.
#[derive(Clone)]
pub struct TunerView {
    shared: Arc<Mutex<Shared>>,
    /// While the input is in use; others may go on with it.
    counters: Arc<Mutex<Option<CaptureCounters>>>,
}

/// Why reception does not begin.
#[derive(Debug, thiserror::Error)]
pub enum TunerError {
    /// The plan cannot be used.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The system has no thread left.
    #[error("no thread: {0}")]
    Thread(#[from] std::io::Error),
}

impl Tuner {
    /// Starts reception of a channel, after `before` has ended.
    ///
    /// # Errors
    /// See [`TunerError`]. An input that cannot be opened is no error here: it is tried again.
    pub fn start(
        library: Arc<Library>,
        captures: Arc<Captures>,
        channel: ChannelId,
        input: Input,
        plan: ChunkPlan,
        before: Option<JoinHandle<()>>,
        fatal: watch::Sender<Option<String>>,
    ) -> Result<Self, TunerError> {
        let chunker = Chunker::new(plan, input.program)?;
        let stop = Arc::new(AtomicBool::new(false));
        let status = TunerStatus {
            state: TunerState::Waiting,
            bytes: 0,
            overruns: 0,
            rtp_lost: 0,
            reopened: 0,
            dropped_for_room: 0,
            reception: ReceptionCounters::default(),
        };
        let shared = Arc::new(Mutex::new(Shared { status }));
        let counters = Arc::<Mutex<Option<CaptureCounters>>>::default();
        let cutter = Cutter {
            library,
            channel,
            chunker,
            utc: UtcMap::default(),
            stop: Arc::clone(&stop),
            shared: Arc::clone(&shared),
            fatal,
            full: false,
        };
        let view = TunerView { shared, counters };
        let seen = view.clone();
        let thread = thread::Builder::new().name("cutter".into()).spawn(move || {
            if let Some(before) = before
                && before.join().is_err()
            {
                tracing::error!("the reception before this one failed");
            }
            match captures.start(input.source) {
                Ok(capture) => {
                    seen.attach(Some(capture.counters()));
                    cutter.run(&capture);
                    seen.attach(None);
                }
                Err(error) => cutter.set(TunerState::Trouble(format!("no thread: {error}"))),
            }
        })?;
        Ok(Self { stop, view, thread: Some(thread) })
    }

    /// How it goes.
    #[must_use]
    pub fn view(&self) -> &TunerView {
        &self.view
    }

    /// Whether nothing will come any more.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Ends reception; the thread finishes what was received.
    #[must_use]
    pub fn end(mut self) -> Option<JoinHandle<()>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take()
    }
}

impl TunerView {
    /// How it goes.
    #[must_use]
    pub fn status(&self) -> TunerStatus {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.count(self.counters.lock().unwrap_or_else(PoisonError::into_inner).as_ref());
        shared.status.clone()
    }

    /// Counts what an input gives from now on; none ends that with what it has given.
    fn attach(&self, counters: Option<CaptureCounters>) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        shared.count(known.as_ref());
        *known = counters;
    }
}

impl Drop for Tuner {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Cutter {
    library: Arc<Library>,
    channel: ChannelId,
    chunker: Chunker,
    utc: UtcMap,
    stop: Arc<AtomicBool>,
    shared: Arc<Mutex<Shared>>,
    fatal: watch::Sender<Option<String>>,
    full: bool,
}

impl Cutter {
    fn run(mut self, capture: &Capture) {
        let mut heard = Instant::now();
        let mut warned = false;
        while !self.stop.load(Ordering::Relaxed) {
            match capture.blocks().recv_timeout(LOOK) {
                Ok(Block::Bytes(bytes)) => {
                    heard = Instant::now();
                    self.chunker.push(&bytes);
                    self.receiving();
                    if !self.drain() {
                        return;
                    }
                }
                Ok(Block::Trouble(reason)) => {
                    tracing::warn!(channel = %self.channel, reason, "trouble with the input");
                    self.set(TunerState::Trouble(reason));
                }
                Ok(Block::End) | Err(RecvTimeoutError::Disconnected) => {
                    self.finish();
                    if !self.in_trouble() {
                        self.set(TunerState::Ended);
                    }
                    return;
                }
                Err(RecvTimeoutError::Timeout) if heard.elapsed() > SILENCE && !warned => {
                    warned = true;
                    tracing::warn!(channel = %self.channel, "the input gives nothing; the recording stays valid");
                    if !self.in_trouble() {
                        self.set(TunerState::Silent);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        let until = Instant::now() + TAIL;
        while let Ok(Block::Bytes(bytes)) =
            capture.blocks().recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            self.chunker.push(&bytes);
            if !self.drain() {
                return;
            }
        }
        self.finish();
        self.set(TunerState::Stopped);
    }

    fn finish(&mut self) {
        self.chunker.finish();
        self.drain();
    }

    fn in_trouble(&self) -> bool {
        matches!(self.status().state, TunerState::Trouble(_) | TunerState::Mismatch(_))
    }

    fn status(&self) -> TunerStatus {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).status.clone()
    }

    fn set(&self, state: TunerState) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.status.state == state {
            return;
        }
        shared.status.state = state;
        drop(shared);
        self.library.touch();
    }

    fn receiving(&self) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.status.reception = *self.chunker.counters();
        let quiet = matches!(shared.status.state, TunerState::Waiting | TunerState::Silent | TunerState::Trouble(_));
        drop(shared);
        if quiet {
            self.set(TunerState::Receiving);
        }
    }

    /// Takes what the chunker has ready. False when the store has stopped.
    fn drain(&mut self) -> bool {
        while let Some(event) = self.chunker.poll_event() {
            match event {
                ChunkerEvent::Chunk(chunk) => {
                    let utc = self.utc.opening(chunk.timeline, chunk.pts, chunk.duration, wall());
                    if !self.keep(NewChunk { chunk, utc }) {
                        return false;
                    }
                }
                ChunkerEvent::ProfileMismatch { reason } => {
                    tracing::error!(channel = %self.channel, reason, "the input is not what the channel's profile says");
                    self.set(TunerState::Mismatch(reason));
                }
                ChunkerEvent::Timeline { from, to } => {
                    tracing::info!(channel = %self.channel, %from, %to, "timeline changes");
                }
                ChunkerEvent::Mark(mark) => tracing::debug!(channel = %self.channel, ?mark, "mark"),
            }
        }
        true
    }

    fn keep(&mut self, new: NewChunk) -> bool {
        let pts = new.chunk.pts;
        match self.library.record(&self.channel, new) {
            Ok(Recorded::Stored) => {
                if std::mem::take(&mut self.full) {
                    tracing::info!(channel = %self.channel, %pts, "there is room again; recording goes on");
                    self.set(TunerState::Receiving);
                }
            }
            Ok(Recorded::NoRoom) => {
                if !std::mem::replace(&mut self.full, true) {
                    tracing::error!(
                        channel = %self.channel,
                        %pts,
                        "the disk is full and nothing more may be evicted: recording stops at this chunk until there is \
                         room; raise store.quota_bytes, free disk space, or wait until the seed has acknowledged more"
                    );
                }
                self.shared.lock().unwrap_or_else(PoisonError::into_inner).status.dropped_for_room += 1;
                self.set(TunerState::Full);
                self.library.touch();
            }
            Err(error) => {
                tracing::error!(channel = %self.channel, %error, "the store failed");
                self.set(TunerState::Trouble(error.to_string()));
                self.fatal.send_replace(Some(error.to_string()));
                return false;
            }
        }
        true
    }
}
