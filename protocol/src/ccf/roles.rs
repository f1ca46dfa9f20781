//! Which received streams play the core roles: a profile from a programme map, and a map held against a profile.

use std::fmt;

use super::profile::{AudioCodec, AudioProfile, Language, Profile, VideoCodec};
use crate::limits::MAX_CORE_AUDIO;
use crate::ts::psi::{MapStream, ProgramMap};

/// PIDs of the core roles of a programme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RolePids {
    /// `None` for radio.
    pub video: Option<u16>,
    /// In profile order; `None` where the map omits the audio.
    pub audio: Vec<Option<u16>>,
}

/// What a stream of a programme map is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Video(VideoCodec),
    OtherVideo(&'static str),
    Audio(AudioCodec),
    OtherAudio(&'static str),
    Other,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Video(codec) => codec.fmt(f),
            Self::Audio(codec) => codec.fmt(f),
            Self::OtherVideo(name) | Self::OtherAudio(name) => f.write_str(name),
            Self::Other => f.write_str("no codec"),
        }
    }
}

/// What a stream is, by its type (ISO/IEC 13818-1, table 2-34; ATSC A/53 for 0x81 and 0x87) and, for private data, by
/// the descriptors of EN 300 468.
pub(crate) fn kind(stream: &MapStream) -> Kind {
    let registered = |format: &[u8]| stream.descriptor(0x05).is_some_and(|content| content.starts_with(format));
    match stream.stream_type {
        0x01 | 0x02 => Kind::Video(VideoCodec::Mpeg2),
        0x1B => Kind::Video(VideoCodec::Avc),
        0x24 => Kind::Video(VideoCodec::Hevc),
        0x10 => Kind::OtherVideo("MPEG-4 part 2 video"),
        0x33 => Kind::OtherVideo("VVC"),
        0x42 | 0xD2 | 0xD4 => Kind::OtherVideo("AVS video"),
        0xEA => Kind::OtherVideo("VC-1"),
        0x03 | 0x04 => Kind::Audio(AudioCodec::Mpeg),
        0x0F => Kind::Audio(AudioCodec::AacAdts),
        0x11 => Kind::Audio(AudioCodec::AacLatm),
        0x81 => Kind::Audio(AudioCodec::Ac3),
        0x87 => Kind::Audio(AudioCodec::Eac3),
        0x06 if stream.descriptor(0x6A).is_some() || registered(b"AC-3") => Kind::Audio(AudioCodec::Ac3),
        0x06 if stream.descriptor(0x7A).is_some() || registered(b"EAC3") => Kind::Audio(AudioCodec::Eac3),
        0x06 if stream.descriptor(0x7B).is_some() => Kind::OtherAudio("DTS"),
        0x06 if registered(b"Opus") => Kind::OtherAudio("Opus"),
        0x06 if registered(b"HEVC") => Kind::Video(VideoCodec::Hevc),
        _ => Kind::Other,
    }
}

struct Audio {
    pid: u16,
    kind: Kind,
    language: Option<Language>,
    tag: Option<u8>,
    stream_type: u8,
}

fn audios(map: &ProgramMap) -> Vec<Audio> {
    let audios = map.streams.iter().map(|stream| Audio {
        pid: stream.pid,
        kind: kind(stream),
        // ISO 639 descriptor: three letters and a type.
        language: stream
            .descriptor(0x0A)
            .and_then(|d| d.first_chunk::<3>())
            .and_then(|&letters| Language::new(letters)),
        tag: stream.descriptor(0x52).and_then(|content| content.first().copied()),
        stream_type: stream.stream_type,
    });
    audios.filter(|audio| matches!(audio.kind, Kind::Audio(_) | Kind::OtherAudio(_))).collect()
}

fn video(map: &ProgramMap) -> Option<(u16, Kind)> {
    let videos = map.streams.iter().map(|stream| (stream.pid, kind(stream)));
    videos.into_iter().find(|(_, kind)| matches!(kind, Kind::Video(_) | Kind::OtherVideo(_)))
}

/// Whether the programme has a core video, of whatever codec.
pub(super) fn has_video(map: &ProgramMap) -> bool {
    video(map).is_some()
}

/// Whether it has a core audio, of whatever codec.
pub(super) fn has_audio(map: &ProgramMap) -> bool {
    !audios(map).is_empty()
}

fn label(number: usize, language: Option<Language>) -> String {
    language.map_or_else(|| format!("audio {number}"), |language| format!("audio {number} ({language})"))
}

/// The profile of a programme as its map tells it: all its audios are core. `Err` names role and codec.
pub(super) fn discover(map: &ProgramMap) -> Result<Profile, String> {
    let codec = match video(map) {
        Some((_, Kind::Video(codec))) => Some(codec),
        Some((_, other)) => return Err(format!("video is {other}, which this version does not cut")),
        None => None,
    };
    let mut found = audios(map);
    if codec.is_none() && found.is_empty() {
        return Err("the programme has neither video nor audio".to_owned());
    }
    // CCF: by component tag, else language and type, else order of appearance.
    found.sort_by_key(|audio| (audio.tag.is_none(), audio.tag, audio.language, audio.stream_type));
    let mut profiles = Vec::new();
    for (number, audio) in found.iter().take(MAX_CORE_AUDIO).enumerate() {
        match audio.kind {
            Kind::Audio(codec) => profiles.push(AudioProfile {
                codec,
                language: audio.language,
                component_tag: audio.tag,
                low_rate: false,
            }),
            other => {
                return Err(format!("{} is {other}, which this version does not cut", label(number, audio.language)));
            }
        }
    }
    let mut profile = Profile::new(codec, profiles);
    while !profile.map_fits() {
        profile.audio.pop();
    }
    Ok(profile)
}

/// Finds the core roles of a profile in a programme map. `Err` names the role and codec that do not fit.
pub(super) fn assign(profile: &Profile, map: &ProgramMap) -> Result<RolePids, String> {
    let video = match (profile.video, video(map)) {
        // A radio programme that shows a picture for a while is still radio.
        (None, _) => None,
        (Some(wanted), Some((pid, Kind::Video(codec)))) if codec == wanted => Some(pid),
        (Some(wanted), Some((_, other))) => return Err(format!("video is {other}, the profile says {wanted}")),
        (Some(wanted), None) => return Err(format!("the programme has no video, the profile says {wanted}")),
    };
    let mut left = audios(map);
    let mut pids = vec![None; profile.audio.len()];
    // Tags name an audio best; remuxers drop them but keep languages; some drop both.
    type Fits = fn(&AudioProfile, &Audio) -> bool;
    let passes: [Fits; 3] = [
        |want, have| want.component_tag.is_some() && want.component_tag == have.tag,
        |want, have| want.language == have.language && have.kind == Kind::Audio(want.codec),
        |want, have| (want.language.is_none() || have.language.is_none()) && have.kind == Kind::Audio(want.codec),
    ];
    for fits in passes {
        for (number, want) in profile.audio.iter().enumerate() {
            if pids[number].is_some() {
                continue;
            }
            let Some(at) = left.iter().position(|have| fits(want, have)) else { continue };
            let have = left.remove(at);
            if have.kind != Kind::Audio(want.codec) {
                return Err(format!(
                    "{} is {}, the profile says {}",
                    label(number, want.language),
                    have.kind,
                    want.codec
                ));
            }
            pids[number] = Some(have.pid);
        }
    }
    for (number, want) in profile.audio.iter().enumerate() {
        // An audio of the role's language in another codec is the role in another codec.
        let other = left.iter().find(|have| pids[number].is_none() && have.language == want.language);
        if let Some(other) = other {
            return Err(format!("{} is {}, the profile says {}", label(number, want.language), other.kind, want.codec));
        }
    }
    if let (None, Some(None), Some(want)) = (video, pids.first(), profile.audio.first()) {
        return Err(format!("the programme lacks {}, the profile says {}", label(0, want.language), want.codec));
    }
    Ok(RolePids { video, audio: pids })
}
