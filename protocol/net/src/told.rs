//! A behaviour that believes only us about our addresses, and dials no strangers' neighbours.
//!
//! libp2p's AutoNAT and DCUtR take every address that any peer claims to see us at, without a bound, and dial whatever
//! address a peer names. Here the first come from the introducer alone, through [`Told::tell`]. And a dial of theirs to a
//! private address is refused, lest a stranger has us knock at doors of our own network; unless the peer is in that
//! network itself, or ours is where the introducer is.

use std::collections::{BTreeMap, BTreeSet};
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::NewExternalAddrCandidate;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

use crate::redact::is_lan;

/// Why a dial was refused.
#[derive(Debug, thiserror::Error)]
#[error("a peer that is not in the local network names an address in it")]
struct Private;

/// The behaviour and its guard.
pub(crate) struct Told<B> {
    inner: B,
    /// We are where the introducer is.
    local: bool,
    /// Connections from the local network.
    near: BTreeMap<ConnectionId, PeerId>,
    /// Its own dials that are under way: the swarm bounds them.
    dials: BTreeSet<ConnectionId>,
}

impl<B: NetworkBehaviour> Told<B> {
    pub fn new(inner: B) -> Self {
        Self { inner, local: false, near: BTreeMap::new(), dials: BTreeSet::new() }
    }

    /// One of our addresses, as the introducer sees it.
    pub fn tell(&mut self, addr: &Multiaddr) {
        self.local |= is_lan(addr);
        self.inner.on_swarm_event(FromSwarm::NewExternalAddrCandidate(NewExternalAddrCandidate { addr }));
    }
}

impl<B: NetworkBehaviour> NetworkBehaviour for Told<B> {
    type ConnectionHandler = B::ConnectionHandler;
    type ToSwarm = B::ToSwarm;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.inner.handle_pending_inbound_connection(id, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addrs: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if self.dials.remove(&id) {
            let near = self.local || peer.is_some_and(|peer| self.near.values().any(|one| *one == peer));
            if !near && addrs.iter().any(is_lan) {
                return Err(ConnectionDenied::new(Private));
            }
        }
        self.inner.handle_pending_outbound_connection(id, peer, addrs, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        addr: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_outbound_connection(id, peer, addr, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match &event {
            FromSwarm::NewExternalAddrCandidate(_) => return,
            FromSwarm::ConnectionEstablished(event) if is_lan(event.endpoint.get_remote_address()) => {
                self.near.insert(event.connection_id, event.peer_id);
            }
            FromSwarm::ConnectionClosed(event) => _ = self.near.remove(&event.connection_id),
            FromSwarm::DialFailure(event) => _ = self.dials.remove(&event.connection_id),
            _ => {}
        }
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        self.inner.on_connection_handler_event(peer, id, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        let polled = self.inner.poll(cx);
        if let Poll::Ready(ToSwarm::Dial { opts }) = &polled {
            self.dials.insert(opts.connection_id());
        }
        polled
    }
}
