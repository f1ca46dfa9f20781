//! A seed as a process.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;

use super::PATIENCE;
use super::daemon::Daemon;
use super::http::get_text;
use super::programs::{Programs, output};
use super::status::SeedStatus;

/// A channel of a seed.
#[derive(Debug, Clone)]
pub struct ChannelOptions {
    /// Its id.
    pub id: String,
    /// Distance of targets, as `4s` or `480ms`.
    pub interval: String,
    /// File with its core streams.
    pub plan: PathBuf,
}

/// How a seed is set up.
#[derive(Debug, Clone)]
pub struct SeedOptions {
    /// Its channels.
    pub channels: Vec<ChannelOptions>,
    /// Where it listens, as multiaddrs, when it starts first.
    pub listen: Vec<String>,
    /// How long grants last, in seconds.
    pub grant_seconds: u64,
    /// How long enrolments last, in days.
    pub certificate_days: u64,
    /// How long a chunk may stay undecided, in milliseconds.
    pub deadline_ms: u64,
    /// Video bits a second of heads.
    pub head_bps: u64,
    /// Transcode every chunk.
    pub archive: bool,
    /// An address to tell nodes instead of those listened on, of what stands in front of it.
    pub told: Option<String>,
}

impl SeedOptions {
    /// One channel, and the defaults of the product.
    #[must_use]
    pub fn one(channel: ChannelOptions) -> Self {
        Self {
            channels: vec![channel],
            // TCP alone: the system tells the other side when a process is gone, as tests of that need it.
            listen: vec!["/ip4/127.0.0.1/tcp/0".into()],
            grant_seconds: 3600,
            certificate_days: 365,
            deadline_ms: 10_000,
            head_bps: 1_500_000,
            archive: false,
            told: None,
        }
    }
}

/// A seed, running or stopped. It keeps its address over a restart.
#[derive(Debug)]
pub struct SeedProcess {
    programs: Programs,
    folder: PathBuf,
    options: SeedOptions,
    listen: Vec<String>,
    device: String,
    daemon: Option<Daemon>,
}

impl SeedProcess {
    /// Makes a seed in a folder and starts it.
    ///
    /// # Errors
    /// It cannot be made or started.
    pub fn start(programs: &Programs, folder: &Path, options: SeedOptions) -> anyhow::Result<Self> {
        output(Command::new(&programs.seed).arg("init").arg(folder))?;
        let mut seed = Self {
            programs: programs.clone(),
            folder: folder.to_owned(),
            listen: options.listen.clone(),
            options,
            device: String::new(),
            daemon: None,
        };
        seed.resume()?;
        Ok(seed)
    }

    /// Starts it again where it was stopped.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn resume(&mut self) -> anyhow::Result<()> {
        let config = self.config();
        std::fs::write(&config, self.config_text()).with_context(|| config.display().to_string())?;
        let mut command = Command::new(&self.programs.seed);
        command.arg("run").arg("--config").arg(&config);
        let daemon = Daemon::start("the seed", command, &self.folder.join("seed.log"))?;
        self.listen.clone_from(&daemon.ready().listen);
        self.device.clone_from(&daemon.ready().device);
        self.daemon = Some(daemon);
        Ok(())
    }

    /// Changes how it is set up, from its next start on.
    pub fn change(&mut self, change: impl FnOnce(&mut SeedOptions)) {
        change(&mut self.options);
    }

    fn config(&self) -> PathBuf {
        self.folder.join("seed.toml")
    }

    fn config_text(&self) -> String {
        let SeedOptions { channels, grant_seconds, certificate_days, deadline_ms, head_bps, archive, told, .. } =
            &self.options;
        let mut text = format!(
            "listen = {:?}\nhttp = \"127.0.0.1:0\"\ngrant_seconds = {grant_seconds}\n\
             certificate_days = {certificate_days}\n\
             [decide]\ndeadline_ms = {deadline_ms}\n[head]\nbitrate_bps = {head_bps}\n[store]\nreserve_free_bytes = 0\n",
            self.listen
        );
        if let Some(told) = told {
            text = format!("announce = [{told:?}]\n{text}");
        }
        for ChannelOptions { id, interval, plan } in channels {
            // Writing to a string cannot fail. Debug form of a string is a TOML string for the paths of tests.
            let _ = write!(
                text,
                "[[channel]]\nid = {id:?}\ninterval = {interval:?}\nplan = {:?}\narchive = {archive}\n",
                plan.display().to_string()
            );
        }
        text
    }

    /// Its device id.
    #[must_use]
    pub fn device(&self) -> &str {
        &self.device
    }

    /// Where it listens, as multiaddrs.
    #[must_use]
    pub fn listen(&self) -> &[String] {
        &self.listen
    }

    /// A code that enrols one device of a subscriber.
    ///
    /// # Errors
    /// The program failed.
    pub fn enrol(&self, subscriber: &str) -> anyhow::Result<String> {
        let mut command = Command::new(&self.programs.seed);
        command.arg("enrol").arg("--config").arg(self.config()).args(["--subscriber", subscriber]);
        let told = self.options.told.as_slice();
        for addr in if told.is_empty() { &self.listen } else { told } {
            command.args(["--addr", addr]);
        }
        Ok(output(&mut command)?.trim().to_owned())
    }

    fn daemon(&self) -> anyhow::Result<&Daemon> {
        self.daemon.as_ref().context("the seed is stopped")
    }

    /// Its status now.
    ///
    /// # Errors
    /// It is stopped, or does not answer.
    pub fn status(&self) -> anyhow::Result<SeedStatus> {
        self.daemon()?.status()
    }

    /// Waits until a status gives what is looked for.
    ///
    /// # Errors
    /// It did not in time; with the last status.
    pub fn wait_for<T>(
        &self,
        what: &str,
        patience: Duration,
        look: impl FnMut(&SeedStatus) -> Option<T>,
    ) -> anyhow::Result<T> {
        self.daemon()?.wait_for(what, patience, look)
    }

    /// A counter of its metrics page, whatever its labels; 0 where it is not there.
    ///
    /// # Errors
    /// It is stopped, or does not answer.
    pub fn counter(&self, name: &str) -> anyhow::Result<u64> {
        let text = get_text(&self.daemon()?.url("/metrics"), PATIENCE)?;
        let lines = text.lines().filter_map(|line| line.strip_prefix(name)?.split_once(' '));
        Ok(lines.filter_map(|(_, value)| value.parse::<u64>().ok()).sum())
    }

    /// Requests that it refused for a reason, chunks included.
    ///
    /// # Errors
    /// It is stopped, or does not answer.
    pub fn refused(&self, reason: &str) -> anyhow::Result<u64> {
        self.counter(&format!("aftercast_seed_refused_total{{reason=\"{reason}\"}}"))
    }

    /// Stops it in order.
    ///
    /// # Errors
    /// It is stopped already, or ended with an error.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.daemon.take().context("the seed is stopped")?.terminate()
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.kill();
        }
    }
}
