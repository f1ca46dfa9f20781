//! The canonical chunk form: cut a broadcast so that every receiver of one encode gets the same bytes or none.
//!
//! The rules are numbered in `protocol/CCF.md`, the normative text; comments cite them as "CCF n".

mod assemble;
mod assembly;
mod aux_gather;
mod aux_mux;
mod aux_object;
mod chunk;
mod chunker;
mod combine;
mod cutter;
mod marks;
pub mod object;
mod profile;
mod reader;
mod repair;
pub(crate) mod roles;
mod unit_index;
mod writer;

pub use assembly::Assembly;
pub use aux_mux::{AuxLayout, AuxMuxError};
pub use aux_object::{AuxError, AuxKind, AuxObject, AuxStream, AuxUnit, PesForm};
pub use chunk::{
    Chunk, ChunkQuality, ChunkState, ChunkerEvent, CleanChunk, Mark, MarkKind, WithheldChunk, WithheldReason,
};
pub use chunker::Chunker;
pub use combine::{AgreedUnit, Agreement, Bounds, CombineError, Testimony, Voice};
pub use profile::{
    AUDIO_GRID, AUDIO_GRID_RADIO, Anchor, AudioCodec, AudioProfile, CCF_VERSION, ChunkPlan, Language, PCR_LEAD,
    PlanError, Profile, ProgramSelect, VideoCodec,
};
pub use reader::{ReadError, check_canonical, read_units};
pub use repair::{Repair, RepairError};
pub use unit_index::{UnitEntry, UnitIndex, UnitIndexError};
pub use writer::{MAX_AUDIO_UNIT_BYTES, Unit, WriteError, write_chunk};
