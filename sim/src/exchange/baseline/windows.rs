//! The time windows of p2p-media-loader (Novage), as its public documentation describes them: the configuration of its
//! core (`CoreConfig` / `StreamConfig`, <https://novage.github.io/p2p-media-loader/docs/>), and for the random download
//! the table of settings on the page of package p2p-media-loader-core.
//!
//! - What plays within the high-demand window is loaded over HTTP, which is the seed here, unless it is being loaded
//!   already; from a peer where HTTP has its hands full.
//! - What plays within the window of peers is loaded from a peer that has it, whole, a few at a time.
//! - Now and then, by chance, something of the window of HTTP is loaded over HTTP, so that it gets among the peers.
//! - What brings no byte for a while is given up and loaded anew; what has come of it is kept.

use aftercast_protocol::ids::ChunkCid;
use aftercast_protocol::select::Source;
use aftercast_protocol::time::{Micros, Mono};

use super::{Book, Rule};
use crate::rng::{Purpose, Rng};

/// highDemandTimeWindow
pub(crate) const HIGH_DEMAND: Micros = Micros::from_secs(15);
/// httpDownloadTimeWindow and p2pDownloadTimeWindow
pub(crate) const WINDOW: Micros = Micros::from_secs(45);
/// simultaneousHttpDownloads
const HTTP_REQUESTS: usize = 3;
/// simultaneousP2PDownloads
pub(crate) const PEER_REQUESTS: usize = 3;
/// httpNotReceivingBytesTimeoutMs and p2pNotReceivingBytesTimeoutMs
const PATIENCE: Micros = Micros::from_secs(1);
/// httpDownloadProbability, in parts per thousand...
const CHANCE: u64 = 100;
/// ...and httpDownloadProbabilityInterval
const INTERVAL: Micros = Micros::from_secs(1);

pub(in super::super) struct Windows {
    rng: Rng,
    player: u64,
    draws: u64,
    /// When chance comes next.
    chance_at: Mono,
}

impl Windows {
    pub fn new(rng: Rng, player: u64) -> Self {
        Self { rng, player, draws: 0, chance_at: Mono(0) }
    }

    fn draw(&mut self, below: usize) -> usize {
        self.draws += 1;
        let drawn = self.rng.below(below as u64, Purpose::Choice, self.player, self.draws);
        usize::try_from(drawn).unwrap_or(usize::MAX)
    }

    fn over_http(book: &mut Book, cid: ChunkCid) -> bool {
        let free = book.load(Source::Seed) < HTTP_REQUESTS && book.seed_has(cid);
        let range = book.first_open(cid).filter(|_| free);
        range.into_iter().for_each(|range| book.request(cid, Source::Seed, range));
        range.is_some()
    }

    fn over_peers(&mut self, book: &mut Book, cid: ChunkCid) {
        let busy = book.requests.values().filter(|asked| asked.source != Source::Seed).count();
        // A peer has one lane for everything: among equals, one with nothing to do.
        let peers = book.peers_of(cid);
        let least = peers.iter().map(|peer| book.load(*peer)).min();
        let peers: Vec<_> = peers.into_iter().filter(|peer| Some(book.load(*peer)) == least).collect();
        if busy < PEER_REQUESTS
            && !peers.is_empty()
            && let (Some(peer), Some(range)) = (peers.get(self.draw(peers.len())), book.first_open(cid))
        {
            book.request(cid, *peer, range);
        }
    }

    /// What is wanted within a window and not being loaded.
    fn idle(book: &Book, window: Micros) -> Vec<ChunkCid> {
        let near = |cid: &ChunkCid| book.wants.get(cid).is_some_and(|wanted| wanted.want.deadline <= book.now + window);
        let cids = book.by_deadline().into_iter().filter(near);
        cids.filter(|cid| book.requests_of(*cid).next().is_none()).collect()
    }
}

impl Rule for Windows {
    fn plan(&mut self, book: &mut Book) {
        book.cancel_silent(|_| true, PATIENCE);
        for cid in Self::idle(book, HIGH_DEMAND) {
            if !Self::over_http(book, cid) {
                self.over_peers(book, cid);
            }
        }
        for cid in Self::idle(book, WINDOW) {
            self.over_peers(book, cid);
        }
        if book.now >= self.chance_at {
            self.chance_at = book.now + INTERVAL;
            let idle = Self::idle(book, WINDOW);
            if self.draw(1000) < CHANCE as usize && !idle.is_empty() {
                let place = self.draw(idle.len());
                if let Some(cid) = idle.get(place) {
                    Self::over_http(book, *cid);
                }
            }
        }
    }

    fn wake_at(&self, book: &Book) -> Option<Mono> {
        if book.wants.is_empty() {
            return None;
        }
        let ahead = book.wants.values().map(|wanted| Mono(wanted.want.deadline.0.saturating_sub(HIGH_DEMAND.0)));
        ahead.chain(book.silence_ends(PATIENCE)).chain([self.chance_at]).filter(|at| *at > book.now).min()
    }
}
