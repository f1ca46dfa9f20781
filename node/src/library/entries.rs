//! Chunks as they come out of the cutter, and what the seed has to be told of them.

use std::collections::BTreeSet;

use aftercast_protocol::ccf::{Chunk, ChunkState as Cut, CleanChunk};
use aftercast_protocol::ids::{ChannelId, ChunkCid};
use aftercast_protocol::limits::MAX_CTL_LIST;
use aftercast_protocol::time::UnixMillis;
use aftercast_protocol::truth::{Class, Report, Standing};
use aftercast_protocol::verify::GroupHashes;
use aftercast_store::{Durability, Protection, PutError};

use super::aux_objects::NewAux;
use super::facts::KnownFact;
use super::{ChannelState, ChunkNote, Library, LibraryError, LocalContent, LocalEntry, NoteKind, State, encode};

/// A chunk that was cut, with the wall time of its opening unit.
#[derive(Debug)]
pub struct NewChunk {
    /// The chunk.
    pub chunk: Chunk,
    /// When its opening unit was received.
    pub utc: UnixMillis,
}

/// What became of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It is in the store, durably.
    Stored,
    /// There is no room, not even after evicting all that may be evicted.
    NoRoom,
}

/// How long after a chunk's end a device that was not ordered to witness waits for the seed's decision, in milliseconds:
/// longer than the seed takes where its witnesses answer.
pub const REPORT_ANYWAY_MILLIS: u64 = 8_000;

/// Key of an entry: the channel's name, a zero byte, and the entry's number.
pub(super) fn key(channel: &ChannelId, seq: u64) -> Vec<u8> {
    [channel.as_str().as_bytes(), &[0], &seq.to_be_bytes()].concat()
}

/// The inverse of [`key`].
pub(super) fn parse_key(key: &[u8]) -> Option<(ChannelId, u64)> {
    let (name, seq) = key.split_last_chunk::<8>()?;
    let name = std::str::from_utf8(name.strip_suffix(&[0])?).ok()?;
    Some((name.parse().ok()?, u64::from_be_bytes(*seq)))
}

impl Library {
    /// Stores a chunk of a channel, and remembers to tell the seed. Chunks of one channel come from one thread.
    ///
    /// # Errors
    /// When the store failed; not for want of room.
    pub fn record(&self, channel: &ChannelId, new: NewChunk) -> Result<Recorded, PutError> {
        let (seq, fact) = {
            let mut state = self.state();
            let known = state.channels.entry(channel.clone()).or_default();
            (known.next_seq, known.facts.at(new.chunk.pts))
        };
        let aux = self.new_aux(channel, &new.chunk);
        let (mut entry, stored) = split(new);
        entry.aux = aux.as_ref().map(|aux| aux.kept);
        let confirmed = fact.as_ref().filter(|fact| entry.cid() == Some(fact.cid));
        entry.slot = confirmed.map(|fact| fact.slot);
        entry.confirmed = confirmed.is_some();
        if let Some(fact) = fact.as_ref().filter(|fact| entry.salvaged() == Some(fact.cid)) {
            (entry.slot, entry.repaired) = (Some(fact.slot), true);
        }
        let done =
            match (self.write(channel, seq, &entry, stored.as_ref(), aux.as_ref(), fact.as_ref())?, &mut entry.content)
            {
                (Recorded::NoRoom, LocalContent::Withheld { salvaged, bytes, .. }) => {
                    // The seed should still hear that this receiver had it damaged.
                    (*salvaged, *bytes) = (None, 0);
                    self.write(channel, seq, &entry, None, None, fact.as_ref())?
                }
                (done, _) => done,
            };
        if done == Recorded::Stored {
            aux.into_iter().for_each(|aux| self.adopt_layout(channel, aux));
            self.adopt(channel, seq, entry, fact.as_ref());
        }
        Ok(done)
    }

    fn write(
        &self,
        channel: &ChannelId,
        seq: u64,
        entry: &LocalEntry,
        bytes: Option<&Hashed>,
        aux: Option<&NewAux>,
        fact: Option<&KnownFact>,
    ) -> Result<Recorded, PutError> {
        let stored = entry.cid().map(|cid| (cid, NoteKind::Recorded));
        // A salvaged form that is the chunk itself lacks nothing.
        let piece = if entry.repaired { NoteKind::Fetched } else { NoteKind::Salvaged };
        let stored = stored.or(entry.salvaged().map(|cid| (cid, piece)));
        let mut made_room = false;
        loop {
            let mut batch = self.store.batch();
            batch.put(&self.tables.entries, &key(channel, seq), &encode(entry))?;
            if let Some(aux) = aux {
                self.put_aux(&mut batch, channel, aux)?;
            }
            let mut attempt = Ok(());
            if let (Some((cid, kind)), Some(Hashed { bytes, hashes })) = (stored, bytes) {
                let note = ChunkNote {
                    kind,
                    channel: channel.clone(),
                    slot: entry.slot,
                    class: fact.map_or(Class::default(), |fact| fact.class),
                    utc: entry.utc,
                    confirmed: entry.confirmed || entry.repaired,
                };
                attempt = batch.put_chunk(cid, bytes, hashes, &note.encode());
                if attempt.is_ok() {
                    // A chunk that was fetched before may go at any time, an own one not before the seed has it. Of
                    // what others have whole our pieces may go where room is needed.
                    let dispensable = kind != NoteKind::Recorded && fact.is_some();
                    let protection = if dispensable { Protection::Acknowledged } else { Protection::Unacknowledged };
                    batch.set_protection(cid, protection);
                }
            }
            match attempt.and_then(|()| batch.commit(Durability::Synced)) {
                Ok(()) => return Ok(Recorded::Stored),
                // Evicted between our look and the write: with the next attempt it is written anew.
                Err(PutError::Unknown(_)) => {}
                Err(PutError::NoRoom(_)) if !made_room => {
                    made_room = true;
                    let len = bytes.map_or(0, |stored| stored.hashes.len_bytes());
                    match self.make_room(len) {
                        Ok(()) => {}
                        Err(PutError::NoRoom(_)) => return Ok(Recorded::NoRoom),
                        Err(error) => return Err(error),
                    }
                }
                Err(PutError::NoRoom(_)) => return Ok(Recorded::NoRoom),
                Err(error) => return Err(error),
            }
        }
    }

    /// Evicts what may be evicted, so that this much more fits.
    ///
    /// # Errors
    /// [`PutError::NoRoom`] where all of it is not enough; see [`PutError`].
    pub fn make_room(&self, bytes: u64) -> Result<(), PutError> {
        let evicted = self.store.make_room(bytes)?;
        if evicted.chunks.is_empty() {
            return Ok(());
        }
        tracing::info!(chunks = evicted.chunks.len(), bytes = evicted.bytes, "evicted acknowledged chunks");
        self.drop_aux(&evicted.chunks)?;
        let mut state = self.state();
        evicted.chunks.iter().for_each(|cid| state.drop_holding(*cid));
        drop(state);
        self.touch();
        Ok(())
    }

    fn adopt(&self, channel: &ChannelId, seq: u64, entry: LocalEntry, fact: Option<&KnownFact>) {
        let mut state = self.state();
        let whole = entry.cid().or(entry.salvaged().filter(|_| entry.repaired));
        if let (Some(cid), Some(fact), true) = (whole, fact, entry.confirmed || entry.repaired) {
            state.hold(cid, fact.holding(channel));
        } else if let Some(cid) = entry.cid() {
            state.hold_unconfirmed(cid, channel, entry.utc);
        }
        state.to_report.insert((channel.clone(), seq));
        state.channels.entry(channel.clone()).or_default().adopt(seq, entry);
        if let Some(fact) = fact {
            state.object(channel, seq, fact);
        }
        drop(state);
        self.touch();
    }

    /// The next reports for the seed, with what to pass to [`Library::reported`] once it has them.
    ///
    /// A device that was ordered to witness a channel reports each chunk. Others hold theirs against what the seed
    /// publishes: an equal one goes into their have-map, another one is an objection. Only where nothing is published
    /// for [`REPORT_ANYWAY_MILLIS`] they report as well, since the witnesses may be gone.
    #[must_use]
    pub fn take_reports(
        &self,
        now: UnixMillis,
        witnesses: impl Fn(&ChannelId) -> bool,
    ) -> (Vec<Report>, Vec<(ChannelId, u64)>) {
        let mut state = self.state();
        let State { to_report, channels, objections, .. } = &mut *state;
        let mut reports: Vec<Report> = Vec::new();
        let mut taken = Vec::new();
        to_report.retain(|(channel, seq)| {
            if taken.len() >= MAX_CTL_LIST {
                return true;
            }
            let Some(known) = channels.get(channel) else { return false };
            let Some(entry) = known.entries.get(seq) else { return false };
            let decided = known.facts.at(entry.pts).is_some();
            if witnesses(channel) || (!decided && entry.report_anyway_at() <= now) {
                reports.push(entry.report(channel, Standing::Witness));
            } else if !decided {
                return true;
            }
            taken.push((channel.clone(), *seq));
            false
        });
        while reports.len() < MAX_CTL_LIST
            && let Some(objection) = objections.pop_front()
        {
            reports.push(objection);
        }
        (reports, taken)
    }

    /// These reports may not have arrived: they are given out again.
    pub fn report_again(&self, entries: Vec<(ChannelId, u64)>) {
        self.state().to_report.extend(entries);
    }

    /// The seed has these reports.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn reported(&self, entries: &[(ChannelId, u64)]) -> Result<(), LibraryError> {
        self.change_entries(entries.iter().cloned().collect(), |entry| entry.reported = true)
    }

    /// A new session with the seed begins: whatever it may not have processed is told again. Reports are kept by the
    /// seed when they decide something, not when they arrive, and it may have been restarted since.
    pub fn expect_reports_again(&self) {
        let mut state = self.state();
        let mut again = BTreeSet::new();
        for (channel, known) in &state.channels {
            let open =
                |entry: &LocalEntry| !entry.reported || (entry.cid().is_some() && !entry.acked && !entry.objected);
            let open = known.entries.iter().filter(|(_, entry)| open(entry));
            again.extend(open.map(|(seq, _)| (channel.clone(), *seq)));
        }
        state.to_report = again;
    }

    /// The seed holds these chunks durably.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn acknowledged(&self, cids: &[ChunkCid]) -> Result<(), LibraryError> {
        let entries: BTreeSet<(ChannelId, u64)> = {
            let state = self.state();
            let of = |cid: &ChunkCid| {
                let find = |(channel, known): (&ChannelId, &ChannelState)| {
                    known.by_cid.get(cid).map(|seq| (channel.clone(), *seq))
                };
                state.channels.iter().find_map(find)
            };
            cids.iter().filter_map(of).collect()
        };
        for cid in cids {
            match self.store.set_protection(*cid, Protection::Acknowledged, Durability::Buffered) {
                Ok(()) | Err(PutError::Unknown(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let channels: BTreeSet<ChannelId> = entries.iter().map(|(channel, _)| channel.clone()).collect();
        self.change_entries(entries, |entry| entry.acked = true)?;
        channels.iter().for_each(|channel| self.state().manifests_changed(channel));
        self.touch();
        Ok(())
    }

    pub(super) fn change_entries(
        &self,
        which: BTreeSet<(ChannelId, u64)>,
        change: impl Fn(&mut LocalEntry),
    ) -> Result<(), LibraryError> {
        let mut batch = self.store.batch();
        let mut any = false;
        {
            let mut state = self.state();
            for (channel, seq) in which {
                let Some(entry) = state.channels.get_mut(&channel).and_then(|known| known.entries.get_mut(&seq)) else {
                    continue;
                };
                let before = entry.clone();
                change(entry);
                if *entry != before {
                    any = true;
                    batch.put(&self.tables.entries, &key(&channel, seq), &encode(entry))?;
                }
            }
        }
        if any {
            batch.commit(Durability::Buffered)?;
            self.touch();
        }
        Ok(())
    }
}

impl LocalEntry {
    /// When it is reported also by a device that was not asked.
    fn report_anyway_at(&self) -> UnixMillis {
        let lasts = u64::try_from(self.duration.as_millis()).unwrap_or_default();
        self.utc.plus_millis(lasts.saturating_add(REPORT_ANYWAY_MILLIS))
    }
}

/// Bytes to store, hashed once.
struct Hashed {
    bytes: Vec<u8>,
    hashes: GroupHashes,
}

fn split(new: NewChunk) -> (LocalEntry, Option<Hashed>) {
    let NewChunk { chunk, utc } = new;
    let (content, stored) = match chunk.state {
        Cut::Clean(CleanChunk { cid, hashes, bytes }) => {
            (LocalContent::Clean { cid, bytes: hashes.len_bytes() }, Some(Hashed { bytes, hashes }))
        }
        Cut::Withheld(withheld) => {
            let salvaged = withheld.salvaged.filter(|bytes| !bytes.is_empty());
            let stored = salvaged.map(|bytes| Hashed { hashes: GroupHashes::of(&bytes), bytes });
            let (cid, bytes) = stored.as_ref().map_or((None, 0), |s| (Some(s.hashes.cid()), s.hashes.len_bytes()));
            (LocalContent::Withheld { reason: withheld.reason, salvaged: cid, bytes }, stored)
        }
    };
    let entry = LocalEntry {
        timeline: chunk.timeline,
        index: chunk.index,
        pts: chunk.pts,
        duration: chunk.duration,
        opening: chunk.opening,
        utc,
        content,
        slot: None,
        reported: false,
        confirmed: false,
        acked: false,
        objected: false,
        aux: None,
        repaired: false,
    };
    (entry, stored)
}

impl ChannelState {
    pub(super) fn adopt(&mut self, seq: u64, entry: LocalEntry) {
        if let Some(cid) = entry.cid() {
            self.by_cid.insert(cid, seq);
        }
        self.by_pts.insert(entry.pts, seq);
        self.next_seq = self.next_seq.max(seq.saturating_add(1));
        self.entries.insert(seq, entry);
    }

    pub(super) fn remove(&mut self, seq: u64) {
        let Some(entry) = self.entries.remove(&seq) else { return };
        if let Some(cid) = entry.cid()
            && self.by_cid.get(&cid) == Some(&seq)
        {
            self.by_cid.remove(&cid);
        }
        if self.by_pts.get(&entry.pts) == Some(&seq) {
            self.by_pts.remove(&entry.pts);
        }
    }
}

impl State {
    /// Recordings of this channel may have other manifests now.
    pub(super) fn manifests_changed(&mut self, channel: &ChannelId) {
        let of: Vec<_> = self.recordings.values().filter(|one| one.channel == *channel && !one.deleted).collect();
        let ids: Vec<_> = of.into_iter().map(|one| one.id).collect();
        self.stale_manifests.extend(ids);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_channels_apart_and_entries_in_order() {
        let (one, one_a): (ChannelId, ChannelId) = ("one".parse().unwrap(), "one-a".parse().unwrap());
        assert!(key(&one, 1) < key(&one, 256));
        assert!(key(&one, u64::MAX) < key(&one_a, 0), "a name that is another's prefix");
        assert_eq!(parse_key(&key(&one_a, 7)), Some((one_a, 7)));
        assert_eq!(parse_key(b"\0"), None);
    }
}
