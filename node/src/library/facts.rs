//! The seed's published decisions, held against what this device has.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use aftercast_protocol::ids::{ChannelId, ChunkCid, Slot};
use aftercast_protocol::limits::MAX_TRACKED_ANCHORS;
use aftercast_protocol::time::{Pts33, UnixMillis};
use aftercast_protocol::truth::{Class, Decision, Fact, Standing, VerifiedFact};
use aftercast_store::{Durability, Protection, PutError};

use super::{ChunkNote, Holding, Library, LibraryError, NoteKind, State, encode};

/// Objections that wait for the seed. More than a few a minute mean another encode, which the seed sees from a few.
const MAX_OBJECTIONS: usize = 128;
/// Facts beyond the next one that are remembered as seen: a seed's whole answer and what arrives meanwhile.
const MAX_AHEAD: usize = 1024;
/// Times that the same missing facts are asked for before they are given up: the seed has forgotten them.
const MAX_ASKED: u32 = 3;

/// A confirmed fact, as far as later chunks are held against it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KnownFact {
    pub cid: ChunkCid,
    pub slot: Slot,
    pub class: Class,
    pub utc: UnixMillis,
}

impl KnownFact {
    pub fn holding(&self, channel: &ChannelId) -> Holding {
        Holding { channel: channel.clone(), slot: Some(self.slot), class: self.class, utc: self.utc, confirmed: true }
    }
}

/// Facts of a channel: the newest ones, and which were seen.
#[derive(Debug, Default)]
pub(super) struct RecentFacts {
    confirmed: BTreeMap<Pts33, KnownFact>,
    order: VecDeque<Pts33>,
    /// Number of the next fact; none before anything was heard.
    cursor: Option<u64>,
    ahead: BTreeSet<u64>,
    asked: Option<(u64, u32)>,
}

/// Facts that are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FactsWanted {
    /// First number missing.
    pub from: u64,
}

impl RecentFacts {
    pub fn restore(&mut self, cursor: u64) {
        self.cursor = Some(cursor);
    }

    pub fn at(&self, pts: Pts33) -> Option<KnownFact> {
        self.confirmed.get(&pts).cloned()
    }

    fn remember(&mut self, pts: Pts33, fact: KnownFact) {
        if self.confirmed.insert(pts, fact).is_none() {
            self.order.push_back(pts);
        }
        while self.order.len() > MAX_TRACKED_ANCHORS {
            if let Some(old) = self.order.pop_front() {
                self.confirmed.remove(&old);
            }
        }
    }

    fn withdraw(&mut self, cid: ChunkCid) {
        self.confirmed.retain(|_, fact| fact.cid != cid);
        let confirmed = &self.confirmed;
        self.order.retain(|pts| confirmed.contains_key(pts));
    }

    /// Notes a fact as seen.
    fn seen(&mut self, seq: u64) {
        let cursor = self.cursor.get_or_insert(seq);
        if seq >= *cursor && self.ahead.len() < MAX_AHEAD {
            self.ahead.insert(seq);
        }
        while self.ahead.remove(cursor) {
            *cursor += 1;
        }
    }

    /// What to ask for, when facts up to `next` exist.
    fn wanted(&mut self, next: u64) -> Option<FactsWanted> {
        let cursor = *self.cursor.get_or_insert(next);
        let exist = next.max(self.ahead.last().map_or(0, |last| last.saturating_add(1)));
        if cursor >= exist {
            self.asked = None;
            return None;
        }
        let times = self.asked.filter(|(from, _)| *from == cursor).map_or(0, |(_, times)| times);
        if times >= MAX_ASKED {
            let from = self.ahead.first().copied().unwrap_or(exist);
            tracing::warn!(missing = cursor, from, "the seed no longer has some facts");
            self.cursor = Some(from);
            self.asked = None;
            while let Some(cursor) = &mut self.cursor
                && self.ahead.remove(cursor)
            {
                *cursor += 1;
            }
            return None;
        }
        self.asked = Some((cursor, times + 1));
        Some(FactsWanted { from: cursor })
    }
}

impl Library {
    /// Takes facts of a channel in; `next` is the number of the fact that comes after all that exist, where the seed
    /// said so. Gives what is missing.
    ///
    /// # Errors
    /// When something cannot be written.
    pub fn handle_facts(
        &self,
        channel: &ChannelId,
        facts: &[VerifiedFact],
        next: u64,
    ) -> Result<Option<FactsWanted>, LibraryError> {
        for fact in facts.iter().filter(|fact| fact.channel == *channel) {
            self.handle_fact(fact)?;
        }
        let (wanted, cursor) = {
            let mut state = self.state();
            let known = &mut state.channels.entry(channel.clone()).or_default().facts;
            facts.iter().for_each(|fact| known.seen(fact.seq));
            (known.wanted(next), known.cursor)
        };
        if let Some(cursor) = cursor {
            self.tables.cursors.put(channel.as_str().as_bytes(), &encode(&cursor), Durability::Buffered)?;
        }
        Ok(wanted)
    }

    fn handle_fact(&self, fact: &Fact) -> Result<(), LibraryError> {
        match fact.decision {
            Decision::Confirmed { cid, pts, .. } => self.confirmed(fact, cid, pts)?,
            Decision::Withdrawn { cid } => self.withdrawn(&fact.channel, cid)?,
        }
        self.state().manifests_changed(&fact.channel);
        self.touch();
        Ok(())
    }

    fn confirmed(&self, fact: &Fact, cid: ChunkCid, pts: Pts33) -> Result<(), LibraryError> {
        let known = KnownFact { cid, slot: fact.slot, class: fact.class, utc: fact.utc };
        let (ours, there, salvaged) = {
            let mut state = self.state();
            let channel = state.channels.entry(fact.channel.clone()).or_default();
            channel.facts.remember(pts, known.clone());
            let ours = channel.by_cid.get(&cid).copied();
            let there = channel.by_pts.get(&pts).copied();
            let salvaged = there.and_then(|seq| channel.entries.get(&seq)?.salvaged());
            if ours.is_none()
                && let Some(seq) = there
            {
                state.object(&fact.channel, seq, &known);
            }
            (ours, there, salvaged)
        };
        if let Some(seq) = ours {
            let one = BTreeSet::from([(fact.channel.clone(), seq)]);
            self.change_entries(one, |entry| (entry.slot, entry.confirmed) = (Some(fact.slot), true))?;
        }
        if self.store.is_complete(cid) {
            self.hold_confirmed(cid, &known, &fact.channel)?;
        }
        if let (Some(seq), true) = (there, salvaged == Some(cid)) {
            self.proven(&fact.channel, seq, fact.slot)?;
        } else if let Some(salvaged) = salvaged {
            match self.store.set_protection(salvaged, Protection::Acknowledged, Durability::Buffered) {
                Ok(()) | Err(PutError::Unknown(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    pub(super) fn hold_confirmed(
        &self,
        cid: ChunkCid,
        fact: &KnownFact,
        channel: &ChannelId,
    ) -> Result<(), LibraryError> {
        let kind = self.store.chunk(cid)?.and_then(|info| ChunkNote::decode(&info.note)).map(|note| note.kind);
        let note = ChunkNote {
            // A salvaged form that is the chunk itself lacks nothing.
            kind: kind.filter(|kind| *kind != NoteKind::Salvaged).unwrap_or(NoteKind::Fetched),
            channel: channel.clone(),
            slot: Some(fact.slot),
            class: fact.class,
            utc: fact.utc,
            confirmed: true,
        };
        match self.store.set_note(cid, &note.encode(), Durability::Buffered) {
            Ok(()) => self.state().hold(cid, fact.holding(channel)),
            Err(PutError::Unknown(_)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn withdrawn(&self, channel: &ChannelId, cid: ChunkCid) -> Result<(), LibraryError> {
        let ours = {
            let mut state = self.state();
            state.drop_holding(cid);
            let known = state.channels.entry(channel.clone()).or_default();
            known.facts.withdraw(cid);
            known.by_cid.get(&cid).copied()
        };
        if let Some(info) = self.store.chunk(cid)?
            && let Some(note) = ChunkNote::decode(&info.note)
        {
            let note = ChunkNote { confirmed: false, ..note };
            match self.store.set_note(cid, &note.encode(), Durability::Buffered) {
                Ok(()) | Err(PutError::Unknown(_)) => {}
                Err(error) => return Err(error.into()),
            }
            self.state().hold_unconfirmed(cid, channel, note.utc);
        }
        if let Some(seq) = ours {
            self.change_entries(BTreeSet::from([(channel.clone(), seq)]), |entry| entry.confirmed = false)?;
        }
        Ok(())
    }
}

impl State {
    /// Says no to a fact that names another chunk than the clean one we have there; once per chunk.
    pub(super) fn object(&mut self, channel: &ChannelId, seq: u64, fact: &KnownFact) {
        let Some(known) = self.channels.get_mut(channel) else { return };
        let Some(entry) = known.entries.get_mut(&seq) else { return };
        let differs = entry.cid().is_some_and(|ours| ours != fact.cid);
        // PTS repeat every 26.5 hours: the same PTS on another day is no contradiction.
        const SAME_BROADCAST_MILLIS: u64 = 3_600_000;
        let same = entry.utc.0.abs_diff(fact.utc.0) < SAME_BROADCAST_MILLIS;
        if !differs || !same || entry.objected || self.objections.len() >= MAX_OBJECTIONS {
            return;
        }
        entry.objected = true;
        self.objections.push_back(entry.report(channel, Standing::Objection));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_for_what_is_missing_until_it_comes() {
        let mut facts = RecentFacts::default();
        facts.seen(5);
        assert_eq!(facts.wanted(6), None);
        facts.seen(8);
        assert_eq!(facts.wanted(0), Some(FactsWanted { from: 6 }));
        facts.seen(6);
        facts.seen(7);
        assert_eq!(facts.wanted(9), None);
        assert_eq!(facts.wanted(10), Some(FactsWanted { from: 9 }));
    }

    #[test]
    fn gives_up_what_the_seed_forgot() {
        let mut facts = RecentFacts::default();
        facts.restore(1);
        facts.seen(10);
        for _ in 0..MAX_ASKED {
            assert_eq!(facts.wanted(0), Some(FactsWanted { from: 1 }));
        }
        assert_eq!(facts.wanted(0), None);
        assert_eq!(facts.cursor, Some(11));
    }

    #[test]
    fn memory_is_bounded_whatever_is_published() {
        let mut facts = RecentFacts::default();
        facts.seen(0);
        for n in 0..5_000 {
            facts.seen(2 * n + 7);
            let fact = KnownFact {
                cid: ChunkCid([1; 32]),
                slot: Slot { timeline: Default::default(), index: Default::default() },
                class: Class(0),
                utc: UnixMillis(0),
            };
            facts.remember(Pts33(n), fact);
        }
        assert!(facts.ahead.len() <= MAX_AHEAD && facts.confirmed.len() <= MAX_TRACKED_ANCHORS);
        facts.withdraw(ChunkCid([1; 32]));
        assert!(facts.order.is_empty());
    }
}
