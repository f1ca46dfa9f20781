//! Which transport two devices meet on.

mod support;

use aftercast_net::Multiaddr;
use support::{Peer, QUIC, TCP};
use tokio::net::TcpListener;

fn by_tcp(addr: &Multiaddr) -> bool {
    addr.to_string().contains("/tcp/")
}

/// Where a device that dials these addresses of another ends up.
async fn meets(a: &mut Peer, b: &Peer, addrs: Vec<Multiaddr>) -> Multiaddr {
    a.net.dial(b.device(), addrs).await.unwrap();
    a.connected(b.device()).await;
    a.net.peer_info(b.device()).unwrap().addr
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_with_both_transports_meet_on_tcp_whoever_dials_and_in_whatever_order() {
    for (first, second) in [(TCP, QUIC), (QUIC, TCP)] {
        let mut a = Peer::start(1, &[TCP, QUIC]).await;
        let mut b = Peer::start(2, &[first, second]).await;
        let mut addrs = b.addrs();
        addrs.sort_by_key(|addr| by_tcp(addr) != (first == TCP));
        let met = meets(&mut a, &b, addrs).await;
        assert!(by_tcp(&met), "{met}");
        b.connected(a.device()).await;
        assert_eq!(b.net.peer_info(a.device()).unwrap().connections, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_with_quic_alone_is_met_there() {
    let mut a = Peer::start(1, &[]).await;
    let b = Peer::start(2, &[QUIC]).await;
    let met = meets(&mut a, &b, b.addrs()).await;
    assert!(!by_tcp(&met), "{met}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_whose_tcp_refuses_or_never_answers_is_met_on_quic() {
    // Bound and dropped: nobody listens there. Bound and kept: connections are taken, and nothing is said on them.
    for silent in [false, true] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let _kept = silent.then_some(listener);
        let mut a = Peer::start(1, &[]).await;
        let b = Peer::start(2, &[QUIC]).await;
        let mut addrs = b.addrs();
        addrs.push(format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap());
        let met = meets(&mut a, &b, addrs).await;
        assert!(!by_tcp(&met), "{met}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_device_at_the_address_is_refused_over_tcp() {
    let a = Peer::start(1, &[]).await;
    let b = Peer::start(2, &[TCP]).await;
    let c = Peer::start(3, &[]).await;
    let refused = a.net.dial(c.device(), b.addrs()).await;
    assert_eq!(refused, Err(aftercast_net::DialError::WrongDevice(c.device())));
    assert!(a.net.connected().is_empty());
}
