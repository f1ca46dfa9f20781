//! Counters of the shell: what moved, and every refusal by reason.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

macro_rules! metrics {
    ($($(#[doc = $doc:literal])+ $field:ident: $kind:ty,)*) => {
        /// Counters of one [`crate::Net`]. Cheap to read at any time.
        #[derive(Debug, Default)]
        pub struct NetMetrics {
            $($(#[doc = $doc])+ pub $field: $kind,)*
        }

        impl NetMetrics {
            /// Adds all of them to a registry, under the prefix `net`.
            pub fn register(&self, registry: &mut Registry) {
                let registry = registry.sub_registry_with_prefix("net");
                $(registry.register(stringify!($field), concat!($($doc),+).trim(), self.$field.clone());)*
            }
        }
    };
}

metrics! {
    /// Open connections
    connections: Gauge,
    /// Connections established
    connections_opened: Counter,
    /// Connections refused: the peer's key is not Ed25519
    refused_not_ed25519: Counter,
    /// Connections refused: the device is banned
    refused_banned: Counter,
    /// Connections closed: pings were not answered
    closed_silent: Counter,
    /// Bytes of control frames received
    control_bytes_in: Counter,
    /// Bytes of control frames sent
    control_bytes_out: Counter,
    /// Control frames received
    control_frames_in: Counter,
    /// Control frames sent
    control_frames_out: Counter,
    /// Connections closed: a control frame was longer than allowed
    control_over_limit: Counter,
    /// Control streams reset: the connection has one already, or its dialer did not open it
    control_refused: Counter,
    /// Control frames not queued: the peer is too slow
    control_queue_full: Counter,
    /// Lanes opened by peers
    lanes_in: Counter,
    /// Lanes opened to peers
    lanes_out: Counter,
    /// Lanes reset: the peer or all peers together have too many open
    lanes_refused_limit: Counter,
    /// Lanes reset: nobody took them in time
    lanes_refused_queue: Counter,
    /// Lanes reset: the connection goes through a relay
    lanes_refused_relayed: Counter,
    /// Holes tried: connections through a relay
    holes_tried: Counter,
    /// Holes punched: a direct connection came about
    holes_punched: Counter,
    /// Holes not punched
    holes_failed: Counter,
    /// Connections through a relay refused: the last hole with the device failed a short while ago
    holes_refused: Counter,
    /// Places kept for others at this relay
    relay_reservations: Gauge,
    /// Circuits open through this relay
    relay_circuits: Gauge,
    /// Circuits that were opened through this relay
    relay_circuits_opened: Counter,
    /// Reservations and circuits refused by this relay
    relay_refused: Counter,
    /// Bytes received on lanes
    lane_bytes_in: Counter,
    /// Bytes sent on lanes
    lane_bytes_out: Counter,
    /// Gossip messages received
    gossip_in: Counter,
    /// Gossip messages published
    gossip_out: Counter,
    /// Gossip messages rejected as forged or malformed
    gossip_rejected: Counter,
    /// Gossip messages and discoveries dropped: the application does not keep up
    events_dropped: Counter,
    /// Records of others not kept in the distributed hash table: no room, or not of our form
    records_refused: Counter,
    /// Provider look-ups in the distributed hash table
    provider_lookups: Counter,
}
