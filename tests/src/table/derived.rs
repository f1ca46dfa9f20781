//! Rows in which another broadcast is made of the source: a clock that jumps, and regional insertions. Receivers of
//! that broadcast must agree among themselves, and with the receivers of the source wherever both got the same.

use std::collections::BTreeMap;

use aftercast_protocol::ccf::Chunk;

use super::cell::{Outcome, apply, cut_again, received};
use super::rows::Row;
use super::source::{Source, cid, clean, cut, discovering, planned};
use crate::broadcast::variety::{GROUP, Programme};
use crate::impair::Evidence;
use crate::impair::splice::{Insertion, insert};

/// What other receivers' ways do to the broadcast, in pairs of no relation.
const OTHER_WAYS: &[&[&str]] = &[
    &["nulls=10%", "counters", "pid-remap", "pcr-jitter=2ms", "framing=204"],
    &["reorder=8", "repacketise", "duplicates=1%", "flags"],
];

/// Another broadcast, and where it is the source's: chunks that lie wholly before `until` or from `again` on.
struct Derived {
    bytes: Vec<u8>,
    until: u64,
    again: u64,
    /// No clock jumped: it is pictures and sound that are others in between.
    same_clock: bool,
}

/// Runs such a row.
pub fn run(source: &Source, row: &Row) -> Outcome {
    let derived = derive(source, row);
    let mut outcome = Outcome::default();
    let at = |what: String| format!("{}, {}: {what}", source.combination, row.name());
    let class = clean(cut(&mut discovering(), &derived.bytes, 100_000));
    for (number, recipes) in OTHER_WAYS.iter().enumerate() {
        let other =
            clean(cut(&mut discovering(), &received(&apply(&derived.bytes, recipes, number as u64 + 1)), 100_000));
        let cids =
            |chunks: &BTreeMap<_, Chunk>| chunks.iter().map(|(key, chunk)| (*key, cid(chunk))).collect::<Vec<_>>();
        if cids(&other) != cids(&class) {
            outcome.broken.push(at(format!("receivers of one broadcast differ after {recipes:?}")));
        }
    }
    outcome.broken.extend(cut_again(&class).into_iter().map(at));
    let all: Vec<&Chunk> = class.values().collect();
    let has_gap = |pair: &[&Chunk]| pair[0].pts.0 + pair[0].duration.0 as u64 != pair[1].pts.0;
    if derived.same_clock && all.windows(2).any(has_gap) {
        outcome.broken.push(at("a chunk is withheld, and nothing was lost".to_owned()));
    }
    // A clock that jumped is brought back by the plan's anchors.
    let seen = match derived.same_clock {
        true => class,
        false => clean(cut(&mut planned(&source.plan), &derived.bytes, 100_000)),
    };
    let seen: BTreeMap<u64, &Chunk> = seen.values().map(|chunk| (chunk.pts.0, chunk)).collect();
    for reference in source.reference.values() {
        let (from, to) = (reference.pts.0, reference.pts.0 + reference.duration.0 as u64);
        let same = to <= derived.until || from >= derived.again;
        match seen.get(&from) {
            Some(chunk) if cid(chunk) == cid(reference) && (same || !derived.same_clock) => outcome.identical += 1,
            Some(chunk) if cid(chunk) == cid(reference) => {
                outcome.broken.push(at(format!("chunk {} is the source's, and its content is not", chunk.index)));
            }
            _ if same => outcome.broken.push(at(format!("chunk {} at {from} is not the source's", reference.index))),
            _ => outcome.other += 1,
        }
    }
    outcome
}

fn derive(source: &Source, row: &Row) -> Derived {
    let groups = source.evidence.random_access_points();
    let spliced = |programme: Programme, length: usize| {
        let path = source.combination.make(programme, &source.folder).expect("another programme");
        let other = std::fs::read(path).expect("reads it");
        let others = Evidence::of(&other).expect("pictures").random_access_points();
        let both = |group: &usize| others.contains(&groups[*group]);
        let from = (4..groups.len()).find(both).expect("a random access point of both");
        let insertion = Insertion { from: groups[from], to: groups[from + length] };
        let bytes = insert(&source.bytes, &other, insertion).expect("whole programmes");
        Derived { bytes, until: insertion.from, again: insertion.to, same_clock: true }
    };
    match row.recipes {
        ["splice=equal"] => spliced(Programme::Inserted, 3),
        ["splice=longer"] => spliced(Programme::Inserted, 8),
        ["splice=other-phase"] => spliced(Programme::InsertedInOtherPhase, 4),
        recipes => {
            let impaired = apply(&source.bytes, recipes, 1);
            let jump = impaired.log.shifts.last().and_then(|shift| shift.pts).expect("a jump");
            // The chunk before the jump has the audio up to the change of its clock; the two behind it name it anew.
            let (until, again) = (jump - GROUP as u64, jump + 2 * GROUP as u64);
            Derived { bytes: impaired.bytes, until, again, same_clock: false }
        }
    }
}
