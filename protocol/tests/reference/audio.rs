//! Frames of MPEG audio, AAC, AC-3 and E-AC-3, and the groups that a chunk makes of them (CCF 7).

use super::bits::Bits;
use super::{Pes, Runs, digest, join};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    Mpeg,
    Adts,
    Latm,
    Ac3,
    Eac3,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub pts: i64,
    pub data: Vec<u8>,
    pub samples: i64,
    pub rate: i64,
}

const AAC_RATES: [i64; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
const AC3_RATES: [i64; 3] = [48_000, 44_100, 32_000];

/// Bytes, samples and rate by the header at the front.
fn header(codec: Codec, bytes: &[u8], latm: &mut Option<(i64, i64)>) -> Option<(usize, i64, i64)> {
    if bytes.len() < 8 {
        return None;
    }
    let mut b = Bits::new(&bytes[..bytes.len().min(64)]);
    match codec {
        Codec::Mpeg => mpeg(&mut b),
        Codec::Adts => {
            // ISO/IEC 13818-7, 6.2.
            (b.u(12)? == 0xFFF).then_some(())?;
            b.u(1)?;
            (b.u(2)? == 0).then_some(())?;
            b.u(3)?;
            let rate = *AAC_RATES.get(b.u(4)? as usize)?;
            b.u(8)?;
            let length = b.u(13)? as usize;
            b.u(11)?;
            Some((length, 1024 * (b.u(2)? as i64 + 1), rate)).filter(|_| length > 7)
        }
        Codec::Latm => {
            (b.u(11)? == 0x2B7).then_some(())?;
            let length = 3 + b.u(13)? as usize;
            if !b.flag()? {
                *latm = Some(mux_config(&mut b)?);
            }
            let (samples, rate) = (*latm)?;
            Some((length, samples, rate))
        }
        Codec::Ac3 | Codec::Eac3 => {
            let (length, samples, rate, ..) = ac3(&mut b)?;
            Some((length, samples, rate))
        }
    }
}

/// ISO/IEC 11172-3, 2.4.1.3; 13818-3, 2.4.2.3.
fn mpeg(b: &mut Bits) -> Option<(usize, i64, i64)> {
    const V1: [[i64; 14]; 3] = [
        [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
        [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
        [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    ];
    const V2: [[i64; 14]; 2] = [
        [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
        [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
    ];
    (b.u(12)? == 0xFFF).then_some(())?;
    let first_version = b.flag()?;
    let layer = match b.u(2)? {
        3 => 1,
        2 => 2,
        1 => 3,
        _ => return None,
    };
    b.flag()?;
    let bitrate = b.u(4)? as usize;
    let bitrate =
        if first_version { V1[layer - 1] } else { V2[usize::from(layer > 1)] }.get(bitrate.checked_sub(1)?).copied()?;
    let rate = *[44_100, 48_000, 32_000].get(b.u(2)? as usize)? / if first_version { 1 } else { 2 };
    let padding = i64::from(b.flag()?);
    let (length, samples) = match (layer, first_version) {
        (1, _) => ((12_000 * bitrate / rate + padding) * 4, 384),
        (3, false) => (72_000 * bitrate / rate + padding, 576),
        _ => (144_000 * bitrate / rate + padding, 1152),
    };
    Some((length as usize, samples, rate))
}

/// `StreamMuxConfig` of one program and layer (ISO/IEC 14496-3, 1.7.3): samples of a frame and their rate.
fn mux_config(b: &mut Bits) -> Option<(i64, i64)> {
    (!b.flag()?).then_some(())?;
    b.flag()?;
    let frames = b.u(6)? as i64 + 1;
    b.u(7)?;
    // AudioSpecificConfig (1.6.2.1) of a plain object type.
    let kind = b.u(5)?;
    let rate = *AAC_RATES.get(b.u(4)? as usize)?;
    b.u(4)?;
    if kind == 5 || kind == 29 {
        b.u(4)?;
        b.u(5)?;
    }
    Some((frames * if b.flag()? { 960 } else { 1024 }, rate))
}

/// ETSI TS 102 366, 4.4.1 and E.1.2.2: bytes, samples, rate, and whether the frame opens an access unit.
fn ac3(b: &mut Bits) -> Option<(usize, i64, i64, bool)> {
    const KBITS: [usize; 19] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640];
    (b.u(16)? == 0x0B77).then_some(())?;
    let start = [b.u(8)?, b.u(8)?, b.u(8)?, b.u(8)?];
    if start[3] >> 3 > 10 {
        let (kind, substream) = (start[0] >> 6, start[0] >> 3 & 7);
        let length = 2 * ((start[0] & 7) * 256 + start[1] + 1) as usize;
        let (rate, blocks) = match (start[2] >> 6, start[2] >> 4 & 3) {
            (3, half) => (AC3_RATES.get(half as usize)? / 2, 6),
            (full, blocks) => (AC3_RATES[full as usize], [1, 2, 3, 6][blocks as usize]),
        };
        return Some((length, 256 * blocks, rate, kind != 1 && substream == 0)).filter(|_| kind != 3);
    }
    let (rate, size) = (*AC3_RATES.get((start[2] >> 6) as usize)?, (start[2] & 63) as usize);
    let kbits = *KBITS.get(size / 2)?;
    let words = match rate {
        48_000 => 2 * kbits,
        32_000 => 3 * kbits,
        _ => kbits * 96_000 / 44_100 + size % 2,
    };
    Some((2 * words, 1536, rate, true))
}

/// Bytes of the access unit at `at`: of E-AC-3 all substreams up to the next independent frame 0.
fn unit(codec: Codec, bytes: &[u8], at: usize, latm: &mut Option<(i64, i64)>) -> Option<(usize, i64, i64)> {
    let (mut length, samples, rate) = header(codec, &bytes[at..], latm)?;
    if codec == Codec::Eac3 {
        ac3(&mut Bits::new(&bytes[at..at + 8]))?.3.then_some(())?;
        loop {
            let next = bytes.get(at + length..at + length + 8)?;
            let (more, _, _, opens) = ac3(&mut Bits::new(next))?;
            if opens {
                break;
            }
            length += more;
        }
    }
    (at + length <= bytes.len()).then_some((length, samples, rate))
}

/// floor((2·n·samples·90000 + rate) / (2·rate)).
fn after(n: i64, samples: i64, rate: i64) -> i64 {
    (2 * n * samples * 90_000 + rate) / (2 * rate)
}

/// Frames of each run; those before the first time are left out.
pub fn frames(codec: Codec, runs: &Runs) -> Vec<Vec<Frame>> {
    let mut latm = None;
    runs.iter().map(|run| frames_of(codec, run, &mut latm)).collect()
}

fn frames_of(codec: Codec, run: &[Pes], latm: &mut Option<(i64, i64)>) -> Vec<Frame> {
    let (bytes, starts) = join(run);
    // First question: where are frames?
    let mut found = Vec::new();
    let (mut at, mut synced) = (0, false);
    while at < bytes.len() {
        let here = unit(codec, &bytes, at, latm);
        let confirmed = synced
            || here.is_some_and(|(length, _, rate)| {
                let next = bytes.get(at + length..).and_then(|rest| header(codec, rest, &mut latm.clone()));
                next.is_some_and(|next| next.2 == rate)
            });
        match here.filter(|_| confirmed) {
            Some((length, samples, rate)) => {
                found.push((at, length, samples, rate));
                (at, synced) = (at + length, true);
            }
            None => (at, synced) = (at + 1, false),
        }
    }
    // Second: their times.
    let mut frames: Vec<Frame> = Vec::new();
    let (mut base, mut count, mut claimed): (Option<i64>, i64, Option<usize>) = (None, 0, None);
    for (at, length, samples, rate) in found {
        let pes = starts.iter().rposition(|start| start.0 <= at);
        let pes = pes.and_then(|last| (0..=last).rev().find(|pes| starts[*pes].1.is_some()));
        if let Some(own) = pes.filter(|own| claimed != Some(*own)) {
            (base, count, claimed) = (starts[own].1.map(|pts| pts as i64), 0, Some(own));
        }
        if let Some(base) = base {
            let pts = base + after(count, samples, rate);
            frames.push(Frame { pts, data: bytes[at..at + length].to_vec(), samples, rate });
            count += 1;
        }
    }
    frames
}

/// The groups of a chunk from `pts` on, each with its PTS from the chunk's and the digest of its bytes.
pub fn groups(frames: &[Frame], pts: i64, duration: i64, grid: i64) -> Vec<(i64, [u8; 16])> {
    let own: Vec<&Frame> = frames.iter().filter(|frame| (pts..pts + duration).contains(&frame.pts)).collect();
    let mut times: Vec<i64> = own.iter().map(|frame| frame.pts - pts).collect();
    if let Some(first) = own.first().filter(|first| first.samples * 90_000 % first.rate != 0) {
        // Everything times the rate, so that nothing is rounded.
        let (samples, rate) = (first.samples, first.rate);
        let off: Vec<i64> = times.iter().zip(0..).map(|(time, n)| time * rate - n * samples * 90_000).collect();
        let mut sorted = off.clone();
        sorted.sort_unstable();
        let median = sorted[sorted.len() / 2];
        if off.iter().all(|one| (one - median).abs() <= 90 * rate) {
            let origin = 90 * (median + 2 * rate).div_euclid(90 * rate).max(0);
            times = (0..).take(times.len()).map(|n| origin + after(n, samples, rate)).collect();
        }
    }
    let mut groups: Vec<(i64, i64, Vec<u8>)> = Vec::new();
    for (time, frame) in times.into_iter().zip(own) {
        let cell = time.div_euclid(grid);
        match groups.last_mut().filter(|group| group.0 == cell) {
            Some(group) => group.2.extend(&frame.data),
            None => groups.push((cell, time, frame.data.clone())),
        }
    }
    groups.into_iter().map(|(_, time, data)| (time, digest(&data))).collect()
}
