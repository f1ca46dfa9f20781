//! When which channel is received: tuners follow the recordings.
//!
//! One tuner per channel, whatever the number of its recordings: overlapping recordings share every chunk.

mod tuner;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use aftercast_protocol::ids::{ChannelId, DeviceId};
use aftercast_protocol::time::UnixMillis;
use tokio::sync::watch;

pub use tuner::{Tuner, TunerState, TunerStatus, TunerView};

use crate::capture::{Captures, Input};
use crate::clock::wall;
use crate::library::{Library, Recording, RecordingState, blocking};

/// Longest wait between looks at the clock: a clock that is set must be noticed.
const LOOK: Duration = Duration::from_secs(5);

/// All tuners of this device.
pub struct Recorder {
    library: Arc<Library>,
    inputs: BTreeMap<ChannelId, Input>,
    captures: Arc<Captures>,
    seed: Option<DeviceId>,
    tuners: Mutex<Tuners>,
    /// Why the store takes nothing any more, once it does not.
    fatal: watch::Sender<Option<String>>,
}

#[derive(Default)]
struct Tuners {
    running: BTreeMap<ChannelId, Tuner>,
    /// Threads that were told to end; the next tuner of their channel waits for them.
    ending: BTreeMap<ChannelId, JoinHandle<()>>,
    /// Of channels that are no longer received.
    last: BTreeMap<ChannelId, TunerView>,
}

impl Recorder {
    /// Nothing is received yet.
    #[must_use]
    pub fn new(library: Arc<Library>, inputs: BTreeMap<ChannelId, Input>, seed: Option<DeviceId>) -> Arc<Self> {
        let fatal = watch::Sender::new(None);
        Arc::new(Self { library, inputs, captures: Arc::default(), seed, tuners: Mutex::default(), fatal })
    }

    /// Says why the store stopped, once it did: the program has to be started anew then.
    #[must_use]
    pub fn fatal(&self) -> watch::Receiver<Option<String>> {
        self.fatal.subscribe()
    }

    /// Channels with an input.
    #[must_use]
    pub fn inputs(&self) -> &BTreeMap<ChannelId, Input> {
        &self.inputs
    }

    /// How reception goes, per channel that was received since the start.
    #[must_use]
    pub fn status(&self) -> BTreeMap<ChannelId, TunerStatus> {
        let tuners = self.lock();
        let mut views: BTreeMap<&ChannelId, &TunerView> = tuners.last.iter().collect();
        views.extend(tuners.running.iter().map(|(channel, tuner)| (channel, tuner.view())));
        views.into_iter().map(|(channel, view)| (channel.clone(), view.status())).collect()
    }

    /// Whether chunks of a channel may still come from reception that has begun.
    #[must_use]
    pub fn receiving(&self, channel: &ChannelId) -> bool {
        let tuners = self.lock();
        let running = tuners.running.get(channel).is_some_and(|tuner| !tuner.is_finished());
        running || tuners.ending.get(channel).is_some_and(|thread| !thread.is_finished())
    }

    fn lock(&self) -> MutexGuard<'_, Tuners> {
        self.tuners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets tuners follow the recordings until dropped.
    pub async fn run(&self) {
        let mut changes = self.library.changes();
        loop {
            changes.mark_unchanged();
            let next = blocking(|| self.follow(wall()));
            let until_next = next.map_or(LOOK, |at| Duration::from_millis(at.0.saturating_sub(wall().0)));
            // Whatever ends the wait, there is a reason to look again.
            let _ = tokio::time::timeout(until_next.min(LOOK), changes.changed()).await;
        }
    }

    /// Ends all reception and waits for what was received to be written. For the program's end.
    pub fn stop(&self) {
        let mut tuners = self.lock();
        let running = std::mem::take(&mut tuners.running);
        let threads: Vec<JoinHandle<()>> = running.into_values().filter_map(Tuner::end).collect();
        let ending = std::mem::take(&mut tuners.ending);
        drop(tuners);
        for thread in threads.into_iter().chain(ending.into_values()) {
            if thread.join().is_err() {
                tracing::error!("a tuner's thread failed");
            }
        }
    }

    /// Brings the tuners to what the recordings need now; gives the time of the next change.
    fn follow(&self, now: UnixMillis) -> Option<UnixMillis> {
        let mut wanted: BTreeMap<ChannelId, Recording> = BTreeMap::new();
        let mut next: Option<UnixMillis> = None;
        let mut soonest = |at: UnixMillis| next = Some(next.map_or(at, |known| known.min(at)));
        for recording in self.library.recordings() {
            let done = match recording.state(now) {
                RecordingState::Scheduled => {
                    soonest(recording.from);
                    Ok(())
                }
                RecordingState::Recording => {
                    recording.to.into_iter().for_each(&mut soonest);
                    let begun = if recording.first_seq.is_none() { self.library.begin(recording.id) } else { Ok(()) };
                    // The newest plan has the newest anchors.
                    wanted.insert(recording.channel.clone(), recording);
                    begun
                }
                RecordingState::Stopped if recording.stopped.is_none() => {
                    self.library.stop(recording.id, recording.to.unwrap_or(now))
                }
                RecordingState::Stopped => Ok(()),
            };
            if let Err(error) = done {
                tracing::error!(%error, "a recording's state is not written down");
            }
        }
        self.tune(&wanted);
        next
    }

    fn tune(&self, wanted: &BTreeMap<ChannelId, Recording>) {
        let mut guard = self.lock();
        let tuners = &mut *guard;
        let gone: Vec<ChannelId> = tuners.running.keys().filter(|one| !wanted.contains_key(*one)).cloned().collect();
        for channel in gone {
            if let Some(tuner) = tuners.running.remove(&channel) {
                tracing::info!(channel = %channel, "reception ends");
                // The thread still takes in what the input had gathered.
                tuners.last.insert(channel.clone(), tuner.view().clone());
                tuners.ending.extend(tuner.end().map(|thread| (channel, thread)));
            }
        }
        tuners.ending.retain(|_, thread| !thread.is_finished());
        for (channel, recording) in wanted {
            if tuners.running.contains_key(channel) {
                continue;
            }
            let Some(input) = self.inputs.get(channel) else { continue };
            let before = tuners.ending.remove(channel);
            match self.start(channel, recording, input, before) {
                Ok(tuner) => {
                    tracing::info!(channel = %channel, recording = %recording.id, "reception begins");
                    tuners.running.insert(channel.clone(), tuner);
                }
                Err(reason) => {
                    tracing::error!(channel = %channel, reason, "cannot receive");
                }
            }
        }
    }

    fn start(
        &self,
        channel: &ChannelId,
        recording: &Recording,
        input: &Input,
        before: Option<JoinHandle<()>>,
    ) -> Result<Tuner, String> {
        let seed = self.seed.ok_or("no seed is known any more that could have signed the plan")?;
        let plan = recording.plan.verify(&seed).map_err(|e| e.to_string())?;
        let plan = plan.chunk_plan().map_err(|e| e.to_string())?;
        let (library, captures, fatal) = (Arc::clone(&self.library), Arc::clone(&self.captures), self.fatal.clone());
        Tuner::start(library, captures, channel.clone(), input.clone(), plan, before, fatal).map_err(|e| e.to_string())
    }
}
