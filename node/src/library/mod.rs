//! What this device knows and keeps: recordings, what was received of them, facts, manifests, grants, holdings.
//!
//! State lives in memory and, row by row, in tables of the chunk store, so that a chunk and the record of it are
//! written as one. All calls are short, but they may write to the disk: async code calls them through
//! [`blocking`]. Whoever waits for a change watches [`Library::changes`].
//!
//! Not here: when to record (the recorder), what to tell whom (the seed session, the swarm).

mod aux_objects;
mod damaged;
mod entries;
mod facts;
mod holdings;
mod manifests;
mod recordings;
mod rows;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aftercast_protocol::ccf::AuxLayout;
use aftercast_protocol::ids::{ChannelId, ChunkCid, RecordingId};
use aftercast_protocol::manifest::Manifest;
use aftercast_protocol::time::Pts33;
use aftercast_protocol::truth::Report;
use aftercast_store::{Durability, Pair, PutError, ReadError, Store, Table};
use minicbor::{Decode, Encode};
use tokio::sync::watch;

pub use damaged::Damaged;
pub use entries::{NewChunk, REPORT_ANYWAY_MILLIS, Recorded};
pub use facts::FactsWanted;
pub use holdings::{HaveChange, Holding};
pub use recordings::{RecordingCounts, RecordingState};
pub use rows::{AuxKept, ChunkNote, LocalContent, LocalEntry, NoteKind, Recording, ShareSetting};

/// Rows read at once at the start.
const PAGE: usize = 4096;

/// Where the state is kept. Names carry the version of their rows.
struct Tables {
    recordings: Table,
    entries: Table,
    cursors: Table,
    manifests: Table,
    settings: Table,
    /// By the id of the chunk.
    aux: Table,
    /// By channel and number.
    layouts: Table,
}

/// The device's knowledge. Shared by `Arc`.
pub struct Library {
    store: Store,
    tables: Tables,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    recordings: BTreeMap<RecordingId, Recording>,
    channels: BTreeMap<ChannelId, ChannelState>,
    holdings: BTreeMap<ChunkCid, Holding>,
    have_changes: BTreeMap<ChannelId, HaveChange>,
    manifests: BTreeMap<RecordingId, Arc<Manifest>>,
    /// Recordings whose manifest may have changed at the seed.
    stale_manifests: BTreeSet<RecordingId>,
    to_report: BTreeSet<(ChannelId, u64)>,
    objections: VecDeque<Report>,
    share: ShareSetting,
}

#[derive(Default)]
struct ChannelState {
    /// What was received, in the order it came out of the cutter.
    entries: BTreeMap<u64, LocalEntry>,
    by_cid: BTreeMap<ChunkCid, u64>,
    /// The newest entry of each opening PTS: these repeat every 26.5 hours.
    by_pts: BTreeMap<Pts33, u64>,
    next_seq: u64,
    /// How streams beside the core are announced to players; the last one is in force.
    layouts: BTreeMap<u64, Arc<AuxLayout>>,
    facts: facts::RecentFacts,
}

/// State that cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// The store is at fault.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Writing failed.
    #[error(transparent)]
    Write(#[from] PutError),
    /// No such recording on this device.
    #[error("no recording {0} on this device")]
    NoSuchRecording(RecordingId),
}

impl Library {
    /// Reads the state of a store.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn open(store: Store) -> Result<Arc<Self>, LibraryError> {
        let tables = Tables {
            recordings: store.table("node/recordings/1"),
            entries: store.table("node/entries/1"),
            cursors: store.table("node/cursors/1"),
            manifests: store.table("node/manifests/1"),
            settings: store.table("node/settings/1"),
            aux: store.table("node/aux/1"),
            layouts: store.table("node/aux-layouts/1"),
        };
        let library = Self { store, tables, state: Mutex::default(), changed: watch::Sender::new(0) };
        library.load()?;
        Ok(Arc::new(library))
    }

    /// The chunk store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// A number that grows with every change; wait for the next one.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Says that something that watchers show has changed.
    pub fn touch(&self) {
        self.changed.send_modify(|version| *version += 1);
    }

    fn load(&self) -> Result<(), LibraryError> {
        for (_, value) in rows(&self.tables.recordings)? {
            if let Some(recording) = decode::<Recording>("recording", &value) {
                self.state().recordings.insert(recording.id, recording);
            }
        }
        for (key, value) in rows(&self.tables.cursors)? {
            let channel = std::str::from_utf8(&key).ok().and_then(|name| name.parse::<ChannelId>().ok());
            if let (Some(channel), Some(cursor)) = (channel, decode::<u64>("cursor", &value)) {
                self.state().channels.entry(channel).or_default().facts.restore(cursor);
            }
        }
        for (key, value) in rows(&self.tables.entries)? {
            if let (Some((channel, seq)), Some(entry)) =
                (entries::parse_key(&key), decode::<LocalEntry>("entry", &value))
            {
                self.state().channels.entry(channel).or_default().adopt(seq, entry);
            }
        }
        self.load_layouts()?;
        if let Some(value) = self.tables.settings.get(ShareSetting::KEY)? {
            self.state().share = decode("share setting", &value).unwrap_or_default();
        }
        self.load_holdings()?;
        self.load_manifests()?;
        self.expect_reports_again();
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is complete before anything can panic: what a panic left behind is as good as before it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The user's wish about sharing, as last set.
    #[must_use]
    pub fn share(&self) -> ShareSetting {
        self.state().share
    }

    /// Keeps the user's wish about sharing.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn set_share(&self, share: ShareSetting) -> Result<(), LibraryError> {
        self.tables.settings.put(ShareSetting::KEY, &encode(&share), Durability::Synced)?;
        self.state().share = share;
        self.touch();
        Ok(())
    }

    /// A small record that survives restarts, by name.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn setting(&self, name: &str) -> Result<Option<Vec<u8>>, LibraryError> {
        Ok(self.tables.settings.get(name.as_bytes())?)
    }

    /// Keeps a small record; it survives the end of the process.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn set_setting(&self, name: &str, value: &[u8]) -> Result<(), LibraryError> {
        Ok(self.tables.settings.put(name.as_bytes(), value, Durability::Buffered)?)
    }
}

/// Runs what may wait for the disk, without holding up other tasks.
pub fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match tokio::runtime::Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(tokio::runtime::RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// All rows of a table, in order.
fn rows(table: &Table) -> Result<Vec<Pair>, ReadError> {
    let mut all = Vec::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let from = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let page = table.scan(from, Bound::Unbounded, PAGE)?;
        let done = page.len() < PAGE;
        after = page.last().map(|(key, _)| key.clone());
        all.extend(page);
        if done {
            return Ok(all);
        }
    }
}

fn encode<T: Encode<()>>(value: &T) -> Vec<u8> {
    minicbor::to_vec(value).expect("encoding into memory does not fail")
}

/// A row of another version or a damaged one is left out, and said so: the rest is worth having.
fn decode<T: for<'b> Decode<'b, ()>>(what: &'static str, bytes: &[u8]) -> Option<T> {
    minicbor::decode(bytes).map_err(|error| tracing::error!(what, %error, "a row of the store cannot be read")).ok()
}
