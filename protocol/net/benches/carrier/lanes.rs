//! Whole chunks over lanes: requests, turns at the gate, every group verified.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aftercast_net::exchange::{ChunkProvider, Description, LanePool, ServeGate, Wanted, serve_lane};
use aftercast_net::{Multiaddr, Net, NetConfig, NetEvent};
use aftercast_protocol::ids::{ChunkCid, DeviceId, GroupIndex};
use aftercast_protocol::limits::GROUP_BYTES;
use aftercast_protocol::serve::{Class, ServeConfig, Usage as Used};
use aftercast_protocol::sign::SecretKey;
use aftercast_protocol::time::Micros;
use aftercast_protocol::verify::{GroupHashes, GroupRange, GroupSet};
use aftercast_protocol::wire::lane::LaneRefusal;
use anyhow::{Context as _, Result};
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::{LANES, Usage};

/// Different chunks held.
const CHUNKS: u8 = 4;

fn chunk_bytes(row: usize) -> usize {
    if row == 6 || row == crate::FILE_ROW { 4 << 20 } else { 8 << 20 }
}

fn chunk(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|at| ((at * 131 + at / 977) as u8) ^ seed).collect()
}

/// Chunks in memory.
struct Ram(BTreeMap<ChunkCid, (Bytes, GroupHashes)>);

/// Chunks one after another in a file.
struct Disk {
    file: File,
    chunks: BTreeMap<ChunkCid, (u64, GroupHashes)>,
}

impl ChunkProvider for Disk {
    fn authorise(&self, _: DeviceId, _: &ChunkCid, _: Class) -> Result<(), LaneRefusal> {
        Ok(())
    }

    fn describe(&self, _: DeviceId, cid: &ChunkCid) -> Option<Description> {
        let (_, hashes) = self.chunks.get(cid)?;
        Some(Description { hashes: hashes.clone(), have: GroupSet::full(hashes.groups()).ok()? })
    }

    fn read_group(&self, cid: &ChunkCid, index: GroupIndex) -> io::Result<Option<Bytes>> {
        let Some((start, hashes)) = self.chunks.get(cid) else { return Ok(None) };
        let mut group = vec![0; hashes.group_len(index)];
        self.file.read_exact_at(&mut group, start + u64::from(index.0) * GROUP_BYTES as u64)?;
        Ok(Some(group.into()))
    }
}

impl ChunkProvider for Ram {
    fn authorise(&self, _: DeviceId, _: &ChunkCid, _: Class) -> Result<(), LaneRefusal> {
        Ok(())
    }

    fn describe(&self, _: DeviceId, cid: &ChunkCid) -> Option<Description> {
        let (_, hashes) = self.0.get(cid)?;
        Some(Description { hashes: hashes.clone(), have: GroupSet::full(hashes.groups()).ok()? })
    }

    fn read_group(&self, cid: &ChunkCid, index: GroupIndex) -> io::Result<Option<Bytes>> {
        let Some((bytes, hashes)) = self.0.get(cid) else { return Ok(None) };
        let start = index.0 as usize * GROUP_BYTES;
        Ok(Some(bytes.slice(start..start + hashes.group_len(index))))
    }
}

fn config(key: u8) -> NetConfig {
    NetConfig::new(SecretKey::from_bytes(&[key; 32]))
}

pub async fn hold(row: usize, say: mpsc::Sender<String>) -> Result<()> {
    let mut held = BTreeMap::new();
    let mut cids = Vec::new();
    for seed in 0..CHUNKS {
        let bytes = chunk(chunk_bytes(row), seed);
        let hashes = GroupHashes::of(&bytes);
        cids.push(hashes.cid());
        held.insert(hashes.cid(), (Bytes::from(bytes), hashes));
    }
    serve(row, Arc::new(Ram(held)), &cids, say).await
}

/// Serves the chunks that a file consists of.
pub async fn hold_file(row: usize, path: &str, say: mpsc::Sender<String>) -> Result<()> {
    let mut file = File::open(path)?;
    let (mut chunks, mut cids, mut start) = (BTreeMap::new(), Vec::new(), 0);
    loop {
        let mut bytes = Vec::new();
        if (&mut file).take(chunk_bytes(row) as u64).read_to_end(&mut bytes)? == 0 {
            break;
        }
        let hashes = GroupHashes::of(&bytes);
        cids.push(hashes.cid());
        chunks.insert(hashes.cid(), (start, hashes));
        start += bytes.len() as u64;
    }
    serve(row, Arc::new(Disk { file, chunks }), &cids, say).await
}

async fn serve(row: usize, chunks: Arc<dyn ChunkProvider>, cids: &[ChunkCid], say: mpsc::Sender<String>) -> Result<()> {
    let mut config = config(2);
    let listen = if row == 9 { "/ip4/127.0.0.1/udp/0/quic-v1" } else { "/ip4/127.0.0.1/tcp/0" };
    config.listen = vec![listen.parse()?];
    let (net, mut events) = Net::start(config).await?;
    let mut at = net.listen_addrs().first().context("an address")?.to_string();
    for cid in cids {
        at.push(',');
        at.push_str(&cid.to_string());
    }
    say.send(at).await?;
    let gate = ServeGate::start(ServeConfig::default(), Used::default());
    while let Some(event) = events.recv().await {
        if let NetEvent::Lane { lane, .. } = event {
            tokio::spawn(serve_lane(lane, Arc::clone(&chunks), gate.clone()));
        }
    }
    drop(net);
    Ok(())
}

/// Fetches so many bytes. With a file, each group is written to its place there.
pub async fn ask(row: usize, at: &str, bytes: u64, into: Option<&str>) -> Result<(Duration, Usage)> {
    let into = into.map(File::create).transpose()?.map(Arc::new);
    let mut parts = at.split(',');
    let addr: Multiaddr = parts.next().context("an address")?.parse()?;
    let cids = parts.map(str::parse::<ChunkCid>).collect::<Result<Vec<_>, _>>()?;
    let (net, mut events) = Net::start(config(1)).await?;
    tokio::spawn(async move { while events.recv().await.is_some() {} });
    let holder = SecretKey::from_bytes(&[2; 32]).device();
    net.dial(holder, vec![addr]).await?;
    let pool = LanePool::new(net, LANES);
    let len = chunk_bytes(row);
    let each = bytes as usize / len / LANES;
    let before = Usage::now()?;
    let began = Instant::now();
    let mut fetching = Vec::new();
    for lane in 0..LANES {
        let (pool, cids, into) = (pool.clone(), cids.clone(), into.clone());
        fetching.push(tokio::spawn(async move {
            for at in 0..each {
                let number = at * LANES + lane;
                let wanted = Wanted {
                    cid: cids[number % cids.len()],
                    groups: GroupRange::new(0, u32::try_from(len.div_ceil(GROUP_BYTES))?),
                    class: Class::Playback,
                    deadline: Micros::from_secs(30),
                    len: Some(len as u64),
                    hashes: None,
                };
                let mut transfer = pool.fetch(holder, &wanted).await?;
                let mut got = 0;
                while let Some(next) = transfer.next().await {
                    let (_, group) = next?;
                    if let Some(file) = &into {
                        file.write_all_at(&group, (number * len + got) as u64)?;
                    }
                    got += group.len();
                }
                anyhow::ensure!(got == len, "{got} bytes of {len}");
            }
            anyhow::Ok(())
        }));
    }
    for fetching in fetching {
        fetching.await??;
    }
    Ok((began.elapsed(), before))
}
