//! Recipes that send the streams through FFmpeg, and find out where each PES packet that it wrote comes from.

use std::collections::BTreeMap;

use super::ImpairError;
use super::clocks;
use super::log::DamageLog;
use super::packet::{self, NULL_PID, PACKET, Packet};
use super::pes;
use super::psi::{Role, Tables};
use super::recipe::Ticks;
use super::source::{Source, apart, moved};
use crate::media::ffmpeg::{self, FfmpegError};

/// Copies the streams into FFmpeg's own transport stream.
pub fn remux(packets: &mut Vec<Packet>, log: &mut DamageLog, source: &Source, by: Ticks) -> Result<(), ImpairError> {
    let offset = format!("{:.6}", by.0 as f64 / 90_000.0);
    through(packets, log, source, |input, folder| {
        let out = folder.join("out.ts");
        let copy =
            ["-muxdelay", "0", "-muxpreload", "0", "-mpegts_copyts", "1", "-output_ts_offset", &offset, "-f", "mpegts"];
        ffmpeg::run(
            "ffmpeg",
            &[&ffmpeg::quietly(input, "-copyts"), &ffmpeg::words(&copy), &[out.clone().into()][..]].concat(),
        )?;
        Ok(std::fs::read(out)?)
    })
}

/// Cuts the streams into HLS segments and reads these one after the other, as a player does.
pub fn hls(packets: &mut Vec<Packet>, log: &mut DamageLog, source: &Source, length: Ticks) -> Result<(), ImpairError> {
    let seconds = format!("{:.6}", length.0 as f64 / 90_000.0);
    through(packets, log, source, |input, folder| {
        let list = folder.join("list.m3u8");
        // The clock stays: of a radio programme no receiver could tell that it moved.
        let clock = ["-muxdelay", "0", "-muxpreload", "0", "-hls_segment_options", "mpegts_copyts=1"];
        let cut = ["-f", "hls", "-hls_time", &seconds, "-hls_list_size", "0"];
        let cut = [&clock[..], &cut, &["-hls_segment_filename"]].concat();
        let pattern = [folder.join("segment%06d.ts").into(), list.clone().into()];
        ffmpeg::run("ffmpeg", &[&ffmpeg::quietly(input, "-copyts"), &ffmpeg::words(&cut), &pattern[..]].concat())?;
        let mut bytes = Vec::new();
        for line in std::fs::read_to_string(list)?.lines().filter(|line| !line.starts_with('#')) {
            bytes.extend(std::fs::read(folder.join(line))?);
        }
        Ok(bytes)
    })
}

fn through(
    packets: &mut Vec<Packet>,
    log: &mut DamageLog,
    source: &Source,
    tool: impl FnOnce(&std::path::Path, &std::path::Path) -> Result<Vec<u8>, FfmpegError>,
) -> Result<(), ImpairError> {
    let folder = tempfile::tempdir().map_err(FfmpegError::from)?;
    let input = folder.path().join("in.ts");
    let bytes: Vec<u8> = packets.iter().flat_map(|packet| packet.data).collect();
    std::fs::write(&input, bytes).map_err(FfmpegError::from)?;
    let bytes = tool(&input, folder.path())?;
    let mut fresh: Vec<_> = packet::offsets(&bytes).into_iter().map(|at| cut(&bytes[at..at + PACKET])).collect();
    let by = find_origins(packets, &mut fresh).ok_or(ImpairError::NoVideo)?;
    *packets = fresh;
    clocks::record(log, source, 0, true, by);
    Ok(())
}

fn cut(bytes: &[u8]) -> Packet {
    let mut data = [0; PACKET];
    data.copy_from_slice(bytes);
    Packet::invented(data)
}

/// Gives each packet of a remuxed stream the packets of the old one that its PES packet stems from; returns the
/// shift of its clocks. Video PES packets are found by their PTS; audio, which FFmpeg regroups, by the span of time.
fn find_origins(old: &[Packet], fresh: &mut [Packet]) -> Option<i64> {
    let (old_tables, new_tables) = (Tables::read(&mut old.to_vec()), Tables::read(&mut fresh.to_vec()));
    let old_starts = pes::starts(old, &old_tables);
    let new_starts = pes::starts(fresh, &new_tables);
    // Of radio, the first audio tells.
    let leads = |tables: &Tables| [Role::Video, Role::Audio].into_iter().find_map(|r| tables.pids(r).first().copied());
    let (old_lead, new_lead) = (leads(&old_tables)?, leads(&new_tables)?);
    let by = apart(new_starts.get(&new_lead)?.first()?.1, old_starts.get(&old_lead)?.first()?.1);
    for role in [Role::Video, Role::Audio] {
        for (old_pid, new_pid) in old_tables.pids(role).into_iter().zip(new_tables.pids(role)) {
            let (Some(from), Some(to)) = (old_starts.get(&old_pid), new_starts.get(&new_pid)) else { continue };
            let spans = if role == Role::Video { by_time(from, to, by) } else { by_span(from, to, by) };
            let source_pid = old[from[0].0 as usize].source_pid;
            let mut open = None;
            for (index, packet) in fresh.iter_mut().enumerate().filter(|(_, packet)| packet.pid() == new_pid) {
                open = spans.get(&(index as u32)).map(|span| old_origin(old, old_pid, span)).or(open);
                if let Some(origin) = open.as_ref() {
                    packet.origin = origin.clone();
                    packet.source_pid = source_pid;
                }
            }
        }
    }
    fresh.iter().any(|packet| packet.source_pid != NULL_PID).then_some(by)
}

type Starts = [(u32, u64)];
/// For the packet in which a new PES packet begins: the old packets.
type Spans = BTreeMap<u32, std::ops::Range<u32>>;

fn by_time(from: &Starts, to: &Starts, by: i64) -> Spans {
    let places: BTreeMap<u64, usize> = from.iter().enumerate().map(|(n, (_, pts))| (*pts, n)).collect();
    let place = |pts: u64| places.get(&moved(pts, -by)).copied();
    to.iter().filter_map(|(index, pts)| place(*pts).map(|n| (*index, span(from, n, n + 1)))).collect()
}

fn by_span(from: &Starts, to: &Starts, by: i64) -> Spans {
    // FFmpeg rounds times of frames inside a group by a tick.
    const ROUNDING: i64 = 2;
    let mut n = 0;
    let mut found = BTreeMap::new();
    for (position, (index, pts)) in to.iter().enumerate() {
        let ahead = |n: usize, of: u64| from.get(n).map(|(_, own)| apart(moved(*own, by), of));
        while ahead(n + 1, *pts).is_some_and(|ahead| ahead <= ROUNDING) {
            n += 1;
        }
        let mut end = n + 1;
        match to.get(position + 1) {
            Some((_, next)) => {
                while ahead(end, *next).is_some_and(|ahead| ahead < -ROUNDING) {
                    end += 1;
                }
            }
            None => end = from.len(),
        }
        found.insert(*index, span(from, n, end));
    }
    found
}

fn span(from: &Starts, first: usize, end: usize) -> std::ops::Range<u32> {
    from[first].0..from.get(end).map_or(u32::MAX, |(index, _)| *index)
}

fn old_origin(old: &[Packet], pid: u16, span: &std::ops::Range<u32>) -> std::ops::Range<u32> {
    let inside = &old[span.start as usize..(span.end as usize).min(old.len())];
    let own = || inside.iter().filter(|packet| packet.pid() == pid && !packet.origin.is_empty());
    let start = own().map(|packet| packet.origin.start).min().unwrap_or(0);
    start..own().map(|packet| packet.origin.end).max().unwrap_or(0)
}
