//! Every combination of codecs that FFmpeg can make, short, for laws that must hold for all of them.
//!
//! Pictures and sound are each coded once and then multiplexed, so that thirty combinations cost a dozen encodings.
//!
//! Not made, because no encoder here can: pictures coded as two fields (FFmpeg's MPEG-2 and x264 code interlaced
//! pictures as frames), E-AC-3 with dependent substreams.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{BroadcastError, kept};
use crate::media::ffmpeg::{self, words};

/// Seconds of every combination: twenty chunks of 480 ms.
pub const SECONDS: u32 = 10;
/// Ticks of 90 kHz from one random access point to the next.
pub const GROUP: i64 = 43_200;
/// Raised when the commands below change.
const FORM: u32 = 1;

/// How pictures are coded: 320x180, 25 a second, a random access point every twelve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pictures {
    /// H.264, closed groups.
    Avc,
    /// H.264, open groups: recovery points instead of IDR pictures, with pictures that lead them.
    AvcOpen,
    /// H.264, interlaced, fields adaptively in frames (MBAFF).
    AvcInterlaced,
    /// H.265, open groups.
    Hevc,
    /// H.262, open groups.
    Mpeg2,
    /// H.262, interlaced.
    Mpeg2Interlaced,
}

/// How sound is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sound {
    /// AAC-LC in ADTS, 48 kHz.
    Aac,
    /// AAC-LC in ADTS, 44.1 kHz.
    AacCd,
    /// AAC-LC in LATM, 48 kHz.
    Latm,
    /// MPEG-1 layer II, 48 kHz.
    Mp2,
    /// MPEG-1 layer II, 44.1 kHz.
    Mp2Cd,
    /// AC-3, 48 kHz.
    Ac3,
    /// E-AC-3, 48 kHz.
    Eac3,
}

/// Which of several programmes with the same streams, clock and frame times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Programme {
    /// The one that is recorded.
    Main,
    /// One to be inserted.
    Inserted,
    /// One to be inserted, with a random access point every ten pictures.
    InsertedInOtherPhase,
}

/// A programme of the table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Combination {
    /// `None` for radio.
    pub pictures: Option<Pictures>,
    /// At least one; the first is German, the second English.
    pub sound: Vec<Sound>,
    /// AC-3 and E-AC-3 are signalled as EN 300 468 has it, else as ATSC A/53.
    pub dvb: bool,
}

impl Pictures {
    fn name(self) -> &'static str {
        match self {
            Self::Avc => "avc",
            Self::AvcOpen => "avc-open",
            Self::AvcInterlaced => "avc-interlaced",
            Self::Hevc => "hevc",
            Self::Mpeg2 => "mpeg2",
            Self::Mpeg2Interlaced => "mpeg2-interlaced",
        }
    }

    /// With a random access point every so many pictures.
    fn encoder(self, group: u32) -> Vec<OsString> {
        let group = group.to_string();
        let x264 = |flags: &str, more: &str| {
            let fixed =
                ["-c:v", "libx264", "-preset", "ultrafast", "-b:v", "600k", "-maxrate", "600k", "-bufsize", "600k"];
            let groups = ["-g", &group, "-keyint_min", &group, "-sc_threshold", "0", "-bf", "2", "-threads", "2"];
            [words(&fixed), words(&groups), words(&["-flags", flags, "-x264-params", more])].concat()
        };
        let mpeg2 = |flags: &str| {
            let fixed = ["-c:v", "mpeg2video", "-b:v", "800k", "-maxrate", "800k", "-bufsize", "800k", "-flags", flags];
            [words(&fixed), words(&["-g", &group, "-bf", "2", "-sc_threshold", "1000000000", "-threads", "1"])].concat()
        };
        match self {
            Self::Avc => x264("+cgop", "open-gop=0"),
            Self::AvcOpen => x264("-cgop", "open-gop=1:b-adapt=0"),
            Self::AvcInterlaced => x264("+cgop+ilme+ildct", "tff=1"),
            Self::Hevc => {
                // One thread each, so that the same pictures come out on every machine.
                let fixed = ["-c:v", "libx265", "-preset", "ultrafast", "-b:v", "600k", "-x265-params"];
                let more = format!(
                    "log-level=error:keyint={group}:min-keyint={group}:scenecut=0:bframes=2:b-adapt=0:open-gop=1:\
                     pools=1:frame-threads=1"
                );
                [words(&fixed), words(&[&more])].concat()
            }
            Self::Mpeg2 => mpeg2("-cgop"),
            Self::Mpeg2Interlaced => mpeg2("-cgop+ilme+ildct"),
        }
    }
}

impl Sound {
    fn name(self) -> &'static str {
        match self {
            Self::Aac => "aac",
            Self::AacCd => "aac44",
            Self::Latm => "latm",
            Self::Mp2 => "mp2",
            Self::Mp2Cd => "mp2-44",
            Self::Ac3 => "ac3",
            Self::Eac3 => "eac3",
        }
    }

    /// Encoder, sampling rate, and a container that keeps the codec and exact times.
    fn encoder(self) -> (&'static str, u32, &'static str) {
        match self {
            Self::Aac | Self::Latm => ("aac", 48_000, "nut"),
            Self::AacCd => ("aac", 44_100, "nut"),
            Self::Mp2 => ("mp2", 48_000, "nut"),
            Self::Mp2Cd => ("mp2", 44_100, "nut"),
            Self::Ac3 => ("ac3", 48_000, "nut"),
            // NUT has one tag for both kinds of AC-3.
            Self::Eac3 => ("eac3", 48_000, "eac3"),
        }
    }

    /// A frame lasts no whole number of 90 kHz ticks, so that times depend on grouping (CCF 7).
    #[must_use]
    pub fn is_uneven(self) -> bool {
        matches!(self, Self::AacCd | Self::Mp2Cd)
    }
}

impl std::fmt::Display for Combination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.pictures.map_or("radio", Pictures::name))?;
        self.sound.iter().try_for_each(|sound| write!(f, "+{}", sound.name()))?;
        f.write_str(if self.dvb { " dvb" } else { "" })
    }
}

impl Combination {
    /// All there are: pictures by sound, then open and interlaced pictures, two audios, DVB signalling, radio.
    #[must_use]
    pub fn all() -> Vec<Self> {
        use Pictures::*;
        use Sound::*;
        let plain = |pictures, sound: &[Sound]| Self { pictures, sound: sound.to_vec(), dvb: false };
        let square = [Avc, Hevc, Mpeg2]
            .into_iter()
            .flat_map(|pictures| [Aac, Latm, Mp2, Mp2Cd, Ac3, Eac3].map(|sound| plain(Some(pictures), &[sound])));
        let more = [
            plain(Some(AvcOpen), &[AacCd]),
            plain(Some(AvcInterlaced), &[Mp2, Aac]),
            Self { dvb: true, ..plain(Some(Mpeg2Interlaced), &[Ac3]) },
            Self { dvb: true, ..plain(Some(Hevc), &[Eac3, Latm]) },
            plain(Some(Mpeg2), &[Mp2, Ac3]),
        ];
        let radio = [Aac, AacCd, Latm, Mp2, Mp2Cd, Ac3, Eac3].map(|sound| plain(None, &[sound]));
        square.chain(more).chain(radio).collect()
    }

    /// Makes it, or finds it in `folder` if it was made before. Safe for several processes at once.
    ///
    /// # Errors
    /// FFmpeg is missing or failed, or the folder cannot be used.
    pub fn make(&self, programme: Programme, folder: &Path) -> Result<PathBuf, BroadcastError> {
        kept(folder, &format!("{FORM} {programme:?} {self:?}"), "ts", |path| {
            let mut arguments = words(&["-hide_banner", "-nostdin", "-loglevel", "error", "-y"]);
            let mut inputs = Vec::new();
            inputs.extend(self.pictures.map(|pictures| encoded_pictures(pictures, programme, folder)));
            inputs.extend(self.sound.iter().map(|sound| encoded_sound(*sound, programme, folder)));
            for input in inputs {
                arguments.extend([OsString::from("-i"), input?.into()]);
            }
            let count = self.sound.len() + usize::from(self.pictures.is_some());
            (0..count).for_each(|input| arguments.extend(words(&["-map", &input.to_string()])));
            for (index, language) in ["deu", "eng"].iter().enumerate().take(self.sound.len()) {
                arguments.extend(words(&[&format!("-metadata:s:a:{index}"), &format!("language={language}")]));
            }
            let latm = self.sound.contains(&Sound::Latm);
            let flags = format!("{}{}", if latm { "+latm" } else { "" }, if self.dvb { "+system_b" } else { "" });
            if !flags.is_empty() {
                arguments.extend(words(&["-mpegts_flags", &flags]));
            }
            let rate = if self.pictures.is_some() { 1_000_000 + 250_000 * self.sound.len() } else { 250_000 };
            let rate = rate.to_string();
            arguments.extend(words(&["-c", "copy", "-muxrate", &rate, "-pat_period", "0.2", "-f", "mpegts"]));
            arguments.push(path.into());
            ffmpeg::run("ffmpeg", &arguments)?;
            Ok(())
        })
    }
}

fn encoded_pictures(pictures: Pictures, programme: Programme, folder: &Path) -> Result<PathBuf, BroadcastError> {
    let (group, hue) = match programme {
        Programme::Main => (12, 0),
        Programme::Inserted => (12, 90),
        Programme::InsertedInOtherPhase => (10, 180),
    };
    // A transport stream repeats parameter sets at every random access point, as broadcasts do.
    kept(folder, &format!("{FORM} {pictures:?} {programme:?}"), "ts", |path| {
        let picture = format!(
            "testsrc2=size=320x180:rate=25:duration={SECONDS},scroll=h=0.004:v=0.002,hue=h={hue},format=yuv420p,\
             noise=alls=10:allf=t"
        );
        encode(&picture, pictures.encoder(group), "mpegts", path)
    })
}

fn encoded_sound(sound: Sound, programme: Programme, folder: &Path) -> Result<PathBuf, BroadcastError> {
    let (codec, rate, container) = sound.encoder();
    let base = if programme == Programme::Main { 220 } else { 330 };
    kept(folder, &format!("{FORM} {sound:?} {base}"), container, |path| {
        let tone = format!("aevalsrc='0.3*sin(2*PI*t*({base}+20*mod(floor(t)\\,12)))':s={rate}:c=stereo:d={SECONDS}");
        encode(&tone, words(&["-c:a", codec, "-b:a", "128k"]), container, path)
    })
}

fn encode(source: &str, encoder: Vec<OsString>, container: &str, path: &Path) -> Result<(), BroadcastError> {
    let before = words(&["-hide_banner", "-nostdin", "-loglevel", "error", "-y", "-f", "lavfi", "-i", source]);
    ffmpeg::run("ffmpeg", &[before, encoder, words(&["-f", container]), vec![path.into()]].concat())?;
    Ok(())
}
