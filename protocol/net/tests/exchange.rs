//! Lanes, and what runs on them.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use aftercast_net::exchange::{FetchError, LaneClient, LanePool, Lie, ServeGate, Wanted};
use aftercast_net::{LaneError, NetEvent};
use aftercast_protocol::ids::{ChunkCid, DeviceId, GroupIndex, RequestId};
use aftercast_protocol::limits::{GROUP_BYTES, MAX_INBOUND_LANES_PER_DEVICE};
use aftercast_protocol::serve::{Class, ServeConfig, Uplink, Usage};
use aftercast_protocol::time::Micros;
use aftercast_protocol::verify::{GroupHashes, GroupRange, GroupSet};
use aftercast_protocol::wire::lane::{Described, LaneAnswer, LaneRefusal, LaneRequest, LaneStatus, What};
use bytes::Bytes;
use support::shelf::{Store, open_gate, serve, served};
use support::{PATIENCE, Peer, QUIC, TCP, pair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::timeout;

fn chunk(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|at| ((at * 131 + at / 977) as u8) ^ seed).collect()
}

fn wanted(cid: ChunkCid, groups: std::ops::Range<u32>) -> Wanted {
    let groups = GroupRange::new(groups.start, groups.end);
    Wanted { cid, groups, class: Class::Playback, deadline: Micros::from_secs(30), len: None, hashes: None }
}

async fn collect(pool: &LanePool, from: DeviceId, wanted: &Wanted) -> Result<Vec<(u32, Bytes)>, FetchError> {
    let mut transfer = pool.fetch(from, wanted).await?;
    let mut groups = Vec::new();
    while let Some(next) = transfer.next().await {
        let (index, group) = next?;
        groups.push((index.0, group));
    }
    Ok(groups)
}

fn joined(groups: &[(u32, Bytes)]) -> Vec<u8> {
    groups.iter().flat_map(|(_, group)| group.iter().copied()).collect()
}

async fn a_chunk_of_8_mib_arrives_verified(transport: &str) {
    let bytes = chunk(8 * 1024 * 1024 - 1234, 1);
    let cid = ChunkCid::of(&bytes);
    let gate = open_gate();
    let (a, pool, from, _ended) = served(transport, Store::with(&bytes), gate.clone()).await;
    // Whole, then a part in the middle on the same lane, with the hashes known.
    let groups = collect(&pool, from, &wanted(cid, 0..1024)).await.unwrap();
    assert_eq!(ChunkCid::of(&joined(&groups)), cid);
    let mut part = wanted(cid, 3..5);
    part.hashes = Some(GroupHashes::of(&bytes));
    let groups = collect(&pool, from, &part).await.unwrap();
    assert_eq!(joined(&groups), bytes[3 * GROUP_BYTES..5 * GROUP_BYTES]);
    assert_eq!(a.net.metrics().lanes_out.get(), 1);
    let (total, per_peer) = gate.take_sent();
    assert_eq!(total, (bytes.len() + 32 * 128 + 2 * GROUP_BYTES) as u64);
    assert_eq!(per_peer, BTreeMap::from([(a.device(), total)]));
    assert_eq!(gate.load(), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_of_8_mib_arrives_verified_over_tcp() {
    a_chunk_of_8_mib_arrives_verified(TCP).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_of_8_mib_arrives_verified_over_quic() {
    a_chunk_of_8_mib_arrives_verified(QUIC).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_of_one_short_group_arrives() {
    let bytes = chunk(77, 1);
    let (_a, pool, from, _ended) = served(TCP, Store::with(&bytes), open_gate()).await;
    let groups = collect(&pool, from, &wanted(ChunkCid::of(&bytes), 0..1)).await.unwrap();
    assert_eq!(joined(&groups), bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partial_holder_sends_what_it_has() {
    let bytes = chunk(10 * GROUP_BYTES, 1);
    let cid = ChunkCid::of(&bytes);
    let store = Store::default();
    let mut have = GroupSet::empty(10).unwrap();
    have.insert_range(GroupRange::new(1, 3));
    have.insert_range(GroupRange::new(7, 10));
    store.put(&bytes, have);
    let (_a, pool, from, _ended) = served(TCP, store, open_gate()).await;
    let groups = collect(&pool, from, &wanted(cid, 2..9)).await.unwrap();
    assert_eq!(groups.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [2, 7, 8]);
    let nothing = collect(&pool, from, &wanted(cid, 3..7)).await;
    assert!(matches!(nothing, Err(FetchError::NotFound)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_leave_the_lane_in_use_and_are_counted() {
    let bytes = chunk(5000, 1);
    let cid = ChunkCid::of(&bytes);
    let gate = open_gate();
    let (a, pool, from, _ended) = served(TCP, Store::with(&bytes), gate.clone()).await;
    let other = ChunkCid::of(b"something else");
    assert!(matches!(collect(&pool, from, &wanted(other, 0..1)).await, Err(FetchError::NotFound)));
    assert!(matches!(collect(&pool, from, &wanted(cid, 1..2)).await, Err(FetchError::Refused(LaneRefusal::Malformed))));
    gate.set_config(ServeConfig { paused: true, ..ServeConfig::default() });
    assert!(matches!(collect(&pool, from, &wanted(cid, 0..1)).await, Err(FetchError::Refused(LaneRefusal::Paused))));
    gate.set_config(ServeConfig { metered: true, ..ServeConfig::default() });
    assert!(matches!(collect(&pool, from, &wanted(cid, 0..1)).await, Err(FetchError::Refused(LaneRefusal::Metered))));
    gate.set_config(ServeConfig::default());
    assert_eq!(joined(&collect(&pool, from, &wanted(cid, 0..1)).await.unwrap()), bytes);
    assert_eq!(a.net.metrics().lanes_out.get(), 1);
    assert_eq!(gate.metrics().not_found.get(), 1);
    assert_eq!(gate.metrics().refused(LaneRefusal::Paused), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_without_a_grant_is_refused_and_counted() {
    let bytes = chunk(5000, 1);
    let store = Store { refuse: Some(LaneRefusal::NoGrant), ..Store::with(&bytes) };
    let gate = open_gate();
    let (_a, pool, from, _ended) = served(TCP, store, gate.clone()).await;
    let refused = collect(&pool, from, &wanted(ChunkCid::of(&bytes), 0..1)).await;
    assert!(matches!(refused, Err(FetchError::Refused(LaneRefusal::NoGrant))));
    assert_eq!(gate.metrics().refused(LaneRefusal::NoGrant), 1);
    assert_eq!(gate.metrics().served_bytes.get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_without_room_is_busy_and_says_when_to_return() {
    let bytes = chunk(GROUP_BYTES, 1);
    let cid = ChunkCid::of(&bytes);
    // One group a minute: the first empties the bucket.
    let uplink = Uplink { rate: 1000, burst: GROUP_BYTES as u64 };
    let gate = ServeGate::start(ServeConfig { uplink: Some(uplink), ..ServeConfig::default() }, Usage::default());
    let (_a, pool, from, _ended) = served(TCP, Store::with(&bytes), gate.clone()).await;
    let mut first = wanted(cid, 0..1);
    first.hashes = Some(GroupHashes::of(&bytes));
    collect(&pool, from, &first).await.unwrap();
    let late = Wanted { deadline: Micros::from_millis(50), ..first };
    match collect(&pool, from, &late).await {
        Err(FetchError::Busy { retry_after }) => assert!(retry_after > Micros(0)),
        other => panic!("{other:?}"),
    }
    assert_eq!(gate.metrics().busy.get(), 1);
    assert_eq!(gate.load(), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lie_is_convicted_and_nothing_of_it_accepted() {
    let bytes = chunk(6 * GROUP_BYTES, 1);
    let cid = ChunkCid::of(&bytes);
    let store = Store { lie: Some(2), ..Store::with(&bytes) };
    let (_a, pool, from, _ended) = served(TCP, store, open_gate()).await;
    let ask = Wanted { len: Some(bytes.len() as u64), ..wanted(cid, 0..6) };
    let mut transfer = pool.fetch(from, &ask).await.unwrap();
    for n in 0..2 {
        assert_eq!(transfer.next().await.unwrap().unwrap().0, GroupIndex(n));
    }
    let caught = transfer.next().await.unwrap().unwrap_err();
    assert!(matches!(caught, FetchError::Lie { lie: Lie::Group(_), proven: true }), "{caught}");
    assert!(transfer.next().await.is_none());
}

/// Answers the first request of the first lane with whatever `answer` makes of it.
fn lie_once(mut liar: Peer, answer: impl FnOnce(LaneRequest) -> (LaneStatus, Vec<u8>) + Send + 'static) {
    tokio::spawn(async move {
        let mut lane = liar.lane().await;
        let len = lane.read_u16().await.unwrap();
        let mut header = vec![0; len.into()];
        lane.read_exact(&mut header).await.unwrap();
        let request = LaneRequest::from_header(&header).unwrap();
        let id = request.id;
        let (status, data) = answer(request);
        lane.write_all(&LaneAnswer { id, status }.to_frame().unwrap()).await.unwrap();
        lane.write_all(&data).await.unwrap();
        lane.flush().await.unwrap();
        // Until the other side is done with us.
        let _ = lane.read_u8().await;
    });
}

async fn caught_with(
    want: impl FnOnce(ChunkCid) -> Wanted,
    answer: impl FnOnce(LaneRequest) -> (LaneStatus, Vec<u8>) + Send + 'static,
) -> FetchError {
    let (a, b) = pair((1, 2), TCP).await;
    let from = b.device();
    lie_once(b, answer);
    let cid = ChunkCid::of(&chunk(2 * GROUP_BYTES, 1));
    collect(&LanePool::new(a.net.clone(), 2), from, &want(cid)).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn false_lists_and_lengths_convict_where_the_length_is_known() {
    let len = 2 * GROUP_BYTES as u64;
    let foreign = GroupHashes::of(&chunk(len as usize, 9)).as_bytes().to_vec();
    let known = move |cid| Wanted { len: Some(len), ..wanted(cid, 0..2) };
    let list = foreign.clone();
    let error = caught_with(known, move |_| (LaneStatus::Ok(Described { len, hashes: Some(list) }), vec![])).await;
    assert!(matches!(error, FetchError::Lie { lie: Lie::Hashes(_), proven: true }), "{error}");
    let error = caught_with(known, |_| (LaneStatus::Ok(Described { len: 5, hashes: Some(vec![0; 32]) }), vec![])).await;
    assert!(matches!(error, FetchError::Lie { lie: Lie::Length(5), proven: true }), "{error}");
    let error = caught_with(known, move |_| (LaneStatus::Ok(Described { len, hashes: None }), vec![])).await;
    assert!(matches!(error, FetchError::Lie { lie: Lie::Answer, .. }), "{error}");
    // Without the length nobody is convicted, and still nothing accepted.
    let error = caught_with(
        |cid| wanted(cid, 0..2),
        move |_| (LaneStatus::Ok(Described { len, hashes: Some(foreign) }), vec![]),
    )
    .await;
    assert!(matches!(error, FetchError::Lie { proven: false, .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_nobody_asked_for_are_not_taken() {
    let bytes = chunk(2 * GROUP_BYTES, 1);
    let hashes = GroupHashes::of(&bytes).as_bytes().to_vec();
    let described = Described { len: bytes.len() as u64, hashes: Some(hashes) };
    let answer = move |_| (LaneStatus::Partial(described, vec![GroupRange::new(0, 1)]), bytes[..GROUP_BYTES].to_vec());
    let error = caught_with(|cid| wanted(cid, 1..2), answer).await;
    assert!(matches!(error, FetchError::Lie { lie: Lie::Answer, .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_cut_short_is_a_broken_lane_and_no_lie() {
    let (a, mut b) = pair((1, 2), TCP).await;
    let from = b.device();
    tokio::spawn(async move { while b.events.recv().await.is_some() {} });
    let pool = LanePool::new(a.net.clone(), 2);
    let error = collect(&pool, from, &wanted(ChunkCid([1; 32]), 0..1)).await.unwrap_err();
    assert!(matches!(error, FetchError::Broken(_)), "{error}");
}

async fn dropping_a_fetch_frees_the_server(transport: &str) {
    let bytes = chunk(8 * 1024 * 1024, 1);
    let cid = ChunkCid::of(&bytes);
    // Slow enough that most of the chunk is still waiting when the asker leaves.
    let uplink = Uplink { rate: 256 * 1024, burst: 4 * GROUP_BYTES as u64 };
    let gate = ServeGate::start(ServeConfig { uplink: Some(uplink), ..ServeConfig::default() }, Usage::default());
    let (_a, pool, from, mut ended) = served(transport, Store::with(&bytes), gate.clone()).await;
    let mut transfer = pool.fetch(from, &wanted(cid, 0..128)).await.unwrap();
    transfer.next().await.unwrap().unwrap();
    assert_eq!(gate.load().0, 1);
    drop(transfer);
    timeout(PATIENCE, ended.recv()).await.unwrap().unwrap();
    assert_eq!(gate.load(), (0, 0));
    assert_eq!(gate.metrics().cancelled.get(), 1);
    assert!(gate.metrics().served_bytes.get() < bytes.len() as u64 / 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_a_fetch_frees_the_server_over_tcp() {
    dropping_a_fetch_frees_the_server(TCP).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_a_fetch_frees_the_server_over_quic() {
    dropping_a_fetch_frees_the_server(QUIC).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_in_the_middle_of_another_breaks_the_rules() {
    let bytes = chunk(4 * 1024 * 1024, 1);
    let uplink = Uplink { rate: 1000, burst: GROUP_BYTES as u64 };
    let gate = ServeGate::start(ServeConfig { uplink: Some(uplink), ..ServeConfig::default() }, Usage::default());
    let (a, b) = pair((1, 2), TCP).await;
    let from = b.device();
    let mut ended = serve(b, Store::with(&bytes), gate.clone());
    let mut lane = a.net.open_lane(from).await.unwrap();
    let request = LaneRequest {
        id: RequestId(0),
        cid: ChunkCid::of(&bytes),
        what: What::Groups { range: GroupRange::new(0, 64), want_hashes: false },
        deadline_ms: 60_000,
        class: Class::Prefetch,
    };
    for _ in 0..2 {
        lane.write_all(&request.to_frame()).await.unwrap();
    }
    lane.flush().await.unwrap();
    timeout(PATIENCE, ended.recv()).await.unwrap().unwrap();
    assert_eq!(gate.metrics().malformed.get(), 1);
    assert_eq!(gate.load(), (0, 0));
}

/// Opens lanes back to back, says something on each, and counts those whose other end answers.
async fn every_lane_is_answered_or_visibly_refused(transport: &str) {
    const LANES: usize = 100;
    let (a, mut b) = pair((1, 2), transport).await;
    let to = b.device();
    // The other side keeps every lane it gets, so that the bound is reached.
    let (keep, mut kept) = mpsc::channel(LANES);
    let metrics = Arc::clone(b.net.metrics());
    tokio::spawn(async move {
        while let Some(event) = b.events.recv().await {
            if let NetEvent::Lane { mut lane, .. } = event {
                let keep = keep.clone();
                tokio::spawn(async move {
                    let said = lane.read_u8().await.unwrap();
                    lane.write_u8(said).await.unwrap();
                    lane.flush().await.unwrap();
                    keep.send(lane).await.unwrap();
                });
            }
        }
    });
    let mut answered = Vec::new();
    let (mut refused, mut not_opened) = (0, 0);
    let mut lanes = Vec::new();
    for n in 0..LANES {
        match a.net.open_lane(to).await {
            Ok(lane) => lanes.push((n as u8, lane)),
            Err(LaneError::TooMany(_) | LaneError::Timeout(_)) => not_opened += 1,
            Err(error) => panic!("{error}"),
        }
    }
    for (n, mut lane) in lanes {
        let talk = async {
            lane.write_u8(n).await?;
            lane.flush().await?;
            lane.read_u8().await
        };
        match timeout(PATIENCE, talk).await.expect("an answer or a reset") {
            Ok(said) => {
                assert_eq!(said, n);
                answered.push(lane);
            }
            Err(_) => refused += 1,
        }
    }
    assert_eq!(answered.len() + refused + not_opened, LANES);
    assert_eq!(answered.len(), MAX_INBOUND_LANES_PER_DEVICE);
    assert_eq!(metrics.lanes_in.get(), MAX_INBOUND_LANES_PER_DEVICE as u64);
    let counted = metrics.lanes_refused_limit.get() + metrics.lanes_refused_queue.get();
    assert_eq!(counted, refused as u64);
    // A lane that ends makes room for another.
    drop(answered);
    drop(kept.recv().await);
    let again = async {
        loop {
            let mut lane = a.net.open_lane(to).await.unwrap();
            lane.write_u8(1).await.unwrap();
            if lane.read_u8().await.is_ok() {
                return;
            }
        }
    };
    timeout(PATIENCE, again).await.expect("room again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_lane_is_answered_or_visibly_refused_over_tcp() {
    every_lane_is_answered_or_visibly_refused(TCP).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_lane_is_answered_or_visibly_refused_over_quic() {
    every_lane_is_answered_or_visibly_refused(QUIC).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_ends_when_its_connection_does() {
    let bytes = chunk(8 * 1024 * 1024, 1);
    let uplink = Uplink { rate: 1000, burst: GROUP_BYTES as u64 };
    let gate = ServeGate::start(ServeConfig { uplink: Some(uplink), ..ServeConfig::default() }, Usage::default());
    let (a, pool, from, mut ended) = served(TCP, Store::with(&bytes), gate.clone()).await;
    let hashes = Some(GroupHashes::of(&bytes));
    let mut transfer = pool.fetch(from, &Wanted { hashes, ..wanted(ChunkCid::of(&bytes), 0..128) }).await.unwrap();
    transfer.next().await.unwrap().unwrap();
    a.net.disconnect(from);
    let error = timeout(PATIENCE, transfer.next()).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(error, FetchError::Broken(_)), "{error}");
    timeout(PATIENCE, ended.recv()).await.unwrap().unwrap();
    assert_eq!(gate.load(), (0, 0));
    assert!(matches!(pool.fetch(from, &wanted(ChunkCid([1; 32]), 0..1)).await, Err(FetchError::NoLane(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_outside_a_pool_can_be_used_again() {
    let bytes = chunk(3 * GROUP_BYTES, 1);
    let cid = ChunkCid::of(&bytes);
    let (a, _pool, from, _ended) = served(TCP, Store::with(&bytes), open_gate()).await;
    let mut client = LaneClient::new(a.net.open_lane(from).await.unwrap());
    for n in 0..3 {
        let mut transfer = client.fetch(&wanted(cid, n..n + 1)).await.map_err(|(error, _)| error).unwrap();
        assert_eq!(transfer.next().await.unwrap().unwrap().0, GroupIndex(n));
        client = transfer.into_lane().unwrap();
    }
}
