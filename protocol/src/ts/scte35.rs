//! Splice information (SCTE 35): when a splice is announced for, and how its section follows a shifted clock.

use super::psi::crc32;
use crate::time::{PTS_WRAP, Pts33};

/// `table_id` of a splice information section (SCTE 35, 9.6).
pub const TABLE_ID: u8 = 0xFC;
/// Bytes before the command: header, protocol version, adjustment, tier, command length and type.
const COMMAND_AT: usize = 14;

/// What a section announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cue {
    /// What happens.
    pub kind: CueKind,
    /// When, with the section's adjustment; `None` where it happens at once.
    pub pts: Option<Pts33>,
}

/// What a cue announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CueKind {
    /// `splice_insert` out of the network: a break begins.
    Out,
    /// `splice_insert` into the network: a break ends.
    In,
    /// `time_signal`: its descriptors say what happens.
    TimeSignal,
}

/// The cue of a section whose CRC was checked. `None` where it announces no time: `splice_null`, a cancelled event, an
/// encrypted command, other commands.
#[must_use]
pub fn cue(section: &[u8]) -> Option<Cue> {
    let [TABLE_ID, _, _, _, flags, ..] = *section else { return None };
    if flags & 0x80 != 0 {
        return None;
    }
    let adjustment = adjustment(section)?;
    let command = section.get(COMMAND_AT..section.len().checked_sub(4)?)?;
    let at = |time: Option<u64>| time.map(|time| Pts33((time + adjustment) % PTS_WRAP));
    match *section.get(COMMAND_AT - 1)? {
        0x05 => {
            // splice_event_id, cancel indicator.
            if command.get(4)? & 0x80 != 0 {
                return None;
            }
            let flags = *command.get(5)?;
            let (whole_program, immediate) = (flags & 0x40 != 0, flags & 0x10 != 0);
            let kind = if flags & 0x80 != 0 { CueKind::Out } else { CueKind::In };
            // Where components are spliced one by one, the first tells: component_count and component_tag before it.
            let time = if whole_program { command.get(6..) } else { command.get(8..) };
            let pts = if immediate { None } else { at(time.and_then(splice_time)) };
            Some(Cue { kind, pts })
        }
        0x06 => Some(Cue { kind: CueKind::TimeSignal, pts: at(splice_time(command)) }),
        _ => None,
    }
}

/// `splice_time()` (SCTE 35, 9.8.1): 33 bits where it is specified.
fn splice_time(bytes: &[u8]) -> Option<u64> {
    let [first, b, c, d, e, ..] = *bytes else { return None };
    let low = u64::from(u32::from_be_bytes([b, c, d, e]));
    (first & 0x80 != 0).then_some(u64::from(first & 1) << 32 | low)
}

/// `pts_adjustment`.
fn adjustment(section: &[u8]) -> Option<u64> {
    let bytes = section.get(4..9)?;
    Some(bytes.iter().fold(0, |value, &byte| value << 8 | u64::from(byte)) & (PTS_WRAP - 1))
}

/// Moves the times of a section by so many ticks: what `pts_adjustment` is there for (SCTE 35, 9.6.1). Does nothing to
/// what is no splice information section.
pub fn shift(section: &mut [u8], ticks: i64) {
    let Some(before) = adjustment(section).filter(|_| section.first() == Some(&TABLE_ID) && ticks != 0) else { return };
    let wrap = PTS_WRAP as i64;
    let after = (before as i64 + ticks.rem_euclid(wrap)).rem_euclid(wrap) as u64;
    let Some(body) = section.len().checked_sub(4) else { return };
    if body < COMMAND_AT {
        return;
    }
    section[4] = section[4] & 0xFE | (after >> 32) as u8 & 1;
    section[5..9].copy_from_slice(&(after as u32).to_be_bytes());
    let crc = crc32(&section[..body]);
    section[body..].copy_from_slice(&crc.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(adjustment: u64, command: u8, body: &[u8]) -> Vec<u8> {
        let len = (COMMAND_AT - 3 + body.len() + 2 + 4) as u16;
        let mut bytes = vec![TABLE_ID];
        bytes.extend((0x3000 | len).to_be_bytes());
        bytes.push(0);
        bytes.extend(&adjustment.to_be_bytes()[3..]);
        bytes.extend([0, 0xFF, 0xF0, body.len() as u8, command]);
        bytes.extend(body);
        bytes.extend([0, 0]);
        bytes.extend(crc32(&bytes).to_be_bytes());
        bytes
    }

    fn insert(flags: u8, time: &[u8]) -> Vec<u8> {
        [&[0, 0, 0, 7, 0x7F, flags][..], time, &[0, 1, 0, 0]].concat()
    }

    #[test]
    fn a_cue_is_at_its_time_with_the_adjustment_over_the_wrap() {
        let time = [0xFF, 0xFF, 0xFF, 0xFF, 0xFE];
        let out = cue(&section(5, 0x05, &insert(0xCF, &time)));
        assert_eq!(out, Some(Cue { kind: CueKind::Out, pts: Some(Pts33(3)) }));
        let back = cue(&section(0, 0x05, &insert(0x4F, &[0xFE, 0, 0, 0, 9])));
        assert_eq!(back, Some(Cue { kind: CueKind::In, pts: Some(Pts33(9)) }));
        let signal = cue(&section(1, 0x06, &[0xFE, 0, 0, 1, 0]));
        assert_eq!(signal, Some(Cue { kind: CueKind::TimeSignal, pts: Some(Pts33(257)) }));
        let now = cue(&section(5, 0x05, &insert(0xDF, &[])));
        assert_eq!(now, Some(Cue { kind: CueKind::Out, pts: None }));
        let component = cue(&section(0, 0x05, &insert(0x8F, &[1, 0x55, 0xFE, 0, 0, 0, 8])));
        assert_eq!(component, Some(Cue { kind: CueKind::Out, pts: Some(Pts33(8)) }));
    }

    #[test]
    fn null_cancelled_and_encrypted_commands_announce_nothing() {
        assert_eq!(cue(&section(0, 0x00, &[])), None);
        assert_eq!(cue(&section(0, 0x05, &[0, 0, 0, 7, 0xFF])), None);
        let mut encrypted = section(0, 0x06, &[0xFE, 0, 0, 1, 0]);
        encrypted[4] |= 0x80;
        assert_eq!(cue(&encrypted), None);
    }

    #[test]
    fn a_shifted_section_keeps_its_crc_and_moves_its_time() {
        let mut moved = section(3, 0x06, &[0xFE, 0, 0, 1, 0]);
        shift(&mut moved, -10);
        assert_eq!(crc32(&moved), 0);
        assert_eq!(cue(&moved).and_then(|cue| cue.pts), Some(Pts33(249)));
        shift(&mut moved, 10);
        assert_eq!(moved, section(3, 0x06, &[0xFE, 0, 0, 1, 0]));
    }

    #[test]
    fn no_cut_of_a_section_panics() {
        let whole = section(3, 0x05, &insert(0x8F, &[1, 0x55, 0xFE, 0, 0, 0, 8]));
        for len in 0..whole.len() {
            let mut cut = whole[..len].to_vec();
            let _ = cue(&cut);
            shift(&mut cut, 77);
        }
    }
}
