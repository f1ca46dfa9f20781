//! The queue among many peers, in virtual time.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::ids::{DeviceId, RequestId};
use crate::limits::{
    GROUP_BYTES, SERVE_BYTES_PER_PEER, SERVE_BYTES_TOTAL, SERVE_PEERS, SERVE_REQUESTS_PER_PEER, SERVE_REQUESTS_TOTAL,
};
use crate::time::{Micros, Mono, UnixMillis};

const GROUP: u64 = GROUP_BYTES as u64;

fn peer(number: u16) -> DeviceId {
    let mut id = [0; 32];
    id[..2].copy_from_slice(&number.to_be_bytes());
    DeviceId(id)
}

fn ask(number: u16, id: u64, class: Class, bytes: u64) -> ServeRequest {
    ServeRequest { peer: peer(number), id: RequestId(id), class, bytes, home: false }
}

fn unlimited() -> FairQueue {
    FairQueue::new(Mono(0), ServeConfig::default(), Usage::default())
}

fn limited(rate: u64) -> FairQueue {
    let uplink = Some(Uplink { rate, burst: GROUP });
    FairQueue::new(Mono(0), ServeConfig { uplink, ..Default::default() }, Usage::default())
}

/// Takes `quanta` quanta, each written out at once, on a line that carries one per millisecond.
fn serve(queue: &mut FairQueue, from: Mono, quanta: u64) -> Vec<Quantum> {
    let mut served = Vec::new();
    for tick in 0..quanta {
        let Some(quantum) = queue.poll_next(from + Micros::from_millis(tick)) else { break };
        queue.handle_sent(quantum.peer, quantum.bytes);
        served.push(quantum);
    }
    served
}

fn bytes_by_peer(served: &[Quantum]) -> BTreeMap<DeviceId, u64> {
    served.iter().fold(BTreeMap::new(), |mut sums, quantum| {
        *sums.entry(quantum.peer).or_default() += quantum.bytes;
        sums
    })
}

#[test]
fn a_greedy_peer_does_not_delay_the_modest() {
    let mut queue = unlimited();
    for id in 0..SERVE_REQUESTS_PER_PEER as u64 {
        queue.handle_request(Mono(0), ask(0, id, Class::Playback, 128 * GROUP)).unwrap();
    }
    for number in 1..=10 {
        queue.handle_request(Mono(0), ask(number, 0, Class::Playback, 4 * GROUP)).unwrap();
    }
    // Eleven peers, four rounds: all of the ten are done, the greedy one has had as much as each of them.
    let served = serve(&mut queue, Mono(0), 44);
    assert_eq!(bytes_by_peer(&served).values().copied().collect::<Vec<_>>(), [4 * GROUP; 11]);
}

/// When each of ten peers with one request of 4 MiB is served, behind a greedy one with 1,000, on a line that carries a
/// group per millisecond; and when they would be if the first to come were served first.
fn beside_a_greedy_peer() -> (Vec<u64>, Vec<u64>) {
    const WANTS: u64 = 1000;
    let groups = 64;
    let mut queue = unlimited();
    // It asks again as often as it is told that it is too much.
    let (mut asked, mut served, mut tick) = (0, BTreeMap::<u16, u64>::new(), 0);
    let mut greed = |queue: &mut FairQueue, now: Mono| {
        while asked < WANTS && queue.handle_request(now, ask(0, asked, Class::Playback, groups * GROUP)).is_ok() {
            asked += 1;
        }
    };
    greed(&mut queue, Mono(0));
    for number in 1..=10 {
        queue.handle_request(Mono(0), ask(number, 0, Class::Playback, groups * GROUP)).unwrap();
    }
    let mut done = Vec::new();
    while done.len() < 10 {
        let now = Mono(0) + Micros::from_millis(tick);
        let quantum = queue.poll_next(now).expect("something waits");
        queue.handle_sent(quantum.peer, quantum.bytes);
        tick += 1;
        if quantum.peer == peer(0) {
            greed(&mut queue, now);
            continue;
        }
        let number = u16::from_be_bytes([quantum.peer.0[0], quantum.peer.0[1]]);
        let bytes = served.entry(number).or_default();
        *bytes += quantum.bytes;
        if *bytes == groups * GROUP {
            done.push(tick);
        }
    }
    let first_come = (1..=10).map(|place| (WANTS + place) * groups).collect();
    (done, first_come)
}

#[test]
fn ten_with_one_want_beside_one_with_a_thousand_wait_a_fifth_of_first_come_at_most() {
    let (mut ours, first_come) = beside_a_greedy_peer();
    ours.sort_unstable();
    // P99 of ten is the last of them.
    let (ours, theirs) = (ours[9], first_come[9]);
    assert!(ours * 5 <= theirs, "{ours} ms, first come first served {theirs} ms");
    assert!(ours <= 11 * 64, "an eleventh of the line each: {ours} ms");
}

#[test]
fn short_requests_get_equal_bytes_not_equal_turns() {
    let mut queue = unlimited();
    for id in 0..40 {
        queue.handle_request(Mono(0), ask(1, id, Class::Playback, GROUP / 4)).unwrap();
    }
    queue.handle_request(Mono(0), ask(2, 0, Class::Playback, 100 * GROUP)).unwrap();
    let sums = bytes_by_peer(&serve(&mut queue, Mono(0), 50));
    assert!(sums[&peer(1)].abs_diff(sums[&peer(2)]) <= GROUP, "{sums:?}");
}

#[test]
fn playback_goes_first() {
    let mut queue = unlimited();
    queue.handle_request(Mono(0), ask(1, 0, Class::Prefetch, 10 * GROUP)).unwrap();
    queue.handle_request(Mono(0), ask(2, 0, Class::Upload, 10 * GROUP)).unwrap();
    queue.handle_request(Mono(0), ask(3, 0, Class::Playback, 10 * GROUP)).unwrap();
    let order: Vec<_> = serve(&mut queue, Mono(0), 30).iter().map(|quantum| quantum.peer).collect();
    assert!(order[..10].iter().all(|&id| id == peer(3)));
    assert!(order[10..20].iter().all(|&id| id == peer(2)));
    assert!(order[20..].iter().all(|&id| id == peer(1)));
}

#[test]
fn endless_playback_starves_nobody() {
    let mut queue = unlimited();
    queue.handle_request(Mono(0), ask(1, 0, Class::Prefetch, 2 * GROUP)).unwrap();
    queue.handle_request(Mono(0), ask(2, 100, Class::Prefetch, 2 * GROUP)).unwrap();
    for id in 0..16 {
        queue.handle_request(Mono(0), ask(2, id, Class::Playback, 1000 * GROUP)).unwrap();
    }
    // Peer 1's prefetch competes with another's playback, peer 2's with its own.
    let served = serve(&mut queue, Mono(0), 10_000);
    let done = |number, id| served.iter().any(|q| q.peer == peer(number) && q.request == RequestId(id) && q.last);
    assert!(done(1, 0));
    assert!(done(2, 100));
}

#[test]
fn bytes_in_flight_stay_within_both_budgets() {
    let mut queue = unlimited();
    for number in 0..40 {
        queue.handle_request(Mono(0), ask(number, 0, Class::Playback, 2 * SERVE_BYTES_PER_PEER)).unwrap();
    }
    let mut handed = Vec::new();
    while let Some(quantum) = queue.poll_next(Mono(0)) {
        handed.push(quantum);
    }
    assert_eq!(queue.in_flight(), SERVE_BYTES_TOTAL);
    assert!(bytes_by_peer(&handed).values().all(|&bytes| bytes <= SERVE_BYTES_PER_PEER));
    // A stuck reader holds its share alone; what another has taken frees room at once.
    queue.handle_sent(handed[0].peer, GROUP);
    assert_eq!(queue.poll_next(Mono(0)).map(|quantum| quantum.bytes), Some(GROUP));
    handed.iter().for_each(|quantum| queue.handle_peer_gone(quantum.peer));
    assert_eq!((queue.in_flight(), queue.waiting()), (0, 0));
}

#[test]
fn a_full_queue_says_when_to_come_back() {
    let mut queue = unlimited();
    for id in 0..SERVE_REQUESTS_PER_PEER as u64 {
        queue.handle_request(Mono(0), ask(1, id, Class::Playback, GROUP)).unwrap();
    }
    let refusal = queue.handle_request(Mono(0), ask(1, 999, Class::Playback, GROUP));
    assert!(matches!(refusal, Err(Refusal::Busy { retry_after }) if retry_after > Micros(0)), "{refusal:?}");
    assert_eq!(queue.handle_request(Mono(0), ask(2, 0, Class::Playback, GROUP)), Ok(()));
}

#[test]
fn requests_and_peers_are_bounded_in_all() {
    let mut queue = unlimited();
    let mut accepted = 0;
    for number in 0..2 * SERVE_PEERS as u16 {
        for id in 0..20 {
            accepted += usize::from(queue.handle_request(Mono(0), ask(number, id, Class::Playback, GROUP)).is_ok());
        }
    }
    assert_eq!(accepted, SERVE_REQUESTS_TOTAL);
    assert_eq!(queue.waiting(), SERVE_REQUESTS_TOTAL);
}

#[test]
fn senseless_requests_are_refused() {
    let mut queue = unlimited();
    assert_eq!(queue.handle_request(Mono(0), ask(1, 0, Class::Playback, 0)), Err(Refusal::Size(0)));
    assert_eq!(queue.handle_request(Mono(0), ask(1, 0, Class::Playback, u64::MAX)), Err(Refusal::Size(u64::MAX)));
    queue.handle_request(Mono(0), ask(1, 0, Class::Playback, GROUP)).unwrap();
    assert_eq!(queue.handle_request(Mono(0), ask(1, 0, Class::Prefetch, GROUP)), Err(Refusal::Duplicate));
}

#[test]
fn a_cancelled_request_is_served_no_more() {
    let mut queue = unlimited();
    queue.handle_request(Mono(0), ask(1, 0, Class::Playback, 10 * GROUP)).unwrap();
    queue.handle_request(Mono(0), ask(1, 1, Class::Playback, GROUP)).unwrap();
    let first = queue.poll_next(Mono(0)).unwrap();
    queue.handle_cancel(peer(1), RequestId(0));
    assert_eq!(queue.poll_next(Mono(0)).map(|quantum| quantum.request), Some(RequestId(1)));
    assert_eq!(queue.poll_next(Mono(0)), None);
    // What was handed out before counts until it is reported.
    assert_eq!(queue.in_flight(), 2 * GROUP);
    queue.handle_sent(peer(1), first.bytes);
    queue.handle_sent(peer(1), GROUP);
    queue.handle_sent(peer(1), GROUP);
    assert_eq!(queue.in_flight(), 0);
}

#[test]
fn the_line_limit_holds_for_others_and_not_for_the_home() {
    let mut queue = limited(GROUP);
    queue.handle_request(Mono(0), ask(1, 0, Class::Playback, 10 * GROUP)).unwrap();
    queue.handle_request(Mono(0), ServeRequest { home: true, ..ask(2, 0, Class::Playback, 10 * GROUP) }).unwrap();
    let served = serve(&mut queue, Mono(0), 100);
    let sums = bytes_by_peer(&served);
    assert_eq!((sums[&peer(1)], sums[&peer(2)]), (GROUP, 10 * GROUP));
    // One group a second.
    let wake = queue.poll_timeout(Mono(1000)).unwrap();
    assert!(wake <= Mono(1_000_000) && queue.poll_next(Mono(wake.0 - 1)).is_none());
    assert_eq!(queue.poll_next(wake).map(|quantum| quantum.peer), Some(peer(1)));
    assert_eq!(queue.usage().day_bytes(), 2 * GROUP);
}

#[test]
fn a_metered_line_serves_the_home_alone() {
    let config = ServeConfig { metered: true, ..Default::default() };
    let mut queue = FairQueue::new(Mono(0), config, Usage::default());
    assert_eq!(queue.handle_request(Mono(0), ask(1, 0, Class::Upload, GROUP)), Err(Refusal::Metered));
    let home = ServeRequest { home: true, ..ask(2, 0, Class::Playback, GROUP) };
    assert_eq!(queue.handle_request(Mono(0), home), Ok(()));
    assert!(queue.poll_next(Mono(0)).is_some());
}

#[test]
fn pausing_hands_back_what_waits() {
    let mut queue = unlimited();
    queue.handle_request(Mono(0), ask(1, 5, Class::Playback, GROUP)).unwrap();
    queue.handle_config(Mono(0), ServeConfig { paused: true, ..Default::default() });
    let refused = Refused { peer: peer(1), request: RequestId(5), refusal: Refusal::Paused };
    assert_eq!(queue.poll_refused(), Some(refused));
    assert_eq!(queue.poll_refused(), None);
    assert_eq!((queue.poll_next(Mono(0)), queue.waiting()), (None, 0));
}

#[test]
fn an_exhausted_budget_refuses_until_the_next_day() {
    let budgets = Budgets { day: Some(3 * GROUP), month: None };
    let mut queue = FairQueue::new(Mono(0), ServeConfig { budgets, ..Default::default() }, Usage::default());
    let noon = |day: u64| UnixMillis((day * 24 + 12) * 3_600_000);
    queue.handle_wall(noon(20_000));
    queue.handle_request(Mono(0), ask(1, 0, Class::Playback, 10 * GROUP)).unwrap();
    assert_eq!(serve(&mut queue, Mono(0), 20).len(), 3);
    assert_eq!(queue.poll_refused().map(|refused| refused.refusal), Some(Refusal::Budget(Period::Day)));
    let again = ask(1, 1, Class::Playback, GROUP);
    assert_eq!(queue.handle_request(Mono(0), again), Err(Refusal::Budget(Period::Day)));
    queue.handle_wall(noon(20_001));
    assert_eq!(queue.handle_request(Mono(0), again), Ok(()));
}

#[test]
fn a_stat_shares_the_line_among_those_who_wait() {
    let mut queue = limited(900);
    for number in 1..=3 {
        queue.handle_request(Mono(0), ask(number, 0, Class::Playback, GROUP)).unwrap();
    }
    assert_eq!(queue.stat(peer(1)), ServeStat { rate: Some(300), queued: GROUP });
    assert_eq!(queue.stat(peer(9)), ServeStat { rate: Some(225), queued: 0 });
}

#[derive(Clone, Debug)]
enum Op {
    Request(u16, u64, u8, u64, bool),
    Cancel(u16, u64),
    Gone(u16),
    Next,
    Sent,
    Wait(u64),
    Configure(Option<u64>, bool),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let number = 0..6u16;
    let one = prop_oneof![
        4 => (number.clone(), 0..12u64, 0..4u8, 1..5 * GROUP, any::<bool>())
            .prop_map(|(n, id, class, bytes, home)| Op::Request(n, id, class, bytes, home)),
        1 => (number.clone(), 0..12u64).prop_map(|(n, id)| Op::Cancel(n, id)),
        1 => number.prop_map(Op::Gone),
        6 => Just(Op::Next),
        4 => Just(Op::Sent),
        2 => (0..3_000_000u64).prop_map(Op::Wait),
        1 => (prop::option::of(0..4 * GROUP), any::<bool>()).prop_map(|(rate, pause)| Op::Configure(rate, pause)),
    ];
    prop::collection::vec(one, 0..200)
}

proptest! {
    /// Any order of events: counts agree with what was handed out, bounds hold, and every accepted request ends.
    #[test]
    fn any_interleaving_keeps_the_books_balanced(ops in ops()) {
        let mut queue = unlimited();
        let mut now = Mono(0);
        let mut flying: Vec<Quantum> = Vec::new();
        let mut open: BTreeMap<(DeviceId, RequestId), u64> = BTreeMap::new();
        for op in ops {
            match op {
                Op::Request(number, id, class, bytes, home) => {
                    let class = Class::ALL[usize::from(class)];
                    let request = ServeRequest { home, ..ask(number, id, class, bytes) };
                    if queue.handle_request(now, request).is_ok() {
                        prop_assert_eq!(open.insert((request.peer, request.id), bytes), None);
                    }
                }
                Op::Cancel(number, id) => {
                    queue.handle_cancel(peer(number), RequestId(id));
                    open.remove(&(peer(number), RequestId(id)));
                }
                Op::Gone(number) => {
                    queue.handle_peer_gone(peer(number));
                    open.retain(|key, _| key.0 != peer(number));
                    flying.retain(|quantum| quantum.peer != peer(number));
                }
                Op::Next => {
                    if let Some(quantum) = queue.poll_next(now) {
                        let key = (quantum.peer, quantum.request);
                        let left = open.get_mut(&key).expect("served what was not asked");
                        prop_assert!(quantum.bytes <= GROUP && quantum.bytes <= *left);
                        *left -= quantum.bytes;
                        prop_assert_eq!(quantum.last, *left == 0);
                        if quantum.last {
                            open.remove(&key);
                        }
                        flying.push(quantum);
                    } else if let Some(wake) = queue.poll_timeout(now) {
                        prop_assert!(wake > now, "a wake-up that brings nothing");
                    }
                }
                Op::Sent => {
                    if let Some(quantum) = flying.pop() {
                        queue.handle_sent(quantum.peer, quantum.bytes);
                    }
                }
                Op::Wait(micros) => now = now + Micros(micros),
                Op::Configure(rate, paused) => {
                    let uplink = rate.map(|rate| Uplink { rate, burst: 0 });
                    queue.handle_config(now, ServeConfig { uplink, paused, ..Default::default() });
                }
            }
            while let Some(refused) = queue.poll_refused() {
                prop_assert!(open.remove(&(refused.peer, refused.request)).is_some());
            }
            prop_assert_eq!(queue.waiting(), open.len());
            prop_assert_eq!(queue.in_flight(), flying.iter().map(|quantum| quantum.bytes).sum::<u64>());
        }
        queue.handle_config(now, ServeConfig::default());
        for quantum in flying {
            queue.handle_sent(quantum.peer, quantum.bytes);
        }
        while let Some(quantum) = queue.poll_next(now) {
            queue.handle_sent(quantum.peer, quantum.bytes);
            if quantum.last {
                open.remove(&(quantum.peer, quantum.request));
            }
        }
        prop_assert!(open.is_empty(), "never served: {:?}", open);
        prop_assert_eq!(queue.waiting(), 0);
    }
}
