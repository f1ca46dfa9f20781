//! What the end-to-end tests and the demo stand on: a broadcast to record, receivers that harm it in known ways, and
//! senders that bring it to the programs under test.
//!
//! ```text
//! broadcast::generate --> impair::impair (one per receiver) --> media::Sender / media::HttpSource --> programs
//!                              |
//!                              +--> DamageLog: what a test may expect to be missing, and what it may not
//! ```
//!
//! `processes` runs seeds and nodes and `device` is a device without a product's manners; a `stage` is what an
//! end-to-end test begins with. `demo` puts everything together and `report` says what came of it.
//!
//! `link` is a proxy that makes a link of loopback: rate, delay, losses, outages, as the simulator has them.
//!
//! `namespaces` makes a small internet with homes behind routers.
//!
//! `playback` watches over such links, by the clock (`make playback`).
//!
//! `calibrate` holds the simulator beside real programs that enact the same scenario (`make calibrate`).
//!
//! `table` runs every recipe over every combination of codecs and judges each chunk (`make table`).
//!
//! Nothing that makes or harms a broadcast uses the product's transport stream code: it must be able to disagree.

pub mod broadcast;
pub mod calibrate;
pub mod demo;
pub mod device;
pub mod impair;
pub mod link;
pub mod media;
pub mod namespaces;
pub mod playback;
pub mod players;
pub mod processes;
pub mod report;
pub mod stage;
pub mod table;
