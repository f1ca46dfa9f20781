//! Yamux with frames as long as a group.
//!
//! libp2p's wrapper of the same crate leaves frames at 16 KiB and cannot be told otherwise. On the wire this is
//! `/yamux/1.0.0` like any other; a frame of 64 KiB is legal (up to 1 MiB is taken by the crate itself, and a first
//! window of 256 KiB by the specification).

use std::collections::VecDeque;
use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use aftercast_protocol::limits::{GROUP_BYTES, MAX_RECEIVE_WINDOW_BYTES, MAX_STREAMS_PER_CONNECTION};
use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};
use yamux::{Connection, ConnectionError, Mode, Stream};

use super::gather::Gather;

/// The upgrade.
#[derive(Debug, Clone, Copy)]
pub struct Mux;

fn config() -> yamux::Config {
    let mut config = yamux::Config::default();
    config
        .set_max_num_streams(MAX_STREAMS_PER_CONNECTION)
        .set_max_connection_receive_window(Some(MAX_RECEIVE_WINDOW_BYTES))
        .set_split_send_size(GROUP_BYTES);
    config
}

impl UpgradeInfo for Mux {
    type Info = &'static str;
    type InfoIter = std::iter::Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        std::iter::once("/yamux/1.0.0")
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> InboundConnectionUpgrade<C> for Mux {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<io::Result<Muxer<C>>>;

    fn upgrade_inbound(self, socket: C, _: Self::Info) -> Self::Future {
        ready(Ok(Muxer::new(socket, Mode::Server)))
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> OutboundConnectionUpgrade<C> for Mux {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<io::Result<Muxer<C>>>;

    fn upgrade_outbound(self, socket: C, _: Self::Info) -> Self::Future {
        ready(Ok(Muxer::new(socket, Mode::Client)))
    }
}

/// One connection's streams.
#[derive(Debug)]
pub struct Muxer<C> {
    connection: Connection<Gather<C>>,
    /// Streams that came while the connection was driven for another reason. Yamux opens no more than 256 that
    /// nobody has answered; those of a peer that does are dropped, which resets them.
    arrived: VecDeque<Stream>,
    waiting: Option<Waker>,
}

impl<C: AsyncRead + AsyncWrite + Unpin> Muxer<C> {
    fn new(socket: C, mode: Mode) -> Self {
        let connection = Connection::new(Gather::new(socket), config(), mode);
        Self { connection, arrived: VecDeque::new(), waiting: None }
    }

    /// Drives the connection until it has nothing to do or a stream comes.
    fn drive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Stream, ConnectionError>> {
        self.connection.poll_next_inbound(cx).map(|next| next.unwrap_or(Err(ConnectionError::Closed)))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Muxer<C> {
    type Substream = Stream;
    type Error = ConnectionError;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Stream, ConnectionError>> {
        if let Some(stream) = self.arrived.pop_front() {
            return Poll::Ready(Ok(stream));
        }
        let driven = self.drive(cx);
        if driven.is_pending() {
            self.waiting = Some(cx.waker().clone());
        }
        driven
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Stream, ConnectionError>> {
        self.connection.poll_new_outbound(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        self.connection.poll_close(cx)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, ConnectionError>> {
        match self.drive(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Ready(Ok(stream)) if self.arrived.len() < MAX_STREAMS_PER_CONNECTION => {
                self.arrived.push_back(stream);
                if let Some(waiting) = self.waiting.take() {
                    waiting.wake();
                }
            }
            Poll::Ready(Ok(stream)) => drop(stream),
        }
        // There may be more to do; others come first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
