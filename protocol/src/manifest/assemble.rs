//! From a recording's entries to pages, and back from verified pages to the whole.

use std::collections::BTreeMap;

use super::{Entry, ManifestPage, RawManifestPage, VerifiedManifestPage};
use crate::ids::{ChannelId, DeviceId, RecordingId, SubscriberId};
use crate::limits::{MANIFEST_PAGE_ENTRIES, MAX_MANIFEST_PAGES};
use crate::sign::StatementError;

/// A whole manifest, all its pages verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The recording.
    pub recording: RecordingId,
    /// Whose it is.
    pub subscriber: SubscriberId,
    /// Of which channel.
    pub channel: ChannelId,
    /// Counts up with every change.
    pub revision: u64,
    /// Whether nothing will be added any more.
    pub complete: bool,
    /// Places in order of broadcast.
    pub entries: Vec<Entry>,
}

impl Manifest {
    /// Cuts the manifest into pages for signing; an empty manifest is one empty page.
    #[must_use]
    pub fn pages(&self) -> Vec<ManifestPage> {
        let cuts: Vec<&[Entry]> =
            if self.entries.is_empty() { vec![&[]] } else { self.entries.chunks(MANIFEST_PAGE_ENTRIES).collect() };
        let pages = cuts.len() as u32;
        let page = |(page, entries): (usize, &[Entry])| ManifestPage {
            recording: self.recording,
            subscriber: self.subscriber.clone(),
            channel: self.channel.clone(),
            revision: self.revision,
            page: page as u32,
            pages,
            complete: self.complete,
            entries: entries.to_vec(),
        };
        cuts.into_iter().enumerate().map(page).collect()
    }
}

/// Why a page was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not the seed's word.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// Numbers that do not fit together.
    #[error("page {page} of {pages} does not fit revision {revision}")]
    BadPage {
        /// Number given.
        page: u32,
        /// Count given.
        pages: u32,
        /// Revision given.
        revision: u64,
    },
    /// Of another recording than asked for.
    #[error("page of recording {0}")]
    OtherRecording(RecordingId),
    /// Entries out of order.
    #[error("entries are not in order of broadcast")]
    Disorder,
}

/// Collects the pages of one recording's newest revision.
#[derive(Debug)]
pub struct PageCollector {
    recording: RecordingId,
    seed: DeviceId,
    pages: BTreeMap<u32, VerifiedManifestPage>,
}

impl PageCollector {
    /// For one recording, from one seed.
    #[must_use]
    pub fn new(recording: RecordingId, seed: DeviceId) -> Self {
        Self { recording, seed, pages: BTreeMap::new() }
    }

    /// Takes a page; gives the manifest once its last page is there.
    ///
    /// # Errors
    /// When the page is not the seed's, or does not fit.
    pub fn handle_page(&mut self, raw: &RawManifestPage) -> Result<Option<Manifest>, ManifestError> {
        let page = raw.verify(&self.seed)?;
        if page.recording != self.recording {
            return Err(ManifestError::OtherRecording(page.recording));
        }
        let fits =
            page.page < page.pages && page.pages <= MAX_MANIFEST_PAGES && page.entries.len() <= MANIFEST_PAGE_ENTRIES;
        if !fits {
            return Err(ManifestError::BadPage { page: page.page, pages: page.pages, revision: page.revision });
        }
        if let Some(held) = self.pages.values().next() {
            if page.revision < held.revision {
                return Ok(None); // an older answer that overtook; the newer one is on its way
            }
            if page.revision > held.revision || page.pages != held.pages {
                self.pages.clear();
            }
        }
        let wanted = page.pages as usize;
        self.pages.insert(page.page, page);
        if self.pages.len() < wanted {
            return Ok(None);
        }
        self.assemble().map(Some)
    }

    fn assemble(&mut self) -> Result<Manifest, ManifestError> {
        let pages = std::mem::take(&mut self.pages);
        let mut whole: Option<Manifest> = None;
        for page in pages.into_values().map(VerifiedManifestPage::into_inner) {
            match &mut whole {
                Some(manifest) => manifest.entries.extend(page.entries),
                None => {
                    whole = Some(Manifest {
                        recording: page.recording,
                        subscriber: page.subscriber,
                        channel: page.channel,
                        revision: page.revision,
                        complete: page.complete,
                        entries: page.entries,
                    });
                }
            }
        }
        let manifest = whole.ok_or(ManifestError::BadPage { page: 0, pages: 0, revision: 0 })?;
        if manifest.entries.is_sorted_by(|a, b| a.slot < b.slot) { Ok(manifest) } else { Err(ManifestError::Disorder) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ChunkCid, ChunkIndex, Slot, TimelineId, UnitDigest};
    use crate::manifest::{Content, Gap};
    use crate::sign::SecretKey;
    use crate::time::{Pts33, Ticks, UnixMillis};

    fn manifest(entries: u64, revision: u64) -> Manifest {
        let entry = |n: u64| Entry {
            slot: Slot { timeline: TimelineId(0), index: ChunkIndex(n) },
            pts: Pts33(n * 360_000),
            duration: Ticks(360_000),
            opening: UnitDigest([0xff; 16]),
            utc: UnixMillis(u64::MAX),
            content: if n % 7 == 3 {
                Content::Gap { reason: Gap::Damaged }
            } else {
                let head =
                    crate::manifest::Rendition { recipe: "h264-1500k".into(), cid: ChunkCid([9; 32]), bytes: 1 << 22 };
                let archive = Some(head.clone());
                Content::Chunk { cid: ChunkCid([1; 32]), bytes: 1 << 24, confirmed: true, head: Some(head), archive }
            },
        };
        Manifest {
            recording: RecordingId([5; 16]),
            subscriber: "a".repeat(64).parse().unwrap(),
            channel: "c".repeat(64).parse().unwrap(),
            revision,
            complete: true,
            entries: (0..entries).map(entry).collect(),
        }
    }

    #[test]
    fn the_largest_page_fits_a_control_frame_and_any_order_of_pages_gives_the_whole() {
        let key = SecretKey::from_bytes(&[1; 32]);
        let whole = manifest(3 * MANIFEST_PAGE_ENTRIES as u64 + 1, 4);
        let mut collector = PageCollector::new(whole.recording, key.device());
        let mut result = None;
        for page in whole.pages().into_iter().rev() {
            result = collector.handle_page(key.sign(page).raw()).unwrap();
        }
        assert_eq!(result, Some(whole));
    }

    #[test]
    fn pages_of_two_revisions_are_never_mixed() {
        let key = SecretKey::from_bytes(&[1; 32]);
        let (old, new) = (manifest(MANIFEST_PAGE_ENTRIES as u64 + 1, 1), manifest(MANIFEST_PAGE_ENTRIES as u64 + 2, 2));
        let mut collector = PageCollector::new(old.recording, key.device());
        let sign = |page: &ManifestPage| key.sign(page.clone());
        assert_eq!(collector.handle_page(sign(&old.pages()[0]).raw()), Ok(None));
        assert_eq!(collector.handle_page(sign(&new.pages()[1]).raw()), Ok(None));
        assert_eq!(collector.handle_page(sign(&old.pages()[1]).raw()), Ok(None), "late page of the old revision");
        assert_eq!(collector.handle_page(sign(&new.pages()[0]).raw()), Ok(Some(new)));
    }

    #[test]
    fn refuses_pages_of_others() {
        let (key, forger) = (SecretKey::from_bytes(&[1; 32]), SecretKey::from_bytes(&[2; 32]));
        let page = manifest(1, 1).pages().remove(0);
        let mut collector = PageCollector::new(page.recording, key.device());
        assert!(collector.handle_page(forger.sign(page.clone()).raw()).is_err());
        let other = ManifestPage { recording: RecordingId([6; 16]), ..page };
        assert!(matches!(collector.handle_page(key.sign(other).raw()), Err(ManifestError::OtherRecording(_))));
    }
}
