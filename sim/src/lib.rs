//! What the simulator judges with, for other packages to use: the [`link`] model, playback over an [`exchange`], the
//! [`engine`] that events run on, the [`plan`] that says what is asked, and the [`rng`] that all chance in a run comes
//! from. Pure: no clocks, sockets or threads, and no files but the scenario.

pub mod bound;
pub mod engine;
pub mod exchange;
pub mod link;
pub mod outcome;
pub mod plan;
pub mod rng;
pub mod stats;
pub mod theory;
