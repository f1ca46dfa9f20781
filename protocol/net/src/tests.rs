//! What only the swarm itself can be made to do.

mod holes;

use std::time::Duration;

use aftercast_protocol::ids::DeviceId;
use aftercast_protocol::limits::MAX_CTL_FRAME_BYTES;
use aftercast_protocol::sign::SecretKey;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::control::Frame;
use crate::{Net, NetConfig, NetEvent, peer_id_of};

/// Reached only when something is broken.
const PATIENCE: Duration = Duration::from_secs(60);

async fn start(key: u8, listen: &[&str]) -> (Net, mpsc::Receiver<NetEvent>) {
    let mut config = NetConfig::new(SecretKey::from_bytes(&[key; 32]));
    config.listen = listen.iter().map(|addr| addr.parse().unwrap()).collect();
    Net::start(config).await.unwrap()
}

async fn next(events: &mut mpsc::Receiver<NetEvent>) -> NetEvent {
    timeout(PATIENCE, events.recv()).await.expect("an event").expect("the network runs")
}

async fn frame(events: &mut mpsc::Receiver<NetEvent>) -> Vec<u8> {
    match next(events).await {
        NetEvent::Ctl { frame, .. } => frame,
        other => panic!("{other:?}"),
    }
}

/// Waits until a device has so many connections with a control stream.
async fn linked(net: &Net, to: DeviceId, wanted: usize) {
    let look = async {
        while net
            .inspect(move |swarm| {
                let links = swarm.behaviour().carrier.links(&to);
                links.len() != wanted || links.iter().any(|link| !link.control)
            })
            .await
        {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, look).await.expect("the connections");
}

#[tokio::test]
async fn a_frame_over_the_limit_closes_the_connection_and_is_counted() {
    let (liar, mut liar_events) = start(1, &[]).await;
    let (victim, mut victim_events) = start(2, &["/ip4/127.0.0.1/tcp/0"]).await;
    liar.dial(victim.device(), victim.listen_addrs()).await.unwrap();
    liar.send_raw(victim.device(), Frame((MAX_CTL_FRAME_BYTES as u32 + 1).to_be_bytes().to_vec()));
    while !matches!(next(&mut victim_events).await, NetEvent::Disconnected(_)) {}
    while !matches!(next(&mut liar_events).await, NetEvent::Disconnected(_)) {}
    assert_eq!(victim.metrics().control_over_limit.get(), 1);
    assert_eq!(victim.metrics().control_frames_in.get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_goes_on_over_the_other_connection_when_the_first_closes() {
    let (a, mut a_events) = start(1, &[]).await;
    let (b, mut b_events) = start(2, &["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"]).await;
    let (to_b, to_a) = (b.device(), a.device());
    let addrs = b.listen_addrs();
    let of = |part: &str| addrs.iter().find(|addr| addr.to_string().contains(part)).unwrap().clone();
    a.dial(to_b, vec![of("tcp")]).await.unwrap();
    let second = of("quic");
    a.inspect(move |swarm| {
        let to = DialOpts::peer_id(peer_id_of(to_b)).condition(PeerCondition::Always).addresses(vec![second]).build();
        swarm.dial(to).unwrap();
    })
    .await;
    linked(&a, to_b, 2).await;
    linked(&b, to_a, 2).await;
    assert!(matches!(next(&mut a_events).await, NetEvent::Connected(..)));
    assert!(matches!(next(&mut b_events).await, NetEvent::Connected(..)));
    for round in 0..2u8 {
        for n in 0..50 {
            a.send(to_b, vec![round, n]).await.unwrap();
            b.send(to_a, vec![round, n]).await.unwrap();
        }
        for n in 0..50 {
            assert_eq!(frame(&mut b_events).await, [round, n]);
            assert_eq!(frame(&mut a_events).await, [round, n]);
        }
        if round == 0 {
            a.inspect(move |swarm| {
                let first = swarm.behaviour().carrier.links(&to_b)[0].id;
                assert!(swarm.close_connection(first));
            })
            .await;
            linked(&a, to_b, 1).await;
            linked(&b, to_a, 1).await;
            assert_eq!(a.peer_info(to_b).unwrap().connections, 1);
        }
    }
    // A lane still opens, on what is left.
    a.open_lane(to_b).await.unwrap();
    assert!(matches!(next(&mut b_events).await, NetEvent::Lane { .. }));
    a.disconnect(to_b);
    assert!(matches!(next(&mut b_events).await, NetEvent::Disconnected(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_starts_again_is_answered_where_it_speaks_though_its_old_connection_looks_alive() {
    let (seed, mut seed_events) = start(2, &["/ip4/127.0.0.1/udp/0/quic-v1"]).await;
    let (old, mut old_events) = start(1, &[]).await;
    old.dial(seed.device(), seed.listen_addrs()).await.unwrap();
    assert!(matches!(next(&mut seed_events).await, NetEvent::Connected(..)));
    assert!(matches!(next(&mut old_events).await, NetEvent::Connected(..)));
    old.send(seed.device(), b"first life".to_vec()).await.unwrap();
    assert_eq!(frame(&mut seed_events).await, b"first life");
    // As after a power cut: nobody closed the first connection.
    let (new, mut new_events) = start(1, &[]).await;
    new.dial(seed.device(), seed.listen_addrs()).await.unwrap();
    assert!(matches!(next(&mut new_events).await, NetEvent::Connected(..)));
    linked(&seed, new.device(), 2).await;
    new.send(seed.device(), b"second life".to_vec()).await.unwrap();
    assert_eq!(frame(&mut seed_events).await, b"second life");
    for n in 0..50 {
        seed.send(new.device(), vec![n]).await.unwrap();
        assert_eq!(frame(&mut new_events).await, [n]);
    }
    assert!(old_events.try_recv().is_err(), "nothing went to the first life");
}
