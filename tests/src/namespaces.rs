//! A small internet of network namespaces: a bridge that everything public is on, and homes behind routers.
//!
//! ```text
//!   outside: bridge 198.51.100.1 ---+--- wan [router 1] lan --- 192.168.1.2 home 1
//!   (the seed)                      +--- wan [router 2] lan --- 192.168.2.2 home 2
//! ```
//!
//! A program is in a namespace when the thread that starts it is: [`Namespace::run`]. A router translates addresses and
//! lets nothing in that was not asked for from inside, as home routers do. Needs Linux, root, `ip` and `nft`:
//! [`Internet::new`] says what is missing. Everything goes with the handle; what a killed test left behind is swept out
//! by the next.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, bail, ensure};
use nix::sched::{CloneFlags, setns};

/// The address of whoever is outside.
pub const OUTSIDE: &str = "198.51.100.1";
/// Where `ip netns` keeps names.
const NAMES: &str = "/run/netns";
/// What ours begin with; the process id and a number follow.
const PREFIX: &str = "aftercast-";

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// How a router translates addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Router {
    /// A port inside keeps its port outside, whoever it speaks to; only those spoken to get in (a port-restricted cone).
    Cone,
    /// Every conversation gets a port of its own, at random: nobody can know it before (symmetric).
    Symmetric,
}

/// A network namespace; gone when this is dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    fn new() -> anyhow::Result<Self> {
        let name = format!("{PREFIX}{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        ip(&["netns", "add", &name])?;
        let made = Self { name };
        made.ip(&["link", "set", "lo", "up"])?;
        Ok(made)
    }

    fn ip(&self, args: &[&str]) -> anyhow::Result<()> {
        ip(&[&["-n", &self.name], args].concat())
    }

    /// Runs something in a thread that is in this namespace: what it connects, binds and starts is, too.
    ///
    /// # Panics
    /// When the thread cannot enter, or with what it panics with.
    pub fn run<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        let enter = || {
            let name = File::open(Path::new(NAMES).join(&self.name)).expect("a namespace of ours");
            setns(name, CloneFlags::CLONE_NEWNET).expect("root enters namespaces");
            what()
        };
        let ended = std::thread::scope(|scope| scope.spawn(enter).join());
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = ip(&["netns", "delete", &self.name]) {
            eprintln!("{error:#}");
        }
    }
}

/// A home and its router.
#[derive(Debug)]
pub struct Residence {
    /// Where its devices are.
    pub inside: Namespace,
    _router: Namespace,
}

/// The whole of it.
#[derive(Debug)]
pub struct Internet {
    /// Where whoever has a public address is, at [`OUTSIDE`].
    pub outside: Namespace,
    homes: u8,
}

impl Internet {
    /// An internet without homes; none, with a word to the reader of the test's output, where this machine cannot have one.
    ///
    /// # Errors
    /// It can, and it did not work out.
    pub fn or_skip() -> anyhow::Result<Option<Self>> {
        if let Some(lacking) = lacking() {
            eprintln!("skipped: this test needs network namespaces, and {lacking}");
            return Ok(None);
        }
        Self::new().map(Some)
    }

    fn new() -> anyhow::Result<Self> {
        sweep();
        let outside = Namespace::new()?;
        outside.ip(&["link", "add", "public", "type", "bridge"])?;
        outside.ip(&["address", "add", &format!("{OUTSIDE}/24"), "dev", "public"])?;
        outside.ip(&["link", "set", "public", "up"])?;
        Ok(Self { outside, homes: 0 })
    }

    /// One more home, behind a router of this kind.
    ///
    /// # Errors
    /// Something could not be set up.
    pub fn home(&mut self, kind: Router) -> anyhow::Result<Residence> {
        self.homes += 1;
        let n = self.homes;
        let (router, inside) = (Namespace::new()?, Namespace::new()?);
        let port = format!("port{n}");
        router.ip(&["link", "add", "wan", "type", "veth", "peer", "name", &port, "netns", &self.outside.name])?;
        self.outside.ip(&["link", "set", &port, "master", "public", "up"])?;
        router.ip(&["link", "add", "lan", "type", "veth", "peer", "name", "eth0", "netns", &inside.name])?;
        router.ip(&["address", "add", &format!("198.51.100.{}/24", 100 + n), "dev", "wan"])?;
        router.ip(&["address", "add", &format!("192.168.{n}.1/24"), "dev", "lan"])?;
        router.ip(&["link", "set", "wan", "up"])?;
        router.ip(&["link", "set", "lan", "up"])?;
        inside.ip(&["address", "add", &format!("192.168.{n}.2/24"), "dev", "eth0"])?;
        inside.ip(&["link", "set", "eth0", "up"])?;
        inside.ip(&["route", "add", "default", "via", &format!("192.168.{n}.1")])?;
        router.run(|| {
            std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("cannot forward")?;
            nft(&rules(kind))
        })?;
        Ok(Residence { inside, _router: router })
    }
}

/// Nothing comes in but answers; not even a refusal goes out, which would end the other side's attempt.
fn rules(kind: Router) -> String {
    let how = match kind {
        Router::Cone => "masquerade",
        Router::Symmetric => "masquerade fully-random",
    };
    format!(
        "table ip home {{
            chain translate {{ type nat hook postrouting priority 100; oifname \"wan\" {how}; }}
            chain inward {{ type filter hook input priority 0; policy drop;
                iifname != \"wan\" accept; ct state established,related accept; }}
            chain through {{ type filter hook forward priority 0; policy drop;
                iifname \"lan\" accept; ct state established,related accept; }}
        }}"
    )
}

/// What this machine lacks.
fn lacking() -> Option<&'static str> {
    if !nix::unistd::geteuid().is_root() {
        return Some("only root makes them");
    }
    let works = |program: &str, args: &[&str]| {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !works("ip", &["netns", "list"]) {
        return Some("`ip netns` does not work here (Debian: iproute2)");
    }
    if !works("nft", &["--version"]) {
        return Some("there is no `nft` (Debian: nftables)");
    }
    // A container may have root and everything, and not the right to.
    let probe = format!("{PREFIX}{}-probe", std::process::id());
    if !works("ip", &["netns", "add", &probe]) {
        return Some("this machine does not let root make them");
    }
    let translates = works("ip", &["netns", "exec", &probe, "nft", "add", "table", "ip", "probe"]);
    works("ip", &["netns", "delete", &probe]);
    (!translates).then_some("`nft` does not work in them")
}

/// Deletes those of processes that are gone.
fn sweep() {
    let names = std::fs::read_dir(NAMES).into_iter().flatten().flatten();
    for name in names.filter_map(|entry| entry.file_name().into_string().ok()) {
        let process = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if process.is_some_and(|id| !PathBuf::from(format!("/proc/{id}")).exists()) {
            // Another test may have been faster.
            let _ = ip(&["netns", "delete", &name]);
        }
    }
}

fn ip(args: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("ip").args(args).stdin(Stdio::null()).output().context("cannot start `ip`")?;
    ensure!(output.status.success(), "ip {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

fn nft(rules: &str) -> anyhow::Result<()> {
    let output = Command::new("nft").arg(rules).stdin(Stdio::null()).output().context("cannot start `nft`")?;
    if !output.status.success() {
        bail!("nft: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
