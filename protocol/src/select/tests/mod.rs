//! The scheduler against sources that are slow, silent, false and absent, in virtual time.

mod late;
mod laws;
mod learning;
mod net;
mod scenes;
