//! A line whose rate is shared among the transfers in progress, each by its weight: processor sharing by a virtual clock
//! (A. Parekh, R. Gallager: A generalized processor sharing approach to flow control in integrated services networks,
//! IEEE/ACM Transactions on Networking 1(3), 1993).
//!
//! The virtual clock counts what has been sent per unit of weight; it runs at rate / sum of weights. A transfer of `b`
//! bytes that starts at clock `v` ends at `v + b / weight`, whatever else starts and ends in between. So only the first
//! in this order has an end that must be known, and a start, an end or another rate changes nothing of the others.
//!
//! The unit of the clock is a millionth of a byte, so that rate x microseconds is whole. What the line has sent and the
//! clock has not shared out yet, less than a unit per weight, is carried on, over ends, cancels and changes of rate;
//! what an end leaves over of its last unit goes to the others. Therefore every transfer gets exactly its bytes, never
//! earlier than bytes / rate, and all together exactly rate x time; only when one starts, it does not inherit what was
//! carried: at most a millionth of a byte per unit of weight.
//!
//! Times in microseconds, rounded up where a transfer ends between two.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// Units of the clock per byte.
const UNITS: u128 = 1_000_000;

/// A transfer of one line, numbered in order of start; after 2^32 of them the numbers come around.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransferId(pub u32);

/// One shared line. Until its first transfer it has nothing on the heap; what it has then, it keeps for those to come.
///
/// Calls come in order of time. The owner keeps one event per line for [`next`](Self::next), calls
/// [`finish`](Self::finish) then, and plans anew when [`generation`](Self::generation) has changed.
#[derive(Debug, Clone)]
pub struct SharedLine {
    /// Bytes per second.
    rate: u64,
    generation: u32,
    /// The number of the next transfer.
    number: u32,
    busy: Busy,
}

/// What a line with transfers keeps.
#[derive(Debug, Clone, Default)]
struct Busy {
    /// Until when the clock has been run, microseconds.
    until: u64,
    /// The virtual clock, units per weight.
    clock: u128,
    /// Units sent and not shared out.
    carried: u128,
    /// Sum of the weights of what is in progress.
    weight: u64,
    /// In order of start; with those that are over, as long as they are the fewer.
    transfers: Vec<Transfer>,
    /// By end, then by start. The first one is in progress.
    order: BinaryHeap<Reverse<(u128, u32)>>,
    /// What has all its bytes and was not told yet, with its time.
    ended: VecDeque<(u64, TransferId)>,
    /// How many are in progress.
    live: usize,
    /// The number of the transfer that found the line idle: the order of start counts from it.
    origin: u32,
}

#[derive(Debug, Clone, Copy)]
struct Transfer {
    /// In order of start since the line was idle.
    turn: u32,
    /// 0 when it is over.
    weight: u32,
    /// What `weight` x units until `end` is too much by, for `weight` does not divide all bytes.
    excess: u32,
    /// What the clock shows at its end.
    end: u128,
}

impl SharedLine {
    /// An idle line of so many bytes per second; 0 stands still.
    #[must_use]
    pub fn new(rate: u64) -> Self {
        Self { rate, generation: 0, number: 0, busy: Busy::default() }
    }

    /// Starts a transfer, which gets `weight` (at least 1) parts of the line beside those of the others.
    pub fn start(&mut self, now: u64, bytes: u64, weight: u32) -> TransferId {
        let rate = self.rate;
        let id = TransferId(self.number);
        self.number = self.number.wrapping_add(1);
        self.generation = self.generation.wrapping_add(1);
        if self.active() == 0 {
            self.busy.begin(now, id);
        }
        self.busy.advance(now, rate);
        self.busy.start(id, bytes, weight.max(1));
        id
    }

    /// Ends a transfer early: how many bytes it lacked, of which one was begun; `None` where it is not in progress.
    pub fn cancel(&mut self, now: u64, id: TransferId) -> Option<u64> {
        let left = self.left(now, id)?;
        self.generation = self.generation.wrapping_add(1);
        self.busy.remove(id);
        Some(left)
    }

    /// What ends first, and when, if nothing changes until then; `None` where nothing ever ends.
    #[must_use]
    pub fn next(&self) -> Option<(u64, TransferId)> {
        self.busy.next(self.rate)
    }

    /// The transfer that has ended by now, the first of them; it is not in progress any more. `None` where none has.
    pub fn finish(&mut self, now: u64) -> Option<TransferId> {
        if self.active() == 0 {
            return None;
        }
        self.busy.advance(now, self.rate);
        let (_, id) = self.busy.ended.pop_front()?;
        self.generation = self.generation.wrapping_add(1);
        Some(id)
    }

    /// How many bytes a transfer lacks, counting one that is begun; `None` where it is not in progress.
    pub fn left(&mut self, now: u64, id: TransferId) -> Option<u64> {
        if self.active() == 0 {
            return None;
        }
        let busy = &mut self.busy;
        busy.advance(now, self.rate);
        if let Some(transfer) = busy.find(id) {
            let transfer = &busy.transfers[transfer];
            let units = (transfer.end - busy.clock) * u128::from(transfer.weight) - u128::from(transfer.excess);
            // Not more than the bytes it started with.
            return Some(units.div_ceil(UNITS) as u64);
        }
        busy.ended.iter().any(|(_, ended)| *ended == id).then_some(0)
    }

    /// Another rate from now on, bytes per second.
    pub fn set_rate(&mut self, now: u64, rate: u64) {
        if self.active() > 0 {
            self.busy.advance(now, self.rate);
            self.generation = self.generation.wrapping_add(1);
        }
        self.rate = rate;
    }

    /// Bytes per second.
    #[must_use]
    pub fn rate(&self) -> u64 {
        self.rate
    }

    /// How many transfers were started and neither finished nor cancelled.
    #[must_use]
    pub fn active(&self) -> usize {
        self.busy.live + self.busy.ended.len()
    }

    /// Another number whenever [`next`](Self::next) may have changed.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }
}

impl Busy {
    /// The first transfer of a line that was idle.
    fn begin(&mut self, now: u64, first: TransferId) {
        (self.until, self.clock, self.carried, self.origin) = (now, 0, 0, first.0);
        self.transfers.clear();
        self.order.clear();
    }

    /// Runs the clock until now. What ends on the way leaves its share to the others from that instant on.
    fn advance(&mut self, now: u64, rate: u64) {
        assert!(now >= self.until, "a line was asked for {now} at {}", self.until);
        let total = u128::from(now - self.until) * u128::from(rate) + self.carried;
        let mut sent = total;
        while let Some(Reverse((end, turn))) = self.order.peek().copied() {
            let needed = (end - self.clock) * u128::from(self.weight);
            if needed > sent {
                break;
            }
            sent -= needed;
            self.clock = end;
            let at = self.until + self.time_for(total - sent, rate);
            let at = self.ended.back().map_or(at, |(before, _)| at.max(*before));
            self.ended.push_back((at, TransferId(self.origin.wrapping_add(turn))));
            sent += u128::from(self.end(turn));
        }
        self.until = now;
        // Nobody to send to: what could have been sent is gone.
        let weight = u128::from(self.weight);
        (self.clock, self.carried) = match weight {
            0 => (self.clock, 0),
            _ => (self.clock + sent / weight, sent % weight),
        };
    }

    /// Microseconds until so many units, of which some are carried, are sent; 0 where none must be.
    fn time_for(&self, units: u128, rate: u64) -> u64 {
        match units.saturating_sub(self.carried) {
            0 => 0,
            units => units.div_ceil(u128::from(rate)) as u64,
        }
    }

    fn start(&mut self, id: TransferId, bytes: u64, weight: u32) {
        let units = u128::from(bytes) * UNITS;
        let per_weight = units.div_ceil(u128::from(weight));
        let (turn, end) = (id.0.wrapping_sub(self.origin), self.clock + per_weight);
        let excess = (per_weight * u128::from(weight) - units) as u32;
        self.carried = 0;
        self.weight += u64::from(weight);
        self.live += 1;
        self.transfers.push(Transfer { turn, weight, excess, end });
        self.order.push(Reverse((end, turn)));
    }

    fn next(&self, rate: u64) -> Option<(u64, TransferId)> {
        if let Some(ended) = self.ended.front() {
            return Some(*ended);
        }
        let Reverse((end, turn)) = self.order.peek()?;
        let id = TransferId(self.origin.wrapping_add(*turn));
        let missing = ((end - self.clock) * u128::from(self.weight)).saturating_sub(self.carried);
        let wait = match (missing, rate) {
            (0, _) => 0,
            (_, 0) => return None,
            _ => u64::try_from(missing.div_ceil(u128::from(rate))).ok()?,
        };
        Some((self.until.checked_add(wait)?, id))
    }

    /// Where a transfer in progress is.
    fn find(&self, id: TransferId) -> Option<usize> {
        self.find_turn(id.0.wrapping_sub(self.origin))
    }

    fn find_turn(&self, turn: u32) -> Option<usize> {
        let found = self.transfers.binary_search_by_key(&turn, |transfer| transfer.turn).ok()?;
        (self.transfers[found].weight > 0).then_some(found)
    }

    fn remove(&mut self, id: TransferId) {
        match self.find(id) {
            Some(_) => _ = self.end(id.0.wrapping_sub(self.origin)),
            None => self.ended.retain(|(_, ended)| *ended != id),
        }
    }

    /// A transfer is over; what its last unit was too much by.
    fn end(&mut self, turn: u32) -> u32 {
        let place = self.find_turn(turn).expect("what is in progress is in the list");
        let transfer = &mut self.transfers[place];
        let excess = transfer.excess;
        self.weight -= u64::from(std::mem::take(&mut transfer.weight));
        self.live -= 1;
        // Now and then, so that it costs next to nothing.
        if self.transfers.len() > 2 * self.live + 8 {
            self.transfers.retain(|transfer| transfer.weight > 0);
        }
        while let Some(Reverse((_, turn))) = self.order.peek()
            && self.find_turn(*turn).is_none()
        {
            self.order.pop();
        }
        if self.order.len() > 2 * self.live + 8 {
            let mut order = std::mem::take(&mut self.order);
            order.retain(|Reverse((_, turn))| self.find_turn(*turn).is_some());
            self.order = order;
        }
        excess
    }
}
