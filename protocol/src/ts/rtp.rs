//! Transport streams in RTP (RFC 3550, RFC 2250): headers taken off, order restored.

use std::collections::BTreeMap;

/// How many packets one that overtook may wait for those before it. Networks reorder by a few; a longer wait only
/// delays what is lost.
const WINDOW: usize = 64;
/// A step of the sequence number by more than this is another stream, not loss (RFC 3550, A.1: MAX_DROPOUT).
const MAX_DROPOUT: u16 = 3000;

/// An RTP packet, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Packet<'a> {
    sequence: u16,
    source: u32,
    payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// None where it is no RTP packet (RFC 3550, 5.1).
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let header: &[u8; 12] = bytes.first_chunk()?;
        if header[0] >> 6 != 2 {
            return None;
        }
        let (padded, extended, sources) = (header[0] & 0x20 != 0, header[0] & 0x10 != 0, header[0] & 0x0F);
        let mut payload = bytes.get(12 + 4 * usize::from(sources)..)?;
        if extended {
            let head: &[u8; 4] = payload.first_chunk()?;
            let words = u16::from_be_bytes([head[2], head[3]]);
            payload = payload.get(4 + 4 * usize::from(words)..)?;
        }
        if padded {
            let padding = usize::from(*payload.last()?);
            payload = payload.get(..payload.len().checked_sub(padding)?)?;
        }
        Some(Self {
            sequence: u16::from_be_bytes([header[2], header[3]]),
            source: u32::from_be_bytes([header[8], header[9], header[10], header[11]]),
            payload,
        })
    }
}

/// Brings datagrams into the order of their sequence numbers, within a small window.
#[derive(Debug, Default)]
pub struct Reorder {
    /// Source and next sequence number.
    next: Option<(u32, u16)>,
    /// Packets that overtook, by their distance from a running count, so that the wrap does not matter.
    early: BTreeMap<u64, Vec<u8>>,
    /// Running count of the next packet.
    count: u64,
    /// Packets given up.
    lost: u64,
}

impl Reorder {
    /// Takes a datagram in; `emit` gets the payloads that are due, in order. What is no RTP packet is dropped.
    pub fn push(&mut self, datagram: &[u8], emit: impl FnMut(&[u8])) {
        if let Some(packet) = Packet::parse(datagram) {
            self.order(packet, emit);
        }
    }

    /// Ends the input: `emit` gets what still waits for packets before it.
    pub fn finish(&mut self, mut emit: impl FnMut(&[u8])) {
        while let Some((&first, _)) = self.early.first_key_value() {
            self.give_up(first - self.count);
            self.drain(&mut emit);
        }
    }

    /// Packets that never came, or came too late.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn order(&mut self, packet: Packet<'_>, mut emit: impl FnMut(&[u8])) {
        let (source, next) = *self.next.get_or_insert((packet.source, packet.sequence));
        let ahead = packet.sequence.wrapping_sub(next);
        if source != packet.source || (MAX_DROPOUT..=u16::MAX - MAX_DROPOUT).contains(&ahead) {
            // Another sender, or one that began anew.
            std::mem::take(&mut self.early).into_values().for_each(|held| emit(&held));
            self.next = Some((packet.source, packet.sequence.wrapping_add(1)));
            self.count += 1;
            emit(packet.payload);
            return;
        }
        if ahead > u16::MAX / 2 {
            return; // a duplicate, or too late
        }
        if ahead == 0 {
            emit(packet.payload);
            self.advance(1);
        } else {
            self.early.entry(self.count + u64::from(ahead)).or_insert_with(|| packet.payload.to_vec());
        }
        self.drain(&mut emit);
        if self.early.len() > WINDOW
            && let Some((&first, _)) = self.early.first_key_value()
        {
            self.give_up(first - self.count);
            self.drain(&mut emit);
        }
    }

    fn give_up(&mut self, gone: u64) {
        self.lost += gone;
        self.advance(gone);
    }

    fn drain(&mut self, emit: &mut impl FnMut(&[u8])) {
        while let Some(held) = self.early.remove(&self.count) {
            emit(&held);
            self.advance(1);
        }
    }

    fn advance(&mut self, by: u64) {
        self.count += by;
        if let Some((_, next)) = &mut self.next {
            *next = next.wrapping_add(by as u16);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(sequences: &[u16]) -> (Vec<u16>, u64) {
        let mut order = Reorder::default();
        let mut out = Vec::new();
        for &sequence in sequences {
            let payload = sequence.to_be_bytes();
            order.order(Packet { sequence, source: 1, payload: &payload }, |payload| {
                out.push(u16::from_be_bytes([payload[0], payload[1]]));
            });
        }
        (out, order.lost)
    }

    #[test]
    fn restores_order_across_the_wrap_and_drops_duplicates() {
        assert_eq!(run(&[65_534, 0, 65_535, 65_535, 2, 1, 1]), (vec![65_534, 65_535, 0, 1, 2], 0));
    }

    #[test]
    fn gives_up_what_does_not_come() {
        let late: Vec<u16> = std::iter::once(0).chain(3..3 + WINDOW as u16 + 1).collect();
        assert_eq!(run(&late), (late.clone(), 2));
        let mut with_late_one = late.clone();
        with_late_one.push(1);
        assert_eq!(run(&with_late_one).0, late, "what comes after it was given up stays out");
    }

    #[test]
    fn hands_out_what_waits_at_the_end() {
        let datagram = |n: u8| [0x80, 33, 0, n, 0, 0, 0, 0, 0, 0, 0, 9, n];
        let (mut order, mut out) = (Reorder::default(), Vec::new());
        for n in [1, 4, 6, 5] {
            order.push(&datagram(n), |payload| out.extend_from_slice(payload));
        }
        order.finish(|payload| out.extend_from_slice(payload));
        assert_eq!((out, order.lost()), (vec![1, 4, 5, 6], 2));
    }

    #[test]
    fn follows_a_sender_that_begins_anew() {
        assert_eq!(run(&[10, 11, 30_000, 30_001]), (vec![10, 11, 30_000, 30_001], 0));
    }

    #[test]
    fn takes_headers_with_sources_extension_and_padding_off() {
        let mut bytes = vec![0xB1, 33, 0, 7, 0, 0, 0, 0, 0, 0, 0, 9];
        bytes.extend([0; 4]); // one contributing source
        bytes.extend([0xBE, 0xDE, 0, 1, 1, 2, 3, 4]); // extension of one word
        bytes.extend([0x47, 0x40, 2, 2]); // payload and two bytes of padding
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!(packet, Packet { sequence: 7, source: 9, payload: &[0x47, 0x40] });
        for len in 0..bytes.len() {
            let _ = Packet::parse(&bytes[..len]);
        }
        assert_eq!(Packet::parse(&[0x47; 188]), None, "a bare transport stream");
    }
}
