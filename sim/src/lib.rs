//! What the simulator judges with, for other packages to use: a [`plan`] says what is asked; [`theory`] answers it at once,
//! the [`world`] by events in virtual time, on the [`engine`]; a [`study`] runs it several times and says how sure that
//! is, an [`outcome`] shows it. Beside them the [`link`] model, playback over an [`exchange`], and the [`rng`] that all
//! chance comes from. No clocks and no sockets; files only where a scenario is read, threads only in [`study`].

pub mod bound;
pub mod engine;
pub mod exchange;
pub mod link;
pub mod outcome;
pub mod plan;
pub mod rng;
pub mod stats;
pub mod study;
pub mod theory;
pub mod world;
