//! What holds in every run, whatever the sources do and whoever decides.

use aftercast_protocol::limits::GROUP_BYTES;
use aftercast_protocol::time::{Micros, Mono};
use proptest::prelude::*;

use crate::exchange::{Faults, Outcome, PlayerSpec, PolicyKind, Scenario, SourceSpec, Step, run};
use crate::link::{LinkSpec, Loss};

const SECOND: u64 = 1_000_000;

fn line() -> impl Strategy<Value = LinkSpec> {
    let rate = prop_oneof![300_000..2_000_000u64, 2_000_000..100_000_000u64];
    let loss = prop::option::weighted(0.3, (1..30_000u32, prop::option::of(2..8u32)));
    let stall = prop::option::weighted(0.3, (4..40u64, 1..20u64));
    (rate, 0..150_000u64, 0..20_000u64, loss, stall).prop_map(|(rate, delay, jitter, loss, stall)| {
        let stall = stall.map(|(every, length)| format!(",stall={}s/every={every}s", length.min(every / 2)));
        let text = format!("rate={rate}b/s,delay={delay}us,jitter={jitter}us{}", stall.unwrap_or_default());
        let loss = loss.map(|(ppm, burst)| Loss { ppm, burst });
        LinkSpec { loss, ..text.parse().unwrap() }
    })
}

fn faults() -> impl Strategy<Value = Faults> {
    let gone = prop::collection::vec((0..60 * SECOND, prop::option::weighted(0.8, 1..20 * SECOND)), 0..3);
    (
        prop::bool::weighted(0.1),
        prop_oneof![4 => Just(0u32), 1 => 1..300_000u32],
        prop_oneof![3 => Just(0u32), 1 => 1..500_000u32],
        prop_oneof![3 => Just(0u32), 1 => 1..1_000_000u32],
        gone,
    )
        .prop_map(|(lies_once_a_chunk, lies_ppm, busy_ppm, absent_ppm, gone)| {
            let gone = gone.into_iter().map(|(at, back)| (Mono(at), back.map(Micros))).collect();
            Faults { lies_once_a_chunk, lies_ppm, busy_ppm, absent_ppm, gone }
        })
}

fn holders() -> impl Strategy<Value = Vec<SourceSpec>> {
    let source = (line(), any::<bool>(), faults()).prop_map(|(link, lan, faults)| SourceSpec { link, lan, faults });
    prop::collection::vec(source, 0..6)
}

fn player() -> impl Strategy<Value = PlayerSpec> {
    let seek = (0..40 * SECOND, 0..12u32).prop_map(|(at, to)| Step::Seek { at: Mono(at), to });
    let pause =
        (0..40 * SECOND, 1..20 * SECOND).prop_map(|(at, length)| Step::Pause { at: Mono(at), length: Micros(length) });
    let steps = prop::collection::vec(prop_oneof![seek, pause], 0..5);
    let downlink = prop::option::weighted(0.3, 2_000_000..50_000_000u64);
    (1..10u32, 500_000..6_000_000u64, prop::option::of(1..400_000u64), 0..5 * SECOND, steps, downlink).prop_map(
        |(chunks, bitrate, head_bytes, begin, mut steps, downlink)| {
            steps.sort_by_key(|step| step.at());
            steps.retain(|step| step.at() >= Mono(begin));
            let downlink = downlink.map_or_else(LinkSpec::default, |rate| format!("rate={rate}b/s").parse().unwrap());
            PlayerSpec {
                begin: Mono(begin),
                spread_percent: 60,
                head_bytes,
                steps,
                downlink,
                ..PlayerSpec::of(chunks, bitrate)
            }
        },
    )
}

fn scenarios() -> impl Strategy<Value = Scenario> {
    let seed = line().prop_map(SourceSpec::honest);
    (prop::collection::vec(player(), 1..3), holders(), seed).prop_map(|(players, holders, seed)| Scenario {
        players,
        holders,
        seed: Some(seed),
        limit: Mono(20_000 * SECOND),
    })
}

fn is_whole(outcome: &Outcome) -> bool {
    outcome.players.iter().all(|player| player.awaited.is_empty() && player.seen.ended_at.is_some())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// With an honest seed everything is played to its end, each chunk complete; nobody is banned but who lied.
    #[test]
    fn everything_is_played(scenario in scenarios(), random_seed in any::<u64>()) {
        let outcome = run(&scenario, PolicyKind::Ours, random_seed);
        prop_assert!(is_whole(&outcome), "{outcome:?}");
        // What hedging may cost: a share of what is useful, and a little to begin with.
        let allowed = outcome.traffic.useful * 3 / 100 + scenario.players.len() as u64 * 4 * GROUP_BYTES as u64;
        prop_assert!(outcome.traffic.duplicate <= allowed, "{:?}", outcome.traffic);
        for (_, holder) in &outcome.bans {
            let faults = &scenario.holders[*holder].faults;
            prop_assert!(faults.lies_once_a_chunk || faults.lies_ppm > 0);
        }
    }

    /// Where nobody is left who has it, the chunk that a player waits for is given up. Those behind it may not have
    /// been asked for, for want of patience with holders that disappoint.
    #[test]
    fn without_a_seed_a_chunk_comes_or_is_given_up(scenario in scenarios(), random_seed in any::<u64>()) {
        let outcome = run(&Scenario { seed: None, ..scenario }, PolicyKind::Ours, random_seed);
        for (number, player) in outcome.players.iter().enumerate() {
            let given_up = |chunk| outcome.gave_up.iter().any(|(_, who, what)| (*who, *what) == (number, chunk));
            prop_assert!(player.awaited.first().is_none_or(|chunk| given_up(*chunk)), "{player:?}");
        }
    }

    /// Whoever decides: asked is only who is there, complete is only what is whole, and no byte is lost; the run checks.
    #[test]
    fn the_same_seed_gives_the_same_run(scenario in scenarios(), random_seed in any::<u64>()) {
        let scenario = Scenario { limit: Mono(120 * SECOND), ..scenario };
        for policy in PolicyKind::ALL {
            prop_assert_eq!(run(&scenario, policy, random_seed), run(&scenario, policy, random_seed));
        }
    }
}
