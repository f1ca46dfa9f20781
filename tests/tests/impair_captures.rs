//! Real broadcasts: every capture in `../shared/media` is chunked, or refused with a reason; and two harmless ways to a
//! receiver give the same chunks, damaged as the capture itself may be. Skipped with a message where there are none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aftercast_protocol::ccf::{Anchor, ChunkPlan, ChunkState, Chunker, ChunkerEvent, ProgramSelect};
use aftercast_protocol::ids::ChunkCid;
use aftercast_protocol::limits::MIN_INTERVAL;
use aftercast_tests::impair::{packet, psi};
use aftercast_tests::table::apply;

const WAYS: [&[&str]; 2] = [
    &["nulls=10%", "counters", "pid-remap", "pcr-jitter=2ms", "pmt-version=2", "framing=204"],
    &["nulls=drop", "flags", "si-noise=2%", "pcr-restamp=-20ms", "reorder=6", "framing=192"],
];

/// What one programme of a capture gives.
#[derive(Debug, Default, PartialEq, Eq)]
struct Cut {
    clean: BTreeMap<(u32, u64), ChunkCid>,
    /// Withheld chunks: why, and a digest of their clean units.
    withheld: BTreeMap<(u32, u64), (String, Option<blake3::Hash>)>,
    refused: Option<String>,
}

impl Cut {
    fn reasons(&self) -> String {
        let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
        self.withheld.values().for_each(|(reason, _)| *counts.entry(reason).or_default() += 1);
        let words: Vec<_> = counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        if words.is_empty() { "none".to_owned() } else { words.join(", ") }
    }
}

fn captures() -> Option<Vec<(String, Vec<u8>)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/media");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!("skipped: there are no captures at {}", folder.display());
        return None;
    };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "ts" || ending == "pcap"));
    paths.sort();
    let named = |path: PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        (name, std::fs::read(&path).expect("reads it"))
    };
    Some(paths.into_iter().map(named).collect())
}

/// How many UDP datagrams a capture of a network holds: pcap with Ethernet and IPv4, little endian.
fn datagrams(bytes: &[u8]) -> usize {
    let (mut count, mut rest) = (0, &bytes[24..]);
    while let Some((record, behind)) = rest.split_at_checked(16) {
        let length = u32::from_le_bytes([record[8], record[9], record[10], record[11]]) as usize;
        let Some((frame, behind)) = behind.split_at_checked(length) else { break };
        rest = behind;
        count += usize::from(frame.get(12..14) == Some(&[8, 0]) && frame.get(23) == Some(&17));
    }
    count
}

/// Programme numbers by the capture's own PATs.
fn programs(bytes: &[u8]) -> Vec<u16> {
    let mut found = Vec::new();
    for at in packet::offsets(bytes) {
        let packet = &bytes[at..at + 188];
        if packet::pid(packet) != 0 || packet[1] & 0x40 == 0 || packet[3] & 0x30 != 0x10 {
            continue;
        }
        let at = 5 + usize::from(packet[4]);
        let Some(header) = packet.get(at..at + 3) else { continue };
        let length = 3 + usize::from(u16::from_be_bytes([header[1] & 0x0f, header[2]]));
        if let Some(section) = packet.get(at..at + length).filter(|section| psi::crc32(section) == 0) {
            found.extend(psi::programs(section).map(|(number, _)| number));
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Cuts a programme, by a plan or by what its own map says. Returns the plan with an anchor for each chunk, but for the
/// first of each timeline, which begins where the capture does.
fn cut(bytes: &[u8], program: u16, plan: Option<&ChunkPlan>) -> (Cut, Option<ChunkPlan>) {
    let select = ProgramSelect::Number(program);
    let mut chunker = match plan {
        Some(plan) => Chunker::new(plan.clone(), select).expect("a legal plan"),
        None => Chunker::discover(MIN_INTERVAL, select).expect("a legal interval"),
    };
    chunker.push(bytes);
    chunker.finish();
    let mut found = Cut::default();
    let mut anchors: Vec<Anchor> = Vec::new();
    let mut timeline = None;
    while let Some(event) = chunker.poll_event() {
        match event {
            ChunkerEvent::Chunk(chunk) => {
                let key = (chunk.timeline.0, chunk.index.0);
                if timeline.replace(key.0) == Some(key.0) && !chunk.dependent {
                    let (timeline, index, pts, digest) = (chunk.timeline, chunk.index, chunk.pts, chunk.opening);
                    anchors.push(Anchor { timeline, index, pts, digest });
                }
                match &chunk.state {
                    ChunkState::Clean(clean) => {
                        found.clean.insert(key, clean.cid);
                    }
                    ChunkState::Withheld(withheld) => {
                        let units = withheld.salvaged.as_deref().map(blake3::hash);
                        found.withheld.insert(key, (withheld.reason.to_string(), units));
                    }
                }
            }
            ChunkerEvent::ProfileMismatch { reason } => found.refused = Some(reason),
            ChunkerEvent::Timeline { .. } | ChunkerEvent::Mark(_) => {}
        }
    }
    if found.clean.is_empty() && found.withheld.is_empty() && found.refused.is_none() {
        found.refused = Some(match chunker.plan() {
            None => format!("no programme map came whole, {} sections have a wrong CRC", chunker.counters().crc_errors),
            Some(_) => format!("no pictures, {} packets are scrambled", chunker.counters().scrambled_packets),
        });
    }
    let plan = chunker.plan().map(|plan| ChunkPlan { anchors, ..plan.clone() });
    (found, plan)
}

#[test]
fn every_capture_is_chunked_or_refused_and_harmless_ways_give_the_same_chunks() {
    let Some(captures) = captures() else { return };
    let (mut compared, mut salvaged) = (0, 0);
    println!("| capture | programme | clean | withheld | refused |\n| --- | --- | --- | --- | --- |");
    for (name, bytes) in &captures {
        if name.ends_with(".pcap") {
            assert_eq!(datagrams(bytes), 0, "{name} could be received");
            println!("| {name} | - | 0 | none | no datagrams in it: its transport stream came over TCP |");
            continue;
        }
        let programs = programs(bytes);
        assert!(!programs.is_empty(), "{name} has no programme association");
        let ways = WAYS.map(|way| apply(bytes, way, 5).bytes);
        for program in programs {
            // Anchors prove the first whole chunk too, as another home's would.
            let plan = cut(bytes, program, None).1;
            let whole = cut(bytes, program, plan.as_ref()).0;
            let (clean, refused) = (whole.clean.len(), whole.refused.as_deref().unwrap_or("-"));
            println!("| {name} | {program} | {clean} | {} | {refused} |", whole.reasons());
            assert!(whole.refused.is_some() != (clean + whole.withheld.len() > 0), "{name}, {program}: neither nor");
            for (way, recipes) in ways.iter().zip(WAYS) {
                let other = cut(way, program, plan.as_ref()).0;
                assert_eq!(other.clean, whole.clean, "{name}, programme {program}, {recipes:?}");
                assert_eq!(other.withheld, whole.withheld, "{name}, programme {program}, {recipes:?}");
            }
            compared += clean;
            salvaged += whole.withheld.values().filter(|(_, units)| units.is_some()).count();
        }
    }
    println!("compared over {} ways: {compared} chunks, and what is clean of {salvaged} withheld ones", WAYS.len());
    assert!(compared >= 8 && salvaged >= 20, "only {compared} chunks and {salvaged} salvaged ones were compared");
}
