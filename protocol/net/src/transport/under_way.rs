//! Which devices are being dialled one way, for those who dial them another way and come second.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Dials that have not ended, per device: at most those that the swarm allows at once.
#[derive(Clone, Default)]
pub(super) struct UnderWay(Arc<Mutex<BTreeMap<PeerId, Weak<Dials>>>>);

/// Dropped with the last of a device's dials.
pub(super) struct Dials {
    ended: CancellationToken,
    _end: DropGuard,
}

impl UnderWay {
    /// One more; it ends when what is returned is dropped.
    pub fn begin(&self, peer: PeerId) -> Arc<Dials> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.retain(|_, dials| dials.strong_count() > 0);
        if let Some(dials) = map.get(&peer).and_then(Weak::upgrade) {
            return dials;
        }
        let ended = CancellationToken::new();
        let dials = Arc::new(Dials { _end: ended.clone().drop_guard(), ended });
        map.insert(peer, Arc::downgrade(&dials));
        dials
    }

    /// Waits until those under way now have ended, but no longer than the head start that they have.
    pub async fn give_way(&self, peer: &PeerId, head_start: Duration) {
        if let Some(end) = self.end(peer) {
            let _ = tokio::time::timeout(head_start, end.cancelled()).await;
        }
    }

    fn end(&self, peer: &PeerId) -> Option<CancellationToken> {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.get(peer).and_then(Weak::upgrade).map(|dials| dials.ended.clone())
    }
}

/// The device at the end of an address.
pub(super) fn peer_of(addr: &Multiaddr) -> Option<PeerId> {
    match addr.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}
