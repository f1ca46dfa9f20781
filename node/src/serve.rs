//! What leaves the home: whom, what, how much.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aftercast_net::exchange::{ChunkProvider, Description, ServeGate};
use aftercast_protocol::duty::Capability;
use aftercast_protocol::ids::{ChunkCid, DeviceId, GroupIndex};
use aftercast_protocol::limits::GROUP_BYTES;
use aftercast_protocol::serve::{Budgets, Class, ServeConfig, Uplink as UplinkLimit, Usage};
use aftercast_protocol::wire::lane::LaneRefusal;
use bytes::Bytes;
use serde::Serialize;

use crate::clock::wall;
use crate::config::UplinkConfig;
use crate::library::{Library, ShareSetting, blocking};
use crate::peers::Peers;

/// Serves what this device holds: to the seed everything received, to peers whole chunks that their grants name.
pub struct Shelf {
    library: Arc<Library>,
    peers: Arc<Peers>,
}

impl Shelf {
    /// For this device.
    #[must_use]
    pub fn new(library: Arc<Library>, peers: Arc<Peers>) -> Self {
        Self { library, peers }
    }
}

impl ChunkProvider for Shelf {
    fn authorise(&self, device: DeviceId, cid: &ChunkCid, _class: Class) -> Result<(), LaneRefusal> {
        if self.peers.seed() == Some(device) {
            return Ok(());
        }
        match self.library.holding(*cid) {
            Some(holding) => self.peers.may_have(device, &holding, wall()),
            // Whether we hold it is nobody's business without a right to any of it.
            None if self.peers.has_any_right(device, wall()) => Ok(()),
            None => Err(LaneRefusal::NoGrant),
        }
    }

    fn home(&self, device: DeviceId) -> bool {
        self.peers.is_home(device)
    }

    fn describe(&self, device: DeviceId, cid: &ChunkCid) -> Option<Description> {
        let store = self.library.store();
        // Salvaged pieces, renditions and partial chunks have no holding: no peer hears of them. The seed may ask for
        // pieces, which it heard of in a report.
        if self.library.holding(*cid).is_none() && !(self.peers.seed() == Some(device) && store.is_complete(*cid)) {
            return None;
        }
        let hashes = store.hashes(*cid).ok().flatten()?;
        Some(Description { hashes, have: store.have(*cid)? })
    }

    fn read_group(&self, cid: &ChunkCid, index: GroupIndex) -> io::Result<Option<Bytes>> {
        let group = self.library.store().read_group(*cid, index).map_err(io::Error::other)?;
        Ok(group.map(Bytes::from))
    }
}

/// The user's line: what may be taken of it, what was taken, what it carried.
pub struct Uplink {
    config: UplinkConfig,
    gate: ServeGate,
    seed: Option<DeviceId>,
    sent: Mutex<Sent>,
}

#[derive(Default)]
struct Sent {
    counts: SentCounts,
    meter: Meter,
}

/// Bytes that left since the program's start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct SentCounts {
    /// To the seed.
    pub to_seed: u64,
    /// To peers.
    pub to_peers: u64,
}

const USAGE_KEY: &str = "uplink-usage";
/// How often used budgets are written down.
const KEEP_PERIOD: Duration = Duration::from_secs(10);
/// How often the line is looked at.
const METER_PERIOD: Duration = Duration::from_secs(1);

impl Uplink {
    /// Begins to serve. Needs a Tokio runtime.
    #[must_use]
    pub fn start(config: UplinkConfig, library: &Library, seed: Option<DeviceId>) -> Arc<Self> {
        let usage = library.setting(USAGE_KEY).ok().flatten();
        let usage: Usage = usage.and_then(|bytes| minicbor::decode(&bytes).ok()).unwrap_or_default();
        let gate = ServeGate::start(serve_config(&config, library.share()), usage);
        Arc::new(Self { config, gate, seed, sent: Mutex::default() })
    }

    /// The gate that lanes are served through.
    #[must_use]
    pub fn gate(&self) -> &ServeGate {
        &self.gate
    }

    /// What the configuration allows.
    #[must_use]
    pub fn config(&self) -> &UplinkConfig {
        &self.config
    }

    /// The user changed their mind.
    pub fn set_share(&self, share: ShareSetting) {
        self.gate.set_config(serve_config(&self.config, share));
    }

    /// What left so far.
    #[must_use]
    pub fn sent(&self) -> SentCounts {
        self.collect();
        self.lock().counts
    }

    fn lock(&self) -> MutexGuard<'_, Sent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn collect(&self) {
        let mut sent = self.lock();
        let (total, per_peer): (u64, BTreeMap<DeviceId, u64>) = self.gate.take_sent();
        let to_seed = self.seed.and_then(|seed| per_peer.get(&seed).copied()).unwrap_or(0);
        sent.counts.to_seed += to_seed;
        sent.counts.to_peers += total.saturating_sub(to_seed);
        sent.meter.sent += total;
    }

    /// Measures the line and keeps the budgets' use, until dropped.
    pub async fn watch(&self, library: &Library) {
        let (mut last, mut kept) = (Instant::now(), Instant::now());
        loop {
            tokio::time::sleep(METER_PERIOD).await;
            self.collect();
            let (_, in_flight) = self.gate.load();
            let took = std::mem::replace(&mut last, Instant::now()).elapsed();
            let mut sent = self.lock();
            if sent.meter.sample(took, in_flight) {
                drop(sent);
                library.touch();
            }
            if kept.elapsed() >= KEEP_PERIOD {
                kept = Instant::now();
                let usage = minicbor::to_vec(self.gate.usage()).expect("encoding into memory does not fail");
                if let Err(error) = blocking(|| library.set_setting(USAGE_KEY, &usage)) {
                    tracing::warn!(%error, "used budgets are not kept");
                }
            }
        }
    }

    /// What this device can contribute now.
    #[must_use]
    pub fn capability(&self, library: &Library, backlog_bytes: u64) -> Capability {
        let share = library.share();
        let usage = self.gate.usage();
        let left = |budget: Option<u64>, used: u64| budget.map_or(u64::MAX, |most| most.saturating_sub(used));
        let day = left(self.config.budget_day_bytes, usage.day_bytes());
        let month = left(self.config.budget_month_bytes, usage.month_bytes());
        let room = library.store().usage();
        let quota = room.quota.map_or(u64::MAX, |quota| quota.saturating_sub(room.chunk_bytes));
        Capability {
            uplink_declared_bps: declared(&self.config, share),
            uplink_measured_bps: self.lock().meter.measured_bps,
            share_percent: self.config.share_percent,
            backlog_bytes,
            budget_left_bytes: day.min(month),
            free_bytes: quota.min(room.disk_free.unwrap_or(u64::MAX)),
            metered: self.config.metered,
            on_battery: on_battery(),
            paused: share.paused,
        }
    }
}

/// The uplink whose share is what the user allows now: a limit counts like a thinner line.
fn declared(config: &UplinkConfig, share: ShareSetting) -> u64 {
    let limit = share.limit_bps.map(|limit| limit.saturating_mul(100) / u64::from(config.share_percent.max(1)));
    config.declared_bps.min(limit.unwrap_or(u64::MAX))
}

fn serve_config(config: &UplinkConfig, share: ShareSetting) -> ServeConfig {
    let rate = u64::try_from(
        u128::from(declared(config, share)) * u128::from(config.share_percent) / 800, // percent, and bits to bytes
    )
    .unwrap_or(u64::MAX);
    // A group must fit; a quarter of a second more, so that a late timer does not cost rate.
    let burst = (rate / 4).max(2 * GROUP_BYTES as u64);
    ServeConfig {
        uplink: Some(UplinkLimit { rate, burst }),
        budgets: Budgets { day: config.budget_day_bytes, month: config.budget_month_bytes },
        metered: config.metered,
        paused: share.paused || rate == 0,
    }
}

/// Whether the device runs on its battery, as Linux says (`Documentation/ABI/testing/sysfs-class-power`).
fn on_battery() -> bool {
    let Ok(supplies) = std::fs::read_dir("/sys/class/power_supply") else { return false };
    let read = |supply: &std::fs::DirEntry, file: &str| std::fs::read_to_string(supply.path().join(file)).ok();
    supplies.flatten().any(|supply| {
        let is = |file: &str, value: &str| read(&supply, file).is_some_and(|text| text.trim() == value);
        // A mouse's battery says nothing about the device's.
        is("type", "Battery") && is("status", "Discharging") && !is("scope", "Device")
    })
}

/// Bytes that must be waiting in the sockets for the line, not its askers, to be what limits.
const LINE_FULL_BYTES: u64 = 4 * GROUP_BYTES as u64;

/// What the line was seen to carry, where it was the line that limited.
#[derive(Debug, Default)]
struct Meter {
    /// Bytes since the last sample.
    sent: u64,
    was_full: bool,
    /// 0 until the line was seen full.
    measured_bps: u64,
}

impl Meter {
    /// Looks at a period; true where the measurement changed.
    fn sample(&mut self, took: Duration, in_flight: u64) -> bool {
        let sent = std::mem::take(&mut self.sent);
        let full = in_flight >= LINE_FULL_BYTES;
        let limited = std::mem::replace(&mut self.was_full, full) && full;
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        let bps = sent.saturating_mul(8_000_000) / micros;
        let before = self.measured_bps;
        if limited && sent > 0 {
            self.measured_bps = if before == 0 { bps } else { (3 * before + bps) / 4 };
        } else if before > 0 && bps > before {
            self.measured_bps = bps; // it carries at least this
        }
        self.measured_bps != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_line_is_measured_only_while_it_is_what_limits() {
        let mut meter = Meter::default();
        let mut second = |sent, in_flight| {
            meter.sent += sent;
            meter.sample(SECOND, in_flight);
            meter.measured_bps
        };
        assert_eq!(second(100_000, 0), 0, "the asker was slow");
        assert_eq!(second(250_000, LINE_FULL_BYTES), 0, "full only at its end");
        assert_eq!(second(250_000, LINE_FULL_BYTES), 2_000_000);
        assert_eq!(second(500_000, 0), 4_000_000, "it carried more");
        assert_eq!(second(10, 0), 4_000_000);
    }

    #[test]
    fn a_share_of_the_line_is_what_may_leave() {
        let config = UplinkConfig { declared_bps: 8_000_000, share_percent: 25, ..UplinkConfig::default() };
        let rate = |share| serve_config(&config, share).uplink.unwrap().rate;
        assert_eq!(rate(ShareSetting::default()), 250_000);
        assert_eq!(rate(ShareSetting { limit_bps: Some(800_000), paused: false }), 100_000);
        assert_eq!(rate(ShareSetting { limit_bps: Some(80_000_000), paused: false }), 250_000);
        let none = UplinkConfig { share_percent: 0, ..config.clone() };
        assert!(serve_config(&none, ShareSetting::default()).paused);
        assert!(serve_config(&config, ShareSetting { paused: true, limit_bps: None }).paused);
    }
}
