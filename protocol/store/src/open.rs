//! Opening a store: its format, the form of the database, and what the records say.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock};

use aftercast_protocol::ids::{ChunkCid, GroupIndex};
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, CompactionDecision, DB, DBCompressionType, Direction,
    IteratorMode, LogLevel, Options, WriteBatch,
};

use crate::catalog::{Entry, Shared};
use crate::positions::Positions;
use crate::record::{self, FORMAT, GROUPS, META, Position, Record};
use crate::{Durability, Inner, OpenError, Store, StoreConfig, salvage};

/// The log is cut at this size: it takes room on the disk beside the table files, and is read in full at every start.
const MAX_LOG_BYTES: u64 = 64 << 20;
const FORMAT_NAME: &str = "aftercast-store";

impl Store {
    /// Opens the store in this folder, or makes one.
    ///
    /// # Errors
    /// See [`OpenError`]. A folder that cannot be read as a store is left as it is.
    pub fn open(path: impl AsRef<Path>, config: StoreConfig) -> Result<Self, OpenError> {
        let path = path.as_ref();
        check_format(path)?;
        let positions = Arc::new(Positions::default());
        let (db, lost) = salvage::open(path, &config, &positions)?;
        let inner = Inner {
            path: path.to_owned(),
            config,
            db,
            shared: Shared::default(),
            positions,
            discarded: Mutex::default(),
            garbage_bytes: AtomicU64::new(0),
            clearing: Mutex::default(),
            failed: OnceLock::new(),
        };
        let store = Self { inner: Arc::new(inner) };
        Recovery { store: &store, path, lost: &lost }.run()?;
        Ok(store)
    }
}

/// Opens the database alone. Without `strict`, table files that are missing or cannot be read are not looked for.
pub(crate) fn open_database(
    path: &Path,
    config: &StoreConfig,
    positions: &Arc<Positions>,
    strict: bool,
) -> Result<DB, rocksdb::Error> {
    let cache = Cache::new_lru_cache(config.cache_bytes);
    let mut options = database_options(config);
    options.set_paranoid_checks(strict);
    let families = [
        ColumnFamilyDescriptor::new("default", small_options(&cache)),
        ColumnFamilyDescriptor::new(META, small_options(&cache)),
        ColumnFamilyDescriptor::new(GROUPS, group_options(&cache, config, positions)),
    ];
    DB::open_cf_descriptors(&options, path.join("db"), families)
}

/// Reads the format, or writes it where nothing is there yet.
fn check_format(path: &Path) -> Result<(), OpenError> {
    let not_writable = |source| OpenError::NotWritable { path: path.to_owned(), source };
    fs::create_dir_all(path).map_err(not_writable)?;
    let file = path.join("FORMAT");
    match fs::read_to_string(&file) {
        Ok(text) => {
            let mut words = text.split_ascii_whitespace();
            let found = (words.next() == Some(FORMAT_NAME)).then(|| words.next()?.parse::<u32>().ok()).flatten();
            match found {
                Some(found) if found > FORMAT => {
                    Err(OpenError::NewerFormat { path: path.to_owned(), found, known: FORMAT })
                }
                Some(_) => Ok(()),
                None => Err(corrupt(path, "its file FORMAT cannot be understood")),
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if path.join("db").exists() {
                return Err(corrupt(path, "its file FORMAT is missing"));
            }
            write_format(path, &file).map_err(not_writable)
        }
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            Err(corrupt(path, "its file FORMAT cannot be understood"))
        }
        Err(error) => Err(not_writable(error)),
    }
}

/// Whole or absent, also after a power cut.
fn write_format(folder: &Path, file: &Path) -> io::Result<()> {
    let draft = folder.join("FORMAT.new");
    let mut out = fs::File::create(&draft)?;
    writeln!(out, "{FORMAT_NAME} {FORMAT}")?;
    out.sync_all()?;
    fs::rename(&draft, file)?;
    fs::File::open(folder)?.sync_all()
}

pub(crate) fn corrupt(path: &Path, reason: impl Into<String>) -> OpenError {
    OpenError::Corrupt { path: path.to_owned(), reason: reason.into() }
}

pub(crate) fn database_error(path: &Path, error: rocksdb::Error) -> OpenError {
    let path = PathBuf::from(path);
    let reason = error.as_ref();
    if reason.contains("lock file") || reason.contains("lock hold by current process") {
        OpenError::Locked { path }
    } else if error.kind() == rocksdb::ErrorKind::IOError {
        if reason.contains("Permission denied") || reason.contains("Read-only file system") {
            let kind = ErrorKind::PermissionDenied;
            return OpenError::NotWritable { path, source: io::Error::new(kind, error.into_string()) };
        }
        OpenError::Io { path, reason: error.into_string() }
    } else {
        OpenError::Corrupt { path, reason: error.into_string() }
    }
}

fn database_options(config: &StoreConfig) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_max_open_files(i32::from(config.max_open_files));
    options.set_max_total_wal_size(MAX_LOG_BYTES);
    // A log of which a synced part is missing is refused instead of taken for a short one.
    options.set_track_and_verify_wals_in_manifest(true);
    // Opening every table file at the start would take seconds with a terabyte.
    options.set_skip_stats_update_on_db_open(true);
    options.set_max_manifest_file_size(64 << 20);
    options.set_max_background_jobs(2);
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(1 << 20);
    options.set_stats_dump_period_sec(0);
    options
}

fn table_options(cache: &Cache) -> BlockBasedOptions {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    // Else the indexes of open table files are memory that nothing bounds.
    table.set_cache_index_and_filter_blocks(true);
    table
}

fn small_options(cache: &Cache) -> Options {
    let mut options = Options::default();
    options.set_block_based_table_factory(&table_options(cache));
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_write_buffer_size(8 << 20);
    options
}

fn group_options(cache: &Cache, config: &StoreConfig, positions: &Arc<Positions>) -> Options {
    let mut options = Options::default();
    options.set_block_based_table_factory(&table_options(cache));
    options.set_compression_type(DBCompressionType::None);
    options.set_write_buffer_size(config.write_buffer_bytes);
    options.set_max_write_buffer_number(3);
    // Files come in order and do not overlap: they are moved to the last level, unread, and stay there until their
    // groups are garbage.
    options.set_num_levels(2);
    options.set_level_zero_file_num_compaction_trigger(1);
    options.set_target_file_size_base(64 << 20);
    // With a compaction filter the default is to rewrite everything once a month.
    options.set_periodic_compaction_seconds(0);
    options.set_ttl(0);
    let positions = Arc::clone(positions);
    options.set_compaction_filter("garbage", move |_, key: &[u8], _: &[u8]| {
        let garbage = Position::of_key(key).is_some_and(|position| positions.is_garbage(position));
        if garbage { CompactionDecision::Remove } else { CompactionDecision::Keep }
    });
    options
}

/// Reads the records into the catalog.
struct Recovery<'a> {
    store: &'a Store,
    path: &'a Path,
    lost: &'a [salvage::Lost],
}

impl Recovery<'_> {
    fn run(&self) -> Result<(), OpenError> {
        let mut records = self.records()?;
        self.forget_lost(&mut records)?;
        let inner = &self.store.inner;
        // Groups of writes that were never finished have no record, but their positions may be taken.
        let next = self.last_position()?.map_or(Position(0), |last| last.plus(1));
        inner.positions.begin(records.values().flat_map(|record| &record.runs), next);
        let uses = self.uses()?;
        let mut catalog = inner.shared.lock();
        for (cid, record) in records {
            let used = uses.get(&cid).copied().unwrap_or(0);
            catalog.replace(cid, Some(Entry { record, used }));
        }
        let (chunks, bytes) = (catalog.len(), catalog.bytes());
        tracing::info!(store = %self.path.display(), chunks, bytes, "store opened");
        Ok(())
    }

    fn records(&self) -> Result<BTreeMap<ChunkCid, Record>, OpenError> {
        let mut records = BTreeMap::new();
        self.scan(record::RECORD, |key, value| {
            let cid = record::cid_of_key(key).ok_or_else(|| corrupt(self.path, "a chunk's key has a wrong length"))?;
            let flawed = |flaw: String| corrupt(self.path, format!("the record of chunk {cid}: {flaw}"));
            let record: Record = minicbor::decode(value).map_err(|error| flawed(error.to_string()))?;
            record.flaw().map_or(Ok(()), |flaw| Err(flawed(flaw)))?;
            records.insert(cid, record);
            Ok(())
        })?;
        Ok(records)
    }

    fn uses(&self) -> Result<BTreeMap<ChunkCid, u64>, OpenError> {
        let mut uses = BTreeMap::new();
        self.scan(record::USED, |key, value| {
            if let (Some(cid), Ok(used)) = (record::cid_of_key(key), value.try_into()) {
                uses.insert(cid, u64::from_be_bytes(used));
            }
            Ok(())
        })?;
        Ok(uses)
    }

    fn scan(&self, tag: u8, mut each: impl FnMut(&[u8], &[u8]) -> Result<(), OpenError>) -> Result<(), OpenError> {
        let inner = &self.store.inner;
        let from = [tag];
        for pair in inner.db.iterator_cf(inner.family(META), IteratorMode::From(&from, Direction::Forward)) {
            let (key, value) = pair.map_err(|error| database_error(self.path, error))?;
            if key.first() != Some(&tag) {
                break;
            }
            each(&key, &value)?;
        }
        Ok(())
    }

    fn last_position(&self) -> Result<Option<Position>, OpenError> {
        let inner = &self.store.inner;
        let mut iter = inner.db.raw_iterator_cf(inner.family(GROUPS));
        iter.seek_to_last();
        iter.status().map_err(|error| database_error(self.path, error))?;
        Ok(iter.key().and_then(Position::of_key))
    }

    /// Takes groups out of their chunks whose table files could not be kept.
    fn forget_lost(&self, records: &mut BTreeMap<ChunkCid, Record>) -> Result<(), OpenError> {
        if self.lost.is_empty() {
            return Ok(());
        }
        let inner = &self.store.inner;
        let mut batch = WriteBatch::default();
        for (cid, record) in records {
            let is_lost = |group: &GroupIndex| {
                let position = record.position(*group);
                position.is_some_and(|position| self.lost.iter().any(|lost| lost.contains(position)))
            };
            let gone: Vec<GroupIndex> = (0..record.groups()).map(GroupIndex).filter(is_lost).collect();
            if !gone.is_empty() {
                tracing::error!(%cid, groups = gone.len(), "groups of a chunk were lost with a damaged file");
                for group in gone {
                    record.remove(group);
                }
                batch.put_cf(inner.family(META), record::chunk_key(record::RECORD, *cid), record.encode());
            }
        }
        let written = inner.write(batch, Durability::Synced);
        written.map_err(|error| OpenError::Io { path: self.path.to_owned(), reason: error.to_string() })
    }
}
