//! What is learnt of sources, and how.

use super::net::{Link, Net, SECOND, peer};
use crate::ids::RequestId;
use crate::limits::GROUP_BYTES;
use crate::score::{Score, ScoreBook};
use crate::select::source::SourceState;
use crate::select::{SelectConfig, Selector, Source, SourceInfo};
use crate::time::{Micros, Mono};

const MBIT: u64 = 125_000;
const GROUP: u64 = GROUP_BYTES as u64;

/// Plays 60 chunks from three good peers and one that was slow when it was last met, and is not any more.
fn with_an_old_acquaintance() -> Net {
    let mut book = ScoreBook::default();
    for (number, bytes) in [(1, 150 << 20), (2, 150 << 20), (3, 150 << 20), (9, 1 << 20)] {
        let Source::Peer(device) = peer(number) else { unreachable!() };
        let mut score = Score::default();
        score.record_rate(bytes, Micros::from_secs(60));
        book.put(device, score);
    }
    let mut net = Net::new();
    net.selector = Selector::new(SelectConfig::default(), book);
    for number in 1..=3 {
        net.connect(peer(number), Link::of(20 * MBIT));
    }
    net.connect(peer(9), Link::of(50 * MBIT));
    for number in 0..60 {
        let deadline = Mono((30 + 4 * u64::from(number)) * SECOND);
        net.run_until(Mono(deadline.0.saturating_sub(30 * SECOND)).max(net.now));
        net.want(number, 4_000_000, deadline);
    }
    net.run();
    net
}

#[test]
fn a_source_that_was_slow_once_is_tried_again_where_there_is_time() {
    let net = with_an_old_acquaintance();
    let stats = net.selector.stats();
    assert!(stats.explored > 0, "{stats:?}");
    let rate = net.selector.score(peer(9)).unwrap().rate;
    assert!(rate > 10 * MBIT, "still thought to carry {rate} B/s");
    assert_eq!(stats.late, 0);
}

#[test]
fn learning_takes_few_requests() {
    let stats = with_an_old_acquaintance().selector.stats();
    assert!(stats.explored * 16 <= stats.requests, "{stats:?}");
}

#[test]
fn a_line_that_had_a_rest_is_expected_between_its_average_and_its_best() {
    let info = SourceInfo { lan: false, rtt: Micros::from_millis(20), lanes: 2 };
    let mut score = Score::default();
    score.record_rate(8 << 20, Micros::from_secs(4));
    let peak = score.rate;
    (0..6).for_each(|_| score.record_rate(1 << 20, Micros::from_secs(4)));
    let mut source = SourceState::new(Mono(0), info, score, 1);
    let worn = source.rate();
    source.rest(Mono(5 * SECOND));
    assert_eq!(source.rate(), worn, "five seconds are no rest");
    source.rest(Mono(10 * SECOND));
    let rested = source.rate();
    assert!(worn < rested && rested < peak, "{worn} {rested} {peak}");
}

#[test]
fn a_round_trip_that_was_measured_in_a_queue_makes_no_line_look_faster() {
    const RATE: u64 = 20 * MBIT;
    let group_time = GROUP * SECOND / RATE;
    for overestimated in [0, 1, 10, 60, 240, 2000].map(Micros::from_millis) {
        let way = Micros::from_millis(20);
        let info = SourceInfo { lan: false, rtt: way + overestimated, lanes: 2 };
        let mut source = SourceState::new(Mono(0), info, Score::default(), 1);
        source.note_request(Mono(0), RequestId(1), 64);
        for number in 1..=64 {
            source.note_bytes(Mono(0) + way + Micros(number * group_time), GROUP);
            source.note_settled(1);
            let rate = source.score.rate;
            assert!(rate <= 2 * RATE, "{rate} B/s after {number} groups, round trip {overestimated:?} too long");
        }
        source.note_end(Mono(0) + way + Micros(64 * group_time), RequestId(1), true);
        let rate = source.score.rate;
        assert!((RATE * 9 / 10..RATE * 12 / 10).contains(&rate), "{rate} B/s, round trip {overestimated:?} too long");
    }
}
