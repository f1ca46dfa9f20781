//! How far into a stream a packet is, and whether its clocks run evenly.

use crate::time::Pts33;
use crate::ts::framer::PACKET_BYTES;
use crate::ts::packet::clock_reference;

/// A step of a clock reference by more than this, or backward, is another clock (ISO/IEC 13818-1, 2.7.2 allows 100 ms;
/// losses make longer steps).
const JUMP_TICKS: i64 = 90_000;
/// Clock references should come this often (TR 101 290, 2.3a: 100 ms).
const PCR_EVERY: i64 = 9_000;
/// Presentation times should come this often (TR 101 290, 2.5: 700 ms).
const PTS_EVERY: i64 = 63_000;

/// From one time to the next, in ticks of 90 kHz.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step(pub i64);

impl Step {
    pub fn is_jump(&self) -> bool {
        !(0..=JUMP_TICKS).contains(&self.0)
    }

    pub fn is_late(&self) -> bool {
        self.0 > PCR_EVERY
    }
}

/// Media time by the clock references of the first PID that carries any.
#[derive(Debug, Default)]
pub struct PcrClock {
    pid: Option<u16>,
    last: Option<Pts33>,
    ticks: i64,
}

impl PcrClock {
    /// Takes a packet in; the step where it carries a reference of our PID and an earlier one did.
    pub fn packet(&mut self, bytes: &[u8; PACKET_BYTES]) -> Option<Step> {
        let (pid, base) = clock_reference(bytes)?;
        if *self.pid.get_or_insert(pid) != pid {
            return None;
        }
        let step = self.last.replace(base).map(|last| Step(last.to(base).0))?;
        if !step.is_jump() {
            self.ticks += step.0;
        }
        Some(step)
    }

    /// Ticks of 90 kHz since the first reference, jumps left out.
    pub fn ticks(&self) -> i64 {
        self.ticks
    }

    pub fn seconds(&self) -> f64 {
        self.ticks as f64 / 90_000.0
    }
}

/// Presentation times of one stream.
#[derive(Debug, Default)]
pub struct PtsClock {
    first: Option<Pts33>,
    last: Option<Pts33>,
    last_dts: Option<Pts33>,
    wraps: u64,
    jumps: u64,
}

/// What a time says against the one before it.
#[derive(Debug, Default, Clone, Copy)]
pub struct Told {
    /// The clock is another one: by so many ticks.
    pub jump: Option<i64>,
    /// The time came later than it should.
    pub late: bool,
}

impl PtsClock {
    pub fn pts(&mut self, pts: Pts33, dts: Pts33) -> Told {
        self.first.get_or_insert(pts);
        self.last = Some(pts);
        let Some(before) = self.last_dts.replace(dts) else { return Told::default() };
        let step = Step(before.to(dts).0);
        if step.is_jump() {
            self.jumps += 1;
            return Told { jump: Some(step.0), late: false };
        }
        self.wraps += u64::from(dts.0 < before.0);
        Told { jump: None, late: step.0 > PTS_EVERY }
    }

    pub fn first(&self) -> Option<Pts33> {
        self.first
    }

    pub fn last(&self) -> Option<Pts33> {
        self.last
    }

    pub fn wraps(&self) -> u64 {
        self.wraps
    }

    pub fn jumps(&self) -> u64 {
        self.jumps
    }
}
