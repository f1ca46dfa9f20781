//! What a simulated day of a fleet costs: events per CPU second and bytes of memory per home.
//!
//! The regional preset, one run on one thread, with as many homes as are asked for. Bytes are those counted of homes,
//! recordings, viewings, lines and events at their peak; `/usr/bin/time -v` says what the process had in all.
//!
//! `cargo bench --profile dev -p aftercast-sim --bench fleet -- 20000 100000 1000000`

mod common;

use aftercast_sim::plan::Plan;
use aftercast_sim::world::{Model, World};
use common::cpu_seconds;

/// Without others asked for.
const HOMES: [u64; 2] = [20_000, 100_000];

fn main() {
    let asked: Vec<u64> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let all = if asked.is_empty() { HOMES.to_vec() } else { asked };
    println!(
        "{:>10} {:>12} {:>10} {:>16} {:>12} {:>14}",
        "homes", "events", "CPU s", "M events/CPU s", "bytes/home", "most viewings"
    );
    for homes in all {
        let mut plan = Plan::preset("regional").expect("there is such a preset");
        plan.vary("audience.homes", &homes.to_string()).expect("a number of homes");
        let model = Model::of(&plan, 1);
        let begin = cpu_seconds();
        let run = World::new(&model).run(|_| ());
        let took = cpu_seconds() - begin;
        println!(
            "{homes:>10} {:>12} {took:>10.1} {:>16.2} {:>12} {:>14}",
            run.events,
            run.events as f64 / took / 1e6,
            run.footprint as u64 / homes,
            run.most_sessions
        );
    }
}
