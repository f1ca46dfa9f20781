//! Lines in use: what homes send, and to whom. A home that sends nothing has none.

use super::World;
use super::clock::Time;
use super::fleet::NO_LINE;
use super::session::{Part, SEED};
use crate::engine::{SharedLine, TransferId};

/// Weight of every transfer: peers are served in turn.
const WEIGHT: u32 = 1;

/// A line in use.
#[derive(Debug)]
pub struct Line {
    home: u32,
    line: SharedLine,
    /// What is on it.
    parts: Vec<(TransferId, u32)>,
    /// When its device goes away.
    off_at: Time,
    /// When its event is due; [`Time::MAX`] where there is none.
    due: Time,
    /// Distinguishes it from what had its place before.
    epoch: u32,
}

/// All lines in use.
#[derive(Debug, Default)]
pub struct Lines {
    all: Vec<Line>,
    free: Vec<u32>,
    /// The seed's own, where it is limited.
    seed: Option<u32>,
}

impl Lines {
    fn open(&mut self, now: Time, home: u32, rate: u64, off_at: Time) -> u32 {
        if let Some(place) = self.free.pop() {
            let slot = &mut self.all[place as usize];
            (slot.home, slot.off_at, slot.due) = (home, off_at, Time::MAX);
            slot.line.set_rate(now, rate);
            return place;
        }
        let line = SharedLine::new(rate);
        let place = u32::try_from(self.all.len()).expect("fewer lines than homes");
        self.all.push(Line { home, line, parts: Vec::new(), off_at, due: Time::MAX, epoch: 0 });
        place
    }

    /// Parts on all lines.
    pub fn parts(&self) -> impl Iterator<Item = u32> {
        self.all.iter().flat_map(|line| line.parts.iter().map(|(_, part)| *part))
    }

    /// Bytes on the heap.
    pub fn footprint(&self) -> usize {
        let parts: usize = self.all.iter().map(|line| line.parts.capacity() * size_of::<(TransferId, u32)>()).sum();
        self.all.capacity() * size_of::<Line>() + parts
    }
}

impl World<'_> {
    /// Puts a part on the line of whom it was asked from.
    pub(super) fn send(&mut self, part: u32) {
        let now = self.now;
        let from = self.parts[part].from;
        let place = self.line_of(from);
        let line = &mut self.lines.all[place as usize];
        let state = &mut self.parts[part];
        let id = line.line.start(now, state.bytes, WEIGHT);
        (state.transfer, state.since) = (Some(id), now);
        line.parts.push((id, part));
        self.plan_line(place);
    }

    fn line_of(&mut self, home: u32) -> u32 {
        if home == SEED {
            if let Some(place) = self.lines.seed {
                return place;
            }
            let place = self.lines.open(self.now, SEED, self.model.egress.unwrap_or(u64::MAX), Time::MAX);
            self.lines.seed = Some(place);
            return place;
        }
        let sending = self.fleet.homes[home as usize].sending;
        if sending != NO_LINE {
            return sending;
        }
        let (rate, off_at) = (self.fleet.uplink(self.model, home), self.fleet.off_at(self.model, home, self.now));
        let place = self.lines.open(self.now, home, rate, off_at);
        self.fleet.homes[home as usize].sending = place;
        place
    }

    /// Sees to it that there is an event when something happens on a line.
    fn plan_line(&mut self, place: u32) {
        let line = &mut self.lines.all[place as usize];
        let ends = line.line.next().map_or(Time::MAX, |(at, _)| at);
        let next = ends.min(line.off_at).max(self.now);
        if next < line.due {
            line.due = next;
            self.calendar.push(next, super::Event::Line { place, epoch: line.epoch });
        }
    }

    /// Something is due on a line, unless that has changed.
    pub(super) fn on_line(&mut self, place: u32, epoch: u32) {
        let now = self.now;
        let line = &mut self.lines.all[place as usize];
        if line.epoch != epoch || line.due != now {
            return;
        }
        line.due = Time::MAX;
        if line.off_at <= now {
            return self.go_off(place);
        }
        while let Some(id) = self.lines.all[place as usize].line.finish(now) {
            let parts = &mut self.lines.all[place as usize].parts;
            let at = parts.iter().position(|(other, _)| *other == id).expect("each transfer has its part");
            let (_, part) = parts.swap_remove(at);
            self.arrived(part);
        }
        self.rest(place, epoch);
    }

    /// Gives the place of a line back that has nothing to do.
    fn rest(&mut self, place: u32, epoch: u32) {
        let line = &mut self.lines.all[place as usize];
        if line.epoch != epoch {
            return;
        }
        if !line.parts.is_empty() {
            return self.plan_line(place);
        }
        if line.home != SEED {
            self.close(place);
        }
    }

    /// A home sends nothing any more.
    fn close(&mut self, place: u32) {
        let line = &mut self.lines.all[place as usize];
        // Its event is not to be taken for one of the next user of the place.
        line.epoch = line.epoch.wrapping_add(1);
        self.fleet.homes[line.home as usize].sending = NO_LINE;
        self.lines.free.push(place);
    }

    /// A device goes away: nothing more comes from it.
    fn go_off(&mut self, place: u32) {
        let now = self.now;
        let line = &mut self.lines.all[place as usize];
        let parts = std::mem::take(&mut line.parts);
        let lost: Vec<(u32, u64)> =
            parts.iter().map(|(id, part)| (*part, line.line.cancel(now, *id).unwrap_or(0))).collect();
        for part in &parts {
            self.parts[part.1].transfer = None;
        }
        self.close(place);
        for (part, left) in lost {
            self.broken(part, left);
        }
    }

    /// Takes a part off its line; gives the bytes that it lacks.
    pub(super) fn take_back(&mut self, part: u32) -> u64 {
        let Part { from, transfer, bytes, .. } = self.parts[part];
        let Some(id) = transfer else { return bytes };
        let place = self.line_of(from);
        let line = &mut self.lines.all[place as usize];
        line.parts.retain(|(other, _)| *other != id);
        let left = line.line.cancel(self.now, id).expect("a part that is on a line");
        let epoch = line.epoch;
        self.rest(place, epoch);
        left
    }

    /// Bytes that a part on its way lacks.
    pub(super) fn left_of(&mut self, part: u32) -> u64 {
        let Part { from, transfer, bytes, .. } = self.parts[part];
        let Some(id) = transfer else { return bytes };
        let place = self.line_of(from);
        self.lines.all[place as usize].line.left(self.now, id).expect("a part that is on a line")
    }
}
