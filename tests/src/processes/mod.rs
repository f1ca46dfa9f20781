//! Seeds and nodes as real processes, for the demo and for the end-to-end tests.
//!
//! ```text
//! Programs (where they are) --> SeedProcess --(join code)--> NodeProcess
//!                                   |                            |
//!                                   +------- HTTP status --------+--> wait_for(...)
//! ```
//!
//! Promises: a daemon counts as started only once it says so; waiting is on status pages that answer when something
//! changes, with a bound, and a failure shows the last status and where the log is; processes end with their handles.

mod chunks;
mod daemon;
mod http;
mod node;
mod ports;
mod programs;
mod seed;
mod status;

pub use chunks::{ChunkLine, ChunkState, chunk_file, clean_cids};
pub use daemon::{Daemon, Used, end_all};
pub use http::{fetch, fetch_range, get_text, segment_names, stream};
pub use node::{NodeOptions, NodeProcess, Reached};
pub use programs::Programs;
pub use seed::{ChannelOptions, SeedOptions, SeedProcess};
pub use status::{
    InputStatus, NodeFetch, NodeRecording, NodeStatus, PlayReport, SeedChannel, SeedNode, SeedRecording, SeedStatus,
};

use std::time::Duration;

/// Longest wait for anything on a busy machine. Nothing is timed by it: it only ends what would hang for ever.
pub const PATIENCE: Duration = Duration::from_secs(120);
