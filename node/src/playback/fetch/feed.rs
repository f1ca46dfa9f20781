//! One chunk on its way: what has come of it, who waits for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use aftercast_protocol::ids::{ChunkCid, GroupIndex};
use aftercast_protocol::time::{Micros, Mono};
use aftercast_protocol::verify::{GroupHashes, GroupSet};
use aftercast_store::{Durability, Protection, PutError, ReadError};
use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Duration, timeout};

use super::super::counters::{Origin, PlayCounters};
use super::{FetchError, Shared, Spec, SpecReach, lock};

/// How often a group is fetched again that the store lost (evicted, or damaged on the disk) before it could be read.
const MAX_LOSSES: u32 = 8;

/// A chunk that somebody wants.
pub(super) struct Feed {
    pub spec: Spec,
    state: Mutex<State>,
    /// Something came, or was lost.
    changed: Notify,
}

struct State {
    /// Groups that are here, verified: in `memory` or in the store.
    have: GroupSet,
    /// Verified groups that the store has not (yet).
    memory: BTreeMap<u32, Bytes>,
    /// Which groups were fetched, and from where; the others were in the store.
    fetched: BTreeMap<u32, Origin>,
    hashes: Option<Arc<GroupHashes>>,
    stores: Stores,
    losses: u32,
    /// A group was lost since the scheduler was told what is here.
    lost: bool,
    interests: BTreeMap<u64, Interest>,
    next_interest: u64,
    dirty: bool,
}

/// Whether groups are given to the store.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stores {
    NotBegun,
    Begun,
    /// It has no room, or failed: this chunk lives in memory.
    Refused,
}

struct Interest {
    deadline: Mono,
    counters: Arc<PlayCounters>,
}

impl Spec {
    fn most_losses(&self) -> u32 {
        match self.reach {
            SpecReach::Anyone | SpecReach::Seed => MAX_LOSSES,
            SpecReach::Here => 0,
        }
    }
}

/// What of a group is here.
enum Look {
    Memory(Bytes, Origin),
    Stored(Origin),
    Missing,
    Lost,
}

impl Feed {
    /// A feed that begins with what the store has.
    pub fn new(spec: Spec, groups: u32, store: &aftercast_store::Store) -> Result<Self, FetchError> {
        let fault = |_| FetchError::Length(spec.len);
        let held = store.have(spec.chunk.cid).filter(|held| held.groups() == groups);
        // Reads one small record, and only for a chunk that was begun earlier.
        let partial = held.as_ref().is_some_and(|held| !held.is_complete());
        let hashes = if partial { store.hashes(spec.chunk.cid).ok().flatten() } else { None };
        let stores = if hashes.is_some() { Stores::Begun } else { Stores::NotBegun };
        let have = match held {
            Some(held) if held.is_complete() || hashes.is_some() => held,
            _ => GroupSet::empty(groups).map_err(fault)?,
        };
        if spec.reach == SpecReach::Here && !have.is_complete() {
            return Err(FetchError::Absent(spec.chunk.cid));
        }
        let state = State {
            have,
            memory: BTreeMap::new(),
            fetched: BTreeMap::new(),
            hashes: hashes.map(Arc::new),
            stores,
            losses: 0,
            lost: false,
            interests: BTreeMap::new(),
            next_interest: 0,
            dirty: true,
        };
        Ok(Self { spec, state: Mutex::new(state), changed: Notify::new() })
    }

    /// Whether it has changed since this was last asked.
    pub fn take_dirty(&self) -> bool {
        std::mem::take(&mut lock(&self.state).dirty)
    }

    /// Whether a group was lost since this was last asked.
    pub fn take_lost(&self) -> bool {
        std::mem::take(&mut lock(&self.state).lost)
    }

    /// The earliest deadline; none where nobody wants it any more.
    pub fn deadline(&self) -> Option<Mono> {
        lock(&self.state).interests.values().map(|interest| interest.deadline).min()
    }

    /// What is here, and the group hashes if they are known.
    pub fn progress(&self) -> (GroupSet, Option<Arc<GroupHashes>>) {
        let state = lock(&self.state);
        (state.have.clone(), state.hashes.clone())
    }

    /// Whether all of it is here.
    pub fn is_whole(&self) -> bool {
        lock(&self.state).have.is_complete()
    }

    /// Tells everyone who wants it of a wrong answer.
    pub fn count_wrong(&self, banned: bool) {
        lock(&self.state).interests.values().for_each(|interest| interest.counters.wrong(banned));
    }

    /// Takes the proven list of hashes.
    pub fn take_hashes(&self, hashes: Arc<GroupHashes>) {
        lock(&self.state).hashes.get_or_insert(hashes);
    }

    /// Takes a verified group; players have it from here on. False where it was here already.
    pub fn take_group(&self, index: GroupIndex, bytes: Bytes, origin: Origin) -> bool {
        let mut state = lock(&self.state);
        let fresh = state.have.insert(index);
        if fresh {
            state.memory.insert(index.0, bytes);
            state.fetched.insert(index.0, origin);
            self.changed.notify_waiters();
        }
        fresh
    }

    /// Gives a group to the store, which checks it again. Blocks.
    pub fn store_group(&self, shared: &Shared, index: GroupIndex) {
        if !self.begin(shared) {
            return;
        }
        let Some(bytes) = lock(&self.state).memory.get(&index.0).cloned() else { return };
        match shared.store.put_group(self.spec.chunk.cid, index, &bytes) {
            Ok(whole) => {
                lock(&self.state).memory.remove(&index.0);
                if whole {
                    shared.shelf.fetched(self.spec.chunk.cid);
                }
            }
            Err(error) => self.refuse(&error),
        }
    }

    /// Begins the chunk in the store, making room if there is none. False where it stays in memory.
    fn begin(&self, shared: &Shared) -> bool {
        let (stores, hashes) = {
            let state = lock(&self.state);
            (state.stores, state.hashes.clone())
        };
        let hashes = match (stores, hashes) {
            (Stores::Begun, _) => return true,
            (Stores::Refused, _) | (_, None) => return false,
            (Stores::NotBegun, Some(hashes)) => hashes,
        };
        let (store, cid) = (&shared.store, self.spec.chunk.cid);
        let new = store.have(cid).is_none();
        let note = shared.shelf.note(&self.spec.chunk);
        let mut begun = store.begin_partial(cid, &hashes, &note);
        if matches!(begun, Err(PutError::NoRoom(_))) && shared.shelf.make_room(self.spec.len) {
            begun = store.begin_partial(cid, &hashes, &note);
        }
        // Whoever sent it has it: our copy is a convenience, and goes first when room is needed.
        let begun = begun.and_then(|()| match new {
            true => store.set_protection(cid, Protection::Acknowledged, Durability::Buffered),
            false => Ok(()),
        });
        match begun {
            Ok(()) => lock(&self.state).stores = Stores::Begun,
            Err(error) => self.refuse(&error),
        }
        lock(&self.state).stores == Stores::Begun
    }

    fn refuse(&self, error: &PutError) {
        let before = std::mem::replace(&mut lock(&self.state).stores, Stores::Refused);
        if before != Stores::Refused {
            tracing::warn!(cid = %self.spec.chunk.cid, %error, "chunk is played without being stored");
        }
    }

    fn look(&self, index: GroupIndex) -> Look {
        let state = lock(&self.state);
        let origin = state.fetched.get(&index.0).copied().unwrap_or(Origin::Local);
        match state.memory.get(&index.0) {
            Some(bytes) => Look::Memory(bytes.clone(), origin),
            None if state.have.contains(index) => Look::Stored(origin),
            None if state.losses > self.spec.most_losses() => Look::Lost,
            None => Look::Missing,
        }
    }

    /// The store does not have a group any more that it had: it is to be fetched.
    fn lose(&self, shared: &Shared, index: GroupIndex) {
        {
            let mut state = lock(&self.state);
            if !state.have.remove(index) {
                return;
            }
            state.losses = state.losses.saturating_add(1);
            state.lost = true;
            if shared.store.have(self.spec.chunk.cid).is_none() {
                // All of it went, with its hashes: begin anew, and keep what is still in memory.
                let memory: Vec<u32> = state.memory.keys().copied().collect();
                if let Ok(mut have) = GroupSet::empty(state.have.groups()) {
                    memory.into_iter().for_each(|index| {
                        have.insert(GroupIndex(index));
                    });
                    state.have = have;
                }
                state.stores = Stores::NotBegun;
            }
            state.dirty = true;
        }
        self.changed.notify_waiters();
        shared.wake.notify_one();
    }
}

/// A chunk is wanted as long as this lives.
pub(crate) struct Want {
    shared: Arc<Shared>,
    feed: Arc<Feed>,
    interest: u64,
}

impl Want {
    /// Joins a feed. The caller holds the lock on the feeds, so that this one is not swept away meanwhile.
    pub(super) fn new(shared: Arc<Shared>, feed: Arc<Feed>, deadline: Mono, counters: Arc<PlayCounters>) -> Self {
        let interest = {
            let mut state = lock(&feed.state);
            state.next_interest += 1;
            let interest = state.next_interest;
            state.interests.insert(interest, Interest { deadline, counters });
            state.dirty = true;
            interest
        };
        shared.wake.notify_one();
        Self { shared, feed, interest }
    }

    /// The chunk.
    pub fn cid(&self) -> ChunkCid {
        self.feed.spec.chunk.cid
    }

    /// Moves the deadline.
    pub fn set_deadline(&self, deadline: Mono) {
        {
            let mut state = lock(&self.feed.state);
            let Some(interest) = state.interests.get_mut(&self.interest) else { return };
            if interest.deadline == deadline {
                return;
            }
            interest.deadline = deadline;
            state.dirty = true;
        }
        self.shared.wake.notify_one();
    }

    /// A group, and where it came from. Waits for at most `patience`. Dropping the future is safe.
    pub async fn group(&self, index: GroupIndex, patience: Micros) -> Result<(Bytes, Origin), FetchError> {
        let wait = async {
            loop {
                let changed = self.feed.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                match self.feed.look(index) {
                    Look::Memory(bytes, origin) => return Ok((bytes, origin)),
                    Look::Stored(origin) => {
                        if let Some(bytes) = self.read(index).await? {
                            return Ok((bytes, origin));
                        }
                    }
                    Look::Lost => return Err(FetchError::Absent(self.cid())),
                    Look::Missing => tokio::select! {
                        () = changed => {}
                        () = self.shared.ended.cancelled() => return Err(FetchError::Ended),
                    },
                }
            }
        };
        timeout(Duration::from_micros(patience.0), wait).await.unwrap_or(Err(FetchError::Absent(self.cid())))
    }

    /// Waits until all of the chunk is here, for at most `patience`. True once it is.
    pub async fn whole(&self, patience: Micros) -> bool {
        let wait = async {
            loop {
                let changed = self.feed.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if self.feed.is_whole() {
                    return;
                }
                changed.await;
            }
        };
        timeout(Duration::from_micros(patience.0), wait).await.is_ok()
    }

    /// A group from the store; none where it is not there any more and will be fetched again.
    async fn read(&self, index: GroupIndex) -> Result<Option<Bytes>, FetchError> {
        let (shared, feed) = (Arc::clone(&self.shared), Arc::clone(&self.feed));
        let read = tokio::task::spawn_blocking(move || match shared.store.read_group(feed.spec.chunk.cid, index) {
            Ok(Some(bytes)) => Ok(Some(Bytes::from(bytes))),
            Ok(None) | Err(ReadError::Corrupt { .. }) => {
                feed.lose(&shared, index);
                Ok(None)
            }
            Err(error) => Err(FetchError::Store(error.to_string())),
        });
        read.await.unwrap_or(Err(FetchError::Ended))
    }
}

impl Drop for Want {
    fn drop(&mut self) {
        {
            let mut state = lock(&self.feed.state);
            state.interests.remove(&self.interest);
            state.dirty = true;
        }
        self.shared.wake.notify_one();
    }
}
