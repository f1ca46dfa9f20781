//! Access units in the form that CCF 6 gives them.

/// The access unit delimiter that opens every unit.
const DELIMITER: [u8; 6] = [0, 0, 0, 1, 9, 0xF0];
const START_CODE: [u8; 3] = [0, 0, 1];
const NAL_IDR: u8 = 5;
const NAL_DELIMITER: u8 = 9;

/// An access unit with one fixed delimiter, short start codes and no trailing zeros; and whether it is an IDR picture.
pub(super) fn normalise(bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut out = Vec::with_capacity(bytes.len() + DELIMITER.len());
    out.extend_from_slice(&DELIMITER);
    let mut idr = false;
    for nal in nals(bytes) {
        let kind = nal.first().map_or(NAL_DELIMITER, |header| header & 0x1F);
        if kind != NAL_DELIMITER {
            idr |= kind == NAL_IDR;
            out.extend_from_slice(&START_CODE);
            out.extend_from_slice(nal);
        }
    }
    (out, idr)
}

/// What stands between start codes (ISO/IEC 14496-10, annex B), without the zeros around.
fn nals(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = after_start_code(bytes);
    std::iter::from_fn(move || {
        let all = rest?;
        rest = after_start_code(all);
        let len = rest.map_or(all.len(), |next| all.len() - next.len() - START_CODE.len());
        let nal = &all[..len];
        let end = nal.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        Some(&nal[..end])
    })
}

fn after_start_code(bytes: &[u8]) -> Option<&[u8]> {
    let at = bytes.windows(START_CODE.len()).position(|window| window == START_CODE)?;
    bytes.get(at + START_CODE.len()..)
}

#[cfg(test)]
mod tests {
    use super::normalise;

    #[test]
    fn gives_every_unit_one_delimiter_and_short_start_codes() {
        let received = [0, 0, 0, 1, 9, 0x10, 0, 0, 0, 1, 0x67, 1, 2, 0, 0, 0, 1, 0x65, 3, 0, 0];
        let (unit, idr) = normalise(&received);
        assert_eq!(unit, [0, 0, 0, 1, 9, 0xF0, 0, 0, 1, 0x67, 1, 2, 0, 0, 1, 0x65, 3]);
        assert!(idr);
        assert_eq!(normalise(&unit), (unit.clone(), true));
        assert!(!normalise(&[0, 0, 1, 0x41, 9]).1);
        assert_eq!(normalise(&[7, 7]).0, [0, 0, 0, 1, 9, 0xF0]);
    }
}
