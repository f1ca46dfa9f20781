//! Sources that lie or fall silent: the player gets the right bytes all the same.

use std::collections::BTreeSet;

use aftercast_protocol::score::Lie;

use super::support::{Home, Manner, SEED, Sources, Stage, bytes, chunk, device, manifest};

fn home(chunks: u64, connected: &[aftercast_protocol::ids::DeviceId]) -> Home {
    Home {
        manifest: Some(manifest(true, (0..chunks).map(chunk).collect()).into()).into(),
        connected: connected.iter().copied().collect::<BTreeSet<_>>().into(),
        holders: connected.iter().copied().filter(|device| *device != SEED).collect(),
        ..Home::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_liar_is_banned_and_counted_and_its_bytes_go_nowhere() {
    let (liar, honest) = (device(1), device(2));
    let manners = [(liar, Manner::Lies), (honest, Manner::Honest)];
    let sources = Sources::new(&manners, (0..6).map(bytes).collect());
    let stage = Stage::start(home(6, &[liar, honest]), sources, &[]).await;
    for n in 0..6 {
        assert!(stage.get(&stage.path(&format!("0-{n}.ts"))).await.body == bytes(n), "chunk {n}");
    }
    assert_eq!(*stage.home.banned.lock().unwrap(), [(liar, Lie::Group)]);
    let report = stage.playback.reports().remove(0);
    assert_eq!(report.liars_banned, 1);
    assert!(report.wrong_groups >= 1);
    for n in 0..6 {
        let cid = aftercast_protocol::ids::ChunkCid::of(&bytes(n));
        assert!(stage.store.read_chunk(cid).unwrap().is_none_or(|stored| stored == bytes(n)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seed_takes_over_from_a_silent_peer() {
    let silent = device(1);
    let manners = [(silent, Manner::Silent), (SEED, Manner::Honest)];
    let sources = Sources::new(&manners, vec![bytes(0)]);
    let stage = Stage::start(home(1, &[silent, SEED]), sources, &[]).await;
    assert!(stage.get(&stage.path("0-0.ts")).await.body == bytes(0));
    let report = stage.playback.reports().remove(0);
    assert_eq!((report.bytes_seed, report.bytes_peer), (bytes(0).len() as u64, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_fetched_is_kept_told_and_played_from_here_next_time() {
    let peer = device(1);
    let sources = Sources::new(&[(peer, Manner::Honest)], vec![bytes(0)]);
    let stage = Stage::start(home(1, &[peer]), sources.clone(), &[]).await;
    let path = stage.path("0-0.ts");
    assert!(stage.get(&path).await.body == bytes(0));
    let cid = aftercast_protocol::ids::ChunkCid::of(&bytes(0));
    // The last group is stored after the player had it.
    tokio::time::timeout(super::support::PATIENCE, async {
        while !stage.store.is_complete(cid) || stage.home.fetched.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the chunk is stored");
    assert_eq!(*stage.home.fetched.lock().unwrap(), [cid]);
    assert_eq!(stage.store.chunk(cid).unwrap().unwrap().note, b"0:0");
    let asked = sources.asked.lock().unwrap().len();
    assert!(stage.get(&path).await.body == bytes(0));
    assert_eq!(sources.asked.lock().unwrap().len(), asked);
}
