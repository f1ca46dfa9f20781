//! The homes, the seed and the lines.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU64;
use std::path::Path;

use aftercast_sim::link::LinkSpec;
use anyhow::{Context, ensure};

use crate::broadcast::BroadcastSpec;
use crate::link::{Counters, LinkProxy, ProxySpec};
use crate::processes::{NodeOptions, NodeProcess, Reached};
use crate::stage::{Home, Stage};

/// What is shown, and by how many.
#[derive(Debug, Clone)]
pub struct TheatreSpec {
    /// The broadcast.
    pub broadcast: BroadcastSpec,
    /// Distance of chunk boundaries, as `4s`.
    pub interval: String,
    /// Homes that record it.
    pub holders: usize,
    /// Homes that watch it later; their tuners deliver nothing.
    pub viewers: usize,
    /// Video bits a second of heads; the product's default where none is given.
    pub head_bps: Option<u64>,
}

/// The lines: what those behind them can send, with delays and outages; the other way is free but for the delay.
#[derive(Debug, Clone)]
pub struct Lines {
    /// Uplinks of the holders, in their order.
    pub holders: Vec<LinkSpec>,
    /// The seed's line towards one viewer.
    pub seed: LinkSpec,
}

/// Everything, after the broadcast.
#[derive(Debug)]
pub struct Theatre {
    /// The broadcast and the seed.
    pub stage: Stage,
    /// Homes that hold all of it.
    pub holders: Vec<Home>,
    /// Homes that hold nothing.
    pub viewers: Vec<Home>,
    lines: Vec<LinkProxy>,
    seed_line: LinkProxy,
}

/// A proxy over free lines in front of a port of loopback that nobody listens on yet: that port, and the proxy.
fn in_front() -> anyhow::Result<(u16, LinkProxy)> {
    let port = NodeProcess::free_tcp_port()?;
    let line = LinkProxy::start(&ProxySpec::new(SocketAddr::from((Ipv4Addr::LOCALHOST, port))))?;
    Ok((port, line))
}

impl Theatre {
    /// Lets the broadcast be recorded and stored; `cache` keeps it between runs. `told` hears what goes on.
    ///
    /// # Errors
    /// Something cannot be made or started, or does not get that far.
    pub fn open(spec: &TheatreSpec, cache: &Path, mut told: impl FnMut(&str)) -> anyhow::Result<Self> {
        let (seed_port, seed_line) = in_front()?;
        told("making the broadcast");
        let stage = Stage::of(&spec.broadcast, &spec.interval, cache, |seed| {
            seed.listen = vec![format!("/ip4/127.0.0.1/tcp/{seed_port}")];
            seed.head_bps = spec.head_bps.unwrap_or(seed.head_bps);
            seed.told = Some(format!("/ip4/127.0.0.1/tcp/{}", seed_line.address().port()));
        })?;
        let (mut holders, mut lines) = (Vec::new(), Vec::new());
        for number in 1..=spec.holders {
            let (listen, line) = in_front()?;
            let reached = Reached::Through { listen, told: line.address().port() };
            let options = NodeOptions { reached, ..stage.at_the_tap(&format!("holder-{number}")) };
            holders.push(stage.home(options)?);
            lines.push(line);
        }
        let viewers = (1..=spec.viewers).map(|number| {
            stage.home(NodeOptions { reached: Reached::Never, ..NodeOptions::new(&format!("viewer-{number}")) })
        });
        let viewers = viewers.collect::<anyhow::Result<Vec<_>>>()?;
        stage.wait_at_the_tap(spec.holders)?;
        told("recording it");
        stage.tap.open();
        let count = stage.programme.count();
        for holder in &holders {
            holder.wait_clean(count)?;
        }
        told("storing it");
        stage.wait_stored(count)?;
        for home in holders.iter().chain(&viewers) {
            home.finish(count)?;
        }
        Ok(Self { stage, holders, viewers, lines, seed_line })
    }

    /// Sets the lines from now on. Holders learn what their line carries, as their users would tell them.
    ///
    /// # Errors
    /// A line contradicts itself, or a holder does not come back.
    pub fn set(&mut self, lines: &Lines) -> anyhow::Result<()> {
        ensure!(lines.holders.len() == self.lines.len(), "a line for each holder");
        for (holder, line) in self.holders.iter_mut().zip(&lines.holders) {
            let bps = line.rate.map_or(200_000_000, NonZeroU64::get);
            holder.node.stop()?;
            holder.node.change(|options| options.uplink_bps = bps)?;
            holder.node.resume()?;
            holder.node.wait_online()?;
        }
        for (proxy, line) in self.lines.iter().chain([&self.seed_line]).zip(lines.holders.iter().chain([&lines.seed])) {
            let back = LinkSpec { delay: line.delay, ..LinkSpec::default() };
            proxy.set(back, line.clone()).context("a line")?;
        }
        Ok(())
    }

    /// What went over the holders' lines, and over the seed's, so far.
    #[must_use]
    pub fn carried(&self) -> (Vec<Counters>, Counters) {
        (self.lines.iter().map(LinkProxy::counters).collect(), self.seed_line.counters())
    }
}
