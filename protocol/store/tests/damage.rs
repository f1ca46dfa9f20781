//! A disk that gives other bytes than were stored, and writes that fail.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use aftercast_protocol::ids::GroupIndex;
use aftercast_store::{Durability, PutError, ReadError};
use common::{Chunk, GROUP, open, table_files};

/// A closed store with two chunks in a table file each; gives the first one's file and its bytes.
fn stored(dir: &Path, chunk: &Chunk, other: &Chunk) -> (PathBuf, Vec<u8>) {
    for chunk in [chunk, other] {
        let store = open(dir);
        store.put_chunk(chunk.cid, &chunk.bytes, &chunk.hashes, b"", Durability::Synced).unwrap();
        drop(store);
        // Opening moves what is in the log to table files.
        drop(open(dir));
    }
    let start = &chunk.bytes[..64];
    let holds = |file: &PathBuf| fs::read(file).unwrap().windows(64).any(|window| window == start);
    let file = table_files(dir).into_iter().find(holds).expect("a table file holds the chunk");
    let bytes = fs::read(&file).unwrap();
    (file, bytes)
}

#[test]
fn a_flipped_byte_anywhere_in_a_chunks_file_is_an_error_or_harmless() {
    let [chunk, other] = [1, 2].map(|seed| Chunk::new(seed, 3 * GROUP + 5));
    let len = {
        let dir = tempfile::tempdir().unwrap();
        stored(dir.path(), &chunk, &other).1.len()
    };
    // Each group, then index, properties and footer.
    let tail = len - chunk.bytes.len();
    let places: Vec<usize> = (0..3).map(|n| n * GROUP + 100).chain((1..tail).step_by(97).map(|n| len - n)).collect();
    let mut damaged = 0;
    for place in places {
        let dir = tempfile::tempdir().unwrap();
        let (file, mut bytes) = stored(dir.path(), &chunk, &other);
        bytes[place] ^= 0x10;
        fs::write(&file, &bytes).unwrap();
        let store = open(dir.path());
        for n in 0..chunk.groups() {
            let group = GroupIndex(n);
            match store.read_group(chunk.cid, group) {
                // Lost with its file, when the store was opened.
                Ok(None) => damaged += 1,
                Ok(Some(bytes)) => assert_eq!(bytes, chunk.group(n), "byte {place}"),
                Err(error) => {
                    assert_eq!(error, ReadError::Corrupt { cid: chunk.cid, group }, "byte {place}");
                    assert_eq!(store.read_group(chunk.cid, group), Ok(None));
                    damaged += 1;
                }
            }
            let have = store.have(chunk.cid).unwrap();
            assert_eq!(have.contains(group), store.read_group(chunk.cid, group).unwrap().is_some());
        }
        // A peer has the groups still.
        for n in 0..chunk.groups() {
            store.put_group(chunk.cid, GroupIndex(n), chunk.group(n)).unwrap();
        }
        assert_eq!(store.read_chunk(chunk.cid).unwrap().as_ref(), Some(&chunk.bytes), "byte {place}");
        drop(store);
        let store = open(dir.path());
        assert!(store.is_complete(chunk.cid));
        assert_eq!(store.read_chunk(other.cid).unwrap().as_ref(), Some(&other.bytes));
    }
    assert!(damaged >= 3, "the flips in the groups must be seen");
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
fn a_chunk_whose_file_vanished_is_missing_and_can_be_fetched_again() {
    let dir = tempfile::tempdir().unwrap();
    let [chunk, other] = [5, 6].map(|seed| Chunk::new(seed, GROUP));
    let (file, _) = stored(dir.path(), &chunk, &other);
    fs::remove_file(&file).unwrap();
    let store = open(dir.path());
    assert!(!store.is_complete(chunk.cid));
    assert_eq!(store.read_chunk(other.cid).unwrap().as_ref(), Some(&other.bytes));
    assert_eq!(store.put_group(chunk.cid, GroupIndex(0), chunk.group(0)), Ok(true));
    drop(store);
    assert_eq!(open(dir.path()).read_chunk(chunk.cid).unwrap(), Some(chunk.bytes));
}

#[test]
fn after_a_failed_write_everything_is_refused_until_the_store_is_opened_anew() {
    let dir = tempfile::tempdir().unwrap();
    let [chunk, other] = [7, 8].map(|seed| Chunk::new(seed, GROUP));
    let store = open(dir.path());
    store.put_chunk(other.cid, &other.bytes, &other.hashes, b"", Durability::Synced).unwrap();
    // Stands for a disk that fails: the next file of the log cannot be made.
    let (db, away) = (dir.path().join("db"), dir.path().join("away"));
    fs::rename(&db, &away).unwrap();
    let put = |chunk: &Chunk| store.put_chunk(chunk.cid, &chunk.bytes, &chunk.hashes, b"", Durability::Buffered);
    let failed = (100..200).map(|seed| put(&Chunk::new(seed, 16 * GROUP))).find(Result::is_err);
    assert!(matches!(failed, Some(Err(PutError::Failed(_)))), "{failed:?}");
    fs::rename(&away, &db).unwrap();
    assert!(matches!(put(&chunk), Err(PutError::Failed(_))));
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
