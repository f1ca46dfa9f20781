//! The whole way over real lanes: devices on loopback, one of which serves wrong bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use aftercast_net::exchange::{ChunkProvider, Description, LanePool, ServeGate, serve_lane};
use aftercast_net::{Net, NetConfig, NetEvent};
use aftercast_protocol::ids::{ChunkCid, DeviceId, GroupIndex};
use aftercast_protocol::limits::GROUP_BYTES;
use aftercast_protocol::score::Lie;
use aftercast_protocol::serve::{Class, ServeConfig, Usage};
use aftercast_protocol::sign::SecretKey;
use aftercast_protocol::verify::{GroupHashes, GroupSet};
use aftercast_protocol::wire::lane::LaneRefusal;
use bytes::Bytes;

use super::support::{Home, Stage, bytes, chunk, manifest};

/// Chunks in memory; a liar flips a bit of every group but the first.
struct Stock {
    chunks: BTreeMap<ChunkCid, (Vec<u8>, GroupHashes)>,
    lies: bool,
}

impl ChunkProvider for Stock {
    fn authorise(&self, _: DeviceId, _: &ChunkCid, _: Class) -> Result<(), LaneRefusal> {
        Ok(())
    }
    fn describe(&self, _: DeviceId, cid: &ChunkCid) -> Option<Description> {
        let (_, hashes) = self.chunks.get(cid)?;
        Some(Description { hashes: hashes.clone(), have: GroupSet::full(hashes.groups()).ok()? })
    }
    fn read_group(&self, cid: &ChunkCid, index: GroupIndex) -> io::Result<Option<Bytes>> {
        let Some((bytes, hashes)) = self.chunks.get(cid) else { return Ok(None) };
        let start = index.0 as usize * GROUP_BYTES;
        let mut group = bytes[start..start + hashes.group_len(index)].to_vec();
        group[17] ^= u8::from(self.lies && index.0 > 0);
        Ok(Some(group.into()))
    }
}

/// A device that serves chunks 0 to 4; gives its network, which runs as long as it is held.
async fn serving(key: u8, lies: bool) -> Net {
    let mut config = NetConfig::new(SecretKey::from_bytes(&[key; 32]));
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    let (net, mut events) = Net::start(config).await.unwrap();
    let hashed = |n| (ChunkCid::of(&bytes(n)), (bytes(n), GroupHashes::of(&bytes(n))));
    let stock = Arc::new(Stock { chunks: (0..5).map(hashed).collect(), lies });
    let gate = ServeGate::start(ServeConfig::default(), Usage::default());
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            if let NetEvent::Lane { lane, .. } = event {
                tokio::spawn(serve_lane(lane, stock.clone(), gate.clone()));
            }
        }
    });
    net
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_lying_peer_the_right_bytes_are_played_and_the_liar_is_banned() {
    let (liar, honest) = (serving(1, true).await, serving(2, false).await);
    let (net, mut events) = Net::start(NetConfig::new(SecretKey::from_bytes(&[3; 32]))).await.unwrap();
    tokio::spawn(async move { while events.recv().await.is_some() {} });
    let devices = [liar.device(), honest.device()];
    for peer in [&liar, &honest] {
        net.dial(peer.device(), peer.listen_addrs()).await.unwrap();
    }
    let home = Home {
        manifest: Some(manifest(true, (0..5).map(chunk).collect()).into()).into(),
        connected: devices.into_iter().collect::<BTreeSet<_>>().into(),
        holders: devices.to_vec(),
        ..Home::default()
    };
    let stage = Stage::start(home, Arc::new(LanePool::new(net, 2)), &[]).await;
    for n in 0..5 {
        assert!(stage.get(&stage.path(&format!("0-{n}.ts"))).await.body == bytes(n), "chunk {n}");
    }
    assert_eq!(*stage.home.banned.lock().unwrap(), [(devices[0], Lie::Group)]);
    let report = stage.playback.reports().remove(0);
    assert_eq!(report.bytes_peer, (0..5).map(|n| bytes(n).len() as u64).sum::<u64>());
}
