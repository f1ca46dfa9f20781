//! The node's configuration: one file, one struct, checked once.
//!
//! ```toml
//! data_dir = "/var/lib/aftercast"
//! listen = ["/ip4/0.0.0.0/tcp/0", "/ip4/0.0.0.0/udp/0/quic-v1"]
//! http = "127.0.0.1:8710"
//! mdns = true
//! upnp = true
//!
//! [seed]                       # not needed after `aftercast join CODE`
//! device = "8a88…"
//! addrs = ["/dns4/seed.example.org/tcp/4001"]
//!
//! [uplink]
//! declared_bps = 20000000
//! share_percent = 25
//!
//! [store]
//! quota_bytes = 500000000000
//!
//! [inputs]
//! das-erste-hd = "udp://@239.35.10.1:10000?iface=192.168.1.5"
//! local = "file:/srv/capture.ts?speed=1"
//! ```

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use aftercast_net::Multiaddr;
use aftercast_protocol::ids::{ChannelId, DeviceId};
use aftercast_protocol::limits::MAX_ADDRS_PER_PEER;
use serde::{Deserialize, Deserializer};

use crate::capture::{Input, Source};

/// Where the configuration is looked for when none is named.
pub const DEFAULT_PATH: &str = "aftercast.toml";

/// Settings of a node.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder of the device's key, its records and its chunks. Relative paths count from the folder of the file.
    pub data_dir: PathBuf,
    /// Multiaddrs to listen on for the seed and for peers; port 0 lets the system choose. Default: TCP and QUIC on all
    /// IPv4 interfaces. An empty list: this device dials only.
    #[serde(deserialize_with = "texts")]
    pub listen: Vec<Multiaddr>,
    /// Multiaddrs to tell others instead of those listened on, where a router forwards ports to this device. Default:
    /// none, those listened on.
    #[serde(deserialize_with = "texts")]
    pub announce: Vec<Multiaddr>,
    /// Whether private addresses are those of this home, so that who has one is near. False where they belong to a
    /// provider's network, a VPN or a test bed.
    pub private_is_home: bool,
    /// Address of the HTTP endpoint for players, the command line and scripts. Loopback by default, because whoever
    /// reaches it may watch and delete recordings.
    #[serde(deserialize_with = "text")]
    pub http: SocketAddr,
    /// Whether to look for devices on the local network and to be found there.
    pub mdns: bool,
    /// Whether to ask the router to map the ports listened on (UPnP), so that peers connect directly. True by default: homes
    /// are behind routers. Once enrolled only.
    pub upnp: bool,
    /// The broadcaster's seed, where `aftercast join` has not said it.
    pub seed: Option<SeedConfig>,
    /// What may be taken of the line.
    pub uplink: UplinkConfig,
    /// What may be taken of the disk.
    pub store: StoreConfig,
    /// Where each channel is received, as a URL: `udp://`, `rtp://`, `http://`, `https://` or `file:`.
    #[serde(deserialize_with = "inputs")]
    pub inputs: BTreeMap<ChannelId, Input>,
}

impl Default for Config {
    fn default() -> Self {
        let any = |addr: &str| addr.parse().expect("a constant multiaddr");
        Self {
            data_dir: PathBuf::from("aftercast-data"),
            listen: vec![any("/ip4/0.0.0.0/tcp/0"), any("/ip4/0.0.0.0/udp/0/quic-v1")],
            announce: Vec::new(),
            private_is_home: true,
            http: SocketAddr::from(([127, 0, 0, 1], 8710)),
            mdns: true,
            upnp: true,
            seed: None,
            uplink: UplinkConfig::default(),
            store: StoreConfig::default(),
            inputs: BTreeMap::new(),
        }
    }
}

/// Which seed, and where.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedConfig {
    /// Its device id: 64 hexadecimal digits.
    pub device: DeviceId,
    /// Its addresses, at most [`MAX_ADDRS_PER_PEER`].
    #[serde(deserialize_with = "texts")]
    pub addrs: Vec<Multiaddr>,
}

/// The user's word on the uplink.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UplinkConfig {
    /// The line's uplink in bits per second. Default: 10 Mb/s, below what most fixed lines carry today.
    pub declared_bps: u64,
    /// Share of it that others may use, in percent. Default: a quarter, which a household does not notice.
    pub share_percent: u8,
    /// The line is paid by volume: nothing leaves the home.
    pub metered: bool,
    /// Bytes that may leave in a day (UTC); none: no limit.
    pub budget_day_bytes: Option<u64>,
    /// Bytes that may leave in a calendar month (UTC); none: no limit.
    pub budget_month_bytes: Option<u64>,
}

impl Default for UplinkConfig {
    fn default() -> Self {
        Self {
            declared_bps: 10_000_000,
            share_percent: 25,
            metered: false,
            budget_day_bytes: None,
            budget_month_bytes: None,
        }
    }
}

/// The user's word on the disk.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// Most bytes of chunks; none: as the disk allows.
    pub quota_bytes: Option<u64>,
    /// Bytes of the disk that are left to others. Default: 1 GiB, so that a full recorder does not stop the system.
    pub reserve_free_bytes: u64,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { quota_bytes: None, reserve_free_bytes: 1 << 30 }
    }
}

/// A configuration that cannot be used. The user is at fault; the text says what and where.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: std::io::Error,
    },
    /// Not TOML, an unknown key, or a value of the wrong form.
    #[error("configuration {}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line, column, and what is wrong.
        reason: String,
    },
    /// A value out of bounds.
    #[error("configuration {}: {key}: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// What is wrong with its value.
        reason: String,
    },
}

impl Config {
    /// Reads a file; without one named, [`DEFAULT_PATH`] where it exists, or the defaults.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let file = path.unwrap_or(Path::new(DEFAULT_PATH));
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && path.is_none() => return Ok(Self::default()),
            Err(reason) => return Err(ConfigError::Unreadable { path: file.to_owned(), reason }),
        };
        Self::parse(&text, file)
    }

    /// Reads the text of a file, whose path serves messages and relative paths.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn parse(text: &str, file: &Path) -> Result<Self, ConfigError> {
        let mut config: Self = toml::from_str(text)
            .map_err(|error| ConfigError::Malformed { path: file.to_owned(), reason: error.to_string() })?;
        config.check().map_err(|(key, reason)| ConfigError::Invalid { path: file.to_owned(), key, reason })?;
        let folder = file.parent().unwrap_or(Path::new(""));
        config.data_dir = folder.join(&config.data_dir);
        for input in config.inputs.values_mut() {
            if let Source::File { path, .. } = &mut input.source {
                *path = folder.join(&*path);
            }
        }
        Ok(config)
    }

    fn check(&self) -> Result<(), (&'static str, String)> {
        if self.data_dir.as_os_str().is_empty() {
            return Err(("data_dir", "must name a folder".into()));
        }
        if self.uplink.share_percent > 100 {
            let given = self.uplink.share_percent;
            return Err(("uplink.share_percent", format!("{given} is no percentage (0 to 100)")));
        }
        if self.announce.len() > MAX_ADDRS_PER_PEER {
            let given = self.announce.len();
            return Err(("announce", format!("{given} addresses, at most {MAX_ADDRS_PER_PEER} are told others")));
        }
        if let Some(seed) = &self.seed {
            let count = seed.addrs.len();
            if count == 0 || count > MAX_ADDRS_PER_PEER {
                return Err(("seed.addrs", format!("{count} addresses, 1 to {MAX_ADDRS_PER_PEER} are needed")));
            }
        }
        Ok(())
    }
}

fn text<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(d: D) -> Result<T, D::Error> {
    let text = String::deserialize(d)?;
    text.parse().map_err(|error| serde::de::Error::custom(format_args!("{text:?}: {error}")))
}

fn texts<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(d: D) -> Result<Vec<T>, D::Error> {
    let parse = |text: String| text.parse().map_err(|e| serde::de::Error::custom(format_args!("{text:?}: {e}")));
    Vec::<String>::deserialize(d)?.into_iter().map(parse).collect()
}

fn inputs<'de, D: Deserializer<'de>>(d: D) -> Result<BTreeMap<ChannelId, Input>, D::Error> {
    let wrong = |name: &str, error: &dyn Display| serde::de::Error::custom(format_args!("input {name:?}: {error}"));
    let parse = |(name, url): (String, String)| {
        let channel = name.parse().map_err(|e| wrong(&name, &e))?;
        Ok((channel, url.parse().map_err(|e| wrong(&name, &e))?))
    };
    BTreeMap::<String, String>::deserialize(d)?.into_iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("/etc/aftercast/node.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_file_is_the_defaults_beside_the_file() {
        let config = parse("").unwrap();
        assert_eq!(config, Config { data_dir: "/etc/aftercast/aftercast-data".into(), ..Config::default() });
    }

    #[test]
    fn reads_every_key() {
        let config = parse(
            r#"
            data_dir = "/var/lib/aftercast"
            listen = ["/ip4/127.0.0.1/tcp/0"]
            http = "127.0.0.1:0"
            mdns = false
            upnp = false
            [seed]
            device = "0101010101010101010101010101010101010101010101010101010101010101"
            addrs = ["/ip4/127.0.0.1/tcp/4001"]
            [uplink]
            declared_bps = 2000000
            share_percent = 50
            metered = true
            budget_day_bytes = 1
            budget_month_bytes = 2
            [store]
            quota_bytes = 3
            reserve_free_bytes = 0
            [inputs]
            one = "udp://127.0.0.1:5000"
            two = "file:a.ts?speed=max"
            "#,
        )
        .unwrap();
        assert_eq!(config.seed.unwrap().device, DeviceId([1; 32]));
        assert_eq!(config.uplink.declared_bps, 2_000_000);
        assert_eq!(config.inputs.len(), 2);
        let file = &config.inputs[&"two".parse().unwrap()];
        assert!(matches!(&file.source, Source::File { path, .. } if path == Path::new("/etc/aftercast/a.ts")));
    }

    #[test]
    fn errors_say_what_and_where() {
        for (text, says) in [
            ("data-dir = \"x\"", "data-dir"),
            ("[uplink]\nshare = 3", "unknown field `share`"),
            ("[uplink]\nshare_percent = 101", "uplink.share_percent: 101"),
            ("listen = [\"127.0.0.1:80\"]", "127.0.0.1:80"),
            ("http = \"localhost\"", "localhost"),
            ("[inputs]\none = \"ftp://x\"", "input \"one\""),
            ("[inputs]\n\"a/b\" = \"udp://:1\"", "a/b"),
            ("[seed]\ndevice = \"00\"\naddrs = []", "32 bytes"),
            ("mdns = 1", "line 1"),
            ("private_is_home = \"no\"", "line 1"),
            ("announce = [\"/ip4/192.0.2.1/tcp\"]", "192.0.2.1"),
            (&format!("announce = {:?}", vec!["/ip4/192.0.2.1/tcp/1"; MAX_ADDRS_PER_PEER + 1]), "announce: "),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(says) && error.contains("/etc/aftercast/node.toml"), "{text}: {error}");
        }
    }
}
