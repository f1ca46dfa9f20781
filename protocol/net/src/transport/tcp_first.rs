//! TCP before QUIC where a device can be reached by both.
//!
//! Bulk over TCP costs a third of the CPU time that it costs over QUIC (`benches/carrier`), but QUIC's handshake is
//! shorter, so that in a plain race it would win. The swarm dials all addresses of a device at once; here those by
//! QUIC wait for those by TCP to fail, or for a head start to pass. Where nobody dials by TCP they do not wait.
//!
//! Not for hole punching: there both sides must start at the same moment. A dial in the role of the listener, which only
//! a hole punch makes, is never held back, and neither is any dial of a device with which a hole is being punched.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt as _;
use libp2p::core::Endpoint;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::{Multiaddr, PeerId, Transport};

use super::Carriage;
use super::under_way::{UnderWay, peer_of};
use crate::holes::Holes;

/// Both transports.
pub(super) struct TcpFirst {
    tcp: Carriage,
    quic: Carriage,
    head_start: Duration,
    under_way: UnderWay,
    holes: Holes,
}

impl TcpFirst {
    pub fn new(tcp: Carriage, quic: Carriage, head_start: Duration, holes: Holes) -> Self {
        Self { tcp, quic, head_start, under_way: UnderWay::default(), holes }
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
        let held = |peer: &PeerId| opts.role == Endpoint::Dialer && !self.holes.under_way(peer);
        let Some(peer) = peer.filter(held) else { return Ok(dial) };
        let (under_way, head_start) = (self.under_way.clone(), self.head_start);
        let dial = async move {
            // Looked up only now: the swarm makes all its dials before it drives any of them.
            under_way.give_way(&peer, head_start).await;
            dial.await
        };
        Ok(dial.boxed())
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        let tcp = Pin::new(&mut self.tcp).poll(cx);
        if tcp.is_ready() { tcp } else { Pin::new(&mut self.quic).poll(cx) }
    }
}
