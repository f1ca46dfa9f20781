//! Counters for monitoring, in the text form that Prometheus reads.

use std::sync::Mutex;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::api::status::Status;

/// Everything that `/metrics` shows.
pub struct Metrics {
    registry: Mutex<Registry>,
    gauges: Gauges,
}

#[derive(Default)]
struct Gauges {
    seed_connected: Gauge,
    peers: Gauge,
    recordings: Gauge,
    store_bytes: Gauge,
    store_chunks: Gauge,
    held_chunks: Gauge,
    unreported_chunks: Gauge,
    sent_to_seed: Gauge,
    sent_to_peers: Gauge,
}

impl Metrics {
    /// Registers the node's own figures beside what `others` registers.
    #[must_use]
    pub fn new(malformed: Counter, others: impl FnOnce(&mut Registry)) -> Self {
        let mut registry = Registry::with_prefix("aftercast");
        others(&mut registry);
        let gauges = Gauges::default();
        let node = registry.sub_registry_with_prefix("node");
        node.register("control_malformed", "Control frames that were not understood", malformed);
        for (name, help, gauge) in [
            ("seed_connected", "Whether the seed is connected", &gauges.seed_connected),
            ("peers", "Connected peers", &gauges.peers),
            ("recordings", "Recordings on this device", &gauges.recordings),
            ("store_bytes", "Bytes of chunks stored", &gauges.store_bytes),
            ("store_chunks", "Chunks stored", &gauges.store_chunks),
            ("held_chunks", "Confirmed chunks held for others", &gauges.held_chunks),
            ("unreported_chunks", "Chunks that the seed was not told of yet", &gauges.unreported_chunks),
            ("sent_to_seed_bytes", "Bytes uploaded to the seed", &gauges.sent_to_seed),
            ("sent_to_peers_bytes", "Bytes uploaded to peers", &gauges.sent_to_peers),
        ] {
            node.register(name, help, gauge.clone());
        }
        Self { registry: Mutex::new(registry), gauges }
    }

    /// The text, with gauges as in this status.
    #[must_use]
    pub fn text(&self, status: &Status) -> String {
        let set = |gauge: &Gauge, value: u64| {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        let gauges = &self.gauges;
        set(&gauges.seed_connected, u64::from(status.seed.connected));
        set(&gauges.peers, status.peers as u64);
        set(&gauges.recordings, status.recordings.len() as u64);
        set(&gauges.store_bytes, status.store.chunk_bytes);
        set(&gauges.store_chunks, status.store.chunks);
        set(&gauges.held_chunks, status.store.held as u64);
        set(&gauges.unreported_chunks, status.recordings.iter().map(|one| one.counts.unreported).sum());
        set(&gauges.sent_to_seed, status.uplink.sent.to_seed);
        set(&gauges.sent_to_peers, status.uplink.sent.to_peers);
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if encode(&mut text, &registry).is_err() {
            tracing::error!("metrics cannot be written");
        }
        text
    }
}
