//! What holds in every run, checked from outside of what decides: bytes, budgets, liars, chance.

use super::clock::MINUTE;
use super::script::{Cast, Viewing, once_each};
use super::{Model, Run, Why, World};
use crate::exchange::PolicyKind;
use crate::plan::Plan;

/// Five hours of a few hundred homes that watch in the morning, with something changed.
fn plan(changes: &[(&str, &str)]) -> Plan {
    let morning = [
        ("audience.homes", "300"),
        ("broadcast.channels", "2"),
        ("broadcast.bitrate_mbps", "4"),
        ("broadcast.chunk_s", "10"),
        ("run.hours", "4"),
        ("run.warm_up_hours", "1"),
        ("viewing.peak_hour", "7"),
        ("recording.retention_days", "2"),
        ("viewing.own_share", "0.4"),
    ];
    let mut plan = Plan::default();
    for (path, value) in morning.iter().chain(changes) {
        plan.vary(path, value).unwrap_or_else(|fault| panic!("{fault}"));
    }
    plan
}

fn run(plan: &Plan, seed: u64) -> Run {
    let model = Model::of(plan, seed);
    World::new(&model).run(|_| ())
}

fn all(run: &Run) -> u64 {
    run.tally.bytes.iter().sum()
}

#[test]
fn bytes_are_conserved_whatever_the_policy_and_whatever_goes_wrong() {
    let troubles: [&[(&str, &str)]; 3] = [
        &[],
        &[("outages.churn", "0.2"), ("outages.per_region_month", "30"), ("adversaries.polluters", "0.2")],
        &[("adversaries.departure_share", "0.7"), ("adversaries.departure_hour", "3"), ("seed.egress_mbps", "60")],
    ];
    for (number, trouble) in troubles.iter().enumerate() {
        for policy in PolicyKind::ALL {
            let mut plan = plan(trouble);
            plan.exchange.policy = policy;
            let run = run(&plan, 7 + number as u64);
            let what = format!("{} with {trouble:?}", policy.name());
            assert!(run.tally.ended > 20, "{what}: {} viewings ended", run.tally.ended);
            assert_eq!(run.sent_in_all, run.tally.came + run.recorded.came, "{what}: what homes sent is what came");
            assert_eq!(all(&run), run.tally.wanted, "{what}: each byte of each viewing came once");
            let reasons: u64 = run.tally.why.iter().sum();
            assert!(reasons >= run.tally.bytes[2], "{what}: {reasons} bytes have a reason of {}", run.tally.bytes[2]);
        }
    }
}

#[test]
fn given_viewings_are_enacted_and_no_others() {
    let plan = plan(&[
        ("broadcast.event_share", "1"),
        ("broadcast.event_hour", "4"),
        ("broadcast.programme_min", "10"),
        ("recording.per_home_day", "0.4"),
        ("recording.damaged_share", "0"),
        ("viewing.session_min", "8"),
        ("viewing.seeks_per_hour", "0"),
    ]);
    let model = Model::of(&plan, 3);
    let (cast, viewings) = (Cast::of(&model), once_each(&model, 5 * MINUTE));
    assert!((90..150).contains(&cast.recorders.len()), "{} recorders", cast.recorders.len());
    let run = World::enacting(&model, &viewings).run(|_| ());
    assert_eq!(run.tally.ended, 300);
    let chunks: u64 = viewings.iter().map(|viewing| u64::from(viewing.chunks)).sum();
    assert_eq!(run.tally.watched, chunks as f64 * 10.0);
    // Without damage, a home that recorded it has all of it, and the others have nothing; a start is a small piece.
    let own = |viewing: &&Viewing| cast.recorders.binary_search(&viewing.home).is_ok();
    let of_own: u64 = viewings.iter().filter(own).map(|viewing| u64::from(viewing.chunks)).sum();
    assert_eq!(run.tally.bytes[0], of_own * model.chunk_bytes);
    assert_eq!(run.tally.start_away.count(), 300 - cast.recorders.len() as u64);
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    let plan = plan(&[]);
    let [one, same, other] = [run(&plan, 1), run(&plan, 1), run(&plan, 2)];
    assert_eq!((one.tally.bytes, one.events, &one.sent), (same.tally.bytes, same.events, &same.sent));
    assert_ne!(one.tally.bytes, other.tally.bytes);
}

#[test]
fn a_policy_changes_no_other_draw() {
    let ours = run(&plan(&[]), 3);
    let theirs = run(&plan(&[("exchange.policy", "seed-only")]), 3);
    assert_eq!(ours.tally.sessions, theirs.tally.sessions);
    assert_eq!(ours.tally.wanted, theirs.tally.wanted, "the same viewings");
    assert_eq!(ours.tally.bytes[0], theirs.tally.bytes[0], "and the same own disks");
}

#[test]
fn with_no_help_of_others_all_that_is_not_on_the_own_disk_comes_from_the_seed() {
    let run = run(&plan(&[("exchange.policy", "seed-only")]), 3);
    assert_eq!(run.tally.bytes[1], 0);
    assert!(run.tally.bytes[2] > run.tally.wanted / 3);
    let by_rule = run.tally.why[Why::Rule as usize];
    assert!(by_rule * 10 > run.tally.bytes[2] * 9);
}

#[test]
fn ours_leaves_less_to_the_seed_than_rules_that_stall_as_seldom() {
    let runs = PolicyKind::ALL.map(|policy| {
        let mut plan = plan(&[]);
        plan.exchange.policy = policy;
        (policy, run(&plan, 5))
    });
    let ours = &runs[0].1;
    for (policy, theirs) in &runs[1..] {
        let worse = theirs.tally.bytes[2] >= ours.tally.bytes[2] || theirs.tally.stalls > ours.tally.stalls;
        assert!(
            worse,
            "{}: {:?} and {} stalls, ours {:?} and {}",
            policy.name(),
            theirs.tally.bytes,
            theirs.tally.stalls,
            ours.tally.bytes,
            ours.tally.stalls
        );
    }
}

#[test]
fn nobody_sends_more_than_a_budget_and_what_is_under_way() {
    let plan = plan(&[
        ("devices.box.day_budget_gb", "0.2"),
        ("devices.tv.day_budget_gb", "0.2"),
        ("devices.pc.day_budget_gb", "0.2"),
    ]);
    let run = run(&plan, 4);
    // All of it is one day. Uploads, and two parts for each of several viewers, may be under way when a budget ends.
    let most = run.sent.last().copied().unwrap_or(0);
    assert!(most > 0);
    assert!(most <= 200_000_000 + 20 * 5_000_000, "{most}");
    assert_eq!(run.of_budget.len(), 300);
    // Four hours are measured, so a sixth of the day's.
    let part = |bytes: u64| bytes as f64 / (200e6 / 6.0) * 1e6;
    let last = run.of_budget.last().map_or(0.0, |part| f64::from(*part));
    assert!((last - part(most)).abs() <= 1.0, "{last} beside {}", part(most));
}

#[test]
fn homes_that_pay_by_volume_send_nothing() {
    let metered =
        [("devices.box.metered_share", "1"), ("devices.tv.metered_share", "1"), ("devices.pc.metered_share", "1")];
    let run = run(&plan(&metered), 4);
    assert_eq!(run.sent_in_all, 0);
    assert_eq!(run.recorded.stored, 0, "and so nothing is stored");
    assert_eq!(run.tally.bytes[1], 0);
}

#[test]
fn polluters_cost_a_group_for_each_time_they_are_met_and_never_reach_a_screen() {
    let run = run(&plan(&[("adversaries.polluters", "0.3")]), 6);
    assert!(run.tally.banned > 0);
    assert!(run.tally.thrown > 0);
    assert_eq!(all(&run), run.tally.wanted);
    assert!(run.tally.bytes[1] > 0, "the honest still help");
}

#[test]
fn a_tenth_of_liars_confirms_next_to_nothing_false() {
    let run = run(&plan(&[("adversaries.report_liars", "0.1")]), 6);
    assert!(run.recorded.confirmed > 500);
    assert!(run.recorded.falsely * 100 <= run.recorded.confirmed, "{:?}", run.recorded.falsely);
}

#[test]
fn no_policy_needs_less_of_the_seed_than_the_bound_in_a_hundred_minutes() {
    for policy in PolicyKind::ALL {
        let mut plan = plan(&[("run.snapshots", "50"), ("outages.churn", "0.1"), ("access.cable.up_mbps", "5")]);
        plan.exchange.policy = policy;
        let seen: Vec<_> = [11, 12].into_iter().flat_map(|seed| run(&plan, seed).intervals).collect();
        assert_eq!(seen.len(), 100, "{}", policy.name());
        assert!(seen.iter().any(|interval| interval.least > 0), "{}: the bound says something", policy.name());
        for interval in seen {
            assert!(interval.least <= interval.seed, "{}: {interval:?}", policy.name());
        }
    }
}

#[test]
fn uploads_reach_the_seed_once() {
    let run = run(&plan(&[]), 8);
    assert!(
        run.recorded.stored * 100 >= run.recorded.received * 95,
        "{} of {}",
        run.recorded.stored,
        run.recorded.received
    );
    assert!(run.recorded.uploaded * 100 <= run.recorded.unique * 105);
}
