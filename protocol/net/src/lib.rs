//! The libp2p shell that node and seed share: connections, the control stream, chunk lanes, gossip and discovery.
//!
//! ```text
//!   application --- Net (handle, Clone) ---> driver task --- libp2p swarm --- connections
//!        ^                                      |  |
//!        |                                      |  +-- hands streams over, never reads them
//!        +---- NetEvent (bounded queue) <-- one peer task per connected device:
//!                                           control reader(s), control writer, arrived lanes
//! ```
//!
//! What it is for: moving bytes between devices that proved who they are, with a bound on every queue and a counter
//! for every refusal. What it is not for: deciding anything about chunks. Who may fetch, what is asked of whom and
//! who is served next is decided in `aftercast-protocol`; [`exchange`] only carries it out on a lane.
//!
//! Promises: the driver task never waits for the application, a peer or a disk; a lane that is not handed on is
//! reset and counted; no group leaves [`exchange`] before its hash is verified.

mod behaviour;
mod carrier;
mod config;
mod control;
mod driver;
mod errors;
mod event;
pub mod exchange;
mod holes;
mod lane;
mod metrics;
mod net;
mod peer;
mod raw;
mod reachability;
mod redact;
mod resolve;
mod table;
#[cfg(test)]
mod tests;
mod told;
pub mod transport;

pub use config::{Admits, NetConfig, Reach};
pub use errors::{DialError, LaneError, PublishError, SendError, StartError};
pub use event::{GossipToken, NetEvent, PeerInfo, Verdict};
pub use lane::Lane;
pub use libp2p::{Multiaddr, PeerId};
pub use metrics::NetMetrics;
pub use net::Net;
pub use peer::{device_of, peer_id_of};
pub use reachability::Reachability;
pub use redact::{Redacted, is_lan};
