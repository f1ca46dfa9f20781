//! Answering nodes: enrolment, recordings, reports, facts, manifests, playback.

use aftercast_protocol::grant::{Certificate, EnrolCode, Grant, SlotSpan};
use aftercast_protocol::ids::{ChannelId, ChunkIndex, DeviceId, RecordingId, Slot, SubscriberId, TimelineId};
use aftercast_protocol::limits::{MAX_CTL_LIST, MAX_GRANT_SPANS, MAX_RECORDINGS_PER_SUBSCRIBER, MAX_WAITING_PLAYERS};
use aftercast_protocol::plan::timelines::LocalPlace;
use aftercast_protocol::sign::{Raw, Verified};
use aftercast_protocol::time::{Ticks, UnixMillis};
use aftercast_protocol::truth::{Reception, Report};
use aftercast_protocol::wire::ctl::{ChannelInfo, CtlMsg, FirstChunk, RecordingInfo, Refused, ReqId, Session};

use super::{Desk, Waiting};
use crate::heads::Purpose;
use crate::ledger::{DeviceRecord, LedgerError, RecordingRecord, SlotRecord, SlotState};

/// A day in milliseconds.
const DAY_MILLIS: u64 = 86_400_000;

impl Desk {
    pub(super) fn handle_msg(&mut self, from: DeviceId, msg: CtlMsg) -> Result<(), LedgerError> {
        match msg {
            CtlMsg::Hello(hello) => {
                self.handle_hello(from, hello);
                return Ok(());
            }
            CtlMsg::Enrol { req, code } => return self.handle_enrol(from, req, &code),
            _ => {}
        }
        let Some(subscriber) = self.subscriber_of(from) else {
            self.tools.metrics.refuse(Refused::NotEnrolled);
            self.send(from, &CtlMsg::Refused { req: request_of(&msg), reason: Refused::NotEnrolled });
            return Ok(());
        };
        self.handle_admitted(from, &subscriber, msg)
    }

    fn handle_admitted(&mut self, from: DeviceId, subscriber: &SubscriberId, msg: CtlMsg) -> Result<(), LedgerError> {
        let req = request_of(&msg);
        let answer = match msg {
            CtlMsg::ListChannels { req } => Ok(Some(self.list_channels(req))),
            CtlMsg::ListRecordings { req } => Ok(Some(self.list_recordings(req, subscriber))),
            CtlMsg::Record { req, channel, resume, from: begin, to } => {
                self.record(from, subscriber, req, &channel, resume, begin, to)?
            }
            CtlMsg::StopRecording { req, recording } => self.stop(from, subscriber, req, recording)?,
            CtlMsg::DeleteRecording { req, recording } => self.delete(subscriber, req, recording)?,
            CtlMsg::Reports { reports } => {
                for report in reports {
                    self.handle_report(from, &report)?;
                }
                Ok(None)
            }
            CtlMsg::Capability(capability) => {
                self.handle_capability(from, Some(capability));
                Ok(None)
            }
            CtlMsg::GetFacts { channel, from: seq } => self.facts(&channel, seq)?,
            CtlMsg::GetManifest { req, recording, have_revision } => {
                self.send_manifest(from, subscriber, req, recording, have_revision)?
            }
            CtlMsg::Play { req, recording, at, first_held } => {
                self.play(from, subscriber, req, recording, at, first_held)?
            }
            CtlMsg::FindSources { req, recording, from: slot } => match self.owned(subscriber, recording) {
                Ok(recording) => {
                    Ok(Some(CtlMsg::Sources { req, sources: self.source_plan(from, &recording, Some(slot)) }))
                }
                Err(reason) => Err(reason),
            },
            CtlMsg::Have(have) => {
                self.handle_have(from, &have);
                Ok(None)
            }
            // Between nodes, or ours to say.
            _ => {
                self.tools.metrics.bad_frames.inc();
                Ok(None)
            }
        };
        match answer {
            Ok(Some(msg)) => self.send(from, &msg),
            Ok(None) => {}
            Err(reason) => {
                self.tools.metrics.refuse(reason);
                self.send(from, &CtlMsg::Refused { req, reason });
            }
        }
        Ok(())
    }

    fn handle_enrol(&mut self, device: DeviceId, req: ReqId, code: &Raw<EnrolCode>) -> Result<(), LedgerError> {
        let now = self.utc();
        let valid = code.verify(&self.tools.key.device()).ok().filter(|code| now < code.expires);
        let record = valid.as_ref().map(|code| DeviceRecord {
            device,
            subscriber: code.subscriber.clone(),
            uploaded_bytes: self.devices.get(&device).map_or(0, |known| known.uploaded_bytes),
        });
        let taken = match (&valid, &record) {
            (Some(code), Some(record)) => self.tools.ledger.enrol(record, code.nonce)?,
            _ => false,
        };
        let Some(record) = record.filter(|_| taken) else {
            self.tools.metrics.refuse(Refused::BadCode);
            self.send(device, &CtlMsg::Refused { req, reason: Refused::BadCode });
            return Ok(());
        };
        let certificate = self.certify(device, record.subscriber.clone(), now);
        tracing::info!(%device, subscriber = %record.subscriber, "device enrolled");
        self.tools.access.admit(device, record.subscriber.clone(), certificate.expires);
        if let Some(node) = self.nodes.get_mut(&device) {
            node.enrolled = Some(record.subscriber.clone());
        }
        self.devices.insert(device, record);
        self.send(device, &CtlMsg::Enrolled { req, certificate: certificate.raw().clone() });
        Ok(())
    }

    pub(super) fn certify(&self, device: DeviceId, subscriber: SubscriberId, now: UnixMillis) -> Verified<Certificate> {
        self.tools.key.sign(Certificate {
            device,
            subscriber,
            epoch: self.loaded.config.epoch,
            issued: now,
            expires: now.plus_millis(self.loaded.config.certificate_days.saturating_mul(DAY_MILLIS)),
        })
    }

    fn list_channels(&self, req: ReqId) -> CtlMsg {
        let info = |channel: &super::ChannelDesk| ChannelInfo {
            channel: channel.setup.id.clone(),
            title: channel.setup.title.clone(),
            interval: channel.setup.interval,
            profile: channel.setup.profile.clone(),
        };
        CtlMsg::Channels { req, channels: self.channels.values().take(MAX_CTL_LIST).map(info).collect() }
    }

    fn list_recordings(&self, req: ReqId, subscriber: &SubscriberId) -> CtlMsg {
        let now = self.utc();
        let own = self.recordings.values().filter(|recording| recording.subscriber == *subscriber);
        let mut recordings: Vec<RecordingInfo> = own.map(|recording| self.recording_info(recording, now)).collect();
        recordings.sort_by_key(|info| std::cmp::Reverse(info.from));
        recordings.truncate(MAX_CTL_LIST);
        CtlMsg::Recordings { req, recordings }
    }

    fn recording_info(&self, recording: &RecordingRecord, now: UnixMillis) -> RecordingInfo {
        let slots = self.channels.get(&recording.channel).into_iter().flat_map(|channel| channel.slots_of(recording));
        let playable: Vec<&SlotRecord> = slots.filter(|slot| slot.open_to(&recording.subscriber)).collect();
        RecordingInfo {
            recording: recording.id,
            channel: recording.channel.clone(),
            from: recording.from,
            to: recording.to,
            running: recording.runs(now),
            chunks: playable.len() as u64,
            duration: Ticks(playable.iter().map(|slot| slot.duration.0).sum()),
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn record(
        &mut self,
        device: DeviceId,
        subscriber: &SubscriberId,
        req: ReqId,
        channel: &ChannelId,
        resume: Option<RecordingId>,
        from: Option<UnixMillis>,
        to: Option<UnixMillis>,
    ) -> Result<Result<Option<CtlMsg>, Refused>, LedgerError> {
        let now = self.utc();
        if !self.channels.contains_key(channel) {
            return Ok(Err(Refused::NoSuchChannel));
        }
        let known = match resume.map(|id| self.owned(subscriber, id)) {
            Some(Ok(recording)) => Some(recording),
            Some(Err(reason)) => return Ok(Err(reason)),
            None => None,
        };
        let recording = match known {
            Some(recording) => recording,
            None => {
                let own = self.recordings.values().filter(|recording| recording.subscriber == *subscriber).count();
                if own >= MAX_RECORDINGS_PER_SUBSCRIBER {
                    return Ok(Err(Refused::Limit));
                }
                let Some(id) = fresh_id() else { return Ok(Err(Refused::Internal)) };
                // Nobody may claim the past: what was broadcast before the request was not recorded by this home.
                let from = from.map_or(now, |from| from.max(now));
                let (subscriber, channel) = (subscriber.clone(), channel.clone());
                let record = RecordingRecord { id, subscriber, device, channel, from, to, stopped: false };
                self.tools.ledger.put_recording(&record)?;
                tracing::info!(recording = %id, channel = %record.channel, %device, "recording begins");
                self.recordings.insert(id, record.clone());
                self.publish_recordings(&record.subscriber);
                record
            }
        };
        if recording.runs(now) {
            self.join_recorders(device, subscriber, channel);
        }
        let Some(desk) = self.channels.get(channel) else { return Ok(Err(Refused::NoSuchChannel)) };
        Ok(Ok(Some(CtlMsg::Recording {
            req,
            recording: recording.id,
            plan: self.tools.key.sign(desk.plan(now)).raw().clone(),
            grant: self.grant(device, &recording).raw().clone(),
            next_fact: desk.next_fact,
        })))
    }

    fn join_recorders(&mut self, device: DeviceId, subscriber: &SubscriberId, id: &ChannelId) {
        if let (Some(channel), Some(node)) = (self.channels.get_mut(id), self.nodes.get_mut(&device)) {
            if !channel.truth.handle_recorder(device, subscriber.clone(), None) {
                tracing::warn!(%device, channel = %id, "too many recorders; its reports do not count");
            }
            channel.recorders.insert(device, subscriber.clone());
            if !node.recording.contains(id) {
                node.recording.push(id.clone());
            }
        }
    }

    fn stop(
        &mut self,
        device: DeviceId,
        subscriber: &SubscriberId,
        req: ReqId,
        id: RecordingId,
    ) -> Result<Result<Option<CtlMsg>, Refused>, LedgerError> {
        let mut recording = match self.owned(subscriber, id) {
            Ok(recording) => recording,
            Err(reason) => return Ok(Err(reason)),
        };
        if !recording.stopped {
            let now = self.utc();
            recording.stopped = true;
            recording.to = Some(recording.to.map_or(now, |to| to.min(now)));
            self.tools.ledger.put_recording(&recording)?;
            tracing::info!(recording = %id, %device, "recording ends");
            self.recordings.insert(id, recording.clone());
            self.publish_recordings(subscriber);
            // Its last chunks are still being reported, so it stays a recorder until it leaves.
        }
        self.store_manifest(&recording)?;
        Ok(Ok(Some(CtlMsg::Done { req })))
    }

    fn delete(
        &mut self,
        subscriber: &SubscriberId,
        req: ReqId,
        id: RecordingId,
    ) -> Result<Result<Option<CtlMsg>, Refused>, LedgerError> {
        if let Err(reason) = self.owned(subscriber, id) {
            return Ok(Err(reason));
        }
        self.tools.ledger.delete_recording(id)?;
        self.recordings.remove(&id);
        self.publish_recordings(subscriber);
        Ok(Ok(Some(CtlMsg::Done { req })))
    }

    /// A recording, if it is this subscriber's. Another's is as unknown as none.
    pub(super) fn owned(&self, subscriber: &SubscriberId, id: RecordingId) -> Result<RecordingRecord, Refused> {
        let found = self.recordings.get(&id).filter(|recording| recording.subscriber == *subscriber);
        found.cloned().ok_or(Refused::NoSuchRecording)
    }

    fn handle_report(&mut self, device: DeviceId, report: &Report) -> Result<(), LedgerError> {
        let now = self.tools.clock.mono();
        let Some(channel) = self.channels.get_mut(&report.channel) else {
            self.tools.metrics.bad_frames.inc();
            return Ok(());
        };
        if !channel.recorders.contains_key(&device) {
            self.tools.metrics.refuse(Refused::NoSuchRecording);
            return Ok(());
        }
        let place =
            LocalPlace { timeline: report.timeline, index: report.index, pts: report.pts, opening: report.opening };
        let slot = channel.timelines.locate(device, place);
        channel.slots.entry(slot).or_insert_with(|| {
            channel.revision += 1;
            SlotRecord {
                slot,
                pts: report.pts,
                duration: report.duration,
                opening: report.opening,
                utc: report.utc,
                state: SlotState::Pending,
                bytes: 0,
                stored: false,
                head: None,
                archive: None,
            }
        });
        self.tools.metrics.reports.inc();
        channel.pieces.note(slot, device, report);
        let heard = channel.truth.handle_report(now, device, slot, report);
        tracing::trace!(%device, %slot, ?heard, "report");
        // Said again by a device that lost our acknowledgement.
        let record = channel.slots.get(&slot);
        let stored = record.filter(|record| record.stored).and_then(SlotRecord::cid);
        match (stored, &report.reception) {
            (Some(stored), Reception::Clean { cid, .. }) if stored == *cid => {
                channel.note_holder(slot, device);
                self.acknowledge(device, vec![stored]);
            }
            _ => {}
        }
        self.carry_out()?;
        if matches!(report.reception, Reception::Withheld { piece: Some(_), .. }) {
            self.consider_mend(&report.channel, slot);
        }
        Ok(())
    }

    fn facts(&self, id: &ChannelId, from: u64) -> Result<Result<Option<CtlMsg>, Refused>, LedgerError> {
        let Some(channel) = self.channels.get(id) else { return Ok(Err(Refused::NoSuchChannel)) };
        let facts = self.tools.ledger.facts(id, from, MAX_CTL_LIST)?;
        Ok(Ok(Some(CtlMsg::Facts { channel: id.clone(), facts, next: channel.next_fact })))
    }

    fn send_manifest(
        &mut self,
        device: DeviceId,
        subscriber: &SubscriberId,
        req: ReqId,
        id: RecordingId,
        have: Option<u64>,
    ) -> Result<Result<Option<CtlMsg>, Refused>, LedgerError> {
        let recording = match self.owned(subscriber, id) {
            Ok(recording) => recording,
            Err(reason) => return Ok(Err(reason)),
        };
        let Some((revision, pages)) = self.store_manifest(&recording)? else {
            return Ok(Err(Refused::NoSuchChannel));
        };
        if have == Some(revision) {
            return Ok(Ok(Some(CtlMsg::Done { req })));
        }
        pages.into_iter().for_each(|page| self.send(device, &CtlMsg::Manifest { req, page }));
        Ok(Ok(None))
    }

    /// Signs the manifest as of now and stores it (claim 1); gives its revision and pages.
    fn store_manifest(
        &self,
        recording: &RecordingRecord,
    ) -> Result<Option<(u64, Vec<aftercast_protocol::manifest::RawManifestPage>)>, LedgerError> {
        let Some(channel) = self.channels.get(&recording.channel) else { return Ok(None) };
        let manifest = channel.manifest(recording, self.utc());
        let pages: Vec<_> = manifest.pages().into_iter().map(|page| self.tools.key.sign(page).raw().clone()).collect();
        self.tools.ledger.put_manifest(recording.id, &pages)?;
        Ok(Some((manifest.revision, pages)))
    }

    /// The right of a device to fetch its subscriber's recording, as far as it was broadcast.
    pub(super) fn grant(&self, device: DeviceId, recording: &RecordingRecord) -> Verified<Grant> {
        let now = self.utc();
        let mut spans: Vec<SlotSpan> = Vec::new();
        for record in self.channels.get(&recording.channel).into_iter().flat_map(|c| c.slots_of(recording)) {
            let (timeline, from) = (record.slot.timeline, record.slot.index);
            let to = ChunkIndex(from.0.saturating_add(1));
            match spans.last_mut() {
                // Holes inside are no secret: the span covers what this subscriber recorded.
                Some(span) if span.timeline == timeline => span.to = to,
                _ => spans.push(SlotSpan { timeline, from, to }),
            }
        }
        if recording.runs(now) {
            // What is to come belongs to it as well, on this timeline and on the next one.
            let newest = self.channels.get(&recording.channel).and_then(|channel| channel.slots.keys().next_back());
            match (spans.last_mut(), newest) {
                (Some(span), _) => span.to = ChunkIndex(u64::MAX),
                (None, Some(Slot { timeline, index })) => {
                    spans.push(SlotSpan { timeline: *timeline, from: *index, to: ChunkIndex(u64::MAX) });
                }
                (None, None) => spans.push(SlotSpan::of_timeline(TimelineId(0))),
            }
            let next = spans.last().map(|span| SlotSpan::of_timeline(TimelineId(span.timeline.0.saturating_add(1))));
            spans.extend(next);
        }
        // The newest stretches, should a clock have jumped all day.
        let spans = spans.split_off(spans.len().saturating_sub(MAX_GRANT_SPANS));
        self.tools.key.sign(Grant {
            device,
            subscriber: recording.subscriber.clone(),
            channel: recording.channel.clone(),
            recording: recording.id,
            spans,
            epoch: self.loaded.config.epoch,
            issued: now,
            expires: now.plus_millis(self.loaded.config.grant_seconds.saturating_mul(1000)),
        })
    }

    fn play(
        &mut self,
        device: DeviceId,
        subscriber: &SubscriberId,
        req: ReqId,
        id: RecordingId,
        at: Option<Slot>,
        first_held: bool,
    ) -> Result<Result<Option<CtlMsg>, Refused>, LedgerError> {
        let recording = match self.owned(subscriber, id) {
            Ok(recording) => recording,
            Err(reason) => return Ok(Err(reason)),
        };
        let first = self.first_chunk(&recording, at);
        if let (Some(first), false) = (&first, first_held) {
            let making = (recording.channel.clone(), first.slot);
            let stored = self.channels.get(&making.0).and_then(|c| c.slots.get(&first.slot)).is_some_and(|r| r.stored);
            if first.head.is_none() && stored {
                // Claim 1, on the request: transcode the first chunk now, and answer when it is there.
                let waiting = Waiting { device, req, recording: id, at: first.slot };
                let queue = self.in_the_making.entry(making.clone()).or_default();
                if queue.len() >= MAX_WAITING_PLAYERS {
                    return Ok(Err(Refused::Limit));
                }
                queue.push(waiting);
                let under_way = queue.len() > 1;
                if under_way || self.order_head(&making.0, first.slot, first.cid, Purpose::Head) {
                    return Ok(Ok(None));
                }
                self.in_the_making.remove(&making);
            }
        }
        Ok(Ok(Some(self.session(device, req, &recording, first))))
    }

    fn first_chunk(&self, recording: &RecordingRecord, at: Option<Slot>) -> Option<FirstChunk> {
        let channel = self.channels.get(&recording.channel)?;
        let mut playable = channel.slots_of(recording).filter(|slot| slot.open_to(&recording.subscriber));
        let first = playable.find(|slot| at.is_none_or(|at| slot.slot >= at))?;
        Some(FirstChunk { slot: first.slot, cid: first.cid()?, head: first.head.clone() })
    }

    fn session(&self, device: DeviceId, req: ReqId, recording: &RecordingRecord, first: Option<FirstChunk>) -> CtlMsg {
        CtlMsg::Session(Session {
            req,
            recording: recording.id,
            grant: self.grant(device, recording).raw().clone(),
            sources: self.source_plan(device, recording, first.as_ref().map(|first| first.slot)),
            first,
        })
    }

    /// Answers those who waited for a head, whether or not there is one now.
    pub(super) fn answer_waiting(&mut self, id: &ChannelId, slot: Slot) -> Result<(), LedgerError> {
        for waiting in self.in_the_making.remove(&(id.clone(), slot)).unwrap_or_default() {
            let Some(recording) = self.recordings.get(&waiting.recording).cloned() else { continue };
            let first = self.first_chunk(&recording, Some(waiting.at));
            let session = self.session(waiting.device, waiting.req, &recording, first);
            self.send(waiting.device, &session);
        }
        Ok(())
    }
}

fn fresh_id() -> Option<RecordingId> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).ok().map(|()| RecordingId(id))
}

/// The number under which a message wants its answer; 0 where it wants none.
fn request_of(msg: &CtlMsg) -> ReqId {
    match msg {
        CtlMsg::ListChannels { req }
        | CtlMsg::ListRecordings { req }
        | CtlMsg::Record { req, .. }
        | CtlMsg::StopRecording { req, .. }
        | CtlMsg::DeleteRecording { req, .. }
        | CtlMsg::GetManifest { req, .. }
        | CtlMsg::Play { req, .. }
        | CtlMsg::FindSources { req, .. } => *req,
        _ => ReqId(0),
    }
}
