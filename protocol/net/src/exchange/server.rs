//! Serving: one lane's requests, one after another, in turns that the gate gives.

use std::io;
use std::sync::Arc;

use aftercast_protocol::ids::{ChunkCid, DeviceId, GroupIndex, RequestId};
use aftercast_protocol::limits::{
    GROUP_BYTES, LANE_IDLE, LANE_STALL, LANE_TURN, MAX_ANSWER_RANGES, MAX_LANE_REQUEST_BYTES,
};
use aftercast_protocol::serve::{Class, Refusal};
use aftercast_protocol::time::Micros;
use aftercast_protocol::verify::{GroupHashes, GroupRange, GroupSet};
use aftercast_protocol::wire::lane::{
    ByteRange, Described, LaneAnswer, LaneRefusal, LaneRequest, LaneStatus, Part, What,
};
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use super::gate::{ServeGate, Ticket};
use super::indexes::NoIndex;
use super::{duration, read_header};
use crate::lane::Lane;

/// Groups read at once: a change of threads for each would cost as much as sending it. Two such lots are in memory for
/// each lane that sends, 32 MiB for 64 slow readers.
const LOT: usize = 4;
/// What Busy says when a request's turn did not come in time.
const RETRY_LATE: Micros = Micros::from_secs(2);

/// What serving needs of the program: grants and a store. All calls may block; they run on threads for that.
pub trait ChunkProvider: Send + Sync + 'static {
    /// Whether the device may have the chunk for this purpose.
    ///
    /// # Errors
    /// Why not.
    fn authorise(&self, device: DeviceId, cid: &ChunkCid, class: Class) -> Result<(), LaneRefusal>;

    /// What this device may know to be held of the chunk; none where that is nothing.
    fn describe(&self, device: DeviceId, cid: &ChunkCid) -> Option<Description>;

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

/// Groups that will be served.
struct Order {
    want_hashes: bool,
    hashes: GroupHashes,
    ranges: Vec<GroupRange>,
    partial: bool,
}

/// Bytes that are on their way in turns.
struct Sending {
    ticket: Ticket,
    /// Bytes that may be sent now.
    credit: u64,
    /// Bytes sent before their turn: at most what an answer's header holds.
    owed: u64,
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
            self.take(request).await?;
        }
    }

    async fn take(&mut self, request: LaneRequest) -> Result<(), Ended> {
        let (provider, device) = (Arc::clone(&self.provider), self.device);
        let (cid, class) = (request.cid, request.class);
        let found = spawn_blocking(move || {
            provider.authorise(device, &cid, class)?;
            Ok((provider.describe(device, &cid), provider.home(device)))
        });
        let (description, home) = match found.await.map_err(|e| Ended::Store(io::Error::other(e)))? {
            Err(reason) => return self.answer(request.id, LaneStatus::Refused(reason)).await,
            Ok((None, _)) => return self.answer(request.id, LaneStatus::NotFound).await,
            Ok((Some(description), home)) => (description, home),
        };
        match &request.what {
            What::Groups { range, want_hashes } => match order(*range, *want_hashes, description) {
                Ok(order) => self.serve_groups(&request, order, home).await,
                Err(status) => self.answer(request.id, status).await,
            },
            What::Part(Part::Index(from)) => {
                let indexes = self.gate.clone();
                match indexes.indexes().get(&self.provider, request.cid, *from, &description).await {
                    Ok(index) => self.serve_index(&request, &index, home).await,
                    Err(NoIndex::NotFound) => self.answer(request.id, LaneStatus::NotFound).await,
                    Err(NoIndex::Busy) => self.answer(request.id, busy()).await,
                    Err(NoIndex::Store(error)) => Err(Ended::Store(error)),
                }
            }
            What::Part(Part::Bytes(ranges)) => match held(ranges, &description) {
                Ok(()) => self.serve_ranges(&request, ranges, home).await,
                Err(status) => self.answer(request.id, status).await,
            },
        }
    }

    async fn serve_groups(&mut self, request: &LaneRequest, order: Order, home: bool) -> Result<(), Ended> {
        let Order { want_hashes, hashes, ranges, partial } = order;
        let list = want_hashes.then(|| hashes.as_bytes().to_vec());
        let list_bytes = list.as_ref().map_or(0, Vec::len) as u64;
        let groups: Vec<_> = ranges.iter().flat_map(|range| range.iter()).collect();
        let bytes = groups.iter().map(|index| hashes.group_len(*index) as u64).sum::<u64>() + list_bytes;
        let Some(mut sending) = self.admit(request, bytes, home).await? else { return Ok(()) };
        let described = Described { len: hashes.len_bytes(), hashes: list };
        let status = if partial { LaneStatus::Partial(described, ranges) } else { LaneStatus::Ok(described) };
        self.answer(request.id, status).await?;
        // A list longer than a turn is on its way before the turns for the rest of it: 32 KiB at most.
        sending.owed = list_bytes;
        let mut lots = groups.chunks(LOT);
        let mut next = lots.next().map(|lot| self.read(request.cid, lot));
        while let Some(reading) = next.take() {
            let lot = read_done(reading).await?;
            next = lots.next().map(|lot| self.read(request.cid, lot));
            for group in lot {
                self.send(&mut sending, &group).await?;
            }
        }
        self.done().await
    }

    async fn serve_index(&mut self, request: &LaneRequest, index: &[u8], home: bool) -> Result<(), Ended> {
        let Some(mut sending) = self.admit(request, index.len() as u64, home).await? else { return Ok(()) };
        self.answer(request.id, LaneStatus::Part { len: index.len() as u32 }).await?;
        for piece in index.chunks(GROUP_BYTES) {
            self.send(&mut sending, piece).await?;
        }
        self.done().await
    }

    async fn serve_ranges(&mut self, request: &LaneRequest, ranges: &[ByteRange], home: bool) -> Result<(), Ended> {
        let len: u32 = ranges.iter().map(|range| range.len()).sum();
        let Some(mut sending) = self.admit(request, u64::from(len), home).await? else { return Ok(()) };
        self.answer(request.id, LaneStatus::Part { len }).await?;
        let mut piece = Vec::with_capacity(GROUP_BYTES.min(len as usize));
        let mut last: Option<(u32, Bytes)> = None;
        for range in ranges {
            let mut at = range.start;
            while at < range.end {
                let index = at / GROUP_BYTES as u32;
                let group = match last.take().filter(|(known, _)| *known == index) {
                    Some((_, group)) => group,
                    None => first(read_done(self.read(request.cid, &[GroupIndex(index)])).await?)?,
                };
                let begins = index * GROUP_BYTES as u32;
                let (from, to) = (at - begins, (range.end - begins).min(group.len() as u32));
                piece.extend_from_slice(group.get(from as usize..to as usize).unwrap_or_default());
                last = Some((index, group));
                at = begins + to.max(from + 1);
                if piece.len() >= GROUP_BYTES {
                    self.send(&mut sending, &piece).await?;
                    piece.clear();
                }
            }
        }
        self.send(&mut sending, &piece).await?;
        self.done().await
    }

    /// Waits for the first turn; the header waits with it, so that a refusal can still be said. None where one was.
    async fn admit(&mut self, request: &LaneRequest, bytes: u64, home: bool) -> Result<Option<Sending>, Ended> {
        let mut ticket = match self.gate.request(self.device, request.class, bytes, home) {
            Ok(ticket) => ticket,
            Err(refusal) => return self.answer(request.id, refusal.into()).await.map(|()| None),
        };
        let patience = duration(LANE_TURN.min(Micros::from_millis(u64::from(request.deadline_ms))));
        match timeout(patience, self.turn(&mut ticket)).await {
            Ok(Ok(credit)) => Ok(Some(Sending { ticket, credit, owed: 0 })),
            Ok(Err(Ended::Withdrawn(refusal))) => self.answer(request.id, refusal.into()).await.map(|()| None),
            Ok(Err(ended)) => Err(ended),
            Err(_) => {
                drop(ticket);
                self.answer(request.id, busy()).await.map(|()| None)
            }
        }
    }

    /// Sends bytes when their turn has come.
    async fn send(&mut self, sending: &mut Sending, bytes: &[u8]) -> Result<(), Ended> {
        sending.owed += bytes.len() as u64;
        while sending.credit < sending.owed {
            sending.credit += self.turn(&mut sending.ticket).await?;
        }
        self.write(bytes).await?;
        sending.ticket.sent(sending.owed);
        sending.credit -= sending.owed;
        sending.owed = 0;
        Ok(())
    }

    async fn done(&mut self) -> Result<(), Ended> {
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

    fn read(&self, cid: ChunkCid, lot: &[GroupIndex]) -> JoinHandle<io::Result<Vec<Bytes>>> {
        let (provider, lot) = (Arc::clone(&self.provider), lot.to_vec());
        spawn_blocking(move || {
            let gone = || io::Error::new(io::ErrorKind::NotFound, "a group was evicted meanwhile");
            lot.iter().map(|index| provider.read_group(&cid, *index)?.ok_or_else(gone)).collect()
        })
    }

    async fn answer(&mut self, id: RequestId, status: LaneStatus) -> Result<(), Ended> {
        let metrics = self.gate.metrics();
        match &status {
            LaneStatus::NotFound => _ = metrics.not_found.inc(),
            LaneStatus::Refused(reason) => metrics.count_refusal(*reason),
            LaneStatus::Busy { .. } => _ = metrics.busy.inc(),
            LaneStatus::Ok(_) | LaneStatus::Partial(..) | LaneStatus::Part { .. } => {}
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

async fn read_done(reading: JoinHandle<io::Result<Vec<Bytes>>>) -> Result<Vec<Bytes>, Ended> {
    reading.await.map_err(io::Error::other).flatten().map_err(Ended::Store)
}

fn first(lot: Vec<Bytes>) -> Result<Bytes, Ended> {
    lot.into_iter().next().ok_or_else(|| Ended::Store(io::ErrorKind::NotFound.into()))
}

fn busy() -> LaneStatus {
    Refusal::Busy { retry_after: RETRY_LATE }.into()
}

/// The groups of a request that are held, or the answer that says why nothing is served.
fn order(asked: GroupRange, want_hashes: bool, description: Description) -> Result<Order, LaneStatus> {
    let Description { hashes, have } = description;
    let asked = GroupRange::new(asked.start, asked.end.min(hashes.groups()));
    if asked.is_empty() {
        return Err(LaneStatus::Refused(LaneRefusal::Malformed));
    }
    let cut = |held: GroupRange| GroupRange::new(held.start.max(asked.start), held.end.min(asked.end));
    let held = have.held().into_iter().map(cut).filter(|range| !range.is_empty());
    let ranges: Vec<_> = held.take(MAX_ANSWER_RANGES).collect();
    if ranges.is_empty() {
        return Err(LaneStatus::NotFound);
    }
    let partial = ranges != [asked];
    Ok(Order { want_hashes, hashes, ranges, partial })
}

/// Whether all bytes asked for are held.
fn held(ranges: &[ByteRange], description: &Description) -> Result<(), LaneStatus> {
    let Description { hashes, have } = description;
    if ranges.last().is_none_or(|last| u64::from(last.end) > hashes.len_bytes()) {
        return Err(LaneStatus::Refused(LaneRefusal::Malformed));
    }
    let group = GROUP_BYTES as u32;
    let mut groups = ranges.iter().flat_map(|range| range.start / group..range.end.div_ceil(group));
    if groups.all(|index| have.contains(GroupIndex(index))) { Ok(()) } else { Err(LaneStatus::NotFound) }
}
