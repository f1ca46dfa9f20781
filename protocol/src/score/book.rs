use std::collections::BTreeMap;

use minicbor::decode::Error as DecodeError;
use minicbor::{Decode, Decoder, Encode};
use serde::{Deserialize, Serialize};

use super::bans::bounded_map;
use crate::ids::DeviceId;
use crate::limits::MAX_SCORES;
use crate::time::Micros;

/// A sample of this many bytes moves the rate estimate half-way: four pieces of 256 KiB, one at a good home uplink's
/// quarter second. Smaller samples weigh less, so that a single group's jitter does not.
const HALF_WEIGHT_BYTES: u64 = 512 * 1024;
/// Pause after a first failure; doubled for each further one in a row.
const PAUSE_FIRST: Micros = Micros::from_millis(250);
/// Longest pause: a source that comes back is found again within this.
const PAUSE_MAX: Micros = Micros::from_secs(30);

/// What is known of one source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Score {
    /// Bytes per second, weighted moving average; 0 while unknown.
    #[n(0)]
    pub rate: u64,
    /// Best rate of late, bytes per second; sinks slowly towards the average.
    #[n(1)]
    pub peak: u64,
    /// Round trip time as last measured.
    #[n(2)]
    pub rtt: Micros,
    /// How much later than expected requests end on average. Early ones count as punctual: being early is no risk.
    #[n(3)]
    pub deviation: Micros,
    /// Verified bytes received.
    #[n(4)]
    pub bytes: u64,
    /// Requests that ended before their deadline.
    #[n(5)]
    pub in_time: u64,
    /// Requests that ended after it.
    #[n(6)]
    pub late: u64,
    /// Requests that broke, stalled or were refused.
    #[n(7)]
    pub failures: u64,
    /// Proven lies.
    #[n(8)]
    pub lies: u64,
    /// Failures since the last success.
    #[n(9)]
    pub failing: u32,
    /// When it was last changed, as a count of changes to its book.
    #[n(10)]
    touched: u64,
}

impl Score {
    /// `bytes` came within `span`.
    pub fn record_rate(&mut self, bytes: u64, span: Micros) {
        let sample = per_second(bytes, span);
        self.rate = if self.rate == 0 {
            sample
        } else {
            let (old, new) = (u128::from(HALF_WEIGHT_BYTES), u128::from(bytes));
            let sum = u128::from(self.rate) * old + u128::from(sample) * new;
            u64::try_from(sum / (old + new)).unwrap_or(u64::MAX)
        };
        // A rate that is known is never 0, which stands for unknown.
        self.rate = self.rate.max(1);
        let sunk = self.peak - self.peak.saturating_sub(self.rate) / 16;
        self.peak = sample.max(sunk);
    }

    /// A request ended with everything it asked for.
    pub fn record_success(&mut self, expected: Micros, actual: Micros, in_time: bool) {
        let lateness = actual.0.saturating_sub(expected.0);
        self.deviation = Micros(self.deviation.0 - self.deviation.0 / 4 + lateness / 4);
        self.failing = 0;
        if in_time {
            self.in_time = self.in_time.saturating_add(1);
        } else {
            self.late = self.late.saturating_add(1);
        }
    }

    /// A request broke, was refused or gave less than asked for. Proves nothing.
    pub fn record_failure(&mut self) {
        self.failures = self.failures.saturating_add(1);
        self.failing = self.failing.saturating_add(1);
    }

    /// Nothing came for too long: a failure, after which the source is thought half as fast.
    pub fn record_stall(&mut self, assumed_rate: u64) {
        self.record_failure();
        self.rate = (if self.rate == 0 { assumed_rate } else { self.rate } / 2).max(1);
    }

    /// How long to leave the source alone after its latest failures.
    #[must_use]
    pub fn pause(&self) -> Micros {
        let doublings = self.failing.saturating_sub(1).min(20);
        Micros(PAUSE_FIRST.0 << doublings).min(PAUSE_MAX)
    }
}

fn per_second(bytes: u64, span: Micros) -> u64 {
    let rate = u128::from(bytes) * 1_000_000 / u128::from(span.0.max(1));
    u64::try_from(rate).unwrap_or(u64::MAX)
}

/// Scores by device, at most [`MAX_SCORES`]: what a node remembers of its peers from one connection to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode)]
#[cbor(transparent)]
pub struct ScoreBook(#[n(0)] BTreeMap<DeviceId, Score>);

impl ScoreBook {
    /// What is known of a device.
    #[must_use]
    pub fn get(&self, device: DeviceId) -> Option<&Score> {
        self.0.get(&device)
    }

    /// Notes a device's score. When full, the one that was noted longest ago is forgotten.
    pub fn put(&mut self, device: DeviceId, mut score: Score) {
        score.touched = self.0.values().map(|score| score.touched).max().unwrap_or(0).saturating_add(1);
        if self.0.len() >= MAX_SCORES
            && !self.0.contains_key(&device)
            && let Some(oldest) = self.0.iter().min_by_key(|(id, score)| (score.touched, **id)).map(|(id, _)| *id)
        {
            self.0.remove(&oldest);
        }
        self.0.insert(device, score);
    }

    /// All scores, by device.
    pub fn iter(&self) -> impl Iterator<Item = (DeviceId, &Score)> {
        self.0.iter().map(|(id, score)| (*id, score))
    }

    /// Number of devices.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is known of anybody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'b, C> Decode<'b, C> for ScoreBook {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, DecodeError> {
        bounded_map(d, ctx, MAX_SCORES).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn device(number: u32) -> DeviceId {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&number.to_be_bytes());
        DeviceId(id)
    }

    proptest! {
        #[test]
        fn the_rate_stays_between_the_samples(samples in prop::collection::vec((1..u64::MAX, 1..u64::MAX), 1..30)) {
            let mut score = Score::default();
            let mut rates = Vec::new();
            for (bytes, span) in samples {
                score.record_rate(bytes, Micros(span));
                rates.push(per_second(bytes, Micros(span)).max(1));
            }
            prop_assert!(score.rate >= *rates.iter().min().unwrap() && score.rate <= *rates.iter().max().unwrap());
            prop_assert!(score.peak >= score.rate || score.peak + 1 >= score.rate);
        }
    }

    #[test]
    fn a_large_sample_weighs_more_than_a_small_one() {
        let slow_start = |bytes| {
            let mut score = Score::default();
            score.record_rate(10 << 20, Micros::from_secs(1));
            score.record_rate(bytes, Micros(bytes));
            score.rate
        };
        assert!(slow_start(64 << 10) > slow_start(4 << 20));
    }

    #[test]
    fn pauses_grow_with_failures_and_end_with_a_success() {
        let mut score = Score::default();
        let mut last = Micros(0);
        for _ in 0..40 {
            score.record_failure();
            assert!(score.pause() >= last);
            last = score.pause();
        }
        assert_eq!(last, PAUSE_MAX);
        score.record_success(Micros(1), Micros(1), true);
        assert_eq!((score.failing, score.pause()), (0, PAUSE_FIRST));
    }

    #[test]
    fn early_requests_do_not_count_as_deviation() {
        let mut score = Score::default();
        score.record_success(Micros(1_000_000), Micros(10), true);
        assert_eq!(score.deviation, Micros(0));
        score.record_success(Micros(0), Micros(400), false);
        assert_eq!((score.deviation, score.late), (Micros(100), 1));
    }

    #[test]
    fn the_book_is_bounded_and_forgets_whom_it_has_not_heard_of_for_longest() {
        let mut book = ScoreBook::default();
        for number in 0..MAX_SCORES as u32 {
            book.put(device(number), Score::default());
        }
        book.put(device(0), Score { bytes: 7, ..Score::default() });
        book.put(device(u32::MAX), Score::default());
        assert_eq!(book.len(), MAX_SCORES);
        assert_eq!(book.get(device(0)).map(|score| score.bytes), Some(7));
        assert_eq!(book.get(device(1)), None);
    }

    #[test]
    fn survives_the_disk() {
        let mut book = ScoreBook::default();
        book.put(device(3), Score { rate: 5, deviation: Micros(9), ..Score::default() });
        let bytes = minicbor::to_vec(&book).unwrap();
        assert_eq!(minicbor::decode::<ScoreBook>(&bytes).unwrap(), book);
        assert!(minicbor::decode::<ScoreBook>(&[0xba, 0xff, 0xff, 0xff, 0xff]).is_err());
    }
}
