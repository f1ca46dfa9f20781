//! What is known of one device as an uploader, and what it was given so far.

use minicbor::{Decode, Encode};

use crate::ids::SubscriberId;
use crate::time::{Micros, Mono};

use super::orders::Capability;

/// Transfers shorter than this say more about round trips than about the line.
const LEAST_MEASURED_BYTES: u64 = 128 * 1024;
/// Transfers after which a measurement is believed.
const LEAST_SAMPLES: u32 = 3;
/// Duties after which the older half of the past is forgotten.
const RELIABILITY_MEMORY: u32 = 256;
/// A newcomer counts as if it had kept this many duties.
const RELIABILITY_PRIOR: u64 = 4;
/// First time out after a broken duty; doubles with every one that follows without a kept one between.
const BENCH_FIRST: Micros = Micros::from_secs(10);
const BENCH_DOUBLINGS: u32 = 6;

/// Duties kept and broken by a device. Worth keeping over a restart of the seed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode, serde::Serialize, serde::Deserialize)]
pub struct Reliability {
    /// Uploads delivered in time.
    #[n(0)]
    pub kept: u32,
    /// Uploads that came late, broke off or were never there.
    #[n(1)]
    pub broken: u32,
}

impl Reliability {
    /// Share of duties expected to be kept, in thousandths, never 0. A newcomer is trusted: it would otherwise get
    /// less than its share for no fault of its own.
    #[must_use]
    pub fn permille(self) -> u64 {
        let (kept, broken) = (u64::from(self.kept), u64::from(self.broken));
        1000 * (kept + RELIABILITY_PRIOR) / (kept + broken + RELIABILITY_PRIOR)
    }

    fn count(&mut self, kept: bool) {
        let counter = if kept { &mut self.kept } else { &mut self.broken };
        *counter = counter.saturating_add(1);
        if self.kept.saturating_add(self.broken) > RELIABILITY_MEMORY {
            *self = Self { kept: self.kept / 2, broken: self.broken / 2 };
        }
    }
}

/// What a device's owner lets it contribute now, in bits per second: the smaller of declared and measured uplink,
/// times the share allowed; 0 where the connection is metered, sharing is paused or nothing is declared.
#[must_use]
pub fn contributed_bps(capability: &Capability) -> u64 {
    if capability.metered || capability.paused {
        return 0;
    }
    let line = match capability.uplink_measured_bps {
        0 => capability.uplink_declared_bps,
        measured => measured.min(capability.uplink_declared_bps),
    };
    let share = u128::from(capability.share_percent.min(100));
    u64::try_from(u128::from(line) * share / 100).unwrap_or(u64::MAX)
}

/// Time that bytes take at a rate, in microseconds, rounded up.
pub(super) fn time_for(bytes: u64, bps: u64) -> Micros {
    let micros = (u128::from(bytes) * 8_000_000).div_ceil(u128::from(bps.max(1)));
    Micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

/// Account of one device.
///
/// `owed` is virtual time: how long its line, at the contributed rate, would have been busy with all that it was
/// given. Whoever is furthest behind is chosen next, which keeps uploads in proportion to contributed uplinks even
/// over a few dozen chunks of different sizes.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) subscriber: SubscriberId,
    pub(super) capability: Capability,
    pub(super) present: bool,
    pub(super) reliability: Reliability,
    pub(super) owed: Micros,
    /// Pulls under way.
    pub(super) pulls: usize,
    /// Bytes of those still to come.
    pub(super) promised: u64,
    /// Bytes received since the capability was last told, which its budget does not know of.
    sent: u64,
    broken_in_a_row: u32,
    pub(super) benched_until: Mono,
    seen_bps: u64,
    samples: u32,
}

impl Account {
    pub(super) fn new(subscriber: SubscriberId, capability: Capability) -> Self {
        Self {
            subscriber,
            capability,
            present: true,
            reliability: Reliability::default(),
            owed: Micros(0),
            pulls: 0,
            promised: 0,
            sent: 0,
            broken_in_a_row: 0,
            benched_until: Mono(0),
            seen_bps: 0,
            samples: 0,
        }
    }

    pub(super) fn declare(&mut self, subscriber: SubscriberId, capability: Capability) {
        self.subscriber = subscriber;
        self.capability = capability;
        self.present = true;
        self.sent = 0;
    }

    /// Rate that its share is reckoned with, in bits per second; 0 for who is not to upload.
    pub(super) fn rate(&self) -> u64 {
        if !self.present {
            return 0;
        }
        let contributed = contributed_bps(&self.capability);
        // What the seed sees of a line is a lower bound: other pulls, the path and the seed's own load take from it.
        // Only less than half of what was declared shows that the declaration is wrong.
        if self.samples >= LEAST_SAMPLES { contributed.min(self.seen_bps.saturating_mul(2)) } else { contributed }
    }

    /// Rate to expect of the next transfer, for deadlines.
    pub(super) fn pace(&self) -> u64 {
        if self.samples >= LEAST_SAMPLES { self.rate().min(self.seen_bps) } else { self.rate() }
    }

    /// Whether the day's or month's budget still allows so many bytes.
    pub(super) fn affords(&self, bytes: u64) -> bool {
        self.capability.budget_left_bytes.saturating_sub(self.sent.saturating_add(self.promised)) >= bytes
    }

    /// When all it promised and so many bytes more would be here, its reliability considered.
    pub(super) fn completion(&self, now: Mono, bytes: u64) -> Mono {
        let time = time_for(self.promised.max(self.capability.backlog_bytes).saturating_add(bytes), self.rate());
        now + Micros(time.0.saturating_mul(1000) / self.reliability.permille().max(1))
    }

    pub(super) fn measure(&mut self, bytes: u64, took: Micros) {
        if bytes < LEAST_MEASURED_BYTES || took.0 == 0 {
            return;
        }
        let bps = u64::try_from(u128::from(bytes) * 8_000_000 / u128::from(took.0)).unwrap_or(u64::MAX);
        self.seen_bps = if self.samples == 0 { bps } else { self.seen_bps / 4 * 3 + bps / 4 };
        self.samples = self.samples.saturating_add(1);
    }

    /// Charges it with bytes it is to upload.
    pub(super) fn charge(&mut self, bytes: u64) {
        self.pulls += 1;
        self.promised = self.promised.saturating_add(bytes);
        self.owed = Micros(self.owed.0.saturating_add(time_for(bytes, self.rate()).0));
    }

    pub(super) fn receive(&mut self, bytes: u64) {
        self.promised = self.promised.saturating_sub(bytes);
        self.sent = self.sent.saturating_add(bytes);
    }

    /// Ends a pull of which `left` bytes, charged at `rate`, never came.
    pub(super) fn release(&mut self, left: u64, rate: u64) {
        self.pulls = self.pulls.saturating_sub(1);
        self.promised = self.promised.saturating_sub(left);
        self.owed = Micros(self.owed.0.saturating_sub(time_for(left, rate).0));
    }

    pub(super) fn keep(&mut self) {
        self.reliability.count(true);
        self.broken_in_a_row = 0;
    }

    /// A broken duty: without a time out, its refund would make it first choice again at once.
    pub(super) fn fail(&mut self, now: Mono) {
        self.reliability.count(false);
        let bench = BENCH_FIRST.0 << self.broken_in_a_row.min(BENCH_DOUBLINGS);
        self.broken_in_a_row = self.broken_in_a_row.saturating_add(1);
        self.benched_until = now + Micros(bench);
    }
}
