//! One receiver's view of a broadcast: seeded, composable changes to a transport stream, and the truth about what they
//! harmed.
//!
//! ```text
//! source --> FFmpeg --> PES contents --> clocks --> multiplex --> duplicates --> order --> air --> tuner --> framing
//! ```
//!
//! Recipes run in the order in which these things happen to a real broadcast, whatever order they are given in; several
//! of one stage run as given. The same source, recipes and seed give the same bytes, except that `remux` and `hls`
//! depend on the FFmpeg that is installed.
//!
//! Promise: a packet of the source that did not reach the receiver as it was sent is in the [`DamageLog`], and nothing
//! else is. Not promised: speed on files of many gigabytes; everything is in memory.

mod audio;
mod clocks;
mod content;
mod evidence;
mod ffmpeg;
mod frame;
mod log;
mod mux;
pub mod packet;
mod pes;
mod picture;
mod prng;
pub mod psi;
mod reception;
mod recipe;
mod rtp;
mod source;
pub mod splice;

pub use evidence::{Evidence, Span};
pub use log::{DamageLog, Edge, Harm, HarmKind, Invisible, Shift};
pub use prng::Prng;
pub use recipe::{Recipe, RecipeError, Share, Ticks};

use crate::media::ffmpeg::FfmpegError;
use crate::media::pace::{Pace, Pacer};
use packet::{Fate, PACKET, Packet};
use source::Source;

/// A reception.
#[derive(Debug, Clone)]
pub struct Impaired {
    /// What the receiver gets, as it would stand in a file.
    pub bytes: Vec<u8>,
    /// The RTP datagrams it gets, in the order of arrival; put in order, they are `bytes`. `None` where none of the
    /// recipes is about RTP.
    pub datagrams: Option<Vec<Vec<u8>>>,
    /// What it does not get.
    pub log: DamageLog,
    /// Media time of its bytes on the source's clock: what keeps several receptions of one source in step.
    pub pace: Pace,
}

/// A recipe could not be applied to this source. A retry does not help, except for [`ImpairError::Ffmpeg`].
#[derive(Debug, thiserror::Error)]
pub enum ImpairError {
    /// No five sync bytes in step.
    #[error("the source is no transport stream")]
    NoTransportStream,
    /// A clock recipe without a picture to count from.
    #[error("the source has no video with time stamps")]
    NoVideo,
    /// A jump behind the last key frame.
    #[error("the source has no key frame {after} after its first picture")]
    NoKeyFrame {
        /// The time asked for.
        after: Ticks,
    },
    /// PES packets can only be written anew from a stream without holes.
    #[error("PID {pid:#x} of the source is damaged: PES packets cannot be written anew")]
    DamagedSource {
        /// Where.
        pid: u16,
    },
    /// Audio of an unknown kind, or damaged.
    #[error("audio frames of PID {pid:#x} (stream type {kind:#x}) cannot be told apart")]
    Audio {
        /// Where.
        pid: u16,
        /// stream_type.
        kind: u8,
    },
    /// No audio that could be taken out or copied, or no room for it in its map's packet.
    #[error("the source has no audio that could be taken out or copied, or its programme map has no room")]
    NoAudio,
    /// FFmpeg is missing or failed.
    #[error(transparent)]
    Ffmpeg(#[from] FfmpegError),
}

/// Applies recipes to a recording. `seed` decides every random choice; each recipe draws its own numbers.
pub fn impair(source: &[u8], recipes: &[Recipe], seed: u64) -> Result<Impaired, ImpairError> {
    let (source, packets) = Source::read(source);
    if packets.is_empty() {
        return Err(ImpairError::NoTransportStream);
    }
    let log = DamageLog::default();
    let mut reception = Reception { source, packets, log, ends: Ends::default(), framing: 188, network: None };
    let mut ordered: Vec<_> = recipes.iter().enumerate().collect();
    ordered.sort_by_key(|(_, recipe)| stage(recipe));
    for (index, recipe) in ordered {
        let repeated = recipes[..index].iter().filter(|earlier| *earlier == recipe).count();
        let mut prng = Prng::new(seed, &format!("{recipe}#{repeated}"));
        reception.apply(recipe, &mut prng)?;
    }
    Ok(reception.finish(seed))
}

fn stage(recipe: &Recipe) -> u32 {
    use Recipe::*;
    match recipe {
        Remux(_) | Hls(_) => 0,
        Repacketise | PesHeaders | Regroup(_) | AddDelimiters | RemoveDelimiters => 1,
        PtsShift(_) | PtsWrap(_) | Jump { .. } => 2,
        DropNulls | AddNulls(_) | PcrRestamp(_) | PcrJitter(_) | Counters | Flags | SiNoise(_) | PidRemap
        | PmtVersion(_) | ExtraAudio | DropAudio => 3,
        Duplicates(_) => 4,
        Reorder(_) => 5,
        Loss { .. } | Single(_) | Lose16(_) | Truncate(_) | Tei(_) | Flips(_) => 6,
        LateStart(_) | EarlyEnd(_) => 7,
        RtpLoss(_) | RtpReorder(_) | RtpDuplicates(_) | Framing(_) => 8,
    }
}

struct Reception {
    source: Source,
    packets: Vec<Packet>,
    log: DamageLog,
    ends: Ends,
    framing: usize,
    network: Option<rtp::Network>,
}

/// Torn packets before the first and behind the last whole one.
#[derive(Default)]
struct Ends {
    before: Vec<u8>,
    behind: Vec<u8>,
}

impl Reception {
    fn apply(&mut self, recipe: &Recipe, prng: &mut Prng) -> Result<(), ImpairError> {
        use Recipe::*;
        let Reception { source, packets, log, .. } = self;
        match *recipe {
            Remux(by) => ffmpeg::remux(packets, log, source, by)?,
            Hls(length) => ffmpeg::hls(packets, log, source, length)?,
            Repacketise => content::repacketise(packets, source, prng)?,
            PesHeaders => content::headers(packets, source, prng)?,
            Regroup(most) => content::regroup(packets, source, most, prng)?,
            AddDelimiters => content::delimiters(packets, source, true)?,
            RemoveDelimiters => content::delimiters(packets, source, false)?,
            PtsShift(by) => clocks::shift(packets, log, source, 0, by.0),
            PtsWrap(after) => {
                let by = clocks::until_wrap(packets, after)?;
                clocks::shift(packets, log, source, 0, by);
            }
            Jump { at, by } => clocks::jump(packets, log, source, at, by)?,
            DropNulls => packets.retain(|packet| packet.pid() != packet::NULL_PID),
            AddNulls(share) => mux::add_nulls(packets, share, prng),
            PcrRestamp(by) => clocks::restamp(packets, by),
            PcrJitter(reach) => clocks::jitter(packets, reach, prng),
            Counters => mux::rephase_counters(packets, prng),
            Flags => mux::shuffle_flags(packets, prng),
            SiNoise(share) => mux::si_noise(packets, share, prng),
            Duplicates(share) => mux::duplicate(packets, share, prng),
            PidRemap => mux::remap_pids(packets, prng),
            PmtVersion(times) => mux::change_pmt_version(packets, times, prng),
            Reorder(window) => mux::reorder(packets, window, prng),
            Loss { rate, burst } => reception::lose(packets, rate, burst, prng),
            Single(count) => reception::harm_core(packets, source, count, Fate::Lost, prng),
            Lose16(count) => reception::lose_sixteen(packets, source, count, prng),
            Truncate(count) => reception::harm_core(packets, source, count, Fate::Truncated(0), prng),
            Tei(share) => reception::mark_errors(packets, share, prng),
            Flips(count) => reception::harm_core(packets, source, count, Fate::Flipped, prng),
            LateStart(by) => self.start_late(by, prng),
            EarlyEnd(by) => self.end_early(by, prng),
            ExtraAudio => mux::add_audio(packets).ok_or(ImpairError::NoAudio)?,
            DropAudio => mux::drop_audio(packets).ok_or(ImpairError::NoAudio)?,
            RtpLoss(share) => self.network.get_or_insert_default().loss = Some(share),
            RtpReorder(window) => self.network.get_or_insert_default().reorder = window,
            RtpDuplicates(share) => self.network.get_or_insert_default().duplicates = Some(share),
            Framing(bytes) => self.framing = bytes as usize,
        }
        Ok(())
    }

    /// The packets of which the source's time is below a limit; invented packets have the time of those before them.
    fn until(&self, micros: u64) -> usize {
        let at_or_after =
            |packet: &Packet| !packet.origin.is_empty() && self.source.time(packet.origin.start) >= micros;
        self.packets.iter().position(at_or_after).unwrap_or(self.packets.len())
    }

    fn start_late(&mut self, by: Ticks, prng: &mut Prng) {
        let cut = self.until(micros(by));
        if cut == 0 {
            return;
        }
        self.ends.before = tail_of(&self.packets[cut - 1], prng);
        self.packets.drain(..cut);
        self.log.start = self.packets.iter().find(|packet| !packet.origin.is_empty()).map(|packet| self.edge(packet));
    }

    fn end_early(&mut self, by: Ticks, prng: &mut Prng) {
        let end = self.packets.iter().map(|packet| self.source.time(packet.origin.start)).max().unwrap_or(0);
        let cut = self.until(end.saturating_sub(micros(by)));
        if by.0 == 0 || cut == self.packets.len() {
            return;
        }
        self.log.end =
            self.packets[cut..].iter().find(|packet| !packet.origin.is_empty()).map(|packet| self.edge(packet));
        self.ends.behind = self.packets[cut].data[..prng.below(PACKET)].to_vec();
        self.packets.truncate(cut);
    }

    fn edge(&self, packet: &Packet) -> Edge {
        let offset = self.source.offsets[packet.origin.start as usize] as u64;
        Edge { offset, pts: self.source.times(packet.origin.start, packet.source_pid).map(|(pts, _)| pts) }
    }

    fn finish(mut self, seed: u64) -> Impaired {
        let prng = &mut Prng::new(seed, "framing");
        let datagrams = self.network.map(|network| {
            self.ends = Ends::default();
            rtp::send(&mut self.packets, network, &mut Prng::new(seed, "rtp"))
        });
        self.log.record(&self.source, &self.packets);
        let mut bytes = self.ends.before;
        let mut pacer = Pacer::default();
        for (count, packet) in self.packets.iter().enumerate() {
            if !packet.origin.is_empty() {
                pacer.push(bytes.len() as u64, self.source.time(packet.origin.start));
            }
            let sent = match packet.fate {
                Fate::Lost => continue,
                Fate::Truncated(kept) => &packet.data[..usize::from(kept)],
                _ => &packet.data[..],
            };
            if self.framing == 192 {
                // Arrival time in 27 MHz ticks, 30 bits, as such recorders write it; here only a steady count.
                bytes.extend((count as u32 & 0x3fff_ffff).to_be_bytes());
            }
            bytes.extend(sent);
            if self.framing == 204 {
                bytes.extend((0..16).map(|_| prng.next() as u8));
            }
        }
        bytes.extend(self.ends.behind);
        Impaired { pace: pacer.finish(bytes.len() as u64), bytes, datagrams, log: self.log }
    }
}

fn tail_of(packet: &Packet, prng: &mut Prng) -> Vec<u8> {
    if packet.fate == Fate::Lost { Vec::new() } else { packet.data[1 + prng.below(PACKET - 1)..].to_vec() }
}

fn micros(ticks: Ticks) -> u64 {
    (ticks.0.max(0) as u64).saturating_mul(100) / 9
}
