//! Damaged chunks: what homes have of them, and when that is worth a look.

use std::collections::BTreeMap;

use aftercast_protocol::ccf::WithheldReason;
use aftercast_protocol::ids::{ChannelId, ChunkCid, DeviceId, Slot, UnitDigest};
use aftercast_protocol::limits::{MAX_TRACKED_ANCHORS, MAX_WITNESSES_PER_SLOT};
use aftercast_protocol::time::{Micros, Mono, Pts33, UnixMillis};
use aftercast_protocol::truth::{Reception, Report};

use super::Desk;
use super::channel::ChannelDesk;
use crate::ledger::{LedgerError, SlotState};
use crate::mend::{MendDone, MendJob, MendOutcome, MendTask, Piece, Place};

/// Homes whose units are looked at for one chunk: eight with one loss each seldom lack the same unit.
const MAX_VOICES: usize = 8;

/// How long after a home did not answer a chunk is looked at again, and how often.
const AGAIN: Micros = Micros::from_secs(10);
const TRIES: u32 = 6;

/// What one home said of its part of a chunk.
#[derive(Debug, Clone, Copy)]
struct Held {
    piece: ChunkCid,
    pts: Pts33,
    opening: UnitDigest,
    utc: UnixMillis,
}

/// What homes have in part, of the newest chunks.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    by_slot: BTreeMap<Slot, BTreeMap<DeviceId, Held>>,
    /// How many homes there were when a chunk was last looked at: without another one nothing else comes of it.
    looked: BTreeMap<Slot, usize>,
    /// When to look again at those that a home did not answer for, and how often that was done.
    again: BTreeMap<Slot, (Mono, u32)>,
}

impl Pieces {
    /// Takes a report in. A home that has the chunk whole now has no piece of it. One that began or ended in the middle of
    /// it is not heard: what two such homes have alike is where the broadcast was switched on, not a chunk.
    pub fn note(&mut self, slot: Slot, device: DeviceId, report: &Report) {
        let Reception::Withheld { piece: Some(piece), reason: WithheldReason::Damaged } = report.reception else {
            if let Some(homes) = self.by_slot.get_mut(&slot) {
                homes.remove(&device);
            }
            return;
        };
        let homes = self.by_slot.entry(slot).or_default();
        if homes.len() < MAX_WITNESSES_PER_SLOT {
            homes.insert(device, Held { piece, pts: report.pts, opening: report.opening, utc: report.utc });
        }
        if self.by_slot.len() > MAX_TRACKED_ANCHORS {
            self.by_slot.pop_first();
        }
    }

    /// The chunk is confirmed and stored: nobody asks for pieces of it.
    pub fn forget(&mut self, slot: Slot) {
        self.by_slot.remove(&slot);
        self.looked.remove(&slot);
        self.again.remove(&slot);
    }

    /// A home did not answer; it may do so later.
    fn look_again(&mut self, slot: Slot, now: Mono) {
        let known = &self.by_slot;
        self.again.retain(|slot, _| known.contains_key(slot));
        let (at, tries) = self.again.entry(slot).or_insert((now, 0));
        (*at, *tries) = (now + AGAIN, *tries + 1);
    }

    /// Those to be looked at again by now.
    fn take_due(&mut self, now: Mono) -> Vec<Slot> {
        let due = |(slot, (at, tries)): (&Slot, &(Mono, u32))| (*at <= now && *tries <= TRIES).then_some(*slot);
        let due: Vec<Slot> = self.again.iter().filter_map(due).collect();
        for slot in &due {
            self.looked.remove(slot);
            self.again.entry(*slot).and_modify(|(at, _)| *at = now + AGAIN);
        }
        due
    }

    fn of(&self, slot: Slot) -> impl Iterator<Item = (&DeviceId, &Held)> {
        self.by_slot.get(&slot).into_iter().flatten()
    }

    /// Whether there is more than at the last look.
    fn is_news(&self, slot: Slot) -> bool {
        self.of(slot).count() > self.looked.get(&slot).copied().unwrap_or(0)
    }

    fn note_look(&mut self, slot: Slot) {
        let homes = self.of(slot).count();
        self.looked.insert(slot, homes);
        let known = &self.by_slot;
        self.looked.retain(|slot, _| known.contains_key(slot));
    }

    /// Where most homes say that the chunk begins, with two of them at least; and when that was, as their median.
    fn beginning(&self, slot: Slot) -> Option<(Pts33, UnitDigest, UnixMillis)> {
        let mut said: BTreeMap<(Pts33, UnitDigest), Vec<UnixMillis>> = BTreeMap::new();
        for (_, held) in self.of(slot) {
            said.entry((held.pts, held.opening)).or_default().push(held.utc);
        }
        let (&(pts, opening), times) = said.iter_mut().max_by_key(|(_, times)| times.len())?;
        times.sort_unstable();
        let utc = times.get((times.len() - 1) / 2).copied()?;
        (times.len() >= 2).then_some((pts, opening, utc))
    }
}

impl Desk {
    /// Orders a damaged chunk to be made, or a single one to be held against what others have in part, where there is
    /// something to do it with.
    pub(super) fn consider_mend(&mut self, id: &ChannelId, slot: Slot) {
        let Some(task) = self.mend_task(id, slot) else { return };
        let Some(channel) = self.channels.get_mut(id) else { return };
        let devices = &self.devices;
        let piece = |(device, held): (&DeviceId, &Held)| {
            let subscriber = devices.get(device)?.subscriber.clone();
            Some(Piece { device: *device, subscriber, cid: held.piece })
        };
        let pieces: Vec<Piece> = channel.pieces.of(slot).filter_map(piece).take(MAX_VOICES).collect();
        let job = MendJob { channel: id.clone(), slot, task, pieces };
        // Where there is no room it is looked at again with the next report.
        if self.tools.mends.try_send(job).is_ok() {
            channel.pieces.note_look(slot);
        }
    }

    /// The same for the chunk before this one, which it bounds.
    pub(super) fn consider_mend_before(&mut self, id: &ChannelId, slot: Slot) {
        let before = self.channels.get(id).and_then(|channel| channel.slots.range(..slot).next_back());
        let before = before.map(|(before, _)| *before).filter(|before| before.timeline == slot.timeline);
        before.into_iter().for_each(|before| self.consider_mend(id, before));
    }

    /// Looks again at chunks that homes did not answer for.
    pub(super) fn mend_again(&mut self) {
        let now = self.tools.clock.mono();
        let due = |(id, channel): (&ChannelId, &mut ChannelDesk)| {
            channel.pieces.take_due(now).into_iter().map(|slot| (id.clone(), slot)).collect::<Vec<_>>()
        };
        let due: Vec<(ChannelId, Slot)> = self.channels.iter_mut().flat_map(due).collect();
        due.iter().for_each(|(id, slot)| self.consider_mend(id, *slot));
    }

    fn mend_task(&self, id: &ChannelId, slot: Slot) -> Option<MendTask> {
        let channel = self.channels.get(id)?;
        let record = channel.slots.get(&slot).filter(|_| channel.pieces.is_news(slot))?;
        match &record.state {
            SlotState::Single { cid, .. } if record.stored => Some(MendTask::Hear(record.claim(*cid))),
            SlotState::Damaged => {
                let (pts, opening, _) = channel.pieces.beginning(slot)?;
                let (_, next) = channel.slots.range(slot..).nth(1)?;
                let bounds = matches!(next.state, SlotState::Confirmed { .. }) && next.stored;
                if next.slot.timeline != slot.timeline || !bounds {
                    return None;
                }
                let duration = Some(pts.to(next.pts)).filter(|duration| duration.0 > 0)?;
                let place = Place { pts, duration, opening };
                let profile = channel.setup.profile.clone();
                Some(MendTask::Assemble { profile, place, next: (next.cid()?, next.pts) })
            }
            _ => None,
        }
    }

    pub(super) fn handle_mend(&mut self, done: MendDone) -> Result<(), LedgerError> {
        let now = self.tools.clock.mono();
        let MendDone { channel: id, slot, outcome } = done;
        let Some(channel) = self.channels.get_mut(&id) else { return Ok(()) };
        match outcome {
            MendOutcome::Heard { claim, said } => {
                tracing::debug!(channel = %id, %slot, cid = %claim.cid, ?said, "damaged receptions were heard");
                channel.truth.handle_testimonies(now, slot, claim, &said);
            }
            MendOutcome::Assembled { claim, fetched } => {
                let utc = channel.pieces.beginning(slot).map_or(UnixMillis(0), |(_, _, utc)| utc);
                tracing::info!(channel = %id, %slot, cid = %claim.cid, fetched, "a chunk was made of damaged ones");
                channel.truth.handle_assembled(now, slot, claim, utc);
                self.tools.metrics.pulled_bytes.inc_by(fetched);
                self.carry_out()?;
                self.handle_stored(now, claim.cid)?;
            }
            MendOutcome::Failed { reason, unheard } => {
                tracing::info!(channel = %id, %slot, reason, "a damaged chunk cannot be made yet");
                if unheard {
                    channel.pieces.look_again(slot, now);
                }
            }
        }
        Ok(())
    }
}
