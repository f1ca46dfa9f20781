//! A line that several flows share: who is sent next, and what has arrived.
//!
//! Start-time fair queueing (P. Goyal, H. Vin, H. Cheng: Start-time Fair Queuing, 1996): a packet's tag is where its
//! flow's last one ended in the count of bytes per flow, or where the count is now if the flow was idle; the least tag
//! is sent first. Flows that have something to send get the same bytes, give or take a packet each, and one that sends
//! little does not wait behind those that send much.

use std::collections::BTreeMap;

use aftercast_protocol::time::{Micros, Mono};

use super::flow::{Kind, Way};
use super::line::Line;
use super::spec::LinkSpec;
use crate::rng::Rng;

/// Which of the flows on a line. Its number is what its luck is drawn for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlowId(pub u64);

/// Why a packet was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The flow's queue is full: a datagram is dropped, a stream waits for [`SharedLink::room`].
    #[error("the queue is full")]
    Full,
    /// A datagram meets a partition.
    #[error("the link is down")]
    Down,
    /// The flow is not open, or a cut closed it.
    #[error("no such flow")]
    Closed,
}

/// What happened on a shared link.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<P> {
    /// A packet has arrived.
    Arrived {
        /// Whose it is.
        flow: FlowId,
        /// What was offered.
        payload: P,
    },
    /// A datagram was lost, by chance or in a partition.
    Lost {
        /// Whose it was.
        flow: FlowId,
        /// What was offered.
        payload: P,
    },
    /// A cut begins: all streams were closed, with what was on its way.
    Cut,
}

#[derive(Debug)]
struct Flow {
    way: Way,
    /// Bytes that wait or are being sent.
    queued: u64,
    /// Where its last packet ends in the count of bytes per flow.
    end: u64,
}

#[derive(Debug)]
struct Packet<P> {
    flow: FlowId,
    bytes: u64,
    offered: Mono,
    payload: P,
}

/// One direction of a link, shared by several flows. `P` is what a packet carries for the caller.
///
/// Commands: [`open`](Self::open), [`close`](Self::close), [`set`](Self::set), [`offer`](Self::offer). After each and at
/// [`poll_timeout`](Self::poll_timeout), [`poll`](Self::poll) until it gives nothing. Late calls cost no rate: sending
/// goes on in the model's time.
#[derive(Debug)]
pub struct SharedLink<P> {
    line: Line,
    rng: Rng,
    round_trip: Micros,
    flows: BTreeMap<FlowId, Flow>,
    /// By tag, then in the order of offers.
    waiting: BTreeMap<(u64, u64), Packet<P>>,
    sending: Option<(Mono, Mono, Packet<P>)>,
    /// By arrival, then in the order of sending.
    on_the_way: BTreeMap<(Mono, u64), (FlowId, P)>,
    /// The tag of what is being sent: where the count of bytes per flow is.
    turn: u64,
    /// Numbers offers and arrivals.
    count: u64,
    /// Cuts before have been told.
    checked: Mono,
    sent_bytes: u64,
}

impl<P> SharedLink<P> {
    /// A link without flows whose description holds from now on. A lost segment comes again after `round_trip`.
    #[must_use]
    pub fn new(now: Mono, spec: LinkSpec, round_trip: Micros, rng: Rng) -> Self {
        Self {
            line: Line::new(now, spec),
            rng,
            round_trip,
            flows: BTreeMap::new(),
            waiting: BTreeMap::new(),
            sending: None,
            on_the_way: BTreeMap::new(),
            turn: 0,
            count: 0,
            checked: now,
            sent_bytes: 0,
        }
    }

    /// Adds a flow, unless it is there; nothing of it arrives before `not_before` (a handshake's round trip).
    pub fn open(&mut self, flow: FlowId, kind: Kind, not_before: Mono) {
        let way = Way::new(kind, self.rng, flow.0, self.round_trip, not_before);
        self.flows.entry(flow).or_insert(Flow { way, queued: 0, end: 0 });
    }

    /// Removes a flow with what waits and is on its way; what is being sent still takes its time.
    pub fn close(&mut self, flow: FlowId) {
        if self.flows.remove(&flow).is_some() {
            self.waiting.retain(|_, packet| packet.flow != flow);
            self.on_the_way.retain(|_, (of, _)| *of != flow);
        }
    }

    /// Another description, from now on; its outages count from now. What is on its way arrives as planned, what is
    /// being sent is begun anew.
    pub fn set(&mut self, now: Mono, spec: LinkSpec, round_trip: Micros) {
        self.round_trip = round_trip;
        for flow in self.flows.values_mut() {
            flow.way.round_trip = round_trip;
        }
        self.line.stop(now);
        self.line.set(now, spec);
        if let Some((begin, sent, packet)) = &mut self.sending {
            let plan = self.line.plan(now, packet.bytes);
            self.line.send(&plan);
            (*begin, *sent) = (plan.begin, plan.sent);
        }
        self.checked = now;
    }

    /// Offers a packet; one without bytes marks a place in the order of a stream.
    ///
    /// # Errors
    /// It was not taken.
    pub fn offer(&mut self, now: Mono, flow: FlowId, bytes: u64, payload: P) -> Result<(), Refusal> {
        let room = self.room(flow);
        let entry = self.flows.get_mut(&flow).ok_or(Refusal::Closed)?;
        if entry.way.kind == Kind::Datagrams && self.line.loses_within(now, now) {
            return Err(Refusal::Down);
        }
        // What is larger than the queue passes when it is alone.
        if bytes > room && entry.queued > 0 {
            return Err(Refusal::Full);
        }
        let tag = entry.end.max(self.turn);
        entry.end = tag + bytes;
        entry.queued += bytes;
        self.waiting.insert((tag, self.count), Packet { flow, bytes, offered: now, payload });
        self.count += 1;
        Ok(())
    }

    /// How many bytes of a flow fit into its queue.
    #[must_use]
    pub fn room(&self, flow: FlowId) -> u64 {
        self.flows.get(&flow).map_or(0, |flow| self.line.spec.queue.saturating_sub(flow.queued))
    }

    /// Whether new streams are refused: a cut is on.
    #[must_use]
    pub fn is_cut(&self, now: Mono) -> bool {
        self.line.is_cut(now)
    }

    /// What the link is like now.
    #[must_use]
    pub fn spec(&self) -> &LinkSpec {
        &self.line.spec
    }

    /// Bytes that the line has sent or is sending, and the time it needs for them alone.
    #[must_use]
    pub fn sent(&self) -> (u64, Micros) {
        (self.sent_bytes, self.line.busy)
    }

    /// When something happens next, if nothing is offered. Never earlier than the last time that was polled, once
    /// [`poll`](Self::poll) has given all.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Mono> {
        let sent = self.sending.as_ref().map(|(_, sent, _)| *sent);
        let arrival = self.on_the_way.keys().next().map(|(at, _)| *at);
        [sent, arrival, self.line.next_break(self.checked)].into_iter().flatten().min()
    }

    /// What has happened until now, one thing at a time.
    pub fn poll(&mut self, now: Mono) -> Option<Event<P>> {
        if self.checked <= now {
            let cut = self.line.cuts_within(self.checked, now);
            self.checked = now + Micros(1);
            if cut {
                self.cut();
                return Some(Event::Cut);
            }
        }
        if self.line.loses_within(now, now)
            && let Some(packet) = self.first_waiting_datagram()
        {
            return Some(self.lost(packet));
        }
        loop {
            match self.sending.take_if(|(_, sent, _)| *sent <= now) {
                Some((begin, sent, packet)) => {
                    if let Some(lost) = self.finish(begin, sent, packet) {
                        return Some(lost);
                    }
                }
                None if self.sending.is_none() && !self.waiting.is_empty() => self.start(),
                None => break,
            }
        }
        let entry = self.on_the_way.first_entry().filter(|entry| entry.key().0 <= now)?;
        let (flow, payload) = entry.remove();
        Some(Event::Arrived { flow, payload })
    }

    fn start(&mut self) {
        if let Some(((tag, _), packet)) = self.waiting.pop_first() {
            self.turn = tag;
            let plan = self.line.plan(packet.offered, packet.bytes);
            self.line.send(&plan);
            self.sent_bytes += packet.bytes;
            self.sending = Some((plan.begin, plan.sent, packet));
        }
    }

    fn finish(&mut self, begin: Mono, sent: Mono, packet: Packet<P>) -> Option<Event<P>> {
        let flow = self.flows.get_mut(&packet.flow)?;
        let datagram = flow.way.kind == Kind::Datagrams;
        if datagram && self.line.loses_within(begin, sent) {
            return Some(self.lost(packet));
        }
        match flow.way.carry(&self.line, sent, packet.bytes) {
            Some(arrival) => {
                flow.queued = flow.queued.saturating_sub(packet.bytes);
                self.on_the_way.insert((arrival, self.count), (packet.flow, packet.payload));
                self.count += 1;
                None
            }
            None => Some(self.lost(packet)),
        }
    }

    fn lost(&mut self, packet: Packet<P>) -> Event<P> {
        if let Some(flow) = self.flows.get_mut(&packet.flow) {
            flow.queued = flow.queued.saturating_sub(packet.bytes);
        }
        Event::Lost { flow: packet.flow, payload: packet.payload }
    }

    fn first_waiting_datagram(&mut self) -> Option<Packet<P>> {
        let flows = &self.flows;
        let datagram = |flow| flows.get(flow).is_some_and(|flow: &Flow| flow.way.kind == Kind::Datagrams);
        let key = self.waiting.iter().find(|(_, packet)| datagram(&packet.flow)).map(|(key, _)| *key)?;
        self.waiting.remove(&key)
    }

    fn cut(&mut self) {
        let streams = self.flows.iter().filter(|(_, flow)| flow.way.kind == Kind::Stream);
        for flow in streams.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.close(flow);
        }
    }
}
