//! What is looked at.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::player::{PlayerSpec, Segment, Watched, segments, take, watch};
use super::theatre::Theatre;
use crate::processes::PlayReport;
use crate::stage::Home;

/// Bytes of a group (CCF).
const GROUP: u64 = 65_536;
/// Bytes of the hash of a group in the list.
const HASH: u64 = 32;

/// An evening before the screen.
#[derive(Debug, Clone)]
pub struct Viewing {
    /// What the viewer saw.
    pub watched: Watched,
    /// Where it came from.
    pub played: PlayReport,
    /// Bytes that the lines carried for it, all protocols included.
    pub wire: u64,
    /// Segments that were not the broadcast's chunk, the first aside, which is a head.
    pub wrong: usize,
}

impl Viewing {
    /// Bytes that the viewer's node took from others.
    #[must_use]
    pub fn useful(&self) -> u64 {
        self.played.bytes_peer + self.played.bytes_seed + self.played.bytes_head
    }

    /// Share of the seed in them, heads included.
    #[must_use]
    pub fn seed_share(&self) -> f64 {
        (self.played.bytes_seed + self.played.bytes_head) as f64 / self.useful().max(1) as f64
    }
}

/// Plays a recording from its beginning to its end, or for so many seconds.
///
/// # Errors
/// Something does not answer, or does not come.
pub fn evening(
    theatre: &Theatre,
    viewer: &Home,
    spec: PlayerSpec,
    seconds: f64,
    told: impl FnMut(f64, usize),
) -> anyhow::Result<Viewing> {
    let before = carried(theatre);
    let list = segments(&viewer.node.playlist(&viewer.id)?)?;
    let mut left = seconds;
    let list: Vec<Segment> = list
        .into_iter()
        .take_while(|segment| {
            left -= segment.seconds;
            left + segment.seconds > 0.0
        })
        .collect();
    let watched = watch(&list, spec, told)?;
    let ids = theatre.stage.programme.ids()?;
    let pairs = watched.digests.iter().zip(&ids).skip(1);
    let wrong = pairs.filter(|(digest, (cid, _))| *digest.as_bytes() != cid.0).count();
    Ok(Viewing { watched, played: viewer.played()?, wire: carried(theatre) - before, wrong })
}

/// One chunk from all holders at once.
#[derive(Debug, Clone, Copy)]
pub struct OneChunk {
    /// Its bytes.
    pub bytes: u64,
    /// From the player's request to its last byte.
    pub took: Duration,
    /// The same over lines that carry nothing else and lose no time.
    pub ideal: Duration,
    /// Holders that were found silent meanwhile, until the node came to rest.
    pub stalls: u64,
    /// Tails of requests that went to another holder meanwhile.
    pub splits: u64,
}

/// Takes chunks far apart, one at a time, each when the viewer's node has come to rest after the one before. The first
/// only makes acquaintance; then the seed is stopped, so that only holders are left to ask. `line` is what their lines
/// carry together, in bits per second.
///
/// # Errors
/// Something does not answer, or does not come.
pub fn one_chunk(theatre: &mut Theatre, viewer: usize, line: u64) -> anyhow::Result<(Vec<OneChunk>, Wire)> {
    let before = carried(theatre);
    let Theatre { stage, viewers, .. } = theatre;
    let viewer = viewers.get(viewer).context("no such viewer")?;
    let list = segments(&viewer.node.playlist(&viewer.id)?)?;
    let chunks: Vec<&Segment> = list.iter().skip(1).step_by(CHUNK_STRIDE).collect();
    ensure!(chunks.len() >= 3, "the recording is too short: {} segments", list.len());
    let mut taken = Vec::new();
    for (number, segment) in chunks.iter().enumerate() {
        let before = viewer.node.status()?.fetch;
        let began = Instant::now();
        let (bytes, _) = take(segment, |_, _| true)?;
        let took = began.elapsed();
        viewer.wait_at_rest()?;
        let after = viewer.node.status()?.fetch;
        if number > 0 {
            let ideal = Duration::from_secs_f64(bytes as f64 * 8.0 / line as f64);
            let (stalls, splits) = (after.stalls - before.stalls, after.splits - before.splits);
            taken.push(OneChunk { bytes, took, ideal, stalls, splits });
        } else {
            stage.seed.stop()?;
        }
    }
    let played = viewer.node.status()?.fetch;
    let wire = Wire { wire: carried(theatre) - before, useful: played.useful(), twice: played.duplicate_bytes };
    Ok((taken, wire))
}

/// Distance of the chunks of [`one_chunk`]: more than a player's node looks ahead.
const CHUNK_STRIDE: usize = 7;

/// What lines carried, and what of it was of use.
#[derive(Debug, Clone, Copy)]
pub struct Wire {
    /// Bytes on the lines, all protocols included.
    pub wire: u64,
    /// Verified bytes of groups that were not there.
    pub useful: u64,
    /// Of groups that were.
    pub twice: u64,
}

/// The first moments.
#[derive(Debug, Clone)]
pub struct Start {
    /// From the request of the head to its first group at the player, and over an ideal line.
    pub first_group: (Duration, Duration),
    /// To its last byte.
    pub head: (Duration, Duration),
    /// Bytes of the head.
    pub bytes: u64,
    /// From the request of the playlist to the first byte of media.
    pub from_playlist: Duration,
}

/// Begins to play a recording over the seed's line of so many bits per second and such a round trip.
///
/// # Errors
/// Something does not answer, or does not come.
pub fn start(viewer: &Home, bps: u64, round_trip: Duration) -> anyhow::Result<Start> {
    let began = Instant::now();
    let list = segments(&viewer.node.playlist(&viewer.id)?)?;
    let head = list.first().context("an empty playlist")?;
    ensure!(head.url.contains("/head-"), "the recording does not begin with a head: {}", head.url);
    let asked = Instant::now();
    let (mut first, mut first_group) = (None, None);
    let (bytes, _) = take(head, |came, all| {
        first.get_or_insert_with(|| began.elapsed());
        if came >= GROUP.min(all) {
            first_group.get_or_insert_with(|| asked.elapsed());
        }
        true
    })?;
    let took = asked.elapsed();
    let list_bytes = bytes.div_ceil(GROUP) * HASH;
    let ideal = |bytes: u64| round_trip + Duration::from_secs_f64((bytes + list_bytes) as f64 * 8.0 / bps as f64);
    Ok(Start {
        first_group: (first_group.context("an empty head")?, ideal(GROUP.min(bytes))),
        head: (took, ideal(bytes)),
        bytes,
        from_playlist: first.context("an empty head")?,
    })
}

/// Jumps about in a recording, as a viewer who looks for a place: each time until half a second of media is there. From
/// each request to the first byte, and to that.
///
/// # Errors
/// Something does not answer, or does not come.
pub fn seeks(viewer: &Home, count: usize) -> anyhow::Result<Vec<(Duration, Duration)>> {
    let list = segments(&viewer.node.playlist(&viewer.id)?)?;
    ensure!(list.len() > 8, "the recording is too short");
    let mut place = 1;
    let mut result = Vec::new();
    for _ in 0..count {
        // Far, to places that differ, and the same in every run.
        place = (place * 31 + 17) % (list.len() - 1) + 1;
        let segment = &list[place];
        let enough = (0.5 / segment.seconds).min(1.0);
        let began = Instant::now();
        let (mut first, mut ready) = (None, None);
        take(segment, |came, all| {
            first.get_or_insert_with(|| began.elapsed());
            let there = came as f64 >= enough * all as f64;
            if there {
                ready.get_or_insert_with(|| began.elapsed());
            }
            !there
        })?;
        result.push((first.context("an empty segment")?, ready.context("a segment ended early")?));
        // Somebody looks at the picture before jumping on.
        std::thread::sleep(Duration::from_millis(1500));
    }
    Ok(result)
}

fn carried(theatre: &Theatre) -> u64 {
    let (holders, seed) = theatre.carried();
    holders.iter().chain([&seed]).map(|line| line.down.line_bytes).sum()
}
