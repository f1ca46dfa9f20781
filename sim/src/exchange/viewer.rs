//! What is seen: playing, holding and waiting, by the clock.

use aftercast_protocol::time::{Micros, Mono};
use serde::Serialize;

/// What a viewer saw. Spans and times are in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// From the first request to the first verified group.
    pub first_group: Option<Micros>,
    /// From the first request until playing began.
    pub start: Option<Micros>,
    /// From each seek until playing went on; without those overtaken by another seek.
    pub seeks: Vec<Micros>,
    /// How often playing stopped for want of bytes.
    pub stalls: u64,
    /// For how long in all.
    pub stalled: Micros,
    /// When the last picture was over, if it was.
    pub ended_at: Option<Mono>,
}

/// Why nothing is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Start,
    Seek,
    Stall,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// For bytes, at `media`.
    Waiting {
        since: Mono,
        why: Why,
        media: Micros,
    },
    /// `media` is played at `at`, which may lie ahead: the picture is held until then.
    Playing {
        at: Mono,
        media: Micros,
    },
    Over,
}

#[derive(Debug)]
pub(super) struct Viewer {
    pub seen: Seen,
    state: State,
    /// So much must be there before playing begins or goes on.
    need: Micros,
    /// Length of the whole.
    whole: Micros,
}

impl Viewer {
    pub fn new(begin: Mono, need: Micros, whole: Micros) -> Self {
        let state = State::Waiting { since: begin, why: Why::Start, media: Micros(0) };
        Self { seen: Seen::default(), state, need, whole }
    }

    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Where the picture is.
    pub fn position(&self, now: Mono) -> Micros {
        match self.state {
            State::Waiting { media, .. } => media,
            State::Playing { at, media } => media + (now - at),
            State::Over => self.whole,
        }
    }

    /// When the picture is there, if nothing stops it; none while it waits.
    pub fn reaches(&self, media: Micros) -> Option<Mono> {
        match self.state {
            State::Playing { at, media: from } => Some(at + Micros(media.0.saturating_sub(from.0))),
            _ => None,
        }
    }

    /// Everything up to `ready` can be played.
    pub fn watch(&mut self, now: Mono, ready: Micros) {
        match self.state {
            State::Waiting { since, why, media } => {
                let enough = ready.0.saturating_sub(media.0) >= self.need.0 || ready >= self.whole;
                if enough {
                    self.state = State::Playing { at: now, media };
                    self.note_begin(why, now - since);
                }
            }
            State::Playing { at, media } => {
                let dry = at + Micros(ready.0.saturating_sub(media.0));
                if now >= dry && ready >= self.whole {
                    (self.state, self.seen.ended_at) = (State::Over, Some(dry));
                } else if now >= dry {
                    self.seen.stalls += 1;
                    self.state = State::Waiting { since: dry, why: Why::Stall, media: ready };
                }
            }
            State::Over => {}
        }
    }

    pub fn seek(&mut self, now: Mono, media: Micros) {
        if let State::Waiting { since, why: Why::Stall, .. } = self.state {
            self.seen.stalled = self.seen.stalled + (now - since);
        }
        if !self.is_over() {
            self.state = State::Waiting { since: now, why: Why::Seek, media };
        }
    }

    pub fn pause(&mut self, now: Mono, length: Micros) {
        if let State::Playing { .. } = self.state {
            self.state = State::Playing { at: now + length, media: self.position(now) };
        }
    }

    /// The run ends: a stall that is on counts as far as it went.
    pub fn stop(&mut self, now: Mono) {
        if let State::Waiting { since, why: Why::Stall, .. } = self.state {
            self.seen.stalled = self.seen.stalled + (now - since);
        }
    }

    fn note_begin(&mut self, why: Why, after: Micros) {
        match why {
            Why::Start => self.seen.start = Some(after),
            Why::Seek => self.seen.seeks.push(after),
            Why::Stall => self.seen.stalled = self.seen.stalled + after,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn viewer() -> Viewer {
        Viewer::new(Mono(0), Micros::from_secs(1), Micros::from_secs(10))
    }

    #[test]
    fn playing_stops_when_bytes_run_out_and_goes_on_with_enough() {
        let mut viewer = viewer();
        viewer.watch(Mono(500_000), Micros::from_secs(2));
        assert_eq!(viewer.seen.start, Some(Micros(500_000)));
        viewer.watch(Mono(2_500_000), Micros::from_secs(2));
        assert_eq!(viewer.seen.stalls, 1);
        viewer.watch(Mono(4_000_000), Micros(2_900_000));
        assert_eq!(viewer.position(Mono(5_000_000)), Micros::from_secs(2));
        viewer.watch(Mono(5_500_000), Micros::from_secs(10));
        assert_eq!(viewer.seen.stalled, Micros::from_secs(3));
        assert_eq!(viewer.reaches(Micros::from_secs(10)), Some(Mono(13_500_000)));
        viewer.watch(Mono(13_500_000), Micros::from_secs(10));
        assert!(viewer.is_over());
    }

    #[test]
    fn a_pause_holds_the_picture_and_is_no_stall() {
        let mut viewer = viewer();
        viewer.watch(Mono(0), Micros::from_secs(2));
        viewer.pause(Mono(1_000_000), Micros::from_secs(60));
        assert_eq!(viewer.position(Mono(30_000_000)), Micros::from_secs(1));
        viewer.watch(Mono(61_500_000), Micros::from_secs(2));
        assert_eq!(viewer.seen.stalls, 0);
    }
}
