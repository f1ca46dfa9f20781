//! Carrying out what truth and duties decided, and taking in what came of it.

use aftercast_protocol::duty::{Duty, DutyAction, DutyKind, FailReason};
use aftercast_protocol::ids::{ChannelId, ChunkCid, DeviceId, Slot};
use aftercast_protocol::limits::{MAX_CTL_LIST, MAX_DIRECT_FACTS, WITNESS_EPOCH_CHUNKS};
use aftercast_protocol::time::{Mono, UnixMillis};
use aftercast_protocol::truth::{Claim, Class, Decision, Fact, RawFact, TruthAction};
use aftercast_protocol::wire::ctl::CtlMsg;
use aftercast_store::Durability;

use super::Desk;
use crate::heads::{HeadDone, HeadJob, Purpose};
use crate::ledger::{LedgerError, SlotRecord, SlotState};
use crate::pull::{PullEvent, PullJob, PullOutcome};

impl Desk {
    /// Drains every decision that is due.
    pub(super) fn carry_out(&mut self) -> Result<(), LedgerError> {
        let ids: Vec<ChannelId> = self.channels.keys().cloned().collect();
        for id in ids {
            while let Some(action) = self.channels.get_mut(&id).and_then(|channel| channel.truth.poll_action()) {
                self.carry_out_truth(&id, action)?;
            }
        }
        while let Some(action) = self.duties.poll_action() {
            self.carry_out_duty(action);
        }
        self.feed_archive();
        Ok(())
    }

    fn carry_out_truth(&mut self, id: &ChannelId, action: TruthAction) -> Result<(), LedgerError> {
        match action {
            TruthAction::Confirmed { slot, claim, utc, supporters } => {
                let state = SlotState::Confirmed { cid: claim.cid };
                self.settle(id, slot, state, Some((claim, utc)))?;
                tracing::debug!(channel = %id, %slot, cid = %claim.cid, supporters = supporters.len(), "confirmed");
                self.order_upload(id, slot, &supporters);
            }
            TruthAction::Single { slot, claim, utc, subscriber, holder } => {
                let state = SlotState::Single { cid: claim.cid, subscriber };
                self.settle(id, slot, state, Some((claim, utc)))?;
                tracing::debug!(channel = %id, %slot, cid = %claim.cid, "single");
                self.order_upload(id, slot, &[holder]);
            }
            TruthAction::Disputed { slot } => {
                tracing::warn!(channel = %id, %slot, "recorders disagree");
                self.settle(id, slot, SlotState::Disputed, None)?;
            }
            TruthAction::Damaged { slot } => {
                self.settle(id, slot, SlotState::Damaged, None)?;
                self.consider_mend(id, slot);
            }
            TruthAction::Withdrawn { slot, cid } => self.withdraw(id, slot, cid)?,
            TruthAction::AskWitnesses { slot, devices } => self.order_witnesses(id, slot, &devices),
            TruthAction::Holder { slot, cid, device } => self.handle_holder(id, slot, cid, device),
        }
        Ok(())
    }

    /// Writes a decision down and publishes it, in this order.
    fn settle(
        &mut self,
        id: &ChannelId,
        slot: Slot,
        state: SlotState,
        claim: Option<(Claim, UnixMillis)>,
    ) -> Result<(), LedgerError> {
        let Some(channel) = self.channels.get_mut(id) else { return Ok(()) };
        let Some(record) = channel.slots.get_mut(&slot) else { return Ok(()) };
        let same_chunk = claim.is_some_and(|(claim, _)| record.cid() == Some(claim.cid));
        record.state = state;
        if let Some((claim, utc)) = claim {
            record.pts = claim.pts;
            record.duration = claim.duration;
            record.opening = claim.opening;
            record.bytes = claim.bytes;
            record.utc = utc;
        }
        if !same_chunk {
            (record.stored, record.head, record.archive) = (false, None, None);
        }
        let record = record.clone();
        channel.revision += 1;
        let decision = match (&record.state, claim) {
            (SlotState::Confirmed { cid }, Some((claim, _))) => Some(Decision::Confirmed {
                cid: *cid,
                bytes: claim.bytes,
                pts: claim.pts,
                duration: claim.duration,
                opening: claim.opening,
            }),
            _ => None,
        };
        self.tools.access.list(id, &record);
        if let Some(cid) = record.cid() {
            self.places.insert(cid, (id.clone(), slot));
        }
        match decision {
            Some(decision) => self.publish(id, &record, decision),
            None => self.tools.ledger.put_slot(id, &record, None, Durability::Buffered),
        }
    }

    /// Signs a fact, writes it down with its slot, and sends it out.
    fn publish(&mut self, id: &ChannelId, record: &SlotRecord, decision: Decision) -> Result<(), LedgerError> {
        let Some(channel) = self.channels.get_mut(id) else { return Ok(()) };
        let seq = channel.next_fact;
        let fact =
            Fact { channel: id.clone(), seq, slot: record.slot, class: Class::default(), decision, utc: record.utc };
        let fact = self.tools.key.sign(fact).raw().clone();
        self.tools.ledger.put_slot(id, record, Some((seq, &fact)), Durability::Synced)?;
        channel.next_fact = seq + 1;
        // Directly to some, so that a small channel is prompt; by gossip to all others, who ask for what they missed.
        let direct: Vec<DeviceId> = channel.recorders.keys().copied().take(MAX_DIRECT_FACTS).collect();
        self.gossip(id, &fact);
        let msg = CtlMsg::Facts { channel: id.clone(), facts: vec![fact], next: seq + 1 };
        direct.into_iter().for_each(|device| self.send(device, &msg));
        Ok(())
    }

    fn gossip(&self, id: &ChannelId, fact: &RawFact) {
        let (net, id) = (self.tools.net.clone(), id.clone());
        let data = minicbor::to_vec(fact).expect("encoding into memory does not fail");
        tokio::spawn(async move {
            if let Err(error) = net.publish(&id, data).await {
                tracing::trace!(channel = %id, %error, "fact not gossiped; nodes ask for it");
            }
        });
    }

    fn withdraw(&mut self, id: &ChannelId, slot: Slot, cid: ChunkCid) -> Result<(), LedgerError> {
        tracing::warn!(channel = %id, %slot, %cid, "confirmed chunk withdrawn");
        self.tools.access.unlist(cid);
        self.places.remove(&cid);
        let Some(channel) = self.channels.get_mut(id) else { return Ok(()) };
        channel.holders.remove(&slot);
        channel.revision += 1;
        let Some(record) = channel.slots.get_mut(&slot) else { return Ok(()) };
        record.state = SlotState::Pending;
        record.stored = false;
        (record.head, record.archive) = (None, None);
        let record = record.clone();
        self.publish(id, &record, Decision::Withdrawn { cid })
    }

    fn order_witnesses(&self, id: &ChannelId, slot: Slot, devices: &[DeviceId]) {
        let now = self.utc();
        let Some(channel) = self.channels.get(id) else { return };
        // Two epochs: the one it is for, and as much for an order that was given early in the one before.
        let interval = u64::try_from(channel.setup.interval.as_millis()).unwrap_or_default();
        let deadline = now.plus_millis(interval.saturating_mul(2 * WITNESS_EPOCH_CHUNKS));
        for &device in devices {
            let duty =
                Duty { device, channel: id.clone(), slot, kind: DutyKind::Witness, cid: None, deadline, issued: now };
            self.send(device, &CtlMsg::Duties { duties: vec![self.tools.key.sign(duty).raw().clone()] });
        }
    }

    fn order_upload(&mut self, id: &ChannelId, slot: Slot, holders: &[DeviceId]) {
        let now = self.tools.clock.mono();
        let Some(channel) = self.channels.get_mut(id) else { return };
        holders.iter().for_each(|device| channel.note_holder(slot, *device));
        let Some(record) = channel.slots.get(&slot) else { return };
        if !record.stored {
            let Some(chunk) = channel.chunk_ref(record, now) else { return };
            if let Err(full) = self.duties.handle_chunk(now, chunk, holders) {
                // Its holders keep it until it is acknowledged, and offer it again when they reconnect.
                tracing::error!(channel = %id, %slot, %full, "upload not ordered yet");
            }
        }
    }

    /// A device turned out to hold a chunk: it may upload it, and may forget it once stored.
    fn handle_holder(&mut self, id: &ChannelId, slot: Slot, cid: ChunkCid, device: DeviceId) {
        let now = self.tools.clock.mono();
        let Some(channel) = self.channels.get_mut(id) else { return };
        channel.note_holder(slot, device);
        if channel.slots.get(&slot).is_some_and(|record| record.stored) {
            self.acknowledge(device, vec![cid]);
        } else {
            self.duties.handle_holder(now, &cid, device);
        }
    }

    fn carry_out_duty(&mut self, action: DutyAction) {
        match action {
            DutyAction::Pull { cid, from, deadline, .. } => {
                let Some((channel, slot)) = self.places.get(&cid).cloned() else { return };
                let now = self.utc();
                let within = deadline - self.tools.clock.mono();
                let duty = Duty {
                    device: from,
                    channel: channel.clone(),
                    slot,
                    kind: DutyKind::Upload,
                    cid: Some(cid),
                    deadline: now.plus_millis(within.0 / 1000),
                    issued: now,
                };
                self.send(from, &CtlMsg::Duties { duties: vec![self.tools.key.sign(duty).raw().clone()] });
                let bytes =
                    self.channels.get(&channel).and_then(|c| c.slots.get(&slot)).map_or(0, |record| record.bytes);
                self.order_pull(PullJob::Start { cid, bytes, from, within });
            }
            DutyAction::Abandon { cid, from } => self.order_pull(PullJob::Abandon { cid, from }),
            DutyAction::Starved { cid } => {
                tracing::info!(%cid, "nobody can upload this chunk now; it waits for a holder");
            }
            DutyAction::Keep { cid, device } => self.order_keep(cid, device),
        }
    }

    fn order_pull(&self, job: PullJob) {
        if self.tools.pulls.try_send(job).is_err() {
            // Its deadline will hand the chunk to a stand-in.
            self.tools.metrics.unsent_frames.inc();
            tracing::error!("more pulls ordered than can be queued");
        }
    }

    fn order_keep(&self, cid: ChunkCid, device: DeviceId) {
        let Some((channel, slot)) = self.places.get(&cid).cloned() else { return };
        let now = self.utc();
        let deadline = UnixMillis(u64::MAX);
        let duty = Duty { device, channel, slot, kind: DutyKind::Keep, cid: Some(cid), deadline, issued: now };
        self.send(device, &CtlMsg::Duties { duties: vec![self.tools.key.sign(duty).raw().clone()] });
    }

    pub(super) fn handle_pull(&mut self, event: PullEvent) -> Result<(), LedgerError> {
        let now = self.tools.clock.mono();
        let PullEvent { cid, from, outcome } = event;
        match outcome {
            PullOutcome::Progress { bytes, took } => {
                self.duties.handle_progress(&cid, from, bytes);
                self.duties.handle_measured(from, bytes, took);
                self.tools.metrics.pulled_bytes.inc_by(bytes);
                if let Some(device) = self.devices.get_mut(&from) {
                    device.uploaded_bytes += bytes;
                }
            }
            PullOutcome::Failed { reason, fault } => {
                tracing::info!(%cid, device = %from, %reason, "upload failed");
                if fault == FailReason::Lied {
                    self.tools.metrics.liars.inc();
                    self.tools.net.ban(from);
                }
                self.duties.handle_failed(now, &cid, from, fault);
            }
            PullOutcome::Stored => {
                if let Some(device) = self.devices.get(&from) {
                    self.tools.ledger.put_device(device)?;
                }
                self.handle_stored(now, cid)?;
            }
        }
        Ok(())
    }

    /// The bytes are on disk, synced: note it as durably, then tell everyone who keeps a copy for us.
    pub(super) fn handle_stored(&mut self, now: Mono, cid: ChunkCid) -> Result<(), LedgerError> {
        self.duties.handle_stored(now, &cid);
        let Some((id, slot)) = self.places.get(&cid).cloned() else { return Ok(()) };
        let Some(channel) = self.channels.get_mut(&id) else { return Ok(()) };
        let Some(record) = channel.slots.get_mut(&slot) else { return Ok(()) };
        if record.cid() != Some(cid) || record.stored {
            return Ok(());
        }
        record.stored = true;
        let record = record.clone();
        channel.revision += 1;
        let holders: Vec<DeviceId> = channel.holders.get(&slot).into_iter().flatten().copied().collect();
        let archive = channel.setup.archive;
        self.tools.ledger.put_slot(&id, &record, None, Durability::Synced)?;
        self.tools.metrics.unique_bytes.inc_by(record.bytes);
        holders.into_iter().for_each(|device| self.acknowledge(device, vec![cid]));
        // A programme's first chunk will be asked for as a head: better now than when somebody waits.
        if self.opens_a_recording(&id, slot) {
            self.order_head(&id, slot, cid, Purpose::Head);
        }
        if archive {
            self.to_archive.insert((id.clone(), slot));
        }
        let confirmed = matches!(record.state, SlotState::Confirmed { .. });
        if let Some(channel) = self.channels.get_mut(&id).filter(|_| confirmed) {
            channel.pieces.forget(slot);
        }
        // It may take a voice to be confirmed, and bounds a damaged one before it.
        self.consider_mend(&id, slot);
        self.consider_mend_before(&id, slot);
        Ok(())
    }

    fn opens_a_recording(&self, id: &ChannelId, slot: Slot) -> bool {
        let Some(channel) = self.channels.get(id) else { return false };
        let of_channel = self.recordings.values().filter(|recording| recording.channel == *id);
        let mut firsts = of_channel.filter_map(|recording| channel.slots_of(recording).find(|s| s.cid().is_some()));
        firsts.any(|record| record.slot == slot)
    }

    /// Gives the transcoder the archive's next chunk where it has nothing else to do: a head that somebody waits for
    /// waits for one of the archive at most.
    pub(super) fn feed_archive(&mut self) {
        while self.tools.heads.capacity() == self.tools.heads.max_capacity()
            && let Some((id, slot)) = self.to_archive.pop_first()
        {
            let record = self.channels.get(&id).and_then(|channel| channel.slots.get(&slot));
            let cid = record.filter(|record| record.stored && record.archive.is_none()).and_then(SlotRecord::cid);
            if let Some(cid) = cid {
                self.order_head(&id, slot, cid, Purpose::Archive);
            }
        }
    }

    /// Orders a rendition; `true` if it was taken (it may be under way already).
    pub(super) fn order_head(&mut self, id: &ChannelId, slot: Slot, cid: ChunkCid, purpose: Purpose) -> bool {
        self.tools.heads.try_send(HeadJob { channel: id.clone(), slot, cid, purpose }).is_ok()
    }

    pub(super) fn handle_head(&mut self, done: HeadDone) -> Result<(), LedgerError> {
        let HeadDone { job, result } = done;
        match result {
            Ok(rendition) => {
                let Some(channel) = self.channels.get_mut(&job.channel) else { return Ok(()) };
                let Some(record) = channel.slots.get_mut(&job.slot) else { return Ok(()) };
                if record.cid() == Some(job.cid) {
                    let place = match job.purpose {
                        Purpose::Head => &mut record.head,
                        Purpose::Archive => &mut record.archive,
                    };
                    *place = Some(rendition);
                    let record = record.clone();
                    channel.revision += 1;
                    self.tools.ledger.put_slot(&job.channel, &record, None, Durability::Synced)?;
                    self.tools.access.list(&job.channel, &record);
                }
            }
            Err(error) => {
                self.tools.metrics.failed_heads.inc();
                tracing::warn!(cid = %job.cid, %error, "no smaller rendition; players start with the chunk itself");
            }
        }
        if job.purpose == Purpose::Head {
            self.answer_waiting(&job.channel, job.slot)?;
        }
        Ok(())
    }

    /// Tells a device which chunks it need not keep for us any more.
    pub(super) fn acknowledge(&self, device: DeviceId, cids: Vec<ChunkCid>) {
        for cids in cids.chunks(MAX_CTL_LIST) {
            self.send(device, &CtlMsg::Acked { cids: cids.to_vec() });
        }
    }
}
