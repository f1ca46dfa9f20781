//! Recipes that move clocks.

use super::ImpairError;
use super::log::{DamageLog, Shift};
use super::packet::Packet;
use super::pes;
use super::prng::Prng;
use super::psi::{Role, Tables};
use super::recipe::Ticks;
use super::source::{Source, apart, moved};

/// Moves every clock of the stream from a packet on: PCR, PTS, DTS.
pub fn shift(packets: &mut [Packet], log: &mut DamageLog, source: &Source, from: usize, by: i64) {
    // The tables have to be read now: PIDs may have changed since the source.
    let tables = Tables::read(packets);
    pes::move_times(packets, &tables, from, by);
    move_references(&mut packets[from..], |_| by * 300);
    record(log, source, packets.get(from).map_or(0, |packet| packet.origin.start), from == 0, by);
}

/// Notes a clock shift from a source packet on; `whole` for one of the whole stream.
pub fn record(log: &mut DamageLog, source: &Source, first: u32, whole: bool, by: i64) {
    if whole {
        log.shifts.iter_mut().for_each(|shift| shift.by += by);
        if log.shifts.is_empty() {
            let pts = source.tables.pids(Role::Video).first().and_then(|pid| source.starts.get(pid)?.first().copied());
            log.shifts.push(Shift { offset: 0, pts: pts.map(|(_, pts)| pts), by });
        }
        return;
    }
    let offset = source.offsets.get(first as usize).copied().unwrap_or_default() as u64;
    let before = log.shifts.iter().rfind(|shift| shift.offset <= offset).map_or(0, |shift| shift.by);
    log.shifts.iter_mut().filter(|shift| shift.offset > offset).for_each(|shift| shift.by += by);
    let pts = source.pids.get(first as usize).and_then(|(pid, _)| source.times(first, *pid)).map(|(pts, _)| pts);
    log.shifts.push(Shift { offset, pts, by: before + by });
    log.shifts.sort_by_key(|shift| shift.offset);
}

/// The shift that lets the PTS wrap `after` the first picture.
pub fn until_wrap(packets: &[Packet], after: Ticks) -> Result<i64, ImpairError> {
    let (_, first) = first_picture(packets)?;
    Ok(apart(moved(0, -after.0), first))
}

/// Moves the clocks from the first key frame at or after a time on.
pub fn jump(
    packets: &mut [Packet],
    log: &mut DamageLog,
    source: &Source,
    at: Ticks,
    by: Ticks,
) -> Result<(), ImpairError> {
    let (pid, first) = first_picture(packets)?;
    let tables = Tables::read(&mut packets.to_vec());
    let starts = pes::starts(packets, &tables).remove(&pid).unwrap_or_default();
    let from = starts
        .iter()
        .find(|(index, pts)| apart(*pts, first) >= at.0 && is_key(&packets[*index as usize]))
        .map(|(index, _)| *index as usize)
        .ok_or(ImpairError::NoKeyFrame { after: at })?;
    shift(packets, log, source, from, by.0);
    if let Some(packet) = packets[from..].iter_mut().find(|packet| packet.pcr().is_some()) {
        packet.data[5] |= 0x80;
    }
    Ok(())
}

/// Moves clock references against the time stamps.
pub fn restamp(packets: &mut [Packet], by: Ticks) {
    move_references(packets, |_| by.0 * 300);
}

/// Lets clock references err.
pub fn jitter(packets: &mut [Packet], reach: Ticks, prng: &mut Prng) {
    move_references(packets, |_| prng.around(reach.0 * 300));
}

fn move_references(packets: &mut [Packet], mut by: impl FnMut(u64) -> i64) {
    const CYCLE: i128 = 300 << 33;
    for packet in packets {
        if let Some(clock) = packet.pcr() {
            let moved = i128::from(clock) + i128::from(by(clock));
            packet.set_pcr(moved.rem_euclid(CYCLE) as u64);
        }
    }
}

fn first_picture(packets: &[Packet]) -> Result<(u16, u64), ImpairError> {
    let tables = Tables::read(&mut packets.to_vec());
    let starts = pes::starts(packets, &tables);
    let video = tables.pids(Role::Video).into_iter().find_map(|pid| Some((pid, starts.get(&pid)?.first()?.1)));
    video.ok_or(ImpairError::NoVideo)
}

/// Whether a picture group begins in a packet, by its flag or by a parameter set or sequence header in it.
fn is_key(packet: &Packet) -> bool {
    let flagged = packet.data[3] & 0x20 != 0 && packet.data[4] > 0 && packet.data[5] & 0x40 != 0;
    let opens = |code: &[u8]| code[..3] == [0, 0, 1] && (code[3] == 0xb3 || matches!(code[3] & 0x9f, 5 | 7));
    flagged || packet.data[packet.payload()].windows(4).any(opens)
}
