//! One repair: what is here, and a few bytes of a source that has all of it.

use aftercast_net::exchange::{FetchError, LanePool, WantedPart};
use aftercast_protocol::ccf::{Profile, Repair, RepairError, UnitIndex};
use aftercast_protocol::ids::DeviceId;
use aftercast_protocol::score::Lie;
use aftercast_protocol::select::RepairFailure;
use aftercast_protocol::serve::Class;
use aftercast_protocol::time::Micros;
use aftercast_protocol::verify::GroupHashes;
use aftercast_protocol::wire::lane::{ByteRange, Part, stretches};
use aftercast_store::Store;

use crate::library::Damaged;

/// Longest wait for one answer.
const PATIENCE: Micros = Micros::from_secs(30);

/// A chunk that was repaired.
pub(super) struct Repaired {
    pub bytes: Vec<u8>,
    pub hashes: GroupHashes,
    /// Bytes that came from the source.
    pub fetched: u64,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    /// The source did not give it.
    #[error("{0}")]
    Source(FetchError),
    /// What the source sent contradicts itself.
    #[error("the source contradicts itself: {0}")]
    Lie(String),
    /// What the source sent makes another chunk. Its index may be false, or our own plan not the channel's.
    #[error("no chunk comes of it: {0}")]
    Useless(RepairError),
    /// More than half is missing: a player may as well fetch it.
    #[error("more than half of it is missing")]
    NotWorthwhile,
    /// Our own store failed.
    #[error("the store failed: {0}")]
    Local(String),
}

impl Failed {
    /// What the scheduler makes of it; none where the chunk is not to be tried again.
    pub fn failure(&self) -> Option<RepairFailure> {
        match self {
            Self::Source(FetchError::Busy { retry_after }) => Some(RepairFailure::Busy { retry_after: *retry_after }),
            Self::Source(_) => Some(RepairFailure::Unavailable),
            Self::Lie(_) | Self::Useless(_) => Some(RepairFailure::BadData),
            Self::NotWorthwhile => None,
            Self::Local(_) => Some(RepairFailure::Local),
        }
    }

    /// The lie, where it is proven.
    pub fn lie(&self) -> Option<Lie> {
        matches!(self, Self::Lie(_)).then_some(Lie::Unit)
    }
}

pub(super) struct Job {
    pub store: Store,
    pub lanes: LanePool,
    pub damaged: Damaged,
    pub profile: Profile,
    pub device: DeviceId,
}

impl Job {
    pub async fn run(self) -> Result<Repaired, Failed> {
        let index = self.fetch(Part::Index(self.damaged.pts)).await?;
        let mut fetched = index.len() as u64;
        let index = UnitIndex::decode(&index).map_err(|e| Failed::Lie(e.to_string()))?;
        let ranges = self.missing(&index).await?;
        let wanted: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        if 2 * wanted > self.damaged.bytes {
            return Err(Failed::NotWorthwhile);
        }
        let mut parts = Vec::new();
        for ranges in ByteRange::requests(&ranges) {
            let part = self.fetch(Part::Bytes(ranges.clone())).await?;
            fetched += part.len() as u64;
            parts.push((ranges, part));
        }
        let (bytes, hashes) = self.put_together(index, stretches(&parts)).await?;
        Ok(Repaired { bytes, hashes, fetched })
    }

    async fn fetch(&self, part: Part) -> Result<Vec<u8>, Failed> {
        let wanted = WantedPart { cid: self.damaged.cid, part, class: Class::Repair, deadline: PATIENCE };
        self.lanes.fetch_part(self.device, &wanted).await.map_err(Failed::Source)
    }

    /// What the source has to bring.
    async fn missing(&self, index: &UnitIndex) -> Result<Vec<std::ops::Range<u64>>, Failed> {
        let index = index.clone();
        self.work(move |work| Ok(work.stocked(&index)?.missing())).await
    }

    async fn put_together(
        &self,
        index: UnitIndex,
        parts: Vec<(u64, Vec<u8>)>,
    ) -> Result<(Vec<u8>, GroupHashes), Failed> {
        let cid = self.damaged.cid;
        self.work(move |work| {
            let mut repair = work.stocked(&index)?;
            for (start, bytes) in &parts {
                repair.handle_bytes(*start, bytes).map_err(|e| Failed::Lie(e.to_string()))?;
            }
            let bytes = repair.finish(cid).map_err(Failed::Useless)?;
            let hashes = GroupHashes::of(&bytes);
            Ok((bytes, hashes))
        })
        .await
    }

    /// Reading pieces and hashing units takes milliseconds: not on the tasks that move bytes.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Bench) -> Result<T, Failed> + Send + 'static,
    ) -> Result<T, Failed> {
        let bench = Bench { store: self.store.clone(), damaged: self.damaged.clone(), profile: self.profile.clone() };
        let done = tokio::task::spawn_blocking(move || work(&bench)).await;
        done.map_err(|e| Failed::Local(e.to_string()))?
    }
}

/// What a repair has of its own.
struct Bench {
    store: Store,
    damaged: Damaged,
    profile: Profile,
}

impl Bench {
    fn stocked<'a>(&'a self, index: &'a UnitIndex) -> Result<Repair<'a>, Failed> {
        let mut repair = Repair::new(&self.profile, self.damaged.pts, index).map_err(|e| Failed::Lie(e.to_string()))?;
        for piece in &self.damaged.pieces {
            // One that was evicted meanwhile, or cannot be read, only means that more is fetched.
            match self.store.read_chunk(*piece) {
                Ok(Some(bytes)) => {
                    if let Err(error) = repair.stock(&bytes) {
                        tracing::warn!(%piece, %error, "an own piece of a chunk cannot be used");
                    }
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%piece, %error, "an own piece of a chunk cannot be read"),
            }
        }
        Ok(repair)
    }
}
