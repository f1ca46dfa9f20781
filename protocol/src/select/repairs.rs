//! Which damaged chunks are repaired when, and with whose help.
//!
//! Nobody waits for a repair: it runs in the background, newest first, a few at a time, from peers wherever one has the
//! chunk. The seed is asked only for what no peer brought for a while. What a player wants at once is not fetched here
//! but by the [`Selector`](super::Selector).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Source;
use crate::ids::ChunkCid;
use crate::limits::{MAX_HOLDERS, MAX_REPAIRS};
use crate::rendezvous::rank;
use crate::time::{Micros, Mono, UnixMillis};

/// Repairs under way at once: a repair is a few round trips and some hundred kilobytes.
const AT_ONCE: usize = 2;
/// How long peers are looked for before the seed is asked: recorders announce what they hold within seconds.
const PEERS_FIRST: Micros = Micros::from_secs(20);
/// How long after a search for holders the next one begins, doubled with each that was in vain.
const SEARCH_AGAIN: Micros = Micros::from_secs(10);
/// Longest time between two searches: a peer may come back after hours.
const SEARCH_LATEST: Micros = Micros::from_secs(1800);
/// How long a source that could not help with a chunk is not asked for it again.
const SOURCE_RESTS: Micros = Micros::from_secs(60);
/// Bounds on when a busy source is asked again.
const BUSY: (Micros, Micros) = (Micros::from_millis(200), SOURCE_RESTS);
/// When a source that sent something wrong is asked for the same chunk again.
const FOREVER: Mono = Mono(u64::MAX);

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepairAction {
    /// Repair a chunk with the help of a source; then report what came of it.
    Repair {
        /// Which.
        cid: ChunkCid,
        /// Whom to ask.
        source: Source,
    },
    /// Say who is connected and holds it; connect some where nobody is.
    Search {
        /// The chunk.
        cid: ChunkCid,
    },
}

/// Why a repair did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepairFailure {
    /// The source has too much to do.
    Busy {
        /// When it is worth asking again.
        retry_after: Micros,
    },
    /// The source does not have it, does not give it, or is gone.
    Unavailable,
    /// What the source sent does not make the chunk. It is not asked for this one again.
    BadData,
    /// Our own store failed or is full; the source is not to blame.
    Local,
}

#[derive(Debug)]
struct Job {
    broadcast: UnixMillis,
    /// When it became known.
    since: Mono,
    holders: BTreeSet<Source>,
    /// Sources that are not asked, and until when; `FOREVER` for good.
    resting: BTreeMap<Source, Mono>,
    running: Option<Source>,
    /// When to look for holders next, and how long to wait after that.
    search: (Mono, Micros),
    /// Not before, because of ourselves.
    not_before: Mono,
}

impl Job {
    fn is_rested(&self, source: &Source, now: Mono) -> bool {
        self.resting.get(source).is_none_or(|until| *until <= now)
    }
}

/// The damaged chunks of a device that others have whole. See the [module](self).
///
/// Input: [`handle_damaged`](Self::handle_damaged), [`handle_gone`](Self::handle_gone),
/// [`handle_holders`](Self::handle_holders), [`handle_failed`](Self::handle_failed),
/// [`handle_timeout`](Self::handle_timeout). Output: [`poll_action`](Self::poll_action) until empty, then
/// [`poll_timeout`](Self::poll_timeout).
#[derive(Debug, Default)]
pub struct Repairs {
    jobs: BTreeMap<ChunkCid, Job>,
    /// When something happened that was not acted on: a thousand chunks that become known together are looked at once.
    changed: Option<Mono>,
    actions: VecDeque<RepairAction>,
}

impl Repairs {
    /// A chunk is confirmed that this device received with damage, broadcast at this time. Over [`MAX_REPAIRS`] the
    /// oldest broadcast is left to whoever plays it.
    pub fn handle_damaged(&mut self, now: Mono, cid: ChunkCid, broadcast: UnixMillis) {
        let job = || Job {
            broadcast,
            since: now,
            holders: BTreeSet::new(),
            resting: BTreeMap::new(),
            running: None,
            search: (now, SEARCH_AGAIN),
            not_before: now,
        };
        self.jobs.entry(cid).or_insert_with(job);
        if self.jobs.len() > MAX_REPAIRS {
            let idle = self.jobs.iter().filter(|(_, job)| job.running.is_none());
            let oldest = idle.min_by_key(|(cid, job)| (job.broadcast, **cid)).map(|(cid, _)| *cid);
            oldest.map(|cid| self.jobs.remove(&cid));
        }
        self.changed = Some(now);
    }

    /// A chunk is whole now, is not worth repairing, or no longer wanted.
    pub fn handle_gone(&mut self, now: Mono, cid: &ChunkCid) {
        self.jobs.remove(cid);
        self.changed = Some(now);
    }

    /// These sources are connected and hold the chunk.
    pub fn handle_holders(&mut self, now: Mono, cid: &ChunkCid, sources: &[Source]) {
        let Some(job) = self.jobs.get_mut(cid) else { return };
        for source in sources {
            if job.holders.len() < MAX_HOLDERS {
                job.holders.insert(*source);
            }
        }
        self.changed = Some(now);
    }

    /// A repair ended without the chunk.
    pub fn handle_failed(&mut self, now: Mono, cid: &ChunkCid, failure: RepairFailure) {
        let Some(job) = self.jobs.get_mut(cid) else { return };
        let Some(source) = job.running.take() else { return };
        match failure {
            RepairFailure::Busy { retry_after } => {
                job.resting.insert(source, now + retry_after.clamp(BUSY.0, BUSY.1));
            }
            RepairFailure::Unavailable => _ = job.resting.insert(source, now + SOURCE_RESTS),
            RepairFailure::BadData => _ = job.resting.insert(source, FOREVER),
            RepairFailure::Local => job.not_before = now + SOURCE_RESTS,
        }
        self.changed = Some(now);
    }

    /// Time has come to [`poll_timeout`](Self::poll_timeout).
    pub fn handle_timeout(&mut self, now: Mono) {
        self.changed = Some(now);
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<RepairAction> {
        if self.actions.is_empty()
            && let Some(now) = self.changed.take()
        {
            self.decide(now);
        }
        self.actions.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    #[must_use]
    pub fn poll_timeout(&self, now: Mono) -> Option<Mono> {
        if self.free() == 0 {
            return None;
        }
        let waits = |job: &Job| {
            let seed = job.holders.contains(&Source::Seed).then_some(job.since + PEERS_FIRST);
            let rests = job.resting.iter().filter(|(source, _)| job.holders.contains(source)).map(|(_, until)| *until);
            let times = rests.chain(seed).filter(|at| *at > now && *at < FOREVER);
            times.chain([job.search.0]).min().map(|at| at.max(job.not_before))
        };
        self.jobs.values().filter(|job| job.running.is_none()).filter_map(waits).min()
    }

    /// Whether this chunk waits for a repair or is being repaired.
    #[must_use]
    pub fn is_wanted(&self, cid: &ChunkCid) -> bool {
        self.jobs.contains_key(cid)
    }

    /// Chunks that wait for a repair or are being repaired.
    #[must_use]
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether there is nothing to repair.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    fn free(&self) -> usize {
        AT_ONCE.saturating_sub(self.jobs.values().filter(|job| job.running.is_some()).count())
    }

    fn decide(&mut self, now: Mono) {
        let mut free = self.free();
        let mut busy: BTreeSet<Source> = self.jobs.values().filter_map(|job| job.running).collect();
        let mut order: Vec<(UnixMillis, ChunkCid)> = self
            .jobs
            .iter()
            .filter(|(_, job)| job.running.is_none() && job.not_before <= now)
            .map(|(cid, job)| (job.broadcast, *cid))
            .collect();
        order.sort_unstable_by(|one, other| other.cmp(one));
        for (_, cid) in order {
            if free == 0 {
                return;
            }
            let Some(job) = self.jobs.get_mut(&cid) else { continue };
            if let Some(source) = choose(cid, job, now, &busy) {
                job.running = Some(source);
                busy.insert(source);
                free -= 1;
                self.actions.push_back(RepairAction::Repair { cid, source });
            } else if job.search.0 <= now {
                let wait = job.search.1;
                job.search = (now + wait, Micros(wait.0 * 2).min(SEARCH_LATEST));
                self.actions.push_back(RepairAction::Search { cid });
            }
        }
    }
}

/// One repair at a time from each, spread over all who have the chunk; the seed where peers had their chance.
fn choose(cid: ChunkCid, job: &Job, now: Mono, busy: &BTreeSet<Source>) -> Option<Source> {
    let usable = |source: &&Source| !busy.contains(source) && job.is_rested(source, now);
    let peers = job.holders.iter().filter(usable).filter_map(|source| match source {
        Source::Peer(device) => Some((rank(&[b"repair", &cid.0, &device.0], 1), *source)),
        Source::Seed => None,
    });
    let seed = || {
        let due = now >= job.since + PEERS_FIRST && job.search.0 > job.since;
        job.holders.get(&Source::Seed).filter(usable).filter(|_| due).copied()
    };
    peers.min().map(|(_, peer)| peer).or_else(seed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::DeviceId;

    fn peer(n: u8) -> Source {
        Source::Peer(DeviceId([n; 32]))
    }

    fn cid(n: u8) -> ChunkCid {
        ChunkCid([n; 32])
    }

    fn at(seconds: u64) -> Mono {
        Mono(seconds * 1_000_000)
    }

    fn actions(repairs: &mut Repairs) -> Vec<RepairAction> {
        std::iter::from_fn(|| repairs.poll_action()).collect()
    }

    fn repair(n: u8, source: Source) -> RepairAction {
        RepairAction::Repair { cid: cid(n), source }
    }

    /// Chunks 1.. broadcast one after another, all known to these sources.
    fn known_to(chunks: u8, sources: &[Source]) -> Repairs {
        let mut repairs = Repairs::default();
        for n in 1..=chunks {
            repairs.handle_damaged(at(0), cid(n), UnixMillis(u64::from(n)));
        }
        assert_eq!(actions(&mut repairs).len(), usize::from(chunks), "holders of each are searched");
        (1..=chunks).rev().for_each(|n| repairs.handle_holders(at(0), &cid(n), sources));
        repairs
    }

    #[test]
    fn the_newest_come_first_two_at_a_time_and_one_from_each_peer() {
        let mut repairs = known_to(4, &[peer(1), peer(2), peer(3)]);
        let begun = actions(&mut repairs);
        let [RepairAction::Repair { cid: a, source: from }, RepairAction::Repair { cid: b, source: other }] = begun[..]
        else {
            panic!("{begun:?}")
        };
        assert_eq!((a, b), (cid(4), cid(3)));
        assert_ne!(from, other);
        assert_eq!(repairs.poll_timeout(at(0)), None, "something ends first");
        repairs.handle_gone(at(1), &cid(3));
        assert!(matches!(actions(&mut repairs)[..], [RepairAction::Repair { cid: c, .. }] if c == cid(2)));
    }

    #[test]
    fn the_seed_is_asked_for_what_no_peer_brought_for_a_while() {
        let mut repairs = known_to(1, &[Source::Seed]);
        assert_eq!(actions(&mut repairs), []);
        let due = repairs.poll_timeout(at(1)).unwrap();
        repairs.handle_timeout(due);
        assert_eq!(actions(&mut repairs), [RepairAction::Search { cid: cid(1) }], "a peer may have come");
        repairs.handle_timeout(at(0) + PEERS_FIRST);
        assert_eq!(actions(&mut repairs), [repair(1, Source::Seed)]);
    }

    #[test]
    fn a_peer_that_cannot_help_rests_and_one_that_lied_is_not_asked_again() {
        let mut repairs = known_to(1, &[peer(1)]);
        assert_eq!(actions(&mut repairs), [repair(1, peer(1))]);
        repairs.handle_failed(at(1), &cid(1), RepairFailure::Busy { retry_after: Micros::from_secs(3) });
        assert_eq!(repairs.poll_timeout(at(1)), Some(at(4)));
        repairs.handle_timeout(at(4));
        assert_eq!(actions(&mut repairs), [repair(1, peer(1))]);
        repairs.handle_failed(at(5), &cid(1), RepairFailure::Unavailable);
        repairs.handle_timeout(at(5) + SOURCE_RESTS);
        assert!(actions(&mut repairs).contains(&repair(1, peer(1))));
        repairs.handle_failed(at(70), &cid(1), RepairFailure::BadData);
        for hour in 1..100 {
            repairs.handle_holders(at(3600 * hour), &cid(1), &[peer(1)]);
            assert!(!actions(&mut repairs).contains(&repair(1, peer(1))));
        }
    }

    #[test]
    fn a_full_disk_blames_nobody() {
        let mut repairs = known_to(1, &[peer(1)]);
        actions(&mut repairs);
        repairs.handle_failed(at(1), &cid(1), RepairFailure::Local);
        assert_eq!(actions(&mut repairs), []);
        let again = repairs.poll_timeout(at(1)).unwrap();
        repairs.handle_timeout(again);
        assert_eq!(actions(&mut repairs), [repair(1, peer(1))]);
    }

    #[test]
    fn searches_grow_rarer_and_never_stop() {
        let mut repairs = Repairs::default();
        repairs.handle_damaged(at(0), cid(1), UnixMillis(1));
        let (mut now, mut searches) = (at(0), 0);
        while now < at(24 * 3600) {
            searches += actions(&mut repairs).len();
            now = repairs.poll_timeout(now).unwrap();
            repairs.handle_timeout(now);
        }
        assert!((48..64).contains(&searches), "{searches}");
    }

    #[test]
    fn a_night_of_damage_is_bounded_and_keeps_the_newest() {
        let mut repairs = Repairs::default();
        for n in 0..2 * MAX_REPAIRS as u64 {
            let cid = ChunkCid(*blake3::hash(&n.to_le_bytes()).as_bytes());
            repairs.handle_damaged(at(n), cid, UnixMillis(n));
        }
        assert_eq!(repairs.len(), MAX_REPAIRS);
        assert_eq!(actions(&mut repairs).len(), MAX_REPAIRS, "holders of each are searched");
        assert!(repairs.jobs.values().all(|job| job.broadcast.0 >= MAX_REPAIRS as u64));
    }

    proptest! {
        /// Whatever happens: never more at once than allowed, never two from one source, every chunk that some honest
        /// source holds is repaired in the end.
        #[test]
        fn all_is_repaired_in_the_end(steps in prop::collection::vec((0..5u8, 1..8u8, 1..5u8), 1..60)) {
            let mut repairs = Repairs::default();
            let mut running: BTreeMap<ChunkCid, Source> = BTreeMap::new();
            let mut now = at(0);
            for n in 1..8 {
                repairs.handle_damaged(now, cid(n), UnixMillis(u64::from(n)));
            }
            let failures = [
                RepairFailure::Unavailable,
                RepairFailure::Busy { retry_after: Micros::from_secs(1) },
                RepairFailure::Local,
                RepairFailure::BadData,
            ];
            for (step, chunk, source) in steps {
                now = now + Micros::from_millis(700);
                match step {
                    0 | 1 => repairs.handle_holders(now, &cid(chunk), &[peer(source)]),
                    2 => repairs.handle_timeout(now),
                    _ => if let Some((cid, _)) = running.pop_first() {
                        repairs.handle_failed(now, &cid, failures[usize::from(source) - 1]);
                    }
                }
                while let Some(action) = repairs.poll_action() {
                    if let RepairAction::Repair { cid, source } = action {
                        prop_assert!(running.values().all(|other| *other != source));
                        prop_assert!(running.insert(cid, source).is_none());
                    }
                }
                prop_assert!(running.len() <= AT_ONCE);
            }
            for cid in running.into_keys() {
                repairs.handle_gone(now, &cid);
            }
            // An honest peer comes to stay, and is found by whoever searches.
            for _ in 0..200 {
                while let Some(action) = repairs.poll_action() {
                    match action {
                        RepairAction::Repair { cid, .. } => repairs.handle_gone(now, &cid),
                        RepairAction::Search { cid } => repairs.handle_holders(now, &cid, &[peer(9)]),
                    }
                }
                let Some(next) = repairs.poll_timeout(now) else { break };
                now = next;
                repairs.handle_timeout(now);
            }
            prop_assert!(repairs.is_empty(), "{:?}", repairs.jobs);
        }
    }
}
