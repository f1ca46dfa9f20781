//! What the simulator judges with, for other packages to use: the [`link`] model, and the [`rng`] that all chance in a
//! run comes from. Pure: no clocks, sockets, files or threads.

pub mod link;
pub mod rng;
