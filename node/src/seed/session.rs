//! Keeps the connection to the seed, and tells it what it has to know.
//!
//! Whatever happens while there is no connection is written down by the library and told when there is one again:
//! reports, ends of recordings, deletions. After a reconnection the seed is told again what it has not decided on.

use std::sync::Arc;
use std::time::Duration;

use aftercast_net::{Multiaddr, Net};
use aftercast_protocol::duty::Capability;
use aftercast_protocol::ids::{RecordingId, Slot};
use aftercast_protocol::wire::ctl::{CtlMsg, Refused};
use tokio::time::{Instant, sleep, timeout};

use super::client::{SeedClient, SeedError};
use crate::clock::wall;
use crate::library::{Library, Recording, RecordingState, blocking};
use crate::recorder::Recorder;
use crate::serve::Uplink;

/// Waits between attempts to connect: doubled from the first to the last.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));
/// How often state that nobody announces is looked at: capability, orders that ran out, manifests that did not come.
const LOOK: Duration = Duration::from_secs(1);
/// How often the manifest of a recording is asked for that ended and is not complete: the seed decides the last
/// chunks some seconds after the end.
const MANIFEST_RETRY: Duration = Duration::from_secs(1);
/// How long it is asked for so often. Later, changes are learned with the next connection.
const MANIFEST_PATIENCE_MILLIS: u64 = 10 * 60 * 1000;
/// Chunks of a growing recording that its grant may lack: about a minute, which a player that lost its seed waits for.
const LACKING_IN_GRANT: usize = 15;
/// Changes that come in a burst are told together.
const GATHER: Duration = Duration::from_millis(50);

/// What a session works with.
pub struct SessionContext {
    /// The network.
    pub net: Net,
    /// The client.
    pub seed: Arc<SeedClient>,
    /// The state.
    pub library: Arc<Library>,
    /// What the line can carry.
    pub uplink: Arc<Uplink>,
    /// What is being received.
    pub recorder: Arc<Recorder>,
}

/// Runs until dropped.
pub async fn run(ctx: SessionContext) {
    let Some(enrolment) = ctx.seed.enrolment() else {
        tracing::warn!("this device is not enrolled with a seed; run: aftercast join CODE");
        return;
    };
    let mut wait = BACKOFF.0;
    loop {
        match ctx.net.dial(enrolment.seed, enrolment.addrs.clone()).await {
            Ok(()) => {
                if ctx.session().await {
                    wait = BACKOFF.0;
                }
            }
            Err(error) => tracing::debug!(%error, "the seed is not reached"),
        }
        sleep(jittered(wait)).await;
        wait = (wait * 2).min(BACKOFF.1);
    }
}

/// Half to all of a wait, so that the devices of a seed that comes back do not come all at once.
fn jittered(wait: Duration) -> Duration {
    let mut byte = [0];
    // Without randomness the wait is the whole one.
    let part = if getrandom::fill(&mut byte).is_ok() { u32::from(byte[0]) } else { 255 };
    wait / 2 + wait * part / 510
}

/// What the seed was told on this connection.
struct Told {
    capability: Capability,
    addrs: Vec<Multiaddr>,
}

impl SessionContext {
    /// One connection, from greeting to end. Whether there was one.
    async fn session(&self) -> bool {
        let mut online = self.seed.online();
        // The swarm's event may come a moment after the dial's answer.
        let up = timeout(LOOK, online.wait_for(Option::is_some)).await;
        let Some(connection) = up.ok().and_then(Result::ok).and_then(|number| *number) else { return false };
        let mut told = Told { capability: self.capability(), addrs: self.net.addrs() };
        if let Err(error) = self.greet(told.capability).await {
            tracing::warn!(%error, "the seed was not greeted");
            return true;
        }
        self.seed.greeted(connection);
        tracing::info!("connected to the seed");
        let work = async {
            self.take_up().await;
            let mut changes = self.library.changes();
            let mut manifests = Instant::now();
            loop {
                changes.mark_unchanged();
                if let Err(error) = self.tell_news(&mut told, &mut manifests).await {
                    tracing::debug!(%error, "not told to the seed");
                }
                // A channel that closes means that the program ends.
                let _ = timeout(LOOK, changes.changed()).await;
                sleep(GATHER).await;
            }
        };
        tokio::select! {
            () = work => {}
            // Another connection is no better: the seed was not greeted on it.
            _ = online.wait_for(|now| *now != Some(connection)) => tracing::info!("lost the seed; recording goes on"),
        }
        true
    }

    async fn greet(&self, capability: Capability) -> Result<(), SeedError> {
        self.seed.tell(&CtlMsg::Hello(self.seed.hello(Some(capability)))).await?;
        for have in self.library.have_all() {
            self.seed.tell(&CtlMsg::Have(have)).await?;
        }
        self.library.expect_reports_again();
        Ok(())
    }

    /// Renews every recording that still runs or will: the seed may have been restarted, the grant be about to lapse.
    async fn take_up(&self) {
        let now = wall();
        for recording in self.library.recordings() {
            self.library.manifest_is_stale(recording.id);
            if recording.state(now) == RecordingState::Stopped {
                self.net.subscribe(&recording.channel).await;
                continue;
            }
            let (id, channel) = (recording.id, recording.channel.clone());
            match self.seed.record(channel, Some(id), Some(recording.from), recording.to).await {
                Ok(_) => {}
                Err(SeedError::Refused(Refused::NoSuchRecording)) => {
                    tracing::error!(recording = %id, "the seed no longer knows a recording; it goes on, but only here");
                }
                Err(error) => tracing::warn!(recording = %id, %error, "a recording was not renewed"),
            }
        }
    }

    async fn tell_news(&self, told: &mut Told, manifests: &mut Instant) -> Result<(), SeedError> {
        self.seed.expire_duties(wall());
        // First looked up, then told: the last reports of what ended go before word of its end.
        let ended = self.library.untold(|channel| self.recorder.receiving(channel));
        self.report().await?;
        for recording in ended {
            self.seed.tell_end(&recording).await?;
        }
        let capability = self.capability();
        let addrs = self.net.addrs();
        if told.addrs != addrs {
            // A greeting is how a device says where it is; another one takes the place of the first.
            self.seed.tell(&CtlMsg::Hello(self.seed.hello(Some(capability)))).await?;
            *told = Told { capability, addrs };
        } else if worth_telling(&told.capability, &capability) {
            self.seed.tell(&CtlMsg::Capability(capability)).await?;
            told.capability = capability;
        }
        self.renew_manifests(manifests).await
    }

    /// Tells the seed what was received. Messages of a connection stay in order, so an answer to a later request
    /// proves that the reports arrived.
    async fn report(&self) -> Result<(), SeedError> {
        loop {
            let (reports, taken) = self.library.take_reports(wall(), |channel| self.seed.witnesses(channel));
            if reports.is_empty() {
                blocking(|| self.library.reported(&taken))?;
                return Ok(());
            }
            tracing::debug!(count = reports.len(), "reporting");
            let arrived = async {
                self.seed.tell(&CtlMsg::Reports { reports }).await?;
                self.seed.list_channels().await
            };
            if let Err(error) = arrived.await {
                self.library.report_again(taken);
                return Err(error);
            }
            blocking(|| self.library.reported(&taken))?;
        }
    }

    async fn renew_manifests(&self, last: &mut Instant) -> Result<(), SeedError> {
        if last.elapsed() > MANIFEST_RETRY {
            *last = Instant::now();
            let incomplete = |id| self.library.manifest(id).is_none_or(|manifest| !manifest.complete);
            let ended = |one: &Recording| wall().0.saturating_sub(one.stopped.or(one.to).unwrap_or(one.from).0);
            let over =
                |one: &Recording| one.state(wall()) == RecordingState::Stopped && ended(one) < MANIFEST_PATIENCE_MILLIS;
            for recording in self.library.recordings().into_iter().filter(|one| over(one) && incomplete(one.id)) {
                self.library.manifest_is_stale(recording.id);
            }
        }
        for id in self.library.take_stale_manifests() {
            match self.seed.get_manifest(id).await {
                Ok(_) => self.renew_grant(id).await?,
                Err(SeedError::Refused(reason)) => tracing::debug!(recording = %id, %reason, "no manifest"),
                Err(error) => {
                    self.library.manifest_is_stale(id);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Asks for a new grant where the one that is here does not cover all there is to fetch, or lapses soon: when
    /// the seed is gone, it is too late to ask. At the beginning of a recording it covers nothing.
    async fn renew_grant(&self, id: RecordingId) -> Result<(), SeedError> {
        let Some(seed) = self.seed.device() else { return Ok(()) };
        let Some(manifest) = self.library.manifest(id) else { return Ok(()) };
        let chunks = manifest.entries.iter().filter(|entry| entry.cid().is_some()).map(|entry| entry.slot);
        // A recording that grows does not ask for every chunk anew.
        let lacking = if manifest.complete { 0 } else { LACKING_IN_GRANT };
        let good = self.library.grant(id, &seed).is_some_and(|grant| {
            let soon = wall().plus_millis(grant.expires.0.saturating_sub(grant.issued.0) / 4);
            let covered = |slot: &Slot| grant.spans.iter().any(|span| span.contains(*slot));
            grant.expires > soon && chunks.filter(|slot| !covered(slot)).count() <= lacking
        });
        if good {
            return Ok(());
        }
        match self.seed.play(id, None, true).await {
            Ok(_) => Ok(()),
            Err(SeedError::Refused(reason)) => {
                tracing::debug!(recording = %id, %reason, "no grant");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn capability(&self) -> Capability {
        self.uplink.capability(&self.library, self.seed.duties().backlog_bytes())
    }
}

/// Whether the seed would decide otherwise: the owner's word always, amounts from an eighth on.
fn worth_telling(told: &Capability, now: &Capability) -> bool {
    let words = |c: &Capability| (c.uplink_declared_bps, c.share_percent, c.metered, c.on_battery, c.paused);
    let moved = |a: u64, b: u64| a.abs_diff(b) > a.max(b) / 8;
    words(told) != words(now)
        || moved(told.uplink_measured_bps, now.uplink_measured_bps)
        || moved(told.backlog_bytes, now.backlog_bytes)
        || moved(told.budget_left_bytes, now.budget_left_bytes)
        || moved(told.free_bytes, now.free_bytes)
}
