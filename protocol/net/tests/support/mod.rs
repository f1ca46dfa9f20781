//! Two or more networks in one process, over loopback.
#![allow(dead_code)] // Each test program uses its own part.

pub mod shelf;

use aftercast_net::{Multiaddr, Net, NetConfig, NetEvent};
use aftercast_protocol::ids::DeviceId;
use aftercast_protocol::sign::SecretKey;
use tokio::sync::mpsc;
use tokio::time::{Duration, timeout};

/// Long enough for a loaded machine; reached only when something is broken.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub const TCP: &str = "/ip4/127.0.0.1/tcp/0";
pub const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

/// A network and what it reports.
pub struct Peer {
    pub net: Net,
    pub events: mpsc::Receiver<NetEvent>,
}

impl Peer {
    /// Starts a device whose key is made of `key`.
    pub async fn start(key: u8, listen: &[&str]) -> Self {
        let mut config = NetConfig::new(SecretKey::from_bytes(&[key; 32]));
        config.listen = listen.iter().map(|addr| addr.parse().unwrap()).collect();
        let (net, events) = Net::start(config).await.unwrap();
        Self { net, events }
    }

    pub fn device(&self) -> DeviceId {
        self.net.device()
    }

    pub fn addrs(&self) -> Vec<Multiaddr> {
        self.net.listen_addrs()
    }

    /// The next event that `pick` takes; others are dropped.
    pub async fn next<T>(&mut self, what: &str, mut pick: impl FnMut(NetEvent) -> Option<T>) -> T {
        let wait = async {
            loop {
                let event = self.events.recv().await.expect("the network runs");
                if let Some(picked) = pick(event) {
                    return picked;
                }
            }
        };
        timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("no {what}"))
    }

    pub async fn connected(&mut self, device: DeviceId) {
        let is = |event| matches!(event, NetEvent::Connected(who, _) if who == device).then_some(());
        self.next("connection", is).await;
    }

    pub async fn disconnected(&mut self, device: DeviceId) {
        let is = |event| matches!(event, NetEvent::Disconnected(who) if who == device).then_some(());
        self.next("end of the connection", is).await;
    }

    pub async fn frame(&mut self) -> (DeviceId, Vec<u8>) {
        let pick = |event| match event {
            NetEvent::Ctl { from, frame } => Some((from, frame)),
            _ => None,
        };
        self.next("control frame", pick).await
    }

    pub async fn lane(&mut self) -> aftercast_net::Lane {
        let pick = |event| match event {
            NetEvent::Lane { lane, .. } => Some(lane),
            _ => None,
        };
        self.next("lane", pick).await
    }
}

/// Two devices, the first connected to the second over one transport, both told so.
pub async fn pair(keys: (u8, u8), transport: &str) -> (Peer, Peer) {
    let mut a = Peer::start(keys.0, &[]).await;
    let mut b = Peer::start(keys.1, &[transport]).await;
    a.net.dial(b.device(), b.addrs()).await.unwrap();
    a.connected(b.device()).await;
    b.connected(a.device()).await;
    (a, b)
}
