//! Homes: what they have, and when they are there.
//!
//! Whether a device is on at some time is a function of the home, the day and the run's seed: nothing is stored and
//! nothing happens when a device is switched on or off, however many there are, unless it is just sending.

use aftercast_protocol::serve::Usage;
use aftercast_protocol::time::UnixMillis;

use super::clock::{DAY, HOUR, MINUTE, Time};
use super::model::{CERTAIN, DeviceKind, LineKind, Model};
use crate::rng::{Draws, Purpose, Rng};
use crate::theory::cost::MONTH_DAYS;

/// A home is off for a part of such a stretch when it fails by itself.
const STRETCH: Time = 30 * MINUTE;
/// No answer is looked for beyond this: a device that is on for so long counts as on for ever.
const HORIZON: Time = 6 * HOUR;

/// One home, its device, and what it has sent.
#[derive(Debug, Clone, Copy)]
pub struct Home {
    /// Kind of device.
    pub device: u8,
    /// Kind of line.
    pub line: u8,
    /// Kind of reachability.
    pub reach: u8,
    /// What is special about it.
    pub traits: Traits,
    /// Where it is.
    pub region: u16,
    /// Place of its line among those in use; [`NO_LINE`] while it sends nothing.
    pub sending: u32,
    /// Bytes it has sent while measured.
    pub sent: u64,
    /// Bytes it has sent in this day and month.
    pub usage: Usage,
}

/// A home that sends nothing.
pub const NO_LINE: u32 = u32::MAX;

/// What is special about a home.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traits(u8);

impl Traits {
    /// Pays by volume: sends nothing.
    pub const METERED: Self = Self(1);
    /// Sends what is false.
    pub const POLLUTER: Self = Self(2);
    /// Reports what is false.
    pub const LIAR: Self = Self(4);
    /// Takes and does not give.
    pub const FREE_RIDER: Self = Self(8);
    /// Leaves with many others.
    pub const DEPARTING: Self = Self(16);

    /// Whether all of these hold.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    fn with(self, other: Self, is: bool) -> Self {
        if is { Self(self.0 | other.0) } else { self }
    }
}

/// All homes.
#[derive(Debug)]
pub struct Fleet {
    /// By number.
    pub homes: Vec<Home>,
    /// Outages of each region, in order.
    outages: Vec<Vec<(Time, Time)>>,
    /// Bytes that homes have sent in all.
    pub sent: u64,
    rng: Rng,
}

impl Fleet {
    /// The fleet of a scenario.
    pub fn new(model: &Model) -> Self {
        let rng = Rng::new(model.seed);
        let homes = (0..model.homes).map(|number| home(model, rng, u64::from(number))).collect();
        let outages = (0..model.regions).map(|region| outages(model, rng, u64::from(region))).collect();
        Self { homes, outages, sent: 0, rng }
    }

    /// Kind of a home's device.
    pub fn device<'m>(&self, model: &'m Model, home: u32) -> &'m DeviceKind {
        &model.devices[usize::from(self.homes[home as usize].device)]
    }

    /// Kind of a home's line.
    pub fn line<'m>(&self, model: &'m Model, home: u32) -> &'m LineKind {
        &model.lines[usize::from(self.homes[home as usize].line)]
    }

    /// Bytes per second that a home sends with; 0 for those who send nothing.
    pub fn uplink(&self, model: &Model, home: u32) -> u64 {
        if self.homes[home as usize].traits.has(Traits::METERED) {
            return 0;
        }
        let rate = u128::from(self.line(model, home).up) * u128::from(self.device(model, home).uplink_share);
        (rate / u128::from(CERTAIN)) as u64
    }

    /// What homes with a budget sent of what it allows for the time that is measured, in millionths, ascending.
    pub fn of_budgets(&self, model: &Model) -> Vec<u32> {
        let days = (model.ends - model.measured_from) as f64 / DAY as f64;
        let allowed = model.devices.map(|kind| {
            let day = kind.budgets.day.map(|bytes| bytes as f64 * days);
            let month = kind.budgets.month.map(|bytes| bytes as f64 * days / MONTH_DAYS);
            day.into_iter().chain(month).reduce(f64::min)
        });
        let used = |home: &Home| Some((home.sent as f64 / allowed[usize::from(home.device)]?.max(1.0) * 1e6) as u32);
        let mut all: Vec<u32> = self.homes.iter().filter_map(used).collect();
        all.sort_unstable();
        all
    }

    /// Whether two homes come together: by their kinds, and the same at each attempt.
    pub fn meet(&self, model: &Model, one: u32, other: u32) -> bool {
        let reach = |home: u32| usize::from(self.homes[home as usize].reach);
        let pair = (u64::from(one.min(other)) << 32) | u64::from(one.max(other));
        self.rng.below(CERTAIN, Purpose::Meeting, pair, 0) < model.meet[reach(one)][reach(other)]
    }

    /// Whether a region is cut off.
    pub fn is_cut_off(&self, region: u16, at: Time) -> bool {
        let outages = &self.outages[usize::from(region)];
        let next = outages.partition_point(|(_, end)| *end <= at);
        outages.get(next).is_some_and(|(begin, _)| *begin <= at)
    }

    /// Whether a home's device is there for others.
    pub fn is_on(&self, model: &Model, home: u32, at: Time) -> bool {
        let state = &self.homes[home as usize];
        let departed = state.traits.has(Traits::DEPARTING) && model.departs_at <= at;
        !departed
            && !self.is_cut_off(state.region, at)
            && (model.churn == 0 || self.failures(home).below(CERTAIN, at / STRETCH) >= model.churn)
            && self.window_ends(model, home, at) > at
    }

    /// When a home's device fails.
    fn failures(&self, home: u32) -> Draws {
        self.rng.draws(Purpose::Failure, u64::from(home))
    }

    /// From when on it is not there: now, where it is not there now.
    pub fn off_at(&self, model: &Model, home: u32, at: Time) -> Time {
        let state = &self.homes[home as usize];
        let window = self.window_ends(model, home, at);
        let departure = if state.traits.has(Traits::DEPARTING) { model.departs_at.max(at) } else { Time::MAX };
        let outages = &self.outages[usize::from(state.region)];
        let next = outages.partition_point(|(_, end)| *end <= at);
        let outage = outages.get(next).map_or(Time::MAX, |(begin, _)| (*begin).max(at));
        let until = window.min(departure).min(outage);
        if model.churn == 0 || until <= at {
            return until;
        }
        let first = at / STRETCH;
        let failures = self.failures(home);
        let fails = |stretch: &u64| failures.below(CERTAIN, *stretch) < model.churn;
        let failure = (first..=(until.min(at + HORIZON) / STRETCH)).find(fails);
        failure.map_or(until, |stretch| until.min((stretch * STRETCH).max(at)))
    }

    /// End of the time in which a home's device is switched on today, or was yesterday; now, where it is off.
    fn window_ends(&self, model: &Model, home: u32, at: Time) -> Time {
        let on = self.device(model, home).on;
        if on >= DAY {
            return Time::MAX;
        }
        let today = at / DAY;
        let (lengths, middles) =
            [Purpose::On, Purpose::Off].map(|purpose| self.rng.draws(purpose, u64::from(home))).into();
        let kind = self.homes[home as usize].device;
        let ends = [today.saturating_sub(1), today].into_iter().filter_map(|day| {
            let (begin, end) = window(kind, day, on, lengths, middles);
            (begin <= at && at < end).then_some(end)
        });
        ends.max().unwrap_or(at)
    }

    /// What may still be sent, by the rule that ships.
    pub fn may_send(&self, model: &Model, home: u32) -> bool {
        // Where nobody has a budget, nobody's usage is looked up: homes are many, and far apart in memory.
        !model.budgeted || self.homes[home as usize].usage.exhausted(&self.device(model, home).budgets).is_none()
    }

    /// Counts what a home sends.
    pub fn send(&mut self, home: u32, bytes: u64, at: Time, measured: bool) {
        let state = &mut self.homes[home as usize];
        state.usage.roll(UnixMillis(at / 1000));
        state.usage.add(bytes);
        state.sent += if measured { bytes } else { 0 };
        self.sent += bytes;
    }
}

fn home(model: &Model, rng: Rng, number: u64) -> Home {
    let draw = |purpose| rng.below(CERTAIN, purpose, number, 0);
    let device = pick(&model.device_shares, draw(Purpose::Device));
    let is = |chance: u64, purpose| draw(purpose) < chance;
    let traits = Traits::default()
        .with(Traits::METERED, is(model.devices[device].metered, Purpose::Metered))
        .with(Traits::POLLUTER, is(model.polluters, Purpose::Polluter))
        .with(Traits::LIAR, is(model.report_liars, Purpose::ReportLiar))
        .with(Traits::FREE_RIDER, is(model.free_riders, Purpose::FreeRider))
        .with(Traits::DEPARTING, is(model.departing, Purpose::Departure));
    Home {
        device: device as u8,
        line: pick(&model.line_shares, draw(Purpose::Line)) as u8,
        reach: pick(&model.reach_shares, draw(Purpose::Reach)) as u8,
        traits,
        region: rng.below(u64::from(model.regions), Purpose::Region, number, 0) as u16,
        sending: NO_LINE,
        sent: 0,
        usage: Usage::default(),
    }
}

/// When a device is on that is on for `on` a day: around the evening for those that are on when watched, around the
/// afternoon for those that are off at night.
fn window(kind: u8, day: u64, on: Time, lengths: Draws, middles: Draws) -> (Time, Time) {
    let (middle, spread) = match kind {
        1 => (20 * HOUR, 5 * HOUR),
        2 => (16 * HOUR, 8 * HOUR),
        _ => (15 * HOUR, 3 * HOUR),
    };
    let length = on - on / 4 + lengths.below(on / 2 + 1, day);
    let middle = middle + middles.below(spread, day) - spread / 2;
    let begin = day * DAY + middle;
    (begin - (length / 2).min(begin), begin + length / 2)
}

/// Outages of a region during the run: each half-hour has its chance.
fn outages(model: &Model, rng: Rng, region: u64) -> Vec<(Time, Time)> {
    let stretches = (model.ends - model.begins) / STRETCH + 1;
    let chance = super::model::chance(model.outages / stretches as f64);
    let mut result: Vec<(Time, Time)> = Vec::new();
    for stretch in 0..stretches {
        if rng.below(CERTAIN, Purpose::Outage, region, stretch) < chance {
            let begin = model.begins + stretch * STRETCH + rng.below(STRETCH, Purpose::OutageAt, region, stretch);
            if result.last().is_none_or(|(_, end)| *end < begin) {
                result.push((begin, begin + model.outage));
            }
        }
    }
    result
}

/// Place of a draw among cumulative shares.
pub fn pick(cumulative: &[u64], draw: u64) -> usize {
    cumulative.partition_point(|sum| *sum <= draw).min(cumulative.len() - 1)
}
