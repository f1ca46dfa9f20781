//! One column of the table: a programme, its plan, and the chunks that a whole reception gives.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aftercast_protocol::ccf::{Anchor, Chunk, ChunkPlan, ChunkState, Chunker, ChunkerEvent, ProgramSelect};
use aftercast_protocol::ids::ChunkCid;
use aftercast_protocol::time::Ticks;

use crate::broadcast::BroadcastError;
use crate::broadcast::variety::{Combination, GROUP, Programme};
use crate::impair::Evidence;

/// Short, so that short sources count: a chunk is a picture group.
pub const INTERVAL: Ticks = Ticks(GROUP);

/// Timeline and index of a chunk.
pub type Key = (u32, u64);

/// What is known of a programme as it was sent.
#[derive(Debug)]
pub struct Source {
    /// Its codecs.
    pub combination: Combination,
    /// Where its programmes are kept.
    pub folder: PathBuf,
    /// Its transport stream.
    pub bytes: Vec<u8>,
    /// Profile, and an anchor for each chunk of the reference.
    pub plan: ChunkPlan,
    /// What a receiver must have of it.
    pub evidence: Evidence,
    /// Clean chunks of a whole reception.
    pub reference: BTreeMap<Key, Chunk>,
}

impl Source {
    /// Makes a combination, or finds it in `folder`, and cuts it.
    ///
    /// # Errors
    /// FFmpeg is missing or failed, or the folder cannot be used.
    pub fn make(combination: &Combination, folder: &Path) -> Result<Self, BroadcastError> {
        let path = combination.make(Programme::Main, folder)?;
        let bytes = std::fs::read(&path).map_err(|error| BroadcastError::File { path, error })?;
        Ok(Self::of(combination.clone(), folder, bytes))
    }

    /// Cuts a programme.
    ///
    /// # Panics
    /// Where it gives no chunks or evidence: nothing could be judged by it.
    #[must_use]
    pub fn of(combination: Combination, folder: &Path, bytes: Vec<u8>) -> Self {
        let evidence = Evidence::of(&bytes).expect("a programme with random access points");
        let (chunks, plan) = discovered(&bytes);
        let reference = clean(chunks);
        assert!(reference.len() >= 15, "{combination} gives {} chunks", reference.len());
        let plan = ChunkPlan { anchors: anchors(&reference), ..plan };
        Self { combination, folder: folder.to_owned(), bytes, plan, evidence, reference }
    }

    /// What a receiver gives that knows the channel's profile, and no anchors yet.
    #[must_use]
    pub fn receive(&self, bytes: &[u8]) -> Vec<Chunk> {
        cut(&mut planned(&ChunkPlan { anchors: Vec::new(), ..self.plan.clone() }), bytes, 100_000)
    }

    /// The same programme by a plan that names its first audio alone.
    #[must_use]
    pub fn with_first_audio_only(&self) -> Self {
        let mut plan = ChunkPlan { anchors: Vec::new(), ..self.plan.clone() };
        plan.profile.audio.truncate(1);
        let reference = clean(cut(&mut planned(&plan), &self.bytes, 100_000));
        plan.anchors = anchors(&reference);
        let evidence = Evidence::of(&self.bytes).expect("read before").with_audios(1);
        Self {
            combination: self.combination.clone(),
            folder: self.folder.clone(),
            bytes: self.bytes.clone(),
            plan,
            evidence,
            reference,
        }
    }
}

/// A chunker that follows a plan.
pub fn planned(plan: &ChunkPlan) -> Chunker {
    Chunker::new(plan.clone(), ProgramSelect::First).expect("a legal plan")
}

/// A chunker that knows the interval alone.
pub fn discovering() -> Chunker {
    Chunker::discover(INTERVAL, ProgramSelect::First).expect("a legal interval")
}

fn discovered(bytes: &[u8]) -> (Vec<Chunk>, ChunkPlan) {
    let mut chunker = discovering();
    let chunks = cut(&mut chunker, bytes, 100_000);
    (chunks, chunker.plan().expect("a programme that can be cut").clone())
}

/// Everything that comes out of `bytes`, read in pieces of that size.
pub fn cut(chunker: &mut Chunker, bytes: &[u8], piece: usize) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let mut drain = |chunker: &mut Chunker| {
        while let Some(event) = chunker.poll_event() {
            if let ChunkerEvent::Chunk(chunk) = event {
                chunks.push(chunk);
            }
        }
    };
    for piece in bytes.chunks(piece) {
        chunker.push(piece);
        drain(chunker);
    }
    chunker.finish();
    drain(chunker);
    chunks
}

/// Clean chunks by timeline and index.
pub fn clean(chunks: Vec<Chunk>) -> BTreeMap<Key, Chunk> {
    let clean = chunks.into_iter().filter(|chunk| matches!(chunk.state, ChunkState::Clean(_)));
    clean.map(|chunk| ((chunk.timeline.0, chunk.index.0), chunk)).collect()
}

/// CID of a clean chunk.
pub fn cid(chunk: &Chunk) -> Option<ChunkCid> {
    match &chunk.state {
        ChunkState::Clean(clean) => Some(clean.cid),
        ChunkState::Withheld(_) => None,
    }
}

fn anchors(reference: &BTreeMap<Key, Chunk>) -> Vec<Anchor> {
    let anchor =
        |chunk: &Chunk| Anchor { timeline: chunk.timeline, index: chunk.index, pts: chunk.pts, digest: chunk.opening };
    reference.values().map(anchor).collect()
}
