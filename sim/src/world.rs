//! A recording group in virtual time, chunk by chunk.
//!
//! The decisions are `aftercast_protocol`'s own: [`Truth`] says what is confirmed, [`Duties`] who uploads. What is
//! modelled here is only what surrounds them: receptions with their losses, reports that take their time, lines that
//! send at a rate, homes that are switched off. Network delays other than a line's rate are one round trip,
//! [`ROUND_TRIP`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use aftercast_protocol::ccf::WithheldReason;
use aftercast_protocol::duty::{Capability, ChunkRef, Duties, DutyAction, Node};
use aftercast_protocol::ids::{ChannelId, ChunkCid, ChunkIndex, DeviceId, Slot, SubscriberId, TimelineId, UnitDigest};
use aftercast_protocol::time::{Micros, Mono, Pts33, Ticks, UnixMillis};
use aftercast_protocol::truth::{Claim, Heard, Reception, Report, SlotState, Standing, Truth, TruthAction};

use crate::scenario::{Homes, Scenario};
use aftercast_sim::rng::{Purpose, Rng};

/// Time for a message there and its answer back.
const ROUND_TRIP: Micros = Micros::from_millis(50);
/// Bytes after which the seed notes progress.
const STEP_BYTES: u64 = 512 * 1024;

/// One home's device.
#[derive(Debug)]
pub struct Home {
    /// Position of its class in the scenario.
    pub class: usize,
    /// Bytes it uploaded.
    pub uploaded: u64,
    subscriber: SubscriberId,
    delay: Micros,
    on: bool,
    on_since: Mono,
    switched: u64,
    /// First chunk it is ordered to report.
    witness_from: Option<u64>,
    /// Per chunk of the programme.
    has: Vec<Held>,
    /// Chunks it has to report and could not yet.
    unsent: BTreeSet<u64>,
    line: VecDeque<Sending>,
    /// Distinguishes the line's present step from cancelled ones.
    step: u64,
}

/// What a home has of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Nothing,
    Damaged,
    Whole,
}

#[derive(Debug)]
struct Sending {
    cid: ChunkCid,
    index: u64,
    left: u64,
    bytes: u64,
    since: Mono,
}

/// What became of one chunk.
#[derive(Debug, Clone)]
pub struct Fate {
    /// Its end in the broadcast.
    pub ended: Mono,
    /// Size of the true chunk.
    pub bytes: u64,
    /// When it was first confirmed.
    pub confirmed: Option<Mono>,
    /// When the seed had the chunk that was finally decided.
    pub stored: Option<Mono>,
    /// Somebody had it whole.
    pub received: bool,
    /// A lie was confirmed.
    pub false_confirmed: bool,
}

#[derive(Debug)]
enum Event {
    Ended(u64),
    Switch(usize),
    Report(usize, u64),
    /// Homes learn of a confirmed chunk.
    Published(u64, Claim),
    Sent(usize, u64),
}

/// A run.
pub struct World<'a> {
    scenario: &'a Scenario,
    rng: Rng,
    /// Homes in order of the scenario.
    pub homes: Vec<Home>,
    by_device: BTreeMap<DeviceId, usize>,
    /// Chunks in order.
    pub chunks: Vec<Fate>,
    /// Missing bytes, per chunk that the seed wants.
    wanted: BTreeMap<ChunkCid, (u64, u64)>,
    truth: Truth,
    duties: Duties,
    events: BTreeMap<(Mono, u64), Event>,
    scheduled: u64,
    /// Most bytes ever waiting for their upload.
    pub worst_backlog_bytes: u64,
    /// Bytes waiting for their upload when the programme ended.
    pub backlog_at_end_bytes: u64,
    end: Mono,
}

impl<'a> World<'a> {
    /// The world of a scenario, at its beginning.
    pub fn new(scenario: &'a Scenario) -> Self {
        let rng = Rng::new(scenario.random_seed);
        let recording = scenario.recording.get_ref();
        let mut salt = [0; 32];
        salt[..8].copy_from_slice(&scenario.random_seed.to_le_bytes());
        let mut world = Self {
            scenario,
            rng,
            homes: Vec::new(),
            by_device: BTreeMap::new(),
            chunks: Vec::new(),
            wanted: BTreeMap::new(),
            truth: Truth::new(scenario.truth_config(), salt),
            duties: Duties::new(scenario.duty_config()),
            events: BTreeMap::new(),
            scheduled: 0,
            worst_backlog_bytes: 0,
            backlog_at_end_bytes: 0,
            end: Mono(0),
        };
        for (class, homes) in scenario.homes.iter().enumerate() {
            (0..homes.get_ref().count).for_each(|_| world.add_home(class, homes.get_ref()));
        }
        let interval = Micros::from_millis(recording.interval_ms);
        for index in 0..recording.chunks() {
            let ended = Mono(interval.0 * (index + 1));
            let spread = recording.size_spread_percent;
            let bytes = rng.around(recording.mean_chunk_bytes(), spread, Purpose::Size, 0, index).max(1);
            world.chunks.push(Fate {
                ended,
                bytes,
                confirmed: None,
                stored: None,
                received: false,
                false_confirmed: false,
            });
            world.schedule(ended, Event::Ended(index));
            world.end = ended;
        }
        world
    }

    fn add_home(&mut self, class: usize, homes: &Homes) {
        let number = self.homes.len();
        self.by_device.insert(device(number), number);
        let subscriber = format!("home-{number}").parse().expect("letters, digits and a dash make a name");
        let delay = self.rng.below(homes.report_within_ms * 1000 + 1, Purpose::Delay, number as u64, 0);
        self.homes.push(Home {
            class,
            uploaded: 0,
            subscriber,
            delay: Micros(delay),
            on: false,
            on_since: Mono(0),
            switched: 0,
            witness_from: None,
            has: vec![Held::Nothing; self.scenario.recording.get_ref().chunks() as usize],
            unsent: BTreeSet::new(),
            line: VecDeque::new(),
            step: 0,
        });
        self.schedule(Mono(0) + Micros::from_secs(homes.starts_after_s), Event::Switch(number));
    }

    /// Runs to the end of the programme, and on until all is uploaded or the time for that is over.
    pub fn run(&mut self) {
        let last = self.end + Micros::from_secs(self.scenario.recording.get_ref().upload_after_s);
        let mut programme_over = false;
        while let Some(now) = self.next_time().filter(|now| *now <= last) {
            if now > self.end && !programme_over {
                programme_over = true;
                self.backlog_at_end_bytes = self.duties.backlog().1;
            }
            if self.events.first_key_value().is_some_and(|((at, _), _)| *at <= now) {
                if let Some((_, event)) = self.events.pop_first() {
                    self.happen(now, event);
                }
            } else {
                self.truth.handle_timeout(now);
                self.duties.handle_timeout(now);
            }
            self.act(now);
            self.worst_backlog_bytes = self.worst_backlog_bytes.max(self.duties.backlog().1);
            if programme_over && self.is_settled() {
                break;
            }
        }
        if !programme_over {
            self.backlog_at_end_bytes = self.duties.backlog().1;
        }
    }

    /// State of a chunk in the end.
    pub fn state(&self, index: u64) -> Option<SlotState> {
        self.truth.state(slot(index))
    }

    fn class(&self, home: usize) -> &'a Homes {
        self.scenario.homes[self.homes[home].class].get_ref()
    }

    fn next_time(&self) -> Option<Mono> {
        let event = self.events.first_key_value().map(|((at, _), _)| *at);
        event.into_iter().chain(self.truth.poll_timeout()).chain(self.duties.poll_timeout()).min()
    }

    /// Nothing is left but the switching of homes.
    fn is_settled(&self) -> bool {
        self.duties.backlog().0 == 0
            && self.homes.iter().all(|home| home.unsent.is_empty())
            && self.events.values().all(|event| matches!(event, Event::Switch(_)))
            && (0..self.chunks.len() as u64).all(|index| self.state(index) != Some(SlotState::Open))
    }

    fn schedule(&mut self, at: Mono, event: Event) {
        self.scheduled += 1;
        self.events.insert((at, self.scheduled), event);
    }

    fn happen(&mut self, now: Mono, event: Event) {
        match event {
            Event::Ended(index) => (0..self.homes.len()).for_each(|home| self.receive(now, home, index)),
            Event::Switch(home) => self.switch(now, home),
            Event::Report(home, index) => self.report(now, home, index),
            Event::Published(index, claim) => self.publish(now, index, claim),
            Event::Sent(home, step) => self.sent(now, home, step),
        }
    }

    /// A chunk of the broadcast is over: this home has it, has it damaged, or was off.
    fn receive(&mut self, now: Mono, home: usize, index: u64) {
        let class = self.class(home);
        if !self.homes[home].on {
            return;
        }
        let luck = self.rng.below(100, Purpose::Reception, home as u64, index);
        // Switched on in the middle of it: its beginning is missing.
        let cut_off =
            now - self.homes[home].on_since < Micros::from_millis(self.scenario.recording.get_ref().interval_ms);
        let held = if cut_off || luck < class.damaged_percent { Held::Damaged } else { Held::Whole };
        self.chunks[index as usize].received |= held == Held::Whole && !class.hostile;
        let state = &mut self.homes[home];
        state.has[index as usize] = held;
        if state.witness_from.is_some_and(|from| from <= index) {
            let at = now + state.delay;
            self.schedule(at, Event::Report(home, index));
        }
    }

    fn switch(&mut self, now: Mono, home: usize) {
        let class = self.class(home);
        let state = &mut self.homes[home];
        state.on = !state.on;
        state.on_since = now;
        state.switched += 1;
        let occasion = state.switched;
        let (mean, purpose) = if state.on { (class.on_s, Purpose::On) } else { (Some(class.off_s), Purpose::Off) };
        if let Some(mean) = mean {
            let stay = self.rng.around(mean * 1_000_000, 50, purpose, home as u64, occasion);
            self.schedule(now + Micros(stay), Event::Switch(home));
        }
        if self.homes[home].on {
            let subscriber = self.homes[home].subscriber.clone();
            self.truth.handle_recorder(device(home), subscriber.clone(), None);
            self.duties.handle_node(now, device(home), Node { subscriber, capability: capability(class) });
            for index in std::mem::take(&mut self.homes[home].unsent) {
                self.schedule(now + ROUND_TRIP, Event::Report(home, index));
            }
        } else {
            self.homes[home].line.clear();
            self.homes[home].step += 1;
            self.homes[home].witness_from = None;
            self.truth.handle_recorder_gone(now, device(home));
            self.duties.handle_node_gone(now, device(home));
        }
    }

    fn report(&mut self, now: Mono, home: usize, index: u64) {
        let hostile = self.class(home).hostile;
        let state = &mut self.homes[home];
        let bytes = self.chunks[index as usize].bytes;
        let reception = match state.has[index as usize] {
            Held::Nothing => return,
            Held::Damaged => Reception::Withheld { reason: WithheldReason::Damaged, piece: None },
            Held::Whole => Reception::Clean { cid: cid(index, hostile), bytes },
        };
        if !state.on {
            state.unsent.insert(index);
            return;
        }
        let report = report(index, reception, self.scenario.recording.get_ref().interval_ms);
        if self.truth.handle_report(now, device(home), slot(index), &report) == Heard::Full {
            self.homes[home].unsent.insert(index);
        }
    }

    /// Homes compare a published chunk with their own: the same makes them holders, another one makes them object.
    fn publish(&mut self, now: Mono, index: u64, claim: Claim) {
        for home in 0..self.homes.len() {
            if !self.homes[home].on || self.homes[home].has[index as usize] != Held::Whole {
                continue;
            }
            if cid(index, self.class(home).hostile) == claim.cid {
                self.duties.handle_holder(now, &claim.cid, device(home));
            } else {
                self.report(now, home, index);
            }
        }
    }

    /// A step of a home's line is over.
    fn sent(&mut self, now: Mono, home: usize, step: u64) {
        let state = &mut self.homes[home];
        let Some(front) = state.line.front_mut().filter(|_| state.step == step) else { return };
        let bytes = front.left.min(STEP_BYTES);
        front.left -= bytes;
        state.uploaded += bytes;
        let (cid, index, total, since, done) = (front.cid, front.index, front.bytes, front.since, front.left == 0);
        self.duties.handle_progress(&cid, device(home), bytes);
        if let Some((left, _)) = self.wanted.get_mut(&cid) {
            *left = left.saturating_sub(bytes);
        }
        if done {
            self.homes[home].line.pop_front();
            self.duties.handle_measured(device(home), total, now - since);
            self.duties.handle_stored(now, &cid);
            self.wanted.remove(&cid);
            if cid == self::cid(index, false) {
                self.chunks[index as usize].stored = Some(now);
            }
        }
        self.send(now, home);
    }

    /// Starts the next step of a home's line.
    fn send(&mut self, now: Mono, home: usize) {
        let rate = self.class(home).sending_bps().max(1);
        let state = &mut self.homes[home];
        state.step += 1;
        let step = state.step;
        let Some(front) = state.line.front_mut() else { return };
        if front.left == front.bytes {
            front.since = now;
        }
        let took = (u128::from(front.left.min(STEP_BYTES)) * 8_000_000).div_ceil(u128::from(rate));
        self.schedule(now + Micros(took as u64), Event::Sent(home, step));
    }

    fn act(&mut self, now: Mono) {
        loop {
            if let Some(action) = self.truth.poll_action() {
                self.act_on_truth(now, action);
            } else if let Some(action) = self.duties.poll_action() {
                self.act_on_duty(now, action);
            } else {
                return;
            }
        }
    }

    fn act_on_truth(&mut self, now: Mono, action: TruthAction) {
        match action {
            TruthAction::Confirmed { slot, claim, supporters, .. } => {
                let index = slot.index.0;
                let fate = &mut self.chunks[index as usize];
                fate.confirmed.get_or_insert(now);
                fate.false_confirmed |= claim.cid != cid(index, false);
                self.want(now, index, claim, &supporters);
                self.schedule(now + ROUND_TRIP, Event::Published(index, claim));
            }
            TruthAction::Single { slot, claim, holder, .. } => self.want(now, slot.index.0, claim, &[holder]),
            TruthAction::Holder { cid, device, .. } => self.duties.handle_holder(now, &cid, device),
            TruthAction::AskWitnesses { slot, devices } => {
                for device in devices {
                    if let Some(home) = self.by_device.get(&device).copied() {
                        self.order_witness(now, home, slot.index.0);
                    }
                }
            }
            TruthAction::Withdrawn { slot, .. } => self.chunks[slot.index.0 as usize].stored = None,
            TruthAction::Disputed { .. } | TruthAction::Damaged { .. } => {}
        }
    }

    fn order_witness(&mut self, now: Mono, home: usize, from: u64) {
        let state = &mut self.homes[home];
        state.witness_from = Some(state.witness_from.map_or(from, |earlier| earlier.min(from)));
        let (at, chunks) = (now + ROUND_TRIP, state.has.len() as u64);
        for index in from..chunks {
            if self.homes[home].has[index as usize] != Held::Nothing {
                self.schedule(at, Event::Report(home, index));
            }
        }
    }

    fn want(&mut self, now: Mono, index: u64, claim: Claim, holders: &[DeviceId]) {
        let stored = self.chunks[index as usize].stored.is_some();
        if stored && !self.wanted.contains_key(&claim.cid) {
            return;
        }
        let deadline = now + self.scenario.store_within();
        let (channel, cid, bytes) = (channel(), claim.cid, claim.bytes);
        let chunk = ChunkRef { channel, slot: slot(index), cid, bytes, deadline };
        // Chunks of a run are fewer than the queue holds only for runs of a day; a refused one stays uncovered, and the
        // report says so.
        if self.duties.handle_chunk(now, chunk, holders).is_ok() {
            self.wanted.entry(cid).or_insert((bytes, index));
        }
    }

    fn act_on_duty(&mut self, now: Mono, action: DutyAction) {
        match action {
            DutyAction::Pull { cid, from, .. } => {
                let Some((&(left, index), &home)) = self.wanted.get(&cid).zip(self.by_device.get(&from)) else {
                    return;
                };
                let idle = self.homes[home].line.is_empty();
                self.homes[home].line.push_back(Sending { cid, index, left, bytes: left, since: now });
                if idle {
                    self.send(now, home);
                }
            }
            DutyAction::Abandon { cid, from } => {
                let Some(&home) = self.by_device.get(&from) else { return };
                let at = self.homes[home].line.iter().position(|sending| sending.cid == cid);
                if let Some(at) = at {
                    self.homes[home].line.remove(at);
                    if at == 0 {
                        self.send(now, home);
                    }
                }
            }
            // A starved chunk stays in the backlog, which is what is judged; copies on peers are not modelled yet.
            DutyAction::Starved { .. } | DutyAction::Keep { .. } => {}
        }
    }
}

fn device(home: usize) -> DeviceId {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&(home as u64).to_be_bytes());
    DeviceId(id)
}

fn channel() -> ChannelId {
    "simulated".parse().expect("letters make a name")
}

fn slot(index: u64) -> Slot {
    Slot { timeline: TimelineId(0), index: ChunkIndex(index) }
}

fn cid(index: u64, lie: bool) -> ChunkCid {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&index.to_be_bytes());
    id[31] = u8::from(lie);
    ChunkCid(id)
}

fn report(index: u64, reception: Reception, interval_ms: u64) -> Report {
    let mut opening = [0; 16];
    opening[..8].copy_from_slice(&index.to_be_bytes());
    Report {
        channel: channel(),
        timeline: TimelineId(0),
        index: ChunkIndex(index),
        pts: Pts33(index.wrapping_mul(interval_ms * 90) % (1 << 33)),
        duration: Ticks((interval_ms * 90) as i64),
        opening: UnitDigest(opening),
        utc: UnixMillis(index * interval_ms),
        reception,
        standing: Standing::Witness,
    }
}

fn capability(class: &Homes) -> Capability {
    Capability {
        uplink_declared_bps: class.declared_kbps.unwrap_or(class.uplink_kbps) * 1000,
        uplink_measured_bps: 0,
        share_percent: class.share_percent,
        backlog_bytes: 0,
        budget_left_bytes: u64::MAX,
        free_bytes: 1 << 40,
        metered: class.metered,
        on_battery: class.on_battery,
        paused: false,
    }
}
