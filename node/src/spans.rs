//! Sets of slots as stretches: what peers say they hold, and how we say it.

use std::collections::BTreeMap;

use aftercast_protocol::grant::SlotSpan;
use aftercast_protocol::ids::{ChunkIndex, Slot, TimelineId};

/// Stretches of slots that come in order.
#[must_use]
pub fn spans_of(slots: impl IntoIterator<Item = Slot>) -> Vec<SlotSpan> {
    let mut spans: Vec<SlotSpan> = Vec::new();
    for slot in slots {
        let end = ChunkIndex(slot.index.0.saturating_add(1));
        match spans.last_mut() {
            Some(last) if last.timeline == slot.timeline && last.to == slot.index => last.to = end,
            _ => spans.push(SlotSpan { timeline: slot.timeline, from: slot.index, to: end }),
        }
    }
    spans
}

/// A set of slots, kept as stretches that do not touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpanSet {
    /// End of each stretch, by its beginning.
    spans: BTreeMap<(TimelineId, ChunkIndex), ChunkIndex>,
}

impl SpanSet {
    /// Adds a stretch. Empty ones add nothing.
    pub fn insert(&mut self, span: SlotSpan) {
        if span.from >= span.to {
            return;
        }
        let (mut from, mut to) = (span.from, span.to);
        // Stretches that begin in it or touch its end, and the one before that reaches into it.
        while let Some((&(timeline, begin), &end)) = self.spans.range(..=(span.timeline, to)).next_back()
            && timeline == span.timeline
            && end >= from
        {
            self.spans.remove(&(timeline, begin));
            from = from.min(begin);
            to = to.max(end);
        }
        self.spans.insert((span.timeline, from), to);
    }

    /// Takes a stretch out.
    pub fn remove(&mut self, span: SlotSpan) {
        if span.from >= span.to {
            return;
        }
        while let Some((&(timeline, begin), &end)) = self.spans.range(..(span.timeline, span.to)).next_back()
            && timeline == span.timeline
            && end > span.from
        {
            self.spans.remove(&(timeline, begin));
            if begin < span.from {
                self.spans.insert((timeline, begin), span.from);
            }
            if end > span.to {
                self.spans.insert((timeline, span.to), end);
            }
            if begin <= span.from {
                break;
            }
        }
    }

    /// Whether a slot is in it.
    #[must_use]
    pub fn contains(&self, slot: Slot) -> bool {
        let before = self.spans.range(..=(slot.timeline, slot.index)).next_back();
        before.is_some_and(|(&(timeline, _), &end)| timeline == slot.timeline && slot.index < end)
    }

    /// Number of stretches.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    fn slot(timeline: u32, index: u64) -> Slot {
        Slot { timeline: TimelineId(timeline), index: ChunkIndex(index) }
    }

    proptest! {
        #[test]
        fn behaves_like_a_plain_set_and_stays_minimal(
            ops in prop::collection::vec((any::<bool>(), 0..2u32, 0..24u64, 0..8u64), 0..40)
        ) {
            let mut set = SpanSet::default();
            let mut plain = BTreeSet::new();
            for (insert, timeline, from, len) in ops {
                let span =
                    SlotSpan { timeline: TimelineId(timeline), from: ChunkIndex(from), to: ChunkIndex(from + len) };
                for index in from..from + len {
                    if insert { plain.insert(slot(timeline, index)); } else { plain.remove(&slot(timeline, index)); }
                }
                if insert { set.insert(span) } else { set.remove(span) }
            }
            for timeline in 0..2 {
                for index in 0..40 {
                    prop_assert_eq!(set.contains(slot(timeline, index)), plain.contains(&slot(timeline, index)));
                }
            }
            prop_assert_eq!(set.len(), spans_of(plain).len());
        }
    }
}
