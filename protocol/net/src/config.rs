//! What the shell needs to be told.

use std::fmt;
use std::sync::Arc;

use aftercast_protocol::ids::DeviceId;
use aftercast_protocol::limits::MAX_CONNECTIONS;
use aftercast_protocol::sign::SecretKey;
use libp2p::Multiaddr;

/// What a device does so that devices behind routers reach each other.
#[derive(Debug, Clone, Default)]
pub enum Reach {
    /// Nothing: it is reached where it listens.
    #[default]
    Plain,
    /// It may be behind a router: it learns from the introducer how it is reached, meets others there where it must, and
    /// punches holes with them.
    Home {
        /// Whom it asks and where it meets others: its seed.
        introducer: DeviceId,
        /// Whether it asks the router to map its ports, which is a multicast search on the local network.
        upnp: bool,
    },
    /// It is the introducer: it tells devices where it sees them, tests their addresses, and lets them meet.
    Introducer {
        /// Who may meet others here.
        admits: Admits,
    },
}

/// Says which devices may meet others at a relay. Asked for every reservation and circuit, in the task that owns the
/// swarm: it must not wait.
#[derive(Clone)]
pub struct Admits(Arc<dyn Fn(DeviceId) -> bool + Send + Sync>);

impl Admits {
    /// Those for which `admits` is true.
    pub fn those(admits: impl Fn(DeviceId) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(admits))
    }

    pub(crate) fn admits(&self, device: DeviceId) -> bool {
        (self.0)(device)
    }
}

impl fmt::Debug for Admits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Admits")
    }
}

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
    /// What is done so that devices behind routers reach each other.
    pub reach: Reach,
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
            reach: Reach::Plain,
            agent: concat!("aftercast/", env!("CARGO_PKG_VERSION")).to_owned(),
            max_connections: MAX_CONNECTIONS,
        }
    }
}
