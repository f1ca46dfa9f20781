//! Video: NAL units and start codes to pictures. The input is a script.

use aftercast_protocol::time::Pts33;
use aftercast_protocol::ts::avc::{ParameterSets, SliceHead, sei_is_recovery_point};
use aftercast_protocol::ts::pes::PesTimes;
use aftercast_protocol::ts::video::{HoleCause, VideoUnit, VideoUnits};

use super::pieces::pieces;
use super::script::{DTS, HOLE, PTS, Record, SCRAMBLED, START, records};
use super::sources::{VIDEO, script};

/// The longest delimiter that opens a unit.
const DELIMITER_BYTES: usize = 7;

pub fn avc(input: &[u8]) {
    check(input, || VideoUnits::avc(false));
    check(input, || VideoUnits::avc(true));
    // The parsers behind it, on every record as a NAL unit.
    let mut sets = ParameterSets::default();
    let mut before: Option<SliceHead> = None;
    for record in records(input) {
        sets.take_sps(record.payload);
        sets.take_pps(record.payload);
        let _ = sei_is_recovery_point(record.payload);
        let head = sets.slice_head(record.payload);
        if let (Some(one), Some(other)) = (before, head) {
            assert!(!(one == other && one.ends_before(&other)));
            assert!(!(one == other && one.pairs_with(&other)), "two fields alike are no frame");
        }
        before = head;
    }
}

pub fn hevc(input: &[u8]) {
    check(input, || VideoUnits::hevc(false));
    check(input, || VideoUnits::hevc(true));
}

pub fn mpeg2(input: &[u8]) {
    check(input, VideoUnits::mpeg2);
}

pub fn avc_seeds() -> Vec<Vec<u8>> {
    ["avc-aac", "avc-mp2", "avc-field"].map(|name| script(name, VIDEO)).to_vec()
}

pub fn hevc_seeds() -> Vec<Vec<u8>> {
    vec![script("hevc-aac", VIDEO)]
}

pub fn mpeg2_seeds() -> Vec<Vec<u8>> {
    vec![script("mpeg2-mp2", VIDEO)]
}

/// Units of a script.
fn units(mut units: VideoUnits, records: &[Record<'_>], cut: bool) -> Vec<VideoUnit> {
    let mut out = Vec::new();
    let mut time = 0;
    for record in records {
        let start = record.flags & START != 0;
        if record.flags & (HOLE | SCRAMBLED) != 0 {
            units.hole(start, if record.flags & HOLE != 0 { HoleCause::Loss } else { HoleCause::Scrambled });
        }
        time += record.step;
        let stamp = |flag| (record.flags & flag == flag).then_some(Pts33((time as u64) & ((1 << 33) - 1)));
        if start {
            units.pes_start(PesTimes { pts: stamp(PTS), dts: stamp(PTS | DTS) });
        }
        if cut {
            pieces(record.payload, 11).for_each(|piece| units.push(piece));
        } else {
            units.push(record.payload);
        }
        out.extend(std::iter::from_fn(|| units.poll()));
    }
    units.finish();
    out.extend(std::iter::from_fn(|| units.poll()));
    out
}

fn check(input: &[u8], splitter: impl Fn() -> VideoUnits) {
    let records = records(input);
    let whole = units(splitter(), &records, false);
    let cut = units(splitter(), &records, true);
    for (number, (one, other)) in whole.iter().zip(&cut).enumerate() {
        assert_eq!(one, other, "unit {number} is the same however payloads are cut");
    }
    assert_eq!(whole.len(), cut.len(), "as many units however payloads are cut");
    let bytes: usize = whole.iter().map(|unit| unit.data.len()).sum();
    let given: usize = records.iter().map(|record| record.payload.len()).sum();
    assert!(bytes <= given + DELIMITER_BYTES * whole.len(), "no byte out of nowhere");

    // Clean units, sent as they were written, are the same units (law d). The last is never proven.
    let Some(from) = whole.iter().position(|unit| unit.rap && unit.dirty.is_none()) else { return };
    let stretch = whole[from..].iter().take_while(|unit| unit.dirty.is_none() && unit.after_hole.is_none());
    let stretch: Vec<&VideoUnit> = whole[from..from + 1].iter().chain(stretch.skip(1)).collect();
    let again: Vec<Record<'_>> =
        stretch.iter().map(|unit| Record { flags: START | PTS, step: 3_600, payload: &unit.data }).collect();
    let again = units(splitter(), &again, false);
    for (one, other) in stretch.iter().zip(&again).take(stretch.len() - 1) {
        if other.dirty.is_some() {
            // Its parameter sets stand before the stretch.
            break;
        }
        let (one, other) = ((one.rap, &one.data), (other.rap, &other.data));
        assert_eq!(one, other, "a unit read again is the same");
    }
}
