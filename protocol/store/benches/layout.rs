//! Which layout holds chunks best, measured against the raw disk in one run.
//!
//! Ways to keep the same chunks, each made durable chunk by chunk as an acknowledgement demands:
//!
//! * `raw`: one file per chunk, written, synced, its folder synced. What the disk can do.
//! * `log`: groups in a column family through the write-ahead log, one synced write per chunk; deleted by a
//!   compaction filter that knows what is in use. What the store does.
//! * `tomb`: the same, deleted by range tombstones.
//! * `blob`: the same with BlobDB, values out of the tree.
//! * `ingest`: one sorted table file per chunk, ingested, then one synced record that it exists.
//!
//! For each: rate and latency of durable puts, bytes the disk was made to write per byte stored, rate of reading groups
//! in a scattered order, then every second chunk is deleted and the space that came back is compared with what
//! should have. A last part shows what one more ingest costs when thousands of files are already there.
//!
//! `cargo bench --profile dev -p aftercast-store --bench layout -- [MEBIBYTES [FOLDER]]`

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use rocksdb::{
    ColumnFamilyDescriptor, CompactOptions, CompactionDecision, DB, DBCompressionType, IngestExternalFileOptions,
    Options, ReadOptions, SstFileWriter, WriteBatch, WriteOptions,
};

const GROUP: usize = 64 * 1024;
/// A four-second chunk at 5 Mb/s: 38 groups and a bit.
const CHUNK: usize = 2_500_000;

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let mebibytes: u64 = args.first().map_or(Ok(512), |arg| arg.parse())?;
    let parent = args.get(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let chunks = mebibytes * 1024 * 1024 / CHUNK as u64;
    let data = noise(CHUNK);
    println!("{chunks} chunks of {CHUNK} bytes per layout, in {}", parent.display());
    println!(
        "{:8} {:>9} {:>9} {:>9} {:>9} {:>10} {:>9} {:>10} {:>10}",
        "layout", "put MB/s", "p50 ms", "p99 ms", "write x", "read MB/s", "stored x", "delete ms", "back %"
    );
    for name in ["raw", "log", "tomb", "blob", "ingest"] {
        let dir = tempfile::tempdir_in(&parent)?;
        let layout: Box<dyn Layout> = match name {
            "raw" => Box::new(Raw(dir.path().to_owned())),
            "log" => Box::new(Tree::open(dir.path(), false, true)?),
            "tomb" => Box::new(Tree::open(dir.path(), false, false)?),
            "blob" => Box::new(Tree::open(dir.path(), true, false)?),
            _ => Box::new(Ingest::open(dir.path())?),
        };
        measure(name, &*layout, dir.path(), chunks, &data)?;
    }
    many_files(&parent)
}

trait Layout {
    fn put(&self, chunk: u64, data: &[u8]) -> Result<(), Error>;
    fn get(&self, chunk: u64, group: u32) -> Result<usize, Error>;
    /// Deletes and gets the space back, as an eviction needs.
    fn delete(&self, chunks: &[u64]) -> Result<(), Error>;
    fn settle(&self) -> Result<(), Error>;
}

fn measure(name: &str, layout: &dyn Layout, dir: &Path, chunks: u64, data: &[u8]) -> Result<(), Error> {
    let stored = (chunks * CHUNK as u64) as f64;
    let before = bytes_written()?;
    let mut each = Vec::new();
    let start = Instant::now();
    for chunk in 0..chunks {
        let at = Instant::now();
        layout.put(chunk, data)?;
        each.push(at.elapsed());
    }
    let put = start.elapsed();
    layout.settle()?;
    let written = (bytes_written()? - before) as f64;
    each.sort();

    let groups = CHUNK.div_ceil(GROUP) as u64;
    let reads = (chunks * groups).min(8192);
    let start = Instant::now();
    let mut read = 0;
    for n in 0..reads {
        let pick = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % (chunks * groups);
        read += layout.get(pick / groups, (pick % groups) as u32)?;
    }
    let reading = start.elapsed();

    let full = disk_used(dir)?;
    let half: Vec<u64> = (0..chunks).step_by(2).collect();
    let start = Instant::now();
    layout.delete(&half)?;
    let deleting = start.elapsed();
    let back = full.saturating_sub(disk_used(dir)?) as f64 / (half.len() as f64 * CHUNK as f64);

    println!(
        "{name:8} {:9.1} {:9.1} {:9.1} {:9.2} {:10.0} {:9.2} {:10.0} {:10.0}",
        stored / 1e6 / put.as_secs_f64(),
        millis(each[each.len() / 2]),
        millis(each[each.len() * 99 / 100]),
        written / stored,
        read as f64 / 1e6 / reading.as_secs_f64(),
        full as f64 / stored,
        millis(deleting),
        back * 100.0,
    );
    Ok(())
}

struct Raw(PathBuf);

impl Layout for Raw {
    fn put(&self, chunk: u64, data: &[u8]) -> Result<(), Error> {
        let mut file = File::create(self.0.join(chunk.to_string()))?;
        file.write_all(data)?;
        file.sync_data()?;
        Ok(File::open(&self.0)?.sync_all()?)
    }
    fn get(&self, chunk: u64, group: u32) -> Result<usize, Error> {
        use std::os::unix::fs::FileExt;
        let file = File::open(self.0.join(chunk.to_string()))?;
        let mut buf = vec![0; GROUP];
        Ok(file.read_at(&mut buf, u64::from(group) * GROUP as u64)?)
    }
    fn delete(&self, chunks: &[u64]) -> Result<(), Error> {
        for chunk in chunks {
            fs::remove_file(self.0.join(chunk.to_string()))?;
        }
        Ok(())
    }
    fn settle(&self) -> Result<(), Error> {
        Ok(())
    }
}

struct Tree {
    db: DB,
    /// Chunks that the compaction filter removes; none where tombstones do.
    dead: Option<Arc<RwLock<BTreeSet<u64>>>>,
}

impl Tree {
    fn open(dir: &Path, blob: bool, filter: bool) -> Result<Self, Error> {
        let mut options = base_options();
        let dead = filter.then(Arc::default);
        if let Some(dead) = &dead {
            let dead: Arc<RwLock<BTreeSet<u64>>> = Arc::clone(dead);
            options.set_num_levels(2);
            options.set_level_zero_file_num_compaction_trigger(1);
            options.set_compaction_filter("dead", move |_, key: &[u8], _: &[u8]| {
                let chunk = key.first_chunk().map(|chunk| u64::from_be_bytes(*chunk));
                let is_dead = chunk.is_some_and(|chunk| dead.read().is_ok_and(|dead| dead.contains(&chunk)));
                if is_dead { CompactionDecision::Remove } else { CompactionDecision::Keep }
            });
        }
        options.set_enable_blob_files(blob);
        options.set_min_blob_size(4096);
        options.set_enable_blob_gc(true);
        options.set_blob_gc_age_cutoff(1.0);
        options.set_blob_gc_force_threshold(0.5);
        options.set_blob_file_size(64 << 20);
        Ok(Self { db: DB::open(&options, dir)?, dead })
    }
}

impl Layout for Tree {
    fn put(&self, chunk: u64, data: &[u8]) -> Result<(), Error> {
        let mut batch = WriteBatch::default();
        for (group, bytes) in data.chunks(GROUP).enumerate() {
            batch.put(key(chunk, group as u32), bytes);
        }
        Ok(self.db.write_opt(batch, &synced())?)
    }
    fn get(&self, chunk: u64, group: u32) -> Result<usize, Error> {
        Ok(self.db.get_pinned_opt(key(chunk, group), &uncached())?.ok_or("lost")?.len())
    }
    fn delete(&self, chunks: &[u64]) -> Result<(), Error> {
        let mut batch = WriteBatch::default();
        match &self.dead {
            Some(dead) => dead.write().map_err(|_| "poisoned")?.extend(chunks),
            None => chunks.iter().for_each(|&chunk| batch.delete_range(key(chunk, 0), key(chunk + 1, 0))),
        }
        self.db.write_opt(batch, &synced())?;
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(rocksdb::BottommostLevelCompaction::Force);
        self.db.compact_range_opt(None::<&[u8]>, None::<&[u8]>, &options);
        Ok(())
    }
    fn settle(&self) -> Result<(), Error> {
        self.db.flush()?;
        Ok(self.db.wait_for_compact(&rocksdb::WaitForCompactOptions::default())?)
    }
}

struct Ingest {
    db: DB,
    dir: PathBuf,
}

impl Ingest {
    fn open(dir: &Path) -> Result<Self, Error> {
        let mut groups = base_options();
        groups.set_disable_auto_compactions(true);
        let families =
            [ColumnFamilyDescriptor::new("groups", groups), ColumnFamilyDescriptor::new("default", base_options())];
        Ok(Self { db: DB::open_cf_descriptors(&base_options(), dir, families)?, dir: dir.to_owned() })
    }

    fn write(&self, chunk: u64, data: &[u8]) -> Result<PathBuf, Error> {
        let path = self.dir.join(format!("{chunk}.new"));
        let options = base_options();
        let mut writer = SstFileWriter::create(&options);
        writer.open(&path)?;
        for (group, bytes) in data.chunks(GROUP).enumerate() {
            writer.put(key(chunk, group as u32), bytes)?;
        }
        writer.finish()?;
        Ok(path)
    }

    fn drop_files(&self, chunk: u64) -> Result<(), Error> {
        let groups = self.db.cf_handle("groups").ok_or("no groups")?;
        Ok(self.db.delete_file_in_range_cf(&groups, key(chunk, 0), key(chunk, u32::MAX))?)
    }

    fn adopt(&self, paths: Vec<PathBuf>) -> Result<(), Error> {
        let mut how = IngestExternalFileOptions::default();
        how.set_move_files(true);
        let groups = self.db.cf_handle("groups").ok_or("no groups")?;
        Ok(self.db.ingest_external_file_cf_opts(&groups, &how, paths)?)
    }
}

impl Layout for Ingest {
    fn put(&self, chunk: u64, data: &[u8]) -> Result<(), Error> {
        self.adopt(vec![self.write(chunk, data)?])?;
        let mut batch = WriteBatch::default();
        batch.put(chunk.to_be_bytes(), [1]);
        Ok(self.db.write_opt(batch, &synced())?)
    }
    fn get(&self, chunk: u64, group: u32) -> Result<usize, Error> {
        let groups = self.db.cf_handle("groups").ok_or("no groups")?;
        Ok(self.db.get_pinned_cf_opt(&groups, key(chunk, group), &uncached())?.ok_or("lost")?.len())
    }
    fn delete(&self, chunks: &[u64]) -> Result<(), Error> {
        let mut batch = WriteBatch::default();
        for chunk in chunks {
            batch.delete(chunk.to_be_bytes());
        }
        self.db.write_opt(batch, &synced())?;
        chunks.iter().try_for_each(|&chunk| self.drop_files(chunk))
    }
    fn settle(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// What one more ingested file costs when many are there: RocksDB copies its list of files for each. In processor time
/// of the whole process, as wall time is mostly that of the syncs.
fn many_files(parent: &Path) -> Result<(), Error> {
    const SAMPLE: u64 = 50;
    let dir = tempfile::tempdir_in(parent)?;
    let store = Ingest::open(dir.path())?;
    println!("\n{:>8} {:>12} {:>15} {:>15}", "files", "ingest ms", "ingest cpu ms", "delete cpu ms");
    let mut next = 0;
    for files in [1_000, 4_000, 16_000] {
        while next < files {
            let lot = (next..files).take(1000).map(|chunk| store.write(chunk, b"small"));
            let lot: Vec<PathBuf> = lot.collect::<Result<_, _>>()?;
            next += lot.len() as u64;
            store.adopt(lot)?;
        }
        let (start, cpu) = (Instant::now(), processor_time()?);
        for _ in 0..SAMPLE {
            store.adopt(vec![store.write(next, b"small")?])?;
            next += 1;
        }
        let ingest = (start.elapsed(), processor_time()? - cpu);
        let cpu = processor_time()?;
        for chunk in next - SAMPLE..next {
            store.drop_files(chunk)?;
        }
        let delete = processor_time()? - cpu;
        let each = |span: Duration| millis(span) / SAMPLE as f64;
        println!("{files:8} {:12.2} {:15.2} {:15.2}", each(ingest.0), each(ingest.1), each(delete));
    }
    Ok(())
}

/// User and system time of this process, to the hundredth of a second that Linux counts in.
fn processor_time() -> Result<Duration, Error> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, behind_name) = stat.rsplit_once(')').ok_or("no stat")?;
    let ticks: Vec<u64> = behind_name.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(Duration::from_millis(ticks.iter().sum::<u64>() * 10))
}

fn base_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_compression_type(DBCompressionType::None);
    options.set_write_buffer_size(32 << 20);
    options.set_max_total_wal_size(64 << 20);
    options
}

fn key(chunk: u64, group: u32) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&chunk.to_be_bytes());
    key[8..].copy_from_slice(&group.to_be_bytes());
    key
}

fn synced() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    options
}

fn uncached() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.fill_cache(false);
    options
}

/// Incompressible bytes, as video is.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend(state.to_le_bytes());
    }
    out.truncate(len);
    out
}

fn bytes_written() -> Result<u64, Error> {
    let io = fs::read_to_string("/proc/self/io")?;
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).ok_or("no write_bytes")?;
    Ok(line.parse()?)
}

fn disk_used(dir: &Path) -> Result<u64, Error> {
    use std::os::unix::fs::MetadataExt;
    let mut sum = 0;
    for entry in fs::read_dir(dir)? {
        sum += entry?.metadata()?.blocks() * 512;
    }
    Ok(sum)
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}
