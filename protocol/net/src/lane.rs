//! A raw stream between two devices, for bulk.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use aftercast_protocol::ids::DeviceId;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::metrics::NetMetrics;
use crate::raw::RawStream;

/// A bidirectional stream of `/aftercast/chunk/1`. Dropping it resets it: the other side's reads end and its writes
/// fail.
///
/// Lanes are read and written by the task that holds them, never by the connection's.
pub struct Lane {
    device: DeviceId,
    stream: RawStream,
    metrics: Arc<NetMetrics>,
    /// Held while the lane counts against a bound.
    _slot: Option<Slot>,
}

/// One of a bounded number of lanes; freed on drop.
#[derive(Debug)]
pub(crate) struct Slot {
    _per_peer: tokio::sync::OwnedSemaphorePermit,
    _total: tokio::sync::OwnedSemaphorePermit,
}

impl Slot {
    /// A free slot of both bounds, if there is one.
    pub fn take(per_peer: &Arc<tokio::sync::Semaphore>, total: &Arc<tokio::sync::Semaphore>) -> Option<Self> {
        let _per_peer = Arc::clone(per_peer).try_acquire_owned().ok()?;
        let _total = Arc::clone(total).try_acquire_owned().ok()?;
        Some(Self { _per_peer, _total })
    }
}

impl Lane {
    pub(crate) fn new(device: DeviceId, stream: RawStream, metrics: Arc<NetMetrics>, slot: Option<Slot>) -> Self {
        Self { device, stream, metrics, _slot: slot }
    }

    /// Who is at the other end.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.device
    }
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lane({})", self.device)
    }
}

impl AsyncRead for Lane {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.metrics.lane_bytes_in.inc_by((buf.filled().len() - before) as u64);
        polled
    }
}

impl AsyncWrite for Lane {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        if let Poll::Ready(Ok(written)) = polled {
            self.metrics.lane_bytes_out.inc_by(written as u64);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
