use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::hedge::HedgeBudget;
use super::source::SourceState;
use super::want::{Progress, RequestState, WantState};
use super::{Action, FailReason, SelectConfig, SelectStats, Source, SourceInfo, Want, WantRefusal};
use crate::ids::{ChunkCid, DeviceId, GroupIndex, RequestId};
use crate::limits::{MAX_BANS, MAX_HOLDERS, MAX_SOURCES, MAX_WANTS};
use crate::score::{Lie, Score, ScoreBook};
use crate::time::Mono;
use crate::verify::{GroupRange, GroupSet};

/// After so many refusals in a row a source is paused.
const REFUSALS: u32 = 3;

/// The scheduler; see the module page.
///
/// - *handle*: what is wanted ([`Self::handle_want`], [`Self::handle_drop`], [`Self::handle_held`]), who has it
///   ([`Self::handle_holders`], [`Self::handle_source_up`], [`Self::handle_source_down`], [`Self::handle_stat`],
///   [`Self::handle_ban`]), how requests go ([`Self::handle_hashes`], [`Self::handle_group`],
///   [`Self::handle_request_done`], [`Self::handle_request_failed`]), and [`Self::handle_timeout`]
/// - *poll*: [`Self::poll_action`] until it is empty after every handle, then [`Self::poll_timeout`]
/// - *getters*: [`Self::stats`], [`Self::scores`], [`Self::is_wanted`], [`Self::missing`]
#[derive(Debug)]
pub struct Selector {
    pub(super) config: SelectConfig,
    /// The latest time that was handed in.
    pub(super) now: Mono,
    /// Whether something happened that planning could answer.
    pub(super) stale: bool,
    pub(super) wants: BTreeMap<ChunkCid, WantState>,
    pub(super) sources: BTreeMap<Source, SourceState>,
    pub(super) requests: BTreeMap<RequestId, RequestState>,
    pub(super) actions: VecDeque<Action>,
    pub(super) stats: SelectStats,
    pub(super) hedges: HedgeBudget,
    /// Sources kept free for what is about to be played, in the planning under way.
    pub(super) kept: BTreeSet<Source>,
    /// Requests made for what is not urgent: every so many of them explore.
    pub(super) unhurried: u64,
    next_id: u64,
    /// Proven liars, with the number of the ban: the list forgets the oldest.
    banned: BTreeMap<DeviceId, u64>,
    bans: u64,
    book: ScoreBook,
}

impl Selector {
    /// A scheduler without wants and sources. `book` is what is remembered of peers.
    #[must_use]
    pub fn new(config: SelectConfig, book: ScoreBook) -> Self {
        Self {
            config,
            now: Mono(0),
            stale: false,
            wants: BTreeMap::new(),
            sources: BTreeMap::new(),
            requests: BTreeMap::new(),
            actions: VecDeque::new(),
            stats: SelectStats::default(),
            hedges: HedgeBudget::default(),
            kept: BTreeSet::new(),
            unhurried: 0,
            next_id: 0,
            banned: BTreeMap::new(),
            bans: 0,
            book,
        }
    }

    /// A chunk is wanted; or is already, and deadline, class and order change (a seek).
    pub fn handle_want(&mut self, now: Mono, want: Want) -> Result<(), WantRefusal> {
        self.advance(now);
        let progress = match want.len {
            Some(len) => Some(Progress::new(len).ok_or(WantRefusal::Length(len))?),
            None => None,
        };
        if let Some(known) = self.wants.get_mut(&want.cid) {
            known.want = want;
            if let Some(progress) = progress {
                known.learn_len(progress);
            }
            return Ok(());
        }
        if self.wants.len() >= MAX_WANTS {
            return Err(WantRefusal::Full);
        }
        self.wants.insert(want.cid, WantState::new(self.now, want, progress));
        Ok(())
    }

    /// A chunk is wanted no more. Its requests are cancelled.
    pub fn handle_drop(&mut self, now: Mono, cid: ChunkCid) {
        self.advance(now);
        self.wants.remove(&cid);
        self.cancel_where(|request| request.cid == cid);
    }

    /// These groups of a wanted chunk are here already, from the store or another way.
    pub fn handle_held(&mut self, now: Mono, cid: ChunkCid, held: &GroupSet) {
        self.advance(now);
        let Some(progress) = self.wants.get_mut(&cid).and_then(|want| want.progress.as_mut()) else { return };
        for index in held.held().into_iter().flat_map(GroupRange::iter) {
            progress.take(index);
        }
        self.finish_if_complete(cid);
    }

    /// These sources hold a wanted chunk, or part of it. Added to those known.
    pub fn handle_holders(&mut self, now: Mono, cid: ChunkCid, holders: &[Source]) {
        self.advance(now);
        let Some(want) = self.wants.get_mut(&cid) else { return };
        for &holder in holders {
            if matches!(holder, Source::Peer(peer) if self.banned.contains_key(&peer)) {
                continue;
            }
            if want.holders.len() < MAX_HOLDERS || holder == Source::Seed || want.holders.contains(&holder) {
                want.holders.insert(holder);
            } else {
                self.stats.over_limit += 1;
            }
        }
    }

    /// The list of a wanted chunk's group hashes is known and proven, and with it the chunk's length in bytes. To be
    /// said before the groups of the same answer.
    pub fn handle_hashes(&mut self, now: Mono, cid: ChunkCid, len: u64) {
        self.advance(now);
        let Some(want) = self.wants.get_mut(&cid) else { return };
        let Some(progress) = Progress::new(len) else { return };
        want.learn_len(progress);
        want.hashes_known = true;
    }

    /// A source is connected; or is already, and what is known of its path has changed.
    pub fn handle_source_up(&mut self, now: Mono, source: Source, info: SourceInfo) {
        self.advance(now);
        if let Source::Peer(peer) = source
            && self.banned.contains_key(&peer)
        {
            return;
        }
        if let Some(known) = self.sources.get_mut(&source) {
            known.info = SourceInfo { lanes: info.lanes.clamp(1, crate::limits::MAX_LANES), ..info };
            return;
        }
        if self.sources.len() >= MAX_SOURCES && source != Source::Seed {
            self.stats.over_limit += 1;
            return;
        }
        let (score, assumed_rate) = match source {
            Source::Seed => (Score::default(), self.config.seed_rate),
            Source::Peer(peer) => {
                let assumed = if info.lan { self.config.lan_rate } else { self.config.peer_rate };
                (self.book.get(peer).copied().unwrap_or_default(), assumed)
            }
        };
        self.sources.insert(source, SourceState::new(self.now, info, score, assumed_rate));
    }

    /// A source's last connection is gone, with all requests to it. It stays a holder, for when it comes back.
    pub fn handle_source_down(&mut self, now: Mono, source: Source) {
        self.advance(now);
        let lost: Vec<_> = self.requests.iter().filter(|(_, r)| r.source == source).map(|(id, _)| *id).collect();
        for id in lost {
            self.end_request(id, false);
        }
        if let (Some(gone), Source::Peer(peer)) = (self.sources.remove(&source), source) {
            self.book.put(peer, gone.score);
        }
    }

    /// A source says what it could give now: bytes per second if its line has a limit, and bytes queued before ours.
    pub fn handle_stat(&mut self, now: Mono, source: Source, rate: Option<u64>, queued: u64) {
        self.advance(now);
        if let Some(known) = self.sources.get_mut(&source) {
            known.note_stat(self.now, rate, queued);
        }
    }

    /// A device is banned, by the list of bans or for a lie elsewhere. Emits no [`Action::Ban`].
    pub fn handle_ban(&mut self, now: Mono, peer: DeviceId) {
        self.advance(now);
        if !self.banned.contains_key(&peer) {
            if self.banned.len() >= MAX_BANS
                && let Some(oldest) = self.banned.iter().min_by_key(|(_, number)| **number).map(|(id, _)| *id)
            {
                self.banned.remove(&oldest);
            }
            self.bans += 1;
            self.banned.insert(peer, self.bans);
        }
        let source = Source::Peer(peer);
        self.cancel_where(|request| request.source == source);
        for want in self.wants.values_mut() {
            want.holders.remove(&source);
        }
        if let Some(gone) = self.sources.remove(&source) {
            self.book.put(peer, gone.score);
        }
    }

    /// A verified group has come by a request; `bytes` is its length.
    pub fn handle_group(&mut self, now: Mono, id: RequestId, index: GroupIndex, bytes: u64) {
        self.now = self.now.max(now);
        let Some(request) = self.requests.get_mut(&id) else {
            self.stats.duplicate_bytes += bytes;
            return;
        };
        // Groups come in order; those left out will not come by this request.
        let skipped = if request.range.contains(index) { request.range.start..index.0 } else { 0..0 };
        let settled = if request.range.contains(index) { index.0 + 1 - request.range.start } else { 0 };
        request.range.start += settled;
        let ended = request.range.is_empty();
        request.last_progress = self.now;
        let (source, cid) = (request.source, request.cid);
        let mut lan = false;
        if let Some(known) = self.sources.get_mut(&source) {
            known.note_bytes(self.now, bytes);
            known.note_settled(settled);
            lan = known.info.lan;
            // In between two pieces there is nothing to plan.
            self.stale |= ended || settled > 1 || known.wants_work();
        }
        let progress = self.wants.get_mut(&cid).and_then(|want| want.progress.as_mut());
        let (fresh, hedged) = progress.map_or((false, false), |progress| {
            skipped.for_each(|gone| progress.miss(GroupIndex(gone)));
            let hedged = progress.is_hedged(index);
            (progress.take(index), hedged)
        });
        if fresh {
            self.hedges.earn(bytes);
        }
        if hedged {
            self.settle_hedge(cid, index);
        }
        let counter = match source {
            _ if !fresh => &mut self.stats.duplicate_bytes,
            Source::Seed => &mut self.stats.seed_bytes,
            Source::Peer(_) if lan => &mut self.stats.lan_bytes,
            Source::Peer(_) => &mut self.stats.peer_bytes,
        };
        *counter += bytes;
        self.finish_if_complete(cid);
    }

    /// A request's answer has ended. Groups of it that have not come are asked for elsewhere.
    pub fn handle_request_done(&mut self, now: Mono, id: RequestId) {
        self.advance(now);
        let Some(request) = self.requests.get(&id) else { return };
        if request.range.is_empty() {
            self.end_request(id, true);
        } else {
            self.handle_request_failed(now, id, FailReason::Broken);
        }
    }

    /// A request has failed. Its missing groups are asked for again, here or elsewhere.
    pub fn handle_request_failed(&mut self, now: Mono, id: RequestId, reason: FailReason) {
        self.advance(now);
        let Some(request) = self.requests.get(&id) else { return };
        let (source, cid) = (request.source, request.cid);
        self.end_request(id, false);
        match reason {
            FailReason::Busy { retry_after } => {
                self.stats.busy += 1;
                if let Some(known) = self.sources.get_mut(&source) {
                    known.note_busy(self.now, retry_after);
                }
            }
            FailReason::NotFound => {
                self.stats.not_found += 1;
                if let Some(known) = self.sources.get_mut(&source) {
                    known.note_miss(self.now);
                }
                self.forget_holder(cid, source);
            }
            FailReason::Refused => {
                self.stats.refused += 1;
                self.note_refusal(source);
                self.forget_holder(cid, source);
            }
            FailReason::Broken => {
                self.stats.broken += 1;
                self.fail(source);
            }
            FailReason::Stalled => self.note_stall(source),
            FailReason::BadData(lie) => self.note_lie(source, cid, lie),
        }
    }

    /// Time has come, as [`Self::poll_timeout`] said.
    pub fn handle_timeout(&mut self, now: Mono) {
        self.advance(now);
    }

    /// The next thing to do; none when all is said.
    pub fn poll_action(&mut self) -> Option<Action> {
        if self.actions.is_empty() && self.stale {
            self.stale = false;
            self.plan();
        }
        self.actions.pop_front()
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> SelectStats {
        self.stats
    }

    /// What is known of peers, those connected now included: to be kept on disk.
    #[must_use]
    pub fn scores(&self) -> ScoreBook {
        let mut book = self.book.clone();
        for (source, state) in &self.sources {
            if let Source::Peer(peer) = source {
                book.put(*peer, state.score);
            }
        }
        book
    }

    /// What is known of a connected source.
    #[must_use]
    pub fn score(&self, source: Source) -> Option<&Score> {
        self.sources.get(&source).map(|state| &state.score)
    }

    /// Whether a chunk is wanted and not complete.
    #[must_use]
    pub fn is_wanted(&self, cid: ChunkCid) -> bool {
        self.wants.contains_key(&cid)
    }

    /// Groups of a wanted chunk that are not here; none if it is not wanted or its length is unknown.
    #[must_use]
    pub fn missing(&self, cid: ChunkCid) -> Option<Vec<GroupRange>> {
        Some(self.wants.get(&cid)?.progress.as_ref()?.held.missing())
    }

    /// Number of wants, requests in flight and sources, for metrics.
    #[must_use]
    pub fn sizes(&self) -> (usize, usize, usize) {
        (self.wants.len(), self.requests.len(), self.sources.len())
    }

    fn advance(&mut self, now: Mono) {
        self.now = self.now.max(now);
        self.stale = true;
    }

    pub(super) fn next_request_id(&mut self) -> RequestId {
        self.next_id += 1;
        RequestId(self.next_id)
    }

    /// Ends a request: its open groups may be asked for again.
    pub(super) fn end_request(&mut self, id: RequestId, whole: bool) {
        let Some(request) = self.requests.remove(&id) else { return };
        let want = self.wants.get_mut(&request.cid);
        let in_time = want.as_ref().is_none_or(|want| self.now <= want.want.deadline);
        if let Some(want) = want {
            if want.probe == Some(id) {
                want.probe = None;
            }
            if let Some(progress) = &mut want.progress {
                // What is here by way of another request is neither open nor asked for.
                let missed = request.range.iter().filter(|index| !progress.held.contains(*index));
                let missed: Vec<_> = missed.collect();
                missed.into_iter().for_each(|index| progress.miss(index));
            }
        }
        if let Some(source) = self.sources.get_mut(&request.source) {
            source.note_settled(request.range.len());
            source.note_end(self.now, id, whole);
            if whole {
                source.score.record_success(request.expected, self.now - request.started, in_time);
            }
        }
    }

    pub(super) fn cancel(&mut self, id: RequestId) {
        if self.requests.contains_key(&id) {
            self.end_request(id, false);
            self.stats.cancels += 1;
            self.actions.push_back(Action::Cancel { id });
        }
    }

    fn cancel_where(&mut self, chosen: impl Fn(&RequestState) -> bool) {
        let ids: Vec<_> = self.requests.iter().filter(|(_, request)| chosen(request)).map(|(id, _)| *id).collect();
        ids.into_iter().for_each(|id| self.cancel(id));
    }

    /// Takes a complete chunk off the wants. A request whose last group this was is still to be reported as done.
    fn finish_if_complete(&mut self, cid: ChunkCid) {
        if !self.wants.get(&cid).is_some_and(WantState::is_complete) {
            return;
        }
        if let Some(want) = self.wants.remove(&cid) {
            let counter = if self.now <= want.want.deadline { &mut self.stats.in_time } else { &mut self.stats.late };
            *counter += 1;
        }
        self.actions.push_back(Action::Complete { cid });
        self.cancel_where(|request| request.cid == cid && !request.range.is_empty());
    }

    fn fail(&mut self, source: Source) {
        if let Some(known) = self.sources.get_mut(&source) {
            known.score.record_failure();
            known.pause(self.now, known.score.pause());
        }
    }

    /// The source does not serve us: happens as grants lapse and are renewed. Only one that refuses again and again is
    /// left alone for a while.
    fn note_refusal(&mut self, source: Source) {
        if let Some(known) = self.sources.get_mut(&source) {
            known.score.record_failure();
            if known.score.failing >= REFUSALS {
                known.pause(self.now, known.score.pause());
            }
        }
    }

    pub(super) fn note_stall(&mut self, source: Source) {
        self.stats.stalls += 1;
        if let Some(known) = self.sources.get_mut(&source) {
            known.note_stall(self.now);
        }
    }

    fn forget_holder(&mut self, cid: ChunkCid, source: Source) {
        if let Some(want) = self.wants.get_mut(&cid) {
            want.holders.remove(&source);
        }
    }

    fn note_lie(&mut self, source: Source, cid: ChunkCid, lie: Lie) {
        self.stats.lies += 1;
        if let Some(known) = self.sources.get_mut(&source) {
            known.score.lies = known.score.lies.saturating_add(1);
        }
        match source {
            Source::Peer(peer) => {
                self.handle_ban(self.now, peer);
                self.actions.push_back(Action::Ban { peer, lie });
            }
            // A device cannot do without its seed. Its copy of this chunk is bad: not asked again until the seed
            // is reported as a holder anew, and not at once.
            Source::Seed => {
                self.fail(source);
                self.forget_holder(cid, source);
            }
        }
    }
}
