//! Lanes kept open between requests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use aftercast_protocol::ids::DeviceId;
use aftercast_protocol::limits::{LANE_IDLE, LANE_STALL, MAX_LANES_PER_PEER, MAX_SOURCES};
use aftercast_protocol::time::Micros;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::client::{FetchError, LaneClient, Transfer, Wanted};
use super::duration;
use super::part::WantedPart;
use crate::net::Net;

/// Idle lanes older than this are not used again: the other side closes them soon.
const REUSE: Micros = Micros(LANE_IDLE.0 / 2);

/// Lanes to every source, opened when needed, used again while young. Clones are the same pool.
#[derive(Debug, Clone)]
pub struct LanePool {
    net: Net,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    lanes_per_peer: usize,
    sources: Mutex<BTreeMap<DeviceId, Source>>,
}

#[derive(Debug)]
struct Source {
    /// As many as lanes may be in use.
    permits: Arc<Semaphore>,
    /// Lanes at rest, and since when.
    idle: Vec<(LaneClient, Instant)>,
}

/// Where a lane belongs, and the right to use one.
#[derive(Debug)]
pub(super) struct Home {
    inner: Arc<Inner>,
    device: DeviceId,
    _permit: OwnedSemaphorePermit,
}

impl Home {
    pub fn give_back(self, lane: LaneClient) {
        // A source forgotten meanwhile wants no lanes back.
        if let Some(source) = self.inner.lock().get_mut(&self.device)
            && source.idle.len() < self.inner.lanes_per_peer
        {
            source.idle.push((lane, Instant::now()));
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<DeviceId, Source>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rights to lanes of a device. Old lanes at rest, of all devices, are closed on the way.
    fn permits(&self, device: DeviceId) -> Arc<Semaphore> {
        let mut sources = self.lock();
        let young = |since: &Instant| since.elapsed() < duration(REUSE);
        for source in sources.values_mut() {
            source.idle.retain(|(_, since)| young(since));
        }
        if sources.len() >= MAX_SOURCES {
            let lanes = self.lanes_per_peer;
            sources.retain(|_, source| !source.idle.is_empty() || source.permits.available_permits() < lanes);
        }
        let fresh = || Source { permits: Arc::new(Semaphore::new(self.lanes_per_peer)), idle: Vec::new() };
        Arc::clone(&sources.entry(device).or_insert_with(fresh).permits)
    }

    fn idle(&self, device: DeviceId) -> Option<LaneClient> {
        self.lock().get_mut(&device)?.idle.pop().map(|(lane, _)| lane)
    }
}

impl LanePool {
    /// A pool of up to `lanes_per_peer` lanes (two unless measured otherwise; at most four) to each source.
    #[must_use]
    pub fn new(net: Net, lanes_per_peer: usize) -> Self {
        let lanes_per_peer = lanes_per_peer.clamp(1, MAX_LANES_PER_PEER);
        Self { net, inner: Arc::new(Inner { lanes_per_peer, sources: Mutex::default() }) }
    }

    /// Asks a connected device, waiting for one of its lanes to be free. Dropping the future, or the transfer,
    /// cancels.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub async fn fetch(&self, device: DeviceId, wanted: &Wanted) -> Result<Transfer, FetchError> {
        let mut home = self.home(device).await?;
        loop {
            let (lane, used) = self.lane(device).await?;
            match Transfer::begin(lane, wanted, home).await {
                Ok(transfer) => return Ok(transfer),
                // The other side closed it while it was at rest: a fresh one tells more.
                Err((FetchError::Broken(_), _, kept)) if used => home = kept,
                Err((error, lane, kept)) => {
                    if let Some(lane) = lane {
                        kept.give_back(lane);
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Asks a connected device for a part of a chunk, all of which waits in memory: at most `limits::MAX_PART_BYTES`.
    /// Dropping the future cancels.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub async fn fetch_part(&self, device: DeviceId, wanted: &WantedPart) -> Result<Vec<u8>, FetchError> {
        let home = self.home(device).await?;
        loop {
            let (lane, used) = self.lane(device).await?;
            let (outcome, lane) = match lane.fetch_part(wanted).await {
                Ok((lane, bytes)) => (Ok(bytes), Some(lane)),
                Err((FetchError::Broken(_), _)) if used => continue,
                Err((error, lane)) => (Err(error), lane),
            };
            if let Some(lane) = lane {
                home.give_back(lane);
            }
            return outcome;
        }
    }

    /// The right to one more lane to a device.
    async fn home(&self, device: DeviceId) -> Result<Home, FetchError> {
        let permit = timeout(duration(LANE_STALL), self.inner.permits(device).acquire_owned()).await;
        let permit = permit.map_err(|_| FetchError::Timeout)?.map_err(|_| FetchError::Timeout)?;
        Ok(Home { inner: Arc::clone(&self.inner), device, _permit: permit })
    }

    /// A lane at rest, or a fresh one; and whether it was at rest, so that the other side may have closed it.
    async fn lane(&self, device: DeviceId) -> Result<(LaneClient, bool), FetchError> {
        match self.inner.idle(device) {
            Some(lane) => Ok((lane, true)),
            None => Ok((LaneClient::new(self.net.open_lane(device).await?), false)),
        }
    }

    /// Opens a lane to a connected device that has none yet, for the first question to it: that saves its round trip.
    /// What goes wrong shows when the question is asked.
    pub fn prepare(&self, device: DeviceId) {
        let permits = self.inner.permits(device);
        let in_use = permits.available_permits() < self.inner.lanes_per_peer;
        if in_use || self.inner.lock().get(&device).is_some_and(|source| !source.idle.is_empty()) {
            return;
        }
        let Ok(permit) = permits.try_acquire_owned() else { return };
        let home = Home { inner: Arc::clone(&self.inner), device, _permit: permit };
        let net = self.net.clone();
        tokio::spawn(async move {
            if let Ok(lane) = net.open_lane(device).await {
                home.give_back(LaneClient::new(lane));
            }
        });
    }

    /// Closes a device's lanes at rest, for instance when it disconnects.
    pub fn forget(&self, device: DeviceId) {
        self.inner.lock().remove(&device);
    }
}
