//! An elementary stream with PES packets and holes, as bytes that a fuzzer can change without breaking the rest.
//!
//! ```text
//! record: flags 1, time 2 (big endian), length 2 (big endian), payload
//! ```

/// A PES packet begins.
pub const START: u8 = 1;
/// It has a PTS.
pub const PTS: u8 = 2;
/// It has a DTS beside it.
pub const DTS: u8 = 4;
/// Bytes are missing before the record.
pub const HOLE: u8 = 8;
/// The input is scrambled before it.
pub const SCRAMBLED: u8 = 16;
/// It belongs to the audio (in programmes).
pub const AUDIO: u8 = 32;

/// Ticks that a unit of the time field stands for: with 16 bits it reaches over every bound on steps.
const TICKS: i64 = 30;

/// One stretch of an elementary stream.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    pub flags: u8,
    /// Ticks since the record before; may be negative.
    pub step: i64,
    pub payload: &'a [u8],
}

/// The records of an input; a last one that is cut short keeps what it has.
pub fn records(mut input: &[u8]) -> Vec<Record<'_>> {
    let mut records = Vec::new();
    while let Some((&[flags, time_high, time_low, len_high, len_low], rest)) = input.split_first_chunk::<5>() {
        let len = usize::from(u16::from_be_bytes([len_high, len_low]));
        let (payload, after) = rest.split_at(len.min(rest.len()));
        let step = i64::from(i16::from_be_bytes([time_high, time_low])) * TICKS;
        records.push(Record { flags, step, payload });
        input = after;
    }
    records
}

/// The record as bytes.
pub fn write(flags: u8, step: i64, payload: &[u8]) -> Vec<u8> {
    let step = (step / TICKS).clamp(i64::from(i16::MIN), i64::from(i16::MAX)) as i16;
    let mut out = Vec::new();
    let mut flags = flags;
    let mut step = step;
    // The length has 16 bits.
    for payload in payload.chunks(usize::from(u16::MAX)) {
        out.push(flags);
        out.extend(step.to_be_bytes());
        out.extend((payload.len() as u16).to_be_bytes());
        out.extend(payload);
        (flags, step) = (flags & AUDIO, 0);
    }
    out
}
