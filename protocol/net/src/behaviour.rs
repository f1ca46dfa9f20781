//! All behaviours of a node or seed, composed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aftercast_protocol::ids::ChannelId;
use aftercast_protocol::limits::{
    FIND_TIMEOUT, MAX_CONNECTIONS_PER_DEVICE, MAX_FOREIGN_KEYS, MAX_GOSSIP_BYTES, MAX_PENDING_DIALS,
    MAX_PENDING_INBOUND, MAX_PROVIDED_KEYS, MAX_PROVIDERS_PER_KEY, MAX_RELAY_CIRCUIT_BYTES, MAX_RELAY_CIRCUITS,
    MAX_RELAY_CIRCUITS_PER_DEVICE, MAX_RELAY_RESERVATIONS, MAX_RELAY_RESERVATIONS_PER_DEVICE, MAX_TOPICS_PER_PEER,
    RELAY_CIRCUIT, RELAY_RESERVATION,
};
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::gossipsub::{
    AllowAllSubscriptionFilter, IdentTopic, IdentityTransform, MaxCountSubscriptionFilter, MessageAuthenticity,
    MessageId, TopicHash, ValidationMode,
};
use libp2p::identity::Keypair;
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{StreamProtocol, autonat, dcutr, gossipsub, identify, kad, mdns, ping, relay, upnp};

use crate::carrier::Carrier;
use crate::config::{Admits, NetConfig, Reach};
use crate::errors::StartError;
use crate::holes::Holes;
use crate::metrics::NetMetrics;
use crate::net::Bans;
use crate::peer::device_of;
use crate::told::Told;

/// Protocol of our hash table: its own network, no foreign records.
pub(crate) const KAD: StreamProtocol = StreamProtocol::new("/aftercast/kad/1");
/// Says in identify which family of protocols this is.
const FAMILY: &str = "/aftercast/1";
const TOPIC: &str = "/aftercast/facts/1/";

pub(crate) type Gossip =
    gossipsub::Behaviour<IdentityTransform, MaxCountSubscriptionFilter<AllowAllSubscriptionFilter>>;

/// Everything that runs on a connection. The order matters: what refuses connections comes first.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    limits: connection_limits::Behaviour,
    pub carrier: Carrier,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    pub gossip: Gossip,
    pub kad: kad::Behaviour<MemoryStore>,
    mdns: Toggle<mdns::tokio::Behaviour>,
    upnp: Toggle<upnp::tokio::Behaviour>,
    pub autonat: Toggle<Told<autonat::v2::client::Behaviour>>,
    autonat_server: Toggle<Told<autonat::v2::server::Behaviour>>,
    circuits: Toggle<relay::client::Behaviour>,
    pub dcutr: Toggle<Told<dcutr::Behaviour>>,
    relay: Toggle<relay::Behaviour>,
}

impl Behaviour {
    pub fn new(
        config: &NetConfig,
        keypair: &Keypair,
        bans: Arc<Bans>,
        metrics: Arc<NetMetrics>,
        holes: Holes,
    ) -> Result<(Self, Option<relay::client::Transport>), StartError> {
        let peer = keypair.public().to_peer_id();
        let limits = ConnectionLimits::default()
            .with_max_established(Some(config.max_connections))
            .with_max_established_per_peer(Some(MAX_CONNECTIONS_PER_DEVICE))
            .with_max_pending_incoming(Some(MAX_PENDING_INBOUND))
            .with_max_pending_outgoing(Some(MAX_PENDING_DIALS));
        let identify = identify::Config::new(FAMILY.to_owned(), keypair.public())
            .with_agent_version(config.agent.clone())
            .with_push_listen_addr_updates(true)
            // Where others are told other addresses, those listened on lead nowhere, or around what stands in front.
            .with_hide_listen_addrs(!config.announce.is_empty());
        let mdns = config.mdns.then(|| mdns::tokio::Behaviour::new(mdns::Config::default(), peer)).transpose();
        let home = matches!(config.reach, Reach::Home { .. });
        let upnp = matches!(config.reach, Reach::Home { upnp: true, .. });
        let (through_relays, circuits) = home.then(|| relay::client::new(peer)).unzip();
        let relay = match &config.reach {
            Reach::Introducer { admits } => Some(relay_of(peer, admits)),
            Reach::Plain | Reach::Home { .. } => None,
        };
        let behaviour = Self {
            limits: connection_limits::Behaviour::new(limits),
            carrier: Carrier::new(bans, metrics, holes),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::new(ping::Config::new()),
            gossip: gossip()?,
            kad: table(peer),
            mdns: mdns.map_err(|e| StartError::Setup(format!("mDNS: {e}")))?.into(),
            upnp: upnp.then(upnp::tokio::Behaviour::default).into(),
            autonat: home.then(|| Told::new(autonat::v2::client::Behaviour::default())).into(),
            autonat_server: relay.is_some().then(|| Told::new(autonat::v2::server::Behaviour::default())).into(),
            circuits: circuits.into(),
            dcutr: home.then(|| Told::new(dcutr::Behaviour::new(peer))).into(),
            relay: relay.into(),
        };
        Ok((behaviour, through_relays))
    }
}

/// Facts carry the seed's signature, so messages need none and no author: an author would be a viewer's device.
/// A message's id is the hash of its content, so copies published by several nodes count once.
fn gossip() -> Result<Gossip, StartError> {
    let setup = |e: &dyn std::fmt::Display| StartError::Setup(format!("gossip: {e}"));
    let config = gossipsub::ConfigBuilder::default()
        .max_transmit_size(MAX_GOSSIP_BYTES)
        .validate_messages()
        .validation_mode(ValidationMode::Anonymous)
        .message_id_fn(|message| MessageId::new(blake3::hash(&message.data).as_bytes()))
        .build()
        .map_err(|e| setup(&e))?;
    let filter = MaxCountSubscriptionFilter {
        filter: AllowAllSubscriptionFilter {},
        max_subscribed_topics: MAX_TOPICS_PER_PEER,
        max_subscriptions_per_request: MAX_TOPICS_PER_PEER,
    };
    Gossip::new_with_subscription_filter(MessageAuthenticity::Anonymous, config, filter).map_err(|e| setup(&e))
}

/// Asked for every reservation and every circuit, whose bounds per device and in all are the relay's own.
struct Enrolled(Admits);

impl relay::RateLimiter for Enrolled {
    fn try_next(&mut self, peer: libp2p::PeerId, _: &libp2p::Multiaddr, _: Instant) -> bool {
        device_of(&peer).is_some_and(|device| self.0.admits(device))
    }
}

fn relay_of(peer: libp2p::PeerId, admits: &Admits) -> relay::Behaviour {
    let config = relay::Config {
        max_reservations: MAX_RELAY_RESERVATIONS,
        max_reservations_per_peer: MAX_RELAY_RESERVATIONS_PER_DEVICE,
        reservation_duration: Duration::from_micros(RELAY_RESERVATION.0),
        reservation_rate_limiters: vec![Box::new(Enrolled(admits.clone()))],
        max_circuits: MAX_RELAY_CIRCUITS,
        max_circuits_per_peer: MAX_RELAY_CIRCUITS_PER_DEVICE,
        max_circuit_duration: Duration::from_micros(RELAY_CIRCUIT.0),
        max_circuit_bytes: MAX_RELAY_CIRCUIT_BYTES,
        circuit_src_rate_limiters: vec![Box::new(Enrolled(admits.clone()))],
    };
    let mut relay = relay::Behaviour::new(peer, config);
    // Set, not guessed from which addresses are proven: nobody proves the introducer's.
    relay.set_status(Some(relay::Status::Enable));
    relay
}

pub(crate) fn table(peer: libp2p::PeerId) -> kad::Behaviour<MemoryStore> {
    let store = MemoryStoreConfig {
        max_records: 0,
        max_provided_keys: MAX_PROVIDED_KEYS + MAX_FOREIGN_KEYS,
        max_providers_per_key: MAX_PROVIDERS_PER_KEY,
        ..MemoryStoreConfig::default()
    };
    let mut config = kad::Config::new(KAD);
    config.set_query_timeout(Duration::from_micros(FIND_TIMEOUT.0));
    // Records of others come up as events, to be looked at before they are kept.
    config.set_record_filtering(kad::StoreInserts::FilterBoth);
    let mut kad = kad::Behaviour::with_config(peer, MemoryStore::with_config(peer, store), config);
    // Set, not guessed: until AutoNAT tells, waiting for a proven address would leave the table without servers.
    kad.set_mode(Some(kad::Mode::Server));
    kad
}

/// The gossip topic of a channel.
pub(crate) fn topic_of(channel: &ChannelId) -> IdentTopic {
    IdentTopic::new(format!("{TOPIC}{channel}"))
}

/// The channel of a topic; none where the topic is not one of ours.
pub(crate) fn channel_of(topic: &TopicHash) -> Option<ChannelId> {
    topic.as_str().strip_prefix(TOPIC)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_and_topics_name_each_other() {
        let channel: ChannelId = "das-erste.hd".parse().unwrap();
        assert_eq!(channel_of(&topic_of(&channel).hash()), Some(channel));
        assert_eq!(channel_of(&IdentTopic::new("/other/1/x").hash()), None);
        assert_eq!(channel_of(&IdentTopic::new("/aftercast/facts/1/a/b").hash()), None);
    }
}
