//! The reports about one chunk, and what they add up to.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{ChunkCid, DeviceId, SubscriberId, UnitDigest};
use crate::limits::MAX_REPORTS_PER_SLOT;
use crate::time::{Pts33, Ticks, UnixMillis};

use super::facts::{Reception, Report};

/// What a report says of a clean chunk. Reports that differ in any of it differ: a right CID with a wrong time would
/// poison a manifest as well as a wrong CID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// The chunk.
    pub cid: ChunkCid,
    /// Its length in bytes.
    pub bytes: u64,
    /// PTS of the opening unit.
    pub pts: Pts33,
    /// Distance to the next opening unit, in ticks.
    pub duration: Ticks,
    /// Digest of the opening unit.
    pub opening: UnitDigest,
}

impl Claim {
    /// What a report claims; nothing where the recorder withholds the chunk.
    #[must_use]
    pub fn of(report: &Report) -> Option<Self> {
        match report.reception {
            Reception::Clean { cid, bytes } => {
                Some(Self { cid, bytes, pts: report.pts, duration: report.duration, opening: report.opening })
            }
            Reception::Withheld { .. } => None,
        }
    }
}

#[derive(Debug, Clone)]
struct Vote {
    subscriber: SubscriberId,
    /// Nothing where the chunk is withheld: no voice for or against.
    claim: Option<Claim>,
    /// Whether its device has all of the chunk, or only units that are in it.
    whole: bool,
    /// Withheld, with something else in it than the chunk that it was held against: a voice for nothing that is known.
    denies: bool,
    utc: UnixMillis,
    /// Order of arrival: of a subscriber's devices the first one speaks.
    arrived: u32,
}

/// How a report fits what its device said before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cast {
    New,
    Repeated,
    Contradiction,
    /// No room: the sender's claim is not kept.
    Full,
}

/// Reports about one slot. Only those of devices that were asked count.
#[derive(Debug, Default)]
pub(super) struct Ballot {
    asked: BTreeMap<DeviceId, SubscriberId>,
    votes: BTreeMap<DeviceId, Vote>,
    arrivals: u32,
    recalled: Option<(SubscriberId, Claim)>,
}

/// What the asked devices' reports add up to, in subscribers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Subscribers per claim.
    pub(super) claims: BTreeMap<Claim, usize>,
    /// Subscribers with a clean chunk, or units of one.
    pub(super) clean: usize,
    /// Subscribers with units that are of no chunk somebody has.
    pub(super) against: usize,
    /// Subscribers asked.
    pub(super) asked: usize,
    /// Every device asked has answered.
    pub(super) complete: bool,
}

impl Tally {
    /// The claim with most subscribers, if no other has as many.
    pub(super) fn leader(&self) -> Option<(Claim, usize)> {
        let (claim, most) = self.claims.iter().max_by_key(|(_, count)| **count).map(|(c, n)| (*c, *n))?;
        (self.claims.values().filter(|&&count| count == most).count() == 1).then_some((claim, most))
    }

    pub(super) fn of(&self, claim: &Claim) -> usize {
        self.claims.get(claim).copied().unwrap_or(0)
    }
}

impl Ballot {
    pub(super) fn ask(&mut self, device: DeviceId, subscriber: SubscriberId) -> bool {
        self.asked.insert(device, subscriber).is_none()
    }

    pub(super) fn is_asked(&self, device: DeviceId) -> bool {
        self.asked.contains_key(&device)
    }

    /// Takes up what a subscriber said when the books were last open; which device said it is no longer known.
    pub(super) fn recall(&mut self, subscriber: &SubscriberId, claim: Claim) {
        self.recalled = Some((subscriber.clone(), claim));
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.len()
    }

    pub(super) fn has_answered(&self, device: DeviceId) -> bool {
        self.votes.contains_key(&device)
    }

    /// A device that went away is not waited for; what it said stays.
    pub(super) fn unask_silent(&mut self, device: DeviceId) -> bool {
        !self.votes.contains_key(&device) && self.asked.remove(&device).is_some()
    }

    pub(super) fn cast(
        &mut self,
        device: DeviceId,
        subscriber: &SubscriberId,
        claim: Option<Claim>,
        utc: UnixMillis,
    ) -> Cast {
        if let Some(vote) = self.votes.get_mut(&device) {
            return match (vote.claim.filter(|_| vote.whole), claim) {
                (before, now) if before == now => Cast::Repeated,
                // Repaired meanwhile. What it has now says more than its pieces did.
                (None, Some(_)) => {
                    (vote.claim, vote.whole, vote.denies) = (claim, true, false);
                    vote.utc = utc;
                    Cast::New
                }
                _ => Cast::Contradiction,
            };
        }
        // Those asked always find room: they are at most half of it.
        let unasked = self.votes.keys().filter(|device| !self.asked.contains_key(device)).count();
        let room = MAX_REPORTS_PER_SLOT - crate::limits::MAX_WITNESSES_PER_SLOT;
        if !self.asked.contains_key(&device) && unasked >= room {
            return Cast::Full;
        }
        self.arrivals += 1;
        let whole = claim.is_some();
        let (subscriber, arrived) = (subscriber.clone(), self.arrivals);
        self.votes.insert(device, Vote { subscriber, claim, whole, denies: false, utc, arrived });
        Cast::New
    }

    /// A device that withheld the chunk turns out to have nothing else than units of this one, or something else. False
    /// where it did not withhold it, or that is known.
    pub(super) fn testify(&mut self, device: DeviceId, claim: Claim, speaks_for: bool) -> bool {
        let Some(vote) = self.votes.get_mut(&device).filter(|vote| !vote.whole) else { return false };
        let before = (vote.claim, vote.denies);
        (vote.claim, vote.denies) = (speaks_for.then_some(claim), !speaks_for);
        before != (vote.claim, vote.denies)
    }

    pub(super) fn tally(&self) -> Tally {
        let mut voices: BTreeMap<&SubscriberId, (u32, Claim)> = BTreeMap::new();
        voices.extend(self.recalled.as_ref().map(|(subscriber, claim)| (subscriber, (0, *claim))));
        for (device, vote) in &self.votes {
            let (Some(claim), true) = (vote.claim, self.asked.contains_key(device)) else { continue };
            let voice = voices.entry(&vote.subscriber).or_insert((vote.arrived, claim));
            *voice = (*voice).min((vote.arrived, claim));
        }
        let asked_deny = self.votes.iter().filter(|(device, vote)| vote.denies && self.asked.contains_key(device));
        let deniers: BTreeSet<&SubscriberId> = asked_deny.map(|(_, vote)| &vote.subscriber).collect();
        let silent = |subscriber: &&&SubscriberId| !voices.contains_key(**subscriber);
        let mut tally = Tally {
            clean: voices.len(),
            against: deniers.iter().filter(silent).count(),
            asked: self.asked.values().collect::<BTreeSet<_>>().len(),
            complete: self.asked.keys().all(|device| self.votes.contains_key(device)),
            claims: BTreeMap::new(),
        };
        for (_, claim) in voices.into_values() {
            *tally.claims.entry(claim).or_default() += 1;
        }
        tally
    }

    /// Devices that claim it, asked or not: who holds it.
    pub(super) fn supporters(&self, claim: &Claim) -> Vec<DeviceId> {
        let holds = |vote: &Vote| vote.whole && vote.claim.as_ref() == Some(claim);
        self.votes.iter().filter(|(_, vote)| holds(vote)).map(|(device, _)| *device).collect()
    }

    /// First asked device with this claim, and its subscriber.
    pub(super) fn first(&self, claim: &Claim) -> Option<(DeviceId, SubscriberId)> {
        let holds = |vote: &Vote| vote.whole && vote.claim.as_ref() == Some(claim);
        let mut all: Vec<_> = self.votes.iter().filter(|(_, vote)| holds(vote)).collect();
        all.sort_by_key(|(device, vote)| (!self.asked.contains_key(device), vote.arrived));
        all.first().map(|(device, vote)| (**device, vote.subscriber.clone()))
    }

    /// Median of the supporters' wall times (the earlier of two in the middle): a few wrong clocks do not move it.
    pub(super) fn utc(&self, claim: &Claim) -> Option<UnixMillis> {
        let mut times: Vec<_> =
            self.votes.values().filter(|vote| vote.claim.as_ref() == Some(claim)).map(|vote| vote.utc).collect();
        times.sort_unstable();
        times.get(times.len().saturating_sub(1) / 2).copied()
    }

    /// Subscribers that speak unasked for something else than this claim.
    pub(super) fn objectors(&self, claim: &Claim) -> usize {
        self.votes
            .iter()
            .filter(|(device, vote)| !self.asked.contains_key(device) && vote.claim.is_some_and(|c| c != *claim))
            .map(|(_, vote)| &vote.subscriber)
            .collect::<BTreeSet<_>>()
            .len()
    }
}
