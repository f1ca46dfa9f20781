//! Recipes that multiplexers and modulators apply: packets round the content change, the content does not.

use std::collections::{BTreeMap, BTreeSet};

use super::packet::{NULL_PID, PIDS, Packet};
use super::prng::Prng;
use super::psi::{self, Role, Tables};
use super::recipe::Share;

/// Puts null packets between.
pub fn add_nulls(packets: &mut Vec<Packet>, share: Share, prng: &mut Prng) {
    let mut out = Vec::with_capacity(packets.len());
    for packet in packets.drain(..) {
        out.push(packet);
        if prng.chance(share.0) {
            out.push(Packet::null());
        }
    }
    *packets = out;
}

/// Continuity counters of each PID start elsewhere.
pub fn rephase_counters(packets: &mut [Packet], prng: &mut Prng) {
    let phases: Vec<u8> = (0..PIDS).map(|_| prng.below(16) as u8).collect();
    for packet in packets.iter_mut().filter(|packet| packet.pid() != NULL_PID) {
        packet.set_counter(packet.counter() + phases[usize::from(packet.pid())]);
    }
}

/// Random transport priority, random access and stream priority indicators: hints that nobody may rely on.
pub fn shuffle_flags(packets: &mut [Packet], prng: &mut Prng) {
    for packet in packets {
        let random = prng.next() as u8;
        packet.data[1] = packet.data[1] & !0x20 | random & 0x20;
        if let Some(flags) = packet.adaptation_flags() {
            *flags = *flags & !0x60 | (random >> 1) & 0x60;
        }
    }
}

/// Puts sections of foreign tables between, and PAT and PMT sections with a wrong CRC, which must not count.
pub fn si_noise(packets: &mut Vec<Packet>, share: Share, prng: &mut Prng) {
    let tables = Tables::read(packets);
    let present: BTreeSet<u16> = packets.iter().map(Packet::pid).collect();
    let foreign: Vec<u16> = [0x12, 0x14, 0x15, 0x1e].into_iter().filter(|pid| !present.contains(pid)).collect();
    let mut added = vec![0_u8; PIDS];
    let mut out = Vec::with_capacity(packets.len());
    for mut packet in packets.drain(..) {
        let pid = packet.pid();
        let counter = |added: &[u8], packet: &Packet| packet.counter() + added[usize::from(pid)] % 16;
        let whole = packet.starts_unit() && packet.has_payload() && packet.data[packet.payload().start] == 0;
        if tables.role(pid) == Role::Psi && whole && !packet.duplicate && prng.below(4) == 0 {
            let mut bogus = section(if pid == 0 { 0 } else { 2 }, prng);
            let last = bogus.len() - 1;
            bogus[last] ^= 0x55;
            out.push(Packet::section(pid, counter(&added, &packet), true, &bogus));
            added[usize::from(pid)] = (added[usize::from(pid)] + 1) % 16;
        }
        if pid != NULL_PID {
            packet.set_counter(counter(&added, &packet));
        }
        out.push(packet);
        if prng.chance(share.0) && !foreign.is_empty() {
            let pid = foreign[prng.below(foreign.len())];
            let mut noise = section(0x4e, prng);
            if prng.below(2) == 0 {
                noise[9] ^= 0x55;
            }
            out.push(Packet::section(pid, added[usize::from(pid)], true, &noise));
            added[usize::from(pid)] = (added[usize::from(pid)] + 1) % 16;
        }
    }
    *packets = out;
}

/// A pointer field and a long section of random content with its CRC, in one packet.
fn section(table: u8, prng: &mut Prng) -> Vec<u8> {
    let body = 9 + prng.below(160);
    let mut section = vec![table, 0xb0, body as u8];
    section.extend((0..body).map(|_| prng.next() as u8));
    section[5] |= 0x01;
    psi::seal(&mut section);
    section.insert(0, 0);
    section
}

/// Sends packets with payload twice.
pub fn duplicate(packets: &mut Vec<Packet>, share: Share, prng: &mut Prng) {
    // A packet that the source already sends twice must not be sent three times.
    let mut twice = vec![false; packets.len()];
    let mut last = vec![None; PIDS];
    for (index, packet) in packets.iter().enumerate().filter(|(_, packet)| packet.has_payload()) {
        if let Some(before) = last[usize::from(packet.pid())].replace(index)
            && packet.duplicate
        {
            twice[before] = true;
        }
    }
    let mut out = Vec::with_capacity(packets.len());
    for (packet, twice) in packets.drain(..).zip(twice) {
        let eligible = !twice && !packet.duplicate && packet.has_payload() && packet.pid() != NULL_PID;
        out.push(packet);
        if prng.chance(share.0) && eligible {
            let copy = out.last().cloned();
            out.extend(copy.map(|copy| Packet { duplicate: true, ..copy }));
        }
    }
    *packets = out;
}

/// Gives PMTs and elementary streams other PIDs, in the tables too.
pub fn remap_pids(packets: &mut [Packet], prng: &mut Prng) {
    let tables = Tables::read(packets);
    let mut taken: BTreeSet<u16> = packets.iter().map(Packet::pid).collect();
    let mut map = BTreeMap::new();
    for pid in tables.pmts.iter().chain(&tables.order) {
        let free = std::iter::repeat_with(|| 0x20 + prng.below(0x1fff - 0x20) as u16).find(|pid| taken.insert(*pid));
        map.insert(*pid, free.unwrap_or(*pid));
    }
    let replace = |section: &mut [u8], at: usize| {
        if let Some(new) = map.get(&psi::pid_at(section, at)) {
            psi::set_pid_at(section, at, *new);
        }
    };
    psi::for_each_section(packets, 0, |_, section| {
        psi::programs(section).for_each(|(_, at)| replace(section, at));
        section[0] == 0
    });
    for pmt in &tables.pmts {
        psi::for_each_section(packets, *pmt, |_, section| {
            if section[0] == 2 {
                replace(section, 8);
                psi::streams(section).for_each(|at| replace(section, at + 1));
            }
            section[0] == 2
        });
    }
    for packet in packets {
        if let Some(new) = map.get(&packet.pid()) {
            packet.set_pid(*new);
        }
    }
}

/// Sends a copy of the last audio as another one, in a language of its own. `None` where there is none, or no room.
pub fn add_audio(packets: &mut Vec<Packet>) -> Option<()> {
    let tables = Tables::read(packets);
    let last = tables.pids(Role::Audio).last().copied()?;
    let present: BTreeSet<u16> = packets.iter().map(Packet::pid).collect();
    let fresh = (0x1e00..NULL_PID).find(|pid| !present.contains(pid))?;
    rewrite_maps(
        packets,
        &tables,
        |section, entry| {
            let mut copy = section[entry.clone()].to_vec();
            psi::set_pid_at(&mut copy, 1, fresh);
            // ISO 639 language descriptor (2.6.18): "qaa", a local one.
            let language = copy.windows(5).position(|five| five[..2] == [0x0a, 4])?;
            copy[language + 2..language + 5].copy_from_slice(b"qaa");
            let end = section.len() - 4;
            section.splice(end..end, copy);
            Some(())
        },
        last,
    )?;
    let mut out = Vec::with_capacity(packets.len() * 5 / 4);
    for packet in packets.drain(..) {
        let copy = (packet.pid() == last).then(|| packet.clone());
        out.push(packet);
        out.extend(copy.map(|mut copy| {
            copy.set_pid(fresh);
            Packet { duplicate: copy.duplicate, ..Packet::invented(copy.data) }
        }));
    }
    *packets = out;
    Some(())
}

/// Takes the last of several audios out. `None` where there is only one.
pub fn drop_audio(packets: &mut Vec<Packet>) -> Option<()> {
    let tables = Tables::read(packets);
    let audios = tables.pids(Role::Audio);
    let last = audios.last().copied().filter(|_| audios.len() > 1)?;
    rewrite_maps(
        packets,
        &tables,
        |section, entry| {
            section.drain(entry);
            Some(())
        },
        last,
    )?;
    packets.retain(|packet| packet.pid() != last);
    Some(())
}

/// Changes each map that names a stream, by the place of its entry; only maps that lie in one packet, as FFmpeg and most
/// multiplexers write them. `None` where there is no such map, or no room.
fn rewrite_maps(
    packets: &mut [Packet],
    tables: &Tables,
    change: impl Fn(&mut Vec<u8>, std::ops::Range<usize>) -> Option<()>,
    pid: u16,
) -> Option<()> {
    let mut found = None;
    for packet in packets.iter_mut().filter(|packet| tables.pmts.contains(&packet.pid()) && packet.starts_unit()) {
        let payload = packet.payload();
        let at = payload.start + 1 + usize::from(packet.data[payload.start]);
        let length = 3 + usize::from(u16::from_be_bytes([packet.data[at + 1] & 0x0f, packet.data[at + 2]]));
        let mut section = packet.data.get(at..at + length)?.to_vec();
        let entry = psi::streams(&section).find(|entry| psi::pid_at(&section, entry + 1) == pid)?;
        let descriptors = usize::from(u16::from_be_bytes([section[entry + 3] & 0x0f, section[entry + 4]]));
        change(&mut section, entry..entry + 5 + descriptors)?;
        let length = (0xb000 | (section.len() as u16 - 3)).to_be_bytes();
        section[1..3].copy_from_slice(&length);
        psi::seal(&mut section);
        packet.data[at..].fill(0xff);
        packet.data.get_mut(at..at + section.len())?.copy_from_slice(&section);
        found = Some(());
    }
    found
}

/// Raises the version of the PMTs so many times, at random places.
pub fn change_pmt_version(packets: &mut [Packet], times: u32, prng: &mut Prng) {
    let places: Vec<_> = (0..times).map(|_| prng.below(packets.len())).collect();
    for pmt in Tables::read(packets).pmts {
        psi::for_each_section(packets, pmt, |index, section| {
            let raised = places.iter().filter(|place| **place <= index).count() as u8;
            let version = (section[5] >> 1).wrapping_add(raised) & 0x1f;
            section[5] = section[5] & 0xc1 | version << 1;
            section[0] == 2
        });
    }
}

/// Lets packets of different PIDs pass each other within a window. Order inside each PID stays; tables stay in place,
/// so no stream gets ahead of its tables.
pub fn reorder(packets: &mut Vec<Packet>, window: u32, prng: &mut Prng) {
    let tables = Tables::read(packets);
    let mut last = vec![0; PIDS];
    let mut keyed: Vec<(usize, Packet)> = Vec::with_capacity(packets.len());
    for (index, packet) in packets.drain(..).enumerate() {
        let pid = packet.pid();
        let delay = if tables.role(pid) == Role::Psi { 0 } else { prng.below(window as usize + 1) };
        let key = (index + delay).max(last[usize::from(pid)]);
        last[usize::from(pid)] = if pid == NULL_PID { 0 } else { key };
        keyed.push((key, packet));
    }
    keyed.sort_by_key(|(key, _)| *key);
    packets.extend(keyed.into_iter().map(|(_, packet)| packet));
}
