//! A player by the clock: it takes segments as a browser does, and plays in real time what has come.

use std::time::{Duration, Instant};

use anyhow::Context;

use crate::processes::{PATIENCE, get_text, stream};

/// A segment of a playlist.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// Its URL.
    pub url: String,
    /// How long it plays, in seconds.
    pub seconds: f64,
}

/// The segments of a playlist (RFC 8216, 4.3.2.1), in order.
///
/// # Errors
/// It cannot be had, or has no durations.
pub fn segments(playlist: &str) -> anyhow::Result<Vec<Segment>> {
    let text = get_text(playlist, PATIENCE)?;
    let base = playlist.rsplit_once('/').context("a playlist has a folder")?.0;
    let mut result = Vec::new();
    let mut seconds = None;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(duration) = line.strip_prefix("#EXTINF:") {
            seconds = duration.split(',').next().and_then(|number| number.parse().ok());
        } else if !line.starts_with('#') {
            let seconds = seconds.take().with_context(|| format!("{line} has no duration"))?;
            result.push(Segment { url: format!("{base}/{line}"), seconds });
        }
    }
    Ok(result)
}

/// How a player plays.
#[derive(Debug, Clone, Copy)]
pub struct PlayerSpec {
    /// Media that it holds before it begins, and begins again after it ran dry.
    pub begin: Duration,
    /// Media that it holds at most: it asks for no further segment while it has so much.
    pub hold: Duration,
}

impl Default for PlayerSpec {
    /// As browsers' players: half a second to begin, half a minute ahead.
    fn default() -> Self {
        Self { begin: Duration::from_millis(500), hold: Duration::from_secs(30) }
    }
}

/// What a viewer saw.
#[derive(Debug, Clone, Default)]
pub struct Watched {
    /// From the first request to the first byte.
    pub first_byte: Duration,
    /// From the first request to the first picture.
    pub began: Duration,
    /// Times that it ran dry, with how far into the recording, and for how long.
    pub stalls: Vec<(f64, Duration)>,
    /// Media played, in seconds.
    pub seconds: f64,
    /// Bytes taken.
    pub bytes: u64,
    /// BLAKE3 of each segment.
    pub digests: Vec<blake3::Hash>,
}

impl Watched {
    /// How long it ran dry in all.
    #[must_use]
    pub fn stalled(&self) -> Duration {
        self.stalls.iter().map(|(_, span)| *span).sum()
    }
}

/// Takes one segment as fast as it comes; `arrived` is told of the bytes so far and of all there will be, and says
/// whether it wants more.
///
/// # Errors
/// It does not come, or not whole.
pub fn take(segment: &Segment, mut arrived: impl FnMut(u64, u64) -> bool) -> anyhow::Result<(u64, blake3::Hash)> {
    let (mut bytes, mut digest) = (0, blake3::Hasher::new());
    stream(&segment.url, |piece, all| {
        bytes += piece.len() as u64;
        digest.update(piece);
        arrived(bytes, all)
    })?;
    Ok((bytes, digest.finalize()))
}

/// Plays segments; `told` hears of its place, in seconds, and of the times it ran dry.
///
/// # Errors
/// A segment does not come.
pub fn watch(segments: &[Segment], spec: PlayerSpec, mut told: impl FnMut(f64, usize)) -> anyhow::Result<Watched> {
    let mut screen = Screen::new(spec);
    for segment in segments {
        screen.wait_for_room();
        let (bytes, digest) = take(segment, |came, all| {
            screen.arrive(segment.seconds * came as f64 / all.max(1) as f64);
            true
        })?;
        screen.end_segment(segment.seconds);
        screen.watched.bytes += bytes;
        screen.watched.digests.push(digest);
        told(screen.place(), screen.watched.stalls.len());
    }
    Ok(screen.finish())
}

/// What is shown, and what is there to be shown.
struct Screen {
    spec: PlayerSpec,
    asked: Instant,
    /// Media that has come, in seconds: of whole segments, and with what has come of the next.
    whole: f64,
    here: f64,
    state: State,
    watched: Watched,
}

enum State {
    /// Nothing is shown; since when.
    Dry { since: Instant, place: f64 },
    /// From `place` on since `since`.
    Shows { since: Instant, place: f64 },
}

impl Screen {
    fn new(spec: PlayerSpec) -> Self {
        let now = Instant::now();
        let state = State::Dry { since: now, place: 0.0 };
        Self { spec, asked: now, whole: 0.0, here: 0.0, state, watched: Watched::default() }
    }

    fn place(&self) -> f64 {
        match self.state {
            State::Dry { place, .. } => place,
            State::Shows { since, place } => (place + since.elapsed().as_secs_f64()).min(self.here),
        }
    }

    /// So much of the segment under way has come.
    fn arrive(&mut self, seconds: f64) {
        let now = Instant::now();
        if self.watched.first_byte == Duration::ZERO {
            self.watched.first_byte = now - self.asked;
        }
        self.run_dry(now);
        self.here = self.here.max(self.whole + seconds);
        if let State::Dry { since, place } = self.state
            && self.here - place >= self.spec.begin.as_secs_f64()
        {
            self.begin(now, since, place);
        }
    }

    /// Whether what was there has been shown meanwhile.
    fn run_dry(&mut self, now: Instant) {
        if let State::Shows { since, place } = self.state {
            let dry = since + Duration::from_secs_f64((self.here - place).max(0.0));
            if now > dry {
                self.state = State::Dry { since: dry, place: self.here };
            }
        }
    }

    fn begin(&mut self, now: Instant, since: Instant, place: f64) {
        if self.watched.began == Duration::ZERO {
            self.watched.began = now - self.asked;
        } else {
            self.watched.stalls.push((place, now - since));
        }
        self.state = State::Shows { since: now, place };
    }

    fn end_segment(&mut self, seconds: f64) {
        self.whole += seconds;
    }

    /// Sleeps while it holds as much as it may.
    fn wait_for_room(&self) {
        let surplus = self.here - self.place() - self.spec.hold.as_secs_f64();
        if surplus > 0.0 {
            std::thread::sleep(Duration::from_secs_f64(surplus));
        }
    }

    fn finish(mut self) -> Watched {
        let now = Instant::now();
        self.run_dry(now);
        self.watched.seconds = self.here;
        self.watched
    }
}
