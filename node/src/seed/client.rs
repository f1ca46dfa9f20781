//! Requests to the seed, and its messages.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aftercast_net::Net;
use aftercast_protocol::duty::{Capability, DutyKind, RawDuty};
use aftercast_protocol::grant::Certificate;
use aftercast_protocol::ids::{ChannelId, DeviceId, RecordingId, Slot};
use aftercast_protocol::limits::{MAX_ADDRS_PER_PEER, MAX_MANIFEST_PAGES};
use aftercast_protocol::manifest::{Manifest, PageCollector};
use aftercast_protocol::sign::Raw;
use aftercast_protocol::time::UnixMillis;
use aftercast_protocol::truth::{RawFact, VerifiedFact};
use aftercast_protocol::wire::ctl::{
    CTL_VERSION, ChannelInfo, CtlError, CtlMsg, Hello, RankedSource, RecordingInfo, Refused, ReqId, Role, Session,
    SourcePlan,
};
use tokio::sync::{mpsc, watch};

use super::duties::DutyBook;
use crate::clock::wall;
use crate::identity::{self, Enrolment};
use crate::library::{Library, LibraryError, Recording, blocking};

/// Longest wait for an answer. The slowest one transcodes a head on the request.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// One part in so many of the store's room may be kept for others by order.
const KEPT_SHARE: u64 = 4;

/// Why the seed did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// This device has no seed.
    #[error("this device is not enrolled with a seed; run: aftercast join CODE")]
    NoSeed,
    /// There is no connection now. A retry helps later.
    #[error("the seed cannot be reached; it is tried again and again")]
    Offline,
    /// It said no.
    #[error("the seed refuses: {0}")]
    Refused(Refused),
    /// No answer in time. A retry may help.
    #[error("the seed did not answer in time")]
    Timeout,
    /// An answer that does not fit, or is not signed by it. Its fault.
    #[error("the seed's answer cannot be used: {0}")]
    BadAnswer(String),
    /// Our own request was over a bound.
    #[error(transparent)]
    Request(#[from] CtlError),
    /// Its answer cannot be kept.
    #[error(transparent)]
    Library(#[from] LibraryError),
}

/// The connection to the seed, shared by `Arc`.
pub struct SeedClient {
    net: Net,
    library: Arc<Library>,
    seed: Option<DeviceId>,
    /// Follows a certificate that the seed renews.
    enrolment: Mutex<Option<Enrolment>>,
    /// Where the enrolment is kept.
    data_dir: PathBuf,
    next: AtomicU64,
    pending: Mutex<BTreeMap<u64, mpsc::Sender<CtlMsg>>>,
    /// Connections so far.
    connections: AtomicU64,
    /// Number of the connection that stands; none where none does.
    online: watch::Sender<Option<u64>>,
    /// The last one on which the seed was greeted: it refuses whoever asks before saying who it is.
    greeted: AtomicU64,
    refused: Mutex<Option<Refused>>,
    duties: Mutex<DutyBook>,
    /// Channels that this device was ordered to witness, until when.
    witnessing: Mutex<BTreeMap<ChannelId, UnixMillis>>,
    channels: Mutex<Vec<ChannelInfo>>,
}

/// Takes the place of a request until its answer came, so that nothing is left behind when its future is dropped.
struct Waiting<'a> {
    client: &'a SeedClient,
    req: ReqId,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        lock(&self.client.pending).remove(&self.req.0);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SeedClient {
    /// A client that is not connected yet. A renewed enrolment is kept in `data_dir`.
    #[must_use]
    pub fn new(net: Net, library: Arc<Library>, enrolment: Option<Enrolment>, data_dir: PathBuf) -> Arc<Self> {
        Arc::new(Self {
            net,
            library,
            seed: enrolment.as_ref().map(|enrolment| enrolment.seed),
            enrolment: Mutex::new(enrolment),
            data_dir,
            next: AtomicU64::new(1),
            pending: Mutex::default(),
            connections: AtomicU64::new(0),
            online: watch::Sender::new(None),
            greeted: AtomicU64::new(0),
            refused: Mutex::default(),
            duties: Mutex::default(),
            witnessing: Mutex::default(),
            channels: Mutex::default(),
        })
    }

    /// What is known of the seed, and its word that this device belongs to a subscriber.
    #[must_use]
    pub fn enrolment(&self) -> Option<Enrolment> {
        lock(&self.enrolment).clone()
    }

    /// The seed's key.
    #[must_use]
    pub fn device(&self) -> Option<DeviceId> {
        self.seed
    }

    /// Whether there is a connection, and the seed was greeted on it.
    #[must_use]
    pub fn is_online(&self) -> bool {
        *self.online.borrow() == Some(self.greeted.load(Ordering::Relaxed))
    }

    /// Why the seed does not talk to this device, if it said so.
    #[must_use]
    pub fn refused(&self) -> Option<Refused> {
        *lock(&self.refused)
    }

    /// Follows the connection.
    #[must_use]
    pub fn online(&self) -> watch::Receiver<Option<u64>> {
        self.online.subscribe()
    }

    /// The orders in force.
    #[must_use]
    pub fn duties(&self) -> DutyBook {
        lock(&self.duties).clone()
    }

    /// Whether this device is to report what it receives of a channel, as one of those who decide on it.
    #[must_use]
    pub fn witnesses(&self, channel: &ChannelId) -> bool {
        lock(&self.witnessing).get(channel).is_some_and(|until| *until > wall())
    }

    /// Ends orders whose time is over; their chunks are kept no longer for their sake.
    pub fn expire_duties(&self, now: UnixMillis) {
        let over = lock(&self.duties).expire(now);
        for cid in over {
            if let Err(error) = blocking(|| self.library.unpin(cid)) {
                tracing::warn!(%cid, %error, "a chunk stays pinned");
            }
        }
    }

    /// The channels that the seed offered when last asked.
    #[must_use]
    pub fn known_channels(&self) -> Vec<ChannelInfo> {
        lock(&self.channels).clone()
    }

    pub(crate) fn connected(&self) {
        *lock(&self.refused) = None;
        self.online.send_replace(Some(self.connections.fetch_add(1, Ordering::Relaxed) + 1));
        self.library.touch();
    }

    /// The greeting was sent on this connection: requests may follow.
    pub(super) fn greeted(&self, connection: u64) {
        self.greeted.store(connection, Ordering::Relaxed);
        self.library.touch();
    }

    pub(crate) fn disconnected(&self) {
        self.online.send_modify(|online| *online = None);
        // Whoever waits for an answer learns that none will come.
        lock(&self.pending).clear();
        self.library.touch();
    }

    /// The greeting, to the seed with `capability`, to peers without.
    #[must_use]
    pub fn hello(&self, capability: Option<Capability>) -> Hello {
        let grants = if capability.is_some() { Vec::new() } else { self.grants() };
        let addrs = self.net.addrs().iter().map(ToString::to_string).take(MAX_ADDRS_PER_PEER).collect();
        Hello {
            version: CTL_VERSION,
            role: Role::Node,
            certificate: self.certificate(),
            capability,
            grants,
            addrs,
            agent: concat!("aftercast/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }

    fn certificate(&self) -> Option<Raw<Certificate>> {
        Some(lock(&self.enrolment).as_ref()?.certificate.as_ref()?.raw().clone())
    }

    /// What this device may fetch, newest first, as far as a peer looks at it.
    #[must_use]
    pub fn grants(&self) -> Vec<aftercast_protocol::grant::RawGrant> {
        let Some(seed) = self.device() else { return Vec::new() };
        let mut recordings = self.library.recordings();
        recordings.reverse();
        let now = wall();
        let valid = recordings.iter().filter_map(|one| self.library.grant(one.id, &seed));
        let valid = valid.filter(|grant| grant.expires > now).map(|grant| grant.raw().clone());
        valid.take(aftercast_protocol::limits::MAX_GRANTS_PER_PEER).collect()
    }

    /// Sends a message that has no answer.
    ///
    /// # Errors
    /// See [`SeedError`].
    pub async fn tell(&self, msg: &CtlMsg) -> Result<(), SeedError> {
        let seed = self.device().ok_or(SeedError::NoSeed)?;
        let frame = msg.to_frame()?;
        self.net.send(seed, frame).await.map_err(|_| SeedError::Offline)
    }

    /// Asks, and waits for the answer. Dropping the future is safe: the answer is ignored then.
    ///
    /// # Errors
    /// See [`SeedError`].
    pub async fn request(&self, build: impl FnOnce(ReqId) -> CtlMsg) -> Result<CtlMsg, SeedError> {
        let (mut answers, _waiting) = self.ask(build, 1).await?;
        next_answer(&mut answers).await
    }

    async fn ask(
        &self,
        build: impl FnOnce(ReqId) -> CtlMsg,
        answers: usize,
    ) -> Result<(mpsc::Receiver<CtlMsg>, Waiting<'_>), SeedError> {
        if self.seed.is_none() {
            return Err(SeedError::NoSeed);
        }
        if !self.is_online() {
            return Err(SeedError::Offline);
        }
        let req = ReqId(self.next.fetch_add(1, Ordering::Relaxed));
        let (sender, receiver) = mpsc::channel(answers);
        lock(&self.pending).insert(req.0, sender);
        let waiting = Waiting { client: self, req };
        self.tell(&build(req)).await?;
        Ok((receiver, waiting))
    }

    /// Which channels are there.
    ///
    /// # Errors
    /// See [`SeedError`].
    pub async fn list_channels(&self) -> Result<Vec<ChannelInfo>, SeedError> {
        match self.request(|req| CtlMsg::ListChannels { req }).await? {
            CtlMsg::Channels { channels, .. } => {
                lock(&self.channels).clone_from(&channels);
                Ok(channels)
            }
            other => Err(unexpected(&other)),
        }
    }

    /// All recordings of the subscriber, on whichever of their devices.
    ///
    /// # Errors
    /// See [`SeedError`].
    pub async fn list_recordings(&self) -> Result<Vec<RecordingInfo>, SeedError> {
        match self.request(|req| CtlMsg::ListRecordings { req }).await? {
            CtlMsg::Recordings { recordings, .. } => Ok(recordings),
            other => Err(unexpected(&other)),
        }
    }

    /// Puts a recording on the seed's books, or renews one, and keeps it.
    ///
    /// # Errors
    /// See [`SeedError`].
    pub async fn record(
        &self,
        channel: ChannelId,
        resume: Option<RecordingId>,
        from: Option<UnixMillis>,
        to: Option<UnixMillis>,
    ) -> Result<RecordingId, SeedError> {
        let seed = self.device().ok_or(SeedError::NoSeed)?;
        let asked = channel.clone();
        let answer = self.request(|req| CtlMsg::Record { req, channel: asked, resume, from, to }).await?;
        let CtlMsg::Recording { recording, plan, grant, next_fact, .. } = answer else {
            return Err(unexpected(&answer));
        };
        let bad = |reason: &dyn std::fmt::Display| SeedError::BadAnswer(reason.to_string());
        let verified = plan.verify(&seed).map_err(|e| bad(&e))?;
        verified.chunk_plan().map_err(|e| bad(&e))?;
        let right = grant.verify(&seed).map_err(|e| bad(&e))?;
        if verified.channel != channel || right.device != self.net.device() || right.recording != recording {
            return Err(bad(&"plan or grant is for something else"));
        }
        if let Some(asked) = resume.filter(|asked| *asked != recording) {
            return Err(bad(&format_args!("recording {recording} instead of {asked}")));
        }
        blocking(|| {
            if self.library.recording(recording).is_some() {
                self.library.renew(recording, Some(plan), grant)?;
            } else {
                self.library.add_recording(Recording {
                    id: recording,
                    channel: channel.clone(),
                    from: from.unwrap_or_else(wall),
                    to,
                    stopped: None,
                    first_seq: None,
                    last_seq: None,
                    plan,
                    grant,
                    stop_told: false,
                    deleted: false,
                })?;
            }
            self.facts(&channel, &[], next_fact)
        })?;
        self.net.subscribe(&channel).await;
        Ok(recording)
    }

    /// The newest manifest of a recording, kept; none where the one that is here is the newest.
    ///
    /// # Errors
    /// See [`SeedError`].
    pub async fn get_manifest(&self, recording: RecordingId) -> Result<Option<Arc<Manifest>>, SeedError> {
        let seed = self.device().ok_or(SeedError::NoSeed)?;
        let have_revision = self.library.manifest(recording).map(|manifest| manifest.revision);
        let build = |req| CtlMsg::GetManifest { req, recording, have_revision };
        let (mut answers, _waiting) = self.ask(build, MAX_MANIFEST_PAGES as usize).await?;
        let mut collector = PageCollector::new(recording, seed);
        let mut pages = BTreeMap::new();
        loop {
            match next_answer(&mut answers).await? {
                CtlMsg::Manifest { page: raw, .. } => {
                    let bad = |e: &dyn std::fmt::Display| SeedError::BadAnswer(e.to_string());
                    let page = raw.verify(&seed).map_err(|e| bad(&e))?;
                    if let Some(manifest) = collector.handle_page(&raw).map_err(|e| bad(&e))? {
                        pages.insert((page.revision, page.page), raw);
                        let revision = manifest.revision;
                        let kept: Vec<_> = pages.into_iter().filter(|(key, _)| key.0 == revision).collect();
                        let kept: Vec<_> = kept.into_iter().map(|(_, raw)| raw).collect();
                        blocking(|| self.library.save_manifest(seed, &kept, manifest))?;
                        return Ok(self.library.manifest(recording));
                    }
                    pages.insert((page.revision, page.page), raw);
                }
                CtlMsg::Done { .. } => return Ok(None),
                other => return Err(unexpected(&other)),
            }
        }
    }

    /// Opens a playback session; its grant is kept.
    ///
    /// # Errors
    /// See [`SeedError`].
    pub async fn play(&self, recording: RecordingId, at: Option<Slot>, first_held: bool) -> Result<Session, SeedError> {
        let seed = self.device().ok_or(SeedError::NoSeed)?;
        match self.request(|req| CtlMsg::Play { req, recording, at, first_held }).await? {
            CtlMsg::Session(session) => {
                let grant = session.grant.verify(&seed).map_err(|e| SeedError::BadAnswer(e.to_string()))?;
                if grant.device != self.net.device() {
                    return Err(SeedError::BadAnswer("grant is for another device".into()));
                }
                if self.library.recording(recording).is_some() {
                    blocking(|| self.library.renew(recording, None, session.grant.clone()))?;
                }
                Ok(session)
            }
            other => Err(unexpected(&other)),
        }
    }

    /// More sources for a stretch of a recording.
    ///
    /// # Errors
    /// See [`SeedError`].
    pub async fn find_sources(&self, recording: RecordingId, from: Slot) -> Result<Vec<RankedSource>, SeedError> {
        let seed = self.device().ok_or(SeedError::NoSeed)?;
        match self.request(|req| CtlMsg::FindSources { req, recording, from }).await? {
            CtlMsg::Sources { sources, .. } => {
                let plan = sources.verify(&seed).map_err(|e| SeedError::BadAnswer(e.to_string()))?;
                Ok(SourcePlan::usable(&plan, self.net.device(), wall()).to_vec())
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Tells the seed that a recording ended or is to be forgotten, and notes that it knows.
    ///
    /// # Errors
    /// See [`SeedError`].
    pub async fn tell_end(&self, recording: &Recording) -> Result<(), SeedError> {
        let id = recording.id;
        let answer = if recording.deleted {
            self.request(|req| CtlMsg::DeleteRecording { req, recording: id }).await
        } else {
            self.request(|req| CtlMsg::StopRecording { req, recording: id }).await
        };
        match answer {
            // A seed that does not know it has nothing left to be told.
            Ok(CtlMsg::Done { .. }) | Err(SeedError::Refused(Refused::NoSuchRecording)) => {}
            Ok(other) => return Err(unexpected(&other)),
            Err(error) => return Err(error),
        }
        blocking(|| if recording.deleted { self.library.forget(id) } else { self.library.stop_told(id) })?;
        self.library.manifest_is_stale(id);
        Ok(())
    }

    /// Takes a message of the seed. Never waits for the network.
    pub(crate) fn handle(&self, msg: CtlMsg) {
        if let CtlMsg::Enrolled { req: ReqId(0), certificate } = &msg {
            self.renew_certificate(certificate);
            return;
        }
        if let Some(req) = msg.answers() {
            if let CtlMsg::Refused { req: ReqId(0), reason } = msg {
                tracing::warn!(%reason, "the seed refuses this device");
                *lock(&self.refused) = Some(reason);
                self.library.touch();
            } else if let Some(waiting) = lock(&self.pending).get(&req.0) {
                // Full or gone: more answers than there can be, or nobody waits any more.
                let _ = waiting.try_send(msg);
            }
            return;
        }
        let handled = match msg {
            CtlMsg::Facts { channel, facts, next } => blocking(|| self.facts(&channel, &facts, next)),
            CtlMsg::Duties { duties } => blocking(|| duties.iter().try_for_each(|duty| self.duty(duty))),
            CtlMsg::Acked { cids } => {
                let kept: Vec<_> = {
                    let mut duties = lock(&self.duties);
                    duties.done(&cids);
                    cids.iter().copied().filter(|cid| duties.keeps(cid)).collect()
                };
                blocking(|| {
                    self.library.acknowledged(&cids)?;
                    kept.into_iter().try_for_each(|cid| self.library.pin(cid))
                })
            }
            other => {
                tracing::trace!(?other, "nothing to do for a message of the seed");
                Ok(())
            }
        };
        if let Err(error) = handled {
            tracing::error!(%error, "a message of the seed cannot be acted on");
        }
    }

    /// Keeps a certificate that the seed renewed of itself, before the old one lapses.
    fn renew_certificate(&self, raw: &Raw<Certificate>) {
        let Some(seed) = self.seed else { return };
        let renewed = {
            let mut enrolment = lock(&self.enrolment);
            let Some(known) = enrolment.as_mut() else { return };
            match raw.verify(&seed) {
                Ok(certificate) if certificate.device == self.net.device() => known.certificate = Some(certificate),
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(%error, "a certificate that the seed did not sign");
                    return;
                }
            }
            known.clone()
        };
        match blocking(|| identity::save_enrolment(&self.data_dir, &renewed)) {
            Ok(()) => tracing::info!("the seed renewed this device's certificate"),
            // It counts until the next start, and the seed offers it again with the next connection.
            Err(error) => tracing::error!(%error, "a renewed certificate is not kept"),
        }
    }

    /// Takes one fact that came by gossip; false where the seed did not sign it.
    pub(crate) fn gossip(&self, channel: &ChannelId, data: &[u8]) -> bool {
        let Some(seed) = self.device() else { return false };
        let fact = minicbor::decode::<RawFact>(data).ok().and_then(|raw| raw.verify(&seed).ok());
        let Some(fact) = fact.filter(|fact| fact.channel == *channel) else { return false };
        let next = fact.seq.saturating_add(1);
        if let Err(error) = blocking(|| self.facts_verified(channel, &[fact], next)) {
            tracing::error!(%error, "a fact cannot be acted on");
        }
        true
    }

    fn facts(&self, channel: &ChannelId, facts: &[RawFact], next: u64) -> Result<(), LibraryError> {
        let Some(seed) = self.device() else { return Ok(()) };
        let verified: Vec<VerifiedFact> = facts.iter().filter_map(|raw| raw.verify(&seed).ok()).collect();
        if verified.len() < facts.len() {
            tracing::warn!(channel = %channel, "facts that the seed did not sign");
        }
        self.facts_verified(channel, &verified, next)
    }

    fn facts_verified(&self, channel: &ChannelId, facts: &[VerifiedFact], next: u64) -> Result<(), LibraryError> {
        if let Some(wanted) = self.library.handle_facts(channel, facts, next)? {
            self.try_tell(&CtlMsg::GetFacts { channel: channel.clone(), from: wanted.from });
        }
        Ok(())
    }

    /// Sends without waiting; what is lost is asked for again with the next fact.
    fn try_tell(&self, msg: &CtlMsg) {
        if let (Some(seed), Ok(frame)) = (self.device(), msg.to_frame())
            && let Err(error) = self.net.try_send(seed, frame)
        {
            tracing::debug!(%error, "not sent to the seed");
        }
    }

    fn duty(&self, raw: &RawDuty) -> Result<(), LibraryError> {
        let Some(seed) = self.device() else { return Ok(()) };
        let now = wall();
        let duty = match raw.verify(&seed) {
            Ok(duty) if duty.device == self.net.device() && duty.deadline > now => duty,
            Ok(_) => return Ok(()), // for another device, or over before it came
            Err(error) => {
                tracing::warn!(%error, "an order that the seed did not sign");
                return Ok(());
            }
        };
        tracing::debug!(kind = ?duty.kind, channel = %duty.channel, slot = %duty.slot, "ordered");
        if duty.kind == DutyKind::Witness {
            // Only of channels that the seed signs orders for, of which there are few.
            let mut witnessing = lock(&self.witnessing);
            witnessing.retain(|_, until| *until > now);
            let until = witnessing.entry(duty.channel.clone()).or_insert(duty.deadline);
            *until = duty.deadline.max(*until);
            drop(witnessing);
            self.library.touch();
            return Ok(());
        }
        let Some(cid) = duty.cid else { return Ok(()) };
        let Some(info) = self.library.store().chunk(cid)? else {
            tracing::debug!(%cid, "ordered a chunk that is not here; the seed finds another source");
            return Ok(());
        };
        if duty.kind == DutyKind::Keep && !self.has_room_to_keep(info.len) {
            tracing::debug!(%cid, "not kept for others: the room is for the owner's recordings");
            return Ok(());
        }
        if lock(&self.duties).add(cid, duty.kind, info.len, duty.deadline) {
            self.library.pin(cid)?;
        }
        self.library.touch();
        Ok(())
    }

    /// Whether so much more may be kept for others. What is kept cannot be evicted; without a bound it would fill the
    /// disk, and the next recording would end as soon as the seed is away.
    fn has_room_to_keep(&self, bytes: u64) -> bool {
        let room = self.library.store().usage();
        let disk = room.disk_free.map_or(u64::MAX, |free| free.saturating_add(room.chunk_bytes));
        let all = room.quota.unwrap_or(u64::MAX).min(disk);
        lock(&self.duties).kept_bytes().saturating_add(bytes) <= all / KEPT_SHARE
    }
}

async fn next_answer(answers: &mut mpsc::Receiver<CtlMsg>) -> Result<CtlMsg, SeedError> {
    match tokio::time::timeout(ANSWER_TIMEOUT, answers.recv()).await {
        Ok(Some(CtlMsg::Refused { reason, .. })) => Err(SeedError::Refused(reason)),
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => Err(SeedError::Offline),
        Err(_) => Err(SeedError::Timeout),
    }
}

fn unexpected(msg: &CtlMsg) -> SeedError {
    let text = format!("{msg:?}");
    SeedError::BadAnswer(format!("unexpected {}", text.chars().take(40).collect::<String>()))
}
