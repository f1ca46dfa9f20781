//! The scheduler against sources that are slow, silent, false and absent, in virtual time.

mod laws;
mod net;
mod scenes;
