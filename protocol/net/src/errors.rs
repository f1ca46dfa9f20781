//! What can go wrong, per operation: whose fault it is and whether a retry helps.

use aftercast_protocol::ids::DeviceId;
use aftercast_protocol::limits::{MAX_CTL_FRAME_BYTES, MAX_GOSSIP_BYTES};
use libp2p::Multiaddr;

/// Why the network did not start. The configuration or the host is at fault.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {addr}: {reason}")]
    Listen {
        /// The address, as configured.
        addr: Multiaddr,
        /// What the transport said.
        reason: String,
    },
    /// A part of the network stack could not be set up (sockets of mDNS, the resolver).
    #[error("cannot set up the network: {0}")]
    Setup(String),
}

/// Why a device was not reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// No address was given and none is known. Discovery may find one.
    #[error("no address known for {0}")]
    NoAddress(DeviceId),
    /// The device is on our ban list.
    #[error("{0} is banned")]
    Banned(DeviceId),
    /// It is ourselves.
    #[error("{0} is this device")]
    Ourselves(DeviceId),
    /// Somebody else answered there: the address is stale.
    #[error("another device answered at the address of {0}")]
    WrongDevice(DeviceId),
    /// No address answered. A retry may help.
    #[error("{device} is unreachable: {reason}")]
    Unreachable {
        /// The device.
        device: DeviceId,
        /// What the transports said, addresses redacted.
        reason: String,
    },
    /// Something answered that does not speak our control protocol.
    #[error("{0} does not speak the control protocol")]
    NotAftercast(DeviceId),
    /// Not connected in time. A retry may help.
    #[error("{0} did not answer in time")]
    Timeout(DeviceId),
    /// Too many dials at once (`limits::MAX_PENDING_DIALS`). A retry helps later.
    #[error("too many dials at once")]
    TooMany,
    /// The network was shut down.
    #[error("the network is shut down")]
    Stopped,
}

/// Why a control frame was not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// No connection. Dial first.
    #[error("not connected to {0}")]
    NotConnected(DeviceId),
    /// Our own fault: the frame is too long.
    #[error("control frame of {0} bytes, at most {MAX_CTL_FRAME_BYTES} allowed")]
    TooLarge(usize),
    /// The peer does not read fast enough; its queue (`limits::MAX_CTL_QUEUED_FRAMES`) is full.
    #[error("{0} does not take control frames fast enough")]
    Full(DeviceId),
}

/// Why there is no lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LaneError {
    /// No connection. Dial first.
    #[error("not connected to {0}")]
    NotConnected(DeviceId),
    /// Connected through a relay only, which is for signalling: bulk needs a direct connection.
    #[error("{0} is reached through a relay; lanes need a direct connection")]
    Relayed(DeviceId),
    /// Too many lanes to this device are being opened (`limits::MAX_OPENING_LANES`).
    #[error("too many lanes to {0} are being opened")]
    TooMany(DeviceId),
    /// The device does not speak the lane protocol.
    #[error("{0} does not take lanes")]
    Unsupported(DeviceId),
    /// The connection failed while the lane was being opened. A retry may help.
    #[error("connection to {0} closed while opening a lane")]
    Closed(DeviceId),
    /// Not negotiated in time.
    #[error("{0} did not take a lane in time")]
    Timeout(DeviceId),
}

/// Why a fact was not published. Facts also travel on control streams, so losing one here only costs time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Our own fault: the message is too long.
    #[error("gossip of {0} bytes, at most {MAX_GOSSIP_BYTES} allowed")]
    TooLarge(usize),
    /// Nobody we know listens to this channel (yet).
    #[error("nobody listens to this channel")]
    NoListeners,
    /// All listeners' queues are full.
    #[error("all listeners are too slow")]
    Full,
    /// The network was shut down.
    #[error("the network is shut down")]
    Stopped,
}
