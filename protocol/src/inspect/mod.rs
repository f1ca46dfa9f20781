//! What a transport stream is like, for a person: programmes, streams, key pictures, clocks, reception quality.
//!
//! ```text
//! bytes -> packets -> PCR: how far in we are -> tables: programmes and their streams
//!                  -> per PID: counters, errors; video: pictures and groups -> Report
//! ```
//!
//! Not for cutting: nothing here decides anything. Reception quality is in the words of ETSI TR 101 290. Memory is
//! bounded: by the number of PIDs, and by [`MAX_EVENTS`] of what happened.

mod clock;
mod pictures;
mod report;
mod tables;

use std::collections::BTreeMap;

use crate::ccf::roles::{Kind, kind};
use crate::ts::ReceptionCounters;
use crate::ts::continuity::{Continuity, ContinuityCheck};
use crate::ts::framer::{Framer, PACKET_BYTES};
use crate::ts::packet::{BadPacket, NULL_PID, PAT_PID, Packet};
use crate::ts::pes::{PesEvent, PesParser};
use crate::ts::psi::{MapStream, SectionAssembler, crc32};
use crate::ts::scte35::{self, Cue};
use clock::{PcrClock, PtsClock};
use pictures::Pictures;
pub use report::{Event, EventKind, PictureReport, ProgramReport, Quality, Report, StreamReport};
use tables::Tables;

/// Most things that happened that are told one by one: a key picture a second for a day.
pub const MAX_EVENTS: usize = 100_000;

/// Reads a transport stream for a report.
#[derive(Debug, Default)]
pub struct Inspector {
    framer: Framer,
    counters: ReceptionCounters,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    packets: u64,
    null_packets: u64,
    clock: PcrClock,
    tables: Tables,
    pids: BTreeMap<u16, Pid>,
    quality: Quality,
    events: Vec<Event>,
    events_left_out: u64,
}

/// What is known of one PID.
#[derive(Debug, Default)]
struct Pid {
    packets: u64,
    lost: u64,
    scrambled: u64,
    check: ContinuityCheck,
    pes: PesParser,
    times: PtsClock,
    pictures: Option<Pictures>,
    /// Of splice information; and the newest splice, which is announced several times.
    sections: SectionAssembler,
    cue: Option<Cue>,
}

impl Inspector {
    /// Takes bytes in.
    pub fn push(&mut self, bytes: &[u8]) {
        let state = &mut self.state;
        self.framer.push(bytes, &mut self.counters, |packet, _| state.packet(packet));
    }

    /// Ends the input and tells what was found.
    #[must_use]
    pub fn finish(mut self) -> Report {
        let state = &mut self.state;
        self.framer.finish(&mut self.counters, |packet, _| state.packet(packet));
        let counters = self.counters;
        let State { packets, null_packets, clock, tables, mut pids, mut quality, events, events_left_out } = self.state;
        pids.values_mut().for_each(|pid| pid.pictures.iter_mut().for_each(Pictures::finish));
        quality.sync_losses = counters.sync_losses;
        let seconds = clock.seconds();
        let stream = |stream: &MapStream| {
            let known = pids.get(&stream.pid);
            let count = |of: fn(&Pid) -> u64| known.map_or(0, of);
            StreamReport {
                pid: stream.pid,
                stream_type: stream.stream_type,
                kind: name(stream),
                language: language(stream),
                packets: count(|pid| pid.packets),
                lost_packets: count(|pid| pid.lost),
                scrambled_packets: count(|pid| pid.scrambled),
                bits_per_second: rate(count(|pid| pid.packets) * PACKET_BYTES as u64, seconds),
                first_pts: known.and_then(|pid| pid.times.first()),
                last_pts: known.and_then(|pid| pid.times.last()),
                pts_wraps: count(|pid| pid.times.wraps()),
                clock_jumps: count(|pid| pid.times.jumps()),
                pictures: known.and_then(|pid| pid.pictures.as_ref()).map(Pictures::report),
            }
        };
        let programs = tables.programs().map(|(number, pmt_pid, map)| ProgramReport {
            number,
            pmt_pid,
            streams: map.map(|map| map.streams.iter().map(stream).collect()).unwrap_or_default(),
        });
        Report {
            bytes: counters.bytes,
            packets,
            null_packets,
            skipped_bytes: counters.skipped_bytes,
            seconds,
            bits_per_second: rate(packets * PACKET_BYTES as u64, seconds),
            programs: programs.collect(),
            quality,
            events,
            events_left_out,
        }
    }
}

fn rate(bytes: u64, seconds: f64) -> u64 {
    if seconds > 0.0 { (bytes as f64 * 8.0 / seconds) as u64 } else { 0 }
}

/// What a stream is called.
fn name(stream: &MapStream) -> String {
    match kind(stream) {
        Kind::Other => other(stream).to_owned(),
        Kind::Video(codec) => {
            let name = codec.to_string();
            if name.ends_with("video") { name } else { format!("{name} video") }
        }
        known => known.to_string(),
    }
}

/// Streams that are neither video nor audio, by type (ISO/IEC 13818-1, table 2-34; ANSI/SCTE 35, 8.1) and descriptor
/// (EN 300 468, 6.1).
fn other(stream: &MapStream) -> &'static str {
    match stream.stream_type {
        0x86 => "SCTE-35 splice information",
        0x05 if stream.descriptor(0x6F).is_some() => "application information",
        0x06 if stream.descriptor(0x56).is_some() => "teletext",
        0x06 if stream.descriptor(0x59).is_some() => "DVB subtitles",
        0x05 | 0x0C => "sections",
        0x0B | 0x0D => "DSM-CC data",
        _ => "data",
    }
}

fn language(stream: &MapStream) -> Option<String> {
    let described = [0x0A, 0x56, 0x59].into_iter().find_map(|tag| stream.descriptor(tag)?.first_chunk::<3>());
    described
        .filter(|code| code.iter().all(u8::is_ascii_alphabetic))
        .map(|code| code.iter().map(|letter| char::from(letter.to_ascii_lowercase())).collect())
}

impl State {
    fn packet(&mut self, bytes: &[u8; PACKET_BYTES]) {
        self.packets += 1;
        let packet = match Packet::parse(bytes) {
            Ok(packet) => packet,
            Err(BadPacket::Errored) => {
                self.quality.transport_errors += 1;
                return self.happened(None, EventKind::TransportError);
            }
            Err(BadPacket::Malformed) => {
                self.quality.malformed_packets += 1;
                return;
            }
        };
        if packet.pid == NULL_PID {
            self.null_packets += 1;
            return;
        }
        let step = self.clock.packet(bytes);
        if let Some(jump) = step.filter(|step| step.is_jump()) {
            self.quality.pcr_discontinuities += 1;
            self.happened(Some(packet.pid), EventKind::ClockJump { ticks: jump.0 });
        } else if step.is_some_and(|step| step.is_late()) {
            self.quality.pcr_repetition_errors += 1;
        }
        let pid = self.pids.entry(packet.pid).or_default();
        pid.packets += 1;
        if packet.scrambled {
            pid.scrambled += 1;
            self.quality.scrambled_packets += 1;
            return;
        }
        let Some(payload) = packet.payload else { return };
        match pid.check.next(packet.counter, payload) {
            Continuity::Duplicate => return self.quality.duplicates += 1,
            Continuity::Lost(count) => {
                pid.lost += u64::from(count.max(1));
                self.quality.continuity_count_errors += 1;
                if let Some(pictures) = &mut pid.pictures {
                    pictures.hole(packet.unit_start);
                }
                pid.pes.hole();
                pid.sections.hole();
                self.tables.hole(packet.pid);
                self.happened(Some(packet.pid), EventKind::Loss { packets: count });
            }
            Continuity::First | Continuity::Follows => {}
        }
        if packet.pid == PAT_PID || self.tables.is_pmt(packet.pid) {
            let found = self.tables.push(&packet, payload, self.clock.ticks());
            self.quality.crc_errors += found.crc_errors;
            self.quality.pat_errors += found.late_pats;
            self.quality.pmt_errors += found.late_pmts;
            if found.changed {
                self.happened(Some(packet.pid), EventKind::NewTable);
            }
            return;
        }
        self.elementary(&packet, payload);
    }

    fn elementary(&mut self, packet: &Packet<'_>, payload: &[u8]) {
        let Some(stream) = self.tables.stream(packet.pid) else { return };
        let kind = kind(stream);
        if stream.stream_type == 0x86 {
            return self.splices(packet, payload);
        }
        if !matches!(kind, Kind::Video(_) | Kind::Audio(_) | Kind::OtherAudio(_) | Kind::OtherVideo(_)) {
            return;
        }
        let Some(pid) = self.pids.get_mut(&packet.pid) else { return };
        if let (None, Kind::Video(codec)) = (&pid.pictures, kind) {
            pid.pictures = Some(Pictures::new(codec));
        }
        let Pid { pes, times, pictures, .. } = pid;
        let (mut jumps, mut late) = (Vec::new(), 0);
        pes.push(packet.unit_start, payload, |event| match event {
            PesEvent::Start(found) => {
                if let Some(pts) = found.pts {
                    let step = times.pts(pts, found.dts.unwrap_or(pts));
                    jumps.extend(step.jump);
                    late += u64::from(step.late);
                }
                pictures.iter_mut().for_each(|pictures| pictures.pes_start(found));
            }
            PesEvent::Data(bytes) => pictures.iter_mut().for_each(|pictures| pictures.push(bytes)),
            PesEvent::Short | PesEvent::Unusable { .. } => {
                pictures.iter_mut().for_each(|pictures| pictures.hole(false));
            }
        });
        let keys = pictures.as_mut().map(|pictures| pictures.take_keys()).unwrap_or_default();
        self.quality.pts_errors += late;
        jumps.into_iter().for_each(|ticks| self.happened(Some(packet.pid), EventKind::ClockJump { ticks }));
        keys.into_iter().for_each(|key| self.happened(Some(packet.pid), EventKind::KeyPicture { pts: key }));
    }

    fn splices(&mut self, packet: &Packet<'_>, payload: &[u8]) {
        let Some(pid) = self.pids.get_mut(&packet.pid) else { return };
        let Pid { sections, cue: last, .. } = pid;
        let mut cues = Vec::new();
        sections.push(packet.unit_start, payload, |section| {
            let found = if crc32(section) == 0 { scte35::cue(section) } else { None };
            if found.is_some() && found != *last {
                *last = found;
                cues.extend(found);
            }
        });
        for Cue { kind, pts } in cues {
            self.happened(Some(packet.pid), EventKind::Splice { kind: kind.into(), pts });
        }
    }

    fn happened(&mut self, pid: Option<u16>, kind: EventKind) {
        if self.events.len() < MAX_EVENTS {
            self.events.push(Event { at_millis: self.clock.ticks().max(0) as u64 / 90, pid, kind });
        } else {
            self.events_left_out += 1;
        }
    }
}
