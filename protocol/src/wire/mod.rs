//! What travels: versioned messages with checked, bounded decoding.
//!
//! Two protocols, both length-prefixed minicbor with explicit field numbers, so that a later version can add fields
//! that an earlier one ignores: [`ctl`] is the long-lived control stream of a connection, [`lane`] the header of chunk
//! transfers. Decoding never allocates more than the frame's own bound, and golden vectors pin every message.

pub mod ctl;
pub mod lane;
