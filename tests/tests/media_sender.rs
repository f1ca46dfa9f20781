//! Senders deliver every byte, in order, to every receiver.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use aftercast_tests::broadcast::{BroadcastSpec, generate};
use aftercast_tests::impair::impair;
use aftercast_tests::media::{Carrier, Clock, Feed, HttpSource, Pace, Sender};

/// Ends a test that would hang for ever; nothing is timed by it.
const HANG: Duration = Duration::from_secs(60);

fn source() -> Vec<u8> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    std::fs::read(generate(&BroadcastSpec::small(6), folder).expect("a programme")).expect("reads it")
}

fn feed(to: SocketAddr, carrier: Carrier, bytes: &[u8]) -> Feed {
    Feed { to, carrier, bytes: bytes.into(), pace: Pace::from_pcr(bytes) }
}

fn receiver(address: Ipv4Addr) -> UdpSocket {
    let socket = UdpSocket::bind((address, 0)).expect("a socket");
    socket2::SockRef::from(&socket).set_recv_buffer_size(8 << 20).expect("a buffer");
    socket.set_read_timeout(Some(HANG)).expect("a timeout");
    socket
}

/// Receives datagrams until so many bytes of media are there, `header` bytes a datagram left aside.
fn collect(socket: UdpSocket, header: usize, total: usize) -> JoinHandle<Vec<Vec<u8>>> {
    std::thread::spawn(move || {
        let (mut datagrams, mut got) = (Vec::new(), 0);
        let mut buffer = [0; 2048];
        while got < total {
            let length = socket.recv(&mut buffer).expect("a datagram");
            got += length - header;
            datagrams.push(buffer[..length].to_vec());
        }
        datagrams
    })
}

#[test]
fn udp_and_rtp_receivers_get_their_own_bytes_in_order() {
    let source = source();
    let late = impair(&source, &["late=2s".parse().expect("a recipe"), "nulls=drop".parse().expect("a recipe")], 1)
        .expect("applies");
    let (udp, rtp) = (receiver(Ipv4Addr::LOCALHOST), receiver(Ipv4Addr::LOCALHOST));
    let mut feeds = vec![feed(udp.local_addr().expect("bound"), Carrier::Udp, &source)];
    let to = rtp.local_addr().expect("bound");
    feeds.push(Feed { to, carrier: Carrier::Rtp, bytes: late.bytes.clone().into(), pace: late.pace.clone() });
    let (udp, rtp) = (collect(udp, 0, source.len()), collect(rtp, 12, late.bytes.len()));
    let sender = Sender::new(feeds, &Clock::new(8.0)).expect("a sender");
    assert_eq!(sender.progress().fraction, 0.0);
    sender.start();
    sender.join().expect("sends");
    let udp = udp.join().expect("receives");
    assert!(udp.iter().rev().skip(1).all(|datagram| datagram.len() == 1316));
    assert!(udp.concat() == source, "UDP bytes differ");
    let rtp = rtp.join().expect("receives");
    assert!(rtp.iter().flat_map(|datagram| &datagram[12..]).eq(&late.bytes), "RTP bytes differ");
    assert!(rtp.iter().all(|datagram| datagram[..2] == [0x80, 33] && datagram[8..12] == rtp[0][8..12]));
    let field = |datagram: &[u8], at: usize| u16::from_be_bytes([datagram[at], datagram[at + 1]]);
    assert!(rtp.windows(2).all(|pair| field(&pair[0], 2).wrapping_add(1) == field(&pair[1], 2)), "sequence breaks");
    let time = |datagram: &[u8]| u32::from_be_bytes([datagram[4], datagram[5], datagram[6], datagram[7]]);
    assert!(rtp.windows(2).all(|pair| time(&pair[0]) <= time(&pair[1])), "time steps back");
    assert!((179_000..190_000).contains(&time(&rtp[0])), "a late start keeps the common clock: {}", time(&rtp[0]));
}

#[test]
fn multicast_group_on_loopback_is_reached() {
    let source = &source()[..188 * 700];
    let group = Ipv4Addr::new(239, 255, 71, 88);
    let socket = receiver(Ipv4Addr::UNSPECIFIED);
    socket.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST).expect("joins");
    let port = socket.local_addr().expect("bound").port();
    let got = collect(socket, 0, source.len());
    let sender =
        Sender::new(vec![feed((group, port).into(), Carrier::Udp, source)], &Clock::new(8.0)).expect("a sender");
    sender.start();
    sender.join().expect("sends");
    assert!(got.join().expect("receives").concat() == source);
}

#[test]
fn stopped_sender_returns_before_it_has_begun() {
    let socket = receiver(Ipv4Addr::LOCALHOST);
    let to = socket.local_addr().expect("bound");
    let sender = Sender::new(vec![feed(to, Carrier::Udp, &source())], &Clock::new(1.0)).expect("a sender");
    sender.stop();
    sender.join().expect("nothing to send");
}

#[test]
fn http_client_that_asks_before_the_start_gets_everything() {
    let source: Arc<[u8]> = source().into();
    let clock = Clock::new(16.0);
    let paths = BTreeMap::from([("/live.ts".to_owned(), (source.clone(), Pace::from_pcr(&source)))]);
    let server = HttpSource::new(paths, &clock).expect("listens");
    let mut answer = ureq::get(server.url("/live.ts")).call().expect("an answer");
    assert_eq!(answer.headers()["content-type"], "video/mp2t");
    clock.start();
    let mut got = Vec::new();
    answer.body_mut().as_reader().read_to_end(&mut got).expect("reads");
    assert!(got[..] == source[..]);
    assert!(ureq::get(server.url("/other")).call().is_err());
}
