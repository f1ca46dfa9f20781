//! The one place where addresses are made fit for logs.
//!
//! A peer's address says which home watches what. Logs keep the kind of address and the transport, which is what an
//! operator needs to understand a failure; the host stays out, save for loopback and private networks.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

/// Shows an address without the host of a public one: `/ip4/public/udp/quic-v1`, but `/ip4/192.168.1.7/tcp/4001`.
pub struct Redacted<'a>(pub &'a Multiaddr);

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = is_lan(self.0);
        for part in self.0 {
            match part {
                Protocol::Ip4(_) if !shown => f.write_str("/ip4/public")?,
                Protocol::Ip6(_) if !shown => f.write_str("/ip6/public")?,
                Protocol::Tcp(_) if !shown => f.write_str("/tcp")?,
                Protocol::Udp(_) if !shown => f.write_str("/udp")?,
                Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_) | Protocol::Dnsaddr(_) => {
                    f.write_str("/dns/name")?;
                }
                Protocol::P2p(_) => {}
                other => write!(f, "{other}")?,
            }
        }
        Ok(())
    }
}

/// Whether the address is on this host or its local network: loopback, private, link-local or unique local.
#[must_use]
pub fn is_lan(addr: &Multiaddr) -> bool {
    host_of(addr).is_some_and(|host| match host {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
            None => ip.is_loopback() || local_v6(ip),
        },
    }) && !is_relayed(addr)
}

/// Unique local (RFC 4193) or link-local (RFC 4291, 2.5.6).
fn local_v6(ip: Ipv6Addr) -> bool {
    ip.is_unique_local() || ip.is_unicast_link_local()
}

/// The address' host, where it is a number.
pub(crate) fn host_of(addr: &Multiaddr) -> Option<IpAddr> {
    match addr.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.into()),
        _ => None,
    }
}

/// Whether the address goes through a relay.
pub(crate) fn is_relayed(addr: &Multiaddr) -> bool {
    addr.iter().any(|part| part == Protocol::P2pCircuit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        Redacted(&text.parse().unwrap()).to_string()
    }

    #[test]
    fn public_hosts_and_ports_stay_out_of_logs() {
        assert_eq!(shown("/ip4/93.184.216.34/udp/4001/quic-v1"), "/ip4/public/udp/quic-v1");
        assert_eq!(shown("/ip6/2001:db8::1/tcp/4001"), "/ip6/public/tcp");
        assert_eq!(shown("/dns4/home.example.net/tcp/1"), "/dns/name/tcp");
    }

    #[test]
    fn local_hosts_are_shown_and_are_lan() {
        for text in
            ["/ip4/127.0.0.1/tcp/1", "/ip4/192.168.1.7/tcp/2", "/ip6/fe80::1/udp/3/quic-v1", "/ip6/fd00::1/tcp/4"]
        {
            assert_eq!(shown(text), text);
            assert!(is_lan(&text.parse().unwrap()));
        }
    }

    #[test]
    fn a_relay_on_the_lan_does_not_make_a_peer_local() {
        let relay = crate::peer_id_of(aftercast_protocol::ids::DeviceId([1; 32]));
        let addr = format!("/ip4/192.168.1.7/tcp/2/p2p/{relay}/p2p-circuit").parse().unwrap();
        assert!(!is_lan(&addr));
        assert!(is_relayed(&addr));
    }
}
