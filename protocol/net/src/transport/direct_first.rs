//! Direct addresses before those through a relay.
//!
//! The swarm dials all addresses of a device at once. A circuit through the seed, with which there is a connection
//! already, is up after a few round trips; two devices of one home would meet there and then try to punch a hole through
//! their own router. So circuits wait for direct dials to fail, or for a head start to pass.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt as _;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::{Multiaddr, PeerId, Transport};

use super::Carriage;
use super::under_way::{UnderWay, peer_of};

/// Direct transports and the one through a relay.
pub(super) struct DirectFirst {
    direct: Carriage,
    circuit: Carriage,
    head_start: Duration,
    under_way: UnderWay,
}

impl DirectFirst {
    pub fn new(direct: Carriage, circuit: Carriage, head_start: Duration) -> Self {
        Self { direct, circuit, head_start, under_way: UnderWay::default() }
    }
}

impl Transport for DirectFirst {
    type Output = (PeerId, StreamMuxerBox);
    type Error = io::Error;
    type ListenerUpgrade = <Carriage as Transport>::ListenerUpgrade;
    type Dial = <Carriage as Transport>::Dial;

    fn listen_on(&mut self, id: ListenerId, addr: Multiaddr) -> Result<(), TransportError<io::Error>> {
        // The relay's first, here and below: the others would read an address only up to the relay.
        match self.circuit.listen_on(id, addr) {
            Err(TransportError::MultiaddrNotSupported(addr)) => self.direct.listen_on(id, addr),
            done => done,
        }
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.circuit.remove_listener(id) || self.direct.remove_listener(id)
    }

    fn dial(&mut self, addr: Multiaddr, opts: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        let peer = peer_of(&addr);
        match self.circuit.dial(addr, opts) {
            Err(TransportError::MultiaddrNotSupported(addr)) => {
                let dial = self.direct.dial(addr, opts)?;
                let dials = peer.map(|peer| self.under_way.begin(peer));
                let dial = async move {
                    let _dials = dials;
                    dial.await
                };
                Ok(dial.boxed())
            }
            Ok(dial) => {
                let (under_way, head_start) = (self.under_way.clone(), self.head_start);
                let dial = async move {
                    if let Some(peer) = peer {
                        under_way.give_way(&peer, head_start).await;
                    }
                    dial.await
                };
                Ok(dial.boxed())
            }
            failed => failed,
        }
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        let direct = Pin::new(&mut self.direct).poll(cx);
        if direct.is_ready() { direct } else { Pin::new(&mut self.circuit).poll(cx) }
    }
}
