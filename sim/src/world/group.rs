//! The recording group of a channel: who reports, what is confirmed, who uploads. [`Truth`] and [`Duties`] decide, as
//! they do in the seed; what surrounds them is modelled: receptions, the way of reports, lines.
//!
//! Of the homes that record a programme some 24 take part here, others each time. Witnesses are drawn from all
//! recorders evenly, so that these stand for all; the uploads of a channel then fall on them, each programme on others.

use std::collections::BTreeMap;

use aftercast_protocol::ccf::WithheldReason;
use aftercast_protocol::duty::{Capability, ChunkRef, Duties, DutyAction, DutyConfig, FailReason, Node};
use aftercast_protocol::ids::{ChannelId, ChunkCid, ChunkIndex, DeviceId, Slot, SubscriberId, TimelineId, UnitDigest};
use aftercast_protocol::time::{Micros, Mono, Pts33, Ticks, UnixMillis};
use aftercast_protocol::truth::{Claim, Reception, Report, Standing, Truth, TruthAction, TruthConfig};

use super::catalogue::Programme;
use super::choice::device;
use super::clock::{SECOND, Time};
use super::fleet::Traits;
use super::model::{CERTAIN, Model};
use super::session::{Owner, Part};
use super::{Event, World};
use crate::rng::{Purpose, Rng};

/// Homes of each programme that take part: several times as many as are asked about a chunk.
const SAMPLE: usize = 24;
/// Reports are there at most so long after a chunk's end.
const REPORTED: Time = 2 * SECOND;
/// For a message there and its answer back.
const ROUND_TRIP: Time = SECOND / 20;
/// When the seed should have a chunk after it was decided.
const STORE_WITHIN: Micros = Micros::from_secs(60);

/// A channel's recording group.
pub struct Group {
    truth: Truth,
    duties: Duties,
    channel: ChannelId,
    programme: Option<Programme>,
    members: Vec<u32>,
    /// Members that are asked to report.
    witnesses: Vec<u32>,
    /// Uploads ordered: the chunk's claim, and what is under way.
    wanted: BTreeMap<u64, Wanted>,
    due: Time,
}

#[derive(Debug)]
struct Wanted {
    claim: Claim,
    part: Option<u32>,
    /// What it lacked when it was last looked at.
    left: u64,
}

/// What recording groups are judged by.
#[derive(Debug, Clone, Default)]
pub struct Recorded {
    /// Chunks broadcast, received whole by a member, confirmed, confirmed falsely, stored.
    pub broadcast: u64,
    /// See above.
    pub received: u64,
    /// See above.
    pub confirmed: u64,
    /// See above.
    pub falsely: u64,
    /// See above.
    pub stored: u64,
    /// Bytes uploaded, and bytes of different chunks.
    pub uploaded: u64,
    /// See above.
    pub unique: u64,
    /// Bytes uploaded, measured or not.
    pub came: u64,
    /// Microseconds from a chunk's end to its decision.
    pub decided: crate::stats::Histogram,
    /// Microseconds from a chunk's end until the seed has it.
    pub kept: crate::stats::Histogram,
}

impl Group {
    /// The group of a channel.
    pub fn new(channel: u32) -> Self {
        let mut salt = [0; 32];
        salt[..4].copy_from_slice(&channel.to_be_bytes());
        Self {
            truth: Truth::new(TruthConfig::default(), salt),
            duties: Duties::new(DutyConfig::default()),
            channel: format!("channel-{channel}").parse().expect("letters, a dash and digits make a name"),
            programme: None,
            members: Vec::new(),
            witnesses: Vec::new(),
            wanted: BTreeMap::new(),
            due: Time::MAX,
        }
    }
}

impl World<'_> {
    /// A chunk of a channel has been broadcast.
    pub(super) fn on_chunk(&mut self, channel: u32) {
        let now = self.now;
        let index = now / self.model.chunk - 1;
        let begins = index * self.model.chunk;
        if now + self.model.chunk <= self.model.ends {
            self.calendar.push(now + self.model.chunk, Event::Chunk { channel });
        }
        self.change_programme(channel, self.catalogue.at(u64::from(channel), begins));
        let group = &self.groups[channel as usize];
        if group.members.is_empty() {
            return;
        }
        let measured = now >= self.model.measured_from;
        let whole = group.members.iter().filter(|home| self.receives(**home, channel, index));
        let honest = whole.filter(|home| !self.fleet.homes[**home as usize].traits.has(Traits::LIAR)).count();
        self.recorded.broadcast += u64::from(measured);
        self.recorded.received += u64::from(measured && honest > 0);
        for home in group.witnesses.clone() {
            self.report_later(channel, home, index);
        }
    }

    fn report_later(&mut self, channel: u32, home: u32, index: u64) {
        let delay = self.rng.below(REPORTED, Purpose::Delay, u64::from(home), index);
        self.calendar.push(self.now + delay, Event::Report { channel, home, index: index as u32 });
    }

    /// Whether a member has a chunk whole by itself.
    fn receives(&self, home: u32, channel: u32, index: u64) -> bool {
        let region = self.fleet.homes[home as usize].region;
        !is_damaged(self.rng, self.model, home, u64::from(channel), index)
            && !self.fleet.is_cut_off(region, index * self.model.chunk)
    }

    /// Another programme: others record it.
    fn change_programme(&mut self, channel: u32, programme: Programme) {
        let now = Mono(self.now);
        if self.groups[channel as usize].programme == Some(programme) {
            return;
        }
        let recorders = self.catalogue.recorders(programme);
        let first = self.rng.below(recorders.len() as u64, Purpose::Sample, u64::from(programme.0), 0) as usize;
        let mut members: Vec<u32> =
            (0..recorders.len().min(SAMPLE)).map(|place| recorders[(first + place) % recorders.len()]).collect();
        members.sort_unstable();
        members.dedup();
        let group = &mut self.groups[channel as usize];
        group.programme = Some(programme);
        let before = std::mem::replace(&mut group.members, members);
        group.witnesses.clear();
        for home in before.iter().filter(|home| group.members.binary_search(home).is_err()) {
            group.truth.handle_recorder_gone(now, device(*home));
        }
        for home in group.members.clone() {
            self.groups[channel as usize].truth.handle_recorder(device(home), subscriber(home), None);
            self.tell_capability(channel, home);
        }
        self.act(channel);
        let group = &mut self.groups[channel as usize];
        let slot = slot(self.now / self.model.chunk);
        group.witnesses = group.truth.witnesses(slot).iter().map(home_of).collect();
    }

    /// The seed hears what a home can do.
    fn tell_capability(&mut self, channel: u32, home: u32) {
        let node = Node { subscriber: subscriber(home), capability: self.capability(home) };
        self.groups[channel as usize].duties.handle_node(Mono(self.now), device(home), node);
    }

    fn capability(&self, home: u32) -> Capability {
        let state = &self.fleet.homes[home as usize];
        let (kind, line) = (self.fleet.device(self.model, home), self.fleet.line(self.model, home));
        let free_rider = state.traits.has(Traits::FREE_RIDER);
        let left = |budget: Option<u64>, used: u64| budget.map_or(u64::MAX, |budget| budget.saturating_sub(used));
        let day = left(kind.budgets.day, state.usage.day_bytes());
        Capability {
            uplink_declared_bps: line.up * 8,
            uplink_measured_bps: 0,
            share_percent: (kind.uplink_share * 100 / CERTAIN) as u8,
            backlog_bytes: 0,
            budget_left_bytes: day.min(left(kind.budgets.month, state.usage.month_bytes())),
            free_bytes: kind.disk,
            metered: state.traits.has(Traits::METERED),
            on_battery: false,
            paused: free_rider,
        }
    }

    /// A report is there.
    pub(super) fn on_report(&mut self, channel: u32, home: u32, index: u64) {
        let liar = self.fleet.homes[home as usize].traits.has(Traits::LIAR);
        let reception = if liar || self.receives(home, channel, index) {
            Reception::Clean { cid: cid(channel, index, liar), bytes: self.model.chunk_bytes }
        } else {
            Reception::Withheld { reason: WithheldReason::Damaged, piece: None }
        };
        let group = &mut self.groups[channel as usize];
        let report = report(&group.channel, index, reception, self.model);
        // Whoever is not heard any more was not needed: what it has it can still offer to those who look for holders.
        group.truth.handle_report(Mono(self.now), device(home), slot(index), &report);
        self.act(channel);
    }

    /// A group's time has come, unless that has changed.
    pub(super) fn on_group(&mut self, channel: u32) {
        if self.groups[channel as usize].due != self.now {
            return;
        }
        self.groups[channel as usize].due = Time::MAX;
        self.note_progress(channel);
        let now = Mono(self.now);
        let group = &mut self.groups[channel as usize];
        group.truth.handle_timeout(now);
        group.duties.handle_timeout(now);
        self.act(channel);
    }

    /// Tells the duties how far uploads are, as the seed sees it all the time.
    fn note_progress(&mut self, channel: u32) {
        let under_way: Vec<(u64, u32, u64)> = self.groups[channel as usize]
            .wanted
            .iter()
            .filter_map(|(index, wanted)| Some((*index, wanted.part?, wanted.left)))
            .collect();
        for (index, part, before) in under_way {
            let left = self.left_of(part);
            let from = self.parts[part].from;
            let group = &mut self.groups[channel as usize];
            let Some(wanted) = group.wanted.get_mut(&index) else { continue };
            wanted.left = left;
            group.duties.handle_progress(&wanted.claim.cid, device(from), before.saturating_sub(left));
        }
    }

    /// Does what truth and duties say, and plans the group's next event.
    fn act(&mut self, channel: u32) {
        loop {
            let group = &mut self.groups[channel as usize];
            if let Some(action) = group.truth.poll_action() {
                self.act_on_truth(channel, action);
            } else if let Some(action) = group.duties.poll_action() {
                self.act_on_duty(channel, action);
            } else {
                break;
            }
        }
        let group = &mut self.groups[channel as usize];
        let due = group.truth.poll_timeout().into_iter().chain(group.duties.poll_timeout()).min();
        let Some(due) = due.map(|due| due.0.max(self.now + 1)).filter(|due| *due < group.due) else { return };
        group.due = due;
        self.calendar.push(due, Event::Group { channel });
    }

    fn act_on_truth(&mut self, channel: u32, action: TruthAction) {
        let now = self.now;
        match action {
            TruthAction::Confirmed { slot, claim, supporters, .. } => {
                self.decided(channel, slot.index.0, claim);
                self.store(channel, slot.index.0, claim, &supporters);
                self.publish(channel, slot.index.0, claim);
            }
            TruthAction::Single { slot, claim, holder, .. } => {
                self.decided(channel, slot.index.0, claim);
                self.store(channel, slot.index.0, claim, &[holder]);
            }
            TruthAction::Holder { cid, device, .. } => {
                self.groups[channel as usize].duties.handle_holder(Mono(now), &cid, device);
            }
            TruthAction::AskWitnesses { slot, devices } => {
                for device in devices {
                    let home = home_of(&device);
                    let witnesses = &mut self.groups[channel as usize].witnesses;
                    if !witnesses.contains(&home) {
                        witnesses.push(home);
                    }
                    if (slot.index.0 + 1) * self.model.chunk <= now {
                        self.report_later(channel, home, slot.index.0);
                    }
                }
            }
            TruthAction::Withdrawn { .. } | TruthAction::Disputed { .. } | TruthAction::Damaged { .. } => {}
        }
    }

    fn decided(&mut self, channel: u32, index: u64, claim: Claim) {
        let ended = (index + 1) * self.model.chunk;
        if ended < self.model.measured_from {
            return;
        }
        self.recorded.confirmed += 1;
        self.recorded.falsely += u64::from(claim.cid != cid(channel, index, false));
        self.recorded.decided.record(self.now - ended);
    }

    fn store(&mut self, channel: u32, index: u64, claim: Claim, holders: &[DeviceId]) {
        let now = Mono(self.now);
        let group = &mut self.groups[channel as usize];
        let channel = group.channel.clone();
        let deadline = now + STORE_WITHIN;
        let chunk = ChunkRef { channel, slot: slot(index), cid: claim.cid, bytes: claim.bytes, deadline };
        if group.duties.handle_chunk(now, chunk, holders).is_ok() {
            group.wanted.entry(index).or_insert(Wanted { claim, part: None, left: claim.bytes });
        }
    }

    /// Members compare a published chunk with their own: the same makes them holders.
    fn publish(&mut self, channel: u32, index: u64, claim: Claim) {
        let now = Mono(self.now + ROUND_TRIP);
        for home in self.groups[channel as usize].members.clone() {
            let liar = self.fleet.homes[home as usize].traits.has(Traits::LIAR);
            if cid(channel, index, liar) == claim.cid && (liar || self.receives(home, channel, index)) {
                self.groups[channel as usize].duties.handle_holder(now, &claim.cid, device(home));
            }
        }
    }

    fn act_on_duty(&mut self, channel: u32, action: DutyAction) {
        let place = |cid: &ChunkCid| u64::from_be_bytes(cid.0[4..12].try_into().expect("eight bytes"));
        match action {
            DutyAction::Pull { cid, from, .. } => {
                let (index, from) = (place(&cid), home_of(&from));
                let Some(left) = self.groups[channel as usize].wanted.get(&index).map(|wanted| wanted.left) else {
                    return;
                };
                if !self.fleet.is_on(self.model, from, self.now) || self.fleet.uplink(self.model, from) == 0 {
                    let group = &mut self.groups[channel as usize];
                    group.duties.handle_failed(Mono(self.now), &cid, device(from), FailReason::Broken);
                    return;
                }
                let owner = Owner::Upload { channel, index };
                let (since, asked) = (self.now, self.now);
                let part = Part { owner, from, transfer: None, bytes: left, since, asked, expected: 0 };
                let part = self.parts.put(part);
                if let Some(wanted) = self.groups[channel as usize].wanted.get_mut(&index) {
                    wanted.part = Some(part);
                }
                self.send(part);
            }
            DutyAction::Abandon { cid, .. } => {
                let wanted = self.groups[channel as usize].wanted.get_mut(&place(&cid));
                if let Some(part) = wanted.and_then(|wanted| wanted.part.take()) {
                    let left = self.take_back(part);
                    let Part { from, bytes, .. } = self.parts[part];
                    self.parts.free(part);
                    self.count_upload(from, bytes - left);
                    if let Some(wanted) = self.groups[channel as usize].wanted.get_mut(&place(&cid)) {
                        wanted.left = left;
                    }
                }
            }
            // Copies with keepers are counted as storage only.
            DutyAction::Starved { .. } | DutyAction::Keep { .. } => {}
        }
    }

    fn count_upload(&mut self, from: u32, bytes: u64) {
        let measured = self.now >= self.model.measured_from;
        self.fleet.send(from, bytes, self.now, measured);
        self.recorded.uploaded += if measured { bytes } else { 0 };
        self.recorded.came += bytes;
    }

    /// The seed has a chunk.
    pub(super) fn uploaded(&mut self, channel: u32, index: u64, from: u32, bytes: u64) {
        let now = Mono(self.now);
        self.count_upload(from, bytes);
        if !self.fleet.may_send(self.model, from) {
            self.tell_capability(channel, from);
        }
        let group = &mut self.groups[channel as usize];
        let Some(wanted) = group.wanted.remove(&index) else { return };
        group.duties.handle_stored(now, &wanted.claim.cid);
        let ended = (index + 1) * self.model.chunk;
        if ended >= self.model.measured_from {
            self.recorded.stored += 1;
            self.recorded.unique += wanted.claim.bytes;
            self.recorded.kept.record(self.now - ended);
        }
        self.act(channel);
    }

    /// A device went away in the middle of an upload.
    pub(super) fn upload_broken(&mut self, channel: u32, index: u64, from: u32, bytes: u64, left: u64) {
        let now = Mono(self.now);
        self.count_upload(from, bytes - left);
        let group = &mut self.groups[channel as usize];
        let Some(wanted) = group.wanted.get_mut(&index) else { return };
        // Of it, some progress was noted before.
        let progress = wanted.left.saturating_sub(left);
        (wanted.part, wanted.left) = (None, left);
        let cid = wanted.claim.cid;
        group.duties.handle_progress(&cid, device(from), progress);
        group.duties.handle_failed(now, &cid, device(from), FailReason::Broken);
        self.act(channel);
    }
}

/// Whether a chunk is damaged at a home.
pub fn is_damaged(rng: Rng, model: &Model, home: u32, channel: u64, index: u64) -> bool {
    rng.below(CERTAIN, Purpose::Reception, u64::from(home) << 16 | channel, index) < model.damaged
}

fn subscriber(home: u32) -> SubscriberId {
    format!("home-{home}").parse().expect("letters, a dash and digits make a name")
}

fn home_of(device: &DeviceId) -> u32 {
    u32::from_be_bytes(device.0[..4].try_into().expect("four bytes"))
}

fn slot(index: u64) -> Slot {
    Slot { timeline: TimelineId(0), index: ChunkIndex(index) }
}

fn cid(channel: u32, index: u64, lie: bool) -> ChunkCid {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&channel.to_be_bytes());
    id[4..12].copy_from_slice(&index.to_be_bytes());
    id[31] = u8::from(lie);
    ChunkCid(id)
}

fn report(channel: &ChannelId, index: u64, reception: Reception, model: &Model) -> Report {
    let mut opening = [0; 16];
    opening[..8].copy_from_slice(&index.to_be_bytes());
    let ticks = model.chunk / 100 * 9;
    Report {
        channel: channel.clone(),
        timeline: TimelineId(0),
        index: ChunkIndex(index),
        pts: Pts33(index.wrapping_mul(ticks) % (1 << 33)),
        duration: Ticks(ticks as i64),
        opening: UnitDigest(opening),
        utc: UnixMillis(index * model.chunk / 1000),
        reception,
        standing: Standing::Witness,
    }
}
