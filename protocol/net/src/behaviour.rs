//! All behaviours of a node or seed, composed.

use std::sync::Arc;
use std::time::Duration;

use aftercast_protocol::ids::ChannelId;
use aftercast_protocol::limits::{
    FIND_TIMEOUT, MAX_CONNECTIONS_PER_DEVICE, MAX_FOREIGN_KEYS, MAX_GOSSIP_BYTES, MAX_PENDING_DIALS,
    MAX_PENDING_INBOUND, MAX_PROVIDED_KEYS, MAX_PROVIDERS_PER_KEY, MAX_TOPICS_PER_PEER,
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
use libp2p::{StreamProtocol, gossipsub, identify, kad, mdns, ping};

use crate::carrier::Carrier;
use crate::config::NetConfig;
use crate::errors::StartError;
use crate::metrics::NetMetrics;
use crate::net::Bans;

/// Protocol of our hash table: its own network, no foreign records.
pub(crate) const KAD: StreamProtocol = StreamProtocol::new("/aftercast/kad/1");
/// Says in identify which family of protocols this is.
const FAMILY: &str = "/aftercast/1";
const TOPIC: &str = "/aftercast/facts/1/";

pub(crate) type Gossip =
    gossipsub::Behaviour<IdentityTransform, MaxCountSubscriptionFilter<AllowAllSubscriptionFilter>>;

/// Everything that runs on a connection. The order matters: what refuses connections comes first.
///
/// Reachability comes here later, each as one more field: `autonat` v2 (then addresses are announced once they are
/// proven, not once they are listened on: `Driver::listening`), `upnp`, `relay::client` with `dcutr`, and on the
/// seed `relay` itself. The carrier already tells relayed connections from direct ones.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    limits: connection_limits::Behaviour,
    pub carrier: Carrier,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    pub gossip: Gossip,
    pub kad: kad::Behaviour<MemoryStore>,
    mdns: Toggle<mdns::tokio::Behaviour>,
}

impl Behaviour {
    pub fn new(
        config: &NetConfig,
        keypair: &Keypair,
        bans: Arc<Bans>,
        metrics: Arc<NetMetrics>,
    ) -> Result<Self, StartError> {
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
        Ok(Self {
            limits: connection_limits::Behaviour::new(limits),
            carrier: Carrier::new(bans, metrics),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::new(ping::Config::new()),
            gossip: gossip()?,
            kad: table(peer),
            mdns: mdns.map_err(|e| StartError::Setup(format!("mDNS: {e}")))?.into(),
        })
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
