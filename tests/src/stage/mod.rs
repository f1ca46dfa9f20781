//! What an end-to-end test begins with: a short programme, a seed, and a tap that gives the programme to whoever
//! records, as far as the test lets it.
//!
//! Everything is under one temporary folder, which stays where the test fails.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aftercast_protocol::ids::ChunkCid;
use anyhow::{Context, ensure};
use tempfile::TempDir;

use crate::broadcast::{BroadcastSpec, generate};
use crate::device::cut;
use crate::media::Tap;
use crate::media::compare::{pictures, sound};
use crate::media::ffmpeg::{Decoded, decode_both};
use crate::processes::{
    ChannelOptions, ChunkLine, ChunkState, NodeOptions, NodeProcess, NodeStatus, PATIENCE, PlayReport, Programs,
    SeedOptions, SeedProcess, SeedStatus, chunk_file,
};

/// The only channel of a stage.
pub const CHANNEL: &str = "one";
/// Distance of its targets.
const INTERVAL: &str = "1s";

/// The broadcast of a stage.
#[derive(Debug)]
pub struct Programme {
    /// A transport stream.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: Arc<[u8]>,
    /// Its core streams and targets, for the seed.
    pub plan: PathBuf,
    /// Its whole chunks, in order.
    pub chunks: Vec<ChunkLine>,
    /// For each of them, the number of bytes after which a recorder has it.
    pub ready: Vec<usize>,
    /// Chunks that its beginning and its end cut off.
    pub edges: u64,
}

impl Programme {
    /// Every picture and every stretch of sound of it.
    ///
    /// # Errors
    /// FFmpeg failed.
    pub fn frames(&self) -> anyhow::Result<(Decoded, Decoded)> {
        Ok(decode_both(&self.path)?)
    }

    /// Number of its whole chunks.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.chunks.len() as u64
    }

    /// What its whole chunks are asked for by: CID and length.
    ///
    /// # Errors
    /// A CID was not understood.
    pub fn ids(&self) -> anyhow::Result<Vec<(ChunkCid, u64)>> {
        let named = self.chunks.iter().filter_map(|line| Some((line.cid.as_ref()?, line.bytes?)));
        named.map(|(cid, len)| Ok((cid.parse()?, len))).collect()
    }

    /// Bytes of its whole chunks.
    #[must_use]
    pub fn chunk_bytes(&self) -> u64 {
        self.chunks.iter().filter_map(|line| line.bytes).sum()
    }

    /// Whether all pictures from the chunk at place `from` on, and all sound from the next on, are what was played.
    ///
    /// The sound's first second is left out because an AAC decoder fills noise from a state that counts from where it
    /// began, and the encoder uses noise until it has settled (FFmpeg on the programme's own sound, cut, shows the same).
    ///
    /// # Errors
    /// What differs.
    pub fn check_played(&self, from: usize, (video, audio): &(Decoded, Decoded)) -> anyhow::Result<()> {
        let source = self.frames()?;
        let begin = |n: usize| self.chunks.get(n).map_or(0, |line| line.pts as i64);
        let end = self.chunks.last().map_or(0, |line| (line.pts + line.duration) as i64);
        let seen = pictures(&source.0.frames, &video.frames, &(begin(from)..end));
        let heard = sound(&source.1.frames, &audio.frames, &(begin(from.max(1))..end));
        ensure!(seen.is_whole() && heard.is_whole(), "pictures {seen:?}, sound {heard:?}");
        Ok(())
    }
}

/// A seed, a programme and its tap. Nodes are the test's own.
#[derive(Debug)]
pub struct Stage {
    /// The programs under test.
    pub programs: Programs,
    /// The broadcast.
    pub programme: Programme,
    /// The seed.
    pub seed: SeedProcess,
    /// Gives the broadcast.
    pub tap: Tap,
    folder: Folder,
}

/// Kept for a look at its logs where a test fails.
#[derive(Debug)]
struct Folder(TempDir);

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.disable_cleanup(true);
            eprintln!("logs and data of this test are kept in {}", self.0.path().display());
        }
    }
}

impl Stage {
    /// A programme of so many seconds, kept in `cache` between runs, and a seed that offers it, set up as `change` says.
    ///
    /// # Errors
    /// Something cannot be made or started.
    pub fn new(cache: &str, seconds: u32, change: impl FnOnce(&mut SeedOptions)) -> anyhow::Result<Self> {
        Self::of(&BroadcastSpec::small(seconds), INTERVAL, Path::new(cache), change)
    }

    /// The same for another programme and another distance of targets.
    ///
    /// # Errors
    /// Something cannot be made or started.
    pub fn of(
        broadcast: &BroadcastSpec,
        interval: &str,
        cache: &Path,
        change: impl FnOnce(&mut SeedOptions),
    ) -> anyhow::Result<Self> {
        let programs = Programs::find()?;
        let folder = Folder(tempfile::tempdir()?);
        let path = generate(broadcast, cache)?;
        let plan = folder.0.path().join("plan.toml");
        let mut chunks = chunk_file(&programs, &path, &plan, Some(interval))?;
        let whole = |line: &ChunkLine| line.state == ChunkState::Clean;
        let edges = chunks.iter().filter(|line| !whole(line)).count() as u64;
        chunks.retain(whole);
        ensure!(chunks.len() >= 4, "only {} whole chunks", chunks.len());
        let bytes: Arc<[u8]> = std::fs::read(&path).with_context(|| path.display().to_string())?.into();
        let ready: Vec<usize> = cut(&bytes, &plan)?.into_iter().map(|(at, _)| at).collect();
        ensure!(ready.len() == chunks.len(), "{} chunks come out, {} are expected", ready.len(), chunks.len());
        let channel = ChannelOptions { id: CHANNEL.into(), interval: interval.into(), plan: plan.clone() };
        let mut options = SeedOptions::one(channel);
        change(&mut options);
        let seed = SeedProcess::start(&programs, &folder.0.path().join("seed"), options)?;
        let tap = Tap::new(Arc::clone(&bytes))?;
        Ok(Self { programs, programme: Programme { path, bytes, plan, chunks, ready, edges }, seed, tap, folder })
    }

    /// The folder of everything.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.0.path()
    }

    /// A node of its own subscriber that is online and records the channel, from what `options` say.
    ///
    /// # Errors
    /// It does not come up, or its recording was refused.
    pub fn home(&self, options: NodeOptions) -> anyhow::Result<Home> {
        let folder = self.folder().join(&options.name);
        let node = NodeProcess::start(&self.programs, &folder, options, &self.seed)?;
        node.wait_online()?;
        let id = node.record(CHANNEL)?;
        Ok(Home { node, id })
    }

    /// Options of a node that receives what the tap gives.
    #[must_use]
    pub fn at_the_tap(&self, name: &str) -> NodeOptions {
        NodeOptions::new(name).input(CHANNEL, &self.tap.url())
    }

    /// Homes that record from the tap, each waiting at it.
    ///
    /// # Errors
    /// One does not come up.
    pub fn recorders<const N: usize>(&self, names: [&str; N]) -> anyhow::Result<[Home; N]> {
        let homes = names.iter().map(|name| self.home(self.at_the_tap(name))).collect::<anyhow::Result<Vec<_>>>()?;
        self.wait_at_the_tap(N)?;
        homes.try_into().ok().context("as many homes as names")
    }

    /// Waits until so many homes listen at the tap.
    ///
    /// # Errors
    /// They did not in time.
    pub fn wait_at_the_tap(&self, count: usize) -> anyhow::Result<()> {
        ensure!(self.tap.wait_clients(count, PATIENCE), "{count} homes do not listen");
        Ok(())
    }

    /// Lets the tap flow until a recorder at it has so many chunks whole.
    pub fn flow(&self, chunks: u64) {
        let nth = usize::try_from(chunks).unwrap_or(usize::MAX).checked_sub(1);
        self.tap.open_to(nth.map_or(0, |n| self.programme.ready.get(n).copied().unwrap_or(usize::MAX)));
    }

    /// Waits until the seed holds so many chunks; its status then.
    ///
    /// # Errors
    /// It does not in time.
    pub fn wait_stored(&self, chunks: u64) -> anyhow::Result<SeedStatus> {
        self.wait_seed(&format!("{chunks} chunks are stored"), |status| status.sum(|one| one.stored) >= chunks)
    }

    /// Waits until the seed holds so many chunks that two subscribers vouch for; its status then.
    ///
    /// # Errors
    /// It does not in time.
    pub fn wait_confirmed(&self, chunks: u64) -> anyhow::Result<SeedStatus> {
        self.wait_seed(&format!("{chunks} chunks are confirmed and stored"), |status| {
            status.sum(|one| one.confirmed).min(status.sum(|one| one.stored)) >= chunks
        })
    }

    fn wait_seed(&self, what: &str, look: impl Fn(&SeedStatus) -> bool) -> anyhow::Result<SeedStatus> {
        self.seed.wait_for(what, PATIENCE, |status| look(status).then(|| status.clone()))
    }
}

/// A node that records.
#[derive(Debug)]
pub struct Home {
    /// The node.
    pub node: NodeProcess,
    /// Id of its recording.
    pub id: String,
}

impl Home {
    /// Waits until it has received so many chunks whole.
    ///
    /// # Errors
    /// It does not in time.
    pub fn wait_clean(&self, chunks: u64) -> anyhow::Result<()> {
        let enough = |status: &NodeStatus| (status.recording(&self.id)?.clean >= chunks).then_some(());
        self.node.wait_for(&format!("{chunks} chunks are received"), PATIENCE, enough)
    }

    /// Plays the whole recording as FFmpeg's HLS player does.
    ///
    /// # Errors
    /// It cannot be played, or not without complaints.
    pub fn play(&self) -> anyhow::Result<(Decoded, Decoded)> {
        decode_quietly(&self.node.playlist(&self.id)?)
    }

    /// Plays the whole recording as one stream.
    ///
    /// # Errors
    /// It cannot be played, or not without complaints.
    pub fn play_stream(&self) -> anyhow::Result<(Decoded, Decoded)> {
        decode_quietly(&self.node.stream(&self.id)?)
    }

    /// Waits until it fetches nothing for players.
    ///
    /// # Errors
    /// It still does after a while.
    pub fn wait_at_rest(&self) -> anyhow::Result<()> {
        let until = Instant::now() + PATIENCE;
        // Bytes on their way change no version of the status, so it is looked at again and again.
        while self.node.status()?.fetch.missing > 0 {
            ensure!(Instant::now() < until, "{} still fetches", self.node.name());
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// What its players got so far.
    ///
    /// # Errors
    /// It does not answer.
    pub fn played(&self) -> anyhow::Result<PlayReport> {
        Ok(self.node.status()?.played(&self.id))
    }

    /// Ends its recording, and waits until it knows all of it: this many chunks, which it can play and may fetch.
    ///
    /// # Errors
    /// It does not in time.
    pub fn finish(&self, chunks: u64) -> anyhow::Result<()> {
        self.node.stop_recording(&self.id)?;
        let known = |status: &NodeStatus| {
            let manifest = status.recording(&self.id)?.manifest.as_ref()?;
            (manifest.complete && manifest.chunks >= chunks && manifest.granted >= chunks).then_some(())
        };
        self.node.wait_for(&format!("all {chunks} chunks are in its manifest and its grant"), PATIENCE, known)
    }
}

fn decode_quietly(url: &str) -> anyhow::Result<(Decoded, Decoded)> {
    let decoded = decode_both(Path::new(url))?;
    ensure!(decoded.0.complaints.is_empty(), "FFmpeg complains: {:?}", decoded.0.complaints);
    Ok(decoded)
}
