//! Aftercast's decisions, free of input and output.
//!
//! Everything here is a pure function or a state machine that is told what happened (`handle_*`), drained of what to
//! do (`poll_action`) and asked when to be woken (`poll_timeout`). No sockets, files, threads, clocks or global
//! state: `now` and randomness are arguments, maps are ordered wherever their order can touch a decision. The same
//! input gives the same bytes and the same decisions on every machine, which is what lets `sim/` judge the code that
//! ships, and lets strangers' receivers emit identical chunks.

pub mod ccf;
pub mod duty;
pub mod grant;
pub mod ids;
pub mod inspect;
pub mod limits;
pub mod manifest;
pub mod plan;
pub mod rendezvous;
pub mod score;
pub mod select;
pub mod serve;
pub mod sign;
pub mod time;
pub mod truth;
pub mod ts;
pub mod verify;
pub mod wire;
