//! H.264 syntax as far as pictures must be told apart: parameter sets, slice headers, recovery points.
//!
//! References are to ISO/IEC 14496-10 (H.264).

use std::collections::BTreeMap;

use super::bits::NalBits;

/// Bytes of a slice NAL that always hold the fields read here (all codes at their longest, escapes included).
pub const SLICE_HEAD_BYTES: usize = 48;

#[derive(Debug, Clone, Copy)]
struct Sps {
    separate_planes: bool,
    frame_num_bits: u32,
    order: PicOrder,
    frames_only: bool,
}

#[derive(Debug, Clone, Copy)]
enum PicOrder {
    Lsb { bits: u32 },
    Delta { always_zero: bool },
    Output,
}

#[derive(Debug, Clone, Copy)]
struct Pps {
    sps: u32,
    bottom_field_order: bool,
}

/// Parameter sets seen so far. At most 32 and 256 of them exist by their id's range.
#[derive(Debug, Default)]
pub struct ParameterSets {
    seen: bool,
    sps: BTreeMap<u32, Sps>,
    pps: BTreeMap<u32, Pps>,
}

/// The fields of a slice header by which 7.4.1.2.4 tells pictures apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SliceHead {
    /// `frame_num`.
    pub frame_num: u32,
    /// `Some(bottom)` for a field.
    pub field: Option<bool>,
    /// `idr_pic_id` of an IDR picture.
    pub idr: Option<u32>,
    pps: u32,
    reference: bool,
    order: [i64; 2],
}

impl SliceHead {
    /// Whether a slice with head `next` after this one begins a new primary coded picture (7.4.1.2.4).
    #[must_use]
    pub fn ends_before(&self, next: &Self) -> bool {
        self != next
    }

    /// Whether `next` is the second field of this field's frame (CCF 6).
    #[must_use]
    pub fn pairs_with(&self, next: &Self) -> bool {
        matches!((self.field, next.field), (Some(one), Some(other)) if one != other)
            && self.frame_num == next.frame_num
            && next.idr.is_none()
    }
}

impl ParameterSets {
    /// Forgets all: a damaged set was received, so none can be trusted to be in force.
    pub fn clear(&mut self) {
        self.sps.clear();
        self.pps.clear();
    }

    /// Whether a sequence parameter set was ever seen.
    #[must_use]
    pub fn were_seen(&self) -> bool {
        self.seen
    }

    /// Takes a whole SPS NAL in, header byte included (7.3.2.1.1).
    pub fn take_sps(&mut self, nal: &[u8]) {
        if let Some((id, sps)) = parse_sps(nal) {
            self.sps.insert(id, sps);
            self.seen = true;
        }
    }

    /// Takes a whole PPS NAL in, header byte included (7.3.2.2).
    pub fn take_pps(&mut self, nal: &[u8]) {
        let mut parse = || {
            let mut bits = NalBits::new(nal.get(1..)?);
            let id = bits.ue().filter(|&id| id < 256)?;
            let sps = bits.ue().filter(|&id| id < 32)?;
            let _entropy = bits.bit()?;
            self.pps.insert(id, Pps { sps, bottom_field_order: bits.bit()? })
        };
        parse();
    }

    /// Reads the head of a slice NAL of type 1, 2 or 5 (7.3.3). `None` without its parameter sets or when cut short.
    #[must_use]
    pub fn slice_head(&self, nal: &[u8]) -> Option<SliceHead> {
        let (&header, rest) = nal.split_first()?;
        let mut bits = NalBits::new(rest);
        let _first_macroblock = bits.ue()?;
        let _slice_type = bits.ue()?;
        let pps_id = bits.ue()?;
        let pps = self.pps.get(&pps_id)?;
        let sps = self.sps.get(&pps.sps)?;
        if sps.separate_planes {
            bits.bits(2)?;
        }
        let frame_num = bits.bits(sps.frame_num_bits)?;
        let field = if !sps.frames_only && bits.bit()? { Some(bits.bit()?) } else { None };
        let idr = if header & 0x1F == 5 { Some(bits.ue()?) } else { None };
        let mut order = [0; 2];
        match sps.order {
            PicOrder::Lsb { bits: count } => {
                order[0] = i64::from(bits.bits(count)?);
                if pps.bottom_field_order && field.is_none() {
                    order[1] = bits.se()?;
                }
            }
            PicOrder::Delta { always_zero: false } => {
                order[0] = bits.se()?;
                if pps.bottom_field_order && field.is_none() {
                    order[1] = bits.se()?;
                }
            }
            PicOrder::Delta { always_zero: true } | PicOrder::Output => {}
        }
        Some(SliceHead { frame_num, field, idr, pps: pps_id, reference: header & 0x60 != 0, order })
    }
}

fn parse_sps(nal: &[u8]) -> Option<(u32, Sps)> {
    let mut bits = NalBits::new(nal.get(1..)?);
    let profile = bits.bits(8)?;
    bits.bits(16)?;
    let id = bits.ue().filter(|&id| id < 32)?;
    let mut separate_planes = false;
    if [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135].contains(&profile) {
        let chroma = bits.ue()?;
        if chroma == 3 {
            separate_planes = bits.bit()?;
        }
        bits.ue()?;
        bits.ue()?;
        bits.bit()?;
        if bits.bit()? {
            for list in 0..if chroma == 3 { 12 } else { 8 } {
                if bits.bit()? {
                    skip_scaling_list(&mut bits, if list < 6 { 16 } else { 64 })?;
                }
            }
        }
    }
    let frame_num_bits = bits.ue().filter(|&v| v <= 12)? + 4;
    let order = match bits.ue()? {
        0 => PicOrder::Lsb { bits: bits.ue().filter(|&v| v <= 12)? + 4 },
        1 => {
            let always_zero = bits.bit()?;
            bits.se()?;
            bits.se()?;
            for _ in 0..bits.ue().filter(|&v| v <= 255)? {
                bits.se()?;
            }
            PicOrder::Delta { always_zero }
        }
        2 => PicOrder::Output,
        _ => return None,
    };
    bits.ue()?;
    bits.bit()?;
    bits.ue()?;
    bits.ue()?;
    let frames_only = bits.bit()?;
    Some((id, Sps { separate_planes, frame_num_bits, order, frames_only }))
}

fn skip_scaling_list(bits: &mut NalBits<'_>, size: u32) -> Option<()> {
    let (mut last, mut next) = (8i64, 8i64);
    for _ in 0..size {
        if next != 0 {
            next = (last + bits.se()? + 256).rem_euclid(256);
        }
        last = if next == 0 { last } else { next };
    }
    Some(())
}

/// Whether an SEI NAL, header byte included, holds a recovery point at this very picture: `recovery_frame_cnt` 0
/// (D.2.8). Captures put it after other messages, so the whole list is read (CCF 10).
#[must_use]
pub fn sei_is_recovery_point(nal: &[u8]) -> bool {
    let read = || -> Option<bool> {
        let mut bits = NalBits::new(nal.get(1..)?);
        loop {
            let mut kind = 0u32;
            let mut size = 0u32;
            for field in [&mut kind, &mut size] {
                loop {
                    let byte = bits.bits(8)?;
                    *field = field.saturating_add(byte);
                    if byte != 0xFF {
                        break;
                    }
                }
            }
            if kind == 6 {
                return Some(bits.ue()? == 0);
            }
            for _ in 0..size {
                bits.bits(8)?;
            }
        }
    };
    read().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_recovery_point_behind_another_message() {
        // buffering period (0), 2 bytes; recovery point (6), 1 byte: '1' = 0
        assert!(sei_is_recovery_point(&[6, 0, 2, 0xAA, 0xBB, 6, 1, 0xC4, 0x80]));
        // recovery_frame_cnt 1: '010'
        assert!(!sei_is_recovery_point(&[6, 0, 2, 0xAA, 0xBB, 6, 1, 0x44, 0x80]));
        assert!(!sei_is_recovery_point(&[6, 255]));
    }
}
