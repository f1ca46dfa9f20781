//! Getting the disk's room of deleted groups back.
//!
//! A deleted group stays in its table file until the file is dropped or rewritten. Groups are written in order, and
//! what is written together is mostly deleted together: files in which nothing is left are dropped as they are, and
//! only files with a good share of garbage are rewritten. This happens in lots, in the call that deletes.

use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;

use aftercast_protocol::limits::GROUP_BYTES;
use rocksdb::{BottommostLevelCompaction, CompactOptions};

use crate::record::{GROUPS, META, Position, Run};
use crate::{Inner, PutError};

/// Garbage that is waited for: less is not worth looking through the table files for.
pub(crate) const LOT_BYTES: u64 = 64 << 20;
/// A file is rewritten once less than this share of its groups is in use: for each group that goes, at most three are
/// written again, and garbage takes at most a third of what is in use.
const KEEP_QUARTERS: u64 = 3;

/// A table file of groups.
struct File {
    first: Position,
    last: Position,
    groups: u64,
    used: u64,
    /// Not moved down to the level of files that do not overlap yet, where files can be dropped.
    fresh: bool,
}

impl Inner {
    /// Notes that no chunk has these groups any more, and clears up once there is enough to clear.
    pub(crate) fn discard(&self, runs: impl Iterator<Item = Run>) -> Result<(), PutError> {
        let runs: Vec<Run> = runs.collect();
        if runs.is_empty() {
            return Ok(());
        }
        let bytes = runs.iter().map(|run| u64::from(run.count) * GROUP_BYTES as u64).sum();
        self.discarded.lock().unwrap_or_else(PoisonError::into_inner).extend(runs);
        if self.garbage_bytes.fetch_add(bytes, Relaxed).saturating_add(bytes) < LOT_BYTES {
            return Ok(());
        }
        self.clear_garbage()
    }

    /// Gives the disk back what it can of the groups discarded so far.
    pub(crate) fn clear_garbage(&self) -> Result<(), PutError> {
        let _one_at_a_time = self.clearing.lock().unwrap_or_else(PoisonError::into_inner);
        let runs = std::mem::take(&mut *self.discarded.lock().unwrap_or_else(PoisonError::into_inner));
        self.garbage_bytes.store(0, Relaxed);
        // Bytes must not go before the deletion of their records is durable: a record that came back after a power cut
        // would be a chunk without bytes.
        self.outcome(0, self.db.flush_wal(true))?;
        for run in runs {
            self.positions.give_up(run.position, run.count);
        }
        // The log holds the groups too, until both families have what it says.
        self.outcome(0, self.db.flush_cf(self.family(GROUPS)))?;
        self.outcome(0, self.db.flush_cf(self.family(META)))?;
        let files = self.outcome(0, self.group_files())?;
        let (empty, wasteful): (Vec<File>, Vec<File>) = files
            .into_iter()
            .filter(|file| file.used * 4 < file.groups * KEEP_QUARTERS)
            .partition(|file| file.used == 0 && !file.fresh);
        for file in empty {
            self.outcome(0, self.db.delete_file_in_range_cf(self.family(GROUPS), file.first.key(), file.last.key()))?;
        }
        let mut how = CompactOptions::default();
        // The last level is where the garbage is.
        how.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        for file in wasteful {
            let range = (Some(file.first.key()), Some(file.last.key()));
            self.db.compact_range_cf_opt(self.family(GROUPS), range.0, range.1, &how);
        }
        Ok(())
    }

    fn group_files(&self) -> Result<Vec<File>, rocksdb::Error> {
        let files = self.db.live_files()?;
        let ours = files.into_iter().filter(|file| file.column_family_name == GROUPS);
        Ok(ours
            .filter_map(|file| {
                let first = Position::of_key(file.start_key.as_deref()?)?;
                let last = Position::of_key(file.end_key.as_deref()?)?;
                let used = self.positions.used_between(first, last);
                Some(File { first, last, groups: file.num_entries, used, fresh: file.level == 0 })
            })
            .collect())
    }
}
