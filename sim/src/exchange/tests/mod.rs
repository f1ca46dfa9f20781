//! The exchange as a whole, in virtual time.

mod laws;
mod promises;

use aftercast_protocol::time::Mono;

use super::{PlayerSpec, Scenario, SourceSpec};

fn source(link: &str) -> SourceSpec {
    SourceSpec::honest(link.parse().unwrap())
}

fn scenario(player: PlayerSpec, holders: Vec<SourceSpec>, seed: Option<SourceSpec>) -> Scenario {
    Scenario { players: vec![player], holders, seed, limit: Mono(3_600_000_000) }
}
