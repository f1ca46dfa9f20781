//! Radio: programmes without pictures, cut at the frames of their first audio.

mod ccf_kit;

use std::collections::BTreeMap;

use ccf_kit::*;

use aftercast_protocol::ccf::{AudioCodec, Chunk, ChunkPlan, Chunker, ProgramSelect, check_canonical};
use aftercast_protocol::ids::{ChunkCid, TimelineId};

fn anchored(reference: &Run, bytes: &[u8]) -> Run {
    let plan = ChunkPlan { anchors: anchors_of(reference), ..reference.chunker.plan().expect("discovered").clone() };
    run_with(Chunker::new(plan, ProgramSelect::First).expect("a legal plan"), bytes, 777)
}

#[test]
fn a_radio_programme_is_cut_at_the_first_frame_of_each_cell() {
    for ((name, source), codec) in RADIO.into_iter().zip([AudioCodec::Mpeg, AudioCodec::AacAdts]) {
        let run = run(source);
        let plan = run.chunker.plan().expect("discovered");
        assert_eq!((plan.profile.video, plan.profile.audio[0].codec, plan.profile.audio_grid.0), (None, codec, 7200));
        assert!(run.clean().len() >= 14, "{name}: {}", run.clean().len());
        let frame = if codec == AudioCodec::Mpeg { 2160 } else { 2090 };
        assert!(run.chunks.iter().skip(1).all(|chunk| chunk.pts.0 % INTERVAL.0 as u64 <= frame), "{name}");
        for clean in run.chunks.iter().filter_map(clean_of) {
            assert!(check_canonical(&clean.bytes).is_ok(), "{name}");
        }
    }
}

#[test]
fn harmless_changes_change_no_chunk_of_radio() {
    for (name, source) in RADIO {
        let reference = run(source).clean();
        let source = packets(source);
        for seed in 0..4 {
            let mut rng = Rng(seed);
            for changed in [
                stuff_nulls(&source, &mut rng),
                jitter_pcr(&source, &mut rng),
                rephase_counters(&source, &mut rng),
                duplicate_some(&source, &mut rng),
                flip_harmless_flags(&source, &mut rng),
                remap_pids(&source),
                bump_pmt_version(&source),
                mux(&source, &pes_of(&source), Layout { header_stuffing: 7, ..Layout::default() }),
            ] {
                assert_eq!(run_packets(&changed).clean(), reference, "{name}, seed {seed}");
            }
        }
    }
}

#[test]
fn other_groupings_of_frames_change_no_chunk_of_radio() {
    // At 44.1 kHz a tick of rounding may move the opening frame's time (CCF 7).
    let (_, source) = RADIO[0];
    let reference = run(source).clean();
    let source = packets(source);
    for per_packet in [1, 3, 6] {
        let regrouped = run_packets(&mux(&source, &regroup_audio(&pes_of(&source), per_packet), Layout::default()));
        assert_eq!(regrouped.clean(), reference, "{per_packet} a packet");
    }
}

/// Every clean chunk is right, and at most so many are missing.
fn assert_left(name: &str, reference: &BTreeMap<u64, ChunkCid>, found: &BTreeMap<u64, ChunkCid>, missing: usize) {
    assert!(found.iter().all(|(index, cid)| reference.get(index).is_none_or(|known| known == cid)), "{name}: wrong");
    let lost = reference.keys().filter(|index| !found.contains_key(index)).count();
    assert!(lost <= missing, "{name}: {lost} missing");
}

#[test]
fn a_lost_packet_costs_at_most_two_chunks_of_radio() {
    for (name, source) in RADIO {
        let reference = run(source);
        let all = packets(source);
        for lost in 0..all.len() {
            let mut harmed = all.clone();
            harmed.remove(lost);
            let most = if pid(&all[lost]) == AUDIO { 2 } else { 0 };
            let most = if lost < 6 { reference.clean().len() } else { most };
            assert_left(&format!("{name} without {lost}"), &reference.clean(), &run_packets(&harmed).clean(), most);
            let planned = anchored(&reference, harmed.as_flattened()).clean();
            assert_left(&format!("{name} without {lost}, planned"), &reference.clean(), &planned, most.max(2));
        }
    }
}

#[test]
fn a_late_start_costs_only_the_edge_of_radio() {
    for (name, source) in RADIO {
        let reference = run(source).clean();
        for cut in [P * 7, P * 40 + 100, P * 100 + 1] {
            let late = run(&source[cut..]).clean();
            let first = late.keys().next().expect("some are left");
            assert_left(name, &reference, &late, reference.range(..first).count());
        }
    }
}

#[test]
fn chunks_of_radio_made_into_chunks_stay_the_same() {
    for (name, source) in RADIO {
        let first = run(source);
        let again = run(&first.bytes());
        let inner: Vec<_> = first.clean().into_iter().collect();
        assert_eq!(again.clean().into_iter().collect::<Vec<_>>(), inner[1..inner.len() - 1], "{name}");
        assert_eq!(again.chunker.counters().discontinuities, 0, "{name}: counters close");
    }
}

#[test]
fn a_clock_change_of_radio_begins_a_timeline() {
    let source = packets(RADIO[0].1);
    for ticks in [-40_000i64, 7_000_000] {
        let mut pes = pes_of(&source);
        let half = pes.len() / 2;
        for one in &mut pes[half..] {
            one.pts = one.pts.wrapping_add_signed(ticks);
        }
        let changed = run_packets(&mux(&source, &pes, Layout::default()));
        let withheld: Vec<_> = changed.chunks.iter().filter(|chunk| clean_of(chunk).is_none()).collect();
        assert_eq!(withheld.len(), 2, "by {ticks}: only the edges of the input");
        assert_eq!(changed.chunks.last().map(|chunk: &Chunk| chunk.timeline), Some(TimelineId(1)), "by {ticks}");
    }
}

/// How many chunks, and the CID of all of them joined.
const GOLDEN: [(&str, usize, &str); 2] = [
    ("radio-mp2", 16, "bafkr4ig3hazazwvkhwqlbkwhgxahmlbgkfu56i3sthktldk5cppw2hj3xq"),
    ("radio-aac", 16, "bafkr4igh6vg6ine2eppvndxkx3rr3n7h5kgz374szw6udhkgfox6p7hm2q"),
];

#[test]
fn radio_gives_the_chunks_it_always_gave() {
    let found: Vec<_> = RADIO
        .iter()
        .map(|(name, source)| {
            let run = run(source);
            (*name, run.clean().len(), ChunkCid::of(&run.bytes()).to_string())
        })
        .collect();
    let found: Vec<_> = found.iter().map(|(name, count, cid)| (*name, *count, &cid[..])).collect();
    assert_eq!(found, GOLDEN);
}
