//! Whole chunks in order, each from a peer drawn at random among those with nothing to do: what is built first. The
//! seed brings what nobody else holds, and takes over what is not here shortly before it is played.

use aftercast_protocol::select::Source;
use aftercast_protocol::time::{Micros, Mono};

use super::{Book, Rule};
use crate::rng::{Purpose, Rng};

/// The seed takes over what is due within this.
pub(crate) const LATE: Micros = Micros::from_secs(2);
/// A peer that sends nothing for so long is given up.
const PATIENCE: Micros = Micros::from_secs(5);

pub(in super::super) struct InOrder {
    rng: Rng,
    player: u64,
    draws: u64,
}

impl InOrder {
    pub fn new(rng: Rng, player: u64) -> Self {
        Self { rng, player, draws: 0 }
    }

    fn draw(&mut self, among: &[Source]) -> Option<Source> {
        self.draws += 1;
        let place = self.rng.below(among.len() as u64, Purpose::Choice, self.player, self.draws);
        among.get(usize::try_from(place).unwrap_or(usize::MAX)).copied()
    }
}

impl Rule for InOrder {
    fn plan(&mut self, book: &mut Book) {
        book.cancel_silent(|source| source != Source::Seed, PATIENCE);
        for cid in book.by_deadline() {
            let due = book.wants.get(&cid).is_some_and(|wanted| wanted.want.deadline <= book.now + LATE);
            let peers = book.peers_of(cid);
            if book.seed_has(cid) && (due || peers.is_empty()) {
                let from_peers = |source| source != Source::Seed;
                let ids: Vec<_> =
                    book.requests_of(cid).filter(|(_, asked)| from_peers(asked.source)).map(|(id, _)| id).collect();
                ids.into_iter().for_each(|id| book.cancel(id));
                while let Some(range) = book.first_open(cid) {
                    book.request(cid, Source::Seed, range);
                }
            } else if book.requests_of(cid).next().is_none() {
                let idle: Vec<_> = peers.into_iter().filter(|peer| book.load(*peer) == 0).collect();
                if let (Some(peer), Some(range)) = (self.draw(&idle), book.first_open(cid)) {
                    book.request(cid, peer, range);
                }
            }
        }
    }

    fn wake_at(&self, book: &Book) -> Option<Mono> {
        let due = book.wants.values().map(|wanted| Mono(wanted.want.deadline.0.saturating_sub(LATE.0)));
        due.chain(book.silence_ends(PATIENCE)).filter(|at| *at > book.now).min()
    }
}
