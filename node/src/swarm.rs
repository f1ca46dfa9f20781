//! What the network says, handed to whom it concerns; and what is held, announced.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use aftercast_net::exchange::serve_lane;
use aftercast_net::{Net, NetEvent, Verdict};
use aftercast_protocol::ids::DeviceId;
use aftercast_protocol::limits::{MAX_LAN_PEERS, MAX_PROVIDED_KEYS};
use aftercast_protocol::wire::ctl::CtlMsg;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc;

use crate::library::Library;
use crate::peers::Peers;
use crate::playback::Playback;
use crate::seed::SeedClient;
use crate::serve::{Shelf, Uplink};

/// Changes of what is held are told together with those that follow closely.
const GATHER: Duration = Duration::from_millis(100);
/// Announcements in the hash table cost look-ups: changes are gathered for longer.
const PROVIDE_GATHER: Duration = Duration::from_secs(1);

/// Takes the network's events. One task owns it.
pub struct Swarm {
    /// The network.
    pub net: Net,
    /// The seed.
    pub seed: Arc<SeedClient>,
    /// The peers.
    pub peers: Arc<Peers>,
    /// The state.
    pub library: Arc<Library>,
    /// The line.
    pub uplink: Arc<Uplink>,
    /// What plays.
    pub playback: Playback,
    /// Control frames that were not understood.
    pub malformed: Counter,
}

impl Swarm {
    /// Runs until the network ends.
    pub async fn run(self, mut events: mpsc::Receiver<NetEvent>) {
        let shelf = Arc::new(Shelf::new(Arc::clone(&self.library), Arc::clone(&self.peers)));
        while let Some(event) = events.recv().await {
            match event {
                NetEvent::Connected(device, _) => {
                    if self.is_seed(device) {
                        self.seed.connected()
                    } else {
                        self.peers.connected(device)
                    }
                    self.playback.holders_changed().await;
                }
                NetEvent::Disconnected(device) => {
                    if self.is_seed(device) {
                        self.seed.disconnected()
                    } else {
                        self.peers.disconnected(device)
                    }
                    self.playback.disconnected(device).await;
                }
                NetEvent::Ctl { from, frame } => self.control(from, &frame).await,
                NetEvent::Lane { lane, .. } => {
                    tokio::spawn(serve_lane(lane, Arc::clone(&shelf) as _, self.uplink.gate().clone()));
                }
                NetEvent::Gossip { channel, data, token, .. } => {
                    let genuine = self.seed.gossip(&channel, &data);
                    self.net.judge(token, if genuine { Verdict::Accept } else { Verdict::Reject }).await;
                }
                NetEvent::Discovered { device, addrs } => {
                    if self.peers.count() < MAX_LAN_PEERS && !self.is_seed(device) {
                        let net = self.net.clone();
                        tokio::spawn(async move {
                            if let Err(error) = net.dial(device, addrs).await {
                                tracing::debug!(%error, "a device of the local network is not reached");
                            }
                        });
                    }
                }
            }
        }
    }

    fn is_seed(&self, device: DeviceId) -> bool {
        self.seed.device() == Some(device)
    }

    async fn control(&self, from: DeviceId, frame: &[u8]) {
        match CtlMsg::from_frame(frame) {
            Ok(CtlMsg::Stat { rate, queued }) => self.playback.stat(from, Some(rate), queued).await,
            Ok(msg) if self.is_seed(from) => self.seed.handle(msg),
            Ok(msg) => {
                let more = matches!(msg, CtlMsg::Have(_));
                self.peers.handle(from, msg);
                if more {
                    self.playback.holders_changed().await;
                }
            }
            // A later version may say things that this one does not know: ignored and counted.
            Err(error) => {
                self.malformed.inc();
                tracing::debug!(device = %from, %error, "a control frame was not understood");
            }
        }
    }
}

/// Tells seed and peers what is held, as it changes. Runs until dropped.
pub async fn announce(library: Arc<Library>, peers: Arc<Peers>) {
    let mut changes = library.changes();
    loop {
        let have = library.take_have_changes();
        if !have.is_empty() {
            peers.announce(&have);
        }
        if changes.changed().await.is_err() {
            return;
        }
        tokio::time::sleep(GATHER).await;
        changes.mark_unchanged();
    }
}

/// Tells whoever waits for changes, the seed's session among them, when this device is reached in another way. Runs until
/// dropped.
pub async fn watch_reach(library: Arc<Library>, net: Net) {
    let mut changes = net.reach_changes();
    while changes.changed().await.is_ok() {
        library.touch();
    }
}

/// Keeps the hash table told of what is held. Runs until dropped.
pub async fn provide(library: Arc<Library>, net: Net) {
    let mut changes = library.changes();
    let mut told: BTreeSet<[u8; 32]> = BTreeSet::new();
    loop {
        changes.mark_unchanged();
        let keys: BTreeSet<[u8; 32]> = library.provider_keys().into_iter().take(MAX_PROVIDED_KEYS).collect();
        for gone in told.difference(&keys) {
            net.stop_providing(*gone).await;
        }
        let mut kept: BTreeSet<[u8; 32]> = told.intersection(&keys).copied().collect();
        for new in keys.difference(&told) {
            if net.provide(*new).await {
                kept.insert(*new);
            }
        }
        told = kept;
        if changes.changed().await.is_err() {
            return;
        }
        tokio::time::sleep(PROVIDE_GATHER).await;
    }
}
