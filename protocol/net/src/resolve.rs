//! Host names in addresses, resolved before dialling: the transports take numbers only.

use std::net::IpAddr;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

/// Most addresses taken from one name.
const MAX_PER_NAME: usize = 8;

/// The addresses with every leading host name replaced by what it resolves to. A name that does not resolve gives
/// nothing; addresses without a name stay as they are.
pub(crate) async fn resolve(addrs: Vec<Multiaddr>) -> Vec<Multiaddr> {
    let mut out = Vec::with_capacity(addrs.len());
    for addr in addrs {
        match name_of(&addr) {
            None => out.push(addr),
            Some((name, wanted)) => match tokio::net::lookup_host((name.as_str(), 0)).await {
                Ok(found) => out.extend(
                    found.map(|host| host.ip()).filter(wanted).take(MAX_PER_NAME).map(|ip| with_host(&addr, ip)),
                ),
                Err(error) => tracing::debug!(%error, "a peer's host name does not resolve"),
            },
        }
    }
    out
}

type Wanted = fn(&IpAddr) -> bool;

fn name_of(addr: &Multiaddr) -> Option<(String, Wanted)> {
    match addr.iter().next()? {
        Protocol::Dns(name) => Some((name.into_owned(), |_| true)),
        Protocol::Dns4(name) => Some((name.into_owned(), IpAddr::is_ipv4)),
        Protocol::Dns6(name) => Some((name.into_owned(), IpAddr::is_ipv6)),
        _ => None,
    }
}

fn with_host(addr: &Multiaddr, ip: IpAddr) -> Multiaddr {
    std::iter::once(Protocol::from(ip)).chain(addr.iter().skip(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_become_numbers_and_numbers_stay() {
        let given: Vec<Multiaddr> =
            ["/dns4/localhost/tcp/7", "/ip4/127.0.0.1/udp/8/quic-v1"].iter().map(|a| a.parse().unwrap()).collect();
        let wanted: Vec<Multiaddr> =
            ["/ip4/127.0.0.1/tcp/7", "/ip4/127.0.0.1/udp/8/quic-v1"].iter().map(|a| a.parse().unwrap()).collect();
        assert_eq!(resolve(given).await, wanted);
    }
}
