//! The same file from one peer by libtorrent and by lanes: 384 MiB in pieces or chunks of 4 MiB, from RAM disk to RAM
//! disk, verified by both, encrypted by us alone.

use std::fs;
use std::path::{Path, PathBuf};

use aftercast_protocol::ids::ChunkCid;
use anyhow::{Context as _, Result, ensure};

use crate::{FILE_ROW, Process, Side, line};

const BYTES: usize = 384 << 20;
/// The fastest of so many runs counts, of each.
const RUNS: usize = 3;

/// A folder on the RAM disk, where there is one; removed in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        let ram = Path::new("/dev/shm");
        let parent = if ram.is_dir() { ram.to_owned() } else { std::env::temp_dir() };
        let folder = parent.join(format!("aftercast-carrier-{}", std::process::id()));
        for part in ["holds", "theirs", "ours"] {
            fs::create_dir_all(folder.join(part))?;
        }
        Ok(Self(folder))
    }

    fn path(&self, part: &str) -> Result<String> {
        Ok(self.0.join(part).to_str().context("a path in UTF-8")?.to_owned())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub fn table(python: &Path) -> Result<()> {
    let scratch = Scratch::new()?;
    let data: Vec<u8> = noise().take(BYTES / 8).flat_map(u64::to_le_bytes).collect();
    let cid = ChunkCid::of(&data);
    fs::write(scratch.path("holds/data")?, &data)?;
    drop(data);
    let peer = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/libtorrent/peer.py");
    let (torrent, holds) = (scratch.path("torrent")?, scratch.path("holds")?);
    let (theirs, ours) = (scratch.path("theirs")?, scratch.path("ours/data")?);
    let version = Process::start(python, &[peer, "version"])?.line()?;
    let made = std::process::Command::new(python).args([peer, "make", &torrent, &format!("{holds}/data")]).status()?;
    ensure!(made.success(), "no torrent was made");

    let (us, row) = (std::env::current_exe()?, FILE_ROW.to_string());
    let mut best: [Option<(Side, Side)>; 2] = [None, None];
    for _ in 0..RUNS {
        let _ = fs::remove_file(format!("{theirs}/data"));
        let mut holder = Process::start(python, &[peer, "hold", &torrent, &holds])?;
        let port = holder.line()?;
        let asker = Process::start(python, &[peer, "ask", &torrent, &theirs, &port])?.finish()?;
        keep(&mut best[0], (asker, holder.finish()?));
        ensure!(ChunkCid::of(&fs::read(format!("{theirs}/data"))?) == cid, "libtorrent brought other bytes");

        let mut holder = Process::start(&us, &["hold", &row, &format!("{holds}/data")])?;
        let at = holder.line()?;
        let asker = Process::start(&us, &["ask", &row, &at, &BYTES.to_string(), &ours])?.finish()?;
        keep(&mut best[1], (asker, holder.finish()?));
        ensure!(ChunkCid::of(&fs::read(&ours)?) == cid, "the lanes brought other bytes");
        fs::remove_file(&ours)?;
    }
    let [Some(theirs), Some(ours)] = best else { return Ok(()) };
    println!("{} MiB from one peer, RAM disk to RAM disk, best of {RUNS}", BYTES >> 20);
    let rate = line(&format!("libtorrent {version}, v2, TCP, unencrypted"), BYTES as u64, &theirs, None)?;
    let ratio = line("lanes, TCP, TLS, 4 MiB chunks", BYTES as u64, &ours, Some(rate))? / rate;
    let cpu = |(asker, holder): &(Side, Side)| asker.cpu_secs + holder.cpu_secs;
    println!(
        "throughput {ratio:.2} of libtorrent's (at least 2.0), CPU {:.2} (at most 1.0)",
        cpu(&ours) / cpu(&theirs)
    );
    Ok(())
}

/// Bytes that do not compress and are the same every time (SplitMix64).
fn noise() -> impl Iterator<Item = u64> {
    let mut state = 0u64;
    std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

fn keep(best: &mut Option<(Side, Side)>, run: (Side, Side)) {
    if best.as_ref().is_none_or(|best| run.0.secs < best.0.secs) {
        *best = Some(run);
    }
}
