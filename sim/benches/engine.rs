//! What an event costs: the calendar beside the standard library's binary heap, and a shared line.
//!
//! The hold model: with so many events waiting, the next one is taken and another pushed, so far ahead as a simulated
//! day has it: transfers of milliseconds to seconds, chunks every few seconds, sessions of minutes, devices that are
//! switched on and off in hours.
//!
//! `cargo bench --profile dev -p aftercast-sim --bench engine`

mod common;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hint::black_box;

use aftercast_sim::engine::{Calendar, SharedLine};
use aftercast_sim::rng::{Purpose, Rng};
use common::cpu_seconds;

const OPERATIONS: usize = 5_000_000;
const MILLISECOND: f64 = 1e3;
const SECOND: f64 = 1e6;
const HOUR: f64 = 3.6e9;

fn main() {
    println!("calendar and binary heap, million events (a pop and a push) per CPU second");
    println!("{:>10} {:>10} {:>10} {:>7}", "waiting", "heap", "calendar", "ratio");
    for waiting in [1_000, 100_000, 1_000_000, 3_000_000] {
        let (heap, sum) = hold(waiting, Heap::default());
        let (calendar, same) = hold(waiting, Wheel(Calendar::new()));
        assert_eq!(sum, same, "both give the same events");
        println!("{waiting:>10} {heap:>10.2} {calendar:>10.2} {:>7.2}", calendar / heap);
    }
    println!("shared line, million transfers (a start, a next, a finish) per CPU second");
    for active in [1, 4, 32, 10_000] {
        println!("{active:>10} at a time {:>10.2}", lines(active));
    }
}

trait Queue {
    fn push(&mut self, at: u64, event: u64);
    fn pop(&mut self) -> (u64, u64);
}

#[derive(Default)]
struct Heap {
    events: BinaryHeap<Reverse<(u64, u32, u64)>>,
    /// Keeps ties in order, as the calendar does by itself.
    count: u32,
}

impl Queue for Heap {
    fn push(&mut self, at: u64, event: u64) {
        self.count += 1;
        self.events.push(Reverse((at, self.count, event)));
    }

    fn pop(&mut self) -> (u64, u64) {
        let Reverse((at, _, event)) = self.events.pop().expect("never empty here");
        (at, event)
    }
}

struct Wheel(Calendar<u64>);

impl Queue for Wheel {
    fn push(&mut self, at: u64, event: u64) {
        self.0.push(at, event);
    }

    fn pop(&mut self) -> (u64, u64) {
        self.0.pop().expect("never empty here")
    }
}

/// Million events per CPU second, and what shows that they are the right ones.
fn hold(waiting: usize, mut queue: impl Queue) -> (f64, u64) {
    let ahead = horizons();
    for n in 0..waiting {
        queue.push(ahead[n % ahead.len()], n as u64);
    }
    // The first time the mixture of what waits settles.
    let (mut sum, mut begin) = (0, 0.0);
    for _ in 0..2 {
        begin = cpu_seconds();
        for n in 0..OPERATIONS {
            let (at, event) = queue.pop();
            queue.push(at + ahead[n % ahead.len()], event);
            sum = u64::rotate_left(sum, 1) ^ at ^ event;
        }
    }
    (OPERATIONS as f64 / (cpu_seconds() - begin) / 1e6, sum)
}

/// How far ahead events lie, microseconds.
fn horizons() -> Vec<u64> {
    let rng = Rng::new(1);
    let draw = |n| {
        let (from, to) = match rng.below(100, Purpose::Choice, n, 0) {
            0..50 => (MILLISECOND, 2.0 * SECOND),
            50..80 => (4.0 * SECOND, 10.0 * SECOND),
            80..95 => (10.0 * SECOND, HOUR),
            _ => (HOUR, 24.0 * HOUR),
        };
        let even = rng.bits(Purpose::Delay, n, 0) as f64 / u64::MAX as f64;
        (from * (to / from).powf(even)) as u64
    };
    (0..1 << 20).map(draw).collect()
}

/// Million transfers per CPU second over lines with so many at a time.
fn lines(active: u64) -> f64 {
    let transfers = 1_000_000;
    let mut line = SharedLine::new(1_000_000);
    let rng = Rng::new(2);
    let start =
        |line: &mut SharedLine, now, n| black_box(line.start(now, 1 + rng.below(100_000, Purpose::Size, n, 0), 1));
    for n in 0..active {
        start(&mut line, 0, n);
    }
    let begin = cpu_seconds();
    for n in 0..transfers {
        let (now, _) = line.next().expect("never idle");
        line.finish(now);
        start(&mut line, now, active + n);
    }
    transfers as f64 / (cpu_seconds() - begin) / 1e6
}
