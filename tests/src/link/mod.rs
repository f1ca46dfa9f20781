//! A link proxy in user space: what two programs on this machine send each other goes through a pair of links with
//! rates, delays, losses and outages, where the kernel has no such thing or no rights are to be had. What the links do is
//! decided by [`aftercast_sim::link`], which the simulator computes with too; here are sockets, timers and buffers.
//!
//! ```text
//! program --> listener ==(up: a SharedLink)==> target      every connection, and every UDP sender,
//!         <--          <=(down: a SharedLink)=             is a flow of both
//! ```
//!
//! - Back-pressure: a piece is read only when it fits into its flow's queue on the line and into [`WINDOW`].
//! - TCP: half-closes pass in order with the bytes; a reset of either side, or a cut, resets both at once. A connection is
//!   accepted at once, but nothing arrives before the handshake would have taken its round trip.
//! - UDP: each sender's address is a flow with a socket of its own towards the target, so answers find their way.
//! - Time: the model's clock runs `speed` times as fast as the machine's, so all rates are multiplied and all delays
//!   divided. Timers that fire late (a millisecond is usual) cost delay, but no rate: the line goes on in model time.
//!
//! Not modelled: the kernel's own buffers at both ends, a few hundred KiB, are in front of and behind the queue. What they
//! drop of UDP is not counted; `net.core.rmem_max` says how large they may be.

mod clock;
mod direction;
mod tcp;
mod udp;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use aftercast_protocol::time::{Micros, Mono};
use aftercast_sim::link::{Effect, FOREVER, FlowId, LinkError, LinkSpec, Outage, Outages};
use aftercast_sim::rng::Rng;
use serde::Serialize;
use tokio::sync::watch;

use clock::Clock;
use direction::Direction;
pub use direction::{Traffic, WINDOW};

/// Most connections, and most UDP senders, at a time; others are refused and counted.
pub const MAX_FLOWS: usize = 1024;
/// How often a pair of free ports of one number is looked for.
const PORT_TRIES: usize = 16;

/// Where a proxy listens, and what for.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// Its own address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where connections go.
    pub to: SocketAddr,
    /// Whether the target is the one behind the line, so that what it sends goes up.
    pub inward: bool,
}

impl Route {
    /// From a free port of loopback to the target.
    #[must_use]
    pub fn to(to: SocketAddr) -> Self {
        Self { listen: (Ipv4Addr::LOCALHOST, 0).into(), to, inward: false }
    }
}

/// What a proxy does.
#[derive(Debug, Clone)]
pub struct ProxySpec {
    /// All of them share the two links, as the programs of one home do.
    pub routes: Vec<Route>,
    /// Towards the targets.
    pub up: LinkSpec,
    /// From the targets.
    pub down: LinkSpec,
    /// Whether UDP is forwarded beside TCP, on the same port.
    pub udp: bool,
    /// Decides all chance.
    pub seed: u64,
    /// How many times as fast as the machine's clock the model's runs; more than 0.
    pub speed: f64,
}

impl ProxySpec {
    /// One route over unlimited links, TCP alone, in real time.
    #[must_use]
    pub fn new(to: SocketAddr) -> Self {
        let link = LinkSpec::default;
        Self { routes: vec![Route::to(to)], up: link(), down: link(), udp: false, seed: 1, speed: 1.0 }
    }
}

/// What went through a proxy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Connections accepted so far.
    pub connections: u64,
    /// Of these, those that are open.
    pub open: u64,
    /// Connections not accepted: too many, a cut is on, or the target refused.
    pub refused: u64,
    /// Connections that ended in a reset, by one of their ends or by a cut.
    pub resets: u64,
    /// Addresses that sent datagrams.
    pub senders: u64,
    /// Time of the model since the start, in microseconds.
    pub model_us: u64,
    /// Towards the targets.
    pub up: Traffic,
    /// From the targets.
    pub down: Traffic,
}

/// What all tasks of a proxy share.
#[derive(Debug)]
struct Proxy {
    clock: Clock,
    up: Direction,
    down: Direction,
    /// Changes when every stream is to end.
    cuts: Arc<watch::Sender<u64>>,
    counters: Mutex<Counters>,
    flows: AtomicU64,
    progress: Arc<Progress>,
}

/// Wakes those who wait for counters.
#[derive(Debug, Default)]
struct Progress(Mutex<()>, Condvar);

impl Progress {
    fn made(&self) {
        drop(lock(&self.0));
        self.1.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Proxy {
    fn next_flow(&self) -> FlowId {
        FlowId(self.flows.fetch_add(1, Ordering::Relaxed))
    }

    fn count(&self, change: impl FnOnce(&mut Counters)) {
        change(&mut lock(&self.counters));
        self.progress.made();
    }

    /// The directions towards the target and back.
    fn ways(&self, inward: bool) -> (&Direction, &Direction) {
        if inward { (&self.down, &self.up) } else { (&self.up, &self.down) }
    }

    fn counters(&self) -> Counters {
        let (up, down) = (self.up.traffic(), self.down.traffic());
        Counters { model_us: self.clock.now().0, up, down, ..*lock(&self.counters) }
    }
}

/// A running proxy, on a thread of its own: of use to blocking and to async callers. Dropping it ends it, and with it
/// every connection.
#[derive(Debug)]
pub struct LinkProxy {
    addresses: Vec<SocketAddr>,
    proxy: Arc<Proxy>,
    links: Mutex<(LinkSpec, LinkSpec)>,
    end: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl LinkProxy {
    /// Listens; connections are accepted when this returns.
    ///
    /// # Errors
    /// An address is taken, the links' outages contradict each other, or the speed is none.
    pub fn start(spec: &ProxySpec) -> io::Result<Self> {
        if !(spec.speed > 0.0 && spec.speed <= 1000.0) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "speed is more than 0 and at most 1000"));
        }
        let (up, down, round_trip) = pair(spec.up.clone(), spec.down.clone()).map_err(io::Error::other)?;
        let clock = Clock::new(spec.speed);
        let (cuts, progress) = (Arc::new(watch::channel(0).0), Arc::new(Progress::default()));
        let direction = |link, side| {
            let rng = Rng::new(spec.seed.wrapping_mul(2).wrapping_add(side));
            Direction::new(clock, link, round_trip, rng, Arc::clone(&cuts), Arc::clone(&progress))
        };
        let (up, down) = (direction(up, 0), direction(down, 1));
        let (counters, flows) = (Mutex::default(), AtomicU64::new(0));
        let proxy = Arc::new(Proxy { clock, up, down, cuts, counters, flows, progress });
        let (end, ended) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut addresses = Vec::new();
        for route in &spec.routes {
            let _inside = runtime.enter();
            let (tcp, udp) = listen(route.listen, spec.udp, &spec.up, &spec.down)?;
            addresses.push(tcp.local_addr()?);
            runtime.spawn(tcp::serve(Arc::clone(&proxy), tcp, *route));
            if let Some(udp) = udp {
                runtime.spawn(udp::serve(Arc::clone(&proxy), Arc::new(udp), *route));
            }
        }
        let running = Arc::clone(&proxy);
        let thread = std::thread::Builder::new().name("link".into()).spawn(move || {
            runtime.block_on(async {
                let mut ended = ended;
                tokio::select! {
                    () = running.up.run() => {}
                    () = running.down.run() => {}
                    _ = ended.changed() => {}
                }
            });
        })?;
        let links = Mutex::new((spec.up.clone(), spec.down.clone()));
        Ok(Self { addresses, proxy, links, end, thread: Some(thread) })
    }

    /// Where the first route listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Where the routes listen, in their order.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Other links from now on; times of their outages count from now. What is on its way arrives as planned.
    ///
    /// # Errors
    /// Their outages contradict each other.
    pub fn set(&self, up: LinkSpec, down: LinkSpec) -> Result<(), LinkError> {
        self.put(up.clone(), down.clone())?;
        *lock(&self.links) = (up, down);
        Ok(())
    }

    /// Stalls, partitions or cuts both directions until [`LinkProxy::heal`]; the links' own outages are off until then.
    pub fn interrupt(&self, effect: Effect) {
        self.outage(Outage { effect, first: Micros(0), length: FOREVER, every: None });
    }

    /// Resets every connection; others are accepted as before. The links' own outages are off until
    /// [`LinkProxy::heal`].
    pub fn reset(&self) {
        self.outage(Outage { effect: Effect::Cut, first: Micros(0), length: Micros(0), every: None });
    }

    /// The links as they were set last, from now on: outages of theirs begin anew.
    pub fn heal(&self) {
        let (up, down) = lock(&self.links).clone();
        self.put(up, down).expect("what was set before can be set again");
    }

    fn outage(&self, outage: Outage) {
        let (up, down) = lock(&self.links).clone();
        let with = |mut link: LinkSpec| {
            link.outages = Outages::default();
            link.outages.add(outage).expect("one alone contradicts none");
            link
        };
        self.put(with(up), with(down)).expect("one outage contradicts none");
    }

    fn put(&self, up: LinkSpec, down: LinkSpec) -> Result<(), LinkError> {
        let (up, down, round_trip) = pair(up, down)?;
        self.proxy.up.set(up, round_trip);
        self.proxy.down.set(down, round_trip);
        Ok(())
    }

    /// What went through so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.proxy.counters()
    }

    /// Waits until the counters are as wanted; false where they were not after so long.
    #[must_use]
    pub fn wait(&self, patience: Duration, wanted: impl Fn(&Counters) -> bool) -> bool {
        let Progress(mutex, condition) = &*self.proxy.progress;
        let waited = condition.wait_timeout_while(lock(mutex), patience, |()| !wanted(&self.proxy.counters()));
        drop(waited);
        wanted(&self.counters())
    }

    /// Ends it and says what went through.
    pub fn end(mut self) -> Counters {
        self.stop();
        self.counters()
    }

    fn stop(&mut self) {
        self.end.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A panic there has said so on standard error.
            let _ = thread.join();
        }
    }
}

impl Drop for LinkProxy {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Both links with the partitions and cuts of either, and the round trip over them.
fn pair(mut up: LinkSpec, mut down: LinkSpec) -> Result<(LinkSpec, LinkSpec, Micros), LinkError> {
    let up_alone = up.clone();
    up.share_breaks(&down)?;
    down.share_breaks(&up_alone)?;
    let round_trip = up.delay + down.delay;
    Ok((up, down, round_trip))
}

/// Opens the listeners of a route, of one port number.
fn listen(
    at: SocketAddr,
    udp: bool,
    up: &LinkSpec,
    down: &LinkSpec,
) -> io::Result<(tokio::net::TcpListener, Option<tokio::net::UdpSocket>)> {
    let mut tries = 0;
    loop {
        let tcp = tcp::socket(at, up.rate.is_some() || down.rate.is_some())?;
        tcp.set_reuseaddr(true)?;
        tcp.bind(at)?;
        let tcp = tcp.listen(MAX_FLOWS as u32)?;
        if !udp {
            return Ok((tcp, None));
        }
        tries += 1;
        match udp::socket(tcp.local_addr()?) {
            Ok(socket) => return Ok((tcp, Some(socket))),
            Err(error) if at.port() != 0 || tries == PORT_TRIES => return Err(error),
            Err(_) => {}
        }
    }
}

/// When the first bytes of a connection made now can arrive over a link with this delay.
fn after_handshake(now: Mono, round_trip: Micros, delay: Micros) -> Mono {
    now + round_trip + delay
}
