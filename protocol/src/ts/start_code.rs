//! Start codes of video: the three bytes `00 00 01` (ISO/IEC 14496-10, annex B; 13818-2, 5.2.3).

use memchr::memmem::Finder;

/// Finds start codes. In coded data two bytes at once tell nearly every place apart, one alone does not.
#[derive(Debug)]
pub(super) struct StartCodes(Finder<'static>);

impl Default for StartCodes {
    fn default() -> Self {
        Self(Finder::new(&[0, 0, 1]))
    }
}

impl StartCodes {
    /// Index of the first one that begins at `from` or later and is whole.
    pub fn find(&self, bytes: &[u8], from: usize) -> Option<usize> {
        Some(from + self.0.find(bytes.get(from..)?)?)
    }
}
