//! Audio: bytes to frames. The input is a script.

use aftercast_protocol::time::{MediaTime, Pts33};
use aftercast_protocol::ts::audio::{AudioFrame, AudioFrames, Framing};
use aftercast_protocol::ts::video::HoleCause;

use super::pieces::pieces;
use super::script::{HOLE, PTS, Record, SCRAMBLED, START, records};
use super::sources::{AUDIO, script};

pub fn mpeg(input: &[u8]) {
    check(input, Framing::Mpeg);
}
pub fn adts(input: &[u8]) {
    check(input, Framing::Adts);
}
pub fn latm(input: &[u8]) {
    check(input, Framing::Latm);
}
pub fn ac3(input: &[u8]) {
    check(input, Framing::Ac3);
}
pub fn eac3(input: &[u8]) {
    check(input, Framing::Eac3);
}

pub fn mpeg_seeds() -> Vec<Vec<u8>> {
    vec![script("avc-mp2", AUDIO)]
}
pub fn adts_seeds() -> Vec<Vec<u8>> {
    vec![script("avc-aac", AUDIO)]
}
pub fn latm_seeds() -> Vec<Vec<u8>> {
    vec![script("avc-latm", AUDIO)]
}
pub fn ac3_seeds() -> Vec<Vec<u8>> {
    vec![script("avc-field", AUDIO)]
}
pub fn eac3_seeds() -> Vec<Vec<u8>> {
    vec![script("avc-eac3", AUDIO), script("avc-field", AUDIO)]
}

/// Frames of a script, each with its bytes.
fn frames(framing: Framing, records: &[Record<'_>], cut: bool) -> Vec<(AudioFrame, Vec<u8>)> {
    let mut frames = AudioFrames::new(framing);
    let mut out: Vec<(AudioFrame, Vec<u8>)> = Vec::new();
    let mut time = 1 << 32;
    for record in records {
        if record.flags & (HOLE | SCRAMBLED) != 0 {
            frames.hole(if record.flags & HOLE != 0 { HoleCause::Loss } else { HoleCause::Scrambled });
        }
        time += record.step;
        if record.flags & START != 0 {
            let has = record.flags & PTS != 0;
            frames.pes_start(has.then_some(Pts33((time as u64) & ((1 << 33) - 1))));
        }
        if cut {
            pieces(record.payload, 13).for_each(|piece| frames.push(piece, MediaTime(time)));
        } else {
            frames.push(record.payload, MediaTime(time));
        }
        while let Some(frame) = frames.poll() {
            let bytes = frames.bytes(frame.at, frame.at + frame.header.bytes as u64).to_vec();
            frames.forget(frame.at);
            out.push((frame, bytes));
        }
    }
    out
}

fn check(input: &[u8], framing: Framing) {
    let records = records(input);
    let whole = frames(framing, &records, false);
    assert_eq!(whole, frames(framing, &records, true), "the same however payloads are cut");
    let mut end = 0;
    for (frame, bytes) in &whole {
        assert!(frame.at >= end, "frames do not overlap");
        assert_eq!(bytes.len(), frame.header.bytes, "all of a frame is there");
        assert!(frame.header.rate > 0 && frame.header.samples > 0);
        end = frame.at + frame.header.bytes as u64;
    }
    let given: usize = records.iter().map(|record| record.payload.len()).sum();
    assert!(end <= given as u64);

    // Frames that follow one another are the same frames when they come as one packet (law d). The last has nothing
    // behind it; LATM may begin with a frame that refers to one before.
    if framing == Framing::Latm || whole.is_empty() {
        return;
    }
    let run = whole.windows(2).take_while(|pair| {
        pair[1].0.at == pair[0].0.at + pair[0].0.header.bytes as u64 && pair[1].0.gap.is_none() && !pair[1].0.jump
    });
    let run = &whole[..=run.count()];
    let joined: Vec<u8> = run.iter().flat_map(|(_, bytes)| bytes).copied().collect();
    let again = frames(framing, &[Record { flags: START | PTS, step: 0, payload: &joined }], false);
    for ((one, bytes), (other, again)) in run.iter().zip(&again) {
        assert_eq!((one.header, bytes), (other.header, again), "a frame read again is the same");
    }
}
