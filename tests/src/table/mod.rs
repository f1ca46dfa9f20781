//! The laws of the canonical form as a table: every recipe over every combination of codecs, and what became of each
//! chunk. `make table` prints it, tests hold each cell to the laws.
//!
//! - *identical*: emitted, with the reference's CID;
//! - *withheld*: not emitted. Every one must be excused by the [evidence](crate::impair::Evidence): the recipe harmed
//!   something that the chunk needs (law b);
//! - *different*: emitted with another CID. Every one must be deceived: a silent flip, or a loss of 16 packets (law a);
//! - *residue*: emitted with another CID because at 44.1 kHz another grouping of frames moved a time by a tick (CCF 7).
//!   Allowed for recipes that group audio anew, and bounded.
//!
//! In each cell what was emitted must come out again when it is cut again (law d), and the size of reads must not
//! matter (law e).

mod cell;
mod derived;
mod print;
mod rows;
mod source;

pub use cell::{Outcome, apply, received, run_row};
pub use print::markdown;
pub use rows::{ROWS, Row};
pub use source::{INTERVAL, Key, Source, cid, clean, cut};
