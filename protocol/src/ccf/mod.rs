//! The canonical chunk form: cut a broadcast so that every receiver of one encode gets the same bytes or none.
//!
//! The rules are numbered in `protocol/CCF.md`, the normative text; comments cite them as "CCF n".

mod chunk;
mod profile;
mod unit_index;

pub use chunk::{
    Chunk, ChunkQuality, ChunkState, ChunkerEvent, CleanChunk, Mark, MarkKind, WithheldChunk, WithheldReason,
};
pub use profile::{
    AUDIO_GRID, AUDIO_GRID_RADIO, Anchor, AudioCodec, AudioProfile, CCF_VERSION, ChunkPlan, Language, PCR_LEAD,
    PlanError, Profile, ProgramSelect, VideoCodec,
};
pub use unit_index::{UnitEntry, UnitIndex, UnitIndexError};
