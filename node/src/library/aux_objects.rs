//! Aux objects beside their chunks: written with the chunk, gone with it, and announced to players by layouts.
//!
//! One layout serves all recordings of a channel, so that chunks that two of them share have one form for players. It
//! grows as streams appear; where it has no room for them another one begins.

use std::sync::Arc;

use aftercast_protocol::ccf::{AuxLayout, AuxObject, Chunk, ChunkState as Cut};
use aftercast_protocol::ids::{ChannelId, ChunkCid};
use aftercast_store::{Batch, Durability, PutError};

use super::entries::{key, parse_key};
use super::{AuxKept, Library, LibraryError, decode, encode, rows};

/// An aux object to be written, with the layout that announces its streams.
pub(super) struct NewAux {
    pub kept: AuxKept,
    cid: ChunkCid,
    object: Vec<u8>,
    layout: AuxLayout,
}

impl Library {
    /// The aux object of a chunk, if it is here.
    #[must_use]
    pub fn aux(&self, cid: ChunkCid) -> Option<AuxObject> {
        let bytes = self.tables.aux.get(&cid.0).ok().flatten()?;
        AuxObject::decode(&bytes).map_err(|error| tracing::error!(%cid, %error, "an aux object cannot be read")).ok()
    }

    /// How streams beside the core are announced.
    #[must_use]
    pub fn layout(&self, channel: &ChannelId, number: u64) -> Option<Arc<AuxLayout>> {
        self.state().channels.get(channel)?.layouts.get(&number).cloned()
    }

    pub(super) fn load_layouts(&self) -> Result<(), LibraryError> {
        for (at, value) in rows(&self.tables.layouts)? {
            if let (Some((channel, number)), Some(layout)) = (parse_key(&at), decode::<AuxLayout>("layout", &value)) {
                self.state().channels.entry(channel).or_default().layouts.insert(number, Arc::new(layout));
            }
        }
        Ok(())
    }

    /// What is to be written of a chunk's aux object. Nothing for a chunk that was not received whole: what plays there is
    /// another reception's, or has pieces missing.
    pub(super) fn new_aux(&self, channel: &ChannelId, chunk: &Chunk) -> Option<NewAux> {
        let (Cut::Clean(clean), Some(aux)) = (&chunk.state, chunk.aux.as_deref()) else { return None };
        let last = {
            let state = self.state();
            let last = state.channels.get(channel).and_then(|known| known.layouts.last_key_value());
            last.map(|(number, layout)| (*number, AuxLayout::clone(layout)))
        };
        let (mut number, mut layout) = last.unwrap_or_default();
        layout.learn(&clean.bytes, &aux.streams);
        if let Some(anew) = layout.anew(&clean.bytes, &aux.streams) {
            (number, layout) = (number + 1, anew);
        }
        let muxed = layout.len_of(clean.bytes.len() as u64, Some(aux)).filter(|_| !layout.is_empty())?;
        let object = aux.encode();
        let kept = AuxKept { layout: number, muxed, bytes: object.len() as u64, units: aux.units.len() as u64 };
        Some(NewAux { kept, cid: clean.cid, object, layout })
    }

    pub(super) fn put_aux(&self, batch: &mut Batch, channel: &ChannelId, new: &NewAux) -> Result<(), PutError> {
        batch.put(&self.tables.aux, &new.cid.0, &new.object)?;
        if self.layout(channel, new.kept.layout).as_deref() != Some(&new.layout) {
            batch.put(&self.tables.layouts, &key(channel, new.kept.layout), &encode(&new.layout))?;
        }
        Ok(())
    }

    pub(super) fn adopt_layout(&self, channel: &ChannelId, new: NewAux) {
        let mut state = self.state();
        let layouts = &mut state.channels.entry(channel.clone()).or_default().layouts;
        layouts.insert(new.kept.layout, Arc::new(new.layout));
    }

    /// Chunks were evicted, and their aux objects go too.
    pub(super) fn drop_aux(&self, evicted: &[ChunkCid]) -> Result<(), PutError> {
        let mut batch = self.store.batch();
        {
            let state = self.state();
            let has_aux = |cid: &ChunkCid| {
                let mut known = state.channels.values();
                known.any(|known| {
                    known.by_cid.get(cid).and_then(|seq| known.entries.get(seq)).is_some_and(|one| one.aux.is_some())
                })
            };
            evicted.iter().filter(|cid| has_aux(cid)).for_each(|cid| batch.delete(&self.tables.aux, &cid.0));
        }
        batch.commit(Durability::Buffered)
    }
}
