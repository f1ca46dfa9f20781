//! What was broadcast, and who recorded it.
//!
//! A home's recordings of a day are drawn by channel and time of day; who recorded a programme is kept as one list over
//! all programmes, four bytes for each recording.

use super::clock::{DAY, Time, day};
use super::model::{CERTAIN, Model};
use crate::rng::{Purpose, Rng};

/// A programme: its number counts days, then times of day, then channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Programme(pub u32);

/// All programmes of a run and its past.
#[derive(Debug)]
pub struct Catalogue {
    rng: Rng,
    channels: u64,
    slots: u64,
    length: Time,
    days: u64,
    /// Recordings of a home in a day: at least this many, and one more with this chance.
    recordings: (u64, u64),
    event: Programme,
    event_share: u64,
    /// Cumulative popularity of channels, and of times of day.
    by_channel: Vec<u64>,
    by_slot: Vec<u64>,
    /// Where each programme's recorders begin, and one end more.
    begins: Vec<u32>,
    recorders: Vec<u32>,
}

impl Catalogue {
    /// Draws all recordings.
    pub fn new(model: &Model) -> Self {
        let (channels, slots) = (u64::from(model.channels), model.slots());
        let weights: Vec<f64> = (1..=channels).map(|rank| (rank as f64).powf(-model.popularity_exponent)).collect();
        let times: Vec<f64> = (0..slots).map(|slot| model.profile.share(slot * model.programme)).collect();
        let mut catalogue = Self {
            rng: Rng::new(model.seed),
            channels,
            slots,
            length: model.programme,
            days: day(model.ends) + 1,
            recordings: (model.recordings as u64, super::model::chance(model.recordings.fract())),
            event: Programme(0),
            event_share: model.event_share,
            by_channel: cumulative(&weights),
            by_slot: cumulative(&times),
            begins: Vec::new(),
            recorders: Vec::new(),
        };
        catalogue.event = catalogue.at(0, model.event_at);
        catalogue.index(model.homes);
        catalogue
    }

    /// Counts first and then fills, so that nothing is stored twice.
    fn index(&mut self, homes: u32) {
        let programmes = (self.days * self.slots * self.channels) as usize;
        let mut next = vec![0u32; programmes + 1];
        self.each_recording(homes, |programme, _| next[programme.0 as usize] += 1);
        let mut sum = 0;
        for place in &mut next {
            sum += std::mem::replace(place, sum);
        }
        self.begins.clone_from(&next);
        let mut recorders = vec![0; sum as usize];
        self.each_recording(homes, |programme, home| {
            let place = &mut next[programme.0 as usize];
            recorders[*place as usize] = home;
            *place += 1;
        });
        self.recorders = recorders;
    }

    fn each_recording(&self, homes: u32, mut seen: impl FnMut(Programme, u32)) {
        for day in 0..self.days {
            for home in 0..homes {
                self.recorded(home, day).for_each(|programme| seen(programme, home));
            }
        }
    }

    /// What a home recorded on a day.
    pub fn recorded(&self, home: u32, day: u64) -> impl Iterator<Item = Programme> + '_ {
        let (least, more) = self.recordings;
        let draws = self.rng.draws(Purpose::Recording, u64::from(home));
        let draw = move |number: u64| draws.bits(day * 64 + number);
        let count = least + u64::from(draw(63) >> 32 < more);
        (0..count.min(60)).map(move |number| self.drawn(draw(number), day))
    }

    fn drawn(&self, bits: u64, day: u64) -> Programme {
        let (one, other) = (bits >> 32, bits & (CERTAIN - 1));
        if self.day_of(self.event) == day && (one ^ other.rotate_left(7)) % CERTAIN < self.event_share {
            return self.event;
        }
        let (channel, slot) = (super::fleet::pick(&self.by_channel, one), super::fleet::pick(&self.by_slot, other));
        Programme(((day * self.slots + slot as u64) * self.channels + channel as u64) as u32)
    }

    /// Who recorded a programme, in no order that means anything.
    pub fn recorders(&self, programme: Programme) -> &[u32] {
        let place = programme.0 as usize;
        &self.recorders[self.begins[place] as usize..self.begins[place + 1] as usize]
    }

    /// The event of the scenario.
    pub fn event(&self) -> Programme {
        self.event
    }

    /// When it begins.
    pub fn begins(&self, programme: Programme) -> Time {
        let slot = u64::from(programme.0) / self.channels;
        slot / self.slots * DAY + slot % self.slots * self.length
    }

    /// What is on at some time.
    pub fn at(&self, channel: u64, at: Time) -> Programme {
        // A day that programmes do not fill ends with a longer one.
        let slot = (at % DAY / self.length).min(self.slots - 1);
        Programme(((day(at) * self.slots + slot) * self.channels + channel) as u32)
    }

    /// Bytes on the heap.
    pub fn footprint(&self) -> usize {
        (self.begins.capacity() + self.recorders.capacity()) * size_of::<u32>()
    }

    fn day_of(&self, programme: Programme) -> u64 {
        u64::from(programme.0) / self.channels / self.slots
    }
}

fn cumulative(weights: &[f64]) -> Vec<u64> {
    let total: f64 = weights.iter().sum();
    let mut sum = 0.0;
    let mut result: Vec<u64> = weights
        .iter()
        .map(|weight| {
            sum += weight;
            super::model::chance(sum / total)
        })
        .collect();
    if let Some(last) = result.last_mut() {
        *last = CERTAIN;
    }
    result
}
