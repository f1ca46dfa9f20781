//! The simulator beside what it simulates: one scenario, run chunk by chunk in virtual time (level L1), and enacted by
//! real programs over link proxies (level L2).
//!
//! ```text
//! scenario ──> cast (lines, recorders) and viewings ──┬──> aftercast_sim::world ──> shares, starts, stalls
//!                                                     └──> seed, nodes, proxies, players by the clock ──> the same
//! ```
//!
//! Both get the same homes, lines, recordings and viewings. What programs make of it that a scenario cannot say, the
//! sizes of chunks and heads, is measured and then given to the simulator.

mod enact;
mod tell;

pub use enact::{Enacted, Played, check, enact};
pub use tell::{Calibration, Seen};

use aftercast_sim::plan::{Plan, PlanFaults};

/// The scenario for forty homes on one machine.
///
/// # Errors
/// None: it is part of the program, and a test reads it.
pub fn small_event() -> Result<Plan, PlanFaults> {
    Plan::parse(include_str!("scenario.toml"), "scenario.toml")
}

#[cfg(test)]
mod tests {
    use aftercast_sim::world::Model;
    use aftercast_sim::world::script::{Cast, once_each};

    use super::*;

    #[test]
    fn the_scenario_that_is_part_of_the_program_can_be_enacted() {
        let plan = small_event().unwrap_or_else(|faults| panic!("{faults}"));
        let model = Model::of(&plan, plan.random_seed);
        let cast = Cast::of(&model);
        check(&plan, &cast).unwrap();
        assert_eq!(once_each(&model, 240_000_000).len(), 40);
        assert!((10..30).contains(&cast.recorders.len()), "{} recorders", cast.recorders.len());
    }

    #[test]
    fn what_programs_on_one_machine_cannot_enact_is_refused_with_what_to_write() {
        for (path, value, advice) in [
            ("audience.homes", "500", "audience.homes of at most 60"),
            ("broadcast.channels", "2", "broadcast.channels = 1"),
            ("viewing.seeks_per_hour", "2", "viewing.seeks_per_hour = 0"),
            ("seed.egress_mbps", "0", "write seed.egress_mbps"),
            ("access.dsl.rtt_ms", "30", "the same rtt_ms"),
            ("recording.per_home_day", "0", "write recording.per_home_day"),
        ] {
            let mut plan = small_event().unwrap_or_else(|faults| panic!("{faults}"));
            plan.set(path, value).unwrap_or_else(|fault| panic!("{fault}"));
            let error = check(&plan, &Cast::of(&Model::of(&plan, 1))).unwrap_err().to_string();
            assert!(error.contains(advice), "{path}: {error}");
        }
    }
}
