//! What the demo sends, and what may be expected of it: worked out from files, apart from the running programs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};

use super::DemoOptions;
use super::homes::{Home, Reception};
use crate::broadcast::{generate, own};
use crate::impair::{DamageLog, impair};
use crate::media::Pace;
use crate::media::ffmpeg::{Decoded, decode_both};
use crate::processes::{ChunkLine, ChunkState, Programs, chunk_file};

/// Decides every random choice of the impairments.
const SEED: u64 = 20_240_229;
/// How much before and behind a chunk must be whole for it to be certain, beside the way from its target to its
/// picture: half a second, in which the sound of its edges lies.
const EDGE_TICKS: u64 = 45_000;
/// A boundary is certain where the picture group before it was seen whole: broadcasts have one every second or so.
const GROUP_TICKS: u64 = 90_000;

/// The broadcast.
pub struct Programme {
    /// A transport stream.
    pub path: PathBuf,
    /// Its core streams, for the seed.
    pub plan: PathBuf,
    /// The same without the boundaries that are known only once it was recorded.
    pub bare_plan: PathBuf,
    /// Its chunks, whole ones only, in order.
    pub chunks: Vec<ChunkLine>,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Media time, microseconds.
    pub micros: u64,
}

/// A reception of it, and what is known of it.
pub struct Received {
    /// What is sent to the home.
    pub bytes: Arc<[u8]>,
    /// When.
    pub pace: Pace,
    /// CIDs of the chunks that a cut of the file gives, by number.
    pub clean: BTreeMap<u64, String>,
    /// Chunks of the source that no impairment harmed, by number.
    pub unharmed: BTreeSet<u64>,
}

impl Programme {
    /// Makes or reads the broadcast and cuts it.
    pub fn prepare(programs: &Programs, options: &DemoOptions, folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("programme.ts");
        let bytes = match &options.input {
            Some(input) => {
                let mut bytes = own(input)?;
                let end = Pace::from_pcr(&bytes).bytes_due(u64::from(options.spec.seconds) * 1_000_000);
                bytes.truncate(usize::try_from(end).unwrap_or(usize::MAX));
                bytes
            }
            None => {
                let made = generate(&options.spec, &options.out)?;
                std::fs::read(&made).with_context(|| made.display().to_string())?
            }
        };
        std::fs::write(&path, &bytes).with_context(|| path.display().to_string())?;
        let plan = folder.join("plan.toml");
        let mut chunks = chunk_file(programs, &path, &plan, Some(&options.interval))?;
        chunks.retain(|line| line.state == ChunkState::Clean);
        if chunks.len() < 4 {
            bail!("only {} whole chunks of {} are in the programme: it is too short", chunks.len(), options.interval);
        }
        let mut bare: toml::Table = toml::from_str(&std::fs::read_to_string(&plan)?)?;
        bare.insert("anchors".into(), toml::Value::Array(Vec::new()));
        let bare_plan = folder.join("bare-plan.toml");
        std::fs::write(&bare_plan, toml::to_string(&bare)?)?;
        let micros = Pace::from_pcr(&bytes).duration();
        Ok(Self { path, plan, bare_plan, chunks, bytes, micros })
    }

    /// CIDs of its chunks, by number.
    pub fn cids(&self) -> BTreeMap<u64, String> {
        crate::processes::clean_cids(&self.chunks)
    }

    /// Every frame and every stretch of sound of it.
    pub fn frames(&self) -> anyhow::Result<(Decoded, Decoded)> {
        Ok(decode_both(&self.path)?)
    }

    /// Lets a home receive it.
    pub fn receive(
        &self,
        programs: &Programs,
        home: &Home,
        reception: &Reception,
        interval_ticks: u64,
        folder: &Path,
    ) -> anyhow::Result<Received> {
        let impaired = impair(&self.bytes, &reception.recipes, SEED)?;
        let path = folder.join(format!("{}.ts", home.name));
        std::fs::write(&path, &impaired.bytes).with_context(|| path.display().to_string())?;
        // The plan that a home begins with: nobody has recorded anything before it.
        let lines = chunk_file(programs, &path, &self.bare_plan, None)?;
        let unharmed = self.chunks.iter().filter(|line| is_unharmed(&impaired.log, line, interval_ticks));
        Ok(Received {
            bytes: impaired.bytes.into(),
            pace: impaired.pace,
            clean: crate::processes::clean_cids(&lines),
            unharmed: unharmed.map(|line| line.index).collect(),
        })
    }
}

/// Whether all of a chunk arrived, and all between its target and its first picture, where a missing picture would
/// have been cut at instead.
fn is_unharmed(log: &DamageLog, line: &ChunkLine, interval_ticks: u64) -> bool {
    let before = line.pts % interval_ticks + GROUP_TICKS;
    // Where a reception begins, the first boundary is an edge: there may have been another picture before it.
    let edge = before + interval_ticks;
    let starts_after = log.start.as_ref().and_then(|edge| edge.pts).is_some_and(|pts| pts + edge > line.pts);
    let ends_before =
        log.end.as_ref().and_then(|edge| edge.pts).is_some_and(|pts| pts < line.pts + line.duration + EDGE_TICKS);
    !starts_after && !ends_before && !log.harms_span(line.pts, line.duration, before, EDGE_TICKS)
}
