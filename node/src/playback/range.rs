//! One recording as one file: where each cell lies in it, and what a Range header asks for (RFC 9110, 14).

use std::ops::Range;

use super::cells::{Cell, Media};

/// Longest Range header that is looked at: one range of two 20-digit numbers, several times over.
const MAX_HEADER_BYTES: usize = 256;

/// What of a file is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// All of it: no range, or one that is to be ignored (malformed, other units, several ranges).
    All,
    /// These bytes; not empty and within the file.
    Part(Range<u64>),
    /// Nothing that the file has.
    Unsatisfiable,
}

/// Reads a Range header for a file of `len` bytes.
#[must_use]
pub fn wanted(header: Option<&str>, len: u64) -> Wanted {
    let Some(header) = header.filter(|header| header.len() <= MAX_HEADER_BYTES) else { return Wanted::All };
    let Some((unit, spec)) = header.split_once('=') else { return Wanted::All };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Wanted::All;
    }
    let Some((first, last)) = spec.trim().split_once('-') else { return Wanted::All };
    let range = match (number(first), number(last)) {
        (Number::Is(first), Number::Is(last)) if first <= last => first..last.saturating_add(1).min(len),
        (Number::Is(first), Number::None) => first..len,
        (Number::None, Number::Is(count)) => len.saturating_sub(count)..len,
        _ => return Wanted::All,
    };
    if range.start < range.end { Wanted::Part(range) } else { Wanted::Unsatisfiable }
}

enum Number {
    None,
    Is(u64),
    Bad,
}

/// A number of digits only: signs and spaces are not allowed here, and one beyond 64 bits is beyond any file.
fn number(text: &str) -> Number {
    if text.is_empty() {
        return Number::None;
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Number::Bad;
    }
    Number::Is(text.parse().unwrap_or(u64::MAX))
}

/// A piece of one cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Which cell.
    pub cell: usize,
    /// First byte in it.
    pub start: u64,
    /// One past the last byte in it.
    pub end: u64,
}

/// Where each cell begins in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// Where each cell ends.
    ends: Vec<u64>,
}

impl Layout {
    /// The file of these cells one after another.
    #[must_use]
    pub fn of(cells: &[Cell]) -> Self {
        let mut end = 0u64;
        let lengths = cells.iter().map(|cell| {
            debug_assert!(!matches!(cell.media, Media::Head { .. }), "a head has another length than its chunk");
            cell.bytes()
        });
        let ends = lengths
            .map(|len| {
                end = end.saturating_add(len);
                end
            })
            .collect();
        Self { ends }
    }

    /// Length of the file in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first piece of these bytes; none where they are none. What follows is the piece of `end` of this one on.
    #[must_use]
    pub fn piece(&self, range: &Range<u64>) -> Option<Piece> {
        let cell = self.ends.partition_point(|&end| end <= range.start);
        let end = *self.ends.get(cell)?;
        let begin = cell.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let stop = range.end.min(end);
        (range.start < stop).then(|| Piece { cell, start: range.start - begin, end: stop - begin })
    }
}

#[cfg(test)]
mod tests {
    use aftercast_protocol::ids::{ChunkCid, ChunkIndex, Slot, TimelineId};
    use aftercast_protocol::time::{Pts33, Ticks, UnixMillis};
    use proptest::prelude::*;

    use super::*;

    fn cell(bytes: u64) -> Cell {
        Cell {
            slot: Slot { timeline: TimelineId(0), index: ChunkIndex(0) },
            pts: Pts33(0),
            duration: Ticks(360_000),
            utc: UnixMillis(0),
            fresh: false,
            media: Media::Chunk { cid: ChunkCid([0; 32]), bytes, confirmed: true },
            spare: None,
            dress: None,
        }
    }

    proptest! {
        #[test]
        fn pieces_of_a_range_are_the_bytes_of_the_naive_concatenation(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..12),
            from in 0u64..500,
            count in 0u64..500,
        ) {
            let whole: Vec<u8> = chunks.concat();
            let layout = Layout::of(&chunks.iter().map(|chunk| cell(chunk.len() as u64)).collect::<Vec<_>>());
            prop_assert_eq!(layout.len(), whole.len() as u64);
            let mut range = from..(from + count).min(layout.len());
            let expected = whole.get(range.start as usize..range.end as usize).unwrap_or_default().to_vec();
            let mut given = Vec::new();
            while let Some(piece) = layout.piece(&range) {
                given.extend_from_slice(&chunks[piece.cell][piece.start as usize..piece.end as usize]);
                range.start += piece.end - piece.start;
            }
            prop_assert_eq!(given, expected);
        }

        #[test]
        fn a_range_header_means_the_same_as_slicing(len in 0u64..100, a in 0u64..120, b in 0u64..120) {
            let whole: Vec<u64> = (0..len).collect();
            let closed = whole.iter().copied().filter(|at| (a..=b).contains(at)).collect::<Vec<_>>();
            let open = whole.iter().copied().filter(|at| *at >= a).collect::<Vec<_>>();
            let tail = whole.iter().rev().take(a as usize).rev().copied().collect::<Vec<_>>();
            let given = |header: String| match wanted(Some(&header), len) {
                Wanted::Part(range) => range.collect(),
                Wanted::All => whole.clone(),
                Wanted::Unsatisfiable => Vec::new(),
            };
            if a <= b {
                prop_assert_eq!(given(format!("bytes={a}-{b}")), closed);
            }
            prop_assert_eq!(given(format!("bytes={a}-")), open);
            prop_assert_eq!(given(format!("bytes=-{a}")), tail);
        }

        #[test]
        fn any_header_gives_bytes_of_the_file_or_none(header in "(bytes=)?[-0-9, =a-z]{0,60}", len in 0u64..1000) {
            if let Wanted::Part(range) = wanted(Some(&header), len) {
                prop_assert!(range.start < range.end && range.end <= len);
            }
        }
    }

    #[test]
    fn hostile_headers_are_ignored_or_unsatisfiable() {
        let huge = "9".repeat(40);
        for header in
            ["", "bytes", "bytes=", "bytes=-", "bytes=5-2", "bytes=+1-2", "bytes=1-2,4-5", "items=0-1", "bytes= 1-2 x"]
        {
            assert_eq!(wanted(Some(header), 10), Wanted::All, "{header}");
        }
        assert_eq!(wanted(Some(&format!("bytes={}-", "1".repeat(300))), 10), Wanted::All, "longer than any honest one");
        assert_eq!(wanted(Some(&format!("bytes={huge}-{huge}")), 10), Wanted::Unsatisfiable);
        assert_eq!(wanted(Some(&format!("bytes=3-{huge}")), 10), Wanted::Part(3..10));
        assert_eq!(wanted(Some(&format!("bytes=-{huge}")), 10), Wanted::Part(0..10));
        assert_eq!(wanted(Some("bytes=10-"), 10), Wanted::Unsatisfiable);
        assert_eq!(wanted(Some("bytes=-0"), 10), Wanted::Unsatisfiable);
        assert_eq!(wanted(Some("bytes=0-"), 0), Wanted::Unsatisfiable);
        assert_eq!(wanted(None, 10), Wanted::All);
    }
}
