//! One connection's side of the carrier: negotiates streams, reads and writes none of them.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use aftercast_protocol::limits::{MAX_OPENING_LANES, MAX_UNDELIVERED_STREAMS, STREAM_OPEN_TIMEOUT};
use libp2p::core::Endpoint;
use libp2p::core::upgrade::{ReadyUpgrade, UpgradeInfo};
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound, StreamUpgradeError,
};
use libp2p::swarm::{ConnectionHandler, ConnectionHandlerEvent, SubstreamProtocol};
use libp2p::{InboundUpgrade, Stream, StreamProtocol};
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::errors::LaneError;
use crate::metrics::NetMetrics;
use crate::raw::RawStream;

const CONTROL: StreamProtocol = StreamProtocol::new("/aftercast/ctl/1");
const LANE: StreamProtocol = StreamProtocol::new("/aftercast/chunk/1");

/// Where the stream of an opened lane goes.
pub(crate) type LaneReply = oneshot::Sender<Result<RawStream, LaneFailure>>;

/// Why a lane was not opened, before the device's name is put to it.
#[derive(Debug)]
pub(crate) enum LaneFailure {
    Error(LaneError),
    TooMany,
    Unsupported,
    Timeout,
    Closed,
}

/// Behaviour to handler: open a lane.
#[derive(Debug)]
pub(crate) struct OpenLane(pub LaneReply);

/// Handler to behaviour.
#[derive(Debug)]
pub(crate) enum FromHandler {
    Control(RawStream),
    NoControl,
    Lane(RawStream),
}

/// What an outbound stream is for.
#[derive(Debug)]
pub(crate) enum Opening {
    Control,
    Lane(LaneReply),
}

/// The two protocols we take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offer;

impl UpgradeInfo for Offer {
    type Info = StreamProtocol;
    type InfoIter = [StreamProtocol; 2];

    fn protocol_info(&self) -> Self::InfoIter {
        [CONTROL, LANE]
    }
}

impl InboundUpgrade<Stream> for Offer {
    type Output = (StreamProtocol, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((protocol, stream)))
    }
}

/// The handler of one connection.
pub(crate) struct Handler {
    role: Endpoint,
    relayed: bool,
    /// The connection's one control stream was asked for or has come, or there is to be none.
    control: bool,
    /// Lanes to ask for.
    wanted: VecDeque<LaneReply>,
    /// Lanes asked for and not negotiated yet, the wanted ones included. At most [`MAX_OPENING_LANES`].
    opening: usize,
    /// For the behaviour. Streams from the peer are at most [`MAX_UNDELIVERED_STREAMS`] of them.
    events: VecDeque<FromHandler>,
    metrics: Arc<NetMetrics>,
    closed: CancellationToken,
    /// The handler lives as long as the connection: its streams learn of the end from this.
    _end: DropGuard,
}

impl Handler {
    /// `silent`: no control stream, neither asked for nor taken.
    pub fn new(role: Endpoint, relayed: bool, silent: bool, metrics: Arc<NetMetrics>) -> Self {
        let closed = CancellationToken::new();
        Self {
            role,
            relayed,
            control: silent,
            wanted: VecDeque::new(),
            opening: 0,
            events: VecDeque::new(),
            metrics,
            _end: closed.clone().drop_guard(),
            closed,
        }
    }

    /// A stream from the peer. Those over a bound are dropped, which resets them, and counted.
    fn arrived(&mut self, protocol: &StreamProtocol, stream: Stream) {
        if *protocol == CONTROL {
            if self.control || self.role == Endpoint::Dialer {
                self.metrics.control_refused.inc();
            } else {
                self.control = true;
                self.events.push_back(FromHandler::Control(RawStream::new(stream, &self.closed)));
            }
        } else if self.relayed {
            self.metrics.lanes_refused_relayed.inc();
        } else if self.events.len() >= MAX_UNDELIVERED_STREAMS {
            self.metrics.lanes_refused_queue.inc();
        } else {
            self.events.push_back(FromHandler::Lane(RawStream::new(stream, &self.closed)));
        }
    }

    fn opened(&mut self, stream: Stream, what: Opening) {
        let stream = RawStream::new(stream, &self.closed);
        match what {
            Opening::Control => self.events.push_back(FromHandler::Control(stream)),
            Opening::Lane(reply) => {
                self.opening = self.opening.saturating_sub(1);
                // An opener that gave up drops the stream, which resets it.
                let _ = reply.send(Ok(stream));
            }
        }
    }

    fn failed(&mut self, what: Opening, error: &StreamUpgradeError<Infallible>) {
        match what {
            Opening::Control => self.events.push_back(FromHandler::NoControl),
            Opening::Lane(reply) => {
                self.opening = self.opening.saturating_sub(1);
                let failure = match error {
                    StreamUpgradeError::NegotiationFailed => LaneFailure::Unsupported,
                    StreamUpgradeError::Timeout => LaneFailure::Timeout,
                    StreamUpgradeError::Io(_) | StreamUpgradeError::Apply(_) => LaneFailure::Closed,
                };
                let _ = reply.send(Err(failure));
            }
        }
    }

    fn ask(protocol: StreamProtocol, what: Opening) -> Poll<Event> {
        let timeout = Duration::from_micros(STREAM_OPEN_TIMEOUT.0);
        let protocol = SubstreamProtocol::new(ReadyUpgrade::new(protocol), what).with_timeout(timeout);
        Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol })
    }
}

type Event = ConnectionHandlerEvent<ReadyUpgrade<StreamProtocol>, Opening, FromHandler>;

impl ConnectionHandler for Handler {
    type FromBehaviour = OpenLane;
    type ToBehaviour = FromHandler;
    type InboundProtocol = Offer;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Opening;

    fn listen_protocol(&self) -> SubstreamProtocol<Offer> {
        SubstreamProtocol::new(Offer, ()).with_timeout(Duration::from_micros(STREAM_OPEN_TIMEOUT.0))
    }

    fn on_behaviour_event(&mut self, OpenLane(reply): OpenLane) {
        if self.opening >= MAX_OPENING_LANES {
            let _ = reply.send(Err(LaneFailure::TooMany));
        } else {
            self.opening += 1;
            self.wanted.push_back(reply);
        }
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<Event> {
        // No waker is needed: the connection polls again after every call of the two `on_` methods.
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(event));
        }
        if !self.control && self.role == Endpoint::Dialer {
            self.control = true;
            return Self::ask(CONTROL, Opening::Control);
        }
        self.wanted.pop_front().map_or(Poll::Pending, |reply| Self::ask(LANE, Opening::Lane(reply)))
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol, (), Opening>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol: (name, stream), .. }) => {
                self.arrived(&name, stream);
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, info }) => {
                self.opened(protocol, info);
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => self.failed(info, &error),
            _ => {}
        }
    }
}
