//! Who watches what, when.

use super::World;
use super::catalogue::Programme;
use super::clock::{MINUTE, SECOND, Time, day};
use super::model::CERTAIN;
use super::session::Session;
use super::{Event, clock};
use crate::rng::Purpose;
use crate::theory::offered::quantile;

/// A programme that is on is watched from its beginning once this much of it is there.
const BEGUN: Time = 10 * SECOND;
/// Viewers of an event come so long after its beginning, on average.
const EVENT_RUSH: f64 = 4.0 * 60.0;
/// Others are looked at whose recordings a viewer without one might want.
const OTHERS: u64 = 16;

impl World<'_> {
    /// Draws how many viewings begin in the coming minute, and when.
    pub(super) fn draw_viewings(&mut self) {
        let now = self.now;
        let minute = now / MINUTE;
        let daily = self.model.viewings * f64::from(self.model.homes);
        let event = self.model.event_share as f64 / CERTAIN as f64;
        let mean = daily * (1.0 - event) * self.model.profile.share(now) + daily * event * self.event_share_of(now);
        // The same luck gives more viewings where more are expected.
        let count = quantile(self.rng.unit(Purpose::Arrival, minute, 0), mean).unwrap_or(0);
        for place in 0..count {
            let number = minute << 32 | place;
            let at = now + self.rng.below(MINUTE, Purpose::Arrival, number, 1);
            self.calendar.push(at, Event::Begin { number });
        }
    }

    /// Share of the event's viewings that begin in the minute from `at` on.
    fn event_share_of(&self, at: Time) -> f64 {
        let since = |at: Time| clock::in_seconds(at.saturating_sub(self.model.event_at)) / EVENT_RUSH;
        if at + MINUTE <= self.model.event_at {
            return 0.0;
        }
        (-since(at)).exp() - (-since(at + MINUTE)).exp()
    }

    /// A viewing begins, if there is something to watch.
    pub(super) fn on_begin(&mut self, number: u64) {
        let now = self.now;
        let Some((home, programme, chunks)) = self.viewing(number) else { return };
        let begun = now.saturating_sub(self.catalogue.begins(programme));
        if begun < BEGUN {
            return self.calendar.push(now + BEGUN - begun, Event::Begin { number });
        }
        let mut session = Session {
            home,
            line: *self.fleet.line(self.model, home),
            programme,
            begins: self.catalogue.begins(programme),
            own: self.is_own(home, programme).then(|| self.holding(home, programme)),
            number,
            head: false,
            measured: now >= self.model.measured_from,
            next: 0,
            until: chunks,
            left: 0,
            watched: chunks,
            base: 0,
            anchor: now,
            jumped: None,
            jumps: 0,
            peers: Vec::new(),
            probed: 0,
            unreached: 0,
            probe_at: 0,
            chunks: Default::default(),
            wakes: Time::MAX,
            bytes: [0; 3],
            stalls: 0,
            stalled: 0,
        };
        session.until = self.until_jump(&session).min(chunks);
        session.left = chunks - session.until;
        self.begin(Box::new(session));
    }

    /// Who watches what, and how many chunks of it.
    fn viewing(&self, number: u64) -> Option<(u32, Programme, u32)> {
        if let Some(script) = self.script {
            let viewing = script[number as usize];
            return Some((viewing.home, self.catalogue.event(), viewing.chunks));
        }
        let home = self.rng.below(u64::from(self.model.homes), Purpose::Watcher, number, 0) as u32;
        let programme = self.programme_for(home, number)?;
        Some((home, programme, self.model.chunks_watched(self.rng, number)))
    }

    /// Whether a home recorded a programme.
    fn is_own(&self, home: u32, programme: Programme) -> bool {
        let day = day(self.catalogue.begins(programme));
        self.catalogue.recorded(home, day).any(|recorded| recorded == programme)
    }

    /// What this viewing is of: of the recordings that are there, new ones more often than old ones.
    fn programme_for(&self, home: u32, number: u64) -> Option<Programme> {
        let draw = |occasion| self.rng.below(CERTAIN, Purpose::Programme, number, occasion);
        if self.is_of_event(draw(0)) {
            return Some(self.catalogue.event());
        }
        let own = draw(1) < self.model.own;
        if own && let Some(programme) = self.recording_of(home, draw(2)) {
            return Some(programme);
        }
        (0..OTHERS).find_map(|other| {
            let home = self.rng.below(u64::from(self.model.homes), Purpose::Programme, number, 4 + other) as u32;
            self.recording_of(home, draw(3))
        })
    }

    /// Viewings near the event's beginning are of the event as often as its share of all of them says.
    fn is_of_event(&self, draw: u64) -> bool {
        if self.model.event_share == 0 {
            return false;
        }
        let event = self.model.event_share as f64 / CERTAIN as f64;
        let of_event = event * self.event_share_of(self.now - self.now % MINUTE);
        let all = of_event + (1.0 - event) * self.model.profile.share(self.now);
        (draw as f64) < of_event / all * CERTAIN as f64 && self.now >= self.model.event_at
    }

    /// One of a home's recordings, by age.
    fn recording_of(&self, home: u32, draw: u64) -> Option<Programme> {
        let today = day(self.now);
        let first = day(self.now.saturating_sub(self.model.retention));
        let mut weights: Vec<(Programme, f64)> = Vec::new();
        for day in first..=today {
            for programme in self.catalogue.recorded(home, day) {
                let Some(age) = self.now.checked_sub(self.catalogue.begins(programme)) else { continue };
                if age <= self.model.retention {
                    weights.push((programme, (-(age as f64) / self.model.half_life as f64).exp2()));
                }
            }
        }
        let total: f64 = weights.iter().map(|(_, weight)| weight).sum();
        let mut left = draw as f64 / CERTAIN as f64 * total;
        for (programme, weight) in &weights {
            left -= weight;
            if left < 0.0 {
                return Some(*programme);
            }
        }
        weights.last().map(|(programme, _)| *programme)
    }
}
