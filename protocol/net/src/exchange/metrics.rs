//! Counters of serving, a counter per refusal reason.

use std::collections::BTreeMap;

use aftercast_protocol::wire::lane::LaneRefusal;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// Counters of one [`super::ServeGate`].
#[derive(Debug)]
pub struct ExchangeMetrics {
    /// Requests received.
    pub requests: Counter,
    /// Requests served whole.
    pub served: Counter,
    /// Bytes of groups and hashes written to lanes.
    pub served_bytes: Counter,
    /// Requests answered Busy.
    pub busy: Counter,
    /// Requests for what is not here.
    pub not_found: Counter,
    /// Requests that their asker reset.
    pub cancelled: Counter,
    /// Transfers given up: the asker did not read.
    pub stalled: Counter,
    /// Lanes closed: the asker broke the rules.
    pub malformed: Counter,
    /// Transfers broken off: our own store failed, or the chunk was evicted meanwhile.
    pub store_failures: Counter,
    refused: BTreeMap<LaneRefusal, Counter>,
}

impl Default for ExchangeMetrics {
    fn default() -> Self {
        Self {
            requests: Counter::default(),
            served: Counter::default(),
            served_bytes: Counter::default(),
            busy: Counter::default(),
            not_found: Counter::default(),
            cancelled: Counter::default(),
            stalled: Counter::default(),
            malformed: Counter::default(),
            store_failures: Counter::default(),
            refused: LaneRefusal::ALL.into_iter().map(|reason| (reason, Counter::default())).collect(),
        }
    }
}

impl ExchangeMetrics {
    /// Requests refused for this reason.
    #[must_use]
    pub fn refused(&self, reason: LaneRefusal) -> u64 {
        self.refused.get(&reason).map_or(0, Counter::get)
    }

    pub(super) fn count_refusal(&self, reason: LaneRefusal) {
        if let Some(counter) = self.refused.get(&reason) {
            counter.inc();
        }
    }

    /// Adds all of them to a registry, under the prefix `serve`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("serve");
        for (name, help, counter) in [
            ("requests", "Requests received", &self.requests),
            ("served", "Requests served whole", &self.served),
            ("served_bytes", "Bytes of groups and hashes sent", &self.served_bytes),
            ("busy", "Requests answered Busy", &self.busy),
            ("not_found", "Requests for what is not here", &self.not_found),
            ("cancelled", "Requests that their asker reset", &self.cancelled),
            ("stalled", "Transfers given up: the asker did not read", &self.stalled),
            ("malformed", "Lanes closed: the asker broke the rules", &self.malformed),
            ("store_failures", "Transfers broken off by our own store", &self.store_failures),
        ] {
            registry.register(name, help, counter.clone());
        }
        for (reason, counter) in &self.refused {
            let labels = [("reason".into(), format!("{reason:?}").into())].into_iter();
            registry.sub_registry_with_labels(labels).register("refused", "Requests refused", counter.clone());
        }
    }
}
