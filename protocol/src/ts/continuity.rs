//! Continuity counters of one PID (CCF 3).

/// What a payload packet's counter says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Continuity {
    /// It follows the packet before it.
    Follows,
    /// The PID's first packet.
    First,
    /// The packet before it once more: drop it.
    Duplicate,
    /// So many packets are missing before it, modulo 16.
    Lost(u8),
}

/// Follows the counter of one PID.
#[derive(Debug, Clone)]
pub struct ContinuityCheck {
    last: Option<u8>,
    repeated: bool,
    payload: [u8; 184],
    payload_len: u8,
}

impl Default for ContinuityCheck {
    fn default() -> Self {
        Self { last: None, repeated: false, payload: [0; 184], payload_len: 0 }
    }
}

impl ContinuityCheck {
    /// Judges the next packet with payload.
    pub fn next(&mut self, counter: u8, payload: &[u8]) -> Continuity {
        let verdict = match self.last {
            None => Continuity::First,
            Some(last) if counter == (last + 1) & 0x0F => Continuity::Follows,
            Some(last)
                if counter == last && !self.repeated && payload == &self.payload[..usize::from(self.payload_len)] =>
            {
                self.repeated = true;
                return Continuity::Duplicate;
            }
            Some(last) => Continuity::Lost(counter.wrapping_sub(last).wrapping_sub(1) & 0x0F),
        };
        self.last = Some(counter);
        self.repeated = false;
        if let Some(full) = payload.first_chunk() {
            // Nearly all are, and a copy of known length is a few instructions.
            self.payload = *full;
            self.payload_len = 184;
        } else {
            self.payload[..payload.len()].copy_from_slice(payload);
            self.payload_len = payload.len() as u8;
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_repetition_is_legal_and_a_changed_one_is_loss() {
        let mut check = ContinuityCheck::default();
        assert_eq!(check.next(15, b"a"), Continuity::First);
        assert_eq!(check.next(0, b"b"), Continuity::Follows);
        assert_eq!(check.next(0, b"b"), Continuity::Duplicate);
        assert_eq!(check.next(0, b"b"), Continuity::Lost(15));
        assert_eq!(check.next(1, b"c"), Continuity::Follows);
        assert_eq!(check.next(1, b"d"), Continuity::Lost(15));
        assert_eq!(check.next(4, b"e"), Continuity::Lost(2));
    }
}
