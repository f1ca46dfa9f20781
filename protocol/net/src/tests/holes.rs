//! Meetings at a relay, over loopback: the introducer has no reason to relay here, so the test reserves by hand.

use std::net::UdpSocket;

use aftercast_protocol::ids::DeviceId;
use aftercast_protocol::sign::SecretKey;
use libp2p::multiaddr::Protocol;
use tokio::io::AsyncReadExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::PATIENCE;
use crate::redact::is_relayed;
use crate::{Admits, LaneError, Multiaddr, Net, NetConfig, NetEvent, Reach, Reachability, peer_id_of};

const TCP: &str = "/ip4/127.0.0.1/tcp/0";
const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

async fn start(key: u8, listen: &[&str], reach: Reach) -> (Net, mpsc::Receiver<NetEvent>) {
    let mut config = NetConfig::new(SecretKey::from_bytes(&[key; 32]));
    config.listen = listen.iter().map(|addr| addr.parse().unwrap()).collect();
    config.reach = reach;
    Net::start(config).await.unwrap()
}

async fn seed(admits: impl Fn(DeviceId) -> bool + Send + Sync + 'static) -> (Net, mpsc::Receiver<NetEvent>) {
    start(1, &[TCP], Reach::Introducer { admits: Admits::those(admits) }).await
}

fn home(introducer: DeviceId) -> Reach {
    Reach::Home { introducer, upnp: false }
}

/// Waits until a look at a device's reachability, holes or relay shows what is waited for.
async fn until(net: &Net, what: &str, look: impl Fn() -> bool) {
    let mut changes = net.reach_changes();
    let wait = async {
        while !look() {
            changes.changed().await.expect("the network runs");
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what}"));
}

/// Waits for what is counted inside a connection.
async fn until_counted(what: &str, look: impl Fn() -> bool) {
    let wait = async {
        while !look() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what}"));
}

fn place_at(seed: &Net) -> Multiaddr {
    seed.listen_addrs()[0].clone().with(Protocol::P2p(peer_id_of(seed.device()))).with(Protocol::P2pCircuit)
}

/// Has a device reserve a place; the address of the device through it.
async fn reserve(device: &Net, seed: &Net) -> Multiaddr {
    device.dial(seed.device(), seed.listen_addrs()).await.unwrap();
    let place = place_at(seed);
    device.inspect(move |swarm| swarm.listen_on(place).unwrap()).await;
    until(device, "a place", || device.reachability() == Reachability::HolePunching).await;
    device.addrs().into_iter().find(is_relayed).expect("it says so to others")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_devices_that_meet_at_the_relay_go_on_directly() {
    let (seed, _seed_events) = seed(|_| true).await;
    let (a, _a_events) = start(2, &[TCP, QUIC], home(seed.device())).await;
    let (b, mut b_events) = start(3, &[TCP, QUIC], home(seed.device())).await;
    let through = reserve(&b, &seed).await;
    until(&seed, "it counts the place", || seed.metrics().relay_reservations.get() == 1).await;
    a.dial(seed.device(), seed.listen_addrs()).await.unwrap();
    until(&a, "seen by the seed", || a.reachability() == Reachability::Listening).await;

    a.dial(b.device(), vec![through]).await.unwrap();
    let addr = a.peer_info(b.device()).unwrap().addr;
    assert!(!is_relayed(&addr) && addr.to_string().contains("quic-v1"), "{addr}");
    let _lane = a.open_lane(b.device()).await.unwrap();
    let arrives = async { while !matches!(b_events.recv().await, Some(NetEvent::Lane { .. })) {} };
    timeout(PATIENCE, arrives).await.expect("the lane arrives");
    until(&seed, "the circuit is closed", || seed.metrics().relay_circuits.get() == 0).await;
    assert_eq!(seed.metrics().relay_circuits_opened.get(), 1);
    for net in [&a, &b] {
        let metrics = net.metrics();
        until(net, "both know", || metrics.holes_punched.get() == 1).await;
        assert_eq!((metrics.holes_tried.get(), metrics.holes_failed.get()), (1, 0));
        assert_eq!(metrics.lanes_refused_relayed.get(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_ours_goes_through_a_relay_and_a_pair_without_a_hole_is_left_alone() {
    let (seed, _seed_events) = seed(|_| true).await;
    // Their introducer says nothing, so that they name no addresses but those of the test: ones that never answer.
    let nobody = DeviceId([9; 32]);
    let (a, _a_events) = start(2, &[TCP, QUIC], home(nobody)).await;
    let (b, _b_events) = start(3, &[TCP, QUIC], home(nobody)).await;
    let silent: [UdpSocket; 2] = std::array::from_fn(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
    for (net, socket) in [&a, &b].into_iter().zip(&silent) {
        let port = socket.local_addr().unwrap().port();
        let addr: Multiaddr = format!("/ip4/127.0.0.1/udp/{port}/quic-v1").parse().unwrap();
        net.inspect(move |swarm| swarm.behaviour_mut().dcutr.as_mut().unwrap().tell(&addr)).await;
    }
    let through = reserve(&b, &seed).await;
    a.dial(seed.device(), seed.listen_addrs()).await.unwrap();

    let (net, to, by) = (a.clone(), b.device(), through.clone());
    let dial = tokio::spawn(async move { net.dial(to, vec![by]).await });
    until(&a, "they meet", || a.metrics().holes_tried.get() == 1).await;
    assert_eq!(a.open_lane(to).await.unwrap_err(), LaneError::Relayed(to));
    let (reply, opened) = oneshot::channel();
    a.inspect(move |swarm| swarm.behaviour_mut().carrier.open_lane_through_relay(to, reply)).await;
    // A reset: while it is negotiated, or at the first read.
    if let Ok(mut stream) = opened.await.unwrap() {
        assert!(matches!(stream.read(&mut [0; 1]).await, Ok(0) | Err(_)));
    }
    until_counted("the refusal", || b.metrics().lanes_refused_relayed.get() == 1).await;
    assert!(a.connected().iter().all(|device| *device != to));

    let failed = dial.await.unwrap().unwrap_err();
    assert!(failed.to_string().contains("no hole was punched"), "{failed}");
    for net in [&a, &b] {
        until(net, "both count it", || net.metrics().holes_failed.get() == 1).await;
        assert_eq!(net.metrics().holes_punched.get(), 0);
    }
    // By loopback alone they may find each other, once discovery has told where they listen; by the relay not at once again.
    let _ = a.dial(to, vec![through]).await;
    assert_eq!(a.metrics().holes_tried.get(), 1, "not at once again");
    // Whoever tries all the same is refused by the other side.
    let place = place_at(&seed);
    b.inspect(move |swarm| swarm.listen_on(place).unwrap()).await;
    let back = seed.listen_addrs()[0].clone().with(Protocol::P2p(peer_id_of(seed.device())));
    let back = back.with(Protocol::P2pCircuit).with(Protocol::P2p(peer_id_of(to)));
    a.inspect(move |swarm| swarm.dial(back).unwrap()).await;
    until_counted("the refusal", || a.metrics().holes_refused.get() + b.metrics().holes_refused.get() > 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_relay_is_for_enrolled_devices() {
    let (seed, _seed_events) = seed(|_| false).await;
    let (stranger, _events) = start(2, &[TCP, QUIC], home(seed.device())).await;
    stranger.dial(seed.device(), seed.listen_addrs()).await.unwrap();
    let place = place_at(&seed);
    stranger.inspect(move |swarm| swarm.listen_on(place).unwrap()).await;
    until(&seed, "refused", || seed.metrics().relay_refused.get() == 1).await;
    assert_eq!(seed.metrics().relay_reservations.get(), 0);
    assert!(!stranger.addrs().iter().any(is_relayed));
}
