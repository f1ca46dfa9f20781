//! Who records a channel, and who of them is asked.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{DeviceId, Slot, SubscriberId, TimelineId};
use crate::limits::{MAX_RECORDERS, WITNESS_EPOCH_CHUNKS};
use crate::rendezvous;

/// Stretch of a network in which devices are likely to fail, or to be owned, together: the leading bits of an address
/// (24 of IPv4, 48 of IPv6), as a number that only has to be equal for equal prefixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NetPrefix(pub u64);

#[derive(Debug, Clone)]
struct Recorder {
    subscriber: SubscriberId,
    prefix: Option<NetPrefix>,
}

/// The recorders of one channel, and the order in which they are drawn.
#[derive(Debug)]
pub(super) struct Recorders {
    salt: [u8; 32],
    all: BTreeMap<DeviceId, Recorder>,
    /// Drawing order of one epoch, as long as nobody comes or goes.
    drawn: Option<(Epoch, Vec<DeviceId>)>,
}

/// Stretch of chunks that share their witnesses.
pub(super) type Epoch = (TimelineId, u64);

pub(super) fn epoch(slot: Slot) -> Epoch {
    (slot.timeline, slot.index.0 / WITNESS_EPOCH_CHUNKS)
}

impl Recorders {
    pub(super) fn new(salt: [u8; 32]) -> Self {
        Self { salt, all: BTreeMap::new(), drawn: None }
    }

    /// False when there is no room for another one.
    pub(super) fn insert(&mut self, device: DeviceId, subscriber: SubscriberId, prefix: Option<NetPrefix>) -> bool {
        if self.all.len() >= MAX_RECORDERS && !self.all.contains_key(&device) {
            return false;
        }
        self.all.insert(device, Recorder { subscriber, prefix });
        self.drawn = None;
        true
    }

    pub(super) fn remove(&mut self, device: DeviceId) {
        self.all.remove(&device);
        self.drawn = None;
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn subscriber(&self, device: DeviceId) -> Option<&SubscriberId> {
        self.all.get(&device).map(|recorder| &recorder.subscriber)
    }

    /// Everybody in the order in which they are asked about this slot.
    pub(super) fn order(&mut self, slot: Slot) -> &[DeviceId] {
        let wanted = epoch(slot);
        let order = match self.drawn.take() {
            Some((drawn, order)) if drawn == wanted => order,
            _ => self.draw(wanted),
        };
        &self.drawn.insert((wanted, order)).1
    }

    /// Draws in three rounds: one device per subscriber and prefix, one per further subscriber, then all others. The
    /// salt is the seed's secret, so nobody can enrol devices that will be drawn.
    pub(super) fn draw(&self, (timeline, epoch): Epoch) -> Vec<DeviceId> {
        let mut ranked: Vec<(u128, DeviceId)> = self
            .all
            .keys()
            .map(|device| {
                let parts = [&self.salt[..], &timeline.0.to_le_bytes(), &epoch.to_le_bytes(), &device.0];
                (rendezvous::rank(&parts, 1), *device)
            })
            .collect();
        ranked.sort_unstable();
        let (mut subscribers, mut prefixes) = (BTreeSet::new(), BTreeSet::new());
        let (mut order, mut same_prefix, mut same_home) = (Vec::with_capacity(ranked.len()), Vec::new(), Vec::new());
        for (_, device) in ranked {
            let Some(recorder) = self.all.get(&device) else { continue };
            if recorder.prefix.is_some_and(|prefix| prefixes.contains(&prefix)) {
                same_prefix.push(device);
            } else if subscribers.insert(&recorder.subscriber) {
                prefixes.extend(recorder.prefix);
                order.push(device);
            } else {
                same_home.push(device);
            }
        }
        for device in same_prefix {
            match self.all.get(&device) {
                Some(recorder) if subscribers.insert(&recorder.subscriber) => order.push(device),
                _ => same_home.push(device),
            }
        }
        order.extend(same_home);
        order
    }
}
