//! The task that owns the swarm. It never waits for anything but the swarm and its own queues.

mod paths;
mod round_trips;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use aftercast_protocol::ids::{ChannelId, DeviceId};
use aftercast_protocol::limits::{
    MAX_ADDRS_PER_PEER, MAX_BACKLOG_EVENTS, MAX_CONNECTIONS_PER_DEVICE, MAX_CTL_QUEUED_FRAMES, MAX_INBOUND_LANES,
    MAX_INBOUND_LANES_PER_DEVICE,
};
use futures::StreamExt as _;
use libp2p::gossipsub::{self, MessageAcceptance};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, Swarm, SwarmEvent};
use libp2p::{Multiaddr, PeerId, identify, mdns, ping};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::sleep_until;

pub(crate) use self::paths::Paths;
use crate::behaviour::{Behaviour, BehaviourEvent, KAD, channel_of, topic_of};
use crate::carrier::{CarrierEvent, LaneReply};
use crate::config::NetConfig;
use crate::control::{Control, Frame, PeerPort, PeerTask};
use crate::errors::{DialError, PublishError};
use crate::event::{GossipToken, NetEvent, PeerInfo, Verdict};
use crate::lane::{Lane, Slot};
use crate::net::{PeerView, Shared};
use crate::peer::{device_of, peer_id_of};
use crate::raw::RawStream;
use crate::redact::{Redacted, is_lan, is_relayed};
use crate::table::Table;
use round_trips::RoundTrips;

/// Unanswered pings in a row after which a connection is given up: with pings every 15 s, half a minute of silence.
const SILENT_PINGS: u8 = 2;
/// Longest shown program name, in characters.
const MAX_AGENT_CHARS: usize = 64;

/// What a handle asks for.
pub(crate) enum Command {
    Dial {
        device: DeviceId,
        addrs: Vec<Multiaddr>,
        reply: oneshot::Sender<Result<(), DialError>>,
    },
    OpenLane {
        device: DeviceId,
        reply: LaneReply,
    },
    Subscribe(ChannelId, oneshot::Sender<()>),
    Unsubscribe(ChannelId, oneshot::Sender<()>),
    Publish {
        channel: ChannelId,
        data: Vec<u8>,
        reply: oneshot::Sender<Result<(), PublishError>>,
    },
    Judge(GossipToken, Verdict),
    Provide([u8; 32], oneshot::Sender<bool>),
    StopProviding([u8; 32], oneshot::Sender<()>),
    FindProviders {
        key: [u8; 32],
        found: mpsc::Sender<(DeviceId, Vec<Multiaddr>)>,
    },
    /// Lets a test do to the swarm what no handle can.
    #[cfg(test)]
    Inspect(Inspect),
}

#[cfg(test)]
pub(crate) type Inspect = Box<dyn FnOnce(&mut Swarm<Behaviour>) + Send>;

/// A connected device.
struct Peer {
    port: PeerPort,
    outbox: mpsc::Sender<Frame>,
    /// Its share of the lanes.
    lane_slots: Arc<Semaphore>,
    silent_pings: u8,
    round_trips: RoundTrips,
    agent: Option<String>,
}

/// Dials of one device that somebody waits for.
#[derive(Default)]
struct Dial {
    attempts: BTreeSet<ConnectionId>,
    tried: BTreeSet<Multiaddr>,
    waiters: Vec<oneshot::Sender<Result<(), DialError>>>,
}

/// Owner of the swarm.
pub(crate) struct Driver {
    swarm: Swarm<Behaviour>,
    shared: Arc<Shared>,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<NetEvent>,
    /// Events that nobody's backpressure slows down; at most [`MAX_BACKLOG_EVENTS`].
    backlog: VecDeque<NetEvent>,
    /// Connections whose control stream ended.
    ended: mpsc::Receiver<ConnectionId>,
    end: mpsc::Sender<ConnectionId>,
    peers: BTreeMap<DeviceId, Peer>,
    /// Peer tasks that still deliver what came before the last connection ended.
    leaving: BTreeMap<DeviceId, JoinHandle<()>>,
    lane_slots: Arc<Semaphore>,
    dials: BTreeMap<DeviceId, Dial>,
    table: Table,
    announce: bool,
    private_is_home: bool,
    paths: Paths,
}

impl Driver {
    /// `paths`: ways around routers.
    pub fn new(
        swarm: Swarm<Behaviour>,
        shared: Arc<Shared>,
        commands: mpsc::Receiver<Command>,
        events: mpsc::Sender<NetEvent>,
        config: &NetConfig,
        paths: Paths,
    ) -> Self {
        let (end, ended) = mpsc::channel(64);
        let table = Table::new(shared.device, Arc::clone(&shared.bans), Arc::clone(&shared.metrics));
        Self {
            swarm,
            shared,
            commands,
            events,
            backlog: VecDeque::new(),
            ended,
            end,
            peers: BTreeMap::new(),
            leaving: BTreeMap::new(),
            lane_slots: Arc::new(Semaphore::new(MAX_INBOUND_LANES)),
            dials: BTreeMap::new(),
            table,
            // What is listened on is announced where nothing else was configured.
            announce: config.announce.is_empty(),
            private_is_home: config.private_is_home,
            paths,
        }
    }

    /// Runs until every handle is gone.
    pub async fn run(mut self) {
        loop {
            let alarm = self.alarm();
            tokio::select! {
                () = sleep_until(alarm.unwrap_or_else(Instant::now).into()), if alarm.is_some() => {
                    self.on_alarm(Instant::now());
                }
                event = self.swarm.select_next_some() => self.on_swarm_event(event),
                command = self.commands.recv() => match command {
                    Some(command) => self.on_command(command),
                    None => return,
                },
                Some(connection) = self.ended.recv() => {
                    // False where it is closed already, which is what we want.
                    self.swarm.close_connection(connection);
                }
                () = self.shared.wake.notified() => self.close_unwanted(),
                Ok(permit) = self.events.clone().reserve_owned(), if !self.backlog.is_empty() => {
                    if let Some(event) = self.backlog.pop_front() {
                        permit.send(event);
                    }
                }
            }
        }
    }

    fn on_command(&mut self, command: Command) {
        // Whoever asked may have stopped waiting; then nobody needs the answer.
        match command {
            Command::Dial { device, addrs, reply } => self.dial(device, addrs, reply),
            Command::OpenLane { device, reply } => self.swarm.behaviour_mut().carrier.open_lane(device, reply),
            Command::Subscribe(channel, reply) => {
                if let Err(error) = self.swarm.behaviour_mut().gossip.subscribe(&topic_of(&channel)) {
                    tracing::warn!(%channel, ?error, "cannot subscribe");
                }
                let _ = reply.send(());
            }
            Command::Unsubscribe(channel, reply) => {
                self.swarm.behaviour_mut().gossip.unsubscribe(&topic_of(&channel));
                let _ = reply.send(());
            }
            Command::Publish { channel, data, reply } => {
                let _ = reply.send(self.publish(&channel, data));
            }
            Command::Judge(token, verdict) => self.judge(&token, verdict),
            Command::Provide(key, reply) => {
                let _ = reply.send(self.table.provide(&mut self.swarm.behaviour_mut().kad, key));
            }
            Command::StopProviding(key, reply) => {
                self.table.stop_providing(&mut self.swarm.behaviour_mut().kad, key);
                let _ = reply.send(());
            }
            Command::FindProviders { key, found } => {
                self.table.find(&mut self.swarm.behaviour_mut().kad, key, found);
            }
            #[cfg(test)]
            Command::Inspect(look) => look(&mut self.swarm),
        }
    }

    fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Carrier(event)) => self.on_carrier(event),
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(event)) => self.on_gossip(event),
            SwarmEvent::Behaviour(BehaviourEvent::Kad(event)) => {
                self.table.on_event(&mut self.swarm.behaviour_mut().kad, event);
            }
            SwarmEvent::Behaviour(BehaviourEvent::Identify(event)) => self.on_identify(event),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(event)) => self.on_ping(&event),
            SwarmEvent::Behaviour(BehaviourEvent::Mdns(mdns::Event::Discovered(found))) => self.on_discovered(found),
            SwarmEvent::NewListenAddr { address, .. } if !is_relayed(&address) => self.listening(address),
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.shared.listen().retain(|known| *known != address);
                self.swarm.remove_external_address(&address);
            }
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.shared.metrics.connections.inc();
                self.shared.metrics.connections_opened.inc();
                if endpoint.is_relayed() {
                    self.meet(peer_id, Instant::now());
                }
                let addr = Redacted(endpoint.get_remote_address());
                tracing::debug!(peer = %peer_id, %addr, outbound = endpoint.is_dialer(), "connected");
                // From here on the dial's fate is the connection's.
                if let Some(dial) = device_of(&peer_id).and_then(|device| self.dials.get_mut(&device)) {
                    dial.attempts.remove(&connection_id);
                }
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. } => {
                self.shared.metrics.connections.dec();
                self.link_lost(peer_id, connection_id, Instant::now());
                tracing::debug!(peer = %peer_id, cause = cause.map(tracing::field::display), "connection closed");
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id: Some(peer), error } => {
                self.dial_failed(&peer, connection_id, &error);
                self.quic_failed(connection_id, &error, Instant::now());
            }
            other => self.on_path_event(other, Instant::now()),
        }
    }

    /// An address listened on. These are always announced: right on a local network and on a public host, useless but
    /// harmless behind a router, where those that are proven or lead through the introducer come beside them.
    pub fn listening(&mut self, address: Multiaddr) {
        let mut listen = self.shared.listen();
        if !listen.contains(&address) {
            listen.push(address.clone());
        }
        drop(listen);
        if self.announce {
            self.swarm.add_external_address(address);
        }
    }

    fn on_carrier(&mut self, event: CarrierEvent) {
        match event {
            CarrierEvent::Arrived(device) => self.arrived(device),
            CarrierEvent::Control { device, connection, stream } => self.control_up(device, connection, stream),
            CarrierEvent::NoControl { device } => {
                let up = self.swarm.behaviour().carrier.links(&device).iter().any(|link| link.control);
                if !up {
                    self.answer_dial(device, &Err(DialError::NotAftercast(device)));
                }
            }
            CarrierEvent::Lane { device, stream } => self.lane_arrived(device, stream),
            CarrierEvent::Closed(device) => self.show(device),
            CarrierEvent::Gone(device) => self.gone(device),
        }
    }

    fn arrived(&mut self, device: DeviceId) {
        let (controls, controls_in) = mpsc::channel(MAX_CONNECTIONS_PER_DEVICE as usize);
        let (lanes, lanes_in) = mpsc::channel(MAX_INBOUND_LANES_PER_DEVICE);
        let (outbox, outbox_in) = mpsc::channel(MAX_CTL_QUEUED_FRAMES);
        self.leaving.retain(|_, task| !task.is_finished());
        let task = PeerTask {
            device,
            controls: controls_in,
            lanes: lanes_in,
            outbox: outbox_in,
            events: self.events.clone(),
            ended: self.end.clone(),
            metrics: Arc::clone(&self.shared.metrics),
            previous: self.leaving.remove(&device),
        };
        let port = PeerPort { controls, lanes, task: tokio::spawn(task.run()) };
        let lane_slots = Arc::new(Semaphore::new(MAX_INBOUND_LANES_PER_DEVICE));
        let peer = Peer { port, outbox, lane_slots, silent_pings: 0, round_trips: RoundTrips::default(), agent: None };
        self.peers.insert(device, peer);
    }

    fn control_up(&mut self, device: DeviceId, connection: ConnectionId, stream: RawStream) {
        self.show(device);
        let Some(info) = self.info(device) else { return };
        let Some(peer) = self.peers.get(&device) else { return };
        if peer.port.controls.try_send(Control { connection, stream, info }).is_err() {
            // The task does not take it: it reads nobody's frames any more, or a device reconnects without end.
            self.swarm.close_connection(connection);
            return;
        }
        self.answer_dial(device, &Ok(()));
        self.met(device);
    }

    fn lane_arrived(&mut self, device: DeviceId, stream: RawStream) {
        let metrics = &self.shared.metrics;
        let Some(peer) = self.peers.get(&device) else { return };
        let Some(slot) = Slot::take(&peer.lane_slots, &self.lane_slots) else {
            metrics.lanes_refused_limit.inc();
            return;
        };
        let lane = Lane::new(device, stream, Arc::clone(metrics), Some(slot));
        match peer.port.lanes.try_send(lane) {
            Ok(()) => metrics.lanes_in.inc(),
            Err(_) => metrics.lanes_refused_queue.inc(),
        };
    }

    fn gone(&mut self, device: DeviceId) {
        self.shared.peers().remove(&device);
        self.introducer_lost(device);
        if let Some(peer) = self.peers.remove(&device) {
            self.leaving.insert(device, peer.port.task);
        }
        if self.dials.get(&device).is_some_and(|dial| dial.attempts.is_empty()) {
            let reason = "the connection closed at once".to_owned();
            self.answer_dial(device, &Err(DialError::Unreachable { device, reason }));
        }
    }

    /// Brings what handles see of a device up to date.
    fn show(&self, device: DeviceId) {
        let info = self.info(device);
        let mut shown = self.shared.peers();
        match (info, self.peers.get(&device)) {
            (Some(info), Some(peer)) => {
                shown.insert(device, PeerView { outbox: peer.outbox.clone(), info });
            }
            _ => {
                shown.remove(&device);
            }
        }
    }

    /// What is known of a device; none unless a control stream is up.
    fn info(&self, device: DeviceId) -> Option<PeerInfo> {
        let links = self.swarm.behaviour().carrier.links(&device);
        let link = links.iter().find(|link| link.control)?;
        let peer = self.peers.get(&device)?;
        Some(PeerInfo {
            addr: link.addr.clone(),
            lan: self.private_is_home && is_lan(&link.addr),
            outbound: link.outbound,
            connections: links.len(),
            rtt: peer.round_trips.least(),
            agent: peer.agent.clone(),
        })
    }

    fn close_unwanted(&mut self) {
        let unwanted = std::mem::take(&mut *self.shared.unwanted());
        for device in unwanted {
            // An error means not connected, which is what we want.
            let _ = self.swarm.disconnect_peer_id(peer_id_of(device));
            if self.shared.bans.holds(&device) {
                let peer = peer_id_of(device);
                self.swarm.behaviour_mut().kad.remove_peer(&peer);
                self.answer_dial(device, &Err(DialError::Banned(device)));
            }
        }
    }

    fn on_ping(&mut self, event: &ping::Event) {
        let Some(device) = device_of(&event.peer) else { return };
        let Some(peer) = self.peers.get_mut(&device) else { return };
        match &event.result {
            Ok(rtt) => {
                peer.silent_pings = 0;
                peer.round_trips.note(*rtt);
                self.show(device);
            }
            Err(ping::Failure::Unsupported) => {}
            Err(error) => {
                peer.silent_pings = peer.silent_pings.saturating_add(1);
                tracing::debug!(%device, %error, "ping failed");
                if peer.silent_pings >= SILENT_PINGS {
                    peer.silent_pings = 0;
                    self.shared.metrics.closed_silent.inc();
                    self.swarm.close_connection(event.connection);
                }
            }
        }
    }

    fn on_identify(&mut self, event: identify::Event) {
        let identify::Event::Received { peer_id, connection_id, info } = event else { return };
        let Some(device) = device_of(&peer_id) else { return };
        self.seen_by(device, connection_id, &info);
        if let Some(peer) = self.peers.get_mut(&device) {
            let plain = info.agent_version.chars().filter(|c| !c.is_control());
            peer.agent = Some(plain.take(MAX_AGENT_CHARS).collect());
        }
        self.show(device);
        if !info.protocols.contains(&KAD) {
            return;
        }
        let near = self.swarm.behaviour().carrier.links(&device).iter().any(|link| is_lan(&link.addr));
        // A distant peer's private address leads nowhere, or to somebody in our own network.
        let told = info.listen_addrs.into_iter().filter(|addr| !is_relayed(addr) && (near || !is_lan(addr)));
        for addr in told.take(MAX_ADDRS_PER_PEER) {
            self.swarm.behaviour_mut().kad.add_address(&peer_id, addr);
        }
    }

    fn on_discovered(&mut self, found: Vec<(PeerId, Multiaddr)>) {
        let mut devices = BTreeMap::<DeviceId, Vec<Multiaddr>>::new();
        for (peer, addr) in found {
            let Some(device) = device_of(&peer).filter(|device| *device != self.shared.device) else { continue };
            let addrs = devices.entry(device).or_default();
            if addrs.len() < MAX_ADDRS_PER_PEER {
                addrs.push(addr);
            }
        }
        for (device, addrs) in devices {
            self.report(NetEvent::Discovered { device, addrs });
        }
    }

    /// Queues an event that nobody waits for. False, and counted, when the application is too far behind.
    fn report(&mut self, event: NetEvent) -> bool {
        let room = self.backlog.len() < MAX_BACKLOG_EVENTS;
        if room {
            self.backlog.push_back(event);
        } else {
            self.shared.metrics.events_dropped.inc();
        }
        room
    }
}

/// Dialling.
impl Driver {
    fn dial(&mut self, device: DeviceId, mut addrs: Vec<Multiaddr>, reply: oneshot::Sender<Result<(), DialError>>) {
        if device == self.shared.device {
            let _ = reply.send(Err(DialError::Ourselves(device)));
            return;
        }
        let links = self.swarm.behaviour().carrier.links(&device);
        if links.iter().any(|link| link.control) {
            let _ = reply.send(Ok(()));
            return;
        }
        let connected = !links.is_empty();
        let peer = peer_id_of(device);
        if self.paths.holes.given_up(&peer, Instant::now()) {
            addrs.retain(|addr| !is_relayed(addr));
        }
        let dial = self.dials.entry(device).or_default();
        dial.waiters.retain(|waiter| !waiter.is_closed());
        dial.waiters.push(reply);
        let fresh: Vec<_> = addrs.into_iter().filter(|addr| dial.tried.insert(addr.clone())).collect();
        let under_way = connected || !dial.attempts.is_empty();
        if under_way && fresh.is_empty() {
            return;
        }
        let opts = DialOpts::peer_id(peer)
            .condition(PeerCondition::Always)
            .addresses(fresh)
            .extend_addresses_through_behaviour()
            .build();
        let attempt = opts.connection_id();
        dial.attempts.insert(attempt);
        if let Err(error) = self.swarm.dial(opts) {
            self.dial_failed(&peer, attempt, &error);
        }
    }

    fn dial_failed(&mut self, peer: &PeerId, attempt: ConnectionId, error: &libp2p::swarm::DialError) {
        let Some(device) = device_of(peer) else { return };
        let Some(dial) = self.dials.get_mut(&device) else { return };
        // Kademlia dials too; its failures are not ours.
        if !dial.attempts.remove(&attempt) || !dial.attempts.is_empty() {
            return;
        }
        if self.swarm.behaviour().carrier.links(&device).is_empty() {
            let error = dial_error(device, self.shared.bans.holds(&device), error);
            tracing::debug!(%device, %error, "dial failed");
            self.answer_dial(device, &Err(error));
        }
    }

    fn answer_dial(&mut self, device: DeviceId, answer: &Result<(), DialError>) {
        for waiter in self.dials.remove(&device).into_iter().flat_map(|dial| dial.waiters) {
            let _ = waiter.send(answer.clone());
        }
    }
}

fn dial_error(device: DeviceId, banned: bool, error: &libp2p::swarm::DialError) -> DialError {
    use libp2p::connection_limits::Exceeded;
    use libp2p::swarm::DialError as E;
    match error {
        E::NoAddresses => DialError::NoAddress(device),
        E::WrongPeerId { .. } => DialError::WrongDevice(device),
        E::LocalPeerId { .. } => DialError::WrongDevice(device),
        E::Denied { .. } if banned => DialError::Banned(device),
        E::Denied { cause } if cause.downcast_ref::<Exceeded>().is_some() => DialError::TooMany,
        E::Denied { .. } => DialError::Unreachable { device, reason: "refused".to_owned() },
        E::Aborted | E::DialPeerConditionFalse(_) => DialError::Unreachable { device, reason: "given up".to_owned() },
        E::Transport(failures) => {
            let each: Vec<_> =
                failures.iter().map(|(addr, e)| format!("{}: {}", Redacted(addr), cause_of(e))).collect();
            DialError::Unreachable { device, reason: each.join("; ") }
        }
    }
}

/// The innermost cause: the outer ones repeat the address.
fn cause_of(error: &libp2p::TransportError<std::io::Error>) -> String {
    let mut cause: &dyn std::error::Error = match error {
        libp2p::TransportError::MultiaddrNotSupported(_) => return "no transport for this address".to_owned(),
        libp2p::TransportError::Other(error) => error,
    };
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// Gossip.
impl Driver {
    fn publish(&mut self, channel: &ChannelId, data: Vec<u8>) -> Result<(), PublishError> {
        use gossipsub::PublishError as E;
        let len = data.len();
        match self.swarm.behaviour_mut().gossip.publish(topic_of(channel), data) {
            // Somebody else published the same fact first: it is out.
            Ok(_) | Err(E::Duplicate) => {
                self.shared.metrics.gossip_out.inc();
                Ok(())
            }
            Err(E::MessageTooLarge) => Err(PublishError::TooLarge(len)),
            Err(E::AllQueuesFull(_)) => Err(PublishError::Full),
            Err(_) => Err(PublishError::NoListeners),
        }
    }

    fn on_gossip(&mut self, event: gossipsub::Event) {
        let gossipsub::Event::Message { propagation_source, message_id, message } = event else { return };
        self.shared.metrics.gossip_in.inc();
        let token = GossipToken { id: message_id, source: propagation_source };
        let known = channel_of(&message.topic).zip(device_of(&propagation_source));
        let ignored = GossipToken { id: token.id.clone(), source: token.source };
        let taken = known.is_some_and(|(channel, source)| {
            self.report(NetEvent::Gossip { channel, source, data: message.data, token })
        });
        if !taken {
            self.judge(&ignored, Verdict::Ignore);
        }
    }

    fn judge(&mut self, token: &GossipToken, verdict: Verdict) {
        let acceptance = match verdict {
            Verdict::Accept => MessageAcceptance::Accept,
            Verdict::Ignore => MessageAcceptance::Ignore,
            Verdict::Reject => {
                self.shared.metrics.gossip_rejected.inc();
                MessageAcceptance::Reject
            }
        };
        self.swarm.behaviour_mut().gossip.report_message_validation_result(&token.id, &token.source, acceptance);
    }
}
