//! Recipes of the way through the air: what is lost, torn, marked or falsified.

use super::packet::{Fate, PACKET, Packet};
use super::prng::Prng;
use super::psi::{Role, Tables};
use super::recipe::Share;
use super::source::Source;

/// Loses a share of all packets in bursts of geometric length: a Gilbert-Elliott channel with a loss-free good state,
/// conditioned on its total so that short recordings meet the rate too.
pub fn lose(packets: &mut [Packet], rate: Share, burst: u32, prng: &mut Prng) {
    let total = (packets.len() as u64 * u64::from(rate.0)).div_ceil(1_000_000) as usize;
    let mut bursts = Vec::new();
    let mut left = total;
    while left > 0 {
        let length = prng.geometric(burst).min(left);
        bursts.push(length);
        left -= length;
    }
    // Each burst begins after a random number of the packets that arrive.
    let mut places: Vec<_> = bursts.iter().map(|_| prng.below(packets.len() - total + 1)).collect();
    places.sort_unstable();
    let mut before = 0;
    for (place, length) in places.into_iter().zip(bursts) {
        packets[place + before..][..length].iter_mut().for_each(|packet| packet.fate = Fate::Lost);
        before += length;
    }
}

/// Loses, tears or falsifies a number of video and audio packets.
pub fn harm_core(packets: &mut [Packet], source: &Source, count: u32, fate: Fate, prng: &mut Prng) {
    let core: Vec<_> = (0..packets.len())
        .filter(|index| {
            let packet = &packets[*index];
            let role = source.tables.role(packet.source_pid);
            matches!(role, Role::Video | Role::Audio) && packet.has_payload() && packet.fate == Fate::Kept
        })
        .collect();
    for _ in 0..count.min(core.len() as u32) {
        let packet = &mut packets[core[prng.below(core.len())]];
        packet.fate = match fate {
            Fate::Truncated(_) => Fate::Truncated(1 + prng.below(PACKET - 1) as u8),
            fate => fate,
        };
        if fate == Fate::Flipped {
            let payload = packet.payload();
            packet.data[payload.start + prng.below(payload.len())] ^= 1 << prng.below(8);
        }
    }
}

/// Loses exactly 16 payload packets of the first video PID in a row, with their duplicates: counters cannot tell.
pub fn lose_sixteen(packets: &mut [Packet], source: &Source, count: u32, prng: &mut Prng) {
    let Some(video) = source.tables.pids(Role::Video).first().copied() else { return };
    let own: Vec<_> = (0..packets.len())
        .filter(|index| packets[*index].source_pid == video && packets[*index].has_payload())
        .collect();
    for _ in 0..count {
        // A run beside other harm would not be of 16; a few tries find a free place in any sane recording.
        for _ in 0..1_000 {
            let Some(first) = own.len().checked_sub(64).filter(|room| *room > 0).map(|room| 1 + prng.below(room))
            else {
                return;
            };
            let mut end = first;
            let mut taken = 0;
            while taken < 16 || own.get(end).is_some_and(|index| packets[*index].duplicate) {
                let Some(index) = own.get(end) else { return };
                taken += u32::from(!packets[*index].duplicate);
                end += 1;
            }
            let free = own[first - 1..(end + 1).min(own.len())].iter().all(|index| packets[*index].fate == Fate::Kept);
            if free && !packets[own[first]].duplicate {
                own[first..end].iter().for_each(|index| packets[*index].fate = Fate::Lost);
                break;
            }
        }
    }
}

/// Marks a share of all packets as erroneous, changes some of their bits, and of every second the PID.
pub fn mark_errors(packets: &mut [Packet], rate: Share, prng: &mut Prng) {
    let pids: Vec<_> = Tables::read(packets).order;
    for packet in packets.iter_mut() {
        if !prng.chance(rate.0) || packet.fate != Fate::Kept {
            continue;
        }
        packet.fate = Fate::Tei;
        packet.data[1] |= 0x80;
        let payload = packet.payload();
        for _ in 0..if payload.is_empty() { 0 } else { 8 } {
            packet.data[payload.start + prng.below(payload.len())] ^= 1 << prng.below(8);
        }
        if prng.below(2) == 0 && !pids.is_empty() {
            packet.set_pid(pids[prng.below(pids.len())]);
        }
    }
}
