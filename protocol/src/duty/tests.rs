use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::ids::{ChannelId, ChunkCid, ChunkIndex, DeviceId, Slot, TimelineId};
use crate::limits::{MAX_DUTY_CHUNKS, MAX_DUTY_NODES, MAX_HOLDERS_PER_CHUNK};
use crate::time::{Micros, Mono};

const SECOND: u64 = 1_000_000;
const CHUNK: u64 = 2_500_000;

fn device(n: u8) -> DeviceId {
    DeviceId([n; 32])
}

fn cid(n: u64) -> ChunkCid {
    ChunkCid::of(&n.to_le_bytes())
}

fn capability(bps: u64) -> Capability {
    Capability {
        uplink_declared_bps: bps,
        uplink_measured_bps: 0,
        share_percent: 100,
        backlog_bytes: 0,
        budget_left_bytes: u64::MAX,
        free_bytes: 1 << 34,
        metered: false,
        on_battery: false,
        paused: false,
    }
}

fn node(n: u8, capability: Capability) -> Node {
    Node { subscriber: format!("home-{n}").parse().unwrap(), capability }
}

fn chunk(n: u64, bytes: u64, deadline: u64) -> ChunkRef {
    ChunkRef {
        channel: "one".parse::<ChannelId>().unwrap(),
        slot: Slot { timeline: TimelineId(0), index: ChunkIndex(n) },
        cid: cid(n),
        bytes,
        deadline: Mono(deadline),
    }
}

fn prompt() -> DutyConfig {
    DutyConfig { gather: Micros(0), keepers: 0, ..DutyConfig::default() }
}

/// Duties of nodes 0, 1, … with these uplinks.
fn duties(cfg: DutyConfig, uplinks: &[u64]) -> Duties {
    let mut duties = Duties::new(cfg);
    for (n, bps) in uplinks.iter().enumerate() {
        assert!(duties.handle_node(Mono(0), device(n as u8), node(n as u8, capability(*bps))));
    }
    duties
}

fn drain(duties: &mut Duties) -> Vec<DutyAction> {
    std::iter::from_fn(|| duties.poll_action()).collect()
}

fn pulled_from(actions: &[DutyAction]) -> Vec<DeviceId> {
    let from = |action: &DutyAction| if let DutyAction::Pull { from, .. } = action { Some(*from) } else { None };
    actions.iter().filter_map(from).collect()
}

/// A recording group in virtual time: lines send what is pulled one after the other, at their rate.
struct Group {
    duties: Duties,
    lines: BTreeMap<DeviceId, (u64, Mono)>,
    arrivals: std::collections::BTreeSet<(Mono, ChunkCid, DeviceId)>,
    sizes: BTreeMap<ChunkCid, u64>,
    uploaded: BTreeMap<DeviceId, u64>,
    log: Vec<DutyAction>,
}

impl Group {
    fn new(cfg: DutyConfig, uplinks: &[u64]) -> Self {
        let lines = uplinks.iter().enumerate().map(|(n, bps)| (device(n as u8), (*bps, Mono(0)))).collect();
        let (arrivals, sizes, uploaded) = Default::default();
        Self { duties: duties(cfg, uplinks), lines, arrivals, sizes, uploaded, log: Vec::new() }
    }

    fn record(&mut self, now: Mono, n: u64, bytes: u64, holders: &[DeviceId]) {
        self.run_until(now);
        self.sizes.insert(cid(n), bytes);
        self.duties.handle_chunk(now, chunk(n, bytes, now.0 + 60 * SECOND), holders).unwrap();
        self.act(now);
    }

    fn act(&mut self, now: Mono) {
        for action in drain(&mut self.duties) {
            if let DutyAction::Pull { cid, from, .. } = &action {
                let (bps, free_at) = self.lines.get_mut(from).unwrap();
                *free_at = (*free_at).max(now) + account::time_for(self.sizes[cid], *bps);
                self.arrivals.insert((*free_at, *cid, *from));
            }
            self.log.push(action);
        }
    }

    fn run_until(&mut self, end: Mono) {
        loop {
            let arrival = self.arrivals.first().map(|(at, ..)| *at);
            let Some(next) = arrival.into_iter().chain(self.duties.poll_timeout()).min().filter(|at| *at <= end) else {
                return;
            };
            if arrival == Some(next) {
                let (_, cid, from) = self.arrivals.pop_first().unwrap();
                let bytes = self.sizes[&cid];
                self.duties.handle_progress(&cid, from, bytes);
                self.duties.handle_stored(next, &cid);
                *self.uploaded.entry(from).or_default() += bytes;
            } else {
                self.duties.handle_timeout(next);
            }
            self.act(next);
        }
    }

    /// Worst deviation of a node's uploads from its share of the uplinks, relative to that share.
    fn worst_deviation(&self) -> f64 {
        let rates: u64 = self.lines.values().map(|(bps, _)| bps).sum();
        let bytes: u64 = self.uploaded.values().sum();
        let deviation = |(device, (bps, _)): (&DeviceId, &(u64, Mono))| {
            let share = *bps as f64 / rates as f64 * bytes as f64;
            (self.uploaded.get(device).copied().unwrap_or(0) as f64 / share - 1.0).abs()
        };
        self.lines.iter().map(deviation).fold(0.0, f64::max)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever happens in whatever order: no panic, every chunk is either stored or still queued, no more pulls at
    /// once than allowed, and each pull comes from somebody who has the chunk and may upload.
    #[test]
    fn any_sequence_of_events_keeps_the_books(events in prop::collection::vec((0..10u8, 0..6u8, 0..12u64, 0..8_000_000u64), 0..300)) {
        let run = || -> Result<Vec<DutyAction>, TestCaseError> {
            let mut duties = Duties::new(prompt());
            let (mut now, mut log) = (Mono(0), Vec::new());
            let mut under_way: BTreeMap<ChunkCid, DeviceId> = BTreeMap::new();
            let mut metered = [true; 6];
            for (kind, who, what, by) in &events {
                now = now + Micros(*by);
                let (from, cid) = (device(*who), cid(*what));
                match kind {
                    0 | 1 => {
                        metered[*who as usize] = *kind == 1;
                        let capability = Capability { metered: *kind == 1, ..capability(2_000_000) };
                        duties.handle_node(now, from, node(*who, capability));
                    }
                    2 => duties.handle_node_gone(now, from),
                    3 => duties.handle_chunk(now, chunk(*what, CHUNK, now.0 + 30 * SECOND), &[from]).unwrap(),
                    4 => duties.handle_holder(now, &cid, from),
                    5 => duties.handle_progress(&cid, from, *by),
                    6 => { duties.handle_stored(now, &cid); under_way.remove(&cid); }
                    7 => {
                        if under_way.get(&cid) == Some(&from) { under_way.remove(&cid); }
                        let reason = [FailReason::Broken, FailReason::Busy, FailReason::NotFound, FailReason::Lied];
                        duties.handle_failed(now, &cid, from, reason[*by as usize % 4]);
                    }
                    8 => duties.handle_unwanted(now, &cid),
                    _ => duties.handle_timeout(now),
                }
                for action in drain(&mut duties) {
                    match &action {
                        DutyAction::Pull { cid, from, standins, .. } => {
                            prop_assert!(!metered[from.0[0] as usize]);
                            prop_assert!(!standins.contains(from));
                            prop_assert_eq!(under_way.insert(*cid, *from), None);
                        }
                        DutyAction::Abandon { cid, from } => prop_assert_eq!(under_way.remove(cid), Some(*from)),
                        DutyAction::Starved { .. } | DutyAction::Keep { .. } => {}
                    }
                    log.push(action);
                }
                for n in 0..6 {
                    prop_assert!(under_way.values().filter(|d| **d == device(n)).count() <= 2);
                }
                prop_assert!(duties.backlog().0 >= under_way.len());
            }
            Ok(log)
        };
        prop_assert_eq!(run()?, run()?, "same input, same actions");
    }
}

/// Who could have been asked at once could not, so the chunk starved before it had gathered; then others came.
#[test]
fn a_chunk_that_starved_while_it_gathered_holders_is_given_out_when_it_has() {
    let gather = Micros(SECOND);
    let mut duties = Duties::new(DutyConfig { gather, ..prompt() });
    let spent = Capability { budget_left_bytes: 0, ..capability(4_000_000) };
    duties.handle_node(Mono(0), device(0), node(0, spent));
    duties.handle_chunk(Mono(0), chunk(1, CHUNK, 60 * SECOND), &[device(0)]).unwrap();
    assert_eq!(drain(&mut duties), [DutyAction::Starved { cid: cid(1) }]);
    for other in [1, 2] {
        duties.handle_node(Mono(0), device(other), node(other, capability(4_000_000)));
    }
    duties.handle_holder(Mono(SECOND / 2), &cid(1), device(1));
    assert_eq!(drain(&mut duties), [], "the third may have it too");
    assert_eq!(duties.poll_timeout(), Some(Mono(SECOND)));
    duties.handle_timeout(Mono(SECOND));
    assert_eq!(pulled_from(&drain(&mut duties)), [device(1)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Only what changed is looked at, and that is enough: to look at everything gives nothing out.
    #[test]
    fn nothing_that_could_be_given_out_is_left_lying(
        events in prop::collection::vec((0..9u8, 0..6u8, 0..12u64, 0..8_000_000u64), 0..200),
        gather in prop_oneof![Just(0), Just(SECOND)],
    ) {
        let mut duties = Duties::new(DutyConfig { gather: Micros(gather), pulls: 4, ..prompt() });
        let mut now = Mono(0);
        for (kind, who, what, by) in events {
            now = now + Micros(by);
            let (from, cid) = (device(who), cid(what));
            match kind {
                0 | 1 => {
                    let rate = 500_000 << (by % 5);
                    let capability = Capability { metered: by % 7 == 0, on_battery: by % 3 == 0, ..capability(rate) };
                    duties.handle_node(now, from, node(who, capability));
                }
                2 => duties.handle_node_gone(now, from),
                3 => duties.handle_chunk(now, chunk(what, CHUNK, now.0 + 30 * SECOND), &[from]).unwrap(),
                4 => duties.handle_holder(now, &cid, from),
                5 => duties.handle_progress(&cid, from, by),
                6 => duties.handle_stored(now, &cid),
                7 => duties.handle_measured(from, by, Micros(8_000_000)),
                _ => {
                    let reason = [FailReason::Broken, FailReason::Busy, FailReason::NotFound, FailReason::Lied];
                    duties.handle_failed(now, &cid, from, reason[by as usize % 4]);
                }
            }
            duties.handle_timeout(now);
            if gather == 0 || by % 4 == 0 {
                now = now + Micros(gather);
                duties.handle_timeout(now);
                drain(&mut duties);
                duties.look_at_all(now);
                prop_assert_eq!(pulled_from(&drain(&mut duties)), []);
            }
        }
    }
}

/// The law of DESIGN 7, over as few as sixty chunks: uploads lie within 20 % of the ratio of uplinks, also where one
/// node has only about half of the chunks. Losses are drawn, not searched for: a node that has nothing of the last
/// minute cannot have its share of it.
#[test]
fn uploads_are_in_proportion_to_uplinks() {
    for seed in 0..300u64 {
        let uplinks = [2, 4, 8, 4].map(|mbps| mbps * (seed % 5 + 1) * 1_000_000);
        let mut group = Group::new(DutyConfig::default(), &uplinks);
        let (mut kept, mut bytes) = (0, 0);
        for n in 0..60u64 {
            let drawn = *blake3::hash(&[seed.to_le_bytes(), n.to_le_bytes()].concat()).as_bytes();
            let (whole, size) = (drawn[0] < 128, 2_200_000 + u64::from(drawn[1]) * 2_300);
            kept += u32::from(whole);
            bytes += size;
            let holders: Vec<_> = (0..if whole { 4 } else { 3 }).map(device).collect();
            group.record(Mono(n * 4 * SECOND), n, size, &holders);
        }
        group.run_until(Mono(u64::MAX));
        assert_eq!(group.uploaded.values().sum::<u64>(), bytes, "nothing is lost or sent twice");
        assert!(group.worst_deviation() < 0.2, "seed {seed}, lossy node has {kept}: {:?}", group.uploaded);
    }
}

#[test]
fn a_late_joiner_catches_up_without_being_flooded() {
    let mut group = Group::new(prompt(), &[4_000_000, 4_000_000, 4_000_000]);
    group.duties.handle_node_gone(Mono(0), device(2));
    for n in 0..200 {
        if n == 150 {
            group.duties.handle_node(Mono(n * 4 * SECOND), device(2), node(2, capability(4_000_000)));
        }
        group.record(Mono(n * 4 * SECOND), n, CHUNK, &[device(0), device(1), device(2)]);
    }
    group.run_until(Mono(u64::MAX));
    // Its share of the last 50 chunks is 17; catching up with 30 s of its line, 6 chunks, makes it 21.
    let given = group.uploaded[&device(2)] / CHUNK;
    assert!((19..=22).contains(&given), "{given}");
}

#[test]
fn a_thin_uplink_gets_no_chunk_that_others_can_bring_in_time() {
    let mut duties = duties(prompt(), &[100_000, 8_000_000]);
    for n in 0..6 {
        duties.handle_chunk(Mono(0), chunk(n, CHUNK, 20 * SECOND), &[device(0), device(1)]).unwrap();
        assert_eq!(pulled_from(&drain(&mut duties)), [device(1)]);
        duties.handle_stored(Mono(0), &cid(n));
    }
}

#[test]
fn capability_is_the_smaller_rate_times_the_share_and_nothing_where_not_allowed() {
    let full = capability(8_000_000);
    assert_eq!(contributed_bps(&full), 8_000_000);
    assert_eq!(contributed_bps(&Capability { share_percent: 25, ..full }), 2_000_000);
    assert_eq!(contributed_bps(&Capability { share_percent: 255, ..full }), 8_000_000);
    assert_eq!(contributed_bps(&Capability { uplink_measured_bps: 3_000_000, ..full }), 3_000_000);
    assert_eq!(contributed_bps(&Capability { uplink_declared_bps: u64::MAX, ..full }), u64::MAX);
    assert_eq!(contributed_bps(&Capability { metered: true, ..full }), 0);
    assert_eq!(contributed_bps(&Capability { paused: true, ..full }), 0);
}

#[test]
fn batteries_and_exhausted_budgets_are_spared_as_long_as_others_can() {
    let mut duties = duties(prompt(), &[8_000_000, 2_000_000, 8_000_000]);
    let on_battery = Capability { on_battery: true, ..capability(8_000_000) };
    duties.handle_node(Mono(0), device(0), node(0, on_battery));
    let spent = Capability { budget_left_bytes: CHUNK - 1, ..capability(8_000_000) };
    duties.handle_node(Mono(0), device(2), node(2, spent));
    let all = [device(0), device(1), device(2)];
    duties.handle_chunk(Mono(0), chunk(0, CHUNK, 60 * SECOND), &all).unwrap();
    assert_eq!(pulled_from(&drain(&mut duties)), [device(1)]);
    duties.handle_chunk(Mono(0), chunk(1, CHUNK, 60 * SECOND), &[device(0), device(2)]).unwrap();
    assert_eq!(pulled_from(&drain(&mut duties)), [device(0)], "the battery, where nobody else can");
}

#[test]
fn a_late_uploader_loses_what_is_left_to_a_stand_in() {
    let mut duties = duties(prompt(), &[8_000_000, 8_000_000]);
    duties.handle_chunk(Mono(0), chunk(0, CHUNK, 60 * SECOND), &[device(0), device(1)]).unwrap();
    let [DutyAction::Pull { from, deadline, standins, .. }] = &drain(&mut duties)[..] else { panic!() };
    assert_eq!(standins.len(), 1);
    duties.handle_progress(&cid(0), *from, CHUNK / 2);
    assert_eq!(duties.poll_timeout(), Some(*deadline));
    duties.handle_timeout(*deadline);
    let told = drain(&mut duties);
    assert_eq!(told[0], DutyAction::Abandon { cid: cid(0), from: *from });
    assert_eq!(pulled_from(&told), *standins);
    assert_eq!(duties.backlog(), (1, CHUNK - CHUNK / 2));
    assert_eq!(duties.reliability().find(|(d, _)| d == from).unwrap().1.broken, 1);
}

#[test]
fn a_slow_but_only_holder_is_waited_for_and_a_silent_one_is_tried_again() {
    let mut duties = duties(prompt(), &[1_000_000]);
    duties.handle_chunk(Mono(0), chunk(0, CHUNK, 10 * SECOND), &[device(0)]).unwrap();
    drain(&mut duties);
    duties.handle_progress(&cid(0), device(0), 1);
    let late = duties.poll_timeout().unwrap();
    duties.handle_timeout(late);
    assert_eq!(drain(&mut duties), [], "slow, but nobody else has it");
    let silent = duties.poll_timeout().unwrap();
    duties.handle_timeout(silent);
    let told = drain(&mut duties);
    assert!(matches!(told[..], [DutyAction::Abandon { .. }, DutyAction::Starved { .. }]), "{told:?}");
    duties.handle_timeout(duties.poll_timeout().unwrap());
    assert_eq!(pulled_from(&drain(&mut duties)), [device(0)]);
}

#[test]
fn a_device_that_goes_away_is_replaced_at_once() {
    let mut duties = duties(prompt(), &[8_000_000, 8_000_000]);
    duties.handle_chunk(Mono(0), chunk(0, CHUNK, 60 * SECOND), &[device(0), device(1)]).unwrap();
    let first = pulled_from(&drain(&mut duties))[0];
    duties.handle_node_gone(Mono(1), first);
    let told = drain(&mut duties);
    assert_eq!(told[0], DutyAction::Abandon { cid: cid(0), from: first });
    assert_ne!(pulled_from(&told), [first]);
}

#[test]
fn an_unwanted_chunk_is_given_up_without_blame() {
    let mut duties = duties(prompt(), &[8_000_000]);
    duties.handle_chunk(Mono(0), chunk(0, CHUNK, 60 * SECOND), &[device(0)]).unwrap();
    drain(&mut duties);
    duties.handle_unwanted(Mono(1), &cid(0));
    assert_eq!(drain(&mut duties), [DutyAction::Abandon { cid: cid(0), from: device(0) }]);
    assert_eq!((duties.backlog(), duties.poll_timeout()), ((0, 0), None));
    assert_eq!(duties.reliability().next().unwrap().1, Reliability::default());
}

#[test]
fn a_metered_holder_uploads_nothing_until_its_line_is_free_or_another_holder_comes() {
    let mut duties = duties(prompt(), &[8_000_000, 8_000_000]);
    let metered = Capability { metered: true, ..capability(8_000_000) };
    duties.handle_node(Mono(0), device(0), node(0, metered));
    for n in 0..2 {
        duties.handle_chunk(Mono(0), chunk(n, CHUNK, 60 * SECOND), &[device(0)]).unwrap();
    }
    let starved = [0, 1].map(|n| DutyAction::Starved { cid: cid(n) });
    assert_eq!(drain(&mut duties), starved);
    duties.handle_holder(Mono(1), &cid(0), device(1));
    assert_eq!(pulled_from(&drain(&mut duties)), [device(1)]);
    duties.handle_node(Mono(2), device(0), node(0, capability(8_000_000)));
    assert_eq!(pulled_from(&drain(&mut duties)), [device(0)]);
}

#[test]
fn who_was_wrong_or_has_it_not_is_asked_no_more_and_who_is_busy_is_asked_later() {
    for (reason, again) in [(FailReason::NotFound, false), (FailReason::Lied, false), (FailReason::Busy, true)] {
        let mut duties = duties(prompt(), &[8_000_000]);
        duties.handle_chunk(Mono(0), chunk(0, CHUNK, 60 * SECOND), &[device(0)]).unwrap();
        drain(&mut duties);
        duties.handle_failed(Mono(1), &cid(0), device(0), reason);
        assert_eq!(drain(&mut duties), [DutyAction::Starved { cid: cid(0) }]);
        assert_eq!(duties.poll_timeout().is_some(), again, "{reason:?}");
        let blamed = duties.reliability().next().unwrap().1.broken;
        assert_eq!(blamed, u32::from(reason != FailReason::Busy));
    }
}

#[test]
fn uplinks_below_real_time_upload_late_and_lose_nothing() {
    let mut group = Group::new(prompt(), &[500_000, 1_000_000]);
    for n in 0..40 {
        group.record(Mono(n * 4 * SECOND), n, CHUNK, &[device(0), device(1)]);
    }
    assert!(group.duties.backlog().0 > 20);
    group.run_until(Mono(u64::MAX));
    assert_eq!(group.uploaded.values().sum::<u64>(), 40 * CHUNK);
    assert!(group.worst_deviation() < 0.2, "{:?}", group.uploaded);
    assert_eq!(group.duties.backlog(), (0, 0));
}

#[test]
fn a_chunk_waits_for_holders_that_report_late() {
    let mut duties = duties(DutyConfig::default(), &[1_000_000, 8_000_000]);
    duties.handle_chunk(Mono(0), chunk(0, CHUNK, 60 * SECOND), &[device(0)]).unwrap();
    assert_eq!(drain(&mut duties), []);
    duties.handle_holder(Mono(1), &cid(0), device(1));
    assert_eq!(pulled_from(&drain(&mut duties)), [device(1)], "all have it now, no need to wait");
}

#[test]
fn a_line_that_delivers_less_than_half_of_what_was_declared_counts_as_what_it_is() {
    let mut duties = duties(prompt(), &[8_000_000, 8_000_000]);
    for _ in 0..8 {
        duties.handle_measured(device(0), CHUNK, Micros(20 * SECOND));
        duties.handle_measured(device(1), CHUNK, Micros(4 * SECOND));
    }
    let mut given = [0; 2];
    for n in 0..60 {
        duties.handle_chunk(Mono(0), chunk(n, CHUNK, 600 * SECOND), &[device(0), device(1)]).unwrap();
        given[pulled_from(&drain(&mut duties))[0].0[0] as usize] += 1;
        duties.handle_stored(Mono(0), &cid(n));
    }
    // Twice what was seen of the first (2 Mb/s) against what the second declared (8 Mb/s).
    assert_eq!(given, [12, 48]);
}

#[test]
fn keepers_have_room_and_belong_to_different_homes() {
    let mut duties = duties(DutyConfig { gather: Micros(0), ..DutyConfig::default() }, &[8_000_000; 5]);
    for n in 0..3 {
        duties.handle_node(Mono(0), device(n), node(0, capability(8_000_000)));
    }
    let full = Capability { free_bytes: 0, ..capability(8_000_000) };
    duties.handle_node(Mono(0), device(4), node(4, full));
    let all: Vec<_> = (0..5).map(device).collect();
    duties.handle_chunk(Mono(0), chunk(0, CHUNK, 60 * SECOND), &all).unwrap();
    drain(&mut duties);
    duties.handle_stored(Mono(1), &cid(0));
    let keepers: Vec<_> = drain(&mut duties)
        .into_iter()
        .map(|action| if let DutyAction::Keep { device, .. } = action { device.0[0] } else { panic!("{action:?}") })
        .collect();
    assert_eq!(keepers.len(), 2);
    assert_eq!(keepers.iter().filter(|n| **n < 3).count(), 1);
    assert!(!keepers.contains(&4));
}

#[test]
fn floods_meet_bounds() {
    let mut duties = Duties::new(prompt());
    for n in 0..MAX_DUTY_CHUNKS as u64 {
        duties.handle_chunk(Mono(0), chunk(n, CHUNK, 0), &[]).unwrap();
    }
    assert_eq!(duties.handle_chunk(Mono(0), chunk(u64::MAX, CHUNK, 0), &[]), Err(DutyQueueFull));
    for n in 0..2 * MAX_HOLDERS_PER_CHUNK as u32 {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&n.to_le_bytes());
        duties.handle_holder(Mono(0), &cid(0), DeviceId(id));
    }
    assert_eq!(duties.handle_chunk(Mono(0), chunk(0, CHUNK, 0), &[]), Ok(()), "one known already needs no room");

    let mut duties = Duties::new(prompt());
    let id = |n: u32| {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&n.to_le_bytes());
        DeviceId(id)
    };
    for n in 0..MAX_DUTY_NODES as u32 {
        assert!(duties.handle_node(Mono(0), id(n), node(0, capability(1))));
    }
    assert!(!duties.handle_node(Mono(0), id(u32::MAX), node(0, capability(1))));
    duties.handle_node_gone(Mono(0), id(5));
    assert!(duties.handle_node(Mono(0), id(u32::MAX), node(0, capability(1))), "the absent make room");
}

#[test]
fn what_was_learned_of_devices_survives_a_restart() {
    let mut before = duties(prompt(), &[8_000_000]);
    before.handle_chunk(Mono(0), chunk(0, CHUNK, 60 * SECOND), &[device(0)]).unwrap();
    before.handle_stored(Mono(1), &cid(0));
    let (who, learned) = before.reliability().next().unwrap();
    assert_eq!(learned, Reliability { kept: 1, broken: 0 });
    let bytes = minicbor::to_vec(learned).unwrap();
    let mut after = duties(prompt(), &[8_000_000]);
    after.restore_reliability(who, minicbor::decode(&bytes).unwrap());
    assert_eq!(after.reliability().next(), Some((who, learned)));
}
