//! A negotiated stream that ends with its connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use libp2p::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt as _};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// A stream and word of its connection's end.
///
/// Yamux wakes the readers and writers of its streams when the connection breaks or the other side closes it, but not
/// when we close it ourselves: they would wait for ever (yamux 0.14, `Connection::poll_close` drops its streams'
/// wakers). What arrived before the end can still be read.
pub(crate) struct RawStream {
    stream: Compat<Stream>,
    /// One for each direction: they may be in different tasks, and each wakes only who asked it last.
    closed_to_read: Closed,
    closed_to_write: Closed,
}

type Closed = Pin<Box<WaitForCancellationFutureOwned>>;

impl RawStream {
    /// `closed` is cancelled when the connection ends.
    pub fn new(stream: Stream, closed: &CancellationToken) -> Self {
        let end = || Box::pin(closed.clone().cancelled_owned());
        Self { stream: stream.compat(), closed_to_read: end(), closed_to_write: end() }
    }
}

/// What the stream said, unless it has nothing to say and never will.
fn or_closed<T>(closed: &mut Closed, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
    if polled.is_pending() && closed.as_mut().poll(cx).is_ready() {
        return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "connection closed")));
    }
    polled
}

impl std::fmt::Debug for RawStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RawStream")
    }
}

impl AsyncRead for RawStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        or_closed(&mut self.closed_to_read, cx, polled)
    }
}

impl AsyncWrite for RawStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        // A write that only fills a buffer of a closed connection would be taken for sent.
        if let Poll::Ready(closed) = or_closed(&mut self.closed_to_write, cx, Poll::Pending) {
            return Poll::Ready(closed);
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        or_closed(&mut self.closed_to_write, cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        or_closed(&mut self.closed_to_write, cx, polled)
    }
}
