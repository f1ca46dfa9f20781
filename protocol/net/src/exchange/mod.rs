//! What runs on a lane: fetching groups that prove themselves, and serving them fairly.
//!
//! ```text
//!  asking                                            serving
//!  LanePool --- lane --> Transfer <== lane ==> serve_lane --- ChunkProvider (store, grants; blocking)
//!               reuse        |                      |
//!                            v                      +------- ServeGate (protocol::serve, one per program)
//!                   verified groups, in order
//! ```
//!
//! What repair asks for goes the same way, but proves itself only later: [`LanePool::fetch_part`].
//!
//! Promise: no group comes out of a [`Transfer`] that does not match the chunk's CID. A source that sends something
//! else is told apart from one that is slow, busy or gone.
//!
//! Not here: whom to ask for what, and when to give up ([`aftercast_protocol::select`]); what a lie costs
//! ([`aftercast_protocol::score`]).

mod client;
mod gate;
mod indexes;
mod metrics;
mod part;
mod pool;
mod server;

pub use client::{FetchError, LaneClient, Lie, Transfer, Wanted};
pub use gate::{ServeGate, Ticket};
pub use metrics::ExchangeMetrics;
pub use part::WantedPart;
pub use pool::LanePool;
pub use server::{ChunkProvider, Description, serve_lane};

use std::io;
use std::time::Duration;

use aftercast_protocol::time::Micros;
use tokio::io::{AsyncRead, AsyncReadExt as _};

pub(crate) const fn duration(span: Micros) -> Duration {
    Duration::from_micros(span.0)
}

/// Reads a length and a header of at most `most` bytes. None at a clean end before the length.
async fn read_header<R: AsyncRead + Unpin>(lane: &mut R, most: usize) -> io::Result<Option<Vec<u8>>> {
    let mut len = [0; 2];
    if lane.read(&mut len[..1]).await? == 0 {
        return Ok(None);
    }
    lane.read_exact(&mut len[1..]).await?;
    let len = usize::from(u16::from_be_bytes(len));
    if len > most {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("lane header of {len} bytes")));
    }
    let mut header = vec![0; len];
    lane.read_exact(&mut header).await?;
    Ok(Some(header))
}
