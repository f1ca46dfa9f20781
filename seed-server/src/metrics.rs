//! Counters of the seed, for the status page and for Prometheus.

use std::collections::BTreeMap;

use aftercast_protocol::grant::AccessDenied;
use aftercast_protocol::wire::ctl::Refused;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

type ByReason = Family<Vec<(String, String)>, Counter>;

/// All counters; each counts from the program's start.
#[derive(Debug, Default)]
pub struct SeedMetrics {
    /// Frames that could not be read or were not for a seed.
    pub bad_frames: Counter,
    /// Frames that a slow node did not take.
    pub unsent_frames: Counter,
    /// Reports taken in.
    pub reports: Counter,
    /// Bytes pulled from nodes, repeats included.
    pub pulled_bytes: Counter,
    /// Bytes of chunks stored.
    pub unique_bytes: Counter,
    /// Uploads in which a node sent bytes that are not the chunk's.
    pub liars: Counter,
    /// Heads made, and their bytes.
    pub heads: Counter,
    /// Bytes of heads made.
    pub head_bytes: Counter,
    /// Bytes of archive renditions made.
    pub archive_bytes: Counter,
    /// Renditions that could not be made.
    pub failed_heads: Counter,
    /// Bytes served to players.
    pub served_bytes: Counter,
    refused: ByReason,
}

impl SeedMetrics {
    /// Names the counters for Prometheus.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("aftercast_seed");
        let mut counter = |name: &str, help: &str, counter: &Counter| registry.register(name, help, counter.clone());
        counter("bad_frames", "Control frames that were refused", &self.bad_frames);
        counter("unsent_frames", "Control frames that a slow node did not take", &self.unsent_frames);
        counter("reports", "Reports of recorders", &self.reports);
        counter("pulled_bytes", "Bytes pulled from nodes, repeats included", &self.pulled_bytes);
        counter("unique_bytes", "Bytes of chunks stored", &self.unique_bytes);
        counter("liars", "Uploads with wrong bytes", &self.liars);
        counter("heads", "Heads transcoded", &self.heads);
        counter("head_bytes", "Bytes of heads", &self.head_bytes);
        counter("archive_bytes", "Bytes of archive renditions", &self.archive_bytes);
        counter("failed_heads", "Renditions that could not be made", &self.failed_heads);
        counter("served_bytes", "Bytes served to players", &self.served_bytes);
        registry.register("refused", "Requests refused, by reason", self.refused.clone());
    }

    /// Counts a refused request.
    pub fn refuse(&self, reason: Refused) {
        self.count_refusal(&format!("{reason:?}"));
    }

    /// Counts a refused chunk.
    pub fn deny(&self, reason: AccessDenied) {
        self.count_refusal(&format!("{reason:?}"));
    }

    fn count_refusal(&self, reason: &str) {
        self.refused.get_or_create(&vec![("reason".to_owned(), reason.to_owned())]).inc();
    }

    /// Refusals so far, by reason.
    #[must_use]
    pub fn refusals(&self) -> BTreeMap<String, u64> {
        const REASONS: [&str; 13] = [
            "NotEnrolled",
            "Expired",
            "NoSuchChannel",
            "NoSuchRecording",
            "Version",
            "Limit",
            "BadRequest",
            "Internal",
            "BadCode",
            "NoGrant",
            "OtherDevice",
            "Revoked",
            "Forged",
        ];
        let count = |reason: &str| {
            let label = vec![("reason".to_owned(), reason.to_owned())];
            self.refused.get(&label).map(|counter| (reason.to_owned(), counter.get()))
        };
        REASONS.into_iter().filter_map(count).collect()
    }
}
