//! The playable places of a recording, in order: what the manifest says, completed by this device's own reception.
//!
//! ```text
//! manifest:   chunk   chunk   gap       chunk   pending ...          (nothing yet)
//! own:        clean   damaged salvaged          clean                clean
//! cells:      chunk   chunk   salvaged  chunk   chunk of our own     chunk of our own
//! ```
//!
//! A gap that cannot be filled is left out, and what follows it is marked as a discontinuity. While a recording grows,
//! a place that is not decided yet ends the list: what a player has been told must stay true.

use std::collections::BTreeMap;
use std::sync::Arc;

use aftercast_protocol::ccf::AuxLayout;
use aftercast_protocol::ids::{ChunkCid, Slot, UnitDigest};
use aftercast_protocol::manifest::{Content, Entry, Gap, Manifest};
use aftercast_protocol::time::{PTS_WRAP, Pts33, Ticks, UnixMillis};

use super::ports::{LocalChunk, LocalForm};

/// A place that stays undecided while this many later ones are known is called a gap: decisions take seconds, and
/// waiting for one that never comes would end playback for good.
const PATIENCE_CELLS: usize = 16;

/// One place to play.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// The place.
    pub slot: Slot,
    /// PTS of the opening unit.
    pub pts: Pts33,
    /// How long it plays.
    pub duration: Ticks,
    /// Wall time of its beginning.
    pub utc: UnixMillis,
    /// Whether its times or its form do not continue those of the cell before.
    pub fresh: bool,
    /// What plays.
    pub media: Media,
    /// Our own salvaged form, for when the chunk cannot be had in time.
    pub spare: Option<Media>,
    /// How it is written for players, where they are told of streams beside the core.
    pub dress: Option<Dress>,
}

/// The form of a cell for players, who are told of the same streams in every cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dress {
    /// What they are told.
    pub layout: Arc<AuxLayout>,
    /// Length of the cell in this form.
    pub bytes: u64,
}

impl Cell {
    /// Length in bytes of what players get.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.dress.as_ref().map_or(self.media.bytes(), |dress| dress.bytes)
    }

    /// How another form of it is written for players.
    #[must_use]
    pub fn dress_of(&self, media: Media) -> Option<Dress> {
        let dress = self.dress.as_ref()?;
        match media {
            // Another encode, which the playlist tells as such.
            Media::Head { .. } => None,
            _ if media == self.media => Some(dress.clone()),
            _ => plain(&dress.layout, media),
        }
    }
}

/// The form of what has no units beside the core.
fn plain(layout: &Arc<AuxLayout>, media: Media) -> Option<Dress> {
    layout.keeps_length().then(|| Dress { layout: Arc::clone(layout), bytes: media.bytes() })
}

/// What plays at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    /// A chunk, held here or fetched.
    Chunk {
        /// The chunk.
        cid: ChunkCid,
        /// Its length in bytes.
        bytes: u64,
        /// Whether two subscribers vouch for it.
        confirmed: bool,
    },
    /// A small form of a chunk, from the seed.
    Head {
        /// The chunk that holds it.
        cid: ChunkCid,
        /// Its length in bytes.
        bytes: u64,
    },
    /// Our own salvaged form.
    Salvaged {
        /// Id of the salvaged form, of this device only.
        cid: ChunkCid,
        /// Its length in bytes.
        bytes: u64,
    },
}

impl Media {
    /// The id of its bytes.
    #[must_use]
    pub fn cid(self) -> ChunkCid {
        match self {
            Self::Chunk { cid, .. } | Self::Head { cid, .. } | Self::Salvaged { cid, .. } => cid,
        }
    }

    /// Its length in bytes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        match self {
            Self::Chunk { bytes, .. } | Self::Head { bytes, .. } | Self::Salvaged { bytes, .. } => bytes,
        }
    }
}

/// The cells of a recording; `running` while it still grows.
#[must_use]
pub fn cells(manifest: Option<&Manifest>, local: &[LocalChunk], running: bool) -> Vec<Cell> {
    let running = running && !manifest.is_some_and(|manifest| manifest.complete);
    let own = Own::of(local);
    let mut places: Vec<Place> = Vec::new();
    let mut behind = 0;
    for entry in manifest.map_or(&[][..], |manifest| &manifest.entries) {
        let found = own.find(entry);
        if let Some(found) = found {
            behind = behind.max(found + 1);
        }
        places.push(Place::of_entry(entry, found.and_then(|found| local.get(found))));
    }
    // A manifest that names nothing of ours is about times before or after us, or we only watch. A complete one says
    // where the recording ends.
    let open = !manifest.is_some_and(|manifest| manifest.complete);
    if (open && behind > 0) || places.is_empty() {
        places.extend(local.iter().skip(behind).map(Place::of_local));
    }
    list(places, running)
}

/// Leaves out salvaged cells that nothing before them lets a decoder play: where a stretch begins with one, it must
/// `open` with a random access point.
#[must_use]
pub fn playable(cells: Vec<Cell>, opens: impl Fn(Media) -> bool) -> Vec<Cell> {
    let mut kept: Vec<Cell> = Vec::with_capacity(cells.len());
    let mut left_out = false;
    for mut cell in cells {
        cell.fresh |= left_out && !kept.is_empty();
        let begins = cell.fresh || kept.is_empty();
        left_out = begins && matches!(cell.media, Media::Salvaged { .. }) && !opens(cell.media);
        if !left_out {
            kept.push(cell);
        }
    }
    kept
}

/// Cells with the media time at which each begins, counted from the first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Track {
    cells: Vec<Cell>,
    starts: Vec<Ticks>,
}

impl Track {
    /// Of these cells.
    #[must_use]
    pub fn new(cells: Vec<Cell>) -> Self {
        let mut at = Ticks(0);
        let starts = cells
            .iter()
            .map(|cell| {
                let start = at;
                at = Ticks(at.0.saturating_add(cell.duration.0));
                start
            })
            .collect();
        Self { cells, starts }
    }

    /// The cells.
    #[must_use]
    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// A cell and when it begins.
    #[must_use]
    pub fn get(&self, n: usize) -> Option<(&Cell, Ticks)> {
        Some((self.cells.get(n)?, *self.starts.get(n)?))
    }

    /// Where a place is in the list.
    #[must_use]
    pub fn find(&self, slot: Slot) -> Option<usize> {
        self.cells.iter().position(|cell| cell.slot == slot)
    }
}

/// What a place has to offer.
struct Place {
    cell: Option<Cell>,
    decided: bool,
}

impl Place {
    fn of_entry(entry: &Entry, own: Option<&LocalChunk>) -> Self {
        let form = own.map_or(LocalForm::Nothing, |own| own.form);
        let spare = match form {
            LocalForm::Salvaged { cid, bytes } => Some(Media::Salvaged { cid, bytes }),
            LocalForm::Clean { .. } | LocalForm::Nothing => None,
        };
        let (media, decided) = match (&entry.content, form) {
            (&Content::Chunk { cid, bytes, confirmed, .. }, _) => (Some(Media::Chunk { cid, bytes, confirmed }), true),
            (Content::Gap { .. }, LocalForm::Clean { cid, bytes }) => {
                (Some(Media::Chunk { cid, bytes, confirmed: false }), true)
            }
            (&Content::Gap { reason }, _) => (spare, reason != Gap::Pending),
        };
        let Entry { slot, pts, duration, utc, .. } = *entry;
        let own_bytes = |media: &Media| matches!(form, LocalForm::Clean { cid, .. } if cid == media.cid());
        let dress = media.filter(own_bytes).and(own).and_then(|own| own.dress.clone());
        let cell = media.map(|media| Cell { slot, pts, duration, utc, fresh: false, media, spare, dress });
        Self { cell: cell.filter(is_playable), decided }
    }

    fn of_local(own: &LocalChunk) -> Self {
        let media = match own.form {
            LocalForm::Clean { cid, bytes } => Some(Media::Chunk { cid, bytes, confirmed: false }),
            LocalForm::Salvaged { cid, bytes } => Some(Media::Salvaged { cid, bytes }),
            LocalForm::Nothing => None,
        };
        let decided = matches!(own.form, LocalForm::Clean { .. });
        let LocalChunk { slot, pts, duration, utc, .. } = *own;
        let dress = own.dress.clone().filter(|_| decided);
        let cell = media.map(|media| Cell { slot, pts, duration, utc, fresh: false, media, spare: None, dress });
        Self { cell: cell.filter(is_playable), decided }
    }
}

/// Signed does not mean sane: a place that plays for no time, or for longer than any chunk, is no place.
fn is_playable(cell: &Cell) -> bool {
    (1..=MAX_CELL_TICKS).contains(&cell.duration.0) && cell.media.bytes() > 0
}

/// The longest interval (a minute) plus the ten seconds that a target may wait for a random access point.
const MAX_CELL_TICKS: i64 = 70 * 90_000;

fn list(places: Vec<Place>, running: bool) -> Vec<Cell> {
    let count = places.len();
    let mut cells: Vec<Cell> = Vec::with_capacity(count);
    for (n, place) in places.into_iter().enumerate() {
        if running && !place.decided && count - n <= PATIENCE_CELLS {
            break;
        }
        let Some(mut cell) = place.cell else { continue };
        cell.fresh = cells.last().is_some_and(|before| !continues(before, &cell));
        cells.push(cell);
    }
    dress_alike(&mut cells);
    cells
}

/// Cells without units of their own announce what those before them do, the first ones what the first that has any does.
fn dress_alike(cells: &mut [Cell]) {
    let mut worn = cells.iter().find_map(|cell| cell.dress.as_ref()).map(|dress| Arc::clone(&dress.layout));
    for cell in cells {
        match (&cell.dress, &worn) {
            (Some(dress), _) => worn = Some(Arc::clone(&dress.layout)),
            (None, Some(layout)) => cell.dress = plain(layout, cell.media),
            (None, None) => {}
        }
    }
}

/// Whether a cell's times go on where the one before ends.
fn continues(before: &Cell, cell: &Cell) -> bool {
    let end = (before.pts.0 % PTS_WRAP + before.duration.0.unsigned_abs()) % PTS_WRAP;
    before.slot.timeline == cell.slot.timeline && end == cell.pts.0 % PTS_WRAP
}

/// Our own chunks by what identifies a place across numberings.
struct Own {
    by_anchor: BTreeMap<(Pts33, UnitDigest), usize>,
    by_slot: BTreeMap<Slot, usize>,
    pts: Vec<Pts33>,
}

impl Own {
    fn of(local: &[LocalChunk]) -> Self {
        let by_anchor = local.iter().enumerate().map(|(n, own)| ((own.pts, own.opening), n)).collect();
        let by_slot = local.iter().enumerate().map(|(n, own)| (own.slot, n)).collect();
        Self { by_anchor, by_slot, pts: local.iter().map(|own| own.pts).collect() }
    }

    /// Ours of the same place. Where its opening unit was damaged, place and time must do.
    fn find(&self, entry: &Entry) -> Option<usize> {
        let same = self.by_anchor.get(&(entry.pts, entry.opening)).copied();
        let near = || self.by_slot.get(&entry.slot).copied().filter(|&n| self.pts.get(n) == Some(&entry.pts));
        same.or_else(near)
    }
}

#[cfg(test)]
mod tests {
    use aftercast_protocol::ids::{ChunkIndex, TimelineId};

    use super::*;
    use crate::playback::tests::support::{chunk, gap, local, manifest};

    const SALVAGED: LocalForm = LocalForm::Salvaged { cid: ChunkCid([9; 32]), bytes: 10 };
    const CLEAN: LocalForm = LocalForm::Clean { cid: ChunkCid([8; 32]), bytes: 20 };

    fn shape(cells: &[Cell]) -> Vec<(u64, char, bool)> {
        let letter = |media| match media {
            Media::Chunk { .. } => 'c',
            Media::Head { .. } => 'h',
            Media::Salvaged { .. } => 's',
        };
        cells.iter().map(|cell| (cell.slot.index.0, letter(cell.media), cell.fresh)).collect()
    }

    #[test]
    fn gaps_are_filled_from_here_or_left_out_before_a_discontinuity() {
        let gaps = [Gap::Damaged, Gap::Disputed, Gap::Damaged].map(gap);
        let manifest = manifest(true, [vec![chunk(0)], gaps.to_vec(), vec![chunk(4)]].concat());
        let own = [local(1, SALVAGED), local(2, CLEAN), local(4, SALVAGED)];
        let cells = cells(Some(&manifest), &own, false);
        assert_eq!(shape(&cells), [(0, 'c', false), (1, 's', false), (2, 'c', false), (4, 'c', true)]);
        assert_eq!(cells[3].spare.map(Media::bytes), Some(10), "for when the chunk cannot be had");
    }

    #[test]
    fn ours_is_found_under_another_numbering_by_its_opening_unit() {
        let manifest = manifest(true, vec![gap(Gap::Damaged)]);
        let mut own = local(0, CLEAN);
        own.slot = Slot { timeline: TimelineId(5), index: ChunkIndex(77) };
        assert_eq!(shape(&cells(Some(&manifest), &[own.clone()], false)), [(0, 'c', false)]);
        own.opening = UnitDigest([0xaa; 16]);
        assert_eq!(shape(&cells(Some(&manifest), &[own], false)), [], "another unit at another place");
    }

    #[test]
    fn a_growing_list_stops_at_what_is_not_decided_until_much_more_is_known() {
        let grown = |decided: usize| {
            let after = (0..decided as u64).map(|n| chunk(n + 1));
            manifest(false, [gap(Gap::Pending)].into_iter().chain(after).collect())
        };
        assert_eq!(cells(Some(&grown(PATIENCE_CELLS - 1)), &[], true), []);
        assert_eq!(cells(Some(&grown(PATIENCE_CELLS)), &[], true).len(), PATIENCE_CELLS);
        assert_eq!(cells(Some(&grown(1)), &[], false).len(), 1, "nothing more will be decided");
    }

    #[test]
    fn without_a_manifest_all_that_is_here_plays() {
        let own = [local(0, CLEAN), local(1, LocalForm::Nothing), local(2, SALVAGED)];
        assert_eq!(shape(&cells(None, &own, false)), [(0, 'c', false), (2, 's', true)]);
        assert_eq!(shape(&cells(None, &own, true)), [(0, 'c', false)]);
    }

    #[test]
    fn places_that_no_chunk_can_have_are_left_out() {
        let mut manifest = manifest(true, vec![chunk(0), chunk(1), chunk(2)]);
        manifest.entries[0].duration = Ticks(i64::MAX);
        manifest.entries[1].duration = Ticks(-1);
        manifest.entries[2].pts = Pts33(u64::MAX);
        assert_eq!(shape(&cells(Some(&manifest), &[], false)), [(2, 'c', false)]);
    }

    #[test]
    fn a_stretch_does_not_begin_with_units_that_no_decoder_can_use() {
        let contents = vec![gap(Gap::Damaged), chunk(1), gap(Gap::Damaged), chunk(3)];
        let own = [local(0, SALVAGED), local(2, SALVAGED)];
        let listed = cells(Some(&manifest(true, contents)), &own, false);
        assert_eq!(listed.len(), 4);
        let kept = [(1, 'c', false), (2, 's', false), (3, 'c', false)];
        assert_eq!(shape(&playable(listed.clone(), |_| false)), kept, "after a chunk a decoder goes on");
        assert_eq!(playable(listed.clone(), |_| true), listed);
    }
}
