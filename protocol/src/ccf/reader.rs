//! Units out of canonical bytes: the inverse of the writer, for repair, transcoding and checks.

use std::ops::Range;

use super::profile::{AudioCodec, AudioProfile, Language, Profile, VideoCodec};
use super::writer::{FIRST_PID, PMT_PID, Unit, write_chunk};
use crate::limits::{MAX_CHUNK_BYTES, MAX_CHUNK_UNITS, MAX_CORE_AUDIO};
use crate::time::{MediaTime, PTS_WRAP, Pts33, Ticks};
use crate::ts::framer::PACKET_BYTES;
use crate::ts::packet::{PAT_PID, Packet, clock_reference};
use crate::ts::pes::{PesEvent, PesParser};
use crate::ts::psi::{MapStream, crc32, parse_pmt};
use crate::ts::video::VideoUnits;

/// Bytes that are no canonical chunk. Whoever sent them is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Not a whole number of packets, none, or more than a chunk can have.
    #[error("{0} bytes are no chunk")]
    Length(usize),
    /// A packet that the writer never writes.
    #[error("packet {0} is not of the canonical form")]
    Packet(usize),
    /// Streams that no profile has.
    #[error("the chunk's programme map is not of the canonical form")]
    Map,
    /// A PES packet that the writer never writes.
    #[error("unit {0} is not of the canonical form")]
    Unit(usize),
    /// Read well, but written again it is not the same.
    #[error("the chunk is not what its own units make")]
    NotCanonical,
}

struct Raw {
    stream: u8,
    rap: bool,
    pes: Vec<u8>,
    /// Its packets, as bytes of the chunk.
    range: Range<usize>,
}

/// Takes a canonical chunk apart. The profile is as far as the chunk tells it: component tags and the audio grid are
/// not in it.
///
/// # Errors
/// Anything that the writer could not have written.
pub fn read_units(bytes: &[u8]) -> Result<(Profile, Vec<Unit>), ReadError> {
    let (profile, placed) = read_placed(bytes, None)?;
    Ok((profile, placed.into_iter().map(|(unit, _)| unit).collect()))
}

/// A unit, and the bytes of the chunk that its packets take.
pub(super) type Placed = (Unit, Range<usize>);

/// [`read_units`], each with the bytes of the chunk that its packets take. Times are those around `near`, or around
/// the first.
pub(super) fn read_placed(bytes: &[u8], mut near: Option<MediaTime>) -> Result<(Profile, Vec<Placed>), ReadError> {
    if bytes.is_empty() || !bytes.len().is_multiple_of(PACKET_BYTES) || bytes.len() > MAX_CHUNK_BYTES {
        return Err(ReadError::Length(bytes.len()));
    }
    let mut profile = None;
    let mut raw: Vec<Raw> = Vec::new();
    let mut first_pcr = None;
    for (number, bytes) in bytes.as_chunks::<PACKET_BYTES>().0.iter().enumerate() {
        let packet = Packet::parse(bytes).map_err(|_| ReadError::Packet(number))?;
        let payload = packet.payload.filter(|_| bytes[0] == 0x47).ok_or(ReadError::Packet(number))?;
        match packet.pid {
            PAT_PID => {}
            PMT_PID if profile.is_some() => {}
            PMT_PID => profile = Some(read_profile(payload)?),
            pid => {
                let stream =
                    pid.checked_sub(FIRST_PID).and_then(|n| u8::try_from(n).ok()).ok_or(ReadError::Packet(number))?;
                if packet.unit_start && raw.len() < MAX_CHUNK_UNITS {
                    first_pcr = first_pcr.or(clock_reference(bytes).map(|(_, base)| base.0));
                    let at = number * PACKET_BYTES;
                    raw.push(Raw { stream, rap: packet.random_access, pes: Vec::new(), range: at..at });
                }
                let unit = raw.last_mut().filter(|unit| unit.stream == stream).ok_or(ReadError::Packet(number))?;
                unit.pes.extend_from_slice(payload);
                unit.range.end = (number + 1) * PACKET_BYTES;
            }
        }
    }
    let mut profile: Profile = profile.ok_or(ReadError::Map)?;
    let units = raw
        .iter()
        .enumerate()
        .map(|(number, raw)| {
            let unit = read_unit(raw, &profile, near).ok_or(ReadError::Unit(number))?;
            near.get_or_insert(unit.dts);
            Ok((unit, raw.range.clone()))
        })
        .collect::<Result<Vec<_>, ReadError>>()?;
    let first = units.iter().map(|(unit, _)| unit).find(|unit| unit.stream == 0);
    if let (Some(first), Some(pcr)) = (first, first_pcr) {
        profile.pcr_lead = Ticks((first.dts.0 - pcr as i64).rem_euclid(PTS_WRAP as i64));
    }
    Ok((profile, units))
}

/// Reads the packets of one unit of a chunk: all of them, and no others. Nothing where they are not of the canonical
/// form. Times are those of the chunk around `near`. Whether a decoder can begin there is taken from the picture: the
/// packets' own flag is in no digest, so a sender could falsify it unnoticed.
pub(super) fn read_unit_packets(profile: &Profile, stream: u8, near: MediaTime, bytes: &[u8]) -> Option<Unit> {
    let (packets, []) = bytes.as_chunks::<PACKET_BYTES>() else { return None };
    let mut raw = Raw { stream, rap: false, pes: Vec::with_capacity(bytes.len()), range: 0..bytes.len() };
    for (number, bytes) in packets.iter().enumerate() {
        let packet = Packet::parse(bytes).ok().filter(|_| bytes[0] == 0x47)?;
        if packet.pid != FIRST_PID + u16::from(stream) || packet.unit_start != (number == 0) {
            return None;
        }
        raw.pes.extend_from_slice(packet.payload?);
    }
    let unit = read_unit(&raw, profile, Some(near))?;
    let rap = profile.video.filter(|_| stream == 0).is_none_or(|codec| begins_decoding(codec, &unit.data));
    Some(Unit { rap, ..unit })
}

/// Whether a picture is a random access point.
fn begins_decoding(codec: VideoCodec, data: &[u8]) -> bool {
    let mut units = match codec {
        VideoCodec::Avc => VideoUnits::avc(false),
        VideoCodec::Hevc => VideoUnits::hevc(false),
        VideoCodec::Mpeg2 => VideoUnits::mpeg2(),
    };
    units.push(data);
    units.finish();
    std::iter::from_fn(|| units.poll()).any(|unit| unit.rap)
}

/// Checks that bytes are a chunk in canonical form, to the last bit.
///
/// # Errors
/// The first thing that is not.
pub fn check_canonical(bytes: &[u8]) -> Result<(), ReadError> {
    let (profile, units) = read_units(bytes)?;
    match write_chunk(&profile, &units) {
        Ok(again) if again == bytes => Ok(()),
        _ => Err(ReadError::NotCanonical),
    }
}

fn read_profile(payload: &[u8]) -> Result<Profile, ReadError> {
    let section = payload.get(1..).filter(|_| payload[0] == 0).ok_or(ReadError::Map)?;
    let len = section.get(1..3).map(|len| 3 + usize::from(u16::from_be_bytes([len[0] & 0x0F, len[1]])));
    let section = len.and_then(|len| section.get(..len)).filter(|section| crc32(section) == 0).ok_or(ReadError::Map)?;
    let map = parse_pmt(section).ok_or(ReadError::Map)?;
    let mut video = None;
    let mut audio = Vec::new();
    for (number, stream) in map.streams.iter().enumerate() {
        if usize::from(stream.pid) != usize::from(FIRST_PID) + number {
            return Err(ReadError::Map);
        }
        match read_video(stream) {
            Some(codec) if number == 0 => video = Some(codec),
            _ => audio.push(read_audio(stream).ok_or(ReadError::Map)?),
        }
    }
    if audio.len() > MAX_CORE_AUDIO || map.streams.is_empty() {
        return Err(ReadError::Map);
    }
    Ok(Profile::new(video, audio))
}

fn read_video(stream: &MapStream) -> Option<VideoCodec> {
    [VideoCodec::Avc, VideoCodec::Hevc, VideoCodec::Mpeg2].into_iter().find(|c| c.stream_type() == stream.stream_type)
}

fn read_audio(stream: &MapStream) -> Option<AudioProfile> {
    let codec = match stream.stream_type {
        0x03 | 0x04 => AudioCodec::Mpeg,
        0x0F => AudioCodec::AacAdts,
        0x11 => AudioCodec::AacLatm,
        0x81 => AudioCodec::Ac3,
        0x87 => AudioCodec::Eac3,
        _ => return None,
    };
    let language =
        stream.descriptor(0x0A).and_then(|d| d.first_chunk::<3>()).and_then(|&letters| Language::new(letters));
    Some(AudioProfile { codec, language, component_tag: None, low_rate: stream.stream_type == 0x04 })
}

fn read_unit(raw: &Raw, profile: &Profile, near: Option<MediaTime>) -> Option<Unit> {
    let mut parser = PesParser::default();
    let mut times = None;
    let mut data = Vec::new();
    let mut unusable = false;
    parser.push(true, &raw.pes, |event| match event {
        PesEvent::Start(found) => times = Some(found),
        PesEvent::Data(bytes) => data = bytes.to_vec(),
        PesEvent::Short | PesEvent::Unusable { .. } => unusable = true,
    });
    let times = times.filter(|_| !unusable)?;
    let pts = times.pts?;
    let dts33: Pts33 = times.dts.unwrap_or(pts);
    let dts = near.map_or(MediaTime(dts33.0 as i64), |near| dts33.unwrap_near(near));
    let is_video = raw.stream == 0 && profile.video.is_some();
    let known = usize::from(raw.stream) < profile.streams();
    known.then(|| Unit { stream: raw.stream, pts: pts.unwrap_near(dts), dts, rap: raw.rap || !is_video, data })
}
