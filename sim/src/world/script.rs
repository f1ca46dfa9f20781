//! Runs whose viewings are given instead of drawn, so that real programs can enact the very same.
//!
//! Who has which line and who recorded the event is drawn as in any run; a [`Cast`] tells.

use super::World;
use super::catalogue::Catalogue;
use super::clock::Time;
use super::fleet::Fleet;
use super::model::Model;
use crate::rng::{Purpose, Rng};

/// A viewing of the scenario's event from its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Viewing {
    /// When it begins, from the time on that is measured.
    pub at: Time,
    /// Whose.
    pub home: u32,
    /// Chunks that are watched.
    pub chunks: u32,
}

/// Who takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cast {
    /// Bytes per second that each home may send, by its number.
    pub uplinks: Vec<u64>,
    /// Round trip from each home to its provider's network.
    pub rtts: Vec<Time>,
    /// Homes that recorded the event, ascending.
    pub recorders: Vec<u32>,
}

impl Cast {
    /// Of a run of this model.
    #[must_use]
    pub fn of(model: &Model) -> Self {
        let (fleet, catalogue) = (Fleet::new(model), Catalogue::new(model));
        let mut recorders = catalogue.recorders(catalogue.event()).to_vec();
        recorders.sort_unstable();
        recorders.dedup();
        Self {
            uplinks: (0..model.homes).map(|home| fleet.uplink(model, home)).collect(),
            rtts: (0..model.homes).map(|home| fleet.line(model, home).rtt).collect(),
            recorders,
        }
    }
}

/// Each home watches the event once, from a time drawn from the first `within` on and for as long as viewings are; in
/// the order of time.
#[must_use]
pub fn once_each(model: &Model, within: Time) -> Vec<Viewing> {
    let rng = Rng::new(model.seed);
    let viewing = |home: u32| {
        let at = rng.below(within.max(1), Purpose::Arrival, u64::from(home), 0);
        Viewing { at, home, chunks: model.chunks_watched(rng, u64::from(home)) }
    };
    let mut viewings: Vec<Viewing> = (0..model.homes).map(viewing).collect();
    viewings.sort_unstable_by_key(|viewing| (viewing.at, viewing.home));
    viewings
}

impl<'a> World<'a> {
    /// Before the first event of a run with these viewings and no others.
    #[must_use]
    pub fn enacting(model: &'a Model, viewings: &'a [Viewing]) -> Self {
        let mut world = Self::new(model);
        for (number, viewing) in viewings.iter().enumerate() {
            world.calendar.push(model.measured_from + viewing.at, super::Event::Begin { number: number as u64 });
        }
        world.script = Some(viewings);
        world
    }
}
