//! The bare model on the engine, as an owner of a calendar writes it: an event is a home and what comes next for it.
//!
//! The same draws as in `model.py`, and an event wherever a home goes on there: also where its turn comes at once, which
//! this side could do without an event.

use std::collections::VecDeque;

use aftercast_sim::engine::Calendar;

use crate::common::cpu_seconds;
use crate::{Kind, Outcome};

const PAUSE: f64 = 60_000_000.0;
const CHUNKS: u32 = 30;

#[derive(Debug, Clone, Copy)]
enum Next {
    Start,
    Turn,
    End,
}

struct Home {
    state: u64,
    /// Chunks to fetch until the next pause.
    left: u32,
    /// Whose line the chunk comes over.
    source: u32,
    asked: u64,
    waited: u64,
}

/// A line as a queue of homes, the first of which is served (in turns), or as the time until which it is taken.
#[derive(Default)]
struct Line {
    queue: VecDeque<u32>,
    free: u64,
}

struct Model {
    kind: Kind,
    calendar: Calendar<(Next, u32)>,
    homes: Vec<Home>,
    lines: Vec<Line>,
    takes: Vec<u64>,
    outcome: Outcome,
}

pub fn run(kind: Kind, homes: u32, seconds: u64) -> Outcome {
    // Half a second to three and a half for a chunk.
    let takes = (0..homes).map(|home| 500_000 + scale(mix(!u64::from(home)), 3_000_000)).collect();
    let mut model = Model {
        kind,
        calendar: Calendar::new(),
        homes: (0..homes).map(Home::new).collect(),
        lines: (0..homes).map(|_| Line::default()).collect(),
        takes,
        outcome: Outcome::default(),
    };
    let begin = cpu_seconds();
    for home in 0..homes {
        model.pause(0, home);
    }
    while let Some((now, (next, home))) = model.calendar.pop().filter(|(now, _)| *now < seconds * 1_000_000) {
        model.outcome.resumed += 1;
        model.go_on(now, next, home);
    }
    Outcome { cpu_secs: cpu_seconds() - begin, ..model.outcome }
}

impl Model {
    fn go_on(&mut self, now: u64, next: Next, home: u32) {
        match next {
            Next::Start => {
                self.homes[home as usize].left = CHUNKS;
                self.ask(now, home);
            }
            Next::Turn => {
                let viewer = &mut self.homes[home as usize];
                viewer.waited = now - viewer.asked;
                self.calendar.push(now + self.takes[viewer.source as usize], (Next::End, home));
            }
            Next::End => {
                let viewer = &mut self.homes[home as usize];
                viewer.left -= 1;
                self.outcome.chunks += 1;
                self.outcome.waited += viewer.waited;
                let left = viewer.left;
                if self.kind == Kind::Turns {
                    let queue = &mut self.lines[viewer.source as usize].queue;
                    queue.pop_front();
                    if let Some(first) = queue.front() {
                        self.calendar.push(now, (Next::Turn, *first));
                    }
                }
                if left > 0 { self.ask(now, home) } else { self.pause(now, home) }
            }
        }
    }

    fn pause(&mut self, now: u64, home: u32) {
        // The C library's logarithm, as in Python; a last bit of it hardly ever moves the whole microsecond.
        let even = ((self.homes[home as usize].draw() >> 11) + 1) as f64 / (1u64 << 53) as f64;
        self.calendar.push(now + (-even.ln() * PAUSE).ceil() as u64, (Next::Start, home));
    }

    fn ask(&mut self, now: u64, home: u32) {
        let viewer = &mut self.homes[home as usize];
        let source = scale(viewer.draw(), self.takes.len() as u64) as usize;
        viewer.source = source as u32;
        viewer.asked = now;
        let line = &mut self.lines[source];
        match self.kind {
            Kind::Turns => {
                line.queue.push_back(home);
                if line.queue.len() == 1 {
                    self.calendar.push(now, (Next::Turn, home));
                }
            }
            Kind::Times => {
                let begin = now.max(line.free);
                viewer.waited = begin - now;
                line.free = begin + self.takes[source];
                self.calendar.push(line.free, (Next::End, home));
            }
        }
    }
}

impl Home {
    fn new(home: u32) -> Self {
        Self { state: mix(u64::from(home)), left: 0, source: 0, asked: 0, waited: 0 }
    }

    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.state
    }
}

/// From even 64 bits an even number below `below`.
fn scale(bits: u64, below: u64) -> u64 {
    ((u128::from(bits) * u128::from(below)) >> 64) as u64
}

/// SplitMix64's step.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
