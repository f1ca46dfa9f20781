//! One daemon: started, waited for, ended.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::PATIENCE;
use super::http::get_text;

/// What a daemon says of itself once everything is up.
#[derive(Debug, Clone, Deserialize)]
pub struct Ready {
    /// Its device id.
    pub device: String,
    /// Where its HTTP interface is.
    pub http: String,
    /// Where it listens, as multiaddrs.
    pub listen: Vec<String>,
}

/// A status page with a version to wait by.
pub(super) trait Versioned: DeserializeOwned {
    /// Query that waits for a version above this one.
    const QUERY: &'static str;
    /// Counts up with every change.
    fn version(&self) -> u64;
}

/// A running daemon. It is killed when this is dropped.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    child: Child,
    ready: Ready,
    log: PathBuf,
}

/// Process ids of the daemons that run, for an end in which no handle is dropped.
static RUNNING: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

fn running() -> MutexGuard<'static, BTreeSet<u32>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells every daemon that this process started and that still runs to end. For signal handlers: elsewhere a daemon
/// ends with its handle.
pub fn end_all() {
    for pid in std::mem::take(&mut *running()) {
        // A failure means that it has just ended.
        let _ = tell(pid, "TERM");
    }
}

/// What a program has used of the machine.
#[derive(Debug, Clone, Copy)]
pub struct Used {
    /// Processor time.
    pub cpu: Duration,
    /// Most memory that was resident at once.
    pub peak_bytes: u64,
}

/// The standard library knows no other signal than the one that kills.
fn tell(pid: u32, signal: &str) -> bool {
    Command::new("sh").args(["-c", &format!("kill -{signal} {pid}")]).status().is_ok_and(|status| status.success())
}

impl Daemon {
    /// Starts a daemon and waits until it is ready. What it logs is added to `log`.
    ///
    /// # Errors
    /// It cannot be started, ended at once, or was not ready in time; with the end of its log.
    pub(super) fn start(name: &str, mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let to = File::options().create(true).append(true).open(log).with_context(|| log.display().to_string())?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(to);
        let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        running().insert(child.id());
        let stdout = child.stdout.take().context("no standard output")?;
        let (said, heard) = channel();
        // Reads on to the end, so that the daemon never waits for us.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = said.send(line); // after the first line nobody listens any more
            }
        });
        let answer = heard.recv_timeout(PATIENCE);
        let ready = match &answer {
            Ok(line) => serde_json::from_str(line).with_context(|| format!("{name} said: {line}")),
            Err(RecvTimeoutError::Timeout) => Err(anyhow::anyhow!("{name} was not ready in time")),
            Err(RecvTimeoutError::Disconnected) => Err(anyhow::anyhow!("{name} ended at once")),
        };
        match ready {
            Ok(ready) => Ok(Self { name: name.to_owned(), child, ready, log: log.to_owned() }),
            Err(error) => {
                end(&mut child);
                Err(error.context(format!("last words in {}: {}", log.display(), last_words(log))))
            }
        }
    }

    /// What it said of itself.
    #[must_use]
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// Where its log is.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Asks it to end, and waits for that.
    ///
    /// # Errors
    /// It did not end in time (it is killed then), or ended with an error.
    pub fn terminate(mut self) -> anyhow::Result<()> {
        self.signal("TERM")?;
        let status = self.wait()?;
        if !status.success() {
            bail!("{} ended with {status}: {}", self.name, last_words(&self.log));
        }
        Ok(())
    }

    /// Sends a signal, named as `kill` names it.
    pub(super) fn signal(&self, signal: &str) -> anyhow::Result<()> {
        if !tell(self.child.id(), signal) {
            bail!("{} could not be sent {signal}", self.name);
        }
        Ok(())
    }

    fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        let pid = self.child.id();
        let (ended, heard) = channel::<()>();
        // A watchdog instead of a loop that looks now and then.
        let watchdog = std::thread::spawn(move || {
            if heard.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                tell(pid, "KILL");
            }
        });
        let status = self.child.wait();
        drop(ended);
        let _ = watchdog.join();
        status.with_context(|| format!("waiting for {}", self.name))
    }

    /// Ends it as a power cut would.
    pub fn kill(self) {
        drop(self);
    }

    /// What it has used of the machine so far (`proc(5)`).
    ///
    /// # Errors
    /// It ended, or this is no Linux.
    pub(super) fn used(&self) -> anyhow::Result<Used> {
        let read = |file: &str| {
            let path = format!("/proc/{}/{file}", self.child.id());
            std::fs::read_to_string(&path).with_context(|| path)
        };
        let (stat, status) = (read("stat")?, read("status")?);
        // Behind the name, which may hold anything, the 12th and 13th field are user and system time in 1/100 s.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let field = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).context("/proc/PID/stat");
        let peak =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        Ok(Used { cpu: Duration::from_millis(10 * (field(11)? + field(12)?)), peak_bytes: 1024 * peak.unwrap_or(0u64) })
    }

    /// The URL of a path of its HTTP interface.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.ready.http)
    }

    /// Its status now.
    pub(super) fn status<S: Versioned>(&self) -> anyhow::Result<S> {
        self.read_status("", PATIENCE).map(|(status, _)| status)
    }

    fn read_status<S: Versioned>(&self, query: &str, timeout: Duration) -> anyhow::Result<(S, String)> {
        let text = get_text(&self.url(&format!("/api/status{query}")), timeout)
            .with_context(|| format!("{}; its last words: {}", self.name, last_words(&self.log)))?;
        let status = serde_json::from_str(&text).with_context(|| format!("status of {}: {text}", self.name))?;
        Ok((status, text))
    }

    /// Waits until a status gives what is looked for.
    pub(super) fn wait_for<S: Versioned, T>(
        &self,
        what: &str,
        patience: Duration,
        mut look: impl FnMut(&S) -> Option<T>,
    ) -> anyhow::Result<T> {
        let until = Instant::now() + patience;
        let (mut status, _) = self.read_status::<S>("", patience)?;
        loop {
            if let Some(found) = look(&status) {
                return Ok(found);
            }
            let left = until.saturating_duration_since(Instant::now());
            let next = (!left.is_zero())
                .then(|| self.read_status::<S>(&format!("?{}={}", S::QUERY, status.version()), left).ok())
                .flatten();
            match next {
                Some((next, _)) => status = next,
                // Cut off while waiting: what counts is how it stands at the end.
                None => {
                    let (last, text) = self.read_status::<S>("", PATIENCE)?;
                    if let Some(found) = look(&last) {
                        return Ok(found);
                    }
                    bail!(
                        "{}: waited {} s in vain until {what}; log {}; last status: {text}",
                        self.name,
                        patience.as_secs(),
                        self.log.display()
                    )
                }
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Kills a process that may have ended already.
fn end(child: &mut Child) {
    running().remove(&child.id());
    let _ = child.kill();
    let _ = child.wait();
}

fn last_words(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let last: Vec<&str> = text.lines().rev().take(4).collect();
    last.into_iter().rev().collect::<Vec<_>>().join("\n")
}
