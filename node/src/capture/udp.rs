//! Datagrams, unicast and multicast.

use std::io;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use super::input::{Iface, Listen};
use super::{BLOCK_BYTES, Block, Outlet, STOP_CHECK};

/// Largest datagram of IPv4 and IPv6.
const MAX_DATAGRAM: usize = 65_535;
/// Room asked of the kernel for datagrams that wait: seconds of any channel. The system may allow less.
const RECEIVE_BUFFER: usize = 16 << 20;
/// A datagram that is no larger finds room in a block that has so much left.
const MOST_OF_ONE: usize = 2048;
/// How long datagrams are gathered into one block.
const GATHER: Duration = Duration::from_millis(40);
/// Shortest and longest pause before what came meanwhile is taken in.
const NAPS: Range<Duration> = Duration::from_millis(4)..Duration::from_millis(20);
/// After a pause that brought less a longer one will do, after one that brought more it must be shorter.
const FEW_BYTES: usize = 8 * 1024;
const MANY_BYTES: usize = 32 * 1024;
/// Wait before a socket that cannot be opened is tried again: the interface may come up later.
const RETRY: Duration = Duration::from_secs(5);

/// Reads transport stream packets until the outlet closes.
pub fn read(listen: &Listen, out: &Outlet) {
    each_datagram(listen, out, |datagram, block| block.extend_from_slice(datagram));
}

/// Opens the socket, and lets `unpack` append each datagram's stream bytes to the block in the making.
pub fn each_datagram(listen: &Listen, out: &Outlet, mut unpack: impl FnMut(&[u8], &mut Vec<u8>)) {
    loop {
        match open(listen) {
            Ok(socket) => {
                if !receive(&socket, out, &mut unpack) {
                    return;
                }
            }
            Err(error) => {
                if !out.give(Block::Trouble(format!("cannot receive on {}: {error}", listen.addr))) {
                    return;
                }
            }
        }
        if !out.rest(RETRY) {
            return;
        }
        out.counters().reopened.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

fn open(listen: &Listen) -> io::Result<UdpSocket> {
    let domain = if listen.addr.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    // Several programs of one device may receive one multicast group.
    socket.set_reuse_address(listen.addr.ip().is_multicast())?;
    // The kernel cuts this to what its administrator allows; whatever it is, it is what can be had.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    // Binding to the group keeps other groups of the same port out.
    socket.bind(&listen.addr.into())?;
    match (listen.addr.ip(), listen.iface) {
        (IpAddr::V4(group), iface) if group.is_multicast() => {
            let iface = if let Some(Iface::Addr(addr)) = iface { addr } else { Ipv4Addr::UNSPECIFIED };
            socket.join_multicast_v4(&group, &iface)?;
        }
        (IpAddr::V6(group), iface) if group.is_multicast() => {
            let index = if let Some(Iface::Index(index)) = iface { index } else { 0 };
            socket.join_multicast_v6(&group, index)?;
        }
        _ => {}
    }
    let socket: UdpSocket = socket.into();
    socket.set_read_timeout(Some(STOP_CHECK))?;
    Ok(socket)
}

/// False when the reader should end; true when the socket failed.
fn receive(socket: &UdpSocket, out: &Outlet, unpack: &mut impl FnMut(&[u8], &mut Vec<u8>)) -> bool {
    let mut datagram = vec![0; MAX_DATAGRAM];
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    let mut nap = NAPS.start;
    loop {
        match gather(socket, &mut datagram, &mut block, &mut nap, unpack) {
            Ok(()) => {}
            Err(error) => return out.give(Block::Trouble(format!("receiving failed: {error}"))),
        }
        if !block.is_empty() {
            let full = std::mem::replace(&mut block, Vec::with_capacity(BLOCK_BYTES));
            if !out.offer(full) {
                return false;
            }
        } else if out.stopped() {
            return false;
        }
    }
}

/// Waits for a datagram, and then a little longer for those that follow: waking up costs more than taking one in.
/// Nothing where none came.
fn gather(
    socket: &UdpSocket,
    datagram: &mut [u8],
    block: &mut Vec<u8>,
    nap: &mut Duration,
    unpack: &mut impl FnMut(&[u8], &mut Vec<u8>),
) -> io::Result<()> {
    socket.set_nonblocking(false)?;
    if !take_one(socket, datagram, block, unpack)? {
        return Ok(());
    }
    socket.set_nonblocking(true)?;
    let first = Instant::now();
    loop {
        let before = block.len();
        while block.len() + MOST_OF_ONE <= BLOCK_BYTES && take_one(socket, datagram, block, unpack)? {}
        let is_full = block.len() + MOST_OF_ONE > BLOCK_BYTES;
        if is_full || first.elapsed() >= GATHER {
            return Ok(());
        }
        // What comes during a nap must fit into the kernel's room for it, which may be 200 kB, overhead included.
        *nap = match block.len() - before {
            ..FEW_BYTES => (*nap * 2).min(NAPS.end),
            MANY_BYTES.. => *nap / 2,
            _ => *nap,
        };
        if *nap >= NAPS.start {
            thread::sleep(*nap);
        } else {
            *nap = NAPS.start / 2;
            return Ok(());
        }
    }
}

/// False where there is none.
fn take_one(
    socket: &UdpSocket,
    datagram: &mut [u8],
    block: &mut Vec<u8>,
    unpack: &mut impl FnMut(&[u8], &mut Vec<u8>),
) -> io::Result<bool> {
    match socket.recv_from(datagram) {
        Ok((len, _)) => {
            unpack(datagram.get(..len).unwrap_or_default(), block);
            Ok(true)
        }
        Err(error) if is_nothing_yet(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_nothing_yet(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}
