//! Watching over lines as homes have them: real programs, with a link proxy in front of each that gives something.
//!
//! ```text
//! holder ── line ──┐
//! holder ── line ──┼──> the viewer's node ── HTTP ──> a player by the clock
//! holder ── line ──┤
//! the seed ─ line ─┘
//! ```
//!
//! The broadcast is recorded over free lines first, and the viewer's own device received nothing. Then the lines are
//! set, and the player plays: what it had to wait for is what a viewer would have seen.

mod player;
mod scenes;
mod theatre;

pub use player::{PlayerSpec, Segment, Watched, segments, take, watch};
pub use scenes::{OneChunk, Start, Viewing, Wire, evening, one_chunk, seeks, start};
pub use theatre::{Lines, Theatre, TheatreSpec};
