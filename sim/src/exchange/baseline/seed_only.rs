//! Everything from the seed, chunk after chunk: what is paid for without peers.

use aftercast_protocol::select::Source;
use aftercast_protocol::time::Mono;

use super::{Book, Rule};

/// Requests in flight: the next is there when one ends, so that the line is never idle for a round trip.
const REQUESTS: usize = 2;

pub(in super::super) struct SeedOnly;

impl Rule for SeedOnly {
    fn plan(&mut self, book: &mut Book) {
        for cid in book.by_deadline() {
            while book.load(Source::Seed) < REQUESTS
                && book.seed_has(cid)
                && let Some(range) = book.first_open(cid)
            {
                book.request(cid, Source::Seed, range);
            }
        }
    }

    fn wake_at(&self, _: &Book) -> Option<Mono> {
        None
    }
}
