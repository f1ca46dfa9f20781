//! Bits of plain bytes, and of H.264 and H.265 NAL units, emulation prevention bytes removed on the way (H.264 7.4.1).

/// Reads bits of a NAL unit from the front; `None` once they run out, never a panic.
#[derive(Debug, Clone)]
pub struct NalBits<'a> {
    bytes: &'a [u8],
    at: usize,
    zeros: u8,
    current: u8,
    left: u8,
}

impl<'a> NalBits<'a> {
    /// Reads the bytes after the NAL header.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, zeros: 0, current: 0, left: 0 }
    }

    fn next_byte(&mut self) -> Option<u8> {
        let mut byte = *self.bytes.get(self.at)?;
        self.at += 1;
        if self.zeros >= 2 && byte == 3 {
            self.zeros = 0;
            byte = *self.bytes.get(self.at)?;
            self.at += 1;
        }
        self.zeros = if byte == 0 { self.zeros.saturating_add(1) } else { 0 };
        Some(byte)
    }

    /// One bit.
    pub fn bit(&mut self) -> Option<bool> {
        if self.left == 0 {
            self.current = self.next_byte()?;
            self.left = 8;
        }
        self.left -= 1;
        Some(self.current >> self.left & 1 != 0)
    }

    /// `count` bits, at most 32, most significant first.
    pub fn bits(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count.min(32) {
            value = value << 1 | u32::from(self.bit()?);
        }
        Some(value)
    }

    /// Unsigned Exp-Golomb (H.264 9.1); `None` for codes over 31 bits, which no syntax element has.
    pub fn ue(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.bit()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some(((1u64 << zeros) - 1) as u32 + self.bits(zeros)?)
    }

    /// Signed Exp-Golomb (H.264 9.1.1).
    pub fn se(&mut self) -> Option<i64> {
        let code = i64::from(self.ue()?);
        Some(if code % 2 == 0 { -(code / 2) } else { (code + 1) / 2 })
    }
}

/// Bits of plain bytes.
#[derive(Debug, Clone)]
pub struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    /// Reads from the front.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// One bit.
    pub fn bit(&mut self) -> Option<bool> {
        let byte = self.bytes.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(bit != 0)
    }

    /// `count` bits, at most 32, most significant first.
    pub fn bits(&mut self, count: u32) -> Option<u32> {
        (0..count.min(32)).try_fold(0, |value, _| Some(value << 1 | u32::from(self.bit()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_golomb_codes_across_an_emulation_prevention_byte() {
        // 1 010 011 00100 ... -> 0, 1, 2, 3
        let mut bits = NalBits::new(&[0b1010_0110, 0b0100_0000]);
        assert_eq!((bits.ue(), bits.ue(), bits.ue(), bits.ue()), (Some(0), Some(1), Some(2), Some(3)));
        let mut bits = NalBits::new(&[0, 0, 3, 1, 9]);
        assert_eq!(bits.bits(24), Some(1));
        assert_eq!(bits.bits(8), Some(9));
        assert_eq!(bits.bit(), None);
    }

    #[test]
    fn endless_zeros_are_no_code() {
        assert_eq!(NalBits::new(&[0, 0, 0, 0, 0, 0, 0, 0, 0]).ue(), None);
        assert_eq!(NalBits::new(&[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]).ue(), Some((1u32 << 31) - 1 + 0x7fff_ffff));
    }
}
