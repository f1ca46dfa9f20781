//! A disk that gives other bytes than were stored, and writes that fail.

mod common;

use std::fs;
use std::path::Path;

use aftercast_protocol::ids::GroupIndex;
use aftercast_store::{Durability, PutError, ReadError};
use common::{Chunk, GROUP, open, table_files};

/// A closed store with two chunks; gives the bytes of the first one's file and its name.
fn stored(dir: &Path, chunk: &Chunk, other: &Chunk) -> (std::path::PathBuf, Vec<u8>) {
    let store = open(dir);
    store.put_chunk(chunk.cid, &chunk.bytes, &chunk.hashes, b"", Durability::Synced).unwrap();
    let file = table_files(dir).pop().unwrap();
    store.put_chunk(other.cid, &other.bytes, &other.hashes, b"", Durability::Synced).unwrap();
    drop(store);
    let bytes = fs::read(&file).unwrap();
    (file, bytes)
}

#[test]
fn the_have_set_remembers_damage_over_a_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let [chunk, other] = [3, 4].map(|seed| Chunk::new(seed, 3 * GROUP));
    let (file, mut bytes) = stored(dir.path(), &chunk, &other);
    bytes[GROUP + 100] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let store = open(dir.path());
    assert_eq!(store.read_chunk(chunk.cid), Err(ReadError::Corrupt { cid: chunk.cid, group: GroupIndex(1) }));
    drop(store);

    let store = open(dir.path());
    assert!(!store.is_complete(chunk.cid));
    let have = store.have(chunk.cid).unwrap();
    assert_eq!([0, 1, 2].map(|n| have.contains(GroupIndex(n))), [true, false, true]);
    store.put_chunk(chunk.cid, &chunk.bytes, &chunk.hashes, b"", Durability::Synced).unwrap();
    assert_eq!(store.read_chunk(chunk.cid).unwrap(), Some(chunk.bytes));
}

#[test]
fn after_a_failed_write_everything_is_refused_until_the_store_is_opened_anew() {
    let dir = tempfile::tempdir().unwrap();
    let [chunk, other] = [7, 8].map(|seed| Chunk::new(seed, GROUP));
    let store = open(dir.path());
    store.put_chunk(other.cid, &other.bytes, &other.hashes, b"", Durability::Synced).unwrap();
    // Stands for a disk that fails: table files cannot be written any more.
    fs::remove_dir(dir.path().join("new")).unwrap();
    let put = || store.put_chunk(chunk.cid, &chunk.bytes, &chunk.hashes, b"", Durability::Synced);
    assert!(matches!(put(), Err(PutError::Failed(_))));
    fs::create_dir(dir.path().join("new")).unwrap();
    assert!(matches!(put(), Err(PutError::Failed(_))));
    assert!(matches!(store.sync(), Err(PutError::Failed(_))));
    assert!(matches!(store.make_room(0), Err(PutError::Failed(_))));
    assert!(store.table("t").put(b"k", b"v", Durability::Buffered).is_err());
    assert!(store.failure().is_some());
    // What is there can still be read.
    assert_eq!(store.read_chunk(other.cid).unwrap().as_ref(), Some(&other.bytes));
    drop(store);

    let store = open(dir.path());
    store.put_chunk(chunk.cid, &chunk.bytes, &chunk.hashes, b"", Durability::Synced).unwrap();
    assert!(store.is_complete(other.cid));
}
