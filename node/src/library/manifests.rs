//! Manifests of this device's recordings, as the seed signed them.

use std::collections::BTreeMap;
use std::sync::Arc;

use aftercast_protocol::ids::{ChunkCid, DeviceId, RecordingId, Slot};
use aftercast_protocol::manifest::{Content, Entry, Manifest, PageCollector, RawManifestPage};
use aftercast_protocol::truth::Class;
use aftercast_store::{Durability, PutError};
use minicbor::{Decode, Encode};

use super::facts::KnownFact;
use super::{ChunkNote, Library, LibraryError, decode, encode, rows};

/// A page and who signed it, so that it can be verified when it is read back.
#[derive(Encode, Decode)]
struct PageRow {
    #[n(0)]
    seed: DeviceId,
    #[n(1)]
    page: RawManifestPage,
}

fn key(recording: RecordingId, page: u32) -> Vec<u8> {
    [&recording.0[..], &page.to_be_bytes()].concat()
}

impl Library {
    /// The newest manifest that is known of a recording.
    #[must_use]
    pub fn manifest(&self, id: RecordingId) -> Option<Arc<Manifest>> {
        self.state().manifests.get(&id).cloned()
    }

    /// Keeps a manifest and the signed pages it was made of.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save_manifest(
        &self,
        seed: DeviceId,
        pages: &[RawManifestPage],
        manifest: Manifest,
    ) -> Result<(), LibraryError> {
        let id = manifest.recording;
        let mut batch = self.store.batch();
        for (old, _) in self.tables.manifests.scan_prefix(&id.0, None, usize::MAX)? {
            batch.delete(&self.tables.manifests, &old);
        }
        for (page, n) in pages.iter().zip(0..) {
            batch.put(&self.tables.manifests, &key(id, n), &encode(&PageRow { seed, page: page.clone() }))?;
        }
        batch.commit(Durability::Buffered)?;
        self.place_ours(&manifest)?;
        self.state().manifests.insert(id, Arc::new(manifest));
        self.touch();
        Ok(())
    }

    /// Learns the places of chunks that no fact names, because only this subscriber has them.
    fn place_ours(&self, manifest: &Manifest) -> Result<(), LibraryError> {
        let places: BTreeMap<ChunkCid, Slot> =
            manifest.entries.iter().filter_map(|entry| Some((entry.cid()?, entry.slot))).collect();
        let ours = {
            let state = self.state();
            let Some(known) = state.channels.get(&manifest.channel) else { return Ok(()) };
            let unplaced = |cid: &ChunkCid| {
                let seq = *known.by_cid.get(cid)?;
                known.entries.get(&seq)?.slot.is_none().then(|| (manifest.channel.clone(), seq))
            };
            places.keys().filter_map(unplaced).collect()
        };
        self.change_entries(ours, |entry| entry.slot = entry.cid().and_then(|cid| places.get(&cid).copied()))?;
        let proven: Vec<(u64, KnownFact, bool)> = {
            let state = self.state();
            let Some(known) = state.channels.get(&manifest.channel) else { return Ok(()) };
            let whole = |entry: &Entry| {
                let seq = *known.by_pts.get(&entry.pts)?;
                let own = known.entries.get(&seq).filter(|own| !own.repaired)?;
                let Content::Chunk { cid, confirmed, .. } = entry.content else { return None };
                let fact = KnownFact { cid, slot: entry.slot, class: Class::default(), utc: entry.utc };
                (own.salvaged()? == cid).then_some((seq, fact, confirmed))
            };
            manifest.entries.iter().filter_map(whole).collect()
        };
        for (seq, fact, confirmed) in proven {
            self.proven(&manifest.channel, seq, fact.slot)?;
            if confirmed && self.store.is_complete(fact.cid) {
                self.hold_confirmed(fact.cid, &fact, &manifest.channel)?;
            }
        }
        for (cid, slot) in places {
            let unplaced = self.state().holdings.get(&cid).is_some_and(|holding| holding.slot.is_none());
            if !unplaced {
                continue;
            }
            if let Some(holding) = self.state().holdings.get_mut(&cid) {
                holding.slot = Some(slot);
            }
            if let Some(note) = self.store.chunk(cid)?.and_then(|info| ChunkNote::decode(&info.note)) {
                match self.store.set_note(cid, &ChunkNote { slot: Some(slot), ..note }.encode(), Durability::Buffered) {
                    Ok(()) | Err(PutError::Unknown(_)) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// Recordings whose manifest should be asked for. Each is given once per change.
    #[must_use]
    pub fn take_stale_manifests(&self) -> Vec<RecordingId> {
        std::mem::take(&mut self.state().stale_manifests).into_iter().collect()
    }

    /// Asks for a recording's manifest again with the next look.
    pub fn manifest_is_stale(&self, id: RecordingId) {
        self.state().stale_manifests.insert(id);
        self.touch();
    }

    pub(super) fn forget_manifest(&self, id: RecordingId) -> Result<(), LibraryError> {
        let mut batch = self.store.batch();
        for (key, _) in self.tables.manifests.scan_prefix(&id.0, None, usize::MAX)? {
            batch.delete(&self.tables.manifests, &key);
        }
        batch.commit(Durability::Buffered)?;
        let mut state = self.state();
        state.manifests.remove(&id);
        state.stale_manifests.remove(&id);
        Ok(())
    }

    pub(super) fn load_manifests(&self) -> Result<(), LibraryError> {
        let mut collectors: BTreeMap<RecordingId, PageCollector> = BTreeMap::new();
        for (key, value) in rows(&self.tables.manifests)? {
            let Some(id) = key.first_chunk::<16>().map(|id| RecordingId(*id)) else { continue };
            let Some(PageRow { seed, page }) = decode::<PageRow>("manifest page", &value) else { continue };
            let collector = collectors.entry(id).or_insert_with(|| PageCollector::new(id, seed));
            match collector.handle_page(&page) {
                Ok(Some(manifest)) => {
                    self.state().manifests.insert(id, Arc::new(manifest));
                }
                Ok(None) => {}
                Err(error) => tracing::error!(recording = %id, %error, "a kept manifest cannot be used"),
            }
        }
        Ok(())
    }
}
