//! The shell around [`FairQueue`]: one per program, asked by every lane that serves.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use aftercast_protocol::ids::{DeviceId, RequestId};
use aftercast_protocol::limits::{GROUP_BYTES, SERVE_BYTES_PER_PEER, SERVE_PEERS};
use aftercast_protocol::serve::{Class, FairQueue, Refusal, ServeConfig, ServeRequest, ServeStat, Usage};
use aftercast_protocol::time::{Micros, Mono, UnixMillis};
use tokio::sync::{Notify, mpsc};

use super::duration;
use super::indexes::Indexes;
use super::metrics::ExchangeMetrics;

/// Quanta that can be on their way to one ticket: what may be in flight to its peer, and a short last one.
const QUANTA: usize = SERVE_BYTES_PER_PEER as usize / GROUP_BYTES + 2;
/// How often the queue is told the time of day, for its budgets.
const WALL_PERIOD: Micros = Micros::from_secs(30);
/// Shortest wait for the token bucket: timers are no finer.
const TICK: Micros = Micros::from_millis(1);

/// Decides whose turn it is to be sent to. Clones are the same gate.
///
/// The queue is plain state behind a lock that is held for microseconds; a timer task wakes it when its token bucket
/// has something again. The task ends with the last clone.
#[derive(Debug, Clone)]
pub struct ServeGate {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    /// Tells the timer that the next deadline may have changed.
    changed: Arc<Notify>,
    metrics: ExchangeMetrics,
    indexes: Indexes,
    began: Instant,
}

#[derive(Debug)]
struct State {
    queue: FairQueue,
    next: u64,
    /// Requests with a ticket, waiting or being served.
    tickets: BTreeMap<RequestId, mpsc::Sender<Result<u64, Refusal>>>,
    /// Bytes written since [`ServeGate::take_sent`], per peer. At most [`SERVE_PEERS`] peers; the total counts all.
    sent: BTreeMap<DeviceId, u64>,
    sent_total: u64,
}

impl ServeGate {
    /// A gate with what the user allows, and what has been used of the budgets. Needs a Tokio runtime.
    #[must_use]
    pub fn start(config: ServeConfig, usage: Usage) -> Self {
        let mut queue = FairQueue::new(Mono(0), config, usage);
        queue.handle_wall(wall());
        let state = State { queue, next: 0, tickets: BTreeMap::new(), sent: BTreeMap::new(), sent_total: 0 };
        let changed = Arc::new(Notify::new());
        let inner = Arc::new(Inner {
            state: Mutex::new(state),
            changed: Arc::clone(&changed),
            metrics: ExchangeMetrics::default(),
            indexes: Indexes::default(),
            began: Instant::now(),
        });
        tokio::spawn(keep_time(Arc::downgrade(&inner), changed));
        Self { inner }
    }

    /// A peer asks for so many bytes.
    ///
    /// # Errors
    /// Why it is not served.
    pub fn request(&self, peer: DeviceId, class: Class, bytes: u64, home: bool) -> Result<Ticket, Refusal> {
        let mut state = self.inner.lock();
        // Numbers of our own: askers number theirs per lane.
        let id = RequestId(state.next);
        state.next = state.next.wrapping_add(1);
        state.queue.handle_request(self.inner.now(), ServeRequest { peer, id, class, bytes, home })?;
        let (quanta, granted) = mpsc::channel(QUANTA);
        state.tickets.insert(id, quanta);
        self.inner.pump(state);
        Ok(Ticket { inner: Arc::clone(&self.inner), peer, id, granted, in_flight: 0 })
    }

    /// Changes what the user allows, at once.
    pub fn set_config(&self, config: ServeConfig) {
        let mut state = self.inner.lock();
        state.queue.handle_config(self.inner.now(), config);
        self.inner.pump(state);
    }

    /// What a peer may expect.
    #[must_use]
    pub fn stat(&self, peer: DeviceId) -> ServeStat {
        self.inner.lock().queue.stat(peer)
    }

    /// What has been used of the budgets, to be kept on disk.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.inner.lock().queue.usage()
    }

    /// Bytes written to lanes since the last call, in all and per peer; peers beyond `limits::SERVE_PEERS` count in
    /// the total only.
    #[must_use]
    pub fn take_sent(&self) -> (u64, BTreeMap<DeviceId, u64>) {
        let mut state = self.inner.lock();
        (std::mem::take(&mut state.sent_total), std::mem::take(&mut state.sent))
    }

    /// Requests that wait, and bytes handed out and not written yet.
    #[must_use]
    pub fn load(&self) -> (usize, u64) {
        let state = self.inner.lock();
        (state.queue.waiting(), state.queue.in_flight())
    }

    /// The unit indexes that were asked for.
    pub(super) fn indexes(&self) -> &Indexes {
        &self.inner.indexes
    }

    /// The counters of everything served through this gate.
    #[must_use]
    pub fn metrics(&self) -> &ExchangeMetrics {
        &self.inner.metrics
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The queue's own checks run under the lock; a failed one stops its lane, not the program.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Mono {
        Mono(u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// Hands out what may be handed out after a change.
    fn pump(&self, mut state: MutexGuard<'_, State>) {
        state.drain(self.now());
        self.changed.notify_one();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.changed.notify_one();
    }
}

impl State {
    fn drain(&mut self, now: Mono) {
        let state = self;
        while let Some(quantum) = state.queue.poll_next(now) {
            let ticket = state.tickets.get(&quantum.request);
            // The channel holds all that can be in flight; a ticket that does not take it is gone.
            if ticket.is_none_or(|ticket| ticket.try_send(Ok(quantum.bytes)).is_err()) {
                state.queue.handle_sent(quantum.peer, quantum.bytes);
                state.queue.handle_cancel(quantum.peer, quantum.request);
            }
        }
        while let Some(refused) = state.queue.poll_refused() {
            if let Some(ticket) = state.tickets.get(&refused.request) {
                let _ = ticket.try_send(Err(refused.refusal));
            }
        }
    }
}

/// Goes on with the queue when time alone allows it. Holds no gate while it waits, so that the last clone can go.
async fn keep_time(gate: Weak<Inner>, changed: Arc<Notify>) {
    loop {
        let wait = {
            let Some(inner) = gate.upgrade() else { return };
            let mut state = inner.lock();
            let now = inner.now();
            state.queue.handle_wall(wall());
            state.drain(now);
            let next = state.queue.poll_timeout(now);
            next.map_or(WALL_PERIOD, |at| (at - now).clamp(TICK, WALL_PERIOD))
        };
        // Woken or timed out: both mean to look again.
        let _ = tokio::time::timeout(duration(wait), changed.notified()).await;
    }
}

fn wall() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A request in the queue. Dropping it cancels what is left.
#[derive(Debug)]
pub struct Ticket {
    inner: Arc<Inner>,
    peer: DeviceId,
    id: RequestId,
    granted: mpsc::Receiver<Result<u64, Refusal>>,
    /// Bytes granted and not reported as sent.
    in_flight: u64,
}

impl Ticket {
    /// The next bytes that may be sent. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When what the user allows has changed meanwhile.
    pub async fn turn(&mut self) -> Result<u64, Refusal> {
        let granted = self.granted.recv().await.unwrap_or(Err(Refusal::Paused))?;
        self.in_flight += granted;
        Ok(granted)
    }

    /// Reports bytes as written out.
    pub fn sent(&mut self, bytes: u64) {
        let bytes = bytes.min(self.in_flight);
        self.in_flight -= bytes;
        self.inner.metrics.served_bytes.inc_by(bytes);
        let mut state = self.inner.lock();
        state.sent_total = state.sent_total.saturating_add(bytes);
        if state.sent.len() < SERVE_PEERS || state.sent.contains_key(&self.peer) {
            let sent = state.sent.entry(self.peer).or_default();
            *sent = sent.saturating_add(bytes);
        }
        state.queue.handle_sent(self.peer, bytes);
        self.inner.pump(state);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.inner.lock();
        state.tickets.remove(&self.id);
        // Granted but not taken from the channel is in flight as well.
        while let Ok(granted) = self.granted.try_recv() {
            self.in_flight += granted.unwrap_or(0);
        }
        state.queue.handle_cancel(self.peer, self.id);
        if self.in_flight > 0 {
            state.queue.handle_sent(self.peer, self.in_flight);
        }
        self.inner.pump(state);
    }
}
