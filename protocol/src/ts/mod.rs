//! Transport stream in: packets, sections, PES, access units, reception quality.

mod counters;

pub use counters::ReceptionCounters;
