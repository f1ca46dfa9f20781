//! A fleet of homes in virtual time, chunk by chunk (level L1).
//!
//! ```text
//!   calendar ──> minute ──> viewings begin ──> chunks open ──> choice (protocol::select::rules) ──> parts on lines
//!                chunk  ──> recording groups: reports, truth, duties (protocol) ─────────────────> uploads on lines
//!                line   ──> what ended first on a home's line ──> chunk complete, next choice
//! ```
//!
//! One event loop, one thread, no state that is not needed: homes that do nothing cost 56 bytes, recordings four bytes
//! each, and whether a device is on or has a chunk is a function of the seed. The same scenario and seed give the same
//! result everywhere; a change of policy changes no draw of anything else.
//!
//! What decides is `aftercast_protocol`'s: who is asked ([`aftercast_protocol::select::rules`]), what is known of a
//! source ([`aftercast_protocol::score`]), whether a budget allows it ([`aftercast_protocol::serve`]), what is confirmed
//! ([`aftercast_protocol::truth`]), who uploads ([`aftercast_protocol::duty`]).
//!
//! Not modelled: pieces smaller than a chunk's share of one source, hedging, lines of viewers shared by several
//! downloads, repair in the background, renditions, the DHT; what is fetched ahead of a viewer who then leaves or jumps,
//! 70 seconds at most. The group-by-group exchange is in [`crate::exchange`].

mod catalogue;
mod choice;
pub mod clock;
mod demand;
mod fetch;
mod fleet;
mod group;
mod holding;
mod lines;
mod model;
mod places;
mod profile;
pub mod script;
mod session;
mod tally;
#[cfg(test)]
mod tests;
mod watch;
mod why;

pub use group::Recorded;
pub use model::Model;
pub use tally::Tally;
pub use watch::Interval;
pub use why::Why;

use catalogue::Catalogue;
use clock::{MINUTE, Time};
use fleet::Fleet;
use group::Group;
use lines::Lines;
use places::Places;
use session::{Part, Session};

use crate::engine::Calendar;
use crate::rng::Rng;

/// Share of a day's viewings that begin in each minute, from midnight.
pub fn day_profile(peak_hour: f64, peak_to_mean: f64) -> Vec<f64> {
    profile::Profile::new(peak_hour, peak_to_mean).minutes().to_vec()
}

/// What happens.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// A minute of viewings to be drawn.
    Minute,
    /// A viewing begins.
    Begin { number: u64 },
    /// A viewing is due.
    Wake { place: u32 },
    /// A line is due.
    Line { place: u32, epoch: u32 },
    /// A part from the seed is there.
    Arrived { part: u32 },
    /// A chunk of a channel has been broadcast.
    Chunk { channel: u32 },
    /// A recording group is due.
    Group { channel: u32 },
    /// An interval to be watched begins or ends.
    Watch,
    /// A witness's report is there.
    Report { channel: u32, home: u32, index: u32 },
}

/// A run.
pub struct World<'a> {
    model: &'a Model,
    rng: Rng,
    now: Time,
    calendar: Calendar<Event>,
    fleet: Fleet,
    catalogue: Catalogue,
    sessions: Places<Option<Box<Session>>>,
    parts: Places<Part>,
    lines: Lines,
    groups: Vec<Group>,
    tally: Tally,
    recorded: Recorded,
    watch: watch::Watch,
    /// The viewings, where they are not drawn.
    script: Option<&'a [script::Viewing]>,
    /// What [`World::choose`] works with, kept for its memory.
    found: choice::Found,
    events: u64,
    most_sessions: usize,
    most_bytes: usize,
}

/// What a run gives.
#[derive(Debug, Clone)]
pub struct Run {
    /// Viewing.
    pub tally: Tally,
    /// Recording.
    pub recorded: Recorded,
    /// Bytes that each home sent while measured, ascending.
    pub sent: Vec<u64>,
    /// Of each home whose owner set a budget: what it sent of what that allows for the time, in millionths, ascending.
    pub of_budget: Vec<u32>,
    /// Intervals beside the least that any policy needs of the seed in them.
    pub intervals: Vec<Interval>,
    /// Bytes that homes have sent, measured or not.
    pub sent_in_all: u64,
    /// Events that happened.
    pub events: u64,
    /// Most viewings at once.
    pub most_sessions: usize,
    /// Most bytes of memory that homes, recordings, viewings and lines had, as counted.
    pub footprint: usize,
}

impl<'a> World<'a> {
    /// Before the first event.
    pub fn new(model: &'a Model) -> Self {
        let mut world = Self {
            model,
            rng: Rng::new(model.seed),
            now: model.begins,
            calendar: Calendar::new(),
            fleet: Fleet::new(model),
            catalogue: Catalogue::new(model),
            sessions: Places::default(),
            parts: Places::default(),
            lines: Lines::default(),
            groups: (0..model.channels).map(Group::new).collect(),
            tally: Tally::new(model),
            recorded: Recorded::default(),
            watch: watch::Watch::default(),
            script: None,
            found: choice::Found::default(),
            events: 0,
            most_sessions: 0,
            most_bytes: 0,
        };
        world.calendar.push(model.begins, Event::Minute);
        world.plan_watch();
        let first = (model.begins / model.chunk + 1) * model.chunk;
        for channel in 0..model.channels {
            world.calendar.push(first, Event::Chunk { channel });
        }
        world
    }

    /// Runs to the end; `told` hears now and then how far it is, from 0 to 1.
    pub fn run(mut self, mut told: impl FnMut(f64)) -> Run {
        let whole = (self.model.ends - self.model.begins).max(1) as f64;
        while let Some((at, event)) = self.calendar.pop() {
            if at > self.model.ends {
                break;
            }
            self.now = at;
            self.events += 1;
            match event {
                Event::Minute => {
                    told((at - self.model.begins) as f64 / whole);
                    self.on_minute();
                }
                Event::Begin { number } => self.on_begin(number),
                Event::Wake { place } => self.on_wake(place),
                Event::Line { place, epoch } => self.on_line(place, epoch),
                Event::Arrived { part } => self.arrived(part),
                Event::Watch => self.on_watch(),
                Event::Chunk { channel } => self.on_chunk(channel),
                Event::Group { channel } => self.on_group(channel),
                Event::Report { channel, home, index } => self.on_report(channel, home, u64::from(index)),
            }
        }
        let mut sent: Vec<u64> = self.fleet.homes.iter().map(|home| home.sent).collect();
        sent.sort_unstable();
        Run {
            tally: self.tally,
            recorded: self.recorded,
            sent,
            of_budget: self.fleet.of_budgets(self.model),
            sent_in_all: self.fleet.sent,
            intervals: self.watch.seen,
            events: self.events,
            most_sessions: self.most_sessions,
            footprint: self.most_bytes,
        }
    }

    /// Draws the viewings of the next minute, and looks at how much memory is in use.
    fn on_minute(&mut self) {
        if self.script.is_none() {
            self.draw_viewings();
        }
        self.most_sessions = self.most_sessions.max(self.sessions.len());
        self.most_bytes = self.most_bytes.max(self.footprint());
        if self.now + MINUTE < self.model.ends {
            self.calendar.push(self.now + MINUTE, Event::Minute);
        }
    }

    /// Bytes of memory in use, as counted: what grows with homes.
    fn footprint(&self) -> usize {
        let homes = self.fleet.homes.capacity() * size_of::<fleet::Home>();
        let session = size_of::<Session>()
            + self.model.holders * (size_of::<session::Peer>() + size_of::<aftercast_protocol::score::Score>())
            + 256;
        let sessions = self.sessions.capacity() * size_of::<usize>() + self.sessions.len() * session;
        let events = self.calendar.len() * (size_of::<Event>() + 16);
        homes
            + self.catalogue.footprint()
            + sessions
            + self.parts.capacity() * size_of::<Part>()
            + self.lines.footprint()
            + events
    }
}
