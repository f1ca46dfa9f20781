//! The seed and the homes while they record.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, anyhow};

use super::homes::{Home, Reception};
use super::prepare::{Programme, Received};
use super::tell::Teller;
use crate::media::{Carrier, Clock, Feed, Sender};
use crate::processes::{
    ChannelOptions, NodeOptions, NodeProcess, NodeStatus, PATIENCE, Programs, SeedOptions, SeedProcess, SeedStatus,
};

/// The channel's id.
pub const CHANNEL: &str = "aftercast-demo";
/// How often the terminal shows something new while the broadcast runs.
const REFRESH: Duration = Duration::from_millis(500);
/// How long the last chunks may take from a tuner to the store; what is not there then was lost on the way.
const SETTLE: Duration = Duration::from_secs(20);

/// One seed and its homes.
pub struct Group {
    /// The seed.
    pub seed: SeedProcess,
    /// The homes, in order.
    pub members: Vec<Member>,
}

/// A home that runs.
pub struct Member {
    /// What it is.
    pub home: Home,
    /// Its node.
    pub node: NodeProcess,
    /// Its uplink, in bits per second.
    pub uplink_bps: u64,
    /// Id of its recording; empty before it records.
    pub recording: String,
    port: u16,
}

impl Group {
    /// Starts a seed and enrols and starts a node per home.
    pub fn start(
        programs: &Programs,
        homes: &[Home],
        programme: &Programme,
        interval: &str,
        unit_bps: u64,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let channel =
            ChannelOptions { id: CHANNEL.into(), interval: interval.into(), plan: programme.plan.canonicalize()? };
        let seed = SeedProcess::start(programs, &folder.join("seed"), SeedOptions::one(channel))?;
        let start = |home: &Home| -> anyhow::Result<Member> {
            let port = NodeProcess::free_port()?;
            let rtp = home.reception.as_ref().is_some_and(|reception| reception.carrier == Carrier::Rtp);
            let url = format!("{}://127.0.0.1:{port}", if rtp { "rtp" } else { "udp" });
            let uplink_bps = home.uplink_units * unit_bps;
            let options =
                NodeOptions { uplink_bps, metered: home.metered, ..NodeOptions::new(home.name).input(CHANNEL, &url) };
            let node = NodeProcess::start(programs, &folder.join(home.name), options, &seed)?;
            Ok(Member { home: home.clone(), node, uplink_bps, recording: String::new(), port })
        };
        let members = homes.iter().map(start).collect::<anyhow::Result<Vec<_>>>()?;
        for member in &members {
            member.node.wait_online()?;
        }
        Ok(Self { seed, members })
    }

    /// Lets every home record, and waits until every tuner listens.
    pub fn record(&mut self) -> anyhow::Result<()> {
        for member in &mut self.members {
            member.recording = member.node.record(CHANNEL)?;
        }
        self.members.iter().try_for_each(|member| member.node.wait_listening(member.port))
    }

    /// Sends the broadcast and waits for its end.
    pub fn broadcast(
        &self,
        programme: &Programme,
        received: &BTreeMap<&str, Received>,
        speed: f64,
        teller: &mut Teller,
    ) -> anyhow::Result<()> {
        let clock = Clock::new(speed);
        let feed = |member: &Member| {
            let Reception { carrier, .. } = member.home.reception.as_ref()?;
            let Received { bytes, pace, .. } = received.get(member.home.name)?;
            let to = SocketAddr::from(([127, 0, 0, 1], member.port));
            Some(Feed { to, carrier: *carrier, bytes: bytes.clone(), pace: pace.clone() })
        };
        let sender = Sender::new(self.members.iter().filter_map(feed).collect(), &clock)?;
        sender.start();
        let (ended, heard) = channel();
        std::thread::spawn(move || {
            let _ = ended.send(sender.join()); // nobody listens only when the demo is over
        });
        loop {
            match heard.recv_timeout(REFRESH) {
                Ok(result) => return result.context("sending the broadcast"),
                Err(RecvTimeoutError::Disconnected) => return Err(anyhow!("the sender ended without a word")),
                Err(RecvTimeoutError::Timeout) => {
                    let status = self.seed.status()?;
                    let fraction = clock.micros() as f64 / programme.micros.max(1) as f64;
                    let (confirmed, stored) = (status.sum(|one| one.confirmed), status.sum(|one| one.stored));
                    let what = format!("chunks: {confirmed} confirmed, {stored} at the seed");
                    teller.progress(fraction.min(1.0), &what);
                }
            }
        }
    }

    /// Ends the recordings once everything that was sent is in them, and waits until all of it is reported.
    pub fn finish(&self, received: &BTreeMap<&str, Received>) -> anyhow::Result<()> {
        for member in &self.members {
            let Some(received) = received.get(member.home.name) else { continue };
            let wanted = received.clean.len() as u64;
            let all = |status: &NodeStatus| (status.recording(&member.recording)?.clean >= wanted).then_some(());
            // What is missing is told by the summary.
            let _ = member.node.wait_for("all is received", SETTLE, all);
        }
        for member in &self.members {
            member.node.stop_recording(&member.recording)?;
        }
        for member in &self.members {
            let reported = |status: &NodeStatus| (status.recording(&member.recording)?.unreported == 0).then_some(());
            member.node.wait_for("all is reported", PATIENCE, reported)?;
        }
        Ok(())
    }

    /// Waits until the seed holds what was confirmed, and at least so many chunks are; gives its status, in time or not.
    pub fn settle(&self, chunks: u64) -> anyhow::Result<SeedStatus> {
        let all = |status: &SeedStatus| {
            let decided = status.sum(|one| one.confirmed + one.single);
            (decided >= chunks && status.sum(|one| one.stored) >= decided).then(|| status.clone())
        };
        self.seed.wait_for("every chunk is stored", PATIENCE, all).or_else(|_| self.seed.status())
    }

    /// Waits until every home has made whole what it received with damage.
    pub fn repair(&self) {
        for member in &self.members {
            let whole = |status: &NodeStatus| {
                let own = status.recording(&member.recording)?;
                // Nobody has the two chunks whole in which the broadcast begins and ends.
                (own.repaired + 2 >= own.withheld.values().sum()).then_some(())
            };
            // What is missing is told by the summary.
            let _ = member.node.wait_for("all is repaired", SETTLE, whole);
        }
    }

    /// A home by name.
    pub fn member(&self, name: &str) -> anyhow::Result<&Member> {
        self.members.iter().find(|member| member.home.name == name).with_context(|| format!("no home {name}"))
    }
}
