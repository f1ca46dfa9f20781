//! Program specific information (ISO/IEC 13818-1 2.4.4): reading the tables of a source, and rewriting sections where
//! they lie, with their CRC.

use std::collections::{BTreeMap, BTreeSet};

use super::packet::{PACKET, Packet};

/// What a PID carries, as far as harm is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A video elementary stream.
    Video,
    /// An audio elementary stream.
    Audio,
    /// PAT and PMTs.
    Psi,
    /// Everything else: service information, data, null packets.
    Other,
}

/// The elementary streams of a source.
#[derive(Debug, Clone, Default)]
pub struct Tables {
    /// PIDs of the PMTs.
    pub pmts: BTreeSet<u16>,
    /// Stream type of each elementary PID; private data that descriptors call AC-3 or E-AC-3 has their ATSC type.
    pub streams: BTreeMap<u16, u8>,
    /// Elementary PIDs in the order of the PMTs.
    pub order: Vec<u16>,
}

impl Tables {
    /// Reads every PAT and PMT of the packets.
    pub fn read(packets: &mut [Packet]) -> Tables {
        let mut tables = Tables::default();
        for_each_section(packets, 0, |_, section| {
            if section[0] == 0 {
                tables.pmts.extend(programs(section).map(|(_, at)| pid_at(section, at)));
            }
            false
        });
        for pmt in tables.pmts.clone() {
            for_each_section(packets, pmt, |_, section| {
                if section[0] == 2 {
                    for at in streams(section) {
                        let pid = pid_at(section, at + 1);
                        if tables.streams.insert(pid, kind(section, at)).is_none() {
                            tables.order.push(pid);
                        }
                    }
                }
                false
            });
        }
        tables
    }

    /// What a PID carries.
    pub fn role(&self, pid: u16) -> Role {
        match self.streams.get(&pid) {
            Some(0x01 | 0x02 | 0x1b | 0x24) => Role::Video,
            Some(0x03 | 0x04 | 0x0f | 0x11 | 0x81 | 0x87) => Role::Audio,
            Some(_) => Role::Other,
            None if pid == 0 || self.pmts.contains(&pid) => Role::Psi,
            None => Role::Other,
        }
    }

    /// Elementary PIDs of a role, in the order of the PMTs.
    pub fn pids(&self, role: Role) -> Vec<u16> {
        self.order.iter().copied().filter(|pid| self.role(*pid) == role).collect()
    }
}

/// Calls `change` with every whole section of a PID that has a right CRC, and the number of the packet it begins in. Where it returns true, the section's CRC is
/// computed anew and its bytes are put back where they came from; its length cannot change.
pub fn for_each_section(packets: &mut [Packet], pid: u16, mut change: impl FnMut(usize, &mut [u8]) -> bool) {
    let mut open: Option<Section> = None;
    for index in 0..packets.len() {
        let packet = &packets[index];
        if packet.pid() != pid || !packet.has_payload() || packet.duplicate {
            continue;
        }
        let payload = packet.payload();
        let mut at = payload.start;
        if packet.starts_unit() {
            let pointer = usize::from(packet.data[at]);
            let end = (at + 1 + pointer).min(PACKET);
            if let Some(mut section) = open.take() {
                section.take(packets, index, at + 1..end);
                section.finish(packets, &mut change);
            }
            at = end;
        }
        while at < PACKET {
            let section = match open.as_mut() {
                Some(section) => section,
                None if packets[index].starts_unit() && packets[index].data[at] != 0xff => {
                    open.insert(Section::default())
                }
                None => break,
            };
            at = section.take(packets, index, at..PACKET);
            if section.missing() > 0 {
                break;
            }
            if let Some(section) = open.take() {
                section.finish(packets, &mut change);
            }
        }
    }
}

#[derive(Default)]
struct Section {
    bytes: Vec<u8>,
    places: Vec<(usize, usize)>,
}

impl Section {
    fn missing(&self) -> usize {
        match self.bytes.as_slice() {
            [_, high, low, ..] => 3 + length(*high, *low) - self.bytes.len(),
            short => 3 - short.len(),
        }
    }

    /// Takes what it misses from a packet; returns where it stopped.
    fn take(&mut self, packets: &[Packet], index: usize, range: std::ops::Range<usize>) -> usize {
        let mut at = range.start;
        while at < range.end && self.missing() > 0 {
            self.bytes.push(packets[index].data[at]);
            self.places.push((index, at));
            at += 1;
        }
        at
    }

    fn finish(mut self, packets: &mut [Packet], change: &mut impl FnMut(usize, &mut [u8]) -> bool) {
        if self.missing() > 0 || self.bytes.len() < 12 || crc32(&self.bytes) != 0 {
            return;
        }
        if !change(self.places[0].0, &mut self.bytes) {
            return;
        }
        seal(&mut self.bytes);
        for ((index, at), byte) in self.places.iter().zip(&self.bytes) {
            packets[*index].data[*at] = *byte;
        }
    }
}

/// Puts the right CRC in the last four bytes of a section.
pub fn seal(section: &mut [u8]) {
    let body = section.len().saturating_sub(4);
    let crc = crc32(&section[..body]);
    section[body..].copy_from_slice(&crc.to_be_bytes());
}

/// CRC-32 of MPEG-2 systems (ISO/IEC 13818-1 annex A); over a whole section with a right CRC it is 0.
pub fn crc32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| (crc << 1) ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 })
    })
}

fn length(high: u8, low: u8) -> usize {
    usize::from(high & 0x0f) << 8 | usize::from(low)
}

/// The 13-bit PID at a place of a section.
pub fn pid_at(section: &[u8], at: usize) -> u16 {
    u16::from(section[at] & 0x1f) << 8 | u16::from(section[at + 1])
}

/// Overwrites the 13-bit PID at a place of a section.
pub fn set_pid_at(section: &mut [u8], at: usize, pid: u16) {
    section[at] = (section[at] & 0xe0) | (pid >> 8) as u8 & 0x1f;
    section[at + 1] = pid as u8;
}

/// Programmes of a PAT section, network entries left out: programme number and where the PMT's PID lies.
pub fn programs(section: &[u8]) -> impl Iterator<Item = (u16, usize)> + use<> {
    let entries: Vec<_> = (8..section.len().saturating_sub(7))
        .step_by(4)
        .map(|at| (u16::from_be_bytes([section[at], section[at + 1]]), at + 2))
        .filter(|(number, _)| *number != 0)
        .collect();
    entries.into_iter()
}

/// What a PMT entry carries, as an ATSC stream type (EN 300 468 D.3 and ISO/IEC 13818-1 2.6.8 for private data).
fn kind(section: &[u8], entry: usize) -> u8 {
    if section[entry] != 0x06 {
        return section[entry];
    }
    let end = (entry + 5 + length(section[entry + 3], section[entry + 4])).min(section.len());
    let mut rest = &section[entry + 5..end];
    let mut found = 0x06;
    while let [tag, size, content @ ..] = rest {
        let (content, behind) = content.split_at(content.len().min(usize::from(*size)));
        found = match (tag, content) {
            (0x6a, _) | (0x05, b"AC-3") => 0x81,
            (0x7a, _) | (0x05, b"EAC3") => 0x87,
            _ => found,
        };
        rest = behind;
    }
    found
}

/// Elementary streams of a PMT section: where each entry (its stream type, then its PID) begins.
pub fn streams(section: &[u8]) -> impl Iterator<Item = usize> + use<> {
    let end = section.len().saturating_sub(4);
    let mut entries = Vec::new();
    if section.len() >= 16 {
        let mut at = 12 + length(section[10], section[11]);
        while at + 5 <= end {
            entries.push(at);
            at += 5 + length(section[at + 3], section[at + 4]);
        }
    }
    entries.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A PAT with one programme, as every textbook prints it: its CRC is known from outside.
    const PAT: [u8; 16] = [0, 0xb0, 0x0d, 0, 1, 0xc1, 0, 0, 0, 1, 0xf0, 0, 0x2a, 0xb1, 0x04, 0xb2];

    #[test]
    fn crc_agrees_with_a_section_made_elsewhere() {
        assert_eq!(crc32(&PAT), 0);
    }

    #[test]
    fn section_spread_over_two_packets_is_rewritten_in_place() {
        let mut long = PAT[..8].to_vec();
        for program in 1..=60_u16 {
            long.extend(program.to_be_bytes());
            long.extend((0xe000 | (0x100 + program)).to_be_bytes());
        }
        let length = (0xb000 | (long.len() as u16 + 1)).to_be_bytes();
        long[1..3].copy_from_slice(&length);
        long.extend([0; 4]);
        seal(&mut long);
        let mut first = vec![0];
        first.extend(&long[..183]);
        let mut packets =
            vec![Packet::section(0, 0, true, &first), Packet::null(), Packet::section(0, 1, false, &long[183..])];
        let tables = Tables::read(&mut packets);
        assert_eq!(tables.pmts, (0x101..=0x13c).collect());
        for_each_section(&mut packets, 0, |_, section| {
            set_pid_at(section, 10, 0x1abc);
            true
        });
        assert_eq!(Tables::read(&mut packets).pmts, (0x102..=0x13c).chain([0x1abc]).collect());
    }
}
