//! `aftercast chunk`: what a reception should be cut into, worked out apart from the daemons.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use serde::Deserialize;

use super::Programs;
use super::programs::output;

/// Whether a chunk came whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChunkState {
    /// It did.
    Clean,
    /// It did not.
    Withheld,
}

/// A line of `aftercast chunk --json`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ChunkLine {
    /// Its timeline.
    pub timeline: u64,
    /// Its number.
    pub index: u64,
    /// PTS of its opening picture, 33 bits of 90 kHz.
    pub pts: u64,
    /// Ticks of 90 kHz to the next opening picture.
    pub duration: u64,
    /// Bytes, where clean.
    pub bytes: Option<u64>,
    /// CID, where clean.
    pub cid: Option<String>,
    /// Whether it is clean.
    pub state: ChunkState,
    /// Why it is not.
    pub reason: Option<String>,
}

/// Cuts a file and gives its chunks in order. `plan` is read, or with `write_plan` written.
///
/// # Errors
/// The program failed, or wrote something unexpected.
pub fn chunk_file(
    programs: &Programs,
    file: &Path,
    plan: &Path,
    write_plan: Option<&str>,
) -> anyhow::Result<Vec<ChunkLine>> {
    let mut command = Command::new(&programs.node);
    command.arg("chunk").arg(file).arg("--json");
    match write_plan {
        Some(interval) => command.args(["--interval", interval]).arg("--write-plan").arg(plan),
        None => command.arg("--plan").arg(plan),
    };
    let text = output(&mut command)?;
    let lines = text.lines().filter(|line| !line.starts_with("{\"summary\""));
    lines
        .map(|line| serde_json::from_str(line).with_context(|| format!("a line of `aftercast chunk`: {line}")))
        .collect()
}

/// CIDs of the clean chunks, by place.
#[must_use]
pub fn clean_cids(lines: &[ChunkLine]) -> BTreeMap<u64, String> {
    lines.iter().filter_map(|line| Some((line.index, line.cid.clone()?))).collect()
}
