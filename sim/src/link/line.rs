//! The line of a link: one packet after the other, at the rate, with pauses.

use aftercast_protocol::time::{Micros, Mono};

use super::LinkSpec;

/// How a packet is sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) begin: Mono,
    /// When all of it has been.
    pub(super) sent: Mono,
    micros: Micros,
    credit: u128,
}

#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) spec: LinkSpec,
    /// What the outages' times count from.
    origin: Mono,
    /// When the last packet is sent.
    free: Mono,
    /// Time of the line that was paid by rounding the last packets up, in 1/rate microseconds: 1,200 bytes at 1 Gb/s
    /// take 9.6 of them.
    credit: u128,
    /// Time of service spent in sending.
    pub(super) busy: Micros,
}

impl Line {
    pub(super) fn new(now: Mono, spec: LinkSpec) -> Self {
        Self { spec, origin: now, free: now, credit: 0, busy: Micros(0) }
    }

    /// What sending a packet at `now`, or when the line is free, comes to.
    pub(super) fn plan(&self, now: Mono, bytes: u64) -> Plan {
        let (begin, credit) = if now > self.free { (now, 0) } else { (self.free, self.credit) };
        let (micros, credit) = self.spec.rate.map_or((0, 0), |rate| {
            let (need, rate) = (u128::from(bytes) * 8_000_000, u128::from(rate.get()));
            let micros = need.saturating_sub(credit).div_ceil(rate);
            (u64::try_from(micros).unwrap_or(u64::MAX), credit + micros * rate - need)
        });
        let sent = self.absolute(self.spec.outages.service_until(self.relative(begin), micros));
        Plan { begin, sent, micros: Micros(micros), credit }
    }

    /// Sends a packet as planned just before.
    pub(super) fn send(&mut self, plan: &Plan) {
        (self.free, self.credit, self.busy) = (plan.sent, plan.credit, self.busy + plan.micros);
    }

    /// Another description from now on. What is being sent is left to the caller: the line is free.
    pub(super) fn set(&mut self, now: Mono, spec: LinkSpec) {
        (self.spec, self.origin, self.credit) = (spec, now, 0);
    }

    /// Forgets the packet that is being sent.
    pub(super) fn stop(&mut self, now: Mono) {
        self.free = self.free.min(now);
    }

    pub(super) fn free(&self) -> Mono {
        self.free
    }

    pub(super) fn service_from(&self, at: Mono) -> Mono {
        self.absolute(self.spec.outages.service_from(self.relative(at)))
    }

    pub(super) fn loses_within(&self, from: Mono, until: Mono) -> bool {
        self.spec.outages.loses_within(self.relative(from), self.relative(until))
    }

    pub(super) fn next_break(&self, from: Mono) -> Option<Mono> {
        self.spec.outages.next_break(self.relative(from)).map(|at| self.absolute(at))
    }

    pub(super) fn cuts_within(&self, from: Mono, until: Mono) -> bool {
        self.spec.outages.cuts_within(self.relative(from), self.relative(until))
    }

    pub(super) fn is_cut(&self, at: Mono) -> bool {
        self.spec.outages.is_cut(self.relative(at))
    }

    fn relative(&self, at: Mono) -> u64 {
        (at - self.origin).0
    }

    fn absolute(&self, at: u64) -> Mono {
        self.origin + Micros(at)
    }
}
