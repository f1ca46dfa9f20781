//! What the chunker hands out: chunks clean or withheld, and what happened between them.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::aux_object::AuxObject;
use super::unit_index::UnitIndex;
use crate::ids::{ChunkCid, ChunkIndex, TimelineId, UnitDigest};
use crate::time::{Pts33, Ticks};
use crate::verify::GroupHashes;

/// Something that came out of a reception.
#[derive(Debug, Clone, PartialEq)]
pub enum ChunkerEvent {
    /// A chunk of the plan, whole or not.
    Chunk(Chunk),
    /// The input is not what the profile says: nothing can be cut from it.
    ProfileMismatch {
        /// Names the role and the codec found or missing.
        reason: String,
    },
    /// The timeline number changed: at a clock change (then a local number), or when anchors identified it.
    Timeline {
        /// Number until now.
        from: TimelineId,
        /// Number from now on.
        to: TimelineId,
    },
    /// Something to remember that cuts nothing, as soon as it is known. The chunk that it lies in has it too.
    Mark(Mark),
}

/// A place in the stream worth remembering (CCF 11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Mark {
    /// Timeline it lies on.
    #[n(0)]
    pub timeline: TimelineId,
    /// Canonical time: of a splice the PTS at which it happens; of all others the DTS of the unit of the first core
    /// stream that was being received.
    #[n(1)]
    pub pts: Pts33,
    /// What it is.
    #[n(2)]
    pub kind: MarkKind,
}

/// What a mark is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum MarkKind {
    /// The programme's map changed and kept its core roles.
    #[n(0)]
    ProgramMap,
    /// The core video's splice countdown reached 0 (ISO/IEC 13818-1, 2.4.3.5).
    #[n(1)]
    Splice,
    /// A break begins (SCTE 35, `splice_insert` out of the network).
    #[n(2)]
    SpliceOut,
    /// A break ends (`splice_insert` into the network).
    #[n(3)]
    SpliceIn,
    /// SCTE 35, `time_signal`: the descriptors in the aux object say what happens.
    #[n(4)]
    TimeSignal,
}

impl std::fmt::Display for MarkKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ProgramMap => "programme map changes",
            Self::Splice => "splice",
            Self::SpliceOut => "splice out: a break begins",
            Self::SpliceIn => "splice in: a break ends",
            Self::TimeSignal => "time signal",
        })
    }
}

/// One chunk of the plan as this reception has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunk {
    /// Timeline: a local number, or the plan's once an anchor matched.
    pub timeline: TimelineId,
    /// Grid cell of the opening unit.
    pub index: ChunkIndex,
    /// Canonical PTS of the opening unit.
    pub pts: Pts33,
    /// From the opening PTS to the next chunk's.
    pub duration: Ticks,
    /// Digest of the opening unit; with `timeline`, `index` and `pts` it makes the chunk's anchor.
    pub opening: UnitDigest,
    /// No random access point came in time: this chunk needs the one before it to be decoded.
    pub dependent: bool,
    /// How well it was received.
    pub quality: ChunkQuality,
    /// Its bytes, or why there are none.
    pub state: ChunkState,
    /// Video units seen between its boundaries.
    pub video_frames: u32,
    /// What lies in it and cuts nothing, in order of time.
    pub marks: Vec<Mark>,
    /// What the programme has beside its core, as far as it came by now; `None` where it has nothing.
    pub aux: Option<Box<AuxObject>>,
}

/// How well a chunk was received.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct ChunkQuality {
    /// Units seen, damaged ones included.
    #[n(0)]
    pub units: u32,
    /// Units that are not proven whole.
    #[n(1)]
    pub damaged_units: u32,
    /// Places where bytes of a core stream are missing.
    #[n(2)]
    pub holes: u32,
}

/// Whether a chunk could be proven whole.
#[derive(Debug, Clone, PartialEq)]
pub enum ChunkState {
    /// Equal to what every other whole reception has.
    Clean(CleanChunk),
    /// Not proven whole.
    Withheld(WithheldChunk),
}

/// A chunk in canonical form. Its unit index is made from its bytes: [`UnitIndex::of_chunk`].
#[derive(Debug, Clone, PartialEq)]
pub struct CleanChunk {
    /// Its content id.
    pub cid: ChunkCid,
    /// Hashes of its groups, which the content id was made from.
    pub hashes: GroupHashes,
    /// Its canonical bytes.
    pub bytes: Vec<u8>,
}

impl CleanChunk {
    /// A chunk of these canonical bytes.
    #[must_use]
    pub fn of(bytes: Vec<u8>) -> Self {
        let hashes = GroupHashes::of(&bytes);
        Self { cid: hashes.cid(), hashes, bytes }
    }
}

/// A chunk that this reception cannot prove whole.
#[derive(Debug, Clone, PartialEq)]
pub struct WithheldChunk {
    /// Why.
    pub reason: WithheldReason,
    /// Its own clean units as a playable transport stream: for this device only, never announced. `None` where it
    /// has no clean video unit.
    pub salvaged: Option<Vec<u8>>,
    /// The clean units: byte ranges are those in `salvaged`. Support for truth and the stock for repair.
    pub units: UnitIndex,
}

/// Why a chunk is withheld.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "lowercase")]
pub enum WithheldReason {
    /// A core stream has a hole in it.
    #[n(0)]
    Damaged,
    /// Its beginning, its end or an audio's neighbourhood was not received.
    #[n(1)]
    Edge,
    /// The input stopped being what the profile says.
    #[n(2)]
    Profile,
    /// A core stream is scrambled in it.
    #[n(3)]
    Scrambled,
}

impl std::fmt::Display for WithheldReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Damaged => "damaged",
            Self::Edge => "edge",
            Self::Profile => "profile",
            Self::Scrambled => "scrambled",
        })
    }
}
