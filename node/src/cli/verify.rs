//! `aftercast verify`: chunk objects, and the aux objects beside them, checked to the last bit.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use aftercast_protocol::ccf::{AuxObject, check_canonical, object};
use aftercast_protocol::ids::ChunkCid;
use anyhow::Context;

use super::progress::Progress;

/// Endings of the file names of chunk objects, and of what came beside the chunks.
const EXTENSION: &str = "ccf";
const AUX_EXTENSION: &str = "aux";

/// Check chunk objects: their hashes, their canonical form, and that a name that is a CID is theirs.
#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    /// Folders of chunk objects (*.ccf) and aux objects (*.aux), or single objects
    #[arg(required = true, value_name = "DIR|FILE")]
    paths: Vec<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// Folders that cannot be read. Bad objects are reported and give exit code 1.
pub fn run(args: VerifyArgs) -> anyhow::Result<ExitCode> {
    let mut files = Vec::new();
    for path in &args.paths {
        list(path, &mut files)?;
    }
    let total = files.iter().filter_map(|file| fs::metadata(file).ok()).map(|meta| meta.len()).sum();
    let mut progress = Progress::new("verifying", Some(total));
    let mut bad = 0u64;
    for file in &files {
        match check(file) {
            Ok(bytes) => progress.advance(bytes),
            Err(e) => {
                bad += 1;
                progress.print(&format!("{}: {e:#}", file.display()))?;
            }
        }
    }
    progress.print(&format!("{} objects sound, {bad} bad", files.len() as u64 - bad))?;
    if files.is_empty() {
        progress.note("error: no chunk objects found");
    }
    Ok(if bad == 0 && !files.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Files that a path stands for: itself, or the chunk objects in it, in order of their names.
fn list(path: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let cannot = || format!("cannot list {}", path.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(path).with_context(cannot)? {
        let file = entry.with_context(cannot)?.path();
        if file.extension().is_some_and(|extension| extension == EXTENSION || extension == AUX_EXTENSION) {
            found.push(file);
        }
    }
    found.sort();
    files.append(&mut found);
    Ok(())
}

/// Checks one object; returns its length.
fn check(path: &Path) -> anyhow::Result<u64> {
    let bytes = fs::read(path)?;
    let named: Option<ChunkCid> = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
    if path.extension().is_some_and(|extension| extension == AUX_EXTENSION) {
        return match (named, AuxObject::decode(&bytes)?.chunk) {
            (Some(named), Some(of)) if named != of => anyhow::bail!("belongs to {of}"),
            _ => Ok(bytes.len() as u64),
        };
    }
    let object = object::decode(&bytes)?;
    check_canonical(object.bytes)?;
    match named {
        Some(named) if named != object.cid => anyhow::bail!("holds {}", object.cid),
        _ => Ok(bytes.len() as u64),
    }
}
