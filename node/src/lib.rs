//! Aftercast on a viewer's device: it records, shares what it recorded, and plays.
//!
//! ```text
//!   tuner input --> capture thread --> cutter thread (ccf::Chunker) --> store + library
//!                                                                          |      ^
//!   seed <---- seed session: record, reports, facts, duties, acks ---------+      | verified groups only
//!   seed, peers <---- serve: lanes, after grants and the uplink's share ---+      |
//!   player <---- HTTP on loopback: api, playback --------------------------+------+
//! ```
//!
//! What it is for: doing, on one device, what `aftercast-protocol` decides. What it is not for: deciding; where a
//! choice has to be the same on two machines, it is made there.
//!
//! Promises: a device without its seed keeps recording and plays what it holds; nothing unacknowledged is deleted; a
//! chunk that this device could not prove whole leaves it in no form.

pub mod acquaintances;
pub mod api;
pub mod capture;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod identity;
pub mod library;
pub mod logging;
pub mod metrics;
pub mod peers;
pub mod playback;
pub mod recorder;
pub mod repair;
pub mod seed;
pub mod serve;
pub mod spans;
pub mod swarm;
