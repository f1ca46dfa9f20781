//! The hash table: what this device announces, what others announced here, and look-ups.
//!
//! Kademlia as it comes leaves three holes that this closes. It announces a key once and then every twelve hours, so
//! a device that announces before it knows anybody would not be found: here every key is announced again while the
//! table is small and somebody new comes into it. Its store never lets go of lapsed records of others: here they are
//! swept out when room is needed. And it takes records of any shape: here only ours, with a few short addresses.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aftercast_protocol::ids::DeviceId;
use aftercast_protocol::limits::{
    MAX_ADDR_BYTES, MAX_ADDRS_PER_PEER, MAX_CONCURRENT_ANNOUNCEMENTS, MAX_FOREIGN_KEYS, MAX_PROVIDED_KEYS,
};
use libp2p::core::Endpoint;
use libp2p::kad::store::{MemoryStore, RecordStore as _};
use libp2p::kad::{self, GetProvidersOk, InboundRequest, K_VALUE, ProviderRecord, QueryId, QueryResult, RecordKey};
use libp2p::swarm::{ConnectionId, NetworkBehaviour as _};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::mpsc;

use crate::metrics::NetMetrics;
use crate::net::Bans;
use crate::peer::device_of;

/// A full store is swept at most this often: a sweep looks at every record.
const SWEEP_PERIOD: Duration = Duration::from_secs(60);
/// What a key begins with: the multihash code of BLAKE3-256 and its length, as in a CID.
const KEY_PREFIX: [u8; 2] = [0x1e, 0x20];

type Kad = kad::Behaviour<MemoryStore>;
type Provider = (DeviceId, Vec<Multiaddr>);

/// A look-up that somebody waits for.
struct Find {
    found: mpsc::Sender<Provider>,
    seen: BTreeSet<DeviceId>,
}

/// State beside Kademlia's own.
pub(crate) struct Table {
    us: DeviceId,
    bans: Arc<Bans>,
    metrics: Arc<NetMetrics>,
    /// What we announce; at most [`MAX_PROVIDED_KEYS`].
    provided: BTreeSet<[u8; 32]>,
    /// The part of it that is still to be announced (again).
    waiting: BTreeSet<[u8; 32]>,
    /// Announcements under way; at most [`MAX_CONCURRENT_ANNOUNCEMENTS`].
    announcing: HashSet<QueryId>,
    finds: HashMap<QueryId, Find>,
    /// Keys under which records of others are kept; at most [`MAX_FOREIGN_KEYS`].
    foreign: HashSet<RecordKey>,
    swept: Option<Instant>,
}

/// The table's key of a hash.
fn record_key(hash: &[u8; 32]) -> RecordKey {
    RecordKey::new(&[KEY_PREFIX.as_slice(), hash].concat())
}

fn is_ours(key: &RecordKey) -> bool {
    let key = key.as_ref();
    key.len() == 34 && key.starts_with(&KEY_PREFIX)
}

impl Table {
    pub fn new(us: DeviceId, bans: Arc<Bans>, metrics: Arc<NetMetrics>) -> Self {
        Self {
            us,
            bans,
            metrics,
            provided: BTreeSet::new(),
            waiting: BTreeSet::new(),
            announcing: HashSet::new(),
            finds: HashMap::new(),
            foreign: HashSet::new(),
            swept: None,
        }
    }

    /// Announces a key from now on. False when too many are announced.
    pub fn provide(&mut self, kad: &mut Kad, key: [u8; 32]) -> bool {
        if self.provided.len() >= MAX_PROVIDED_KEYS && !self.provided.contains(&key) {
            return false;
        }
        if self.provided.insert(key) {
            self.waiting.insert(key);
            self.announce(kad);
        }
        true
    }

    /// Announces a key no more.
    pub fn stop_providing(&mut self, kad: &mut Kad, key: [u8; 32]) {
        self.provided.remove(&key);
        self.waiting.remove(&key);
        kad.stop_providing(&record_key(&key));
    }

    /// Looks for providers. They go to `found` until it is closed or full.
    pub fn find(&mut self, kad: &mut Kad, key: [u8; 32], found: mpsc::Sender<Provider>) {
        self.metrics.provider_lookups.inc();
        let query = kad.get_providers(record_key(&key));
        self.finds.insert(query, Find { found, seen: BTreeSet::new() });
    }

    /// Takes what Kademlia reports.
    pub fn on_event(&mut self, kad: &mut Kad, event: kad::Event) {
        match event {
            kad::Event::OutboundQueryProgressed { id, result, step, .. } => {
                if let QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })) = result {
                    self.found(kad, id, providers);
                }
                if step.last {
                    self.finds.remove(&id);
                    self.announcing.remove(&id);
                    self.announce(kad);
                }
            }
            kad::Event::RoutingUpdated { is_new_peer: true, .. } => self.met(kad),
            kad::Event::InboundRequest { request: InboundRequest::AddProvider { record: Some(record) } } => {
                self.on_record(kad, record);
            }
            // A value: nobody stores those here.
            kad::Event::InboundRequest { request: InboundRequest::PutRecord { .. } } => {
                self.metrics.records_refused.inc();
            }
            _ => {}
        }
    }

    /// Somebody new is in the table. While it is small they belong to the closest of every key.
    fn met(&mut self, kad: &mut Kad) {
        if self.provided.is_empty() {
            return;
        }
        let known: usize = kad.kbuckets().map(|bucket| bucket.num_entries()).sum();
        if known <= K_VALUE.get() {
            self.waiting.extend(&self.provided);
            self.announce(kad);
        }
    }

    fn announce(&mut self, kad: &mut Kad) {
        while self.announcing.len() < MAX_CONCURRENT_ANNOUNCEMENTS
            && let Some(key) = self.waiting.pop_first()
        {
            match kad.start_providing(record_key(&key)) {
                Ok(query) => _ = self.announcing.insert(query),
                // The store has room for all of ours and all it takes of others.
                Err(error) => tracing::warn!(%error, "provider record not kept"),
            }
        }
    }

    fn found(&mut self, kad: &mut Kad, id: QueryId, providers: impl IntoIterator<Item = PeerId>) {
        let Some(find) = self.finds.get_mut(&id) else { return };
        for peer in providers {
            let Some(device) = device_of(&peer) else { continue };
            if device == self.us || self.bans.holds(&device) || !find.seen.insert(device) {
                continue;
            }
            // What Kademlia would dial: the addresses in its buckets, and those that came with this look-up, which it
            // shows nowhere else.
            let unused = ConnectionId::new_unchecked(0);
            let mut addrs =
                kad.handle_pending_outbound_connection(unused, Some(peer), &[], Endpoint::Dialer).unwrap_or_default();
            addrs.sort();
            addrs.dedup();
            addrs.truncate(MAX_ADDRS_PER_PEER);
            if find.found.try_send((device, addrs)).is_err() {
                // Enough found, or nobody waits any more.
                if let Some(mut query) = kad.query_mut(&id) {
                    query.finish();
                }
                self.finds.remove(&id);
                return;
            }
        }
    }

    fn on_record(&mut self, kad: &mut Kad, record: ProviderRecord) {
        if !self.keep(kad, record) {
            self.metrics.records_refused.inc();
        }
    }

    /// Keeps another device's record. Kademlia has made sure that its provider sent it.
    fn keep(&mut self, kad: &mut Kad, mut record: ProviderRecord) -> bool {
        let known = device_of(&record.provider).is_some_and(|device| !self.bans.holds(&device));
        if !known || !is_ours(&record.key) {
            return false;
        }
        record.addresses.retain(|addr| addr.len() <= MAX_ADDR_BYTES);
        record.addresses.truncate(MAX_ADDRS_PER_PEER);
        if !self.foreign.contains(&record.key) && self.foreign.len() >= MAX_FOREIGN_KEYS {
            self.sweep(kad);
            if self.foreign.len() >= MAX_FOREIGN_KEYS {
                return false;
            }
        }
        let key = record.key.clone();
        let kept = kad.store_mut().add_provider(record).is_ok();
        if kept {
            self.foreign.insert(key);
        }
        kept
    }

    /// Forgets what has lapsed.
    fn sweep(&mut self, kad: &mut Kad) {
        let now = Instant::now();
        if self.swept.is_some_and(|swept| now.duration_since(swept) < SWEEP_PERIOD) {
            return;
        }
        self.swept = Some(now);
        let store = kad.store_mut();
        self.foreign.retain(|key| {
            let (lapsed, living): (Vec<_>, Vec<_>) =
                store.providers(key).into_iter().partition(|record| record.is_expired(now));
            for record in lapsed {
                store.remove_provider(key, &record.provider);
            }
            living.iter().any(|record| device_of(&record.provider) != Some(self.us))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::behaviour::table;
    use crate::peer::peer_id_of;

    fn fixture() -> (Table, Kad) {
        let us = DeviceId([1; 32]);
        (Table::new(us, Arc::default(), Arc::default()), table(peer_id_of(us)))
    }

    fn record(key: RecordKey, expires: Option<Instant>) -> kad::Event {
        let provider = peer_id_of(DeviceId([2; 32]));
        let addresses = vec!["/ip4/10.0.0.1/tcp/1".parse().unwrap(); 100];
        let record = Some(ProviderRecord { key, provider, expires, addresses });
        kad::Event::InboundRequest { request: InboundRequest::AddProvider { record } }
    }

    fn key(n: usize) -> RecordKey {
        record_key(blake3::hash(&n.to_be_bytes()).as_bytes())
    }

    #[test]
    fn records_of_others_have_a_bound_and_lapsed_ones_make_room() {
        let (mut table, mut kad) = fixture();
        let (lapsed, living) = (Instant::now(), Instant::now() + Duration::from_secs(3600));
        for n in 0..MAX_FOREIGN_KEYS {
            let expires = if n == 7 { lapsed } else { living };
            table.on_event(&mut kad, record(key(n), Some(expires)));
        }
        assert_eq!(table.metrics.records_refused.get(), 0);
        table.on_event(&mut kad, record(key(MAX_FOREIGN_KEYS), Some(living)));
        assert_eq!(table.metrics.records_refused.get(), 0);
        assert!(kad.store_mut().providers(&key(7)).is_empty());
        table.on_event(&mut kad, record(key(MAX_FOREIGN_KEYS + 1), Some(living)));
        assert_eq!(table.metrics.records_refused.get(), 1);
        // Ours have room of their own.
        assert!(table.provide(&mut kad, [9; 32]));
        assert_eq!(kad.store_mut().provided().count(), 1);
    }

    #[test]
    fn records_of_foreign_shape_are_refused_and_long_ones_cut() {
        let (mut table, mut kad) = fixture();
        table.on_event(&mut kad, record(RecordKey::new(b"anything"), None));
        assert_eq!(table.metrics.records_refused.get(), 1);
        table.on_event(&mut kad, record(key(1), None));
        let kept = kad.store_mut().providers(&key(1));
        assert_eq!(kept[0].addresses.len(), MAX_ADDRS_PER_PEER);
    }

    #[test]
    fn announcing_has_a_bound() {
        let (mut table, mut kad) = fixture();
        for n in 0..MAX_PROVIDED_KEYS {
            assert!(table.provide(&mut kad, *blake3::hash(&n.to_be_bytes()).as_bytes()));
        }
        assert!(!table.provide(&mut kad, [0; 32]));
        assert!(table.announcing.len() <= MAX_CONCURRENT_ANNOUNCEMENTS);
        table.stop_providing(&mut kad, *blake3::hash(&0usize.to_be_bytes()).as_bytes());
        assert!(table.provide(&mut kad, [0; 32]));
    }
}
