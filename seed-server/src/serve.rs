//! Giving chunks to players: the seed as a source of last resort, within everyone's rights.

use std::io;
use std::sync::Arc;

use aftercast_net::Lane;
use aftercast_net::exchange::{ChunkProvider, Description, ServeGate, serve_lane};
use aftercast_protocol::grant::AccessDenied;
use aftercast_protocol::ids::{ChunkCid, DeviceId, GroupIndex};
use aftercast_protocol::serve::{Class, ServeConfig, Usage};
use aftercast_protocol::wire::lane::LaneRefusal;
use aftercast_store::Store;
use bytes::Bytes;

use crate::access::Access;
use crate::clock::Clock;
use crate::metrics::SeedMetrics;

/// The seed's lanes to players.
pub struct Lanes {
    shelf: Arc<Shelf>,
    gate: ServeGate,
}

impl Lanes {
    /// Serves from this store. Needs a Tokio runtime.
    #[must_use]
    pub fn new(store: Store, access: Arc<Access>, clock: Clock, metrics: Arc<SeedMetrics>) -> Self {
        // A server's line has no user who wants a share of it back, nor budgets.
        let gate = ServeGate::start(ServeConfig::default(), Usage::default());
        Self { shelf: Arc::new(Shelf { store, access, clock, metrics }), gate }
    }

    /// Serves a lane in a task of its own.
    pub fn serve(&self, lane: Lane) {
        tokio::spawn(serve_lane(lane, self.shelf.clone(), self.gate.clone()));
    }
}

struct Shelf {
    store: Store,
    access: Arc<Access>,
    clock: Clock,
    metrics: Arc<SeedMetrics>,
}

impl ChunkProvider for Shelf {
    fn authorise(&self, device: DeviceId, cid: &ChunkCid, _: Class) -> Result<(), LaneRefusal> {
        self.access.check(device, *cid, self.clock.utc()).map_err(|denied| {
            self.metrics.deny(denied);
            tracing::info!(%device, %cid, %denied, "chunk refused");
            match denied {
                AccessDenied::NotEnrolled => LaneRefusal::NotEnrolled,
                AccessDenied::NoGrant => LaneRefusal::NoGrant,
                AccessDenied::Expired => LaneRefusal::Expired,
                AccessDenied::Revoked => LaneRefusal::Revoked,
                AccessDenied::OtherDevice | AccessDenied::Forged => LaneRefusal::Forged,
            }
        })
    }

    fn describe(&self, _: DeviceId, cid: &ChunkCid) -> Option<Description> {
        let hashes = self.store.hashes(*cid).ok().flatten()?;
        let have = self.store.have(*cid)?;
        Some(Description { hashes, have })
    }

    fn read_group(&self, cid: &ChunkCid, index: GroupIndex) -> io::Result<Option<Bytes>> {
        let group = self.store.read_group(*cid, index).map_err(io::Error::other)?;
        if let Some(group) = &group {
            self.metrics.served_bytes.inc_by(group.len() as u64);
        }
        Ok(group.map(Bytes::from))
    }
}
