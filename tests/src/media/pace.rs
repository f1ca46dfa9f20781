//! When each byte of a transport stream is due.

use crate::impair::packet;

/// Media time of the bytes of a file: points (byte offset, microseconds), rising in both, straight lines between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    points: Vec<(u64, u64)>,
}

/// Rate of a stream that says nothing about its time, bytes a second: a common one for standard definition.
const UNKNOWN_RATE: u64 = 625_000;
/// A step of clock references beyond this is another clock, not time that passed (they come at least every 100 ms).
const CLOCK_BREAK: u64 = 27_000_000;
/// Spacing of points; finer changes nothing that a sender's ticks could show.
const SPACING: u64 = 2_000;

impl Pace {
    /// Reads the pace off the program clock references. Time 0 is the first byte; at clock breaks the rate before goes
    /// on. Without clock references, 5 Mb/s.
    pub fn from_pcr(bytes: &[u8]) -> Pace {
        let total = bytes.len() as u64;
        let mut references = packet::offsets(bytes).into_iter().filter_map(|at| {
            let packet = &bytes[at..at + packet::PACKET];
            Some((at as u64, packet::pid(packet), packet::pcr(packet)?))
        });
        let Some((start, pid, mut last)) = references.next() else { return Pace::constant(total, UNKNOWN_RATE * 8) };
        let mut points = vec![(start, 0)];
        let mut ticks = 0;
        for (at, _, clock) in references.filter(|(_, own, _)| *own == pid) {
            let passed = (clock + 300 * (1 << 33) - last) % (300 * (1 << 33));
            let (from, _) = points[points.len() - 1];
            let steady = points.len().checked_sub(2).map(|before| {
                let (a, b) = (points[before], points[before + 1]);
                (at - from) * (b.1 - a.1) / (b.0 - a.0).max(1) * 27
            });
            ticks +=
                if passed <= CLOCK_BREAK { passed } else { steady.unwrap_or((at - from) * 27_000_000 / UNKNOWN_RATE) };
            points.push((at, ticks / 27));
            last = clock;
        }
        let mut pace = Pace { points };
        pace.stretch(total);
        pace
    }

    /// A constant rate in bits a second (at least 8).
    pub fn constant(total: u64, bits_per_second: u64) -> Pace {
        let micros = u128::from(total) * 8_000_000 / u128::from(bits_per_second.max(8));
        Pace { points: vec![(0, 0), (total, micros as u64)] }
    }

    /// Media time in microseconds at which a byte is due.
    pub fn at(&self, offset: u64) -> u64 {
        let next = self.points.partition_point(|(at, _)| *at <= offset);
        let (Some(a), Some(b)) = (self.points.get(next.wrapping_sub(1)), self.points.get(next)) else {
            return self.points.get(next.min(self.points.len().saturating_sub(1))).map_or(0, |(_, time)| *time);
        };
        a.1 + scale(offset - a.0, b.1 - a.1, b.0 - a.0)
    }

    /// How many bytes are due at a media time.
    pub fn bytes_due(&self, micros: u64) -> u64 {
        let next = self.points.partition_point(|(_, time)| *time <= micros);
        let Some(b) = self.points.get(next) else { return self.points.last().map_or(0, |(at, _)| *at) };
        let Some(a) = self.points.get(next.wrapping_sub(1)) else { return 0 };
        a.0 + scale(micros - a.1, b.0 - a.0, b.1 - a.1)
    }

    /// Media time of the last byte, microseconds.
    pub fn duration(&self) -> u64 {
        self.points.last().map_or(0, |(_, time)| *time)
    }

    /// Extends the pace to the first and to the last byte by the rates beside them; time 0 becomes the first byte.
    fn stretch(&mut self, total: u64) {
        let [first, .., last] = self.points[..] else {
            *self = Pace::constant(total, UNKNOWN_RATE * 8);
            return;
        };
        let (bytes, time) = ((last.0 - first.0).max(1), last.1 - first.1);
        let lead = scale(first.0, time, bytes);
        self.points.iter_mut().for_each(|point| point.1 += lead);
        if first.0 > 0 {
            self.points.insert(0, (0, 0));
        }
        if total > last.0 {
            self.points.push((total, last.1 + lead + scale(total - last.0, time, bytes)));
        }
    }
}

fn scale(value: u64, by: u64, of: u64) -> u64 {
    (u128::from(value) * u128::from(by) / u128::from(of.max(1))) as u64
}

/// Builds a [`Pace`] from times that may step back a little.
#[derive(Debug, Default)]
pub struct Pacer {
    points: Vec<(u64, u64)>,
}

impl Pacer {
    /// The byte at `offset` (not before the last) is due at `micros`.
    pub fn push(&mut self, offset: u64, micros: u64) {
        match self.points.last_mut() {
            Some((_, time)) if micros < time.saturating_add(SPACING) => {}
            // Nothing arrived since: the time of the next byte is what counts.
            Some((at, time)) if *at == offset => *time = micros,
            _ => self.points.push((offset, micros)),
        }
    }

    /// The pace of `total` bytes.
    pub fn finish(self, total: u64) -> Pace {
        let mut points = self.points;
        let Some(&first) = points.first() else { return Pace::constant(total, UNKNOWN_RATE * 8) };
        let last = points[points.len() - 1];
        if total > last.0 {
            let gap = scale(total - last.0, last.1 - first.1, last.0 - first.0);
            points.push((total, last.1 + gap));
        }
        if first.0 > 0 {
            points.insert(0, (0, first.1));
        }
        Pace { points }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constant_pace_is_a_straight_line() {
        let pace = Pace::constant(1_000_000, 8_000_000);
        assert_eq!((pace.at(0), pace.at(250_000), pace.duration()), (0, 250_000, 1_000_000));
        assert_eq!((pace.bytes_due(0), pace.bytes_due(250_000), pace.bytes_due(9_000_000)), (0, 250_000, 1_000_000));
    }

    #[test]
    fn late_first_byte_is_due_late() {
        let mut pacer = Pacer::default();
        (0..10).for_each(|n| pacer.push(n * 1_000, 5_000_000 + n * 10_000));
        let pace = pacer.finish(10_000);
        assert_eq!((pace.at(0), pace.bytes_due(4_999_999), pace.bytes_due(5_015_000)), (5_000_000, 0, 1_500));
        assert_eq!(pace.duration(), 5_100_000);
    }

    #[test]
    fn time_passes_where_bytes_are_missing() {
        let mut pacer = Pacer::default();
        for (offset, time) in [(0, 0), (1_000, 10_000), (1_000, 900_000), (2_000, 910_000)] {
            pacer.push(offset, time);
        }
        let pace = pacer.finish(2_000);
        assert_eq!((pace.at(1_000), pace.at(2_000)), (900_000, 910_000));
    }
}
