//! What the demo sends, and what may be expected of it: worked out from files, apart from the running programs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};

use super::DemoOptions;
use super::homes::{Home, Reception};
use crate::broadcast::{generate, own};
use crate::impair::{Evidence, Span, impair};
use crate::media::Pace;
use crate::media::ffmpeg::{Decoded, decode_both};
use crate::processes::{ChunkLine, ChunkState, Programs, chunk_file};

/// Decides every random choice of the impairments.
const SEED: u64 = 20_240_229;

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
    /// What proves each of its chunks.
    pub evidence: Evidence,
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
    /// Chunks of the source that nothing keeps from being proven, by number.
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
        let evidence = Evidence::of(&bytes).context("the programme has no key picture")?;
        Ok(Self { path, plan, bare_plan, chunks, bytes, evidence, micros })
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
        folder: &Path,
    ) -> anyhow::Result<Received> {
        let impaired = impair(&self.bytes, &reception.recipes, SEED)?;
        let path = folder.join(format!("{}.ts", home.name));
        std::fs::write(&path, &impaired.bytes).with_context(|| path.display().to_string())?;
        // The plan that a home begins with: nobody has recorded anything before it.
        let lines = chunk_file(programs, &path, &self.bare_plan, None)?;
        // Without an anchor the picture group before a chunk must be whole too (CCF 12).
        let span = |line: &ChunkLine| Span { pts: line.pts, duration: line.duration, anchored: false };
        let unharmed = self.chunks.iter().filter(|line| !self.evidence.excuses(&impaired.log, span(line)));
        Ok(Received {
            bytes: impaired.bytes.into(),
            pace: impaired.pace,
            clean: crate::processes::clean_cids(&lines),
            unharmed: unharmed.map(|line| line.index).collect(),
        })
    }
}
