//! What a link is like, and its text form for command lines and scenario files.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use aftercast_protocol::time::Micros;
use serde::{Deserialize, Serialize};

use super::outage::{Effect, FOREVER, Outage, Outages};

/// Bytes that may wait in front of a link unless said otherwise: what home routers were found to hold, 0.3 s at 6 Mb/s.
pub const DEFAULT_QUEUE: u64 = 256 * 1024;
/// Longest time in a description: beyond a year it is a slip.
const MAX_TIME: u64 = 366 * 86_400 * 1_000_000;

/// Loss of packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// Share of packets lost in the long run, in parts per million.
    pub ppm: u32,
    /// Mean length of a run of losses, in packets (Gilbert's chain: all is lost in its bad state); `None` where each
    /// packet is lost or not by itself.
    pub burst: Option<u32>,
}

/// One direction of a link. Its text form is a list: `rate=6Mb/s,delay=20ms,jitter=5ms,loss=0.3%/burst=4`, in any
/// order, all of it optional; `unlimited` where nothing is said. [`LinkSpec::HELP`] lists what there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct LinkSpec {
    /// Bits a second; `None` where sending takes no time.
    pub rate: Option<NonZeroU64>,
    /// Most bytes that wait to be sent, per flow; at least 1. Over it a datagram is dropped and a stream's writer waits.
    pub queue: u64,
    /// From the end of sending to arrival.
    pub delay: Micros,
    /// Up to so much more, evenly distributed, for each packet.
    pub jitter: Micros,
    /// Whether datagrams may pass each other; otherwise one that is late holds up those behind it, as for streams.
    pub reorder: bool,
    /// Loss at random.
    pub loss: Option<Loss>,
    /// When nothing is sent.
    pub outages: Outages,
}

impl Default for LinkSpec {
    fn default() -> Self {
        Self {
            rate: None,
            queue: DEFAULT_QUEUE,
            delay: Micros(0),
            jitter: Micros(0),
            reorder: false,
            loss: None,
            outages: Outages::default(),
        }
    }
}

impl LinkSpec {
    /// Text forms with a line of explanation each, for `--help`.
    pub const HELP: &str = "  \
  rate=6Mb/s             sends no faster (b/s, kb/s, Mb/s, Gb/s)
  queue=256KiB           so much of each connection waits; more is dropped (datagrams) or not read (streams)
  delay=20ms             from sent to arrived (us, ms, s)
  jitter=5ms             up to so much more for each packet
  reorder                lets jitter change the order of datagrams
  loss=0.3%  loss=0.3%/burst=4
                         loses packets one by one, or so many in a row on average; a stream's segment of 1448 bytes
                         is lost once and costs a round trip, for itself and all behind it
  stall=10s/every=30s/phase=5s  stall=10s/at=60s
                         sends nothing for 10 s, from 5 s on every 30 s, or once after 60 s; everything waits
  partition=10s/at=60s   the same for both directions, and datagrams are lost
  cut=10s/at=60s         the same, and connections are reset when it begins; none is accepted until it ends
  stall=forever          until something else is set (partition and cut too)
  unlimited              none of it";

    /// Adds the partitions and cuts of the other direction, which are always of both.
    ///
    /// # Errors
    /// Both have some, and together they cannot be had ([`Outages::add`]).
    pub fn share_breaks(&mut self, other: &Self) -> Result<(), LinkError> {
        for outage in other.outages.iter().filter(|outage| outage.effect != Effect::Stall) {
            if !self.outages.iter().any(|own| own == outage) {
                self.outages.add(*outage)?;
            }
        }
        Ok(())
    }
}

/// A link's text was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("link `{item}`: {problem}")]
pub struct LinkError {
    /// The part of the text that is wrong.
    pub item: String,
    /// What is wrong, and what to write.
    pub problem: String,
}

impl LinkError {
    pub(super) fn of(item: &impl fmt::Display, problem: &str) -> Self {
        Self { item: item.to_string(), problem: problem.to_owned() }
    }
}

/// Units with their scale, the largest first; the last one writes what no other divides.
type Units = [(&'static str, u64)];
const RATES: &Units = &[("Gb/s", 1_000_000_000), ("Mb/s", 1_000_000), ("kb/s", 1_000), ("b/s", 1)];
const SIZES: &Units = &[("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
const TIMES: &Units = &[("ms", 1_000), ("us", 1), ("s", 1_000_000)];
const TIMES_OUT: &Units = &[("s", 1_000_000), ("ms", 1_000), ("us", 1)];
const SHARES: &Units = &[("%", 10_000)];

/// Reads a decimal number with a unit; `None` where it is not one.
fn read(text: &str, units: &Units) -> Option<u64> {
    let (number, scale) = units.iter().find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, *scale)))?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str, most| (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole, 20) || !digits(fraction, 9) {
        return None;
    }
    let fraction = fraction.parse::<u64>().ok()? * scale / 10_u64.pow(fraction.len() as u32);
    whole.parse::<u64>().ok()?.checked_mul(scale)?.checked_add(fraction)
}

/// Writes what [`read`] reads.
fn written(value: u64, units: &Units) -> String {
    let exact = units.iter().find(|(_, scale)| value.is_multiple_of(*scale)).or(units.last());
    let (unit, scale) = exact.expect("there is a unit");
    let (mut text, mut rest) = ((value / scale).to_string(), value % scale);
    if rest > 0 {
        text.push('.');
    }
    while rest > 0 {
        text.push_str(&(rest * 10 / scale).to_string());
        rest = rest * 10 % scale;
    }
    text + unit
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |time: Micros| written(time.0, TIMES_OUT);
        f.write_str(match self.effect {
            Effect::Stall => "stall=",
            Effect::Partition => "partition=",
            Effect::Cut => "cut=",
        })?;
        match (self.length, self.every) {
            (FOREVER, _) => f.write_str("forever"),
            (length, None) => write!(f, "{}/at={}", time(length), time(self.first)),
            (length, Some(every)) => write!(f, "{}/every={}/phase={}", time(length), time(every), time(self.first)),
        }
    }
}

impl fmt::Display for LinkSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut items = Vec::new();
        items.extend(self.rate.map(|rate| format!("rate={}", written(rate.get(), RATES))));
        if self.queue != DEFAULT_QUEUE {
            items.push(format!("queue={}", written(self.queue, SIZES)));
        }
        for (name, time) in [("delay", self.delay), ("jitter", self.jitter)] {
            if time.0 > 0 {
                items.push(format!("{name}={}", written(time.0, TIMES_OUT)));
            }
        }
        if self.reorder {
            items.push("reorder".to_owned());
        }
        items.extend(self.loss.map(|loss| {
            let burst = loss.burst.map(|burst| format!("/burst={burst}")).unwrap_or_default();
            format!("loss={}{burst}", written(u64::from(loss.ppm), SHARES))
        }));
        items.extend(self.outages.iter().map(Outage::to_string));
        f.write_str(if items.is_empty() { "unlimited".to_owned() } else { items.join(",") }.as_str())
    }
}

impl FromStr for LinkSpec {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut spec = Self::default();
        if text == "unlimited" {
            return Ok(spec);
        }
        let mut seen = Vec::new();
        for text in text.split(',') {
            let item = Item::of(text);
            if !matches!(item.name, "stall" | "partition" | "cut") {
                if seen.contains(&item.name) {
                    return Err(item.wrong("is there twice"));
                }
                seen.push(item.name);
            }
            item.put_into(&mut spec)?;
        }
        Ok(spec)
    }
}

/// One part of the list: `name=value/option=value/...`.
struct Item<'a> {
    text: &'a str,
    name: &'a str,
    value: Option<&'a str>,
    options: Vec<(&'a str, &'a str)>,
}

impl<'a> Item<'a> {
    fn of(text: &'a str) -> Self {
        // A slash is also in `6Mb/s`: what follows an option's slash has an equals sign.
        let mut main = text;
        let mut options = Vec::new();
        while let Some((rest, option)) = main.rsplit_once('/')
            && let Some(option) = option.split_once('=')
        {
            options.push(option);
            main = rest;
        }
        let (name, value) = main.split_once('=').map_or((main, None), |(name, value)| (name, Some(value)));
        Self { text, name, value, options }
    }

    fn wrong(&self, problem: &str) -> LinkError {
        LinkError::of(&self.text, problem)
    }

    fn put_into(&self, spec: &mut LinkSpec) -> Result<(), LinkError> {
        match self.name {
            "rate" => {
                let rate = self.number(RATES, "a rate is written 6Mb/s, 800kb/s or 1.5Gb/s")?;
                let rate = NonZeroU64::new(rate).ok_or_else(|| self.wrong("never sends: write stall=forever"))?;
                spec.rate = Some(rate);
            }
            "queue" => spec.queue = self.number(SIZES, "a size is written 256KiB, 2MiB or 1500B")?.max(1),
            "delay" => spec.delay = self.time(self.value)?,
            "jitter" => spec.jitter = self.time(self.value)?,
            "reorder" if self.value.is_none() => spec.reorder = true,
            "reorder" => return Err(self.wrong("takes no value")),
            "loss" => spec.loss = self.loss()?,
            "stall" => return self.outage(Effect::Stall, &mut spec.outages),
            "partition" => return self.outage(Effect::Partition, &mut spec.outages),
            "cut" => return self.outage(Effect::Cut, &mut spec.outages),
            "unlimited" => return Err(self.wrong("stands alone")),
            _ => {
                return Err(self.wrong(
                    "is none of rate, queue, delay, jitter, reorder, loss, stall, partition, cut, as in \
                     rate=6Mb/s,delay=20ms",
                ));
            }
        }
        if self.name == "loss" || self.options.is_empty() {
            Ok(())
        } else {
            Err(self.wrong("takes nothing after a slash"))
        }
    }

    fn number(&self, units: &Units, help: &str) -> Result<u64, LinkError> {
        self.value.and_then(|value| read(value, units)).ok_or_else(|| self.wrong(help))
    }

    fn time(&self, text: Option<&str>) -> Result<Micros, LinkError> {
        let time = text.and_then(|text| read(text, TIMES)).filter(|time| *time <= MAX_TIME);
        time.map(Micros).ok_or_else(|| self.wrong("a time is written 20ms, 1.5s or 300us, and is at most a year"))
    }

    fn loss(&self) -> Result<Option<Loss>, LinkError> {
        let ppm = self.number(SHARES, "a loss is written 0.3%")?;
        let ppm = u32::try_from(ppm).ok().filter(|ppm| *ppm <= 1_000_000);
        let ppm = ppm.ok_or_else(|| self.wrong("a loss is at most 100%"))?;
        let burst = match self.options[..] {
            [] => None,
            [("burst", burst)] => {
                let burst = burst.parse::<u32>().ok().filter(|burst| (1..=1_000_000).contains(burst));
                Some(
                    burst
                        .ok_or_else(|| self.wrong("a burst is a number of packets from 1 on, as loss=0.3%/burst=4"))?,
                )
            }
            _ => return Err(self.wrong("takes only a mean burst, as loss=0.3%/burst=4")),
        };
        // A run of losses is followed by a packet at least, so runs of 4 lose at most four fifths.
        let most = |burst: u32| u64::from(burst) * 1_000_000 / (u64::from(burst) + 1);
        if burst.is_some_and(|burst| u64::from(ppm) > most(burst)) {
            return Err(self.wrong("loses more than such bursts can: lengthen the burst"));
        }
        Ok((ppm > 0).then_some(Loss { ppm, burst }))
    }

    fn outage(&self, effect: Effect, outages: &mut Outages) -> Result<(), LinkError> {
        let (mut every, mut first) = (None, None);
        for (name, text) in &self.options {
            let place = match *name {
                "every" => &mut every,
                "phase" | "at" => &mut first,
                _ => return Err(self.wrong("takes /every= and /phase=, or /at=, as stall=10s/every=30s")),
            };
            if place.replace(self.time(Some(text))?).is_some() {
                return Err(self.wrong("says one thing twice"));
            }
        }
        let has = |name| self.options.iter().any(|(found, _)| *found == name);
        if has("at") == has("every") && has("at") || has("phase") && !has("every") {
            return Err(self.wrong("comes once at a time (/at=) or again and again (/every= and perhaps /phase=)"));
        }
        let length = match self.value {
            Some("forever") if self.options.is_empty() => FOREVER,
            Some("forever") => return Err(self.wrong("lasts for ever from the beginning: nothing after a slash")),
            value => self.time(value)?,
        };
        if length.0 == 0 && effect != Effect::Cut {
            return Err(self.wrong("lasts no time"));
        }
        let outage = Outage { effect, first: first.unwrap_or_default(), length, every };
        outages.add(outage).map_err(|error| LinkError { item: self.text.to_owned(), ..error })
    }
}

impl From<LinkSpec> for String {
    fn from(spec: LinkSpec) -> String {
        spec.to_string()
    }
}

impl TryFrom<String> for LinkSpec {
    type Error = LinkError;

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
            "unlimited",
            "rate=6Mb/s",
            "rate=1757720896b/s",
            "rate=1500kb/s,queue=64KiB,delay=20ms,jitter=500us,reorder,loss=0.3%/burst=4",
            "loss=0.0001%",
            "stall=10s/every=30s/phase=5s,partition=1500ms/at=60s,cut=0s/at=0s",
            "cut=forever",
        ] {
            let spec: LinkSpec = text.parse().expect(text);
            assert_eq!(spec.to_string(), text);
            assert_eq!(serde_json::to_string(&spec).expect("serialises"), format!("\"{text}\""));
        }
        let meant: LinkSpec = "delay=0.02s,rate=1.5Mb/s,stall=10s/every=30s".parse().expect("reads");
        assert_eq!(meant.to_string(), "rate=1500kb/s,delay=20ms,stall=10s/every=30s/phase=0s");
    }

    #[test]
    fn refuses_what_it_does_not_understand_and_says_what_to_write() {
        for (text, help) in [
            ("", "rate=6Mb/s"),
            ("rat=6Mb/s", "none of rate"),
            ("rate=6", "6Mb/s"),
            ("rate=6MB/s", "6Mb/s"),
            ("rate=99999999999999999999Gb/s", "6Mb/s"),
            ("rate=0Mb/s", "stall=forever"),
            ("rate=6Mb/s/burst=3", "slash"),
            ("rate=1Mb/s,rate=2Mb/s", "twice"),
            ("delay=20", "20ms"),
            ("delay=-1s", "20ms"),
            ("delay=999999999s", "a year"),
            ("jitter=1.é s", "20ms"),
            ("queue=1Gb/s", "256KiB"),
            ("reorder=8", "no value"),
            ("loss=101%", "100%"),
            ("loss=3", "0.3%"),
            ("loss=90%/burst=4", "lengthen"),
            ("loss=1%/burst=0", "from 1"),
            ("stall=10s/every=10s", "longer"),
            ("stall=10s/at=1s/every=30s", "once"),
            ("stall=10s/phase=1s", "once"),
            ("stall=1s/every=3s,stall=1s/every=4s", "second"),
            ("stall=forever/at=3s", "for ever"),
            ("stall=0s", "no time"),
            ("stall=1s/at=1s/at=2s", "twice"),
            ("stall=1ms/every=2ms", "10ms"),
            ("unlimited,rate=1Mb/s", "alone"),
        ] {
            let error = text.parse::<LinkSpec>().expect_err(text).to_string();
            assert!(error.contains(help), "{text}: {error}");
        }
    }
}
