//! Playback's needs, met by the rest of the node.

use std::collections::BTreeMap;
use std::sync::Arc;

use aftercast_net::exchange::LanePool;
use aftercast_net::{Multiaddr, Net};
use aftercast_protocol::ccf::{AuxLayout, AuxObject};
use aftercast_protocol::ids::{ChannelId, ChunkCid, DeviceId, RecordingId, Slot};
use aftercast_protocol::limits::MAX_FOUND_PROVIDERS;
use aftercast_protocol::manifest::Manifest;
use aftercast_protocol::score::{Lie, ScoreBook};
use aftercast_protocol::select::SourceInfo;
use aftercast_protocol::time::Micros;
use aftercast_protocol::truth::Class;
use aftercast_protocol::wire::ctl::{RankedSource, SourcePlan};
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::Playback;
use super::cells::Dress;
use super::ports::{Fetched, Listed, LocalChunk, LocalForm, Opening, Reach, Shelf};
use crate::acquaintances::Acquaintances;
use crate::clock::wall;
use crate::library::{AuxKept, ChunkNote, Library, LocalContent, LocalEntry, NoteKind, Recording, RecordingState};
use crate::peers::Peers;
use crate::seed::SeedClient;

/// Lanes to one source: two fill a line (`limits::MAX_LANES_PER_PEER`).
pub const LANES_PER_SOURCE: u8 = 2;
/// Round trip assumed until it was measured.
const RTT: Micros = Micros::from_millis(50);

impl Playback {
    /// Starts playback of what this node knows and reaches.
    #[must_use]
    pub fn of_node(library: Arc<Library>, seed: Arc<SeedClient>, reach: Arc<dyn Reach>, lanes: LanePool) -> Self {
        let store = library.store().clone();
        Self::start(store, Arc::new(NodeShelf { library, seed }), reach, Arc::new(lanes))
    }
}

struct NodeShelf {
    library: Arc<Library>,
    seed: Arc<SeedClient>,
}

impl NodeShelf {
    fn listed(&self, recording: &Recording) -> Listed {
        let over = recording.state(wall()) == RecordingState::Stopped;
        // After the end the seed may still be deciding; without it nothing will be added.
        let closed = self.library.manifest(recording.id).is_some_and(|manifest| manifest.complete);
        let running = !over || (!closed && self.seed.is_online());
        Listed { recording: recording.id, channel: recording.channel.clone(), from: recording.from, running }
    }
}

impl Shelf for NodeShelf {
    fn recordings(&self) -> Vec<Listed> {
        let recordings = self.library.recordings();
        recordings.iter().rev().filter(|one| !one.deleted).map(|one| self.listed(one)).collect()
    }

    fn recording(&self, recording: RecordingId) -> Option<Listed> {
        let recording = self.library.recording(recording).filter(|one| !one.deleted)?;
        Some(self.listed(&recording))
    }

    fn manifest(&self, recording: RecordingId) -> Option<Arc<Manifest>> {
        self.library.manifest(recording)
    }

    fn local(&self, recording: RecordingId) -> Vec<LocalChunk> {
        let channel = self.library.recording(recording).map(|recording| recording.channel);
        let mut layouts: BTreeMap<u64, Option<Arc<AuxLayout>>> = BTreeMap::new();
        let mut dress = |entry: &LocalEntry| {
            let AuxKept { layout, muxed, .. } = entry.aux?;
            let find = || self.library.layout(channel.as_ref()?, layout);
            let layout = layouts.entry(layout).or_insert_with(find).clone()?;
            Some(Dress { layout, bytes: muxed })
        };
        self.library.local_entries(recording).iter().map(|entry| local_chunk(entry, dress(entry))).collect()
    }

    fn aux(&self, chunk: ChunkCid) -> Option<AuxObject> {
        self.library.aux(chunk)
    }

    fn note(&self, chunk: &Fetched) -> Vec<u8> {
        ChunkNote {
            kind: if chunk.head { NoteKind::Rendition } else { NoteKind::Fetched },
            channel: chunk.channel.clone(),
            slot: Some(chunk.slot),
            class: Class::default(),
            utc: chunk.utc,
            confirmed: chunk.confirmed,
        }
        .encode()
    }

    fn fetched(&self, cid: ChunkCid) {
        if let Err(error) = self.library.fetched(cid) {
            tracing::warn!(%cid, %error, "a fetched chunk is not announced");
        }
    }

    fn make_room(&self, bytes: u64) -> bool {
        self.library.make_room(bytes).is_ok()
    }
}

fn local_chunk(entry: &LocalEntry, dress: Option<Dress>) -> LocalChunk {
    let form = match entry.content {
        LocalContent::Clean { cid, bytes } => LocalForm::Clean { cid, bytes },
        LocalContent::Withheld { salvaged: Some(cid), bytes, .. } => LocalForm::Salvaged { cid, bytes },
        LocalContent::Withheld { salvaged: None, .. } => LocalForm::Nothing,
    };
    LocalChunk {
        slot: entry.slot.unwrap_or(Slot { timeline: entry.timeline, index: entry.index }),
        pts: entry.pts,
        duration: entry.duration,
        opening: entry.opening,
        utc: entry.utc,
        form,
        dress,
    }
}

/// How this node reaches others.
pub struct NodeReach {
    net: Net,
    seed: Arc<SeedClient>,
    peers: Arc<Peers>,
    known: Arc<Acquaintances>,
}

impl NodeReach {
    /// By these parts of the node.
    #[must_use]
    pub fn new(net: Net, seed: Arc<SeedClient>, peers: Arc<Peers>, known: Arc<Acquaintances>) -> Self {
        Self { net, seed, peers, known }
    }

    async fn open(&self, recording: RecordingId, at: Option<Slot>, first_held: bool) -> Option<Opening> {
        let seed = self.seed.device()?;
        let session = self.seed.play(recording, at, first_held).await;
        // Those who were connected before the newest grant came have not seen it.
        self.peers.show_grants();
        let session =
            session.inspect_err(|error| tracing::info!(%recording, %error, "playing without the seed")).ok()?;
        let sources = match session.sources.verify(&seed) {
            Ok(plan) => SourcePlan::usable(&plan, self.net.device(), wall()).to_vec(),
            Err(error) => {
                tracing::warn!(%error, "a source plan that the seed did not sign");
                Vec::new()
            }
        };
        Some(Opening { first: session.first, sources })
    }
}

impl Reach for NodeReach {
    fn seed(&self) -> Option<DeviceId> {
        self.seed.device()
    }

    fn play(&self, recording: RecordingId, at: Option<Slot>, first_held: bool) -> BoxFuture<'_, Option<Opening>> {
        self.open(recording, at, first_held).boxed()
    }

    fn find_sources(&self, recording: RecordingId, from: Slot) -> BoxFuture<'_, Option<Vec<RankedSource>>> {
        async move { self.seed.find_sources(recording, from).await.ok() }.boxed()
    }

    fn providers(&self, key: [u8; 32]) -> BoxFuture<'_, Vec<(DeviceId, Vec<Multiaddr>)>> {
        self.net.find_providers(key, MAX_FOUND_PROVIDERS).boxed()
    }

    fn holders(&self, channel: &ChannelId, slot: Slot) -> Vec<DeviceId> {
        self.peers.holders(channel, slot)
    }

    fn connect(&self, device: DeviceId, addrs: Vec<Multiaddr>) -> BoxFuture<'_, bool> {
        async move {
            // To wait for those who were not reached lately would keep those waiting who can be.
            if self.path(device).is_none() && self.known.is_unreachable(device) {
                return false;
            }
            let reached = self.peers.ensure_connected(device, addrs).await;
            self.known.dialled(device, reached);
            reached
        }
        .boxed()
    }

    fn path(&self, device: DeviceId) -> Option<SourceInfo> {
        let info = self.net.peer_info(device)?;
        let rtt = info.rtt.map_or(RTT, |rtt| Micros(u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX)));
        Some(SourceInfo { lan: info.lan, rtt, lanes: LANES_PER_SOURCE })
    }

    fn ban(&self, device: DeviceId, lie: Lie) {
        self.known.ban(device, lie);
    }

    fn scores(&self) -> ScoreBook {
        self.known.scores()
    }

    fn learn(&self, scores: ScoreBook) {
        self.known.learn(scores);
    }
}
