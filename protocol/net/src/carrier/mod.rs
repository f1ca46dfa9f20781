//! Our own behaviour: it negotiates the control stream and the lanes, and hands the raw streams on.
//!
//! ```text
//!   dialer                       listener
//!     | -- /aftercast/ctl/1 ------> |   once per connection, right after it is established
//!     | -- /aftercast/chunk/1 ----> |   any number, either way
//!     | <------ /aftercast/chunk/1- |
//! ```
//!
//! A connection through a relay has neither: it is there for two devices to meet and punch a hole, and ends with that. Nor
//! has one by which the introducer tests whether a device can be reached.
//!
//! The life of a connection is the life of its control stream. Devices are counted by established connections, never
//! by handlers made: a connection may still be denied by another behaviour after its handler was built.

mod handler;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use aftercast_protocol::ids::DeviceId;
use libp2p::core::transport::PortUse;
use libp2p::core::{ConnectedPoint, Endpoint};
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

use self::handler::{FromHandler, Handler, OpenLane};
use crate::errors::LaneError;
use crate::holes::Holes;
use crate::metrics::NetMetrics;
use crate::net::Bans;
use crate::peer::{device_of, peer_id_of};
use crate::raw::RawStream;
use crate::reachability::is_quic;
use crate::redact::is_relayed;

pub(crate) use self::handler::{LaneFailure, LaneReply};

/// What the carrier tells the driver.
#[derive(Debug)]
pub(crate) enum CarrierEvent {
    /// The first connection to a device.
    Arrived(DeviceId),
    /// A control stream is up.
    Control { device: DeviceId, connection: ConnectionId, stream: RawStream },
    /// A connection to somebody who does not speak the control protocol.
    NoControl { device: DeviceId },
    /// A lane was opened to us.
    Lane { device: DeviceId, stream: RawStream },
    /// A connection ended; others may remain.
    Closed(DeviceId),
    /// The last connection to a device ended.
    Gone(DeviceId),
}

/// One established connection.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub id: ConnectionId,
    pub addr: Multiaddr,
    pub outbound: bool,
    pub relayed: bool,
    /// Whether its control stream is up.
    pub control: bool,
}

/// The behaviour. The swarm's connection limits bound everything kept here.
pub(crate) struct Carrier {
    links: BTreeMap<DeviceId, Vec<Link>>,
    events: VecDeque<ToSwarm<CarrierEvent, OpenLane>>,
    bans: Arc<Bans>,
    metrics: Arc<NetMetrics>,
    holes: Holes,
}

/// A connection that is not wanted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unwanted {
    #[error("the peer's key is not Ed25519")]
    NotEd25519,
    #[error("the device is banned")]
    Banned,
    #[error("no hole could be punched with the device a short while ago")]
    NoHole,
}

impl Carrier {
    pub fn new(bans: Arc<Bans>, metrics: Arc<NetMetrics>, holes: Holes) -> Self {
        Self { links: BTreeMap::new(), events: VecDeque::new(), bans, metrics, holes }
    }

    /// A device's connections, oldest first.
    pub fn links(&self, device: &DeviceId) -> &[Link] {
        self.links.get(device).map_or(&[], Vec::as_slice)
    }

    /// Has a lane opened on the device's newest direct connection, the one most likely to live; on one by TCP where there
    /// is any, because behind a router there is one by QUIC beside it, and bulk costs a third of the CPU time by TCP. The
    /// answer goes to `reply`.
    pub fn open_lane(&mut self, device: DeviceId, reply: LaneReply) {
        let links = self.links(&device);
        let usable = || links.iter().rev().filter(|link| link.control && !link.relayed);
        let Some(link) = usable().find(|link| !is_quic(&link.addr)).or_else(|| usable().next()) else {
            let relayed = links.iter().any(|link| link.relayed);
            let error = if relayed { LaneError::Relayed(device) } else { LaneError::NotConnected(device) };
            // A reply nobody waits for any more needs none.
            let _ = reply.send(Err(LaneFailure::Error(error)));
            return;
        };
        let handler = NotifyHandler::One(link.id);
        self.events.push_back(ToSwarm::NotifyHandler { peer_id: peer_id_of(device), handler, event: OpenLane(reply) });
    }

    /// Asks for a lane where no honest device would: on a connection through a relay.
    #[cfg(test)]
    pub fn open_lane_through_relay(&mut self, device: DeviceId, reply: LaneReply) {
        let link = self.links(&device).iter().find(|link| link.relayed).expect("a connection through a relay");
        let handler = NotifyHandler::One(link.id);
        self.events.push_back(ToSwarm::NotifyHandler { peer_id: peer_id_of(device), handler, event: OpenLane(reply) });
    }

    fn admit(&self, peer: &PeerId) -> Result<DeviceId, ConnectionDenied> {
        let Some(device) = device_of(peer) else {
            self.metrics.refused_not_ed25519.inc();
            return Err(ConnectionDenied::new(Unwanted::NotEd25519));
        };
        if self.bans.holds(&device) {
            self.metrics.refused_banned.inc();
            return Err(ConnectionDenied::new(Unwanted::Banned));
        }
        Ok(device)
    }

    /// [`Self::admit`] for a connection through a relay.
    fn admit_relayed(&self, peer: &PeerId) -> Result<(), ConnectionDenied> {
        if self.holes.given_up(peer, Instant::now()) {
            self.metrics.holes_refused.inc();
            return Err(ConnectionDenied::new(Unwanted::NoHole));
        }
        Ok(())
    }

    fn established(&mut self, event: ConnectionEstablished<'_>) {
        let Some(device) = device_of(&event.peer_id) else { return };
        let (addr, outbound) = match event.endpoint {
            ConnectedPoint::Dialer { address, .. } => (address.clone(), true),
            ConnectedPoint::Listener { send_back_addr, .. } => (send_back_addr.clone(), false),
        };
        let relayed = event.endpoint.is_relayed();
        if relayed {
            self.holes.begin(event.peer_id);
        }
        let links = self.links.entry(device).or_default();
        links.push(Link { id: event.connection_id, addr, outbound, relayed, control: false });
        if links.len() == 1 {
            self.events.push_back(ToSwarm::GenerateEvent(CarrierEvent::Arrived(device)));
        }
    }

    fn closed(&mut self, event: ConnectionClosed<'_>) {
        let Some(device) = device_of(&event.peer_id) else { return };
        let Some(links) = self.links.get_mut(&device) else { return };
        links.retain(|link| link.id != event.connection_id);
        if !links.iter().any(|link| link.relayed) {
            self.holes.end(&event.peer_id);
        }
        let last = links.is_empty();
        self.events.push_back(ToSwarm::GenerateEvent(CarrierEvent::Closed(device)));
        if last {
            self.links.remove(&device);
            self.events.push_back(ToSwarm::GenerateEvent(CarrierEvent::Gone(device)));
        }
    }
}

impl NetworkBehaviour for Carrier {
    type ConnectionHandler = Handler;
    type ToSwarm = CarrierEvent;

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        peer.map_or(Ok(()), |peer| self.admit(&peer).map(drop))?;
        Ok(Vec::new())
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.admit(&peer)?;
        let relayed = is_relayed(local) || is_relayed(remote);
        if relayed {
            self.admit_relayed(&peer)?;
        }
        Ok(Handler::new(Endpoint::Listener, relayed, relayed, Arc::clone(&self.metrics)))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        addr: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.admit(&peer)?;
        let relayed = is_relayed(addr);
        if relayed {
            self.admit_relayed(&peer)?;
        }
        // Only AutoNAT's server dials from another port than the one listened on.
        let silent = relayed || port == PortUse::New;
        // The role, not the direction: in a hole punch both sides dial, and one of them plays the listener.
        Ok(Handler::new(role, relayed, silent, Arc::clone(&self.metrics)))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(event) => self.established(event),
            FromSwarm::ConnectionClosed(event) => self.closed(event),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        let Some(device) = device_of(&peer) else { return };
        let Some(link) = self.links.get_mut(&device).and_then(|links| links.iter_mut().find(|link| link.id == id))
        else {
            return;
        };
        let event = match event {
            FromHandler::Control(stream) => {
                link.control = true;
                CarrierEvent::Control { device, connection: id, stream }
            }
            FromHandler::NoControl => CarrierEvent::NoControl { device },
            FromHandler::Lane(stream) => CarrierEvent::Lane { device, stream },
        };
        self.events.push_back(ToSwarm::GenerateEvent(event));
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        // No waker is needed: everything that adds an event runs inside the task that polls.
        self.events.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}
