//! The way from the line to the receiver, for one flow: delay, jitter, losses and order.

use aftercast_protocol::time::{Micros, Mono};

use super::line::Line;
use super::spec::Loss;
use crate::rng::{Purpose, Rng};

/// What a stream loses at once: the payload of a TCP segment with time stamps on Ethernet.
pub const SEGMENT_BYTES: u64 = 1448;

/// What a flow is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Bytes that all arrive, in order: a lost segment is sent again, and what is behind it waits.
    Stream,
    /// Packets that are lost where the link loses or drops them.
    Datagrams,
}

#[derive(Debug, Clone)]
pub(super) struct Way {
    pub(super) kind: Kind,
    /// After which time a lost segment of a stream is sent again.
    pub(super) round_trip: Micros,
    rng: Rng,
    subject: u64,
    /// Packets so far: what jitter is drawn for.
    packets: u64,
    /// Segments so far: what losses are drawn for.
    segments: u64,
    /// Whether the chain of losses is in its bad state.
    losing: bool,
    /// Nothing arrives before: the last arrival, where order is kept.
    floor: Mono,
}

impl Way {
    pub(super) fn new(kind: Kind, rng: Rng, subject: u64, round_trip: Micros, floor: Mono) -> Self {
        Self { kind, round_trip, rng, subject, packets: 0, segments: 0, losing: false, floor }
    }

    /// When a packet arrives that has been sent then; `None` where a datagram is lost.
    pub(super) fn carry(&mut self, line: &Line, mut sent: Mono, bytes: u64) -> Option<Mono> {
        let spec = &line.spec;
        if let Some(loss) = spec.loss {
            let segments = if self.kind == Kind::Stream { bytes.div_ceil(SEGMENT_BYTES) } else { 1 };
            // Every segment takes its step in the chain, also behind one that was lost.
            let lost = (0..segments).filter(|_| self.loses(loss)).count();
            match self.kind {
                Kind::Datagrams if lost > 0 => return None,
                // Those of one packet come again together, as with selective acknowledgements.
                Kind::Stream if lost > 0 => sent = line.service_from(sent + self.round_trip),
                _ => {}
            }
        }
        let jitter = self.rng.below(spec.jitter.0 + 1, Purpose::Jitter, self.subject, self.packets);
        self.packets += 1;
        let mut arrival = sent + spec.delay + Micros(jitter);
        if self.kind == Kind::Stream || !spec.reorder {
            arrival = arrival.max(self.floor);
            self.floor = arrival;
        }
        Some(arrival)
    }

    /// One step of the chain (E. N. Gilbert, Capacity of a burst-noise channel, 1960): from good to bad with
    /// p / (b (1 - p)), from bad to good with 1 / b, for a share p in runs of mean length b.
    fn loses(&mut self, loss: Loss) -> bool {
        let draw = |below: u64| self.rng.below(below, Purpose::Loss, self.subject, self.segments);
        let share = u64::from(loss.ppm);
        self.losing = match loss.burst.map(u64::from) {
            None => draw(1_000_000) < share,
            Some(burst) if self.losing => draw(burst) != 0,
            // A share of all never ends, whatever the burst: the description refuses it.
            Some(burst) => draw(burst * (1_000_000 - share)) < share,
        };
        self.segments += 1;
        self.losing
    }
}
