//! Laws a to e and h of the canonical form: what every reception of one encode must give, however it was carried.

mod ccf_kit;

use std::collections::BTreeMap;

use ccf_kit::*;

use aftercast_protocol::ccf::{
    Anchor, Chunk, ChunkPlan, ChunkState, Chunker, ProgramSelect, VideoCodec, check_canonical, read_units, write_chunk,
};
use aftercast_protocol::ids::{ChunkCid, ChunkIndex, TimelineId};
use proptest::prelude::*;

/// Every clean chunk of the reference is there and equal.
fn assert_same(name: &str, source: &Packets, changed: &Run) {
    let reference = run_packets(source);
    assert!(reference.clean().len() >= 4, "{name}: the source gives chunks");
    assert_eq!(changed.clean(), reference.clean(), "{name}");
}

#[test]
fn harmless_changes_of_packets_change_no_chunk() {
    for (name, source) in SOURCES {
        let source = packets(source);
        for seed in 0..4 {
            let mut rng = Rng(seed);
            assert_same(name, &source, &run_packets(&stuff_nulls(&source, &mut rng)));
            assert_same(name, &source, &run_packets(&jitter_pcr(&source, &mut rng)));
            assert_same(name, &source, &run_packets(&rephase_counters(&source, &mut rng)));
            assert_same(name, &source, &run_packets(&reorder_across_pids(&source, &mut rng)));
            assert_same(name, &source, &run_packets(&duplicate_some(&source, &mut rng)));
            assert_same(name, &source, &run_packets(&flip_harmless_flags(&source, &mut rng)));
        }
        assert_same(name, &source, &run_packets(&remap_pids(&source)));
        assert_same(name, &source, &run_packets(&bump_pmt_version(&source)));
    }
}

#[test]
fn framing_and_read_sizes_change_no_chunk() {
    for (name, source) in SOURCES {
        let source = packets(source);
        assert_same(name, &source, &run(&frame(&source, 4, 0)));
        assert_same(name, &source, &run(&frame(&source, 0, 16)));
        for piece in [1, 187, 1000] {
            let chunker = Chunker::discover(INTERVAL, ProgramSelect::First).expect("a legal interval");
            assert_same(name, &source, &run_with(chunker, source.as_flattened(), piece));
        }
    }
}

#[test]
fn other_pes_layouts_change_no_chunk() {
    for (name, source) in SOURCES {
        let source = packets(source);
        let pes = pes_of(&source);
        let plain = Layout::default();
        assert_same(name, &source, &run_packets(&mux(&source, &pes, plain)));
        assert_same(name, &source, &run_packets(&mux(&source, &pes, Layout { header_stuffing: 7, ..plain })));
        assert_same(name, &source, &run_packets(&mux(&source, &pes, Layout { video_length: true, ..plain })));
        for add in [false, true] {
            assert_same(
                name,
                &source,
                &run_packets(&mux(&source, &change_delimiters(&pes, codec_of(&source), add), plain)),
            );
        }
        for per_packet in [1, 3, 5] {
            let regrouped = mux(&source, &regroup_audio(&pes, per_packet), plain);
            let (regrouped, reference) = (run_packets(&regrouped).clean(), run_packets(&source).clean());
            // A packet of many frames stands before the pictures it is heard with, so the last may differ in coming.
            assert!(regrouped.len() + 1 >= reference.len(), "{name}: {per_packet} frames a packet");
            assert!(regrouped.iter().all(|(index, cid)| reference.get(index) == Some(cid)), "{name}");
        }
    }
}

#[test]
fn pes_packets_that_begin_anywhere_change_no_chunk() {
    for (name, source) in SOURCES {
        let source = packets(source);
        let (pes, reference) = (pes_of(&source), run_packets(&source).clean());
        for (what, other) in [
            ("pictures in pieces of 100 bytes", spread_pictures(&pes, 100)),
            ("pictures in pieces of 7 bytes", spread_pictures(&pes, 7)),
            ("sound in pieces of 500 bytes", slice_audio(&pes, 500)),
            ("sound in pieces of 61 bytes", slice_audio(&pes, 61)),
        ] {
            let found = run_packets(&mux(&source, &other, Layout::default())).clean();
            // The last of the sound may come too late for the last chunk.
            assert!(found.len() + 1 >= reference.len(), "{name}, {what}: {} of {}", found.len(), reference.len());
            assert!(found.iter().all(|(index, cid)| reference.get(index) == Some(cid)), "{name}, {what}");
        }
    }
}

#[test]
fn dependent_substreams_stay_with_the_frame_they_depend_on() {
    let source = packets(SOURCES[4].1);
    let mut pes = pes_of(&source);
    for one in pes.iter_mut().filter(|one| one.pid == AUDIO) {
        let frames = std::mem::take(&mut one.data);
        for frame in frames.chunks(frame_len(&frames).0) {
            one.data.extend(frame);
            let dependent = one.data.len();
            one.data.extend(frame);
            // Stream type 1, substream 0.
            one.data[dependent + 2] = 0x40 | frame[2] & 7;
        }
    }
    let (plain, doubled) = (run_packets(&source), mux(&source, &pes, Layout::default()));
    let reference = run_packets(&doubled);
    assert_eq!(reference.clean().keys().collect::<Vec<_>>(), plain.clean().keys().collect::<Vec<_>>());
    let audio = |run: &Run| -> Vec<(i64, usize)> {
        let units = run.chunks.iter().filter_map(|chunk| match &chunk.state {
            ChunkState::Clean(clean) => Some(read_units(&clean.bytes).expect("canonical").1),
            ChunkState::Withheld(_) => None,
        });
        units.flatten().filter(|unit| unit.stream == 1).map(|unit| (unit.pts.0, unit.data.len())).collect()
    };
    let twice: Vec<_> = audio(&plain).into_iter().map(|(pts, bytes)| (pts, 2 * bytes)).collect();
    assert_eq!(audio(&reference), twice);
    let layout = Layout { header_stuffing: 9, ..Layout::default() };
    assert_same("with dependent substreams", &doubled, &run_packets(&mux(&source, &pes, layout)));
}

#[test]
fn pictures_of_mpeg_2_without_times_are_timed_by_counting() {
    let source = packets(SOURCES[6].1);
    let pes = pes_of(&source);
    let reference = run_packets(&source).clean();
    for per_packet in [2, 3, 7] {
        let grouped = run_packets(&mux(&source, &group_pictures(&pes, per_packet), Layout::default())).clean();
        // At the end nothing tells when the last I or P picture is shown.
        assert!(
            grouped.len() + 1 >= reference.len(),
            "{per_packet} a packet: {} of {}",
            grouped.len(),
            reference.len()
        );
        assert!(grouped.iter().all(|(index, cid)| reference.get(index) == Some(cid)), "{per_packet} a packet");
    }
}

#[test]
fn a_late_start_costs_only_the_edge() {
    for (name, source) in SOURCES {
        let reference = run(source).clean();
        for cut in [1, 188 * 40 + 3, 188 * 200 + 100, 188 * 301] {
            let late = run(&source[cut..]).clean();
            assert!(late.iter().all(|(index, cid)| reference.get(index) == Some(cid)), "{name}: cut at {cut}");
            let first = late.keys().next().expect("some are left");
            assert_eq!(late.len(), reference.range(first..).count(), "{name}: all after the first");
        }
    }
}

#[test]
fn chunks_made_into_chunks_stay_the_same() {
    for (name, source) in SOURCES {
        let first = run(source);
        let again = run(&first.bytes());
        let mut inner: Vec<_> = first.clean().into_iter().collect();
        inner.pop();
        inner.remove(0);
        assert_eq!(again.clean().into_iter().collect::<Vec<_>>(), inner, "{name}");
        assert_eq!(again.chunker.counters().discontinuities, 0, "{name}: counters close");
    }
}

#[test]
fn units_read_from_a_chunk_make_the_same_chunk() {
    for (_, source) in SOURCES {
        for chunk in run(source).chunks {
            let ChunkState::Clean(clean) = &chunk.state else { continue };
            let (profile, units) = read_units(&clean.bytes).expect("canonical");
            assert_eq!(write_chunk(&profile, &units).as_ref(), Ok(&clean.bytes));
            let index = index_of(&chunk);
            assert_eq!(units.len(), index.units.len());
            for (unit, entry) in units.iter().zip(&index.units) {
                assert_eq!(blake3_16(&unit.data), entry.digest.0);
                let range = entry.start as usize..(entry.start + entry.len) as usize;
                assert!(clean.bytes[range].len().is_multiple_of(P));
            }
            let mut flipped = clean.bytes.clone();
            let at = flipped.len() / 2;
            flipped[at] ^= 1;
            assert!(check_canonical(&clean.bytes).is_ok());
            // A flip inside elementary bytes is canonical still, but another chunk.
            assert!(check_canonical(&flipped).is_err() || flipped != clean.bytes);
        }
    }
}

fn blake3_16(bytes: &[u8]) -> [u8; 16] {
    let digest = aftercast_protocol::ids::ChunkCid::of(bytes).0;
    std::array::from_fn(|at| digest[at])
}

#[test]
fn a_plan_makes_late_receptions_certain_at_once() {
    for (name, source) in SOURCES {
        let reference = run(source);
        // The plan's channel has run for a hundred wraps, of 2^33 / 43,200 = 198,841 cells and a short one each.
        let wraps = 100 * 198_842;
        let anchor = |chunk: &Chunk| Anchor {
            timeline: TimelineId(7),
            index: ChunkIndex(chunk.index.0 + wraps),
            pts: chunk.pts,
            digest: chunk.opening,
        };
        let anchors = reference.chunks.iter().map(anchor).collect();
        let plan = ChunkPlan { anchors, ..reference.chunker.plan().expect("discovered").clone() };
        let late = &source[188 * 100..];
        let planned = run_with(Chunker::new(plan, ProgramSelect::First).expect("a legal plan"), late, 5000);
        let unplanned = run(late);
        assert!(planned.chunks.iter().skip(1).all(|chunk| chunk.timeline == TimelineId(7)), "{name}");
        let expected: Vec<_> = reference.clean().into_iter().map(|(index, cid)| (index + wraps, cid)).collect();
        let found: Vec<_> = planned.clean().into_iter().collect();
        assert!(expected.ends_with(&found), "{name}");
        assert!(found.len() > unplanned.clean().len(), "{name}: {} {}", found.len(), unplanned.clean().len());
    }
}

#[test]
fn a_wrap_of_times_is_crossed() {
    for (name, source) in SOURCES {
        let source = packets(source);
        let pes = pes_of(&source);
        // The wrap comes three seconds into the source.
        let shift = (1 << 33) - pes[0].pts - 270_000;
        let wrapped = run_packets(&mux(&source, &pes, Layout { shift, ..Layout::default() }));
        assert!(wrapped.clean().len() + 1 >= run_packets(&source).clean().len(), "{name}");
        let starts: Vec<_> = wrapped.chunks.iter().map(|chunk| chunk.pts.0).collect();
        assert!(starts.windows(2).any(|pair| pair[1] < pair[0]), "{name}: {starts:?}");
        assert!(wrapped.chunks.windows(2).all(|pair| pair[0].index < pair[1].index), "{name}");
        assert!(wrapped.chunks.iter().all(|chunk| chunk.timeline == TimelineId(0)), "{name}");
    }
}

#[test]
fn with_anchors_a_lost_packet_costs_at_most_the_two_chunks_that_it_bounds() {
    for (name, source) in SOURCES {
        let reference = run(source);
        let plan =
            ChunkPlan { anchors: anchors_of(&reference), ..reference.chunker.plan().expect("discovered").clone() };
        let (source, reference) = (packets(source), reference.clean());
        for lost in (12..source.len()).step_by(3) {
            let mut harmed = source.clone();
            harmed.remove(lost);
            let chunker = Chunker::new(plan.clone(), ProgramSelect::First).expect("a legal plan");
            let left = run_with(chunker, harmed.as_flattened(), 1 << 16).clean();
            assert!(left.iter().all(|(index, cid)| reference.get(index).is_none_or(|known| known == cid)), "{name}");
            let lost_chunks = reference.keys().filter(|index| !left.contains_key(index)).count();
            assert!(lost_chunks <= 2, "{name}: {lost_chunks} chunks lost with packet {lost}");
        }
    }
}

#[test]
fn times_shifted_by_a_remuxer_are_shifted_back_by_two_anchors() {
    for (name, source) in SOURCES {
        let reference = run(source);
        let plan =
            ChunkPlan { anchors: anchors_of(&reference), ..reference.chunker.plan().expect("discovered").clone() };
        let source = packets(source);
        for shift in [1, 12_345, 43_200 * 7 + 11, (1 << 33) - 126_001] {
            let shifted = mux(&source, &pes_of(&source), Layout { shift, ..Layout::default() });
            let chunker = Chunker::new(plan.clone(), ProgramSelect::First).expect("a legal plan");
            let shifted = run_with(chunker, shifted.as_flattened(), 9999).clean();
            assert_eq!(shifted, reference.clean(), "{name} shifted by {shift}");
        }
    }
}

#[test]
fn a_clock_change_is_a_boundary_and_costs_no_chunk() {
    for (name, source) in SOURCES {
        let source = packets(source);
        let codec = codec_of(&source);
        for ticks in [-40_000i64, -30_000_000, 7_000_000] {
            let mut pes = pes_of(&source);
            // Everything from the middle of the source on runs on another clock; the video changes at a key picture.
            let half = (pes.len() / 2..pes.len()).find(|&at| pes[at].pid == VIDEO && is_key(&pes[at].data, codec));
            let half = half.expect("a key picture in the second half");
            let change = pes[half].pts;
            for (at, one) in pes.iter_mut().enumerate() {
                let moved = (one.pid == VIDEO && at >= half) || (one.pid == AUDIO && one.pts >= change);
                let shift = |time: u64| if moved { time.wrapping_add_signed(ticks) & ((1 << 33) - 1) } else { time };
                (one.pts, one.dts) = (shift(one.pts), one.dts.map(shift));
            }
            let plain = run_packets(&mux(&source, &pes, Layout::default()));
            let mut rng = Rng(5);
            let other = mux(&source, &regroup_audio(&pes, 1), Layout { header_stuffing: 3, ..Layout::default() });
            let other = run_packets(&stuff_nulls(&other, &mut rng));
            let clean = |run: &Run| -> Vec<_> {
                let chunks = run.chunks.iter().filter_map(|chunk| match &chunk.state {
                    ChunkState::Clean(clean) => Some((chunk.timeline, chunk.index, clean.cid)),
                    ChunkState::Withheld(_) => None,
                });
                chunks.collect()
            };
            let before_and_after: Vec<_> =
                [0, 1].map(|line| clean(&plain).iter().filter(|c| c.0.0 == line).count()).into();
            assert!(before_and_after.iter().all(|&count| count >= 2), "{name} by {ticks}: {before_and_after:?}");
            let withheld = plain.chunks.len() - clean(&plain).len();
            assert_eq!(
                withheld,
                2,
                "{name} by {ticks}: only the edges: {:?}",
                plain
                    .chunks
                    .iter()
                    .map(|c| (c.timeline, c.pts, c.duration, matches!(c.state, ChunkState::Clean(_))))
                    .collect::<Vec<_>>()
            );
            let (plain, other) = (clean(&plain), clean(&other));
            assert!(
                other.iter().all(|chunk| plain.contains(chunk)) && other.len() + 1 >= plain.len(),
                "{name} by {ticks}"
            );
        }
    }
}

fn codec_of(source: &Packets) -> VideoCodec {
    run_packets(source).chunker.plan().and_then(|plan| plan.profile.video).expect("a video")
}

/// Whether a picture brings what a decoder begins with: a sequence parameter set or sequence header.
fn is_key(data: &[u8], codec: VideoCodec) -> bool {
    data.windows(4).any(|bytes| {
        let is_one = match codec {
            VideoCodec::Avc => bytes[3] & 0x1F == 7,
            VideoCodec::Hevc => bytes[3] >> 1 == 33,
            VideoCodec::Mpeg2 => bytes[3] == 0xB3,
        };
        bytes[..3] == [0, 0, 1] && is_one
    })
}

/// Applies a loss and checks that what is still emitted is right, and that not more than `most` chunks are withheld.
fn assert_harm(name: &str, reference: &BTreeMap<u64, ChunkCid>, harmed: &Packets, most: usize) {
    let harmed = run_packets(harmed).clean();
    assert!(harmed.iter().all(|(index, cid)| reference.get(index) == Some(cid)), "{name}: wrong chunk emitted");
    assert!(reference.len() - harmed.len() <= most, "{name}: {} of {} left", harmed.len(), reference.len());
}

#[test]
fn a_lost_packet_costs_the_chunk_it_is_in_and_nothing_wrong() {
    for (name, source) in SOURCES {
        let source = packets(source);
        let reference = run_packets(&source).clean();
        for lost in (0..source.len()).step_by(3) {
            let mut harmed = source.clone();
            harmed.remove(lost);
            let streams = usize::from(matches!(pid(&source[lost]), VIDEO | AUDIO));
            // The first packet of a random access point takes three with it where no anchors are known: the chunk
            // before has no certain end, and the next no random access point between the hole and its target.
            let most = if lost < 12 { 16 } else { 3 * streams };
            assert_harm(
                &format!("{name} without packet {lost} of pid {:#x}", pid(&source[lost])),
                &reference,
                &harmed,
                most,
            );
        }
    }
}

#[test]
fn transport_errors_and_bursts_cost_what_they_touch() {
    for (name, source) in SOURCES {
        let source = packets(source);
        let reference = run_packets(&source).clean();
        for seed in 0..40 {
            let mut rng = Rng(seed);
            let at = 20 + rng.below(source.len() - 80);
            let mut harmed = source.clone();
            for packet in &mut harmed[at..at + 1 + rng.below(40)] {
                packet[1] |= 0x80;
                packet[2] = 0x55;
            }
            assert_harm(&format!("{name}: errored packets, seed {seed}"), &reference, &harmed, 4);
            let mut harmed = source.clone();
            harmed.drain(at..at + 1 + rng.below(40));
            assert_harm(&format!("{name}: burst, seed {seed}"), &reference, &harmed, 4);
        }
    }
}

#[test]
fn bytes_cut_out_anywhere_give_nothing_wrong() {
    for (name, source) in SOURCES {
        let reference = run(source).clean();
        for seed in 0..150 {
            let mut rng = Rng(seed);
            let at = rng.below(source.len() - 1000);
            let count = 1 + rng.below(187);
            // By chance a byte in sync's place is 0x47: nothing can tell that one.
            if source[at / P * P + P + count] == 0x47 {
                continue;
            }
            let mut harmed = source.to_vec();
            harmed.drain(at..at + count);
            let found = run(&harmed).clean();
            assert!(
                found.iter().all(|(index, cid)| reference.get(index) == Some(cid)),
                "{name}: {count} bytes at {at}"
            );
        }
    }
}

#[test]
fn losing_sixteen_packets_of_a_pid_is_noticed_where_times_show_it() {
    for (name, source) in SOURCES {
        let source = packets(source);
        let reference = run_packets(&source).clean();
        let (mut wrong, mut cases) = (0, 0);
        let video: Vec<_> = (0..source.len()).filter(|&at| pid(&source[at]) == VIDEO).collect();
        for start in (20..video.len() - 20).step_by(7) {
            let gone = &video[start..start + 16];
            let harmed: Packets =
                source.iter().enumerate().filter(|(at, _)| !gone.contains(at)).map(|(_, packet)| *packet).collect();
            let harmed = run_packets(&harmed).clean();
            cases += 1;
            wrong += usize::from(harmed.iter().any(|(index, cid)| reference.get(index) != Some(cid)));
        }
        // Counters cannot show it; only the second subscriber does (DESIGN 6). Times show most of it at this rate.
        assert!(wrong * 4 <= cases, "{name}: {wrong} of {cases}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..20_000), piece in 1usize..5000) {
        let chunker = Chunker::discover(INTERVAL, ProgramSelect::First).expect("a legal interval");
        run_with(chunker, &bytes, piece);
        let _ = read_units(&bytes);
    }

    #[test]
    fn a_source_riddled_with_garbage_never_panics_and_gives_nothing_wrong(seed: u64, flips in 1usize..400) {
        let mut rng = Rng(seed);
        let (_, source) = SOURCES[rng.below(SOURCES.len())];
        let mut bytes = source.to_vec();
        for _ in 0..flips {
            let at = rng.below(bytes.len());
            match rng.below(4) {
                0 => bytes[at] = rng.next() as u8,
                1 => { bytes.drain(at..(at + rng.below(300)).min(bytes.len())); }
                2 => bytes[at / P * P + 4] = rng.next() as u8,
                _ => bytes[at / P * P + 1 + rng.below(3)] = rng.next() as u8,
            }
        }
        run(&bytes);
    }
}
