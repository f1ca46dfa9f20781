//! Fetching chunks for players: the async shell around [`aftercast_protocol::select::Selector`].
//!
//! ```text
//! players ── want(chunk, deadline) ──> Fetcher ── wake ──> engine task (owns the Selector)
//!    ^                                    │                   │ Request        │ NeedHolders
//!    │ groups, as they are verified       │ feeds             v                v
//!    └──────────────── Feed <─────────────┴───────────── request tasks      Finder: have-maps, seed, hash table
//!                        │                                    │
//!                        └── store (groups checked again) <───┘ Lanes: verified groups only
//! ```
//!
//! Promises: no byte reaches a feed, and so a player or the store, before [`Lanes`] has verified it; a chunk that
//! nobody wants any more costs nothing: its requests are cancelled and its memory goes; a full disk stops storing,
//! not playing.
//!
//! Memory: groups that the store has taken are dropped here, so a feed holds what is on its way to the disk. Where the
//! store has no room, a feed holds its chunk until the player has moved on; players look [`super::head`] ahead at most.
//!
//! Not here: who is asked for what (the Selector), and what is wanted when (the play heads).

mod engine;
mod feed;
mod finder;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aftercast_protocol::ids::{ChunkCid, DeviceId, RecordingId};
use aftercast_protocol::limits::MAX_WANTS;
use aftercast_protocol::select::SelectStats;
use aftercast_protocol::time::Mono;
use aftercast_protocol::verify::groups_of_len;
use aftercast_protocol::wire::ctl::RankedSource;
use aftercast_store::Store;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) use feed::Want;
pub(crate) use finder::readable_addrs;

use super::counters::PlayCounters;
use super::ports::{Fetched, Lanes, Reach, Shelf};
use engine::{Engine, Note};
use feed::Feed;

/// Notes to the engine that wait. Over it request tasks wait, and with them their sources.
const MAX_NOTES: usize = 256;

/// A chunk as a player wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spec {
    /// What it is.
    pub chunk: Fetched,
    /// Its length in bytes, from a signed manifest or our own reception.
    pub len: u64,
    /// For which recording.
    pub recording: RecordingId,
    /// Who can have it.
    pub reach: SpecReach,
}

/// Who can have a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SpecReach {
    /// Anyone.
    Anyone,
    /// The seed alone: heads are not passed on.
    Seed,
    /// This device alone: a salvaged form.
    Here,
}

/// Why a chunk is not had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FetchError {
    /// Too many chunks are wanted at once, [`MAX_WANTS`].
    #[error("too many chunks are wanted at once")]
    Full,
    /// The manifest's length is no chunk's.
    #[error("no chunk has {0} bytes")]
    Length(u64),
    /// Nobody brought it for too long.
    #[error("chunk {0} did not arrive")]
    Absent(ChunkCid),
    /// The store could not be read.
    #[error("store: {0}")]
    Store(String),
    /// The program ends.
    #[error("fetching has ended")]
    Ended,
}

/// Asks for chunks. Clones are the same engine; it ends with the last one.
#[derive(Clone)]
pub(crate) struct Fetcher {
    shared: Arc<Shared>,
    notes: mpsc::Sender<Note>,
    _running: Arc<DropGuard>,
}

/// What wants, request tasks and the engine share.
pub(super) struct Shared {
    epoch: Instant,
    store: Store,
    shelf: Arc<dyn Shelf>,
    /// Tells the engine that a feed has changed.
    wake: Notify,
    feeds: Mutex<BTreeMap<ChunkCid, Arc<Feed>>>,
    stats: Mutex<SelectStats>,
    ended: CancellationToken,
}

impl Shared {
    fn now(&self) -> Mono {
        Mono(u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn feeds(&self) -> MutexGuard<'_, BTreeMap<ChunkCid, Arc<Feed>>> {
        lock(&self.feeds)
    }
}

/// A panic while one of these locks was held left plain data behind.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Fetcher {
    /// Starts the engine on the current runtime.
    pub fn start(store: Store, shelf: Arc<dyn Shelf>, reach: Arc<dyn Reach>, lanes: Arc<dyn Lanes>) -> Self {
        let ended = CancellationToken::new();
        let shared = Arc::new(Shared {
            epoch: Instant::now(),
            store,
            shelf,
            wake: Notify::new(),
            feeds: Mutex::default(),
            stats: Mutex::default(),
            ended: ended.clone(),
        });
        let (notes, taken) = mpsc::channel(MAX_NOTES);
        tokio::spawn(Engine::new(Arc::clone(&shared), reach, lanes, notes.downgrade()).run(taken));
        Self { shared, notes, _running: Arc::new(ended.drop_guard()) }
    }

    /// Time as deadlines are measured here.
    pub fn now(&self) -> Mono {
        self.shared.now()
    }

    /// Wants a chunk until the answer is dropped. What the store has of it is not fetched.
    pub fn want(&self, spec: &Spec, deadline: Mono, counters: &Arc<PlayCounters>) -> Result<Want, FetchError> {
        let groups = groups_of_len(spec.len).ok_or(FetchError::Length(spec.len))?;
        let mut feeds = self.shared.feeds();
        if let Some(feed) = feeds.get(&spec.chunk.cid) {
            return Ok(Want::new(Arc::clone(&self.shared), Arc::clone(feed), deadline, Arc::clone(counters)));
        }
        if feeds.len() >= MAX_WANTS {
            return Err(FetchError::Full);
        }
        let feed = Arc::new(Feed::new(spec.clone(), groups, &self.shared.store)?);
        feeds.insert(spec.chunk.cid, Arc::clone(&feed));
        Ok(Want::new(Arc::clone(&self.shared), feed, deadline, Arc::clone(counters)))
    }

    /// Somebody begins to watch.
    pub async fn begins(&self) {
        self.note(Note::Begins).await;
    }

    /// The seed named sources for a recording.
    pub async fn learn(&self, recording: RecordingId, sources: Vec<RankedSource>) {
        self.note(Note::Plan(recording, sources)).await;
    }

    /// A device's last connection is gone.
    pub async fn source_down(&self, device: DeviceId) {
        self.note(Note::Down(device)).await;
    }

    /// A device says what it could give now: bytes per second, and bytes queued before our next request.
    pub async fn source_stat(&self, device: DeviceId, rate: Option<u64>, queued: u64) {
        self.note(Note::Stat { device, rate, queued }).await;
    }

    /// Devices have connected, or their have-maps have changed.
    pub async fn holders_changed(&self) {
        self.note(Note::HoldersChanged).await;
    }

    async fn note(&self, note: Note) {
        // The engine only ends with the program.
        let _ = self.notes.send(note).await;
    }

    /// Counters of the scheduler.
    pub fn stats(&self) -> SelectStats {
        *lock(&self.shared.stats)
    }

    /// What this device knows of its recordings.
    pub fn shelf(&self) -> &Arc<dyn Shelf> {
        &self.shared.shelf
    }

    /// Number of chunks that are wanted and not here.
    pub fn missing(&self) -> usize {
        self.shared.feeds().values().filter(|feed| !feed.is_whole()).count()
    }

    /// Number of chunks that are wanted.
    pub fn wanted(&self) -> usize {
        self.shared.feeds().len()
    }
}
