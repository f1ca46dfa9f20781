//! What holds for every link, whatever is sent over it.

use aftercast_protocol::time::{Micros, Mono};
use proptest::prelude::{Just, Strategy, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::*;

fn link(text: &str, kind: Kind) -> Link {
    Link::new(Mono(0), text.parse().unwrap(), kind, Rng::new(1), 0)
}

fn shared(text: &str) -> SharedLink<u64> {
    let spec: LinkSpec = text.parse().unwrap();
    let round_trip = Micros(2 * spec.delay.0);
    SharedLink::new(Mono(0), spec, round_trip, Rng::new(1))
}

/// Everything that happens until then, with its time, polled when it happens.
fn run(link: &mut SharedLink<u64>, until: Mono) -> Vec<(Mono, Event<u64>)> {
    let mut events = Vec::new();
    let mut now = Mono(0);
    loop {
        while let Some(event) = link.poll(now) {
            events.push((now, event));
        }
        match link.poll_timeout() {
            Some(next) if next <= until => now = next,
            _ => return events,
        }
    }
}

fn arrivals(events: &[(Mono, Event<u64>)]) -> Vec<(Mono, FlowId, u64)> {
    let arrived = |(at, event): &(Mono, Event<u64>)| match event {
        Event::Arrived { flow, payload } => Some((*at, *flow, *payload)),
        _ => None,
    };
    events.iter().filter_map(arrived).collect()
}

/// Any link, with or without what makes its arrivals uneven.
fn any_link(uneven: bool) -> impl Strategy<Value = LinkSpec> {
    let rate = prop::option::of(8_000u64..2_000_000_000);
    let outage = prop::option::of((0u64..400, 1u64..400));
    let chance = (0u64..20_000, prop::option::of((1u32..300_000, prop::option::of(1u32..8))));
    (rate, 0u64..100_000, 1500u64..100_000, outage, chance).prop_map(
        move |(rate, delay, queue, outage, (jitter, loss))| {
            let mut items = vec![format!("delay={delay}us,queue={queue}B")];
            items.extend(rate.map(|rate| format!("rate={rate}b/s")));
            items.extend(outage.map(|(length, more)| {
                format!("stall={}ms/every={}ms,partition=300ms/at=900ms", length + 10, length + 10 + more)
            }));
            if uneven {
                items.push(format!("jitter={jitter}us"));
                items.extend(loss.map(|(ppm, burst)| {
                    let burst = burst.map(|burst| format!("/burst={burst}")).unwrap_or_default();
                    format!("loss={}.{:04}%{burst}", ppm / 10_000, ppm % 10_000)
                }));
            }
            items.join(",").parse().unwrap()
        },
    )
}

/// Packets by the pause before them and their size.
fn packets() -> impl Strategy<Value = Vec<(u64, u64)>> {
    prop::collection::vec((prop_oneof![Just(0u64), 0u64..50_000], 1u64..4000), 1..120)
}

/// Offers a stream's packets, each as soon as there is room. Returns offered, arrived, bytes.
fn stream(link: &mut Link, packets: &[(u64, u64)]) -> Vec<(Mono, Mono, u64)> {
    let mut now = Mono(0);
    let mut sent = Vec::new();
    for (pause, bytes) in packets {
        now = link.room_at(now + Micros(*pause), *bytes);
        match link.offer(now, *bytes) {
            Verdict::Deliver(at) => sent.push((now, at, *bytes)),
            verdict => panic!("a stream's packet that has room is {verdict:?}"),
        }
    }
    sent
}

proptest! {
    #[test]
    fn streams_arrive_whole_in_order_and_not_before_the_delay(spec in any_link(true), packets in packets()) {
        let mut link = Link::new(Mono(0), spec.clone(), Kind::Stream, Rng::new(7), 3);
        let sent = stream(&mut link, &packets);
        prop_assert_eq!(sent.len(), packets.len());
        prop_assert!(sent.iter().all(|(offered, arrived, _)| *arrived >= *offered + spec.delay));
        prop_assert!(sent.is_sorted_by_key(|(_, arrived, _)| *arrived));
        let mut again = Link::new(Mono(0), spec, Kind::Stream, Rng::new(7), 3);
        prop_assert_eq!(sent, stream(&mut again, &packets));
    }

    #[test]
    fn the_line_is_never_faster_than_its_rate_and_sends_nothing_in_an_outage(
        spec in any_link(false), packets in packets(),
    ) {
        let sent = stream(&mut Link::new(Mono(0), spec.clone(), Kind::Stream, Rng::new(1), 0), &packets);
        for (first, (_, from, _)) in sent.iter().enumerate() {
            let mut bits = 0;
            for (_, until, bytes) in &sent[first + 1..] {
                bits += u128::from(8 * bytes);
                // Times are rounded up to the microsecond.
                let may = spec.rate.map(|rate| u128::from(rate.get()) * u128::from((*until - *from).0 + 1));
                prop_assert!(may.is_none_or(|may| bits * 1_000_000 <= may));
            }
            // What ends where an outage begins was sent before it.
            let (sent, serves) = ((*from - Mono(spec.delay.0)).0, |at| spec.outages.service_from(at) == at);
            prop_assert!(serves(sent) || serves(sent - 1));
        }
    }

    #[test]
    fn a_shared_link_with_one_flow_is_a_link(spec in any_link(true), packets in packets()) {
        let spec = LinkSpec { queue: u64::MAX, ..spec };
        let round_trip = Micros(2 * spec.delay.0);
        let mut alone = Link::new(Mono(0), spec.clone(), Kind::Stream, Rng::new(1), 5);
        let mut shared = SharedLink::new(Mono(0), spec, round_trip, Rng::new(1));
        shared.open(FlowId(5), Kind::Stream, Mono(0));
        let mut now = Mono(0);
        let mut expected = Vec::new();
        for (number, (pause, bytes)) in packets.iter().enumerate() {
            now = now + Micros(*pause);
            let Verdict::Deliver(at) = alone.offer(now, *bytes) else { panic!("there is room") };
            expected.push((at, FlowId(5), number as u64));
            shared.offer(now, FlowId(5), *bytes, number as u64).unwrap();
        }
        prop_assert_eq!(arrivals(&run(&mut shared, Mono(u64::MAX))), expected);
    }

    #[test]
    fn datagrams_arrive_or_are_lost_or_refused(spec in any_link(true), packets in packets(), reorder: bool) {
        let mut shared = SharedLink::new(Mono(0), LinkSpec { reorder, ..spec }, Micros(0), Rng::new(1));
        let (mut now, mut offered, mut refused, mut ended) = (Mono(0), 0, 0, 0);
        for (number, (pause, bytes)) in packets.iter().enumerate() {
            let flow = FlowId(number as u64 % 3);
            shared.open(flow, Kind::Datagrams, Mono(0));
            now = now + Micros(*pause);
            offered += 1;
            refused += u64::from(shared.offer(now, flow, *bytes, 0).is_err());
            ended += std::iter::from_fn(|| shared.poll(now)).count() as u64;
        }
        prop_assert_eq!(offered, refused + ended + run(&mut shared, Mono(u64::MAX)).len() as u64);
    }

    #[test]
    fn flows_with_something_to_send_get_the_same(sizes in prop::collection::vec(1u64..3000, 2..6), until in 1u64..4000) {
        let mut link = shared("rate=8Mb/s,queue=8MiB");
        for (flow, size) in sizes.iter().enumerate() {
            link.open(FlowId(flow as u64), Kind::Stream, Mono(0));
            for _ in 0..4_000_000 / (size * sizes.len() as u64) {
                link.offer(Mono(0), FlowId(flow as u64), *size, *size).unwrap();
            }
        }
        let mut got = vec![0; sizes.len()];
        for (_, flow, bytes) in arrivals(&run(&mut link, Mono(until * 1000))) {
            got[flow.0 as usize] += bytes;
        }
        let (least, most) = (got.iter().min().unwrap(), got.iter().max().unwrap());
        prop_assert!(most - least <= 2 * sizes.iter().max().unwrap(), "{:?}", got);
        prop_assert!(got.iter().sum::<u64>() + 3000 >= until * 1000, "the line does not idle: {:?}", got);
    }
}

#[test]
fn packets_arrive_after_sending_and_delay_exactly() {
    let mut line = link("rate=12Mb/s,delay=20ms", Kind::Datagrams);
    for number in 1..=10 {
        assert_eq!(line.offer(Mono(0), 1500), Verdict::Deliver(Mono(number * 1000 + 20_000)));
    }
    assert_eq!(line.next_free(Mono(0)), Mono(10_000));
    let mut fast = link("rate=1Gb/s", Kind::Stream);
    let last = (0..10).map(|_| fast.offer(Mono(0), 1200)).last();
    assert_eq!(last, Some(Verdict::Deliver(Mono(96))), "fractions of a microsecond add up");
}

#[test]
fn a_full_queue_takes_nothing_until_its_first_packet_is_sent() {
    let mut link = link("rate=8kb/s,queue=3000B", Kind::Datagrams);
    assert_eq!(link.offer(Mono(0), 1500), Verdict::Deliver(Mono(1_500_000)));
    assert_eq!(link.offer(Mono(0), 1500), Verdict::Deliver(Mono(3_000_000)));
    assert_eq!(link.offer(Mono(0), 1500), Verdict::Full);
    assert_eq!(link.room_at(Mono(0), 1500), Mono(1_500_000));
    assert_eq!(link.offer(Mono(1_500_000), 1500), Verdict::Deliver(Mono(4_500_000)));
}

#[test]
fn losses_and_their_bursts_meet_their_means() {
    for (text, share, burst) in
        [("loss=2%", 0.02, 1.02), ("loss=2%/burst=5", 0.02, 5.0), ("loss=60%/burst=9", 0.6, 9.0)]
    {
        let mut link = link(text, Kind::Datagrams);
        let lost: Vec<bool> = (0..400_000).map(|at| link.offer(Mono(at), 1000) == Verdict::Lost).collect();
        let count = lost.iter().filter(|lost| **lost).count() as f64;
        let runs = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count() as f64;
        assert!((count / 400_000.0 / share - 1.0).abs() < 0.05, "{text}: {count} lost");
        assert!((count / runs / burst - 1.0).abs() < 0.05, "{text}: {runs} runs");
    }
}

#[test]
fn a_lost_segment_holds_up_its_stream_for_a_round_trip() {
    let mut link = link("delay=20ms,loss=5%", Kind::Stream);
    let late: Vec<u64> = (0..1000)
        .map(|packet| packet * 200_000)
        .filter_map(|at| match link.offer(Mono(at), 1000) {
            Verdict::Deliver(arrived) if arrived > Mono(at + 20_000) => Some((arrived - Mono(at)).0),
            _ => None,
        })
        .collect();
    assert!((25..=80).contains(&late.len()) && late.iter().all(|late| *late == 60_000), "{late:?}");
}

#[test]
fn one_flow_more_changes_no_other_flows_luck() {
    let fate_of_first = |flows: u64| {
        let mut link = shared("rate=8Mb/s,loss=10%/burst=3,jitter=3ms,queue=8MiB");
        (0..flows).for_each(|flow| link.open(FlowId(flow), Kind::Datagrams, Mono(0)));
        for number in 0..flows * 500 {
            link.offer(Mono(0), FlowId(number % flows), 1000, number / flows).unwrap();
        }
        let arrived = arrivals(&run(&mut link, Mono(u64::MAX)));
        let mut kept: Vec<u64> =
            arrived.iter().filter(|(_, flow, _)| flow.0 == 0).map(|(.., number)| *number).collect();
        kept.sort_unstable();
        kept
    };
    assert_eq!(fate_of_first(1), fate_of_first(7));
}

#[test]
fn a_flow_that_sends_little_does_not_wait_behind_others() {
    let mut link = shared("rate=8Mb/s");
    (0..3).for_each(|flow| link.open(FlowId(flow), Kind::Stream, Mono(0)));
    for _ in 0..100 {
        link.offer(Mono(0), FlowId(0), 1000, 0).unwrap();
        link.offer(Mono(0), FlowId(1), 1000, 1).unwrap();
    }
    run(&mut link, Mono(50_500));
    link.offer(Mono(50_500), FlowId(2), 1000, 2).unwrap();
    let arrived = arrivals(&run(&mut link, Mono(u64::MAX)));
    assert!(arrived.iter().any(|(at, flow, _)| flow.0 == 2 && *at <= Mono(53_000)), "after one packet of each");
}

#[test]
fn a_partition_loses_datagrams_and_streams_wait_for_its_end() {
    let mut link = shared("rate=8Mb/s,partition=50ms/at=2500us");
    link.open(FlowId(0), Kind::Stream, Mono(0));
    link.open(FlowId(1), Kind::Datagrams, Mono(0));
    for number in 0..3 {
        link.offer(Mono(0), FlowId(0), 1000, number).unwrap();
        link.offer(Mono(0), FlowId(1), 1000, number).unwrap();
    }
    let events = run(&mut link, Mono(u64::MAX));
    assert_eq!(events.iter().filter(|(at, event)| *at == Mono(2500) && matches!(event, Event::Lost { .. })).count(), 2);
    let streamed: Vec<u64> = arrivals(&events).iter().filter(|(_, flow, _)| flow.0 == 0).map(|(at, ..)| at.0).collect();
    assert_eq!(streamed, [1000, 53_000, 54_000]);
    let mut down = shared("partition=forever");
    down.open(FlowId(1), Kind::Datagrams, Mono(0));
    assert_eq!(down.offer(Mono(5), FlowId(1), 10, 0), Err(Refusal::Down));
}

#[test]
fn another_description_frees_what_an_endless_outage_held() {
    let mut link = shared("rate=8Mb/s");
    link.open(FlowId(0), Kind::Stream, Mono(0));
    (0..3).for_each(|number| link.offer(Mono(0), FlowId(0), 1000, number).unwrap());
    assert_eq!(run(&mut link, Mono(1500)).len(), 1);
    link.set(Mono(1500), "stall=forever".parse().unwrap(), Micros(0));
    assert!(run(&mut link, Mono(1 << 40)).is_empty());
    link.set(Mono(9000), "rate=8Mb/s".parse().unwrap(), Micros(0));
    assert_eq!(arrivals(&run(&mut link, Mono(u64::MAX))), [(Mono(10_000), FlowId(0), 1), (Mono(11_000), FlowId(0), 2)]);
}

#[test]
fn a_cut_closes_streams_once_and_refuses_others_until_its_end() {
    let mut link = shared("rate=8Mb/s,cut=10ms/at=1500us");
    link.open(FlowId(0), Kind::Stream, Mono(0));
    (0..3).for_each(|number| link.offer(Mono(0), FlowId(0), 1000, number).unwrap());
    let events = run(&mut link, Mono(u64::MAX));
    assert_eq!(events[1..], [(Mono(1500), Event::Cut)]);
    assert_eq!(link.offer(Mono(1500), FlowId(0), 1, 0), Err(Refusal::Closed));
    assert!(link.is_cut(Mono(11_499)) && !link.is_cut(Mono(11_500)));
}
