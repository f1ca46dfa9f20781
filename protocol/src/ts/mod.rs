//! Transport stream in: packets, sections, PES, access units, reception quality.
