//! What is known of other devices as sources: how fast, how punctual, how honest.
//!
//! Two kinds of fault are kept apart. A **lie** is proven: a hash list or a group that does not fit the CID, under a
//! trusted length ([`crate::verify`]). Its teller is banned. Being **slow, absent or broken** proves nothing: the
//! network may be to blame. Such a source is asked less, later, and never banned; one that cannot even be connected is
//! left alone for a while ([`Unreachable`]).
//!
//! Pure data: integers, ordered maps, no clock. [`ScoreBook`] and [`Bans`] encode themselves for the disk.

mod bans;
mod book;
mod reach;

pub use bans::{Ban, Bans, Lie};
pub use book::{Score, ScoreBook};
pub use reach::Unreachable;
