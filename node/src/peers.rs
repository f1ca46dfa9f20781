//! Connected peers: what they may have, what they say they hold, and the way to them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aftercast_net::{Multiaddr, Net};
use aftercast_protocol::grant::{RawGrant, VerifiedGrant};
use aftercast_protocol::ids::{ChannelId, ChunkIndex, DeviceId, Slot};
use aftercast_protocol::limits::{
    MAX_ADDRS_PER_PEER, MAX_CHANNELS_PER_PEER, MAX_CTL_LIST, MAX_GRANTS_PER_PEER, MAX_HAVE_SPANS,
};
use aftercast_protocol::time::UnixMillis;
use aftercast_protocol::wire::ctl::{CTL_VERSION, CtlMsg, Have, Hello};
use aftercast_protocol::wire::lane::LaneRefusal;
use prometheus_client::metrics::counter::Counter;

use crate::clock::wall;
use crate::library::{Holding, Library};
use crate::seed::SeedClient;
use crate::spans::SpanSet;

/// The peers of this device. Shared by `Arc`.
pub struct Peers {
    net: Net,
    seed: Arc<SeedClient>,
    library: Arc<Library>,
    known: Mutex<BTreeMap<DeviceId, Peer>>,
    /// Grants shown that were not genuine, another device's, or too many.
    pub grants_refused: Counter,
    /// Stretches of have-maps beyond the bound, ignored.
    pub haves_ignored: Counter,
}

#[derive(Default)]
struct Peer {
    grants: Vec<VerifiedGrant>,
    have: BTreeMap<ChannelId, SpanSet>,
}

impl Peers {
    /// Nobody is connected yet.
    #[must_use]
    pub fn new(net: Net, seed: Arc<SeedClient>, library: Arc<Library>) -> Arc<Self> {
        Arc::new(Self {
            net,
            seed,
            library,
            known: Mutex::default(),
            grants_refused: Counter::default(),
            haves_ignored: Counter::default(),
        })
    }

    /// The seed's key.
    #[must_use]
    pub fn seed(&self) -> Option<DeviceId> {
        self.seed.device()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<DeviceId, Peer>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Devices connected, the seed excluded.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Connected peers that say they hold this place, in order of their ids.
    #[must_use]
    pub fn holders(&self, channel: &ChannelId, slot: Slot) -> Vec<DeviceId> {
        let known = self.lock();
        let holds = |peer: &Peer| peer.have.get(channel).is_some_and(|have| have.contains(slot));
        known.iter().filter(|(_, peer)| holds(peer)).map(|(device, _)| *device).collect()
    }

    /// Connects to a device and shows it what this one may fetch. True once that is on its way.
    pub async fn ensure_connected(&self, device: DeviceId, addrs: Vec<Multiaddr>) -> bool {
        let addrs = addrs.into_iter().take(MAX_ADDRS_PER_PEER).collect();
        if let Err(error) = self.net.dial(device, addrs).await {
            tracing::debug!(%error, "a peer is not reached");
            return false;
        }
        let grants = CtlMsg::Grants { grants: self.seed.grants() };
        match grants.to_frame() {
            Ok(frame) => self.net.send(device, frame).await.is_ok(),
            Err(_) => false,
        }
    }

    /// Shows all connected peers what this device may fetch, after a new grant came.
    pub fn show_grants(&self) {
        let devices: Vec<DeviceId> = self.lock().keys().copied().collect();
        let msg = CtlMsg::Grants { grants: self.seed.grants() };
        devices.into_iter().for_each(|device| self.send(device, &msg));
    }

    /// Whether a peer may have a chunk that is held here.
    ///
    /// # Errors
    /// Why not.
    pub fn may_have(&self, device: DeviceId, holding: &Holding, now: UnixMillis) -> Result<(), LaneRefusal> {
        let certificate = self.seed.enrolment().and_then(|enrolment| enrolment.certificate);
        // The newest revocation that this device knows of is the epoch of its own certificate.
        let epoch = certificate.as_ref().map_or(0, |certificate| certificate.epoch);
        let known = self.lock();
        let grants = known.get(&device).map(|peer| peer.grants.as_slice()).unwrap_or_default();
        let mut why = LaneRefusal::NoGrant;
        for grant in grants {
            let own = certificate.as_ref().is_some_and(|certificate| certificate.subscriber == grant.subscriber);
            if !holding.confirmed && !own {
                continue;
            }
            // A chunk that only this subscriber has may not have its place yet.
            let slot =
                holding.slot.or(grant.spans.first().map(|span| Slot { timeline: span.timeline, index: span.from }));
            let Some(slot) = slot else { continue };
            match grant.allows(device, &holding.channel, slot, epoch, now) {
                Ok(()) => return Ok(()),
                Err(denied) => {
                    let denied = denied.into();
                    // "No grant" of one recording says less than what is wrong with the right one.
                    if denied != LaneRefusal::NoGrant {
                        why = denied;
                    }
                }
            }
        }
        Err(why)
    }

    /// Whether a peer is another device of the own subscriber on the local network.
    #[must_use]
    pub fn is_home(&self, device: DeviceId) -> bool {
        let Some(own) = self.seed.enrolment().and_then(|enrolment| enrolment.subscriber().cloned()) else {
            return false;
        };
        let shown = |peer: &Peer| peer.grants.iter().any(|grant| grant.subscriber == own);
        let same = self.lock().get(&device).is_some_and(shown);
        same && self.net.peer_info(device).is_some_and(|info| info.lan)
    }

    /// Whether a peer may have anything at all.
    #[must_use]
    pub fn has_any_right(&self, device: DeviceId, now: UnixMillis) -> bool {
        self.lock().get(&device).is_some_and(|peer| peer.grants.iter().any(|grant| grant.expires > now))
    }

    pub(crate) fn connected(&self, device: DeviceId) {
        self.lock().insert(device, Peer::default());
        self.send(device, &CtlMsg::Hello(self.seed.hello(None)));
        self.library.touch();
    }

    pub(crate) fn disconnected(&self, device: DeviceId) {
        self.lock().remove(&device);
        self.library.touch();
    }

    /// Takes a message of a peer. Never waits for the network.
    pub(crate) fn handle(&self, device: DeviceId, msg: CtlMsg) {
        match msg {
            CtlMsg::Hello(hello) => self.hello(device, &hello),
            CtlMsg::Grants { grants } => self.grants(device, &grants),
            CtlMsg::Have(have) => self.have(device, &have),
            CtlMsg::Want { channel, from, to } => self.want(device, &channel, from, to),
            other => tracing::trace!(%device, ?other, "nothing to do for a message of a peer"),
        }
    }

    fn hello(&self, device: DeviceId, hello: &Hello) {
        if hello.version != CTL_VERSION {
            tracing::debug!(%device, version = hello.version, "a peer speaks another version");
            return;
        }
        self.grants(device, &hello.grants);
    }

    fn grants(&self, device: DeviceId, grants: &[RawGrant]) {
        let Some(seed) = self.seed() else { return };
        let now = wall();
        let mut fresh = Vec::new();
        {
            let mut known = self.lock();
            let Some(peer) = known.get_mut(&device) else { return };
            let had: Vec<ChannelId> = peer.grants.iter().map(|grant| grant.channel.clone()).collect();
            for raw in grants {
                match raw.verify(&seed) {
                    // Kept even where it lapsed: the refusal then says so.
                    Ok(grant) if grant.device == device => {
                        peer.grants.retain(|old| old.recording != grant.recording);
                        if !had.contains(&grant.channel) && grant.expires > now && !fresh.contains(&grant.channel) {
                            fresh.push(grant.channel.clone());
                        }
                        peer.grants.push(grant);
                    }
                    _ => drop(self.grants_refused.inc()),
                }
            }
            let surplus = peer.grants.len().saturating_sub(MAX_GRANTS_PER_PEER);
            peer.grants.drain(..surplus);
        }
        // What we hold is told to those who may have it, and to nobody else.
        for have in self.library.have_all().into_iter().filter(|have| fresh.contains(&have.channel)) {
            self.send(device, &CtlMsg::Have(have));
        }
    }

    fn have(&self, device: DeviceId, have: &Have) {
        let mut known = self.lock();
        let Some(peer) = known.get_mut(&device) else { return };
        if !peer.have.contains_key(&have.channel) && peer.have.len() >= MAX_CHANNELS_PER_PEER {
            self.haves_ignored.inc();
            return;
        }
        let set = peer.have.entry(have.channel.clone()).or_default();
        have.removed.iter().for_each(|span| set.remove(*span));
        for span in &have.added {
            if set.len() >= MAX_HAVE_SPANS {
                self.haves_ignored.inc();
                break;
            }
            set.insert(*span);
        }
        drop(known);
        self.library.touch();
    }

    fn want(&self, device: DeviceId, channel: &ChannelId, from: Slot, to: ChunkIndex) {
        let now = wall();
        let allowed = {
            let known = self.lock();
            let grants = known.get(&device).map(|peer| peer.grants.as_slice()).unwrap_or_default();
            grants.iter().any(|grant| grant.channel == *channel && grant.expires > now)
        };
        if !allowed {
            return;
        }
        for mut have in self.library.have_all().into_iter().filter(|have| have.channel == *channel) {
            have.added.retain_mut(|span| {
                span.from = span.from.max(from.index);
                span.to = span.to.min(to);
                span.timeline == from.timeline && span.from < span.to
            });
            have.added.truncate(MAX_CTL_LIST);
            self.send(device, &CtlMsg::Have(have));
        }
    }

    /// Tells what changed in what is held: the seed everything, peers what they may have.
    pub(crate) fn announce(&self, changes: &[Have]) {
        let now = wall();
        for have in changes {
            let msg = CtlMsg::Have(have.clone());
            if let Some(seed) = self.seed().filter(|_| self.seed.is_online()) {
                self.send(seed, &msg);
            }
            let may =
                |peer: &Peer| peer.grants.iter().any(|grant| grant.channel == have.channel && grant.expires > now);
            let told: Vec<DeviceId> =
                self.lock().iter().filter(|(_, peer)| may(peer)).map(|(device, _)| *device).collect();
            told.into_iter().for_each(|device| self.send(device, &msg));
        }
    }

    /// Sends if there is room: have-maps and greetings are hints, and who misses one asks elsewhere.
    fn send(&self, device: DeviceId, msg: &CtlMsg) {
        let sent = msg.to_frame().map_err(|e| e.to_string());
        let sent = sent.and_then(|frame| self.net.try_send(device, frame).map_err(|e| e.to_string()));
        if let Err(error) = sent {
            tracing::debug!(%device, error, "not sent");
        }
    }
}
