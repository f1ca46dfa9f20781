//! Opening a store: the form of the database, what the records say, and what an abrupt end left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use aftercast_protocol::ids::ChunkCid;
use aftercast_protocol::verify::{GroupSet, groups_of_len};
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBCompressionType, Direction, IteratorMode, LogLevel,
    Options, WriteBatch,
};

use crate::catalog::{Catalog, Entry, Shared};
use crate::record::{self, FORMAT, GROUPS, META, Ordinal, PARTS, Record};
use crate::{Durability, Inner, OpenError, Store, StoreConfig};

/// The log of records is cut at this size: it is read in full at every start.
const MAX_LOG_BYTES: u64 = 32 << 20;
const FORMAT_NAME: &str = "aftercast-store";

impl Store {
    /// Opens the store in this folder, or makes one.
    ///
    /// # Errors
    /// See [`OpenError`]. A folder that cannot be read as a store is left as it is.
    pub fn open(path: impl AsRef<Path>, config: StoreConfig) -> Result<Self, OpenError> {
        let path = path.as_ref();
        check_format(path)?;
        let database = |error: rocksdb::Error| database_error(path, error);
        let cache = Cache::new_lru_cache(config.cache_bytes);
        let group_options = group_options(&cache);
        let families = [
            ColumnFamilyDescriptor::new("default", small_options(&cache)),
            ColumnFamilyDescriptor::new(META, small_options(&cache)),
            ColumnFamilyDescriptor::new(GROUPS, group_options.clone()),
            ColumnFamilyDescriptor::new(PARTS, part_options(&cache, &config)),
        ];
        let db = DB::open_cf_descriptors(&database_options(&config), path.join("db"), families).map_err(database)?;

        let inner = Inner {
            path: path.to_owned(),
            config,
            db,
            group_options,
            shared: Shared::default(),
            next_ordinal: AtomicU64::new(0),
            parts_garbage: AtomicU64::new(0),
            failed: OnceLock::new(),
        };
        let store = Self { inner: Arc::new(inner) };
        // Only now, when the database's lock keeps others out.
        empty_folder(&path.join("new")).map_err(|source| OpenError::NotWritable { path: path.to_owned(), source })?;
        let next = Recovery { store: &store, path }.run()?;
        store.inner.next_ordinal.store(next, std::sync::atomic::Ordering::Relaxed);
        store.settle_full_partials();
        Ok(store)
    }
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

fn empty_folder(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => fs::create_dir(folder),
    }
}

fn corrupt(path: &Path, reason: impl Into<String>) -> OpenError {
    OpenError::Corrupt { path: path.to_owned(), reason: reason.into() }
}

fn database_error(path: &Path, error: rocksdb::Error) -> OpenError {
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
    // Opening every table file at the start would take seconds with a hundred thousand chunks.
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

/// Whole chunks: written once as a table file, dropped as one, never merged.
fn group_options(cache: &Cache) -> Options {
    let mut options = Options::default();
    options.set_block_based_table_factory(&table_options(cache));
    options.set_compression_type(DBCompressionType::None);
    options.set_disable_auto_compactions(true);
    options
}

fn part_options(cache: &Cache, config: &StoreConfig) -> Options {
    let mut options = Options::default();
    options.set_block_based_table_factory(&table_options(cache));
    options.set_compression_type(DBCompressionType::None);
    options.set_write_buffer_size(config.partial_buffer_bytes);
    options.set_max_write_buffer_number(2);
    options
}

/// Reads the records into the catalog and removes what an abrupt end left without a record.
struct Recovery<'a> {
    store: &'a Store,
    path: &'a Path,
}

impl Recovery<'_> {
    /// Gives the first ordinal that is free.
    fn run(&self) -> Result<u64, OpenError> {
        let mut records = self.records()?;
        let files = self.files()?;
        self.demote_lost(&mut records, &files)?;
        let settled: BTreeSet<Ordinal> =
            records.values().filter(|record| record.settled).map(|record| record.ordinal).collect();
        let partial: BTreeMap<Ordinal, ChunkCid> = records
            .iter()
            .filter(|(_, record)| is_partial(record))
            .map(|(cid, record)| (record.ordinal, *cid))
            .collect();
        self.remove_orphans(&files, &settled)?;
        let parts = self.partial_ordinals(&partial)?;
        let last = records.values().map(|record| record.ordinal).chain(files).chain(parts.last().copied()).max();

        let uses = self.uses()?;
        let mut catalog = self.store.inner.shared.lock();
        for (cid, record) in records {
            let parts = if is_partial(&record) { Some(self.parts(cid, &record)?) } else { None };
            let used = uses.get(&cid).copied().unwrap_or(0);
            catalog.replace(cid, Some(Entry { record, parts, used }));
        }
        log_summary(self.path, &catalog);
        Ok(last.map_or(0, |last| last.0.saturating_add(1)))
    }

    fn records(&self) -> Result<BTreeMap<ChunkCid, Record>, OpenError> {
        let mut records = BTreeMap::new();
        self.scan(record::RECORD, |key, value| {
            let cid = record::cid_of_key(key).ok_or_else(|| corrupt(self.path, "a chunk's key has a wrong length"))?;
            let record: Record = minicbor::decode(value)
                .map_err(|error| corrupt(self.path, format!("the record of chunk {cid}: {error}")))?;
            groups_of_len(record.len)
                .ok_or_else(|| corrupt(self.path, format!("the record of chunk {cid}: {} bytes", record.len)))?;
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

    /// Ordinals of the chunks that have a table file.
    fn files(&self) -> Result<BTreeSet<Ordinal>, OpenError> {
        let files = self.store.inner.db.live_files().map_err(|error| database_error(self.path, error))?;
        let ours = files.iter().filter(|file| file.column_family_name == GROUPS);
        Ok(ours.filter_map(|file| record::ordinal_of_key(file.start_key.as_deref()?)).collect())
    }

    /// A record whose table file is gone can only come from a disk that lied about a sync, or from someone's hand.
    fn demote_lost(
        &self,
        records: &mut BTreeMap<ChunkCid, Record>,
        files: &BTreeSet<Ordinal>,
    ) -> Result<(), OpenError> {
        let inner = &self.store.inner;
        let mut batch = WriteBatch::default();
        for (cid, record) in records.iter_mut().filter(|(_, record)| record.settled) {
            if !files.contains(&record.ordinal) {
                tracing::error!(%cid, "the bytes of a chunk are gone from the store");
                record.settled = false;
                record.dropped.clear();
                batch.put_cf(inner.family(META), record::chunk_key(record::RECORD, *cid), record.encode());
            }
        }
        self.written(inner.write(batch, Durability::Buffered))
    }

    fn remove_orphans(&self, files: &BTreeSet<Ordinal>, settled: &BTreeSet<Ordinal>) -> Result<(), OpenError> {
        let orphans: Vec<Ordinal> = files.difference(settled).copied().collect();
        self.written(self.store.inner.delete_files(orphans))
    }

    /// Ordinals that have groups in `parts`; those of no partial chunk are removed.
    fn partial_ordinals(&self, partial: &BTreeMap<Ordinal, ChunkCid>) -> Result<BTreeSet<Ordinal>, OpenError> {
        let inner = &self.store.inner;
        let family = inner.family(PARTS);
        let mut found = BTreeSet::new();
        let mut iter = inner.db.raw_iterator_cf(family);
        iter.seek_to_first();
        while let Some(ordinal) = iter.key().and_then(record::ordinal_of_key) {
            found.insert(ordinal);
            match ordinal.0.checked_add(1) {
                Some(next) => iter.seek(next.to_be_bytes()),
                None => break,
            }
        }
        iter.status().map_err(|error| database_error(self.path, error))?;
        let mut batch = WriteBatch::default();
        for ordinal in found.iter().filter(|ordinal| !partial.contains_key(ordinal)) {
            inner.delete_parts(&mut batch, *ordinal);
        }
        self.written(inner.write_unlogged(batch))?;
        Ok(found)
    }

    /// The groups of a partial chunk; none where the program ended before they were on the disk.
    fn parts(&self, cid: ChunkCid, record: &Record) -> Result<GroupSet, OpenError> {
        let inner = &self.store.inner;
        let bytes = inner
            .db
            .get_cf(inner.family(PARTS), record::bits_key(record.ordinal))
            .map_err(|error| database_error(self.path, error))?;
        let groups = groups_of_len(record.len).unwrap_or(0);
        bytes
            .map_or_else(|| GroupSet::empty(groups), |bytes| GroupSet::from_bitmap(groups, &bytes))
            .map_err(|error| corrupt(self.path, format!("the groups of chunk {cid}: {error}")))
    }

    fn written<E: std::fmt::Display>(&self, result: Result<(), E>) -> Result<(), OpenError> {
        result.map_err(|error| OpenError::Io { path: self.path.to_owned(), reason: error.to_string() })
    }
}

fn is_partial(record: &Record) -> bool {
    !record.settled || !record.dropped.is_empty()
}

fn log_summary(path: &Path, catalog: &Catalog) {
    tracing::info!(store = %path.display(), chunks = catalog.len(), bytes = catalog.bytes(), "store opened");
}
