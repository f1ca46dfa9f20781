use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::ids::{ChannelId, ChunkCid, DeviceId, Slot, SubscriberId};
use crate::limits::{MAX_DUTY_CHUNKS, MAX_DUTY_NODES, MAX_HOLDERS_PER_CHUNK, MAX_STAND_INS};
use crate::rendezvous;
use crate::time::{Micros, Mono};

use super::account::{Account, Reliability, time_for};
use super::orders::Capability;
use super::waiting::{Turn, Waiting};

/// What an operator may change about duties.
#[derive(Debug, Clone, Copy)]
pub struct DutyConfig {
    /// Pulls from one device at once: a second one fills the gap while the first ends.
    pub pulls_per_node: usize,
    /// Pulls of the seed at once.
    pub pulls: usize,
    /// How long a chunk waits for more holders before its uploader is chosen. Those who report last would otherwise
    /// never be chosen.
    pub gather: Micros,
    /// Shortest time allowed for a pull, whatever its size: connections and disks have their moments.
    pub patience: Micros,
    /// Time allowed for a pull, as a multiple of what it should take.
    pub slack: u64,
    /// How far behind its share a device may be and still catch up, in time of its own line. Beyond that the rest is
    /// written off, so that one that comes late, or was away, is not flooded.
    pub catch_up: Micros,
    /// Devices ordered to keep each chunk.
    pub keepers: usize,
}

impl Default for DutyConfig {
    fn default() -> Self {
        Self {
            pulls_per_node: 2,
            pulls: 64,
            gather: Micros::from_millis(1500),
            patience: Micros::from_secs(5),
            slack: 3,
            catch_up: Micros::from_secs(30),
            keepers: 2,
        }
    }
}

/// A device that may get duties.
#[derive(Debug, Clone)]
pub struct Node {
    /// Failure domain: keepers of one chunk belong to different subscribers.
    pub subscriber: SubscriberId,
    /// What it contributes.
    pub capability: Capability,
}

/// A chunk that the seed wants a copy of.
#[derive(Debug, Clone)]
pub struct ChunkRef {
    /// The channel.
    pub channel: ChannelId,
    /// Its place.
    pub slot: Slot,
    /// The chunk.
    pub cid: ChunkCid,
    /// Bytes that the seed still lacks.
    pub bytes: u64,
    /// When the seed should have it. Later is late, never too late.
    pub deadline: Mono,
}

/// Why a pull ended without the chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailReason {
    /// The device does not have it, whatever was reported: asked no more for this chunk.
    NotFound,
    /// The device is busy or declines for now: no fault.
    Busy,
    /// The transfer broke off, stalled or was never answered.
    Broken,
    /// The bytes were wrong: asked no more for this chunk.
    Lied,
}

/// What the seed has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DutyAction {
    /// Order the upload and pull the groups that the seed lacks.
    Pull {
        /// The chunk.
        cid: ChunkCid,
        /// The uploader.
        from: DeviceId,
        /// When it is late.
        deadline: Mono,
        /// Who is next, best first.
        standins: Vec<DeviceId>,
    },
    /// Stop pulling from this device; what came is kept.
    Abandon {
        /// The chunk.
        cid: ChunkCid,
        /// The uploader that lost it.
        from: DeviceId,
    },
    /// Nobody who holds it can upload now. It stays queued, and is retried when somebody can.
    Starved {
        /// The chunk.
        cid: ChunkCid,
    },
    /// Order this device to keep a copy.
    Keep {
        /// The chunk.
        cid: ChunkCid,
        /// The keeper.
        device: DeviceId,
    },
}

/// Why a chunk was not taken in. The seed keeps it on its own list and offers it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_DUTY_CHUNKS} chunks are waiting for their upload already")]
pub struct DutyQueueFull;

/// Counters, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DutyCounters {
    /// Pulls ordered.
    pub pulls: u64,
    /// Uploads completed.
    pub stored: u64,
    /// Pulls lost by their uploader: late, broken or gone.
    pub lost: u64,
    /// Times that a chunk starved.
    pub starved: u64,
    /// Chunks refused for want of room.
    pub full: u64,
}

#[derive(Debug)]
struct Pull {
    from: DeviceId,
    /// Rate that its uploader was charged at.
    rate: u64,
    /// Whether anything came since the last deadline.
    moved: bool,
}

#[derive(Debug)]
struct Wanted {
    chunk: ChunkRef,
    turn: Turn,
    /// Who has it, with a drawn rank: the lowest stay where there are too many.
    holders: BTreeMap<DeviceId, u128>,
    /// Not asked before then: who declined for now.
    resting: BTreeMap<DeviceId, Mono>,
    /// Not assigned before then.
    gather_until: Mono,
    /// Bytes still to come.
    left: u64,
    pull: Option<Pull>,
    wake: Option<Mono>,
}

/// Chooses who uploads what. See the [module](super) for the rules.
///
/// Input: `handle_*`. Output: [`poll_action`](Self::poll_action) until empty, then
/// [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct Duties {
    cfg: DutyConfig,
    nodes: BTreeMap<DeviceId, Account>,
    chunks: BTreeMap<ChunkCid, Wanted>,
    /// Chunks to assign, neither starved nor under way.
    waiting: Waiting,
    /// Chunks that nobody could upload when they were looked at.
    starved: BTreeSet<ChunkCid>,
    /// Chunks under way, and from whom.
    pulled: BTreeMap<ChunkCid, DeviceId>,
    wakes: BTreeSet<(Mono, ChunkCid)>,
    /// Devices that may upload.
    able: BTreeSet<DeviceId>,
    /// Those of them with a free place for a pull.
    free: BTreeSet<DeviceId>,
    /// Bytes still to come, of all chunks.
    left: u64,
    arrivals: u64,
    actions: VecDeque<DutyAction>,
    counters: DutyCounters,
}

impl Duties {
    /// Duties of one seed.
    #[must_use]
    pub fn new(cfg: DutyConfig) -> Self {
        Self {
            cfg,
            nodes: BTreeMap::new(),
            chunks: BTreeMap::new(),
            waiting: Waiting::default(),
            starved: BTreeSet::new(),
            pulled: BTreeMap::new(),
            wakes: BTreeSet::new(),
            able: BTreeSet::new(),
            free: BTreeSet::new(),
            left: 0,
            arrivals: 0,
            actions: VecDeque::new(),
            counters: DutyCounters::default(),
        }
    }

    /// A device is within reach, or declares itself anew. False when there is no room for it.
    pub fn handle_node(&mut self, now: Mono, device: DeviceId, node: Node) -> bool {
        if let Some(account) = self.nodes.get_mut(&device) {
            account.declare(node.subscriber, node.capability);
        } else if self.make_room() {
            self.nodes.insert(device, Account::new(node.subscriber, node.capability));
        } else {
            return false;
        }
        self.refresh(device);
        self.revive(device);
        self.assign(now);
        true
    }

    /// A device is out of reach. Its account is kept for when it returns.
    pub fn handle_node_gone(&mut self, now: Mono, device: DeviceId) {
        let lost: Vec<ChunkCid> =
            self.pulled.iter().filter(|(_, from)| **from == device).map(|(cid, _)| *cid).collect();
        for cid in lost {
            self.lose(now, cid, true);
        }
        if let Some(account) = self.nodes.get_mut(&device) {
            account.present = false;
        }
        self.refresh(device);
        self.assign(now);
    }

    /// A transfer from this device was measured, of at least a few groups.
    pub fn handle_measured(&mut self, device: DeviceId, bytes: u64, took: Micros) {
        if let Some(account) = self.nodes.get_mut(&device) {
            account.measure(bytes, took);
        }
        self.refresh(device);
    }

    /// A chunk was decided, and these devices have it. For a chunk known already they are further holders.
    ///
    /// # Errors
    /// When the queue is full.
    pub fn handle_chunk(&mut self, now: Mono, chunk: ChunkRef, holders: &[DeviceId]) -> Result<(), DutyQueueFull> {
        let cid = chunk.cid;
        if !self.chunks.contains_key(&cid) {
            if self.chunks.len() >= MAX_DUTY_CHUNKS {
                self.counters.full += 1;
                return Err(DutyQueueFull);
            }
            self.arrivals += 1;
            let turn = (chunk.deadline, self.arrivals);
            let wanted = Wanted {
                turn,
                holders: BTreeMap::new(),
                resting: BTreeMap::new(),
                gather_until: now + self.cfg.gather,
                left: chunk.bytes,
                pull: None,
                wake: None,
                chunk,
            };
            self.left = self.left.saturating_add(wanted.left);
            self.chunks.insert(cid, wanted);
            self.enqueue(cid);
        }
        for holder in holders {
            self.add_holder(cid, *holder);
        }
        self.assign(now);
        Ok(())
    }

    /// One more device has a chunk.
    pub fn handle_holder(&mut self, now: Mono, cid: &ChunkCid, device: DeviceId) {
        self.add_holder(*cid, device);
        self.assign(now);
    }

    /// So many more bytes of a chunk arrived from a device, verified.
    pub fn handle_progress(&mut self, cid: &ChunkCid, device: DeviceId, bytes: u64) {
        let Some(wanted) = self.chunks.get_mut(cid) else { return };
        let Some(pull) = wanted.pull.as_mut().filter(|pull| pull.from == device) else { return };
        let bytes = bytes.min(wanted.left);
        pull.moved |= bytes > 0;
        wanted.left -= bytes;
        self.left = self.left.saturating_sub(bytes);
        if let Some(account) = self.nodes.get_mut(&device) {
            account.receive(bytes);
        }
        self.refresh(device);
    }

    /// The seed has the chunk, durably. What no progress was told of came from the present uploader.
    pub fn handle_stored(&mut self, now: Mono, cid: &ChunkCid) {
        let Some(wanted) = self.remove(cid) else { return };
        if let Some(pull) = &wanted.pull {
            if let Some(account) = self.nodes.get_mut(&pull.from) {
                account.receive(wanted.left);
                account.release(0, pull.rate);
                account.keep();
            }
            self.refresh(pull.from);
        }
        self.counters.stored += 1;
        self.order_keepers(&wanted);
        self.assign(now);
    }

    /// The chunk is not wanted any more: its fact was withdrawn, or no recording refers to it.
    pub fn handle_unwanted(&mut self, now: Mono, cid: &ChunkCid) {
        let Some(wanted) = self.remove(cid) else { return };
        if let Some(pull) = &wanted.pull {
            if let Some(account) = self.nodes.get_mut(&pull.from) {
                account.release(wanted.left, pull.rate);
            }
            self.refresh(pull.from);
            self.actions.push_back(DutyAction::Abandon { cid: *cid, from: pull.from });
        }
        self.assign(now);
    }

    /// A pull ended without the chunk.
    pub fn handle_failed(&mut self, now: Mono, cid: &ChunkCid, device: DeviceId, reason: FailReason) {
        let Some(wanted) = self.chunks.get_mut(cid) else { return };
        if wanted.pull.as_ref().is_none_or(|pull| pull.from != device) {
            return;
        }
        match reason {
            FailReason::NotFound | FailReason::Lied => {
                wanted.holders.remove(&device);
            }
            FailReason::Busy => {
                wanted.resting.insert(device, now + self.cfg.patience);
            }
            FailReason::Broken => {}
        }
        self.end_pull(now, *cid, reason != FailReason::Busy);
        self.assign(now);
    }

    /// Time has come to [`poll_timeout`](Self::poll_timeout).
    pub fn handle_timeout(&mut self, now: Mono) {
        while let Some(&(at, cid)) = self.wakes.first()
            && at <= now
        {
            self.wakes.pop_first();
            let Some(wanted) = self.chunks.get_mut(&cid) else { continue };
            wanted.wake = None;
            let turn = wanted.turn;
            if wanted.pull.is_some() {
                self.handle_late(now, cid);
            } else if !self.unstarve(cid) {
                self.waiting.look_at(turn);
            }
        }
        self.assign(now);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Mono> {
        self.wakes.first().map(|(at, _)| *at)
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<DutyAction> {
        self.actions.pop_front()
    }

    /// What was learned about devices, to be kept over a restart.
    pub fn reliability(&self) -> impl Iterator<Item = (DeviceId, Reliability)> {
        self.nodes.iter().map(|(device, account)| (*device, account.reliability))
    }

    /// Takes up what was learned about a device before a restart, after its first [`Self::handle_node`].
    pub fn restore_reliability(&mut self, device: DeviceId, reliability: Reliability) {
        if let Some(account) = self.nodes.get_mut(&device) {
            account.reliability = reliability;
        }
    }

    /// Chunks not stored yet, and their bytes still to come.
    #[must_use]
    pub fn backlog(&self) -> (usize, u64) {
        (self.chunks.len(), self.left)
    }

    /// Uploads that a device was ordered to do and that are not done.
    #[must_use]
    pub fn under_way(&self, device: DeviceId) -> usize {
        self.nodes.get(&device).map_or(0, |account| account.pulls)
    }

    /// Counters, for metrics.
    #[must_use]
    pub fn counters(&self) -> DutyCounters {
        self.counters
    }

    fn make_room(&mut self) -> bool {
        if self.nodes.len() < MAX_DUTY_NODES {
            return true;
        }
        // Whoever is away loses its account first.
        let away = self.nodes.iter().find(|(_, account)| !account.present).map(|(device, _)| *device);
        away.is_some_and(|device| self.nodes.remove(&device).is_some())
    }

    /// Takes a chunk off every book but its uploader's.
    fn remove(&mut self, cid: &ChunkCid) -> Option<Wanted> {
        let wanted = self.chunks.remove(cid)?;
        self.left = self.left.saturating_sub(wanted.left);
        self.waiting.remove(wanted.turn, wanted.holders.keys());
        self.starved.remove(cid);
        self.pulled.remove(cid);
        if let Some(at) = wanted.wake {
            self.wakes.remove(&(at, *cid));
        }
        Some(wanted)
    }

    /// Over the bound, holders are a drawn sample: those who speak first would otherwise upload everything.
    fn add_holder(&mut self, cid: ChunkCid, device: DeviceId) {
        let Some(wanted) = self.chunks.get_mut(&cid) else { return };
        if wanted.holders.contains_key(&device) {
            return;
        }
        let rank = rendezvous::rank(&[b"hold", &cid.0, &device.0], 1);
        if wanted.holders.len() >= MAX_HOLDERS_PER_CHUNK {
            let worst = wanted.holders.iter().map(|(device, rank)| (*rank, *device)).max();
            let Some((_, other)) = worst.filter(|(worst, _)| rank < *worst) else { return };
            wanted.holders.remove(&other);
            self.waiting.remove_holder(wanted.turn, other);
        }
        wanted.holders.insert(device, rank);
        self.waiting.add_holder(wanted.turn, device);
        self.unstarve(cid);
    }

    /// Queues a chunk that starved; false if it did not.
    fn unstarve(&mut self, cid: ChunkCid) -> bool {
        let starved = self.starved.remove(&cid);
        if starved {
            self.enqueue(cid);
        }
        starved
    }

    fn enqueue(&mut self, cid: ChunkCid) {
        if let Some(wanted) = self.chunks.get(&cid) {
            self.waiting.insert(wanted.turn, cid, wanted.holders.keys());
        }
    }

    /// Queues what starved although this device has it.
    fn revive(&mut self, device: DeviceId) {
        if self.nodes.get(&device).is_none_or(|account| account.rate() == 0) {
            return;
        }
        let holds = |cid: &&ChunkCid| self.chunks.get(*cid).is_some_and(|w| w.holders.contains_key(&device));
        let held: Vec<ChunkCid> = self.starved.iter().filter(holds).copied().collect();
        for cid in held {
            self.unstarve(cid);
        }
    }

    /// A device's account has changed.
    fn refresh(&mut self, device: DeviceId) {
        let account = self.nodes.get(&device).filter(|account| account.rate() > 0);
        let free = account.is_some_and(|account| account.pulls < self.cfg.pulls_per_node);
        let mark = |set: &mut BTreeSet<_>, is| if is { set.insert(device) } else { set.remove(&device) };
        mark(&mut self.able, account.is_some());
        mark(&mut self.free, free);
        if free {
            self.waiting.look_at_all_of(device);
        }
    }

    fn set_wake(&mut self, cid: ChunkCid, at: Option<Mono>) {
        let Some(wanted) = self.chunks.get_mut(&cid) else { return };
        if let Some(old) = wanted.wake.take() {
            self.wakes.remove(&(old, cid));
        }
        if let Some(at) = at {
            wanted.wake = Some(at);
            self.wakes.insert((at, cid));
        }
    }

    /// As if everything had changed.
    #[cfg(test)]
    pub(super) fn look_at_all(&mut self, now: Mono) {
        self.waiting.look_at_all();
        self.assign(now);
    }

    /// Gives out all that can be given out now.
    fn assign(&mut self, now: Mono) {
        while self.pulled.len() < self.cfg.pulls && !self.free.is_empty() {
            let Some(cid) = self.waiting.next(&self.free) else { return };
            let Some(wanted) = self.chunks.get(&cid) else { continue };
            let until = wanted.gather_until;
            if now >= until || self.able.iter().all(|device| wanted.holders.contains_key(device)) {
                self.assign_one(now, cid);
            } else if wanted.wake != Some(until) {
                self.set_wake(cid, Some(until));
            }
        }
    }

    fn assign_one(&mut self, now: Mono, cid: ChunkCid) {
        let Some(wanted) = self.chunks.get(&cid) else { return };
        let able: Vec<DeviceId> = wanted.holders.keys().filter(|d| self.can(now, wanted, **d)).copied().collect();
        if able.is_empty() {
            return self.starve(now, cid);
        }
        self.write_off(&able);
        let Some(wanted) = self.chunks.get(&cid) else { return };
        let mut ranked: Vec<_> = able.iter().filter_map(|d| Some((self.preference(now, wanted, *d)?, *d))).collect();
        ranked.sort_unstable();
        let best = ranked.iter().find(|(_, device)| self.free.contains(device)).copied();
        // Somebody busy who would still be in time is worth waiting for, if nobody free is.
        let awaited = ranked.iter().any(|((late, ..), _)| !late);
        match best.filter(|((late, ..), _)| !(*late && awaited)) {
            Some((_, from)) => {
                let standins = ranked.iter().map(|(_, d)| *d).filter(|d| *d != from).take(MAX_STAND_INS).collect();
                self.pull(now, cid, from, standins);
            }
            None => {
                let late = able.iter().filter_map(|device| self.late_from(now, wanted, *device)).max();
                let again = late.into_iter().chain(self.back_at(now, wanted)).min();
                self.set_wake(cid, again);
            }
        }
    }

    /// When a holder that would be in time if it began now would not be any more.
    fn late_from(&self, now: Mono, wanted: &Wanted, device: DeviceId) -> Option<Mono> {
        let spare = wanted.chunk.deadline.0.checked_sub(self.nodes.get(&device)?.completion(now, wanted.left).0)?;
        Some(Mono(now.0.saturating_add(spare).saturating_add(1)))
    }

    /// When the first holder that rests or is on the bench can be asked again. All others announce themselves.
    fn back_at(&self, now: Mono, wanted: &Wanted) -> Option<Mono> {
        let benched = wanted.holders.keys().filter_map(|d| self.nodes.get(d)).filter(|a| a.rate() > 0);
        let times = benched.map(|a| a.benched_until).chain(wanted.resting.values().copied());
        times.filter(|at| *at > now).min()
    }

    /// Whether a holder may be asked for a chunk at all, now or when it is free.
    fn can(&self, now: Mono, wanted: &Wanted, device: DeviceId) -> bool {
        let rested = wanted.resting.get(&device).is_none_or(|until| *until <= now);
        let fit = |a: &Account| a.rate() > 0 && a.benched_until <= now && a.affords(wanted.left);
        rested && self.nodes.get(&device).is_some_and(fit)
    }

    /// Smaller is better: in time before late, mains before battery, then whoever would be furthest behind its share
    /// even with this chunk.
    fn preference(&self, now: Mono, wanted: &Wanted, device: DeviceId) -> Option<(bool, bool, Micros, u128)> {
        let account = self.nodes.get(&device)?;
        let tie = *wanted.holders.get(&device)?;
        let late = account.completion(now, wanted.left) > wanted.chunk.deadline && now <= wanted.chunk.deadline;
        let with_it = Micros(account.owed.0.saturating_add(time_for(wanted.left, account.rate()).0));
        Some((late, account.capability.on_battery, with_it, tie))
    }

    /// Lifts those who are too far behind the others that hold the same chunk: behind their mean, weighted by rate, so
    /// that a thin line's slow account moves nobody's.
    fn write_off(&mut self, able: &[DeviceId]) {
        let weigh = |account: &Account| {
            let rate = u128::from(account.rate());
            (rate, rate.saturating_mul(u128::from(account.owed.0)))
        };
        let (weight, total) = able
            .iter()
            .filter_map(|device| self.nodes.get(device).map(weigh))
            .fold((0u128, 0u128), |(weight, total), (w, t)| (weight.saturating_add(w), total.saturating_add(t)));
        for device in able {
            let Some(account) = self.nodes.get_mut(device) else { continue };
            let (own_weight, own) = weigh(account);
            let others = total.saturating_sub(own).checked_div(weight.saturating_sub(own_weight)).unwrap_or(0);
            let level = Micros(u64::try_from(others).unwrap_or(u64::MAX));
            account.owed = account.owed.max(Micros(level.0.saturating_sub(self.cfg.catch_up.0)));
        }
    }

    fn pull(&mut self, now: Mono, cid: ChunkCid, from: DeviceId, standins: Vec<DeviceId>) {
        let (Some(wanted), Some(account)) = (self.chunks.get_mut(&cid), self.nodes.get_mut(&from)) else { return };
        account.charge(wanted.left);
        let deadline = now + allowed(&self.cfg, account);
        wanted.pull = Some(Pull { from, rate: account.rate(), moved: false });
        self.waiting.remove(wanted.turn, wanted.holders.keys());
        self.pulled.insert(cid, from);
        self.counters.pulls += 1;
        self.set_wake(cid, Some(deadline));
        self.refresh(from);
        self.actions.push_back(DutyAction::Pull { cid, from, deadline, standins });
    }

    fn starve(&mut self, now: Mono, cid: ChunkCid) {
        let Some(wanted) = self.chunks.get(&cid) else { return };
        self.waiting.remove(wanted.turn, wanted.holders.keys());
        self.starved.insert(cid);
        self.counters.starved += 1;
        self.set_wake(cid, self.back_at(now, wanted));
        self.actions.push_back(DutyAction::Starved { cid });
    }

    /// A pull's deadline has passed.
    fn handle_late(&mut self, now: Mono, cid: ChunkCid) {
        let Some(wanted) = self.chunks.get(&cid) else { return };
        let Some(pull) = &wanted.pull else { return };
        let replaceable = wanted.holders.keys().any(|d| *d != pull.from && self.can(now, wanted, *d));
        if pull.moved && !replaceable {
            // Slow, but nobody else has it.
            let more = self.nodes.get(&pull.from).map_or(self.cfg.patience, |account| allowed(&self.cfg, account));
            if let Some(pull) = self.chunks.get_mut(&cid).and_then(|wanted| wanted.pull.as_mut()) {
                pull.moved = false;
            }
            return self.set_wake(cid, Some(now + more));
        }
        self.lose(now, cid, true);
    }

    /// Takes a chunk from its uploader, which does not know yet.
    fn lose(&mut self, now: Mono, cid: ChunkCid, broken: bool) {
        if let Some(from) = self.chunks.get(&cid).and_then(|wanted| wanted.pull.as_ref()).map(|pull| pull.from) {
            self.actions.push_back(DutyAction::Abandon { cid, from });
            self.end_pull(now, cid, broken);
        }
    }

    fn end_pull(&mut self, now: Mono, cid: ChunkCid, broken: bool) {
        let Some(wanted) = self.chunks.get_mut(&cid) else { return };
        let Some(pull) = wanted.pull.take() else { return };
        self.pulled.remove(&cid);
        if let Some(account) = self.nodes.get_mut(&pull.from) {
            account.release(wanted.left, pull.rate);
            if broken {
                account.fail(now);
            }
        }
        self.counters.lost += 1;
        self.set_wake(cid, None);
        self.enqueue(cid);
        self.refresh(pull.from);
    }

    fn order_keepers(&mut self, wanted: &Wanted) {
        let mut ranked: Vec<(u128, DeviceId)> = wanted
            .holders
            .keys()
            .filter_map(|device| {
                let account = self.nodes.get(device).filter(|a| a.capability.free_bytes >= wanted.chunk.bytes)?;
                // In MiB, so that room times reliability fits.
                let weight = (account.capability.free_bytes >> 20).saturating_mul(account.reliability.permille());
                Some((rendezvous::rank(&[b"keep", &wanted.chunk.cid.0, &device.0], weight.max(1)), *device))
            })
            .collect();
        ranked.sort_unstable();
        let mut homes = BTreeSet::new();
        let mut distinct = |d: &DeviceId| self.nodes.get(d).is_some_and(|a| homes.insert(a.subscriber.clone()));
        let keepers: Vec<_> =
            ranked.into_iter().map(|(_, d)| d).filter(|d| distinct(d)).take(self.cfg.keepers).collect();
        let cid = wanted.chunk.cid;
        self.actions.extend(keepers.into_iter().map(|device| DutyAction::Keep { cid, device }));
    }
}

/// Time allowed for all that a device has promised.
fn allowed(cfg: &DutyConfig, account: &Account) -> Micros {
    Micros(time_for(account.promised, account.pace()).0.saturating_mul(cfg.slack)).max(cfg.patience)
}
