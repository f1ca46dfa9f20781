//! Programme tables: sections, PAT and PMT (ISO/IEC 13818-1, 2.4.4).

/// Longest section of PAT or PMT: 12-bit length limited to 1021, and its 3 bytes of header.
const MAX_SECTION_BYTES: usize = 1024;

/// CRC-32 of sections (ISO/IEC 13818-1, annex A): over a whole section with its CRC it is 0.
#[must_use]
pub fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut at = 0;
        while at < 256 {
            let mut value = (at as u32) << 24;
            let mut bit = 0;
            while bit < 8 {
                value = if value & 0x8000_0000 != 0 { value << 1 ^ 0x04C1_1DB7 } else { value << 1 };
                bit += 1;
            }
            table[at] = value;
            at += 1;
        }
        table
    };
    bytes.iter().fold(u32::MAX, |crc, &byte| crc << 8 ^ TABLE[usize::from((crc >> 24) as u8 ^ byte)])
}

/// Collects the sections of one PID.
#[derive(Debug, Clone, Default)]
pub struct SectionAssembler {
    buf: Vec<u8>,
    /// Whether `buf` is at a section's beginning or inside one; otherwise bytes are skipped to the next start.
    active: bool,
}

impl SectionAssembler {
    /// Bytes are missing: drop the section in progress.
    pub fn hole(&mut self) {
        self.buf.clear();
        self.active = false;
    }

    /// Takes one payload; whole sections, good or bad, go to `sink`.
    pub fn push(&mut self, unit_start: bool, payload: &[u8], mut sink: impl FnMut(&[u8])) {
        if !unit_start {
            if self.active {
                self.buf.extend_from_slice(payload);
                self.drain(&mut sink);
            }
            return;
        }
        let Some((&pointer, rest)) = payload.split_first() else { return self.hole() };
        let Some((tail, head)) = rest.split_at_checked(usize::from(pointer)) else { return self.hole() };
        if self.active {
            self.buf.extend_from_slice(tail);
            self.drain(&mut sink);
        }
        self.buf.clear();
        self.buf.extend_from_slice(head);
        self.active = true;
        self.drain(&mut sink);
    }

    fn drain(&mut self, sink: &mut impl FnMut(&[u8])) {
        while let [table, high, low, ..] = self.buf[..] {
            let len = 3 + (usize::from(high & 0x0F) << 8 | usize::from(low));
            if table == 0xFF || len > MAX_SECTION_BYTES {
                return self.hole();
            }
            let Some(section) = self.buf.get(..len) else { return };
            sink(section);
            self.buf.drain(..len);
        }
    }
}

/// The payload of a long-form section in force: table extension, and the bytes between header and CRC.
struct LongSection<'a> {
    extension: u16,
    body: &'a [u8],
}

fn long_section(section: &[u8], table: u8) -> Option<LongSection<'_>> {
    let in_force = section.get(5)? & 1 != 0;
    if *section.first()? != table || section[1] & 0x80 == 0 || !in_force {
        return None;
    }
    let body = section.get(8..section.len().checked_sub(4)?)?;
    Some(LongSection { extension: u16::from_be_bytes([section[3], section[4]]), body })
}

/// What stands between header and CRC of a long-form section in force.
pub(super) fn long_body(section: &[u8], table: u8) -> Option<&[u8]> {
    long_section(section, table).map(|section| section.body)
}

/// Programmes of a PAT section: number and PMT PID, in its order. `None` if it is something else.
#[must_use]
pub fn parse_pat(section: &[u8]) -> Option<Vec<(u16, u16)>> {
    let entries = long_section(section, 0x00)?.body.chunks_exact(4);
    let entries = entries.map(|e| (u16::from_be_bytes([e[0], e[1]]), u16::from_be_bytes([e[2] & 0x1F, e[3]])));
    // Programme 0 is the network PID.
    Some(entries.filter(|&(number, _)| number != 0).collect())
}

/// A programme map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramMap {
    /// Programme number.
    pub number: u16,
    /// Its streams in order.
    pub streams: Vec<MapStream>,
}

/// One stream of a programme map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapStream {
    /// `stream_type`.
    pub stream_type: u8,
    /// PID.
    pub pid: u16,
    /// Its descriptors: tag and content.
    pub descriptors: Vec<(u8, Vec<u8>)>,
}

impl MapStream {
    /// Content of the first descriptor with this tag.
    #[must_use]
    pub fn descriptor(&self, tag: u8) -> Option<&[u8]> {
        self.descriptors.iter().find(|(have, _)| *have == tag).map(|(_, content)| &content[..])
    }
}

/// The map in a PMT section. `None` if it is something else or contradicts itself.
#[must_use]
pub fn parse_pmt(section: &[u8]) -> Option<ProgramMap> {
    let LongSection { extension: number, body } = long_section(section, 0x02)?;
    let info_bytes = usize::from(u16::from_be_bytes([*body.get(2)?, *body.get(3)?]) & 0x0FFF);
    let mut rest = body.get(4 + info_bytes..)?;
    let mut streams = Vec::new();
    while let [stream_type, pid_high, pid_low, len_high, len_low, after @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*len_high, *len_low]) & 0x0FFF);
        let (loop_bytes, next) = after.split_at_checked(len)?;
        streams.push(MapStream {
            stream_type: *stream_type,
            pid: u16::from_be_bytes([pid_high & 0x1F, *pid_low]),
            descriptors: descriptors(loop_bytes),
        });
        rest = next;
    }
    Some(ProgramMap { number, streams })
}

/// Tags and contents of descriptors.
pub(super) fn descriptors(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut found = Vec::new();
    while let [tag, len, rest @ ..] = bytes {
        let Some((content, next)) = rest.split_at_checked(usize::from(*len)) else { break };
        found.push((*tag, content.to_vec()));
        bytes = next;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_of_a_section_with_its_crc_is_zero() {
        let mut section = b"123456789".to_vec();
        assert_eq!(crc32(&section), 0x0376_E6E7);
        section.extend(crc32(&section.clone()).to_be_bytes());
        assert_eq!(crc32(&section), 0);
    }

    #[test]
    fn a_section_split_over_packets_is_put_together() {
        let section: Vec<u8> = [&[0x42, 0x80, 200][..], &[7; 200][..]].concat();
        let mut assembler = SectionAssembler::default();
        let mut seen = Vec::new();
        let first: Vec<u8> = [&[0][..], &section[..100]].concat();
        assembler.push(true, &first, |s| seen.push(s.to_vec()));
        let second: Vec<u8> = [&[103][..], &section[100..], &[0xFF; 20]].concat();
        assembler.push(true, &second, |s| seen.push(s.to_vec()));
        assert_eq!(seen, [section]);
    }
}
