//! What a channel's chunks are made of and where they are cut: the part of CCF that the seed publishes and signs.

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::{ChunkIndex, TimelineId, UnitDigest};
use crate::limits::{MAX_CORE_AUDIO, MAX_INTERVAL, MAX_PLAN_ANCHORS, MIN_INTERVAL};
use crate::time::{PTS_WRAP, Pts33, Ticks};

/// Version of the canonical chunk form. A change of one output byte is a new version.
pub const CCF_VERSION: u32 = 1;
/// Audio group grid `G` of a programme with video: frames of 200 ms share one PES.
pub const AUDIO_GRID: Ticks = Ticks(18_000);
/// Audio group grid `G` of radio.
pub const AUDIO_GRID_RADIO: Ticks = Ticks(7_200);
/// Bytes of a stream's entry in a PMT, without descriptors.
const MAP_ENTRY_BYTES: usize = 5;
/// Bytes of such entries in a packet: 184 less pointer, section header, PCR PID, information length and CRC.
const MAP_ROOM: usize = 184 - 1 - 8 - 4 - 4;
/// How far the written PCR lies before the DTS it stands beside: `D`.
pub const PCR_LEAD: Ticks = Ticks(63_000);

/// Codec of the core video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "lowercase")]
pub enum VideoCodec {
    /// H.264 (ISO/IEC 14496-10).
    #[n(0)]
    Avc,
    /// H.265 (ISO/IEC 23008-2).
    #[n(1)]
    Hevc,
    /// H.262 (ISO/IEC 13818-2).
    #[n(2)]
    Mpeg2,
}

impl VideoCodec {
    /// `stream_type` in a PMT (ISO/IEC 13818-1, table 2-34).
    #[must_use]
    pub fn stream_type(self) -> u8 {
        match self {
            Self::Avc => 0x1B,
            Self::Hevc => 0x24,
            Self::Mpeg2 => 0x02,
        }
    }
}

impl fmt::Display for VideoCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Avc => "AVC",
            Self::Hevc => "HEVC",
            Self::Mpeg2 => "MPEG-2 video",
        })
    }
}

/// Codec of a core audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "lowercase")]
pub enum AudioCodec {
    /// MPEG-1 and MPEG-2 audio, layers I to III (ISO/IEC 11172-3, 13818-3).
    #[n(0)]
    Mpeg,
    /// AAC in ADTS framing (ISO/IEC 13818-7).
    #[n(1)]
    AacAdts,
    /// AAC in LATM framing (ISO/IEC 14496-3).
    #[n(2)]
    AacLatm,
    /// AC-3 (ETSI TS 102 366).
    #[n(3)]
    Ac3,
    /// Enhanced AC-3 (ETSI TS 102 366, annex E).
    #[n(4)]
    Eac3,
}

impl fmt::Display for AudioCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mpeg => "MPEG audio",
            Self::AacAdts => "AAC (ADTS)",
            Self::AacLatm => "AAC (LATM)",
            Self::Ac3 => "AC-3",
            Self::Eac3 => "E-AC-3",
        })
    }
}

/// ISO 639-2 language of an audio: three ASCII letters in lower case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Language([u8; 3]);

impl Language {
    /// The language that these letters name; `None` unless all three are ASCII letters (broken descriptors occur).
    #[must_use]
    pub fn new(letters: [u8; 3]) -> Option<Self> {
        letters.iter().all(u8::is_ascii_alphabetic).then(|| Self(letters.map(|letter| letter.to_ascii_lowercase())))
    }
    /// The three letters.
    #[must_use]
    pub fn letters(self) -> [u8; 3] {
        self.0
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|&letter| write!(f, "{}", char::from(letter)))
    }
}
impl fmt::Debug for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl FromStr for Language {
    type Err = PlanError;
    fn from_str(text: &str) -> Result<Self, PlanError> {
        text.as_bytes()
            .try_into()
            .ok()
            .and_then(Self::new)
            .ok_or_else(|| PlanError::Language(text.chars().take(16).collect()))
    }
}
impl Serialize for Language {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Language {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}
impl<C> Encode<C> for Language {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}
impl<'b, C> Decode<'b, C> for Language {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let letters: Option<[u8; 3]> = d.bytes()?.try_into().ok();
        letters.and_then(Self::new).ok_or_else(|| minicbor::decode::Error::message("not a language of three letters"))
    }
}

/// One core audio of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AudioProfile {
    /// Its codec.
    #[n(0)]
    pub codec: AudioCodec,
    /// Its language, written into the canonical PMT.
    #[n(1)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
    /// Component tag by which a received PMT names it (EN 300 468, 6.2.39), where it has one.
    #[n(2)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component_tag: Option<u8>,
    /// MPEG audio below 32 kHz, which has a stream type of its own (ISO/IEC 13818-3, 2.4.2.3).
    #[n(3)]
    #[serde(default)]
    pub low_rate: bool,
}

impl AudioProfile {
    /// `stream_type` that the canonical PMT gives it (CCF 15).
    #[must_use]
    pub fn stream_type(&self) -> u8 {
        match self.codec {
            AudioCodec::Mpeg if self.low_rate => 0x04,
            AudioCodec::Mpeg => 0x03,
            AudioCodec::AacAdts => 0x0F,
            AudioCodec::AacLatm => 0x11,
            AudioCodec::Ac3 => 0x81,
            AudioCodec::Eac3 => 0x87,
        }
    }
}

impl AudioProfile {
    /// Descriptors that the canonical PMT gives it: registration where the codec has one, and language (CCF 15).
    pub(super) fn descriptors(&self) -> Vec<u8> {
        let mut descriptors = match self.codec {
            AudioCodec::Ac3 => b"\x05\x04AC-3".to_vec(),
            AudioCodec::Eac3 => b"\x05\x04EAC3".to_vec(),
            AudioCodec::Mpeg | AudioCodec::AacAdts | AudioCodec::AacLatm => Vec::new(),
        };
        if let Some(language) = self.language {
            let [a, b, c] = language.letters();
            descriptors.extend([0x0A, 4, a, b, c, 0]);
        }
        descriptors
    }

    /// Bytes of its entry in the canonical PMT.
    pub(super) fn map_bytes(&self) -> usize {
        MAP_ENTRY_BYTES + self.descriptors().len()
    }

    /// `stream_id` of its PES packets, where it is the `number`th audio (CCF 15).
    pub(super) fn stream_id(&self, number: u8) -> u8 {
        match self.codec {
            AudioCodec::Ac3 | AudioCodec::Eac3 => 0xBD,
            AudioCodec::Mpeg | AudioCodec::AacAdts | AudioCodec::AacLatm => 0xC0 + number,
        }
    }
}

/// The core streams of a channel, in the order in which every chunk carries them, and the constants of its form.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Version of the canonical chunk form ([`CCF_VERSION`]).
    #[n(0)]
    pub version: u32,
    /// The core video; `None` for radio.
    #[n(1)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub video: Option<VideoCodec>,
    /// Audio frames whose offsets in the chunk lie in one cell of this grid form one unit.
    #[n(2)]
    pub audio_grid: Ticks,
    /// Distance of the written PCR before the DTS.
    #[n(3)]
    pub pcr_lead: Ticks,
    /// Whether filler NAL units are dropped. Off until pairs of real receptions call for it.
    #[n(4)]
    #[serde(default)]
    pub strip_filler: bool,
    /// The core audios. Last, because TOML wants tables after plain values.
    #[n(5)]
    pub audio: Vec<AudioProfile>,
}

impl Profile {
    /// A profile of the current version with the default constants.
    #[must_use]
    pub fn new(video: Option<VideoCodec>, audio: Vec<AudioProfile>) -> Self {
        Self {
            version: CCF_VERSION,
            video,
            audio_grid: if video.is_some() { AUDIO_GRID } else { AUDIO_GRID_RADIO },
            pcr_lead: PCR_LEAD,
            strip_filler: false,
            audio,
        }
    }

    /// Number of core streams. Stream 0 is the video (or the radio's first audio) and carries the PCR.
    #[must_use]
    pub fn streams(&self) -> usize {
        usize::from(self.video.is_some()) + self.audio.len()
    }

    /// Whether the canonical PMT fits one packet, as the form wants it.
    pub(super) fn map_fits(&self) -> bool {
        let video = if self.video.is_some() { MAP_ENTRY_BYTES } else { 0 };
        video + self.audio.iter().map(AudioProfile::map_bytes).sum::<usize>() <= MAP_ROOM
    }

    /// Checks what a signed profile from elsewhere must hold before it is used.
    ///
    /// # Errors
    /// The first rule it breaks.
    pub fn check(&self) -> Result<(), PlanError> {
        if self.version != CCF_VERSION {
            return Err(PlanError::Version(self.version));
        }
        if self.video.is_none() && self.audio.is_empty() {
            return Err(PlanError::NoStreams);
        }
        if self.audio.len() > MAX_CORE_AUDIO || !self.map_fits() {
            return Err(PlanError::TooManyAudios(self.audio.len()));
        }
        if !(1..=MAX_INTERVAL.0).contains(&self.audio_grid.0) || !(0..=MAX_INTERVAL.0).contains(&self.pcr_lead.0) {
            return Err(PlanError::Constants);
        }
        Ok(())
    }
}

/// What a target resolved to: a chunk's opening unit (CCF 11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    /// Timeline as the seed numbers it.
    #[n(0)]
    pub timeline: TimelineId,
    /// Grid cell that the unit opens.
    #[n(1)]
    pub index: ChunkIndex,
    /// Canonical PTS of the unit.
    #[n(2)]
    pub pts: Pts33,
    /// Digest of the unit.
    #[n(3)]
    pub digest: UnitDigest,
}

/// Everything a receiver must know to cut a channel as all others do.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChunkPlan {
    /// Distance of targets on the grid.
    #[n(0)]
    pub interval: Ticks,
    /// What chunks are made of.
    #[n(1)]
    pub profile: Profile,
    /// Known boundaries, in order of timeline and index.
    #[n(2)]
    #[serde(default)]
    pub anchors: Vec<Anchor>,
}

impl ChunkPlan {
    /// Checks what a plan from elsewhere must hold before it is used.
    ///
    /// # Errors
    /// The first rule it breaks.
    pub fn check(&self) -> Result<(), PlanError> {
        check_interval(self.interval)?;
        if self.anchors.len() > MAX_PLAN_ANCHORS {
            return Err(PlanError::TooManyAnchors(self.anchors.len()));
        }
        if let Some(bad) = self.anchors.iter().find(|anchor| anchor.pts.0 >= PTS_WRAP) {
            return Err(PlanError::AnchorPts(bad.pts));
        }
        self.profile.check()
    }
}

pub(super) fn check_interval(interval: Ticks) -> Result<(), PlanError> {
    if (MIN_INTERVAL..=MAX_INTERVAL).contains(&interval) { Ok(()) } else { Err(PlanError::Interval(interval)) }
}

/// A plan that cannot be used. The plan's author is at fault; a retry with the same plan does not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A form that this program does not write.
    #[error("canonical form version {0} is not supported (this program writes version {CCF_VERSION})")]
    Version(u32),
    /// A grid finer or coarser than chunks can be.
    #[error("interval of {0} ticks is outside {MIN_INTERVAL} to {MAX_INTERVAL}")]
    Interval(Ticks),
    /// Neither video nor audio.
    #[error("profile has no core stream")]
    NoStreams,
    /// More audios than a chunk can carry.
    #[error("profile has {0} audios, more than {MAX_CORE_AUDIO}, or than the map of a chunk can describe")]
    TooManyAudios(usize),
    /// Audio grid or PCR lead out of range.
    #[error("profile's audio grid or PCR lead is out of range")]
    Constants,
    /// More anchors than a plan may list.
    #[error("plan has {0} anchors, more than {MAX_PLAN_ANCHORS}")]
    TooManyAnchors(usize),
    /// An anchor whose time is no 33-bit value.
    #[error("anchor pts {0} does not fit 33 bits")]
    AnchorPts(Pts33),
    /// Text that names no language.
    #[error("not a language of three letters: {0:?}")]
    Language(String),
}

/// Which programme of a transport stream to cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProgramSelect {
    /// The first programme of the PAT that has a core video, or where none has, the first with an audio.
    First,
    /// The programme of this number.
    Number(u16),
    /// The programme that the stream's own tables call so, in letters of either case (DVB's services, ATSC's virtual
    /// channels).
    Name(String),
}

impl FromStr for ProgramSelect {
    type Err = std::convert::Infallible;
    /// A number names a programme by its number, anything else by its name.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.parse().map_or_else(|_| Self::Name(text.to_owned()), Self::Number))
    }
}

impl fmt::Display for ProgramSelect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First => f.write_str("first"),
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}
