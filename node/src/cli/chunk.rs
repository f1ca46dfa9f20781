//! `aftercast chunk`: a recorded transport stream cut into canonical chunks, offline.
//!
//! One line per chunk on standard output, as JSON with `--json`, and the reception's counters last.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use aftercast_protocol::ccf::{
    Anchor, AuxObject, Chunk, ChunkPlan, ChunkState, Chunker, ChunkerEvent, Mark, ProgramSelect, WithheldReason, object,
};
use aftercast_protocol::ids::{ChunkCid, ChunkIndex, TimelineId};
use aftercast_protocol::time::{Pts33, Ticks};
use aftercast_protocol::ts::ReceptionCounters;
use anyhow::Context;
use serde::Serialize;

use super::EXIT_USAGE;
use super::input;
use super::progress::Progress;

/// Bytes read at once: few enough to be in the core's own cache when they are cut.
const READ_BYTES: usize = 128 * 1024;
/// Interval where neither plan nor flag says one.
const DEFAULT_INTERVAL: Ticks = Ticks(360_000);

/// Cut a transport stream into canonical chunks.
#[derive(Debug, clap::Args)]
pub struct ChunkArgs {
    /// Transport stream file, or - for standard input
    input: PathBuf,
    /// Distance of chunk boundaries in media time: 4s, 480ms (default 4s, or the plan's)
    #[arg(long, value_parser = parse_interval)]
    interval: Option<Ticks>,
    /// Programme, by number or name (default: the first with video, or else with sound)
    #[arg(long)]
    program: Option<ProgramSelect>,
    /// Plan file with profile, interval and anchors (default: profile taken from the input)
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Write the plan that was used, with the boundaries found as anchors
    #[arg(long, value_name = "FILE")]
    write_plan: Option<PathBuf>,
    /// Write each clean chunk as an object `CID.ccf` into this folder, and what came beside it as `CID.aux`
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print JSON lines
    #[arg(long)]
    json: bool,
}

/// A number of seconds (`4s`) or milliseconds (`480ms`).
fn parse_interval(text: &str) -> Result<Ticks, String> {
    let (number, ticks_per_unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 90),
        None => (text.strip_suffix('s').unwrap_or(text), 90_000),
    };
    let ticks = number.parse::<i64>().ok().and_then(|number| number.checked_mul(ticks_per_unit));
    ticks.filter(|&ticks| ticks > 0).map(Ticks).ok_or_else(|| "write it as 4s or 480ms".to_owned())
}

/// One line of `--json`.
#[derive(Serialize)]
struct Line<'a> {
    timeline: TimelineId,
    index: ChunkIndex,
    pts: Pts33,
    duration: Ticks,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cid: Option<ChunkCid>,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<WithheldReason>,
    /// Splices and changes of the programme's map in it.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    marks: &'a [Mark],
    /// What the programme has beside its core, where it has something.
    #[serde(skip_serializing_if = "Option::is_none")]
    aux: Option<AuxLine>,
}

/// An aux object in numbers.
#[derive(Serialize)]
struct AuxLine {
    streams: usize,
    units: usize,
    bytes: usize,
}

/// The last line of `--json`.
#[derive(Serialize)]
struct Summary<'a> {
    summary: &'a ReceptionCounters,
}

impl<'a> Line<'a> {
    fn of(chunk: &'a Chunk) -> Self {
        let (bytes, cid, state, reason) = match &chunk.state {
            ChunkState::Clean(clean) => (Some(clean.bytes.len()), Some(clean.cid), "clean", None),
            ChunkState::Withheld(withheld) => (None, None, "withheld", Some(withheld.reason)),
        };
        let Chunk { timeline, index, pts, duration, .. } = *chunk;
        let in_numbers =
            |aux: &AuxObject| AuxLine { streams: aux.streams.len(), units: aux.units.len(), bytes: aux.bytes() };
        let aux = chunk.aux.as_deref().map(in_numbers);
        Self { timeline, index, pts, duration, bytes, cid, state, reason, marks: &chunk.marks, aux }
    }

    fn for_people(&self) -> String {
        let Self { timeline, index, pts, duration, .. } = self;
        let place = format!("{timeline}:{index}  pts {pts}  {:.3} s", duration.as_secs_f64());
        let mut text = match (self.bytes, self.cid, self.reason) {
            (Some(bytes), Some(cid), _) => format!("{place}  clean  {bytes} bytes  {cid}"),
            (_, _, Some(reason)) => format!("{place}  withheld ({reason})"),
            _ => place,
        };
        for Mark { pts, kind, .. } in self.marks {
            text += &format!("\n    {kind} at pts {pts}");
        }
        text
    }
}

/// Runs the command.
///
/// # Errors
/// Input that cannot be read, files that cannot be written.
pub fn run(args: ChunkArgs) -> anyhow::Result<ExitCode> {
    let (mut chunker, known) = match prepare(&args) {
        Ok(prepared) => prepared,
        Err(wrong) => {
            eprintln!("error: {wrong:#}");
            return Ok(ExitCode::from(EXIT_USAGE));
        }
    };
    if let Some(dir) = &args.out {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    let (mut input, total) = input::open(&args.input)?;
    let mut done = Cut::new(&args, Progress::new("cutting", total), known);
    let mut buf = vec![0; READ_BYTES];
    loop {
        let count = match input.read(&mut buf) {
            Ok(0) => break,
            Ok(count) => count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e).with_context(|| format!("cannot read {}", args.input.display())),
        };
        chunker.push(&buf[..count]);
        done.progress.advance(count as u64);
        done.drain(&mut chunker)?;
    }
    chunker.finish();
    done.drain(&mut chunker)?;
    done.end(&chunker)
}

/// The chunker, and the anchors that its plan already has.
fn prepare(args: &ChunkArgs) -> anyhow::Result<(Chunker, Vec<Anchor>)> {
    let program = args.program.clone().unwrap_or(ProgramSelect::First);
    let Some(path) = &args.plan else {
        let interval = args.interval.unwrap_or(DEFAULT_INTERVAL);
        return Ok((Chunker::discover(interval, program)?, Vec::new()));
    };
    let text = fs::read_to_string(path).with_context(|| format!("cannot read plan {}", path.display()))?;
    let plan: ChunkPlan = toml::from_str(&text).with_context(|| format!("plan {}", path.display()))?;
    if let Some(interval) = args.interval
        && interval != plan.interval
    {
        anyhow::bail!("--interval is {interval} ticks, plan {} says {}", path.display(), plan.interval);
    }
    let anchors = plan.anchors.clone();
    Ok((Chunker::new(plan, program).with_context(|| format!("plan {}", path.display()))?, anchors))
}

/// The run so far.
struct Cut<'a> {
    args: &'a ChunkArgs,
    progress: Progress,
    anchors: Vec<Anchor>,
    /// Where the last clean chunk ended: what begins there is certain too.
    clean_end: Option<(TimelineId, Pts33)>,
    clean: u64,
    mismatch: bool,
}

impl<'a> Cut<'a> {
    fn new(args: &'a ChunkArgs, progress: Progress, anchors: Vec<Anchor>) -> Self {
        Self { args, progress, anchors, clean_end: None, clean: 0, mismatch: false }
    }

    fn drain(&mut self, chunker: &mut Chunker) -> anyhow::Result<()> {
        while let Some(event) = chunker.poll_event() {
            match event {
                ChunkerEvent::Chunk(chunk) => self.chunk(&chunk)?,
                ChunkerEvent::ProfileMismatch { reason } => {
                    self.mismatch = true;
                    self.progress.note(&format!("profile mismatch: {reason}"));
                }
                ChunkerEvent::Timeline { from, to } => {
                    self.progress.note(&format!("timeline {from} became {to}"));
                }
                ChunkerEvent::Mark(_) => {}
            }
        }
        Ok(())
    }

    fn chunk(&mut self, chunk: &Chunk) -> anyhow::Result<()> {
        let line = Line::of(chunk);
        self.progress.print(&if self.args.json { serde_json::to_string(&line)? } else { line.for_people() })?;
        let follows_clean = self.clean_end == Some((chunk.timeline, chunk.pts));
        self.clean_end = None;
        if let ChunkState::Clean(clean) = &chunk.state {
            self.clean += 1;
            let end = (chunk.pts.0 as i64 + chunk.duration.0).rem_euclid(aftercast_protocol::time::PTS_WRAP as i64);
            self.clean_end = Some((chunk.timeline, Pts33(end as u64)));
            if let Some(dir) = &self.args.out {
                write_whole(&dir.join(format!("{}.ccf", clean.cid)), &object::encode(&clean.bytes))?;
                if let Some(aux) = &chunk.aux {
                    write_whole(&dir.join(format!("{}.aux", clean.cid)), &aux.encode())?;
                }
            }
        }
        if follows_clean || self.clean_end.is_some() {
            let Chunk { timeline, index, pts, opening: digest, .. } = *chunk;
            self.anchors.push(Anchor { timeline, index, pts, digest });
        }
        Ok(())
    }

    fn end(mut self, chunker: &Chunker) -> anyhow::Result<ExitCode> {
        let counters = chunker.counters();
        if self.args.json {
            self.progress.print(&serde_json::to_string(&Summary { summary: counters })?)?;
        } else {
            self.progress.print(&format!(
                "{} chunks clean, {} withheld; {} packets, {} lost, {} errored, {} scrambled, {} duplicates",
                counters.clean_chunks,
                counters.withheld_chunks,
                counters.packets,
                counters.lost_packets,
                counters.errored_packets,
                counters.scrambled_packets,
                counters.duplicates,
            ))?;
        }
        let Some(plan) = chunker.plan() else {
            if !self.mismatch {
                match &self.args.program {
                    Some(program) => self.progress.note(&format!("error: programme {program} was not found")),
                    None => self.progress.note("error: no programme with video or sound was found"),
                }
            }
            return Ok(ExitCode::FAILURE);
        };
        if let Some(path) = &self.args.write_plan {
            self.anchors.sort_by_key(|anchor| (anchor.timeline, anchor.index));
            self.anchors.dedup();
            let plan = ChunkPlan { anchors: self.anchors, ..plan.clone() };
            write_whole(path, toml::to_string(&plan)?.as_bytes())?;
        }
        let refused = self.mismatch && self.clean == 0;
        Ok(if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// Writes a file so that it is there whole or not at all.
fn write_whole(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    fs::write(&part, bytes)
        .and_then(|()| fs::rename(&part, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_seconds_or_milliseconds() {
        assert_eq!(parse_interval("4s"), Ok(Ticks(360_000)));
        assert_eq!(parse_interval("480ms"), Ok(Ticks(43_200)));
        for wrong in ["", "s", "-4s", "0s", "4m", "9999999999999999s"] {
            assert!(parse_interval(wrong).is_err(), "{wrong}");
        }
    }
}
