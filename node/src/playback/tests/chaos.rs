//! Whatever sources do, and however often the program is started anew: a chunk's exact bytes, or a clear refusal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use aftercast_protocol::ids::{ChunkCid, DeviceId, GroupIndex};
use aftercast_protocol::limits::GROUP_BYTES;
use aftercast_protocol::score::Lie;
use aftercast_protocol::time::{Micros, UnixMillis};
use aftercast_protocol::verify::{GroupHashes, group_len, groups_of_len};
use aftercast_store::{Store, StoreConfig};
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use proptest::prelude::*;
use tokio::sync::mpsc;

use super::support::{Home, RECORDING, SEED, bytes, channel, chunk, device, manifest, slot};
use crate::playback::counters::PlayCounters;
use crate::playback::fetch::{FetchError, Fetcher, Spec, SpecReach};
use crate::playback::ports::{Arrival, Fetched, LaneFailure, Lanes, Order};

/// What becomes of one order.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// All of it comes.
    Whole,
    /// So many groups come, then the lane breaks.
    Breaks(u8),
    /// So many groups come, then nothing more.
    Hangs(u8),
    /// So many groups come, then a false one.
    Lies(u8),
    /// Groups before this one come, and others never.
    Lacks(u32),
    /// Too much to do.
    Busy,
    /// Not there after all.
    NotFound,
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = prop_oneof![
        3 => Just(Fate::Whole),
        3 => (0..3u8).prop_map(Fate::Breaks),
        1 => (0..3u8).prop_map(Fate::Hangs),
        1 => (0..3u8).prop_map(Fate::Lies),
        1 => Just(Fate::Busy),
        1 => Just(Fate::NotFound),
    ];
    prop::collection::vec(fate, 1..12)
}

/// Peers with fates, one order after another; the seed is honest.
struct Moody {
    stock: BTreeMap<ChunkCid, Vec<u8>>,
    fates: Vec<Fate>,
    orders: AtomicUsize,
    /// Who has sent something false.
    liars: Mutex<BTreeSet<DeviceId>>,
    /// What was handed on, by chunk.
    sent: Mutex<BTreeMap<ChunkCid, BTreeMap<u32, u32>>>,
}

impl Moody {
    fn new(chunks: u64, fates: Vec<Fate>) -> Arc<Self> {
        let stock = (0..chunks).map(bytes).map(|bytes| (ChunkCid::of(&bytes), bytes)).collect();
        Arc::new(Self { stock, fates, orders: AtomicUsize::new(0), liars: Mutex::default(), sent: Mutex::default() })
    }
}

/// Lanes to them.
struct Lines(Arc<Moody>);

impl Lanes for Lines {
    fn fetch(&self, order: Order, to: mpsc::Sender<Arrival>) -> BoxFuture<'static, Result<(), LaneFailure>> {
        let moody = Arc::clone(&self.0);
        let number = moody.orders.fetch_add(1, Relaxed);
        let fate = if order.device == SEED { Fate::Whole } else { moody.fates[number % moody.fates.len()] };
        async move {
            let cid = order.fetch.cid;
            let chunk = moody.stock.get(&cid).ok_or(LaneFailure::NotFound)?;
            let good = match fate {
                Fate::Busy => return Err(LaneFailure::Busy { retry_after: Micros::from_millis(20) }),
                Fate::NotFound => return Err(LaneFailure::NotFound),
                Fate::Whole | Fate::Lacks(_) => u8::MAX,
                Fate::Breaks(good) | Fate::Hangs(good) | Fate::Lies(good) => good,
            };
            if order.hashes.is_none() {
                let _ = to.send(Arrival::Hashes(Arc::new(GroupHashes::of(chunk)))).await;
            }
            for (n, index) in order.fetch.range.iter().enumerate() {
                if matches!(fate, Fate::Lacks(from) if index.0 >= from) {
                    return std::future::pending().await;
                }
                if n >= usize::from(good) {
                    match fate {
                        Fate::Hangs(_) => return std::future::pending().await,
                        Fate::Lies(_) => {
                            moody.liars.lock().unwrap().insert(order.device);
                            return Err(LaneFailure::Lied(Lie::Group));
                        }
                        _ => return Err(LaneFailure::Broken),
                    }
                }
                let start = index.0 as usize * GROUP_BYTES;
                let group = Bytes::copy_from_slice(&chunk[start..start + group_len(chunk.len() as u64, index)]);
                *moody.sent.lock().unwrap().entry(cid).or_default().entry(index.0).or_default() += 1;
                if to.send(Arrival::Group(index, group)).await.is_err() {
                    return Err(LaneFailure::Broken);
                }
            }
            Ok(())
        }
        .boxed()
    }
}

fn spec(n: u64) -> Spec {
    let bytes = bytes(n);
    let cid = ChunkCid::of(&bytes);
    let fetched = Fetched { cid, channel: channel(), slot: slot(n), utc: UnixMillis(0), head: false, confirmed: true };
    Spec { chunk: fetched, len: bytes.len() as u64, recording: RECORDING, reach: SpecReach::Anyone }
}

fn home(chunks: u64, connected: &[DeviceId]) -> Home {
    Home {
        manifest: Some(manifest(true, (0..chunks).map(chunk).collect()).into()).into(),
        connected: connected.iter().copied().collect::<BTreeSet<_>>().into(),
        holders: connected.iter().copied().filter(|device| *device != SEED).collect(),
        ..Home::default()
    }
}

/// Fetches some chunks at once; from each so many groups, then it is wanted no more.
async fn take(fetcher: &Fetcher, parts: &[(u64, u32)]) -> Result<Vec<Vec<u8>>, FetchError> {
    let counters = Arc::new(PlayCounters::default());
    let due = fetcher.now() + Micros::from_millis(100);
    let one = |&(n, most): &(u64, u32)| {
        let want = fetcher.want(&spec(n), due, &counters);
        async move {
            let (want, mut all) = (want?, Vec::new());
            let groups = groups_of_len(bytes(n).len() as u64).unwrap_or(0);
            for index in 0..groups.min(most) {
                all.extend(want.group(GroupIndex(index), Micros::from_secs(60)).await?.0);
            }
            Ok(all)
        }
    };
    futures::future::try_join_all(parts.iter().map(one)).await
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Losses, lies, silence and refusals in any order, and restarts in the middle: every byte is right in the end, in
    /// the player's hands and on the disk, and only who has lied is banned.
    #[test]
    fn every_byte_is_right_in_the_end(
        fates in fates(),
        starts in prop::collection::vec(prop::collection::vec((0..3u64, 0..4u32), 0..4), 0..3),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let config = StoreConfig { reserve_free_bytes: 0, ..StoreConfig::default() };
            let store = Store::open(folder.path(), config).unwrap();
            let moody = Moody::new(3, fates.clone());
            let whole: Vec<(u64, u32)> = (0..3).map(|n| (n, u32::MAX)).collect();
            for parts in starts.iter().chain([&whole]) {
                let home = Arc::new(home(3, &[device(1), device(2), device(3), SEED]));
                let lanes = Arc::new(Lines(Arc::clone(&moody)));
                let fetcher = Fetcher::start(store.clone(), home.clone(), home.clone(), lanes);
                let taken = take(&fetcher, parts).await.unwrap();
                for ((n, most), taken) in parts.iter().zip(&taken) {
                    let expected = bytes(*n);
                    let end = expected.len().min((*most as usize).saturating_mul(GROUP_BYTES));
                    assert!(*taken == expected[..end], "chunk {n}");
                }
                let liars = moody.liars.lock().unwrap().clone();
                assert!(home.banned.lock().unwrap().iter().all(|(banned, _)| liars.contains(banned)));
            }
            for n in 0..3 {
                let cid = ChunkCid::of(&bytes(n));
                assert!(store.read_chunk(cid).unwrap().is_none_or(|stored| stored == bytes(n)), "chunk {n} on disk");
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_here_before_a_restart_is_not_fetched_again() {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig { reserve_free_bytes: 0, ..StoreConfig::default() };
    let cid = ChunkCid::of(&bytes(0));
    // Two groups come, and then nothing more, however often it is asked.
    let first = Moody::new(1, vec![Fate::Lacks(2)]);
    {
        let store = Store::open(folder.path(), config.clone()).unwrap();
        let home = Arc::new(home(1, &[device(1)]));
        let fetcher = Fetcher::start(store.clone(), home.clone(), home, Arc::new(Lines(Arc::clone(&first))));
        let want = fetcher.want(&spec(0), fetcher.now(), &Arc::default()).unwrap();
        want.group(GroupIndex(1), Micros::from_secs(60)).await.unwrap();
        tokio::time::timeout(super::support::PATIENCE, async {
            while store.have(cid).is_none_or(|have| have.len() < 2) {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("both groups are stored");
    }
    // The next start, of the same disk.
    let second = Moody::new(1, vec![Fate::Whole]);
    let store = super::support::reopen(folder.path(), config).await;
    let home = Arc::new(home(1, &[device(1)]));
    let fetcher = Fetcher::start(store, home.clone(), home, Arc::new(Lines(Arc::clone(&second))));
    assert!(take(&fetcher, &[(0, u32::MAX)]).await.unwrap()[0] == bytes(0));
    let sent: Vec<u32> = second.sent.lock().unwrap()[&cid].keys().copied().collect();
    assert_eq!(sent, [2, 3], "groups 0 and 1 were on the disk");
}
