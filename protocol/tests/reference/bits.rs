//! Bits of a header, most significant first; reading beyond the end gives `None`.

pub struct Bits {
    bits: Vec<bool>,
    at: usize,
}

impl Bits {
    pub fn new(bytes: &[u8]) -> Self {
        let bits = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1)).collect();
        Self { bits, at: 0 }
    }

    /// Without emulation prevention bytes (H.264 7.3.1, H.265 7.3.1.1).
    pub fn of_nal(bytes: &[u8]) -> Self {
        let mut plain: Vec<u8> = Vec::new();
        let mut zeros = 0;
        for &byte in bytes {
            if zeros >= 2 && byte == 3 {
                zeros = 0;
                continue;
            }
            zeros = if byte == 0 { zeros + 1 } else { 0 };
            plain.push(byte);
        }
        Self::new(&plain)
    }

    pub fn flag(&mut self) -> Option<bool> {
        self.at += 1;
        self.bits.get(self.at - 1).copied()
    }

    pub fn u(&mut self, count: usize) -> Option<u64> {
        (0..count).try_fold(0, |value, _| Some(value * 2 + u64::from(self.flag()?)))
    }

    /// Exp-Golomb (H.264 9.1).
    pub fn ue(&mut self) -> Option<u64> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
        }
        (zeros <= 32).then_some(())?;
        Some((1 << zeros) - 1 + self.u(zeros)?)
    }

    pub fn se(&mut self) -> Option<i64> {
        let code = self.ue()? as i64;
        Some(if code % 2 == 1 { code / 2 + 1 } else { -(code / 2) })
    }
}
