//! What is held and may be given: confirmed chunks to holders of grants, unconfirmed ones to the own subscriber.

use std::collections::{BTreeMap, BTreeSet};

use aftercast_protocol::ids::{ChannelId, ChunkCid, Slot};
use aftercast_protocol::limits::MAX_CTL_LIST;
use aftercast_protocol::plan::discovery::{chunk_key, provider_key};
use aftercast_protocol::time::UnixMillis;
use aftercast_protocol::truth::Class;
use aftercast_protocol::wire::ctl::Have;
use aftercast_store::Protection;

use super::{ChunkNote, Library, LibraryError, NoteKind, State};
use crate::spans::spans_of;

/// Chunks read at once at the start.
const PAGE: usize = 1024;

/// A whole chunk that is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// Its channel.
    pub channel: ChannelId,
    /// Its place, where known.
    pub slot: Option<Slot>,
    /// Its class.
    pub class: Class,
    /// Wall time of its opening unit.
    pub utc: UnixMillis,
    /// Whether it may be given to others than the own subscriber.
    pub confirmed: bool,
}

/// What came to be held, and what is held no longer, since the last look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HaveChange {
    added: BTreeSet<Slot>,
    removed: BTreeSet<Slot>,
}

impl Library {
    /// What is known of a whole chunk that is here and may be given; none for salvaged ones and renditions.
    #[must_use]
    pub fn holding(&self, cid: ChunkCid) -> Option<Holding> {
        self.state().holdings.get(&cid).cloned()
    }

    /// A chunk was fetched and is whole: from now on it may be given on, if its note says that it is confirmed.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn fetched(&self, cid: ChunkCid) -> Result<(), LibraryError> {
        let info = self.store.chunk(cid)?.filter(|info| info.complete);
        if let Some(note) = info.and_then(|info| ChunkNote::decode(&info.note)) {
            // What was fetched can be fetched again, unless it is an own chunk that came back.
            self.unpin(cid)?;
            self.state().hold_as_noted(cid, note);
            self.touch();
        }
        Ok(())
    }

    /// Everything that is held, as messages for somebody who knows nothing of it yet.
    #[must_use]
    pub fn have_all(&self) -> Vec<Have> {
        let mut held: BTreeMap<ChannelId, BTreeSet<Slot>> = BTreeMap::new();
        for holding in self.state().holdings.values().filter(|holding| holding.confirmed) {
            if let Some(slot) = holding.slot {
                held.entry(holding.channel.clone()).or_default().insert(slot);
            }
        }
        held.into_iter().flat_map(|(channel, slots)| messages(&channel, &slots, &BTreeSet::new())).collect()
    }

    /// What changed since the last call, as messages for those who know the rest.
    #[must_use]
    pub fn take_have_changes(&self) -> Vec<Have> {
        let changes = std::mem::take(&mut self.state().have_changes);
        changes.iter().flat_map(|(channel, change)| messages(channel, &change.added, &change.removed)).collect()
    }

    /// The keys under which this device should be found: an hour of a channel that it holds chunks of, and the first
    /// chunks of its recordings.
    #[must_use]
    pub fn provider_keys(&self) -> BTreeSet<[u8; 32]> {
        let state = self.state();
        let held = state.holdings.values().filter(|holding| holding.confirmed);
        let mut keys: BTreeSet<_> =
            held.map(|holding| provider_key(&holding.channel, holding.class, holding.utc)).collect();
        for id in state.recordings.keys() {
            let first = state.entries_of(*id).find_map(|(_, entry)| entry.cid());
            keys.extend(first.filter(|cid| state.holdings.get(cid).is_some_and(|one| one.confirmed)).map(chunk_key));
        }
        keys
    }

    /// How many chunks are held for others.
    #[must_use]
    pub fn held(&self) -> usize {
        self.state().holdings.values().filter(|holding| holding.confirmed).count()
    }

    pub(super) fn load_holdings(&self) -> Result<(), LibraryError> {
        let mut after = None;
        loop {
            let page = self.store.chunks(after, PAGE)?;
            after = page.last().map(|info| info.cid);
            for info in page.iter().filter(|info| info.complete) {
                if let Some(note) = ChunkNote::decode(&info.note) {
                    self.state().hold_as_noted(info.cid, note);
                }
                if info.protection == Protection::Pinned {
                    // Duties are not kept over a restart: the seed gives new ones.
                    self.unpin(info.cid)?;
                }
            }
            if page.len() < PAGE {
                break;
            }
        }
        // Nobody is connected yet: all of it is told to whoever connects.
        self.state().have_changes.clear();
        Ok(())
    }
}

fn messages(channel: &ChannelId, added: &BTreeSet<Slot>, removed: &BTreeSet<Slot>) -> Vec<Have> {
    let (added, removed) = (spans_of(added.iter().copied()), spans_of(removed.iter().copied()));
    let count = added.len().max(removed.len()).div_ceil(MAX_CTL_LIST);
    let part = |spans: &[_], n: usize| spans.iter().skip(n * MAX_CTL_LIST).take(MAX_CTL_LIST).copied().collect();
    let message = |n| Have { channel: channel.clone(), added: part(&added, n), removed: part(&removed, n) };
    (0..count).map(message).collect()
}

impl State {
    pub(super) fn hold_as_noted(&mut self, cid: ChunkCid, note: ChunkNote) {
        match note.kind {
            NoteKind::Salvaged | NoteKind::Rendition => {}
            NoteKind::Recorded | NoteKind::Fetched => {
                let ChunkNote { channel, slot, class, utc, confirmed, .. } = note;
                self.hold(cid, Holding { channel, slot, class, utc, confirmed });
            }
        }
    }

    /// A whole chunk is here.
    pub(super) fn hold(&mut self, cid: ChunkCid, holding: Holding) {
        if let (Some(slot), true) = (holding.slot, holding.confirmed) {
            let change = self.have_changes.entry(holding.channel.clone()).or_default();
            change.removed.remove(&slot);
            change.added.insert(slot);
        }
        self.holdings.insert(cid, holding);
    }

    pub(super) fn hold_unconfirmed(&mut self, cid: ChunkCid, channel: &ChannelId, utc: UnixMillis) {
        let unconfirmed =
            Holding { channel: channel.clone(), slot: None, class: Class::default(), utc, confirmed: false };
        self.holdings.entry(cid).or_insert(unconfirmed);
    }

    /// A chunk is gone, or no longer what the seed says.
    pub(super) fn drop_holding(&mut self, cid: ChunkCid) {
        let Some(holding) = self.holdings.remove(&cid) else { return };
        if let (Some(slot), true) = (holding.slot, holding.confirmed) {
            let change = self.have_changes.entry(holding.channel).or_default();
            change.added.remove(&slot);
            change.removed.insert(slot);
        }
    }
}

impl Library {
    /// Keeps a chunk until [`Library::unpin`].
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn pin(&self, cid: ChunkCid) -> Result<(), LibraryError> {
        self.protect(cid, Protection::Pinned)
    }

    /// Lets a chunk go where the seed has it; keeps it as unacknowledged otherwise. Fetched ones may always go.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn unpin(&self, cid: ChunkCid) -> Result<(), LibraryError> {
        let acked = {
            let state = self.state();
            let mut entries = state.channels.values().filter_map(|known| known.entries.get(known.by_cid.get(&cid)?));
            entries.next().is_none_or(|entry| entry.acked)
        };
        self.protect(cid, if acked { Protection::Acknowledged } else { Protection::Unacknowledged })
    }

    fn protect(&self, cid: ChunkCid, protection: Protection) -> Result<(), LibraryError> {
        match self.store.set_protection(cid, protection, aftercast_store::Durability::Buffered) {
            Ok(()) | Err(aftercast_store::PutError::Unknown(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
