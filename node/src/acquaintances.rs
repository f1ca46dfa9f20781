//! What this device remembers of others from one start to the next: who lied, who is fast, who cannot be reached.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aftercast_net::Net;
use aftercast_protocol::ids::DeviceId;
use aftercast_protocol::score::{Bans, Lie, ScoreBook, Unreachable};
use minicbor::{Decode, Encode};

use crate::clock::wall;
use crate::library::{Library, blocking};

const BANS: &str = "bans";
const SCORES: &str = "scores";
const UNREACHABLE: &str = "unreachable";
/// How often what has changed is kept. What is lost with a crash is learnt again; a ban is kept at once.
const KEEP_PERIOD: Duration = Duration::from_secs(30);

/// The memory. Shared by `Arc`.
pub struct Acquaintances {
    net: Net,
    library: Arc<Library>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bans: Bans,
    scores: ScoreBook,
    unreachable: Unreachable,
    /// What has changed since it was kept.
    changed: Changed,
}

#[derive(Default)]
struct Changed {
    scores: bool,
    unreachable: bool,
}

impl Acquaintances {
    /// As they were kept; those banned are refused from now on.
    #[must_use]
    pub fn open(net: Net, library: Arc<Library>) -> Arc<Self> {
        let (bans, scores) = (read::<Bans>(&library, BANS), read(&library, SCORES));
        let unreachable = read(&library, UNREACHABLE);
        bans.iter().for_each(|(device, _)| net.ban(device));
        let state = State { bans, scores, unreachable, changed: Changed::default() };
        Arc::new(Self { net, library, state: Mutex::new(state) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A device was proven to lie: it is refused from now on, after restarts too.
    pub fn ban(&self, device: DeviceId, lie: Lie) {
        tracing::warn!(%device, %lie, "a device is banned");
        self.net.ban(device);
        let bans = {
            let mut state = self.lock();
            state.bans.ban(device, lie, wall());
            state.bans.clone()
        };
        self.keep(BANS, &bans);
    }

    /// What is known of sources.
    #[must_use]
    pub fn scores(&self) -> ScoreBook {
        self.lock().scores.clone()
    }

    /// What is known of sources by now.
    pub fn learn(&self, scores: ScoreBook) {
        let mut state = self.lock();
        if state.scores != scores {
            (state.scores, state.changed.scores) = (scores, true);
        }
    }

    /// Whether it is of no use to dial a device now.
    #[must_use]
    pub fn is_unreachable(&self, device: DeviceId) -> bool {
        self.lock().unreachable.is_paused(device, wall())
    }

    /// A device was dialled; whether it was reached.
    pub fn dialled(&self, device: DeviceId, reached: bool) {
        let mut state = self.lock();
        if reached {
            let before = state.unreachable.len();
            state.unreachable.note_reached(device);
            state.changed.unreachable |= state.unreachable.len() != before;
        } else {
            state.unreachable.note_failed(device, wall());
            state.changed.unreachable = true;
        }
    }

    /// Keeps what has changed, again and again, until dropped.
    pub async fn run(&self) {
        loop {
            tokio::time::sleep(KEEP_PERIOD).await;
            self.keep_changed();
        }
    }

    /// Keeps what has changed since it was kept.
    pub fn keep_changed(&self) {
        let (scores, unreachable) = {
            let mut state = self.lock();
            let changed = std::mem::take(&mut state.changed);
            (changed.scores.then(|| state.scores.clone()), changed.unreachable.then(|| state.unreachable.clone()))
        };
        if let Some(scores) = scores {
            self.keep(SCORES, &scores);
        }
        if let Some(unreachable) = unreachable {
            self.keep(UNREACHABLE, &unreachable);
        }
    }

    fn keep<T: Encode<()>>(&self, name: &str, value: &T) {
        let bytes = minicbor::to_vec(value).expect("encoding into memory does not fail");
        if let Err(error) = blocking(|| self.library.set_setting(name, &bytes)) {
            tracing::warn!(%error, name, "what is known of other devices is not kept");
        }
    }
}

/// A record; a new one where there is none, or where it cannot be read.
fn read<T: Default + for<'b> Decode<'b, ()>>(library: &Library, name: &str) -> T {
    let kept = library.setting(name).unwrap_or_else(|error| {
        tracing::warn!(%error, name, "what was known of other devices cannot be read");
        None
    });
    let decode = |bytes: Vec<u8>| {
        let decoded = minicbor::decode(&bytes);
        decoded.inspect_err(|error| tracing::warn!(%error, name, "what was known of other devices is damaged")).ok()
    };
    kept.and_then(decode).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use aftercast_net::NetConfig;
    use aftercast_protocol::score::Score;
    use aftercast_protocol::sign::SecretKey;
    use aftercast_protocol::time::Micros;
    use aftercast_store::{Store, StoreConfig};

    use super::*;

    async fn open(folder: &std::path::Path) -> (Arc<Acquaintances>, Net) {
        let store = Store::open(folder, StoreConfig { reserve_free_bytes: 0, ..StoreConfig::default() }).unwrap();
        let (net, _events) = Net::start(NetConfig::new(SecretKey::from_bytes(&[9; 32]))).await.unwrap();
        (Acquaintances::open(net.clone(), Library::open(store).unwrap()), net)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_known_of_others_survives_a_restart_and_liars_stay_banned() {
        let folder = tempfile::tempdir().unwrap();
        let [liar, fast, away] = [1, 2, 3].map(|number| DeviceId([number; 32]));
        {
            let (known, _net) = open(folder.path()).await;
            known.ban(liar, Lie::Group);
            let mut scores = ScoreBook::default();
            let mut score = Score::default();
            score.record_rate(1 << 20, Micros::from_secs(1));
            scores.put(fast, score);
            known.learn(scores);
            known.dialled(away, false);
            known.dialled(fast, true);
            known.keep_changed();
        }
        let (known, net) = open(folder.path()).await;
        assert!(matches!(net.dial(liar, Vec::new()).await, Err(aftercast_net::DialError::Banned(_))));
        assert_eq!(known.scores().get(fast).map(|score| score.rate), Some(1 << 20));
        assert!(known.is_unreachable(away) && !known.is_unreachable(fast));
        known.dialled(away, true);
        assert!(!known.is_unreachable(away));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn damaged_records_are_forgotten_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let liar = DeviceId([1; 32]);
        {
            let (known, _net) = open(folder.path()).await;
            known.ban(liar, Lie::Hashes);
            known.library.set_setting(SCORES, b"\xff\xff").unwrap();
        }
        let (known, net) = open(folder.path()).await;
        assert!(known.scores().is_empty());
        assert!(matches!(net.dial(liar, Vec::new()).await, Err(aftercast_net::DialError::Banned(_))));
    }
}
