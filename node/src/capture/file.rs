//! Files, at the pace of their own clock or as fast as they can be cut.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant};

use super::input::Speed;
use super::pace::PcrPace;
use super::{BLOCK_BYTES, Block, Outlet};

/// Bytes read at once at a pace: about a picture, so that a receiver of real time is imitated closely.
const PACED_BYTES: usize = 188 * 56;

/// Reads to the end.
pub fn read(path: &Path, speed: Speed, out: &Outlet) {
    let last = match copy(path, speed, out) {
        Ok(()) => Block::End,
        Err(error) => Block::Trouble(format!("{}: {error}", path.display())),
    };
    out.give(last);
}

fn copy(path: &Path, speed: Speed, out: &Outlet) -> std::io::Result<()> {
    let mut file = File::open(path)?;
    let size = if speed == Speed::Max { BLOCK_BYTES } else { PACED_BYTES };
    let mut pace = PcrPace::default();
    let start = Instant::now();
    loop {
        let mut block = vec![0; size];
        let mut filled = 0;
        while filled < size {
            match file.read(&mut block[filled..])? {
                0 => break,
                len => filled += len,
            }
        }
        block.truncate(filled);
        if let Speed::Times(times) = speed {
            pace.push(&block);
            let due = Duration::from_micros(pace.media_micros() / u64::from(times.max(1)));
            if !out.rest(due.saturating_sub(start.elapsed())) {
                return Ok(());
            }
        }
        if filled == 0 || !out.give_bytes(block) {
            return Ok(());
        }
    }
}
