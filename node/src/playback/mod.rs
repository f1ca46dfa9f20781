//! Playback: recordings as HLS, and as one transport stream with ranges, on the node's HTTP endpoint.
//!
//! ```text
//! player ──HTTP──> http ── session ── play head ── wants ──> fetch ──> local store, peers, seed
//!                   │         │
//!                   │         └─ opened at the seed: head of the first chunk, who has the rest
//!                   └─ playlist, ranges: from cells (manifest + own reception)
//! ```
//!
//! What it is for: giving a player what it asks for, in time, from the nearest source that has it. The first chunk is
//! the seed's head unless it is held here (claim 1); every further one comes from here, peers or the seed, group by
//! group as they verify. What it is not for: deciding who is asked (`select`), knowing what was recorded
//! ([`ports::Shelf`]), connecting ([`ports::Reach`]).
//!
//! Promises: players get verified bytes only; a file over ranges never has heads in it and never changes length under
//! its reader; when nobody watches, nothing is fetched; without the seed all plays that is here or that peers have.

pub mod cells;
mod coat;
pub mod counters;
mod fetch;
mod flow;
mod head;
mod http;
mod lanes;
pub mod playlist;
pub mod ports;
pub mod range;
mod session;
#[cfg(test)]
mod tests;
mod wiring;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use aftercast_protocol::ids::{DeviceId, RecordingId};
use aftercast_protocol::select::SelectStats;
use aftercast_store::Store;
use tokio::time::{Duration, Instant, sleep};

use counters::{PlayCounters, PlayReport};
pub(crate) use fetch::readable_addrs;
use fetch::{Fetcher, lock};
pub use ports::Reach;
use ports::{Lanes, Listed, Shelf};
use session::Session;
pub use wiring::{LANES_PER_SOURCE, NodeReach};

/// Recordings watched at once. A home has a few screens; over it the session idle for longest ends.
const MAX_SESSIONS: usize = 32;
/// How often it is looked whether somebody still watches.
const SWEEP: Duration = Duration::from_millis(500);

/// Plays recordings. Clones are the same player.
#[derive(Clone)]
pub struct Playback {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    shelf: Arc<dyn Shelf>,
    reach: Arc<dyn Reach>,
    fetcher: Fetcher,
    sessions: Mutex<BTreeMap<RecordingId, Arc<Session>>>,
    /// Kept until the program ends; one per recording that was watched.
    counters: Mutex<BTreeMap<RecordingId, Arc<PlayCounters>>>,
}

impl Playback {
    /// Starts playback on the current tokio runtime; it ends when the last clone is dropped.
    #[must_use]
    pub fn start(store: Store, shelf: Arc<dyn Shelf>, reach: Arc<dyn Reach>, lanes: Arc<dyn Lanes>) -> Self {
        let fetcher = Fetcher::start(store.clone(), Arc::clone(&shelf), Arc::clone(&reach), lanes);
        let inner =
            Arc::new(Inner { store, shelf, reach, fetcher, sessions: Mutex::default(), counters: Mutex::default() });
        tokio::spawn(sweep(Arc::downgrade(&inner)));
        Self { inner }
    }

    /// The HTTP endpoint: `/recordings.m3u`, `/recordings/<id>.ts`, `/recordings/<id>/index.m3u8` and its segments,
    /// and `/watch`, a page with a player.
    pub fn router(&self) -> axum::Router {
        http::router(self.clone())
    }

    /// Counters of every recording watched since the start, in order of their ids.
    #[must_use]
    pub fn reports(&self) -> Vec<PlayReport> {
        lock(&self.inner.counters).iter().map(|(recording, counters)| counters.report(*recording)).collect()
    }

    /// Counters of the scheduler.
    #[must_use]
    pub fn fetch_stats(&self) -> SelectStats {
        self.inner.fetcher.stats()
    }

    /// Number of chunks that players want and that are not here.
    #[must_use]
    pub fn chunks_missing(&self) -> usize {
        self.inner.fetcher.missing()
    }

    /// Number of chunks being fetched or held ready for players; zero once nobody watches.
    #[must_use]
    pub fn chunks_wanted(&self) -> usize {
        self.inner.fetcher.wanted()
    }

    /// Devices have connected, or their have-maps have changed.
    pub async fn holders_changed(&self) {
        self.inner.fetcher.holders_changed().await;
    }

    /// A device's last connection is gone.
    pub async fn disconnected(&self, device: DeviceId) {
        self.inner.fetcher.source_down(device).await;
    }

    /// A device said what it could give now: bytes per second if its line has a limit, and bytes queued before ours.
    pub async fn stat(&self, device: DeviceId, rate: Option<u64>, queued: u64) {
        self.inner.fetcher.source_stat(device, rate, queued).await;
    }

    fn counters(&self, recording: RecordingId) -> Arc<PlayCounters> {
        Arc::clone(lock(&self.inner.counters).entry(recording).or_default())
    }

    /// The session of a recording, begun where there is none.
    fn session(&self, listed: &Listed) -> Arc<Session> {
        let counters = self.counters(listed.recording);
        let mut sessions = lock(&self.inner.sessions);
        if let Some(session) = sessions.get(&listed.recording) {
            session.touch();
            return Arc::clone(session);
        }
        if sessions.len() >= MAX_SESSIONS
            && let Some(oldest) = sessions.iter().min_by_key(|(_, session)| session.gone_at()).map(|(id, _)| *id)
        {
            sessions.remove(&oldest);
        }
        let session = Arc::new(Session::new(listed.recording, counters));
        sessions.insert(listed.recording, Arc::clone(&session));
        session
    }
}

/// Ends what nobody watches any more, as long as there is somebody to do it for.
async fn sweep(inner: Weak<Inner>) {
    loop {
        sleep(SWEEP).await;
        let Some(inner) = inner.upgrade() else { return };
        let now = Instant::now();
        lock(&inner.sessions).retain(|_, session| !session.end_idle(now));
    }
}
