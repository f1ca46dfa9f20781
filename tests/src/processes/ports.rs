//! UDP ports for tuners, which bind them long after they were chosen.

use std::io::{Error, ErrorKind, Result};
use std::net::{TcpListener, UdpSocket};
use std::sync::{Mutex, PoisonError};

/// Below the ports that systems give to whoever asks for any (RFC 6056, section 3.2; Linux: from 32768 on): a port that
/// was asked for and let go again may be anybody's by the time it is used.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// What is reserved. A port is taken by binding its number for TCP, which the tuner has no use for: other processes that
/// choose in the same way see that.
static RESERVED: Mutex<Vec<TcpListener>> = Mutex::new(Vec::new());

/// A port that nobody listens on, reserved until the process ends.
pub(super) fn udp() -> Result<u16> {
    let mut reserved = RESERVED.lock().unwrap_or_else(PoisonError::into_inner);
    // Processes begin at different places, so that they seldom try the same ones.
    let begin = std::process::id().wrapping_mul(7919) % u32::from(COUNT);
    let order = (0..COUNT).map(|place| FIRST + ((begin + u32::from(place)) % u32::from(COUNT)) as u16);
    for port in order {
        let at = ("127.0.0.1", port);
        if let (Ok(reservation), Ok(_)) = (TcpListener::bind(at), UdpSocket::bind(at)) {
            reserved.push(reservation);
            return Ok(port);
        }
    }
    Err(Error::new(ErrorKind::AddrInUse, format!("no free UDP port from {FIRST} to {}", FIRST + COUNT)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice_though_nobody_has_bound_it() {
        let ports: Vec<u16> = (0..200).map(|_| udp().unwrap()).collect();
        let different: std::collections::BTreeSet<&u16> = ports.iter().collect();
        assert_eq!(different.len(), ports.len());
        for port in ports {
            UdpSocket::bind(("127.0.0.1", port)).expect("a reserved port is free for UDP");
        }
    }
}
