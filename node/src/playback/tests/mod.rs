//! Playback as players see it: over HTTP, with sources that are honest, silent, lying or gone.

mod chaos;
mod lanes;
mod players;
mod sources;
pub(super) mod support;
