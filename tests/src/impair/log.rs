//! The damage log: what of the source truly did not reach the receiver, so that a test knows what it may miss.

use serde::{Deserialize, Serialize};

use super::packet::{Fate, NULL_PID, PIDS, Packet};
use super::psi::Role;
use super::source::{Source, apart, moved};

/// How a packet was harmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HarmKind {
    /// It did not arrive.
    Lost,
    /// Its tail did not arrive.
    Truncated,
    /// It arrived marked as erroneous.
    Tei,
    /// A payload bit changed silently.
    Flipped,
}

/// One payload packet of the source that did not arrive as it was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Harm {
    /// How.
    pub kind: HarmKind,
    /// Its PID in the source.
    pub pid: u16,
    /// What that PID carries.
    pub role: Role,
    /// Its byte offset in the source.
    pub offset: u64,
    /// PTS in the source of the PES packet it belongs to (for PIDs without PES: of the video there).
    pub pts: Option<u64>,
    /// Lowest and highest PTS among that PES packet and its two neighbours: whatever the harm can touch.
    pub reach: Option<(u64, u64)>,
}

/// A loss that continuity counters cannot show: a nonzero multiple of 16 payload packets of one PID in a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invisible {
    /// The PID in the source.
    pub pid: u16,
    /// How many payload packets.
    pub packets: u32,
    /// Byte offset in the source of the first.
    pub offset: u64,
    /// PTS in the source of the PES packet it belongs to.
    pub pts: Option<u64>,
}

/// Where a reception starts or ends inside the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge {
    /// Source byte offset of the first packet that is there (start), or the first that no longer is (end).
    pub offset: u64,
    /// PTS of the PES packet it lies in.
    pub pts: Option<u64>,
}

/// From a place of the source on, received times are the source's plus `by` (modulo 2^33). More than one entry means
/// clock jumps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shift {
    /// Source byte offset.
    pub offset: u64,
    /// PTS in the source of the first picture with this clock.
    pub pts: Option<u64>,
    /// Ticks of 90 kHz.
    pub by: i64,
}

/// Everything that recipes did to the content. Recipes that are harmless add nothing but clock shifts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamageLog {
    /// Harmed payload packets by offset; null packets excepted. Packets outside of the edges are not listed.
    pub harms: Vec<Harm>,
    /// Losses that counters cannot show.
    pub invisible: Vec<Invisible>,
    /// Where the reception starts, if later than the source.
    pub start: Option<Edge>,
    /// Where it ends, if earlier than the source.
    pub end: Option<Edge>,
    /// Clock shifts by offset; empty where received times are the source's.
    pub shifts: Vec<Shift>,
}

impl DamageLog {
    /// Harms to video and audio.
    pub fn core(&self) -> impl Iterator<Item = &Harm> {
        self.harms.iter().filter(|harm| matches!(harm.role, Role::Video | Role::Audio))
    }

    /// Whether video or audio was harmed between source PTS `pts - before` and `pts + duration + after` (90 kHz).
    ///
    /// `before` is for what must be seen ahead of a span to be certain of it, such as the picture group before.
    pub fn harms_span(&self, pts: u64, duration: u64, before: u64, after: u64) -> bool {
        let (low, high) = (-(before as i64), (duration + after) as i64);
        self.core().filter_map(|harm| harm.reach).any(|(from, to)| apart(to, pts) >= low && apart(from, pts) <= high)
    }

    /// Whether the bytes of some span may differ with no receiver able to notice: silent flips and losses that
    /// counters cannot show.
    pub fn deceives_span(&self, pts: u64, duration: u64, before: u64, after: u64) -> bool {
        let (low, high) = (-(before as i64), (duration + after) as i64);
        let hit = |at: Option<u64>| at.is_some_and(|at| (low..=high).contains(&apart(at, pts)));
        self.invisible.iter().any(|loss| hit(loss.pts))
            || self.core().any(|harm| harm.kind == HarmKind::Flipped && hit(harm.pts))
    }

    /// The source's time of a received time, by the first clock (`Shift`) alone; use it where there are no jumps.
    pub fn source_pts(&self, received: u64) -> u64 {
        moved(received, -self.shifts.first().map_or(0, |shift| shift.by))
    }

    /// Reads the truth off the packets, when every recipe has run.
    pub(super) fn record(&mut self, source: &Source, packets: &[Packet]) {
        let mut open: Vec<Option<Group>> = (0..PIDS).map(|_| None).collect();
        let mut runs = vec![Run::default(); PIDS];
        for packet in packets.iter().filter(|packet| packet.source_pid != NULL_PID && packet.has_payload()) {
            let slot = &mut open[usize::from(packet.source_pid)];
            match slot {
                Some(group) if packet.duplicate => group.fates.push(packet.fate),
                _ => {
                    let group = Group { origin: packet.origin.clone(), fates: vec![packet.fate] };
                    if let Some(done) = slot.replace(group) {
                        self.close(source, packet.source_pid, done, &mut runs[usize::from(packet.source_pid)]);
                    }
                }
            }
        }
        for (pid, group) in open.into_iter().enumerate() {
            if let Some(group) = group {
                self.close(source, pid as u16, group, &mut runs[pid]);
            }
        }
        self.harms.sort_by_key(|harm| (harm.offset, harm.pid));
        self.harms.dedup();
        self.invisible.sort_by_key(|loss| loss.offset);
    }

    /// One packet with its legal duplicates.
    fn close(&mut self, source: &Source, pid: u16, group: Group, run: &mut Run) {
        if let Some(kind) = group.harm() {
            for index in group.origin.clone() {
                if source.pids.get(index as usize) == Some(&(pid, true)) {
                    self.harms.push(harm(source, index, pid, kind));
                }
            }
        }
        if group.fates.iter().any(|fate| matches!(fate, Fate::Kept | Fate::Flipped)) {
            // At the very start nothing came before, so nothing is missed.
            if run.anchored && run.lost > 0 && run.lost.is_multiple_of(16) {
                let first = source.offsets.get(run.first as usize).copied().unwrap_or_default() as u64;
                let pts = source.times(run.first, pid).map(|(pts, _)| pts);
                self.invisible.push(Invisible { pid, packets: run.lost, offset: first, pts });
            }
            *run = Run { anchored: true, ..Run::default() };
        } else {
            run.first = if run.lost == 0 { group.origin.start } else { run.first };
            run.lost += 1;
        }
    }
}

struct Group {
    origin: std::ops::Range<u32>,
    fates: Vec<Fate>,
}

impl Group {
    /// A packet arrives if any of its copies does, but a torn or falsified copy does harm beside a good one.
    fn harm(&self) -> Option<HarmKind> {
        let has = |wanted: fn(&Fate) -> bool| self.fates.iter().any(wanted);
        if has(|fate| *fate == Fate::Flipped) {
            Some(HarmKind::Flipped)
        } else if has(|fate| matches!(fate, Fate::Truncated(_))) {
            Some(HarmKind::Truncated)
        } else if has(|fate| *fate == Fate::Kept) {
            None
        } else if has(|fate| *fate == Fate::Tei) {
            Some(HarmKind::Tei)
        } else {
            Some(HarmKind::Lost)
        }
    }
}

#[derive(Clone, Default)]
struct Run {
    anchored: bool,
    lost: u32,
    first: u32,
}

fn harm(source: &Source, index: u32, pid: u16, kind: HarmKind) -> Harm {
    let times = source.times(index, pid);
    Harm {
        kind,
        pid,
        role: source.tables.role(pid),
        offset: source.offsets[index as usize] as u64,
        pts: times.map(|(pts, _)| pts),
        reach: times.map(|(_, reach)| reach),
    }
}
