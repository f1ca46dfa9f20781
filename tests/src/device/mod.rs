//! A device without the product's manners: it speaks the product's wire, is who its key says, and does what a test
//! tells it, honest or not. What the product must withstand is shown with it, so that the product itself needs no
//! switch for misbehaving.

mod shelves;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use aftercast_net::exchange::{ChunkProvider, FetchError, LanePool, ServeGate, Wanted, serve_lane};
use aftercast_net::{Multiaddr, Net, NetConfig, NetEvent, Verdict};
use aftercast_protocol::ccf::{Chunk, ChunkPlan, ChunkState, Chunker, ChunkerEvent, ProgramSelect};
use aftercast_protocol::duty::Capability;
use aftercast_protocol::grant::{Certificate, JoinCode, RawGrant};
use aftercast_protocol::ids::{ChannelId, ChunkCid, DeviceId, RecordingId};
use aftercast_protocol::serve::{Class, ServeConfig, Usage};
use aftercast_protocol::sign::{Raw, SecretKey};
use aftercast_protocol::time::{Micros, UnixMillis};
use aftercast_protocol::truth::{Reception, Report, Standing};
use aftercast_protocol::verify::{GroupRange, groups_of_len};
use aftercast_protocol::wire::ctl::{CTL_VERSION, CtlMsg, Have, Hello, ReqId, Role};
use anyhow::{Context, anyhow, bail};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use crate::impair::packet::PACKET;
use crate::processes::{NodeProcess, PATIENCE, SeedProcess};
pub use shelves::{FalseUnits, FlippedShelf};

/// Where everybody can be dialled.
const LOOPBACK: &str = "/ip4/127.0.0.1/tcp/0";

/// A device in this process.
pub struct Device {
    runtime: Runtime,
    net: Net,
    lanes: LanePool,
    heard: Arc<Heard>,
    shelf: Arc<OnceLock<Arc<dyn ChunkProvider>>>,
    seed: Option<DeviceId>,
    certificate: Option<Raw<Certificate>>,
    asked: u64,
}

/// What the seed gave for a request to record.
#[derive(Debug, Clone)]
pub struct Right {
    /// The recording.
    pub recording: RecordingId,
    /// What may be fetched of it.
    pub grant: RawGrant,
}

/// What the network said so far.
#[derive(Default)]
struct Heard {
    said: Mutex<Said>,
    more: Condvar,
}

#[derive(Default)]
struct Said {
    messages: Vec<(DeviceId, CtlMsg)>,
    connected: BTreeSet<DeviceId>,
}

impl Heard {
    fn lock(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, note: impl FnOnce(&mut Said)) {
        note(&mut self.lock());
        self.more.notify_all();
    }

    fn wait<T>(&self, what: &str, look: impl Fn(&Said) -> Option<T>) -> anyhow::Result<T> {
        let until = Instant::now() + PATIENCE;
        let mut said = self.lock();
        loop {
            if let Some(found) = look(&said) {
                return Ok(found);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("waited in vain for {what}");
            }
            said = self.more.wait_timeout(said, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn wait_message<T>(&self, what: &str, look: impl Fn(DeviceId, &CtlMsg) -> Option<T>) -> anyhow::Result<T> {
        self.wait(what, |said| said.messages.iter().rev().find_map(|(from, msg)| look(*from, msg)))
    }
}

impl Device {
    /// A device whose key comes from its name; it listens on loopback and knows nobody.
    ///
    /// # Errors
    /// The system has no threads or sockets left.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let key = SecretKey::from_bytes(blake3::hash(name.as_bytes()).as_bytes());
        let mut config = NetConfig::new(key);
        config.listen.push(LOOPBACK.parse()?);
        let (net, events) = runtime.block_on(Net::start(config))?;
        let (heard, shelf) = (Arc::<Heard>::default(), Arc::<OnceLock<Arc<dyn ChunkProvider>>>::default());
        let gate = {
            let _guard = runtime.enter();
            ServeGate::start(ServeConfig::default(), Usage::default())
        };
        runtime.spawn(listen(net.clone(), events, Arc::clone(&heard), Arc::clone(&shelf), gate));
        let lanes = LanePool::new(net.clone(), 1);
        Ok(Self { runtime, net, lanes, heard, shelf, seed: None, certificate: None, asked: 0 })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> DeviceId {
        self.net.device()
    }

    /// Connects to a seed and greets it, with the certificate it has, or none.
    ///
    /// # Errors
    /// The seed is not reached.
    pub fn greet_seed(&mut self, seed: &SeedProcess) -> anyhow::Result<()> {
        let device = self.dial(seed.device(), seed.listen())?;
        self.seed = Some(device);
        self.heard.wait("the connection", |said| said.connected.contains(&device).then_some(()))?;
        let hello = Hello { capability: Some(CAPABLE), ..self.hello(Vec::new()) };
        self.send(device, &CtlMsg::Hello(hello))
    }

    /// Enrols as a device of a subscriber and greets the seed as such.
    ///
    /// # Errors
    /// The seed is not reached, or refuses.
    pub fn enrol(&mut self, seed: &SeedProcess, subscriber: &str) -> anyhow::Result<()> {
        let code: JoinCode = seed.enrol(subscriber)?.parse()?;
        self.greet_seed(seed)?;
        match self.request(|req| CtlMsg::Enrol { req, code: code.code })? {
            CtlMsg::Enrolled { certificate, .. } => self.certificate = Some(certificate),
            other => bail!("not enrolled: {other:?}"),
        }
        self.greet_seed(seed)
    }

    /// Asks the seed to record, or to go on with a recording; its answer otherwise is the error.
    ///
    /// # Errors
    /// The seed refuses, or does not answer.
    pub fn record(&mut self, channel: &str, resume: Option<RecordingId>) -> anyhow::Result<Right> {
        let channel: ChannelId = channel.parse()?;
        match self.request(|req| CtlMsg::Record { req, channel, resume, from: None, to: None })? {
            CtlMsg::Recording { recording, grant, .. } => Ok(Right { recording, grant }),
            other => bail!("no recording: {other:?}"),
        }
    }

    /// A right to all that there is of a recording by now.
    ///
    /// # Errors
    /// The seed refuses, or does not answer.
    pub fn play(&mut self, recording: RecordingId) -> anyhow::Result<RawGrant> {
        match self.request(|req| CtlMsg::Play { req, recording, at: None, first_held: true })? {
            CtlMsg::Session(session) => Ok(session.grant),
            other => bail!("no session: {other:?}"),
        }
    }

    /// Asks the seed something; whatever it answers.
    ///
    /// # Errors
    /// It does not answer.
    pub fn request(&mut self, build: impl FnOnce(ReqId) -> CtlMsg) -> anyhow::Result<CtlMsg> {
        let seed = self.seed.context("no seed is known")?;
        self.asked += 1;
        let req = ReqId(self.asked);
        self.send(seed, &build(req))?;
        self.heard.wait_message("the seed's answer", |from, msg| {
            (from == seed && msg.answers() == Some(req)).then(|| msg.clone())
        })
    }

    /// Tells the seed something.
    ///
    /// # Errors
    /// It is not connected.
    pub fn tell_seed(&self, msg: &CtlMsg) -> anyhow::Result<()> {
        self.send(self.seed.context("no seed is known")?, msg)
    }

    /// Waits until somebody said something in particular.
    ///
    /// # Errors
    /// Nobody did in time.
    pub fn wait_heard<T>(&self, what: &str, look: impl Fn(DeviceId, &CtlMsg) -> Option<T>) -> anyhow::Result<T> {
        self.heard.wait_message(what, look)
    }

    /// Waits until a device is not connected any more.
    ///
    /// # Errors
    /// It still was in the end.
    pub fn wait_gone(&self, device: DeviceId) -> anyhow::Result<()> {
        self.heard.wait("the end of a connection", |said| (!said.connected.contains(&device)).then_some(()))
    }

    /// Connects to a node and shows it these rights; its id.
    ///
    /// # Errors
    /// It is not reached.
    pub fn greet_node(&self, node: &NodeProcess, grants: Vec<RawGrant>) -> anyhow::Result<DeviceId> {
        let device = self.dial(&node.device()?, &node.listen()?)?;
        self.send(device, &CtlMsg::Hello(self.hello(grants)))?;
        Ok(device)
    }

    /// Sends a control message.
    ///
    /// # Errors
    /// Nobody of this id is connected.
    pub fn send(&self, to: DeviceId, msg: &CtlMsg) -> anyhow::Result<()> {
        let frame = msg.to_frame()?;
        self.runtime.block_on(self.net.send(to, frame)).context("not sent")
    }

    fn dial(&self, device: &str, addrs: &[String]) -> anyhow::Result<DeviceId> {
        let device: DeviceId = device.parse().map_err(|error| anyhow!("device {device}: {error}"))?;
        let addrs = addrs.iter().map(|addr| addr.parse()).collect::<Result<Vec<Multiaddr>, _>>()?;
        self.runtime.block_on(self.net.dial(device, addrs))?;
        Ok(device)
    }

    fn hello(&self, grants: Vec<RawGrant>) -> Hello {
        Hello {
            version: CTL_VERSION,
            role: Role::Node,
            certificate: self.certificate.clone(),
            capability: None,
            grants,
            addrs: self.net.listen_addrs().iter().map(ToString::to_string).collect(),
            agent: "aftercast-test".to_owned(),
        }
    }

    /// Fetches a chunk whole from a connected device.
    ///
    /// # Errors
    /// Why there was none.
    pub fn fetch(&self, from: DeviceId, cid: ChunkCid, len: u64) -> Result<Vec<u8>, FetchError> {
        let groups = GroupRange::new(0, groups_of_len(len).unwrap_or(1));
        let deadline = Micros::from_secs(PATIENCE.as_secs());
        let wanted = Wanted { cid, groups, class: Class::Playback, deadline, len: Some(len), hashes: None };
        self.runtime.block_on(async {
            let mut transfer = self.lanes.fetch(from, &wanted).await?;
            let mut bytes = Vec::new();
            while let Some(group) = transfer.next().await {
                bytes.extend(group?.1);
            }
            Ok(bytes)
        })
    }

    /// Answers lanes from now on; before, it drops them.
    pub fn serve(&self, shelf: impl ChunkProvider) {
        // Said once by each test; a second shelf would be the test's own mistake and is not put up.
        let _ = self.shelf.set(Arc::new(shelf));
    }

    /// Says that it holds all that a grant names.
    ///
    /// # Errors
    /// The seed is not connected, or did not sign the grant.
    pub fn claim(&self, grant: &RawGrant) -> anyhow::Result<()> {
        let grant = grant.verify(&self.seed.context("no seed is known")?)?;
        let (channel, added) = (grant.channel.clone(), grant.spans.clone());
        self.tell_seed(&CtlMsg::Have(Have { channel, added, removed: Vec::new() }))
    }

    /// Reports what it received, or says that it did.
    ///
    /// # Errors
    /// The seed is not connected.
    pub fn report(&self, channel: &str, chunks: &[(usize, Chunk)]) -> anyhow::Result<()> {
        let channel: ChannelId = channel.parse()?;
        let reports = chunks.iter().filter_map(|(_, chunk)| report(&channel, chunk)).collect();
        self.tell_seed(&CtlMsg::Reports { reports })
    }
}

/// A line that is no limit.
const CAPABLE: Capability = Capability {
    uplink_declared_bps: 1_000_000_000,
    uplink_measured_bps: 0,
    share_percent: 100,
    backlog_bytes: 0,
    budget_left_bytes: u64::MAX,
    free_bytes: 1 << 40,
    metered: false,
    on_battery: false,
    paused: false,
};

async fn listen(
    net: Net,
    mut events: mpsc::Receiver<NetEvent>,
    heard: Arc<Heard>,
    shelf: Arc<OnceLock<Arc<dyn ChunkProvider>>>,
    gate: ServeGate,
) {
    while let Some(event) = events.recv().await {
        match event {
            NetEvent::Ctl { from, frame } => {
                if let Ok(msg) = CtlMsg::from_frame(&frame) {
                    heard.note(|said| said.messages.push((from, msg)));
                }
            }
            NetEvent::Gossip { token, .. } => net.judge(token, Verdict::Accept).await,
            NetEvent::Lane { lane, .. } => {
                if let Some(shelf) = shelf.get() {
                    tokio::spawn(serve_lane(lane, Arc::clone(shelf), gate.clone()));
                }
            }
            NetEvent::Connected(device, _) => heard.note(|said| _ = said.connected.insert(device)),
            NetEvent::Disconnected(device) => heard.note(|said| _ = said.connected.remove(&device)),
            NetEvent::Discovered { .. } => {}
        }
    }
}

fn report(channel: &ChannelId, chunk: &Chunk) -> Option<Report> {
    let ChunkState::Clean(clean) = &chunk.state else { return None };
    Some(Report {
        channel: channel.clone(),
        timeline: chunk.timeline,
        index: chunk.index,
        pts: chunk.pts,
        duration: chunk.duration,
        opening: chunk.opening,
        utc: now(),
        reception: Reception::Clean { cid: clean.cid, bytes: clean.bytes.len() as u64 },
        standing: Standing::Witness,
    })
}

fn now() -> UnixMillis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Cuts a programme as any recorder does: its whole chunks, each with the number of bytes after which it came out.
///
/// # Errors
/// The plan cannot be read or used.
pub fn cut(bytes: &[u8], plan: &Path) -> anyhow::Result<Vec<(usize, Chunk)>> {
    let text = std::fs::read_to_string(plan).with_context(|| plan.display().to_string())?;
    let mut plan: ChunkPlan = toml::from_str(&text)?;
    // As the seed gives it to the first who record.
    plan.anchors.clear();
    let mut chunker = Chunker::new(plan, ProgramSelect::First)?;
    let mut chunks = Vec::new();
    let mut drain = |chunker: &mut Chunker, at: usize| {
        while let Some(event) = chunker.poll_event() {
            if let ChunkerEvent::Chunk(chunk) = event
                && matches!(chunk.state, ChunkState::Clean(_))
            {
                chunks.push((at, chunk));
            }
        }
    };
    let mut at = 0;
    for packet in bytes.chunks(PACKET) {
        at += packet.len();
        chunker.push(packet);
        drain(&mut chunker, at);
    }
    chunker.finish();
    drain(&mut chunker, at);
    Ok(chunks)
}
