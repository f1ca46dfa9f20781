//! A home, sources and a player for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use aftercast_net::Multiaddr;
use aftercast_protocol::ccf::AuxObject;
use aftercast_protocol::grant::SlotSpan;
use aftercast_protocol::ids::{ChannelId, ChunkCid, ChunkIndex, DeviceId, RecordingId, Slot, TimelineId, UnitDigest};
use aftercast_protocol::limits::GROUP_BYTES;
use aftercast_protocol::manifest::{Content, Entry, Gap, Manifest, Rendition};
use aftercast_protocol::score::Lie;
use aftercast_protocol::select::SourceInfo;
use aftercast_protocol::time::{Micros, Pts33, Ticks, UnixMillis};
use aftercast_protocol::verify::{GroupHashes, group_len};
use aftercast_protocol::wire::ctl::{FirstChunk, PeerAddr, RankedSource};
use aftercast_store::{Durability, Store, StoreConfig};
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Duration, timeout};

use crate::playback::Playback;
use crate::playback::ports::{
    Arrival, Fetched, LaneFailure, Lanes, Listed, LocalChunk, LocalForm, Opening, Order, Reach, Shelf,
};

/// Long enough for a loaded machine; reached only when something is broken.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub const RECORDING: RecordingId = RecordingId([7; 16]);
pub const SEED: DeviceId = DeviceId([0xee; 32]);

pub fn device(n: u8) -> DeviceId {
    DeviceId([n; 32])
}

pub fn channel() -> ChannelId {
    "one".parse().unwrap()
}

pub fn slot(n: u64) -> Slot {
    Slot { timeline: TimelineId(0), index: ChunkIndex(n) }
}

/// Bytes that differ from chunk to chunk, of several groups.
pub fn bytes(n: u64) -> Vec<u8> {
    let len = 3 * GROUP_BYTES + 1000 + n as usize;
    (0..len).map(|at| (at * 31 + at / 997) as u8 ^ n as u8).collect()
}

pub fn entry(n: u64, content: Content) -> Entry {
    Entry {
        slot: slot(n),
        pts: Pts33(n * 360_000),
        duration: Ticks(360_000),
        opening: UnitDigest([n as u8; 16]),
        utc: UnixMillis(1_700_000_000_000 + n * 4_000),
        content,
    }
}

pub fn chunk(n: u64) -> Content {
    let bytes = bytes(n);
    Content::Chunk { cid: ChunkCid::of(&bytes), bytes: bytes.len() as u64, confirmed: true, head: None, archive: None }
}

pub fn gap(reason: Gap) -> Content {
    Content::Gap { reason }
}

pub fn manifest(complete: bool, contents: Vec<Content>) -> Manifest {
    Manifest {
        recording: RECORDING,
        subscriber: "alice".parse().unwrap(),
        channel: channel(),
        revision: 1,
        complete,
        entries: contents.into_iter().zip(0..).map(|(content, n)| entry(n, content)).collect(),
    }
}

pub fn local(n: u64, form: LocalForm) -> LocalChunk {
    let Entry { slot, pts, duration, opening, utc, .. } = entry(n, gap(Gap::Pending));
    LocalChunk { slot, pts, duration, opening, utc, form, dress: None }
}

/// What a test's node knows and whom it reaches.
#[derive(Default)]
pub struct Home {
    pub manifest: Mutex<Option<Arc<Manifest>>>,
    pub local: Vec<LocalChunk>,
    pub running: bool,
    /// The seed's answer; none while it cannot be reached.
    pub opening: Option<Opening>,
    /// Connected devices.
    pub connected: Mutex<BTreeSet<DeviceId>>,
    /// Devices that say they hold everything.
    pub holders: Vec<DeviceId>,
    /// Devices that the hash table names.
    pub announced: Vec<DeviceId>,
    pub banned: Mutex<Vec<(DeviceId, Lie)>>,
    pub fetched: Mutex<Vec<ChunkCid>>,
    /// Aux objects that are here.
    pub aux: BTreeMap<ChunkCid, AuxObject>,
}

impl Shelf for Home {
    fn recordings(&self) -> Vec<Listed> {
        vec![Listed { recording: RECORDING, channel: channel(), from: UnixMillis(0), running: self.running }]
    }
    fn manifest(&self, _: RecordingId) -> Option<Arc<Manifest>> {
        self.manifest.lock().unwrap().clone()
    }
    fn local(&self, _: RecordingId) -> Vec<LocalChunk> {
        self.local.clone()
    }
    fn aux(&self, chunk: ChunkCid) -> Option<AuxObject> {
        self.aux.get(&chunk).cloned()
    }
    fn note(&self, chunk: &Fetched) -> Vec<u8> {
        chunk.slot.to_string().into_bytes()
    }
    fn fetched(&self, cid: ChunkCid) {
        self.fetched.lock().unwrap().push(cid);
    }
    fn make_room(&self, _: u64) -> bool {
        false
    }
}

impl Reach for Home {
    fn seed(&self) -> Option<DeviceId> {
        Some(SEED)
    }
    fn play(&self, _: RecordingId, _: Option<Slot>, _: bool) -> BoxFuture<'_, Option<Opening>> {
        async { self.opening.clone() }.boxed()
    }
    fn find_sources(&self, _: RecordingId, _: Slot) -> BoxFuture<'_, Option<Vec<RankedSource>>> {
        async { self.opening.clone().map(|opening| opening.sources) }.boxed()
    }
    fn providers(&self, _: [u8; 32]) -> BoxFuture<'_, Vec<(DeviceId, Vec<Multiaddr>)>> {
        async { self.announced.iter().map(|device| (*device, Vec::new())).collect() }.boxed()
    }
    fn holders(&self, _: &ChannelId, _: Slot) -> Vec<DeviceId> {
        self.holders.clone()
    }
    fn connect(&self, device: DeviceId, _: Vec<Multiaddr>) -> BoxFuture<'_, bool> {
        async move {
            self.connected.lock().unwrap().insert(device);
            true
        }
        .boxed()
    }
    fn path(&self, device: DeviceId) -> Option<SourceInfo> {
        let connected = self.connected.lock().unwrap().contains(&device);
        connected.then_some(SourceInfo { lan: false, rtt: Micros::from_millis(1), lanes: 2 })
    }
    fn ban(&self, device: DeviceId, lie: Lie) {
        self.banned.lock().unwrap().push((device, lie));
    }
}

pub fn ranked(device: DeviceId) -> RankedSource {
    let span = SlotSpan { timeline: TimelineId(0), from: ChunkIndex(0), to: ChunkIndex(u64::MAX) };
    RankedSource { peer: PeerAddr { device, addrs: Vec::new() }, spans: vec![span] }
}

/// A head for the first chunk.
pub fn opening_with_head(head: &[u8], sources: Vec<RankedSource>) -> Opening {
    let head = Rendition { recipe: "test".into(), cid: ChunkCid::of(head), bytes: head.len() as u64 };
    let first = FirstChunk { slot: slot(0), cid: ChunkCid::of(&bytes(0)), head: Some(head) };
    Opening { first: Some(first), sources }
}

/// How a source behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    Honest,
    /// Sends one good group and then a wrong one.
    Lies,
    /// Takes requests and says nothing.
    Silent,
}

/// Sources in this process that behave like real lanes: what they hand on is verified.
pub struct Sources {
    pub manners: BTreeMap<DeviceId, Manner>,
    pub stock: Vec<Vec<u8>>,
    /// Orders under way.
    pub open: watch::Sender<usize>,
    /// Who was asked for which chunk.
    pub asked: Mutex<Vec<(DeviceId, ChunkCid)>>,
}

impl Sources {
    pub fn new(manners: &[(DeviceId, Manner)], stock: Vec<Vec<u8>>) -> Arc<Self> {
        let manners = manners.iter().copied().collect();
        Arc::new(Self { manners, stock, open: watch::Sender::new(0), asked: Mutex::default() })
    }
}

struct Opened(watch::Sender<usize>);

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

impl Lanes for Sources {
    fn fetch(&self, order: Order, to: mpsc::Sender<Arrival>) -> BoxFuture<'static, Result<(), LaneFailure>> {
        self.asked.lock().unwrap().push((order.device, order.fetch.cid));
        let manner = self.manners.get(&order.device).copied();
        let chunk = self.stock.iter().find(|chunk| ChunkCid::of(chunk) == order.fetch.cid).cloned();
        self.open.send_modify(|open| *open += 1);
        let opened = Opened(self.open.clone());
        async move {
            let _opened = opened;
            let (Some(manner), Some(chunk)) = (manner, chunk) else { return Err(LaneFailure::NotFound) };
            if manner == Manner::Silent {
                return std::future::pending().await;
            }
            let hashes = GroupHashes::of(&chunk);
            if order.hashes.is_none() {
                let _ = to.send(Arrival::Hashes(Arc::new(hashes.clone()))).await;
            }
            for (n, index) in order.fetch.range.iter().enumerate() {
                let start = index.0 as usize * GROUP_BYTES;
                let mut group = chunk[start..start + group_len(chunk.len() as u64, index)].to_vec();
                group[0] ^= u8::from(manner == Manner::Lies && (n > 0 || order.fetch.range.len() == 1));
                if hashes.check_group(index, &group).is_err() {
                    return Err(LaneFailure::Lied(Lie::Group));
                }
                let _ = to.send(Arrival::Group(index, Bytes::from(group))).await;
            }
            Ok(())
        }
        .boxed()
    }
}

/// A running player endpoint.
pub struct Stage {
    pub playback: Playback,
    pub home: Arc<Home>,
    pub store: Store,
    pub addr: SocketAddr,
    _folder: TempDir,
}

impl Stage {
    /// With these chunks in the store already.
    pub async fn start(home: Home, lanes: Arc<dyn Lanes>, stored: &[Vec<u8>]) -> Self {
        let config = StoreConfig { reserve_free_bytes: 0, ..StoreConfig::default() };
        Self::start_with(config, home, lanes, stored).await
    }

    pub async fn start_with(config: StoreConfig, home: Home, lanes: Arc<dyn Lanes>, stored: &[Vec<u8>]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), config).unwrap();
        for chunk in stored {
            let hashes = GroupHashes::of(chunk);
            store.put_chunk(hashes.cid(), chunk, &hashes, &[], Durability::Buffered).unwrap();
        }
        let home = Arc::new(home);
        let (shelf, reach): (Arc<dyn Shelf>, Arc<dyn Reach>) = (home.clone(), home.clone());
        let playback = Playback::start(store.clone(), shelf, reach, lanes);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(axum::serve(listener, playback.router()).into_future());
        Self { playback, home, store, addr, _folder: folder }
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, "").await
    }

    /// Asks with further header lines, each ended by CRLF.
    pub async fn ask(&self, method: &str, path: &str, headers: &str) -> Reply {
        let mut stream = self.open(method, path, headers).await;
        let mut text = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut text)).await.expect("an answer in time").unwrap();
        Reply::parse(&text)
    }

    /// Asks, and leaves the answer to the caller.
    pub async fn open(&self, method: &str, path: &str, headers: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        let host = self.addr;
        let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    /// The path of something of the recording.
    pub fn path(&self, file: &str) -> String {
        format!("/recordings/{RECORDING}/{file}")
    }

    /// The names of a playlist's segments.
    pub async fn segments(&self) -> Vec<String> {
        let playlist = self.get(&self.path("index.m3u8")).await;
        assert_eq!(playlist.status, 200, "{}", playlist.text());
        playlist.text().lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }
}

/// Opens a store that tasks of an ended fetcher may still hold for a moment: the last of them closes it.
pub async fn reopen(folder: &std::path::Path, config: StoreConfig) -> Store {
    let open = async {
        loop {
            match Store::open(folder, config.clone()) {
                Ok(store) => return store,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    timeout(PATIENCE, open).await.expect("the store is closed")
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Reply {
    fn parse(text: &[u8]) -> Self {
        let end = text.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole header");
        let head = std::str::from_utf8(&text[..end]).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        Self { status, headers, body: text[end + 4..].to_vec() }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}
