//! Ways around routers: what the driver does with what [`Home`] knows, and the meeting of two devices at a relay.
//!
//! ```text
//!   dialled through the relay     the other side
//!     | ------- circuit -------> |   both: a hole is tried; nothing of ours runs on the circuit
//!     | <====== DCUtR ========== |   addresses, then both dial by QUIC at the same moment
//!     | <====== direct ========> |   control stream on it: punched; the circuit is closed
//! ```
//!
//! Where nothing direct comes of it the circuit is closed, the reason is logged, and the pair is left alone for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use aftercast_protocol::ids::DeviceId;
use aftercast_protocol::limits::{HOLE_TIMEOUT, MAX_ADDRS_PER_PEER};
use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, SwarmEvent};
use libp2p::{Multiaddr, PeerId, autonat, dcutr, identify, relay, upnp};

use super::Driver;
use crate::behaviour::BehaviourEvent;
use crate::errors::DialError;
use crate::holes::Holes;
use crate::peer::{device_of, peer_id_of};
use crate::reachability::{Home, Step, is_quic};
use crate::redact::{Redacted, host_of, is_relayed};

/// State of the ways.
pub(crate) struct Paths {
    pub holes: Holes,
    /// None for those who are no home.
    home: Option<Home>,
    /// The listener that a reservation is.
    place: Option<ListenerId>,
    /// The dial by QUIC to the introducer.
    quic: Option<ConnectionId>,
    /// Devices met at a relay, and until when a hole with them may take. The swarm's connection limits bound them.
    meetings: BTreeMap<DeviceId, Instant>,
    /// Devices with a place at our own relay, whose bounds hold here too.
    places: BTreeSet<PeerId>,
}

impl Paths {
    pub fn new(home: Option<Home>, holes: Holes) -> Self {
        Self { holes, home, place: None, quic: None, meetings: BTreeMap::new(), places: BTreeSet::new() }
    }
}

impl Driver {
    /// Does what is due, and gives when [`Self::on_alarm`] wants to be called.
    pub(super) fn alarm(&mut self) -> Option<Instant> {
        let meeting = self.paths.meetings.values().min().copied();
        let step = self.pursue(Instant::now());
        meeting.into_iter().chain(step).min()
    }

    pub(super) fn on_alarm(&mut self, now: Instant) {
        let late: Vec<_> =
            self.paths.meetings.iter().filter(|(_, until)| **until <= now).map(|(device, _)| *device).collect();
        for device in late {
            self.hole_failed(device, "both sides tried, and nothing came through in time", now);
        }
    }

    /// Does what is to be done about being reached; gives when to look again, if ever.
    fn pursue(&mut self, now: Instant) -> Option<Instant> {
        let home = self.paths.home.as_mut()?;
        let links = self.swarm.behaviour().carrier.links(&home.introducer);
        let direct = links.iter().find(|link| link.control && !link.relayed)?;
        let through = direct.addr.clone();
        let by_quic = links.iter().any(|link| link.control && is_quic(&link.addr));
        let peer = peer_id_of(home.introducer);
        match home.next_step(by_quic, now)? {
            Step::Wait(until) => return Some(until),
            Step::DialQuic(addrs) => {
                let opts = DialOpts::peer_id(peer).condition(PeerCondition::Always).addresses(addrs).build();
                self.paths.quic = Some(opts.connection_id());
                if let Err(error) = self.swarm.dial(opts) {
                    tracing::debug!(%error, "the seed is not dialled by QUIC");
                    home.quic_lost(now);
                }
            }
            Step::Reserve => {
                let relay: Multiaddr = through.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect();
                let place = relay.with(Protocol::P2p(peer)).with(Protocol::P2pCircuit);
                match self.swarm.listen_on(place) {
                    Ok(listener) => self.paths.place = Some(listener),
                    Err(error) => {
                        tracing::debug!(%error, "no place is asked for at the seed");
                        home.unreserved(now);
                    }
                }
            }
        }
        self.tell_reach();
        // Whatever is next waits for an answer, or for its time.
        Some(now)
    }

    /// A device says who it is and where it sees us.
    pub(super) fn seen_by(&mut self, device: DeviceId, id: ConnectionId, info: &identify::Info) {
        let Some(home) = self.paths.home.as_mut().filter(|home| home.introducer == device) else { return };
        let links = self.swarm.behaviour().carrier.links(&device);
        let Some(link) = links.iter().find(|link| link.id == id && link.outbound && !link.relayed) else { return };
        let host = host_of(&link.addr);
        // It is there for those who reach it here; other hosts of its may lead nowhere from here.
        let there = |addr: &&Multiaddr| is_quic(addr) && host_of(addr) == host && !is_relayed(addr);
        home.introducer_at(info.listen_addrs.iter().filter(there).take(MAX_ADDRS_PER_PEER).cloned().collect());
        let observed = &info.observed_addr;
        let listen = self.shared.listen().clone();
        let fresh = home.observed(observed, &listen);
        tracing::debug!(addr = %Redacted(observed), reachable = home.reachability().words(), "seen by the seed");
        let behaviour = self.swarm.behaviour_mut();
        if let Some(autonat) = behaviour.autonat.as_mut() {
            fresh.iter().for_each(|addr| autonat.tell(addr));
        }
        if let Some(dcutr) = behaviour.dcutr.as_mut() {
            Home::holes(observed, &listen).iter().for_each(|addr| dcutr.tell(addr));
        }
        self.tell_reach();
    }

    /// Everything of the swarm's that concerns ways around routers.
    pub(super) fn on_path_event(&mut self, event: SwarmEvent<BehaviourEvent>, now: Instant) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Autonat(event)) => self.tested(&event),
            SwarmEvent::Behaviour(BehaviourEvent::Upnp(event)) => self.on_upnp(event),
            SwarmEvent::Behaviour(BehaviourEvent::Dcutr(event)) => self.on_dcutr(event, now),
            SwarmEvent::Behaviour(BehaviourEvent::Relay(event)) => self.on_relay(&event),
            SwarmEvent::ExternalAddrConfirmed { address } if is_relayed(&address) => self.reserved(address),
            SwarmEvent::ListenerClosed { listener_id, reason, .. } if self.paths.place == Some(listener_id) => {
                self.paths.place = None;
                let error = reason.err().map(|error| super::cause_of(&libp2p::TransportError::Other(error)));
                tracing::info!(error, "the seed keeps no place for this device");
                if let Some(home) = self.paths.home.as_mut() {
                    home.unreserved(now);
                }
                self.tell_reach();
            }
            _ => {}
        }
    }

    fn tested(&mut self, event: &autonat::v2::client::Event) {
        let Some(home) = self.paths.home.as_mut() else { return };
        let reached = event.result.is_ok();
        home.tested(&event.tested_addr, reached);
        tracing::debug!(addr = %Redacted(&event.tested_addr), reached, "the seed tested an address of this device");
        self.tell_reach();
    }

    fn on_upnp(&mut self, event: upnp::Event) {
        let Some(home) = self.paths.home.as_mut() else { return };
        match event {
            upnp::Event::NewExternalAddr { external_addr, .. } => home.map(external_addr, true),
            upnp::Event::ExpiredExternalAddr { external_addr, .. } => home.map(external_addr, false),
            upnp::Event::GatewayNotFound => tracing::debug!("no router that maps ports"),
            upnp::Event::NonRoutableGateway => tracing::debug!("the router is behind another one"),
        }
        self.tell_reach();
    }

    fn reserved(&mut self, address: Multiaddr) {
        let Some(home) = self.paths.home.as_mut() else { return };
        tracing::debug!("the seed keeps a place for this device");
        home.reserved(address);
        self.tell_reach();
    }

    /// Brings what handles see, and what others are told, up to date.
    fn tell_reach(&mut self) {
        let Some(home) = self.paths.home.as_ref() else { return };
        let (now, beside) = (home.reachability(), home.beside());
        let shown = self.shared.reach.borrow().clone();
        if shown == (now, beside.clone()) {
            return;
        }
        if shown.0 != now {
            tracing::info!(reachable = now.words(), "how others reach this device");
        }
        let before = self.shared.reach.send_replace((now, beside.clone())).1;
        before.iter().filter(|addr| !beside.contains(addr)).for_each(|addr| self.swarm.remove_external_address(addr));
        beside.into_iter().for_each(|addr| self.swarm.add_external_address(addr));
    }

    /// The last connection to a device ended.
    pub(super) fn introducer_lost(&mut self, device: DeviceId) {
        if let Some(home) = self.paths.home.as_mut().filter(|home| home.introducer == device) {
            home.introducer_gone();
            self.tell_reach();
        }
    }

    pub(super) fn quic_failed(&mut self, id: ConnectionId, error: &libp2p::swarm::DialError, now: Instant) {
        if self.paths.quic == Some(id) {
            self.paths.quic = None;
            tracing::info!(%error, "the seed is not reached by UDP: no holes can be punched");
            if let Some(home) = self.paths.home.as_mut() {
                home.quic_lost(now);
            }
        }
    }

    /// A connection ended.
    pub(super) fn link_lost(&mut self, peer: PeerId, id: ConnectionId, now: Instant) {
        if self.paths.quic == Some(id) {
            self.paths.quic = None;
            if let Some(home) = self.paths.home.as_mut() {
                home.quic_lost(now);
            }
        }
        let Some(device) = device_of(&peer).filter(|device| self.paths.meetings.contains_key(device)) else { return };
        // With a direct connection the other side closed the circuit because it is done.
        if self.swarm.behaviour().carrier.links(&device).is_empty() {
            self.hole_failed(device, "the other side gave up", now);
        }
    }
}

/// Holes.
impl Driver {
    /// A circuit to a device is there.
    pub(super) fn meet(&mut self, peer: PeerId, now: Instant) {
        let Some(device) = device_of(&peer) else { return };
        if self.swarm.behaviour().carrier.links(&device).iter().any(|link| link.control) {
            self.leave_relay(device);
            return;
        }
        if self.paths.meetings.insert(device, now + Duration::from_micros(HOLE_TIMEOUT.0)).is_none() {
            self.shared.metrics.holes_tried.inc();
            self.shared.reach.send_modify(|_| ());
            tracing::debug!(%device, "met at the seed, punching a hole");
        }
    }

    /// A control stream is up, which is on a direct connection.
    pub(super) fn met(&mut self, device: DeviceId) {
        if self.paths.meetings.remove(&device).is_none() {
            return;
        }
        self.paths.holes.succeed(&peer_id_of(device));
        self.shared.metrics.holes_punched.inc();
        self.shared.reach.send_modify(|_| ());
        tracing::info!(%device, "punched a hole");
        self.leave_relay(device);
    }

    fn on_dcutr(&mut self, event: dcutr::Event, now: Instant) {
        let Some(device) = device_of(&event.remote_peer_id) else { return };
        // Success shows in the control stream.
        if let Err(error) = event.result {
            self.hole_failed(device, &error.to_string(), now);
        }
    }

    fn hole_failed(&mut self, device: DeviceId, reason: &str, now: Instant) {
        if self.paths.meetings.remove(&device).is_none() {
            return;
        }
        self.paths.holes.fail(peer_id_of(device), now);
        self.shared.metrics.holes_failed.inc();
        self.shared.reach.send_modify(|_| ());
        tracing::info!(%device, reason, "no hole was punched: this device is not used for a while");
        let reason = format!("no hole was punched: {reason}");
        self.answer_dial(device, &Err(DialError::Unreachable { device, reason }));
        self.leave_relay(device);
    }

    fn leave_relay(&mut self, device: DeviceId) {
        let links = self.swarm.behaviour().carrier.links(&device);
        let relayed: Vec<_> = links.iter().filter(|link| link.relayed).map(|link| link.id).collect();
        for id in relayed {
            self.swarm.close_connection(id);
        }
    }

    /// What happens at our own relay.
    fn on_relay(&mut self, event: &relay::Event) {
        use relay::Event as E;
        let metrics = &self.shared.metrics;
        match event {
            // Whether it is called a renewal depends on the connection: devices are counted, not messages.
            E::ReservationReqAccepted { src_peer_id, .. } => _ = self.paths.places.insert(*src_peer_id),
            E::ReservationClosed { src_peer_id } | E::ReservationTimedOut { src_peer_id } => {
                self.paths.places.remove(src_peer_id);
            }
            E::CircuitReqAccepted { .. } => {
                metrics.relay_circuits.inc();
                metrics.relay_circuits_opened.inc();
            }
            E::CircuitClosed { .. } => _ = metrics.relay_circuits.dec(),
            E::ReservationReqDenied { .. } | E::CircuitReqDenied { .. } => _ = metrics.relay_refused.inc(),
            _ => return,
        }
        metrics.relay_reservations.set(i64::try_from(self.paths.places.len()).unwrap_or(i64::MAX));
        self.shared.reach.send_modify(|_| ());
    }
}
