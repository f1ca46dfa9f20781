//! Law h: no input makes the chunker keep more than its bounds (`limits.rs`).
#![allow(unsafe_code, reason = "counting what is allocated takes an allocator of one's own")]

mod aux_kit;
mod ccf_kit;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use ccf_kit::*;

use aftercast_protocol::ccf::{Chunker, ProgramSelect};
use aftercast_protocol::limits::{MAX_AUX_BYTES, MAX_BYTES_WAITING, MAX_CHUNK_BYTES};

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

/// A payload packet of a PID.
fn packet(pid: u16, counter: usize, start: bool, payload: &[u8; 184]) -> [u8; P] {
    let mut packet = [0; P];
    packet[..4].copy_from_slice(&[
        0x47,
        (pid >> 8) as u8 | u8::from(start) << 6,
        pid as u8,
        0x10 | (counter & 15) as u8,
    ]);
    packet[4..].copy_from_slice(payload);
    packet
}

/// Peak of memory over these packets, after the tables of a source.
fn peak(nonsense: impl Iterator<Item = [u8; P]>) -> usize {
    let (source, _) = aux_kit::with_aux(&packets(SOURCES[0].1), &aux_kit::extras());
    let tables: Packets = source.into_iter().take(4).collect();
    let mut chunker = Chunker::discover(INTERVAL, ProgramSelect::First).expect("a legal interval");
    chunker.push(tables.as_flattened());
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    for packet in nonsense {
        chunker.push(&packet);
        while chunker.poll_event().is_some() {}
    }
    PEAK.load(Ordering::Relaxed).saturating_sub(before)
}

/// One test, because tests of one process would count each other's memory.
#[test]
fn endless_nonsense_stays_within_bounds() {
    const MANY: usize = 200_000;
    const MOST: usize = 24 << 20;
    let mut pes = [0xAB; 184];
    pes[..14].copy_from_slice(&[0, 0, 1, 0xE0, 0, 0, 0x80, 0x80, 5, 0x21, 0, 1, 0, 1]);
    let begins = peak((0..MANY).map(|number| packet(VIDEO, number, true, &pes)));
    assert!(begins < MOST, "PES packets without a start code: {begins}");
    let goes_on =
        peak((0..MANY).map(|number| packet(VIDEO, number, number == 0, if number == 0 { &pes } else { &[0x5A; 184] })));
    assert!(goes_on < MOST, "a picture without an end: {goes_on}");
    let holes = peak(
        (0..MANY).map(|number| packet(VIDEO, number * 3, number == 0, if number == 0 { &pes } else { &[0x5A; 184] })),
    );
    assert!(holes < MOST, "nothing but holes: {holes}");
    let audio = peak((0..MANY).map(|number| match number {
        0 => packet(VIDEO, 0, true, &pes),
        _ => packet(AUDIO, number, number % 50 == 1, if number % 50 == 1 { &pes } else { &[0xFF; 184] }),
    }));
    assert!(audio < MOST, "audio without a frame: {audio}");
    let mut subtitle = pes;
    subtitle[3..6].copy_from_slice(&[0xBD, 0, 184 - 6]);
    let subtitles = peak((0..MANY).map(|number| match number {
        0 => packet(VIDEO, 0, true, &pes),
        _ => packet(aux_kit::SUBTITLES, number, true, &subtitle),
    }));
    assert!(subtitles > MAX_AUX_BYTES, "the subtitles are taken for subtitles: {subtitles}");
    assert!(subtitles < MOST, "subtitles without pictures: {subtitles}");
    let (_, source) = SOURCES[1];
    let source = packets(source);
    let only_audio: Packets = source.iter().filter(|packet| pid(packet) == AUDIO).copied().collect();
    let video_start = *source.iter().find(|packet| pid(packet) == VIDEO && packet[1] & 0x40 != 0).expect("a picture");
    let alone = peak((0..MANY).map(|number| match number {
        0 => video_start,
        _ => only_audio[number % only_audio.len()],
    }));
    assert!(alone < MOST, "audio without pictures: {alone}");
    // Pictures of 4 MiB whose audio never comes: ten seconds of them would be a gigabyte.
    let pictures = source.iter().filter(|packet| pid(packet) == VIDEO && packet[3] & 0x10 != 0);
    let fat = pictures.flat_map(|packet| {
        let fat = if packet[1] & 0x40 != 0 { 23_000 } else { 0 };
        std::iter::repeat_n(self::packet(VIDEO, 0, false, &[0x5A; 184]), fat).chain([*packet])
    });
    let counted = fat.zip((0..=15u8).cycle()).map(|(mut packet, number)| {
        packet[3] = packet[3] & 0xF0 | number;
        packet
    });
    let deaf = peak(counted.take(80 * 23_000));
    assert!(deaf > MAX_BYTES_WAITING / 2, "the pictures are taken for pictures: {deaf}");
    assert!(deaf < MAX_BYTES_WAITING + MAX_CHUNK_BYTES + MOST, "pictures without audio: {deaf}");
}
