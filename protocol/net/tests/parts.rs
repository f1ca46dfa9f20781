//! What repair asks for: unit indexes, and bytes of single units.

mod support;

use std::sync::Arc;

use aftercast_net::exchange::{FetchError, LanePool, WantedPart};
use aftercast_protocol::ccf::{AudioCodec, AudioProfile, Profile, Repair, Unit, UnitIndex, VideoCodec, write_chunk};
use aftercast_protocol::ids::{ChunkCid, DeviceId};
use aftercast_protocol::limits::GROUP_BYTES;
use aftercast_protocol::serve::Class;
use aftercast_protocol::time::{MediaTime, Micros, Pts33};
use aftercast_protocol::verify::{GroupHashes, GroupRange, GroupSet};
use aftercast_protocol::wire::lane::{ByteRange, LaneRefusal, Part};
use support::TCP;
use support::shelf::{Store, open_gate, served};

const PTS: Pts33 = Pts33(360_000);

fn profile() -> Profile {
    let audio = AudioProfile { codec: AudioCodec::Mpeg, language: None, component_tag: None, low_rate: false };
    Profile::new(Some(VideoCodec::Avc), vec![audio])
}

/// A chunk of 50 pictures of 8 KB and their sound, and its units.
fn chunk() -> (Vec<u8>, Vec<Unit>) {
    let unit = |stream: u8, n: i64, step: i64, len: usize| {
        let at = MediaTime(PTS.0 as i64 + n * step);
        let data = (0..len).map(|at| ((at * 31 + at / 97) as u8) ^ (n as u8) ^ stream).collect();
        Unit { stream, pts: at, dts: at, rap: stream > 0 || n == 0, data }
    };
    let pictures = (0..50).map(|n| unit(0, n, 3_600, 8_000));
    let mut units: Vec<Unit> = pictures.chain((0..20).map(|n| unit(1, n, 9_000, 1_200))).collect();
    units.sort_by_key(|unit| (unit.dts, unit.stream));
    (write_chunk(&profile(), &units).unwrap(), units)
}

fn index(cid: ChunkCid) -> WantedPart {
    WantedPart { cid, part: Part::Index(PTS), class: Class::Repair, deadline: Micros::from_secs(30) }
}

fn bytes(cid: ChunkCid, ranges: &[(u32, u32)]) -> WantedPart {
    let ranges = ranges.iter().map(|&(start, end)| ByteRange { start, end }).collect();
    WantedPart { part: Part::Bytes(ranges), ..index(cid) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_chunk_is_repaired_from_a_device_that_has_it() {
    let (chunk, units) = chunk();
    let cid = ChunkCid::of(&chunk);
    let gate = open_gate();
    let (a, pool, from, _ended) = served(TCP, Store::with(&chunk), gate.clone()).await;
    let list = pool.fetch_part(from, &index(cid)).await.unwrap();
    let list = UnitIndex::decode(&list).unwrap();
    assert_eq!(list, UnitIndex::of_chunk(PTS, &chunk).unwrap());

    let lost = [3, 4, 5, 40];
    let kept: Vec<Unit> = units.iter().enumerate().filter(|(n, _)| !lost.contains(n)).map(|(_, u)| u.clone()).collect();
    let profile = profile();
    let mut repair = Repair::new(&profile, PTS, &list).unwrap();
    repair.stock(&write_chunk(&profile, &kept).unwrap()).unwrap();
    for range in repair.missing() {
        let part = pool.fetch_part(from, &bytes(cid, &[(range.start as u32, range.end as u32)])).await.unwrap();
        repair.handle_bytes(range.start, &part).unwrap();
    }
    assert_eq!(repair.finish(cid).unwrap(), chunk);
    // Three pictures and a sound of a chunk of 440 KB, and the index.
    assert!(gate.metrics().served_bytes.get() < chunk.len() as u64 / 10);
    assert_eq!(a.net.metrics().lanes_out.get(), 1, "one lane carries all of it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_come_in_order_and_to_the_byte() {
    let (chunk, _) = chunk();
    let cid = ChunkCid::of(&chunk);
    let (_a, pool, from, _ended) = served(TCP, Store::with(&chunk), open_gate()).await;
    let group = GROUP_BYTES as u32;
    let len = chunk.len() as u32;
    let ranges = [(0, 1), (5, group), (group + 1, 3 * group + 7), (len - 2, len)];
    let part = pool.fetch_part(from, &bytes(cid, &ranges)).await.unwrap();
    let expected: Vec<u8> = ranges.iter().flat_map(|&(a, b)| &chunk[a as usize..b as usize]).copied().collect();
    assert!(part == expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_held_or_does_not_exist_is_refused_and_the_lane_goes_on() {
    let (chunk, _) = chunk();
    let cid = ChunkCid::of(&chunk);
    let store = Store::default();
    let mut have = GroupSet::empty(GroupHashes::of(&chunk).groups()).unwrap();
    have.insert_range(GroupRange::new(0, 2));
    store.put(&chunk, have);
    let picture = b"no transport stream at all".repeat(100);
    store.put(&picture, GroupSet::full(1).unwrap());
    let (a, pool, from, _ended) = served(TCP, store, open_gate()).await;
    let missing = |wanted: WantedPart| missing(&pool, from, wanted);
    missing(index(cid)).await;
    missing(index(ChunkCid::of(&picture))).await;
    let group = GROUP_BYTES as u32;
    missing(bytes(cid, &[(0, 10), (2 * group - 1, 2 * group + 1)])).await;
    let beyond = pool.fetch_part(from, &bytes(cid, &[(0, chunk.len() as u32 + 1)])).await;
    assert!(matches!(beyond, Err(FetchError::Refused(LaneRefusal::Malformed))));
    let part = pool.fetch_part(from, &bytes(cid, &[(1, 2 * group)])).await.unwrap();
    assert!(part == chunk[1..2 * GROUP_BYTES]);
    assert_eq!(a.net.metrics().lanes_out.get(), 1);
}

async fn missing(pool: &LanePool, from: DeviceId, wanted: WantedPart) {
    let answer = pool.fetch_part(from, &wanted).await;
    assert!(matches!(answer, Err(FetchError::NotFound)), "{:?}", wanted.part);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_repair_the_same_chunk_cost_one_index() {
    let (chunk, _) = chunk();
    let cid = ChunkCid::of(&chunk);
    let store = Store::with(&chunk);
    let read = Arc::clone(&store.reads);
    let (_a, pool, from, _ended) = served(TCP, store, open_gate()).await;
    let lists = futures::future::join_all((0..20).map(|_| async { pool.fetch_part(from, &index(cid)).await })).await;
    assert!(lists.iter().all(|list| list.as_ref().unwrap() == lists[0].as_ref().unwrap()));
    let groups = u64::from(GroupHashes::of(&chunk).groups());
    assert_eq!(read.load(std::sync::atomic::Ordering::Relaxed), groups, "the chunk was read once");
}
