//! What the simulator judges with, for other packages to use: the [`link`] model, playback over an [`exchange`], and the
//! [`rng`] that all chance in a run comes from. Pure: no clocks, sockets, files or threads.

pub mod exchange;
pub mod link;
pub mod rng;
