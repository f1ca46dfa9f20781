//! The file that an offline command reads.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use anyhow::Context as _;

/// Opens a file, or standard input for `-`; its length where that is known.
///
/// # Errors
/// It cannot be opened.
pub fn open(path: &Path) -> anyhow::Result<(Box<dyn Read>, Option<u64>)> {
    if path == Path::new("-") {
        return Ok((Box::new(io::stdin().lock()), None));
    }
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let total = file.metadata().ok().filter(fs::Metadata::is_file).map(|meta| meta.len());
    Ok((Box::new(file), total))
}
