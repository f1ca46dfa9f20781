//! A connected source: what it is doing for us and when it would be done with more.

use std::collections::BTreeSet;

use super::SourceInfo;
use super::rules::{self, Outlook};
use crate::ids::RequestId;
use crate::limits::{GROUP_BYTES, MAX_LANES};
use crate::score::Score;
use crate::time::{Micros, Mono};

/// What a source carries in this time is asked of it at once...
const PIECE_TIME: Micros = Micros::from_millis(400);
/// ...and up to this much is outstanding: one piece on its way and one waiting behind it.
const OUTSTANDING_TIME: Micros = Micros::from_millis(750);
/// Most bytes outstanding at one source: 1 Gb/s over 100 ms, with room.
const OUTSTANDING_MAX: u64 = 16 * 1024 * 1024;
/// The same for what a player is about to play: short queues, so that what comes is about in order, a silence is
/// noticed early, and whoever is to help out has not much to do before.
const PRESSED_PIECE_TIME: Micros = Micros::from_millis(150);
const PRESSED_OUTSTANDING_TIME: Micros = Micros::from_millis(300);
/// Largest piece, in groups: 4 MiB, a typical chunk.
const PIECE_MAX: u32 = 64;
/// Largest piece near the play head: four sources at once within 4 MiB.
const PIECE_MAX_URGENT: u32 = 16;
/// Largest piece for a source whose rate is only assumed, in groups: enough to learn it.
const PIECE_MAX_UNKNOWN: u32 = 4;
/// A rate sample is taken when this much time or this many bytes have passed.
const SAMPLE_TIME: Micros = Micros::from_millis(250);
const SAMPLE_BYTES: u64 = 512 * 1024;
/// The first one is taken sooner.
const SAMPLE_BYTES_FIRST: u64 = 2 * GROUP;
/// How long a reported queue and rate are believed.
const STAT_TIME: Micros = Micros::from_secs(5);
/// After so long without a request its line may be free again: what it carried at its best counts half.
const REST: Micros = Micros::from_secs(10);
/// A rate measured longer ago than this is not known any more.
const KNOWN_TIME: Micros = Micros::from_secs(60);
/// A source whose rate is only assumed may take so many times as long for a group before that is called silence.
const UNKNOWN_GAP: u64 = 2;
/// After so many answers in a row that a chunk is not there, a source is left alone...
const MISSES: u32 = 3;
/// ...for so long at most: chunks come and go, and one that is not there says little of others.
const MISS_PAUSE_MAX: Micros = Micros::from_secs(2);
/// Bounds on when a busy source is asked again: an hour's silence would be a way to sabotage.
const RETRY_MIN: Micros = Micros::from_millis(50);
const RETRY_MAX: Micros = Micros::from_secs(30);

const GROUP: u64 = GROUP_BYTES as u64;

#[derive(Debug)]
pub(super) struct SourceState {
    pub info: SourceInfo,
    pub score: Score,
    /// Requests in flight, oldest first.
    pub requests: BTreeSet<RequestId>,
    /// Bytes of groups requested and not yet arrived; whole groups, which the last of a chunk may not be.
    pub outstanding: u64,
    /// Not to be asked before.
    pub pause_until: Mono,
    /// When a group last arrived, or when the first request of a busy spell had had time to reach the source.
    pub last_progress: Mono,
    /// Answers of Busy since it last delivered.
    busies: u32,
    /// Answers that a chunk is not there, since it last delivered.
    misses: u32,
    assumed_rate: u64,
    /// What it is expected to carry after a rest, until that is measured.
    rested_rate: Option<u64>,
    /// When its rate was last measured here.
    measured: Option<Mono>,
    stat: Option<Stat>,
    sample: Option<Sample>,
}

#[derive(Debug)]
struct Stat {
    at: Mono,
    rate: Option<u64>,
    queued: u64,
}

#[derive(Debug)]
struct Sample {
    from: Mono,
    bytes: u64,
}

impl SourceState {
    pub fn new(now: Mono, info: SourceInfo, mut score: Score, assumed_rate: u64) -> Self {
        score.rtt = info.rtt;
        let info = SourceInfo { lanes: info.lanes.clamp(1, MAX_LANES), ..info };
        Self {
            info,
            score,
            requests: BTreeSet::new(),
            outstanding: 0,
            pause_until: Mono(0),
            last_progress: now,
            busies: 0,
            misses: 0,
            assumed_rate,
            rested_rate: None,
            measured: None,
            stat: None,
            sample: None,
        }
    }

    /// Bytes per second to be expected: measured, else as the source says, else assumed.
    pub fn rate(&self) -> u64 {
        let hint = self.stat.as_ref().and_then(|stat| stat.rate);
        let measured = self.rested_rate.or((self.score.rate > 0).then_some(self.score.rate));
        measured.or(hint).unwrap_or(self.assumed_rate).max(1)
    }

    /// Time has passed: a source that was slow because others used its line is not slow for ever.
    pub fn rest(&mut self, now: Mono) {
        if self.rested_rate.is_none()
            && self.outstanding == 0
            && self.score.rate > 0
            && now - self.last_progress >= REST
        {
            let (rate, peak) = (self.score.rate, self.score.peak.max(self.score.rate));
            self.rested_rate = Some(rate + (peak - rate) / 2);
        }
    }

    /// Whether it was asked lately enough to know what it carries.
    pub fn is_known(&self, now: Mono) -> bool {
        self.measured.is_some_and(|at| now - at <= KNOWN_TIME)
    }

    fn outlook(&self, now: Mono) -> Outlook {
        let ahead = self.outstanding.saturating_add(self.queued(now));
        Outlook { rtt: self.info.rtt, rate: self.rate(), ahead, doubt: self.doubt() }
    }

    /// When `bytes` more would be here.
    pub fn arrival(&self, now: Mono, bytes: u64) -> Mono {
        self.outlook(now).arrival(now, bytes)
    }

    /// How long `bytes` take once they flow.
    pub fn transfer_time(&self, bytes: u64) -> Micros {
        rules::time_for(bytes, self.rate())
    }

    pub fn doubt(&self) -> Micros {
        rules::doubt(&self.score)
    }

    fn queued(&self, now: Mono) -> u64 {
        self.stat.as_ref().filter(|stat| now - stat.at <= STAT_TIME).map_or(0, |stat| stat.queued)
    }

    pub fn is_paused(&self, now: Mono) -> bool {
        now < self.pause_until
    }

    /// Whether its latest request failed or met with Busy: it is then tried with little, where nobody else would be in
    /// time, and takes nothing from others.
    pub fn is_on_trial(&self) -> bool {
        self.score.failing > 0 || self.busies > 0
    }

    /// It said Busy. One that says nothing else is asked ever less, whatever it says of coming back.
    pub fn note_busy(&mut self, now: Mono, retry_after: Micros) {
        let least = Micros(RETRY_MIN.0 << self.busies.min(20));
        self.busies = self.busies.saturating_add(1);
        self.pause(now, retry_after.max(least).min(RETRY_MAX));
    }

    /// It does not have what it was thought to have.
    pub fn note_miss(&mut self, now: Mono) {
        self.misses = self.misses.saturating_add(1);
        if let Some(more) = self.misses.checked_sub(MISSES) {
            self.pause(now, Micros(RETRY_MIN.0 << more.min(16)).min(MISS_PAUSE_MAX));
        }
    }

    /// How many groups may be asked of it now. `spread` is the size of a piece if the rest were dealt out evenly.
    pub fn room(&self, urgent: bool, in_order: bool, spread: u32) -> u32 {
        let lanes = usize::from(self.info.lanes);
        let slots = match urgent {
            // One group shows whether it is back.
            _ if self.is_on_trial() => return u32::from(self.outstanding == 0),
            true => 3 * lanes,
            false => 2 * lanes,
        };
        if self.requests.len() >= slots {
            return 0;
        }
        let most = self.carried(OUTSTANDING_TIME + self.info.rtt).max(2 * GROUP);
        // What is urgent may wait behind what is not.
        let most = if urgent { most.saturating_mul(2) } else { most }.min(OUTSTANDING_MAX);
        let room = u32::try_from(most.saturating_sub(self.outstanding) / GROUP).unwrap_or(u32::MAX);
        let largest = if urgent && in_order { PIECE_MAX_URGENT } else { PIECE_MAX };
        self.piece(largest).min(spread.max(1)).min(room)
    }

    /// How many groups more it may be asked for of a chunk that is about to be played, of which it owes `owed` already.
    pub fn pressed_room(&self, owed: u32) -> u32 {
        let groups = |time| u32::try_from(self.carried(time) / GROUP).unwrap_or(u32::MAX);
        let most = groups(PRESSED_OUTSTANDING_TIME + self.info.rtt).max(2);
        groups(PRESSED_PIECE_TIME).max(1).min(most.saturating_sub(owed))
    }

    /// Whether it could be asked for a whole piece more, so that planning is worth its while.
    pub fn wants_work(&self) -> bool {
        self.room(false, false, PIECE_MAX) >= self.piece(PIECE_MAX)
    }

    /// What it carries in the time of a piece, in groups.
    fn piece(&self, largest: u32) -> u32 {
        let largest = if self.score.rate == 0 { PIECE_MAX_UNKNOWN } else { largest };
        u32::try_from(self.carried(PIECE_TIME) / GROUP).unwrap_or(u32::MAX).clamp(1, largest)
    }

    fn carried(&self, time: Micros) -> u64 {
        let bytes = u128::from(self.rate()) * u128::from(time.0) / 1_000_000;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// For how long now the source has been silent beyond what its rate explains.
    pub fn overdue(&self, now: Mono) -> Micros {
        if self.outstanding == 0 {
            return Micros(0);
        }
        now - (self.last_progress + self.gap())
    }

    /// Longest time between two groups as expected: lanes in use come in turn, so that their groups may end together. A
    /// rate that is only assumed may be wrong by a factor.
    pub fn gap(&self) -> Micros {
        let lanes = self.requests.len().clamp(1, usize::from(self.info.lanes)) as u64;
        let unknown = if self.measured.is_none() && self.score.rate == 0 { UNKNOWN_GAP } else { 1 };
        Micros(self.transfer_time(GROUP).0.saturating_mul(lanes * unknown)) + self.doubt()
    }

    pub fn note_request(&mut self, now: Mono, id: RequestId, groups: u32) {
        if self.outstanding == 0 {
            let from = now + self.info.rtt;
            self.last_progress = from;
            self.sample = Some(Sample { from, bytes: 0 });
        }
        self.requests.insert(id);
        self.outstanding += u64::from(groups) * GROUP;
    }

    /// Groups of its requests have arrived or are expected no more.
    pub fn note_settled(&mut self, groups: u32) {
        self.outstanding = self.outstanding.saturating_sub(u64::from(groups) * GROUP);
    }

    pub fn note_bytes(&mut self, now: Mono, bytes: u64) {
        self.last_progress = self.last_progress.max(now);
        (self.busies, self.misses) = (0, 0);
        self.score.bytes = self.score.bytes.saturating_add(bytes);
        let Some(sample) = &mut self.sample else { return };
        if sample.bytes == 0 && now < sample.from {
            // Sooner than the way takes: the round trip was measured in a queue. From here on it is not needed.
            sample.from = now;
            return;
        }
        sample.bytes += bytes;
        let enough = if self.score.rate == 0 { SAMPLE_BYTES_FIRST } else { SAMPLE_BYTES };
        if sample.bytes >= enough || now - sample.from >= SAMPLE_TIME {
            self.take_sample(now);
        }
    }

    /// A request has ended; `whole` where it brought what was asked, so that its end says something of the rate.
    pub fn note_end(&mut self, now: Mono, id: RequestId, whole: bool) {
        self.requests.remove(&id);
        if self.outstanding == 0 {
            if whole {
                self.take_sample(now);
            }
            self.sample = None;
        }
    }

    pub fn note_stat(&mut self, now: Mono, rate: Option<u64>, queued: u64) {
        self.stat = Some(Stat { at: now, rate, queued });
    }

    pub fn note_stall(&mut self, now: Mono) {
        self.score.record_stall(self.assumed_rate);
        self.pause(now, self.score.pause());
    }

    pub fn pause(&mut self, now: Mono, span: Micros) {
        self.pause_until = self.pause_until.max(now + span);
    }

    fn take_sample(&mut self, now: Mono) {
        if let Some(sample) = self.sample.take_if(|sample| sample.bytes > 0) {
            // Where the round trip was overestimated by a little, bytes come sooner than they can; a millisecond stands
            // for that.
            self.score.record_rate(sample.bytes, (now - sample.from).max(Micros::from_millis(1)));
            (self.rested_rate, self.measured) = (None, Some(now));
            self.sample = Some(Sample { from: now.max(sample.from), bytes: 0 });
        }
    }
}
