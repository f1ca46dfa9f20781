//! The link proxy over real sockets. What it promises about time is the model's and tested there; here nothing is timed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use aftercast_sim::link::{Effect, LinkSpec};
use aftercast_tests::link::{LinkProxy, ProxySpec, WINDOW};

/// Ends a test that would hang for ever; nothing is timed by it.
const HANG: Duration = Duration::from_secs(120);

fn link(text: &str) -> LinkSpec {
    text.parse().expect(text)
}

fn target() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

fn proxy(to: SocketAddr, up: &str, down: &str, speed: f64) -> LinkProxy {
    let spec = ProxySpec { up: link(up), down: link(down), speed, ..ProxySpec::new(to) };
    LinkProxy::start(&spec).expect("a proxy")
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).expect("connects");
    stream.set_read_timeout(Some(HANG)).expect("a timeout");
    stream
}

/// A connection through the proxy: the client's end and the target's.
fn pair(proxy: &LinkProxy, target: &TcpListener) -> (TcpStream, TcpStream) {
    let near = connect(proxy.address());
    let far = target.accept().expect("comes through").0;
    far.set_read_timeout(Some(HANG)).expect("a timeout");
    (near, far)
}

/// Bytes in which every displacement shows.
fn pattern(seed: u64, length: usize) -> Vec<u8> {
    let mix = |at: u64| (at ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    (0..length as u64).map(|at| mix(at) as u8).collect()
}

fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("ends in order");
    all
}

fn writes(mut stream: TcpStream, bytes: Vec<u8>) -> JoinHandle<()> {
    spawn(move || {
        stream.write_all(&bytes).expect("is taken");
        stream.shutdown(Shutdown::Write).expect("half closes");
    })
}

#[test]
fn bytes_arrive_whole_in_both_directions_at_once() {
    let (target, to) = target();
    let lossy = "rate=80Mb/s,delay=20ms,jitter=10ms,loss=1%/burst=3,stall=30ms/every=200ms";
    let proxy = proxy(to, lossy, "rate=40Mb/s,delay=5ms", 4.0);
    let (mut near, mut far) = pair(&proxy, &target);
    let (up, down) = (pattern(1, 3_000_000), pattern(2, 1_500_000));
    let writers = [
        writes(near.try_clone().expect("a handle"), up.clone()),
        writes(far.try_clone().expect("a handle"), down.clone()),
    ];
    let reader = spawn(move || read_all(&mut far));
    assert!(read_all(&mut near) == down, "down");
    assert!(reader.join().expect("no panic") == up, "up");
    writers.into_iter().for_each(|writer| writer.join().expect("no panic"));
    assert!(proxy.wait(HANG, |counters| counters.open == 0));
    let counters = proxy.end();
    assert_eq!((counters.connections, counters.resets), (1, 0));
    assert_eq!((counters.up.in_bytes, counters.up.out_bytes, counters.up.held_bytes), (3_000_000, 3_000_000, 0));
}

#[test]
fn a_half_closed_connection_still_answers() {
    let (target, to) = target();
    let proxy = proxy(to, "delay=1ms", "rate=100Mb/s", 1.0);
    let (mut near, mut far) = pair(&proxy, &target);
    near.write_all(b"question").expect("is taken");
    near.shutdown(Shutdown::Write).expect("half closes");
    assert_eq!(read_all(&mut far), b"question");
    far.write_all(b"answer").expect("is taken");
    drop(far);
    assert_eq!(read_all(&mut near), b"answer");
}

#[test]
fn a_reset_reaches_the_other_side() {
    let (target, to) = target();
    let proxy = proxy(to, "unlimited", "unlimited", 1.0);
    let (mut near, far) = pair(&proxy, &target);
    // Before, it would be a target that refuses.
    assert!(proxy.wait(HANG, |counters| counters.open == 1));
    socket2::SockRef::from(&far).set_linger(Some(Duration::ZERO)).expect("an option");
    drop(far);
    assert!(near.read(&mut [0; 1]).is_err());
    assert!(proxy.wait(HANG, |counters| counters.resets == 1 && counters.open == 0));
}

#[test]
fn a_target_that_is_not_there_refuses() {
    let (target, to) = target();
    drop(target);
    let proxy = proxy(to, "unlimited", "unlimited", 1.0);
    assert!(connect(proxy.address()).read(&mut [0; 1]).is_err());
    assert!(proxy.wait(HANG, |counters| counters.refused == 1));
}

#[test]
fn the_line_keeps_its_rate() {
    let (target, to) = target();
    let proxy = proxy(to, "unlimited", "rate=8Mb/s", 4.0);
    let (mut near, far) = pair(&proxy, &target);
    let writer = writes(far, pattern(3, 400_000));
    drop(near.shutdown(Shutdown::Write));
    assert_eq!(read_all(&mut near).len(), 400_000);
    writer.join().expect("no panic");
    let counters = proxy.counters();
    assert_eq!((counters.down.line_bytes, counters.down.line_busy_us), (400_000, 400_000));
    assert!(counters.model_us >= 400_000, "not faster than that");
}

#[test]
fn connections_share_the_line_fairly() {
    let (target, to) = target();
    let proxy = proxy(to, "unlimited", "rate=8Mb/s", 1.0);
    proxy.interrupt(Effect::Stall);
    let mut pairs = [pair(&proxy, &target), pair(&proxy, &target)];
    for (number, (_, far)) in pairs.iter_mut().enumerate() {
        far.write_all(&pattern(number as u64, 200_000)).expect("is taken");
    }
    assert!(proxy.wait(HANG, |counters| counters.down.in_bytes == 400_000));
    // The line sends 200,000 bytes and stops: if one had more than its half, the other's would not come.
    proxy.set(link("unlimited"), link("rate=8Mb/s,stall=1000s/at=200ms")).expect("a link");
    for (near, _) in &mut pairs {
        near.read_exact(&mut vec![0; 90_000]).expect("almost half of it");
    }
    assert!(proxy.counters().down.line_bytes <= 210_000);
}

#[test]
fn a_partition_holds_a_stream_and_heals() {
    let (target, to) = target();
    let proxy = proxy(to, "rate=100Mb/s", "unlimited", 1.0);
    let (mut near, mut far) = pair(&proxy, &target);
    near.write_all(b"before").expect("is taken");
    far.read_exact(&mut [0; 6]).expect("arrives");
    proxy.interrupt(Effect::Partition);
    near.write_all(b"during").expect("is taken");
    assert!(proxy.wait(HANG, |counters| counters.up.in_bytes == 12));
    assert_eq!(proxy.counters().up.out_bytes, 6);
    proxy.heal();
    let mut late = [0; 6];
    far.read_exact(&mut late).expect("arrives");
    assert_eq!(&late, b"during");
}

#[test]
fn a_cut_resets_both_ends_and_refuses_until_it_heals() {
    let (target, to) = target();
    let proxy = proxy(to, "unlimited", "delay=1ms", 1.0);
    let (mut near, mut far) = pair(&proxy, &target);
    assert!(proxy.wait(HANG, |counters| counters.open == 1));
    proxy.interrupt(Effect::Cut);
    assert!(near.read(&mut [0; 1]).is_err() && far.read(&mut [0; 1]).is_err());
    assert!(connect(proxy.address()).read(&mut [0; 1]).is_err());
    proxy.heal();
    let (mut near, far) = pair(&proxy, &target);
    assert!(proxy.wait(HANG, |counters| counters.open == 1 && counters.refused == 1));
    proxy.reset();
    assert!(near.read(&mut [0; 1]).is_err());
    drop((far, pair(&proxy, &target)));
    assert!(proxy.wait(HANG, |counters| counters.connections == 3));
}

#[test]
fn each_datagram_is_delivered_or_counted_as_lost() {
    // As many as a socket's buffer holds by default: the kernel is to drop none.
    const SENT: u64 = 200;
    let echo = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let to = echo.local_addr().expect("bound");
    spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((length, sender)) = echo.recv_from(&mut buffer) {
            // Fails once the proxy has ended.
            let _ = echo.send_to(&buffer[..length], sender);
        }
    });
    let spec = ProxySpec { up: link("loss=20%/burst=4"), down: link("delay=1ms"), udp: true, ..ProxySpec::new(to) };
    let proxy = LinkProxy::start(&spec).expect("a proxy");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.set_read_timeout(Some(HANG)).expect("a timeout");
    socket.connect(proxy.address()).expect("connects");
    for number in 0..SENT {
        socket.send(&number.to_be_bytes()).expect("is taken");
    }
    assert!(proxy.wait(HANG, |counters| {
        let up = counters.up;
        up.datagrams + up.lost + up.dropped == SENT && counters.down.datagrams == up.datagrams
    }));
    let counters = proxy.counters();
    assert!((10..100).contains(&counters.up.lost), "{counters:?}");
    let mut last = None;
    for _ in 0..counters.down.datagrams {
        let mut number = [0; 8];
        assert_eq!(socket.recv(&mut number).expect("arrives"), 8);
        assert!(last.replace(number) < Some(number), "in order");
    }
    proxy.interrupt(Effect::Partition);
    socket.send(&[0]).expect("is taken");
    assert!(proxy.wait(HANG, |now| now.up.lost == counters.up.lost + 1));
}

#[test]
fn a_target_that_does_not_read_is_not_written_for_without_bound() {
    let (target, to) = target();
    let proxy = proxy(to, "unlimited", "unlimited", 1.0);
    let (mut near, far) = pair(&proxy, &target);
    let writer = spawn(move || near.write_all(&vec![0; 64 << 20]).is_err());
    assert!(proxy.wait(HANG, |counters| counters.up.held_bytes + (64 << 10) > WINDOW));
    assert!(proxy.counters().up.held_peak_bytes <= WINDOW);
    socket2::SockRef::from(&far).set_linger(Some(Duration::ZERO)).expect("an option");
    drop(far);
    assert!(writer.join().expect("no panic"), "the reset came through");
}

#[test]
fn hundreds_of_connections_hold_no_more_than_their_queues() {
    const CONNECTIONS: u64 = 200;
    const EACH: u64 = 100_000;
    let (target, to) = target();
    let proxy = proxy(to, "rate=100Mb/s,queue=16KiB", "unlimited", 1.0);
    proxy.interrupt(Effect::Stall);
    let mut fars = Vec::new();
    let clients: Vec<TcpStream> = (0..CONNECTIONS)
        .map(|_| {
            let (near, far) = pair(&proxy, &target);
            fars.push(far);
            near
        })
        .collect();
    let writers: Vec<_> = clients.into_iter().map(|near| writes(near, pattern(5, EACH as usize))).collect();
    // A queue that has no room for another piece of 16 KiB is full.
    assert!(proxy.wait(HANG, |counters| counters.up.held_bytes >= CONNECTIONS * 1024));
    assert!(proxy.counters().up.held_peak_bytes <= CONNECTIONS * (16 << 10));
    proxy.set(link("rate=1Gb/s,queue=16KiB"), link("unlimited")).expect("a link");
    let expected = pattern(5, EACH as usize);
    for far in &mut fars {
        assert!(read_all(far) == expected);
    }
    writers.into_iter().for_each(|writer| writer.join().expect("no panic"));
    let counters = proxy.counters();
    assert_eq!((counters.up.out_bytes, counters.refused), (CONNECTIONS * EACH, 0));
}

#[test]
fn the_program_says_where_it_listens_and_what_went_through() {
    let (target, to) = target();
    let mut program = Command::new(env!("CARGO_BIN_EXE_aftercast-link"))
        .args(["--to", &to.to_string(), "--up", "rate=50Mb/s", "--down", "delay=1ms", "--speed", "2"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut lines = BufReader::new(program.stdout.take().expect("piped")).lines();
    let mut line = || -> serde_json::Value {
        serde_json::from_str(&lines.next().expect("a line").expect("reads")).expect("is JSON")
    };
    let address = line()["address"].as_str().expect("an address").parse().expect("an address");
    let mut near = connect(address);
    near.write_all(b"hello").expect("is taken");
    target.accept().expect("comes through").0.read_exact(&mut [0; 5]).expect("arrives");
    drop(program.stdin.take());
    assert_eq!(line()["up"]["out_bytes"], 5);
    assert!(program.wait().expect("ends").success());
}
