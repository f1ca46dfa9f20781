//! The scenario in the units of a run: integers, per class of homes, with everything derived that each event needs.

use aftercast_protocol::select::SelectConfig;
use aftercast_protocol::serve::Budgets;

use super::clock::{self, DAY, HOUR, MINUTE, SECOND, Time};
use super::profile::Profile;
use crate::exchange::PolicyKind;
use crate::plan::{AccessLine, Device, Plan};
use crate::rng::{Purpose, Rng};

/// Kinds of device: the box of a provider, a television set, a computer.
pub const DEVICES: usize = 3;
/// Kinds of access line: DSL, cable, fibre, mobile.
pub const LINES: usize = 4;
/// Kinds of reachability: open, behind a router that keeps its mapping (cone), behind one that does not (symmetric).
pub const REACHES: usize = 3;
/// A chance of one in the units of the model.
pub const CERTAIN: u64 = 1 << 32;

/// A kind of device.
#[derive(Debug, Clone, Copy)]
pub struct DeviceKind {
    /// Time of a day for which it is switched on.
    pub on: Time,
    /// Share of its line that it may send with, of 2^32.
    pub uplink_share: u64,
    /// Bytes of chunks that it keeps.
    pub disk: u64,
    /// For how long it keeps a recording: its disk holds so many, and so many come in a day.
    pub keeps: Time,
    /// What it may send.
    pub budgets: Budgets,
    /// Chance that its line is paid by volume, so that it sends nothing.
    pub metered: u64,
}

/// A kind of line.
#[derive(Debug, Clone, Copy)]
pub struct LineKind {
    /// Bytes per second towards the home.
    pub down: u64,
    /// Bytes per second from it.
    pub up: u64,
    /// Round trip from the home to its provider's network; a pair's is the sum of both.
    pub rtt: Time,
}

/// A scenario, ready to run.
#[derive(Debug, Clone)]
pub struct Model {
    /// All chance follows from it.
    pub seed: u64,
    /// Homes.
    pub homes: u32,
    /// Regions, which fail together.
    pub regions: u16,
    /// When measuring begins.
    pub measured_from: Time,
    /// When the run begins.
    pub begins: Time,
    /// When it ends.
    pub ends: Time,
    /// Channels.
    pub channels: u32,
    /// Bytes of a chunk.
    pub chunk_bytes: u64,
    /// Length of a chunk.
    pub chunk: Time,
    /// Length of a programme.
    pub programme: Time,
    /// Exponent of the channels' popularity.
    pub popularity_exponent: f64,
    /// Share of recordings and viewings that go to the event, of 2^32.
    pub event_share: u64,
    /// When the event begins.
    pub event_at: Time,
    /// Recordings of a home in a day.
    pub recordings: f64,
    /// How long a recording is kept.
    pub retention: Time,
    /// Chance that a chunk is damaged at one home, and is not repaired before it is asked for.
    pub missing: u64,
    /// Chance that it is damaged.
    pub damaged: u64,
    /// Kinds of device.
    pub devices: [DeviceKind; DEVICES],
    /// Whether any kind may send only so much.
    pub budgeted: bool,
    /// Cumulative shares of the kinds.
    pub device_shares: [u64; DEVICES],
    /// Kinds of line.
    pub lines: [LineKind; LINES],
    /// Cumulative shares of the kinds.
    pub line_shares: [u64; LINES],
    /// Cumulative shares of the kinds of reachability.
    pub reach_shares: [u64; REACHES],
    /// Chance that a pair of kinds meets.
    pub meet: [[u64; REACHES]; REACHES],
    /// Outages of a region in a run, on average.
    pub outages: f64,
    /// Length of one.
    pub outage: Time,
    /// Chance that a device is off in a half-hour in which it should be on.
    pub churn: u64,
    /// Viewings that begin, of one home in a day.
    pub viewings: f64,
    /// Mean length of a viewing, if its programme is long enough.
    pub viewing: Time,
    /// When viewings begin, over the day.
    pub profile: Profile,
    /// Chance that what is watched was recorded by this home.
    pub own: u64,
    /// After so long half as many watch a recording.
    pub half_life: Time,
    /// From a key on the remote control to a request, and from the first bytes to the picture, together.
    pub player: Time,
    /// Jumps in an hour of viewing.
    pub seeks_per_hour: f64,
    /// Intervals that are looked at closely.
    pub snapshots: u64,
    /// How sources are chosen.
    pub policy: PolicyKind,
    /// Holders that a device looks for.
    pub holders: usize,
    /// How far ahead of the picture it fetches.
    pub read_ahead: Time,
    /// Bytes per second that leave the seed; none: no limit.
    pub egress: Option<u64>,
    /// Round trip from a home's provider to the seed.
    pub seed_rtt: Time,
    /// What an answer takes beside the lines, on average.
    pub answer: Time,
    /// Bytes of a head.
    pub head_bytes: u64,
    /// Chance that a home sends what is false.
    pub polluters: u64,
    /// Chance that a home reports what is false.
    pub report_liars: u64,
    /// Chance that a home takes and does not give.
    pub free_riders: u64,
    /// Chance that a home is gone from [`Self::departs_at`] on.
    pub departing: u64,
    /// When they go.
    pub departs_at: Time,
    /// Parameters of the rules that ship.
    pub select: SelectConfig,
}

impl Model {
    /// Of a scenario that was found legal.
    pub fn of(plan: &Plan, seed: u64) -> Self {
        let history = plan.recording.retention_days.ceil().max(1.0) as u64;
        let begins = history * DAY + clock::MORNING;
        let measured_from = begins + clock::from_seconds(plan.run.warm_up_hours * 3600.0);
        let ends = measured_from + clock::from_seconds(plan.run.hours * 3600.0);
        let programme = clock::from_seconds(plan.broadcast.programme_min * 60.0);
        let chunk = clock::from_seconds(plan.broadcast.chunk_s);
        let viewing = clock::from_seconds(plan.viewing.session_min * 60.0);
        let profile = Profile::new(plan.viewing.peak_hour, plan.viewing.peak_to_mean);
        let watched = mean_watched(viewing, programme);
        let event_hour = clock::from_seconds(plan.broadcast.event_hour * 3600.0);
        let evening = begins - clock::MORNING + event_hour;
        // An event that would be over before the run begins is one of the next day.
        let event_at = if evening < begins { evening + DAY } else { evening };
        let devices = [&plan.devices.set_top, &plan.devices.tv, &plan.devices.pc];
        let access = [&plan.access.dsl, &plan.access.cable, &plan.access.fibre, &plan.access.mobile];
        let reach = &plan.reach;
        let (open, cone, mixed) = (chance(reach.open_any), chance(reach.cone_cone), chance(reach.cone_symmetric));
        let symmetric = chance(reach.symmetric_symmetric);
        Self {
            seed,
            homes: u32::try_from(plan.audience.homes).unwrap_or(u32::MAX),
            regions: u16::try_from(plan.audience.regions).unwrap_or(u16::MAX).max(1),
            measured_from,
            begins,
            ends,
            channels: u32::try_from(plan.broadcast.channels).unwrap_or(u32::MAX),
            chunk_bytes: (plan.broadcast.bitrate_mbps * 125_000.0 * plan.broadcast.chunk_s) as u64,
            chunk,
            programme,
            popularity_exponent: plan.broadcast.popularity_exponent,
            event_share: chance(plan.broadcast.event_share),
            event_at: event_at - event_at % programme,
            recordings: plan.recording.per_home_day,
            retention: clock::from_seconds(plan.recording.retention_days * 86_400.0),
            missing: chance(plan.recording.damaged_share * (1.0 - plan.recording.repaired_share)),
            damaged: chance(plan.recording.damaged_share),
            devices: devices.map(|device| device_kind(plan, device)),
            budgeted: devices.iter().any(|device| device.day_budget_gb > 0.0 || device.month_budget_gb > 0.0),
            device_shares: cumulative(devices.map(|device| device.share)),
            lines: access.map(line_kind),
            line_shares: cumulative(access.map(|line| line.share)),
            reach_shares: cumulative([reach.open, reach.cone, reach.symmetric]),
            meet: [[open, open, open], [open, cone, mixed], [open, mixed, symmetric]],
            outages: plan.outages.per_region_month * (ends - begins) as f64 / (30 * DAY) as f64,
            outage: clock::from_seconds(plan.outages.minutes * 60.0),
            churn: chance(plan.outages.churn),
            viewings: plan.viewing.hours_per_home_day * HOUR as f64 / watched.max(1.0),
            viewing,
            profile,
            own: chance(plan.viewing.own_share),
            half_life: clock::from_seconds(plan.viewing.age_half_life_h * 3600.0).max(MINUTE),
            player: clock::from_seconds(plan.viewing.player_ms / 1000.0),
            seeks_per_hour: plan.viewing.seeks_per_hour,
            snapshots: plan.run.snapshots,
            policy: plan.exchange.policy,
            holders: usize::try_from(plan.exchange.holders).unwrap_or(usize::MAX),
            read_ahead: clock::from_seconds(plan.exchange.read_ahead_s),
            egress: (plan.seed.egress_mbps > 0.0).then_some((plan.seed.egress_mbps * 125_000.0) as u64),
            seed_rtt: clock::from_seconds(plan.seed.rtt_ms / 1000.0),
            answer: clock::from_seconds(plan.seed.answer_ms / 1000.0),
            head_bytes: (plan.seed.head_kb * 1000.0) as u64,
            polluters: chance(plan.adversaries.polluters),
            report_liars: chance(plan.adversaries.report_liars),
            free_riders: chance(plan.adversaries.free_riders),
            departing: chance(plan.adversaries.departure_share),
            departs_at: begins + clock::from_seconds(plan.adversaries.departure_hour * 3600.0),
            select: SelectConfig {
                min_holders: usize::try_from(plan.exchange.holders).unwrap_or(8),
                ..SelectConfig::default()
            },
        }
    }

    /// Chunks of a programme.
    pub fn chunks(&self) -> u32 {
        u32::try_from(self.programme / self.chunk).unwrap_or(u32::MAX).max(1)
    }

    /// Programmes of a channel in a day.
    pub fn slots(&self) -> u64 {
        (DAY / self.programme).max(1)
    }

    /// Chunks of a viewing that lasts as long as drawn for this number, or to the end of its programme.
    pub fn chunks_watched(&self, rng: Rng, number: u64) -> u32 {
        let length = self.viewing / 4 + rng.below(self.viewing * 3 / 2 + 1, Purpose::Length, number, 0);
        u32::try_from(length / self.chunk).unwrap_or(u32::MAX).clamp(1, self.chunks())
    }

    /// Bytes per second of the broadcast.
    pub fn byte_rate(&self) -> u64 {
        self.chunk_bytes * SECOND / self.chunk.max(1)
    }
}

/// A share as a chance.
pub fn chance(share: f64) -> u64 {
    (share.clamp(0.0, 1.0) * CERTAIN as f64) as u64
}

/// Mean length of a viewing that ends with its programme at the latest: lengths are drawn evenly between a quarter and
/// seven quarters of their mean.
fn mean_watched(viewing: Time, programme: Time) -> f64 {
    const STEPS: u64 = 1000;
    let length = |step: u64| viewing / 4 + viewing * 3 / 2 * (2 * step + 1) / (2 * STEPS);
    (0..STEPS).map(|step| length(step).min(programme) as f64).sum::<f64>() / STEPS as f64
}

fn cumulative<const N: usize>(shares: [f64; N]) -> [u64; N] {
    let total: f64 = shares.iter().sum();
    let mut sum = 0.0;
    let mut result = shares.map(|share| {
        sum += share;
        chance(sum / total)
    });
    result[N - 1] = CERTAIN;
    result
}

fn device_kind(plan: &Plan, device: &Device) -> DeviceKind {
    let a_day =
        plan.recording.per_home_day * plan.broadcast.programme_min * 60.0 * plan.broadcast.bitrate_mbps * 125_000.0;
    let days = device.disk_gb * 1e9 / a_day.max(1.0);
    let budget = |gigabytes: f64| (gigabytes > 0.0).then_some((gigabytes * 1e9) as u64);
    DeviceKind {
        on: (device.on_share * DAY as f64) as Time,
        uplink_share: chance(device.uplink_share),
        disk: (device.disk_gb * 1e9) as u64,
        keeps: (days.min(plan.recording.retention_days) * DAY as f64) as Time,
        budgets: Budgets { day: budget(device.day_budget_gb), month: budget(device.month_budget_gb) },
        metered: chance(device.metered_share),
    }
}

fn line_kind(line: &AccessLine) -> LineKind {
    LineKind {
        down: (line.down_mbps * 125_000.0) as u64,
        up: (line.up_mbps * 125_000.0) as u64,
        rtt: clock::from_seconds(line.rtt_ms / 1000.0),
    }
}
