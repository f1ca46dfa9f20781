//! The queue of events to come.
//!
//! A monotone radix queue (R. Ahuja, K. Mehlhorn, J. Orlin, R. Tarjan: Faster algorithms for the shortest path problem,
//! Journal of the ACM 37(2), 1990) with wide digits, and the small sorted run of a ladder queue (W. Tang, R. Goh, I.
//! Thng: Ladder queue, ACM TOMACS 15(3), 2005) at its bottom:
//!
//! ```text
//! near     | next | . | . | last |         sorted; all that shares the base's digits from `shift` bits on
//! level 1  [ ][ ][ ][x][ ][x] ...          differs from the base in digit 1 first, one bucket per value of that digit
//! level 2  [ ][x][ ][x][x][ ] ...          in digit 2 first
//!   ...
//! ```
//!
//! An event goes into its bucket unsorted: an append, wherever in the day it is. When `near` is empty, the first bucket
//! of the lowest level is next: few events are sorted into `near`, many are dealt out to the levels below. So an event
//! is moved as often as the digits of its distance demand, whatever the number of events, and memory is touched in
//! order, where a binary heap of millions misses the cache at each of its levels.
//!
//! Events of one time are in one bucket or in `near` at any time and keep their order when dealt out, so they come out
//! in the order of insertion without a number that says so. Buckets are chains of blocks from one pool: 16 bytes for an
//! event of 8, and 32 KiB for the empty queue.
//!
//! Measured by `cargo bench --profile dev -p aftercast-sim --bench engine`.

/// Bits of a digit.
const DIGIT: u32 = 8;
/// Values of a digit, each with a bucket.
const SLOTS: usize = 1 << DIGIT;
/// Digits of a time.
const LEVELS: usize = u64::BITS.div_ceil(DIGIT) as usize;
/// Words that say which buckets of a level hold something.
const WORDS: usize = SLOTS.div_ceil(64);
/// Events of a block.
const BLOCK: usize = 32;
/// So many events of a bucket are sorted at once; more are dealt out.
const FEW: u32 = 128;
/// With so many in `near` a further one is not sorted in: they are dealt out again.
const MANY: usize = 512;
/// No block.
const NONE: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Entry<E> {
    at: u64,
    event: E,
}

/// A chain of blocks, all but the last one full.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    first: u32,
    last: u32,
    len: u32,
}

const EMPTY: Bucket = Bucket { first: NONE, last: NONE, len: 0 };

/// Events keyed by a time in microseconds. Nothing is cancelled: what an event refers to carries a generation, and its
/// handler passes over an event of an older one.
#[derive(Debug, Clone)]
pub struct Calendar<E> {
    /// Sorted; what is before `head` is gone.
    near: Vec<Entry<E>>,
    head: usize,
    /// The buckets' events differ from it in the digit of their level and agree with it in those above. Not after `now`.
    base: u64,
    /// What agrees with the base from this bit on is in `near`.
    shift: u32,
    /// The time of the event popped last.
    now: u64,
    len: usize,
    buckets: Box<[Bucket]>,
    filled: [[u64; WORDS]; LEVELS],
    blocks: Vec<Entry<E>>,
    /// Per block the one after it, in its bucket or among the free ones.
    links: Vec<u32>,
    free: u32,
}

impl<E: Copy> Default for Calendar<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E: Copy> Calendar<E> {
    /// A queue without events, at time 0.
    #[must_use]
    pub fn new() -> Self {
        Self {
            near: Vec::new(),
            head: 0,
            base: 0,
            shift: 0,
            now: 0,
            len: 0,
            buckets: vec![EMPTY; LEVELS * SLOTS].into_boxed_slice(),
            filled: [[0; WORDS]; LEVELS],
            blocks: Vec::new(),
            links: Vec::new(),
            free: NONE,
        }
    }

    /// Adds an event, behind those that are there for the same time.
    ///
    /// # Panics
    ///
    /// If `at` is before the time of the event popped last: nothing can be planned for the past.
    #[inline]
    pub fn push(&mut self, at: u64, event: E) {
        assert!(at >= self.now, "an event for {at} at {}", self.now);
        self.len += 1;
        self.place(Entry { at, event });
    }

    /// Takes the next event and its time, which is never before that of the one taken last.
    #[inline]
    pub fn pop(&mut self) -> Option<(u64, E)> {
        if self.head == self.near.len() && !self.refill() {
            return None;
        }
        let Entry { at, event } = self.near[self.head];
        self.head += 1;
        self.len -= 1;
        self.now = at;
        Some((at, event))
    }

    /// The time of the next event. Where the run of sorted events is used up, this looks through the bucket that
    /// [`Calendar::pop`] would sort.
    #[must_use]
    pub fn peek(&self) -> Option<u64> {
        if let Some(entry) = self.near.get(self.head) {
            return Some(entry.at);
        }
        let (level, slot) = self.first_filled()?;
        let bucket = self.buckets[level * SLOTS + slot];
        let (mut block, mut left, mut earliest) = (bucket.first, bucket.len as usize, u64::MAX);
        while left > 0 {
            let start = block as usize * BLOCK;
            let entries = &self.blocks[start..start + left.min(BLOCK)];
            earliest = entries.iter().fold(earliest, |earliest, entry| earliest.min(entry.at));
            left -= entries.len();
            block = self.links[block as usize];
        }
        Some(earliest)
    }

    /// How many events wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where the event belongs, as seen from the base.
    #[inline]
    fn place(&mut self, entry: Entry<E>) {
        let differs = entry.at ^ self.base;
        if differs >> self.shift == 0 {
            self.sort_in(entry);
        } else {
            let level = ((u64::BITS - 1 - differs.leading_zeros()) / DIGIT) as usize;
            let slot = (entry.at >> (level as u32 * DIGIT)) as usize % SLOTS;
            self.append(level, slot, entry);
        }
    }

    #[inline]
    fn append(&mut self, level: usize, slot: usize, entry: Entry<E>) {
        let index = level * SLOTS + slot;
        let mut bucket = self.buckets[index];
        let within = bucket.len as usize % BLOCK;
        if within == 0 {
            let block = self.take_block(entry);
            match bucket.len {
                0 => {
                    bucket.first = block;
                    self.filled[level][slot / 64] |= 1 << (slot % 64);
                }
                _ => self.links[bucket.last as usize] = block,
            }
            bucket.last = block;
        }
        self.blocks[bucket.last as usize * BLOCK + within] = entry;
        bucket.len += 1;
        self.buckets[index] = bucket;
    }

    /// A block that is not in use, or a new one filled with this event: any will do.
    fn take_block(&mut self, filling: Entry<E>) -> u32 {
        let block = self.free;
        if block != NONE {
            self.free = self.links[block as usize];
            return block;
        }
        let block = u32::try_from(self.links.len()).expect("fewer than 2^32 blocks");
        self.links.push(NONE);
        self.blocks.resize(self.blocks.len() + BLOCK, filling);
        block
    }

    #[inline]
    fn sort_in(&mut self, entry: Entry<E>) {
        // A chain of events that ends within its span must not make it grow.
        if self.head > MANY && self.head * 2 > self.near.len() {
            self.near.drain(..self.head);
            self.head = 0;
        }
        if self.near.last().is_none_or(|last| last.at <= entry.at) {
            self.near.push(entry);
        } else if self.near.len() - self.head >= MANY && self.shift > 0 {
            self.spread();
            self.place(entry);
        } else {
            let place = self.near[self.head..].partition_point(|other| other.at <= entry.at);
            self.near.insert(self.head + place, entry);
        }
    }

    /// Deals `near` out to the levels below it, which are empty as long as it holds all they could.
    fn spread(&mut self) {
        let near = std::mem::take(&mut self.near);
        let head = std::mem::take(&mut self.head);
        self.shift = 0;
        for entry in &near[head..] {
            self.place(*entry);
        }
    }

    /// The next events into `near`, which is used up; whether there are any.
    fn refill(&mut self) -> bool {
        self.near.clear();
        self.head = 0;
        while self.near.is_empty() {
            let Some((level, slot)) = self.first_filled() else {
                return false;
            };
            let bucket = std::mem::replace(&mut self.buckets[level * SLOTS + slot], EMPTY);
            self.filled[level][slot / 64] &= !(1 << (slot % 64));
            let span = level as u32 * DIGIT;
            self.base = (self.base >> span & !(SLOTS as u64 - 1) | slot as u64) << span;
            let all_at_once = level == 0 || bucket.len <= FEW;
            self.shift = if all_at_once { span } else { 0 };
            let (mut block, mut left) = (bucket.first, bucket.len as usize);
            while left > 0 {
                let (start, count) = (block as usize * BLOCK, left.min(BLOCK));
                if all_at_once {
                    self.near.extend_from_slice(&self.blocks[start..start + count]);
                } else {
                    for place in start..start + count {
                        self.place(self.blocks[place]);
                    }
                }
                left -= count;
                let next = std::mem::replace(&mut self.links[block as usize], self.free);
                self.free = block;
                block = next;
            }
            if all_at_once && level > 0 {
                // Stable: what was inserted first stays first.
                self.near.sort_by_key(|entry| entry.at);
            }
        }
        true
    }

    /// Level and slot of the bucket with the earliest events: the levels below one are all before it.
    fn first_filled(&self) -> Option<(usize, usize)> {
        self.filled.iter().enumerate().find_map(|(level, words)| {
            let word = words.iter().position(|word| *word != 0)?;
            Some((level, word * 64 + words[word].trailing_zeros() as usize))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

    use super::*;

    /// What to do with a queue.
    #[derive(Debug, Clone)]
    enum Step {
        /// So many events, from so long after now on, so far apart.
        Push(u32, u64, u64),
        Pop(u32),
        Peek,
    }

    fn any_step() -> impl Strategy<Value = Step> {
        let far = (0u32..64, any::<u64>()).prop_map(|(bits, value)| value >> (63 - bits));
        let push = (prop_oneof![1u32..4, 1u32..1500], far, prop_oneof![0u64..2, 0u64..100_000]);
        prop_oneof![
            3 => push.prop_map(|(count, after, apart)| Step::Push(count, after, apart)),
            3 => prop_oneof![1u32..4, 1u32..1500].prop_map(Step::Pop),
            1 => prop::strategy::Just(Step::Peek),
        ]
    }

    proptest! {
        #[test]
        fn events_come_by_time_and_then_in_order_of_insertion(steps in prop::collection::vec(any_step(), 1..60)) {
            let mut calendar = Calendar::new();
            let mut sorted = BTreeMap::new();
            let (mut now, mut count) = (0u64, 0u32);
            for step in steps.into_iter().chain([Step::Pop(u32::MAX)]) {
                match step {
                    Step::Push(events, after, apart) => for n in 0..u64::from(events) {
                        // To and fro, so that they do not come sorted.
                        let at = now.saturating_add(after).saturating_add((n ^ 5) * apart);
                        calendar.push(at, count);
                        sorted.insert((at, count), ());
                        count += 1;
                    },
                    Step::Pop(events) => for _ in 0..events {
                        let expected = sorted.pop_first().map(|(key, ())| key);
                        prop_assert_eq!(calendar.pop(), expected);
                        let Some((at, _)) = expected else { break };
                        now = at;
                    },
                    Step::Peek => prop_assert_eq!(calendar.peek(), sorted.keys().next().map(|(at, _)| *at)),
                }
                prop_assert_eq!(calendar.len(), sorted.len());
            }
            prop_assert!(calendar.is_empty());
        }
    }

    #[test]
    fn endless_chains_of_events_take_no_more_memory() {
        for step in [0, 1] {
            let mut calendar = Calendar::new();
            calendar.push(1 << 40, 0u32);
            calendar.push((2 << 40) - 1, u32::MAX);
            for n in 0..100_000 {
                let (at, event) = calendar.pop().unwrap();
                assert_eq!(event, n);
                calendar.push(at + step, n + 1);
            }
            assert!(calendar.near.capacity() < 10 * MANY && calendar.blocks.len() <= 2 * BLOCK);
        }
    }

    #[test]
    fn blocks_are_used_again() {
        let mut calendar = Calendar::new();
        for n in 0..10_000u64 {
            calendar.push(n * 977, n);
        }
        let blocks = calendar.links.len();
        for _ in 0..100_000 {
            let (at, event) = calendar.pop().unwrap();
            calendar.push(at + 9_770_000, event);
        }
        // Half a block more or less in each of the buckets in use.
        assert!(calendar.links.len() < blocks + 2 * SLOTS, "{} after {blocks}", calendar.links.len());
        assert_eq!(calendar.len(), 10_000);
    }

    #[test]
    #[should_panic(expected = "an event for 6 at 7")]
    fn nothing_is_planned_for_the_past() {
        let mut calendar = Calendar::new();
        calendar.push(7, ());
        calendar.pop();
        calendar.push(6, ());
    }
}
