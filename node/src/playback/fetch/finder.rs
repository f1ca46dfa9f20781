//! Finding and connecting holders of a chunk: the seed's word first, the hash table where it says nothing.
//!
//! The scheduler asks per chunk, and neighbours ask for the same: answers are kept for a while, and one question at a
//! time goes out for each recording and each key.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex};

use aftercast_net::Multiaddr;
use aftercast_protocol::ids::{DeviceId, RecordingId};
use aftercast_protocol::limits::{MAX_ADDRS_PER_PEER, MAX_CTL_LIST};
use aftercast_protocol::plan::discovery::{chunk_key, provider_key};
use aftercast_protocol::truth::Class;
use aftercast_protocol::wire::ctl::RankedSource;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant};

use super::engine::Note;
use super::{Spec, lock};
use crate::playback::ports::Reach;

/// How long the seed's word on a recording is good for: its holders change by the chunk.
const PLAN_AGE: Duration = Duration::from_secs(5);
/// How long an answer of the hash table is good for.
const KEY_AGE: Duration = Duration::from_secs(20);
/// Recordings and keys remembered; over it the oldest is forgotten.
const MAX_REMEMBERED: usize = 256;
/// Devices that one search connects to: what the scheduler samples, doubled for those that do not answer.
const MAX_CONNECTS: usize = 16;

/// A device and where it may be.
type Lead = (DeviceId, Vec<Multiaddr>);

pub(super) struct Finder {
    reach: Arc<dyn Reach>,
    plans: Mutex<Answers<RecordingId, Vec<RankedSource>>>,
    keys: Mutex<Answers<[u8; 32], Vec<Lead>>>,
    /// Held while the seed is asked, and while the table is asked for an hour of a channel: whoever waits for it finds
    /// the answer.
    asking_seed: Turn,
    asking_table: Turn,
}

type Turn = tokio::sync::Mutex<()>;

/// Answers by question, with the time they were given.
struct Answers<K, V>(BTreeMap<K, (Instant, V)>);

impl<K: Ord + Copy + Hash, V: Clone> Answers<K, V> {
    fn fresh(&self, key: &K, age: Duration) -> Option<V> {
        self.0.get(key).filter(|(at, _)| at.elapsed() < age).map(|(_, answer)| answer.clone())
    }

    fn keep(&mut self, key: K, answer: V) {
        if self.0.len() >= MAX_REMEMBERED
            && let Some(oldest) = self.0.iter().min_by_key(|(_, (at, _))| *at).map(|(key, _)| *key)
        {
            self.0.remove(&oldest);
        }
        self.0.insert(key, (Instant::now(), answer));
    }
}

impl Finder {
    pub fn new(reach: Arc<dyn Reach>) -> Self {
        Self {
            reach,
            plans: Mutex::new(Answers(BTreeMap::new())),
            keys: Mutex::new(Answers(BTreeMap::new())),
            asking_seed: Turn::default(),
            asking_table: Turn::default(),
        }
    }

    /// The seed named sources for a recording of its own accord.
    pub fn learn(&self, recording: RecordingId, sources: Vec<RankedSource>) {
        lock(&self.plans).keep(recording, sources);
    }

    /// Looks for holders of a chunk, connects them, and notes each that is connected; never the seed.
    pub async fn find(&self, spec: &Spec, notes: &mpsc::Sender<Note>) {
        let planned = self.planned(spec).await;
        if self.connect(planned, spec, notes).await > 0 {
            return;
        }
        // Class 0: manifests do not say of which class a recording is until regional insertion splits channels.
        let hour = provider_key(&spec.chunk.channel, Class(0), spec.chunk.utc);
        let of_hour = async {
            let turn = self.asking_table.lock().await;
            let leads = self.announced(hour).await;
            drop(turn);
            self.connect(leads, spec, notes).await
        };
        let of_chunk = async {
            let leads = self.announced(chunk_key(spec.chunk.cid)).await;
            self.connect(leads, spec, notes).await
        };
        futures::join!(of_hour, of_chunk);
    }

    /// What the seed says.
    async fn planned(&self, spec: &Spec) -> Vec<Lead> {
        let turn = self.asking_seed.lock().await;
        let known = lock(&self.plans).fresh(&spec.recording, PLAN_AGE);
        let sources = match known {
            Some(sources) => sources,
            None => {
                // An unreachable seed is not asked again at once either.
                let answer = self.reach.find_sources(spec.recording, spec.chunk.slot).await.unwrap_or_default();
                lock(&self.plans).keep(spec.recording, answer.clone());
                answer
            }
        };
        drop(turn);
        let holds = |source: &&RankedSource| source.spans.iter().any(|span| span.contains(spec.chunk.slot));
        let sources = sources.iter().take(MAX_CTL_LIST).filter(holds);
        sources.map(|source| (source.peer.device, readable_addrs(&source.peer.addrs))).collect()
    }

    /// What the hash table says.
    async fn announced(&self, key: [u8; 32]) -> Vec<Lead> {
        let known = lock(&self.keys).fresh(&key, KEY_AGE);
        if let Some(leads) = known {
            return leads;
        }
        let leads = self.reach.providers(key).await;
        lock(&self.keys).keep(key, leads.clone());
        leads
    }

    /// Connects, all at once; gives how many were reached.
    async fn connect(&self, leads: Vec<Lead>, spec: &Spec, notes: &mpsc::Sender<Note>) -> usize {
        let seed = self.reach.seed();
        let dial = |(device, addrs): Lead| async move { self.reach.connect(device, addrs).await.then_some(device) };
        let leads = leads.into_iter().filter(|(device, _)| Some(*device) != seed).take(MAX_CONNECTS);
        let mut dials: FuturesUnordered<_> = leads.map(dial).collect();
        let mut reached = 0;
        while let Some(device) = dials.next().await {
            if let Some(device) = device {
                reached += 1;
                let _ = notes.send(Note::Holder(spec.chunk.cid, device)).await;
            }
        }
        reached
    }
}

/// Addresses that can be read; the others are of no use.
pub(crate) fn readable_addrs(texts: &[String]) -> Vec<Multiaddr> {
    texts.iter().take(MAX_ADDRS_PER_PEER).filter_map(|text| text.parse().ok()).collect()
}
