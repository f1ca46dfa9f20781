//! What the demo must show, one promise each, with the figures that it is judged by.

use serde::Serialize;

use super::{HomeReport, PlayerReport, Summary, ratio};

/// Largest deviation of an upload from its part.
const SHARE_TOLERANCE: f64 = 0.2;
/// Most bytes uploaded per byte stored.
const MOST_AMPLIFICATION: f64 = 1.1;
/// Least share of peers in the bytes of the home that recorded nothing.
const LEAST_PEER_SHARE: f64 = 0.7;
/// Least likeness of the head to its chunk, in dB.
const LEAST_PSNR: f64 = 32.0;
/// Most bytes of the head, relative to its chunk.
const MOST_HEAD: f64 = 0.4;
/// Most bytes fetched to repair chunks, relative to theirs.
const MOST_REPAIR: f64 = 0.25;
/// Chunks that nobody has whole: the broadcast begins and ends in them.
const EDGES: u64 = 2;

/// A promise.
#[derive(Debug, Clone, Serialize)]
pub struct Promise {
    /// What is promised.
    pub what: String,
    /// The figures.
    pub figures: String,
    /// Whether it holds.
    pub holds: bool,
}

fn promise(what: &str, holds: bool, figures: String) -> Promise {
    Promise { what: what.to_owned(), figures, holds }
}

pub(super) fn judge(summary: &Summary) -> Vec<Promise> {
    let mut promises = vec![
        emitted(&summary.homes),
        identical(summary),
        stored(summary),
        repaired(summary),
        amplification(summary),
        shares(summary),
        metered(&summary.homes),
    ];
    promises.extend(summary.players.iter().flat_map(player));
    promises.extend(pure_player(summary));
    promises
}

fn receiving(homes: &[HomeReport]) -> impl Iterator<Item = &HomeReport> {
    homes.iter().filter(|home| home.receives)
}

fn emitted(homes: &[HomeReport]) -> Promise {
    let holds = receiving(homes)
        .all(|home| home.unharmed > 0 && home.unharmed_missing == 0 && home.recorded >= home.clean_in_file);
    let line = |home: &HomeReport| {
        let HomeReport { unharmed, unharmed_missing, recorded, clean_in_file, .. } = home;
        let lost = home.bytes_sent.saturating_sub(home.bytes_received);
        let lost = if lost > 0 { format!(", {lost} bytes lost between sender and tuner") } else { String::new() };
        format!(
            "{}: {unharmed} unharmed, {unharmed_missing} missing, {recorded} of {clean_in_file} recorded{lost}",
            home.home
        )
    };
    let figures: Vec<_> = receiving(homes).map(line).collect();
    let what = "every chunk is recorded that came whole, from the key picture before it to the sound behind it";
    promise(what, holds, figures.join("; "))
}

fn identical(summary: &Summary) -> Promise {
    let otherwise: u64 = summary.homes.iter().map(|home| home.recorded_otherwise).sum();
    let seed = &summary.seed;
    let holds = summary.identical_share >= 1.0
        && otherwise + seed.objections + seed.contradictions + seed.withdrawn + seed.disputed == 0;
    let figures = format!(
        "{:.2} % identical to the source's; {otherwise} recorded otherwise, {} objections, {} disputed",
        summary.identical_share * 100.0,
        seed.objections,
        seed.disputed
    );
    promise("chunks are identical in every home", holds, figures)
}

/// What came with damage is whole before anybody watches, for a small part of its bytes.
fn repaired(summary: &Summary) -> Promise {
    let sum = |of: fn(&HomeReport) -> u64| summary.homes.iter().map(of).sum::<u64>();
    let (repaired, fetched) = (sum(|home| home.repaired), sum(|home| home.repair_bytes));
    let left = summary.homes.iter().map(HomeReport::damaged).max().unwrap_or(0);
    let whole = ratio(summary.seed.unique_bytes, summary.seed.stored) * repaired as f64;
    let holds = repaired > 0 && left <= EDGES && fetched as f64 <= whole * MOST_REPAIR;
    let figures = format!(
        "{repaired} repaired, at most {left} left in a home ({EDGES} where the broadcast begins and ends); {fetched} bytes \
         fetched for {whole:.0}, at most {:.0} %",
        MOST_REPAIR * 100.0
    );
    promise("damaged chunks are repaired before anybody watches", holds, figures)
}

fn stored(summary: &Summary) -> Promise {
    let seed = &summary.seed;
    let chunks = summary.programme.chunks;
    let holds = seed.confirmed >= chunks && seed.stored >= seed.confirmed + seed.single;
    let figures = format!("{} of {chunks} confirmed, {} single, {} stored", seed.confirmed, seed.single, seed.stored);
    promise("the seed holds every confirmed chunk", holds, figures)
}

fn amplification(summary: &Summary) -> Promise {
    let times = summary.upload_amplification;
    let holds = times > 0.0 && times <= MOST_AMPLIFICATION;
    promise(
        "hardly a byte is uploaded twice",
        holds,
        format!("{times:.3} bytes per byte stored, at most {MOST_AMPLIFICATION}"),
    )
}

fn shares(summary: &Summary) -> Promise {
    let shares = summary.upload_shares();
    // Chunks are not divided: of a short programme one chunk more or less is already more than the tolerance.
    let chunk = ratio(summary.seed.unique_bytes, summary.seed.stored);
    let near = |(home, share): &(&HomeReport, f64)| {
        let part = home.uploaded_bytes as f64 / share;
        (home.uploaded_bytes as f64 - part).abs() <= chunk.max(part * SHARE_TOLERANCE)
    };
    let holds = !shares.is_empty() && shares.iter().all(|one| one.1 > 0.0 && near(one));
    let figures: Vec<_> = shares.iter().map(|(home, share)| format!("{} {share:.2}", home.home)).collect();
    let figures =
        format!("upload / declared part: {}; 0.80 to 1.20, or one chunk more or less, allowed", figures.join(", "));
    promise("uploads follow the declared uplinks", holds, figures)
}

fn metered(homes: &[HomeReport]) -> Promise {
    let sent: u64 =
        homes.iter().filter(|home| home.metered).map(|home| home.uploaded_bytes + home.to_peers_bytes).sum();
    promise("nothing leaves the metered home", sent == 0, format!("{sent} bytes"))
}

fn player(player: &PlayerReport) -> Vec<Promise> {
    let name = &player.home;
    let (pictures, sound) = (&player.pictures, &player.sound);
    let mut promises = vec![
        promise(
            &format!("{name} sees and hears exactly the source, after the head"),
            pictures.is_whole() && sound.is_whole(),
            format!(
                "{} of {} pictures equal ({} played), {} of {} pieces of sound ({} played)",
                pictures.equal, pictures.expected, pictures.got, sound.equal, sound.expected, sound.got
            ),
        ),
        promise(
            &format!("{name} gets no wrong byte"),
            player.wrong_segments + player.wrong_in_file + player.wrong_answers == 0,
            format!(
                "{} wrong segments, {} faults of the one-file form, {} wrong answers",
                player.wrong_segments, player.wrong_in_file, player.wrong_answers
            ),
        ),
    ];
    if let Some(head) = &player.head {
        let small = ratio(head.bytes, head.chunk_bytes);
        let holds = head.same_times && head.frames > 0 && head.psnr_db >= LEAST_PSNR && small <= MOST_HEAD;
        let figures = format!(
            "{} of {} pictures, {} times, {:.1} dB (at least {LEAST_PSNR}), {:.2} of the chunk's bytes (at most {MOST_HEAD})",
            head.frames,
            head.source_frames,
            if head.same_times { "the same" } else { "other" },
            head.psnr_db,
            small
        );
        promises.push(promise(&format!("{name} starts with a small, good head"), holds, figures));
    }
    promises
}

/// The home that recorded nothing.
fn pure_player(summary: &Summary) -> Vec<Promise> {
    let is_pure = |player: &&PlayerReport| summary.homes.iter().any(|home| home.home == player.home && !home.receives);
    let Some(player) = summary.players.iter().find(is_pure) else {
        return vec![promise("a home that recorded nothing plays", false, "there is none".into())];
    };
    let all = player.bytes_local + player.bytes_peer + player.bytes_seed + player.bytes_head;
    let share = ratio(player.bytes_peer, all);
    vec![
        promise(
            &format!("{} gets most from its peers", player.home),
            share >= LEAST_PEER_SHARE,
            format!("{:.0} % of {} bytes, at least {:.0} %", share * 100.0, all, LEAST_PEER_SHARE * 100.0),
        ),
        promise(
            &format!("{} begins with the seed's head", player.home),
            player.head.is_some(),
            format!("{} bytes of it", player.bytes_head),
        ),
    ]
}
