//! What a run showed.

use std::collections::{BTreeMap, BTreeSet};

use aftercast_protocol::select::Source;
use aftercast_protocol::time::{Micros, Mono};
use serde::Serialize;

use super::player::Player;
use super::server::{Server, Traffic};
use super::viewer::Seen;

/// Outcome of one run. Only whole numbers: equal runs are equal byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Per player.
    pub players: Vec<PlayerOutcome>,
    /// Bytes of all sources.
    pub traffic: Traffic,
    /// Bytes of the seed.
    pub seed: Traffic,
    /// Bytes of each holder.
    pub holders: Vec<Traffic>,
    /// Who banned whom: player, and holder by its place in the scenario.
    pub bans: Vec<(usize, usize)>,
    /// When which player's chunk was given up.
    pub gave_up: Vec<(Mono, usize, u32)>,
    /// Things that happened.
    pub events: u64,
}

/// What one player got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlayerOutcome {
    /// What was seen.
    pub seen: Seen,
    /// When each chunk was complete that was.
    pub complete: BTreeMap<u32, Mono>,
    /// Chunks that are wanted and were not complete at the end.
    pub awaited: Vec<u32>,
    /// Requests made.
    pub requests: u64,
}

impl Outcome {
    pub(super) fn of(
        players: &[Player],
        servers: &[Server],
        bans: &BTreeSet<(usize, Source)>,
        gave_up: Vec<(Mono, usize, u32)>,
        events: u64,
    ) -> Self {
        let of_player = |player: &Player| PlayerOutcome {
            seen: player.viewer.seen.clone(),
            complete: player.store.iter().filter_map(|(n, held)| Some((*n, held.complete_at?))).collect(),
            awaited: player.awaited(),
            requests: player.requests,
        };
        for server in servers {
            assert!(server.traffic.is_conserved(), "bytes of {:?}: {:?}", server.source, server.traffic);
        }
        let place = |source: &Source| servers.iter().position(|server| server.source == *source);
        let traffic = |seed: bool| {
            servers.iter().filter(move |server| (server.source == Source::Seed) == seed).map(|server| server.traffic)
        };
        Self {
            players: players.iter().map(of_player).collect(),
            traffic: traffic(true).chain(traffic(false)).fold(Traffic::default(), Traffic::plus),
            seed: traffic(true).fold(Traffic::default(), Traffic::plus),
            holders: traffic(false).collect(),
            bans: bans.iter().filter_map(|(player, source)| Some((*player, place(source)?))).collect(),
            gave_up,
            events,
        }
    }

    /// Part of the useful bytes that the seed sent, in hundredths of a percent.
    #[must_use]
    pub fn seed_permyriad(&self) -> u64 {
        self.seed.useful * 10_000 / self.traffic.useful.max(1)
    }

    /// Bytes on the wire over useful bytes, in hundredths of a percent.
    #[must_use]
    pub fn wire_permyriad(&self) -> u64 {
        self.traffic.sent * 10_000 / self.traffic.useful.max(1)
    }

    /// How often playing stopped, and for how long, over all players.
    #[must_use]
    pub fn stalls(&self) -> (u64, Micros) {
        let of = |player: &PlayerOutcome| (player.seen.stalls, player.seen.stalled);
        self.players.iter().map(of).fold((0, Micros(0)), |(n, time), (more, longer)| (n + more, time + longer))
    }
}
