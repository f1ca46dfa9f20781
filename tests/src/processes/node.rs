//! A node as a process.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::Deserialize;

use super::PATIENCE;
use super::daemon::{Daemon, Used};
use super::http::{delete, post};
use super::ports;
use super::programs::{Programs, output};
use super::seed::SeedProcess;
use super::status::NodeStatus;

/// How a node is set up.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// Its name in messages.
    pub name: String,
    /// Whose device it is; the name's where none is given.
    pub subscriber: Option<String>,
    /// Channels and their input URLs.
    pub inputs: Vec<(String, String)>,
    /// Its line, in bits per second; all of it may be used.
    pub uplink_bps: u64,
    /// Whether the line is paid by volume.
    pub metered: bool,
    /// Most bytes of chunks.
    pub quota_bytes: Option<u64>,
    /// How others reach it.
    pub reached: Reached,
}

/// How others reach a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Reached {
    /// At free ports of loopback, as one of its home.
    #[default]
    Home,
    /// Where it listens, as multiaddrs.
    At(Vec<String>),
    /// From afar: it listens at a port of loopback and tells others another one, of what stands in front of it.
    Through {
        /// Where it listens.
        listen: u16,
        /// What it tells others.
        told: u16,
    },
    /// Not at all: it dials others, who are far away.
    Never,
}

impl Reached {
    /// The settings that say so.
    fn config(&self) -> String {
        match self {
            Self::Home => "listen = [\"/ip4/127.0.0.1/tcp/0\", \"/ip4/127.0.0.1/udp/0/quic-v1\"]\n".into(),
            Self::At(listen) => format!("listen = {listen:?}\n"),
            Self::Through { listen, told } => format!(
                "listen = [\"/ip4/127.0.0.1/tcp/{listen}\"]\nannounce = [\"/ip4/127.0.0.1/tcp/{told}\"]\n\
                 private_is_home = false\n"
            ),
            Self::Never => "listen = []\nprivate_is_home = false\n".into(),
        }
    }
}

impl NodeOptions {
    /// A node with a line that is no limit.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            subscriber: None,
            inputs: Vec::new(),
            uplink_bps: 200_000_000,
            metered: false,
            quota_bytes: None,
            reached: Reached::default(),
        }
    }

    /// As a device of this subscriber.
    #[must_use]
    pub fn of(self, subscriber: &str) -> Self {
        Self { subscriber: Some(subscriber.to_owned()), ..self }
    }

    /// With an input for a channel.
    #[must_use]
    pub fn input(mut self, channel: &str, url: &str) -> Self {
        self.inputs.push((channel.to_owned(), url.to_owned()));
        self
    }
}

/// A node, running or stopped.
#[derive(Debug)]
pub struct NodeProcess {
    programs: Programs,
    folder: PathBuf,
    options: NodeOptions,
    daemon: Option<Daemon>,
}

#[derive(Deserialize)]
struct Begun {
    id: String,
}

impl NodeProcess {
    /// Makes a node in a folder, enrols it and starts it.
    ///
    /// # Errors
    /// It cannot be enrolled or started.
    pub fn start(programs: &Programs, folder: &Path, options: NodeOptions, seed: &SeedProcess) -> anyhow::Result<Self> {
        let mut node = Self::make(programs, folder, options)?;
        node.join(seed)?;
        node.resume()?;
        Ok(node)
    }

    /// Makes a node in a folder that is neither enrolled nor running.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn make(programs: &Programs, folder: &Path, options: NodeOptions) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let node = Self { programs: programs.clone(), folder: folder.to_owned(), options, daemon: None };
        node.write_config()?;
        Ok(node)
    }

    /// Enrols it as a device of its subscriber.
    ///
    /// # Errors
    /// The seed or the node refused.
    pub fn join(&self, seed: &SeedProcess) -> anyhow::Result<()> {
        let code = seed.enrol(self.options.subscriber.as_deref().unwrap_or(&self.options.name))?;
        output(Command::new(&self.programs.node).args(["join", &code, "--config"]).arg(self.config()))?;
        Ok(())
    }

    /// Starts it, again or for the first time.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn resume(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new(&self.programs.node);
        command.arg("run").arg("--config").arg(self.config());
        self.daemon = Some(Daemon::start(&self.options.name, command, &self.folder.join("node.log"))?);
        Ok(())
    }

    /// Changes how it is set up, from its next start on.
    ///
    /// # Errors
    /// The configuration cannot be written.
    pub fn change(&mut self, change: impl FnOnce(&mut NodeOptions)) -> anyhow::Result<()> {
        change(&mut self.options);
        self.write_config()
    }

    fn config(&self) -> PathBuf {
        self.folder.join("aftercast.toml")
    }

    /// Folder of its key, records and chunks.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn write_config(&self) -> anyhow::Result<()> {
        let NodeOptions { inputs, uplink_bps, metered, quota_bytes, reached, .. } = &self.options;
        let reached = reached.config();
        let quota = quota_bytes.map(|bytes| format!("quota_bytes = {bytes}\n")).unwrap_or_default();
        let inputs: String = inputs.iter().map(|(channel, url)| format!("{channel:?} = {url:?}\n")).collect();
        let text = format!(
            "data_dir = \"data\"\n{reached}\
             http = \"127.0.0.1:0\"\nmdns = false\nupnp = false\n\
             [uplink]\ndeclared_bps = {uplink_bps}\nshare_percent = 100\nmetered = {metered}\n\
             [store]\nreserve_free_bytes = 0\n{quota}[inputs]\n{inputs}"
        );
        let path = self.config();
        std::fs::write(&path, text).with_context(|| path.display().to_string())
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.options.name
    }

    fn daemon(&self) -> anyhow::Result<&Daemon> {
        self.daemon.as_ref().with_context(|| format!("{} is stopped", self.options.name))
    }

    /// Where it listens, as multiaddrs.
    ///
    /// # Errors
    /// It is stopped.
    pub fn listen(&self) -> anyhow::Result<Vec<String>> {
        Ok(self.daemon()?.ready().listen.clone())
    }

    /// Its device id.
    ///
    /// # Errors
    /// It is stopped.
    pub fn device(&self) -> anyhow::Result<String> {
        Ok(self.daemon()?.ready().device.clone())
    }

    /// Its status now.
    ///
    /// # Errors
    /// It is stopped, or does not answer.
    pub fn status(&self) -> anyhow::Result<NodeStatus> {
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
        look: impl FnMut(&NodeStatus) -> Option<T>,
    ) -> anyhow::Result<T> {
        self.daemon()?.wait_for(what, patience, look)
    }

    /// Waits until it is connected to its seed.
    ///
    /// # Errors
    /// It was not in time.
    pub fn wait_online(&self) -> anyhow::Result<()> {
        self.wait_for("it is connected to the seed", PATIENCE, |status| status.seed.connected.then_some(()))
    }

    /// Begins a recording; its id.
    ///
    /// # Errors
    /// The node or its seed refused.
    pub fn record(&self, channel: &str) -> anyhow::Result<String> {
        let answer = post(&self.url("/api/recordings")?, &format!("{{\"channel\": {channel:?}}}"), PATIENCE)?;
        Ok(serde_json::from_str::<Begun>(&answer).with_context(|| answer.clone())?.id)
    }

    /// Ends a recording.
    ///
    /// # Errors
    /// The node refused.
    pub fn stop_recording(&self, id: &str) -> anyhow::Result<()> {
        post(&self.url(&format!("/api/recordings/{id}/stop"))?, "{}", PATIENCE).map(drop)
    }

    /// Deletes a recording.
    ///
    /// # Errors
    /// The node refused.
    pub fn delete_recording(&self, id: &str) -> anyhow::Result<()> {
        delete(&self.url(&format!("/api/recordings/{id}"))?, PATIENCE)
    }

    /// What it has used of the machine since it was started.
    ///
    /// # Errors
    /// It is stopped, or this is no Linux.
    pub fn used(&self) -> anyhow::Result<Used> {
        self.daemon()?.used()
    }

    /// Waits until somebody listens on a loopback UDP port, as this node's tuner is about to.
    ///
    /// # Errors
    /// Nobody did in time.
    pub fn wait_listening(&self, port: u16) -> anyhow::Result<()> {
        let until = Instant::now() + PATIENCE;
        // 127.0.0.1 and the port, as `proc(5)` writes them.
        let wanted = format!("0100007F:{port:04X}");
        loop {
            let open = std::fs::read_to_string("/proc/net/udp").context("/proc/net/udp")?;
            if open.lines().any(|line| line.contains(&wanted)) {
                return Ok(());
            }
            if Instant::now() > until {
                bail!("{}: nobody listens on port {port}", self.options.name);
            }
            // A round trip to the node is the pace of looking.
            self.status()?;
        }
    }

    /// The URL of a path of its HTTP interface.
    ///
    /// # Errors
    /// It is stopped.
    pub fn url(&self, path: &str) -> anyhow::Result<String> {
        Ok(self.daemon()?.url(path))
    }

    /// The playlist of a recording.
    ///
    /// # Errors
    /// It is stopped.
    pub fn playlist(&self, id: &str) -> anyhow::Result<String> {
        self.url(&format!("/recordings/{id}/index.m3u8"))
    }

    /// A recording as one transport stream.
    ///
    /// # Errors
    /// It is stopped.
    pub fn stream(&self, id: &str) -> anyhow::Result<String> {
        self.url(&format!("/recordings/{id}.ts"))
    }

    /// What it logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("node.log")).unwrap_or_default()
    }

    /// Stops it in order.
    ///
    /// # Errors
    /// It is stopped already, or ended with an error.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.daemon.take().with_context(|| format!("{} is stopped", self.options.name))?.terminate()
    }

    /// Freezes it: its connections stay, and nothing answers on them. Only [`Self::kill`] goes on from there.
    ///
    /// # Errors
    /// It is stopped already.
    pub fn freeze(&self) -> anyhow::Result<()> {
        self.daemon()?.signal("STOP")
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.kill();
        }
    }

    /// A loopback TCP port that nobody listens on.
    ///
    /// # Errors
    /// No socket could be opened.
    pub fn free_tcp_port() -> std::io::Result<u16> {
        Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
    }

    /// A loopback UDP port that nobody listens on, and nobody will before this process ends but who is told of it.
    ///
    /// # Errors
    /// There is none.
    pub fn free_port() -> std::io::Result<u16> {
        ports::udp()
    }
}
