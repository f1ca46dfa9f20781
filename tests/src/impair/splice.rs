//! Regional insertion: another programme's pictures and sound in the place of a programme's own, for some receivers.

use super::ImpairError;
use super::audio;
use super::packet::Packet;
use super::pes::{self, Layout, Payload, Pes};
use super::prng::Prng;
use super::psi::{Role, Tables};
use super::source::{Source, apart};

/// Where an insertion begins and ends: PTS of two random access points of the programme, the first of which is one of
/// the inserted programme too.
#[derive(Debug, Clone, Copy)]
pub struct Insertion {
    /// First picture that is replaced.
    pub from: u64,
    /// First picture that is the programme's own again.
    pub to: u64,
}

/// Puts `other` in the place of `main` for a while, as a splicer does that works on whole pictures and audio frames.
/// Both have the same streams, clock and frame times.
///
/// # Errors
/// Programmes that cannot be taken apart.
pub fn insert(main: &[u8], other: &[u8], insertion: Insertion) -> Result<Vec<u8>, ImpairError> {
    let (source, mut packets) = Source::read(main);
    let (other_source, other_packets) = Source::read(other);
    let lead = source.tables.pids(Role::Video).first().copied().ok_or(ImpairError::NoVideo)?;
    for role in [Role::Video, Role::Audio] {
        for (pid, other_pid) in source.tables.pids(role).into_iter().zip(other_source.tables.pids(role)) {
            let own = taken_apart(&packets, &source.tables, pid)?;
            let inserted = taken_apart(&other_packets, &other_source.tables, other_pid)?;
            let units =
                if pid == lead { pictures(own, &inserted, insertion) } else { sound(own, &inserted, insertion) };
            pes::assemble(&mut packets, pid, &units, Layout::Full);
            // Each stream is taken apart by its packets' places anew.
            packets.iter_mut().enumerate().for_each(|(at, packet)| packet.origin = at as u32..at as u32 + 1);
        }
    }
    Ok(packets.iter().flat_map(|packet| packet.data).collect())
}

/// PES packets, of audio with one frame each.
fn taken_apart(packets: &[Packet], tables: &Tables, pid: u16) -> Result<Vec<Pes>, ImpairError> {
    let units = pes::disassemble(packets, pid)?;
    let kind = tables.streams[&pid];
    match tables.role(pid) {
        Role::Audio => {
            audio::regroup(&units, kind, 1, &mut Prng::new(0, "splice")).ok_or(ImpairError::Audio { pid, kind })
        }
        _ => Ok(units),
    }
}

/// In decode order: own pictures to the first place, inserted ones from there to as many as are replaced, own ones.
fn pictures(own: Vec<Pes>, inserted: &[Pes], insertion: Insertion) -> Vec<Pes> {
    let at = |units: &[Pes], pts: u64| units.iter().position(|unit| unit.pts == Some(pts)).unwrap_or(units.len());
    let (from, to) = (at(&own, insertion.from), at(&own, insertion.to));
    let start = at(inserted, insertion.from);
    let mut new = inserted[start..(start + to - from).min(inserted.len())].to_vec();
    for (unit, replaced) in new.iter_mut().zip(&own[from..to]) {
        // Decoding goes on in step, whatever the order of the inserted pictures.
        let step = replaced.dts.or(replaced.pts);
        unit.dts = step.filter(|step| unit.pts.is_some_and(|pts| apart(pts, *step) > 0));
    }
    replace(own, from..to, &new)
}

fn sound(own: Vec<Pes>, inserted: &[Pes], insertion: Insertion) -> Vec<Pes> {
    let inside = |units: &[Pes]| {
        let first = |pts: u64| units.iter().position(|unit| unit.pts.is_some_and(|own| apart(own, pts) >= 0));
        first(insertion.from).unwrap_or(units.len())..first(insertion.to).unwrap_or(units.len())
    };
    let (range, other) = (inside(&own), inside(inserted));
    replace(own, range, &inserted[other])
}

/// Replaces units; each new one lies in the packets of the one that it replaces.
fn replace(mut own: Vec<Pes>, range: std::ops::Range<usize>, new: &[Pes]) -> Vec<Pes> {
    let places: Vec<u32> =
        own[range.clone()].iter().map(|unit| unit.payload.packet_of(unit.payload.bytes.len())).collect();
    let moved = new.iter().enumerate().map(|(number, unit)| {
        let place = places.get(number).or(places.last()).copied().unwrap_or_default();
        let mut payload = Payload::default();
        payload.push(&unit.payload.bytes, place);
        Pes { payload, ..unit.clone() }
    });
    own.splice(range, moved.collect::<Vec<_>>());
    own
}
