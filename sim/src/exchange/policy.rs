//! What decides in a run: the scheduler that ships, or one of the rules it is compared with.

use std::fmt;
use std::str::FromStr;

use aftercast_protocol::ids::{ChunkCid, GroupIndex, RequestId};
use aftercast_protocol::score::ScoreBook;
use aftercast_protocol::select::{Action, FailReason, SelectConfig, Selector, Source, SourceInfo, Want};
use aftercast_protocol::time::Mono;
use aftercast_protocol::verify::GroupSet;
use serde::Serialize;

use super::baseline::{Baseline, Deadlines, InOrder, SeedOnly, Windows};
use crate::rng::Rng;

/// Decides whom to ask for what. The face is [`Selector`]'s, and what each call means is said there.
pub trait Policy {
    /// A chunk is wanted, or its deadline has changed.
    fn handle_want(&mut self, now: Mono, want: Want);
    /// A chunk is wanted no more.
    fn handle_drop(&mut self, now: Mono, cid: ChunkCid);
    /// Groups of a wanted chunk are here already.
    fn handle_held(&mut self, now: Mono, cid: ChunkCid, held: &GroupSet);
    /// These hold a wanted chunk, as far as is known.
    fn handle_holders(&mut self, now: Mono, cid: ChunkCid, holders: &[Source]);
    /// A source is connected.
    fn handle_source_up(&mut self, now: Mono, source: Source, info: SourceInfo);
    /// A source's connection is gone, with all requests to it.
    fn handle_source_down(&mut self, now: Mono, source: Source);
    /// The group hashes of a wanted chunk are known, and its length in bytes.
    fn handle_hashes(&mut self, now: Mono, cid: ChunkCid, len: u64);
    /// A verified group of so many bytes has come.
    fn handle_group(&mut self, now: Mono, id: RequestId, index: GroupIndex, bytes: u64);
    /// A request's answer has ended.
    fn handle_request_done(&mut self, now: Mono, id: RequestId);
    /// A request has failed.
    fn handle_request_failed(&mut self, now: Mono, id: RequestId, reason: FailReason);
    /// The time of [`Policy::poll_timeout`] has come.
    fn handle_timeout(&mut self, now: Mono);
    /// The next thing to do.
    fn poll_action(&mut self) -> Option<Action>;
    /// When to call [`Policy::handle_timeout`] if nothing happens before.
    fn poll_timeout(&self) -> Option<Mono>;
}

/// Passes everything on: no rule of ours is written twice.
impl Policy for Selector {
    fn handle_want(&mut self, now: Mono, want: Want) {
        // Wants are bounded by the read-ahead, far below the limit, and the scenario's lengths are legal.
        self.handle_want(now, want).expect("the harness wants what can be wanted");
    }
    fn handle_drop(&mut self, now: Mono, cid: ChunkCid) {
        self.handle_drop(now, cid);
    }
    fn handle_held(&mut self, now: Mono, cid: ChunkCid, held: &GroupSet) {
        self.handle_held(now, cid, held);
    }
    fn handle_holders(&mut self, now: Mono, cid: ChunkCid, holders: &[Source]) {
        self.handle_holders(now, cid, holders);
    }
    fn handle_source_up(&mut self, now: Mono, source: Source, info: SourceInfo) {
        self.handle_source_up(now, source, info);
    }
    fn handle_source_down(&mut self, now: Mono, source: Source) {
        self.handle_source_down(now, source);
    }
    fn handle_hashes(&mut self, now: Mono, cid: ChunkCid, len: u64) {
        self.handle_hashes(now, cid, len);
    }
    fn handle_group(&mut self, now: Mono, id: RequestId, index: GroupIndex, bytes: u64) {
        self.handle_group(now, id, index, bytes);
    }
    fn handle_request_done(&mut self, now: Mono, id: RequestId) {
        self.handle_request_done(now, id);
    }
    fn handle_request_failed(&mut self, now: Mono, id: RequestId, reason: FailReason) {
        self.handle_request_failed(now, id, reason);
    }
    fn handle_timeout(&mut self, now: Mono) {
        self.handle_timeout(now);
    }
    fn poll_action(&mut self) -> Option<Action> {
        self.poll_action()
    }
    fn poll_timeout(&self) -> Option<Mono> {
        self.poll_timeout()
    }
}

/// Which policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyKind {
    /// The scheduler that ships.
    Ours,
    /// Everything from the seed, in order: what a broadcaster pays without peers.
    SeedOnly,
    /// Whole chunks in order, each from a peer drawn at random.
    InOrder,
    /// The time windows of p2p-media-loader.
    Windows,
    /// The deadline rule of libtorrent.
    Deadlines,
}

impl PolicyKind {
    /// All of them, ours first.
    pub const ALL: [Self; 5] = [Self::Ours, Self::SeedOnly, Self::InOrder, Self::Windows, Self::Deadlines];

    /// Its name on the command line and in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::SeedOnly => "seed-only",
            Self::InOrder => "in-order",
            Self::Windows => "windows",
            Self::Deadlines => "deadlines",
        }
    }

    /// A policy that has seen nothing yet. What it draws, it draws for `player`.
    #[must_use]
    pub fn start(self, rng: Rng, player: u64) -> Box<dyn Policy> {
        match self {
            Self::Ours => Box::new(Selector::new(SelectConfig::default(), ScoreBook::default())),
            Self::SeedOnly => Box::new(Baseline::new(SeedOnly)),
            Self::InOrder => Box::new(Baseline::new(InOrder::new(rng, player))),
            Self::Windows => Box::new(Baseline::new(Windows::new(rng, player))),
            Self::Deadlines => Box::new(Baseline::new(Deadlines::default())),
        }
    }
}

impl fmt::Display for PolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// No policy has that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no policy is called {0:?}: write ours, seed-only, in-order, windows or deadlines")]
pub struct UnknownPolicy(String);

impl FromStr for PolicyKind {
    type Err = UnknownPolicy;
    fn from_str(text: &str) -> Result<Self, UnknownPolicy> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| UnknownPolicy(text.to_owned()))
    }
}
