//! The common clock of senders: media time that starts when told to, runs at a factor, and yields to a busy machine.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How far a sender may fall behind before the clock yields. What it would send at once then stays far below the
/// receive buffers of a default Linux (200 kB).
const MOST_LAG: Duration = Duration::from_millis(20);

/// A shared clock; clones show the same time.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    speed: f64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    since: Option<Instant>,
    slipped: Duration,
    stopped: bool,
}

impl Clock {
    /// A clock that stands at 0. `speed` 1.0 is real time, 4.0 four times as fast.
    pub fn new(speed: f64) -> Clock {
        let speed = if speed.is_finite() && speed > 0.0 { speed } else { 1.0 };
        Clock(Arc::new(Shared { speed, state: Mutex::default(), changed: Condvar::new() }))
    }

    /// Lets it run; once running it goes on running.
    pub fn start(&self) {
        self.lock().since.get_or_insert_with(Instant::now);
        self.0.changed.notify_all();
    }

    /// Ends it for good: everything that waits on it returns.
    pub fn stop(&self) {
        self.lock().stopped = true;
        self.0.changed.notify_all();
    }

    /// Media time in microseconds; 0 before the start.
    pub fn micros(&self) -> u64 {
        self.media(self.lock().elapsed())
    }

    /// Wall time by which it yielded to a busy machine so far.
    pub fn slipped(&self) -> Duration {
        self.lock().slipped
    }

    /// Waits for the start, then for `wall` of time (a sender's tick); the media time, or `None` once stopped.
    ///
    /// `last` is when this sender was here before: where it was held up for long, the clock is set back, so that it
    /// does not send everything at once.
    pub(super) fn tick(&self, wall: Duration, last: &mut Option<Instant>) -> Option<u64> {
        let mut state = self.wait(wall)?;
        let now = Instant::now();
        let held_up = last.replace(now).map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        state.slipped += held_up.saturating_sub(MOST_LAG);
        Some(self.media(state.elapsed()))
    }

    /// As [`Clock::tick`], for a sender that may catch up at once (over TCP).
    pub(super) fn tick_patiently(&self, wall: Duration) -> Option<u64> {
        self.wait(wall).map(|state| self.media(state.elapsed()))
    }

    fn wait(&self, wall: Duration) -> Option<MutexGuard<'_, State>> {
        let waiting = |state: &mut State| state.since.is_none() && !state.stopped;
        let state = self.0.changed.wait_while(self.lock(), waiting).unwrap_or_else(PoisonError::into_inner);
        let running = |state: &mut State| !state.stopped;
        let waited = self.0.changed.wait_timeout_while(state, wall, running);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        (!state.stopped).then_some(state)
    }

    fn media(&self, elapsed: Duration) -> u64 {
        (elapsed.as_secs_f64() * self.0.speed * 1e6) as u64
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn elapsed(&self) -> Duration {
        self.since.map_or(Duration::ZERO, |since| since.elapsed().saturating_sub(self.slipped))
    }
}
