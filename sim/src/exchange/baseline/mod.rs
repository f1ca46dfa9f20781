//! Rules that ours is compared with. They share the book-keeping ([`Book`]), and what nobody would do without: a group
//! is checked when it comes, a proven liar is not asked again, a chunk is kept by group. What differs is the rule:
//! whom to ask for what, when.

mod book;
pub(crate) mod deadlines;
pub(crate) mod in_order;
mod seed_only;
pub(crate) mod windows;

use aftercast_protocol::ids::{ChunkCid, GroupIndex, RequestId};
use aftercast_protocol::select::{Action, FailReason, Source, SourceInfo, Want};
use aftercast_protocol::time::Mono;
use aftercast_protocol::verify::GroupSet;

use super::policy::Policy;
pub(super) use book::Book;
pub(super) use deadlines::Deadlines;
pub(super) use in_order::InOrder;
pub(super) use seed_only::SeedOnly;
pub(super) use windows::Windows;

/// What a baseline decides.
pub(super) trait Rule {
    /// Asks, and cancels. Called after everything that happened.
    fn plan(&mut self, book: &mut Book);
    /// When to plan again if nothing happens.
    fn wake_at(&self, book: &Book) -> Option<Mono>;
}

/// A rule with its book, as a policy.
pub(super) struct Baseline<R> {
    rule: R,
    book: Book,
    stale: bool,
}

impl<R> Baseline<R> {
    pub fn new(rule: R) -> Self {
        Self { rule, book: Book::default(), stale: false }
    }

    fn book(&mut self, now: Mono) -> &mut Book {
        self.stale = true;
        self.book.now = now;
        &mut self.book
    }
}

impl<R: Rule> Policy for Baseline<R> {
    fn handle_want(&mut self, now: Mono, want: Want) {
        self.book(now).want(want);
    }
    fn handle_drop(&mut self, now: Mono, cid: ChunkCid) {
        self.book(now).forget(cid);
    }
    fn handle_held(&mut self, now: Mono, cid: ChunkCid, held: &GroupSet) {
        self.book(now).hold(cid, held);
    }
    fn handle_holders(&mut self, now: Mono, cid: ChunkCid, holders: &[Source]) {
        self.book(now).learn_holders(cid, holders);
    }
    fn handle_source_up(&mut self, now: Mono, source: Source, info: SourceInfo) {
        self.book(now).source_up(source, info);
    }
    fn handle_source_down(&mut self, now: Mono, source: Source) {
        self.book(now).source_down(source);
    }
    fn handle_hashes(&mut self, now: Mono, cid: ChunkCid, _: u64) {
        self.book(now).learn_hashes(cid);
    }
    fn handle_group(&mut self, now: Mono, id: RequestId, index: GroupIndex, bytes: u64) {
        self.book(now).group(id, index, bytes);
    }
    fn handle_request_done(&mut self, now: Mono, id: RequestId) {
        self.book(now).end(id);
    }
    fn handle_request_failed(&mut self, now: Mono, id: RequestId, reason: FailReason) {
        self.book(now).fail(id, reason);
    }
    fn handle_timeout(&mut self, now: Mono) {
        self.book(now);
    }
    fn poll_action(&mut self) -> Option<Action> {
        if self.book.actions.is_empty() && std::mem::take(&mut self.stale) {
            self.rule.plan(&mut self.book);
            self.book.completed.clear();
        }
        self.book.actions.pop_front()
    }
    fn poll_timeout(&self) -> Option<Mono> {
        let rule = self.rule.wake_at(&self.book);
        let pauses = self.book.sources.values().map(|state| state.pause_until);
        rule.into_iter().chain(pauses).filter(|at| *at > self.book.now).min()
    }
}
