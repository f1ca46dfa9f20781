//! A scenario: what an operator wants judged. Strict TOML, units in the names, and every fault named by file and line.

use std::ops::Range;
use std::path::Path;

use aftercast_protocol::duty::DutyConfig;
use aftercast_protocol::limits::MAX_RECORDERS;
use aftercast_protocol::time::Micros;
use aftercast_protocol::truth::TruthConfig;
use serde::Deserialize;
use toml::Spanned;

/// Homes in all: as many as record one channel on one shard.
const MAX_HOMES: u64 = MAX_RECORDERS as u64;
/// Homes times chunks of a run: beyond that it takes minutes and gigabytes.
const MAX_RECEPTIONS: u64 = 20_000_000;
/// Chunks of a run: a week of 4-second chunks.
const MAX_CHUNKS: u64 = 151_200;

/// One recording group.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// All chance of the run follows from it.
    pub random_seed: u64,
    /// What is recorded.
    pub recording: Spanned<Recording>,
    /// The seed's settings.
    #[serde(default)]
    pub seed_server: SeedServer,
    /// Who records it, in classes of equal homes.
    pub homes: Vec<Spanned<Homes>>,
}

/// What is recorded.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recording {
    /// Length of the programme, in seconds.
    pub duration_s: u64,
    /// Distance of targets, in milliseconds.
    pub interval_ms: u64,
    /// Mean bit rate, in kilobits per second.
    pub bitrate_kbps: u64,
    /// How far a chunk's size may lie from the mean, in percent.
    #[serde(default)]
    pub size_spread_percent: u64,
    /// How long to go on after the programme for what is still to be uploaded, in seconds.
    #[serde(default = "hour")]
    pub upload_after_s: u64,
}

/// Settings of the seed; those of the real one by default.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedServer {
    /// Witnesses asked per chunk.
    pub witnesses: Option<usize>,
    /// Wait for reports after a chunk's first one, in milliseconds.
    pub decide_after_ms: Option<u64>,
    /// Wait for holders before an uploader is chosen, in milliseconds.
    pub gather_ms: Option<u64>,
    /// Pulls from one home at once.
    pub pulls_per_home: Option<usize>,
    /// Pulls in all at once.
    pub pulls: Option<usize>,
    /// When the seed should have a chunk, in milliseconds after its decision.
    pub store_within_ms: Option<u64>,
}

/// A class of equal homes, each its own subscriber.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Homes {
    /// Name of the class, for the report.
    pub class: String,
    /// How many there are.
    pub count: u64,
    /// What the line carries upstream, in kilobits per second.
    pub uplink_kbps: u64,
    /// What the home says that it carries; the truth if absent.
    pub declared_kbps: Option<u64>,
    /// Share of the line that the owner allows, in percent.
    #[serde(default = "all")]
    pub share_percent: u8,
    /// Paid by volume.
    #[serde(default)]
    pub metered: bool,
    /// Runs on battery.
    #[serde(default)]
    pub on_battery: bool,
    /// Chunks that the reception damages, in percent.
    #[serde(default)]
    pub damaged_percent: u64,
    /// How long after the beginning these homes start to record, in seconds.
    #[serde(default)]
    pub starts_after_s: u64,
    /// Longest time from a chunk's end to the home's report, in milliseconds; drawn evenly from 0 per home.
    #[serde(default = "two_seconds")]
    pub report_within_ms: u64,
    /// Mean time that a home stays on, in seconds, give or take half; always on if absent.
    pub on_s: Option<u64>,
    /// Mean time that it then stays off, in seconds.
    #[serde(default)]
    pub off_s: u64,
    /// These homes all report the same false chunk.
    #[serde(default)]
    pub hostile: bool,
}

fn hour() -> u64 {
    3600
}
fn all() -> u8 {
    100
}
fn two_seconds() -> u64 {
    2000
}

/// A scenario that cannot be run; its author is at fault.
#[derive(Debug)]
pub struct ScenarioError(String);

impl std::fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for ScenarioError {}

impl Scenario {
    /// Reads and checks a scenario.
    ///
    /// # Errors
    /// What is wrong, with file and line.
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        let file = path.display();
        let text = std::fs::read_to_string(path).map_err(|e| ScenarioError(format!("{file}: {e}")))?;
        let place = |span: Option<Range<usize>>| match span {
            Some(span) => format!("{file}:{}", line(&text, span.start)),
            None => file.to_string(),
        };
        let scenario: Self =
            toml::from_str(&text).map_err(|e| ScenarioError(format!("{}: {}", place(e.span()), e.message())))?;
        scenario.check().map_err(|(span, what)| ScenarioError(format!("{}: {what}", place(span))))?;
        Ok(scenario)
    }

    fn check(&self) -> Result<(), (Option<Range<usize>>, String)> {
        let recording = self.recording.get_ref();
        let fault = |what: &str| Err((Some(self.recording.span()), what.to_owned()));
        if !(200..=60_000).contains(&recording.interval_ms) {
            return fault("interval_ms must lie between 200 and 60000");
        }
        if !(1..=100_000).contains(&recording.bitrate_kbps) {
            return fault("bitrate_kbps must lie between 1 and 100000");
        }
        if recording.size_spread_percent > 90 {
            return fault("size_spread_percent must be at most 90");
        }
        if recording.chunks() == 0 || recording.chunks() > MAX_CHUNKS {
            return fault(&format!("duration_s must hold between 1 and {MAX_CHUNKS} intervals"));
        }
        if recording.upload_after_s > 30 * 86_400 {
            return fault("upload_after_s must be at most a month");
        }
        let homes = self.homes.iter().map(|homes| homes.get_ref().count).fold(0, u64::saturating_add);
        if homes == 0 || homes > MAX_HOMES {
            return Err((None, format!("{homes} homes in all; there must be between 1 and {MAX_HOMES}")));
        }
        if homes * recording.chunks() > MAX_RECEPTIONS {
            return fault(&format!("{homes} homes with that many chunks each are over {MAX_RECEPTIONS} receptions"));
        }
        for homes in &self.homes {
            homes.get_ref().check().map_err(|what| (Some(homes.span()), what))?;
        }
        Ok(())
    }

    /// The real seed's rules, with what the scenario changes.
    pub fn truth_config(&self) -> TruthConfig {
        let (ours, theirs) = (&self.seed_server, TruthConfig::default());
        TruthConfig {
            witnesses: ours.witnesses.unwrap_or(theirs.witnesses),
            decide_after: ours.decide_after_ms.map_or(theirs.decide_after, Micros::from_millis),
            ..theirs
        }
    }

    /// The real seed's duties, with what the scenario changes.
    pub fn duty_config(&self) -> DutyConfig {
        let (ours, theirs) = (&self.seed_server, DutyConfig::default());
        DutyConfig {
            gather: ours.gather_ms.map_or(theirs.gather, Micros::from_millis),
            pulls_per_node: ours.pulls_per_home.unwrap_or(theirs.pulls_per_node),
            pulls: ours.pulls.unwrap_or(theirs.pulls),
            ..theirs
        }
    }

    /// When the seed should have a chunk after it was decided.
    pub fn store_within(&self) -> Micros {
        Micros::from_millis(self.seed_server.store_within_ms.unwrap_or(60_000))
    }
}

impl Recording {
    /// Chunks of the recording.
    pub fn chunks(&self) -> u64 {
        self.duration_s.saturating_mul(1000) / self.interval_ms.max(1)
    }

    /// Mean size of a chunk, in bytes.
    pub fn mean_chunk_bytes(&self) -> u64 {
        self.bitrate_kbps * self.interval_ms / 8
    }
}

impl Homes {
    fn check(&self) -> Result<(), String> {
        if self.count == 0 {
            return Err("count must be at least 1".into());
        }
        if self.share_percent > 100 || self.damaged_percent > 100 {
            return Err("a percentage is over 100".into());
        }
        if self.uplink_kbps == 0 || self.uplink_kbps.max(self.declared_kbps.unwrap_or(0)) > 100_000_000 {
            return Err("uplink_kbps must lie between 1 and 100000000".into());
        }
        if self.on_s == Some(0) || self.on_s.is_some() != (self.off_s > 0) {
            return Err("on_s and off_s belong together, both at least 1".into());
        }
        let a_month = 30 * 86_400;
        if self.starts_after_s.max(self.on_s.unwrap_or(0)).max(self.off_s).max(self.report_within_ms / 1000) > a_month {
            return Err("a time is over a month".into());
        }
        Ok(())
    }

    /// Rate at which a home's line really sends for others, in bits per second.
    pub fn sending_bps(&self) -> u64 {
        self.uplink_kbps * 1000 * u64::from(self.share_percent) / 100
    }
}

fn line(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}
