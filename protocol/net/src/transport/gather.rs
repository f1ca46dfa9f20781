//! Puts a frame's header and its body into one write.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::{AsyncRead, AsyncWrite};

/// A write of at most this many bytes is held until the next one, or until a flush. Yamux writes the 12 bytes of a
/// header on their own, which would be a TLS record and a system call of its own.
const HELD_BYTES: usize = 16;

/// A stream that gathers small writes. As ever, only a flush promises that something is on its way.
#[derive(Debug)]
pub(super) struct Gather<T> {
    inner: T,
    held: [u8; HELD_BYTES],
    /// Of `held`, the bytes from `.0` to `.1` are still to be written.
    span: (usize, usize),
}

impl<T> Gather<T> {
    pub fn new(inner: T) -> Self {
        Self { inner, held: [0; HELD_BYTES], span: (0, 0) }
    }

    fn is_empty(&self) -> bool {
        self.span.0 == self.span.1
    }
}

impl<T: AsyncWrite + Unpin> Gather<T> {
    /// Writes what is held.
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.held[self.span.0..self.span.1]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.span.0 += written;
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Gather<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.is_empty() && buf.len() <= HELD_BYTES {
            this.held[..buf.len()].copy_from_slice(buf);
            this.span = (0, buf.len());
            return Poll::Ready(Ok(buf.len()));
        }
        while !this.is_empty() {
            let held = &this.held[this.span.0..this.span.1];
            let both = [IoSlice::new(held), IoSlice::new(buf)];
            let written = ready!(Pin::new(&mut this.inner).poll_write_vectored(cx, &both))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_held = written.min(held.len());
            this.span.0 += of_held;
            if written > of_held {
                return Poll::Ready(Ok(written - of_held));
            }
        }
        Pin::new(&mut this.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_held(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_held(cx))?;
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Gather<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}
