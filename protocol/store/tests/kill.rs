//! A process that is killed while it writes. It says nothing about power cuts, which need synced writes: those were
//! looked at with a system call trace when the write path was made.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use aftercast_protocol::ids::{ChunkCid, GroupIndex};
use aftercast_store::Durability;
use common::{Chunk, GROUP, open};

const CHILD: &str = "AFTERCAST_STORE_TEST_CHILD";
const NAME: &str = "what_was_acknowledged_is_whole_after_a_kill";

#[test]
fn what_was_acknowledged_is_whole_after_a_kill() {
    // This test is its own child: the same program, told by its environment to write until it is killed.
    if let Some(job) = std::env::var_os(CHILD) {
        let job = job.into_string().unwrap();
        let (first, path) = job.split_once(' ').unwrap();
        write_forever(Path::new(path), first.parse().unwrap());
    }
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged: Vec<(u64, ChunkCid)> = Vec::new();
    for round in 0..6_u64 {
        acknowledged.extend(killed_after(dir.path(), round * 1_000_000, 3 + round as usize * 4));
        let store = open(dir.path());
        let table = store.table("acks");
        for (n, cid) in &acknowledged {
            assert_eq!(table.get(&n.to_be_bytes()).unwrap().as_deref(), Some(&cid.0[..]), "record of chunk {n}");
            let bytes = store.read_chunk(*cid).unwrap();
            assert!(bytes.is_some_and(|bytes| ChunkCid::of(&bytes) == *cid), "chunk {n}");
        }
        // Bytes and record came together or not at all, acknowledged or not.
        let records = table.scan_prefix(b"", None, usize::MAX).unwrap().len();
        let whole = store.chunks(None, usize::MAX).unwrap().into_iter().filter(|chunk| chunk.note == b"batch");
        assert_eq!(whole.filter(|chunk| chunk.complete).count(), records);
    }
}

/// Lets a child write until it has acknowledged so many chunks, kills it, and gives all that it acknowledged.
fn killed_after(path: &Path, first: u64, acks: usize) -> Vec<(u64, ChunkCid)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(CHILD, format!("{first} {}", path.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut got = Vec::new();
    while let Some(Ok(line)) = lines.next() {
        // The harness prints lines of its own.
        if let Some((n, cid)) = line.split_once(" stored ") {
            got.push((n.rsplit(' ').next().unwrap().parse().unwrap(), cid.parse().unwrap()));
            if got.len() == acks {
                child.kill().unwrap();
            }
        }
    }
    assert!(!child.wait().unwrap().success(), "it writes until it is killed");
    assert!(got.len() >= acks);
    got
}

fn write_forever(path: &Path, first: u64) -> ! {
    let store = open(path);
    let table = store.table("acks");
    for n in first.. {
        let fetched = Chunk::new(n + 500_000, 3 * GROUP);
        store.begin_partial(fetched.cid, &fetched.hashes, b"").unwrap();
        store.put_group(fetched.cid, GroupIndex(1), fetched.group(1)).unwrap();

        let chunk = Chunk::new(n, GROUP * (1 + n as usize % 9) + 1);
        let mut batch = store.batch();
        batch.put_chunk(chunk.cid, &chunk.bytes, &chunk.hashes, b"batch").unwrap();
        batch.put(&table, &n.to_be_bytes(), &chunk.cid.0).unwrap();
        batch.commit(Durability::Synced).unwrap();
        let line = format!("\n{n} stored {}\n", chunk.cid);
        std::io::stdout().write_all(line.as_bytes()).unwrap();
        std::io::stdout().flush().unwrap();

        for group in [0, 2] {
            store.put_group(fetched.cid, GroupIndex(group), fetched.group(group)).unwrap();
        }
        if n % 3 == 0 {
            store.delete(fetched.cid, Durability::Buffered).unwrap();
        }
    }
    unreachable!("it is killed before it runs out of numbers")
}
