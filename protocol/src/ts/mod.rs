//! Transport stream in: packets, sections, PES, access units, reception quality.

pub mod ac3;
pub mod adts;
pub mod audio;
pub mod avc;
pub mod bits;
pub mod continuity;
mod counters;
pub mod framer;
pub mod latm;
pub mod mpeg_audio;
pub mod packet;
pub mod pes;
pub mod program;
pub mod psi;
pub mod video;

pub use counters::ReceptionCounters;
