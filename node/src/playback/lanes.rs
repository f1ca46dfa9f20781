//! Orders over real lanes.

use std::sync::Arc;

use aftercast_net::exchange::{FetchError, LanePool, Lie as Told, Wanted};
use aftercast_protocol::ids::DeviceId;
use aftercast_protocol::score::Lie;
use aftercast_protocol::time::Micros;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::mpsc;

use super::ports::{Arrival, LaneFailure, Lanes, Order};

/// How long after its deadline a group is still of use: the player waits, and what it waits for is not begun anew.
const LATE_USE: Micros = Micros::from_secs(30);

impl Lanes for LanePool {
    fn prepare(&self, device: DeviceId) {
        Self::prepare(self, device);
    }

    fn fetch(&self, order: Order, to: mpsc::Sender<Arrival>) -> BoxFuture<'static, Result<(), LaneFailure>> {
        let pool = self.clone();
        async move {
            let wanted = Wanted {
                cid: order.fetch.cid,
                groups: order.fetch.range,
                class: order.fetch.class,
                deadline: order.due_in + LATE_USE,
                len: Some(order.len),
                hashes: order.hashes.as_deref().cloned(),
            };
            let mut transfer = pool.fetch(order.device, &wanted).await.map_err(failure)?;
            if order.hashes.is_none() {
                let hashes = Arc::new(transfer.hashes().clone());
                to.send(Arrival::Hashes(hashes)).await.map_err(|_| LaneFailure::Broken)?;
            }
            while let Some(group) = transfer.next().await {
                let (index, bytes) = group.map_err(failure)?;
                to.send(Arrival::Group(index, bytes)).await.map_err(|_| LaneFailure::Broken)?;
            }
            Ok(())
        }
        .boxed()
    }
}

fn failure(error: FetchError) -> LaneFailure {
    match error {
        FetchError::Busy { retry_after } => LaneFailure::Busy { retry_after },
        FetchError::NotFound => LaneFailure::NotFound,
        FetchError::Refused(_) => LaneFailure::Refused,
        // The manifest's length goes with every order: without it nothing would be proven.
        FetchError::Lie { lie: Told::Group(_), proven: true } => LaneFailure::Lied(Lie::Group),
        FetchError::Lie { proven: true, .. } => LaneFailure::Lied(Lie::Hashes),
        FetchError::Lie { proven: false, .. }
        | FetchError::Broken(_)
        | FetchError::NoLane(_)
        | FetchError::Unreachable(_)
        | FetchError::Timeout => LaneFailure::Broken,
    }
}
