//! Sends transport streams to receivers over UDP or RTP, as a headend or a tuner bridge does, all in step.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::clock::Clock;
use super::pace::Pace;

/// Bytes of media in a datagram: seven packets, the most that an Ethernet frame holds.
pub const DATAGRAM: usize = 7 * 188;
/// Time between two rounds of sending. At 20 Mb/s a round is four datagrams.
const TICK: Duration = Duration::from_millis(2);

/// How datagrams are framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// Bare packets.
    Udp,
    /// RTP (RFC 3550) with payload type 33 (RFC 3551).
    Rtp,
}

/// One receiver and what it gets.
#[derive(Debug, Clone)]
pub struct Feed {
    /// Where to: a loopback address, or a multicast group, which is sent to on loopback.
    pub to: SocketAddr,
    /// In what frame.
    pub carrier: Carrier,
    /// The bytes, often from [`crate::impair::impair`].
    pub bytes: Arc<[u8]>,
    /// When each is due, on the clock that all feeds share.
    pub pace: Pace,
}

/// How far sending has come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Share of all bytes that is sent, 0 to 1.
    pub fraction: f64,
    /// Seconds of media since the start.
    pub media_seconds: f64,
}

/// A sender in its thread. It begins at [`Sender::start`] (or when its clock is started); dropping it stops it.
#[derive(Debug)]
pub struct Sender {
    clock: Clock,
    total: u64,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Sender {
    /// Opens sockets and waits for the clock. Several senders and HTTP sources may share one.
    ///
    /// Errors: a socket could not be opened or set up.
    pub fn new(feeds: Vec<Feed>, clock: &Clock) -> io::Result<Sender> {
        let total = feeds.iter().map(|feed| feed.bytes.len() as u64).sum();
        let lines = feeds.into_iter().map(Line::open).collect::<io::Result<Vec<_>>>()?;
        let sent = Arc::new(AtomicU64::new(0));
        let (shared, own_clock) = (sent.clone(), clock.clone());
        let thread = std::thread::Builder::new()
            .name("media-sender".into())
            .spawn(move || send_all(lines, &own_clock, &shared))?;
        Ok(Sender { clock: clock.clone(), total, sent, thread: Some(thread) })
    }

    /// Lets the clock run; everything that shares it begins.
    pub fn start(&self) {
        self.clock.start();
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        let sent = self.sent.load(Ordering::Relaxed);
        let fraction = if self.total == 0 { 1.0 } else { sent as f64 / self.total as f64 };
        Progress { fraction, media_seconds: self.clock.micros() as f64 / 1e6 }
    }

    /// Whether everything is sent, or sending has failed.
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Stops the clock, and with it everything that shares it.
    pub fn stop(&self) {
        self.clock.stop();
    }

    /// Waits for the last byte (or a stop).
    ///
    /// Errors: sending failed.
    pub fn join(mut self) -> io::Result<()> {
        self.thread
            .take()
            .map_or(Ok(()), |thread| thread.join().unwrap_or_else(|_| Err(io::Error::other("sender panicked"))))
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.clock.stop();
            let _ = thread.join();
        }
    }
}

fn send_all(mut lines: Vec<Line>, clock: &Clock, sent: &AtomicU64) -> io::Result<()> {
    let mut last = None;
    while lines.iter().any(|line| !line.is_done()) {
        let Some(now) = clock.tick(TICK, &mut last) else { return Ok(()) };
        // Datagrams in turn, so that no receiver waits for another's burst.
        let mut busy = true;
        while busy {
            busy = false;
            for line in &mut lines {
                let bytes = line.send_due(now)?;
                sent.fetch_add(bytes, Ordering::Relaxed);
                busy |= bytes > 0;
            }
        }
    }
    Ok(())
}

struct Line {
    feed: Feed,
    socket: UdpSocket,
    at: usize,
    sequence: u16,
}

impl Line {
    fn open(feed: Feed) -> io::Result<Line> {
        let any: SocketAddr = if feed.to.is_ipv4() { ([127, 0, 0, 1], 0).into() } else { ([0_u16; 8], 0).into() };
        // Not connected: a receiver that is not up yet must not turn into an error here.
        let socket = UdpSocket::bind(any)?;
        if feed.to.ip().is_multicast() {
            let socket = socket2::SockRef::from(&socket);
            socket.set_multicast_if_v4(&Ipv4Addr::LOCALHOST)?;
            socket.set_multicast_loop_v4(true)?;
            socket.set_multicast_ttl_v4(1)?;
        }
        Ok(Line { feed, socket, at: 0, sequence: 0xfff0 })
    }

    fn is_done(&self) -> bool {
        self.at >= self.feed.bytes.len()
    }

    /// Sends the next datagram if all of it is due; how many bytes of media it held.
    fn send_due(&mut self, now: u64) -> io::Result<u64> {
        let end = (self.at + DATAGRAM).min(self.feed.bytes.len());
        if self.is_done() || self.feed.pace.bytes_due(now) < end as u64 {
            return Ok(0);
        }
        let media = &self.feed.bytes[self.at..end];
        match self.feed.carrier {
            Carrier::Udp => self.socket.send_to(media, self.feed.to)?,
            Carrier::Rtp => self.socket.send_to(&[&self.rtp_header()[..], media].concat(), self.feed.to)?,
        };
        let bytes = (end - self.at) as u64;
        self.at = end;
        self.sequence = self.sequence.wrapping_add(1);
        Ok(bytes)
    }

    /// RFC 3550 5.1: version 2, no extras, payload type 33, media time in 90 kHz.
    fn rtp_header(&self) -> [u8; 12] {
        let time = (self.feed.pace.at(self.at as u64) * 9 / 100) as u32;
        let mut header = [0x80, 33, 0, 0, 0, 0, 0, 0, 0xaf, 0x7e, 0xca, 0x57];
        header[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        header[4..8].copy_from_slice(&time.to_be_bytes());
        header
    }
}
