//! Canonical bytes from units (CCF 15 to 18): a function of profile and units alone.

use super::profile::Profile;
use crate::ids::UnitDigest;
use crate::limits::{MAX_CHUNK_BYTES, MAX_CHUNK_UNITS};
use crate::time::{MediaTime, PTS_WRAP, Pts33};
use crate::ts::framer::PACKET_BYTES;
use crate::ts::packet::PAT_PID;
use crate::ts::psi::crc32;

/// PID of the canonical PMT.
pub(super) const PMT_PID: u16 = 0x1000;
/// PID of stream 0; the others follow.
pub(super) const FIRST_PID: u16 = 0x100;
/// Every PID has a multiple of this many payload packets, so that counters close.
const COUNTER_CYCLE: usize = 16;
/// Bytes after a packet's header.
const CAPACITY: usize = PACKET_BYTES - 4;
/// An adaptation field with a PCR: length, flags, six bytes.
const PCR_FIELD_BYTES: usize = 8;
/// An audio unit beyond this would not fit the 16-bit PES length; units are split at a frame before it (CCF 16).
pub const MAX_AUDIO_UNIT_BYTES: usize = 65_000;

/// One access unit, or a group of audio frames, with canonical times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Stream, in profile order.
    pub stream: u8,
    /// Presentation time.
    pub pts: MediaTime,
    /// Decoding time; equal to `pts` for audio.
    pub dts: MediaTime,
    /// A decoder can begin here.
    pub rap: bool,
    /// Normalised elementary bytes.
    pub data: Vec<u8>,
}

/// A unit whose bytes lie elsewhere.
#[derive(Debug, Clone, Copy)]
pub(super) struct UnitRef<'a> {
    pub stream: u8,
    pub pts: MediaTime,
    pub dts: MediaTime,
    pub rap: bool,
    pub data: &'a [u8],
}

/// Units that make no chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// A unit of a stream that the profile does not have.
    #[error("unit of stream {0}, which the profile does not have")]
    Stream(u8),
    /// A profile whose map does not fit a packet.
    #[error("profile of {0} streams is more than the map of a chunk can describe")]
    Map(usize),
    /// An audio unit over [`MAX_AUDIO_UNIT_BYTES`].
    #[error("audio unit of {0} bytes, more than {MAX_AUDIO_UNIT_BYTES}")]
    AudioUnit(usize),
    /// A unit of no bytes cannot be spread over the packets that close its counter.
    #[error("unit of {0} bytes is too short")]
    ShortUnit(usize),
    /// No units at all.
    #[error("no units")]
    Empty,
    /// More than a chunk can hold.
    #[error("chunk of {units} units and {bytes} elementary bytes is too large")]
    TooLarge {
        /// Number of units.
        units: usize,
        /// Their bytes.
        bytes: usize,
    },
}

/// First 16 bytes of BLAKE3 of a unit's elementary bytes.
#[must_use]
pub(super) fn unit_digest(data: &[u8]) -> UnitDigest {
    let mut digest = [0; 16];
    digest.copy_from_slice(&blake3::hash(data).as_bytes()[..16]);
    UnitDigest(digest)
}

/// Writes a chunk. The units may come in any order; those of one stream with equal DTS keep theirs.
///
/// # Errors
/// Units that cannot be written; see [`WriteError`].
pub fn write_chunk(profile: &Profile, units: &[Unit]) -> Result<Vec<u8>, WriteError> {
    let refs = units.iter().map(|unit| UnitRef {
        stream: unit.stream,
        pts: unit.pts,
        dts: unit.dts,
        rap: unit.rap,
        data: &unit.data,
    });
    write_refs(profile, refs.collect())
}

/// [`write_chunk`] of units whose bytes lie elsewhere.
pub(super) fn write_refs(profile: &Profile, mut units: Vec<UnitRef<'_>>) -> Result<Vec<u8>, WriteError> {
    check(profile, &units)?;
    units.sort_by_key(|unit| (unit.dts, unit.stream));
    let payload: usize = units.iter().map(|unit| unit.data.len() + 19).sum();
    let packets = payload / CAPACITY + 2 * units.len() + 2 * COUNTER_CYCLE * (profile.streams() + 1);
    let mut out = Output { bytes: Vec::with_capacity(packets * PACKET_BYTES), counts: vec![0; profile.streams()] };
    let (pat, pmt) = (pat_section(), pmt_section(profile));
    let mut last_of_stream = vec![usize::MAX; profile.streams()];
    for (at, unit) in units.iter().enumerate() {
        last_of_stream[usize::from(unit.stream)] = at;
    }
    let mut tables = 0;
    for (at, unit) in units.iter().enumerate() {
        while tables < COUNTER_CYCLE && tables * units.len() / COUNTER_CYCLE == at {
            out.section(PAT_PID, tables, &pat);
            out.section(PMT_PID, tables, &pmt);
            tables += 1;
        }
        out.unit(profile, unit, last_of_stream[usize::from(unit.stream)] == at);
    }
    Ok(out.bytes)
}

fn check(profile: &Profile, units: &[UnitRef<'_>]) -> Result<(), WriteError> {
    if units.is_empty() {
        return Err(WriteError::Empty);
    }
    if !profile.map_fits() {
        return Err(WriteError::Map(profile.streams()));
    }
    for unit in units {
        let is_video = unit.stream == 0 && profile.video.is_some();
        match unit.data.len() {
            _ if usize::from(unit.stream) >= profile.streams() => return Err(WriteError::Stream(unit.stream)),
            // With its header of 14 bytes a unit must fill 16 packets with at least one byte each.
            len @ ..2 => return Err(WriteError::ShortUnit(len)),
            len if !is_video && len > MAX_AUDIO_UNIT_BYTES => return Err(WriteError::AudioUnit(len)),
            _ => {}
        }
    }
    let bytes = units.iter().map(|unit| unit.data.len()).sum();
    // A packet carries at least 96 % payload but for each unit's last; 1/16 is room for both and the tables.
    if units.len() > MAX_CHUNK_UNITS || bytes > MAX_CHUNK_BYTES / 16 * 15 - units.len() * PACKET_BYTES {
        return Err(WriteError::TooLarge { units: units.len(), bytes });
    }
    Ok(())
}

struct Output {
    bytes: Vec<u8>,
    /// Payload packets written of each stream.
    counts: Vec<usize>,
}

impl Output {
    fn header(&mut self, pid: u16, start: bool, field: bool, counter: usize) {
        let [high, low] = pid.to_be_bytes();
        let control = if field { 0x30 } else { 0x10 } | (counter % COUNTER_CYCLE) as u8;
        self.bytes.extend_from_slice(&[0x47, if start { 0x40 | high } else { high }, low, control]);
    }

    fn section(&mut self, pid: u16, counter: usize, section: &[u8]) {
        self.header(pid, true, false, counter);
        self.bytes.push(0);
        self.bytes.extend_from_slice(section);
        self.bytes.resize(self.bytes.len() + CAPACITY - 1 - section.len(), 0xFF);
    }

    fn unit(&mut self, profile: &Profile, unit: &UnitRef<'_>, last: bool) {
        let stream = usize::from(unit.stream);
        let is_video = stream == 0 && profile.video.is_some();
        let pcr = (stream == 0).then(|| Pts33::of(MediaTime(unit.dts.0.saturating_sub(profile.pcr_lead.0))));
        let pes = PesHeader::new(profile, unit, is_video);
        let total = pes.len + unit.data.len();
        let first_capacity = if pcr.is_some() { CAPACITY - PCR_FIELD_BYTES } else { CAPACITY };
        let mut packets = 1 + total.saturating_sub(first_capacity).div_ceil(CAPACITY);
        if last {
            packets = (self.counts[stream] + packets).next_multiple_of(COUNTER_CYCLE) - self.counts[stream];
        }
        // CCF 18: spread the last unit evenly; all others fill their packets.
        let first = match last {
            true => first_capacity.min(total - (packets - 1)).min(pes.len.max(total.div_ceil(packets))),
            false => first_capacity.min(total),
        };
        let mut bytes = Spread { header: &pes.bytes[..pes.len], data: unit.data };
        let mut left = total - first;
        let (even, longer) = if packets > 1 { (left / (packets - 1), left % (packets - 1)) } else { (0, 0) };
        for number in 0..packets {
            let len = match number {
                0 => first,
                _ if last => even + usize::from(number <= longer),
                _ => left.min(CAPACITY),
            };
            left -= if number == 0 { 0 } else { len };
            let pcr = pcr.filter(|_| number == 0);
            self.packet(FIRST_PID + u16::from(unit.stream), number == 0, pcr, unit.rap, stream, len);
            bytes.write(len, &mut self.bytes);
        }
    }

    /// A packet up to its payload of `len` bytes.
    fn packet(&mut self, pid: u16, start: bool, pcr: Option<Pts33>, rap: bool, stream: usize, len: usize) {
        let counter = self.counts[stream];
        self.counts[stream] += 1;
        let field = CAPACITY - len;
        self.header(pid, start, field > 0, counter);
        if field == 0 {
            return;
        }
        self.bytes.push((field - 1) as u8);
        let end = self.bytes.len() + field - 1;
        if let Some(Pts33(base)) = pcr {
            let flags = if rap { 0x50 } else { 0x10 };
            let pcr = base << 15 | 0x7E00;
            self.bytes.push(flags);
            self.bytes.extend_from_slice(&pcr.to_be_bytes()[2..]);
        } else if field > 1 {
            self.bytes.push(0);
        }
        self.bytes.resize(end, 0xFF);
    }
}

/// A PES header and the data behind it, handed out piece by piece.
struct Spread<'a> {
    header: &'a [u8],
    data: &'a [u8],
}

impl Spread<'_> {
    fn write(&mut self, len: usize, out: &mut Vec<u8>) {
        let (now, later) = self.header.split_at(len.min(self.header.len()));
        out.extend_from_slice(now);
        self.header = later;
        let (now, later) = self.data.split_at(len - now.len());
        out.extend_from_slice(now);
        self.data = later;
    }
}

struct PesHeader {
    bytes: [u8; 19],
    len: usize,
}

impl PesHeader {
    fn new(profile: &Profile, unit: &UnitRef<'_>, is_video: bool) -> Self {
        let with_dts = unit.dts != unit.pts;
        let len = if with_dts { 19 } else { 14 };
        let audio = usize::from(unit.stream) - usize::from(profile.video.is_some() && !is_video);
        let stream_id = match profile.audio.get(audio).filter(|_| !is_video) {
            Some(codec) => codec.stream_id(audio as u8),
            None => 0xE0,
        };
        let pes_bytes = if is_video { 0 } else { (len - 6 + unit.data.len()) as u16 };
        let [high, low] = pes_bytes.to_be_bytes();
        let mut bytes = [0; 19];
        let fixed =
            [0, 0, 1, stream_id, high, low, if is_video { 0x84 } else { 0x80 }, if with_dts { 0xC0 } else { 0x80 }];
        bytes[..8].copy_from_slice(&fixed);
        bytes[8] = (len - 9) as u8;
        bytes[9..14].copy_from_slice(&stamp(if with_dts { 3 } else { 2 }, unit.pts));
        if with_dts {
            bytes[14..].copy_from_slice(&stamp(1, unit.dts));
        }
        Self { bytes, len }
    }
}

/// A time stamp with its four-bit prefix and marker bits (ISO/IEC 13818-1, 2.4.3.6).
pub(super) fn stamp(prefix: u8, time: MediaTime) -> [u8; 5] {
    let time = time.0.rem_euclid(PTS_WRAP as i64) as u64;
    [
        prefix << 4 | (time >> 29) as u8 & 0x0E | 1,
        (time >> 22) as u8,
        (time >> 14) as u8 | 1,
        (time >> 7) as u8,
        (time << 1) as u8 | 1,
    ]
}

fn section(table: u8, extension: u16, body: &[u8]) -> Vec<u8> {
    let len = (5 + body.len() + 4) as u16;
    let mut bytes = vec![table];
    bytes.extend((0xB000 | len).to_be_bytes());
    bytes.extend(extension.to_be_bytes());
    // Version 0, in force, section 0 of 0.
    bytes.extend([0xC1, 0, 0]);
    bytes.extend(body);
    bytes.extend(crc32(&bytes).to_be_bytes());
    bytes
}

fn pat_section() -> Vec<u8> {
    let [high, low] = (0xE000 | PMT_PID).to_be_bytes();
    section(0x00, 1, &[0, 1, high, low])
}

fn pmt_section(profile: &Profile) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend((0xE000 | FIRST_PID).to_be_bytes());
    body.extend([0xF0, 0]);
    let video = profile.video.map(|codec| (codec.stream_type(), Vec::new()));
    let audios = profile.audio.iter().map(|audio| (audio.stream_type(), audio.descriptors()));
    for (number, (stream_type, descriptors)) in video.into_iter().chain(audios).enumerate() {
        body.push(stream_type);
        body.extend((0xE000 | (FIRST_PID + number as u16)).to_be_bytes());
        body.extend((0xF000 | descriptors.len() as u16).to_be_bytes());
        body.extend(descriptors);
    }
    section(0x02, 1, &body)
}

#[cfg(test)]
mod tests {
    use super::super::profile::{AudioCodec, AudioProfile, VideoCodec};
    use super::*;

    fn profile() -> Profile {
        let audio = AudioProfile { codec: AudioCodec::AacAdts, language: None, component_tag: None, low_rate: false };
        Profile::new(Some(VideoCodec::Avc), vec![audio])
    }

    #[test]
    fn more_audios_than_a_map_can_describe_are_refused() {
        let audio = AudioProfile {
            codec: AudioCodec::Ac3,
            language: Some("eng".parse().expect("letters")),
            component_tag: None,
            low_rate: false,
        };
        let unit = Unit { stream: 0, pts: MediaTime(0), dts: MediaTime(0), rap: true, data: vec![1; 100] };
        let write = |audios| {
            let profile = Profile::new(Some(VideoCodec::Avc), vec![audio.clone(); audios]);
            (profile.check().is_ok(), write_chunk(&profile, std::slice::from_ref(&unit)).is_ok())
        };
        assert_eq!((write(9), write(10)), ((true, true), (false, false)));
    }

    #[test]
    fn every_pid_closes_its_counter_for_every_length() {
        for len in (2..40).chain(150..200).chain(3000..3200) {
            let unit = |stream, time, data| Unit {
                stream,
                pts: MediaTime(time),
                dts: MediaTime(time - i64::from(stream == 0) * 3600),
                rap: true,
                data,
            };
            let units = [unit(0, 90_000, vec![1; len]), unit(1, 90_000, vec![2; len]), unit(0, 93_600, vec![3; len])];
            let bytes = write_chunk(&profile(), &units).expect("valid units");
            let mut counts = std::collections::BTreeMap::new();
            for packet in bytes.chunks(PACKET_BYTES) {
                let packet =
                    crate::ts::packet::Packet::parse(packet.try_into().expect("whole packets")).expect("legal");
                let count: &mut usize = counts.entry(packet.pid).or_default();
                assert_eq!(usize::from(packet.counter), *count % 16);
                assert!(!packet.payload.expect("all carry payload").is_empty());
                *count += 1;
            }
            assert_eq!(counts.len(), 4);
            assert!(counts.values().all(|count| count % 16 == 0), "{counts:?}");
        }
    }
}
