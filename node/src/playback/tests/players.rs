//! What players get: playlists, segments, ranges, and what happens when they leave.

use aftercast_protocol::ids::ChunkCid;
use aftercast_protocol::manifest::Gap;
use aftercast_store::StoreConfig;
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use super::support::{
    Home, Manner, PATIENCE, RECORDING, SEED, Sources, Stage, bytes, chunk, device, gap, local, manifest,
    opening_with_head, ranked,
};
use crate::playback::ports::{LocalForm, Opening};

fn home(contents: Vec<aftercast_protocol::manifest::Content>) -> Home {
    Home { manifest: Some(manifest(true, contents).into()).into(), ..Home::default() }
}

fn salvage() -> (Vec<u8>, LocalForm) {
    let salvaged = b"clean units of a damaged chunk".repeat(20);
    let form = LocalForm::Salvaged { cid: ChunkCid::of(&salvaged), bytes: salvaged.len() as u64 };
    (salvaged, form)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pure_player_gets_the_head_from_the_seed_and_the_rest_from_a_peer() {
    let head = b"small".repeat(5000);
    let (seed, peer) = (SEED, device(1));
    let stock = vec![head.clone(), bytes(0), bytes(1), bytes(2)];
    let sources = Sources::new(&[(seed, Manner::Honest), (peer, Manner::Honest)], stock);
    let home = Home {
        opening: Some(opening_with_head(&head, vec![ranked(peer)])),
        connected: [seed].into_iter().collect::<std::collections::BTreeSet<_>>().into(),
        ..home(vec![chunk(0), chunk(1), chunk(2)])
    };
    let stage = Stage::start(home, sources.clone(), &[]).await;
    assert_eq!(stage.segments().await, ["head-0-0.ts", "0-1.ts", "0-2.ts"]);
    for (name, expected) in [("head-0-0.ts", &head), ("0-1.ts", &bytes(1)), ("0-2.ts", &bytes(2))] {
        let reply = stage.get(&stage.path(name)).await;
        assert_eq!((reply.status, reply.header("content-type")), (200, "video/mp2t"));
        assert_eq!(reply.header("access-control-allow-origin"), "*");
        assert!(&reply.body == expected, "{name}");
    }
    let report = stage.playback.reports().remove(0);
    assert_eq!((report.bytes_head, report.bytes_seed), (head.len() as u64, 0));
    assert_eq!(report.bytes_peer, (bytes(1).len() + bytes(2).len()) as u64);
    assert_eq!((report.bytes_local, report.wrong_groups), (0, 0));
    assert!(report.startup_ms.is_some());
    let asked = sources.asked.lock().unwrap();
    assert!(!asked.iter().any(|(_, cid)| *cid == ChunkCid::of(&bytes(0))), "the head stands for the first chunk");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_chunk_that_is_here_needs_no_head_and_no_source() {
    let head = b"small".repeat(50);
    let sources = Sources::new(&[(SEED, Manner::Honest)], vec![head.clone()]);
    let home = Home { opening: Some(opening_with_head(&head, Vec::new())), ..home(vec![chunk(0)]) };
    let stage = Stage::start(home, sources.clone(), &[bytes(0)]).await;
    assert_eq!(stage.segments().await, ["0-0.ts"]);
    assert!(stage.get(&stage.path("0-0.ts")).await.body == bytes(0));
    assert_eq!(stage.playback.reports()[0].bytes_local, bytes(0).len() as u64);
    assert!(sources.asked.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_seed_a_node_finds_holders_through_the_hash_table() {
    let peer = device(1);
    let sources = Sources::new(&[(peer, Manner::Honest)], vec![bytes(0), bytes(1)]);
    let home = Home { announced: vec![peer], ..home(vec![chunk(0), chunk(1)]) };
    let stage = Stage::start(home, sources, &[]).await;
    assert_eq!(stage.segments().await, ["0-0.ts", "0-1.ts"]);
    assert!(stage.get(&stage.path("0-0.ts")).await.body == bytes(0));
    assert!(stage.get(&stage.path("0-1.ts")).await.body == bytes(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn any_range_of_the_whole_file_is_what_slicing_the_chunks_gives() {
    let whole: Vec<u8> = [bytes(0), bytes(2), bytes(3)].concat();
    let len = whole.len();
    let home = home(vec![chunk(0), gap(Gap::Damaged), chunk(2), chunk(3)]);
    let stage = Stage::start(home, Sources::new(&[], Vec::new()), &[bytes(0), bytes(2), bytes(3)]).await;
    let path = format!("/recordings/{RECORDING}.ts");
    let all = stage.get(&path).await;
    assert_eq!((all.status, all.header("accept-ranges")), (200, "bytes"));
    assert!(all.body == whole);
    let edge = bytes(0).len();
    for (first, last) in [(0, 0), (edge - 1, edge), (edge, edge), (65_535, 65_536), (10, len - 1), (len - 1, len - 1)] {
        let reply = stage.ask("GET", &path, &format!("Range: bytes={first}-{last}\r\n")).await;
        assert_eq!(reply.status, 206);
        assert_eq!(reply.header("content-range"), format!("bytes {first}-{last}/{len}"));
        assert_eq!(reply.header("content-length"), (last + 1 - first).to_string());
        assert!(reply.body == whole[first..=last], "{first}-{last}");
    }
    let beyond = stage.ask("GET", &path, &format!("Range: bytes={len}-\r\n")).await;
    assert_eq!((beyond.status, beyond.header("content-range")), (416, format!("bytes */{len}").as_str()));
    let header = stage.ask("HEAD", &path, "Range: bytes=0-1\r\n").await;
    assert_eq!((header.status, header.header("content-length")), (200, len.to_string().as_str()));
    assert!(header.body.is_empty());
    for hostile in ["bytes=9-1", "bytes=--1", "bytes=0-1,5-6", "bits=0-1", "bytes=\u{1F980}"] {
        assert_eq!(stage.ask("GET", &path, &format!("Range: {hostile}\r\n")).await.status, 200, "{hostile}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_chunk_is_fetched_and_its_salvaged_form_plays_only_where_nobody_has_it() {
    let (salvaged, form) = salvage();
    let peer = device(1);
    let sources = Sources::new(&[(peer, Manner::Honest)], vec![bytes(0)]);
    let home = Home {
        local: vec![local(0, form), local(1, form), local(2, form)],
        holders: vec![peer],
        connected: [peer].into_iter().collect::<std::collections::BTreeSet<_>>().into(),
        ..home(vec![chunk(0), chunk(1), gap(Gap::Damaged)])
    };
    let stage = Stage::start(home, sources, std::slice::from_ref(&salvaged)).await;
    assert_eq!(stage.segments().await, ["0-0.ts", "0-1.ts", "0-2.ts"]);
    assert!(stage.get(&stage.path("0-0.ts")).await.body == bytes(0), "the peer has this one");
    assert!(stage.get(&stage.path("0-1.ts")).await.body == salvaged, "nobody brings this one in time");
    assert!(stage.get(&stage.path("0-2.ts")).await.body == salvaged, "a gap for all others");
    assert_eq!(stage.playback.reports()[0].salvaged, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_player_hangs_up_nothing_is_fetched_any_more() {
    let peer = device(1);
    let sources = Sources::new(&[(peer, Manner::Silent)], (0..4).map(bytes).collect());
    let mut open = sources.open.subscribe();
    let home = Home {
        opening: Some(Opening { first: None, sources: vec![ranked(peer)] }),
        ..home((0..4).map(chunk).collect())
    };
    // The first group of the first chunk is here, so that the response begins.
    let stage = Stage::start(home, sources, &[bytes(0)]).await;
    let mut stream = stage.open("GET", &format!("/recordings/{RECORDING}.ts"), "").await;
    let mut begun = vec![0; 1000];
    timeout(PATIENCE, stream.read_exact(&mut begun)).await.unwrap().unwrap();
    timeout(PATIENCE, open.wait_for(|open| *open > 0)).await.expect("read-ahead asks the peer").unwrap();
    drop(stream);
    timeout(PATIENCE, open.wait_for(|open| *open == 0)).await.expect("requests are cancelled").unwrap();
    assert_eq!(stage.playback.chunks_wanted(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_room_does_not_stop_the_player() {
    let peer = device(1);
    let sources = Sources::new(&[(peer, Manner::Honest)], vec![bytes(0), bytes(1)]);
    let home = Home { announced: vec![peer], ..home(vec![chunk(0), chunk(1)]) };
    let config = StoreConfig { quota_bytes: Some(1000), reserve_free_bytes: 0, ..StoreConfig::default() };
    let stage = Stage::start_with(config, home, sources, &[]).await;
    assert!(stage.get(&stage.path("0-0.ts")).await.body == bytes(0));
    assert!(stage.get(&stage.path("0-1.ts")).await.body == bytes(1));
    assert_eq!(stage.store.usage().chunk_bytes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_growing_recording_lists_what_is_decided_and_what_we_have_ourselves() {
    let own = |n| local(n, LocalForm::Clean { cid: ChunkCid::of(&bytes(n)), bytes: bytes(n).len() as u64 });
    let (_, damaged) = salvage();
    let grown = manifest(false, vec![chunk(0), chunk(1)]);
    let home = Home {
        running: true,
        manifest: Some(grown.into()).into(),
        local: vec![own(0), own(1), own(2), local(3, damaged), own(4)],
        ..Home::default()
    };
    let stage = Stage::start(home, Sources::new(&[], Vec::new()), &[bytes(0), bytes(1), bytes(2)]).await;
    let playlist = stage.get(&stage.path("index.m3u8")).await.text();
    assert!(playlist.contains("EVENT") && !playlist.contains("ENDLIST"));
    assert_eq!(stage.segments().await, ["0-0.ts", "0-1.ts", "0-2.ts"], "3 may still be had whole");
    let path = format!("/recordings/{RECORDING}.ts");
    assert!(stage.get(&path).await.body == [bytes(0), bytes(1), bytes(2)].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_said_plainly() {
    let stage = Stage::start(Home { running: true, ..Home::default() }, Sources::new(&[], Vec::new()), &[]).await;
    assert_eq!(stage.get(&stage.path("index.m3u8")).await.status, 503);
    assert_eq!(stage.get(&stage.path("0-0.ts")).await.status, 404);
    assert_eq!(stage.get(&stage.path("..%2f..%2fetc")).await.status, 404);
    assert_eq!(stage.get("/recordings/zz.ts").await.status, 404);
    assert_eq!(stage.get(&format!("/recordings/{}.ts", "0".repeat(32))).await.status, 404);
    let list = stage.get("/recordings.m3u").await.text();
    assert!(list.contains(&format!("http://{}/recordings/{RECORDING}/index.m3u8", stage.addr)));
    let preflight = stage.ask("OPTIONS", &stage.path("index.m3u8"), "Origin: http://player.example\r\n").await;
    assert_eq!((preflight.status, preflight.header("access-control-allow-headers")), (204, "range"));
}
