use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::ccf::Testimony;
use crate::ids::{ChunkCid, ChunkIndex, DeviceId, Slot, SubscriberId, TimelineId};
use crate::limits::{MAX_OPEN_SLOTS_PER_DEVICE, MAX_SETTLED_SLOTS, MAX_SLOTS_IN_TRUTH, MAX_WITNESSES_PER_SLOT};
use crate::time::{Micros, Mono, UnixMillis};

use super::ballot::{Ballot, Cast, Claim, Tally};
use super::facts::Report;
use super::witnesses::{Epoch, NetPrefix, Recorders, epoch};

/// What an operator may change about truth.
#[derive(Debug, Clone, Copy)]
pub struct TruthConfig {
    /// Witnesses drawn per chunk, and again whenever more are needed. With 9, and a tenth of all devices hostile, the
    /// hostile hold a majority in 0.09 % of chunks.
    pub witnesses: usize,
    /// How long after the first report of a chunk (or after asking more witnesses) to wait for the others: receivers
    /// of one broadcast differ by a few seconds, and a witness needs time to answer.
    pub decide_after: Micros,
    /// How long after a decision reports are kept, so that objections can overturn it.
    pub objection_window: Micros,
}

impl Default for TruthConfig {
    fn default() -> Self {
        Self { witnesses: 9, decide_after: Micros::from_secs(8), objection_window: Micros::from_secs(600) }
    }
}

/// What the seed has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TruthAction {
    /// Publish as a fact. Follows [`Self::Single`] when a second subscriber supports it.
    Confirmed {
        /// The place.
        slot: Slot,
        /// What is there.
        claim: Claim,
        /// Wall time of the opening unit: median of the supporters.
        utc: UnixMillis,
        /// Devices known to hold it; none where the reference alone said so.
        supporters: Vec<DeviceId>,
    },
    /// Store for this subscriber only.
    Single {
        /// The place.
        slot: Slot,
        /// What is there.
        claim: Claim,
        /// Wall time of the opening unit, by its holder's clock.
        utc: UnixMillis,
        /// For whom.
        subscriber: SubscriberId,
        /// Who has it.
        holder: DeviceId,
    },
    /// Reports contradict each other: no fact. A confirmed chunk never gets here without [`Self::Withdrawn`].
    Disputed {
        /// The place.
        slot: Slot,
    },
    /// Every device asked withholds the chunk, or is silent: a gap, until somebody has it clean.
    Damaged {
        /// The place.
        slot: Slot,
    },
    /// Publish that an earlier fact no longer holds. What holds instead follows at once.
    Withdrawn {
        /// The place.
        slot: Slot,
        /// What was confirmed.
        cid: ChunkCid,
    },
    /// Order these devices to report from this slot on, for an epoch of
    /// [`WITNESS_EPOCH_CHUNKS`](crate::limits::WITNESS_EPOCH_CHUNKS).
    AskWitnesses {
        /// First slot to report.
        slot: Slot,
        /// Whom to ask.
        devices: Vec<DeviceId>,
    },
    /// One more device has a chunk that is confirmed or single.
    Holder {
        /// The place.
        slot: Slot,
        /// The chunk.
        cid: ChunkCid,
        /// Who has it.
        device: DeviceId,
    },
}

/// What is known of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlotState {
    /// Reports are being gathered.
    Open,
    /// Two subscribers or more agree, or the reference says so.
    Confirmed(Claim),
    /// One subscriber's word, for that subscriber.
    Single(Claim, SubscriberId),
    /// No agreement.
    Disputed,
    /// Nobody has it whole.
    Damaged,
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It counts, or is kept in case its device is drawn.
    Taken,
    /// Said before.
    Repeated,
    /// The device said something else before, which stands. Only a faulty or lying device does this.
    Contradiction,
    /// The device is not known to record the channel.
    Stranger,
    /// Decided too long ago: an equal report makes its device a holder, a different one changes nothing.
    Closed,
    /// No room; the device should repeat it later.
    Full,
}

/// Counters, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TruthCounters {
    /// Reports in all.
    pub reports: u64,
    /// Reports of devices that do not record the channel.
    pub strangers: u64,
    /// Devices that said two things about one slot.
    pub contradictions: u64,
    /// Clean reports that differ from the confirmed chunk.
    pub objections: u64,
    /// Reports refused for want of room.
    pub full: u64,
    /// Facts withdrawn.
    pub withdrawn: u64,
    /// Times that more witnesses were asked.
    pub asked_again: u64,
    /// Damaged receptions that spoke for a chunk, or against it.
    pub testimonies: u64,
    /// Chunks made of several damaged receptions.
    pub assembled: u64,
}

#[derive(Debug)]
struct Active {
    ballot: Ballot,
    state: SlotState,
    /// The reference said so: no number of reports overturns it.
    by_reference: bool,
    /// When to decide, or when to close the books.
    deadline: Mono,
    /// Who brought the slot up.
    opener: Option<DeviceId>,
    /// Objecting subscribers at which further witnesses are drawn next.
    next_recount: usize,
}

/// Decides what is true on one channel. See the [module](super) for the rules.
///
/// Input: [`handle_recorder`](Self::handle_recorder), [`handle_recorder_gone`](Self::handle_recorder_gone),
/// [`handle_report`](Self::handle_report), [`handle_testimonies`](Self::handle_testimonies),
/// [`handle_assembled`](Self::handle_assembled), [`handle_reference`](Self::handle_reference),
/// [`handle_timeout`](Self::handle_timeout), `restore_*`. Output: [`poll_action`](Self::poll_action) until empty,
/// then [`poll_timeout`](Self::poll_timeout). Getters: [`state`](Self::state), [`holders`](Self::holders),
/// [`witnesses`](Self::witnesses), [`counters`](Self::counters).
#[derive(Debug)]
pub struct Truth {
    cfg: TruthConfig,
    recorders: Recorders,
    active: BTreeMap<Slot, Active>,
    deadlines: BTreeSet<(Mono, Slot)>,
    /// Decided and closed.
    settled: BTreeMap<Slot, SlotState>,
    /// Undecided slots per device that brought them up.
    opened: BTreeMap<DeviceId, usize>,
    /// In which epoch each device was last ordered to witness.
    told: BTreeMap<DeviceId, Epoch>,
    /// Newest confirmed slot: what a lone liar makes up moves nothing.
    newest: Option<Slot>,
    actions: VecDeque<TruthAction>,
    counters: TruthCounters,
}

impl Truth {
    /// Truth of one channel. `salt` is secret and lasts: whoever knew it could enrol devices that will be drawn.
    #[must_use]
    pub fn new(cfg: TruthConfig, salt: [u8; 32]) -> Self {
        Self {
            cfg: TruthConfig { witnesses: cfg.witnesses.clamp(1, MAX_WITNESSES_PER_SLOT), ..cfg },
            recorders: Recorders::new(salt),
            active: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            settled: BTreeMap::new(),
            opened: BTreeMap::new(),
            told: BTreeMap::new(),
            newest: None,
            actions: VecDeque::new(),
            counters: TruthCounters::default(),
        }
    }

    /// A device records the channel from now on (or still does). False when there are too many already.
    pub fn handle_recorder(&mut self, device: DeviceId, subscriber: SubscriberId, prefix: Option<NetPrefix>) -> bool {
        if !self.recorders.insert(device, subscriber, prefix) {
            return false;
        }
        // A larger audience is drawn from when the next slot opens, so that a crowd may arrive at no cost.
        if self.recorders.len() <= self.cfg.witnesses && !self.told.contains_key(&device) {
            let beginning = Slot { timeline: TimelineId(0), index: ChunkIndex(0) };
            self.tell(self.newest.unwrap_or(beginning), &[device]);
        }
        true
    }

    /// A device no longer records the channel, or is out of reach.
    pub fn handle_recorder_gone(&mut self, now: Mono, device: DeviceId) {
        self.recorders.remove(device);
        self.told.remove(&device);
        let open = self.active.iter_mut().filter(|(_, active)| active.state == SlotState::Open);
        let waiting: Vec<Slot> =
            open.filter_map(|(slot, active)| active.ballot.unask_silent(device).then_some(*slot)).collect();
        waiting.into_iter().for_each(|slot| self.review(now, slot, false));
    }

    /// A recorder's report. `slot` is where [`Timelines`](crate::plan::timelines::Timelines) locates it.
    pub fn handle_report(&mut self, now: Mono, device: DeviceId, slot: Slot, report: &Report) -> Heard {
        self.counters.reports += 1;
        let heard = self.hear(now, device, slot, report);
        match heard {
            Heard::Stranger => self.counters.strangers += 1,
            Heard::Contradiction => self.counters.contradictions += 1,
            Heard::Full => self.counters.full += 1,
            Heard::Taken | Heard::Repeated | Heard::Closed => {}
        }
        heard
    }

    /// The broadcaster's own feed has this chunk: nothing else can be true.
    pub fn handle_reference(&mut self, now: Mono, slot: Slot, claim: Claim, utc: UnixMillis) -> Heard {
        match self.settled.get(&slot) {
            Some(SlotState::Confirmed(known)) if *known == claim => return Heard::Repeated,
            Some(SlotState::Confirmed(known)) => {
                let cid = known.cid;
                self.actions.push_back(TruthAction::Withdrawn { slot, cid });
                self.counters.withdrawn += 1;
            }
            _ => {}
        }
        if !self.open(now, slot, None) {
            return Heard::Full;
        }
        let Some(active) = self.active.get_mut(&slot) else { return Heard::Full };
        active.by_reference = true;
        match active.state {
            SlotState::Confirmed(known) if known == claim => return Heard::Repeated,
            SlotState::Confirmed(known) => {
                self.actions.push_back(TruthAction::Withdrawn { slot, cid: known.cid });
                self.counters.withdrawn += 1;
            }
            _ => {}
        }
        let utc = active.ballot.utc(&claim).unwrap_or(utc);
        self.confirm(now, slot, claim, utc);
        Heard::Taken
    }

    /// What recorders withheld was held against this chunk: each speaks for it, though it has no copy; or against it; or says
    /// nothing.
    pub fn handle_testimonies(&mut self, now: Mono, slot: Slot, claim: Claim, said: &[(DeviceId, Testimony)]) {
        let Some(active) = self.active.get_mut(&slot) else { return };
        let mut news = 0;
        for (device, testimony) in said.iter().filter(|(_, testimony)| *testimony != Testimony::Silent) {
            news += u64::from(active.ballot.testify(*device, claim, *testimony == Testimony::For));
        }
        self.counters.testimonies += news;
        if news > 0 {
            self.review(now, slot, false);
        }
    }

    /// The seed made a chunk that nobody has whole, each unit of it with two subscribers that have it alike. Changes
    /// nothing where somebody has it whole meanwhile.
    pub fn handle_assembled(&mut self, now: Mono, slot: Slot, claim: Claim, utc: UnixMillis) -> Heard {
        if self.settled.contains_key(&slot) {
            return Heard::Closed;
        }
        if !self.open(now, slot, None) {
            return Heard::Full;
        }
        match self.active.get(&slot).map(|active| &active.state) {
            Some(SlotState::Open | SlotState::Damaged) => {
                self.counters.assembled += 1;
                self.confirm(now, slot, claim, utc);
                Heard::Taken
            }
            _ => Heard::Closed,
        }
    }

    /// Time has come to [`poll_timeout`](Self::poll_timeout).
    pub fn handle_timeout(&mut self, now: Mono) {
        while let Some(&(at, slot)) = self.deadlines.first()
            && at <= now
        {
            self.deadlines.pop_first();
            match self.active.get(&slot).map(|active| &active.state) {
                Some(SlotState::Open) => self.review(now, slot, true),
                Some(_) => self.settle(slot),
                None => {}
            }
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Mono> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<TruthAction> {
        self.actions.pop_front()
    }

    /// Takes up a confirmed chunk after a restart; its books are closed.
    pub fn restore_confirmed(&mut self, slot: Slot, claim: Claim) {
        self.remember(slot, SlotState::Confirmed(claim));
    }

    /// Takes up a single chunk after a restart; a second subscriber can still confirm it.
    pub fn restore_single(&mut self, slot: Slot, claim: Claim, subscriber: SubscriberId) {
        self.remember(slot, SlotState::Single(claim, subscriber));
    }

    /// What is known of a slot; nothing where nobody reported it.
    #[must_use]
    pub fn state(&self, slot: Slot) -> Option<SlotState> {
        self.active.get(&slot).map(|active| &active.state).or_else(|| self.settled.get(&slot)).cloned()
    }

    /// Devices that reported this chunk, as long as its books are open.
    #[must_use]
    pub fn holders(&self, slot: Slot, cid: &ChunkCid) -> Vec<DeviceId> {
        match self.active.get(&slot) {
            Some(Active { state: SlotState::Confirmed(claim) | SlotState::Single(claim, _), ballot, .. })
                if claim.cid == *cid =>
            {
                ballot.supporters(claim)
            }
            _ => Vec::new(),
        }
    }

    /// Who witnesses the epoch of this slot: distinct subscribers first; all where fewer record.
    #[must_use]
    pub fn witnesses(&self, from: Slot) -> BTreeSet<DeviceId> {
        self.recorders.draw(epoch(from)).into_iter().take(self.cfg.witnesses).collect()
    }

    /// Counters, for metrics.
    #[must_use]
    pub fn counters(&self) -> TruthCounters {
        self.counters
    }

    fn hear(&mut self, now: Mono, device: DeviceId, slot: Slot, report: &Report) -> Heard {
        let Some(subscriber) = self.recorders.subscriber(device).cloned() else { return Heard::Stranger };
        let claim = Claim::of(report);
        if !self.active.contains_key(&slot)
            && let Some(heard) = self.hear_settled(device, slot, claim)
        {
            return heard;
        }
        if !self.open(now, slot, Some(device)) {
            return Heard::Full;
        }
        let witnesses = self.cfg.witnesses;
        let Some(active) = self.active.get_mut(&slot) else { return Heard::Full };
        if active.ballot.asked() < witnesses {
            // All are asked where fewer record, those too who come after the slot was opened.
            active.ballot.ask(device, subscriber.clone());
        }
        let decided = match &active.state {
            SlotState::Confirmed(known) | SlotState::Single(known, _) => Some(*known),
            _ => None,
        };
        match active.ballot.cast(device, &subscriber, claim, report.utc) {
            Cast::Repeated => return Heard::Repeated,
            Cast::Contradiction => return Heard::Contradiction,
            Cast::Full if decided.is_none() || decided != claim => return Heard::Full,
            Cast::Full | Cast::New => {}
        }
        if let Some(known) = decided {
            if claim == Some(known) {
                self.actions.push_back(TruthAction::Holder { slot, cid: known.cid, device });
            } else if claim.is_some() {
                self.counters.objections += 1;
                self.recount(slot, known);
            }
        }
        self.review(now, slot, false);
        Heard::Taken
    }

    /// A report about a slot whose books are closed; nothing where they have to be opened again.
    fn hear_settled(&mut self, device: DeviceId, slot: Slot, claim: Option<Claim>) -> Option<Heard> {
        match (self.settled.get(&slot)?, claim) {
            (SlotState::Confirmed(known), Some(claim)) if *known == claim => {
                let cid = known.cid;
                self.actions.push_back(TruthAction::Holder { slot, cid, device });
                Some(Heard::Closed)
            }
            (SlotState::Confirmed(_), Some(_)) => {
                self.counters.objections += 1;
                Some(Heard::Closed)
            }
            (SlotState::Single(..), Some(_)) => None,
            _ => Some(Heard::Closed),
        }
    }

    /// Makes sure that the slot is active. False when there is no room.
    fn open(&mut self, now: Mono, slot: Slot, opener: Option<DeviceId>) -> bool {
        if self.active.contains_key(&slot) {
            return true;
        }
        let quota_left = opener.is_none_or(|d| self.opened.get(&d).is_none_or(|n| *n < MAX_OPEN_SLOTS_PER_DEVICE));
        if !quota_left || !self.make_room() {
            return false;
        }
        let mut ballot = Ballot::default();
        let asked: Vec<DeviceId> = self.recorders.order(slot).iter().take(self.cfg.witnesses).copied().collect();
        for device in &asked {
            if let Some(subscriber) = self.recorders.subscriber(*device) {
                ballot.ask(*device, subscriber.clone());
            }
        }
        let state = match self.settled.remove(&slot) {
            Some(single @ SlotState::Single(..)) => single,
            _ => SlotState::Open,
        };
        if let SlotState::Single(claim, subscriber) = &state {
            ballot.recall(subscriber, *claim);
        }
        let decided = state != SlotState::Open;
        let deadline = now + if decided { self.cfg.objection_window } else { self.cfg.decide_after };
        let opener = opener.filter(|_| !decided);
        if let Some(device) = opener {
            *self.opened.entry(device).or_default() += 1;
        }
        self.deadlines.insert((deadline, slot));
        self.active.insert(slot, Active { ballot, state, by_reference: false, deadline, opener, next_recount: 2 });
        if self.is_near(slot) {
            self.tell(slot, &asked);
        }
        true
    }

    /// Closes the books that are due next when there is no room for another slot.
    fn make_room(&mut self) -> bool {
        if self.active.len() < MAX_SLOTS_IN_TRUTH {
            return true;
        }
        let decided = |slot: &Slot| self.active.get(slot).is_some_and(|active| active.state != SlotState::Open);
        let Some((at, slot)) = self.deadlines.iter().find(|(_, slot)| decided(slot)).copied() else { return false };
        self.deadlines.remove(&(at, slot));
        self.settle(slot);
        true
    }

    /// Whether a slot may lie ahead: an old one that comes up late, or one that a liar made up far away, orders
    /// nobody.
    fn is_near(&self, slot: Slot) -> bool {
        let Some(newest) = self.newest else { return true };
        let ((timeline, at), (newest_timeline, newest_at)) = (epoch(slot), epoch(newest));
        timeline.0.checked_sub(newest_timeline.0) == Some(1)
            || timeline == newest_timeline && matches!(at.checked_sub(newest_at), Some(0 | 1))
    }

    fn tell(&mut self, slot: Slot, devices: &[DeviceId]) {
        let now = epoch(slot);
        let devices: Vec<_> = devices.iter().filter(|d| self.told.get(*d) != Some(&now)).copied().collect();
        if devices.is_empty() {
            return;
        }
        devices.iter().for_each(|device| {
            self.told.insert(*device, now);
        });
        self.actions.push_back(TruthAction::AskWitnesses { slot, devices });
    }

    /// Asks as many witnesses again, next in the drawing order. False when nobody is left to ask.
    fn ask_more(&mut self, slot: Slot) -> bool {
        let order = self.recorders.order(slot).to_vec();
        let Some(active) = self.active.get_mut(&slot) else { return false };
        let room = MAX_WITNESSES_PER_SLOT.saturating_sub(active.ballot.asked()).min(self.cfg.witnesses);
        let more: Vec<DeviceId> = order.into_iter().filter(|d| !active.ballot.is_asked(*d)).take(room).collect();
        for device in &more {
            if let Some(subscriber) = self.recorders.subscriber(*device) {
                active.ballot.ask(*device, subscriber.clone());
            }
        }
        let silent: Vec<_> = more.iter().filter(|d| !active.ballot.has_answered(**d)).copied().collect();
        if !silent.is_empty() {
            self.actions.push_back(TruthAction::AskWitnesses { slot, devices: silent });
        }
        if !more.is_empty() {
            self.counters.asked_again += 1;
        }
        !more.is_empty()
    }

    /// Whoever objects has chosen itself, so objections alone decide nothing: hostile devices would outvote any
    /// sample. They make the seed draw further witnesses, in the secret order; objectors among them count.
    fn recount(&mut self, slot: Slot, known: Claim) {
        let Some(active) = self.active.get_mut(&slot) else { return };
        if active.by_reference || active.ballot.objectors(&known) < active.next_recount {
            return;
        }
        active.next_recount = active.next_recount.saturating_mul(2);
        self.ask_more(slot);
    }

    /// Decides, if it can be decided now.
    fn review(&mut self, now: Mono, slot: Slot, due: bool) {
        let Some(active) = self.active.get(&slot) else { return };
        let tally = active.ballot.tally();
        match &active.state {
            SlotState::Confirmed(known) => {
                let known = *known;
                if !active.by_reference
                    && let Some((claim, count)) = tally.leader()
                    && claim != known
                    && agreed(&tally, count)
                    && count > tally.of(&known)
                {
                    self.counters.withdrawn += 1;
                    self.actions.push_back(TruthAction::Withdrawn { slot, cid: known.cid });
                    self.confirm_by_vote(now, slot, claim);
                }
            }
            SlotState::Open => match tally.leader() {
                Some((claim, count)) if count >= 2 && 2 * count > tally.asked => self.confirm_by_vote(now, slot, claim),
                _ if due || tally.complete => self.conclude(now, slot, due),
                _ => {}
            },
            SlotState::Single(..) | SlotState::Disputed | SlotState::Damaged => self.decide(now, slot, &tally),
        }
    }

    /// All have answered, or time is up, and no majority of those asked agrees.
    fn conclude(&mut self, now: Mono, slot: Slot, due: bool) {
        if self.ask_more(slot) {
            self.set_deadline(slot, now + self.cfg.decide_after);
            return self.review(now, slot, false);
        }
        let Some(active) = self.active.get(&slot) else { return };
        let tally = active.ballot.tally();
        // A lone recorder's companions may be about to speak, even if nobody knows of them yet.
        if due || (tally.asked > 1 && tally.clean != 1) {
            self.decide(now, slot, &tally);
        }
    }

    /// Nobody else can be asked: silent and damaged recorders abstain.
    fn decide(&mut self, now: Mono, slot: Slot, tally: &Tally) {
        let Some(active) = self.active.get(&slot) else { return };
        let leader = tally.leader();
        match (leader, &active.state) {
            (Some((claim, count)), _) if agreed(tally, count) => self.confirm_by_vote(now, slot, claim),
            (_, SlotState::Disputed) => {}
            (Some((claim, _)), SlotState::Single(known, _)) if tally.clean == 1 && claim == *known => {}
            (Some((claim, _)), _) if tally.clean == 1 => {
                let utc = active.ballot.utc(&claim).unwrap_or_default();
                let Some((holder, subscriber)) = active.ballot.first(&claim) else { return };
                self.enter(now, slot, SlotState::Single(claim, subscriber.clone()));
                self.actions.push_back(TruthAction::Single { slot, claim, utc, subscriber, holder });
            }
            (None, SlotState::Damaged) => {}
            (None, _) if tally.clean == 0 => {
                self.enter(now, slot, SlotState::Damaged);
                self.actions.push_back(TruthAction::Damaged { slot });
            }
            _ => {
                self.enter(now, slot, SlotState::Disputed);
                self.actions.push_back(TruthAction::Disputed { slot });
            }
        }
    }

    fn confirm_by_vote(&mut self, now: Mono, slot: Slot, claim: Claim) {
        let Some(active) = self.active.get(&slot) else { return };
        let utc = active.ballot.utc(&claim).unwrap_or_default();
        self.confirm(now, slot, claim, utc);
    }

    fn confirm(&mut self, now: Mono, slot: Slot, claim: Claim, utc: UnixMillis) {
        let Some(active) = self.active.get(&slot) else { return };
        let supporters = active.ballot.supporters(&claim);
        self.newest = self.newest.max(Some(slot));
        self.enter(now, slot, SlotState::Confirmed(claim));
        self.actions.push_back(TruthAction::Confirmed { slot, claim, utc, supporters });
    }

    fn enter(&mut self, now: Mono, slot: Slot, state: SlotState) {
        let Some(active) = self.active.get_mut(&slot) else { return };
        active.state = state;
        let opener = active.opener.take();
        self.forget_opener(opener);
        self.set_deadline(slot, now + self.cfg.objection_window);
    }

    fn forget_opener(&mut self, opener: Option<DeviceId>) {
        if let Some(device) = opener
            && let Some(count) = self.opened.get_mut(&device)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.opened.remove(&device);
            }
        }
    }

    fn set_deadline(&mut self, slot: Slot, at: Mono) {
        if let Some(active) = self.active.get_mut(&slot) {
            self.deadlines.remove(&(active.deadline, slot));
            active.deadline = at;
            self.deadlines.insert((at, slot));
        }
    }

    /// Closes the books of a slot and remembers what was decided.
    fn settle(&mut self, slot: Slot) {
        let Some(active) = self.active.remove(&slot) else { return };
        self.deadlines.remove(&(active.deadline, slot));
        self.forget_opener(active.opener);
        // A damaged one is forgotten: whoever has it clean later is its first reporter.
        if !matches!(active.state, SlotState::Open | SlotState::Damaged) {
            self.remember(slot, active.state);
        }
    }

    fn remember(&mut self, slot: Slot, state: SlotState) {
        if matches!(state, SlotState::Confirmed(_)) {
            self.newest = self.newest.max(Some(slot));
        }
        self.settled.insert(slot, state);
        // The oldest go first. A seed that keeps recordings longer restores what it knows before it passes a report
        // on.
        while self.settled.len() > MAX_SETTLED_SLOTS {
            self.settled.pop_first();
        }
    }
}

/// More than half of the subscribers with a clean chunk, or with something that is of another one; and at least two.
fn agreed(tally: &Tally, count: usize) -> bool {
    count >= 2 && 2 * count > tally.clean + tally.against
}
