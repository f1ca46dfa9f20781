//! PES packets of one PID taken apart (ISO/IEC 13818-1, 2.4.3.6): times, and elementary bytes as they come.

use crate::time::Pts33;

/// Longest PES header: 9 bytes fixed and 255 that follow.
const MAX_HEADER_BYTES: usize = 9 + 255;

/// Times of a PES packet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PesTimes {
    /// Presentation time, where given.
    pub pts: Option<Pts33>,
    /// Decoding time, where given beside a presentation time.
    pub dts: Option<Pts33>,
}

/// What a payload brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PesEvent<'a> {
    /// Bytes of the packet before are missing at its end: its length said more.
    Short,
    /// A PES packet begins.
    Start(PesTimes),
    /// Elementary bytes.
    Data(&'a [u8]),
    /// A PES packet begins that cannot be used.
    Unusable {
        /// Its payload is scrambled; otherwise its header is damaged.
        scrambled: bool,
    },
}

#[derive(Debug, Default)]
enum State {
    /// Skipping to the next start.
    #[default]
    Idle,
    /// Collecting a header.
    Header,
    /// Inside the payload; bytes still due where the length is set.
    Payload(Option<usize>),
}

/// Takes the PES packets of one PID apart.
#[derive(Debug, Default)]
pub struct PesParser {
    state: State,
    header: Vec<u8>,
}

impl PesParser {
    /// Takes one payload in; events go to `sink` in order.
    pub fn push(&mut self, unit_start: bool, payload: &[u8], mut sink: impl FnMut(PesEvent<'_>)) {
        if unit_start {
            match self.state {
                State::Payload(Some(1..)) => sink(PesEvent::Short),
                State::Header => sink(PesEvent::Unusable { scrambled: false }),
                _ => {}
            }
            self.header.clear();
            self.state = State::Header;
        }
        match &mut self.state {
            State::Idle => {}
            State::Header => self.header(payload, sink),
            State::Payload(None) => sink(PesEvent::Data(payload)),
            State::Payload(Some(due)) => {
                let taken = payload.len().min(*due);
                *due -= taken;
                if taken > 0 {
                    sink(PesEvent::Data(&payload[..taken]));
                }
            }
        }
    }

    /// Bytes are missing before the next payload. A header in progress is lost, and a length no longer tells where
    /// the packet ends.
    pub fn hole(&mut self) {
        match &mut self.state {
            State::Header => self.state = State::Idle,
            State::Payload(due) if due.is_some() => *due = None,
            _ => {}
        }
    }

    fn header(&mut self, payload: &[u8], mut sink: impl FnMut(PesEvent<'_>)) {
        let had = self.header.len();
        let wanted = MAX_HEADER_BYTES - had;
        self.header.extend_from_slice(&payload[..payload.len().min(wanted)]);
        let header = &self.header[..];
        if header.len() < 4 {
            return;
        }
        if header[..3] != [0, 0, 1] {
            self.state = State::Idle;
            return sink(PesEvent::Unusable { scrambled: false });
        }
        if matches!(header[3], 0xBC | 0xBE | 0xBF | 0xF0 | 0xF1 | 0xF2 | 0xF8 | 0xFF) {
            // Padding, maps, ECM and the like have no header extension and no elementary bytes.
            self.state = State::Idle;
            return;
        }
        let Some(&[high, low, flags, has, extra]) = header.get(4..9).and_then(|h| h.first_chunk::<5>()) else { return };
        if flags & 0xC0 != 0x80 {
            self.state = State::Idle;
            return sink(PesEvent::Unusable { scrambled: false });
        }
        if flags & 0x30 != 0 {
            self.state = State::Idle;
            return sink(PesEvent::Unusable { scrambled: true });
        }
        let header_bytes = 9 + usize::from(extra);
        let Some(extension) = header.get(9..header_bytes) else { return };
        let stamp = |at: usize| extension.get(at..).and_then(|rest| rest.first_chunk::<5>()).map(time_stamp);
        let times = match has >> 6 {
            2 => PesTimes { pts: stamp(0), dts: None },
            3 => PesTimes { pts: stamp(0), dts: stamp(5) },
            _ => PesTimes::default(),
        };
        let len = usize::from(u16::from_be_bytes([high, low]));
        let mut due = (len != 0).then(|| (6 + len).saturating_sub(header_bytes));
        sink(PesEvent::Start(times));
        let rest = payload.get(header_bytes - had..).unwrap_or_default();
        let taken = due.map_or(rest.len(), |due| rest.len().min(due));
        if let Some(due) = &mut due {
            *due -= taken;
        }
        self.state = State::Payload(due);
        if taken > 0 {
            sink(PesEvent::Data(&rest[..taken]));
        }
    }
}

/// The 33 bits of a time stamp (ISO/IEC 13818-1, 2.4.3.7); marker bits are not judged.
fn time_stamp(bytes: &[u8; 5]) -> Pts33 {
    let [a, b, c, d, e] = bytes.map(u64::from);
    Pts33((a >> 1 & 7) << 30 | b << 22 | (c >> 1) << 15 | d << 7 | e >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(payloads: &[(bool, &[u8])]) -> Vec<String> {
        let mut parser = PesParser::default();
        let mut seen = Vec::new();
        for &(start, payload) in payloads {
            parser.push(start, payload, |event| seen.push(format!("{event:?}")));
        }
        seen
    }

    #[test]
    fn a_header_split_over_payloads_reads_the_same() {
        let pes = [0, 0, 1, 0xC0, 0, 10, 0x80, 0x80, 5, 0x21, 0, 1, 0, 3, 0xAA, 0xBB, 0xCC];
        let whole = run(&[(true, &pes)]);
        // The length of 10 leaves two bytes of payload; the third is ignored.
        assert_eq!(whole, ["Start(PesTimes { pts: Some(Pts33(1)), dts: None })", "Data([170, 187])"]);
        for cut in 1..14 {
            assert_eq!(run(&[(true, &pes[..cut]), (false, &pes[cut..])]), whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_packet_shorter_than_its_length_is_damage() {
        let pes = [0, 0, 1, 0xC0, 0, 10, 0x80, 0x80, 5, 0x21, 0, 1, 0, 3, 0xAA];
        assert_eq!(run(&[(true, &pes), (true, &pes)])[2], "Short");
    }
}
