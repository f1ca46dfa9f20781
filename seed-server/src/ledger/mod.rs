//! What the seed must never forget: decided chunks, recordings, devices, published facts.
//!
//! A thin layer of typed records over the store's tables. Keys sort in the order of broadcast, so that a restart reads
//! each table once, front to back. Whatever a node was told is durable before it is told.

mod records;

use aftercast_protocol::ids::{ChannelId, DeviceId, RecordingId, Slot};
use aftercast_protocol::manifest::RawManifestPage;
use aftercast_protocol::truth::RawFact;
use aftercast_store::{Durability, PutError, ReadError, Store, Table};

pub use records::{DeviceRecord, RecordingRecord, SlotRecord, SlotState};

/// A fault of the database. The seed stops rather than forgetting.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Reading failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Writing failed.
    #[error(transparent)]
    Write(#[from] PutError),
    /// A record that this version cannot read.
    #[error("record in table {table} cannot be read: {reason}")]
    Malformed {
        /// Where.
        table: &'static str,
        /// What the decoder said.
        reason: String,
    },
}

const SLOTS: &str = "slots";
const FACTS: &str = "facts";
const RECORDINGS: &str = "recordings";
const MANIFESTS: &str = "manifests";
const DEVICES: &str = "devices";
const CODES: &str = "codes";

/// The seed's tables.
#[derive(Clone)]
pub struct Ledger {
    store: Store,
    slots: Table,
    facts: Table,
    recordings: Table,
    manifests: Table,
    devices: Table,
    codes: Table,
}

fn channel_prefix(channel: &ChannelId) -> Vec<u8> {
    // A zero byte ends the name: no channel's keys begin another's.
    [channel.as_str().as_bytes(), &[0]].concat()
}

fn slot_key(channel: &ChannelId, slot: Slot) -> Vec<u8> {
    [&channel_prefix(channel)[..], &slot.timeline.0.to_be_bytes(), &slot.index.0.to_be_bytes()].concat()
}

fn decode<'b, T: minicbor::Decode<'b, ()>>(table: &'static str, bytes: &'b [u8]) -> Result<T, LedgerError> {
    minicbor::decode(bytes).map_err(|e| LedgerError::Malformed { table, reason: e.to_string() })
}

fn encode<T: minicbor::Encode<()>>(value: &T) -> Vec<u8> {
    minicbor::to_vec(value).expect("encoding into memory does not fail")
}

impl Ledger {
    /// The tables of this store.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self {
            slots: store.table(SLOTS),
            facts: store.table(FACTS),
            recordings: store.table(RECORDINGS),
            manifests: store.table(MANIFESTS),
            devices: store.table(DEVICES),
            codes: store.table(CODES),
            store,
        }
    }

    /// The store beneath, with the chunks.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    fn all<T>(
        &self,
        table: &Table,
        prefix: &[u8],
        mut each: impl FnMut(&[u8], &[u8]) -> Result<T, LedgerError>,
    ) -> Result<Vec<T>, LedgerError> {
        const PAGE: usize = 1024;
        let mut out = Vec::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = table.scan_prefix(prefix, after.as_deref(), PAGE)?;
            for (key, value) in &page {
                out.push(each(key, value)?);
            }
            match page.into_iter().next_back() {
                Some((key, _)) => after = Some(key),
                None => return Ok(out),
            }
        }
    }

    /// Every slot of a channel, in order of broadcast.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn slots(&self, channel: &ChannelId) -> Result<Vec<SlotRecord>, LedgerError> {
        self.all(&self.slots, &channel_prefix(channel), |_, value| decode(SLOTS, value))
    }

    /// Remembers what is known of a slot, together with the fact that publishes it, if any.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn put_slot(
        &self,
        channel: &ChannelId,
        record: &SlotRecord,
        fact: Option<(u64, &RawFact)>,
        durability: Durability,
    ) -> Result<(), LedgerError> {
        let mut batch = self.store.batch();
        batch.put(&self.slots, &slot_key(channel, record.slot), &encode(record))?;
        if let Some((seq, fact)) = fact {
            let key = [&channel_prefix(channel)[..], &seq.to_be_bytes()].concat();
            batch.put(&self.facts, &key, &encode(fact))?;
        }
        Ok(batch.commit(durability)?)
    }

    /// Published facts of a channel from a number on, at most `limit`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn facts(&self, channel: &ChannelId, from: u64, limit: usize) -> Result<Vec<RawFact>, LedgerError> {
        let prefix = channel_prefix(channel);
        let after = from.checked_sub(1).map(|seq| [&prefix[..], &seq.to_be_bytes()].concat());
        let page = self.facts.scan_prefix(&prefix, after.as_deref(), limit)?;
        page.iter().map(|(_, value)| decode(FACTS, value)).collect()
    }

    /// Number of the next fact of a channel.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn next_fact(&self, channel: &ChannelId) -> Result<u64, LedgerError> {
        let prefix = channel_prefix(channel);
        let seqs = self.all(&self.facts, &prefix, |key, _| {
            let seq = key.get(prefix.len()..).and_then(|seq| seq.try_into().ok()).map(u64::from_be_bytes);
            seq.ok_or(LedgerError::Malformed { table: FACTS, reason: "key is not 8 bytes".into() })
        })?;
        Ok(seqs.last().map_or(0, |seq| seq + 1))
    }

    /// Every recording.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn recordings(&self) -> Result<Vec<RecordingRecord>, LedgerError> {
        self.all(&self.recordings, &[], |_, value| decode(RECORDINGS, value))
    }

    /// Remembers a recording.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn put_recording(&self, record: &RecordingRecord) -> Result<(), LedgerError> {
        Ok(self.recordings.put(&record.id.0, &encode(record), Durability::Synced)?)
    }

    /// Forgets a recording and its manifest.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn delete_recording(&self, id: RecordingId) -> Result<(), LedgerError> {
        let pages = self.manifests.scan_prefix(&id.0, None, usize::MAX)?;
        let mut batch = self.store.batch();
        batch.delete(&self.recordings, &id.0);
        for (key, _) in pages {
            batch.delete(&self.manifests, &key);
        }
        Ok(batch.commit(Durability::Synced)?)
    }

    /// Stores a recording's manifest (claim 1: per client, with each chunk's hash), in place of its older revision.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn put_manifest(&self, id: RecordingId, pages: &[RawManifestPage]) -> Result<(), LedgerError> {
        let old = self.manifests.scan_prefix(&id.0, None, usize::MAX)?;
        let mut batch = self.store.batch();
        for (key, _) in old.into_iter().skip(pages.len()) {
            batch.delete(&self.manifests, &key);
        }
        for (number, page) in pages.iter().enumerate() {
            let key = [&id.0[..], &(number as u32).to_be_bytes()].concat();
            batch.put(&self.manifests, &key, &encode(page))?;
        }
        Ok(batch.commit(Durability::Buffered)?)
    }

    /// Every device that ever enrolled.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn devices(&self) -> Result<Vec<DeviceRecord>, LedgerError> {
        self.all(&self.devices, &[], |_, value| decode(DEVICES, value))
    }

    /// Enrols a device with a code that was not used before; `false` where it was used.
    ///
    /// # Errors
    /// When the database fails.
    pub fn enrol(&self, record: &DeviceRecord, nonce: [u8; 16]) -> Result<bool, LedgerError> {
        if let Some(user) = self.codes.get(&nonce)? {
            // The same device asking again lost the answer on the way; it may have it once more.
            return Ok(user == record.device.0);
        }
        let mut batch = self.store.batch();
        batch.put(&self.codes, &nonce, &record.device.0)?;
        batch.put(&self.devices, &record.device.0, &encode(record))?;
        batch.commit(Durability::Synced)?;
        Ok(true)
    }

    /// Remembers what changed about a device.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn put_device(&self, record: &DeviceRecord) -> Result<(), LedgerError> {
        let key: &DeviceId = &record.device;
        Ok(self.devices.put(&key.0, &encode(record), Durability::Buffered)?)
    }
}
