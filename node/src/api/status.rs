//! What the node says of itself: the body of `GET /api/status`.

use std::collections::BTreeMap;

use aftercast_protocol::duty::Capability;
use aftercast_protocol::ids::{ChannelId, DeviceId, RecordingId, SubscriberId};
use aftercast_protocol::manifest::Entry;
use aftercast_protocol::select::SelectStats;
use aftercast_protocol::time::UnixMillis;
use aftercast_protocol::wire::lane::LaneRefusal;
use serde::Serialize;

use super::Node;
use crate::clock::wall;
use crate::library::{Recording, RecordingCounts, RecordingState, ShareSetting};
use crate::recorder::TunerStatus;
use crate::serve::SentCounts;

/// The whole status.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Grows with every change; pass it as `wait_version` to wait for the next one.
    pub version: u64,
    /// This device.
    pub device: DeviceId,
    /// Its subscriber; none before it was enrolled.
    pub subscriber: Option<SubscriberId>,
    /// Its seed.
    pub seed: SeedStatus,
    /// How others reach it.
    pub reach: ReachStatus,
    /// Connected peers.
    pub peers: usize,
    /// Its line.
    pub uplink: UplinkStatus,
    /// Its store.
    pub store: StoreStatus,
    /// Its inputs, as far as they were received since the start.
    pub inputs: BTreeMap<ChannelId, TunerStatus>,
    /// Its recordings, in order of their beginning.
    pub recordings: Vec<RecordingStatus>,
    /// Requests of others that were refused, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Devices that were refused a connection because they lied.
    pub banned: u64,
    /// What repair of damaged chunks did since the start.
    pub repair: RepairStatus,
    /// What players got, per recording.
    pub playback: serde_json::Value,
    /// What was fetched for them.
    pub fetch: FetchStatus,
}

/// Fetching for players, in numbers.
#[derive(Debug, Serialize)]
pub struct FetchStatus {
    /// Chunks wanted by players; none once nobody watches.
    pub wanted: usize,
    /// Of those: not here.
    pub missing: usize,
    /// Counters of the scheduler.
    #[serde(flatten)]
    pub stats: SelectStats,
}

/// Repair in numbers.
#[derive(Debug, Serialize)]
pub struct RepairStatus {
    /// Damaged chunks made whole.
    pub chunks: u64,
    /// Bytes that this took from others.
    pub fetched_bytes: u64,
    /// Attempts that ended without the chunk.
    pub failed: u64,
}

/// How others reach this device.
#[derive(Debug, Serialize)]
pub struct ReachStatus {
    /// One word: `unknown`, `listening`, `public`, `mapped`, `hole_punching` or `seed_only`.
    pub how: &'static str,
    /// The same for people.
    pub words: &'static str,
    /// Where, as others are told.
    pub addrs: Vec<String>,
    /// Devices met at the seed's relay since the start, to punch a hole with.
    pub holes_tried: u64,
    /// Of those: reached directly then.
    pub holes_punched: u64,
    /// Of those: not reached.
    pub holes_failed: u64,
}

/// The connection to the seed.
#[derive(Debug, Serialize)]
pub struct SeedStatus {
    /// Its key; none where this device was never enrolled.
    pub device: Option<DeviceId>,
    /// Whether there is a connection.
    pub connected: bool,
    /// Why it does not talk to this device, if it said so.
    pub refused: Option<String>,
    /// Chunks that it ordered to be uploaded and does not have yet.
    pub uploads_due: usize,
    /// Chunks that it ordered to be kept.
    pub keeps: usize,
}

/// The line.
#[derive(Debug, Serialize)]
pub struct UplinkStatus {
    /// What the seed is told.
    pub capability: Capability,
    /// What the user said at run time.
    pub share: ShareSetting,
    /// Bytes that left since the start.
    pub sent: SentCounts,
    /// Bytes that left today (UTC).
    pub day_bytes: u64,
    /// Bytes that left this month (UTC).
    pub month_bytes: u64,
}

/// The store.
#[derive(Debug, Serialize)]
pub struct StoreStatus {
    /// Chunks in it, partial ones included.
    pub chunks: u64,
    /// Their bytes.
    pub chunk_bytes: u64,
    /// Most bytes of chunks.
    pub quota_bytes: Option<u64>,
    /// Bytes free on the disk.
    pub disk_free_bytes: Option<u64>,
    /// Confirmed chunks held for others.
    pub held: usize,
    /// Why it takes nothing any more.
    pub failure: Option<String>,
}

/// A recording.
#[derive(Debug, Serialize)]
pub struct RecordingStatus {
    /// Its id.
    pub id: RecordingId,
    /// Its channel.
    pub channel: ChannelId,
    /// Where it stands.
    pub state: RecordingState,
    /// From when, in milliseconds since 1970.
    pub from: UnixMillis,
    /// Until when.
    pub to: Option<UnixMillis>,
    /// What this device itself received of it.
    #[serde(flatten)]
    pub counts: RecordingCounts,
    /// What the seed says of it, as last heard.
    pub manifest: Option<ManifestStatus>,
}

/// A manifest in numbers.
#[derive(Debug, Serialize)]
pub struct ManifestStatus {
    /// Its revision.
    pub revision: u64,
    /// Whether nothing will be added.
    pub complete: bool,
    /// Chunks that can be played.
    pub chunks: usize,
    /// Of those: covered by the grant that this device holds, so that it may fetch them while the seed is away.
    pub granted: usize,
    /// Places without a chunk.
    pub gaps: usize,
}

impl Node {
    /// A recording's state.
    #[must_use]
    pub fn recording_status(&self, recording: &Recording) -> RecordingStatus {
        let manifest = self.library.manifest(recording.id).map(|manifest| {
            let chunks = manifest.entries.iter().filter(|entry| entry.cid().is_some()).count();
            let grant = self.seed.device().and_then(|seed| self.library.grant(recording.id, &seed));
            let spans = grant.filter(|grant| grant.expires > wall()).map_or(Vec::new(), |grant| grant.spans.clone());
            let granted = |entry: &&Entry| entry.cid().is_some() && spans.iter().any(|span| span.contains(entry.slot));
            ManifestStatus {
                revision: manifest.revision,
                complete: manifest.complete,
                chunks,
                granted: manifest.entries.iter().filter(granted).count(),
                gaps: manifest.entries.len() - chunks,
            }
        });
        RecordingStatus {
            id: recording.id,
            channel: recording.channel.clone(),
            state: recording.state(wall()),
            from: recording.from,
            to: recording.stopped.or(recording.to),
            counts: self.library.counts(recording.id),
            manifest,
        }
    }

    fn reach_status(&self) -> ReachStatus {
        let (reachability, metrics) = (self.net.reachability(), self.net.metrics());
        ReachStatus {
            how: reachability.name(),
            words: reachability.words(),
            addrs: self.net.addrs().iter().map(ToString::to_string).collect(),
            holes_tried: metrics.holes_tried.get(),
            holes_punched: metrics.holes_punched.get(),
            holes_failed: metrics.holes_failed.get(),
        }
    }

    /// The whole state.
    #[must_use]
    pub fn status(&self) -> Status {
        // Before everything else: what changes while we look has a later version.
        let version = *self.library.changes().borrow();
        let (playback, fetch) = (self.playback_status)();
        let duties = self.seed.duties();
        let (uploads_due, keeps) = duties.len();
        let room = self.library.store().usage();
        let usage = self.uplink.gate().usage();
        let served = self.uplink.gate().metrics();
        let refusals =
            LaneRefusal::ALL.into_iter().map(|reason| (snake(&format!("{reason:?}")), served.refused(reason)));
        let mut refused: BTreeMap<String, u64> = refusals.filter(|(_, count)| *count > 0).collect();
        for (reason, count) in [
            ("busy", served.busy.get()),
            ("not_found", served.not_found.get()),
            ("grant_not_genuine", self.peers.grants_refused.get()),
            ("have_over_limit", self.peers.haves_ignored.get()),
        ] {
            if count > 0 {
                refused.insert(reason.to_owned(), count);
            }
        }
        Status {
            version,
            device: self.net.device(),
            subscriber: self.seed.enrolment().and_then(|enrolment| enrolment.subscriber().cloned()),
            seed: SeedStatus {
                device: self.seed.device(),
                connected: self.seed.is_online(),
                refused: self.seed.refused().map(|reason| reason.to_string()),
                uploads_due,
                keeps,
            },
            reach: self.reach_status(),
            peers: self.peers.count(),
            uplink: UplinkStatus {
                capability: self.uplink.capability(&self.library, duties.backlog_bytes()),
                share: self.library.share(),
                sent: self.uplink.sent(),
                day_bytes: usage.day_bytes(),
                month_bytes: usage.month_bytes(),
            },
            store: StoreStatus {
                chunks: room.chunks,
                chunk_bytes: room.chunk_bytes,
                quota_bytes: room.quota,
                disk_free_bytes: room.disk_free,
                held: self.library.held(),
                failure: self.library.store().failure().map(str::to_owned),
            },
            inputs: self.recorder.status(),
            recordings: self.library.recordings().iter().map(|one| self.recording_status(one)).collect(),
            refused,
            banned: self.net.metrics().refused_banned.get(),
            repair: RepairStatus {
                chunks: self.repair.chunks.get(),
                fetched_bytes: self.repair.fetched_bytes.get(),
                failed: self.repair.failed.get(),
            },
            playback,
            fetch,
        }
    }
}

/// `NoGrant` as `no_grant`.
fn snake(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}
