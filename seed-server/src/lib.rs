//! The broadcaster's side of Aftercast.
//!
//! A thin server: it says where the broadcast is cut, decides from recorders' reports which chunks are true, orders
//! uploads, keeps one copy of every chunk, and tells players where to find the rest. It records nothing itself.
//!
//! ```text
//! cli ─▶ daemon ─┬─ desk ──── truth, duties, recordings, manifests (one task; ledger on disk)
//!                ├─ pull ──── fetches ordered chunks from nodes into the store
//!                ├─ serve ─── gives chunks to players, within their rights (access)
//!                ├─ heads ─── transcodes first chunks (head), one thread
//!                └─ api ───── status and metrics over HTTP
//! ```

pub mod access;
pub mod api;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod desk;
pub mod head;
pub mod heads;
pub mod identity;
pub mod ledger;
pub mod mend;
pub mod metrics;
pub mod pull;
pub mod serve;
