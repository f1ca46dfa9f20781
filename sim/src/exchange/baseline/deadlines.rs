//! The rule of libtorrent (Rasterbar) for pieces with a deadline, as its documentation describes it
//! (<https://libtorrent.org/streaming.html>): a chunk is a piece, a group is a block, the seed is a peer like others, as
//! there is none that would have to be spared.
//!
//! - Pieces by deadline, their blocks in order, each from the peer whose queue is the shortest in time; none once the
//!   shortest is over two seconds. The slowest tenth of the peers is left out.
//! - A queue's time is what is outstanding over the rate: the measured one; the peak after half a minute of silence; the
//!   others' average where next to nothing has come.
//! - A piece that takes longer than pieces do on average, and half their deviation, has timed out: its blocks may be asked
//!   for once more, of someone else; and once more for each time that passes again. What comes first is kept, the other
//!   is cancelled.
//! - This is looked at every second. In between, peers that have nothing to do get the next blocks in order.

use std::collections::BTreeMap;

use aftercast_protocol::ids::{ChunkCid, GroupIndex};
use aftercast_protocol::limits::GROUP_BYTES;
use aftercast_protocol::select::Source;
use aftercast_protocol::time::{Micros, Mono};
use aftercast_protocol::verify::GroupRange;

use super::{Book, Rule};

/// How often the rule looks.
const TURN: Micros = Micros::from_secs(1);
/// No block is asked for where the shortest queue is longer.
pub(crate) const LONGEST_QUEUE: Micros = Micros::from_secs(2);
/// After so long without a byte, a rate says nothing.
const SILENCE: Micros = Micros::from_secs(30);
/// What is assumed where nothing is known of anybody, bytes per second: as ours does.
const ASSUMED: u64 = 1_000_000;
/// Weight of a new piece's time in the average: one in so many.
const WEIGHT: u64 = 10;

#[derive(Default)]
pub(in super::super) struct Deadlines {
    turn_at: Mono,
    /// When the first block of a piece was asked for.
    begun: BTreeMap<ChunkCid, Mono>,
    pieces: u64,
    /// Time that a piece takes, and its deviation, on average.
    mean: Micros,
    deviation: Micros,
}

impl Deadlines {
    fn learn(&mut self, book: &Book) {
        for cid in &book.completed {
            let Some(begun) = self.begun.remove(cid) else { continue };
            let took = (book.now - begun).0;
            self.pieces += 1;
            let weight = self.pieces.min(WEIGHT);
            let off = took.abs_diff(self.mean.0);
            self.mean = Micros(self.mean.0 - self.mean.0 / weight + took / weight);
            self.deviation = Micros(self.deviation.0 - self.deviation.0 / weight + off / weight);
        }
        self.begun.retain(|cid, _| book.wants.contains_key(cid));
    }

    /// How often a piece has timed out.
    fn timeouts(&self, book: &Book, cid: ChunkCid) -> u32 {
        let benchmark = self.mean.0 + self.deviation.0 / 2;
        let since = self.begun.get(&cid).map_or(0, |begun| (book.now - *begun).0);
        u32::try_from(since.checked_div(benchmark).unwrap_or(0)).unwrap_or(u32::MAX)
    }

    /// Asks until the shortest queue is long enough. `busy` allows for blocks that are asked for already.
    fn ask(&mut self, book: &mut Book, busy: bool, longest: Micros) {
        for cid in book.by_deadline() {
            let asked = book.asked(cid);
            let allowed = if busy { self.timeouts(book, cid) } else { 0 };
            for (place, asked) in (0..).map(GroupIndex).zip(asked) {
                let held = book.wants.get(&cid).is_none_or(|wanted| wanted.held.contains(place));
                if held || asked > allowed {
                    continue;
                }
                let Some((queue, source)) = shortest_queue(book, cid, place) else { continue };
                if queue > longest {
                    return;
                }
                book.request(cid, source, GroupRange::new(place.0, place.0 + 1));
                self.begun.entry(cid).or_insert(book.now);
            }
        }
    }
}

impl Rule for Deadlines {
    fn plan(&mut self, book: &mut Book) {
        self.learn(book);
        let twice: Vec<_> = book
            .requests
            .iter()
            .filter(|(_, asked)| {
                let held = book.wants.get(&asked.cid).map(|wanted| &wanted.held);
                held.is_some_and(|held| !asked.range.is_empty() && held.contains(GroupIndex(asked.range.start)))
            })
            .map(|(id, _)| *id)
            .collect();
        twice.into_iter().for_each(|id| book.cancel(id));
        if book.now >= self.turn_at {
            self.turn_at = book.now + TURN;
            self.ask(book, true, LONGEST_QUEUE);
        } else if book.sources.values().any(|state| state.outstanding == 0 && state.pause_until <= book.now) {
            self.ask(book, false, Micros(0));
        }
    }

    fn wake_at(&self, book: &Book) -> Option<Mono> {
        (!book.wants.is_empty()).then_some(self.turn_at).filter(|at| *at > book.now)
    }
}

/// The source that holds a block, has not been asked for it, and is thought to be the first to send it.
fn shortest_queue(book: &Book, cid: ChunkCid, place: GroupIndex) -> Option<(Micros, Source)> {
    let wanted = book.wants.get(&cid)?;
    let mut rates: Vec<_> = wanted.holders.iter().filter_map(|source| Some((rate(book, *source)?, *source))).collect();
    rates.sort_unstable();
    let slowest = rates.len() / 10;
    let queues = rates.into_iter().skip(slowest).filter(|(_, source)| book.may_ask(*source)).map(|(rate, source)| {
        let outstanding = book.sources.get(&source).map_or(0, |state| state.outstanding);
        (Micros(outstanding.saturating_mul(1_000_000) / rate.max(1)), source)
    });
    let asked =
        |source: Source| book.requests_of(cid).any(|(_, asked)| asked.source == source && asked.range.contains(place));
    let mut queues: Vec<_> = queues.collect();
    queues.sort_unstable();
    queues.into_iter().find(|(_, source)| !asked(*source))
}

fn rate(book: &Book, source: Source) -> Option<u64> {
    let state = book.sources.get(&source)?;
    let silent = state.last_group.is_some_and(|at| book.now - at > SILENCE);
    if state.bytes < 2 * GROUP_BYTES as u64 {
        let known: Vec<_> = book.sources.values().map(|state| state.rate).filter(|rate| *rate > 0).collect();
        let mean = known.iter().sum::<u64>() / (known.len() as u64).max(1);
        return Some(if mean > 0 { mean } else { ASSUMED });
    }
    Some(if silent { state.peak } else { state.rate })
}
