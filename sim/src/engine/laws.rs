//! What holds for every shared line, and a second computation of it: each transfer's own account of what it lacks, run
//! down step by step in fractions a million million times finer than the line's.

use proptest::prelude::{Strategy, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::{SharedLine, TransferId};

/// A millionth of a byte, as in the line; what rate x microseconds counts.
const UNITS: u128 = 1_000_000;
const FINE: u128 = 1 << 40;

/// What is done to a line.
#[derive(Debug, Clone)]
enum Step {
    Start { bytes: u64, weight: u32 },
    Cancel(usize),
    Rate(u64),
    Wait(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u64..200_000, 1u32..8).prop_map(|(bytes, weight)| Step::Start { bytes, weight }),
        1 => (0usize..20).prop_map(Step::Cancel),
        1 => prop_oneof![1 => 0u64..1, 4 => 1_000u64..2_000_000].prop_map(Step::Rate),
        4 => prop_oneof![0u64..100, 0u64..300_000].prop_map(Step::Wait),
    ]
}

fn any_steps() -> impl Strategy<Value = (u64, Vec<Step>)> {
    // At a few bytes per second a unit is as long as a microsecond.
    let rate = prop_oneof![1 => 1u64..20, 2 => 1_000u64..2_000_000];
    (rate, prop::collection::vec(any_step(), 1..60))
}

/// A transfer as the outside sees it.
#[derive(Debug, Clone, Copy)]
struct Seen {
    id: TransferId,
    bytes: u64,
    weight: u32,
    started: u64,
    /// When it ended or was cancelled, and what it lacked then.
    over: Option<(u64, u64)>,
}

#[derive(Debug, Default)]
struct Run {
    seen: Vec<Seen>,
    /// Numbers of those that ended by themselves, in order.
    ended: Vec<usize>,
    /// Rate x time while something was in progress, in units.
    offered: u128,
    /// The highest rate of all.
    fastest: u64,
    /// What the line may not have given away: units lost at starts and in the microsecond in which it became idle.
    slack: u128,
    /// From when on each rate holds.
    rates: Vec<(u64, u64)>,
}

/// Runs the steps, finishing what ends when it ends, until nothing is in progress.
fn run(rate: u64, steps: &[Step]) -> Run {
    let mut line = SharedLine::new(rate);
    let mut run = Run { fastest: rate, rates: vec![(0, rate)], ..Run::default() };
    let mut now = 0;
    for step in steps.iter().chain([&Step::Rate(1_000), &Step::Wait(u64::MAX / 2)]) {
        match *step {
            Step::Start { bytes, weight } => {
                let id = line.start(now, bytes, weight);
                run.seen.push(Seen { id, bytes, weight, started: now, over: None });
                run.slack += run.seen.iter().map(|seen| u128::from(seen.weight)).sum::<u128>();
            }
            Step::Cancel(number) => {
                if let Some(seen) = run.seen.get_mut(number) {
                    let left = line.cancel(now, seen.id);
                    assert_eq!(left.is_some(), seen.over.is_none(), "only what is in progress is cancelled");
                    if let Some(left) = left {
                        seen.over = Some((now, left));
                    }
                    assert_eq!(line.cancel(now, seen.id), None);
                }
            }
            Step::Rate(rate) => {
                line.set_rate(now, rate);
                run.fastest = run.fastest.max(rate);
                run.rates.push((now, rate));
            }
            Step::Wait(time) => {
                let until = now + time;
                while let Some((at, id)) = line.next().filter(|(at, _)| *at <= until) {
                    assert!(at >= now);
                    run.offered += u128::from(line.rate()) * u128::from(at - now);
                    now = at;
                    assert_eq!(line.left(now, id), Some(0));
                    let generation = line.generation();
                    assert_eq!(line.finish(now), Some(id));
                    assert_ne!(line.generation(), generation);
                    let number = run.seen.iter().position(|seen| seen.id == id).unwrap();
                    run.seen[number].over = Some((now, 0));
                    run.ended.push(number);
                    if line.active() == 0 {
                        run.slack += u128::from(line.rate());
                    }
                }
                if line.active() > 0 {
                    run.offered += u128::from(line.rate()) * u128::from(until - now);
                }
                assert_eq!(line.finish(until), None);
                now = until;
            }
        }
        assert_eq!(line.active(), run.seen.iter().filter(|seen| seen.over.is_none()).count());
    }
    assert_eq!((line.active(), line.next()), (0, None));
    run
}

/// When each transfer has all its bytes, in fractions of a microsecond, and what it lacks when it is cancelled: every
/// account is run down by its own share from one end to the next.
fn recomputed(run: &Run) -> Vec<(f64, f64)> {
    let mut lacking: Vec<u128> = run.seen.iter().map(|seen| u128::from(seen.bytes) * UNITS * FINE).collect();
    let mut result = vec![(f64::NAN, 0.0); run.seen.len()];
    let cancelled = |seen: &Seen, number| if run.ended.contains(&number) { None } else { seen.over };
    let mut times: Vec<u64> = run.rates.iter().map(|(at, _)| *at).collect();
    times.extend(run.seen.iter().flat_map(|seen| [Some(seen.started), seen.over.map(|over| over.0)]).flatten());
    times.push(u64::MAX / 2);
    times.sort_unstable();
    for pair in times.windows(2) {
        let (mut from, to) = (pair[0] as f64, pair[1]);
        for (number, seen) in run.seen.iter().enumerate() {
            if result[number].0.is_nan() && cancelled(seen, number).is_some_and(|(at, _)| at <= pair[0]) {
                result[number] = (f64::INFINITY, lacking[number] as f64 / (UNITS * FINE) as f64);
            }
        }
        let rate = run.rates.iter().rfind(|(at, _)| *at <= pair[0]).unwrap().1;
        let mut budget = u128::from(rate) * u128::from(to - pair[0]) * FINE;
        loop {
            let there = |number: &usize| run.seen[*number].started <= pair[0] && result[*number].0.is_nan();
            let here: Vec<usize> = (0..run.seen.len()).filter(there).collect();
            let weight: u128 = here.iter().map(|number| u128::from(run.seen[*number].weight)).sum();
            let time = |number: &usize| lacking[*number].div_ceil(u128::from(run.seen[*number].weight));
            let Some(first) = here.iter().copied().min_by_key(time) else { break };
            let step = time(&first).min(budget / weight);
            for number in &here {
                lacking[*number] = lacking[*number].saturating_sub(step * u128::from(run.seen[*number].weight));
            }
            budget -= step * weight;
            if rate > 0 {
                from += (step * weight) as f64 / FINE as f64 / rate as f64;
            }
            if lacking[first] > 0 {
                break;
            }
            result[first] = (from, 0.0);
        }
    }
    result
}

proptest! {
    #[test]
    fn what_the_line_carries_is_what_its_transfers_get((rate, steps) in any_steps()) {
        let run = run(rate, &steps);
        let lacked = |seen: &Seen| seen.over.unwrap().1;
        let carried: u128 = run.seen.iter().map(|seen| u128::from(seen.bytes - lacked(seen)) * UNITS).sum();
        // A byte that was begun when its transfer was cancelled is nobody's.
        let begun = run.seen.iter().filter(|seen| lacked(seen) > 0).count() as u128 * UNITS;
        // Cancelled last, a line carries on nothing.
        prop_assert!(carried <= run.offered, "{carried} of {}", run.offered);
        prop_assert!(carried + begun + run.slack >= run.offered, "{carried} + {begun} of {}", run.offered);
    }

    #[test]
    fn no_transfer_beats_the_line((rate, steps) in any_steps()) {
        let run = run(rate, &steps);
        for seen in &run.seen {
            let (at, left) = seen.over.unwrap();
            let took = u128::from(at - seen.started);
            prop_assert!(u128::from(seen.bytes - left) * UNITS <= u128::from(run.fastest) * took, "{seen:?}");
        }
    }

    #[test]
    fn transfers_end_when_their_own_accounts_say((rate, steps) in any_steps()) {
        let run = run(rate, &steps);
        let expected = recomputed(&run);
        let slowest = run.rates.iter().map(|(_, rate)| *rate).filter(|rate| *rate > 0).min().unwrap();
        let late = 1.0 + run.slack.min(u128::from(u64::MAX)) as f64 / slowest as f64;
        for (number, seen) in run.seen.iter().enumerate() {
            let (at, left) = seen.over.unwrap();
            let (end, lacking) = expected[number];
            if run.ended.contains(&number) {
                prop_assert!(end - 0.01 <= at as f64 && at as f64 <= end + late, "{seen:?} {end}");
            } else {
                // What the line lost at starts, and a byte that was begun.
                let lost = 1.01 + run.slack as f64 / UNITS as f64;
                prop_assert!(left as f64 >= lacking - 0.01 && left as f64 <= lacking + lost, "{seen:?} {lacking}");
            }
        }
        for pair in run.ended.windows(2) {
            let (first, second) = (expected[pair[0]].0, expected[pair[1]].0);
            prop_assert!(first <= second + late, "{first} before {second}");
        }
    }

    #[test]
    fn alone_a_transfer_takes_what_its_bytes_take(
        rate in 1u64..u64::MAX, bytes in 0u64..1 << 50, weight in 1u32.., now in 0u64..1 << 50
    ) {
        let mut line = SharedLine::new(rate);
        let id = line.start(now, bytes, weight);
        let exact = (u128::from(bytes) * UNITS).div_ceil(u128::from(rate));
        let expected = u64::try_from(exact).ok().and_then(|time| now.checked_add(time));
        // An excess of less than a unit per weight may cost it a microsecond where weights are large.
        let slack = if weight == 1 { 0 } else { u64::from(weight).div_ceil(rate) };
        match (line.next(), expected) {
            (Some((at, of)), Some(expected)) => {
                prop_assert_eq!(of, id);
                prop_assert!(at >= expected && at - expected <= slack, "{} {}", at, expected);
            }
            (next, expected) => prop_assert!(next.is_none() || expected.is_none()),
        }
    }

    #[test]
    fn equal_transfers_get_equal_shares(rate in 1u64..1 << 40, bytes in 1u64..1 << 40, count in 1u64..50) {
        let mut line = SharedLine::new(rate);
        let ids: Vec<TransferId> = (0..count).map(|_| line.start(5, bytes, 3)).collect();
        let all = (u128::from(bytes) * u128::from(count) * UNITS).div_ceil(u128::from(rate)) as u64;
        for id in ids {
            let (at, first) = line.next().unwrap();
            prop_assert_eq!(first, id);
            prop_assert!(at >= 5 + all && at - 5 - all <= (3 * count).div_ceil(rate), "{} {}", at, all);
            prop_assert_eq!(line.finish(at), Some(id));
        }
        prop_assert_eq!(line.active(), 0);
    }

    #[test]
    fn a_line_that_is_never_idle_loses_no_unit(
        rate in 1u64..20, transfers in prop::collection::vec((0u64..50, 1u32..100), 1..20)
    ) {
        let mut line = SharedLine::new(rate);
        let (mut ends, mut last_weight) = (Vec::new(), 0);
        for (bytes, weight) in &transfers {
            line.start(0, *bytes, *weight);
        }
        while let Some((at, id)) = line.next() {
            prop_assert!(ends.last().is_none_or(|last| *last <= at));
            prop_assert_eq!(line.finish(at), Some(id));
            ends.push(at);
            last_weight = transfers[id.0 as usize].1;
        }
        // The last one may need a part of a unit more than its bytes; that of each other went to those that were left.
        let units = u128::from(transfers.iter().map(|(bytes, _)| *bytes).sum::<u64>()) * UNITS;
        let (exact, end) = (units.div_ceil(u128::from(rate)), u128::from(*ends.last().unwrap()));
        let most = (units + u128::from(last_weight)).div_ceil(u128::from(rate));
        prop_assert!((exact..=most).contains(&end), "{end} is not {exact}..={most}");
    }

    #[test]
    fn looking_at_a_line_changes_nothing((rate, steps) in any_steps(), times in prop::collection::vec(0u64..400_000, 20)) {
        let mut line = SharedLine::new(rate);
        let starts = steps.iter().filter_map(|step| match step {
            Step::Start { bytes, weight } => Some((*bytes, *weight)),
            _ => None,
        });
        let ids: Vec<TransferId> = starts.map(|(bytes, weight)| line.start(0, bytes, weight)).collect();
        let mut looked_at = line.clone();
        let mut times = times;
        times.sort_unstable();
        for (number, now) in times.into_iter().enumerate() {
            if !ids.is_empty() {
                looked_at.left(now, ids[number % ids.len()]);
            }
        }
        while let Some((at, id)) = line.next() {
            prop_assert_eq!(looked_at.next(), Some((at, id)));
            line.finish(at);
            looked_at.left(at.max(400_000), id);
            prop_assert_eq!(looked_at.next(), Some((at, id)));
            prop_assert_eq!(looked_at.finish(at.max(400_000)), Some(id));
        }
    }
}

#[test]
fn weights_share_the_line() {
    // 4 MB/s: 1 and 3 MB/s until the heavier one has its 6 MB after two seconds; the lighter then lacks 2 of 4 MB.
    let mut line = SharedLine::new(4_000_000);
    let light = line.start(0, 4_000_000, 1);
    let heavy = line.start(0, 6_000_000, 3);
    assert_eq!(line.next(), Some((2_000_000, heavy)));
    assert_eq!(line.left(1_000_000, light), Some(3_000_000));
    assert_eq!(line.left(1_000_000, heavy), Some(3_000_000));
    assert_eq!(line.finish(1_999_999), None);
    assert_eq!(line.finish(2_000_000), Some(heavy));
    assert_eq!(line.next(), Some((2_500_000, light)));
    assert_eq!(line.finish(2_500_000), Some(light));
}

#[test]
fn another_rate_moves_the_end_and_none_stops_it() {
    let mut line = SharedLine::new(1_000_000);
    let id = line.start(0, 1_000_000, 1);
    line.set_rate(250_000, 0);
    assert_eq!((line.next(), line.left(900_000, id)), (None, Some(750_000)));
    line.set_rate(1_000_000, 1_500_000);
    assert_eq!(line.next(), Some((1_500_000, id)));
    let generation = line.generation();
    assert_eq!(line.cancel(1_200_000, id), Some(450_000));
    assert_ne!(line.generation(), generation);
    assert_eq!((line.cancel(1_200_000, id), line.left(1_200_000, id), line.finish(1_200_000)), (None, None, None));
}

#[test]
fn an_end_between_two_microseconds_costs_the_others_nothing() {
    // Two bytes of each end after 4/3 and, with the line alone, 5/3 microseconds: not a microsecond later.
    let mut line = SharedLine::new(3_000_000);
    let short = line.start(0, 2, 1);
    let long = line.start(0, 3, 1);
    assert_eq!(line.next(), Some((2, short)));
    assert_eq!(line.finish(2), Some(short));
    assert_eq!(line.next(), Some((2, long)));
    assert_eq!(line.finish(2), Some(long));
}

#[test]
fn thousands_share_a_line_and_come_and_go() {
    let mut line = SharedLine::new(1_000_000);
    let mut now = 0;
    for round in 0..50_000u64 {
        now += 7;
        let id = line.start(now, 1 + round % 977, 1 + (round % 3) as u32);
        if round % 3 == 0 {
            assert!(line.cancel(now, id).is_some());
        }
        while let Some((_, id)) = line.next().filter(|(at, _)| *at <= now) {
            assert_eq!(line.finish(now), Some(id));
        }
    }
    let waiting = line.active();
    assert!(waiting > 10_000);
    for left in (0..waiting).rev() {
        let (at, id) = line.next().unwrap();
        assert_eq!(line.finish(at), Some(id));
        assert_eq!(line.active(), left);
    }
}
