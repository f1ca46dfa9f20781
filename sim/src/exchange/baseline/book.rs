//! What every rule has to know: wants, sources, requests.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use aftercast_protocol::ids::{ChunkCid, GroupIndex, RequestId};
use aftercast_protocol::limits::GROUP_BYTES;
use aftercast_protocol::select::{Action, FailReason, Fetch, Source, SourceInfo, Want};
use aftercast_protocol::time::{Micros, Mono};
use aftercast_protocol::verify::{GroupRange, GroupSet, groups_of_len};

/// How long a source is left alone after a failure.
const PAUSE: Micros = Micros::from_secs(1);
/// Rates are measured over this.
const SPAN: Micros = Micros::from_secs(1);

#[derive(Debug)]
pub(in super::super) struct Wanted {
    pub want: Want,
    pub held: GroupSet,
    pub holders: BTreeSet<Source>,
    pub hashes_known: bool,
    /// Whether a search for holders was asked for.
    searched: bool,
}

#[derive(Debug)]
pub(in super::super) struct Asked {
    pub source: Source,
    pub cid: ChunkCid,
    /// What has not come of it.
    pub range: GroupRange,
    /// When something last came of it; when it was made, before.
    pub progress: Mono,
}

#[derive(Debug)]
pub(in super::super) struct SourceBook {
    pub info: SourceInfo,
    pub pause_until: Mono,
    pub last_group: Option<Mono>,
    /// Bytes of groups asked for and not yet here.
    pub outstanding: u64,
    /// Bytes a second, as last measured; 0 while unknown.
    pub rate: u64,
    /// The best so far.
    pub peak: u64,
    /// Bytes that have come in all.
    pub bytes: u64,
    sample: Option<(Mono, u64)>,
}

/// What happened, and what is to be done.
#[derive(Debug, Default)]
pub(in super::super) struct Book {
    pub now: Mono,
    pub wants: BTreeMap<ChunkCid, Wanted>,
    pub sources: BTreeMap<Source, SourceBook>,
    pub requests: BTreeMap<RequestId, Asked>,
    pub actions: VecDeque<Action>,
    /// Complete since the rule was asked last.
    pub completed: Vec<ChunkCid>,
    banned: BTreeSet<Source>,
    next_id: u64,
}

impl Wanted {
    /// Number of groups.
    pub fn groups(&self) -> u32 {
        self.held.groups()
    }
}

impl Book {
    /// Wanted chunks, the earliest deadline first.
    pub fn by_deadline(&self) -> Vec<ChunkCid> {
        let mut order: Vec<_> = self.wants.values().map(|wanted| (wanted.want.deadline, wanted.want.cid)).collect();
        order.sort_unstable();
        order.into_iter().map(|(_, cid)| cid).collect()
    }

    /// How often each group of a chunk is asked for now.
    pub fn asked(&self, cid: ChunkCid) -> Vec<u32> {
        let groups = self.wants.get(&cid).map_or(0, Wanted::groups);
        let mut asked = vec![0; groups as usize];
        for request in self.requests.values().filter(|request| request.cid == cid) {
            for index in request.range.iter() {
                if let Some(count) = asked.get_mut(index.0 as usize) {
                    *count += 1;
                }
            }
        }
        asked
    }

    /// The first run of groups that are neither here nor asked for.
    pub fn first_open(&self, cid: ChunkCid) -> Option<GroupRange> {
        let held = &self.wants.get(&cid)?.held;
        let asked = self.asked(cid);
        let open = |index: &u32| !held.contains(GroupIndex(*index)) && asked.get(*index as usize) == Some(&0);
        let start = (0..held.groups()).find(open)?;
        let end = (start..held.groups()).find(|index| !open(index)).unwrap_or(held.groups());
        Some(GroupRange::new(start, end))
    }

    /// Connected peers that hold a chunk and may be asked now.
    pub fn peers_of(&self, cid: ChunkCid) -> Vec<Source> {
        let holders = self.wants.get(&cid).into_iter().flat_map(|wanted| &wanted.holders);
        holders.copied().filter(|source| *source != Source::Seed && self.may_ask(*source)).collect()
    }

    /// Whether the seed holds a chunk and may be asked now.
    pub fn seed_has(&self, cid: ChunkCid) -> bool {
        self.wants.get(&cid).is_some_and(|wanted| wanted.holders.contains(&Source::Seed)) && self.may_ask(Source::Seed)
    }

    pub fn may_ask(&self, source: Source) -> bool {
        self.sources.get(&source).is_some_and(|state| state.pause_until <= self.now)
    }

    /// Requests in flight for a chunk.
    pub fn requests_of(&self, cid: ChunkCid) -> impl Iterator<Item = (RequestId, &Asked)> {
        self.requests.iter().filter(move |(_, asked)| asked.cid == cid).map(|(id, asked)| (*id, asked))
    }

    /// Requests in flight to a source.
    pub fn load(&self, source: Source) -> usize {
        self.requests.values().filter(|request| request.source == source).count()
    }

    pub fn request(&mut self, cid: ChunkCid, source: Source, range: GroupRange) {
        let (Some(wanted), Some(state)) = (self.wants.get(&cid), self.sources.get_mut(&source)) else { return };
        self.next_id += 1;
        let id = RequestId(self.next_id);
        state.begin(self.now, range);
        // The list comes once.
        let want_hashes = !wanted.hashes_known && !self.requests.values().any(|asked| asked.cid == cid);
        let asked = Asked { source, cid, range, progress: self.now };
        self.requests.insert(id, asked);
        self.actions.push_back(Action::Request(Fetch {
            id,
            source,
            cid,
            range,
            deadline: wanted.want.deadline,
            class: wanted.want.class,
            want_hashes,
        }));
    }

    pub fn cancel(&mut self, id: RequestId) {
        if self.requests.contains_key(&id) {
            self.end(id);
            self.actions.push_back(Action::Cancel { id });
        }
    }

    /// Cancels what a source has been silent on for too long, and leaves it alone for a while.
    pub fn cancel_silent(&mut self, source: impl Fn(Source) -> bool, patience: Micros) {
        let late = |asked: &Asked| source(asked.source) && self.now - asked.progress >= patience;
        let silent: Vec<_> =
            self.requests.iter().filter(|(_, asked)| late(asked)).map(|(id, asked)| (*id, asked.source)).collect();
        for (id, source) in silent {
            self.cancel(id);
            self.pause(source, PAUSE);
        }
    }

    /// When the first request will have been silent for so long.
    pub fn silence_ends(&self, patience: Micros) -> Option<Mono> {
        self.requests.values().map(|asked| asked.progress + patience).min()
    }

    pub fn want(&mut self, want: Want) {
        if let Some(known) = self.wants.get_mut(&want.cid) {
            known.want = want;
            return;
        }
        let groups = want.len.and_then(groups_of_len).expect("the harness says how long a chunk is");
        let held = GroupSet::empty(groups).expect("a legal number of groups");
        let holders = BTreeSet::new();
        let wanted = Wanted { want, held, holders, hashes_known: false, searched: false };
        self.wants.insert(want.cid, wanted);
    }

    pub fn forget(&mut self, cid: ChunkCid) {
        self.wants.remove(&cid);
        self.cancel_where(|asked| asked.cid == cid);
    }

    pub fn hold(&mut self, cid: ChunkCid, held: &GroupSet) {
        if let Some(wanted) = self.wants.get_mut(&cid) {
            wanted.held.union(held);
        }
        self.finish(cid);
    }

    pub fn learn_holders(&mut self, cid: ChunkCid, holders: &[Source]) {
        if let Some(wanted) = self.wants.get_mut(&cid) {
            wanted.holders.extend(holders.iter().filter(|source| !self.banned.contains(source)));
            wanted.searched = false;
        }
    }

    pub fn learn_hashes(&mut self, cid: ChunkCid) {
        if let Some(wanted) = self.wants.get_mut(&cid) {
            wanted.hashes_known = true;
        }
    }

    pub fn source_up(&mut self, source: Source, info: SourceInfo) {
        if !self.banned.contains(&source) {
            self.sources.entry(source).or_insert_with(|| SourceBook::new(info)).info = info;
        }
    }

    pub fn source_down(&mut self, source: Source) {
        self.sources.remove(&source);
        self.requests.retain(|_, asked| asked.source != source);
    }

    pub fn group(&mut self, id: RequestId, index: GroupIndex, bytes: u64) {
        let Some(asked) = self.requests.get_mut(&id) else { return };
        (asked.range.start, asked.progress) = (index.0 + 1, self.now);
        let (cid, source) = (asked.cid, asked.source);
        if let Some(state) = self.sources.get_mut(&source) {
            state.take(self.now, bytes);
        }
        if let Some(wanted) = self.wants.get_mut(&cid) {
            wanted.held.insert(index);
        }
        self.finish(cid);
    }

    pub fn end(&mut self, id: RequestId) {
        if let Some(asked) = self.requests.remove(&id)
            && let Some(state) = self.sources.get_mut(&asked.source)
        {
            state.outstanding = state.outstanding.saturating_sub(bytes_of(asked.range));
        }
    }

    pub fn fail(&mut self, id: RequestId, reason: FailReason) {
        let Some(asked) = self.requests.get(&id) else { return };
        let (source, cid) = (asked.source, asked.cid);
        self.end(id);
        match reason {
            FailReason::Busy { retry_after } => self.pause(source, retry_after),
            FailReason::NotFound | FailReason::Refused => self.lose_holder(cid, source),
            FailReason::Broken | FailReason::Stalled => self.pause(source, PAUSE),
            FailReason::BadData(lie) => match source {
                Source::Peer(peer) => {
                    self.banned.insert(source);
                    self.sources.remove(&source);
                    self.cancel_where(|asked| asked.source == source);
                    self.wants.values_mut().for_each(|wanted| {
                        wanted.holders.remove(&source);
                    });
                    self.actions.push_back(Action::Ban { peer, lie });
                }
                Source::Seed => self.lose_holder(cid, source),
            },
        }
    }

    pub fn pause(&mut self, source: Source, span: Micros) {
        if let Some(state) = self.sources.get_mut(&source) {
            state.pause_until = state.pause_until.max(self.now + span);
        }
    }

    fn lose_holder(&mut self, cid: ChunkCid, source: Source) {
        let Some(wanted) = self.wants.get_mut(&cid) else { return };
        wanted.holders.remove(&source);
        if wanted.holders.is_empty() && !std::mem::replace(&mut wanted.searched, true) {
            self.actions.push_back(Action::NeedHolders { cid });
        }
    }

    fn cancel_where(&mut self, chosen: impl Fn(&Asked) -> bool) {
        let ids: Vec<_> = self.requests.iter().filter(|(_, asked)| chosen(asked)).map(|(id, _)| *id).collect();
        ids.into_iter().for_each(|id| self.cancel(id));
    }

    fn finish(&mut self, cid: ChunkCid) {
        if self.wants.get(&cid).is_some_and(|wanted| wanted.held.is_complete()) {
            self.wants.remove(&cid);
            self.completed.push(cid);
            self.actions.push_back(Action::Complete { cid });
            self.cancel_where(|asked| asked.cid == cid && !asked.range.is_empty());
        }
    }
}

impl SourceBook {
    fn new(info: SourceInfo) -> Self {
        let pause_until = Mono(0);
        Self { info, pause_until, last_group: None, outstanding: 0, rate: 0, peak: 0, bytes: 0, sample: None }
    }

    fn begin(&mut self, now: Mono, range: GroupRange) {
        if self.outstanding == 0 {
            self.sample = Some((now + self.info.rtt, 0));
        }
        self.outstanding += bytes_of(range);
    }

    fn take(&mut self, now: Mono, bytes: u64) {
        self.last_group = Some(now);
        self.bytes += bytes;
        self.outstanding = self.outstanding.saturating_sub(GROUP_BYTES as u64);
        let (since, sum) = self.sample.get_or_insert((now, 0));
        *sum += bytes;
        let span = (now - *since).0.max(1_000);
        if span >= SPAN.0 || self.outstanding == 0 || self.rate == 0 {
            self.rate = (*sum * 1_000_000 / span).max(1);
            self.peak = self.peak.max(self.rate);
            if span >= SPAN.0 {
                self.sample = Some((now, 0));
            }
        }
    }
}

/// What a range weighs in whole groups.
fn bytes_of(range: GroupRange) -> u64 {
    u64::from(range.len()) * GROUP_BYTES as u64
}
