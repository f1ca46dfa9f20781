//! Where the bytes deceive a receiver, the seed is not: several receptions of one broadcast report what they have, as
//! recorders do, and no chunk that differs from the source's is ever confirmed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use aftercast_protocol::ccf::{Chunk, ChunkState};
use aftercast_protocol::ids::{ChannelId, DeviceId, Slot, SubscriberId};
use aftercast_protocol::plan::timelines::{LocalPlace, Timelines};
use aftercast_protocol::time::{Mono, UnixMillis};
use aftercast_protocol::truth::{Claim, Reception, Report, Standing, Truth, TruthAction, TruthConfig};
use aftercast_tests::broadcast::variety::Combination;
use aftercast_tests::table::{Source, apply, received};

const TMP: &str = env!("CARGO_TARGET_TMPDIR");

/// What became of the slots of one broadcast, and how many chunks were emitted that are not the source's.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Verdicts {
    confirmed: u32,
    disputed: u32,
    single: u32,
    damaged: u32,
    lies: u32,
}

fn report(chunk: &Chunk) -> Report {
    let reception = match &chunk.state {
        ChunkState::Clean(clean) => Reception::Clean { cid: clean.cid, bytes: clean.bytes.len() as u64 },
        ChunkState::Withheld(withheld) => Reception::Withheld { reason: withheld.reason, piece: None },
    };
    Report {
        channel: "one".parse::<ChannelId>().expect("a name"),
        timeline: chunk.timeline,
        index: chunk.index,
        pts: chunk.pts,
        duration: chunk.duration,
        opening: chunk.opening,
        utc: UnixMillis(chunk.pts.0 / 90),
        reception,
        standing: Standing::Witness,
    }
}

/// Lets homes record a broadcast, each with its own recipes, and the seed decide.
fn decide(source: &Source, homes: &[Vec<&str>], seed: u64) -> Verdicts {
    let mut truth = Truth::new(TruthConfig::default(), [7; 32]);
    let mut timelines = Timelines::default();
    let device = |home: usize| DeviceId([home as u8 + 1; 32]);
    let subscriber = |home: usize| format!("home-{home}").parse::<SubscriberId>().expect("a name");
    for home in 0..homes.len() {
        assert!(truth.handle_recorder(device(home), subscriber(home), None));
    }
    let right: BTreeSet<Claim> = source.reference.values().filter_map(|chunk| Claim::of(&report(chunk))).collect();
    let mut reports: Vec<(usize, Report)> = Vec::new();
    let mut verdicts = Verdicts::default();
    for (home, recipes) in homes.iter().enumerate() {
        let impaired = apply(&source.bytes, recipes, 10 * seed + home as u64);
        reports.extend(source.receive(&received(&impaired)).iter().map(|chunk| (home, report(chunk))));
    }
    // In the order in which they are recorded.
    reports.sort_by_key(|(home, report)| (report.pts.0, *home));
    let mut decided: BTreeMap<Slot, TruthAction> = BTreeMap::new();
    let mut heed = |truth: &mut Truth| {
        while let Some(action) = truth.poll_action() {
            match &action {
                TruthAction::Confirmed { slot, claim, .. } => {
                    assert!(
                        right.contains(claim),
                        "{}: {slot:?} is confirmed and wrong, seed {seed}",
                        source.combination
                    );
                    decided.insert(*slot, action);
                }
                TruthAction::Single { slot, .. } | TruthAction::Disputed { slot } | TruthAction::Damaged { slot } => {
                    decided.insert(*slot, action);
                }
                TruthAction::Withdrawn { slot, .. } => panic!("{slot:?} is withdrawn"),
                TruthAction::AskWitnesses { .. } | TruthAction::Holder { .. } => {}
            }
        }
    };
    for (home, report) in &reports {
        let claim = Claim::of(report);
        verdicts.lies += u32::from(claim.is_some_and(|claim| !right.contains(&claim)));
        let place =
            LocalPlace { timeline: report.timeline, index: report.index, pts: report.pts, opening: report.opening };
        let slot = timelines.locate(device(*home), place);
        truth.handle_report(Mono(report.utc.0 * 1_000), device(*home), slot, report);
        heed(&mut truth);
    }
    while let Some(at) = truth.poll_timeout() {
        truth.handle_timeout(at);
        heed(&mut truth);
    }
    for action in decided.into_values() {
        match action {
            TruthAction::Confirmed { .. } => verdicts.confirmed += 1,
            TruthAction::Disputed { .. } => verdicts.disputed += 1,
            TruthAction::Single { .. } => verdicts.single += 1,
            _ => verdicts.damaged += 1,
        }
    }
    verdicts
}

/// Over combinations and seeds; the sum of all verdicts.
fn decide_all(homes: &[Vec<&str>]) -> Verdicts {
    let mut all = Verdicts::default();
    for name in ["avc+aac", "hevc+ac3", "mpeg2+mp2", "hevc+eac3+latm dvb"] {
        let combination = Combination::all().into_iter().find(|one| one.to_string() == name).expect("a combination");
        let source = Source::make(&combination, Path::new(TMP)).expect("a programme");
        for seed in 1..=6 {
            let one = decide(&source, homes, seed);
            all.confirmed += one.confirmed;
            all.disputed += one.disputed;
            all.single += one.single;
            all.damaged += one.damaged;
            all.lies += one.lies;
        }
    }
    println!("{all:?}");
    all
}

const WHOLE: [&str; 2] = ["nulls=10%", "counters"];
const SILENT: [&str; 2] = ["lose16=4", "flips=4"];

#[test]
fn two_whole_receptions_outweigh_a_deceived_one() {
    let homes = vec![WHOLE.to_vec(), vec!["reorder=6"], SILENT.to_vec()];
    let verdicts = decide_all(&homes);
    assert!(verdicts.lies > 40, "{verdicts:?}: nobody was deceived");
    // Every chunk of the source but for those at the edges.
    assert!(verdicts.confirmed >= 24 * 18 && verdicts.disputed * 10 <= verdicts.confirmed, "{verdicts:?}");
}

#[test]
fn receptions_that_are_all_deceived_confirm_nothing_wrong() {
    let homes = vec![SILENT.to_vec(), SILENT.to_vec(), SILENT.to_vec(), SILENT.to_vec()];
    let verdicts = decide_all(&homes);
    assert!(verdicts.lies > 160, "{verdicts:?}: nobody was deceived");
    assert!(verdicts.confirmed > 24 * 12, "{verdicts:?}: what two have right is confirmed");
}

#[test]
fn a_whole_reception_and_a_deceived_one_dispute_what_they_differ_in() {
    let verdicts = decide_all(&[WHOLE.to_vec(), SILENT.to_vec()]);
    assert!(verdicts.lies > 40, "{verdicts:?}: nobody was deceived");
    assert!(verdicts.disputed > 24, "{verdicts:?}: two that differ settle nothing");
}

#[test]
fn a_deceived_reception_alone_stays_single() {
    let verdicts = decide_all(&[SILENT.to_vec()]);
    assert!(verdicts.lies > 40, "{verdicts:?}: nobody was deceived");
    assert_eq!((verdicts.confirmed, verdicts.disputed), (0, 0), "{verdicts:?}");
}
