//! Coded pictures of H.264, H.265 and H.262.

use std::collections::BTreeMap;

use super::bits::Bits;
use super::{Pes, Runs, Start, join};

/// A picture as a chunk has it (CCF 6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    pub pts: Option<u64>,
    pub dts: Option<u64>,
    pub data: Vec<u8>,
    pub key: bool,
}

/// Start codes of a run: where each begins, and where what is behind it ends (zeros before the next left out).
fn elements(bytes: &[u8]) -> Vec<(usize, usize)> {
    let codes: Vec<usize> = (0..bytes.len().saturating_sub(2)).filter(|at| bytes[*at..*at + 3] == [0, 0, 1]).collect();
    let ends = codes.iter().skip(1).copied().chain([bytes.len()]);
    codes.iter().copied().zip(ends).collect()
}

fn without_zeros(mut nal: &[u8]) -> &[u8] {
    while let [front @ .., 0] = nal {
        nal = front;
    }
    nal
}

/// Times of the PES packet in which a position lies, unless the unit before began in it too.
fn times(starts: &[Start], at: usize, before: Option<usize>) -> (Option<u64>, Option<u64>) {
    let Some(pes) = starts.iter().rev().find(|start| start.0 <= at) else { return (None, None) };
    match before {
        Some(before) if before >= pes.0 => (None, None),
        _ => (pes.1, pes.2.or(pes.1)),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sps {
    frame_num_bits: usize,
    frames_only: bool,
    separate_planes: bool,
    order_type: u64,
    order_bits: usize,
    delta_always_zero: bool,
}

/// H.264 7.3.2.1.1.
fn sps(nal: &[u8]) -> Option<(u64, Sps)> {
    let mut b = Bits::of_nal(&nal[1..]);
    let profile = b.u(8)?;
    b.u(16)?;
    let id = b.ue()?;
    let mut separate_planes = false;
    if [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135].contains(&profile) {
        let format = b.ue()?;
        separate_planes = format == 3 && b.flag()?;
        b.ue()?;
        b.ue()?;
        b.flag()?;
        if b.flag()? {
            for list in 0..if format == 3 { 12 } else { 8 } {
                if b.flag()? {
                    let (mut last, mut next) = (8i64, 8i64);
                    for _ in 0..if list < 6 { 16 } else { 64 } {
                        if next != 0 {
                            next = (last + b.se()? + 256) % 256;
                        }
                        last = if next == 0 { last } else { next };
                    }
                }
            }
        }
    }
    let frame_num_bits = b.ue()? as usize + 4;
    let order_type = b.ue()?;
    let (mut order_bits, mut delta_always_zero) = (0, false);
    if order_type == 0 {
        order_bits = b.ue()? as usize + 4;
    } else if order_type == 1 {
        delta_always_zero = b.flag()?;
        b.se()?;
        b.se()?;
        for _ in 0..b.ue()? {
            b.se()?;
        }
    }
    b.ue()?;
    b.flag()?;
    b.ue()?;
    b.ue()?;
    let frames_only = b.flag()?;
    Some((id, Sps { frame_num_bits, frames_only, separate_planes, order_type, order_bits, delta_always_zero }))
}

/// Fields of a slice header that 7.4.1.2.4 compares.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Slice {
    frame_num: u64,
    pps: u64,
    field: bool,
    bottom: bool,
    reference: bool,
    idr: Option<u64>,
    order: Vec<i64>,
}

/// H.264 7.3.3. `pps` gives the SPS and whether bottom field orders are present.
fn slice(nal: &[u8], sps: &BTreeMap<u64, Sps>, pps: &BTreeMap<u64, (u64, bool)>) -> Option<Slice> {
    let mut b = Bits::of_nal(&nal[1..nal.len().min(80)]);
    b.ue()?;
    b.ue()?;
    let id = b.ue()?;
    let (of, bottom_order) = *pps.get(&id)?;
    let sps = sps.get(&of)?;
    if sps.separate_planes {
        b.u(2)?;
    }
    let frame_num = b.u(sps.frame_num_bits)?;
    let field = !sps.frames_only && b.flag()?;
    let bottom = field && b.flag()?;
    let idr = if nal[0] & 0x1F == 5 { Some(b.ue()?) } else { None };
    let mut order = Vec::new();
    if sps.order_type == 0 {
        order.push(b.u(sps.order_bits)? as i64);
        if bottom_order && !field {
            order.push(b.se()?);
        }
    } else if sps.order_type == 1 && !sps.delta_always_zero {
        order.push(b.se()?);
        if bottom_order && !field {
            order.push(b.se()?);
        }
    }
    Some(Slice { frame_num, pps: id, field, bottom, reference: nal[0] >> 5 & 3 != 0, idr, order })
}

/// Whether an SEI NAL unit has a recovery point with recovery_frame_cnt 0 anywhere in its list (7.3.2.3, D.1.8).
fn recovers(nal: &[u8]) -> bool {
    let mut b = Bits::of_nal(&nal[1..]);
    let mut read = || -> Option<bool> {
        loop {
            let mut number = || -> Option<u64> {
                let mut sum = 0;
                loop {
                    let byte = b.u(8)?;
                    sum += byte;
                    if byte != 255 {
                        return Some(sum);
                    }
                }
            };
            let (kind, size) = (number()?, number()?);
            if kind == 6 {
                return Some(b.ue()? == 0);
            }
            for _ in 0..size {
                b.u(8)?;
            }
        }
    };
    read() == Some(true)
}

/// H.264 access units, two fields of a frame as one.
pub fn avc(runs: &Runs) -> Vec<Vec<Picture>> {
    let (mut sets, mut maps) = (BTreeMap::new(), BTreeMap::new());
    runs.iter().map(|run| avc_run(run, &mut sets, &mut maps)).collect()
}

fn avc_run(run: &[Pes], sets: &mut BTreeMap<u64, Sps>, maps: &mut BTreeMap<u64, (u64, bool)>) -> Vec<Picture> {
    let (bytes, starts) = join(run);
    // First question: at which start codes does a picture begin? A unit begins at the first of what belongs before it.
    let mut units: Vec<(usize, Option<Slice>)> = Vec::new();
    let (mut opened, mut last): (Option<usize>, Option<Slice>) = (None, None);
    let mut in_picture = false;
    let mut second_fields = Vec::new();
    for (at, end) in elements(&bytes) {
        let nal = without_zeros(&bytes[at + 3..end]);
        let Some(kind) = nal.first().map(|byte| byte & 0x1F) else { continue };
        match kind {
            7 => {
                let _ = sps(nal).map(|(id, set)| sets.insert(id, set));
            }
            8 => {
                let mut b = Bits::of_nal(&nal[1..]);
                let read = b.ue().zip(b.ue()).zip(b.flag().zip(b.flag()));
                let _ = read.map(|((id, of), (_, bottom))| maps.insert(id, (of, bottom)));
            }
            _ => {}
        }
        if matches!(kind, 6..=9 | 14..=18) && in_picture {
            (in_picture, opened) = (false, Some(at));
        } else if matches!(kind, 6..=9 | 14..=18) {
            opened = opened.or(Some(at));
        }
        if !matches!(kind, 1 | 2 | 5) {
            continue;
        }
        let head = slice(nal, sets, maps);
        let is_new = last.is_none() || head.is_none() || last != head;
        let pair = last.as_ref().zip(head.as_ref()).is_some_and(|(one, other)| {
            one.field
                && other.field
                && one.bottom != other.bottom
                && one.frame_num == other.frame_num
                && other.idr.is_none()
        });
        if is_new && pair && second_fields.last() != Some(&units.len()) {
            second_fields.push(units.len());
        } else if is_new || units.is_empty() {
            units.push((opened.unwrap_or(at), head.clone()));
        }
        (opened, in_picture, last) = (None, true, head);
    }
    // Second: bytes and times of each. The last has no proven end.
    let ends: Vec<usize> = units.iter().skip(1).map(|unit| unit.0).collect();
    let mut pictures = Vec::new();
    for (number, (&(from, _), &to)) in units.iter().zip(&ends).enumerate() {
        let mut data = vec![0, 0, 0, 1, 9, 0xF0];
        let mut key = false;
        for (at, end) in elements(&bytes[..to]).into_iter().filter(|(at, _)| *at >= from) {
            let nal = without_zeros(&bytes[at + 3..end]);
            let kind = nal.first().map_or(9, |byte| byte & 0x1F);
            if kind != 9 {
                data.extend([0, 0, 1]);
                data.extend(nal);
            }
            key |= kind == 5 || (kind == 6 && recovers(nal));
        }
        let before = number.checked_sub(1).map(|before| last_begin(&bytes, &units, &second_fields, before));
        let (pts, dts) = times(&starts, from, before);
        pictures.push(Picture { pts, dts, data, key });
    }
    pictures
}

/// Where the last that has times of a unit begins: its second field, if it has one.
fn last_begin(bytes: &[u8], units: &[(usize, Option<Slice>)], second_fields: &[usize], unit: usize) -> usize {
    let from = units[unit].0;
    if !second_fields.contains(&(unit + 1)) {
        return from;
    }
    let to = units.get(unit + 1).map_or(bytes.len(), |next| next.0);
    let slices = elements(&bytes[..to]).into_iter().filter(|(at, _)| *at >= from);
    slices.filter(|(at, _)| matches!(bytes[at + 3] & 0x1F, 1 | 5)).map(|(at, _)| at).next_back().unwrap_or(from)
}

/// H.265 access units (7.4.2.4.4).
pub fn hevc(runs: &Runs) -> Vec<Vec<Picture>> {
    runs.iter().map(|run| hevc_run(run)).collect()
}

fn hevc_run(run: &[Pes]) -> Vec<Picture> {
    let (bytes, starts) = join(run);
    let mut begins = Vec::new();
    let (mut opened, mut in_picture) = (None, false);
    for (at, _) in elements(&bytes) {
        let Some(&[header, layer, first]) = bytes.get(at + 3..at + 6) else { continue };
        let kind = header >> 1 & 0x3F;
        if header & 1 != 0 || layer >> 3 != 0 {
            continue;
        }
        if matches!(kind, 32..=35 | 39 | 41..=44 | 48..=55) {
            opened = if in_picture { Some(at) } else { opened.or(Some(at)) };
            in_picture = false;
        } else if kind < 32 {
            if first & 0x80 != 0 {
                begins.push(opened.unwrap_or(at));
            }
            (opened, in_picture) = (None, true);
        }
    }
    let mut pictures = Vec::new();
    for (number, pair) in begins.windows(2).enumerate() {
        let mut data = vec![0, 0, 0, 1, 0x46, 1, 0x50];
        let mut key = false;
        for (at, end) in elements(&bytes[..pair[1]]).into_iter().filter(|(at, _)| *at >= pair[0]) {
            let nal = without_zeros(&bytes[at + 3..end]);
            let kind = nal.first().map_or(35, |byte| byte >> 1 & 0x3F);
            if kind != 35 {
                data.extend([0, 0, 1]);
                data.extend(nal);
            }
            key |= (16..=21).contains(&kind);
        }
        let (pts, dts) = times(&starts, pair[0], number.checked_sub(1).map(|before| begins[before]));
        pictures.push(Picture { pts, dts, data, key });
    }
    pictures
}

/// One coded picture of H.262 before times are filled in.
struct Coded {
    from: usize,
    code: usize,
    kind: u8,
    fields: u64,
    structure: u8,
    reference: u64,
    sequence: bool,
    second: Option<usize>,
}

/// H.262 pictures, two fields of a frame as one, with times filled in (CCF 6).
pub fn mpeg2(runs: &Runs) -> Vec<Vec<Picture>> {
    // What a sequence header says holds over a hole.
    let mut rate = None;
    runs.iter().map(|run| mpeg2_run(run, &mut rate)).collect()
}

/// Frames in so many seconds, whether progressive, whether low_delay.
type Rate = (u64, u64, bool, bool);

fn mpeg2_run(run: &[Pes], rate: &mut Option<Rate>) -> Vec<Picture> {
    const RATES: [(u64, u64); 8] =
        [(24_000, 1001), (24, 1), (25, 1), (30_000, 1001), (30, 1), (50, 1), (60_000, 1001), (60, 1)];
    let (bytes, starts) = join(run);
    let mut coded: Vec<Coded> = Vec::new();
    let mut rates: Vec<Option<Rate>> = Vec::new();
    let (mut opened, mut sequence) = (None, false);
    for (at, end) in elements(&bytes).into_iter().filter(|(at, end)| end - at > 4) {
        let content = &bytes[at + 4..end];
        let mut b = Bits::new(&content[..content.len().min(16)]);
        match bytes[at + 3] {
            0xB3 if content.len() > 3 => {
                let (count, seconds) = RATES[usize::from(content[3] & 15).clamp(1, 8) - 1];
                *rate = Some((count, seconds, true, false));
                (opened, sequence) = (opened.or(Some(at)), true);
            }
            0xB8 => opened = opened.or(Some(at)),
            0xB5 if content[0] >> 4 == 1 && content.len() > 5 => {
                let (n, d) = (u64::from(content[5] >> 5 & 3), u64::from(content[5] & 31));
                *rate = rate.map(|(count, seconds, ..)| {
                    (count * (n + 1), seconds * (d + 1), content[1] & 8 != 0, content[5] & 0x80 != 0)
                });
            }
            0xB5 if content[0] >> 4 == 8 && content.len() > 3 => {
                let Some(picture) = coded.last_mut() else { continue };
                picture.structure = content[2] & 3;
                let (top, repeat) = (content[3] & 0x80 != 0, content[3] & 2 != 0);
                picture.fields = match (picture.structure, rate.is_some_and(|rate| rate.2), repeat) {
                    (1 | 2, ..) => 1,
                    (_, _, false) => 2,
                    (_, false, true) => 3,
                    (_, true, true) => 4 + 2 * u64::from(top),
                };
            }
            0 => {
                let (reference, kind) = (b.u(10).unwrap_or(0), b.u(3).unwrap_or(0) as u8);
                let from = opened.take().unwrap_or(at);
                let picture =
                    Coded { from, code: at, kind, fields: 2, structure: 3, reference, sequence, second: None };
                coded.push(picture);
                rates.push(*rate);
                sequence = false;
            }
            _ => {}
        }
    }
    // Two fields of opposite parity are one unit.
    let mut units: Vec<(Coded, Option<Rate>)> = Vec::new();
    for (picture, rate) in coded.into_iter().zip(rates) {
        match units.last_mut() {
            Some((first, _))
                if first.second.is_none()
                    && first.structure + picture.structure == 3
                    && picture.structure != 0
                    && first.structure != 0
                    && picture.from == picture.code
                    && first.reference == picture.reference =>
            {
                (first.second, first.fields) = (Some(picture.code), 2);
            }
            _ => units.push((picture, rate)),
        }
    }
    let mut pictures: Vec<Picture> = Vec::new();
    let mut count: Option<(u64, u64, Rate)> = None;
    for (number, (unit, rate)) in units.iter().enumerate() {
        let before = number.checked_sub(1).map(|before| units[before].0.second.unwrap_or(units[before].0.code));
        let (pts, mut dts) = times(&starts, unit.code, before);
        if let (None, Some((from, fields, rate))) = (dts, count) {
            dts = Some((from + fields * 90_000 * rate.1 / (2 * rate.0)) % (1 << 33));
        } else {
            count = dts.zip(*rate).map(|(dts, rate)| (dts, 0, rate));
        }
        count = count.map(|(from, fields, rate)| (from, fields + unit.fields, rate));
        let end = units.get(number + 1).map_or(bytes.len(), |next| next.0.from);
        let data = bytes[unit.from..end].to_vec();
        pictures.push(Picture { pts, dts, data, key: unit.sequence && unit.kind == 1 });
    }
    // Presentation times that were not received.
    for number in 0..pictures.len() {
        if pictures[number].pts.is_some() {
            continue;
        }
        let low_delay = units[number].1.is_some_and(|rate| rate.3);
        let next = (number + 1..pictures.len()).find(|next| units[*next].0.kind != 3);
        pictures[number].pts = match (units[number].0.kind, next) {
            _ if low_delay => pictures[number].dts,
            (3, _) => pictures[number].dts,
            (_, Some(next)) => pictures[next].dts,
            (_, None) => None,
        };
    }
    // The last has no proven end.
    pictures.pop();
    pictures
}
