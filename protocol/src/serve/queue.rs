use std::collections::{BTreeMap, VecDeque};

use super::{Budgets, Class, Refusal, TokenBucket, Usage};
use crate::ids::{DeviceId, RequestId};
use crate::limits::{
    GROUP_BYTES, MAX_CHUNK_BYTES, MAX_CHUNK_GROUPS, SERVE_BYTES_PER_PEER, SERVE_BYTES_TOTAL, SERVE_PEERS,
    SERVE_REQUESTS_PER_PEER, SERVE_REQUESTS_TOTAL,
};
use crate::time::{Micros, Mono, UnixMillis};

/// Waiting this long lifts a request by one class: prefetch competes with playback after three times this.
const AGE_STEP: Micros = Micros::from_secs(1);
/// What Busy says at least and at most: below it the asker's round trip dominates, above it the guess is worthless.
const RETRY_MIN: Micros = Micros::from_millis(100);
const RETRY_MAX: Micros = Micros::from_secs(10);
/// What Busy assumes of a line without a limit, bytes per second: 100 Mb/s.
const ASSUMED_RATE: u64 = 12_500_000;

/// The user's share of the uplink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uplink {
    /// Bytes per second.
    pub rate: u64,
    /// Bytes that may leave at once after a pause.
    pub burst: u64,
}

/// The longest answer: a whole chunk and the list of its group hashes.
const MAX_REQUEST_BYTES: u64 = (MAX_CHUNK_BYTES + 32 * MAX_CHUNK_GROUPS) as u64;

/// What the user allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServeConfig {
    /// Limit for peers outside the home; none: the line's own.
    pub uplink: Option<Uplink>,
    /// Budgets for peers outside the home.
    pub budgets: Budgets,
    /// The line is metered: nothing leaves the home.
    pub metered: bool,
    /// The user has paused sharing: nothing leaves the home.
    pub paused: bool,
}

/// A request for bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServeRequest {
    /// Who asks.
    pub peer: DeviceId,
    /// The asker's id for it.
    pub id: RequestId,
    /// What for.
    pub class: Class,
    /// Bytes asked for, group hashes included if they were.
    pub bytes: u64,
    /// Whether the asker is at home (same subscriber, local network): limits, budgets and the meter do not apply.
    pub home: bool,
}

/// Bytes to send now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantum {
    /// To whom.
    pub peer: DeviceId,
    /// For which request.
    pub request: RequestId,
    /// How many: at most a group.
    pub bytes: u64,
    /// Whether this ends the request.
    pub last: bool,
}

/// A waiting request that will not be served after all: tell its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Whom to tell.
    pub peer: DeviceId,
    /// Which request.
    pub request: RequestId,
    /// Why.
    pub refusal: Refusal,
}

/// What a peer may expect, for its own choice of sources (the control stream's Stat).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServeStat {
    /// Bytes per second that it would get now, if the line has a limit.
    pub rate: Option<u64>,
    /// Bytes waiting or in flight for it.
    pub queued: u64,
}

/// Deficit round robin over peers, class first; see the module page.
///
/// - *handle*: [`Self::handle_request`], [`Self::handle_cancel`], [`Self::handle_peer_gone`], [`Self::handle_sent`],
///   [`Self::handle_config`], [`Self::handle_wall`]
/// - *poll*: [`Self::poll_refused`], [`Self::poll_next`], [`Self::poll_timeout`]
/// - *getters*: [`Self::stat`], [`Self::usage`]
#[derive(Debug)]
pub struct FairQueue {
    config: ServeConfig,
    bucket: Option<TokenBucket>,
    usage: Usage,
    peers: BTreeMap<DeviceId, Peer>,
    /// Whose turn it was last.
    cursor: Option<DeviceId>,
    waiting: usize,
    in_flight: u64,
    refused: VecDeque<Refused>,
}

#[derive(Debug, Default)]
struct Peer {
    home: bool,
    deficit: u64,
    in_flight: u64,
    queues: [ClassQueue; 4],
}

#[derive(Debug, Default)]
struct ClassQueue {
    /// When it was last served or became non-empty.
    since: Mono,
    requests: VecDeque<Pending>,
}

/// Where a peer stands in the ring, seen from the one that was served last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    Lasts,
    Next,
    NextRound,
    Over,
}

#[derive(Debug)]
struct Pending {
    id: RequestId,
    left: u64,
}

impl Pending {
    fn quantum(&self) -> u64 {
        self.left.min(GROUP_BYTES as u64)
    }
}

impl FairQueue {
    /// An empty queue. `usage` is what the last run left on disk.
    #[must_use]
    pub fn new(now: Mono, config: ServeConfig, usage: Usage) -> Self {
        Self {
            config,
            bucket: config.uplink.map(|uplink| TokenBucket::new(now, uplink.rate, uplink.burst)),
            usage,
            peers: BTreeMap::new(),
            cursor: None,
            waiting: 0,
            in_flight: 0,
            refused: VecDeque::new(),
        }
    }

    /// A peer asks for bytes. Afterwards the request waits, or the peer is to be told why not.
    pub fn handle_request(&mut self, now: Mono, request: ServeRequest) -> Result<(), Refusal> {
        if request.bytes == 0 || request.bytes > MAX_REQUEST_BYTES {
            return Err(Refusal::Size(request.bytes));
        }
        if let Some(refusal) = self.outside_refusal().filter(|_| !request.home) {
            return Err(refusal);
        }
        let known = self.peers.get(&request.peer);
        if known.is_some_and(|peer| peer.has(request.id)) {
            return Err(Refusal::Duplicate);
        }
        let full = match known {
            Some(peer) => peer.waiting() >= SERVE_REQUESTS_PER_PEER,
            None => self.peers.len() >= SERVE_PEERS,
        };
        if full || self.waiting >= SERVE_REQUESTS_TOTAL {
            return Err(Refusal::Busy { retry_after: self.retry_after(request.peer) });
        }
        let peer = self.peers.entry(request.peer).or_default();
        peer.home = request.home;
        let queue = &mut peer.queues[usize::from(request.class.rank())];
        if queue.requests.is_empty() {
            queue.since = now;
        }
        queue.requests.push_back(Pending { id: request.id, left: request.bytes });
        self.waiting += 1;
        Ok(())
    }

    /// A peer wants a request no more. Quanta already handed out are still to be reported by [`Self::handle_sent`].
    pub fn handle_cancel(&mut self, peer: DeviceId, id: RequestId) {
        let Some(queues) = self.peers.get_mut(&peer) else { return };
        for queue in &mut queues.queues {
            let before = queue.requests.len();
            queue.requests.retain(|pending| pending.id != id);
            self.waiting -= before - queue.requests.len();
        }
        self.forget_idle(peer);
    }

    /// A peer's last connection is gone, with all that waited for it and was in flight to it.
    pub fn handle_peer_gone(&mut self, peer: DeviceId) {
        if let Some(gone) = self.peers.remove(&peer) {
            self.waiting -= gone.waiting();
            self.in_flight = self.in_flight.saturating_sub(gone.in_flight);
        }
        self.refused.retain(|refused| refused.peer != peer);
    }

    /// Bytes of a quantum have been written out, or dropped with their lane.
    pub fn handle_sent(&mut self, peer: DeviceId, bytes: u64) {
        let Some(known) = self.peers.get_mut(&peer) else { return };
        // More than is in flight would be our own mistake, or a late report from before the peer came back.
        let bytes = bytes.min(known.in_flight);
        known.in_flight -= bytes;
        self.in_flight = self.in_flight.saturating_sub(bytes);
        self.forget_idle(peer);
    }

    /// The user has changed what is allowed.
    pub fn handle_config(&mut self, now: Mono, config: ServeConfig) {
        self.config = config;
        self.bucket = match (self.bucket.take(), config.uplink) {
            (_, None) => None,
            (None, Some(uplink)) => Some(TokenBucket::new(now, uplink.rate, uplink.burst)),
            (Some(mut bucket), Some(uplink)) => {
                bucket.set(now, uplink.rate, uplink.burst);
                Some(bucket)
            }
        };
        self.refuse_outside();
    }

    /// What the clock on the wall says: at the start and every minute or so, for the budgets.
    pub fn handle_wall(&mut self, wall: UnixMillis) {
        self.usage.roll(wall);
    }

    /// The next waiting request that is not going to be served, because what the user allows has changed or is used
    /// up. Drain it after `handle_config` and `poll_next`.
    pub fn poll_refused(&mut self) -> Option<Refused> {
        self.refused.pop_front()
    }

    /// The next bytes to send, if any may be sent now. Counted as in flight until [`Self::handle_sent`].
    pub fn poll_next(&mut self, now: Mono) -> Option<Quantum> {
        let (device, class) = self.choose(now)?;
        let peer = self.peers.get_mut(&device)?;
        let queue = &mut peer.queues[usize::from(class.rank())];
        let pending = queue.requests.front_mut()?;
        let bytes = pending.quantum();
        let (id, home) = (pending.id, peer.home);
        if !home && self.bucket.as_mut().is_some_and(|bucket| !bucket.take(now, bytes)) {
            return None;
        }
        pending.left -= bytes;
        let last = pending.left == 0;
        queue.since = now;
        if last {
            queue.requests.pop_front();
            self.waiting -= 1;
        }
        // A turn adds a quantum; short last groups leave some over for the next one.
        if self.cursor != Some(device) || peer.deficit < bytes {
            // Capped, so that a peer whose turns others cut short does not save up for a long run.
            peer.deficit = (peer.deficit + GROUP_BYTES as u64).min(2 * GROUP_BYTES as u64);
        }
        peer.deficit -= bytes;
        if peer.waiting() == 0 {
            peer.deficit = 0;
        }
        peer.in_flight += bytes;
        self.in_flight += bytes;
        self.cursor = Some(device);
        if !home {
            self.usage.add(bytes);
            self.refuse_outside();
        }
        Some(Quantum { peer: device, request: id, bytes, last })
    }

    /// When [`Self::poll_next`] can have something again without anything being handled: the token bucket's time.
    #[must_use]
    pub fn poll_timeout(&self, now: Mono) -> Option<Mono> {
        let bucket = self.bucket.as_ref()?;
        let outside = self.peers.values().filter(|peer| !peer.home);
        let heads = outside.filter_map(|peer| peer.head(now).map(|(.., bytes)| (peer, bytes)));
        heads.filter(|(peer, bytes)| self.fits(peer, *bytes)).filter_map(|(_, bytes)| bucket.ready_at(now, bytes)).min()
    }

    /// What a peer may expect.
    #[must_use]
    pub fn stat(&self, peer: DeviceId) -> ServeStat {
        let known = self.peers.get(&peer);
        let busy = self.peers.iter().filter(|(id, other)| **id != peer && !other.home && other.waiting() > 0).count();
        let home = known.is_some_and(|peer| peer.home);
        let rate = self.bucket.as_ref().filter(|_| !home).map(|bucket| bucket.rate() / (busy as u64 + 1));
        ServeStat { rate, queued: known.map_or(0, |peer| peer.queued() + peer.in_flight) }
    }

    /// Bytes that have left the home, to be kept on disk.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// Number of requests waiting.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Bytes handed out and not yet reported as sent.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// The peer and class whose turn it is: among peers that may be sent to now, those with the best effective class,
    /// and among them the one whose deficit lasts, or the next in the ring.
    fn choose(&self, now: Mono) -> Option<(DeviceId, Class)> {
        let ready = self.peers.iter().filter_map(|(&device, peer)| {
            let (rank, class, bytes) = peer.head(now)?;
            let allowed = peer.home || self.bucket.as_ref().is_none_or(|b| b.ready_at(now, bytes) == Some(now));
            let turn = match self.cursor {
                Some(cursor) if device == cursor && peer.deficit >= bytes => Turn::Lasts,
                Some(cursor) if device == cursor => Turn::Over,
                Some(cursor) if device < cursor => Turn::NextRound,
                _ => Turn::Next,
            };
            (allowed && self.fits(peer, bytes)).then_some((rank, turn, device, class))
        });
        ready.min().map(|(.., device, class)| (device, class))
    }

    fn fits(&self, peer: &Peer, bytes: u64) -> bool {
        peer.in_flight + bytes <= SERVE_BYTES_PER_PEER && self.in_flight + bytes <= SERVE_BYTES_TOTAL
    }

    /// Why nobody outside the home is served now.
    fn outside_refusal(&self) -> Option<Refusal> {
        if self.config.metered {
            return Some(Refusal::Metered);
        }
        if self.config.paused || self.config.uplink.is_some_and(|uplink| uplink.rate == 0) {
            return Some(Refusal::Paused);
        }
        self.usage.exhausted(&self.config.budgets).map(Refusal::Budget)
    }

    /// Hands back what waits for peers outside the home, if they are not served any more.
    fn refuse_outside(&mut self) {
        let Some(refusal) = self.outside_refusal() else { return };
        for (&peer, queues) in self.peers.iter_mut().filter(|(_, peer)| !peer.home) {
            for pending in queues.queues.iter_mut().flat_map(|queue| queue.requests.drain(..)) {
                self.refused.push_back(Refused { peer, request: pending.id, refusal });
                self.waiting -= 1;
            }
            queues.deficit = 0;
        }
        self.peers.retain(|_, peer| peer.waiting() > 0 || peer.in_flight > 0);
    }

    fn retry_after(&self, peer: DeviceId) -> Micros {
        let ahead = match self.peers.get(&peer) {
            Some(known) => known.queued(),
            None => self.peers.values().map(Peer::queued).fold(0, u64::saturating_add),
        };
        let rate = self.bucket.as_ref().map_or(ASSUMED_RATE, TokenBucket::rate).max(1);
        // Half of what is ahead gone means that there is room again.
        Micros(ahead.saturating_mul(500_000) / rate).clamp(RETRY_MIN, RETRY_MAX)
    }

    fn forget_idle(&mut self, device: DeviceId) {
        if self.peers.get(&device).is_some_and(|peer| peer.waiting() == 0 && peer.in_flight == 0) {
            self.peers.remove(&device);
        }
    }
}

impl Peer {
    fn waiting(&self) -> usize {
        self.queues.iter().map(|queue| queue.requests.len()).sum()
    }

    fn queued(&self) -> u64 {
        self.queues.iter().flat_map(|queue| &queue.requests).map(|pending| pending.left).sum()
    }

    fn has(&self, id: RequestId) -> bool {
        self.queues.iter().flat_map(|queue| &queue.requests).any(|pending| pending.id == id)
    }

    /// What this peer would be sent next: effective rank, class, bytes. Among classes lifted to the same rank the one
    /// that has waited longest, or a peer's own playback would starve its prefetch.
    fn head(&self, now: Mono) -> Option<(u64, Class, u64)> {
        let heads = Class::ALL.iter().zip(&self.queues).filter_map(|(&class, queue)| {
            let bytes = queue.requests.front()?.quantum();
            let lift = (now - queue.since).0 / AGE_STEP.0;
            Some((u64::from(class.rank()).saturating_sub(lift), queue.since, class, bytes))
        });
        heads.min().map(|(rank, _, class, bytes)| (rank, class, bytes))
    }
}
