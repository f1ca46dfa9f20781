//! Gossip, the hash table and devices that come and go.

mod support;

use aftercast_net::{GossipToken, NetEvent, PublishError, Verdict};
use aftercast_protocol::ids::{ChannelId, DeviceId};
use aftercast_protocol::limits::MAX_GOSSIP_BYTES;
use support::{PATIENCE, Peer, QUIC, TCP};
use tokio::time::timeout;

fn channel() -> ChannelId {
    "one.hd".parse().unwrap()
}

async fn gossip(peer: &mut Peer) -> (ChannelId, DeviceId, Vec<u8>, GossipToken) {
    let pick = |event| match event {
        NetEvent::Gossip { channel, source, data, token } => Some((channel, source, data, token)),
        _ => None,
    };
    peer.next("gossip", pick).await
}

/// Publishes until somebody listens: subscriptions travel by themselves.
async fn publish(peer: &Peer, data: &[u8]) {
    let publish = async {
        while let Err(error) = peer.net.publish(&channel(), data.to_vec()).await {
            assert_eq!(error, PublishError::NoListeners);
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, publish).await.expect("somebody listens");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gossip_travels_on_only_once_it_is_accepted() {
    let a = Peer::start(1, &[TCP]).await;
    let mut b = Peer::start(2, &[TCP]).await;
    let mut c = Peer::start(3, &[]).await;
    for peer in [&a, &b, &c] {
        peer.net.subscribe(&channel()).await;
    }
    // A line: a - b - c. What b passes on before it knows that c listens never gets there.
    c.net.dial(b.device(), b.addrs()).await.unwrap();
    publish(&b, b"known").await;
    assert_eq!(gossip(&mut c).await.2, b"known");
    a.net.dial(b.device(), b.addrs()).await.unwrap();
    publish(&a, b"rejected").await;
    publish(&a, b"ignored").await;
    publish(&a, b"accepted").await;
    for _ in 0..3 {
        let (on, source, data, token) = gossip(&mut b).await;
        assert_eq!((on, source), (channel(), a.device()));
        let verdict = match data.as_slice() {
            b"rejected" => Verdict::Reject,
            b"ignored" => Verdict::Ignore,
            b"accepted" => Verdict::Accept,
            other => panic!("{other:?}"),
        };
        b.net.judge(token, verdict).await;
    }
    let (_, source, data, _) = gossip(&mut c).await;
    assert_eq!((source, data.as_slice()), (b.device(), &b"accepted"[..]));
    assert_eq!(b.net.metrics().gossip_rejected.get(), 1);
    assert_eq!(c.net.metrics().gossip_in.get(), 2);
}

#[tokio::test]
async fn gossip_has_a_bound_and_nobody_to_hear_it_is_said() {
    let a = Peer::start(1, &[]).await;
    let len = MAX_GOSSIP_BYTES + 1;
    assert_eq!(a.net.publish(&channel(), vec![0; len]).await, Err(PublishError::TooLarge(len)));
    assert_eq!(a.net.publish(&channel(), vec![0; 10]).await, Err(PublishError::NoListeners));
}

/// Looks for providers until there is one: announcements travel by themselves.
async fn find(peer: &Peer, key: [u8; 32]) -> (DeviceId, Vec<aftercast_net::Multiaddr>) {
    let look = async {
        loop {
            if let Some(found) = peer.net.find_providers(key, 1).await.into_iter().next() {
                return found;
            }
        }
    };
    timeout(PATIENCE, look).await.expect("a provider is found")
}

/// Asks around until so many are reached.
async fn acquainted(peer: &Peer, count: usize) {
    let look = async {
        while peer.net.connected().len() < count {
            peer.net.find_providers([0; 32], 1).await;
        }
    };
    timeout(PATIENCE, look).await.expect("others are reached");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn providers_are_found_and_reached_after_the_introducer_left() {
    let introducer = Peer::start(1, &[TCP, QUIC]).await;
    let mut nodes = Vec::new();
    for key in 2..6 {
        let mut node = Peer::start(key, &[TCP]).await;
        node.net.dial(introducer.device(), introducer.addrs()).await.unwrap();
        node.connected(introducer.device()).await;
        nodes.push(node);
    }
    let key = aftercast_protocol::ids::ChunkCid::of(b"a chunk").0;
    let provider = nodes[0].device();
    assert!(nodes[0].net.provide(key).await);
    // The record is out once another node finds it.
    assert_eq!(find(&nodes[1], key).await.0, provider);
    // Who asked nobody yet knows only the introducer, and would be alone without it.
    acquainted(&nodes[3], nodes.len()).await;
    let left = introducer.device();
    drop(introducer);
    for node in &mut nodes {
        node.disconnected(left).await;
    }
    let (found, addrs) = find(&nodes[3], key).await;
    assert_eq!(found, provider);
    nodes[3].net.dial(found, addrs).await.unwrap();
    nodes[3].net.send(found, b"hello".to_vec()).await.unwrap();
    let (from, frame) = nodes[0].frame().await;
    assert_eq!((from, frame.as_slice()), (nodes[3].device(), &b"hello"[..]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_announced_to_nobody_is_found_by_those_who_come_later() {
    let provider = Peer::start(1, &[TCP]).await;
    assert!(provider.net.provide([7; 32]).await);
    let middle = Peer::start(2, &[TCP]).await;
    provider.net.dial(middle.device(), middle.addrs()).await.unwrap();
    let seeker = Peer::start(3, &[TCP]).await;
    seeker.net.dial(middle.device(), middle.addrs()).await.unwrap();
    assert_eq!(find(&seeker, [7; 32]).await.0, provider.device());
}

#[tokio::test]
async fn nobody_provides_an_unknown_key() {
    let (a, _b) = support::pair((1, 2), TCP).await;
    assert!(a.net.find_providers([9; 32], 8).await.is_empty());
}
