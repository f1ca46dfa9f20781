//! Connections and the control stream.

mod support;

use aftercast_net::{DialError, NetEvent, SendError};
use aftercast_protocol::limits::MAX_CTL_FRAME_BYTES;
use support::{PATIENCE, Peer, QUIC, TCP, pair};
use tokio::time::timeout;

const FRAMES: u32 = 2000;

/// Sends numbered frames of varying length while taking the other side's, and checks order and content.
async fn talk(mut peer: Peer, to: aftercast_protocol::ids::DeviceId, marker: u8, theirs: u8) -> Peer {
    let net = peer.net.clone();
    let sending = tokio::spawn(async move {
        for n in 0..FRAMES {
            let mut frame = n.to_be_bytes().to_vec();
            frame.resize(4 + (n as usize * 37) % 3000, marker);
            net.send(to, frame).await.unwrap();
        }
    });
    for n in 0..FRAMES {
        let (from, frame) = peer.frame().await;
        assert_eq!(from, to);
        assert_eq!(frame[..4], n.to_be_bytes());
        assert_eq!(frame.len(), 4 + (n as usize * 37) % 3000);
        assert!(frame[4..].iter().all(|byte| *byte == theirs));
    }
    sending.await.unwrap();
    peer
}

async fn frames_keep_their_order(transport: &str, keys: (u8, u8)) {
    let (a, b) = pair(keys, transport).await;
    let (to_b, to_a) = (b.device(), a.device());
    let (a, b) = tokio::join!(talk(a, to_b, 1, 2), talk(b, to_a, 2, 1));
    assert_eq!(a.net.metrics().control_frames_out.get(), u64::from(FRAMES));
    assert_eq!(b.net.metrics().control_bytes_in.get(), a.net.metrics().control_bytes_out.get());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_keep_their_order_both_ways_over_tcp() {
    frames_keep_their_order(TCP, (1, 2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_keep_their_order_both_ways_over_quic() {
    frames_keep_their_order(QUIC, (1, 2)).await;
}

#[tokio::test]
async fn a_connected_device_is_known_and_dialling_it_again_is_done_at_once() {
    let (a, b) = pair((1, 2), TCP).await;
    assert_eq!(a.net.connected(), [b.device()]);
    let info = a.net.peer_info(b.device()).unwrap();
    assert!(info.lan && info.outbound);
    assert!(!b.net.peer_info(a.device()).unwrap().outbound);
    a.net.dial(b.device(), vec![]).await.unwrap();
    assert_eq!(a.net.metrics().connections_opened.get(), 1);
}

#[tokio::test]
async fn dials_fail_with_the_reason() {
    let a = Peer::start(1, &[]).await;
    let b = Peer::start(2, &[TCP]).await;
    let nobody = support::Peer::start(3, &[]).await.device();
    assert_eq!(a.net.dial(nobody, vec![]).await, Err(DialError::NoAddress(nobody)));
    assert_eq!(a.net.dial(nobody, b.addrs()).await, Err(DialError::WrongDevice(nobody)));
    assert_eq!(a.net.dial(a.device(), b.addrs()).await, Err(DialError::Ourselves(a.device())));
    let unused = vec!["/ip4/127.0.0.1/tcp/1".parse().unwrap()];
    assert!(matches!(a.net.dial(nobody, unused).await, Err(DialError::Unreachable { .. })));
}

#[tokio::test]
async fn frames_over_the_limit_are_not_sent() {
    let (a, b) = pair((1, 2), TCP).await;
    let len = MAX_CTL_FRAME_BYTES + 1;
    assert_eq!(a.net.send(b.device(), vec![0; len]).await, Err(SendError::TooLarge(len)));
    assert_eq!(a.net.send(a.device(), vec![]).await, Err(SendError::NotConnected(a.device())));
}

#[tokio::test]
async fn a_slow_reader_fills_its_queue_and_the_sender_is_told() {
    let (a, b) = pair((1, 2), TCP).await;
    // Nobody takes b's events: its queue, the stream's window and our queue fill up, in this order.
    let fill = async {
        loop {
            match a.net.try_send(b.device(), vec![0; MAX_CTL_FRAME_BYTES]) {
                Ok(()) => tokio::task::yield_now().await,
                Err(error) => return error,
            }
        }
    };
    assert_eq!(timeout(PATIENCE, fill).await.unwrap(), SendError::Full(b.device()));
    assert_eq!(a.net.metrics().control_queue_full.get(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_falls_over_to_another_connection() {
    let mut a = Peer::start(1, &[TCP, QUIC]).await;
    let mut b = Peer::start(2, &[TCP, QUIC]).await;
    // A simultaneous dial, each over the other transport. Either dial may also be answered by the other's connection.
    let (tcp, quic) = (vec![b.addrs()[0].clone()], vec![a.addrs()[1].clone()]);
    let (one, other) = tokio::join!(a.net.dial(b.device(), tcp), b.net.dial(a.device(), quic));
    one.unwrap();
    other.unwrap();
    a.connected(b.device()).await;
    b.connected(a.device()).await;
    for n in 0..100u8 {
        a.net.send(b.device(), vec![n]).await.unwrap();
        assert_eq!(b.frame().await, (a.device(), vec![n]));
        b.net.send(a.device(), vec![n]).await.unwrap();
        assert_eq!(a.frame().await, (b.device(), vec![n]));
    }
    // One `Connected`, whatever the number of connections, and one `Disconnected` at the end.
    a.net.disconnect(b.device());
    a.disconnected(b.device()).await;
    let pick = |event| match event {
        NetEvent::Connected(..) => panic!("connected twice"),
        NetEvent::Disconnected(who) => Some(who),
        _ => None,
    };
    assert_eq!(b.next("end", pick).await, a.device());
}

#[tokio::test]
async fn a_banned_device_is_refused_both_ways() {
    let mut a = Peer::start(1, &[TCP]).await;
    let mut b = Peer::start(2, &[TCP]).await;
    a.net.dial(b.device(), b.addrs()).await.unwrap();
    a.connected(b.device()).await;
    b.connected(a.device()).await;
    a.net.ban(b.device());
    a.disconnected(b.device()).await;
    b.disconnected(a.device()).await;
    assert_eq!(a.net.dial(b.device(), b.addrs()).await, Err(DialError::Banned(b.device())));
    assert!(b.net.dial(a.device(), a.addrs()).await.is_err());
    assert!(a.net.metrics().refused_banned.get() >= 2);
    assert!(a.net.connected().is_empty());
}

/// What waits for the other side's frames hears of the end too, whoever wrote last on the same stream.
#[tokio::test]
async fn a_connection_closed_here_ends_here_after_frames_were_sent_on_it() {
    let (mut a, mut b) = pair((1, 2), TCP).await;
    for frame in 0..20u8 {
        a.net.send(b.device(), vec![frame]).await.unwrap();
        assert_eq!(b.frame().await, (a.device(), vec![frame]));
    }
    a.net.disconnect(b.device());
    a.disconnected(b.device()).await;
    b.disconnected(a.device()).await;
}

#[tokio::test]
async fn devices_meet_again_after_a_disconnect() {
    let (mut a, mut b) = pair((1, 2), TCP).await;
    for round in 0..5u8 {
        a.net.disconnect(b.device());
        a.disconnected(b.device()).await;
        b.disconnected(a.device()).await;
        a.net.dial(b.device(), b.addrs()).await.unwrap();
        a.connected(b.device()).await;
        b.connected(a.device()).await;
        b.net.send(a.device(), vec![round]).await.unwrap();
        assert_eq!(a.frame().await, (b.device(), vec![round]));
    }
}
