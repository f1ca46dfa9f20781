//! TCP before QUIC where a device can be reached by both.
//!
//! Bulk over TCP costs a third of the CPU time that it costs over QUIC (`benches/carrier`), but QUIC's handshake is
//! shorter, so that in a plain race it would win. The swarm dials all addresses of a device at once; here those by
//! QUIC wait for those by TCP to fail, or for a head start to pass. Where nobody dials by TCP they do not wait.
//!
//! Not for hole punching: there both transports must start at the same moment, on both sides. A dial in the role of
//! the listener, which only a hole punch makes, is never held back.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt as _;
use libp2p::core::Endpoint;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, Transport};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Carriage;

/// Both transports.
pub(super) struct TcpFirst {
    tcp: Carriage,
    quic: Carriage,
    head_start: Duration,
    under_way: UnderWay,
}

/// Dials by TCP that have not ended, per device: at most those that the swarm allows at once.
#[derive(Clone, Default)]
struct UnderWay(Arc<Mutex<BTreeMap<PeerId, Weak<Dials>>>>);

/// Dropped with the last of a device's dials by TCP.
struct Dials {
    ended: CancellationToken,
    _end: DropGuard,
}

impl UnderWay {
    /// One more; it ends when what is returned is dropped.
    fn begin(&self, peer: PeerId) -> Arc<Dials> {
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

    /// The end of those under way now, if there are any.
    fn end(&self, peer: &PeerId) -> Option<CancellationToken> {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.get(peer).and_then(Weak::upgrade).map(|dials| dials.ended.clone())
    }
}

impl TcpFirst {
    pub fn new(tcp: Carriage, quic: Carriage, head_start: Duration) -> Self {
        Self { tcp, quic, head_start, under_way: UnderWay::default() }
    }
}

fn peer_of(addr: &Multiaddr) -> Option<PeerId> {
    match addr.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}

impl Transport for TcpFirst {
    type Output = (PeerId, StreamMuxerBox);
    type Error = io::Error;
    type ListenerUpgrade = <Carriage as Transport>::ListenerUpgrade;
    type Dial = <Carriage as Transport>::Dial;

    fn listen_on(&mut self, id: ListenerId, addr: Multiaddr) -> Result<(), TransportError<io::Error>> {
        match self.tcp.listen_on(id, addr) {
            Err(TransportError::MultiaddrNotSupported(addr)) => self.quic.listen_on(id, addr),
            done => done,
        }
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.tcp.remove_listener(id) || self.quic.remove_listener(id)
    }

    fn dial(&mut self, addr: Multiaddr, opts: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        let peer = peer_of(&addr);
        let addr = match self.tcp.dial(addr, opts) {
            Err(TransportError::MultiaddrNotSupported(addr)) => addr,
            Ok(dial) => {
                let dials = peer.map(|peer| self.under_way.begin(peer));
                let dial = async move {
                    let _dials = dials;
                    dial.await
                };
                return Ok(dial.boxed());
            }
            failed => return failed,
        };
        let dial = self.quic.dial(addr, opts)?;
        let Some(peer) = peer.filter(|_| opts.role == Endpoint::Dialer) else { return Ok(dial) };
        let (under_way, head_start) = (self.under_way.clone(), self.head_start);
        let dial = async move {
            // Looked up only now: the swarm makes all its dials before it drives any of them.
            if let Some(end) = under_way.end(&peer) {
                let _ = tokio::time::timeout(head_start, end.cancelled()).await;
            }
            dial.await
        };
        Ok(dial.boxed())
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        let tcp = Pin::new(&mut self.tcp).poll(cx);
        if tcp.is_ready() { tcp } else { Pin::new(&mut self.quic).poll(cx) }
    }
}
