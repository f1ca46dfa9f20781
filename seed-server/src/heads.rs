//! The transcoding worker: one thread, one job at a time, in the order asked.
//!
//! Transcoding takes a core for a moment; one thread keeps it off the desk and bounds its memory. A rendition is
//! stored and synced before the desk hears of it, and made at most once per chunk and recipe: jobs whose rendition
//! lies in the store already are answered from there.

use std::sync::Arc;

use aftercast_protocol::ids::{ChannelId, ChunkCid, Slot};
use aftercast_protocol::manifest::Rendition;
use aftercast_protocol::verify::GroupHashes;
use aftercast_store::{Durability, Protection, Store};
use tokio::sync::mpsc;

use crate::desk::Input;
use crate::head::{self, Recipe};
use crate::metrics::SeedMetrics;

/// What a rendition is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A quick start of playback.
    Head,
    /// The archive (claim 6).
    Archive,
}

/// A chunk to transcode.
#[derive(Debug, Clone)]
pub struct HeadJob {
    /// Its channel.
    pub channel: ChannelId,
    /// Its place.
    pub slot: Slot,
    /// The chunk.
    pub cid: ChunkCid,
    /// What for.
    pub purpose: Purpose,
}

/// A job's end.
#[derive(Debug)]
pub struct HeadDone {
    /// The job.
    pub job: HeadJob,
    /// The rendition, stored durably; or why there is none.
    pub result: Result<Rendition, String>,
}

/// Works until the desk is gone.
pub fn work(
    store: &Store,
    recipe: &Recipe,
    metrics: &Arc<SeedMetrics>,
    jobs: &mut mpsc::Receiver<HeadJob>,
    desk: &mpsc::Sender<Input>,
) {
    while let Some(job) = jobs.blocking_recv() {
        if desk.is_closed() {
            // What was not made is asked for again after the next start.
            return;
        }
        let made = store.table("renditions");
        let key = [&job.cid.0[..], recipe.name.as_bytes()].concat();
        let known = made.get(&key).ok().flatten().and_then(|value| minicbor::decode::<Rendition>(&value).ok());
        let result = match known {
            Some(rendition) => Ok(rendition),
            None => make(store, recipe, job.cid).and_then(|(rendition, bytes, hashes)| {
                let mut batch = store.batch();
                let value = minicbor::to_vec(&rendition).map_err(|e| e.to_string())?;
                batch.put_chunk(rendition.cid, &bytes, &hashes, recipe.name.as_bytes()).map_err(|e| e.to_string())?;
                batch.set_protection(rendition.cid, Protection::Pinned);
                batch.put(&made, &key, &value).map_err(|e| e.to_string())?;
                batch.commit(Durability::Synced).map_err(|e| e.to_string())?;
                match job.purpose {
                    Purpose::Head => {
                        metrics.heads.inc();
                        metrics.head_bytes.inc_by(rendition.bytes);
                    }
                    Purpose::Archive => {
                        metrics.archive_bytes.inc_by(rendition.bytes);
                    }
                }
                Ok(rendition)
            }),
        };
        if desk.blocking_send(Input::Head(HeadDone { job, result })).is_err() {
            return;
        }
    }
}

fn make(store: &Store, recipe: &Recipe, cid: ChunkCid) -> Result<(Rendition, Vec<u8>, GroupHashes), String> {
    let source =
        store.read_chunk(cid).map_err(|e| e.to_string())?.ok_or_else(|| format!("chunk {cid} is not stored"))?;
    let bytes = head::transcode(&source, recipe).map_err(|e| e.to_string())?;
    let hashes = GroupHashes::of(&bytes);
    let rendition = Rendition { recipe: recipe.name.clone(), cid: hashes.cid(), bytes: hashes.len_bytes() };
    Ok((rendition, bytes, hashes))
}
