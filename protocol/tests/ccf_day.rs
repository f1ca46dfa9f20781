//! Memory of one channel: bounded at the highest rates, and the same after a day as after an hour.
#![allow(unsafe_code, reason = "counting what is allocated takes an allocator of one's own")]

mod ccf_kit;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use ccf_kit::*;

use aftercast_protocol::ccf::{
    ChunkState, Chunker, ChunkerEvent, Profile, ProgramSelect, Unit, read_units, write_chunk,
};
use aftercast_protocol::time::{PTS_WRAP, Ticks};

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged; only numbers are kept beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const HOUR: i64 = 3600 * 90_000;

/// A stretch of a broadcast that can be sent again and again, each time later: two chunks of a source, with their
/// pictures' bytes changed.
struct Stretch {
    profile: Profile,
    chunks: Vec<Vec<Unit>>,
    duration: i64,
}

impl Stretch {
    fn new(change: impl Fn(&mut Unit)) -> Self {
        let reference = run(SOURCES[0].1);
        let profile = reference.chunker.plan().expect("discovered").profile.clone();
        let chosen: Vec<_> = clean_chunks(&reference).into_values().take(2).collect();
        let duration = chosen.iter().map(|(chunk, _)| chunk.duration.0).sum();
        let units = |bytes: &[u8]| {
            let mut units = read_units(bytes).expect("canonical").1;
            units.iter_mut().filter(|unit| unit.stream == 0).for_each(&change);
            units
        };
        Self { profile, chunks: chosen.iter().map(|(_, clean)| units(&clean.bytes)).collect(), duration }
    }

    /// Sends it over and over, from a time on, for so long; `each` is told after each stretch how much has passed.
    /// Gives how many chunks came out clean, and how many not.
    fn send(&self, chunker: &mut Chunker, begin: i64, ticks: i64, mut each: impl FnMut(i64)) -> (u64, u64) {
        let first = self.chunks[0][0].dts.0;
        let (mut clean, mut withheld) = (0, 0);
        for number in 0..ticks / self.duration {
            let later = Ticks(begin + number * self.duration - first);
            for units in &self.chunks {
                let moved = |unit: &Unit| Unit { pts: unit.pts + later, dts: unit.dts + later, ..unit.clone() };
                let units: Vec<Unit> = units.iter().map(moved).collect();
                chunker.push(&write_chunk(&self.profile, &units).expect("legal units"));
                while let Some(event) = chunker.poll_event() {
                    match event {
                        ChunkerEvent::Chunk(chunk) if matches!(chunk.state, ChunkState::Clean(_)) => clean += 1,
                        ChunkerEvent::Chunk(_) => withheld += 1,
                        other => panic!("{other:?}"),
                    }
                }
            }
            each((number + 1) * self.duration);
        }
        (clean, withheld)
    }
}

/// One test, because tests of one process would count each other's memory.
#[test]
fn memory_is_bounded_at_twenty_megabits_and_flat_over_a_day() {
    // Pictures of 100 kB, 25 a second.
    let fat = Stretch::new(|unit| unit.data.resize(100_000, 0x5A));
    let mut chunker = Chunker::discover(Ticks(360_000), ProgramSelect::First).expect("a legal interval");
    let before = NOW.load(Ordering::Relaxed);
    let mut most = 0;
    PEAK.store(before, Ordering::Relaxed);
    let (clean, _) = fat.send(&mut chunker, 0, 60 * 90_000, |_| most = PEAK.load(Ordering::Relaxed) - before);
    println!(
        "20 Mb/s in chunks of 4 s: at most {:.1} MiB, the sender's chunk included",
        most as f64 / (1 << 20) as f64
    );
    assert!(clean >= 12 && most < 64 << 20, "{clean} chunks, {most} bytes");
    drop(chunker);

    // A day of small pictures, with the wrap of the clock in its middle.
    let thin = Stretch::new(|unit| {
        if !unit.rap {
            unit.data.truncate(100);
        }
    });
    let mut chunker = Chunker::discover(INTERVAL, ProgramSelect::First).expect("a legal interval");
    let mut hours = vec![0; 24];
    let (clean, withheld) = thin.send(&mut chunker, PTS_WRAP as i64 - 12 * HOUR, 24 * HOUR, |passed| {
        let hour = &mut hours[((passed - 1) / HOUR) as usize];
        *hour = NOW.load(Ordering::Relaxed).max(*hour);
    });
    println!("bytes held at most, hour by hour: {hours:?}; {clean} chunks");
    assert!(withheld <= 1 && clean as i64 >= 24 * HOUR / thin.duration, "{clean} clean, {withheld} withheld");
    let (second, last) = (hours[1], hours[23]);
    assert!(last <= second + second / 50, "grew from {second} to {last} bytes");
}
