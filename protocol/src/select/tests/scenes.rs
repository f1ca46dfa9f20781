//! One behaviour each.

use super::net::{GROUP, Link, Net, SECOND, cid, peer};
use crate::ids::GroupIndex;
use crate::limits::{MAX_HOLDERS, MAX_WANTS};
use crate::score::{Lie, ScoreBook};
use crate::select::{Action, FailReason, SelectConfig, Selector, Source, SourceInfo, Want, WantRefusal};
use crate::serve::Class;
use crate::time::{Micros, Mono};
use crate::verify::{GroupRange, GroupSet};

const MBIT: u64 = 125_000;

fn at(seconds: u64) -> Mono {
    Mono(seconds * SECOND)
}

/// Plays `chunks` chunks of `len` bytes, four seconds each, wanted 20 s ahead, the first due after `first` seconds.
fn play(net: &mut Net, chunks: u32, len: u64, first: u64) {
    for number in 0..chunks {
        let deadline = at(first + 4 * u64::from(number));
        let wanted = Mono(deadline.0.saturating_sub(20 * SECOND));
        net.run_until(wanted.max(net.now));
        net.want(number, len, deadline);
    }
    net.run();
}

#[test]
fn peers_that_are_fast_enough_leave_nothing_to_the_seed() {
    let mut net = Net::new().with((1..=4).map(|n| (peer(n), Link::of(3 * MBIT))));
    net.connect(Source::Seed, Link::of(100 * MBIT));
    play(&mut net, 40, 4_000_000, 10);
    let stats = net.selector.stats();
    assert_eq!((stats.in_time, stats.late), (40, 0));
    assert_eq!(stats.seed_bytes, 0, "{stats:?}");
}

#[test]
fn the_seed_takes_over_in_time_when_all_peers_fall_silent() {
    let dying = |n| (peer(n), Link { dead_from: Some(at(9)), ..Link::of(3 * MBIT) });
    let mut net = Net::new().with((1..=4).map(dying));
    net.connect(Source::Seed, Link::of(30 * MBIT));
    play(&mut net, 15, 4_000_000, 10);
    let stats = net.selector.stats();
    assert_eq!((stats.in_time, stats.late), (15, 0), "{stats:?}");
    assert!(stats.peer_bytes > 0 && stats.seed_bytes > 0);
}

#[test]
fn the_seed_brings_the_rest_where_peers_are_too_slow() {
    let mut net = Net::new().with([(peer(1), Link::of(3 * MBIT)), (peer(2), Link::of(2 * MBIT))]);
    net.connect(Source::Seed, Link::of(50 * MBIT));
    play(&mut net, 40, 4_000_000, 10);
    let stats = net.selector.stats();
    // Peers can carry five eighths of it.
    assert_eq!(stats.late, 0, "{stats:?}");
    assert!(stats.peer_bytes * 100 >= 55 * net.useful(), "{stats:?}");
}

#[test]
fn a_chunk_without_peers_comes_from_the_seed_well_before_its_deadline() {
    let mut net = Net::new().with([(Source::Seed, Link::of(20 * MBIT))]);
    let chunk = net.want(1, 4_000_000, at(60));
    net.run_until(at(50));
    assert!(net.arrivals.is_empty(), "the seed is not asked before it must be: peers may still appear");
    net.run();
    assert!(net.done[&chunk] <= at(56));
}

#[test]
fn one_stalling_holder_in_four_costs_neither_a_stall_nor_the_seed() {
    let mut net = Net::new().with((1..=3).map(|n| (peer(n), Link::of(6 * MBIT))));
    net.connect(peer(4), Link { stalls: Some((30 * SECOND, 10 * SECOND)), ..Link::of(6 * MBIT) });
    net.connect(Source::Seed, Link::of(20 * MBIT));
    play(&mut net, 150, 4_000_000, 4);
    let stats = net.selector.stats();
    // The first chunk is due after 4 s, and a player starts with what comes.
    assert!(stats.late == 0, "{stats:?}");
    assert!(stats.seed_bytes * 100 <= 10 * net.useful(), "{stats:?}");
    assert!(net.delivered * 100 <= 103 * net.useful(), "{stats:?}");
}

#[test]
fn one_chunk_from_four_holders_takes_about_a_quarter_of_the_time() {
    let mut net = Net::new().with((1..=4).map(|n| (peer(n), Link::of(20 * MBIT))));
    let chunk = net.want(1, 8 << 20, at(30));
    net.run();
    let ideal = (8u64 << 20) * SECOND / (80 * MBIT);
    assert!(net.done[&chunk].0 * 100 <= 120 * ideal, "{} of {ideal}", net.done[&chunk]);
    assert_eq!(net.delivered, 8 << 20);
}

#[test]
fn the_tail_of_a_slow_source_is_split_and_not_duplicated() {
    let slow = peer(1);
    let mut net = Net::new().with([(slow, Link::of(10_000))]);
    let chunk = net.want(1, 12 * GROUP, at(100));
    net.run_until(at(1));
    net.connect(peer(2), Link::of(10 * MBIT));
    net.selector.handle_holders(net.now, chunk, &[peer(2)]);
    net.run();
    assert!(net.done[&chunk] < at(15), "the slow source alone takes 78 s: {}", net.done[&chunk]);
    assert_eq!(net.delivered, 12 * GROUP);
}

#[test]
fn a_liar_costs_one_group_and_is_never_asked_again() {
    let liar = peer(3);
    let mut net = Net::new().with((1..=4).map(|n| (peer(n), Link::of(10 * MBIT))));
    net.disconnect(liar);
    net.connect(liar, Link { lies_every: Some(1), ..Link::of(50 * MBIT) });
    for number in 0..10 {
        net.want(number, 4_000_000, at(60));
    }
    net.run();
    assert_eq!(net.done.len(), 10);
    assert_eq!(net.false_bytes[&liar], GROUP);
    let bans: Vec<_> = net.log.iter().filter(|(_, action)| matches!(action, Action::Ban { .. })).collect();
    let Source::Peer(device) = liar else { unreachable!() };
    assert_eq!(bans.len(), 1);
    assert_eq!(bans[0].1, Action::Ban { peer: device, lie: Lie::Group });
    let asked = |after: Mono| {
        net.log
            .iter()
            .any(|(when, action)| *when > after && matches!(action, Action::Request(fetch) if fetch.source == liar))
    };
    assert!(!asked(bans[0].0));
    // Not even when it comes back and says that it holds something.
    let info = SourceInfo { lan: true, rtt: Micros(1), lanes: 4 };
    net.selector.handle_source_up(net.now, liar, info);
    assert!(net.selector.score(liar).is_none());
}

#[test]
fn a_source_at_home_goes_first_if_it_is_in_time() {
    let mut net = Net::new().with((1..=3).map(|n| (peer(n), Link::of(100 * MBIT))));
    net.connect(peer(9), Link { lan: true, ..Link::of(80 * MBIT) });
    play(&mut net, 10, 4_000_000, 10);
    let stats = net.selector.stats();
    assert_eq!((stats.lan_bytes, stats.peer_bytes), (40_000_000, 0));
}

#[test]
fn groups_arrive_about_in_order() {
    let mut net = Net::new().with((1..=4).map(|n| (peer(n), Link::of(u64::from(n) * 2 * MBIT))));
    net.want(1, 64 * GROUP, at(8));
    net.run();
    // No group comes long before its predecessors: the prefix a player can use is never far behind what is here.
    let mut held = GroupSet::empty(64).unwrap();
    for (_, _, index, _) in &net.arrivals {
        held.insert(*index);
        let prefix = held.first_missing(GroupIndex(0)).map_or(64, |index| index.0);
        assert!(held.len() - prefix <= 40, "{} groups here, {prefix} of use", held.len());
    }
}

#[test]
fn the_most_urgent_chunk_goes_first() {
    let mut net = Net::new().with([(peer(1), Link::of(8 * MBIT))]);
    let later = net.want(1, 4_000_000, at(100));
    net.run_until(at(1));
    let sooner = net.want(2, 2_000_000, at(5));
    net.run();
    assert!(net.done[&sooner] <= at(5) && net.done[&sooner] < net.done[&later]);
}

#[test]
fn a_passed_deadline_gives_nothing_up() {
    let mut net = Net::new().with([(peer(1), Link::of(100_000))]);
    let chunk = net.want(1, 4_000_000, at(1));
    net.run();
    assert!(net.done[&chunk] > at(30) && net.gave_up.is_empty());
    assert_eq!(net.selector.stats().late, 1);
}

#[test]
fn a_chunk_without_sources_is_given_up_once_and_resumes_when_a_holder_appears() {
    let mut net = Net::new();
    let chunk = net.want(1, 4_000_000, at(10));
    net.run_until(at(300));
    assert_eq!(net.gave_up, [(at(10), chunk)]);
    let asks = net.log.iter().filter(|(_, action)| matches!(action, Action::NeedHolders { .. })).count();
    assert!((5..=12).contains(&asks), "{asks} searches in five minutes");
    net.connect(peer(1), Link::of(10 * MBIT));
    net.selector.handle_holders(net.now, chunk, &[peer(1)]);
    net.run();
    assert!(net.is_whole(chunk) && net.done.contains_key(&chunk));
}

#[test]
fn a_busy_seed_is_left_alone_for_as_long_as_it_says() {
    let mut net = Net::new().with([(Source::Seed, Link { busy_every: Some(2), ..Link::of(20 * MBIT) })]);
    let chunk = net.want(1, 4_000_000, at(5));
    net.run();
    assert!(net.done.contains_key(&chunk));
    assert!(net.selector.stats().busy > 0);
    assert_eq!(net.selector.score(Source::Seed).map(|score| score.failures), Some(0), "busy is no fault");
}

#[test]
fn what_is_held_is_not_asked_for() {
    let mut net = Net::new().with([(peer(1), Link::of(10 * MBIT))]);
    let chunk = net.want(1, 10 * GROUP, at(10));
    let mut held = GroupSet::full(10).unwrap();
    held.remove(GroupIndex(4));
    held.remove(GroupIndex(9));
    net.hold(chunk, &held);
    net.run_until(at(5));
    let asked: Vec<_> = net.arrivals.iter().map(|(_, _, index, _)| index.0).collect();
    assert_eq!(asked, [4, 9]);
    assert!(!net.selector.is_wanted(chunk));
}

#[test]
fn an_unknown_length_is_asked_for_first() {
    let mut net = Net::new().with([(peer(1), Link::of(10 * MBIT)), (peer(2), Link::of(10 * MBIT))]);
    let want = Want { cid: cid(1), len: None, deadline: at(10), class: Class::Repair, in_order: false };
    let chunk = net.want_from(want, 20 * GROUP, &net.sources());
    net.run();
    let first = net.log.iter().find_map(|(_, action)| match action {
        Action::Request(fetch) => Some((fetch.range, fetch.want_hashes)),
        _ => None,
    });
    assert_eq!(first, Some((GroupRange::new(0, 1), true)));
    assert!(net.done.contains_key(&chunk));
    assert_eq!(net.delivered, 20 * GROUP);
}

#[test]
fn an_upload_whose_node_dies_ends_at_the_stand_in_with_the_rest_only() {
    let mut net = Net::new().with([(peer(1), Link { dead_from: Some(at(3)), ..Link::of(8 * MBIT) })]);
    let want = Want { cid: cid(1), len: Some(6_000_000), deadline: at(20), class: Class::Upload, in_order: false };
    let chunk = net.want_from(want, 6_000_000, &[peer(1)]);
    net.run_until(at(8));
    net.disconnect(peer(1));
    net.connect(peer(2), Link::of(8 * MBIT));
    net.selector.handle_holders(net.now, chunk, &[peer(2)]);
    net.run();
    assert!(net.done.contains_key(&chunk));
    assert_eq!(net.delivered, 6_000_000);
    assert!(net.arrivals.iter().any(|(.., source)| *source == peer(1)));
}

#[test]
fn a_dropped_want_cancels_its_requests() {
    let mut net = Net::new().with([(peer(1), Link::of(8 * MBIT))]);
    let chunk = net.want(1, 8_000_000, at(10));
    net.run_until(at(1));
    net.selector.handle_drop(net.now, chunk);
    net.run();
    assert!(!net.done.contains_key(&chunk));
    assert_eq!(net.selector.sizes(), (0, 0, 1));
    assert!(net.delivered <= 2 * MBIT * 8, "{} bytes after the drop", net.delivered);
}

#[test]
fn wants_and_holders_are_bounded() {
    let mut selector = Selector::new(SelectConfig::default(), ScoreBook::default());
    let want =
        |number| Want { cid: cid(number), len: Some(1), deadline: at(9), class: Class::Prefetch, in_order: false };
    for number in 0..MAX_WANTS as u32 {
        selector.handle_want(at(0), want(number)).unwrap();
    }
    assert_eq!(selector.handle_want(at(0), want(u32::MAX)), Err(WantRefusal::Full));
    assert_eq!(selector.handle_want(at(0), want(0)), Ok(()));
    let none = Want { len: Some(0), ..want(0) };
    assert_eq!(selector.handle_want(at(0), none), Err(WantRefusal::Length(0)));
    let many: Vec<_> = (0..=255).map(peer).chain([Source::Seed]).collect();
    selector.handle_holders(at(0), cid(0), &many);
    assert_eq!(selector.stats().over_limit, 256 - MAX_HOLDERS as u64);
}

#[test]
fn reports_of_unknown_requests_and_chunks_change_nothing() {
    let mut selector = Selector::new(SelectConfig::default(), ScoreBook::default());
    let id = crate::ids::RequestId(7);
    selector.handle_group(at(0), id, GroupIndex(u32::MAX), GROUP);
    selector.handle_request_done(at(0), id);
    selector.handle_request_failed(at(0), id, FailReason::BadData(Lie::Hashes));
    selector.handle_hashes(at(0), cid(1), u64::MAX);
    selector.handle_held(at(0), cid(1), &GroupSet::full(3).unwrap());
    selector.handle_source_down(at(0), peer(1));
    selector.handle_stat(at(0), peer(1), Some(u64::MAX), u64::MAX);
    assert_eq!(selector.poll_action(), None);
    assert_eq!(selector.poll_timeout(), None);
}

#[test]
fn absurd_statistics_from_a_peer_only_rank_it_down() {
    let mut net = Net::new().with([(peer(1), Link::of(8 * MBIT)), (peer(2), Link::of(8 * MBIT))]);
    net.selector.handle_stat(net.now, peer(1), Some(u64::MAX), u64::MAX);
    net.selector.handle_stat(net.now, peer(2), Some(0), 0);
    let chunk = net.want(1, 4_000_000, at(20));
    net.run();
    assert!(net.done[&chunk] <= at(20));
}
