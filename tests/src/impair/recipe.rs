//! Recipes: what can happen to a broadcast between its encoder and one recorder, each with a text form for command
//! lines and scenario files.

use std::fmt;
use std::str::FromStr;

/// A share in parts per million. Text form: percent, `0.3%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(pub u32);

/// A time in 90 kHz ticks, possibly negative. Text forms: `5s`, `-1.5s`, `20ms`, `450t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticks(pub i64);

/// One thing that happens to a reception. `harmless` recipes leave the coded pictures and sound as they were.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Recipe {
    /// `remux=10s`: FFmpeg copies the streams into a transport stream of its own, times shifted. Harmless.
    Remux(Ticks),
    /// `hls=2s`: FFmpeg cuts the streams into HLS segments of that length; they are read one after the other. Harmless.
    Hls(Ticks),
    /// `repacketise`: PES packets of video and audio are spread over other packets, with random stuffing. Harmless.
    Repacketise,
    /// `pes-headers`: PES headers get stuffing, flags, DTS equal to PTS; video lengths are set or cleared. Harmless.
    PesHeaders,
    /// `regroup=6`: audio frames are grouped anew, one to that many in a PES packet. Harmless.
    Regroup(u32),
    /// `delimiters=add`: every AVC or HEVC PES packet without an access unit delimiter gets one. Harmless.
    AddDelimiters,
    /// `delimiters=remove`: AVC and HEVC access unit delimiters are taken out. Harmless.
    RemoveDelimiters,
    /// `pts-shift=5s`: all clocks of the stream are moved. Harmless.
    PtsShift(Ticks),
    /// `pts-wrap=5s`: all clocks are moved so that the 33-bit PTS wraps that long after the first picture. Harmless.
    PtsWrap(Ticks),
    /// `jump=5s/by=-3s`: from the first key frame at or after a time on, all clocks are moved: a new timeline. Frames
    /// are untouched; the jump is in the log.
    Jump {
        /// How long after the first picture.
        at: Ticks,
        /// How far the clocks move.
        by: Ticks,
    },
    /// `nulls=drop`: null packets are taken out. Harmless.
    DropNulls,
    /// `nulls=10%`: so many null packets are added, relative to all packets. Harmless.
    AddNulls(Share),
    /// `pcr-restamp=-20ms`: clock references move against the time stamps. Harmless.
    PcrRestamp(Ticks),
    /// `pcr-jitter=2ms`: clock references err by up to that much. Harmless.
    PcrJitter(Ticks),
    /// `counters`: continuity counters of each PID start elsewhere. Harmless.
    Counters,
    /// `flags`: transport priority and the hints of adaptation fields are random. Harmless.
    Flags,
    /// `si-noise=2%`: sections of service information (right and wrong CRC) are put between. Harmless.
    SiNoise(Share),
    /// `duplicates=1%`: packets are sent twice, as 2.4.3.3 allows. Harmless.
    Duplicates(Share),
    /// `pid-remap`: PMTs and elementary streams get other PIDs. Harmless.
    PidRemap,
    /// `pmt-version=3`: the version of the PMTs changes so many times. Harmless.
    PmtVersion(u32),
    /// `reorder=8`: packets of different PIDs pass each other within a window of so many. Harmless.
    Reorder(u32),
    /// `loss=0.3%/burst=20`: that share of packets is lost, in bursts of the given mean length.
    Loss {
        /// Share of all packets, met exactly.
        rate: Share,
        /// Mean burst length in packets; 1 for packets lost one by one.
        burst: u32,
    },
    /// `single=3`: so many single video or audio packets are lost.
    Single(u32),
    /// `lose16=1`: so many times exactly 16 payload packets of the video PID in a row are lost; counters cannot tell.
    Lose16(u32),
    /// `truncate=2`: so many video or audio packets lose their tail, and the stream its step.
    Truncate(u32),
    /// `tei=0.1%`: that share of packets arrives marked as erroneous, with errors, sometimes in the PID.
    Tei(Share),
    /// `flips=3`: so many video or audio packets have one payload bit changed, and nothing says so.
    Flips(u32),
    /// `late=3.2s`: the reception starts that long after the source, anywhere inside a packet. An edge in the log.
    LateStart(Ticks),
    /// `early=1.5s`: the reception ends that long before the source, anywhere inside a packet. An edge in the log.
    EarlyEnd(Ticks),
    /// `audio=extra`: another audio in another language, a copy of the last. Harmless to a plan that does not name it.
    ExtraAudio,
    /// `audio=drop`: the last audio is taken out. Harmless to a plan that does not name it.
    DropAudio,
    /// `rtp-loss=0.4%`: RTP datagrams of seven packets are lost.
    RtpLoss(Share),
    /// `rtp-reorder=8`: RTP datagrams fall behind by up to so many. Harmless.
    RtpReorder(u32),
    /// `rtp-duplicates=2%`: RTP datagrams come twice. Harmless.
    RtpDuplicates(Share),
    /// `framing=192` or `framing=204`: four bytes before, or sixteen behind each packet. Harmless.
    Framing(u32),
}

impl Recipe {
    /// Whether every coded frame of the source arrives, under one clock.
    pub fn is_harmless(&self) -> bool {
        use Recipe::*;
        !matches!(
            self,
            Loss { .. }
                | Single(_)
                | Lose16(_)
                | Truncate(_)
                | Tei(_)
                | Flips(_)
                | LateStart(_)
                | EarlyEnd(_)
                | RtpLoss(_)
                | Jump { .. }
        )
    }

    /// Text forms with a line of explanation each, for `--help`.
    pub const HELP: &str = "  \
  remux=10s  hls=2s                          through FFmpeg: copied into another stream, or HLS segments
  repacketise  pes-headers  regroup=6        other packets, other PES headers, other audio grouping
  delimiters=add|remove                      access unit delimiters
  pts-shift=5s  pts-wrap=5s  jump=5s/by=-3s  all clocks moved; 33-bit wrap after 5 s; another timeline after 5 s
  nulls=drop  nulls=10%                      null packets
  pcr-restamp=-20ms  pcr-jitter=2ms          clock references
  counters  flags  si-noise=2%               counter phase, priority and hints, foreign sections
  duplicates=1%  reorder=8                   legal duplicates; packets of different PIDs pass each other
  pid-remap  pmt-version=3                   other PIDs; PMT version changes
  loss=0.3%/burst=20  single=3  lose16=1     lost packets
  truncate=2  tei=0.1%  flips=3              torn, marked and silently changed packets
  audio=extra|drop                           a secondary audio more, or one less
  rtp-loss=0.4%  rtp-reorder=8  rtp-duplicates=2%  datagrams of seven packets; the output is what is put in order
  late=3.2s  early=1.5s                      late start, early end
  framing=192|204                            bytes around each packet";
}

/// A recipe's text was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecipeError {
    /// No recipe has this name.
    #[error("unknown recipe `{0}`")]
    Unknown(String),
    /// The value does not fit the recipe.
    #[error("recipe `{recipe}`: {problem}")]
    Value {
        /// The text given.
        recipe: String,
        /// What is wrong.
        problem: &'static str,
    },
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", decimal(i64::from(self.0), 10_000))
    }
}

impl FromStr for Share {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_suffix('%').ok_or("a share is given in percent, as 0.3%")?;
        let ppm = scaled(number, 10_000).ok_or("not a number")?;
        let ppm = u32::try_from(ppm).map_err(|_| "a share is at least 0%")?;
        if ppm > 1_000_000 { Err("a share is at most 100%") } else { Ok(Share(ppm)) }
    }
}

impl fmt::Display for Ticks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ticks if ticks % 9_000 == 0 => write!(f, "{}s", decimal(ticks, 90_000)),
            ticks if ticks % 90 == 0 => write!(f, "{}ms", ticks / 90),
            ticks => write!(f, "{ticks}t"),
        }
    }
}

impl FromStr for Ticks {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let units = [("ms", 90), ("s", 90_000), ("t", 1)];
        let found = units.iter().find_map(|(suffix, scale)| Some((text.strip_suffix(suffix)?, *scale)));
        let (number, scale) = found.ok_or("a time is given as 5s, 20ms or 450t (90 kHz ticks)")?;
        scaled(number, scale).map(Ticks).ok_or("not a number")
    }
}

/// Writes `value / scale` exactly (for scales that divide a power of ten).
fn decimal(value: i64, scale: i64) -> String {
    let (whole, mut rest) = (value.abs() / scale, value.abs() % scale);
    let mut text = format!("{}{whole}", if value < 0 { "-" } else { "" });
    if rest > 0 {
        text.push('.');
    }
    while rest > 0 {
        text.push_str(&(rest * 10 / scale).to_string());
        rest = rest * 10 % scale;
    }
    text
}

/// Reads a decimal number times `scale`, rounded down; `None` where it is not one or is absurdly large.
fn scaled(text: &str, scale: i64) -> Option<i64> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |text: &str| text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !plain(whole) || !plain(fraction) {
        return None;
    }
    let mut value = whole.parse::<i64>().ok()? * scale;
    if !fraction.is_empty() {
        value += fraction.parse::<i64>().ok()? * scale / 10_i64.pow(fraction.len() as u32);
    }
    Some(if negative { -value } else { value })
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Recipe::*;
        match self {
            Remux(by) => write!(f, "remux={by}"),
            Hls(length) => write!(f, "hls={length}"),
            Repacketise => write!(f, "repacketise"),
            PesHeaders => write!(f, "pes-headers"),
            Regroup(most) => write!(f, "regroup={most}"),
            AddDelimiters => write!(f, "delimiters=add"),
            RemoveDelimiters => write!(f, "delimiters=remove"),
            PtsShift(by) => write!(f, "pts-shift={by}"),
            PtsWrap(after) => write!(f, "pts-wrap={after}"),
            Jump { at, by } => write!(f, "jump={at}/by={by}"),
            DropNulls => write!(f, "nulls=drop"),
            AddNulls(share) => write!(f, "nulls={share}"),
            PcrRestamp(by) => write!(f, "pcr-restamp={by}"),
            PcrJitter(reach) => write!(f, "pcr-jitter={reach}"),
            Counters => write!(f, "counters"),
            Flags => write!(f, "flags"),
            SiNoise(share) => write!(f, "si-noise={share}"),
            Duplicates(share) => write!(f, "duplicates={share}"),
            PidRemap => write!(f, "pid-remap"),
            PmtVersion(times) => write!(f, "pmt-version={times}"),
            Reorder(window) => write!(f, "reorder={window}"),
            Loss { rate, burst } => write!(f, "loss={rate}/burst={burst}"),
            Single(count) => write!(f, "single={count}"),
            Lose16(count) => write!(f, "lose16={count}"),
            Truncate(count) => write!(f, "truncate={count}"),
            Tei(share) => write!(f, "tei={share}"),
            Flips(count) => write!(f, "flips={count}"),
            LateStart(by) => write!(f, "late={by}"),
            EarlyEnd(by) => write!(f, "early={by}"),
            ExtraAudio => write!(f, "audio=extra"),
            DropAudio => write!(f, "audio=drop"),
            RtpLoss(share) => write!(f, "rtp-loss={share}"),
            RtpReorder(window) => write!(f, "rtp-reorder={window}"),
            RtpDuplicates(share) => write!(f, "rtp-duplicates={share}"),
            Framing(bytes) => write!(f, "framing={bytes}"),
        }
    }
}

impl FromStr for Recipe {
    type Err = RecipeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |problem| RecipeError::Value { recipe: text.to_owned(), problem };
        let (main, option) = text.split_once('/').map_or((text, None), |(main, option)| (main, Some(option)));
        let (name, value) = main.split_once('=').map_or((main, None), |(name, value)| (name, Some(value)));
        let option = |key: &str| match option {
            None => Ok(None),
            Some(option) => match option.split_once('=') {
                Some((found, value)) if found == key => Ok(Some(value)),
                _ => Err(wrong("unknown option after the slash")),
            },
        };
        let needed = || value.ok_or_else(|| wrong("needs a value"));
        let ticks = || needed()?.parse::<Ticks>().map_err(wrong);
        let length = || ticks().and_then(|time| if time.0 < 0 { Err(wrong("is not negative")) } else { Ok(time) });
        let share = || needed()?.parse::<Share>().map_err(wrong);
        let count = || needed()?.parse::<u32>().ok().filter(|count| *count > 0).ok_or_else(|| wrong("not a count"));
        let none = |recipe| if value.is_some() { Err(wrong("takes no value")) } else { Ok(recipe) };
        let recipe = match (name, value) {
            ("remux", _) => Recipe::Remux(length()?),
            ("hls", _) => Recipe::Hls(length()?),
            ("repacketise", _) => none(Recipe::Repacketise)?,
            ("pes-headers", _) => none(Recipe::PesHeaders)?,
            ("regroup", _) => Recipe::Regroup(count()?),
            ("delimiters", Some("add")) => Recipe::AddDelimiters,
            ("delimiters", Some("remove")) => Recipe::RemoveDelimiters,
            ("delimiters", _) => return Err(wrong("add or remove")),
            ("pts-shift", _) => Recipe::PtsShift(ticks()?),
            ("pts-wrap", _) => Recipe::PtsWrap(length()?),
            ("jump", _) => {
                let by = option("by")?.ok_or_else(|| wrong("needs /by=TIME"))?;
                return Ok(Recipe::Jump { at: length()?, by: by.parse().map_err(wrong)? });
            }
            ("nulls", Some("drop")) => Recipe::DropNulls,
            ("nulls", _) => Recipe::AddNulls(share()?),
            ("pcr-restamp", _) => Recipe::PcrRestamp(ticks()?),
            ("pcr-jitter", _) => Recipe::PcrJitter(length()?),
            ("counters", _) => none(Recipe::Counters)?,
            ("flags", _) => none(Recipe::Flags)?,
            ("si-noise", _) => Recipe::SiNoise(share()?),
            ("duplicates", _) => Recipe::Duplicates(share()?),
            ("pid-remap", _) => none(Recipe::PidRemap)?,
            ("pmt-version", _) => Recipe::PmtVersion(count()?),
            ("reorder", _) => Recipe::Reorder(count()?),
            ("loss", _) => {
                let burst = option("burst")?.unwrap_or("1").parse().ok().filter(|burst| *burst > 0);
                return Ok(Recipe::Loss { rate: share()?, burst: burst.ok_or_else(|| wrong("not a burst length"))? });
            }
            ("single", _) => Recipe::Single(count()?),
            ("lose16", _) => Recipe::Lose16(count()?),
            ("truncate", _) => Recipe::Truncate(count()?),
            ("tei", _) => Recipe::Tei(share()?),
            ("flips", _) => Recipe::Flips(count()?),
            ("late", _) => Recipe::LateStart(length()?),
            ("early", _) => Recipe::EarlyEnd(length()?),
            ("audio", Some("extra")) => Recipe::ExtraAudio,
            ("audio", Some("drop")) => Recipe::DropAudio,
            ("audio", _) => return Err(wrong("extra or drop")),
            ("rtp-loss", _) => Recipe::RtpLoss(share()?),
            ("rtp-reorder", _) => Recipe::RtpReorder(count()?),
            ("rtp-duplicates", _) => Recipe::RtpDuplicates(share()?),
            ("framing", Some("192")) => Recipe::Framing(192),
            ("framing", Some("204")) => Recipe::Framing(204),
            ("framing", _) => return Err(wrong("192 or 204")),
            _ => return Err(RecipeError::Unknown(text.to_owned())),
        };
        option("")?.map_or(Ok(recipe), |_| Err(wrong("takes no option")))
    }
}

impl From<Recipe> for String {
    fn from(recipe: Recipe) -> String {
        recipe.to_string()
    }
}

impl TryFrom<String> for Recipe {
    type Error = RecipeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_survives_reading_and_writing() {
        for text in [
            "remux=10s",
            "hls=2s",
            "repacketise",
            "pes-headers",
            "regroup=6",
            "delimiters=add",
            "delimiters=remove",
            "pts-shift=-1.5s",
            "pts-wrap=5s",
            "jump=5s/by=-3s",
            "nulls=drop",
            "nulls=10%",
            "pcr-restamp=-20ms",
            "pcr-jitter=45t",
            "counters",
            "flags",
            "si-noise=2%",
            "duplicates=1%",
            "pid-remap",
            "pmt-version=3",
            "reorder=8",
            "loss=0.3%/burst=20",
            "single=3",
            "lose16=1",
            "truncate=2",
            "tei=0.0001%",
            "flips=3",
            "late=3.2s",
            "early=1.5s",
            "audio=extra",
            "audio=drop",
            "rtp-loss=0.4%",
            "rtp-reorder=8",
            "rtp-duplicates=2%",
            "framing=192",
            "framing=204",
        ] {
            let recipe: Recipe = text.parse().expect(text);
            assert_eq!(recipe.to_string(), text);
            assert_eq!(serde_json::to_string(&recipe).expect("serialises"), format!("\"{text}\""));
        }
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        for text in [
            "",
            "los=1%",
            "loss",
            "loss=1",
            "loss=101%",
            "loss=-1%",
            "loss=1%/mean=3",
            "loss=1%/burst=0",
            "jump=5s",
            "late=-1s",
            "late=3",
            "framing=200",
            "regroup=0",
            "counters=1",
            "flags/x=1",
            "late=99999999999999s",
            "late=1.é s",
        ] {
            assert!(text.parse::<Recipe>().is_err(), "{text}");
        }
    }
}
