//! What a device may forget, and when: nothing of its own before the seed has it.

use std::path::Path;
use std::sync::Arc;

use aftercast_node::library::{ChunkNote, Library, NewChunk, NoteKind, REPORT_ANYWAY_MILLIS, Recorded};
use aftercast_protocol::ccf::{Chunk, ChunkQuality, ChunkState, CleanChunk};
use aftercast_protocol::ids::{ChannelId, ChunkCid, ChunkIndex, Slot, TimelineId, UnitDigest};
use aftercast_protocol::sign::SecretKey;
use aftercast_protocol::time::{Pts33, Ticks, UnixMillis};
use aftercast_protocol::truth::{Class, Decision, Fact, Reception};
use aftercast_protocol::verify::GroupHashes;
use aftercast_store::{Durability, Protection, PutError, Store, StoreConfig};

/// Bytes of every chunk here; the store has room for two.
const BYTES: usize = 100_000;

fn open(folder: &Path) -> Arc<Library> {
    let config = StoreConfig { quota_bytes: Some(2 * BYTES as u64), reserve_free_bytes: 0, ..StoreConfig::default() };
    Library::open(Store::open(folder, config).unwrap()).unwrap()
}

fn channel() -> ChannelId {
    "one".parse().unwrap()
}

/// Records the chunk of a place, as the cutter gives it.
fn record(library: &Library, index: u64) -> (ChunkCid, Recorded) {
    let bytes = vec![index as u8; BYTES];
    let cid = ChunkCid::of(&bytes);
    let chunk = Chunk {
        timeline: TimelineId(0),
        index: ChunkIndex(index),
        pts: Pts33(index * 90_000),
        duration: Ticks(90_000),
        opening: UnitDigest([index as u8; 16]),
        dependent: false,
        quality: ChunkQuality::default(),
        state: ChunkState::Clean(CleanChunk::of(bytes)),
        video_frames: 25,
        marks: Vec::new(),
        aux: None,
    };
    (cid, library.record(&channel(), NewChunk { chunk, utc: UnixMillis(1_000 * index) }).unwrap())
}

fn protection(library: &Library, cid: ChunkCid) -> Option<Protection> {
    library.store().chunk(cid).unwrap().map(|info| info.protection)
}

#[test]
fn only_what_the_seed_has_makes_room() {
    let folder = tempfile::tempdir().unwrap();
    let library = open(folder.path());
    let (first, done) = record(&library, 1);
    assert_eq!(done, Recorded::Stored);
    assert_eq!(record(&library, 2).1, Recorded::Stored);
    assert_eq!(record(&library, 3).1, Recorded::NoRoom);
    library.acknowledged(&[first]).unwrap();
    assert_eq!(record(&library, 3).1, Recorded::Stored);
    assert_eq!(protection(&library, first), None);
}

#[test]
fn a_chunk_that_was_fetched_and_then_recorded_is_kept_until_the_seed_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let library = open(folder.path());
    let bytes = vec![1; BYTES];
    let cid = ChunkCid::of(&bytes);
    let note = ChunkNote {
        kind: NoteKind::Fetched,
        channel: channel(),
        slot: Some(Slot { timeline: TimelineId(0), index: ChunkIndex(1) }),
        class: Class::default(),
        utc: UnixMillis(0),
        confirmed: true,
    };
    let store = library.store();
    store.put_chunk(cid, &bytes, &GroupHashes::of(&bytes), &note.encode(), Durability::Synced).unwrap();
    library.fetched(cid).unwrap();
    assert_eq!(protection(&library, cid), Some(Protection::Acknowledged));

    assert_eq!(record(&library, 1), (cid, Recorded::Stored));
    assert_eq!(protection(&library, cid), Some(Protection::Unacknowledged));
    assert!(matches!(library.make_room(2 * BYTES as u64), Err(PutError::NoRoom(_))));
    library.acknowledged(&[cid]).unwrap();
    assert_eq!(protection(&library, cid), Some(Protection::Acknowledged));
}

#[test]
fn a_pin_ends_in_what_was_there_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let library = open(folder.path());
    let (cid, _) = record(&library, 1);
    library.pin(cid).unwrap();
    library.unpin(cid).unwrap();
    assert_eq!(protection(&library, cid), Some(Protection::Unacknowledged));
    library.acknowledged(&[cid]).unwrap();
    library.pin(cid).unwrap();
    assert_eq!(protection(&library, cid), Some(Protection::Pinned));
    library.unpin(cid).unwrap();
    assert_eq!(protection(&library, cid), Some(Protection::Acknowledged));
}

#[test]
fn what_the_seed_may_not_have_decided_on_is_told_again_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let library = open(folder.path());
    let [first, second] = [1, 2].map(|index| record(&library, index).0);
    let (reports, taken) = library.take_reports(UnixMillis(0), |_| true);
    assert_eq!(reports.len(), 2);
    library.reported(&taken).unwrap();
    library.acknowledged(&[first]).unwrap();
    library.store().sync().unwrap();
    drop(library);

    let (reports, _) = open(folder.path()).take_reports(UnixMillis(0), |_| true);
    let told: Vec<_> = reports.into_iter().map(|report| report.reception).collect();
    assert!(matches!(&told[..], [Reception::Clean { cid, .. }] if *cid == second), "{told:?}");
}

#[test]
fn a_device_that_is_no_witness_speaks_only_where_nobody_decides() {
    let folder = tempfile::tempdir().unwrap();
    let library = open(folder.path());
    let [first, second] = [1, 2].map(|index| record(&library, index).0);
    // Received from 1 s to 2 s.
    let late = UnixMillis(2_000 + REPORT_ANYWAY_MILLIS);
    let nobody = |_: &ChannelId| false;
    assert!(library.take_reports(UnixMillis(late.0 - 1), nobody).0.is_empty());
    confirm(&library, 2, second);
    let (reports, taken) = library.take_reports(UnixMillis(late.0 - 1), nobody);
    assert_eq!((reports.len(), taken.len()), (0, 1), "the second needs no word of ours");
    let (reports, _) = library.take_reports(late, nobody);
    assert!(matches!(&reports[..], [one] if matches!(one.reception, Reception::Clean { cid, .. } if cid == first)));
}

fn confirm(library: &Library, index: u64, cid: ChunkCid) {
    let fact = Fact {
        channel: channel(),
        seq: 0,
        slot: Slot { timeline: TimelineId(0), index: ChunkIndex(index) },
        class: Class::default(),
        decision: Decision::Confirmed {
            cid,
            bytes: BYTES as u64,
            pts: Pts33(index * 90_000),
            duration: Ticks(90_000),
            opening: UnitDigest([index as u8; 16]),
        },
        utc: UnixMillis(1_000 * index),
    };
    let signed = SecretKey::from_bytes(&[7; 32]).sign(fact);
    library.handle_facts(&channel(), &[signed], 1).unwrap();
}
