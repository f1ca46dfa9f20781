//! The source as it was before any recipe: where its packets lie, what they carry, and which time they belong to.

use std::collections::BTreeMap;

use super::packet::{self, PIDS, Packet};
use super::pes;
use super::psi::{Role, Tables};
use crate::media::pace::Pace;

/// What the recipes and the log need to know about the source.
#[derive(Debug)]
pub struct Source {
    /// Byte offset of each packet.
    pub offsets: Vec<usize>,
    /// PID of each packet, and whether it carries payload.
    pub pids: Vec<(u16, bool)>,
    /// Programmes and streams.
    pub tables: Tables,
    /// Per elementary PID, the packets in which PES packets with a PTS begin, and those PTS.
    pub starts: BTreeMap<u16, Vec<(u32, u64)>>,
    /// Media time of byte offsets.
    pub pace: Pace,
}

impl Source {
    /// Reads a recording of 188, 192 or 204 bytes a packet.
    pub fn read(bytes: &[u8]) -> (Source, Vec<Packet>) {
        let offsets = packet::offsets(bytes);
        let mut packets: Vec<_> = offsets
            .iter()
            .enumerate()
            .map(|(index, at)| {
                let mut packet = Packet::null();
                packet.data.copy_from_slice(&bytes[*at..*at + packet::PACKET]);
                packet.origin = index as u32..index as u32 + 1;
                packet.source_pid = packet.pid();
                packet
            })
            .collect();
        mark_duplicates(&mut packets);
        let tables = Tables::read(&mut packets);
        let pids = packets.iter().map(|packet| (packet.pid(), packet.has_payload() && !packet.duplicate)).collect();
        let starts = pes::starts(&packets, &tables);
        (Source { offsets, pids, tables, starts, pace: Pace::from_pcr(bytes) }, packets)
    }

    /// Media time of a packet in microseconds since the source's first byte.
    pub fn time(&self, index: u32) -> u64 {
        self.offsets.get(index as usize).map_or(0, |offset| self.pace.at(*offset as u64))
    }

    /// The PID whose times stand for those of `pid`: itself, or the first video, or the first audio.
    fn clock_pid(&self, pid: u16) -> Option<u16> {
        let others = [Role::Video, Role::Audio].into_iter().flat_map(|role| self.tables.pids(role));
        std::iter::once(pid).chain(others).find(|pid| self.starts.get(pid).is_some_and(|starts| !starts.is_empty()))
    }

    /// PTS of the PES packet that a packet belongs to, and the lowest and highest PTS among it and its neighbours.
    pub fn times(&self, index: u32, pid: u16) -> Option<(u64, (u64, u64))> {
        let starts = &self.starts[&self.clock_pid(pid)?];
        let own = starts.partition_point(|(start, _)| *start <= index).checked_sub(1)?;
        let pts = starts[own].1;
        let near = starts[own.saturating_sub(1)..starts.len().min(own + 2)].iter().map(|(_, near)| apart(*near, pts));
        let (low, high) = near.fold((0, 0), |(low, high), gap| (gap.min(low), gap.max(high)));
        Some((pts, (moved(pts, low), moved(pts, high))))
    }
}

/// `a - b` for 33-bit times, the short way round.
pub fn apart(a: u64, b: u64) -> i64 {
    ((a.wrapping_sub(b) << 31) as i64) >> 31
}

/// A 33-bit time moved.
pub fn moved(pts: u64, by: i64) -> u64 {
    pts.wrapping_add_signed(by) & ((1 << 33) - 1)
}

fn mark_duplicates(packets: &mut [Packet]) {
    let mut last: Vec<Option<usize>> = vec![None; PIDS];
    for index in 0..packets.len() {
        let pid = packets[index].pid();
        if pid == packet::NULL_PID || !packets[index].has_payload() {
            continue;
        }
        let twin = last[usize::from(pid)].map(|last| &packets[last]).is_some_and(|before| {
            let (a, b) = (before.payload(), packets[index].payload());
            before.counter() == packets[index].counter() && before.data[a] == packets[index].data[b]
        });
        // A packet may be sent twice, not three times.
        packets[index].duplicate = twin && last[usize::from(pid)].is_some_and(|before| !packets[before].duplicate);
        last[usize::from(pid)] = Some(index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_of_times_goes_the_short_way_over_the_wrap() {
        assert_eq!(apart(5, (1 << 33) - 5), 10);
        assert_eq!(apart((1 << 33) - 5, 5), -10);
        assert_eq!(moved(5, -10), (1 << 33) - 5);
    }
}
