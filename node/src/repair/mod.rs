//! Repair in the background: a recording becomes better than its reception, for three per cent of its bytes.
//!
//! ```text
//! manifest names a chunk that is here in pieces --> Repairs (aftercast-protocol): which next, whose help
//!      unit index <-- source      own pieces --> units held --> ranges missing --> source
//!      all units --> written anew --> its hash is the chunk's id --> stored, announced, pieces dropped
//! ```
//!
//! Whole chunks that were never received are not fetched here: they are when somebody plays them.

mod job;

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use aftercast_net::exchange::LanePool;
use aftercast_protocol::ids::{ChunkCid, DeviceId, RecordingId};
use aftercast_protocol::limits::{MAX_REPAIRS, MAX_SAMPLED_PEERS};
use aftercast_protocol::select::{RepairAction, RepairFailure, Repairs, Source};
use aftercast_protocol::time::Mono;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::library::{Damaged, Library, blocking};
use crate::playback::{Reach, readable_addrs};
use job::{Failed, Job, Repaired};

/// How long changes of manifests are gathered before they are looked at.
const GATHER: Duration = Duration::from_millis(500);
/// How long the seed's word on who holds a recording is good for.
const SOURCES_AGE: Duration = Duration::from_secs(10);
/// Peers that are connected for a repair; one that helps is enough.
const MAX_CONNECTS: usize = 4;

/// Counters.
#[derive(Debug, Clone, Default)]
pub struct RepairCounters {
    /// Chunks made whole.
    pub chunks: Counter,
    /// Bytes that this took from others, unit indexes included.
    pub fetched_bytes: Counter,
    /// Attempts that ended without the chunk.
    pub failed: Counter,
}

impl RepairCounters {
    /// Adds all of them to a registry, under the prefix `repair`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("repair");
        for (name, help, counter) in [
            ("chunks", "Damaged chunks made whole", &self.chunks),
            ("fetched_bytes", "Bytes fetched for that", &self.fetched_bytes),
            ("failed", "Attempts that ended without the chunk", &self.failed),
        ] {
            registry.register(name, help, counter.clone());
        }
    }
}

/// Repairs what a device has in pieces.
pub struct Repairer {
    library: Arc<Library>,
    reach: Arc<dyn Reach>,
    lanes: LanePool,
    counters: RepairCounters,
    began: Instant,
    repairs: Repairs,
    /// What is to be repaired.
    damaged: BTreeMap<ChunkCid, Damaged>,
    /// Chunks of which too little is here.
    left: BTreeSet<ChunkCid>,
    /// What was looked at: the manifest's revision, and how much of the channel had been received.
    seen: BTreeMap<RecordingId, (u64, u64)>,
    /// When the seed was last asked who holds a recording.
    asked: BTreeMap<RecordingId, Instant>,
    attempts: JoinSet<(ChunkCid, Source, Result<u64, Failed>)>,
    searches: JoinSet<(ChunkCid, Vec<Source>)>,
}

impl Repairer {
    /// Repairs with the help of whoever can be reached.
    #[must_use]
    pub fn new(library: Arc<Library>, reach: Arc<dyn Reach>, lanes: LanePool, counters: RepairCounters) -> Self {
        Self {
            library,
            reach,
            lanes,
            counters,
            began: Instant::now(),
            repairs: Repairs::default(),
            damaged: BTreeMap::new(),
            left: BTreeSet::new(),
            seen: BTreeMap::new(),
            asked: BTreeMap::new(),
            attempts: JoinSet::new(),
            searches: JoinSet::new(),
        }
    }

    /// Runs until dropped.
    pub async fn run(mut self) {
        let mut changes = self.library.changes();
        let mut look_at = Some(Instant::now());
        loop {
            if look_at.is_some_and(|at| at <= Instant::now()) {
                look_at = None;
                changes.mark_unchanged();
                self.look();
            }
            self.act();
            let due = self.repairs.poll_timeout(self.now()).map(|at| self.began + Duration::from_micros(at.0));
            tokio::select! {
                changed = changes.changed(), if look_at.is_none() => match changed {
                    Ok(()) => look_at = Some(Instant::now() + GATHER),
                    Err(_) => return,
                },
                () = until(look_at) => {}
                () = until(due) => self.repairs.handle_timeout(self.now()),
                Some(Ok((cid, source, outcome))) = self.attempts.join_next() => self.attempted(cid, source, outcome),
                Some(Ok((cid, sources))) = self.searches.join_next() => {
                    self.repairs.handle_holders(self.now(), &cid, &sources);
                }
            }
        }
    }

    fn now(&self) -> Mono {
        Mono(u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// Looks what manifests name that is here in pieces.
    fn look(&mut self) {
        let now = self.now();
        let recordings = self.library.recordings();
        let known = |id: &RecordingId| recordings.iter().any(|recording| recording.id == *id);
        self.seen.retain(|id, _| known(id));
        self.asked.retain(|id, _| known(id));
        for recording in &recordings {
            let id = recording.id;
            let Some(revision) = self.library.manifest(id).map(|manifest| manifest.revision) else { continue };
            // Others may have been faster: the manifest names a chunk before our own reception of it is here.
            let seen = (revision, self.library.received(&recording.channel));
            if self.seen.insert(id, seen) == Some(seen) {
                continue;
            }
            for damaged in blocking(|| self.library.damaged(id)) {
                if !self.left.contains(&damaged.cid) {
                    self.repairs.handle_damaged(now, damaged.cid, damaged.utc);
                    self.damaged.insert(damaged.cid, damaged);
                }
            }
        }
        // The scheduler forgets the oldest where they are too many.
        let repairs = &self.repairs;
        self.damaged.retain(|cid, _| repairs.is_wanted(cid));
    }

    fn act(&mut self) {
        while let Some(action) = self.repairs.poll_action() {
            match action {
                RepairAction::Repair { cid, source } => self.attempt(cid, source),
                RepairAction::Search { cid } => self.search(cid),
            }
        }
    }

    fn attempt(&mut self, cid: ChunkCid, source: Source) {
        let Some(damaged) = self.damaged.get(&cid).cloned() else { return self.forget(&cid) };
        if self.library.store().is_complete(cid) || self.library.recording(damaged.recording).is_none() {
            return self.forget(&cid);
        }
        let seed = self.reach.seed();
        let profile = seed.and_then(|seed| self.library.profile(damaged.recording, &seed));
        let device = match source {
            Source::Peer(device) => Some(device),
            Source::Seed => seed,
        };
        let (Some(profile), Some(device)) = (profile, device) else {
            return self.repairs.handle_failed(self.now(), &cid, RepairFailure::Local);
        };
        let (library, lanes) = (Arc::clone(&self.library), self.lanes.clone());
        self.attempts.spawn(async move {
            let job = Job { store: library.store().clone(), lanes, damaged: damaged.clone(), profile, device };
            (cid, source, finish(&library, damaged, job.run().await).await)
        });
    }

    fn attempted(&mut self, cid: ChunkCid, source: Source, outcome: Result<u64, Failed>) {
        let failed = match outcome {
            Ok(fetched) => {
                self.counters.chunks.inc();
                self.counters.fetched_bytes.inc_by(fetched);
                tracing::debug!(%cid, ?source, fetched, "a damaged chunk was repaired");
                self.library.touch();
                return self.forget(&cid);
            }
            Err(failed) => failed,
        };
        tracing::debug!(%cid, ?source, error = %failed, "a damaged chunk was not repaired");
        if let (Some(lie), Source::Peer(device)) = (failed.lie(), source) {
            self.reach.ban(device, lie);
        }
        match failed.failure() {
            Some(failure) => {
                self.counters.failed.inc();
                self.repairs.handle_failed(self.now(), &cid, failure);
            }
            None => {
                self.left.insert(cid);
                if self.left.len() > MAX_REPAIRS {
                    self.left.pop_first();
                }
                self.forget(&cid);
            }
        }
    }

    fn forget(&mut self, cid: &ChunkCid) {
        self.damaged.remove(cid);
        self.repairs.handle_gone(self.now(), cid);
    }

    /// Names who is connected and holds a chunk; where only the seed does, connects peers that it names.
    fn search(&mut self, cid: ChunkCid) {
        let Some(damaged) = self.damaged.get(&cid) else { return self.forget(&cid) };
        let reachable = |device: &DeviceId| self.reach.path(*device).is_some();
        let peers: Vec<Source> = self
            .reach
            .holders(&damaged.channel, damaged.slot)
            .into_iter()
            .filter(reachable)
            .map(Source::Peer)
            .collect();
        let seed = self.reach.seed().filter(reachable).map(|_| Source::Seed);
        let (found, recording, slot) = (!peers.is_empty(), damaged.recording, damaged.slot);
        let sources: Vec<Source> = peers.into_iter().chain(seed).collect();
        self.repairs.handle_holders(self.now(), &cid, &sources);
        // One answer of the seed serves all chunks of a recording: those it connects tell what they hold.
        let fresh = self.asked.get(&recording).is_some_and(|at| at.elapsed() < SOURCES_AGE);
        if found || fresh || seed.is_none() {
            return;
        }
        self.asked.insert(recording, Instant::now());
        let reach = Arc::clone(&self.reach);
        self.searches.spawn(async move {
            let named = reach.find_sources(recording, slot).await.unwrap_or_default();
            let mut connected = Vec::new();
            for source in named.into_iter().take(MAX_SAMPLED_PEERS) {
                let holds = source.spans.iter().any(|span| span.contains(slot));
                let device = source.peer.device;
                if holds && reach.connect(device, readable_addrs(&source.peer.addrs)).await {
                    connected.push(Source::Peer(device));
                }
                if connected.len() == MAX_CONNECTS {
                    break;
                }
            }
            (cid, connected)
        });
    }
}

/// Keeps what came of an attempt; gives the bytes that it took.
async fn finish(library: &Arc<Library>, damaged: Damaged, outcome: Result<Repaired, Failed>) -> Result<u64, Failed> {
    let Repaired { bytes, hashes, fetched } = outcome?;
    let library = Arc::clone(library);
    let stored = tokio::task::spawn_blocking(move || library.repaired(&damaged, &bytes, &hashes)).await;
    let stored = stored.map_err(|e| Failed::Local(e.to_string()))?;
    stored.map(|()| fetched).map_err(|e| Failed::Local(e.to_string()))
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}
