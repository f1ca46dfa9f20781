//! Transport packets, as plainly as ISO/IEC 13818-1 2.4.3.2 allows: fixed offsets into 188 bytes.

use std::ops::Range;

/// Bytes of a transport packet.
pub const PACKET: usize = 188;
/// The PID of null packets.
pub const NULL_PID: u16 = 0x1fff;
/// PIDs are 13 bits.
pub const PIDS: usize = 0x2000;
const SYNC: u8 = 0x47;

/// What happened to a packet on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It arrives.
    Kept,
    /// It never arrives. It stays in the list, so that the damage can be counted when all recipes have run.
    Lost,
    /// Only its first bytes arrive (of 188).
    Truncated(u8),
    /// It arrives with the transport error indicator set, its content not to be trusted.
    Tei,
    /// It arrives with a changed payload bit that nothing announces.
    Flipped,
}

/// One packet between the source and the receiver.
#[derive(Debug, Clone)]
pub struct Packet {
    /// The 188 bytes as they are sent.
    pub data: [u8; PACKET],
    /// Packets of the source (by number) whose content is in this one; empty for packets a recipe invented.
    pub origin: Range<u32>,
    /// The PID in the source, for the log; [`NULL_PID`] for invented packets.
    pub source_pid: u16,
    /// What happened to it.
    pub fate: Fate,
    /// A legal duplicate of the previous payload packet of its PID.
    pub duplicate: bool,
}

impl Packet {
    /// A packet that no source packet stands behind.
    pub fn invented(data: [u8; PACKET]) -> Self {
        Packet { data, origin: 0..0, source_pid: NULL_PID, fate: Fate::Kept, duplicate: false }
    }

    /// A null packet.
    pub fn null() -> Self {
        let mut data = [0xff; PACKET];
        data[..4].copy_from_slice(&[SYNC, 0x1f, 0xff, 0x10]);
        Packet::invented(data)
    }

    /// A packet with a header and payload only; the payload must be 184 bytes or fewer, the rest is 0xff.
    pub fn section(pid: u16, counter: u8, start: bool, payload: &[u8]) -> Self {
        let mut packet = Packet::null();
        packet.set_pid(pid);
        packet.data[1] = (packet.data[1] & 0x1f) | if start { 0x40 } else { 0 };
        packet.set_counter(counter);
        let length = payload.len().min(PACKET - 4);
        packet.data[4..4 + length].copy_from_slice(&payload[..length]);
        packet
    }

    /// The packet identifier.
    pub fn pid(&self) -> u16 {
        pid(&self.data)
    }

    /// Changes the packet identifier.
    pub fn set_pid(&mut self, pid: u16) {
        self.data[1] = (self.data[1] & 0xe0) | (pid >> 8) as u8 & 0x1f;
        self.data[2] = pid as u8;
    }

    /// Whether a PES packet or a section begins here.
    pub fn starts_unit(&self) -> bool {
        self.data[1] & 0x40 != 0
    }

    /// The continuity counter.
    pub fn counter(&self) -> u8 {
        self.data[3] & 0x0f
    }

    /// Changes the continuity counter (its low four bits).
    pub fn set_counter(&mut self, counter: u8) {
        self.data[3] = (self.data[3] & 0xf0) | (counter & 0x0f);
    }

    /// Whether it carries payload.
    pub fn has_payload(&self) -> bool {
        !self.payload().is_empty()
    }

    /// Where the payload lies; empty without one.
    pub fn payload(&self) -> Range<usize> {
        match self.data[3] & 0x30 {
            0x10 => 4..PACKET,
            0x30 => (5 + usize::from(self.data[4])).min(PACKET)..PACKET,
            _ => PACKET..PACKET,
        }
    }

    /// Where the flags of the adaptation field lie, if there are any.
    pub fn adaptation_flags(&mut self) -> Option<&mut u8> {
        (self.data[3] & 0x20 != 0 && self.data[4] > 0).then(|| &mut self.data[5])
    }

    /// The program clock reference in 27 MHz ticks (below 300·2^33).
    pub fn pcr(&self) -> Option<u64> {
        pcr(&self.data)
    }

    /// Overwrites a clock reference that is there; `ticks` are 27 MHz, taken modulo 300·2^33.
    pub fn set_pcr(&mut self, ticks: u64) {
        if self.pcr().is_none() {
            return;
        }
        let (base, extension) = (ticks / 300 % (1 << 33), (ticks % 300) as u16);
        self.data[6..10].copy_from_slice(&((base >> 1) as u32).to_be_bytes());
        self.data[10] = ((base & 1) as u8) << 7 | 0x7e | (extension >> 8) as u8;
        self.data[11] = extension as u8;
    }

    /// Whether the receiver gets its content as it was sent.
    pub fn arrives_whole(&self) -> bool {
        self.fate == Fate::Kept
    }
}

/// The packet identifier of 188 bytes (or at least the first three of them).
pub fn pid(packet: &[u8]) -> u16 {
    u16::from(packet[1] & 0x1f) << 8 | u16::from(packet[2])
}

/// The program clock reference of a packet, 27 MHz ticks.
pub fn pcr(packet: &[u8]) -> Option<u64> {
    if packet[3] & 0x20 == 0 || packet[4] < 7 || packet[5] & 0x10 == 0 {
        return None;
    }
    let base = u64::from(u32::from_be_bytes([packet[6], packet[7], packet[8], packet[9]])) << 1;
    let base = base | u64::from(packet[10] >> 7);
    let extension = u64::from(packet[10] & 1) << 8 | u64::from(packet[11]);
    Some(base * 300 + extension)
}

/// Finds the packets of a recording with 188, 192 or 204 bytes a packet: the offset of each sync byte.
///
/// Plain on purpose: the framing is the one in which the first five packets are in step, and a packet out of step is
/// searched for byte by byte.
pub fn offsets(bytes: &[u8]) -> Vec<usize> {
    let in_step = |at: usize, stride: usize, count: usize| {
        (0..count).all(|n| bytes.get(at + n * stride).is_none_or(|byte| *byte == SYNC)) && bytes.get(at) == Some(&SYNC)
    };
    let first = (0..bytes.len().min(1 << 20)).find_map(|at| {
        [PACKET, 192, 204].into_iter().find(|stride| in_step(at, *stride, 5)).map(|stride| (at, stride))
    });
    let Some((mut at, stride)) = first else { return Vec::new() };
    let mut found = Vec::with_capacity(bytes.len() / stride);
    while at + PACKET <= bytes.len() {
        if bytes[at] == SYNC && (found.last().is_some_and(|last| last + stride == at) || in_step(at, stride, 3)) {
            found.push(at);
            at += stride;
        } else {
            at += 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_packets_in_every_framing_behind_a_torn_start() {
        for (stride, before) in [(188, 0), (192, 4), (204, 0)] {
            let mut bytes = vec![1, 2, 3];
            for _ in 0..20 {
                bytes.extend(vec![9; before]);
                bytes.extend(Packet::null().data);
                bytes.extend(vec![7; stride - before - PACKET]);
            }
            let expected: Vec<_> = (0..20).map(|n| 3 + before + n * stride).collect();
            assert_eq!(offsets(&bytes), expected, "stride {stride}");
        }
    }

    #[test]
    fn clock_reference_survives_writing_and_reading() {
        let mut packet = Packet::null();
        packet.data[3] = 0x20;
        packet.data[4..6].copy_from_slice(&[183, 0x10]);
        for ticks in [0, 299, 300, 27_000_000 * 3600 + 17, 300 * (1 << 33) - 1] {
            packet.set_pcr(ticks);
            assert_eq!(packet.pcr(), Some(ticks));
        }
    }
}
