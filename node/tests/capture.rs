//! Inputs from the network, received over real sockets on loopback.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use aftercast_node::capture::{Block, Capture, Captures, Input};
use socket2::{Domain, Protocol, Socket, Type};

/// Reached only when something is broken.
const PATIENCE: Duration = Duration::from_secs(60);

fn start(url: &str) -> Capture {
    Capture::start(url.parse::<Input>().unwrap().source).unwrap()
}

/// A UDP port that nobody listens on.
fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Sends first the same datagram until the receiver is there, then the others once; gives what came after the first.
fn exchange(capture: &Capture, to: SocketAddr, hello: &[u8], datagrams: &[Vec<u8>], wanted: usize) -> Vec<u8> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
    socket.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
    socket.set_multicast_loop_v4(true).unwrap();
    let next = |wait| match capture.blocks().recv_timeout(wait) {
        Ok(Block::Bytes(bytes)) => Some(bytes),
        Ok(other) => panic!("{other:?}"),
        Err(_) => None,
    };
    let listening = (0..600).any(|_| {
        socket.send_to(hello, &to.into()).unwrap();
        next(Duration::from_millis(100)).is_some()
    });
    assert!(listening, "nothing arrives");
    // Later copies of the greeting may still be on their way: what counts follows the last of them.
    for datagram in datagrams {
        socket.send_to(datagram, &to.into()).unwrap();
    }
    let mut got = Vec::new();
    while got.iter().filter(|byte| **byte != b'.').count() < wanted {
        got.extend(next(PATIENCE).expect("all of it arrives"));
    }
    got.retain(|byte| *byte != b'.');
    got
}

#[test]
fn datagrams_of_a_port_are_joined_in_order() {
    let port = free_port();
    let capture = start(&format!("udp://127.0.0.1:{port}"));
    let to = SocketAddr::from(([127, 0, 0, 1], port));
    let got = exchange(&capture, to, b"....", &[b"one ".to_vec(), b"two ".to_vec(), b"three".to_vec()], 13);
    assert_eq!(got, b"one two three");
}

#[test]
fn a_multicast_group_is_joined_on_the_interface_that_was_named() {
    let port = free_port();
    let capture = start(&format!("udp://@239.255.77.7:{port}?iface=127.0.0.1"));
    let to = SocketAddr::from(([239, 255, 77, 7], port));
    let got = exchange(&capture, to, b"....", &[b"one ".to_vec(), b"two".to_vec()], 7);
    assert_eq!(got, b"one two");
}

fn rtp(sequence: u16, payload: &[u8]) -> Vec<u8> {
    let sequence = sequence.to_be_bytes();
    [&[0x80, 33, sequence[0], sequence[1], 0, 0, 0, 0, 0, 0, 0, 7][..], payload].concat()
}

#[test]
fn rtp_packets_are_put_in_order_over_the_wrap_and_lost_ones_counted() {
    let port = free_port();
    let capture = start(&format!("rtp://127.0.0.1:{port}"));
    let to = SocketAddr::from(([127, 0, 0, 1], port));
    let order = [65_533, 65_535, 65_534, 0, 0, 2, 1];
    let mut sent: Vec<_> = order.map(|n: u16| rtp(n, format!("{} ", n.wrapping_sub(65_533)).as_bytes())).to_vec();
    // One is lost: what comes behind it is given up waiting for it after a window of packets.
    sent.extend((4..100).map(|n| rtp(n, b"x")));
    let got = exchange(&capture, to, &rtp(65_532, b"...."), &sent, 6 * 2 + 64);
    assert!(got.starts_with(b"0 1 2 3 4 5 xxxx"), "{}", String::from_utf8_lossy(&got));
    assert_eq!(capture.counters().now().rtp_lost, 1);
}

#[test]
fn channels_of_one_multiplex_share_its_input_as_long_as_there_is_one() {
    let (captures, port) = (Captures::default(), free_port());
    let url = format!("udp://127.0.0.1:{port}");
    let start = |program| captures.start(format!("{url}?program={program}").parse::<Input>().unwrap().source).unwrap();
    let (one, two) = (start("1"), start("Das%20Zweite"));
    let to = SocketAddr::from(([127, 0, 0, 1], port));
    assert_eq!(exchange(&one, to, b"....", &[b"for ".to_vec(), b"both".to_vec()], 8), b"for both");
    let mut got = Vec::new();
    while !got.ends_with(b"for both") {
        let Ok(Block::Bytes(bytes)) = two.blocks().recv_timeout(PATIENCE) else { panic!("the same arrives") };
        got.extend(bytes);
    }
    drop(one);
    assert_eq!(exchange(&two, to, b"....", &[b"for one".to_vec()], 7), b"for one");
    let counters = two.counters();
    assert!(counters.now().bytes > 15 && counters.now().overruns == 0, "{:?}", counters.now());
    // The last one ends the reader. Who comes next is heard, whether it is still at it or not.
    drop(two);
    let three = start("3");
    assert_eq!(exchange(&three, to, b"....", &[b"anew".to_vec()], 4), b"anew");
}
