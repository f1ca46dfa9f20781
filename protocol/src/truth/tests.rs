use std::collections::BTreeSet;

use super::*;
use crate::ccf::{Testimony, WithheldReason};
use crate::ids::{ChannelId, ChunkCid, ChunkIndex, DeviceId, Slot, SubscriberId, TimelineId, UnitDigest};
use crate::limits::{MAX_OPEN_SLOTS_PER_DEVICE, MAX_REPORTS_PER_SLOT, WITNESS_EPOCH_CHUNKS};
use crate::time::{Micros, Mono, Pts33, Ticks, UnixMillis};

fn device(n: u32) -> DeviceId {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&n.to_be_bytes());
    DeviceId(id)
}

fn subscriber(n: u32) -> SubscriberId {
    format!("home-{n}").parse().unwrap()
}

fn slot(index: u64) -> Slot {
    Slot { timeline: TimelineId(0), index: ChunkIndex(index) }
}

fn cid(n: u8) -> ChunkCid {
    ChunkCid([n; 32])
}

fn report(reception: Reception) -> Report {
    Report {
        channel: "one".parse::<ChannelId>().unwrap(),
        timeline: TimelineId(0),
        index: ChunkIndex(0),
        pts: Pts33(360_000),
        duration: Ticks(360_000),
        opening: UnitDigest([1; 16]),
        utc: UnixMillis(1_000),
        reception,
        standing: Standing::Witness,
    }
}

fn clean(n: u8) -> Report {
    report(Reception::Clean { cid: cid(n), bytes: 1_000_000 })
}

fn damaged() -> Report {
    report(Reception::Withheld { reason: WithheldReason::Damaged, piece: None })
}

fn claim(n: u8) -> Claim {
    Claim::of(&clean(n)).unwrap()
}

fn actions(truth: &mut Truth) -> Vec<TruthAction> {
    std::iter::from_fn(|| truth.poll_action()).filter(|a| !matches!(a, TruthAction::AskWitnesses { .. })).collect()
}

/// A channel that `homes` homes record with one device each.
fn channel(homes: u32) -> Truth {
    let mut truth = Truth::new(TruthConfig::default(), [9; 32]);
    for n in 0..homes {
        assert!(truth.handle_recorder(device(n), subscriber(n), None));
    }
    while truth.poll_action().is_some() {}
    truth
}

fn hear(truth: &mut Truth, at: u64, who: u32, what: &Report) -> Heard {
    truth.handle_report(Mono(at), device(who), slot(7), what)
}

fn time_out(truth: &mut Truth) {
    let at = truth.poll_timeout().expect("something is pending");
    truth.handle_timeout(at);
}

#[test]
fn confirms_as_soon_as_more_than_half_of_those_asked_agree() {
    let mut truth = channel(6);
    for n in 0..3 {
        hear(&mut truth, 0, n, &Report { utc: UnixMillis(1_000 + u64::from(n)), ..clean(1) });
        assert_eq!(actions(&mut truth), []);
    }
    hear(&mut truth, 0, 3, &Report { utc: UnixMillis(99_999_999), ..clean(1) });
    let supporters = (0..4).map(device).collect();
    let expected = TruthAction::Confirmed { slot: slot(7), claim: claim(1), utc: UnixMillis(1_001), supporters };
    assert_eq!(actions(&mut truth), [expected], "and one wrong clock does not move the time");
}

#[test]
fn silent_and_damaged_recorders_abstain_at_the_deadline() {
    let mut truth = channel(6);
    hear(&mut truth, 0, 0, &clean(1));
    hear(&mut truth, 0, 1, &clean(1));
    hear(&mut truth, 0, 2, &damaged());
    assert_eq!(actions(&mut truth), []);
    time_out(&mut truth);
    assert_eq!(truth.state(slot(7)), Some(SlotState::Confirmed(claim(1))));
}

#[test]
fn many_devices_of_one_subscriber_are_one_voice() {
    let mut truth = Truth::new(TruthConfig::default(), [9; 32]);
    for n in 0..5 {
        truth.handle_recorder(device(n), subscriber(0), None);
    }
    for n in 0..5 {
        hear(&mut truth, 0, n, &clean(1));
    }
    time_out(&mut truth);
    assert_eq!(truth.state(slot(7)), Some(SlotState::Single(claim(1), subscriber(0))));
}

#[test]
fn a_lone_reporter_is_single_until_another_subscriber_agrees() {
    let mut truth = channel(3);
    hear(&mut truth, 0, 0, &clean(1));
    time_out(&mut truth);
    let [TruthAction::Single { subscriber: whose, holder, .. }] = &actions(&mut truth)[..] else { panic!() };
    assert_eq!((whose, *holder), (&subscriber(0), device(0)));
    // Long after, when its books were closed.
    time_out(&mut truth);
    hear(&mut truth, 10_000_000_000, 2, &clean(1));
    assert!(matches!(&actions(&mut truth)[..], [TruthAction::Holder { .. }, TruthAction::Confirmed { .. }]));
}

#[test]
fn disagreement_without_a_majority_is_disputed_until_one_appears() {
    let mut truth = channel(5);
    for (who, what) in [(0, 1), (1, 1), (2, 2), (3, 2)] {
        hear(&mut truth, 0, who, &clean(what));
    }
    time_out(&mut truth);
    assert_eq!(actions(&mut truth), [TruthAction::Disputed { slot: slot(7) }]);
    hear(&mut truth, 20_000_000, 4, &clean(2));
    assert_eq!(truth.state(slot(7)), Some(SlotState::Confirmed(claim(2))));
}

#[test]
fn nobody_whole_is_damaged_until_somebody_is() {
    let mut truth = channel(2);
    hear(&mut truth, 0, 0, &damaged());
    hear(&mut truth, 0, 1, &damaged());
    assert_eq!(actions(&mut truth), [TruthAction::Damaged { slot: slot(7) }]);
    hear(&mut truth, 1, 1, &clean(1));
    assert_eq!(truth.state(slot(7)), Some(SlotState::Single(claim(1), subscriber(1))), "repaired meanwhile");
    assert_eq!(truth.counters().contradictions, 0);
}

#[test]
fn damaged_recorders_that_have_nothing_else_confirm_a_lone_clean_one() {
    let mut truth = channel(3);
    hear(&mut truth, 0, 0, &clean(1));
    hear(&mut truth, 0, 1, &damaged());
    hear(&mut truth, 0, 2, &damaged());
    time_out(&mut truth);
    assert!(matches!(actions(&mut truth)[..], [TruthAction::Single { .. }]));
    // One that did not withhold it, and one that said nothing, have no such voice.
    truth.handle_testimonies(Mono(9), slot(7), claim(2), &[(device(0), Testimony::For)]);
    truth.handle_testimonies(Mono(9), slot(7), claim(1), &[(device(9), Testimony::For)]);
    truth.handle_testimonies(Mono(9), slot(7), claim(1), &[(device(2), Testimony::Silent)]);
    assert_eq!(actions(&mut truth), []);
    truth.handle_testimonies(Mono(9), slot(7), claim(1), &[(device(1), Testimony::For)]);
    let confirmed = actions(&mut truth);
    let [TruthAction::Confirmed { claim: said, supporters, .. }] = &confirmed[..] else { panic!("{confirmed:?}") };
    assert_eq!((*said, supporters.as_slice()), (claim(1), &[device(0)][..]), "only one holds a copy");
    assert_eq!(truth.holders(slot(7), &cid(1)), [device(0)]);
    assert_eq!(truth.counters().testimonies, 1);
    // What was damaged is whole later: it holds a copy now.
    assert_eq!(hear(&mut truth, 10, 1, &clean(1)), Heard::Taken);
    assert_eq!(truth.holders(slot(7), &cid(1)).len(), 2);
}

#[test]
fn damaged_recorders_outweigh_a_liar_and_its_helper() {
    let mut truth = channel(5);
    hear(&mut truth, 0, 0, &clean(1));
    (1..5).for_each(|n| {
        hear(&mut truth, 0, n, &damaged());
    });
    time_out(&mut truth);
    actions(&mut truth);
    let against = [(device(1), Testimony::Against), (device(2), Testimony::Against)];
    truth.handle_testimonies(Mono(9), slot(7), claim(1), &against);
    assert_eq!(actions(&mut truth), [], "still one home's word");
    truth.handle_testimonies(Mono(9), slot(7), claim(1), &[(device(3), Testimony::For)]);
    assert_eq!(actions(&mut truth), [TruthAction::Disputed { slot: slot(7) }], "two for it, two against it");
    truth.handle_testimonies(Mono(9), slot(7), claim(1), &[(device(4), Testimony::For)]);
    assert!(matches!(actions(&mut truth)[..], [TruthAction::Confirmed { .. }]), "three for it");
}

#[test]
fn devices_of_one_subscriber_support_each_other_in_vain() {
    let mut truth = channel(0);
    for n in 0..2 {
        assert!(truth.handle_recorder(device(n), subscriber(0), None));
    }
    hear(&mut truth, 0, 0, &clean(1));
    hear(&mut truth, 0, 1, &damaged());
    time_out(&mut truth);
    actions(&mut truth);
    truth.handle_testimonies(Mono(9), slot(7), claim(1), &[(device(1), Testimony::For)]);
    assert_eq!(actions(&mut truth), []);
}

#[test]
fn a_chunk_made_of_damaged_ones_fills_a_gap_and_nothing_else() {
    let mut truth = channel(3);
    for n in 0..3 {
        hear(&mut truth, 0, n, &damaged());
    }
    assert_eq!(actions(&mut truth), [TruthAction::Damaged { slot: slot(7) }]);
    assert_eq!(truth.handle_assembled(Mono(9), slot(7), claim(1), UnixMillis(5)), Heard::Taken);
    let confirmed = TruthAction::Confirmed { slot: slot(7), claim: claim(1), utc: UnixMillis(5), supporters: vec![] };
    assert_eq!(actions(&mut truth), [confirmed]);
    assert_eq!(truth.handle_assembled(Mono(9), slot(7), claim(2), UnixMillis(5)), Heard::Closed);
    // Whoever repairs its own with it becomes a holder.
    assert_eq!(hear(&mut truth, 10, 1, &clean(1)), Heard::Taken);
    assert!(matches!(actions(&mut truth)[..], [TruthAction::Holder { .. }]));
    truth.restore_confirmed(slot(8), claim(1));
    assert_eq!(truth.handle_assembled(Mono(9), slot(8), claim(2), UnixMillis(5)), Heard::Closed);
    assert_eq!(truth.state(slot(8)), Some(SlotState::Confirmed(claim(1))), "what was decided stays");
}

#[test]
fn the_same_chunk_at_another_time_is_another_claim() {
    let mut truth = channel(2);
    hear(&mut truth, 0, 0, &clean(1));
    hear(&mut truth, 0, 1, &Report { pts: Pts33(0), ..clean(1) });
    assert_eq!(actions(&mut truth), [TruthAction::Disputed { slot: slot(7) }]);
}

#[test]
fn a_device_that_says_two_things_is_held_to_the_first() {
    let mut truth = channel(3);
    hear(&mut truth, 0, 0, &clean(1));
    assert_eq!(hear(&mut truth, 0, 0, &clean(1)), Heard::Repeated);
    assert_eq!(hear(&mut truth, 0, 0, &clean(2)), Heard::Contradiction);
    assert_eq!(hear(&mut truth, 0, 0, &damaged()), Heard::Contradiction);
    hear(&mut truth, 0, 1, &clean(1));
    assert_eq!(truth.state(slot(7)), Some(SlotState::Confirmed(claim(1))));
    assert_eq!(truth.counters().contradictions, 2);
}

#[test]
fn late_supporters_become_holders() {
    let mut truth = channel(3);
    hear(&mut truth, 0, 0, &clean(1));
    hear(&mut truth, 0, 1, &clean(1));
    actions(&mut truth);
    hear(&mut truth, 5, 2, &clean(1));
    assert_eq!(actions(&mut truth), [TruthAction::Holder { slot: slot(7), cid: cid(1), device: device(2) }]);
    assert_eq!(truth.holders(slot(7), &cid(1)).len(), 3);
    time_out(&mut truth);
    truth.handle_recorder(device(3), subscriber(3), None);
    assert_eq!(hear(&mut truth, 10_000_000_000, 3, &clean(1)), Heard::Closed);
    assert_eq!(actions(&mut truth), [TruthAction::Holder { slot: slot(7), cid: cid(1), device: device(3) }]);
}

#[test]
fn a_decision_that_late_reports_outweigh_is_withdrawn() {
    let mut truth = channel(9);
    hear(&mut truth, 0, 0, &clean(1));
    hear(&mut truth, 0, 1, &clean(1));
    time_out(&mut truth);
    actions(&mut truth);
    for n in 2..4 {
        hear(&mut truth, 9_000_000, n, &clean(2));
        assert_eq!(actions(&mut truth), [], "equal weight changes nothing");
    }
    hear(&mut truth, 9_000_000, 4, &clean(2));
    let told = actions(&mut truth);
    assert_eq!(told[0], TruthAction::Withdrawn { slot: slot(7), cid: cid(1) });
    assert!(
        matches!(&told[1], TruthAction::Confirmed { claim: c, supporters, .. } if *c == claim(2) && supporters.len() == 3)
    );
}

#[test]
fn the_reference_decides_alone_and_is_never_outvoted() {
    let mut truth = channel(5);
    for n in 0..3 {
        hear(&mut truth, 0, n, &clean(1));
    }
    actions(&mut truth);
    truth.handle_reference(Mono(1), slot(7), claim(2), UnixMillis(5));
    let told = actions(&mut truth);
    assert_eq!(told[0], TruthAction::Withdrawn { slot: slot(7), cid: cid(1) });
    assert!(matches!(&told[1], TruthAction::Confirmed { claim: c, .. } if *c == claim(2)));
    for n in 3..5 {
        hear(&mut truth, 2, n, &clean(1));
    }
    assert_eq!(truth.state(slot(7)), Some(SlotState::Confirmed(claim(2))));
}

#[test]
fn self_chosen_objectors_do_not_outvote_drawn_witnesses() {
    // 100 homes, 20 of them hostile: more than twice the nine witnesses object at once.
    let mut truth = channel(100);
    let drawn = truth.witnesses(slot(7));
    assert_eq!(drawn.len(), 9);
    let hostile: Vec<DeviceId> = (0..100).map(device).filter(|d| !drawn.contains(d)).take(20).collect();
    for &witness in &drawn {
        truth.handle_report(Mono(0), witness, slot(7), &clean(1));
    }
    for &liar in &hostile {
        truth.handle_report(Mono(1), liar, slot(7), &clean(2));
        // Honest devices answer when they are asked in turn.
        while let Some(action) = truth.poll_action() {
            if let TruthAction::AskWitnesses { devices, slot } = action {
                for device in devices.into_iter().filter(|d| !hostile.contains(d)) {
                    truth.handle_report(Mono(2), device, slot, &clean(1));
                }
            }
        }
    }
    assert_eq!(truth.state(slot(7)), Some(SlotState::Confirmed(claim(1))));
    assert_eq!(truth.counters().withdrawn, 0);
    assert!(truth.counters().asked_again > 0);
    assert!(truth.counters().objections > 0);
}

#[test]
fn more_witnesses_are_asked_when_the_first_do_not_agree() {
    let mut truth = channel(100);
    let drawn = truth.witnesses(slot(7));
    for (n, &witness) in drawn.iter().enumerate() {
        truth.handle_report(Mono(0), witness, slot(7), &clean(if n < 4 { 1 } else { 2 + n as u8 }));
    }
    let asked: Vec<_> = std::iter::from_fn(|| truth.poll_action())
        .filter_map(|a| if let TruthAction::AskWitnesses { devices, .. } = a { Some(devices) } else { None })
        .collect();
    let more = asked.last().expect("more are asked");
    assert!(more.iter().all(|d| !drawn.contains(d)));
    for &witness in more {
        truth.handle_report(Mono(1), witness, slot(7), &clean(1));
    }
    assert_eq!(truth.state(slot(7)), Some(SlotState::Confirmed(claim(1))));
}

#[test]
fn witnesses_come_from_distinct_homes_and_prefixes_and_change_with_the_epoch() {
    let mut truth = Truth::new(TruthConfig::default(), [9; 32]);
    for n in 0..60u32 {
        // One subscriber with forty devices, twenty homes with one; a third of those in one building.
        let home = n.saturating_sub(39);
        let prefix = if (40..47).contains(&n) { 1 } else { 100 + n };
        truth.handle_recorder(device(n), subscriber(home), Some(NetPrefix(u64::from(prefix))));
    }
    let (now, later) = (truth.witnesses(slot(7)), truth.witnesses(slot(7 + WITNESS_EPOCH_CHUNKS)));
    let crowd = |set: &BTreeSet<DeviceId>| (0..40).filter(|n| set.contains(&device(*n))).count();
    let building = |set: &BTreeSet<DeviceId>| (40..47).filter(|n| set.contains(&device(*n))).count();
    for set in [&now, &later] {
        assert_eq!(set.len(), 9);
        assert!(crowd(set) <= 1 && building(set) <= 1);
    }
    assert_ne!(now, later);
}

#[test]
fn every_recorder_of_a_small_group_is_ordered_once_per_epoch() {
    let mut truth = Truth::new(TruthConfig::default(), [9; 32]);
    let mut ordered = Vec::new();
    for index in 0..WITNESS_EPOCH_CHUNKS + 1 {
        for n in 0..3 {
            truth.handle_recorder(device(n), subscriber(n), None);
            truth.handle_report(Mono(index), device(n), slot(index), &clean(1));
        }
        ordered.extend(std::iter::from_fn(|| truth.poll_action()).filter_map(|a| match a {
            TruthAction::AskWitnesses { slot, devices } => Some((slot.index.0, devices.len())),
            _ => None,
        }));
    }
    assert_eq!(ordered, [(0, 1), (0, 1), (0, 1), (WITNESS_EPOCH_CHUNKS, 3)]);
}

#[test]
fn decisions_survive_a_restart() {
    let mut truth = channel(3);
    truth.restore_confirmed(slot(7), claim(1));
    truth.restore_single(slot(8), claim(2), subscriber(0));
    assert_eq!(hear(&mut truth, 0, 1, &clean(1)), Heard::Closed);
    assert_eq!(hear(&mut truth, 0, 2, &clean(3)), Heard::Closed);
    assert_eq!(truth.counters().objections, 1);
    actions(&mut truth);
    truth.handle_report(Mono(0), device(0), slot(8), &clean(2));
    assert_eq!(truth.state(slot(8)), Some(SlotState::Single(claim(2), subscriber(0))));
    truth.handle_report(Mono(0), device(1), slot(8), &clean(2));
    assert_eq!(truth.state(slot(8)), Some(SlotState::Confirmed(claim(2))));
}

#[test]
fn a_witness_that_goes_away_is_not_waited_for() {
    let mut truth = channel(4);
    hear(&mut truth, 0, 0, &clean(1));
    hear(&mut truth, 0, 1, &clean(1));
    assert_eq!(actions(&mut truth), []);
    truth.handle_recorder_gone(Mono(1), device(3));
    assert_eq!(truth.state(slot(7)), Some(SlotState::Confirmed(claim(1))));
}

#[test]
fn strangers_and_floods_change_nothing_and_are_counted() {
    let mut truth = channel(2);
    assert_eq!(hear(&mut truth, 0, 77, &clean(1)), Heard::Stranger);
    assert_eq!(truth.state(slot(7)), None);
    for index in 0..2 * MAX_OPEN_SLOTS_PER_DEVICE as u64 {
        truth.handle_report(Mono(0), device(0), slot(1000 + index), &clean(1));
    }
    assert_eq!(truth.counters().full, MAX_OPEN_SLOTS_PER_DEVICE as u64);
    assert_eq!(hear(&mut truth, 0, 1, &clean(1)), Heard::Taken, "the other device still has room");

    let mut truth = channel(1000);
    for n in 0..1000 {
        hear(&mut truth, 0, n, &clean(n as u8));
    }
    assert!(truth.counters().full as usize >= 1000 - MAX_REPORTS_PER_SLOT);
}

/// DESIGN 6: with a tenth of the devices hostile and nine witnesses, hostile devices hold the majority in 0.09 % of
/// chunks. Every one of them tells the same lie, the worst case.
#[test]
fn a_hostile_tenth_rarely_owns_a_chunk() {
    const HOMES: u32 = 400;
    const EPOCHS: u64 = 6_000;
    let mut recorders = witnesses::Recorders::new([3; 32]);
    for n in 0..HOMES {
        recorders.insert(device(n), subscriber(n), None);
    }
    let majority = |epoch| {
        let drawn = recorders.draw((TimelineId(0), epoch));
        drawn.iter().take(9).filter(|d| u32::from_be_bytes(d.0[..4].try_into().unwrap()) < HOMES / 10).count() >= 5
    };
    let owned = (0..EPOCHS).filter(|&epoch| majority(epoch)).count();
    // Expected about 5 of 6,000; 16 would be five standard deviations above.
    assert!(owned <= 16, "{owned} of {EPOCHS}");
}

#[test]
fn the_same_reports_give_the_same_actions() {
    let run = || {
        let mut truth = channel(40);
        let mut state = 1u64;
        let mut log = Vec::new();
        for step in 0..3_000u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (who, index, what) = ((state >> 33) as u32 % 40, (state >> 40) % 60, (state >> 50) as u8 % 3);
            let said = if what == 2 { damaged() } else { clean(what) };
            truth.handle_report(Mono(step * 50_000), device(who), slot(index), &said);
            truth.handle_timeout(Mono(step * 50_000) + Micros(1));
            log.extend(std::iter::from_fn(|| truth.poll_action()));
        }
        log
    };
    let log = run();
    assert!(log.len() > 60);
    assert_eq!(log, run());
}
