//! Bytes in, chunks out: the streams of one programme received, cut, and written in canonical form.
//!
//! ```text
//! bytes -> framer -> programme tables -> PIDs of the core roles
//!                 -> video PES -> units  -> cutter: chunks of video ---+
//!                 -> audio PES -> frames -> queue per audio -----------+-> assemble: canonical bytes, CID, unit index
//!                 -> all others -> units beside the core, which wait for their chunk: its aux object
//! ```
//!
//! Radio has no video: the frames of its first audio are cut like pictures, each a random access point, and written
//! like any other audio.
//!
//! Memory is bounded by `limits`: one unit in progress, the open chunk, and what waits for its audio.

use std::collections::VecDeque;

use super::assemble::{AudioQueue, assemble};
use super::aux_gather::{AuxGather, Place};
use super::chunk::{ChunkState, ChunkerEvent, MarkKind, WithheldReason};
use super::cutter::{CutChunk, Cutter};
use super::marks::WaitingMarks;
use super::profile::{Anchor, AudioCodec, ChunkPlan, PlanError, Profile, ProgramSelect, VideoCodec, check_interval};
use super::roles;
use crate::limits::{MAX_BYTES_WAITING, MAX_CHUNKS_WAITING};
use crate::time::{MediaTime, Pts33, TICKS_PER_SECOND, Ticks};
use crate::ts::ReceptionCounters;
use crate::ts::audio::{AudioFrames, Framing};
use crate::ts::continuity::{Continuity, ContinuityCheck};
use crate::ts::framer::{Framer, PACKET_BYTES};
use crate::ts::packet::{NULL_PID, PAT_PID, Packet};
use crate::ts::pes::{PesEvent, PesParser, PesTimes};
use crate::ts::program::{ProgramFinder, Wanted};
use crate::ts::psi::ProgramMap;
use crate::ts::video::{HoleCause, VideoUnits};

/// Cuts the transport stream of one channel into chunks.
///
/// Push bytes of any size in; after each push, and after [`Self::finish`], drain [`Self::poll_event`].
#[derive(Debug)]
pub struct Chunker {
    framer: Framer,
    counters: ReceptionCounters,
    core: Core,
}

impl Chunker {
    /// A chunker for a channel whose plan is known.
    ///
    /// # Errors
    /// A plan that cannot be used.
    pub fn new(plan: ChunkPlan, program: ProgramSelect) -> Result<Self, PlanError> {
        plan.check()?;
        let cutter = Cutter::new(plan.interval, &plan.anchors);
        Ok(Self::with(Core::new(plan.interval, Some(plan), cutter, program)))
    }

    /// A chunker that takes the profile from the input's first programme map.
    ///
    /// # Errors
    /// An interval out of range.
    pub fn discover(interval: Ticks, program: ProgramSelect) -> Result<Self, PlanError> {
        check_interval(interval)?;
        Ok(Self::with(Core::new(interval, None, Cutter::new(interval, &[]), program)))
    }

    fn with(core: Core) -> Self {
        Self { framer: Framer::default(), counters: ReceptionCounters::default(), core }
    }

    /// Takes bytes of the transport stream in.
    pub fn push(&mut self, bytes: &[u8]) {
        let core = &mut self.core;
        self.framer.push(bytes, &mut self.counters, |packet, counters| core.packet(packet, counters));
    }

    /// Ends the input: what is complete comes out, the rest is withheld.
    pub fn finish(&mut self) {
        let core = &mut self.core;
        self.framer.finish(&mut self.counters, |packet, counters| core.packet(packet, counters));
        core.finish(&mut self.counters);
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<ChunkerEvent> {
        self.core.events.pop_front()
    }

    /// Learns boundaries that others found.
    pub fn add_anchors(&mut self, anchors: &[Anchor]) {
        self.core.cutter.add_anchors(anchors);
        if let Some(plan) = &mut self.core.plan {
            plan.anchors.extend_from_slice(anchors);
            plan.anchors.sort_by_key(|anchor| (anchor.timeline, anchor.index));
            plan.anchors.dedup();
            let surplus = plan.anchors.len().saturating_sub(crate::limits::MAX_PLAN_ANCHORS);
            plan.anchors.drain(..surplus);
        }
    }

    /// The plan in force; `None` while its profile is not discovered yet.
    #[must_use]
    pub fn plan(&self) -> Option<&ChunkPlan> {
        self.core.plan.as_ref()
    }

    /// What the reception was like so far.
    #[must_use]
    pub fn counters(&self) -> &ReceptionCounters {
        &self.counters
    }
}

/// What a PID carries, as the packet loop needs to know it.
const IGNORED: u8 = 0;
const TABLE: u8 = 1;
/// Stream `n` of the profile is `FIRST_STREAM + n`.
const FIRST_STREAM: u8 = 2;
/// Beside the core.
const AUX: u8 = u8::MAX;

#[derive(Debug)]
struct VideoInput {
    check: ContinuityCheck,
    pes: PesParser,
    units: VideoUnits,
    /// Newest decoding time received, unwrapped: tells which wrap an audio's first time belongs to.
    clock: Option<MediaTime>,
    /// Media time that passed in all, clock changes left out: what audio is awaited by.
    passed: i64,
}

#[derive(Debug)]
struct AudioInput {
    check: ContinuityCheck,
    pes: PesParser,
    queue: AudioQueue,
}

#[derive(Debug)]
struct Core {
    interval: Ticks,
    plan: Option<ChunkPlan>,
    finder: ProgramFinder,
    roles: Vec<u8>,
    table_pids: Vec<u16>,
    pids: Option<roles::RolePids>,
    video: VideoInput,
    audio: Vec<AudioInput>,
    cutter: Cutter,
    waiting: VecDeque<CutChunk>,
    aux: AuxGather,
    marks: WaitingMarks,
    /// The map does not fit the profile.
    mismatch: Option<String>,
    /// The sample rate class of MPEG audios was taken from their headers (or given by the plan).
    rates_known: bool,
    events: VecDeque<ChunkerEvent>,
}

impl Core {
    fn new(interval: Ticks, plan: Option<ChunkPlan>, cutter: Cutter, program: ProgramSelect) -> Self {
        let wanted = match program {
            ProgramSelect::First => Wanted::First,
            ProgramSelect::Number(number) => Wanted::Number(number),
            ProgramSelect::Name(name) => Wanted::Name(name),
        };
        let mut roles = vec![IGNORED; 1 << 13];
        roles[usize::from(PAT_PID)] = TABLE;
        let mut core = Self {
            interval,
            finder: ProgramFinder::new(wanted),
            roles,
            table_pids: vec![PAT_PID],
            pids: None,
            video: VideoInput {
                check: ContinuityCheck::default(),
                pes: PesParser::default(),
                units: VideoUnits::avc(false),
                clock: None,
                passed: 0,
            },
            audio: Vec::new(),
            cutter,
            waiting: VecDeque::new(),
            aux: AuxGather::default(),
            marks: WaitingMarks::default(),
            mismatch: None,
            rates_known: plan.is_some(),
            events: VecDeque::new(),
            plan: None,
        };
        if let Some(plan) = plan {
            core.adopt(plan);
        }
        core
    }

    fn adopt(&mut self, plan: ChunkPlan) {
        let strip_filler = plan.profile.strip_filler;
        self.video.units = match plan.profile.video {
            Some(VideoCodec::Hevc) => VideoUnits::hevc(strip_filler),
            Some(VideoCodec::Mpeg2) => VideoUnits::mpeg2(),
            Some(VideoCodec::Avc) | None => VideoUnits::avc(strip_filler),
        };
        self.audio = plan
            .profile
            .audio
            .iter()
            .map(|audio| AudioInput {
                check: ContinuityCheck::default(),
                pes: PesParser::default(),
                queue: AudioQueue::new(AudioFrames::new(framing(audio.codec))),
            })
            .collect();
        self.plan = Some(plan);
    }

    fn packet(&mut self, bytes: &[u8; PACKET_BYTES], counters: &mut ReceptionCounters) {
        let Ok(packet) = Packet::parse(bytes) else {
            counters.errored_packets += 1;
            return;
        };
        match self.roles[usize::from(packet.pid)] {
            IGNORED => counters.null_packets += u64::from(packet.pid == NULL_PID),
            TABLE => self.table(&packet, counters),
            FIRST_STREAM => self.video(&packet, counters),
            AUX => self.aux(&packet, counters),
            stream => self.audio(usize::from(stream - FIRST_STREAM) - 1, &packet, counters),
        }
    }

    fn table(&mut self, packet: &Packet<'_>, counters: &mut ReceptionCounters) {
        let map = self.finder.push(packet, counters, roles::has_video, roles::has_audio).cloned();
        if let Some(map) = map {
            self.take_map(&map);
        }
        if !self.finder.pids().eq(self.table_pids.iter().copied()) {
            self.listen_to_tables();
        }
    }

    fn listen_to_tables(&mut self) {
        for pid in std::mem::take(&mut self.table_pids) {
            let role = &mut self.roles[usize::from(pid)];
            *role = if *role == TABLE { IGNORED } else { *role };
        }
        self.table_pids = self.finder.pids().collect();
        for pid in &self.table_pids {
            let role = &mut self.roles[usize::from(*pid)];
            // A map that lies on a stream's own PID must not silence it.
            *role = if *role == IGNORED { TABLE } else { *role };
        }
    }

    fn take_map(&mut self, map: &ProgramMap) {
        let found = match &self.plan {
            Some(plan) => roles::assign(&plan.profile, map),
            None => roles::discover(map).and_then(|profile| {
                let pids = roles::assign(&profile, map);
                self.rates_known = profile.audio.iter().all(|audio| audio.codec != AudioCodec::Mpeg);
                self.adopt(ChunkPlan { interval: self.interval, profile, anchors: Vec::new() });
                pids
            }),
        };
        match found {
            Ok(pids) => {
                self.mismatch = None;
                if self.pids.as_ref() != Some(&pids) {
                    self.assign(pids);
                }
                self.listen_beside_core(map);
                self.mark(MarkKind::ProgramMap, None);
            }
            Err(reason) => {
                self.aux.forget_map();
                self.roles.iter_mut().filter(|role| **role >= FIRST_STREAM).for_each(|role| *role = IGNORED);
                self.pids = None;
                if self.mismatch.as_ref() != Some(&reason) {
                    self.mismatch = Some(reason.clone());
                    self.events.push_back(ChunkerEvent::ProfileMismatch { reason });
                }
            }
        }
    }

    /// Listens to other PIDs. A stream that moved, or comes back, has a hole there.
    fn assign(&mut self, pids: roles::RolePids) {
        let before = self.pids.take();
        self.roles.iter_mut().filter(|role| **role >= FIRST_STREAM).for_each(|role| *role = IGNORED);
        if before.as_ref().map(|before| before.video) != Some(pids.video) {
            self.video.check = ContinuityCheck::default();
            self.video.pes = PesParser::default();
            self.video.units.hole(true, HoleCause::Edge);
        }
        for (number, input) in self.audio.iter_mut().enumerate() {
            let was = before.as_ref().and_then(|before| before.audio.get(number).copied());
            if was != pids.audio.get(number).copied() {
                input.check = ContinuityCheck::default();
                input.pes = PesParser::default();
                input.queue.frames.hole(HoleCause::Edge);
            }
        }
        for (number, pid) in pids.audio.iter().enumerate() {
            if let Some(pid) = pid {
                self.roles[usize::from(*pid)] = FIRST_STREAM + 1 + number as u8;
            }
        }
        if let Some(pid) = pids.video {
            self.roles[usize::from(pid)] = FIRST_STREAM;
        }
        self.pids = Some(pids);
    }

    fn listen_beside_core(&mut self, map: &ProgramMap) {
        self.aux.follow_map(map);
        self.roles.iter_mut().filter(|role| **role == AUX).for_each(|role| *role = IGNORED);
        for pid in self.aux.pids() {
            let role = &mut self.roles[usize::from(pid)];
            // A core stream or a table goes before what claims its PID too.
            *role = if *role == IGNORED { AUX } else { *role };
        }
    }

    fn aux(&mut self, packet: &Packet<'_>, counters: &mut ReceptionCounters) {
        // What comes before the first unit of the core belongs to no chunk.
        let Some(clock) = self.video.clock else { return };
        let place = Place { clock: Pts33::of(clock), epoch: self.cutter.epoch };
        if let Some(cue) = self.aux.packet(packet, place, counters) {
            self.mark(cue.kind.into(), cue.pts);
        }
    }

    /// Notes that something lies at a received PTS, or where reception stands.
    fn mark(&mut self, kind: MarkKind, pts: Option<Pts33>) {
        let Some(clock) = self.video.clock else { return };
        if let Some(mark) = self.marks.note(kind, pts, clock, &self.cutter) {
            self.events.push_back(ChunkerEvent::Mark(mark));
        }
    }

    fn video(&mut self, packet: &Packet<'_>, counters: &mut ReceptionCounters) {
        if packet.splice_countdown == Some(0) {
            self.mark(MarkKind::Splice, None);
        }
        let VideoInput { check, pes, units, clock, passed } = &mut self.video;
        let Some(payload) = follow(check, packet, counters, |cause| {
            units.hole(packet.unit_start && cause == HoleCause::Loss, cause);
            pes.hole();
        }) else {
            return;
        };
        pes.push(packet.unit_start, payload, |event| match event {
            PesEvent::Short => units.hole(true, HoleCause::Loss),
            PesEvent::Start(times) => {
                units.pes_start(times);
                follow_clock(clock, passed, times);
            }
            PesEvent::Data(bytes) => units.push(bytes),
            PesEvent::Unusable { scrambled } => {
                units.hole(true, if scrambled { HoleCause::Scrambled } else { HoleCause::Loss });
            }
        });
        self.cut(counters);
    }

    fn cut(&mut self, counters: &mut ReceptionCounters) {
        let mut any = false;
        while let Some(unit) = self.video.units.poll() {
            self.cutter.push(unit);
            any = true;
        }
        if any {
            self.collect();
            self.emit(false, counters);
        }
    }

    fn collect(&mut self) {
        while let Some((from, to)) = self.cutter.renamed.pop_front() {
            self.events.push_back(ChunkerEvent::Timeline { from, to });
        }
        while let Some(mut chunk) = self.cutter.poll() {
            chunk.cut_at = self.video.passed;
            self.waiting.push_back(chunk);
        }
    }

    fn audio(&mut self, number: usize, packet: &Packet<'_>, counters: &mut ReceptionCounters) {
        let is_radio = number == 0 && self.plan.as_ref().is_some_and(|plan| plan.profile.video.is_none());
        let Some(AudioInput { check, pes, queue }) = self.audio.get_mut(number) else { return };
        let Some(payload) = follow(check, packet, counters, |cause| {
            queue.frames.hole(cause);
            pes.hole();
        }) else {
            return;
        };
        // Which wrap audio times belong to is told by the video, or by a radio's first audio.
        let VideoInput { clock, passed, .. } = &mut self.video;
        if clock.is_none() && !is_radio {
            return;
        }
        queue.heard(*passed);
        pes.push(packet.unit_start, payload, |event| match event {
            PesEvent::Short => queue.frames.hole(HoleCause::Loss),
            PesEvent::Start(times) => {
                queue.frames.pes_start(times.pts);
                if is_radio {
                    follow_clock(clock, passed, times);
                }
            }
            PesEvent::Data(bytes) => queue.frames.push(bytes, clock.unwrap_or(MediaTime(0))),
            PesEvent::Unusable { scrambled } => {
                queue.frames.hole(if scrambled { HoleCause::Scrambled } else { HoleCause::Loss });
            }
        });
        let new = queue.collect();
        if new == 0 {
            return;
        }
        if is_radio {
            queue.newest(new).for_each(|(frame, data)| self.cutter.push_frame(&frame, data));
            self.collect();
        }
        self.emit(false, counters);
    }

    /// Emits the chunks whose audio is complete, or will not come.
    fn emit(&mut self, ended: bool, counters: &mut ReceptionCounters) {
        while let Some(chunk) = self.waiting.front() {
            let passed = self.video.passed;
            let bytes: usize = self.waiting.iter().map(|chunk| chunk.bytes).sum();
            let force = ended || self.waiting.len() > MAX_CHUNKS_WAITING || bytes > MAX_BYTES_WAITING;
            self.audio.iter_mut().for_each(|input| input.queue.follow_clock(chunk, passed));
            let ready = self.audio.iter().all(|input| input.queue.is_ready(chunk, passed));
            if !ready && !force {
                return;
            }
            self.settle_rates();
            let (Some(chunk), Some(plan)) = (self.waiting.pop_front(), &self.plan) else { return };
            let profile: &Profile = &plan.profile;
            let queues: Vec<&AudioQueue> = self.audio.iter().map(|input| &input.queue).collect();
            let (timeline, index) = self.cutter.name(&chunk);
            let mut done = assemble(profile, &chunk, &queues, passed, timeline, index);
            if let (ChunkState::Withheld(withheld), Some(_)) = (&mut done.state, &self.mismatch) {
                withheld.reason = WithheldReason::Profile;
            }
            let (cid, written) = match &done.state {
                ChunkState::Clean(clean) => (Some(clean.cid), &clean.bytes[..]),
                ChunkState::Withheld(withheld) => (None, withheld.salvaged.as_deref().unwrap_or_default()),
            };
            *if cid.is_some() { &mut counters.clean_chunks } else { &mut counters.withheld_chunks } += 1;
            done.aux = self.aux.take(&chunk, cid, written, counters).map(Box::new);
            done.marks = self.marks.take(&chunk, timeline);
            self.events.push_back(ChunkerEvent::Chunk(done));
            self.audio.iter_mut().for_each(|input| input.queue.forget_used(&chunk));
        }
    }

    /// MPEG audio below 32 kHz has a stream type of its own; a discovered profile learns it from the first frames.
    fn settle_rates(&mut self) {
        if self.rates_known {
            return;
        }
        self.rates_known = true;
        let Some(plan) = &mut self.plan else { return };
        for (audio, input) in plan.profile.audio.iter_mut().zip(&self.audio) {
            audio.low_rate =
                audio.codec == AudioCodec::Mpeg && input.queue.first_rate().is_some_and(|rate| rate < 32_000);
        }
    }

    fn finish(&mut self, counters: &mut ReceptionCounters) {
        self.video.units.finish();
        while let Some(unit) = self.video.units.poll() {
            self.cutter.push(unit);
        }
        self.collect();
        self.emit(false, counters);
        self.cutter.finish();
        self.collect();
        self.emit(true, counters);
    }
}

/// Follows the clock of what is cut.
fn follow_clock(clock: &mut Option<MediaTime>, passed: &mut i64, times: PesTimes) {
    let Some(dts) = times.dts.or(times.pts) else { return };
    let now = clock.map_or(MediaTime(dts.0 as i64), |clock| dts.unwrap_near(clock));
    let step = clock.map_or(0, |clock| now.0 - clock.0);
    *passed += if (0..=TICKS_PER_SECOND).contains(&step) { step } else { 0 };
    *clock = Some(now);
}

pub(super) fn framing(codec: AudioCodec) -> Framing {
    match codec {
        AudioCodec::AacAdts => Framing::Adts,
        AudioCodec::AacLatm => Framing::Latm,
        AudioCodec::Mpeg => Framing::Mpeg,
        AudioCodec::Ac3 => Framing::Ac3,
        AudioCodec::Eac3 => Framing::Eac3,
    }
}

/// Judges a packet of a core stream; returns its payload if it is to be used.
fn follow<'a>(
    check: &mut ContinuityCheck,
    packet: &Packet<'a>,
    counters: &mut ReceptionCounters,
    mut hole: impl FnMut(HoleCause),
) -> Option<&'a [u8]> {
    let payload = packet.payload?;
    match check.next(packet.counter, payload) {
        Continuity::Duplicate => {
            counters.duplicates += 1;
            return None;
        }
        Continuity::Lost(count) => {
            counters.discontinuities += 1;
            counters.lost_packets += u64::from(count);
            hole(HoleCause::Loss);
        }
        Continuity::First | Continuity::Follows => {}
    }
    if packet.scrambled {
        counters.scrambled_packets += 1;
        hole(HoleCause::Scrambled);
        return None;
    }
    Some(payload)
}
