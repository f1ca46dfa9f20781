//! Coded pictures, as far as evidence needs them: which of them a decoder can begin at, and how many bytes tell so.
//! Slow and obvious: a NAL unit or start code at a time, from the beginning of a PES packet that holds one picture.

/// Whether a picture is a random access point (CCF 10), by stream type.
pub fn is_random_access(bytes: &[u8], kind: u8) -> bool {
    match kind {
        0x1b => nals(bytes).any(|nal| nal[0] & 0x1f == 5 || (nal[0] & 0x1f == 6 && is_recovery_point(&nal[1..]))),
        0x24 => nals(bytes).any(|nal| (16..=21).contains(&(nal[0] >> 1 & 0x3f))),
        0x01 | 0x02 => {
            let sequence = nals(bytes).any(|element| element[0] == 0xb3);
            // temporal_reference takes ten bits, picture_coding_type the three behind it; 1 is I.
            sequence
                && nals(bytes).any(|element| element[0] == 0 && element.get(2).is_some_and(|byte| byte >> 3 & 7 == 1))
        }
        _ => false,
    }
}

/// Bytes of a picture within which it is told to be one, and which.
pub fn head(bytes: &[u8], kind: u8) -> usize {
    // An H.264 slice header ends within so many bytes; H.265 has a flag in the first one behind the NAL header; the
    // H.262 picture header is known whole at the start code behind it.
    let (is_slice, reach): (fn(u8) -> bool, usize) = match kind {
        0x24 => (|code| code >> 1 & 0x3f < 32, 4),
        0x01 | 0x02 => (|code| code == 0, 16),
        _ => (|code| matches!(code & 0x1f, 1 | 2 | 5), 49),
    };
    let slice = bytes.windows(4).position(|four| four[..3] == [0, 0, 1] && is_slice(four[3]));
    slice.map_or(bytes.len(), |slice| slice + 3 + reach).min(bytes.len().saturating_sub(1))
}

/// What stands between start codes, at least a byte each.
fn nals(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut starts = Vec::new();
    let mut at = 0;
    while at + 3 < bytes.len() {
        if bytes[at..at + 3] == [0, 0, 1] {
            starts.push(at + 3);
            at += 3;
        } else {
            at += 1;
        }
    }
    let ends: Vec<_> = starts.iter().skip(1).map(|next| next - 3).chain([bytes.len()]).collect();
    starts.into_iter().zip(ends).filter(|(start, end)| start < end).map(|(start, end)| &bytes[start..end])
}

/// Whether an SEI (H.264 7.3.2.3) has a recovery point message (D.1.8) with recovery_frame_cnt 0.
fn is_recovery_point(body: &[u8]) -> bool {
    let mut plain = Vec::with_capacity(body.len());
    for byte in body {
        // 00 00 03 stands for 00 00 (7.4.1.1).
        if *byte == 3 && plain.ends_with(&[0, 0]) {
            continue;
        }
        plain.push(*byte);
    }
    let mut rest = &plain[..];
    loop {
        let mut numbers = [0_usize; 2];
        for number in &mut numbers {
            while let [0xff, more @ ..] = rest {
                *number += 255;
                rest = more;
            }
            let [last, more @ ..] = rest else { return false };
            *number += usize::from(*last);
            rest = more;
        }
        let [kind, size] = numbers;
        if rest.len() < size {
            return false;
        }
        // ue(v) of 0 is a single one.
        if kind == 6 && size > 0 {
            return rest[0] & 0x80 != 0;
        }
        rest = &rest[size..];
        if rest.len() < 2 {
            return false;
        }
    }
}
