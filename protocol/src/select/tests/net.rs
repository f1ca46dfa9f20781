//! A small network in virtual time: sources with a rate, a round trip and vices, and a device that plays by the
//! selector's actions. Each source sends what it is asked for in order, one group after another.

use std::collections::{BTreeMap, VecDeque};

use crate::ids::{ChunkCid, DeviceId, GroupIndex, RequestId};
use crate::limits::{GROUP_BYTES, MAX_CHUNK_GROUPS, MAX_WANTS};
use crate::score::{Lie, ScoreBook};
use crate::select::{Action, FailReason, Fetch, SelectConfig, Selector, Source, SourceInfo, Want};
use crate::serve::Class;
use crate::time::{Micros, Mono};
use crate::verify::{GroupRange, GroupSet, group_len, groups_of_len};

pub const SECOND: u64 = 1_000_000;

#[derive(Clone, Debug)]
pub struct Link {
    /// Bytes per second.
    pub rate: u64,
    pub rtt: Micros,
    pub lan: bool,
    /// Nothing moves in the first part of each period: (period, part), in microseconds.
    pub stalls: Option<(u64, u64)>,
    /// Falls silent for good.
    pub dead_from: Option<Mono>,
    /// Every so many groups one is false.
    pub lies_every: Option<u32>,
    /// Every so many groups the lane breaks.
    pub breaks_every: Option<u32>,
    /// Answers Busy to every so many requests.
    pub busy_every: Option<u32>,
    /// Does not have anything after all.
    pub empty: bool,
}

impl Link {
    pub fn of(rate: u64) -> Self {
        Self {
            rate,
            rtt: Micros::from_millis(30),
            lan: false,
            stalls: None,
            dead_from: None,
            lies_every: None,
            breaks_every: None,
            busy_every: None,
            empty: false,
        }
    }

    /// When `bytes` that begin at `start` have passed.
    fn passed(&self, start: Mono, bytes: u64) -> Mono {
        let mut at = start.0;
        let mut left = bytes * SECOND / self.rate.max(1) + 1;
        if let Some((period, part)) = self.stalls {
            while left > 0 {
                let phase = at % period;
                if phase < part {
                    at += part - phase;
                }
                let open = period - at % period;
                let step = open.min(left);
                at += step;
                left -= step;
            }
        } else {
            at += left;
        }
        match self.dead_from {
            Some(dead) if at >= dead.0 => Mono(u64::MAX),
            _ => Mono(at),
        }
    }
}

struct Job {
    fetch: Fetch,
    next: u32,
    end: u32,
    ready: Mono,
    busy: bool,
}

struct Line {
    link: Link,
    jobs: VecDeque<Job>,
    /// When the group under way has passed.
    due: Option<Mono>,
    free: Mono,
    sent: u32,
    asked: u32,
}

pub struct Net {
    pub selector: Selector,
    pub now: Mono,
    pub log: Vec<(Mono, Action)>,
    pub done: BTreeMap<ChunkCid, Mono>,
    /// In the order of arrival.
    pub arrivals: Vec<(Mono, ChunkCid, GroupIndex, Source)>,
    /// Verified bytes handed to the selector.
    pub delivered: u64,
    /// Bytes of false groups, by sender.
    pub false_bytes: BTreeMap<Source, u64>,
    pub gave_up: Vec<(Mono, ChunkCid)>,
    lens: BTreeMap<ChunkCid, u64>,
    held: BTreeMap<ChunkCid, GroupSet>,
    lines: BTreeMap<Source, Line>,
}

pub fn peer(number: u8) -> Source {
    Source::Peer(DeviceId([number; 32]))
}

pub fn cid(number: u32) -> ChunkCid {
    ChunkCid::of(&number.to_be_bytes())
}

impl Net {
    pub fn new() -> Self {
        Self {
            selector: Selector::new(SelectConfig::default(), ScoreBook::default()),
            now: Mono(0),
            log: Vec::new(),
            done: BTreeMap::new(),
            arrivals: Vec::new(),
            delivered: 0,
            false_bytes: BTreeMap::new(),
            gave_up: Vec::new(),
            lens: BTreeMap::new(),
            held: BTreeMap::new(),
            lines: BTreeMap::new(),
        }
    }

    pub fn with(mut self, links: impl IntoIterator<Item = (Source, Link)>) -> Self {
        for (source, link) in links {
            self.connect(source, link);
        }
        self
    }

    pub fn connect(&mut self, source: Source, link: Link) {
        let info = SourceInfo { lan: link.lan, rtt: link.rtt, lanes: 2 };
        self.selector.handle_source_up(self.now, source, info);
        let line = Line { link, jobs: VecDeque::new(), due: None, free: self.now, sent: 0, asked: 0 };
        self.lines.insert(source, line);
    }

    pub fn disconnect(&mut self, source: Source) {
        self.lines.remove(&source);
        self.selector.handle_source_down(self.now, source);
    }

    /// The source sends nothing from now on.
    pub fn silence(&mut self, source: Source) {
        let line = self.lines.get_mut(&source).expect("a source");
        line.link.dead_from = Some(self.now);
        line.due = None;
    }

    /// Wants a chunk that every connected source holds.
    pub fn want(&mut self, number: u32, len: u64, deadline: Mono) -> ChunkCid {
        let want = Want { cid: cid(number), len: Some(len), deadline, class: Class::Playback, in_order: true };
        self.want_from(want, len, &self.sources())
    }

    pub fn want_from(&mut self, want: Want, len: u64, holders: &[Source]) -> ChunkCid {
        self.lens.insert(want.cid, len);
        let groups = groups_of_len(len).unwrap();
        self.held.entry(want.cid).or_insert_with(|| GroupSet::empty(groups).unwrap());
        self.selector.handle_want(self.now, want).unwrap();
        self.selector.handle_holders(self.now, want.cid, holders);
        want.cid
    }

    /// A player jumps: a chunk that is on its way is due at another time.
    pub fn seek(&mut self, number: u32, deadline: Mono) {
        let cid = cid(number);
        if self.selector.is_wanted(cid) {
            let want =
                Want { cid, len: self.lens.get(&cid).copied(), deadline, class: Class::Playback, in_order: true };
            self.selector.handle_want(self.now, want).unwrap();
        }
    }

    /// A chunk is dropped, with all that has come of it on disk, and wanted again.
    pub fn want_again(&mut self, number: u32, deadline: Mono) {
        let cid = cid(number);
        if let Some(len) = self.lens.get(&cid).copied().filter(|_| self.selector.is_wanted(cid)) {
            self.selector.handle_drop(self.now, cid);
            self.obey();
            self.want(number, len, deadline);
            let held = self.held[&cid].clone();
            self.hold(cid, &held);
        }
    }

    /// Whether a source has been banned.
    pub fn is_banned(&self, source: Source) -> bool {
        self.log.iter().any(|(_, action)| matches!(action, Action::Ban { peer, .. } if Source::Peer(*peer) == source))
    }

    /// Some groups are in the store already.
    pub fn hold(&mut self, cid: ChunkCid, groups: &GroupSet) {
        self.held.get_mut(&cid).unwrap().union(groups);
        self.selector.handle_held(self.now, cid, groups);
    }

    pub fn sources(&self) -> Vec<Source> {
        self.lines.keys().copied().collect()
    }

    /// Runs until nothing is left to do or the time has come.
    pub fn run_until(&mut self, end: Mono) {
        loop {
            self.obey();
            let wake = self.selector.poll_timeout();
            assert!(wake.is_none_or(|wake| wake > self.now), "a wake-up in the past");
            let due = self.lines.values().filter_map(|line| line.due).min();
            let next = wake.into_iter().chain(due).min().unwrap_or(Mono(u64::MAX));
            if next > end {
                self.now = end;
                return;
            }
            self.now = next;
            let ready: Vec<_> = self.lines.iter().filter(|(_, line)| line.due == Some(next)).map(|(s, _)| *s).collect();
            for source in ready {
                // What arrived first may have made this one's request void.
                if self.lines.get(&source).is_some_and(|line| line.due == Some(next)) {
                    self.arrive(source);
                }
            }
            if wake == Some(next) {
                self.selector.handle_timeout(next);
            }
            self.check_bounds();
        }
    }

    pub fn run(&mut self) {
        self.run_until(Mono(20_000 * SECOND));
    }

    /// The chunk's bytes are here, each group once, however the counters see it.
    pub fn is_whole(&self, cid: ChunkCid) -> bool {
        self.held[&cid].is_complete()
    }

    fn obey(&mut self) {
        while let Some(action) = self.selector.poll_action() {
            self.log.push((self.now, action));
            match action {
                Action::Request(fetch) => self.ask(fetch),
                Action::Trim { id, end } => self.with_job(id, |job| job.end = job.end.min(end)),
                Action::Cancel { id } => self.with_job(id, |job| job.end = 0),
                Action::Ban { peer, .. } => {
                    self.lines.remove(&Source::Peer(peer));
                }
                Action::Complete { cid } => {
                    assert!(self.is_whole(cid));
                    self.done.insert(cid, self.now);
                }
                Action::GaveUp { cid } => self.gave_up.push((self.now, cid)),
                Action::NeedHolders { .. } => {}
            }
        }
    }

    fn ask(&mut self, fetch: Fetch) {
        let groups = groups_of_len(self.lens[&fetch.cid]).unwrap();
        assert!(!fetch.range.is_empty() && fetch.range.end <= groups, "{fetch:?}");
        let line = self.lines.get_mut(&fetch.source).expect("asked a source that is not connected");
        line.asked += 1;
        let ready = self.now + line.link.rtt;
        let busy = every(line.link.busy_every, line.asked);
        line.jobs.push_back(Job { fetch, next: fetch.range.start, end: fetch.range.end, ready, busy });
        if line.jobs.len() == 1 {
            self.begin(fetch.source);
        }
    }

    fn with_job(&mut self, id: RequestId, change: impl Fn(&mut Job)) {
        let found = self.lines.iter_mut().find_map(|(source, line)| {
            let at = line.jobs.iter().position(|job| job.fetch.id == id)?;
            change(&mut line.jobs[at]);
            let ended = line.jobs[at].next >= line.jobs[at].end;
            Some((*source, at, ended, line.jobs[at].end == 0))
        });
        let Some((source, at, true, cancelled)) = found else { return };
        let line = self.lines.get_mut(&source).unwrap();
        line.jobs.remove(at);
        if !cancelled {
            self.selector.handle_request_done(self.now, id);
        }
        if at == 0 {
            self.lines.get_mut(&source).unwrap().free = self.now;
            self.begin(source);
        }
    }

    /// Puts the next group of a source under way.
    fn begin(&mut self, source: Source) {
        let line = self.lines.get_mut(&source).unwrap();
        line.due = line.jobs.front().map(|job| {
            let len = group_len(self.lens[&job.fetch.cid], GroupIndex(job.next)) as u64;
            let refusal = line.link.empty || job.busy;
            if refusal { job.ready } else { line.link.passed(job.ready.max(line.free), len) }
        });
        line.due = line.due.filter(|due| *due < Mono(u64::MAX));
    }

    fn arrive(&mut self, source: Source) {
        let now = self.now;
        let line = self.lines.get_mut(&source).unwrap();
        (line.free, line.due) = (now, None);
        let Some(job) = line.jobs.front_mut() else { return };
        let (fetch, index) = (job.fetch, GroupIndex(job.next));
        let len = self.lens[&fetch.cid];
        let bytes = group_len(len, index) as u64;
        let first = job.next == fetch.range.start;
        let failure = if line.link.empty {
            Some(FailReason::NotFound)
        } else if job.busy {
            Some(FailReason::Busy { retry_after: Micros::from_millis(500) })
        } else {
            line.sent += 1;
            if every(line.link.lies_every, line.sent) {
                *self.false_bytes.entry(source).or_default() += bytes;
                Some(FailReason::BadData(Lie::Group))
            } else {
                every(line.link.breaks_every, line.sent).then_some(FailReason::Broken)
            }
        };
        if failure.is_none() {
            job.next += 1;
        }
        let last = failure.is_some() || job.next >= job.end;
        if last {
            line.jobs.pop_front();
        }
        self.begin(source);
        match failure {
            Some(reason) => self.selector.handle_request_failed(now, fetch.id, reason),
            None => {
                if first && fetch.want_hashes {
                    self.selector.handle_hashes(now, fetch.cid, len);
                }
                self.delivered += bytes;
                self.held.get_mut(&fetch.cid).unwrap().insert(index);
                self.arrivals.push((now, fetch.cid, index, source));
                self.selector.handle_group(now, fetch.id, index, bytes);
                if last {
                    self.selector.handle_request_done(now, fetch.id);
                }
            }
        }
        self.obey();
    }

    /// Nothing grows past its limit, and no group is asked of two at a time but what is hedged, and that of two only.
    fn check_bounds(&self) {
        let (wants, requests, sources) = self.selector.sizes();
        assert!(wants <= self.lens.len() && sources <= self.lines.len());
        assert!(requests <= sources * 12, "{requests} requests at {sources} sources");
        let mut asked: BTreeMap<(ChunkCid, GroupIndex), u64> = BTreeMap::new();
        for job in self.lines.values().flat_map(|line| &line.jobs) {
            for index in GroupRange::new(job.next, job.end).iter() {
                *asked.entry((job.fetch.cid, index)).or_default() += 1;
            }
        }
        assert!(asked.values().all(|times| *times <= 2), "asked of three");
        let twice = asked.values().filter(|times| **times == 2).count() as u64;
        let stats = self.selector.stats();
        assert!(twice * GROUP <= stats.hedged_bytes, "{twice} groups asked twice: {stats:?}");
        let useful = stats.seed_bytes + stats.peer_bytes + stats.lan_bytes;
        assert!(stats.hedged_bytes <= useful * 3 / 100 + 4 * GROUP, "hedged more than the budget: {stats:?}");
        assert!(asked.len() <= MAX_WANTS * MAX_CHUNK_GROUPS);
    }

    /// Useful bytes: every wanted chunk once.
    pub fn useful(&self) -> u64 {
        self.lens.values().sum()
    }
}

/// Whether it is the turn of one in so many.
fn every(many: Option<u32>, count: u32) -> bool {
    many.is_some_and(|many| count.is_multiple_of(many.max(1)))
}

pub const GROUP: u64 = GROUP_BYTES as u64;
