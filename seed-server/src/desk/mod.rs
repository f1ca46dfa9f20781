//! The desk: the one task that owns what the seed knows and decides.
//!
//! ```text
//! nodes ──control frames──▶ ┌──────────┐ ──facts, duties, manifests──▶ nodes
//! pulls ──outcomes────────▶ │   desk   │ ──what to pull from whom────▶ pulls
//! heads ──renditions──────▶ │          │ ──what to transcode─────────▶ heads
//! mends ──support, chunks─▶ └──────────┘ ──damaged chunks────────────▶ mends
//!                     truth, duties, timelines (aftercast-protocol)
//! ```
//!
//! It decides nothing itself: reports go into [`aftercast_protocol::truth`], chunks into [`aftercast_protocol::duty`],
//! and their actions are carried out. Everything that a node is told is durable before (the database is written from
//! this task, which has a thread of its own). Not for: moving chunk bytes, which are pulled and served elsewhere.

mod actions;
mod channel;
mod mends;
mod nodes;
mod requests;
mod sources;
mod status;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use aftercast_net::{Net, NetEvent};
use aftercast_protocol::duty::{Duties, DutyConfig};
use aftercast_protocol::ids::{ChannelId, ChunkCid, DeviceId, RecordingId, Slot, SubscriberId};
use aftercast_protocol::sign::SecretKey;
use aftercast_protocol::time::{Mono, UnixMillis};
use aftercast_protocol::wire::ctl::{CtlMsg, ReqId};
use tokio::sync::{mpsc, watch};

use crate::access::Access;
use crate::clock::Clock;
use crate::config::Loaded;
use crate::heads::{HeadDone, HeadJob};
use crate::ledger::{DeviceRecord, Ledger, LedgerError, RecordingRecord};
use crate::mend::{MendDone, MendJob};
use crate::metrics::SeedMetrics;
use crate::pull::{PullEvent, PullJob};
use channel::ChannelDesk;
use nodes::NodeState;
pub use status::{ChannelStatus, NodeStatus, RecordingStatus, Status};

/// What the desk works with.
pub struct Tools {
    /// The swarm.
    pub net: Net,
    /// The database.
    pub ledger: Ledger,
    /// Signs what the seed says.
    pub key: SecretKey,
    /// Who may fetch what.
    pub access: Arc<Access>,
    /// Both clocks.
    pub clock: Clock,
    /// Counters.
    pub metrics: Arc<SeedMetrics>,
    /// Orders to pull chunks.
    pub pulls: mpsc::Sender<PullJob>,
    /// Orders to transcode.
    pub heads: mpsc::Sender<HeadJob>,
    /// Orders to mend.
    pub mends: mpsc::Sender<MendJob>,
    /// What the status page shows.
    pub status: watch::Sender<Arc<Status>>,
}

/// What reaches the desk.
pub enum Input {
    /// A connected device, a frame of its, or its end.
    Net(NetEvent),
    /// A pull moved or ended.
    Pull(PullEvent),
    /// A transcoding ended.
    Head(HeadDone),
    /// A chunk was mended, or was not.
    Mend(MendDone),
    /// The process is to end: nothing that comes after this is taken in.
    Stop,
}

/// A playback that waits for its head.
struct Waiting {
    device: DeviceId,
    req: ReqId,
    recording: RecordingId,
    at: Slot,
}

/// The desk's state.
pub struct Desk {
    tools: Tools,
    loaded: Loaded,
    channels: BTreeMap<ChannelId, ChannelDesk>,
    nodes: BTreeMap<DeviceId, NodeState>,
    devices: BTreeMap<DeviceId, DeviceRecord>,
    recordings: BTreeMap<RecordingId, RecordingRecord>,
    duties: Duties,
    /// Where chunks that duties know of belong.
    places: BTreeMap<ChunkCid, (ChannelId, Slot)>,
    /// Transcodings under way, and who waits for them.
    in_the_making: BTreeMap<(ChannelId, Slot), Vec<Waiting>>,
    /// Stored chunks that the archive still lacks, of channels that have one.
    to_archive: BTreeSet<(ChannelId, Slot)>,
}

/// How long the desk sleeps at most: what lanes and the transcoder count beside it shows up in the status after it.
/// Every deadline that the decisions have is met exactly.
const IDLE: Duration = Duration::from_secs(1);
/// Inputs taken in between two looks at deadlines and status.
const MAX_INPUTS_AT_ONCE: usize = 256;

impl Desk {
    /// Takes up where the database left off.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn open(tools: Tools, loaded: Loaded) -> Result<Self, LedgerError> {
        let now = tools.clock.mono();
        // Only this seed knows it, so nobody can compute beforehand who will witness.
        let salt = aftercast_protocol::sign::derive_secret(&tools.key, "aftercast 2026 witness and duty draws");
        let mut channels = BTreeMap::new();
        let mut places = BTreeMap::new();
        let mut to_archive = BTreeSet::new();
        let mut duties = Duties::new(DutyConfig::default());
        for setup in &loaded.channels {
            let channel =
                ChannelDesk::open(&tools.ledger, setup.clone(), &loaded.config.decide, salt, tools.clock.utc())?;
            for record in channel.slots.values() {
                tools.access.list(&setup.id, record);
                let Some(cid) = record.cid() else { continue };
                places.insert(cid, (setup.id.clone(), record.slot));
                if record.stored && record.archive.is_none() && setup.archive {
                    to_archive.insert((setup.id.clone(), record.slot));
                }
                if !record.stored {
                    // Decided before the restart, not uploaded yet: whoever shows up with it gets the duty.
                    if let Some(chunk) = channel.chunk_ref(record, now)
                        && let Err(full) = duties.handle_chunk(now, chunk, &[])
                    {
                        tracing::error!(%cid, %full, "upload not ordered yet");
                    }
                }
            }
            channels.insert(setup.id.clone(), channel);
        }
        let devices = tools.ledger.devices()?.into_iter().map(|record| (record.device, record)).collect();
        let recordings = tools.ledger.recordings()?.into_iter().map(|record| (record.id, record)).collect();
        let desk = Self {
            tools,
            loaded,
            channels,
            nodes: BTreeMap::new(),
            devices,
            recordings,
            duties,
            places,
            in_the_making: BTreeMap::new(),
            to_archive,
        };
        let subscribers: Vec<SubscriberId> = desk.recordings.values().map(|r| r.subscriber.clone()).collect();
        subscribers.iter().for_each(|subscriber| desk.publish_recordings(subscriber));
        Ok(desk)
    }

    /// Works until it is told to stop, or all senders are gone.
    ///
    /// # Errors
    /// When the database fails: the seed has to stop, since it could no longer keep its word.
    pub async fn run(mut self, mut inputs: mpsc::Receiver<Input>) -> Result<(), LedgerError> {
        self.feed_archive();
        self.publish_status();
        loop {
            let sleep = self.until_timeout();
            let mut next = tokio::select! {
                input = inputs.recv() => Some(input.unwrap_or(Input::Stop)),
                () = tokio::time::sleep(sleep) => None,
            };
            // What is waiting is taken in before the status is drawn again.
            let mut left = MAX_INPUTS_AT_ONCE;
            while let Some(input) = next {
                if matches!(input, Input::Stop) {
                    return Ok(());
                }
                self.handle(input)?;
                left -= 1;
                next = if left > 0 { inputs.try_recv().ok() } else { None };
            }
            self.handle_timeout()?;
            self.publish_status();
        }
    }

    fn handle(&mut self, input: Input) -> Result<(), LedgerError> {
        match input {
            Input::Net(NetEvent::Disconnected(device)) => self.handle_gone(device),
            Input::Net(NetEvent::Ctl { from, frame }) => match CtlMsg::from_frame(&frame) {
                Ok(msg) => self.handle_msg(from, msg)?,
                Err(error) => {
                    self.tools.metrics.bad_frames.inc();
                    tracing::warn!(device = %from, %error, "control frame refused");
                }
            },
            Input::Net(_) | Input::Stop => {}
            Input::Pull(event) => self.handle_pull(event)?,
            Input::Head(done) => self.handle_head(done)?,
            Input::Mend(done) => self.handle_mend(done)?,
        }
        self.carry_out()
    }

    fn handle_timeout(&mut self) -> Result<(), LedgerError> {
        let now = self.tools.clock.mono();
        for channel in self.channels.values_mut() {
            if channel.truth.poll_timeout().is_some_and(|at| at <= now) {
                channel.truth.handle_timeout(now);
            }
        }
        if self.duties.poll_timeout().is_some_and(|at| at <= now) {
            self.duties.handle_timeout(now);
        }
        self.mend_again();
        self.carry_out()
    }

    fn until_timeout(&mut self) -> Duration {
        let truths = self.channels.values_mut().filter_map(|channel| channel.truth.poll_timeout());
        let next: Option<Mono> = truths.chain(self.duties.poll_timeout()).min();
        let now = self.tools.clock.mono();
        next.map_or(IDLE, |at| Duration::from_micros((at - now).0).min(IDLE))
    }

    fn utc(&self) -> UnixMillis {
        self.tools.clock.utc()
    }

    /// Sends a message; a node that does not drain its queue asks again later, nothing depends on one frame.
    fn send(&self, device: DeviceId, msg: &CtlMsg) {
        let frame = match msg.to_frame() {
            Ok(frame) => frame,
            Err(error) => {
                tracing::error!(%device, %error, "message of ours breaks a bound");
                return;
            }
        };
        if let Err(error) = self.tools.net.try_send(device, frame) {
            self.tools.metrics.unsent_frames.inc();
            tracing::debug!(%device, %error, "frame not sent");
        }
    }

    /// Tells the lanes which recordings a subscriber has.
    fn publish_recordings(&self, subscriber: &SubscriberId) {
        let own = self.recordings.values().filter(|recording| recording.subscriber == *subscriber).cloned().collect();
        self.tools.access.set_recordings(subscriber.clone(), own);
    }
}
