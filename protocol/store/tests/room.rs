//! Quota, eviction, and room that comes back.

mod common;

use aftercast_protocol::ids::GroupIndex;
use aftercast_store::{Durability, Limit, NoRoom, Protection, PutError, Store, StoreConfig};
use common::{Chunk, GROUP, config, disk_used, table_files};

fn with_quota(dir: &std::path::Path, quota: usize) -> Store {
    Store::open(dir, StoreConfig { quota_bytes: Some(quota as u64), ..config() }).unwrap()
}

fn put(store: &Store, chunk: &Chunk) -> Result<(), PutError> {
    store.put_chunk(chunk.cid, &chunk.bytes, &chunk.hashes, b"", Durability::Buffered)
}

#[test]
fn over_the_quota_a_chunk_is_refused_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let store = with_quota(dir.path(), 3 * GROUP);
    let [a, b] = [1, 2].map(|seed| Chunk::new(seed, 2 * GROUP));
    put(&store, &a).unwrap();
    let no_room = NoRoom { needed: 2 * GROUP as u64, free: GROUP as u64, limit: Limit::Quota(3 * GROUP as u64) };
    assert_eq!(put(&store, &b), Err(no_room.into()));
    assert_eq!(store.begin_partial(b.cid, &b.hashes, b""), Err(no_room.into()));
    assert_eq!(store.read_chunk(a.cid).unwrap().as_ref(), Some(&a.bytes));
    store.delete(a.cid, Durability::Buffered).unwrap();
    put(&store, &b).unwrap();
    assert_eq!(store.usage().chunk_bytes, 2 * GROUP as u64);
}

#[test]
fn a_chunk_that_was_begun_can_be_finished_in_the_last_room_of_the_quota() {
    let dir = tempfile::tempdir().unwrap();
    let store = with_quota(dir.path(), 2 * GROUP);
    let chunk = Chunk::new(1, 2 * GROUP);
    store.begin_partial(chunk.cid, &chunk.hashes, b"").unwrap();
    assert!(matches!(put(&store, &Chunk::new(2, 1)), Err(PutError::NoRoom(_))));
    for n in 0..2 {
        store.put_group(chunk.cid, GroupIndex(n), chunk.group(n)).unwrap();
    }
    assert!(store.is_complete(chunk.cid));
    assert_eq!(store.usage().chunk_bytes, 2 * GROUP as u64);
}

#[test]
fn a_disk_with_less_than_the_reserve_takes_no_chunks() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), StoreConfig { reserve_free_bytes: u64::MAX, ..config() }).unwrap();
    let chunk = Chunk::new(1, 10);
    // Twice, as bytes are in the log and in a table file for a while.
    let no_room = NoRoom { needed: 20, free: 0, limit: Limit::Disk };
    assert_eq!(put(&store, &chunk), Err(no_room.into()));
    assert_eq!(store.make_room(10), Err(no_room.into()));
    // Records still go in: an acknowledgement must not be lost for want of chunk room.
    store.table("t").put(b"k", b"v", Durability::Synced).unwrap();
}

#[test]
fn eviction_takes_the_least_recently_used_of_the_acknowledged_only() {
    let dir = tempfile::tempdir().unwrap();
    let store = with_quota(dir.path(), 6 * GROUP);
    let chunks: Vec<Chunk> = (0..6).map(|seed| Chunk::new(seed, GROUP)).collect();
    for chunk in &chunks {
        put(&store, chunk).unwrap();
    }
    for n in [1, 2, 3, 5] {
        store.set_protection(chunks[n].cid, Protection::Acknowledged, Durability::Synced).unwrap();
    }
    store.set_protection(chunks[4].cid, Protection::Pinned, Durability::Synced).unwrap();
    // Reading 1 makes it the last to go, also after a reopening.
    store.read_chunk(chunks[1].cid).unwrap();
    drop(store);
    let store = with_quota(dir.path(), 6 * GROUP);

    let evicted = store.make_room(GROUP as u64 + 1).unwrap();
    assert_eq!((evicted.chunks.len(), evicted.bytes), (2, 2 * GROUP as u64));
    assert!([2, 3].iter().all(|n| evicted.chunks.contains(&chunks[*n].cid)));
    assert_eq!(store.make_room(2 * GROUP as u64).unwrap().bytes, 0, "there is room already");
    // Asked for more than acknowledged chunks hold, it deletes none of them in vain.
    assert!(matches!(store.make_room(5 * GROUP as u64), Err(PutError::NoRoom(_))));
    for n in [0, 1, 4, 5] {
        assert_eq!(store.read_chunk(chunks[n].cid).unwrap().as_ref(), Some(&chunks[n].bytes));
    }
    assert_eq!(store.make_room(4 * GROUP as u64).unwrap().bytes, 2 * GROUP as u64);
    assert!(store.is_complete(chunks[0].cid) && store.is_complete(chunks[4].cid));
}

const MIB: u64 = 1 << 20;

/// Bytes in table files. The log beside them has its room set aside whatever is in it.
fn assert_at_most_a_quarter_garbage(store: &std::path::Path, in_use: u64) {
    let bytes: u64 = table_files(store).iter().map(|file| file.metadata().map_or(0, |meta| meta.len())).sum();
    let most = in_use * 4 / 3 + MIB;
    assert!((in_use..=most).contains(&bytes), "{bytes} bytes in table files, for {in_use} in use");
}

#[test]
fn the_disk_gets_the_room_of_deleted_chunks_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = common::open(dir.path());
    let chunks: Vec<Chunk> = (0..40).map(|seed| Chunk::new(seed, 64 * GROUP)).collect();
    for chunk in &chunks {
        put(&store, chunk).unwrap();
    }
    assert!(disk_used(dir.path()) >= 160 * MIB);
    // Every second one first, so that no file becomes empty. The lot of 64 MiB is full after 16, when 96 MiB are in
    // use; how they lie in files depends on when they were flushed, but a file is at most a quarter garbage then.
    for chunk in chunks.iter().step_by(2) {
        store.delete(chunk.cid, Durability::Buffered).unwrap();
    }
    assert_at_most_a_quarter_garbage(dir.path(), 96 * MIB);
    for chunk in chunks.iter().skip(1).step_by(2) {
        assert_eq!(store.read_chunk(chunk.cid).unwrap().as_ref(), Some(&chunk.bytes));
        store.delete(chunk.cid, Durability::Buffered).unwrap();
    }
    // The next lot is full with eight chunks to go.
    assert_at_most_a_quarter_garbage(dir.path(), 32 * MIB);
    drop(store);
    assert_eq!(common::open(dir.path()).usage().chunks, 0);
}

#[test]
fn the_disk_gets_the_room_of_abandoned_partial_chunks_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = common::open(dir.path());
    let chunks: Vec<Chunk> = (0..5).map(|seed| Chunk::new(seed, 256 * GROUP)).collect();
    for chunk in &chunks {
        store.begin_partial(chunk.cid, &chunk.hashes, b"").unwrap();
    }
    // Group by group of all, as they come from peers.
    for n in 0..255 {
        for chunk in &chunks {
            store.put_group(chunk.cid, GroupIndex(n), chunk.group(n)).unwrap();
        }
    }
    assert!(disk_used(dir.path()) >= 79 * MIB);
    for chunk in &chunks[..4] {
        store.delete(chunk.cid, Durability::Buffered).unwrap();
    }
    // Three times 16 MiB make no lot of 64, the fourth one less a group does neither.
    store.delete(chunks[4].cid, Durability::Buffered).unwrap();
    assert!(disk_used(dir.path()) < 16 * MIB, "{}", disk_used(dir.path()));
}
