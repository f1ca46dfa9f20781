//! Datagrams through a proxy.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use aftercast_sim::link::FlowId;
use bytes::Bytes;
use tokio::net::UdpSocket;

use super::{MAX_FLOWS, Proxy, Route};

/// Asked of the kernel, so that it loses nothing that nobody counts.
const BUFFER: usize = 4 * 1024 * 1024;
/// Largest datagram there is.
const MAX_DATAGRAM: usize = 65_535;

/// A socket bound to this address.
pub(super) fn socket(at: SocketAddr) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind(at)?;
    socket.set_nonblocking(true)?;
    let options = socket2::SockRef::from(&socket);
    options.set_recv_buffer_size(BUFFER)?;
    options.set_send_buffer_size(BUFFER)?;
    UdpSocket::from_std(socket)
}

/// Forwards datagrams, each sender's through a socket of its own. Never returns.
pub(super) async fn serve(proxy: Arc<Proxy>, near: Arc<UdpSocket>, route: Route) {
    let mut senders: BTreeMap<SocketAddr, FlowId> = BTreeMap::new();
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        // An error tells that an earlier answer was not wanted.
        let Ok((length, sender)) = near.recv_from(&mut buffer).await else { continue };
        let flow = match senders.get(&sender) {
            Some(flow) => *flow,
            None if senders.len() >= MAX_FLOWS => {
                proxy.count(|counters| counters.refused += 1);
                continue;
            }
            None => match open(&proxy, &near, sender, route).await {
                Ok(flow) => *senders.entry(sender).or_insert(flow),
                Err(_) => {
                    proxy.count(|counters| counters.refused += 1);
                    continue;
                }
            },
        };
        // Refusals are counted by the direction.
        let _ = proxy.ways(route.inward).0.offer(flow, Bytes::copy_from_slice(&buffer[..length]));
    }
}

async fn open(proxy: &Arc<Proxy>, near: &Arc<UdpSocket>, sender: SocketAddr, route: Route) -> io::Result<FlowId> {
    let any = if route.to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let far = Arc::new(socket(SocketAddr::new(any, 0))?);
    far.connect(route.to).await?;
    let flow = proxy.next_flow();
    let (forth, back) = proxy.ways(route.inward);
    forth.open_datagrams(flow, Arc::clone(&far), None);
    back.open_datagrams(flow, Arc::clone(near), Some(sender));
    proxy.count(|counters| counters.senders += 1);
    let proxy = Arc::clone(proxy);
    tokio::spawn(async move {
        let mut buffer = vec![0; MAX_DATAGRAM];
        loop {
            let Ok(length) = far.recv(&mut buffer).await else { continue };
            let _ = proxy.ways(route.inward).1.offer(flow, Bytes::copy_from_slice(&buffer[..length]));
        }
    });
    Ok(flow)
}
