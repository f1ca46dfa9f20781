//! A player as it must look from here: where it is, by when it needs what comes next, and what is wanted ahead of it.
//!
//! Players say only what they ask for. A play head assumes that one plays at normal speed from its first request on:
//! so a player that fills its buffer as fast as it can does not make everything urgent, and most of it can come from
//! slow peers. When a player asks later than assumed (it was paused), or had to wait, the clock is set anew.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Arc, Mutex};

use aftercast_protocol::ids::{RecordingId, Slot};
use aftercast_protocol::time::{Micros, Mono, Ticks};
use tokio::time::{Duration, Instant};

use super::cells::{Cell, Media, Track};
use super::counters::PlayCounters;
use super::fetch::{FetchError, Fetcher, Spec, SpecReach, Want, lock};
use super::ports::{Fetched, Listed};

/// How far ahead of the play head chunks are wanted: enough for peers on thin uplinks, several chunks at once.
const AHEAD: Ticks = Ticks(40 * 90_000);
/// At most so many...
const AHEAD_CHUNKS: usize = 12;
/// ...and so many bytes: what they may take in memory where the store has no room.
const AHEAD_BYTES: u64 = 64 * 1024 * 1024;
/// A player that begins, or was paused, waits at least this long for what it asks: less cannot be had anywhere else.
const START: Micros = Micros::from_millis(300);
/// What a player has not asked for yet it does not need sooner than this, however late it looks from here: it holds
/// enough, was paused, or has jumped elsewhere. More than what counts as about to be played
/// ([`aftercast_protocol::select`]).
const UNASKED: Micros = Micros::from_secs(3);
/// A request so many cells after the last one is the same player going on.
const STRIDE: usize = 3;
/// Without a request or an open response for so long, a player is gone...
const IDLE: Duration = Duration::from_secs(30);
/// ...and sooner where it hung up in the middle of a response.
const HUNG_UP: Duration = Duration::from_secs(2);

/// When a player plays what, if it never pauses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PlayClock {
    at: Mono,
    media: Ticks,
}

impl PlayClock {
    /// Begins to play `media` at `at`.
    pub fn new(at: Mono, media: Ticks) -> Self {
        Self { at, media }
    }

    /// When `media` is played.
    pub fn due(&self, media: Ticks) -> Mono {
        let ahead = media.0.saturating_sub(self.media.0).max(0);
        self.at + Micros(micros(Ticks(ahead)))
    }

    /// The player had to wait.
    pub fn slip(&mut self, by: Micros) {
        self.at = self.at + by;
    }
}

/// A span of media time, in microseconds; zero where it is negative.
pub(super) fn micros(span: Ticks) -> u64 {
    span.0.max(0).unsigned_abs().saturating_mul(100) / 9
}

/// One player's place in one recording.
pub(super) struct PlayHead {
    fetcher: Fetcher,
    counters: Arc<PlayCounters>,
    state: Mutex<State>,
}

struct State {
    clock: PlayClock,
    last: Slot,
    /// What it asked for last, what it will ask for next, and where in the recording that begins.
    wants: BTreeMap<Slot, (Arc<Want>, Ticks)>,
    open: usize,
    used: Instant,
    hung_up: bool,
}

/// A cell that is about to be played.
pub(super) struct Due {
    /// Its chunk; kept wanted as long as this lives.
    pub want: Arc<Want>,
    /// When it is played.
    pub at: Mono,
}

impl PlayHead {
    /// A player that begins at a cell.
    pub fn new(fetcher: Fetcher, counters: Arc<PlayCounters>, track: &Track, n: usize) -> Option<Self> {
        let (cell, start) = track.get(n)?;
        let clock = PlayClock::new(fetcher.now() + START, start);
        let state =
            State { clock, last: cell.slot, wants: BTreeMap::new(), open: 0, used: Instant::now(), hung_up: false };
        Some(Self { fetcher, counters, state: Mutex::new(state) })
    }

    /// Whether a request for cell `n` is this player's next one, or a repeated one.
    pub fn expects(&self, track: &Track, n: usize) -> bool {
        let last = lock(&self.state).last;
        track.find(last).is_some_and(|last| (last..=last + STRIDE).contains(&n))
    }

    /// The player asks for a cell: what comes after it is wanted too, what lies behind it is not.
    pub fn go(&self, listed: &Listed, track: &Track, n: usize) -> Result<Due, FetchError> {
        let (cell, start) = track.get(n).ok_or(FetchError::Ended)?;
        let now = self.fetcher.now();
        let mut state = lock(&self.state);
        (state.last, state.used, state.hung_up) = (cell.slot, Instant::now(), false);
        if state.clock.due(start) < now {
            state.clock = PlayClock::new(now + START, start);
        }
        let clock = state.clock;
        let mut kept = std::mem::take(&mut state.wants);
        let mut bytes = 0u64;
        for ahead in n..track.cells().len().min(n + 1 + AHEAD_CHUNKS) {
            let Some((cell, at)) = track.get(ahead) else { break };
            bytes = bytes.saturating_add(cell.media.bytes());
            let far = at.0.saturating_sub(start.0) > AHEAD.0 || bytes > AHEAD_BYTES;
            if far && ahead > n + 1 {
                break;
            }
            let due = if ahead == n { clock.due(at) } else { clock.due(at).max(now + UNASKED) };
            let want = match kept.remove(&cell.slot).filter(|(want, _)| want.cid() == cell.media.cid()) {
                Some((want, _)) => {
                    want.set_deadline(due);
                    want
                }
                None => match self.fetcher.want(&spec(listed, cell), due, &self.counters) {
                    Ok(want) => Arc::new(want),
                    Err(error) if ahead == n => return Err(error),
                    // What lies ahead may be had by then, or be asked for again.
                    Err(_) => continue,
                },
            };
            state.wants.insert(cell.slot, (want, at));
        }
        let want = state.wants.get(&cell.slot).map(|(want, _)| Arc::clone(want)).ok_or(FetchError::Ended)?;
        drop(state);
        drop(kept);
        Ok(Due { want, at: clock.due(start) })
    }

    /// The player waited so long for a part of what it plays.
    pub fn slip(&self, by: Micros) {
        lock(&self.state).clock.slip(by);
    }

    /// Time has passed, and the player has not asked for more.
    pub fn defer(&self) {
        let (state, now) = (lock(&self.state), self.fetcher.now());
        for (want, at) in state.wants.range((Excluded(state.last), Unbounded)).map(|(_, want)| want) {
            want.set_deadline(state.clock.due(*at).max(now + UNASKED));
        }
    }

    /// A response to the player has begun.
    pub fn opened(&self) {
        lock(&self.state).open += 1;
    }

    /// A response to the player has ended; `whole` unless the player hung up.
    pub fn closed(&self, whole: bool) {
        let mut state = lock(&self.state);
        state.open = state.open.saturating_sub(1);
        state.used = Instant::now();
        state.hung_up = !whole;
    }

    /// When the player counts as gone; none while a response is open.
    pub fn gone_at(&self) -> Option<Instant> {
        let state = lock(&self.state);
        let patience = if state.hung_up { HUNG_UP } else { IDLE };
        (state.open == 0).then(|| state.used + patience)
    }
}

/// What a cell needs to be had.
pub(super) fn spec(listed: &Listed, cell: &Cell) -> Spec {
    media_spec(listed.recording, listed, cell, cell.media)
}

/// The same for another form of it.
pub(super) fn media_spec(recording: RecordingId, listed: &Listed, cell: &Cell, media: Media) -> Spec {
    let (reach, confirmed) = match media {
        Media::Chunk { confirmed, .. } => (SpecReach::Anyone, confirmed),
        Media::Head { .. } => (SpecReach::Seed, false),
        Media::Salvaged { .. } => (SpecReach::Here, false),
    };
    let chunk = Fetched {
        cid: media.cid(),
        channel: listed.channel.clone(),
        slot: cell.slot,
        utc: cell.utc,
        head: reach == SpecReach::Seed,
        confirmed,
    };
    Spec { chunk, len: media.bytes(), recording, reach }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_player_that_waited_needs_all_that_follows_later_by_as_much() {
        let mut clock = PlayClock::new(Mono(1_000_000), Ticks(90_000));
        assert_eq!(clock.due(Ticks(90_000)), Mono(1_000_000));
        assert_eq!(clock.due(Ticks(450_000)), Mono(5_000_000));
        clock.slip(Micros(250_000));
        assert_eq!(clock.due(Ticks(450_000)), Mono(5_250_000));
    }

    #[test]
    fn what_lies_behind_the_player_is_due_at_once() {
        let clock = PlayClock::new(Mono(7), Ticks(900_000));
        assert_eq!(clock.due(Ticks(0)), Mono(7));
        assert_eq!(clock.due(Ticks(i64::MIN)), Mono(7));
    }
}
