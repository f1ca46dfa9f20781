//! Recipes that write PES packets anew: what other multiplexers and remuxers do to the same coded frames.

use super::ImpairError;
use super::audio;
use super::packet::Packet;
use super::pes::{self, Layout, Payload};
use super::prng::Prng;
use super::psi::Role;
use super::source::Source;

/// PES packets over other transport packets: mostly full ones, one in eight with a random payload, down to one byte.
pub fn repacketise(packets: &mut Vec<Packet>, source: &Source, prng: &mut Prng) -> Result<(), ImpairError> {
    for pid in core(source) {
        let units = pes::disassemble(packets, pid)?;
        let mut ask = || if prng.below(8) == 0 { 1 + prng.below(184) } else { 184 };
        pes::assemble(packets, pid, &units, Layout::Asked(&mut ask));
    }
    Ok(())
}

/// Other PES headers round the same elementary stream bytes.
pub fn headers(packets: &mut Vec<Packet>, source: &Source, prng: &mut Prng) -> Result<(), ImpairError> {
    for pid in core(source) {
        let mut units = pes::disassemble(packets, pid)?;
        for unit in &mut units {
            unit.flags = prng.below(16) as u8;
            unit.stuffing = prng.below(21) as u8;
            let private = std::array::from_fn(|_| prng.next() as u8);
            unit.private = (prng.below(4) == 0).then_some(private);
            unit.dts = unit.dts.or(unit.pts.filter(|_| prng.below(2) == 0));
            // Only video may leave its length open (2.4.3.7).
            if source.tables.role(pid) == Role::Video && unit.short == 0 {
                unit.sized = prng.below(2) == 0 && unit.payload.bytes.len() < 65_000;
            }
        }
        pes::assemble(packets, pid, &units, Layout::Full);
    }
    Ok(())
}

/// Audio frames in other groups.
pub fn regroup(packets: &mut Vec<Packet>, source: &Source, most: u32, prng: &mut Prng) -> Result<(), ImpairError> {
    for pid in source.tables.pids(Role::Audio) {
        let units = pes::disassemble(packets, pid)?;
        let kind = source.tables.streams[&pid];
        let units = audio::regroup(&units, kind, most, prng).ok_or(ImpairError::Audio { pid, kind })?;
        pes::assemble(packets, pid, &units, Layout::Full);
    }
    Ok(())
}

/// Access unit delimiters (H.264 7.3.2.4, H.265 7.3.2.5) put before every PES packet without one, or taken out.
pub fn delimiters(packets: &mut Vec<Packet>, source: &Source, add: bool) -> Result<(), ImpairError> {
    for pid in source.tables.pids(Role::Video) {
        let Some(syntax) = Syntax::of(source.tables.streams[&pid]) else { continue };
        let mut units = pes::disassemble(packets, pid)?;
        for unit in units.iter_mut().filter(|unit| !unit.payload.bytes.is_empty()) {
            unit.payload = if add { syntax.with(&unit.payload) } else { syntax.without(&unit.payload) };
            unit.sized = unit.sized && unit.payload.bytes.len() < 65_000;
        }
        pes::assemble(packets, pid, &units, Layout::Full);
    }
    Ok(())
}

fn core(source: &Source) -> Vec<u16> {
    [Role::Video, Role::Audio].into_iter().flat_map(|role| source.tables.pids(role)).collect()
}

/// What an access unit delimiter looks like.
struct Syntax {
    delimiter: &'static [u8],
    is_delimiter: fn(u8) -> bool,
}

impl Syntax {
    /// H.262 has no delimiters.
    fn of(kind: u8) -> Option<Self> {
        match kind {
            0x1b => Some(Self { delimiter: &[0, 0, 0, 1, 9, 0xf0], is_delimiter: |code| code & 0x1f == 9 }),
            0x24 => Some(Self { delimiter: &[0, 0, 0, 1, 0x46, 1, 0x50], is_delimiter: |code| code >> 1 & 0x3f == 35 }),
            _ => None,
        }
    }

    fn with(&self, payload: &Payload) -> Payload {
        if nals(&payload.bytes).first().is_some_and(|(_, code)| (self.is_delimiter)(*code)) {
            return payload.clone();
        }
        let mut changed = Payload::default();
        changed.push(self.delimiter, payload.packet_of(0));
        changed.append(payload, 0..payload.bytes.len());
        changed
    }

    fn without(&self, payload: &Payload) -> Payload {
        let found = nals(&payload.bytes);
        let mut changed = Payload::default();
        changed.append(payload, 0..found.first().map_or(payload.bytes.len(), |(start, _)| *start));
        for (index, (start, code)) in found.iter().enumerate() {
            let end = found.get(index + 1).map_or(payload.bytes.len(), |(next, _)| *next);
            if !(self.is_delimiter)(*code) {
                changed.append(payload, *start..end);
            }
        }
        changed
    }
}

/// Where each NAL unit begins (its start code, with the zero byte before it), and its first byte.
fn nals(bytes: &[u8]) -> Vec<(usize, u8)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at + 3 < bytes.len() {
        if bytes[at..at + 3] == [0, 0, 1] {
            let start = if at > 0 && bytes[at - 1] == 0 { at - 1 } else { at };
            found.push((start, bytes[at + 3]));
            at += 3;
        }
        at += 1;
    }
    found
}
