//! What a link between two devices does to what is sent over it. The simulator computes with it in virtual time, the
//! link proxy of the tests drives real sockets by it, so both mean the same by a text such as
//! `rate=6Mb/s,delay=20ms,loss=0.3%/burst=4` ([`LinkSpec`]).
//!
//! ```text
//!            queue                line                       way
//! offer --> | | | | --> one packet after the other --> delay + jitter, losses --> arrival
//!           bounded     bytes x 8 / rate of service
//! ```
//!
//! - [`Link`]: one flow has the line for itself. What becomes of a packet is known when it is offered.
//! - [`SharedLink`]: several flows share one line fairly, as the devices of a home or the peers of one uplink do.
//!
//! Promises, each a property test: nothing is lost but what is said to be lost; the line is never faster than its rate
//! over any time plus one packet; what arrives does so `delay` or more after it was offered; streams keep their order;
//! nothing is sent during an outage (what was on its way arrives); the same seed gives the same result, and one flow
//! more changes no other flow's luck.
//!
//! Streams are modelled as TCP looks from above. A lost segment ([`SEGMENT_BYTES`]) is sent again a round trip later and
//! holds up all that comes after it; it is not lost twice, its second copy takes no time of the line, and the sender's
//! window does not shrink: for short losses on a home's line a fair picture, for long fat paths too kind a one.
//!
//! Pure: `now` and the random numbers are arguments, times are whole microseconds, nothing iterates over an unordered map.

mod flow;
mod line;
mod outage;
mod shared;
mod spec;

#[cfg(test)]
mod laws;

use std::collections::VecDeque;

use aftercast_protocol::time::{Micros, Mono};

pub use flow::{Kind, SEGMENT_BYTES};
pub use outage::{Effect, FOREVER, MAX_OUTAGES, MIN_PERIOD, Outage, Outages};
pub use shared::{Event, FlowId, Refusal, SharedLink};
pub use spec::{DEFAULT_QUEUE, LinkError, LinkSpec, Loss};

use crate::rng::Rng;
use flow::Way;
use line::Line;

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It arrives then.
    Deliver(Mono),
    /// A datagram is lost, by chance or because the link is down.
    Lost,
    /// It does not fit into the queue and was not taken: a datagram is dropped, a stream tries again at
    /// [`Link::room_at`].
    Full,
}

/// One direction of a link that one flow has for itself.
#[derive(Debug, Clone)]
pub struct Link {
    line: Line,
    way: Way,
    /// When each packet that is not sent yet will be, and its bytes.
    waiting: VecDeque<(Mono, u64)>,
    backlog: u64,
}

impl Link {
    /// A link whose description holds from now on. `subject` names it among all that draw from `rng`. A lost segment
    /// comes again after twice the delay, see [`Link::with_round_trip`].
    #[must_use]
    pub fn new(now: Mono, spec: LinkSpec, kind: Kind, rng: Rng, subject: u64) -> Self {
        let round_trip = Micros(spec.delay.0.saturating_mul(2));
        let way = Way::new(kind, rng, subject, round_trip, now);
        Self { line: Line::new(now, spec), way, waiting: VecDeque::new(), backlog: 0 }
    }

    /// The same with another time until a lost segment is sent again: where the way back takes longer.
    #[must_use]
    pub fn with_round_trip(mut self, round_trip: Micros) -> Self {
        self.way.round_trip = round_trip;
        self
    }

    /// Offers a packet. Calls come in the order of time.
    pub fn offer(&mut self, now: Mono, bytes: u64) -> Verdict {
        while let Some((_, bytes)) = self.waiting.pop_front_if(|(sent, _)| *sent <= now) {
            self.backlog -= bytes;
        }
        let plan = self.line.plan(now, bytes);
        // Lost where it waits, so it takes no time of the line.
        if self.way.kind == Kind::Datagrams && self.line.loses_within(now, plan.sent) {
            return Verdict::Lost;
        }
        if self.backlog > 0 && self.backlog.saturating_add(bytes) > self.line.spec.queue {
            return Verdict::Full;
        }
        self.line.send(&plan);
        self.waiting.push_back((plan.sent, bytes));
        self.backlog += bytes;
        self.way.carry(&self.line, plan.sent, bytes).map_or(Verdict::Lost, Verdict::Deliver)
    }

    /// When the line would begin to send what is offered now: at once, or after what waits and the outage that is on.
    #[must_use]
    pub fn next_free(&self, now: Mono) -> Mono {
        self.line.service_from(now.max(self.line.free()))
    }

    /// From when on so many bytes are not [`Verdict::Full`].
    #[must_use]
    pub fn room_at(&self, now: Mono, bytes: u64) -> Mono {
        let (mut backlog, mut at) = (self.backlog, now);
        for (sent, gone) in &self.waiting {
            if backlog.saturating_add(bytes) <= self.line.spec.queue {
                break;
            }
            (backlog, at) = (backlog - gone, now.max(*sent));
        }
        at
    }

    /// Another description, from now on; its outages count from now. What was accepted arrives as was said.
    pub fn set(&mut self, now: Mono, spec: LinkSpec) {
        self.line.set(now, spec);
    }
}
