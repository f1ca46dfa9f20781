//! Somebody watches a recording: what the seed said at the beginning, and where the players are.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use aftercast_protocol::ids::{GroupIndex, RecordingId, Slot};
use aftercast_protocol::time::Micros;
use aftercast_store::Store;
use tokio::sync::OnceCell;
use tokio::time::{Duration, Instant, timeout};

use super::Playback;
use super::cells::{Cell, Media, Track, cells, playable};
use super::counters::PlayCounters;
use super::fetch::lock;
use super::head::PlayHead;
use super::ports::{Listed, LocalChunk, LocalForm, Opening, Reach};

/// Longest wait for the seed at the beginning: a head may have to be made first.
const OPEN_TIMEOUT: Duration = Duration::from_secs(6);
/// A session is opened again at the seed after this, so that grants do not lapse under a player.
const RENEW: Duration = Duration::from_secs(600);
/// Without any player for so long, a session is over; the next request begins another.
const IDLE: Duration = Duration::from_secs(30);
/// Length of a transport stream packet (ISO/IEC 13818-1, 2.4.3.2).
const PACKET: usize = 188;
/// Players of one recording; over it the one idle for longest is forgotten.
const MAX_PLAYERS: usize = 16;

/// One recording being watched, by one player or several.
pub(super) struct Session {
    recording: RecordingId,
    pub counters: Arc<PlayCounters>,
    began: Instant,
    started: AtomicBool,
    announced: AtomicBool,
    head: OnceCell<Option<(Slot, Media)>>,
    state: Mutex<State>,
}

struct State {
    used: Instant,
    renewed: Instant,
    players: Vec<Arc<PlayHead>>,
}

impl Session {
    pub fn new(recording: RecordingId, counters: Arc<PlayCounters>) -> Self {
        let now = Instant::now();
        let state = State { used: now, renewed: now, players: Vec::new() };
        Self {
            recording,
            counters,
            began: now,
            started: AtomicBool::new(false),
            announced: AtomicBool::new(false),
            head: OnceCell::new(),
            state: Mutex::new(state),
        }
    }

    /// A request came.
    pub fn touch(&self) {
        lock(&self.state).used = Instant::now();
    }

    /// The head that stands for the first chunk in this session. Asks the seed when the session begins.
    pub async fn head(&self, playback: &Playback, listed: &Listed, track: &Track) -> Option<(Slot, Media)> {
        let (first, _) = track.get(0)?;
        let head = *self.head.get_or_init(|| self.open(playback, listed, first)).await;
        self.renew(playback, listed);
        head
    }

    /// Tells the seed that somebody watches, where that was not done yet, for a player that has no use for a head.
    pub fn announce(&self, playback: &Playback, listed: &Listed) {
        if self.head.get().is_none() && !self.announced.swap(true, Relaxed) {
            tokio::spawn(ask(playback.clone(), listed.recording, true));
        }
        self.renew(playback, listed);
    }

    async fn open(&self, playback: &Playback, listed: &Listed, first: &Cell) -> Option<(Slot, Media)> {
        let held = playback.inner.store.is_complete(first.media.cid());
        if held {
            // Nothing to wait for: what the seed says is for later chunks.
            tokio::spawn(ask(playback.clone(), listed.recording, true));
            return None;
        }
        playback.inner.fetcher.begins().await;
        let opening = timeout(OPEN_TIMEOUT, ask(playback.clone(), listed.recording, false)).await.ok().flatten()?;
        let chunk = opening.first.filter(|chunk| chunk.slot == first.slot)?;
        let head = chunk.head?;
        Some((chunk.slot, Media::Head { cid: head.cid, bytes: head.bytes }))
    }

    fn renew(&self, playback: &Playback, listed: &Listed) {
        let mut state = lock(&self.state);
        if state.renewed.elapsed() >= RENEW {
            state.renewed = Instant::now();
            tokio::spawn(ask(playback.clone(), listed.recording, true));
        }
    }

    /// The player that asks for a cell, or a new one.
    pub fn player(&self, playback: &Playback, track: &Track, n: usize) -> Option<Arc<PlayHead>> {
        let mut state = lock(&self.state);
        state.used = Instant::now();
        if let Some(player) = state.players.iter().find(|player| player.expects(track, n)) {
            return Some(Arc::clone(player));
        }
        if state.players.len() >= MAX_PLAYERS {
            let idle =
                (0..state.players.len()).min_by_key(|&n| state.players.get(n).and_then(|player| player.gone_at()));
            idle.into_iter().for_each(|n| drop(state.players.swap_remove(n)));
        }
        let player = PlayHead::new(playback.inner.fetcher.clone(), Arc::clone(&self.counters), track, n)?;
        let player = Arc::new(player);
        state.players.push(Arc::clone(&player));
        Some(player)
    }

    /// The first byte of media goes to a player.
    pub fn note_first_byte(&self) {
        if !self.started.swap(true, Relaxed) {
            let after = Micros(u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX));
            self.counters.started(after);
            tracing::info!(recording = %self.recording, after_ms = after.0 / 1000, "playback has begun");
        }
    }

    /// Forgets players that are gone, and hurries nothing that the others have not asked for. True once the session
    /// itself is over.
    pub fn end_idle(&self, now: Instant) -> bool {
        let mut state = lock(&self.state);
        state.players.retain(|player| player.gone_at().is_none_or(|at| at > now));
        state.players.iter().for_each(|player| player.defer());
        state.players.is_empty() && state.used + IDLE <= now
    }

    /// When it was used last, for choosing which of too many sessions ends.
    pub fn gone_at(&self) -> Instant {
        lock(&self.state).used
    }
}

/// Asks the seed for a session, and keeps what it says of sources.
async fn ask(playback: Playback, recording: RecordingId, first_held: bool) -> Option<Opening> {
    let reach: Arc<dyn Reach> = Arc::clone(&playback.inner.reach);
    let opening = reach.play(recording, None, first_held).await?;
    playback.inner.fetcher.learn(recording, opening.sources.clone()).await;
    Some(opening)
}

impl Playback {
    /// What there is of a recording to play now, without heads.
    pub(super) async fn track(&self, listed: &Listed) -> Track {
        self.read_track(listed).await.0
    }

    /// The same, and whether nothing will be added.
    pub(super) async fn read_track(&self, listed: &Listed) -> (Track, bool) {
        let (shelf, store, listed) = (Arc::clone(&self.inner.shelf), self.inner.store.clone(), listed.clone());
        let read = tokio::task::spawn_blocking(move || {
            let manifest = shelf.manifest(listed.recording);
            let local = on_hand(&store, shelf.local(listed.recording));
            let complete = !listed.running || manifest.as_ref().is_some_and(|manifest| manifest.complete);
            let cells = cells(manifest.as_deref(), &local, listed.running);
            (Track::new(playable(cells, |media| opens(&store, media))), complete)
        });
        read.await.unwrap_or_default()
    }
}

/// Salvaged forms may have been evicted: nobody else has them.
fn on_hand(store: &Store, mut local: Vec<LocalChunk>) -> Vec<LocalChunk> {
    for own in &mut local {
        if let LocalForm::Salvaged { cid, .. } = own.form
            && !store.is_complete(cid)
        {
            own.form = LocalForm::Nothing;
        }
    }
    local
}

/// Whether a salvaged form begins with a random access point of its video.
fn opens(store: &Store, media: Media) -> bool {
    let group = store.read_group(media.cid(), GroupIndex(0)).ok().flatten().unwrap_or_default();
    // The first packet of the PCR stream that begins a unit has an adaptation field, whose flags say whether the unit
    // is one (CCF 17; ISO/IEC 13818-1, 2.4.3.5: random_access_indicator).
    let mut packets = group.chunks_exact(PACKET).filter(|packet| matches!(packet, [0x47, 0x41, 0x00, ..]));
    packets.next().is_some_and(|packet| {
        matches!(packet, [_, _, _, control, len, flags, ..]
        if control & 0x20 != 0 && *len > 0 && flags & 0x40 != 0)
    })
}
