//! What happens when something is needed soon and does not come.

use super::net::{GROUP, Link, Net, SECOND, peer};
use crate::select::{Action, Source};
use crate::time::{Micros, Mono};

const MBIT: u64 = 125_000;

fn at(seconds: u64) -> Mono {
    Mono(seconds * SECOND)
}

/// Two peers that have shown what they carry; then the first falls silent, and a chunk is wanted at once of both.
fn silent_when_needed(deadline: Micros) -> (Net, Mono) {
    let mut net = Net::new();
    net.connect(peer(1), Link { stalls: Some((100 * SECOND, 0)), ..Link::of(16 * MBIT) });
    net.connect(peer(2), Link::of(16 * MBIT));
    net.want(1, 4_000_000, at(10));
    net.run_until(at(10));
    let asked = net.now;
    net.silence(peer(1));
    net.want(2, 4_000_000, asked + deadline);
    net.run();
    (net, asked)
}

#[test]
fn what_a_player_waits_for_is_asked_of_a_second_source_before_the_first_counts_as_stalled() {
    let (net, asked) = silent_when_needed(Micros::from_millis(300));
    let stats = net.selector.stats();
    assert!(stats.hedges > 0, "{stats:?}");
    let first = net.arrivals.iter().find(|(when, _, index, _)| *when > asked && index.0 == 0).unwrap().0;
    // The silence is noticed within 0.1 s; the other source has up to 0.3 s of later groups to send before.
    assert!(first - asked <= Micros::from_millis(550), "{first}");
}

#[test]
fn where_there_is_time_nothing_is_asked_twice() {
    let (net, _) = silent_when_needed(Micros::from_secs(20));
    let stats = net.selector.stats();
    assert_eq!((stats.hedges, stats.duplicate_bytes), (0, 0), "{stats:?}");
    assert_eq!(net.done.len(), 2);
}

#[test]
fn sources_that_hesitate_all_the_time_cost_no_more_than_the_budget() {
    // Nothing moves for a third of every second, at different times: each silence looks like the beginning of a stall.
    let mut net = Net::new();
    for (number, period) in [(1, 1_000_000), (2, 1_100_000), (3, 1_300_000)] {
        net.connect(peer(number), Link { stalls: Some((period, 350_000)), ..Link::of(6 * MBIT) });
    }
    for number in 0..60 {
        let deadline = at(1 + 4 * u64::from(number));
        net.run_until(Mono(deadline.0.saturating_sub(3 * SECOND)));
        net.want(number, 4_000_000, deadline);
    }
    net.run();
    let stats = net.selector.stats();
    assert!(stats.hedges > 0, "{stats:?}");
    assert!(net.delivered * 100 <= 103 * net.useful() + 400 * GROUP, "{} of {}", net.delivered, net.useful());
}

#[test]
fn the_seed_that_is_too_busy_at_takeover_is_not_pestered_and_peers_bring_the_rest() {
    let mut net = Net::new().with((1..=3).map(|n| (peer(n), Link::of(2 * MBIT))));
    net.connect(Source::Seed, Link { busy_every: Some(1), ..Link::of(50 * MBIT) });
    // Peers carry 6 Mb/s of the 8 Mb/s: the seed would be asked in every chunk.
    for number in 0..20 {
        net.want(number, 4_000_000, at(8 + 4 * u64::from(number)));
    }
    net.run();
    let stats = net.selector.stats();
    assert_eq!((net.done.len(), stats.seed_bytes), (20, 0));
    let seconds = net.now.0 / SECOND;
    assert!(stats.busy <= 10 + seconds / 2, "{} questions in {seconds} s to a seed that says busy", stats.busy);
    // Peers lose nothing by it: they are as busy as they can be.
    let ideal = 20 * 4_000_000 / (6 * MBIT);
    let last = net.done.values().max().unwrap().0 / SECOND;
    assert!(last * 100 <= 115 * ideal, "{last} s, at best {ideal} s");
}

#[test]
fn when_holders_fail_others_are_looked_for_before_they_run_out() {
    let mut net = Net::new().with((1..=8).map(|n| (peer(n), Link::of(3 * MBIT))));
    for number in 0..20 {
        net.want(number, 4_000_000, at(10 + 4 * u64::from(number)));
    }
    net.run_until(at(5));
    let asks = |net: &Net, from: Mono| {
        net.log.iter().filter(|(when, action)| *when >= from && matches!(action, Action::NeedHolders { .. })).count()
    };
    let before = net.now;
    for number in 1..=6 {
        net.silence(peer(number));
    }
    net.run_until(at(15));
    assert!(asks(&net, before) > 0, "six of eight are silent, and nobody is looked for");
    assert!(net.selector.sizes().2 == 8, "they are still connected");
}

#[test]
fn what_is_about_to_be_played_does_not_wait_behind_what_is_played_later() {
    // A viewer has jumped: the first chunk is needed at once, the others are its read-ahead.
    let mut net = Net::new().with((1..=4).map(|n| (peer(n), Link::of(6 * MBIT))));
    let first = net.want(1, 4_000_000, Mono(300_000));
    for number in 2..=10 {
        net.want(number, 4_000_000, Mono(300_000 + 4 * SECOND * u64::from(number - 1)));
    }
    net.run();
    // Four lines carry it in 1.33 s.
    let ideal = 4_000_000 * SECOND / (24 * MBIT);
    let took = net.done[&first].0;
    assert!(took * 100 <= 125 * ideal, "{took} us, at best {ideal}");
}
