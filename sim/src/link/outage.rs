//! When a link carries nothing. Times count from when the link's description came into force.

use aftercast_protocol::time::Micros;

use super::LinkError;

/// Longer than any run: an outage that only another description of the link ends.
pub const FOREVER: Micros = Micros(u64::MAX);
/// Most outages of a link; every one is looked at for every packet.
pub const MAX_OUTAGES: usize = 16;
/// Shortest period of outages: a packet that takes seconds steps through each of them.
pub const MIN_PERIOD: Micros = Micros(10_000);

/// What an outage does to what is on the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing is sent; everything waits.
    Stall,
    /// Nothing is sent; streams wait, datagrams that wait, are being sent or are offered are lost.
    Partition,
    /// As a partition, and it begins with the loss of every stream: connections are reset.
    Cut,
}

/// One stretch without service, or the same again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// What happens.
    pub effect: Effect,
    /// When it begins, the first time.
    pub first: Micros,
    /// How long it lasts; nothing for a cut that only resets; [`FOREVER`].
    pub length: Micros,
    /// From one beginning to the next; `None` where it comes once.
    pub every: Option<Micros>,
}

impl Outage {
    /// The one that covers this time, or else the next: first moment, and first moment after.
    fn near(&self, at: u64) -> Option<(u64, u64)> {
        let begin = match self.every {
            Some(every) if at >= self.first.0 => {
                let begin = at - (at - self.first.0) % every.0;
                if at < begin.saturating_add(self.length.0) { begin } else { begin.saturating_add(every.0) }
            }
            _ => self.first.0,
        };
        let end = begin.saturating_add(self.length.0);
        (at < end || at < begin).then_some((begin, end))
    }

    /// The first beginning at or after this time.
    fn beginning(&self, at: u64) -> Option<u64> {
        match self.every {
            _ if at <= self.first.0 => Some(self.first.0),
            Some(every) => {
                Some(self.first.0.saturating_add((at - self.first.0).div_ceil(every.0).saturating_mul(every.0)))
            }
            None => None,
        }
    }
}

/// All outages of a link: as many as [`MAX_OUTAGES`], at most one of them again and again, so that service always
/// returns unless one lasts for ever.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outages(Vec<Outage>);

impl Outages {
    /// Adds one.
    ///
    /// # Errors
    /// It leaves no service between two of its own, comes too often, or there are too many.
    pub fn add(&mut self, outage: Outage) -> Result<(), LinkError> {
        let wrong = |problem: &str| Err(LinkError::of(&outage, problem));
        match outage.every {
            Some(every) if every < MIN_PERIOD => return wrong("comes too often: at least every=10ms"),
            Some(every) if outage.length >= every => return wrong("is always on: make `every` longer than the outage"),
            Some(_) if self.0.iter().any(|other| other.every.is_some()) => {
                return wrong("is the second with `every`: give the others a time, as stall=10s/at=60s");
            }
            _ => {}
        }
        if self.0.len() >= MAX_OUTAGES {
            return wrong("is one too many: a link has at most 16 outages");
        }
        self.0.push(outage);
        Ok(())
    }

    /// In the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &Outage> {
        self.0.iter()
    }

    /// The first moment with service, at or after this one.
    pub(super) fn service_from(&self, mut at: u64) -> u64 {
        while let Some(end) = self.covering(at).map(|(_, end)| end).max() {
            at = end;
        }
        at
    }

    /// When so many microseconds of service have passed since `at`.
    pub(super) fn service_until(&self, at: u64, mut need: u64) -> u64 {
        let mut at = self.service_from(at);
        loop {
            let next =
                self.0.iter().filter_map(|outage| outage.near(at)).map(|(begin, _)| begin).min().unwrap_or(u64::MAX);
            if need <= next - at || next == u64::MAX {
                return at.saturating_add(need);
            }
            need -= next - at;
            at = self.service_from(next);
        }
    }

    /// Whether datagrams are lost at some moment of `from..=until`.
    pub(super) fn loses_within(&self, from: u64, until: u64) -> bool {
        let breaks = self.0.iter().filter(|outage| outage.effect != Effect::Stall);
        breaks.filter_map(|outage| outage.near(from)).any(|(begin, _)| begin <= until)
    }

    /// The first beginning of a partition or cut at or after this time.
    pub(super) fn next_break(&self, at: u64) -> Option<u64> {
        self.0.iter().filter(|outage| outage.effect != Effect::Stall).filter_map(|outage| outage.beginning(at)).min()
    }

    /// Whether a cut begins in `from..=until`.
    pub(super) fn cuts_within(&self, from: u64, until: u64) -> bool {
        let cuts = self.0.iter().filter(|outage| outage.effect == Effect::Cut);
        cuts.filter_map(|outage| outage.beginning(from)).any(|begin| begin <= until)
    }

    /// Whether new streams are refused.
    pub(super) fn is_cut(&self, at: u64) -> bool {
        let cuts = self.0.iter().filter(|outage| outage.effect == Effect::Cut);
        cuts.filter_map(|outage| outage.near(at)).any(|(begin, _)| begin <= at)
    }

    fn covering(&self, at: u64) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().filter_map(move |outage| outage.near(at)).filter(move |(begin, _)| *begin <= at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outages(text: &str) -> Outages {
        text.parse::<super::super::LinkSpec>().unwrap().outages
    }

    #[test]
    fn service_pauses_for_each_outage() {
        let outages = outages("stall=10ms/every=30ms/phase=5ms,stall=5ms/at=15ms");
        assert_eq!(outages.service_until(0, 5_000), 5_000);
        assert_eq!(outages.service_until(0, 5_001), 20_001);
        assert_eq!(outages.service_until(12_000, 1_000), 21_000);
        assert_eq!(outages.service_until(0, 20_001), 45_001);
        assert_eq!(outages.service_from(36_000), 45_000);
    }

    #[test]
    fn breaks_are_found_where_they_begin() {
        let outages = outages("partition=10ms/at=30ms,cut=0s/every=100ms,stall=1s");
        assert_eq!(outages.next_break(0), Some(0));
        assert_eq!(outages.next_break(1), Some(30_000));
        assert_eq!(outages.next_break(30_001), Some(100_000));
        assert!(outages.cuts_within(99_000, 100_000) && !outages.cuts_within(1, 99_999));
        assert!(outages.loses_within(0, 30_000) && !outages.loses_within(40_000, 99_999));
        assert!(!outages.is_cut(100_000));
    }

    #[test]
    fn a_link_without_end_to_its_outage_serves_nothing() {
        assert_eq!(outages("stall=forever").service_until(0, 1), u64::MAX);
    }
}
