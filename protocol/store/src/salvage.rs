//! Opening a database of which table files of groups are damaged or missing. RocksDB refuses it as a whole, for the
//! sake of one file among thousands; the other chunks are worth more than that.

use std::path::Path;
use std::sync::Arc;

use rocksdb::{DB, WaitForCompactOptions};

use crate::open::{corrupt, database_error, open_database};
use crate::positions::Positions;
use crate::record::{GROUPS, Position};
use crate::{OpenError, StoreConfig};

/// Positions whose bytes are gone.
pub(crate) struct Lost {
    first: Position,
    last: Position,
}

impl Lost {
    pub(crate) fn contains(&self, position: Position) -> bool {
        (self.first..=self.last).contains(&position)
    }
}

/// Opens the database, if need be without the table files of groups that cannot be read: those are removed.
pub(crate) fn open(
    path: &Path,
    config: &StoreConfig,
    positions: &Arc<Positions>,
) -> Result<(DB, Vec<Lost>), OpenError> {
    let refused = match open_database(path, config, positions, true) {
        Ok(db) => return Ok((db, Vec::new())),
        Err(error) if error.as_ref().contains(".sst") => error,
        Err(error) => return Err(database_error(path, error)),
    };
    tracing::error!(store = %path.display(), error = %refused, "looking for damaged files");
    let lost = remove_damaged(path, config, positions)?;
    if lost.is_empty() {
        return Err(corrupt(path, refused.into_string()));
    }
    let db = open_database(path, config, positions, true).map_err(|error| database_error(path, error))?;
    Ok((db, lost))
}

fn remove_damaged(path: &Path, config: &StoreConfig, positions: &Arc<Positions>) -> Result<Vec<Lost>, OpenError> {
    let failed = |error| database_error(path, error);
    let db = open_database(path, config, positions, false).map_err(failed)?;
    let family = db.cf_handle(GROUPS).ok_or_else(|| corrupt(path, "it has no groups"))?;
    // Files can only be removed from the last level; what is above moves there by itself, unread.
    db.wait_for_compact(&WaitForCompactOptions::default()).map_err(failed)?;
    let mut lost = Vec::new();
    for file in db.live_files().map_err(failed)?.into_iter().filter(|file| file.column_family_name == GROUPS) {
        let ends = (file.start_key.as_deref(), file.end_key.as_deref());
        let (Some(first), Some(last)) = (ends.0.and_then(Position::of_key), ends.1.and_then(Position::of_key)) else {
            return Err(corrupt(path, format!("the table file {} has no bounds", file.name)));
        };
        let name = path.join("db").join(file.name.trim_start_matches('/'));
        // Bounds in different blocks: one damaged group does not make the file unreadable, its read will tell.
        let readable = [first, last].iter().any(|position| db.get_pinned_cf(family, position.key()).is_ok());
        let whole = readable && name.metadata().is_ok_and(|meta| meta.len() == file.size as u64);
        if !whole {
            tracing::error!(file = %name.display(), "a table file is damaged and given up");
            db.delete_file_in_range_cf(family, first.key(), last.key()).map_err(failed)?;
            lost.push(Lost { first, last });
        }
    }
    Ok(lost)
}
