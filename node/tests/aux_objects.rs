//! What came beside the core of a chunk is kept with it, goes with it, and is announced alike over restarts.

use std::path::Path;
use std::sync::Arc;

use aftercast_node::library::{Library, NewChunk, Recorded};
use aftercast_protocol::ccf::{
    AuxObject, AuxStream, AuxUnit, Chunk, ChunkState, Chunker, ChunkerEvent, PesForm, ProgramSelect,
};
use aftercast_protocol::ids::{ChannelId, ChunkCid};
use aftercast_protocol::time::{Ticks, UnixMillis};
use aftercast_store::{Store, StoreConfig};

const QUOTA: u64 = 1_000_000;

fn open(folder: &Path) -> Arc<Library> {
    let config = StoreConfig { quota_bytes: Some(QUOTA), reserve_free_bytes: 0, ..StoreConfig::default() };
    Library::open(Store::open(folder, config).unwrap()).unwrap()
}

fn channel() -> ChannelId {
    "one".parse().unwrap()
}

fn subtitles(language: &[u8; 3]) -> AuxStream {
    AuxStream { stream_type: 0x06, descriptors: [b"\x59\x08", &language[..], b"\x10\x00\x01\x00\x01"].concat() }
}

/// Two whole chunks of a source, the first with subtitles in one language, the second in two.
fn chunks() -> Vec<(ChunkCid, Chunk)> {
    let mut chunker = Chunker::discover(Ticks(43_200), ProgramSelect::First).unwrap();
    chunker.push(include_bytes!("../../protocol/tests/data/avc-aac.ts"));
    chunker.finish();
    let mut found = Vec::new();
    while let Some(event) = chunker.poll_event() {
        let ChunkerEvent::Chunk(mut chunk) = event else { continue };
        let ChunkState::Clean(clean) = &chunk.state else { continue };
        let cid = clean.cid;
        let streams = [*b"fra", *b"deu"].iter().take(found.len() + 1).map(subtitles).collect();
        let pes = Some(PesForm { stream_id: 0xBD, timed: true, aligned: true });
        let units = vec![AuxUnit { stream: 0, time: Ticks(9), pes, data: vec![1; 300] }];
        chunk.aux = Some(Box::new(AuxObject { chunk: Some(cid), streams, units }));
        found.push((cid, chunk));
        if found.len() == 2 {
            break;
        }
    }
    found
}

#[test]
fn aux_objects_go_with_their_chunks_and_layouts_stay() {
    let folder = tempfile::tempdir().unwrap();
    let library = open(folder.path());
    let chunks = chunks();
    for (_, chunk) in &chunks {
        let new = NewChunk { chunk: chunk.clone(), utc: UnixMillis(1000) };
        assert_eq!(library.record(&channel(), new).unwrap(), Recorded::Stored);
    }
    let held = |library: &Library| chunks.iter().filter(|(cid, _)| library.aux(*cid).is_some()).count();
    assert_eq!(library.aux(chunks[0].0).as_ref(), chunks[0].1.aux.as_deref());
    library.store().sync().unwrap();
    drop(library);

    let library = open(folder.path());
    assert_eq!(held(&library), 2);
    let layout = library.layout(&channel(), 0).expect("the channel's layout");
    assert_eq!(layout.streams(), [subtitles(b"fra"), subtitles(b"deu")], "one layout for both");
    assert!(library.layout(&channel(), 1).is_none());
    library.acknowledged(&[chunks[0].0]).unwrap();
    let left = library.store().chunk(chunks[1].0).unwrap().expect("the second").len;
    library.make_room(QUOTA - left).unwrap();
    assert_eq!(held(&library), 1, "the evicted chunk's is gone");
    assert_eq!(library.aux(chunks[0].0), None);
}
