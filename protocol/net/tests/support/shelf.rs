//! A device that serves what it has in memory.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use aftercast_net::NetEvent;
use aftercast_net::exchange::{ChunkProvider, Description, LanePool, ServeGate, serve_lane};
use aftercast_protocol::ids::{ChunkCid, DeviceId, GroupIndex};
use aftercast_protocol::limits::GROUP_BYTES;
use aftercast_protocol::serve::{Class, ServeConfig, Usage};
use aftercast_protocol::verify::{GroupHashes, GroupSet};
use aftercast_protocol::wire::lane::LaneRefusal;
use bytes::Bytes;
use tokio::sync::mpsc;

use super::{Peer, pair};

pub type Stored = (Vec<u8>, GroupHashes, GroupSet);

/// A store in memory that can be told to misbehave.
#[derive(Default)]
pub struct Store {
    pub chunks: Mutex<BTreeMap<ChunkCid, Stored>>,
    pub refuse: Option<LaneRefusal>,
    /// Groups read so far.
    pub reads: Arc<AtomicU64>,
    /// This group is served with a flipped bit.
    pub lie: Option<u32>,
}

impl Store {
    pub fn with(bytes: &[u8]) -> Self {
        let store = Self::default();
        let groups = GroupHashes::of(bytes).groups();
        store.put(bytes, GroupSet::full(groups).unwrap());
        store
    }

    pub fn put(&self, bytes: &[u8], have: GroupSet) {
        let hashes = GroupHashes::of(bytes);
        self.chunks.lock().unwrap().insert(hashes.cid(), (bytes.to_vec(), hashes, have));
    }
}

impl ChunkProvider for Store {
    fn authorise(&self, _: DeviceId, _: &ChunkCid, _: Class) -> Result<(), LaneRefusal> {
        self.refuse.map_or(Ok(()), Err)
    }

    fn describe(&self, _: DeviceId, cid: &ChunkCid) -> Option<Description> {
        let chunks = self.chunks.lock().unwrap();
        chunks.get(cid).map(|(_, hashes, have)| Description { hashes: hashes.clone(), have: have.clone() })
    }

    fn read_group(&self, cid: &ChunkCid, index: GroupIndex) -> io::Result<Option<Bytes>> {
        let chunks = self.chunks.lock().unwrap();
        let Some((bytes, hashes, _)) = chunks.get(cid) else { return Ok(None) };
        self.reads.fetch_add(1, Relaxed);
        let start = index.0 as usize * GROUP_BYTES;
        let mut group = bytes[start..start + hashes.group_len(index)].to_vec();
        if self.lie == Some(index.0) {
            group[17] ^= 4;
        }
        Ok(Some(group.into()))
    }
}

pub fn open_gate() -> ServeGate {
    ServeGate::start(ServeConfig::default(), Usage::default())
}

/// Serves every lane of a device; says when each ended.
pub fn serve(peer: Peer, store: Store, gate: ServeGate) -> mpsc::Receiver<()> {
    let store = Arc::new(store);
    let (done, ended) = mpsc::channel(1000);
    let Peer { net, mut events } = peer;
    tokio::spawn(async move {
        // The network runs as long as somebody holds it.
        let _net = net;
        while let Some(event) = events.recv().await {
            if let NetEvent::Lane { lane, .. } = event {
                let (store, gate, done) = (Arc::clone(&store), gate.clone(), done.clone());
                tokio::spawn(async move {
                    serve_lane(lane, store, gate).await;
                    let _ = done.send(()).await;
                });
            }
        }
    });
    ended
}

/// A fetching device, its pool and the serving device's id.
pub async fn served(transport: &str, store: Store, gate: ServeGate) -> (Peer, LanePool, DeviceId, mpsc::Receiver<()>) {
    let (a, b) = pair((1, 2), transport).await;
    let (pool, from) = (LanePool::new(a.net.clone(), 2), b.device());
    let ended = serve(b, store, gate);
    (a, pool, from, ended)
}
