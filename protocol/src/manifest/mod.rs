//! Manifests: the signed list of chunks of one recording of one subscriber.
//!
//! The seed keeps a manifest per recording (claim 1: stored per client, with each chunk's hash). It travels in signed
//! pages, because a day's recording is larger than a control frame. A revision counts up whenever an entry changes;
//! pages of different revisions are never mixed, and a missing chunk is an honest gap.

mod assemble;

use minicbor::{Decode, Encode};

pub use assemble::{Manifest, ManifestError, PageCollector};

use crate::ids::{ChannelId, ChunkCid, RecordingId, Slot, SubscriberId, UnitDigest};
use crate::sign::{Raw, Statement, Verified};
use crate::time::{Pts33, Ticks, UnixMillis};

/// How a chunk may be played in another, smaller form with the same media time.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Rendition {
    /// How it was made, for instance `h264-1500k`.
    #[n(0)]
    pub recipe: String,
    /// The chunk that holds it.
    #[n(1)]
    pub cid: ChunkCid,
    /// Its length in bytes.
    #[n(2)]
    pub bytes: u64,
}

/// Why a cell of a recording has no chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, serde::Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "lowercase")]
pub enum Gap {
    /// Nobody has it whole.
    #[n(0)]
    Damaged,
    /// Recorders disagree.
    #[n(1)]
    Disputed,
    /// Not decided yet.
    #[n(2)]
    Pending,
}

/// What is at a place of a recording.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Content {
    /// A chunk, whose hash is its CID.
    #[n(0)]
    Chunk {
        /// The chunk.
        #[n(0)]
        cid: ChunkCid,
        /// Its length in bytes.
        #[n(1)]
        bytes: u64,
        /// Whether two subscribers vouch for it, or only this one.
        #[n(2)]
        confirmed: bool,
        /// Small form for a quick start, where one was made.
        #[n(3)]
        head: Option<Rendition>,
        /// Transcoded form (claim 6), where the operator asked for it.
        #[n(4)]
        archive: Option<Rendition>,
    },
    /// Nothing to play.
    #[n(1)]
    Gap {
        /// Why.
        #[n(0)]
        reason: Gap,
    },
}

/// One place of a recording.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Entry {
    /// Place in the channel.
    #[n(0)]
    pub slot: Slot,
    /// PTS of the opening unit, 33 bits.
    #[n(1)]
    pub pts: Pts33,
    /// Distance to the next opening unit, in ticks.
    #[n(2)]
    pub duration: Ticks,
    /// Digest of the opening unit.
    #[n(3)]
    pub opening: UnitDigest,
    /// Wall time of the opening unit: median of what recorders saw.
    #[n(4)]
    pub utc: UnixMillis,
    /// What is there.
    #[n(5)]
    pub content: Content,
}

impl Entry {
    /// The chunk there, if any.
    #[must_use]
    pub fn cid(&self) -> Option<ChunkCid> {
        match self.content {
            Content::Chunk { cid, .. } => Some(cid),
            Content::Gap { .. } => None,
        }
    }
}

/// A page of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ManifestPage {
    /// The recording.
    #[n(0)]
    pub recording: RecordingId,
    /// Whose it is.
    #[n(1)]
    pub subscriber: SubscriberId,
    /// Of which channel.
    #[n(2)]
    pub channel: ChannelId,
    /// Counts up with every change.
    #[n(3)]
    pub revision: u64,
    /// This page, from 0.
    #[n(4)]
    pub page: u32,
    /// How many there are, at least 1.
    #[n(5)]
    pub pages: u32,
    /// Whether nothing will be added any more.
    #[n(6)]
    pub complete: bool,
    /// Places in order of broadcast.
    #[n(7)]
    pub entries: Vec<Entry>,
}

impl Statement for ManifestPage {
    const DOMAIN: &'static str = "aftercast/manifest/1";
    /// Below a control frame with room for its envelope.
    const MAX_BYTES: usize = 60 * 1024;
}

/// A page nobody has checked yet.
pub type RawManifestPage = Raw<ManifestPage>;
/// A page that the seed signed.
pub type VerifiedManifestPage = Verified<ManifestPage>;
