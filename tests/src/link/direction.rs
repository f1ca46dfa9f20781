//! One direction of a proxy: the link all flows share, and what has arrived but is not written yet.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use aftercast_protocol::time::{Micros, Mono};
use aftercast_sim::link::{Event, FlowId, Kind, LinkSpec, Refusal, SEGMENT_BYTES, SharedLink};
use aftercast_sim::rng::Rng;
use bytes::Bytes;
use serde::Serialize;
use tokio::net::UdpSocket;
use tokio::sync::{Notify, watch};

use super::clock::Clock;
use super::{Progress, lock};

/// Most bytes of one direction of a connection that the proxy holds, as the receive window of its ends: Linux allows 6 MB
/// and advertises half to two thirds of it.
pub const WINDOW: u64 = 4 * 1024 * 1024;
/// Largest piece of a stream that is sent at once.
const MAX_PIECE: u64 = 64 * 1024;
/// How long sending a piece takes at most: so much a flow waits for another's turn. Shorter costs more wake-ups.
const PIECE_MICROS: u128 = 4_000;

/// What went one way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Bytes read and accepted.
    pub in_bytes: u64,
    /// Bytes written to the receivers.
    pub out_bytes: u64,
    /// Bytes that the line has sent.
    pub line_bytes: u64,
    /// Time of the model that the line was sending, in microseconds.
    pub line_busy_us: u64,
    /// Datagrams written.
    pub datagrams: u64,
    /// Datagrams lost by chance or in a partition.
    pub lost: u64,
    /// Datagrams dropped at a full queue, or because the receiver's socket had no room.
    pub dropped: u64,
    /// Bytes held: accepted, and neither written nor lost.
    pub held_bytes: u64,
    /// The most that ever were.
    pub held_peak_bytes: u64,
}

#[derive(Debug)]
pub(super) struct Direction {
    clock: Clock,
    state: Mutex<State>,
    /// The time to wake up at has come closer.
    wake: Notify,
    cuts: Arc<watch::Sender<u64>>,
    progress: Arc<Progress>,
}

#[derive(Debug)]
struct State {
    link: SharedLink<Bytes>,
    outlets: BTreeMap<FlowId, Outlet>,
    /// Streams that wait for room.
    starved: BTreeSet<FlowId>,
    traffic: Traffic,
    /// When [`Direction::run`] wakes up by itself.
    armed: Option<Mono>,
}

/// Where a flow's packets go.
#[derive(Debug)]
struct Outlet {
    /// Bytes accepted and neither written nor lost.
    held: u64,
    to: Receiver,
}

#[derive(Debug)]
enum Receiver {
    Stream { arrived: VecDeque<Bytes>, ready: Arc<Notify>, room: Arc<Notify> },
    Datagrams { socket: Arc<UdpSocket>, to: Option<SocketAddr> },
}

impl Direction {
    pub(super) fn new(
        clock: Clock,
        link: LinkSpec,
        round_trip: Micros,
        rng: Rng,
        cuts: Arc<watch::Sender<u64>>,
        progress: Arc<Progress>,
    ) -> Self {
        let link = SharedLink::new(clock.now(), link, round_trip, rng);
        let (outlets, starved, traffic) = (BTreeMap::new(), BTreeSet::new(), Traffic::default());
        let state = Mutex::new(State { link, outlets, starved, traffic, armed: None });
        Self { clock, state, wake: Notify::new(), cuts, progress }
    }

    /// Adds a stream of which nothing arrives before this time.
    pub(super) fn open_stream(&self, flow: FlowId, not_before: Mono) {
        let (ready, room) = Default::default();
        self.open(flow, Kind::Stream, not_before, Receiver::Stream { arrived: VecDeque::new(), ready, room });
    }

    /// Adds a flow of datagrams that go to this address, or where the socket is connected to.
    pub(super) fn open_datagrams(&self, flow: FlowId, socket: Arc<UdpSocket>, to: Option<SocketAddr>) {
        self.open(flow, Kind::Datagrams, Mono(0), Receiver::Datagrams { socket, to });
    }

    fn open(&self, flow: FlowId, kind: Kind, not_before: Mono, to: Receiver) {
        let state = &mut *lock(&self.state);
        state.link.open(flow, kind, not_before);
        state.outlets.insert(flow, Outlet { held: 0, to });
    }

    /// Removes a flow with all that is held of it.
    pub(super) fn close(&self, flow: FlowId) {
        let state = &mut *lock(&self.state);
        state.link.close(flow);
        state.starved.remove(&flow);
        state.traffic.held_bytes -= state.outlets.remove(&flow).map_or(0, |outlet| outlet.held);
    }

    pub(super) fn set(&self, link: LinkSpec, round_trip: Micros) {
        self.pump();
        lock(&self.state).link.set(self.clock.now(), link, round_trip);
        self.pump();
    }

    pub(super) fn delay(&self) -> Micros {
        lock(&self.state).link.spec().delay
    }

    pub(super) fn is_limited(&self) -> bool {
        lock(&self.state).link.spec().rate.is_some()
    }

    pub(super) fn is_cut(&self) -> bool {
        lock(&self.state).link.is_cut(self.clock.now())
    }

    pub(super) fn traffic(&self) -> Traffic {
        let state = lock(&self.state);
        let (line_bytes, busy) = state.link.sent();
        Traffic { line_bytes, line_busy_us: busy.0, ..state.traffic }
    }

    /// Waits until a piece of a stream fits; says how large it may be. Dropping the future is safe.
    pub(super) async fn room(&self, flow: FlowId) -> io::Result<usize> {
        loop {
            let room = {
                let state = &mut *lock(&self.state);
                if let Some(piece) = state.room(flow) {
                    return Ok(piece);
                }
                state.starved.insert(flow);
                match state.outlets.get(&flow).map(|outlet| &outlet.to) {
                    Some(Receiver::Stream { room, .. }) => Arc::clone(room),
                    _ => return Err(io::ErrorKind::ConnectionReset.into()),
                }
            };
            room.notified().await;
        }
    }

    /// Takes a packet; an empty one of a stream is its end. A datagram that is not taken is counted.
    pub(super) fn offer(&self, flow: FlowId, payload: Bytes) -> Result<(), Refusal> {
        let bytes = payload.len() as u64;
        let taken = {
            let state = &mut *lock(&self.state);
            let taken = state.link.offer(self.clock.now(), flow, bytes, payload);
            match taken {
                Ok(()) => state.hold(flow, bytes),
                Err(Refusal::Full) => state.traffic.dropped += 1,
                Err(Refusal::Down) => state.traffic.lost += 1,
                Err(Refusal::Closed) => {}
            }
            taken
        };
        self.pump();
        taken
    }

    /// Waits for what arrives of a stream. Dropping the future is safe.
    pub(super) async fn arrived(&self, flow: FlowId) -> io::Result<VecDeque<Bytes>> {
        loop {
            let ready = match lock(&self.state).outlets.get_mut(&flow).map(|outlet| &mut outlet.to) {
                Some(Receiver::Stream { arrived, .. }) if !arrived.is_empty() => return Ok(std::mem::take(arrived)),
                Some(Receiver::Stream { ready, .. }) => Arc::clone(ready),
                _ => return Err(io::ErrorKind::ConnectionReset.into()),
            };
            ready.notified().await;
        }
    }

    /// So much of a stream has been written.
    pub(super) fn written(&self, flow: FlowId, bytes: usize) {
        {
            let state = &mut *lock(&self.state);
            state.release(flow, bytes as u64);
            state.traffic.out_bytes += bytes as u64;
            state.feed();
        }
        self.progress.made();
    }

    /// Passes on what has arrived by now.
    pub(super) fn pump(&self) {
        let next = self.advance();
        let state = &mut *lock(&self.state);
        if next.is_some_and(|next| state.armed.is_none_or(|armed| next < armed)) {
            state.armed = next;
            self.wake.notify_one();
        }
    }

    /// Pumps whenever the model has something to do. Never returns.
    pub(super) async fn run(&self) {
        loop {
            let next = self.advance();
            lock(&self.state).armed = next;
            let timer = async {
                match next {
                    Some(at) => tokio::time::sleep_until(self.clock.instant(at).into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = timer => {}
                () = self.wake.notified() => {}
            }
        }
    }

    /// Passes on what has arrived by now; says when there will be more.
    fn advance(&self) -> Option<Mono> {
        let mut cut = false;
        let next = {
            let state = &mut *lock(&self.state);
            let now = self.clock.now();
            while let Some(event) = state.link.poll(now) {
                match event {
                    Event::Arrived { flow, payload } => state.deliver(flow, payload),
                    Event::Lost { flow, payload } => {
                        state.traffic.lost += 1;
                        state.release(flow, payload.len() as u64);
                    }
                    Event::Cut => cut = true,
                }
            }
            state.feed();
            state.link.poll_timeout()
        };
        if cut {
            self.cuts.send_modify(|cuts| *cuts += 1);
        }
        self.progress.made();
        next
    }
}

impl State {
    /// The size of the next piece of a stream, if there is room for it.
    fn room(&self, flow: FlowId) -> Option<usize> {
        let held = self.outlets.get(&flow)?.held;
        let spec = self.link.spec();
        let by_rate = spec.rate.map_or(u128::from(MAX_PIECE), |rate| u128::from(rate.get()) * PIECE_MICROS / 8_000_000);
        let piece = (by_rate as u64).clamp(SEGMENT_BYTES, MAX_PIECE).min(spec.queue.max(1));
        let fits = self.link.room(flow) >= piece.min(spec.queue) && held + piece <= WINDOW;
        fits.then_some(piece as usize)
    }

    /// Wakes the streams that have room now.
    fn feed(&mut self) {
        let fed: Vec<FlowId> = self.starved.iter().copied().filter(|flow| self.room(*flow).is_some()).collect();
        for flow in fed {
            self.starved.remove(&flow);
            if let Some(Receiver::Stream { room, .. }) = self.outlets.get(&flow).map(|outlet| &outlet.to) {
                room.notify_one();
            }
        }
    }

    fn hold(&mut self, flow: FlowId, bytes: u64) {
        self.traffic.in_bytes += bytes;
        self.traffic.held_bytes += bytes;
        self.traffic.held_peak_bytes = self.traffic.held_peak_bytes.max(self.traffic.held_bytes);
        if let Some(outlet) = self.outlets.get_mut(&flow) {
            outlet.held += bytes;
        }
    }

    fn release(&mut self, flow: FlowId, bytes: u64) {
        if let Some(outlet) = self.outlets.get_mut(&flow) {
            outlet.held -= bytes;
            self.traffic.held_bytes -= bytes;
        }
    }

    fn deliver(&mut self, flow: FlowId, payload: Bytes) {
        let Some(outlet) = self.outlets.get_mut(&flow) else { return };
        match &mut outlet.to {
            Receiver::Stream { arrived, ready, .. } => {
                arrived.push_back(payload);
                ready.notify_one();
            }
            Receiver::Datagrams { socket, to } => {
                let sent = match to {
                    Some(to) => socket.try_send_to(&payload, *to),
                    None => socket.try_send(&payload),
                };
                match sent {
                    Ok(bytes) => {
                        self.traffic.out_bytes += bytes as u64;
                        self.traffic.datagrams += 1;
                    }
                    Err(_) => self.traffic.dropped += 1,
                }
                self.release(flow, payload.len() as u64);
            }
        }
    }
}
