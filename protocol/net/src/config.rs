//! What the shell needs to be told.

use aftercast_protocol::limits::MAX_CONNECTIONS;
use aftercast_protocol::sign::SecretKey;
use libp2p::Multiaddr;

/// Settings of the network. Start from [`NetConfig::new`].
#[derive(Debug, Clone)]
pub struct NetConfig {
    /// The device's key: its identity towards everybody.
    pub key: SecretKey,
    /// Where to listen, for instance `/ip4/0.0.0.0/tcp/0` and `/ip4/0.0.0.0/udp/0/quic-v1`. Port 0 lets the system
    /// choose. Empty: dial only.
    pub listen: Vec<Multiaddr>,
    /// Addresses to announce instead of the ones listened on, where a router maps ports.
    pub announce: Vec<Multiaddr>,
    /// Whether to look for devices on the local network, and be found there.
    pub mdns: bool,
    /// Whether loopback, private and link-local addresses are those of the home, so that who is there is near
    /// ([`crate::PeerInfo::lan`]). False where they belong to a provider, a VPN or a test bed.
    pub private_is_home: bool,
    /// Name and version of this program, shown to peers.
    pub agent: String,
    /// Most connections held at once.
    pub max_connections: u32,
}

impl NetConfig {
    /// A device that listens nowhere, without mDNS.
    #[must_use]
    pub fn new(key: SecretKey) -> Self {
        Self {
            key,
            listen: Vec::new(),
            announce: Vec::new(),
            mdns: false,
            private_is_home: true,
            agent: concat!("aftercast/", env!("CARGO_PKG_VERSION")).to_owned(),
            max_connections: MAX_CONNECTIONS,
        }
    }
}
