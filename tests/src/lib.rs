//! What the end-to-end tests and the demo stand on: a broadcast to record, receivers that harm it in known ways, and
//! senders that bring it to the programs under test.
//!
//! ```text
//! broadcast::generate --> impair::impair (one per receiver) --> media::Sender / media::HttpSource --> programs
//!                              |
//!                              +--> DamageLog: what a test may expect to be missing, and what it may not
//! ```
//!
//! `processes` runs seeds and nodes, `demo` puts everything together and `report` says what came of it.
//!
//! Nothing here uses the product's transport stream code: the generator must be able to disagree with it.

pub mod broadcast;
pub mod demo;
pub mod impair;
pub mod media;
pub mod processes;
pub mod report;
