//! What playback needs of the rest of the node. The node wires them; tests bring their own.

use std::sync::Arc;

use aftercast_net::Multiaddr;
use aftercast_protocol::ccf::AuxObject;
use aftercast_protocol::ids::{ChannelId, ChunkCid, DeviceId, GroupIndex, RecordingId, Slot, UnitDigest};
use aftercast_protocol::manifest::Manifest;
use aftercast_protocol::score::{Lie, ScoreBook};
use aftercast_protocol::select::{Fetch, SourceInfo};
use aftercast_protocol::time::{Micros, Pts33, Ticks, UnixMillis};
use aftercast_protocol::verify::GroupHashes;
use aftercast_protocol::wire::ctl::{FirstChunk, RankedSource};
use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::mpsc;

use super::cells::Dress;

/// A recording that can be watched here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The recording.
    pub recording: RecordingId,
    /// Its channel.
    pub channel: ChannelId,
    /// When it began.
    pub from: UnixMillis,
    /// Whether it may still grow: it is being recorded, or the seed has not closed its manifest.
    pub running: bool,
}

/// What this device itself received of one place of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalChunk {
    /// The place, numbered as the seed does once that is known.
    pub slot: Slot,
    /// PTS of the opening unit, 33 bits.
    pub pts: Pts33,
    /// Distance to the next opening unit, in ticks.
    pub duration: Ticks,
    /// Digest of the opening unit.
    pub opening: UnitDigest,
    /// Wall time of the opening unit, by this device's clock.
    pub utc: UnixMillis,
    /// What there is to play.
    pub form: LocalForm,
    /// How a whole one is written for players, where something came beside its core.
    pub dress: Option<Dress>,
}

/// In which form this device has a chunk of its own reception.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalForm {
    /// Whole, in the store.
    Clean {
        /// The chunk.
        cid: ChunkCid,
        /// Its length in bytes.
        bytes: u64,
    },
    /// Its own clean units only, in the store under an id that is never announced.
    Salvaged {
        /// Id of the salvaged form.
        cid: ChunkCid,
        /// Its length in bytes.
        bytes: u64,
    },
    /// Nothing that plays.
    Nothing,
}

/// A chunk that is being fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The chunk.
    pub cid: ChunkCid,
    /// Of which channel.
    pub channel: ChannelId,
    /// Where it belongs.
    pub slot: Slot,
    /// Wall time of its beginning.
    pub utc: UnixMillis,
    /// Whether it is a head: another form of the chunk that belongs there, for this device only.
    pub head: bool,
    /// Whether two subscribers vouch for it, so that it may be given to others.
    pub confirmed: bool,
}

/// What this device knows of its recordings. Calls may block for as long as reading one record takes.
pub trait Shelf: Send + Sync + 'static {
    /// All recordings of this device, newest first.
    fn recordings(&self) -> Vec<Listed>;

    /// One of them.
    fn recording(&self, recording: RecordingId) -> Option<Listed> {
        self.recordings().into_iter().find(|listed| listed.recording == recording)
    }

    /// The newest manifest held, all its pages verified.
    fn manifest(&self, recording: RecordingId) -> Option<Arc<Manifest>>;

    /// What this device received itself, in order of broadcast.
    fn local(&self, recording: RecordingId) -> Vec<LocalChunk>;

    /// What came beside the core of a chunk, while it is here.
    fn aux(&self, _chunk: ChunkCid) -> Option<AuxObject> {
        None
    }

    /// What the store is to keep on a chunk that is being fetched.
    fn note(&self, chunk: &Fetched) -> Vec<u8>;

    /// A chunk was fetched whole, and is in the store under its note from now on: it may be announced.
    fn fetched(&self, cid: ChunkCid);

    /// Evicts what may be evicted for so many bytes more. False where that is not enough.
    fn make_room(&self, bytes: u64) -> bool;
}

/// What the seed says when somebody wants to watch; signatures checked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Opening {
    /// First chunk to play, and its small form if there is one.
    pub first: Option<FirstChunk>,
    /// Who has the rest, best first.
    pub sources: Vec<RankedSource>,
}

/// How this device reaches others. Futures are dropped when their answer is of no use any more.
pub trait Reach: Send + Sync + 'static {
    /// The seed; none where this device is not enrolled.
    fn seed(&self) -> Option<DeviceId>;

    /// Asks the seed for a playback session. The grant in its answer is kept, and shown to peers from then on.
    /// None where the seed cannot be reached or refuses.
    fn play(&self, recording: RecordingId, at: Option<Slot>, first_held: bool) -> BoxFuture<'_, Option<Opening>>;

    /// Asks the seed who holds a stretch of a recording. None where it cannot be reached or refuses.
    fn find_sources(&self, recording: RecordingId, from: Slot) -> BoxFuture<'_, Option<Vec<RankedSource>>>;

    /// Devices that announced, in the hash table, what hashes to this key.
    fn providers(&self, key: [u8; 32]) -> BoxFuture<'_, Vec<(DeviceId, Vec<Multiaddr>)>>;

    /// Peers that said they hold this place of a channel; their have-maps are kept elsewhere.
    fn holders(&self, channel: &ChannelId, slot: Slot) -> Vec<DeviceId>;

    /// Connects to a device and shows it our grants. True once it is connected.
    fn connect(&self, device: DeviceId, addrs: Vec<Multiaddr>) -> BoxFuture<'_, bool>;

    /// How a device is connected; none where it is not.
    fn path(&self, device: DeviceId) -> Option<SourceInfo>;

    /// A device was proven to lie: refuse it from now on, and remember that.
    fn ban(&self, device: DeviceId, lie: Lie);

    /// What was learnt of sources earlier.
    fn scores(&self) -> ScoreBook {
        ScoreBook::default()
    }

    /// What is known of sources by now.
    fn learn(&self, _scores: ScoreBook) {}
}

/// One request to one source.
#[derive(Debug, Clone)]
pub struct Order {
    /// The device asked; the seed's where the source is the seed.
    pub device: DeviceId,
    /// What is asked for.
    pub fetch: Fetch,
    /// Length of the chunk in bytes, from a signed manifest.
    pub len: u64,
    /// Time left until the deadline.
    pub due_in: Micros,
    /// The chunk's group hashes, where they are known.
    pub hashes: Option<Arc<GroupHashes>>,
}

/// What comes of an order, in this order: hashes where they were asked for, then groups.
#[derive(Debug, Clone)]
pub enum Arrival {
    /// The list of group hashes, checked against the CID and the length.
    Hashes(Arc<GroupHashes>),
    /// A group, checked against its hash.
    Group(GroupIndex, Bytes),
}

/// Why an order was not carried out, or not to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LaneFailure {
    /// The source has too much to do.
    #[error("busy")]
    Busy {
        /// When it is worth asking again.
        retry_after: Micros,
    },
    /// The source does not have the chunk.
    #[error("not found")]
    NotFound,
    /// The source does not serve this chunk to us.
    #[error("refused")]
    Refused,
    /// Connection or lane broke, or the answer was malformed.
    #[error("broken")]
    Broken,
    /// The source was proven to lie.
    #[error("proven lie: {0}")]
    Lied(Lie),
}

/// Lanes to sources: carries orders out and checks every byte.
pub trait Lanes: Send + Sync + 'static {
    /// Carries an order out. Hands on nothing that is not verified. Dropping the future cancels the order.
    fn fetch(&self, order: Order, to: mpsc::Sender<Arrival>) -> BoxFuture<'static, Result<(), LaneFailure>>;

    /// A connected device will probably be asked soon.
    fn prepare(&self, _device: DeviceId) {}
}
