//! What a home has of a programme that it recorded.

use super::World;
use super::catalogue::Programme;
use super::clock::Time;
use super::model::CERTAIN;
use crate::rng::{Draws, Purpose};

/// A home's recording of a programme. Which chunks it has is a function of the seed; what is always the same of that is
/// looked up once.
#[derive(Debug, Clone, Copy)]
pub struct Holding {
    /// When the programme began.
    begins: Time,
    /// When it is deleted.
    until: Time,
    /// Which chunks were damaged.
    luck: Draws,
    /// What the home was cut off with.
    region: u16,
}

impl World<'_> {
    /// A home's recording of a programme.
    pub(super) fn holding(&self, home: u32, programme: Programme) -> Holding {
        let begins = self.catalogue.begins(programme);
        Holding {
            begins,
            until: begins.saturating_add(self.fleet.device(self.model, home).keeps),
            luck: self.rng.draws(Purpose::Absence, u64::from(home) << 32 | u64::from(programme.0)),
            region: self.fleet.homes[home as usize].region,
        }
    }

    /// Whether this chunk of it is there still, and whole.
    #[inline]
    pub(super) fn has(&self, holding: &Holding, index: u32) -> bool {
        self.could_have(holding, index, self.now)
    }

    /// Whether it is there now, and had not been deleted at that time.
    #[inline]
    pub(super) fn could_have(&self, holding: &Holding, index: u32, at: Time) -> bool {
        let broadcast = holding.begins + u64::from(index) * self.model.chunk;
        broadcast + self.model.chunk <= self.now
            && at <= holding.until
            && holding.luck.below(CERTAIN, u64::from(index)) >= self.model.missing
            && !self.fleet.is_cut_off(holding.region, broadcast)
    }
}
