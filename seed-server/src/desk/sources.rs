//! The tracker: who probably holds what a player will need, sampled, signed and short-lived.

use std::collections::BTreeMap;

use aftercast_protocol::grant::SlotSpan;
use aftercast_protocol::ids::{ChunkIndex, DeviceId, Slot};
use aftercast_protocol::limits::{MAX_ADDRS_PER_PEER, MAX_SAMPLED_PEERS, MAX_SPANS_PER_PEER};
use aftercast_protocol::sign::Raw;
use aftercast_protocol::wire::ctl::{PeerAddr, RankedSource, SourcePlan};

use super::Desk;
use crate::ledger::RecordingRecord;

/// How long a source plan may be used, in milliseconds: holders come and go.
const PLAN_MILLIS: u64 = 120_000;
/// How many slots ahead of the play head the tracker looks: about half an hour, then the player asks again.
const LOOK_AHEAD_SLOTS: usize = 450;

impl Desk {
    /// Ranked peers for a recording from a slot on.
    pub(super) fn source_plan(
        &self,
        asker: DeviceId,
        recording: &RecordingRecord,
        from: Option<Slot>,
    ) -> Raw<SourcePlan> {
        let now = self.utc();
        let mut held: BTreeMap<DeviceId, Vec<SlotSpan>> = BTreeMap::new();
        if let Some(channel) = self.channels.get(&recording.channel) {
            let wanted = channel.slots_of(recording).filter(|slot| from.is_none_or(|from| slot.slot >= from));
            for slot in wanted.take(LOOK_AHEAD_SLOTS).map(|record| record.slot) {
                for &device in channel.holders.get(&slot).into_iter().flatten().filter(|device| **device != asker) {
                    extend(held.entry(device).or_default(), slot);
                }
            }
        }
        let mut sources: Vec<(u64, RankedSource)> =
            held.into_iter().filter_map(|(device, spans)| self.rank(asker, device, spans)).collect();
        // Who holds more of it first; equal ones in an order that differs by asker, which spreads the load.
        sources.sort_by_key(|(rank, _)| std::cmp::Reverse(*rank));
        sources.truncate(MAX_SAMPLED_PEERS);
        let sources = sources.into_iter().map(|(_, source)| source).collect();
        let (channel, expires) = (recording.channel.clone(), now.plus_millis(PLAN_MILLIS));
        self.tools.key.sign(SourcePlan { device: asker, channel, sources, expires }).raw().clone()
    }

    /// A peer's place in the list; none for those who may not or cannot serve others.
    fn rank(&self, asker: DeviceId, device: DeviceId, mut spans: Vec<SlotSpan>) -> Option<(u64, RankedSource)> {
        let node = self.nodes.get(&device)?;
        if node.capability.is_some_and(|capability| capability.metered || capability.paused) || node.addrs.is_empty() {
            return None;
        }
        let slots: u64 = spans.iter().map(|span| span.to.0 - span.from.0).sum();
        let draw: u8 = asker.0.iter().zip(device.0).map(|(a, b)| a ^ b).fold(0, |sum, x| sum.wrapping_mul(31) ^ x);
        spans.truncate(MAX_SPANS_PER_PEER);
        let addrs = node.addrs.iter().take(MAX_ADDRS_PER_PEER).cloned().collect();
        Some((slots << 8 | u64::from(draw), RankedSource { peer: PeerAddr { device, addrs }, spans }))
    }
}

/// Adds a slot that is not before any of the spans.
fn extend(spans: &mut Vec<SlotSpan>, slot: Slot) {
    let after = ChunkIndex(slot.index.0.saturating_add(1));
    match spans.last_mut() {
        Some(span) if span.timeline == slot.timeline && span.to == slot.index => span.to = after,
        _ => spans.push(SlotSpan { timeline: slot.timeline, from: slot.index, to: after }),
    }
}
