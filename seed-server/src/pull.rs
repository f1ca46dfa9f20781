//! Pulling ordered chunks from their uploaders into the store.
//!
//! The seed pulls, nodes do not push: what is in flight is counted by construction, a transfer that ended early is
//! resumed with the groups that are missing, from the same node or from its stand-in. Every group was checked against
//! the chunk's hashes on the lane, and is checked by the store again before it counts.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use aftercast_net::Net;
use aftercast_net::exchange::{FetchError, LanePool, Wanted};
use aftercast_protocol::duty::FailReason;
use aftercast_protocol::ids::{ChunkCid, DeviceId};
use aftercast_protocol::serve::Class;
use aftercast_protocol::time::Micros;
use aftercast_protocol::verify::{GroupRange, groups_of_len};
use aftercast_store::{Protection, Store};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use crate::desk::Input;

/// An order to the puller.
#[derive(Debug, Clone)]
pub enum PullJob {
    /// Pull what is missing of a chunk from a node.
    Start {
        /// The chunk.
        cid: ChunkCid,
        /// Its length in bytes, as decided.
        bytes: u64,
        /// Who has it.
        from: DeviceId,
        /// For how long the order stands.
        within: Micros,
    },
    /// Stop pulling it from this node: a stand-in takes over.
    Abandon {
        /// The chunk.
        cid: ChunkCid,
        /// Who was too slow.
        from: DeviceId,
    },
}

/// What came of an order.
#[derive(Debug)]
pub struct PullEvent {
    /// The chunk.
    pub cid: ChunkCid,
    /// The node.
    pub from: DeviceId,
    /// What happened.
    pub outcome: PullOutcome,
}

/// What happened to a pull.
#[derive(Debug)]
pub enum PullOutcome {
    /// Verified bytes arrived.
    Progress {
        /// How many.
        bytes: u64,
        /// In which time since the last.
        took: Micros,
    },
    /// It ended without the whole chunk.
    Failed {
        /// Why, in words.
        reason: String,
        /// What duties hold against the node.
        fault: FailReason,
    },
    /// The whole chunk is stored, synced.
    Stored,
}

/// How long a busy node is left alone at most before it is asked again, within the order's time.
const LONGEST_BUSY_WAIT: Duration = Duration::from_secs(2);

/// Carries out orders until the desk is gone.
pub async fn work(net: Net, store: Store, mut jobs: mpsc::Receiver<PullJob>, desk: mpsc::Sender<Input>) {
    let pool = LanePool::new(net, 2);
    let mut running: BTreeMap<(ChunkCid, DeviceId), AbortHandle> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            job = jobs.recv() => match job {
                Some(PullJob::Start { cid, bytes, from, within }) => {
                    let puller = Puller { pool: pool.clone(), store: store.clone(), desk: desk.clone(), cid, bytes, from };
                    if let Some(old) = running.insert((cid, from), tasks.spawn(puller.run(within))) {
                        old.abort();
                    }
                }
                // Dropping the transfer resets its lane; groups that arrived stay.
                Some(PullJob::Abandon { cid, from }) => {
                    if let Some(task) = running.remove(&(cid, from)) {
                        task.abort();
                    }
                }
                None => return,
            },
            Some(_) = tasks.join_next() => running.retain(|_, task| !task.is_finished()),
        }
    }
}

struct Puller {
    pool: LanePool,
    store: Store,
    desk: mpsc::Sender<Input>,
    cid: ChunkCid,
    bytes: u64,
    from: DeviceId,
}

impl Puller {
    async fn run(self, within: Micros) {
        let span = Duration::from_micros(within.0);
        let outcome = match tokio::time::timeout(span, self.pull(Instant::now() + span)).await {
            Ok(Ok(())) => PullOutcome::Stored,
            Ok(Err(Failure { reason, fault })) => PullOutcome::Failed { reason, fault },
            Err(_) => {
                PullOutcome::Failed { reason: "not done within the order's time".into(), fault: FailReason::Broken }
            }
        };
        self.tell(outcome).await;
    }

    async fn tell(&self, outcome: PullOutcome) {
        let event = PullEvent { cid: self.cid, from: self.from, outcome };
        // A desk that is gone means that the process is ending.
        let _ = self.desk.send(Input::Pull(event)).await;
    }

    async fn pull(&self, until: Instant) -> Result<(), Failure> {
        while let Some(groups) = self.missing().await? {
            match self.pull_range(groups, until).await {
                Ok(()) => {}
                Err(Stopped::Busy(wait)) => tokio::time::sleep(wait.min(LONGEST_BUSY_WAIT)).await,
                Err(Stopped::Failed(failure)) => return Err(failure),
            }
        }
        Ok(())
    }

    /// The first stretch of groups that the store lacks; none once the chunk is whole.
    async fn missing(&self) -> Result<Option<GroupRange>, Failure> {
        let (store, cid) = (self.store.clone(), self.cid);
        let held = blocking(move || Ok((store.is_complete(cid), store.have(cid)))).await?;
        Ok(match held {
            (true, _) => None,
            (false, Some(have)) => have.missing().into_iter().next(),
            // A request beyond what any chunk has is refused as malformed.
            (false, None) => Some(GroupRange::new(0, groups_of_len(self.bytes).unwrap_or(1))),
        })
    }

    async fn pull_range(&self, groups: GroupRange, until: Instant) -> Result<(), Stopped> {
        let (store, cid) = (self.store.clone(), self.cid);
        let known = blocking(move || store.hashes(cid).map_err(|e| Failure::of(&e))).await?;
        let begun = known.is_some();
        let left = until.saturating_duration_since(Instant::now()).as_micros();
        let wanted = Wanted {
            cid,
            groups,
            class: Class::Upload,
            deadline: Micros(u64::try_from(left).unwrap_or(u64::MAX)),
            len: Some(self.bytes),
            hashes: known,
        };
        let mut transfer = self.pool.fetch(self.from, &wanted).await?;
        if !begun {
            let (store, hashes) = (self.store.clone(), transfer.hashes().clone());
            blocking(move || {
                store.begin_partial(cid, &hashes, &[]).map_err(|e| Failure::of(&e))?;
                // The broadcaster's own copy: never evicted to make room.
                store
                    .set_protection(cid, Protection::Pinned, aftercast_store::Durability::Buffered)
                    .map_err(|e| Failure::of(&e))
            })
            .await?;
        }
        let mut last = Instant::now();
        while let Some(group) = transfer.next().await {
            let (index, bytes) = group?;
            let (store, len) = (self.store.clone(), bytes.len() as u64);
            blocking(move || store.put_group(cid, index, &bytes).map_err(|e| Failure::of(&e))).await?;
            let took = Micros(u64::try_from(last.elapsed().as_micros()).unwrap_or(u64::MAX));
            last = Instant::now();
            self.tell(PullOutcome::Progress { bytes: len, took }).await;
        }
        Ok(())
    }
}

struct Failure {
    reason: String,
    fault: FailReason,
}

impl Failure {
    /// The transfer or our own disk broke; nobody can be blamed beyond that.
    fn of(error: &dyn std::error::Error) -> Self {
        Self { reason: error.to_string(), fault: FailReason::Broken }
    }
}

enum Stopped {
    Busy(Duration),
    Failed(Failure),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<FetchError> for Stopped {
    fn from(error: FetchError) -> Self {
        let fault = match &error {
            FetchError::Busy { retry_after } => return Self::Busy(Duration::from_micros(retry_after.0)),
            FetchError::Lie { proven: true, .. } => FailReason::Lied,
            FetchError::NotFound => FailReason::NotFound,
            // A metered line, a paused share, a budget used up: the owner's right.
            FetchError::Refused(_) => FailReason::Busy,
            FetchError::Lie { proven: false, .. }
            | FetchError::Broken(_)
            | FetchError::NoLane(_)
            | FetchError::Unreachable(_)
            | FetchError::Timeout => FailReason::Broken,
        };
        Self::Failed(Failure { reason: error.to_string(), fault })
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Failure::of(&e))?
}
