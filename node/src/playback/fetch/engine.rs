//! The task that owns the scheduler: tells it what happens, does what it says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use aftercast_protocol::ids::{ChunkCid, DeviceId, GroupIndex, RecordingId, RequestId};
use aftercast_protocol::select::{Action, FailReason, Fetch, SelectConfig, Selector, Source, Want};
use aftercast_protocol::serve::Class;
use aftercast_protocol::time::{Micros, Mono};
use aftercast_protocol::wire::ctl::RankedSource;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Duration, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::feed::Feed;
use super::finder::Finder;
use super::{Shared, SpecReach, lock};
use crate::playback::counters::Origin;
use crate::playback::ports::{Arrival, LaneFailure, Lanes, Order, Reach};

/// Verified groups of one request that wait to be taken up.
const MAX_ARRIVALS: usize = 4;

/// Searches for holders under way; the chunks of a read-ahead, and a second player's.
const MAX_SEARCHES: usize = 32;

/// Holders of one chunk to which lanes are opened before they are asked: as many as the scheduler wants to have.
const MAX_PREPARED: usize = 8;

/// How often what was learnt of sources is handed on to be remembered.
const LEARN_PERIOD: Duration = Duration::from_secs(10);

/// How long the seed is kept out of a chunk's holders while others are looked for: with no peer connected the scheduler
/// asks it early, and connecting one takes a moment.
const SEED_WAITS: Micros = Micros::from_millis(1500);

/// Something happened that the scheduler must know.
pub(super) enum Note {
    /// Proven group hashes have come.
    Hashes(ChunkCid, u64),
    /// A verified group has come: its number and length in bytes.
    Group(RequestId, GroupIndex, u64),
    /// A request has ended.
    Ended(RequestId, Result<(), LaneFailure>),
    /// A device that may hold a chunk is connected.
    Holder(ChunkCid, DeviceId),
    /// Others were looked for: the seed is a holder from now on.
    Seed(ChunkCid),
    /// The search for holders of a chunk has ended.
    Searched(ChunkCid),
    /// The seed named sources for a recording.
    Plan(RecordingId, Vec<RankedSource>),
    /// A device's last connection is gone.
    Down(DeviceId),
    /// A device says what it could give.
    Stat { device: DeviceId, rate: Option<u64>, queued: u64 },
    /// Devices have connected, or hold more.
    HoldersChanged,
    /// Somebody begins to watch.
    Begins,
}

/// A request under way; dropping it cancels it.
struct Running {
    cid: ChunkCid,
    source: Source,
    /// First group not wanted of it any more.
    end: Arc<AtomicU32>,
    _task: AbortOnDropHandle<()>,
}

pub(super) struct Engine {
    shared: Arc<Shared>,
    reach: Arc<dyn Reach>,
    lanes: Arc<dyn Lanes>,
    finder: Arc<Finder>,
    /// Weak, so that the engine's own end of the queue does not keep it open.
    notes: mpsc::WeakSender<Note>,
    selector: Selector,
    running: BTreeMap<RequestId, Running>,
    searching: BTreeSet<ChunkCid>,
    /// Chunks whose holders are first looked for among peers.
    seed_waits: BTreeSet<ChunkCid>,
    searches: JoinSet<()>,
}

impl Engine {
    pub fn new(
        shared: Arc<Shared>,
        reach: Arc<dyn Reach>,
        lanes: Arc<dyn Lanes>,
        notes: mpsc::WeakSender<Note>,
    ) -> Self {
        let selector = Selector::new(SelectConfig::default(), reach.scores());
        Self {
            shared,
            finder: Arc::new(Finder::new(Arc::clone(&reach))),
            reach,
            lanes,
            notes,
            selector,
            running: BTreeMap::new(),
            searching: BTreeSet::new(),
            seed_waits: BTreeSet::new(),
            searches: JoinSet::new(),
        }
    }

    /// Runs until the last [`super::Fetcher`] is gone.
    pub async fn run(mut self, mut notes: mpsc::Receiver<Note>) {
        let mut learn = tokio::time::interval(LEARN_PERIOD);
        loop {
            self.act();
            *lock(&self.shared.stats) = self.selector.stats();
            let due = self.selector.poll_timeout().map(|at| self.shared.epoch + Duration::from_micros(at.0));
            let timer = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.shared.ended.cancelled() => return,
                note = notes.recv() => match note {
                    Some(note) => self.handle(note),
                    None => return,
                },
                () = self.shared.wake.notified() => self.sync(),
                Some(_) = self.searches.join_next() => {}
                _ = learn.tick() => self.reach.learn(self.selector.scores()),
                () = timer => self.selector.handle_timeout(self.shared.now()),
            }
        }
    }

    fn handle(&mut self, note: Note) {
        let now = self.shared.now();
        match note {
            Note::Hashes(cid, len) => self.selector.handle_hashes(now, cid, len),
            Note::Group(id, index, bytes) => self.selector.handle_group(now, id, index, bytes),
            Note::Ended(id, result) => self.end(now, id, result),
            Note::Holder(cid, device) => self.add_holders(now, cid, &[device]),
            Note::Seed(cid) => self.offer_seed(now, cid),
            Note::Searched(cid) => {
                self.searching.remove(&cid);
            }
            Note::Plan(recording, sources) => self.finder.learn(recording, sources),
            Note::Down(device) => {
                let source = self.source_of(device);
                self.running.retain(|_, running| running.source != source);
                self.selector.handle_source_down(now, source);
            }
            Note::Stat { device, rate, queued } => {
                let source = self.source_of(device);
                self.selector.handle_stat(now, source, rate, queued);
            }
            Note::Begins => self.prepare_seed(),
            Note::HoldersChanged => {
                let feeds: Vec<_> = self.shared.feeds().values().cloned().collect();
                for feed in feeds {
                    if self.selector.is_wanted(feed.spec.chunk.cid) {
                        self.offer(now, &feed);
                    }
                }
            }
        }
    }

    /// Takes up what wants have changed: new ones, other deadlines, ones that nobody has any more.
    fn sync(&mut self) {
        let now = self.shared.now();
        let changed: Vec<_> = self.shared.feeds().values().filter(|feed| feed.take_dirty()).cloned().collect();
        for feed in changed {
            match feed.deadline() {
                Some(deadline) => self.want(now, &feed, deadline),
                None => self.forget(now, &feed),
            }
        }
    }

    fn want(&mut self, now: Mono, feed: &Arc<Feed>, deadline: Mono) {
        let (have, hashes) = feed.progress();
        if have.is_complete() {
            return;
        }
        let (cid, len) = (feed.spec.chunk.cid, feed.spec.len);
        if feed.take_lost() {
            // The scheduler takes nothing back that it thinks is here: it begins anew.
            self.selector.handle_drop(now, cid);
        }
        let known = self.selector.is_wanted(cid);
        let want = Want { cid, len: Some(len), deadline, class: Class::Playback, in_order: true };
        if let Err(refusal) = self.selector.handle_want(now, want) {
            // Feeds are bounded by the same limit, and have legal lengths.
            tracing::warn!(%cid, %refusal, "chunk is not fetched");
            return;
        }
        let urgent = deadline <= now + SEED_WAITS;
        if known {
            if urgent {
                self.offer_seed(now, cid);
            }
            return;
        }
        if feed.spec.reach == SpecReach::Anyone && !urgent {
            self.seed_waits.insert(cid);
        }
        if hashes.is_some() {
            self.selector.handle_hashes(now, cid, len);
        }
        self.selector.handle_held(now, cid, &have);
        self.offer(now, feed);
    }

    fn forget(&mut self, now: Mono, feed: &Arc<Feed>) {
        let mut feeds = self.shared.feeds();
        // Wants join a feed under this lock: nobody can have come since.
        if feed.deadline().is_none() {
            feeds.remove(&feed.spec.chunk.cid);
            drop(feeds);
            self.seed_waits.remove(&feed.spec.chunk.cid);
            self.selector.handle_drop(now, feed.spec.chunk.cid);
        }
    }

    /// Ends the seed's wait for a chunk, if it waits.
    fn offer_seed(&mut self, now: Mono, cid: ChunkCid) {
        if self.seed_waits.remove(&cid)
            && let Some(seed) = self.reach.seed()
        {
            self.add_holders(now, cid, &[seed]);
        }
    }

    /// Somebody begins to watch: the seed will be asked soon.
    fn prepare_seed(&self) {
        if let Some(seed) = self.reach.seed().filter(|seed| self.reach.path(*seed).is_some()) {
            self.lanes.prepare(seed);
        }
    }

    /// Tells the scheduler who is known to hold a chunk.
    fn offer(&mut self, now: Mono, feed: &Feed) {
        let spec = &feed.spec;
        let mut holders = Vec::new();
        if spec.reach != SpecReach::Here && !self.seed_waits.contains(&spec.chunk.cid) {
            holders.extend(self.reach.seed());
        }
        if spec.reach == SpecReach::Anyone {
            holders.extend(self.reach.holders(&spec.chunk.channel, spec.chunk.slot));
        }
        self.add_holders(now, spec.chunk.cid, &holders);
    }

    fn add_holders(&mut self, now: Mono, cid: ChunkCid, devices: &[DeviceId]) {
        for (number, &device) in devices.iter().enumerate() {
            if let Some(path) = self.reach.path(device) {
                self.selector.handle_source_up(now, self.source_of(device), path);
                if number < MAX_PREPARED {
                    self.lanes.prepare(device);
                }
            }
        }
        let sources: Vec<_> = devices.iter().map(|&device| self.source_of(device)).collect();
        self.selector.handle_holders(now, cid, &sources);
    }

    fn source_of(&self, device: DeviceId) -> Source {
        if Some(device) == self.reach.seed() { Source::Seed } else { Source::Peer(device) }
    }

    fn device_of(&self, source: Source) -> Option<DeviceId> {
        match source {
            Source::Peer(device) => Some(device),
            Source::Seed => self.reach.seed(),
        }
    }

    fn end(&mut self, now: Mono, id: RequestId, result: Result<(), LaneFailure>) {
        let Some(ended) = self.running.remove(&id) else { return };
        let reason = match result {
            Ok(()) => {
                tracing::debug!(%id, "request done");
                return self.selector.handle_request_done(now, id);
            }
            Err(LaneFailure::Busy { retry_after }) => FailReason::Busy { retry_after },
            Err(LaneFailure::NotFound) => FailReason::NotFound,
            Err(LaneFailure::Refused) => FailReason::Refused,
            Err(LaneFailure::Broken) => FailReason::Broken,
            Err(LaneFailure::Lied(lie)) => {
                let source = ended.source;
                tracing::warn!(cid = %ended.cid, ?source, %lie, "a source sent what is not the chunk's");
                let feed = self.shared.feeds().get(&ended.cid).cloned();
                if let Some(feed) = feed {
                    feed.count_wrong(source != Source::Seed);
                }
                FailReason::BadData(lie)
            }
        };
        tracing::debug!(%id, cid = %ended.cid, ?reason, "request failed");
        self.selector.handle_request_failed(now, id, reason);
    }

    /// Does what the scheduler says.
    fn act(&mut self) {
        while let Some(action) = self.selector.poll_action() {
            match action {
                Action::Request(fetch) => self.request(fetch),
                Action::Trim { id, end } => {
                    tracing::debug!(%id, end, "request trimmed");
                    if let Some(running) = self.running.get(&id) {
                        running.end.fetch_min(end, Relaxed);
                    }
                }
                Action::Cancel { id } => {
                    tracing::debug!(%id, "request cancelled");
                    self.running.remove(&id);
                }
                Action::Ban { peer, lie } => self.reach.ban(peer, lie),
                Action::NeedHolders { cid } => self.search(cid),
                Action::Complete { cid } => tracing::debug!(%cid, "chunk is here"),
                Action::GaveUp { cid } => tracing::info!(%cid, "nobody brings this chunk"),
            }
        }
    }

    fn request(&mut self, fetch: Fetch) {
        let feed = self.shared.feeds().get(&fetch.cid).cloned();
        let device = self.device_of(fetch.source);
        let (Some(feed), Some(notes), Some(device)) = (feed, self.notes.upgrade(), device) else { return };
        let due_in = fetch.deadline - self.shared.now();
        let (id, cid, range) = (fetch.id, fetch.cid, fetch.range);
        let score = self.selector.score(fetch.source).copied().unwrap_or_default();
        let (rate, peak, deviation_us) = (score.rate, score.peak, score.deviation.0);
        let (from, to, due_us) = (range.start, range.end, due_in.0);
        tracing::debug!(%id, %cid, %device, from, to, due_us, rate, peak, deviation_us, "asking");
        let order = Order { device, fetch, len: feed.spec.len, due_in, hashes: feed.progress().1 };
        let origin = if fetch.source == Source::Seed { Origin::Seed } else { Origin::Peer };
        let end = Arc::new(AtomicU32::new(fetch.range.end));
        let carrier = Carrier {
            shared: Arc::clone(&self.shared),
            feed,
            notes,
            end: Arc::clone(&end),
            asked: fetch.range.end,
            origin,
        };
        let lanes = Arc::clone(&self.lanes);
        let task = tokio::spawn(async move { carrier.carry_out(&*lanes, order).await });
        let _task = AbortOnDropHandle::new(task);
        self.running.insert(fetch.id, Running { cid: fetch.cid, source: fetch.source, end, _task });
    }

    /// Looks for holders: those who are connected at once, others in a task of their own.
    fn search(&mut self, cid: ChunkCid) {
        let feed = self.shared.feeds().get(&cid).cloned();
        let (Some(feed), Some(notes)) = (feed, self.notes.upgrade()) else { return };
        self.offer(self.shared.now(), &feed);
        // The scheduler asks again, later each time.
        let full = self.searching.len() >= MAX_SEARCHES;
        if feed.spec.reach != SpecReach::Anyone || full {
            return self.offer_seed(self.shared.now(), cid);
        }
        if !self.searching.insert(cid) {
            return;
        }
        let finder = Arc::clone(&self.finder);
        self.searches.spawn(async move {
            let find = finder.find(&feed.spec, &notes);
            tokio::pin!(find);
            let found = timeout(Duration::from_micros(SEED_WAITS.0), &mut find).await.is_ok();
            let _ = notes.send(Note::Seed(cid)).await;
            if !found {
                find.await;
            }
            let _ = notes.send(Note::Searched(cid)).await;
        });
    }
}

/// One request's task.
struct Carrier {
    shared: Arc<Shared>,
    feed: Arc<Feed>,
    notes: mpsc::Sender<Note>,
    end: Arc<AtomicU32>,
    /// What `end` was at first.
    asked: u32,
    origin: Origin,
}

impl Carrier {
    async fn carry_out(self, lanes: &dyn Lanes, order: Order) {
        let id = order.fetch.id;
        let (to, mut arrivals) = mpsc::channel(MAX_ARRIVALS);
        let mut fetching = lanes.fetch(order, to);
        let mut result = None;
        loop {
            tokio::select! {
                arrival = arrivals.recv() => match arrival {
                    Some(Arrival::Hashes(hashes)) => self.take_hashes(hashes).await,
                    Some(Arrival::Group(index, bytes)) => {
                        if !self.take_group(id, index, bytes).await {
                            // The rest has gone to another source; dropping the order cancels it.
                            result = Some(Ok(()));
                            break;
                        }
                    }
                    None => break,
                },
                done = &mut fetching, if result.is_none() => result = Some(done),
            }
        }
        let result = match result {
            Some(result) => result,
            // The order let go of its queue before it ended.
            None => fetching.await,
        };
        let _ = self.notes.send(Note::Ended(id, result)).await;
    }

    async fn take_hashes(&self, hashes: Arc<aftercast_protocol::verify::GroupHashes>) {
        let (cid, len) = (hashes.cid(), hashes.len_bytes());
        if cid == self.feed.spec.chunk.cid && len == self.feed.spec.len {
            self.feed.take_hashes(hashes);
            let _ = self.notes.send(Note::Hashes(cid, len)).await;
        }
    }

    /// Hands a group to players, the scheduler and the store, in that order. False once no more are wanted.
    async fn take_group(&self, id: RequestId, index: GroupIndex, bytes: bytes::Bytes) -> bool {
        let len = bytes.len() as u64;
        let fresh = self.feed.take_group(index, bytes, self.origin);
        let _ = self.notes.send(Note::Group(id, index, len)).await;
        if fresh {
            let (shared, feed) = (Arc::clone(&self.shared), Arc::clone(&self.feed));
            // Runs to its end even if this request is cancelled meanwhile.
            let _ = tokio::task::spawn_blocking(move || feed.store_group(&shared, index)).await;
        }
        let end = self.end.load(Relaxed);
        // A request that was not trimmed ends by itself, and its lane can be used again.
        end == self.asked || index.0.saturating_add(1) < end
    }
}
