//! The seed's configuration: one file, every key with its unit, its default and the default's reason.

use std::path::{Path, PathBuf};

use aftercast_protocol::ccf::Profile;
use aftercast_protocol::ids::ChannelId;
use aftercast_protocol::time::{TICKS_PER_SECOND, Ticks};
use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

/// Name of the configuration file inside a seed's folder.
pub const FILE_NAME: &str = "seed.toml";

/// The whole file.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Folder of key and database; the configuration file's own folder if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// Where nodes connect, as multiaddrs. TCP for bulk, QUIC for homes behind routers.
    #[serde(default = "default_listen")]
    pub listen: Vec<String>,
    /// Addresses that join codes name, where they differ from `listen` (a public name, a forwarded port).
    #[serde(default)]
    pub announce: Vec<String>,
    /// Where status and metrics are served over HTTP. Loopback: put a proxy with a login before it.
    #[serde(default = "default_http")]
    pub http: String,
    /// Whether nodes of the local network find the seed through mDNS.
    #[serde(default)]
    pub mdns: bool,
    /// Certificates of an epoch below this one are revoked. Raise it to revoke all.
    #[serde(default)]
    pub epoch: u32,
    /// How long an enrolment lasts, in days. A year: boxes are replaced more rarely than that.
    #[serde(default = "default_certificate_days")]
    pub certificate_days: u64,
    /// How long a grant lasts, in seconds. An hour: longer than a look at the programme, shorter than a lost device.
    #[serde(default = "default_grant_seconds")]
    pub grant_seconds: u64,
    /// Truth and duties.
    #[serde(default)]
    pub decide: Decide,
    /// Small renditions of first chunks.
    #[serde(default)]
    pub head: Head,
    /// Bounds of the disk.
    #[serde(default)]
    pub store: Store,
    /// The channels on offer, at least one.
    #[serde(default)]
    pub channel: Vec<Channel>,
}

/// How soon and by whom chunks are decided and uploaded.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Decide {
    /// Witnesses per chunk. Nine keep a false majority below 0.1 % with a tenth of the audience hostile.
    pub witnesses: usize,
    /// How long after the first report a chunk is decided at the latest, in milliseconds.
    pub deadline_ms: u64,
}

impl Default for Decide {
    fn default() -> Self {
        Self { witnesses: 9, deadline_ms: 10_000 }
    }
}

/// How heads are made.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Head {
    /// Video bit rate, in bits per second. 1.5 Mb/s starts within a second on a 20 Mb/s line.
    pub bitrate_bps: u64,
}

impl Default for Head {
    fn default() -> Self {
        Self { bitrate_bps: 1_500_000 }
    }
}

/// How much disk is used.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// Most bytes of chunks; the disk's room if absent.
    pub quota_bytes: Option<u64>,
    /// Bytes of the disk that stay free. Default 1 GiB.
    pub reserve_free_bytes: Option<u64>,
}

/// One channel.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// Its id: letters, digits, `.`, `_`, `-`.
    pub id: ChannelId,
    /// Its name for people; the id if absent.
    #[serde(default)]
    pub title: Option<String>,
    /// Distance of targets, for instance `"4s"` or `"480ms"`. Four seconds: short enough to start quickly, long
    /// enough that tables cost under 2 %.
    #[serde(default = "default_interval")]
    pub interval: String,
    /// Transcode every chunk for the archive too (claim 6).
    #[serde(default)]
    pub archive: bool,
    /// File that `aftercast chunk INPUT --write-plan FILE` wrote; its profile is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PathBuf>,
    /// The core streams, where no plan file is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
}

fn default_listen() -> Vec<String> {
    vec!["/ip4/0.0.0.0/tcp/4801".into(), "/ip4/0.0.0.0/udp/4801/quic-v1".into()]
}
fn default_http() -> String {
    "127.0.0.1:4880".into()
}
fn default_certificate_days() -> u64 {
    365
}
fn default_grant_seconds() -> u64 {
    3600
}
fn default_interval() -> String {
    "4s".into()
}

/// A channel with everything resolved.
#[derive(Debug, Clone)]
pub struct ChannelSetup {
    /// Its id.
    pub id: ChannelId,
    /// Its name for people.
    pub title: String,
    /// Distance of targets.
    pub interval: Ticks,
    /// Whether every chunk is transcoded.
    pub archive: bool,
    /// The core streams.
    pub profile: Profile,
}

/// The configuration, read and validated.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The file's content.
    pub config: Config,
    /// Folder of key and database.
    pub data_dir: PathBuf,
    /// The channels.
    pub channels: Vec<ChannelSetup>,
}

/// Reads and checks a configuration file.
///
/// # Errors
/// What is wrong, in which file and key, and what to write instead.
pub fn load(path: &Path) -> anyhow::Result<Loaded> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read {}; `aftercast-seed init DIR` makes one", path.display()))?;
    let config: Config = toml::from_str(&text).with_context(|| format!("in {}", path.display()))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let data_dir = folder.join(config.data_dir.as_deref().unwrap_or(Path::new(".")));
    let channels = config
        .channel
        .iter()
        .map(|channel| {
            resolve(channel, folder).with_context(|| format!("in {}, channel {}", path.display(), channel.id))
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    check(&config, &channels).with_context(|| format!("in {}", path.display()))?;
    Ok(Loaded { config, data_dir, channels })
}

fn resolve(channel: &Channel, folder: &Path) -> anyhow::Result<ChannelSetup> {
    let profile = match (&channel.plan, &channel.profile) {
        (Some(_), Some(_)) => bail!("`plan` and `profile` both name the core streams; keep one"),
        (None, None) => {
            bail!("name the core streams: `plan = \"FILE\"` of `aftercast chunk --write-plan`, or `profile`")
        }
        (None, Some(profile)) => profile.clone(),
        (Some(file), None) => {
            let file = folder.join(file);
            let text =
                std::fs::read_to_string(&file).with_context(|| format!("cannot read plan {}", file.display()))?;
            let plan: aftercast_protocol::ccf::ChunkPlan =
                toml::from_str(&text).with_context(|| format!("in plan {}", file.display()))?;
            plan.profile
        }
    };
    profile.check().context("the profile cannot be used")?;
    let interval = parse_interval(&channel.interval)?;
    aftercast_protocol::plan::check_interval(interval)?;
    let title = channel.title.clone().unwrap_or_else(|| channel.id.to_string());
    Ok(ChannelSetup { id: channel.id.clone(), title, interval, archive: channel.archive, profile })
}

fn check(config: &Config, channels: &[ChannelSetup]) -> anyhow::Result<()> {
    if config.listen.is_empty() {
        bail!("`listen` is empty: no node could connect");
    }
    if config.decide.witnesses < 2 {
        bail!("`decide.witnesses` is {}: two subscribers at least have to agree", config.decide.witnesses);
    }
    if !(100_000..=20_000_000).contains(&config.head.bitrate_bps) {
        bail!("`head.bitrate_bps` is {}: write 100000 to 20000000", config.head.bitrate_bps);
    }
    for (n, channel) in channels.iter().enumerate() {
        if channels[..n].iter().any(|other| other.id == channel.id) {
            bail!("channel {} is listed twice", channel.id);
        }
    }
    Ok(())
}

/// Reads a span of time such as `4s` or `480ms`.
///
/// # Errors
/// When it is neither.
pub fn parse_interval(text: &str) -> anyhow::Result<Ticks> {
    let bad = || format!("interval {text:?}: write seconds or milliseconds, for instance \"4s\" or \"480ms\"");
    let (number, per_unit) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(number), _) => (number, TICKS_PER_SECOND / 1000),
        (None, Some(number)) => (number, TICKS_PER_SECOND),
        (None, None) => bail!(bad()),
    };
    let number: i64 = number.trim().parse().with_context(bad)?;
    number.checked_mul(per_unit).map(Ticks).with_context(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_text(text: &str) -> anyhow::Result<Loaded> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(FILE_NAME);
        std::fs::write(&file, text).unwrap();
        load(&file)
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        let error = format!("{:#}", load_text("lissten = []\n").unwrap_err());
        assert!(error.contains("lissten") && error.contains(FILE_NAME), "{error}");
    }

    #[test]
    fn a_channel_without_core_streams_is_refused_with_the_way_out() {
        let error = format!("{:#}", load_text("[[channel]]\nid = \"one\"\n").unwrap_err());
        assert!(error.contains("--write-plan"), "{error}");
    }

    #[test]
    fn intervals_have_units() {
        assert_eq!(parse_interval("4s").unwrap(), Ticks(360_000));
        assert_eq!(parse_interval("480ms").unwrap(), Ticks(43_200));
        for bad in ["4", "s", "-", "4m", "99999999999999999999s", ""] {
            assert!(parse_interval(bad).is_err(), "{bad}");
        }
    }
}
