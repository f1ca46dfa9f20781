//! What was played against what was sent: decoded frames, by time and content.

use std::collections::BTreeMap;
use std::ops::Range;

use super::ffmpeg::Frame;
use crate::report::Match;

/// FFmpeg rounds times of sound that is packed otherwise, by a tick or two; and a sound decoder needs the frame before.
const SOUND_EDGE: i64 = 9_000;

/// Pictures of a span, by time and content.
#[must_use]
pub fn pictures(source: &[Frame], got: &[Frame], span: &Range<i64>) -> Match {
    let of_span =
        |frames: &[Frame]| frames.iter().filter(|frame| span.contains(&frame.pts)).cloned().collect::<Vec<_>>();
    let (expected, got) = (of_span(source), of_span(got));
    let by_time: BTreeMap<i64, &str> = expected.iter().map(|frame| (frame.pts, frame.md5.as_str())).collect();
    let equal = got.iter().filter(|frame| by_time.get(&frame.pts) == Some(&frame.md5.as_str())).count();
    Match { expected: expected.len() as u64, got: got.len() as u64, equal: equal as u64 }
}

/// Sound of a span, a little inside of its edges: FFmpeg's times of it may be a tick or two beside the source's.
#[must_use]
pub fn sound(source: &[Frame], got: &[Frame], span: &Range<i64>) -> Match {
    let inner = span.start + SOUND_EDGE..span.end - SOUND_EDGE;
    let mut by_content: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for frame in got {
        by_content.entry(&frame.md5).or_default().push(frame.pts);
    }
    let is_there = |frame: &&Frame| {
        by_content.get(frame.md5.as_str()).is_some_and(|times| times.iter().any(|pts| pts.abs_diff(frame.pts) <= 2))
    };
    let expected: Vec<&Frame> = source.iter().filter(|frame| inner.contains(&frame.pts)).collect();
    let got = got.iter().filter(|frame| (inner.start - 2..inner.end + 2).contains(&frame.pts)).count();
    let equal = expected.iter().copied().filter(|frame| is_there(frame)).count();
    Match { expected: expected.len() as u64, got: got as u64, equal: equal as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(list: &[(i64, &str)]) -> Vec<Frame> {
        list.iter().map(|(pts, md5)| Frame { pts: *pts, md5: (*md5).to_owned() }).collect()
    }

    #[test]
    fn pictures_count_by_time_and_content() {
        let source = frames(&[(0, "a"), (10, "b"), (20, "c"), (30, "d")]);
        let got = frames(&[(0, "x"), (10, "b"), (20, "x"), (25, "c")]);
        assert_eq!(pictures(&source, &got, &(10..30)), Match { expected: 2, got: 3, equal: 1 });
    }

    #[test]
    fn sound_may_be_a_tick_beside_but_not_missing() {
        let source = frames(&[(0, "a"), (10_000, "b"), (12_000, "c"), (20_000, "d")]);
        let got = frames(&[(10_001, "b"), (20_000, "d")]);
        assert_eq!(sound(&source, &got, &(0..25_000)), Match { expected: 2, got: 1, equal: 1 });
    }
}
