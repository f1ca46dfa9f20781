//! What the network tells the application.

use std::time::Duration;

use aftercast_protocol::ids::{ChannelId, DeviceId};
use libp2p::gossipsub::MessageId;
use libp2p::{Multiaddr, PeerId};

use crate::Lane;

/// Something happened. The queue is bounded: an application that does not take events slows its peers down, so it
/// should not wait for the network ([`crate::Net::send`] above all) while it handles one.
///
/// For one device: `Connected`, then its frames and lanes, then `Disconnected`, and only then `Connected` again.
#[derive(Debug)]
pub enum NetEvent {
    /// A device is connected and its control stream is up.
    Connected(DeviceId, PeerInfo),
    /// The last connection to a device ended, and its last frame was delivered.
    Disconnected(DeviceId),
    /// A control frame.
    Ctl {
        /// Its sender, proven by the connection.
        from: DeviceId,
        /// At most `limits::MAX_CTL_FRAME_BYTES`.
        frame: Vec<u8>,
    },
    /// A device opened a lane to us. To refuse it, drop it.
    Lane {
        /// The opener, proven by the connection.
        from: DeviceId,
        /// The lane.
        lane: Lane,
    },
    /// A message on a channel's topic. It is not passed on until [`crate::Net::judge`] says so.
    Gossip {
        /// The channel.
        channel: ChannelId,
        /// Who passed it to us. Messages carry no author: facts are signed themselves.
        source: DeviceId,
        /// At most `limits::MAX_GOSSIP_BYTES`.
        data: Vec<u8>,
        /// For the verdict.
        token: GossipToken,
    },
    /// A device was seen on the local network.
    Discovered {
        /// The device, not proven yet.
        device: DeviceId,
        /// Where it says it is.
        addrs: Vec<Multiaddr>,
    },
}

/// A gossip message that waits for a verdict.
#[derive(Debug)]
pub struct GossipToken {
    pub(crate) id: MessageId,
    pub(crate) source: PeerId,
}

/// What becomes of a gossip message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Genuine: pass it on.
    Accept,
    /// Forged or malformed: whoever passed it to us is to blame.
    Reject,
    /// Neither: do not pass it on, blame nobody.
    Ignore,
}

/// What is known of a connected device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// Its address on the connection in use. Not for logs: see [`crate::Redacted`].
    pub addr: Multiaddr,
    /// Whether that address is on the local network.
    pub lan: bool,
    /// Whether we dialled.
    pub outbound: bool,
    /// Number of connections.
    pub connections: usize,
    /// Round trip without what waits behind other bytes: the least one measured of late.
    pub rtt: Option<Duration>,
    /// Name and version of its program, as it says; at most 64 characters.
    pub agent: Option<String>,
}
