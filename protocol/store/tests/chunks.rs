//! Chunks go in and come out, whole and in parts, alone and with records.

mod common;

use std::ops::Bound;

use aftercast_protocol::ids::{ChunkCid, GroupIndex};
use aftercast_store::{Durability, OpenError, Protection, PutError, Store};
use common::{Chunk, GROUP, config, open};

#[test]
fn a_chunk_survives_reopening_with_its_note_and_protection() {
    let dir = tempfile::tempdir().unwrap();
    let chunk = Chunk::new(1, 3 * GROUP + 17);
    let store = open(dir.path());
    store.put_chunk(chunk.cid, &chunk.bytes, &chunk.hashes, b"note", Durability::Synced).unwrap();
    store.set_protection(chunk.cid, Protection::Pinned, Durability::Synced).unwrap();
    drop(store);

    let store = open(dir.path());
    assert_eq!(store.read_chunk(chunk.cid).unwrap().as_ref(), Some(&chunk.bytes));
    let info = store.chunk(chunk.cid).unwrap().unwrap();
    assert_eq!((info.len, info.complete, info.protection), (chunk.bytes.len() as u64, true, Protection::Pinned));
    assert_eq!(info.note, b"note");
    assert_eq!(store.hashes(chunk.cid).unwrap(), Some(chunk.hashes));
}

#[test]
fn ranges_are_cut_at_group_borders_and_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let chunk = Chunk::new(2, 2 * GROUP + 100);
    store.put_chunk(chunk.cid, &chunk.bytes, &chunk.hashes, b"", Durability::Buffered).unwrap();
    let end = chunk.bytes.len();
    for (from, to) in [(0, 0), (0, 1), (GROUP - 1, GROUP + 1), (GROUP, 2 * GROUP), (5, end), (end, end), (end - 1, end)]
    {
        let got = store.read_range(chunk.cid, from as u64..to as u64).unwrap();
        assert_eq!(got.as_deref(), Some(&chunk.bytes[from..to]), "{from}..{to}");
    }
    let beyond = store.read_range(chunk.cid, end as u64 - 3..u64::MAX).unwrap();
    assert_eq!(beyond.as_deref(), Some(&chunk.bytes[end - 3..]));
    #[expect(clippy::reversed_empty_ranges, reason = "a caller's mistake must not panic")]
    let backwards = store.read_range(chunk.cid, 9..3).unwrap();
    assert_eq!(backwards.as_deref(), Some(&[][..]));
}

#[test]
fn a_group_with_wrong_bytes_never_joins_the_have_set() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let chunk = Chunk::new(3, 2 * GROUP + 1);
    store.begin_partial(chunk.cid, &chunk.hashes, b"").unwrap();
    let bad = [
        (GroupIndex(0), chunk.group(1).to_vec()),
        (GroupIndex(0), chunk.group(0)[1..].to_vec()),
        (GroupIndex(2), vec![]),
        (GroupIndex(3), chunk.group(0).to_vec()),
        (GroupIndex(u32::MAX), chunk.group(0).to_vec()),
    ];
    for (group, bytes) in bad {
        let refused = store.put_group(chunk.cid, group, &bytes);
        assert_eq!(refused, Err(PutError::BadGroup { cid: chunk.cid, group }));
        assert_eq!(store.read_group(chunk.cid, group), Ok(None));
    }
    let have = store.have(chunk.cid).unwrap();
    assert!((0..3).all(|n| !have.contains(GroupIndex(n))));
}

#[test]
fn a_whole_chunk_with_wrong_bytes_or_hashes_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let chunk = Chunk::new(4, GROUP + 9);
    let other = Chunk::new(5, GROUP + 9);
    let put = |cid, bytes: &[u8], hashes| store.put_chunk(cid, bytes, hashes, b"", Durability::Synced);
    let bad_group = PutError::BadGroup { cid: chunk.cid, group: GroupIndex(0) };
    assert_eq!(put(chunk.cid, &other.bytes, &chunk.hashes), Err(bad_group));
    assert_eq!(put(chunk.cid, &chunk.bytes, &other.hashes), Err(PutError::WrongHashes(chunk.cid)));
    assert_eq!(put(chunk.cid, &chunk.bytes[1..], &chunk.hashes), Err(PutError::WrongHashes(chunk.cid)));
    assert_eq!(store.usage().chunks, 0);
}

#[test]
fn a_partial_chunk_serves_its_groups_resumes_and_becomes_whole() {
    let dir = tempfile::tempdir().unwrap();
    let chunk = Chunk::new(6, 4 * GROUP + 5);
    let store = open(dir.path());
    store.begin_partial(chunk.cid, &chunk.hashes, b"n").unwrap();
    for n in [3, 1] {
        assert_eq!(store.put_group(chunk.cid, GroupIndex(n), chunk.group(n)), Ok(false));
    }
    store.sync().unwrap();
    drop(store);

    let store = open(dir.path());
    assert_eq!(store.read_group(chunk.cid, GroupIndex(3)).unwrap().as_deref(), Some(chunk.group(3)));
    assert_eq!(store.read_group(chunk.cid, GroupIndex(0)), Ok(None));
    assert_eq!(store.read_chunk(chunk.cid), Ok(None));
    let inside = store.read_range(chunk.cid, GROUP as u64 + 1..2 * GROUP as u64).unwrap();
    assert_eq!(inside.as_deref(), Some(&chunk.group(1)[1..]));
    // Beginning again changes nothing.
    store.begin_partial(chunk.cid, &chunk.hashes, b"").unwrap();
    for n in [0, 1, 2, 4] {
        assert_eq!(store.put_group(chunk.cid, GroupIndex(n), chunk.group(n)), Ok(n == 4));
    }
    assert!(store.is_complete(chunk.cid));
    assert!(store.have(chunk.cid).unwrap().is_complete());
    assert_eq!(store.read_chunk(chunk.cid).unwrap(), Some(chunk.bytes));
    assert_eq!(store.chunk(chunk.cid).unwrap().unwrap().note, b"n");
}

#[test]
fn a_batch_happens_as_a_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let table = store.table("facts");
    let [a, b] = [7, 8].map(|seed| Chunk::new(seed, GROUP + 1));

    let mut batch = store.batch();
    batch.put_chunk(a.cid, &a.bytes, &a.hashes, b"").unwrap();
    batch.put(&table, b"a", b"1").unwrap();
    // Not here: the commit must refuse everything before it.
    batch.set_protection(b.cid, Protection::Acknowledged);
    assert_eq!(batch.commit(Durability::Synced), Err(PutError::Unknown(b.cid)));
    assert!(!store.is_complete(a.cid));
    assert_eq!(table.get(b"a"), Ok(None));
    assert_eq!(store.usage().chunk_bytes, 0);

    let mut batch = store.batch();
    for chunk in [&a, &b] {
        batch.put_chunk(chunk.cid, &chunk.bytes, &chunk.hashes, b"").unwrap();
    }
    batch.set_protection(b.cid, Protection::Acknowledged);
    batch.put(&table, b"a", b"1").unwrap();
    batch.commit(Durability::Synced).unwrap();
    assert!(store.is_complete(a.cid) && store.is_complete(b.cid));
    assert_eq!(store.chunk(b.cid).unwrap().unwrap().protection, Protection::Acknowledged);
    assert_eq!(table.get(b"a"), Ok(Some(b"1".to_vec())));

    // A chunk that is replaced within a batch, and one put twice.
    let mut batch = store.batch();
    batch.delete_chunk(a.cid);
    batch.put_chunk(a.cid, &a.bytes, &a.hashes, b"again").unwrap();
    batch.put_chunk(a.cid, &a.bytes, &a.hashes, b"twice").unwrap();
    batch.commit(Durability::Buffered).unwrap();
    assert_eq!(store.read_chunk(a.cid).unwrap().as_ref(), Some(&a.bytes));
    assert_eq!(store.chunk(a.cid).unwrap().unwrap().note, b"twice");
}

#[test]
fn tables_are_ordered_and_apart_from_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (table, neighbour) = (store.table("ab"), store.table("a"));
    for key in [&b"b1"[..], b"a", b"b2", b"b\xff", b"c"] {
        table.put(key, key, Durability::Buffered).unwrap();
    }
    neighbour.put(b"bb1", b"x", Durability::Buffered).unwrap();
    let keys = |pairs: Vec<(Vec<u8>, Vec<u8>)>| pairs.into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    assert_eq!(keys(table.scan_prefix(b"b", None, 9).unwrap()), [&b"b1"[..], b"b2", b"b\xff"]);
    assert_eq!(keys(table.scan_prefix(b"b", Some(b"b1"), 1).unwrap()), [b"b2"]);
    assert_eq!(keys(table.scan_prefix(b"", None, 9).unwrap()).len(), 5);
    assert_eq!(keys(neighbour.scan_prefix(b"", None, 9).unwrap()), [b"bb1"]);
    let inside = table.scan(Bound::Excluded(b"a"), Bound::Included(b"b2"), 9).unwrap();
    assert_eq!(keys(inside), [b"b1", b"b2"]);
    table.delete(b"b1", Durability::Synced).unwrap();
    assert_eq!(table.get(b"b1"), Ok(None));
}

#[test]
fn a_second_opening_is_refused_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let error = Store::open(dir.path(), config()).err().expect("it is in use");
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    drop(store);
    open(dir.path());
}

#[test]
fn formats_of_the_future_and_strangers_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let format = dir.path().join("FORMAT");
    std::fs::write(&format, "aftercast-store 2\n").unwrap();
    let error = Store::open(dir.path(), config()).err().unwrap();
    assert!(matches!(error, OpenError::NewerFormat { found: 2, known: 1, .. }), "{error}");
    for text in [&b"something else"[..], b"", b"\xff\xfe"] {
        std::fs::write(&format, text).unwrap();
        let error = Store::open(dir.path(), config()).err().unwrap();
        assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
    }
    std::fs::remove_file(&format).unwrap();
    assert!(matches!(Store::open(dir.path(), config()), Err(OpenError::Corrupt { .. })));
}

#[test]
fn a_folder_that_cannot_be_made_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Store::open(file.path().join("store"), config()).err().unwrap();
    assert!(matches!(error, OpenError::NotWritable { .. }), "{error}");
}

#[test]
fn nothing_is_known_of_a_chunk_that_is_not_here() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let cid = ChunkCid([7; 32]);
    assert_eq!(store.put_group(cid, GroupIndex(0), b"x"), Err(PutError::Unknown(cid)));
    assert_eq!(store.set_note(cid, b"", Durability::Synced), Err(PutError::Unknown(cid)));
    assert_eq!(store.delete(cid, Durability::Synced), Ok(()));
    assert_eq!(store.read_range(cid, 0..1), Ok(None));
    assert_eq!(store.hashes(cid).unwrap(), None);
    assert!(store.have(cid).is_none());
}

#[test]
fn many_threads_may_put_read_and_delete_the_same_chunks() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let chunks: Vec<Chunk> = (0..3).map(|seed| Chunk::new(seed, 2 * GROUP)).collect();
    std::thread::scope(|scope| {
        for worker in 0..4_usize {
            let (store, chunks) = (store.clone(), &chunks);
            scope.spawn(move || {
                for round in 0..24_usize {
                    let chunk = &chunks[(worker + round) % chunks.len()];
                    match (worker * 7 + round) % 4 {
                        0 => store.delete(chunk.cid, Durability::Buffered).unwrap(),
                        1 => {
                            store.begin_partial(chunk.cid, &chunk.hashes, b"").unwrap();
                            // Another may have deleted it again.
                            let _ = store.put_group(chunk.cid, GroupIndex(0), chunk.group(0));
                        }
                        _ => {
                            let put =
                                store.put_chunk(chunk.cid, &chunk.bytes, &chunk.hashes, b"", Durability::Buffered);
                            put.unwrap();
                        }
                    }
                    if let Some(bytes) = store.read_chunk(chunk.cid).unwrap() {
                        assert!(bytes == chunk.bytes);
                    }
                }
            });
        }
    });
    for chunk in &chunks {
        store.put_chunk(chunk.cid, &chunk.bytes, &chunk.hashes, b"", Durability::Synced).unwrap();
        assert_eq!(store.read_chunk(chunk.cid).unwrap().as_ref(), Some(&chunk.bytes));
    }
    assert_eq!(store.usage().chunk_bytes, 6 * GROUP as u64);
}
