//! What a head must keep of its source: times, frame count, audio.

use aftercast_protocol::ccf::{Profile, Unit, VideoCodec};
use aftercast_protocol::limits::MAX_INTERVAL;
use aftercast_protocol::time::{MediaTime, TICKS_PER_SECOND, Ticks};

use super::HeadError;

/// Frame rates that broadcasts have. A rate measured over few frames is rounded by the 90 kHz clock; the exact one keeps
/// the time base in the parameter sets simple.
const COMMON_RATES: [(i32, i32); 8] =
    [(24_000, 1001), (24, 1), (25, 1), (30_000, 1001), (30, 1), (50, 1), (60_000, 1001), (60, 1)];
/// Rate assumed of a single frame; nothing depends on it but the share of bits.
const DEFAULT_RATE: (i32, i32) = (25, 1);
/// The opening RAP may come 10 s after its target and the next one too; nothing sound is longer than this.
const MAX_SPAN: Ticks = Ticks(2 * MAX_INTERVAL.0 + 20 * TICKS_PER_SECOND);

/// A source chunk, taken apart.
pub(super) struct Source {
    pub video: VideoSource,
    pub audio: Vec<Unit>,
}

/// The video of a source chunk. Holds at least one unit.
pub(super) struct VideoSource {
    /// In decoding order.
    pub units: Vec<Unit>,
    /// Every PTS, in order of presentation; no two equal.
    pub pts: Vec<MediaTime>,
    /// Presentation time of the opening unit; what is presented before it leads it and cannot be decoded.
    pub opening: MediaTime,
    /// Frames a second, as a fraction.
    pub frame_rate: (i32, i32),
}

impl Source {
    pub fn new(profile: &Profile, units: Vec<Unit>) -> Result<Self, HeadError> {
        match profile.video {
            None => return Err(HeadError::NoVideo),
            Some(VideoCodec::Avc) => {}
            Some(other) => return Err(HeadError::Codec(other)),
        }
        let (video, audio) = units.into_iter().partition(|unit| unit.stream == 0);
        Ok(Self { video: VideoSource::new(video)?, audio })
    }
}

impl VideoSource {
    fn new(units: Vec<Unit>) -> Result<Self, HeadError> {
        let opening = units.first().ok_or(HeadError::NoVideo)?;
        if !opening.rap {
            return Err(HeadError::Dependent);
        }
        let opening = opening.pts;
        if let Some(at) = units.windows(2).position(|pair| pair[1].dts <= pair[0].dts) {
            return Err(HeadError::Times(at + 1));
        }
        if let Some(at) = units.iter().position(|unit| unit.pts < unit.dts) {
            return Err(HeadError::Times(at));
        }
        let mut pts: Vec<MediaTime> = units.iter().map(|unit| unit.pts).collect();
        pts.sort_unstable();
        if let Some(at) = pts.windows(2).position(|pair| pair[1] == pair[0]) {
            return Err(HeadError::Times(at + 1));
        }
        let span = pts[pts.len() - 1] - pts[0];
        if span > MAX_SPAN {
            return Err(HeadError::Times(units.len() - 1));
        }
        Ok(Self { frame_rate: frame_rate(span, pts.len()), units, pts, opening })
    }

    /// From the first frame to the end of the last one.
    pub fn duration(&self) -> Ticks {
        let (rate, per) = self.frame_rate;
        let last = TICKS_PER_SECOND * i64::from(per) / i64::from(rate);
        Ticks((self.pts[self.pts.len() - 1] - self.pts[0]).0 + last)
    }

    /// How many frames lead the opening unit.
    pub fn leading(&self) -> usize {
        self.pts.partition_point(|&pts| pts < self.opening)
    }

    /// How far an encoder may reorder frames (at most two, all that x264 uses) so that the source's decoding times can
    /// be kept: the `n`th unit is decoded no later than the frame `n - depth` is shown.
    pub fn reorder_depth(&self) -> usize {
        let fits =
            |depth: usize| self.units.iter().enumerate().all(|(n, unit)| unit.dts <= self.pts[n.saturating_sub(depth)]);
        (1..=2).rev().find(|&depth| fits(depth)).unwrap_or(0)
    }
}

fn frame_rate(span: Ticks, frames: usize) -> (i32, i32) {
    let (rate, per) = ((frames as i64 - 1) * TICKS_PER_SECOND, span.0);
    if rate == 0 || per <= 0 {
        return DEFAULT_RATE;
    }
    let near = |&(r, p): &(i32, i32)| {
        let (ours, theirs) = (rate * i64::from(p), i64::from(r) * per);
        (ours - theirs).abs() <= theirs / 2500
    };
    let reduced = || {
        let divisor = greatest_common_divisor(rate, per);
        Some((i32::try_from(rate / divisor).ok()?, i32::try_from(per / divisor).ok()?))
    };
    COMMON_RATES.iter().find(|rate| near(rate)).copied().or_else(reduced).unwrap_or(DEFAULT_RATE)
}

fn greatest_common_divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn video(times: &[(i64, i64)]) -> Result<VideoSource, HeadError> {
        let unit = |(n, &(pts, dts)): (usize, &(i64, i64))| Unit {
            stream: 0,
            pts: MediaTime(pts),
            dts: MediaTime(dts),
            rap: n == 0,
            data: vec![1; 8],
        };
        VideoSource::new(times.iter().enumerate().map(unit).collect())
    }

    #[test]
    fn recognises_broadcast_rates_and_keeps_odd_ones() {
        assert_eq!(frame_rate(Ticks(99 * 3600), 100), (25, 1));
        assert_eq!(frame_rate(Ticks(99 * 3003), 100), (30_000, 1001));
        assert_eq!(frame_rate(Ticks(239 * 3003 / 2), 240), (60_000, 1001));
        assert_eq!(frame_rate(Ticks(9 * 9000), 10), (10, 1));
        assert_eq!(frame_rate(Ticks(0), 1), DEFAULT_RATE);
    }

    #[test]
    fn reorders_no_deeper_than_the_source_does() {
        let delayed = |delay: i64| (0..8).map(|n| (n * 10, (n - delay) * 10)).collect::<Vec<_>>();
        for (delay, depth) in [(0, 0), (1, 1), (2, 2), (4, 2)] {
            assert_eq!(video(&delayed(delay)).expect("sound").reorder_depth(), depth, "delay {delay}");
        }
    }

    #[test]
    fn refuses_times_that_no_player_could_follow() {
        assert!(matches!(video(&[(10, 0), (20, 0)]), Err(HeadError::Times(1))));
        assert!(matches!(video(&[(10, 0), (10, 5)]), Err(HeadError::Times(1))));
        assert!(matches!(video(&[(10, 0), (10, 15)]), Err(HeadError::Times(1))));
        assert!(matches!(video(&[(10, 0), (1 << 40, 15)]), Err(HeadError::Times(1))));
        assert!(matches!(video(&[]), Err(HeadError::NoVideo)));
    }

    #[test]
    fn counts_the_frames_that_lead_the_opening() {
        assert_eq!(video(&[(30, 0), (10, 10), (20, 20), (40, 30)]).expect("sound").leading(), 2);
        assert_eq!(video(&[(10, 0), (20, 10)]).expect("sound").leading(), 0);
    }
}
