//! What is promised of the exchange, shown with the scheduler that ships: counts, shares and virtual times.

use aftercast_protocol::limits::GROUP_BYTES;
use aftercast_protocol::time::Micros;

use super::{scenario, source};
use crate::exchange::{Faults, Outcome, PlayerSpec, PolicyKind, Preset, Scenario, SourceSpec, run};
use crate::rng::{Purpose, Rng};

const MBIT: u64 = 1_000_000;
const SECOND: u64 = 1_000_000;

/// Microseconds that so many bytes take at a rate in bits a second.
fn time_of(bytes: u64, rate: u64) -> u64 {
    bytes * 8 * SECOND / rate
}

/// One chunk of 8 MiB.
fn one_chunk() -> PlayerSpec {
    PlayerSpec { chunk_bytes: 8 << 20, ..PlayerSpec::of(1, 8 * MBIT) }
}

fn took(outcome: &Outcome, chunk: u32) -> u64 {
    outcome.players[0].complete[&chunk].0
}

#[test]
fn one_chunk_from_four_holders_takes_about_a_quarter_of_the_time() {
    let outcome = run(&scenario(one_chunk(), vec![source("rate=20Mb/s,delay=10ms"); 4], None), PolicyKind::Ours, 1);
    let ideal = time_of(8 << 20, 80 * MBIT);
    assert!(took(&outcome, 0) * 100 <= 120 * ideal, "{} of {ideal} us", took(&outcome, 0));
    assert!(outcome.wire_permyriad() <= 10_300, "{:?}", outcome.traffic);
}

/// Ten minutes of 8 Mb/s from four holders at 6 Mb/s, one of which sends nothing for 10 s in every 30 s.
fn one_stalls(random_seed: u64) -> Scenario {
    Preset::Stalling.setup().scenario(Rng::new(random_seed))
}

#[test]
fn a_stalling_holder_in_four_costs_neither_a_stall_nor_the_seed() {
    for random_seed in 0..5 {
        let outcome = run(&one_stalls(random_seed), PolicyKind::Ours, random_seed);
        assert_eq!(outcome.stalls(), (0, Micros(0)));
        assert!(outcome.seed_permyriad() <= 1_000, "{:?}", outcome.seed);
        assert!(outcome.wire_permyriad() <= 10_300, "{:?}", outcome.traffic);
    }
}

#[test]
fn no_baseline_has_fewer_stalls_or_needs_less_of_the_seed() {
    let ours = run(&one_stalls(1), PolicyKind::Ours, 1);
    for policy in PolicyKind::ALL {
        let other = run(&one_stalls(1), policy, 1);
        assert!(ours.stalls() <= other.stalls(), "{policy}");
        assert!(ours.seed_permyriad() <= other.seed_permyriad(), "{policy}: {:?}, ours {:?}", other.seed, ours.seed);
    }
}

#[test]
fn the_first_group_is_at_the_player_soon() {
    let outcome = run(&scenario(one_chunk(), vec![source("rate=20Mb/s,delay=10ms"); 4], None), PolicyKind::Ours, 1);
    let bytes = GROUP_BYTES as u64 + 32 * (8 << 20) / GROUP_BYTES as u64;
    let ideal = 20_000 + time_of(bytes, 20 * MBIT);
    let first = outcome.players[0].seen.first_group.unwrap().0;
    assert!(first * 10 <= 15 * ideal, "{first} of {ideal} us");
}

#[test]
fn a_head_comes_from_the_seed_at_the_speed_of_the_line() {
    let head = 750_000;
    let player = PlayerSpec { head_bytes: Some(head), ..PlayerSpec::of(10, 8 * MBIT) };
    let holders = vec![source("rate=6Mb/s,delay=10ms"); 4];
    let outcome = run(&scenario(player, holders, Some(source("rate=20Mb/s,delay=10ms"))), PolicyKind::Ours, 1);
    let ideal = 20_000 + time_of(head, 20 * MBIT);
    assert!(took(&outcome, 0) * 10 <= 13 * ideal, "{} of {ideal} us", took(&outcome, 0));
    assert_eq!(outcome.stalls().0, 0);
}

#[test]
fn after_a_seek_playing_goes_on_within_a_second() {
    let mut after = Vec::new();
    for random_seed in 0..5 {
        let scenario = Preset::Seek.setup().scenario(Rng::new(random_seed));
        let outcome = run(&scenario, PolicyKind::Ours, random_seed);
        after.extend(outcome.players[0].seen.seeks.iter().copied());
    }
    after.sort_unstable();
    let late = after[after.len() * 95 / 100];
    assert_eq!(after.len(), 60);
    assert!(late <= Micros::from_secs(1), "{late} us, of {}", after.len());
}

fn liar(link: &str) -> SourceSpec {
    SourceSpec { faults: Faults { lies_once_a_chunk: true, ..Faults::default() }, ..source(link) }
}

#[test]
fn a_liar_costs_one_group_and_little_time() {
    let line = "rate=6Mb/s,delay=10ms";
    let play = |holders| {
        let seed = Some(source("rate=20Mb/s,delay=10ms"));
        run(&scenario(PlayerSpec::of(50, 8 * MBIT), holders, seed), PolicyKind::Ours, 1)
    };
    let honest = play(vec![source(line); 4]);
    let lied = play(vec![source(line), source(line), liar(line), source(line)]);
    assert_eq!(lied.bans, [(0, 2)]);
    assert!(lied.traffic.false_bytes <= GROUP_BYTES as u64, "{:?}", lied.traffic);
    assert_eq!(lied.stalls(), honest.stalls());
    let end = |outcome: &Outcome| outcome.players[0].seen.ended_at.unwrap().0;
    assert!(end(&lied) * 10 <= 11 * end(&honest));
    // Of one chunk, whoever is left has to bring the liar's part: it takes no longer than without the liar.
    let chunk = |holders| run(&scenario(one_chunk(), holders, None), PolicyKind::Ours, 1);
    let three = chunk(vec![source("rate=20Mb/s,delay=10ms"); 3]);
    let mut four = vec![source("rate=20Mb/s,delay=10ms"); 3];
    four.insert(1, liar("rate=20Mb/s,delay=10ms"));
    let four = chunk(four);
    assert!(took(&four, 0) * 10 <= 11 * took(&three, 0), "{} and {}", took(&four, 0), took(&three, 0));
}

#[test]
fn over_a_thousand_runs_the_liar_is_banned_and_nobody_else() {
    let line = "rate=8Mb/s,delay=15ms,jitter=10ms,loss=0.5%/burst=4";
    for random_seed in 0..1000 {
        let mut holders = vec![source(line), source(line), source("rate=3Mb/s,delay=40ms,stall=1s/every=5s")];
        let place = Rng::new(random_seed).below(4, Purpose::Viewer, 1, 0) as usize;
        holders.insert(place, liar(line));
        let player = PlayerSpec { spread_percent: 50, ..PlayerSpec::of(3, 4 * MBIT) };
        let seed = Some(source("rate=20Mb/s,delay=10ms"));
        let outcome = run(&scenario(player, holders, seed), PolicyKind::Ours, random_seed);
        assert_eq!(outcome.bans, [(0, place)], "random seed {random_seed}");
        assert!(outcome.traffic.false_bytes <= GROUP_BYTES as u64, "random seed {random_seed}");
    }
}

#[test]
fn a_thin_line_at_home_carries_no_more_than_it_can_and_wastes_little() {
    let outcome = run(&Preset::ThinLine.setup().scenario(Rng::new(1)), PolicyKind::Ours, 1);
    let seen = &outcome.players[0].seen;
    let arrived = outcome.traffic.sent - outcome.traffic.in_flight;
    assert!(time_of(arrived, 20 * MBIT) <= seen.ended_at.unwrap().0);
    assert!(outcome.wire_permyriad() <= 10_800, "{:?}", outcome.traffic);
    assert!(outcome.seed_permyriad() <= 1_000, "{:?}", outcome.seed);
}
