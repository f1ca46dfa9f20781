//! Planning: what follows from the state, in the order of urgency. Nothing here learns; it only decides.

use super::rules::{Rank, seed_lead};
use super::source::SourceState;
use super::want::{RequestState, WantState};
use super::{Action, Fetch, Selector, Source};
use crate::ids::{ChunkCid, RequestId};
use crate::limits::GROUP_BYTES;
use crate::serve::Class;
use crate::time::{Micros, Mono};
use crate::verify::GroupRange;

/// While requests are in flight, stalls and laggards are looked for this often.
const TICK: Micros = Micros::from_millis(100);
/// How long another source must look much faster, or a silence must last where there is an alternative.
const HYSTERESIS: Micros = Micros::from_secs(1);
/// How long a silence must last where there is none; doubled with each failure in a row, as the source may be slow.
const PATIENCE: Micros = Micros::from_secs(2);
/// How long a silence must last where there is an alternative and what is awaited is needed within [`PRESSED`].
const PATIENCE_PRESSED: Micros = Micros::from_millis(300);
const PRESSED: Micros = Micros::from_secs(2);
/// The silence allowed once the seed has to step in.
pub(super) const PATIENCE_LATE: Micros = Micros::from_millis(100);
/// One lane may be silent for this long while others of its source move.
const LANE_PATIENCE: Micros = Micros::from_secs(5);
/// A tail moves to a source that brings it at least this many times sooner.
const SPEEDUP: u64 = 2;
/// Of so many requests for what is not urgent, one goes to a source of which little is known.
const EXPLORE_EVERY: u64 = 16;
/// Most groups of such a request: enough to learn a rate.
const EXPLORE_GROUPS: u32 = 4;
/// Holders in good standing beyond those in use: one may fail while another is looked for.
const RESERVE: usize = 2;
/// Without any source for so long after its deadline, a chunk is called given up.
const ALONE: Micros = Micros::from_secs(5);

pub(super) const GROUP: u64 = GROUP_BYTES as u64;

/// A source that could be asked for a piece of a want.
pub(super) struct Candidate {
    pub source: Source,
    /// Groups it may be asked for now.
    pub room: u32,
    /// When a piece would be here.
    arrival: Mono,
    /// Whether that is before the deadline.
    in_time: bool,
    /// Whether it is on trial.
    pub on_trial: bool,
    /// Order of choice.
    order: Rank,
}

impl Selector {
    pub(super) fn plan(&mut self) {
        let now = self.now;
        self.sources.values_mut().for_each(|source| source.rest(now));
        self.end_stalls();
        let mut wants: Vec<_> = self.wants.values().map(|want| want.order(self.now, self.config.urgent)).collect();
        wants.sort_unstable();
        self.kept.clear();
        for (.., cid) in wants {
            self.look_for_holders(cid);
            self.assign(cid);
            self.keep(cid);
        }
        self.split();
        self.hedge();
    }

    /// When to call [`Selector::handle_timeout`] if nothing happens before; none if only an event can change things.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Mono> {
        let tick = (!self.requests.is_empty()).then(|| self.now + TICK);
        let pauses = self.sources.values().map(|source| source.pause_until).filter(|_| !self.wants.is_empty());
        let wants = self.wants.values().flat_map(|want| {
            let asks = self.needs_holders(want).then_some(want.ask_at);
            let takeover = want.is_open().then(|| self.takeover_at(want)).flatten();
            let alone = want.alone_since.filter(|_| !want.gave_up).map(|since| gives_up_at(want, since));
            [asks, takeover, alone]
        });
        tick.into_iter().chain(pauses).chain(wants.flatten()).filter(|&at| at > self.now).min()
    }

    /// Takes requests away from sources that have fallen silent.
    fn end_stalls(&mut self) {
        let silent: Vec<_> = self
            .sources
            .iter()
            .filter(|(source, state)| {
                let overdue = state.overdue(self.now);
                overdue > Micros(0) && overdue >= self.patience(**source, state)
            })
            .map(|(source, state)| (*source, state.requests.iter().copied().collect::<Vec<_>>()))
            .collect();
        for (source, requests) in silent {
            requests.into_iter().for_each(|id| self.cancel(id));
            self.note_stall(source);
        }
        let stuck: Vec<_> =
            self.requests.iter().filter(|(_, request)| self.is_stuck(request)).map(|(id, r)| (*id, r.source)).collect();
        for (id, source) in stuck {
            self.cancel(id);
            self.note_stall(source);
        }
    }

    /// How long a source may be silent beyond its expected gap: long where nobody else could do it.
    pub(super) fn patience(&self, source: Source, state: &SourceState) -> Micros {
        let doublings = state.score.failing.min(5);
        let alone = Micros(PATIENCE.0.max(state.gap().0) << doublings);
        let requests = state.requests.iter().filter_map(|id| self.requests.get(id));
        let wants = requests.filter_map(|request| self.wants.get(&request.cid));
        wants.map(|want| self.patience_for(want, source, alone)).min().unwrap_or(alone)
    }

    fn patience_for(&self, want: &WantState, source: Source, alone: Micros) -> Micros {
        let due = self.seed_due(want);
        let mut others = want.holders.iter().filter(|&&holder| holder != source && (holder != Source::Seed || due));
        if !others.any(|holder| {
            self.sources.get(holder).is_some_and(|other| !other.is_paused(self.now) && !other.is_on_trial())
        }) {
            return alone;
        }
        match source {
            Source::Peer(_) if due => PATIENCE_LATE,
            _ if want.want.deadline <= self.now + PRESSED => PATIENCE_PRESSED,
            _ => HYSTERESIS,
        }
    }

    /// Whether a lane has been silent for far longer than all that its source owes us takes.
    fn is_stuck(&self, request: &RequestState) -> bool {
        let Some(source) = self.sources.get(&request.source) else { return false };
        let owed = source.transfer_time(source.outstanding).0.saturating_mul(4);
        let patience = Micros(owed.max(LANE_PATIENCE.0)) + source.info.rtt;
        !request.range.is_empty() && self.now - request.last_progress.max(request.started) > patience
    }

    fn needs_holders(&self, want: &WantState) -> bool {
        let peers = self.peers_up(want);
        match want.want.class {
            // An upload's source is chosen by its duty, stand-ins included.
            Class::Upload => peers < 1,
            _ => peers < self.config.min_holders || self.lacks_reserve(want),
        }
    }

    /// Whether too few holders would be left if one of those in use failed: what has failed lately does not count.
    fn lacks_reserve(&self, want: &WantState) -> bool {
        let peers = want.holders.iter().filter(|&&holder| holder != Source::Seed);
        let spare = peers.filter_map(|peer| self.sources.get(peer)).filter(|state| !state.is_on_trial());
        spare.filter(|state| state.requests.is_empty()).count() < RESERVE
    }

    fn peers_up(&self, want: &WantState) -> usize {
        want.holders.iter().filter(|&&holder| holder != Source::Seed && self.sources.contains_key(&holder)).count()
    }

    fn look_for_holders(&mut self, cid: ChunkCid) {
        let Some(want) = self.wants.get(&cid) else { return };
        let needed = self.needs_holders(want);
        let alone = !want.holders.iter().any(|holder| self.sources.contains_key(holder));
        let now = self.now;
        let Some(want) = self.wants.get_mut(&cid) else { return };
        if needed && now >= want.ask_at {
            want.note_ask(now);
            self.actions.push_back(Action::NeedHolders { cid });
        }
        if !alone {
            (want.alone_since, want.gave_up) = (None, false);
            return;
        }
        let since = *want.alone_since.get_or_insert(now);
        if !want.gave_up && now >= gives_up_at(want, since) {
            want.gave_up = true;
            self.actions.push_back(Action::GaveUp { cid });
        }
    }

    /// From when on the seed is asked; none where it does not hold the chunk or is not connected.
    fn takeover_at(&self, want: &WantState) -> Option<Mono> {
        let seed = self.sources.get(&Source::Seed).filter(|_| want.holders.contains(&Source::Seed))?;
        let expected = seed.arrival(self.now, want.missing_bytes()) - self.now;
        let lead = seed_lead(&self.config, expected, self.peers_up(want) == 0);
        Some(Mono(want.want.deadline.0.saturating_sub(lead.0)))
    }

    fn seed_due(&self, want: &WantState) -> bool {
        self.takeover_at(want).is_some_and(|at| at <= self.now)
    }

    /// Keeps the sources of a chunk that is about to be played, and of which there is still something to be asked for,
    /// from filling up with what is played later: its short queues would wait behind long ones.
    fn keep(&mut self, cid: ChunkCid) {
        let Some(want) = self.wants.get(&cid) else { return };
        if want.progress.is_some() && want.is_open() && self.is_pressed(want) {
            self.kept.extend(want.holders.iter().copied());
        }
    }

    fn is_pressed(&self, want: &WantState) -> bool {
        want.want.in_order && want.is_urgent(self.now, PRESSED)
    }

    /// Asks sources for the open groups of a want, as far as they have room.
    fn assign(&mut self, cid: ChunkCid) {
        while let Some((source, range)) = self.wants.get(&cid).and_then(|want| self.choose(want)) {
            self.request(cid, source, range);
        }
    }

    /// The next piece of a want and whom to ask for it.
    fn choose(&self, want: &WantState) -> Option<(Source, GroupRange)> {
        if !want.is_open() {
            return None;
        }
        let Some(progress) = &want.progress else {
            let best = self.candidates(want, 1).into_iter().find(|candidate| candidate.room > 0)?;
            return Some((best.source, GroupRange::new(0, 1)));
        };
        let front = progress.first_open()?;
        let open = progress.open_groups();
        let candidates = self.candidates(want, open);
        let best = candidates.first()?;
        let take_front = |candidate: &Candidate| {
            let end = front.end.min(front.start.saturating_add(candidate.room));
            (candidate.source, GroupRange::new(front.start, end))
        };
        if let Some(other) = candidates.iter().find(|other| self.explores(want, other)) {
            return Some(take_front(&Candidate { room: other.room.min(EXPLORE_GROUPS), ..*other }));
        }
        if best.room > 0 {
            return Some(take_front(best));
        }
        // The best has its hands full. Another in time may go ahead; a late one only helps where it brings the tail
        // sooner than the best could bring all that is open.
        let all = self.sources.get(&best.source)?.arrival(self.now, u64::from(open) * GROUP);
        let other = candidates
            .iter()
            .find(|candidate| candidate.room > 0 && (candidate.in_time || candidate.arrival <= all))?;
        if !want.want.in_order || (other.in_time && !other.on_trial) {
            return Some(take_front(other));
        }
        let back = progress.last_open()?;
        Some((other.source, GroupRange::new(back.start.max(back.end.saturating_sub(other.room)), back.end)))
    }

    /// Whether the next request goes to this source in order to learn what it carries: who looked slow once, or was
    /// never asked, would never be asked again while others are good enough, and be missed when they are not.
    fn explores(&self, want: &WantState, candidate: &Candidate) -> bool {
        let turn = self.unhurried % EXPLORE_EVERY == EXPLORE_EVERY - 1;
        let idle = |state: &SourceState| state.requests.is_empty() && !state.is_known(self.now);
        turn && !want.is_urgent(self.now, self.config.urgent)
            && matches!(candidate.source, Source::Peer(_))
            && candidate.in_time
            && !candidate.on_trial
            && candidate.room > 0
            && self.sources.get(&candidate.source).is_some_and(idle)
    }

    /// Sources that may be asked for a want now, best first. `open` groups are to be dealt out.
    pub(super) fn candidates(&self, want: &WantState, open: u32) -> Vec<Candidate> {
        let due = self.seed_due(want);
        let urgent = want.is_urgent(self.now, self.config.urgent);
        let pressed = self.is_pressed(want);
        let mut usable: Vec<_> = want
            .holders
            .iter()
            .filter(|&&source| source != Source::Seed || due)
            .filter(|source| pressed || !self.kept.contains(source))
            .filter_map(|&source| Some((source, self.sources.get(&source)?)))
            .filter(|(_, state)| !state.is_paused(self.now))
            .collect();
        if usable.iter().any(|(source, state)| *source == Source::Seed && !state.is_on_trial()) {
            // Once the seed steps in there is no time for trials.
            usable.retain(|(_, state)| !state.is_on_trial());
        }
        let spread = open.div_ceil(u32::try_from(usable.len()).unwrap_or(u32::MAX).max(1));
        let mut candidates: Vec<_> = usable
            .into_iter()
            .map(|(source, state)| {
                let room = state.room(urgent, want.want.in_order, spread);
                let room = if pressed { room.min(state.pressed_room(self.owed(state, want))) } else { room };
                let arrival = state.arrival(self.now, u64::from(room.max(1)) * GROUP);
                // A group's time in hand, as rates waver.
                let in_time = arrival + state.gap() <= want.want.deadline;
                let on_trial = state.is_on_trial();
                let order = Rank::new(source, &state.info, arrival, in_time, on_trial);
                Candidate { source, room, arrival, in_time, on_trial, order }
            })
            .collect();
        candidates.sort_unstable_by_key(|candidate| candidate.order);
        self.keep_home(want, candidates)
    }

    /// Groups of a chunk that a source has been asked for and has not brought.
    fn owed(&self, source: &SourceState, want: &WantState) -> u32 {
        let requests = source.requests.iter().filter_map(|id| self.requests.get(id));
        requests.filter(|request| request.cid == want.want.cid).map(|request| request.range.len()).sum()
    }

    /// Where a source at home would bring all that is missing in time, the others are left alone.
    fn keep_home(&self, want: &WantState, mut candidates: Vec<Candidate>) -> Vec<Candidate> {
        let missing = want.missing_bytes();
        let suffices = |candidate: &Candidate| {
            self.sources
                .get(&candidate.source)
                .is_some_and(|state| state.info.lan && state.arrival(self.now, missing) <= want.want.deadline)
        };
        if candidates.iter().any(suffices) {
            candidates.retain(|candidate| self.sources.get(&candidate.source).is_some_and(|state| state.info.lan));
        }
        candidates
    }

    pub(super) fn request(&mut self, cid: ChunkCid, source: Source, range: GroupRange) {
        let id = self.next_request_id();
        let (Some(want), Some(state)) = (self.wants.get_mut(&cid), self.sources.get_mut(&source)) else { return };
        match &mut want.progress {
            Some(progress) => progress.ask(range),
            None => want.probe = Some(id),
        }
        if !want.is_urgent(self.now, self.config.urgent) {
            let turn = self.unhurried % EXPLORE_EVERY == EXPLORE_EVERY - 1;
            self.stats.explored += u64::from(turn && !state.is_known(self.now) && state.requests.is_empty());
            self.unhurried += 1;
        }
        let arrival = state.arrival(self.now, u64::from(range.len()) * GROUP) - self.now;
        state.note_request(self.now, id, range.len());
        let request = RequestState {
            source,
            cid,
            range,
            started: self.now,
            expected: Micros(arrival.0.saturating_sub(state.doubt().0)),
            last_progress: self.now,
            behind_since: None,
        };
        self.requests.insert(id, request);
        self.stats.requests += 1;
        self.actions.push_back(Action::Request(Fetch {
            id,
            source,
            cid,
            range,
            deadline: want.want.deadline,
            class: want.want.class,
            want_hashes: !want.hashes_known,
        }));
    }

    /// Moves tails of laggards to faster sources. Only of chunks with nothing open: open groups come first.
    fn split(&mut self) {
        let requests: Vec<_> = self.requests.iter().map(|(id, request)| (*id, request.cid)).collect();
        for (id, cid) in requests {
            if self.wants.get(&cid).is_some_and(|want| !want.is_open()) {
                self.split_request(cid, id);
            }
        }
    }

    fn split_request(&mut self, cid: ChunkCid, id: RequestId) {
        let (Some(want), Some(request)) = (self.wants.get(&cid), self.requests.get(&id)) else { return };
        let Some(finish) = self.expected_end(id, request) else { return };
        // A group's time in hand here too.
        let latest = Mono(want.want.deadline.0.saturating_sub(self.gap_of(request.source).0));
        let late = finish > latest && request.source != Source::Seed && self.seed_due(want);
        let takeover = late.then_some(latest);
        let target = self.faster_source(want, id, request, finish, takeover);
        let now = self.now;
        let Some(request) = self.requests.get_mut(&id) else { return };
        let Some((source, tail)) = target else {
            request.behind_since = None;
            return;
        };
        let since = *request.behind_since.get_or_insert(now);
        if source != Source::Seed && now - since < HYSTERESIS {
            return;
        }
        self.stats.splits += 1;
        self.stats.takeovers += u64::from(source == Source::Seed);
        self.move_tail(cid, id, source, tail);
    }

    /// When a request would end: after what its source owes us on older ones, and later by as much as it is silent.
    fn expected_end(&self, id: RequestId, request: &RequestState) -> Option<Mono> {
        let source = self.sources.get(&request.source)?;
        let older = source.requests.range(..id).filter_map(|older| self.requests.get(older));
        let groups = older.map(|older| u64::from(older.range.len())).sum::<u64>() + u64::from(request.range.len());
        // Before its first group a request still owes the way there and back.
        let way = if request.has_begun() { Micros(0) } else { (request.started + source.info.rtt) - self.now };
        Some(self.now + way + source.transfer_time(groups * GROUP) + source.overdue(self.now) + source.doubt())
    }

    /// The source that should take a tail of this request, and the tail's length in groups.
    fn faster_source(
        &self,
        want: &WantState,
        id: RequestId,
        request: &RequestState,
        finish: Mono,
        takeover: Option<Mono>,
    ) -> Option<(Source, u32)> {
        let slow = self.sources.get(&request.source)?;
        let left = request.range.len();
        let candidates = self.candidates(want, left);
        let others =
            candidates.iter().filter(|other| other.source != request.source && other.room > 0 && !other.on_trial);
        let gains = others.filter_map(|other| {
            let state = self.sources.get(&other.source)?;
            // Only the deadline overrules what is on its way, and only in favour of the seed.
            let due = takeover.filter(|_| other.source == Source::Seed).map(|_| want.want.deadline);
            let most = left - u32::from(self.head_comes(id, slow, due)).min(left);
            let tail = self.tail_for(slow, state, left, finish, takeover).min(most).min(other.room);
            let arrival = state.arrival(self.now, u64::from(tail) * GROUP);
            let (theirs, ours) = (arrival - self.now, finish - self.now);
            // The seed is for what would be late, not for what could be sooner.
            let faster = match other.source {
                Source::Seed => takeover.is_some() && theirs < ours,
                Source::Peer(_) => theirs.0.saturating_mul(SPEEDUP) <= ours.0,
            };
            (tail > 0 && faster).then_some((other.order, other.source, tail))
        });
        gains.min().map(|(_, source, tail)| (source, tail))
    }

    /// Whether the first group of a request is on its way, on one of its source's lanes, and worth waiting for: to
    /// move it would throw away what has come of it.
    fn head_comes(&self, id: RequestId, source: &SourceState, takeover_for: Option<Mono>) -> bool {
        let mut busy = source.requests.iter().filter(|id| self.requests.get(id).is_some_and(|r| !r.range.is_empty()));
        let Some(place) = busy.position(|other| *other == id) else { return false };
        // A silent source is a matter of patience, not of splitting: what ends there counts as a failure, so that two
        // slow sources do not take one group from each other for ever.
        let Some(due) = takeover_for else { return place < usize::from(source.info.lanes) };
        let comes = source.last_progress + Micros(source.gap().0.saturating_mul(place as u64 + 1));
        // Once it is late anyway, a moment more costs less than what has come of it.
        let latest = if due < self.now { self.now + HYSTERESIS } else { due };
        place < usize::from(source.info.lanes) && self.now <= comes && comes <= latest
    }

    /// How many of the last groups of a request another source should take: so many that both end at about the same
    /// time, and more where what is left would still be later than it may be.
    fn tail_for(&self, slow: &SourceState, fast: &SourceState, left: u32, finish: Mono, latest: Option<Mono>) -> u32 {
        let per_group = slow.transfer_time(GROUP).0;
        let enough = |tail: &u32| {
            let kept = finish.0.saturating_sub(per_group.saturating_mul(u64::from(*tail)));
            fast.arrival(self.now, u64::from(*tail) * GROUP).0 >= kept && latest.is_none_or(|latest| kept <= latest.0)
        };
        (1..=left).find(enough).unwrap_or(left)
    }

    fn gap_of(&self, source: Source) -> Micros {
        self.sources.get(&source).map_or(Micros(0), SourceState::gap)
    }

    fn move_tail(&mut self, cid: ChunkCid, id: RequestId, source: Source, tail: u32) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        let moved = GroupRange::new(request.range.end.saturating_sub(tail), request.range.end);
        if moved.start <= request.range.start {
            self.cancel(id);
        } else {
            request.range.end = moved.start;
            request.behind_since = None;
            let slow = request.source;
            if let Some(slow) = self.sources.get_mut(&slow) {
                slow.note_settled(moved.len());
            }
            if let Some(progress) = self.wants.get_mut(&cid).and_then(|want| want.progress.as_mut()) {
                moved.iter().for_each(|index| progress.miss(index));
            }
            self.actions.push_back(Action::Trim { id, end: moved.start });
        }
        self.request(cid, source, moved);
    }
}

fn gives_up_at(want: &WantState, alone_since: Mono) -> Mono {
    want.want.deadline.max(alone_since + ALONE)
}
