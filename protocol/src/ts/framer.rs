//! Packets out of bytes: sync, and the 188-, 192- and 204-byte framings (CCF 1).
//!
//! Every decision waits for a fixed amount of lookahead, so the packets do not depend on how the bytes were split.

use super::counters::ReceptionCounters;

/// Bytes of a transport packet (ISO/IEC 13818-1, 2.4.3.2).
pub const PACKET_BYTES: usize = 188;
const SYNC: u8 = 0x47;
/// Plain; with a 4-byte arrival time before each packet; with 16 bytes of Reed-Solomon parity after it.
const STEPS: [usize; 3] = [188, 192, 204];
/// Sync bytes in step that make a lock. Fewer occur by chance in payload.
const LOCK: usize = 5;
/// Lookahead that settles whether a lock begins at a byte.
const LOOKAHEAD: usize = 204 * (LOCK - 1) + 1;
/// Input is taken in pieces of this size, so that one large push does not double in memory.
const PIECE: usize = 64 * 1024;

/// Finds packets in a byte stream.
#[derive(Debug, Default)]
pub struct Framer {
    buf: Vec<u8>,
    /// First byte of `buf` not yet consumed; while locked, where the next sync byte is due.
    at: usize,
    /// Distance of packets while locked.
    step: Option<usize>,
}

impl Framer {
    /// Takes bytes in and hands every packet that is certain to `sink`.
    pub fn push(
        &mut self,
        bytes: &[u8],
        counters: &mut ReceptionCounters,
        mut sink: impl FnMut(&[u8; PACKET_BYTES], &mut ReceptionCounters),
    ) {
        counters.bytes += bytes.len() as u64;
        let mut rest = bytes;
        while !rest.is_empty() {
            self.buf.drain(..self.at);
            self.at = 0;
            if let Some(step) = self.step.filter(|_| self.buf.is_empty()) {
                rest = in_step(rest, step, counters, &mut sink);
            }
            // In step, only the packet that lies across two pushes is copied.
            let to_next_sync = self.step.and_then(|step| (step + 1).checked_sub(self.buf.len())).filter(|&n| n > 0);
            let (piece, later) = rest.split_at(rest.len().min(to_next_sync.unwrap_or(PIECE)));
            self.buf.extend_from_slice(piece);
            self.run(false, counters, &mut sink);
            let left = self.buf.len() - self.at;
            rest = if self.step.is_some() && left < piece.len() {
                // What is left came with this piece: it goes on where it lies.
                self.buf.clear();
                self.at = 0;
                &rest[piece.len() - left..]
            } else {
                later
            };
        }
    }

    /// Ends the input: what remains is taken with the lookahead there is.
    pub fn finish(
        &mut self,
        counters: &mut ReceptionCounters,
        mut sink: impl FnMut(&[u8; PACKET_BYTES], &mut ReceptionCounters),
    ) {
        self.run(true, counters, &mut sink);
        counters.skipped_bytes += (self.buf.len() - self.at) as u64;
        *self = Self::default();
    }

    fn run(
        &mut self,
        ended: bool,
        counters: &mut ReceptionCounters,
        sink: &mut impl FnMut(&[u8; PACKET_BYTES], &mut ReceptionCounters),
    ) {
        loop {
            let Some(step) = self.step else {
                if self.search(self.at, ended, counters) {
                    continue;
                }
                return;
            };
            let Some(packet) = self.buf.get(self.at..).and_then(|rest| rest.first_chunk::<PACKET_BYTES>()) else {
                return;
            };
            match self.buf.get(self.at + step) {
                Some(&SYNC) => {
                    counters.packets += 1;
                    sink(packet, counters);
                    self.at += step;
                }
                None if ended => {
                    counters.packets += 1;
                    sink(packet, counters);
                    self.at += PACKET_BYTES;
                    return;
                }
                None => return,
                Some(_) => {
                    // Sync is lost. Only if the packet after the next is in step again, nothing is missing here but a
                    // sync byte. Else bytes are, and this packet may end in the tail of another.
                    let packet = *packet;
                    if !ended && self.buf.len() - self.at < 2 * step + LOOKAHEAD {
                        return;
                    }
                    counters.sync_losses += 1;
                    self.step = None;
                    let from = self.at;
                    let lock = (from + 1..=from + 2 * step).find(|at| self.lock_at(*at, ended).is_some());
                    if lock == Some(from + 2 * step) {
                        counters.packets += 1;
                        sink(&packet, counters);
                        self.at = from + PACKET_BYTES;
                    } else {
                        counters.errored_packets += 1;
                        self.at = from + 1;
                    }
                }
            }
        }
    }

    /// Moves to the next lock; false when more bytes are needed.
    fn search(&mut self, from: usize, ended: bool, counters: &mut ReceptionCounters) -> bool {
        let mut at = from;
        loop {
            let last = if ended { self.buf.len() } else { self.buf.len().saturating_sub(LOOKAHEAD - 1) };
            let found = self.buf.get(at..last).and_then(|rest| memchr::memchr(SYNC, rest));
            match found {
                Some(ahead) if self.lock_at(at + ahead, ended).is_some() => {
                    at += ahead;
                    counters.skipped_bytes += (at - self.at) as u64;
                    self.step = self.lock_at(at, ended);
                    self.at = at;
                    return true;
                }
                Some(ahead) => at += ahead + 1,
                None => {
                    let at = last.max(at);
                    counters.skipped_bytes += (at - self.at) as u64;
                    self.at = at;
                    return false;
                }
            }
        }
    }

    /// The packet distance with which a lock begins at `at`. At the end of the input, all sync bytes that fit.
    fn lock_at(&self, at: usize, ended: bool) -> Option<usize> {
        STEPS.into_iter().find(|step| {
            let mut seen = 0;
            for k in 0..LOCK {
                match self.buf.get(at + k * step) {
                    Some(&SYNC) => seen += 1,
                    None if ended && seen >= 2 => break,
                    _ => return false,
                }
            }
            true
        })
    }
}

/// Hands out the packets that are followed by a sync byte where one is due; returns what is left.
fn in_step<'a>(
    mut bytes: &'a [u8],
    step: usize,
    counters: &mut ReceptionCounters,
    sink: &mut impl FnMut(&[u8; PACKET_BYTES], &mut ReceptionCounters),
) -> &'a [u8] {
    while let (Some(packet), Some(&SYNC)) = (bytes.first_chunk::<PACKET_BYTES>(), bytes.get(step)) {
        counters.packets += 1;
        sink(packet, counters);
        bytes = &bytes[step..];
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(bytes: &[u8], sizes: usize) -> (Vec<u8>, ReceptionCounters) {
        let (mut framer, mut counters, mut seen) = (Framer::default(), ReceptionCounters::default(), Vec::new());
        for piece in bytes.chunks(sizes) {
            framer.push(piece, &mut counters, |packet, _| seen.push(packet[4]));
        }
        framer.finish(&mut counters, |packet, _| seen.push(packet[4]));
        (seen, counters)
    }

    fn stream(count: u8, before: usize, after: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in 0..count {
            bytes.extend(vec![0; before]);
            bytes.push(SYNC);
            bytes.extend(vec![number; PACKET_BYTES - 1]);
            bytes.extend(vec![0; after]);
        }
        bytes
    }

    #[test]
    fn finds_all_three_framings_whatever_the_read_size() {
        for (before, after) in [(0, 0), (4, 0), (0, 16)] {
            for size in [1, 7, 188, 4096] {
                assert_eq!(packets(&stream(20, before, after), size).0, (0..20).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_packet_cut_short_is_lost_and_the_next_is_kept() {
        let mut bytes = stream(30, 0, 0);
        bytes.drain(10 * 188 + 50..10 * 188 + 60);
        for size in [1, 300, 10_000] {
            let (seen, counters) = packets(&bytes, size);
            assert_eq!(seen, (0..30).filter(|&n| n != 10).collect::<Vec<_>>());
            assert_eq!((counters.errored_packets, counters.sync_losses), (1, 1));
        }
    }

    #[test]
    fn bytes_missing_across_packets_cost_both_and_garbage_costs_the_one_before() {
        let all_but = |lost: &[u8]| (0..30).filter(|n| !lost.contains(n)).collect::<Vec<_>>();
        for (from, to) in [(150, 200), (187, 189), (20, 370)] {
            let mut bytes = stream(30, 0, 0);
            bytes.drain(10 * 188 + from..10 * 188 + to);
            for size in [1, 300, 10_000] {
                assert_eq!(packets(&bytes, size).0, all_but(&[10, 11]), "{from} to {to}");
            }
        }
        let mut bytes = stream(30, 0, 0);
        bytes.splice(1880..1880, [1u8; 333]);
        for size in [1, 300, 10_000] {
            assert_eq!(packets(&bytes, size).0, all_but(&[9]));
        }
    }

    #[test]
    fn a_damaged_sync_byte_costs_its_packet_alone() {
        for (before, after) in [(0, 0), (4, 0), (0, 16)] {
            let mut bytes = stream(30, before, after);
            bytes[10 * (188 + before + after) + before] = 0x46;
            for size in [1, 300, 10_000] {
                assert_eq!(packets(&bytes, size).0, (0..30).filter(|&n| n != 10).collect::<Vec<_>>());
            }
        }
    }
}
