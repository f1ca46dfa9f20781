//! Connections through a proxy.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aftercast_sim::link::FlowId;
use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;

use super::direction::Direction;
use super::{MAX_FLOWS, Proxy, Route, after_handshake};

/// Receive buffer of sockets before a limited link: what waits is to wait in the link's queue. Smaller ones stall, as a
/// segment on loopback has 64 KiB.
const BUFFER: u32 = 128 * 1024;

/// A socket of the address's family.
pub(super) fn socket(address: SocketAddr, limited: bool) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if limited {
        socket.set_recv_buffer_size(BUFFER)?;
    }
    Ok(socket)
}

/// Accepts connections. Never returns.
pub(super) async fn serve(proxy: Arc<Proxy>, listener: TcpListener, route: Route) {
    let places = Arc::new(Semaphore::new(MAX_FLOWS));
    loop {
        // An error is of one connection, or there are no descriptors left: then the next one ends makes room.
        let Ok((near, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        // So that a cut that is due is over before the connection begins.
        proxy.up.pump();
        proxy.down.pump();
        match Arc::clone(&places).try_acquire_owned() {
            Ok(place) if !proxy.up.is_cut() => {
                let proxy = Arc::clone(&proxy);
                tokio::spawn(async move {
                    connection(&proxy, near, route).await;
                    drop(place);
                });
            }
            _ => refuse(&proxy, &near),
        }
    }
}

fn refuse(proxy: &Proxy, near: &TcpStream) {
    reset(near);
    proxy.count(|counters| counters.refused += 1);
}

/// Makes dropping this reset the connection.
fn reset(stream: &TcpStream) {
    // Where it fails the connection is gone already.
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

async fn connection(proxy: &Proxy, mut near: TcpStream, route: Route) {
    let mut cuts = proxy.cuts.subscribe();
    let (forth, back) = proxy.ways(route.inward);
    let limited = forth.is_limited() || back.is_limited();
    let connected = async { socket(route.to, limited)?.connect(route.to).await };
    let mut far = match connected.await {
        Ok(far) => far,
        Err(_) => return refuse(proxy, &near),
    };
    for stream in [&near, &far] {
        // Only costs delay where it fails.
        let _ = stream.set_nodelay(true);
    }
    let (flow, now, round_trip) = (proxy.next_flow(), proxy.clock.now(), forth.delay() + back.delay());
    forth.open_stream(flow, after_handshake(now, round_trip, forth.delay()));
    back.open_stream(flow, after_handshake(now, round_trip, Default::default()));
    proxy.count(|counters| {
        counters.connections += 1;
        counters.open += 1;
    });
    let outcome = {
        let ((near_read, near_write), (far_read, far_write)) = (near.split(), far.split());
        tokio::select! {
            outcome = async {
                tokio::try_join!(
                    read(forth, flow, near_read),
                    write(forth, flow, far_write),
                    read(back, flow, far_read),
                    write(back, flow, near_write),
                )
            } => outcome.map(|_| ()),
            _ = cuts.changed() => Err(io::ErrorKind::ConnectionReset.into()),
        }
    };
    forth.close(flow);
    back.close(flow);
    if outcome.is_err() {
        reset(&near);
        reset(&far);
    }
    drop((near, far));
    proxy.count(|counters| {
        counters.open -= 1;
        counters.resets += u64::from(outcome.is_err());
    });
}

/// Offers what comes, as far as there is room for it.
async fn read(direction: &Direction, flow: FlowId, from: ReadHalf<'_>) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    loop {
        let piece = direction.room(flow).await?;
        from.readable().await?;
        buffer.reserve(piece);
        let length = match from.try_read_buf(&mut (&mut buffer).limit(piece)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            length => length?,
        };
        // A few bytes would keep all of the buffer.
        let payload = if 2 * length >= buffer.capacity() {
            buffer.split().freeze()
        } else {
            let payload = Bytes::copy_from_slice(&buffer);
            buffer.clear();
            payload
        };
        direction.offer(flow, payload).map_err(|_| io::ErrorKind::ConnectionReset)?;
        if length == 0 {
            return Ok(());
        }
    }
}

/// Writes what arrives.
async fn write(direction: &Direction, flow: FlowId, mut to: WriteHalf<'_>) -> io::Result<()> {
    loop {
        for piece in direction.arrived(flow).await? {
            if piece.is_empty() {
                return to.shutdown().await;
            }
            to.write_all(&piece).await?;
            direction.written(flow, piece.len());
        }
    }
}
