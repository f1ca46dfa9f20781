//! The handle that applications hold.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aftercast_protocol::ids::{ChannelId, DeviceId};
use aftercast_protocol::limits::{
    DIAL_TIMEOUT, FIND_TIMEOUT, MAX_BANNED_DEVICES, MAX_CONCURRENT_FINDS, MAX_FOUND_PROVIDERS, MAX_GOSSIP_BYTES,
    MAX_NET_COMMANDS, MAX_NET_EVENTS, STREAM_OPEN_TIMEOUT,
};
use futures::StreamExt as _;
use libp2p::core::transport::ListenerId;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, Swarm, SwarmBuilder};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::behaviour::Behaviour;
use crate::carrier::LaneFailure;
use crate::config::{NetConfig, Reach};
use crate::control::Frame;
use crate::driver::{Command, Driver, Paths};
use crate::errors::{DialError, LaneError, PublishError, SendError, StartError};
use crate::event::{GossipToken, NetEvent, PeerInfo, Verdict};
use crate::holes::Holes;
use crate::lane::Lane;
use crate::metrics::NetMetrics;
use crate::peer::keypair_of;
use crate::reachability::{Home, Reachability};
use crate::resolve::resolve;
use crate::transport;

/// Longest wait for the listen addresses.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Devices that are refused, oldest forgotten first.
#[derive(Debug, Default)]
pub(crate) struct Bans(Mutex<(BTreeSet<DeviceId>, VecDeque<DeviceId>)>);

impl Bans {
    pub fn holds(&self, device: &DeviceId) -> bool {
        lock(&self.0).0.contains(device)
    }

    fn add(&self, device: DeviceId) {
        let (set, order) = &mut *lock(&self.0);
        if set.insert(device) {
            order.push_back(device);
        }
        if order.len() > MAX_BANNED_DEVICES
            && let Some(oldest) = order.pop_front()
        {
            set.remove(&oldest);
        }
    }
}

/// What handles see of a connected device.
#[derive(Debug)]
pub(crate) struct PeerView {
    pub outbox: mpsc::Sender<Frame>,
    pub info: PeerInfo,
}

/// What handles read without asking the driver. The driver writes it; locks are never held over an await.
#[derive(Debug)]
pub(crate) struct Shared {
    pub device: DeviceId,
    pub bans: Arc<Bans>,
    pub metrics: Arc<NetMetrics>,
    /// Tells the driver to look at `unwanted`.
    pub wake: Notify,
    listen: Mutex<Vec<Multiaddr>>,
    /// What the configuration says instead of them.
    announce: Vec<Multiaddr>,
    /// How others reach us, and our addresses beside those listened on. Marked changed by
    /// every hole and by everything at our relay, too.
    pub reach: watch::Sender<(Reachability, Vec<Multiaddr>)>,
    peers: Mutex<BTreeMap<DeviceId, PeerView>>,
    /// Devices to disconnect; bounded because only connected or just banned devices get in.
    unwanted: Mutex<BTreeSet<DeviceId>>,
    finds: Semaphore,
}

impl Shared {
    pub fn listen(&self) -> MutexGuard<'_, Vec<Multiaddr>> {
        lock(&self.listen)
    }

    pub fn peers(&self) -> MutexGuard<'_, BTreeMap<DeviceId, PeerView>> {
        lock(&self.peers)
    }

    pub fn unwanted(&self) -> MutexGuard<'_, BTreeSet<DeviceId>> {
        lock(&self.unwanted)
    }
}

/// A panic while a lock was held leaves plain data behind; the data is as good as the last finished write.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The network, as an application holds it. Clones are the same network; dropping the last one shuts it down.
///
/// Dropping any of the futures is safe: what was asked for may still happen, and its answer is discarded.
#[derive(Debug, Clone)]
pub struct Net {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
}

impl Net {
    /// Starts the network and waits until every listen address is bound (port 0 resolved).
    ///
    /// # Errors
    /// When an address cannot be listened on, or a part of the stack cannot be set up.
    pub async fn start(config: NetConfig) -> Result<(Self, mpsc::Receiver<NetEvent>), StartError> {
        let reachable = match config.reach {
            Reach::Home { .. } => Reachability::Unknown,
            Reach::Plain | Reach::Introducer { .. } => Reachability::Listening,
        };
        let shared = Arc::new(Shared {
            device: config.key.device(),
            bans: Arc::default(),
            metrics: Arc::default(),
            wake: Notify::new(),
            listen: Mutex::default(),
            announce: config.announce.clone(),
            reach: watch::Sender::new((reachable, Vec::new())),
            peers: Mutex::default(),
            unwanted: Mutex::default(),
            finds: Semaphore::new(MAX_CONCURRENT_FINDS),
        });
        let holes = Holes::default();
        let mut swarm = build(&config, &shared, &holes)?;
        let bound = listen(&mut swarm, &config.listen).await?;
        for addr in &config.announce {
            swarm.add_external_address(addr.clone());
        }
        let (commands, taken) = mpsc::channel(MAX_NET_COMMANDS);
        let (events, happened) = mpsc::channel(MAX_NET_EVENTS);
        let home = match config.reach {
            Reach::Home { introducer, .. } => Some(Home::new(introducer, std::time::Instant::now())),
            Reach::Plain | Reach::Introducer { .. } => None,
        };
        let paths = Paths::new(home, holes);
        let mut driver = Driver::new(swarm, Arc::clone(&shared), taken, events, &config, paths);
        for addr in bound {
            driver.listening(addr);
        }
        tokio::spawn(driver.run());
        Ok((Self { shared, commands }, happened))
    }

    /// This device.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.shared.device
    }

    /// The addresses listened on, one per interface and transport.
    #[must_use]
    pub fn listen_addrs(&self) -> Vec<Multiaddr> {
        self.shared.listen().clone()
    }

    /// Where others may reach this device: what the configuration says; or else proven addresses, or the one through the
    /// introducer, before those listened on.
    #[must_use]
    pub fn addrs(&self) -> Vec<Multiaddr> {
        if !self.shared.announce.is_empty() {
            return self.shared.announce.clone();
        }
        let mut addrs = self.shared.reach.borrow().1.clone();
        let listen = self.listen_addrs().into_iter().filter(|addr| !addrs.contains(addr)).collect::<Vec<_>>();
        addrs.extend(listen);
        addrs
    }

    /// How others reach this device.
    #[must_use]
    pub fn reachability(&self) -> Reachability {
        self.shared.reach.borrow().0
    }

    /// Is told when [`Net::addrs`] or [`Net::reachability`] changed, a hole was tried, punched or not, and, at an introducer, of
    /// everything that happens at its relay.
    #[must_use]
    pub fn reach_changes(&self) -> watch::Receiver<(Reachability, Vec<Multiaddr>)> {
        self.shared.reach.subscribe()
    }

    /// The counters.
    #[must_use]
    pub fn metrics(&self) -> &Arc<NetMetrics> {
        &self.shared.metrics
    }

    /// Connects to a device, at these addresses or ones that discovery knows. Done at once where it is connected;
    /// gives up after `limits::DIAL_TIMEOUT`. Host names in addresses are resolved.
    ///
    /// # Errors
    /// See [`DialError`].
    pub async fn dial(&self, device: DeviceId, addrs: Vec<Multiaddr>) -> Result<(), DialError> {
        if self.shared.peers().contains_key(&device) {
            return Ok(());
        }
        let connect = async {
            let addrs = resolve(addrs).await;
            let (reply, answer) = oneshot::channel();
            self.command(Command::Dial { device, addrs, reply }).await.ok_or(DialError::Stopped)?;
            answer.await.unwrap_or(Err(DialError::Stopped))
        };
        timeout(Duration::from_micros(DIAL_TIMEOUT.0), connect).await.unwrap_or(Err(DialError::Timeout(device)))
    }

    /// Queues one control frame, waiting while the device's queue is full. `Ok` means queued: delivery shows only in
    /// an answer. Not for use while handling an event: use [`Net::try_send`] there.
    ///
    /// # Errors
    /// See [`SendError`]; never `Full`.
    pub async fn send(&self, device: DeviceId, frame: Vec<u8>) -> Result<(), SendError> {
        let (outbox, frame) = self.outbox(device, &frame)?;
        outbox.send(frame).await.map_err(|_| SendError::NotConnected(device))
    }

    /// [`Net::send`] without waiting.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn try_send(&self, device: DeviceId, frame: Vec<u8>) -> Result<(), SendError> {
        let (outbox, frame) = self.outbox(device, &frame)?;
        outbox.try_send(frame).map_err(|error| match error {
            TrySendError::Closed(_) => SendError::NotConnected(device),
            TrySendError::Full(_) => {
                self.shared.metrics.control_queue_full.inc();
                SendError::Full(device)
            }
        })
    }

    fn outbox(&self, device: DeviceId, frame: &[u8]) -> Result<(mpsc::Sender<Frame>, Frame), SendError> {
        let packed = Frame::of(frame).ok_or(SendError::TooLarge(frame.len()))?;
        let outbox = self.shared.peers().get(&device).map(|peer| peer.outbox.clone());
        Ok((outbox.ok_or(SendError::NotConnected(device))?, packed))
    }

    /// Opens a lane on a direct connection to the device. A device that has too many open resets it: then its first
    /// read ends at once.
    ///
    /// # Errors
    /// See [`LaneError`].
    pub async fn open_lane(&self, device: DeviceId) -> Result<Lane, LaneError> {
        let (reply, answer) = oneshot::channel();
        let open = async {
            self.command(Command::OpenLane { device, reply }).await.ok_or(LaneFailure::Closed)?;
            answer.await.unwrap_or(Err(LaneFailure::Closed))
        };
        // The handler times negotiation out; this bound is for the queues in front of it.
        let wait = Duration::from_micros(STREAM_OPEN_TIMEOUT.0.saturating_mul(2));
        match timeout(wait, open).await.unwrap_or(Err(LaneFailure::Timeout)) {
            Ok(stream) => {
                self.shared.metrics.lanes_out.inc();
                Ok(Lane::new(device, stream, Arc::clone(&self.shared.metrics), None))
            }
            Err(LaneFailure::Error(error)) => Err(error),
            Err(LaneFailure::TooMany) => Err(LaneError::TooMany(device)),
            Err(LaneFailure::Unsupported) => Err(LaneError::Unsupported(device)),
            Err(LaneFailure::Timeout) => Err(LaneError::Timeout(device)),
            Err(LaneFailure::Closed) => Err(LaneError::Closed(device)),
        }
    }

    /// Listens to a channel's facts.
    pub async fn subscribe(&self, channel: &ChannelId) {
        self.ask(|reply| Command::Subscribe(channel.clone(), reply)).await;
    }

    /// Stops listening to a channel's facts.
    pub async fn unsubscribe(&self, channel: &ChannelId) {
        self.ask(|reply| Command::Unsubscribe(channel.clone(), reply)).await;
    }

    /// Publishes a message to a channel's listeners. Messages with the same bytes count as one.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn publish(&self, channel: &ChannelId, data: Vec<u8>) -> Result<(), PublishError> {
        if data.len() > MAX_GOSSIP_BYTES {
            return Err(PublishError::TooLarge(data.len()));
        }
        let answer = self.ask(|reply| Command::Publish { channel: channel.clone(), data, reply }).await;
        answer.unwrap_or(Err(PublishError::Stopped))
    }

    /// Says what becomes of a gossip message. A message without a verdict is not passed on.
    pub async fn judge(&self, token: GossipToken, verdict: Verdict) {
        self.command(Command::Judge(token, verdict)).await;
    }

    /// Announces in the hash table that this device has what hashes to `key`, again and again until
    /// [`Net::stop_providing`]. False when too many keys are announced already (`limits::MAX_PROVIDED_KEYS`) or the
    /// network is shut down.
    pub async fn provide(&self, key: [u8; 32]) -> bool {
        self.ask(|reply| Command::Provide(key, reply)).await.unwrap_or(false)
    }

    /// Stops announcing; others may remember the last announcement for up to two days.
    pub async fn stop_providing(&self, key: [u8; 32]) {
        self.ask(|reply| Command::StopProviding(key, reply)).await;
    }

    /// Devices that announced `key`, ourselves excluded: up to `want` of them, in the order they were found, with
    /// the addresses that are known (maybe none: then [`Net::dial`] may still find one). Takes
    /// `limits::FIND_TIMEOUT` at most.
    pub async fn find_providers(&self, key: [u8; 32], want: usize) -> Vec<(DeviceId, Vec<Multiaddr>)> {
        let deadline = Instant::now() + Duration::from_micros(FIND_TIMEOUT.0);
        let want = want.min(MAX_FOUND_PROVIDERS);
        let mut providers = Vec::new();
        let Ok(Ok(_turn)) = timeout_at(deadline, self.shared.finds.acquire()).await else { return providers };
        let (found, mut results) = mpsc::channel(MAX_FOUND_PROVIDERS);
        self.command(Command::FindProviders { key, found }).await;
        while providers.len() < want
            && let Ok(Some(provider)) = timeout_at(deadline, results.recv()).await
        {
            providers.push(provider);
        }
        providers
    }

    /// Closes all connections to a device. It may come back.
    pub fn disconnect(&self, device: DeviceId) {
        if self.shared.peers().contains_key(&device) {
            self.shared.unwanted().insert(device);
            self.shared.wake.notify_one();
        }
    }

    /// Refuses a device from now on, both ways. At most `limits::MAX_BANNED_DEVICES` are remembered, the latest.
    pub fn ban(&self, device: DeviceId) {
        self.shared.bans.add(device);
        self.shared.unwanted().insert(device);
        self.shared.wake.notify_one();
    }

    /// The connected devices, in order of their ids.
    #[must_use]
    pub fn connected(&self) -> Vec<DeviceId> {
        self.shared.peers().keys().copied().collect()
    }

    /// What is known of a connected device.
    #[must_use]
    pub fn peer_info(&self, device: DeviceId) -> Option<PeerInfo> {
        self.shared.peers().get(&device).map(|peer| peer.info.clone())
    }

    /// Queues bytes on a control stream that no honest device would send.
    #[cfg(test)]
    pub(crate) fn send_raw(&self, device: DeviceId, frame: Frame) {
        let outbox = self.shared.peers().get(&device).map(|peer| peer.outbox.clone());
        outbox.unwrap().try_send(frame).unwrap();
    }

    /// Does something to the swarm, and waits until it is done.
    #[cfg(test)]
    pub(crate) async fn inspect<T: Send + 'static>(
        &self,
        look: impl FnOnce(&mut Swarm<Behaviour>) -> T + Send + 'static,
    ) -> T {
        let (reply, answer) = oneshot::channel();
        let look = Box::new(move |swarm: &mut Swarm<Behaviour>| drop(reply.send(look(swarm))));
        self.command(Command::Inspect(look)).await.unwrap();
        answer.await.unwrap()
    }

    async fn command(&self, command: Command) -> Option<()> {
        self.commands.send(command).await.ok()
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.command(command(reply)).await?;
        answer.await.ok()
    }
}

fn build(config: &NetConfig, shared: &Shared, holes: &Holes) -> Result<Swarm<Behaviour>, StartError> {
    let keypair = keypair_of(&config.key);
    let (bans, metrics) = (Arc::clone(&shared.bans), Arc::clone(&shared.metrics));
    let (behaviour, through_relays) = Behaviour::new(config, &keypair, bans, metrics, holes.clone())?;
    let carriage = transport::all(&keypair, through_relays, holes.clone())?;
    let swarm = SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_other_transport(|_| carriage)
        .map_err(|e| StartError::Setup(e.to_string()))?
        .with_behaviour(|_| behaviour)
        .map_err(|e| StartError::Setup(e.to_string()))?
        .build();
    Ok(swarm)
}

/// Listens, and waits for the first bound address of every listener.
async fn listen(swarm: &mut Swarm<Behaviour>, wanted: &[Multiaddr]) -> Result<Vec<Multiaddr>, StartError> {
    let mut waiting = HashMap::<ListenerId, &Multiaddr>::new();
    for addr in wanted {
        let failed = |e: &dyn std::fmt::Display| StartError::Listen { addr: addr.clone(), reason: e.to_string() };
        waiting.insert(swarm.listen_on(addr.clone()).map_err(|e| failed(&e))?, addr);
    }
    let mut bound = Vec::new();
    let deadline = Instant::now() + LISTEN_TIMEOUT;
    while let Some(addr) = waiting.values().next() {
        let failed = |addr: &Multiaddr, reason: String| Err(StartError::Listen { addr: addr.clone(), reason });
        match timeout_at(deadline, swarm.select_next_some()).await {
            Err(_) => return failed(addr, "not bound in time".to_owned()),
            Ok(SwarmEvent::NewListenAddr { listener_id, address }) => {
                waiting.remove(&listener_id);
                bound.push(address);
            }
            Ok(SwarmEvent::ListenerClosed { listener_id, reason, .. }) => {
                if let Some(addr) = waiting.get(&listener_id) {
                    return failed(addr, reason.err().map_or("closed".to_owned(), |e| e.to_string()));
                }
            }
            Ok(_) => {}
        }
    }
    Ok(bound)
}
