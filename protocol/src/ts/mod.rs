//! Transport stream in: packets, sections, PES, access units, reception quality.

pub mod ac3;
pub mod adts;
pub mod audio;
pub mod avc;
pub mod bits;
pub mod continuity;
mod counters;
pub mod framer;
pub mod hevc;
pub mod latm;
mod marks;
pub mod mpeg2;
mod mpeg2_times;
pub mod mpeg_audio;
pub mod nal;
pub mod names;
pub mod packet;
pub mod pes;
pub mod program;
pub mod psi;
pub mod rtp;
pub mod scte35;
mod start_code;
pub mod video;

pub use counters::ReceptionCounters;
