//! What is counted.

use super::clock::{MINUTE, Time, in_seconds};
use super::model::Model;
use super::session::Session;
use super::why::Why;
use crate::stats::{Bins, Histogram};

/// Sums and distributions of one run. Viewings count that began while it was measured; bytes when they came.
#[derive(Debug, Clone)]
pub struct Tally {
    from: Time,
    /// Viewings that began, and that ended.
    pub sessions: u64,
    /// See above.
    pub ended: u64,
    /// Bytes per minute: own disk, peers, seed.
    pub minutes: [Bins; 3],
    /// Bytes from the seed by reason.
    pub why: [u64; Why::ALL.len()],
    /// Bytes played or fetched from its own disk, peers, the seed.
    pub bytes: [u64; 3],
    /// Bytes that came and were of no use.
    pub thrown: u64,
    /// Microseconds until the picture, at starts and at jumps.
    pub start: Histogram,
    /// At starts of what is not on the own disk.
    pub start_away: Histogram,
    /// See above.
    pub seek: Histogram,
    /// Millionths of a viewing's bytes that the seed did not send.
    pub offload: Histogram,
    /// Stalls.
    pub stalls: u64,
    /// Seconds stood still.
    pub stalled: f64,
    /// Viewings with a stall.
    pub with_stall: u64,
    /// Chunks decided about.
    pub chunks: u64,
    /// Seconds of media watched.
    pub watched: f64,
    /// Holders looked up.
    pub probes: u64,
    /// Liars found.
    pub banned: u64,
    /// Bytes of the pieces that viewings which ended had to get, for those who check that none came twice.
    pub wanted: u64,
    /// Bytes that came from other homes to viewers, of use or not, measured or not.
    pub came: u64,
}

impl Tally {
    /// Nothing yet.
    pub fn new(model: &Model) -> Self {
        let bins = || Bins::new(MINUTE, model.ends - model.measured_from);
        Self {
            from: model.measured_from,
            sessions: 0,
            ended: 0,
            minutes: [bins(), bins(), bins()],
            why: [0; Why::ALL.len()],
            bytes: [0; 3],
            thrown: 0,
            start: Histogram::new(),
            start_away: Histogram::new(),
            seek: Histogram::new(),
            offload: Histogram::new(),
            stalls: 0,
            stalled: 0.0,
            with_stall: 0,
            chunks: 0,
            watched: 0.0,
            probes: 0,
            banned: 0,
            wanted: 0,
            came: 0,
        }
    }

    pub(super) fn began(&mut self, session: &Session) {
        self.sessions += u64::from(session.measured);
    }

    pub(super) fn started(&mut self, session: &Session, after: Time) {
        if session.measured {
            self.start.record(after);
            if session.head {
                self.start_away.record(after);
            }
        }
    }

    pub(super) fn jumped(&mut self, session: &Session, after: Time) {
        if session.measured {
            self.seek.record(after);
        }
    }

    pub(super) fn local(&mut self, session: &mut Session, bytes: u64, at: Time) {
        session.bytes[0] += bytes;
        self.note(0, bytes, at);
    }

    pub(super) fn peer(&mut self, session: &mut Session, bytes: u64, at: Time) {
        session.bytes[1] += bytes;
        self.came += bytes;
        self.note(1, bytes, at);
    }

    pub(super) fn seed(&mut self, session: &mut Session, bytes: u64, why: Why, at: Time) {
        session.bytes[2] += bytes;
        self.note(2, bytes, at);
        if session.measured {
            self.why[why as usize] += bytes;
        }
    }

    fn note(&mut self, from: usize, bytes: u64, at: Time) {
        if let Some(at) = at.checked_sub(self.from) {
            self.minutes[from].add(at, bytes);
        }
    }

    pub(super) fn thrown(&mut self, session: &Session, bytes: u64) {
        self.came += bytes;
        self.thrown += if session.measured { bytes } else { 0 };
    }

    pub(super) fn ended(&mut self, session: &Session, watched: Time, wanted: u64) {
        if !session.measured {
            return;
        }
        self.ended += 1;
        self.wanted += wanted;
        let all: u64 = session.bytes.iter().sum();
        for (sum, bytes) in self.bytes.iter_mut().zip(session.bytes) {
            *sum += bytes;
        }
        self.offload.record((all - session.bytes[2]) * 1_000_000 / all.max(1));
        self.stalls += u64::from(session.stalls);
        self.stalled += in_seconds(session.stalled);
        self.with_stall += u64::from(session.stalls > 0);
        self.watched += in_seconds(watched);
    }
}
