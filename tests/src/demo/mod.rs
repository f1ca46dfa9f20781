//! The demo: one seed and six homes on this machine record one broadcast together, and two of them play it.
//!
//! ```text
//! programme --> a reception per home, each harmed in its own way --UDP, RTP--> node 1..5 --> seed
//!     |                 |                                                      node 5, 6 <-- peers, seed --> FFmpeg
//!     +---- chunks, frames: what is right, worked out from the files alone ----------------> summary
//! ```
//!
//! What it is for: showing the whole path on real input, and telling honestly where it falls short. Every figure that
//! says "right" comes from comparing with the source file, not from what the programs say of themselves.

mod group;
mod homes;
mod play;
mod prepare;
mod tell;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;

pub use group::{CHANNEL, Group, Member};
pub use homes::{Home, Reception, homes};
pub use tell::Teller;

use crate::broadcast::BroadcastSpec;
use crate::processes::{Programs, SeedStatus};
use crate::report::{HomeReport, Programme as ProgrammeReport, SeedReport, Summary};
use prepare::{Programme, Received};

/// Uplinks together are this many times what the broadcast needs.
const UPLINK_HEADROOM: f64 = 4.0;
/// Units of uplink of the homes that share.
const SHARED_UNITS: f64 = 16.0;

/// What to show.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// A broadcast of one's own; of it, the seconds of `spec` are taken.
    pub input: Option<PathBuf>,
    /// The programme to make where there is none.
    pub spec: BroadcastSpec,
    /// Folder of everything.
    pub out: PathBuf,
    /// Times real time.
    pub speed: f64,
    /// Distance of targets, in whole seconds: `2s`.
    pub interval: String,
}

/// What came of it. The processes run until the group is dropped.
pub struct Shown {
    /// The figures.
    pub summary: Summary,
    /// Seed and homes.
    pub group: Group,
}

/// Shows it.
///
/// # Errors
/// Something could not be run to its end. That a promise did not hold is no error: see [`Summary::passed`].
pub fn run(options: &DemoOptions, teller: &mut Teller) -> anyhow::Result<Shown> {
    let programs = Programs::find()?;
    let folder = options.out.join("work");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    let receptions = folder.join("receptions");
    std::fs::create_dir_all(&receptions).with_context(|| receptions.display().to_string())?;
    let folder = folder.canonicalize()?;

    teller.step(if options.input.is_some() { "reading your broadcast" } else { "making a broadcast" });
    let programme = Programme::prepare(&programs, options, &folder)?;
    let homes = homes((options.spec.seconds / 12).max(2))?;
    teller.step(&format!("{} chunks; five homes receive it, each in its own way", programme.chunks.len()));
    let mut received: BTreeMap<&str, Received> = BTreeMap::new();
    for home in &homes {
        if let Some(reception) = &home.reception {
            received.insert(home.name, programme.receive(&programs, home, reception, &receptions)?);
        }
    }

    teller.step("starting one seed and six nodes");
    let unit = uplink_unit(&programme, options.speed);
    let mut group = Group::start(&programs, &homes, &programme, &options.interval, unit, &folder)?;
    group.record()?;
    let seconds = programme.micros as f64 / 1e6;
    teller.step(&format!("all six record; the broadcast runs for {:.0} s", seconds / options.speed));
    group.broadcast(&programme, &received, options.speed, teller)?;
    teller.step("the broadcast is over; the last uploads arrive");
    group.finish(&received)?;
    let seed = group.settle(programme.chunks.len() as u64)?;
    teller.step("what was received with damage is repaired");
    group.repair();

    teller.step("decoding the source, to compare");
    let source = programme.frames()?;
    let mut players = Vec::new();
    for name in ["home-6", "home-5"] {
        teller.step(&format!("{name} plays the whole recording"));
        players.push(play::play(group.member(name)?, &programme, &source, &folder)?);
    }
    let homes = group
        .members
        .iter()
        .map(|member| home_report(member, &programme, received.get(member.home.name), &seed))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let at_end = group.seed.status()?;
    let summary = Summary::new(
        ProgrammeReport {
            seconds,
            bytes: programme.bytes.len() as u64,
            speed: options.speed,
            own: options.input.is_some(),
            chunks: programme.chunks.len() as u64,
        },
        homes,
        seed_report(&seed, &at_end),
        players,
    );
    Ok(Shown { summary, group })
}

/// Half megabits, so that figures are round.
fn uplink_unit(programme: &Programme, speed: f64) -> u64 {
    let bps = programme.bytes.len() as f64 * 8e6 / programme.micros.max(1) as f64 * speed;
    let halves = (bps * UPLINK_HEADROOM / SHARED_UNITS / 500_000.0).ceil();
    (halves as u64).max(1) * 500_000
}

fn home_report(
    member: &Member,
    programme: &Programme,
    received: Option<&Received>,
    seed: &SeedStatus,
) -> anyhow::Result<HomeReport> {
    let status = member.node.status()?;
    let own = status.recording(&member.recording).context("the recording is gone")?;
    let right = programme.cids();
    let (clean, identical, unharmed, missing) = received.map_or((0, 0, 0, 0), |received| {
        let identical = received.clean.iter().filter(|(index, cid)| right.get(index) == Some(cid)).count();
        let missing = received.unharmed.iter().filter(|index| !received.clean.contains_key(index)).count();
        (received.clean.len(), identical, received.unharmed.len(), missing)
    });
    let input = status.inputs.get(CHANNEL);
    let uploaded = seed.nodes.iter().find(|one| one.device == status.device).map_or(0, |one| one.uploaded_bytes);
    Ok(HomeReport {
        home: member.home.name.to_owned(),
        words: member.home.words.to_owned(),
        receives: received.is_some(),
        metered: member.home.metered,
        uplink_bps: member.uplink_bps,
        uploaded_bytes: uploaded,
        to_peers_bytes: status.uplink.sent.to_peers,
        unharmed: unharmed as u64,
        unharmed_missing: missing as u64,
        clean_in_file: clean as u64,
        identical_in_file: identical as u64,
        recorded: own.clean,
        recorded_confirmed: own.confirmed,
        recorded_otherwise: own.contradicted,
        withheld: own.withheld.clone(),
        repaired: own.repaired,
        repair_bytes: status.repair.fetched_bytes,
        bytes_sent: received.map_or(0, |received| received.bytes.len() as u64),
        bytes_received: input.map_or(0, |input| input.bytes),
    })
}

fn seed_report(seed: &SeedStatus, at_end: &SeedStatus) -> SeedReport {
    SeedReport {
        confirmed: seed.sum(|one| one.confirmed),
        single: seed.sum(|one| one.single),
        disputed: seed.sum(|one| one.disputed),
        stored: seed.sum(|one| one.stored),
        objections: seed.sum(|one| one.objections),
        contradictions: seed.sum(|one| one.contradictions),
        withdrawn: seed.sum(|one| one.withdrawn),
        pulled_bytes: seed.pulled_bytes,
        unique_bytes: seed.unique_bytes,
        heads: at_end.heads,
        head_bytes: at_end.head_bytes,
        served_bytes: at_end.served_bytes,
    }
}
