//! What a device knows of how others reach it.
//!
//! ```text
//!   introducer sees us at ...            then
//!   an address of ours, private          local network: as listened on, nothing to prove
//!   an address of ours, public           AutoNAT; fails behind a firewall --> reserve
//!   another host's                       behind a router: AutoNAT, UPnP; meanwhile QUIC to it, reserve
//! ```
//!
//! Pure: the driver tells what happened and does what [`Home::next_step`] says.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use aftercast_protocol::ids::DeviceId;
use aftercast_protocol::limits::MAX_OBSERVED_ADDRS;
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

use crate::redact::{host_of, is_lan};

/// Waits between attempts to get hold of the introducer by QUIC and of a reservation: doubled from the first to the last.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// How others reach this device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reachability {
    /// The introducer has not said yet where it sees us.
    #[default]
    Unknown,
    /// At the addresses it listens on: a local network, or a public host that nobody has tested yet.
    Listening,
    /// At a public address that the introducer reached.
    Public,
    /// At a port that the router maps.
    Mapped,
    /// Through holes that both sides punch at once, after they met at the introducer.
    HolePunching,
    /// Not at all: it dials others and is served by the seed.
    SeedOnly,
}

impl Reachability {
    /// In plain words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Unknown => "not known yet",
            Self::Listening => "at the addresses it listens on",
            Self::Public => "at a public address",
            Self::Mapped => "at a port mapped by the router",
            Self::HolePunching => "by hole punching, behind a router",
            Self::SeedOnly => "only via the seed, behind a router",
        }
    }

    /// One word for scripts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Listening => "listening",
            Self::Public => "public",
            Self::Mapped => "mapped",
            Self::HolePunching => "hole_punching",
            Self::SeedOnly => "seed_only",
        }
    }
}

/// What the driver is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Connect to the introducer by QUIC, beside TCP: holes are punched from the port that it sees there, and its pings
    /// keep the router's mapping alive.
    DialQuic(Vec<Multiaddr>),
    /// Reserve a place at the introducer.
    Reserve,
    /// Nothing before this time.
    Wait(Instant),
}

/// Where a device's own knowledge stands.
#[derive(Debug)]
pub(crate) struct Home {
    pub introducer: DeviceId,
    /// Addresses given to AutoNAT; at most [`MAX_OBSERVED_ADDRS`].
    told: BTreeSet<Multiaddr>,
    /// Of those: reached from outside.
    proven: BTreeSet<Multiaddr>,
    /// Mapped by the router.
    mapped: BTreeSet<Multiaddr>,
    /// Our address through the introducer, once it keeps a place for us.
    circuit: Option<Multiaddr>,
    /// Whether the introducer sees us somewhere.
    seen: bool,
    /// Whether others cannot connect to where we listen, as far as is known.
    walled: bool,
    /// Whether the introducer sees a UDP port of ours.
    quic_seen: bool,
    /// Where the introducer takes QUIC.
    quic: Vec<Multiaddr>,
    dialling: bool,
    reserving: bool,
    retry: Instant,
    wait: Duration,
}

pub(crate) fn is_quic(addr: &Multiaddr) -> bool {
    addr.iter().any(|part| part == Protocol::QuicV1)
}

fn port_of(addr: &Multiaddr) -> Option<u16> {
    addr.iter().find_map(|part| match part {
        Protocol::Tcp(port) | Protocol::Udp(port) => Some(port),
        _ => None,
    })
}

fn without_peer(addr: &Multiaddr) -> Multiaddr {
    addr.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect()
}

fn at_host(addr: &Multiaddr, host: IpAddr) -> Multiaddr {
    without_peer(&std::iter::once(Protocol::from(host)).chain(addr.iter().skip(1)).collect())
}

impl Home {
    pub fn new(introducer: DeviceId, now: Instant) -> Self {
        Self {
            introducer,
            told: BTreeSet::new(),
            proven: BTreeSet::new(),
            mapped: BTreeSet::new(),
            circuit: None,
            seen: false,
            walled: false,
            quic_seen: false,
            quic: Vec::new(),
            dialling: false,
            reserving: false,
            retry: now,
            wait: RETRY.0,
        }
    }

    /// The introducer sees us at `observed`, on a connection that we dialled; `listen` is where we listen. Gives the
    /// addresses that AutoNAT is to test: new ones, and none of a local network.
    pub fn observed(&mut self, observed: &Multiaddr, listen: &[Multiaddr]) -> Vec<Multiaddr> {
        let observed = without_peer(observed);
        let Some(host) = host_of(&observed) else { return Vec::new() };
        self.seen = true;
        // Seen elsewhere, we have moved: what was proven leads there.
        self.proven.retain(|addr| host_of(addr) == Some(host));
        let ours: BTreeSet<IpAddr> = listen.iter().filter_map(host_of).collect();
        let translated = !ours.contains(&host);
        if !translated && is_lan(&observed) {
            self.walled = false;
            return Vec::new();
        }
        self.walled |= translated;
        self.quic_seen |= is_quic(&observed);
        // A router that keeps ports maps the ones that we listen on, or its owner has it do so.
        let same = |addr: &&Multiaddr| is_quic(addr) == is_quic(&observed) && port_of(addr).is_some();
        let guesses = listen.iter().filter(same).map(|addr| at_host(addr, host));
        let mut fresh = Vec::new();
        for addr in guesses.chain([observed.clone()]) {
            if self.told.len() < MAX_OBSERVED_ADDRS && self.told.insert(addr.clone()) {
                fresh.push(addr);
            }
        }
        fresh
    }

    /// Where a hole may lead to us, given where the introducer sees us: the UDP port that it sees, and, for a router that
    /// keeps ports or a host without one, those listened on. By QUIC alone: the two sides of a hole must agree on one
    /// connection, and TCP through two routers that answer with a reset is a matter of luck.
    pub fn holes(observed: &Multiaddr, listen: &[Multiaddr]) -> Vec<Multiaddr> {
        let observed = without_peer(observed);
        let Some(host) = host_of(&observed) else { return Vec::new() };
        let ours = listen.iter().filter(|addr| is_quic(addr));
        let mut holes: Vec<_> = ours.map(|addr| at_host(addr, host)).collect();
        holes.extend(Some(observed).filter(is_quic));
        holes.sort();
        holes.dedup();
        holes
    }

    /// AutoNAT tested one of our addresses.
    pub fn tested(&mut self, addr: &Multiaddr, reached: bool) {
        if !self.told.contains(addr) {
            return;
        }
        if reached {
            self.proven.insert(addr.clone());
        } else if self.proven.is_empty() {
            self.walled = true;
        }
    }

    /// The router maps a port, or no longer does.
    pub fn map(&mut self, addr: Multiaddr, works: bool) {
        if works {
            if self.mapped.len() < MAX_OBSERVED_ADDRS {
                self.mapped.insert(addr);
            }
        } else {
            self.mapped.remove(&addr);
        }
    }

    /// Where the introducer takes QUIC.
    pub fn introducer_at(&mut self, quic: Vec<Multiaddr>) {
        self.quic = quic;
    }

    /// The introducer keeps a place for us, at this address.
    pub fn reserved(&mut self, addr: Multiaddr) {
        self.circuit = Some(addr);
        self.wait = RETRY.0;
    }

    /// It keeps none, or no longer.
    pub fn unreserved(&mut self, now: Instant) {
        self.circuit = None;
        self.reserving = false;
        self.back_off(now);
    }

    /// The connection by QUIC did not come about, or ended.
    pub fn quic_lost(&mut self, now: Instant) {
        self.dialling = false;
        self.back_off(now);
    }

    /// The last connection to the introducer ended.
    pub fn introducer_gone(&mut self) {
        self.dialling = false;
        self.quic_seen = false;
        self.seen = false;
    }

    fn back_off(&mut self, now: Instant) {
        self.retry = now + self.wait;
        self.wait = (self.wait * 2).min(RETRY.1);
    }

    /// What is to be done; none while there is nothing. `by_quic`: whether the introducer is connected by QUIC.
    pub fn next_step(&mut self, by_quic: bool, now: Instant) -> Option<Step> {
        if !self.seen || !self.walled {
            return None;
        }
        let wanted = (!by_quic && !self.dialling && !self.quic.is_empty()) || (self.quic_seen && !self.reserving);
        if !wanted {
            return None;
        }
        if now < self.retry {
            return Some(Step::Wait(self.retry));
        }
        if !by_quic && !self.dialling && !self.quic.is_empty() {
            self.dialling = true;
            return Some(Step::DialQuic(self.quic.clone()));
        }
        self.reserving = true;
        Some(Step::Reserve)
    }

    /// How others reach us.
    pub fn reachability(&self) -> Reachability {
        if !self.proven.is_empty() {
            Reachability::Public
        } else if !self.mapped.is_empty() {
            Reachability::Mapped
        } else if self.circuit.is_some() {
            Reachability::HolePunching
        } else if !self.seen {
            Reachability::Unknown
        } else if self.walled {
            Reachability::SeedOnly
        } else {
            Reachability::Listening
        }
    }

    /// Our addresses beside those listened on: the better ones alone where there are any.
    pub fn beside(&self) -> Vec<Multiaddr> {
        let open: Vec<_> = self.proven.union(&self.mapped).cloned().collect();
        if open.is_empty() { self.circuit.iter().cloned().collect() } else { open }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: &str = "/ip4/192.168.1.7/tcp/4001";
    const QUIC: &str = "/ip4/192.168.1.7/udp/4001/quic-v1";

    fn addr(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    fn home() -> (Home, Vec<Multiaddr>, Instant) {
        let now = Instant::now();
        (Home::new(DeviceId([1; 32]), now), vec![addr(TCP), addr(QUIC)], now)
    }

    #[test]
    fn a_local_network_needs_no_proof() {
        let (mut home, listen, now) = home();
        assert_eq!(home.reachability(), Reachability::Unknown);
        assert!(home.observed(&addr("/ip4/192.168.1.7/tcp/50000"), &listen).is_empty());
        home.introducer_at(vec![addr("/ip4/192.168.1.1/udp/1/quic-v1")]);
        assert_eq!((home.reachability(), home.next_step(false, now)), (Reachability::Listening, None));
        assert!(home.beside().is_empty());
    }

    #[test]
    fn behind_a_router_it_meets_others_at_the_introducer_until_an_address_is_proven() {
        let (mut home, listen, now) = home();
        let seen = addr("/ip4/203.0.113.9/tcp/61000");
        assert_eq!(home.observed(&seen, &listen), [addr("/ip4/203.0.113.9/tcp/4001"), seen.clone()]);
        assert!(home.observed(&seen, &listen).is_empty(), "each is tested once");
        assert_eq!((home.reachability(), home.next_step(false, now)), (Reachability::SeedOnly, None));
        let quic = vec![addr("/ip4/198.51.100.2/udp/1/quic-v1")];
        home.introducer_at(quic.clone());
        assert_eq!(home.next_step(false, now), Some(Step::DialQuic(quic)));
        assert_eq!(home.next_step(false, now), None, "once");
        assert_eq!(home.observed(&addr("/ip4/203.0.113.9/udp/4001/quic-v1"), &listen).len(), 1);
        assert_eq!(home.next_step(true, now), Some(Step::Reserve));
        assert_eq!(home.next_step(true, now), None, "once");
        let circuit = addr("/ip4/198.51.100.2/tcp/1/p2p-circuit");
        home.reserved(circuit.clone());
        assert_eq!((home.reachability(), home.beside()), (Reachability::HolePunching, vec![circuit]));
        let forwarded = addr("/ip4/203.0.113.9/tcp/4001");
        home.tested(&forwarded, true);
        assert_eq!((home.reachability(), home.beside()), (Reachability::Public, vec![forwarded]));
        home.observed(&addr("/ip4/203.0.113.10/tcp/4001"), &listen);
        assert_eq!(home.reachability(), Reachability::HolePunching);
    }

    #[test]
    fn a_public_host_behind_a_firewall_is_found_out() {
        let (mut home, _, now) = home();
        let listen = [addr("/ip4/203.0.113.9/tcp/4001"), addr("/ip4/203.0.113.9/udp/4001/quic-v1")];
        assert_eq!(home.observed(&listen[1], &listen), [listen[1].clone()]);
        assert_eq!((home.reachability(), home.next_step(true, now)), (Reachability::Listening, None));
        home.tested(&listen[1], false);
        assert_eq!((home.reachability(), home.next_step(true, now)), (Reachability::SeedOnly, Some(Step::Reserve)));
    }

    #[test]
    fn a_refused_reservation_is_asked_for_again_later_and_later() {
        let (mut home, listen, mut now) = home();
        home.observed(&addr("/ip4/203.0.113.9/udp/4001/quic-v1"), &listen);
        let mut last = Duration::ZERO;
        for _ in 0..10 {
            assert_eq!(home.next_step(true, now), Some(Step::Reserve));
            home.unreserved(now);
            let Some(Step::Wait(until)) = home.next_step(true, now) else { panic!("at once") };
            assert!(until - now >= last && until - now <= RETRY.1);
            (last, now) = (until - now, until);
        }
        assert_eq!(last, RETRY.1);
    }

    #[test]
    fn holes_lead_to_the_port_that_is_seen_and_to_those_listened_on() {
        let listen = [addr(TCP), addr(QUIC)];
        let (kept, seen) = (addr("/ip4/203.0.113.9/udp/4001/quic-v1"), addr("/ip4/203.0.113.9/udp/61000/quic-v1"));
        assert_eq!(Home::holes(&seen, &listen), [kept.clone(), seen]);
        assert_eq!(Home::holes(&addr("/ip4/203.0.113.9/tcp/4001"), &listen), [kept]);
    }

    #[test]
    fn addresses_have_a_bound_and_untold_ones_prove_nothing() {
        let (mut home, listen, _) = home();
        for port in 1..100 {
            home.observed(&addr(&format!("/ip4/203.0.113.9/tcp/{port}")), &listen);
        }
        assert_eq!(home.told.len(), MAX_OBSERVED_ADDRS);
        home.tested(&addr("/ip4/203.0.113.1/tcp/1"), true);
        assert_eq!(home.reachability(), Reachability::SeedOnly);
    }
}
