//! Serving: one lane's requests, one after another, in turns that the gate gives.

use std::io;
use std::sync::Arc;

use aftercast_protocol::ids::{ChunkCid, DeviceId, GroupIndex, RequestId};
use aftercast_protocol::limits::{LANE_IDLE, LANE_STALL, LANE_TURN, MAX_ANSWER_RANGES, MAX_LANE_REQUEST_BYTES};
use aftercast_protocol::serve::{Class, Refusal};
use aftercast_protocol::time::Micros;
use aftercast_protocol::verify::{GroupHashes, GroupRange, GroupSet};
use aftercast_protocol::wire::lane::{Described, LaneAnswer, LaneRefusal, LaneRequest, LaneStatus};
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use super::gate::{ServeGate, Ticket};
use super::{duration, read_header};
use crate::lane::Lane;

/// What Busy says when a request's turn did not come in time.
const RETRY_LATE: Micros = Micros::from_secs(2);

/// What serving needs of the program: grants and a store. All calls may block; they run on threads for that.
pub trait ChunkProvider: Send + Sync + 'static {
    /// Whether the device may have the chunk for this purpose.
    ///
    /// # Errors
    /// Why not.
    fn authorise(&self, device: DeviceId, cid: &ChunkCid, class: Class) -> Result<(), LaneRefusal>;

    /// What is held of the chunk; none where it is unknown.
    fn describe(&self, cid: &ChunkCid) -> Option<Description>;

    /// One group's bytes; none where it is not held (any more).
    ///
    /// # Errors
    /// When the store fails.
    fn read_group(&self, cid: &ChunkCid, index: GroupIndex) -> io::Result<Option<Bytes>>;

    /// Whether the device is at home: of the same subscriber, on the local network. The user's limits do not hold
    /// for it.
    fn home(&self, device: DeviceId) -> bool {
        let _ = device;
        false
    }
}

/// What is held of a chunk.
#[derive(Debug, Clone)]
pub struct Description {
    /// The proven list of group hashes.
    pub hashes: GroupHashes,
    /// The groups held.
    pub have: GroupSet,
}

/// Why a lane's service ended early.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the asker broke the rules: {0}")]
    Malformed(String),
    #[error("the asker reset the lane: {0}")]
    Cancelled(io::Error),
    #[error("the asker does not read")]
    Stalled,
    #[error("what the user allows has changed: {0}")]
    Withdrawn(Refusal),
    #[error("the store failed: {0}")]
    Store(io::Error),
}

/// Serves a lane until its asker closes it, breaks the rules, or rests for `limits::LANE_IDLE`. Meant for a task of
/// its own; dropping the future resets the lane.
pub async fn serve_lane(lane: Lane, provider: Arc<dyn ChunkProvider>, gate: ServeGate) {
    let device = lane.device();
    let mut server = Server { lane, device, provider, gate };
    match server.run().await {
        Ok(()) => {}
        Err(ended) => {
            let metrics = server.gate.metrics();
            match &ended {
                Ended::Malformed(_) => metrics.malformed.inc(),
                Ended::Cancelled(_) => metrics.cancelled.inc(),
                Ended::Stalled => metrics.stalled.inc(),
                Ended::Withdrawn(_) => metrics.cancelled.inc(),
                Ended::Store(_) => metrics.store_failures.inc(),
            };
            tracing::debug!(%device, error = %ended, "lane ended");
        }
    }
}

struct Server {
    lane: Lane,
    device: DeviceId,
    provider: Arc<dyn ChunkProvider>,
    gate: ServeGate,
}

/// A request that will be served.
struct Order {
    request: LaneRequest,
    hashes: GroupHashes,
    ranges: Vec<GroupRange>,
    partial: bool,
    /// Whether the asker is at home.
    home: bool,
}

impl Server {
    async fn run(&mut self) -> Result<(), Ended> {
        loop {
            let next = timeout(duration(LANE_IDLE), read_header(&mut self.lane, MAX_LANE_REQUEST_BYTES)).await;
            let header = match next {
                // At rest for long, closed, or gone with its connection: nothing is lost.
                Err(_) | Ok(Ok(None)) => return Ok(()),
                Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                    return Err(Ended::Malformed(error.to_string()));
                }
                Ok(Err(_)) => return Ok(()),
                Ok(Ok(Some(header))) => header,
            };
            self.gate.metrics().requests.inc();
            let request = LaneRequest::from_header(&header).map_err(|e| Ended::Malformed(e.to_string()))?;
            match self.look_up(request).await? {
                Ok(order) => self.serve(order).await?,
                Err(status) => self.answer(request.id, status).await?,
            }
        }
    }

    /// What can be served of a request, or the answer that says why nothing.
    async fn look_up(&mut self, request: LaneRequest) -> Result<Result<Order, LaneStatus>, Ended> {
        let (provider, device) = (Arc::clone(&self.provider), self.device);
        let found = spawn_blocking(move || {
            provider.authorise(device, &request.cid, request.class)?;
            Ok((provider.describe(&request.cid), provider.home(device)))
        });
        let (description, home) = match found.await.map_err(|e| Ended::Store(io::Error::other(e)))? {
            Err(reason) => return Ok(Err(LaneStatus::Refused(reason))),
            Ok((None, _)) => return Ok(Err(LaneStatus::NotFound)),
            Ok((Some(description), home)) => (description, home),
        };
        let Description { hashes, have } = description;
        let asked = GroupRange::new(request.groups.start, request.groups.end.min(hashes.groups()));
        if asked.is_empty() {
            return Ok(Err(LaneStatus::Refused(LaneRefusal::Malformed)));
        }
        let cut = |held: GroupRange| GroupRange::new(held.start.max(asked.start), held.end.min(asked.end));
        let held = have.held().into_iter().map(cut).filter(|range| !range.is_empty());
        let ranges: Vec<_> = held.take(MAX_ANSWER_RANGES).collect();
        if ranges.is_empty() {
            return Ok(Err(LaneStatus::NotFound));
        }
        let partial = ranges != [asked];
        Ok(Ok(Order { request, hashes, ranges, partial, home }))
    }

    async fn serve(&mut self, order: Order) -> Result<(), Ended> {
        let Order { request, hashes, ranges, partial, home } = order;
        let list = request.want_hashes.then(|| hashes.as_bytes().to_vec());
        let list_bytes = list.as_ref().map_or(0, Vec::len) as u64;
        let groups: Vec<_> = ranges.iter().flat_map(|range| range.iter()).collect();
        let bytes = groups.iter().map(|index| hashes.group_len(*index) as u64).sum::<u64>() + list_bytes;
        let mut ticket = match self.gate.request(self.device, request.class, bytes, home) {
            Ok(ticket) => ticket,
            Err(refusal) => return self.answer(request.id, refusal.into()).await,
        };
        // The header waits for the first turn, so that a refusal can still be said.
        let patience = duration(LANE_TURN.min(Micros::from_millis(u64::from(request.deadline_ms))));
        let mut credit = match timeout(patience, self.turn(&mut ticket)).await {
            Ok(Ok(credit)) => credit,
            Ok(Err(Ended::Withdrawn(refusal))) => return self.answer(request.id, refusal.into()).await,
            Ok(Err(ended)) => return Err(ended),
            Err(_) => {
                drop(ticket);
                return self.answer(request.id, Refusal::Busy { retry_after: RETRY_LATE }.into()).await;
            }
        };
        let described = Described { len: hashes.len_bytes(), hashes: list };
        let status = if partial { LaneStatus::Partial(described, ranges) } else { LaneStatus::Ok(described) };
        self.answer(request.id, status).await?;
        // A list longer than a turn is on its way before the turns for the rest of it: 32 KiB at most.
        let mut owed = list_bytes;
        let mut next = groups.first().map(|index| self.read(request.cid, *index));
        for at in 0..groups.len() {
            let Some(reading) = next.take() else { break };
            let group = read_done(reading).await?;
            next = groups.get(at + 1).map(|index| self.read(request.cid, *index));
            owed += group.len() as u64;
            while credit < owed {
                credit += self.turn(&mut ticket).await?;
            }
            self.write(&group).await?;
            ticket.sent(owed);
            credit -= owed;
            owed = 0;
        }
        self.flush().await?;
        self.gate.metrics().served.inc();
        Ok(())
    }

    /// The next turn. An asker that closes the lane meanwhile cancels; one that says more breaks the rules.
    async fn turn(&mut self, ticket: &mut Ticket) -> Result<u64, Ended> {
        tokio::select! {
            turn = ticket.turn() => turn.map_err(Ended::Withdrawn),
            read = self.lane.read_u8() => Err(match read {
                Ok(_) => Ended::Malformed("a request before the last one was answered".to_owned()),
                Err(error) => Ended::Cancelled(error),
            }),
        }
    }

    fn read(&self, cid: ChunkCid, index: GroupIndex) -> JoinHandle<io::Result<Option<Bytes>>> {
        let provider = Arc::clone(&self.provider);
        spawn_blocking(move || provider.read_group(&cid, index))
    }

    async fn answer(&mut self, id: RequestId, status: LaneStatus) -> Result<(), Ended> {
        let metrics = self.gate.metrics();
        match &status {
            LaneStatus::NotFound => _ = metrics.not_found.inc(),
            LaneStatus::Refused(reason) => metrics.count_refusal(*reason),
            LaneStatus::Busy { .. } => _ = metrics.busy.inc(),
            LaneStatus::Ok(_) | LaneStatus::Partial(..) => {}
        }
        let frame = LaneAnswer { id, status }.to_frame().map_err(|e| Ended::Store(io::Error::other(e)))?;
        self.write(&frame).await?;
        self.flush().await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        let written = timeout(duration(LANE_STALL), self.lane.write_all(bytes)).await;
        written.map_err(|_| Ended::Stalled)?.map_err(Ended::Cancelled)
    }

    async fn flush(&mut self) -> Result<(), Ended> {
        timeout(duration(LANE_STALL), self.lane.flush()).await.map_err(|_| Ended::Stalled)?.map_err(Ended::Cancelled)
    }
}

async fn read_done(reading: JoinHandle<io::Result<Option<Bytes>>>) -> Result<Bytes, Ended> {
    let group = reading.await.map_err(io::Error::other).flatten().map_err(Ended::Store)?;
    group.ok_or_else(|| Ended::Store(io::Error::new(io::ErrorKind::NotFound, "a group was evicted meanwhile")))
}
