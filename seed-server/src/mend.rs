//! Mending at the seed: what damaged receptions prove of a chunk, and what they make together.
//!
//! A home that lost a few packets still has most units of a chunk as they were broadcast. The list of them (some 15 KB)
//! speaks for or against a chunk that one other home has whole; where nobody has it whole, the units of several homes
//! make it, each with two that have it alike (DESIGN 6). One job at a time, fetched like everything over lanes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aftercast_net::Net;
use aftercast_net::exchange::{LanePool, WantedPart};
use aftercast_protocol::ccf::{Agreement, Assembly, Bounds, CleanChunk, Profile, Testimony, UnitIndex, Voice};
use aftercast_protocol::ids::{ChannelId, ChunkCid, DeviceId, Slot, SubscriberId};
use aftercast_protocol::serve::Class;
use aftercast_protocol::time::{Micros, Pts33, Ticks};
use aftercast_protocol::truth::Claim;
use aftercast_protocol::wire::lane::{ByteRange, Part, stretches};
use aftercast_store::{Durability, Protection, Store};
use futures::future::join_all;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::desk::Input;
use crate::metrics::SeedMetrics;

/// Longest wait for one answer of a home.
const PATIENCE: Micros = Micros::from_secs(20);

/// What one home has of a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The home's device.
    pub device: DeviceId,
    /// Whose it is: of one subscriber's devices one voice counts.
    pub subscriber: SubscriberId,
    /// Id of its salvaged form.
    pub cid: ChunkCid,
}

/// A chunk to be mended.
#[derive(Debug, Clone)]
pub struct MendJob {
    /// Its channel.
    pub channel: ChannelId,
    /// Its place.
    pub slot: Slot,
    /// What is to be done.
    pub task: MendTask,
    /// What homes have of it.
    pub pieces: Vec<Piece>,
}

/// What is to be done.
#[derive(Debug, Clone)]
pub enum MendTask {
    /// Find out what the pieces say of a chunk that is stored here.
    Hear(Claim),
    /// Make the chunk.
    Assemble {
        /// How the channel's chunks are written.
        profile: Profile,
        /// What is known of the chunk; its id and length are not.
        place: Place,
        /// The next chunk and its PTS; stored here.
        next: (ChunkCid, Pts33),
    },
}

/// Where a chunk begins, and how long it lasts.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// PTS of its opening unit.
    pub pts: Pts33,
    /// Distance to the next opening unit.
    pub duration: Ticks,
    /// Digest of its opening unit.
    pub opening: aftercast_protocol::ids::UnitDigest,
}

/// A job's end.
#[derive(Debug)]
pub struct MendDone {
    /// Its channel.
    pub channel: ChannelId,
    /// Its place.
    pub slot: Slot,
    /// What came of it.
    pub outcome: MendOutcome,
}

/// What came of a job.
#[derive(Debug)]
pub enum MendOutcome {
    /// What each home's units say of the chunk.
    Heard {
        /// The chunk.
        claim: Claim,
        /// Who says what.
        said: Vec<(DeviceId, Testimony)>,
    },
    /// The chunk is made, and stored durably.
    Assembled {
        /// The chunk.
        claim: Claim,
        /// Bytes fetched for it.
        fetched: u64,
    },
    /// Neither.
    Failed {
        /// Why.
        reason: String,
        /// Whether another try may help: some home did not answer.
        unheard: bool,
    },
}

/// Works until the desk is gone.
pub async fn work(
    net: Net,
    store: Store,
    metrics: Arc<SeedMetrics>,
    mut jobs: mpsc::Receiver<MendJob>,
    desk: mpsc::Sender<Input>,
) {
    let mender = Mender { lanes: LanePool::new(net.clone(), 1), net, store, metrics };
    while let Some(MendJob { channel, slot, task, pieces }) = jobs.recv().await {
        let mut unheard = false;
        let outcome = match task {
            MendTask::Hear(claim) => mender.hear(claim, &pieces, &mut unheard).await,
            MendTask::Assemble { profile, place, next } => {
                mender.assemble(&profile, place, next, &pieces, &mut unheard).await
            }
        };
        let outcome = outcome.unwrap_or_else(|reason| MendOutcome::Failed { reason, unheard });
        if desk.send(Input::Mend(MendDone { channel, slot, outcome })).await.is_err() {
            return;
        }
    }
}

struct Mender {
    net: Net,
    lanes: LanePool,
    store: Store,
    metrics: Arc<SeedMetrics>,
}

impl Mender {
    async fn hear(&self, claim: Claim, pieces: &[Piece], unheard: &mut bool) -> Result<MendOutcome, String> {
        let index = self.stored_index(claim.cid, claim.pts).await?;
        let heard = self.indexes(claim.pts, pieces).await;
        *unheard = heard.iter().any(Option::is_none);
        if *unheard && heard.iter().all(Option::is_none) {
            return Err("no home answers".to_owned());
        }
        let said = pieces.iter().zip(&heard);
        let said = said.filter_map(|(piece, own)| Some((piece.device, index.testimony(own.as_ref()?)))).collect();
        Ok(MendOutcome::Heard { claim, said })
    }

    async fn assemble(
        &self,
        profile: &Profile,
        place: Place,
        next: (ChunkCid, Pts33),
        pieces: &[Piece],
        unheard: &mut bool,
    ) -> Result<MendOutcome, String> {
        let Place { pts, duration, opening } = place;
        let after = self.stored_index(next.0, next.1).await?;
        let first = after.units.iter().find(|unit| unit.stream == 0).ok_or("the next chunk has no units")?;
        let bounds = Bounds { opening, duration, next_dts: Ticks(duration.0 + first.dts.0) };
        let heard = self.indexes(pts, pieces).await;
        *unheard = heard.iter().any(Option::is_none);
        let mut numbers: BTreeMap<&SubscriberId, u64> = BTreeMap::new();
        let mut voices = Vec::new();
        let mut devices = Vec::new();
        for (piece, index) in pieces.iter().zip(&heard) {
            let Some(units) = index else { continue };
            let known = numbers.len() as u64;
            let subscriber = *numbers.entry(&piece.subscriber).or_insert(known);
            voices.push(Voice { subscriber, units });
            devices.push(piece);
        }
        let agreement = Agreement::of(profile, bounds, &voices).map_err(|e| e.to_string())?;
        let mut assembly = Assembly::new(profile, pts, agreement, &voices);
        let mut fetched = heard.iter().flatten().map(|index| index.encode().len() as u64).sum();
        loop {
            let missing = assembly.missing();
            if missing.is_empty() {
                break;
            }
            for (voice, ranges) in missing {
                let Some(piece) = devices.get(voice) else { continue };
                let parts = self.units(piece, &ranges).await.unwrap_or_else(|error| {
                    tracing::debug!(device = %piece.device, %error, "a home did not give its units");
                    *unheard = true;
                    Vec::new()
                });
                let mut taken = 0;
                for (start, bytes) in parts {
                    fetched += bytes.len() as u64;
                    match assembly.handle_bytes(voice, start, &bytes) {
                        Ok(units) => taken += units,
                        Err(error) => {
                            tracing::warn!(device = %piece.device, %error, "a home sent other units than it listed");
                            self.metrics.liars.inc();
                            self.net.ban(piece.device);
                            break;
                        }
                    }
                }
                if taken == 0 {
                    assembly.handle_gone(voice);
                }
            }
        }
        let CleanChunk { cid, hashes, bytes } = assembly.finish().map_err(|e| e.to_string())?;
        let claim = Claim { cid, bytes: hashes.len_bytes(), pts, duration, opening };
        self.blocking(move |store| {
            let mut batch = store.batch();
            batch.put_chunk(cid, &bytes, &hashes, &[]).map_err(|e| e.to_string())?;
            batch.set_protection(cid, Protection::Pinned);
            batch.commit(Durability::Synced).map_err(|e| e.to_string())
        })
        .await?;
        Ok(MendOutcome::Assembled { claim, fetched })
    }

    /// The index of a chunk that is stored here.
    async fn stored_index(&self, cid: ChunkCid, pts: Pts33) -> Result<UnitIndex, String> {
        self.blocking(move |store| {
            let bytes = store.read_chunk(cid).map_err(|e| e.to_string())?;
            let bytes = bytes.ok_or_else(|| format!("chunk {cid} is not stored"))?;
            UnitIndex::of_chunk(pts, &bytes).map_err(|e| e.to_string())
        })
        .await
    }

    /// The indexes of what homes have, in the order of the pieces; none of those who do not answer.
    async fn indexes(&self, pts: Pts33, pieces: &[Piece]) -> Vec<Option<UnitIndex>> {
        join_all(pieces.iter().map(|piece| async move {
            let bytes = self.fetch(piece, Part::Index(pts)).await.ok()?;
            UnitIndex::decode(&bytes)
                .map_err(|error| tracing::warn!(device = %piece.device, %error, "a home's list of units is none"))
                .ok()
        }))
        .await
    }

    async fn units(&self, piece: &Piece, ranges: &[std::ops::Range<u64>]) -> Result<Vec<(u64, Vec<u8>)>, String> {
        let mut parts = Vec::new();
        for ranges in ByteRange::requests(ranges) {
            let bytes = self.fetch(piece, Part::Bytes(ranges.clone())).await?;
            parts.push((ranges, bytes));
        }
        Ok(stretches(&parts))
    }

    async fn fetch(&self, piece: &Piece, part: Part) -> Result<Vec<u8>, String> {
        let wanted = WantedPart { cid: piece.cid, part, class: Class::Repair, deadline: PATIENCE };
        let fetched = timeout(Duration::from_micros(PATIENCE.0), self.lanes.fetch_part(piece.device, &wanted)).await;
        fetched.map_err(|_| "no answer in time".to_owned())?.map_err(|e| e.to_string())
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let store = self.store.clone();
        tokio::task::spawn_blocking(move || work(&store)).await.map_err(|e| e.to_string())?
    }
}
