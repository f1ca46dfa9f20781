//! The control stream, `/aftercast/ctl/1`: one frame per message, at most [`MAX_CTL_FRAME_BYTES`].
//!
//! ```text
//! node                                   seed                      node                      node
//!   Hello (certificate, capability) ->                               Hello (grants)   <->
//!   Record                          ->                               Have             <->
//!                  <- Recording (id, plan, grant)                    Stat             <->
//!   Reports                         ->
//!                  <- Duty, Facts, Acked
//!   Play                            ->
//!                  <- Session (head, sources, grant), Manifest pages
//! ```
//!
//! Requests carry a number of the asker's choice; the answer repeats it. Unknown messages are ignored and counted, so
//! that versions can meet.

use minicbor::{Decode, Encode};

use crate::ccf::Profile;
use crate::duty::{Capability, RawDuty};
use crate::grant::{AccessDenied, Certificate, EnrolCode, RawGrant, SlotSpan};
use crate::ids::{ChannelId, ChunkCid, ChunkIndex, DeviceId, RecordingId, Slot};
use crate::limits::{
    MAX_ADDR_BYTES, MAX_ADDRS_PER_PEER, MAX_CTL_FRAME_BYTES, MAX_CTL_LIST, MAX_GRANTS_PER_PEER, MAX_TEXT_BYTES,
};
use crate::manifest::{RawManifestPage, Rendition};
use crate::plan::RawPlan;
use crate::sign::{Raw, Statement, Verified};
use crate::time::{Ticks, UnixMillis};
use crate::truth::{RawFact, Report};

/// Version of this protocol, in every [`Hello`].
pub const CTL_VERSION: u32 = 1;

/// Number of a request, chosen by who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct ReqId(#[n(0)] pub u64);

/// In which role a program speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Role {
    /// A viewer's device.
    #[n(0)]
    Node,
    /// The broadcaster's seed.
    #[n(1)]
    Seed,
}

/// First message of both sides.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Hello {
    /// [`CTL_VERSION`] of the speaker.
    #[n(0)]
    pub version: u32,
    /// Its role.
    #[n(1)]
    pub role: Role,
    /// Its enrolment; the seed has none.
    #[n(2)]
    pub certificate: Option<Raw<Certificate>>,
    /// What it can contribute; nodes tell their seed only.
    #[n(3)]
    pub capability: Option<Capability>,
    /// What it may fetch from the other side, at most [`MAX_GRANTS_PER_PEER`].
    #[n(4)]
    pub grants: Vec<RawGrant>,
    /// Addresses where it may be dialled, as multiaddr text.
    #[n(5)]
    pub addrs: Vec<String>,
    /// Program and version, for people.
    #[n(6)]
    pub agent: String,
}

/// Where a peer can be reached.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PeerAddr {
    /// The peer.
    #[n(0)]
    pub device: DeviceId,
    /// Its addresses as multiaddr text, best first.
    #[n(1)]
    pub addrs: Vec<String>,
}

/// Peers likely to hold a stretch of a channel, as sampled by the tracker. Signed, so that nobody else can send
/// viewers to addresses of its choice; bound to the asker and short-lived, so that lists are not worth collecting.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SourcePlan {
    /// Who asked.
    #[n(0)]
    pub device: DeviceId,
    /// The channel.
    #[n(1)]
    pub channel: ChannelId,
    /// Ranked sources: a stretch and who holds it, best first. The seed itself holds everything confirmed.
    #[n(2)]
    pub sources: Vec<RankedSource>,
    /// When it lapses.
    #[n(3)]
    pub expires: UnixMillis,
}

impl Statement for SourcePlan {
    const DOMAIN: &'static str = "aftercast/source-plan/1";
    const MAX_BYTES: usize = 48 * 1024;
}

/// One source of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RankedSource {
    /// The peer.
    #[n(0)]
    pub peer: PeerAddr,
    /// What it holds.
    #[n(1)]
    pub spans: Vec<SlotSpan>,
}

/// A change of what somebody holds of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Have {
    /// The channel.
    #[n(0)]
    pub channel: ChannelId,
    /// Now held: confirmed chunks of these stretches.
    #[n(1)]
    pub added: Vec<SlotSpan>,
    /// No longer held.
    #[n(2)]
    pub removed: Vec<SlotSpan>,
}

/// A playback session's opening answer.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Session {
    /// The request answered.
    #[n(0)]
    pub req: ReqId,
    /// The recording.
    #[n(1)]
    pub recording: RecordingId,
    /// What the player may fetch.
    #[n(2)]
    pub grant: RawGrant,
    /// First chunk to play, and its small form if one could be made.
    #[n(3)]
    pub first: Option<FirstChunk>,
    /// Who has the rest.
    #[n(4)]
    pub sources: Raw<SourcePlan>,
}

/// The chunk that playback starts with.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct FirstChunk {
    /// Its place.
    #[n(0)]
    pub slot: Slot,
    /// The chunk.
    #[n(1)]
    pub cid: ChunkCid,
    /// Its head.
    #[n(2)]
    pub head: Option<Rendition>,
}

/// Why the other side does not do what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, thiserror::Error)]
#[cbor(index_only)]
pub enum Refused {
    /// No valid certificate.
    #[n(0)]
    #[error("device is not enrolled")]
    NotEnrolled,
    /// The certificate lapsed or was revoked.
    #[n(1)]
    #[error("certificate has expired or was revoked")]
    Expired,
    /// No such channel.
    #[n(2)]
    #[error("no such channel")]
    NoSuchChannel,
    /// No such recording of this subscriber.
    #[n(3)]
    #[error("no such recording")]
    NoSuchRecording,
    /// The speaker's version is not spoken here.
    #[n(4)]
    #[error("protocol version is not supported")]
    Version,
    /// Asked too much or too often.
    #[n(5)]
    #[error("over a limit; try again later")]
    Limit,
    /// The request makes no sense.
    #[n(6)]
    #[error("request cannot be understood")]
    BadRequest,
    /// A fault on this side.
    #[n(7)]
    #[error("internal error; try again later")]
    Internal,
    /// The code was used, lapsed or forged.
    #[n(8)]
    #[error("enrolment code is not valid any more")]
    BadCode,
}

impl From<AccessDenied> for Refused {
    fn from(denied: AccessDenied) -> Self {
        match denied {
            AccessDenied::Expired | AccessDenied::Revoked => Self::Expired,
            AccessDenied::NotEnrolled | AccessDenied::NoGrant | AccessDenied::OtherDevice | AccessDenied::Forged => {
                Self::NotEnrolled
            }
        }
    }
}

/// A channel on offer.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct ChannelInfo {
    /// Its id.
    #[n(0)]
    pub channel: ChannelId,
    /// Its name for people.
    #[n(1)]
    pub title: String,
    /// Distance of targets, in ticks.
    #[n(2)]
    pub interval: Ticks,
    /// Its core streams.
    #[n(3)]
    pub profile: Profile,
}

/// A message on the control stream.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum CtlMsg {
    /// First message of both sides.
    #[n(0)]
    Hello(#[n(0)] Hello),
    /// Node: enrol this device with a code.
    #[n(1)]
    Enrol {
        /// Request number.
        #[n(0)]
        req: ReqId,
        /// The operator's code.
        #[n(1)]
        code: Raw<EnrolCode>,
    },
    /// Seed: the device is enrolled.
    #[n(2)]
    Enrolled {
        /// The request answered; 0 where the seed renews the certificate of its own accord.
        #[n(0)]
        req: ReqId,
        /// Its certificate.
        #[n(1)]
        certificate: Raw<Certificate>,
    },
    /// Answer to any request that is not done.
    #[n(3)]
    Refused {
        /// The request answered; 0 where it was no request.
        #[n(0)]
        req: ReqId,
        /// Why.
        #[n(1)]
        reason: Refused,
    },
    /// Node: which channels are there?
    #[n(4)]
    ListChannels {
        /// Request number.
        #[n(0)]
        req: ReqId,
    },
    /// Seed: these.
    #[n(5)]
    Channels {
        /// The request answered.
        #[n(0)]
        req: ReqId,
        /// At most [`MAX_CTL_LIST`].
        #[n(1)]
        channels: Vec<ChannelInfo>,
    },
    /// Node: record this channel (claim 1).
    #[n(6)]
    Record {
        /// Request number.
        #[n(0)]
        req: ReqId,
        /// The channel.
        #[n(1)]
        channel: ChannelId,
        /// The recording this continues, after a restart or a lost connection.
        #[n(2)]
        resume: Option<RecordingId>,
        /// From when; now if absent.
        #[n(3)]
        from: Option<UnixMillis>,
        /// Until when; until stopped if absent.
        #[n(4)]
        to: Option<UnixMillis>,
    },
    /// Seed: it is on the books, cut it like this.
    #[n(7)]
    Recording {
        /// The request answered.
        #[n(0)]
        req: ReqId,
        /// Its id.
        #[n(1)]
        recording: RecordingId,
        /// Where to cut.
        #[n(2)]
        plan: RawPlan,
        /// What this device may fetch of it.
        #[n(3)]
        grant: RawGrant,
        /// Newest fact of the channel, to ask from: sequence number of the next one.
        #[n(4)]
        next_fact: u64,
    },
    /// Node: the recording ends here.
    #[n(8)]
    StopRecording {
        /// Request number.
        #[n(0)]
        req: ReqId,
        /// Which.
        #[n(1)]
        recording: RecordingId,
    },
    /// Node: forget the recording.
    #[n(9)]
    DeleteRecording {
        /// Request number.
        #[n(0)]
        req: ReqId,
        /// Which.
        #[n(1)]
        recording: RecordingId,
    },
    /// Done, nothing more to say.
    #[n(10)]
    Done {
        /// The request answered.
        #[n(0)]
        req: ReqId,
    },
    /// Node: what it received; at most [`MAX_CTL_LIST`].
    #[n(11)]
    Reports {
        /// Oldest first.
        #[n(0)]
        reports: Vec<Report>,
    },
    /// Node: its state changed.
    #[n(12)]
    Capability(#[n(0)] Capability),
    /// Seed: orders; at most [`MAX_CTL_LIST`].
    #[n(13)]
    Duties {
        /// Most urgent first.
        #[n(0)]
        duties: Vec<RawDuty>,
    },
    /// Seed: these chunks are stored durably, and may be evicted where room is needed.
    #[n(14)]
    Acked {
        /// At most [`MAX_CTL_LIST`].
        #[n(0)]
        cids: Vec<ChunkCid>,
    },
    /// Node: which facts are there from this number on?
    #[n(15)]
    GetFacts {
        /// The channel.
        #[n(0)]
        channel: ChannelId,
        /// First sequence number wanted.
        #[n(1)]
        from: u64,
    },
    /// Seed: facts in order; at most [`MAX_CTL_LIST`]. More are asked for from the last one on.
    #[n(16)]
    Facts {
        /// The channel.
        #[n(0)]
        channel: ChannelId,
        /// Oldest first.
        #[n(1)]
        facts: Vec<RawFact>,
        /// Sequence number of the fact that will come after all that exist.
        #[n(2)]
        next: u64,
    },
    /// Node: the manifest, please.
    #[n(17)]
    GetManifest {
        /// Request number.
        #[n(0)]
        req: ReqId,
        /// Of which recording.
        #[n(1)]
        recording: RecordingId,
        /// Revision already held; the seed answers [`CtlMsg::Done`] where it is the newest.
        #[n(2)]
        have_revision: Option<u64>,
    },
    /// Seed: a page of it.
    #[n(18)]
    Manifest {
        /// The request answered.
        #[n(0)]
        req: ReqId,
        /// The page.
        #[n(1)]
        page: RawManifestPage,
    },
    /// Node: somebody wants to watch.
    #[n(19)]
    Play {
        /// Request number.
        #[n(0)]
        req: ReqId,
        /// Which recording.
        #[n(1)]
        recording: RecordingId,
        /// Where to start; at its beginning if absent.
        #[n(2)]
        at: Option<Slot>,
        /// Whether the first chunk is held already, so that no head is needed.
        #[n(3)]
        first_held: bool,
    },
    /// Seed: go.
    #[n(20)]
    Session(#[n(0)] Session),
    /// Node: more sources for a stretch.
    #[n(21)]
    FindSources {
        /// Request number.
        #[n(0)]
        req: ReqId,
        /// The recording it is for.
        #[n(1)]
        recording: RecordingId,
        /// First cell wanted.
        #[n(2)]
        from: Slot,
    },
    /// Seed: these.
    #[n(22)]
    Sources {
        /// The request answered.
        #[n(0)]
        req: ReqId,
        /// Ranked and signed.
        #[n(1)]
        sources: Raw<SourcePlan>,
    },
    /// Anyone: what changed in what is held.
    #[n(23)]
    Have(#[n(0)] Have),
    /// Node to peer: further rights to fetch from you.
    #[n(24)]
    Grants {
        /// At most [`MAX_GRANTS_PER_PEER`].
        #[n(0)]
        grants: Vec<RawGrant>,
    },
    /// Anyone: what could be given now.
    #[n(25)]
    Stat {
        /// Rate for the asker, in bytes per second.
        #[n(0)]
        rate: u64,
        /// Bytes queued before its next request.
        #[n(1)]
        queued: u64,
    },
    /// Node to peer: which of these do you hold? At most [`MAX_CTL_LIST`].
    #[n(26)]
    Want {
        /// The channel.
        #[n(0)]
        channel: ChannelId,
        /// From this slot on.
        #[n(1)]
        from: Slot,
        /// Until before this cell of the same timeline.
        #[n(2)]
        to: ChunkIndex,
    },
    /// Seed: the recordings of this subscriber, for a device that lost its list.
    #[n(27)]
    Recordings {
        /// The request answered.
        #[n(0)]
        req: ReqId,
        /// At most [`MAX_CTL_LIST`], newest first.
        #[n(1)]
        recordings: Vec<RecordingInfo>,
    },
    /// Node: which recordings does my subscriber have?
    #[n(28)]
    ListRecordings {
        /// Request number.
        #[n(0)]
        req: ReqId,
    },
}

/// A recording of the asker's subscriber.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RecordingInfo {
    /// Its id.
    #[n(0)]
    pub recording: RecordingId,
    /// Of which channel.
    #[n(1)]
    pub channel: ChannelId,
    /// From when.
    #[n(2)]
    pub from: UnixMillis,
    /// Until when, once known.
    #[n(3)]
    pub to: Option<UnixMillis>,
    /// Whether it still grows.
    #[n(4)]
    pub running: bool,
    /// Chunks that can be played.
    #[n(5)]
    pub chunks: u64,
    /// Media time recorded.
    #[n(6)]
    pub duration: Ticks,
}

/// A frame that was not understood. The sender is at fault; repeating does not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CtlError {
    /// Over the frame bound.
    #[error("control frame of {0} bytes, at most {MAX_CTL_FRAME_BYTES} allowed")]
    TooLarge(usize),
    /// Not a message of this version.
    #[error("control frame cannot be read: {0}")]
    Malformed(String),
    /// A list or text over its bound.
    #[error("{what}: {count} given, at most {most} allowed")]
    OverLimit {
        /// Of what.
        what: &'static str,
        /// Number given.
        count: usize,
        /// Number allowed.
        most: usize,
    },
}

impl CtlMsg {
    /// The frame's bytes, without its length prefix.
    ///
    /// # Errors
    /// When our own message breaks a bound: the caller has to split its lists.
    pub fn to_frame(&self) -> Result<Vec<u8>, CtlError> {
        self.check_bounds()?;
        let frame = minicbor::to_vec(self).map_err(|e| CtlError::Malformed(e.to_string()))?;
        if frame.len() > MAX_CTL_FRAME_BYTES {
            return Err(CtlError::TooLarge(frame.len()));
        }
        Ok(frame)
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// When it is too large, unreadable, or holds a list over its bound.
    pub fn from_frame(frame: &[u8]) -> Result<Self, CtlError> {
        if frame.len() > MAX_CTL_FRAME_BYTES {
            return Err(CtlError::TooLarge(frame.len()));
        }
        let msg: Self = minicbor::decode(frame).map_err(|e| CtlError::Malformed(e.to_string()))?;
        msg.check_bounds()?;
        Ok(msg)
    }

    fn check_bounds(&self) -> Result<(), CtlError> {
        let at_most = |what, count, most| {
            if count > most { Err(CtlError::OverLimit { what, count, most }) } else { Ok(()) }
        };
        let list = |what, count| at_most(what, count, MAX_CTL_LIST);
        let addrs = |addrs: &[String]| {
            at_most("addresses", addrs.len(), MAX_ADDRS_PER_PEER)?;
            addrs.iter().try_for_each(|addr| at_most("bytes of an address", addr.len(), MAX_ADDR_BYTES))
        };
        match self {
            Self::Hello(hello) => {
                at_most("grants", hello.grants.len(), MAX_GRANTS_PER_PEER)?;
                at_most("bytes of an agent", hello.agent.len(), MAX_TEXT_BYTES)?;
                addrs(&hello.addrs)
            }
            Self::Grants { grants } => at_most("grants", grants.len(), MAX_GRANTS_PER_PEER),
            Self::Channels { channels, .. } => {
                list("channels", channels.len())?;
                channels.iter().try_for_each(|c| at_most("bytes of a title", c.title.len(), MAX_TEXT_BYTES))
            }
            Self::Recordings { recordings, .. } => list("recordings", recordings.len()),
            Self::Reports { reports } => list("reports", reports.len()),
            Self::Duties { duties } => list("duties", duties.len()),
            Self::Acked { cids } => list("cids", cids.len()),
            Self::Facts { facts, .. } => list("facts", facts.len()),
            Self::Have(have) => {
                list("stretches added", have.added.len())?;
                list("stretches removed", have.removed.len())
            }
            Self::Enrol { .. }
            | Self::Enrolled { .. }
            | Self::Refused { .. }
            | Self::ListChannels { .. }
            | Self::ListRecordings { .. }
            | Self::Record { .. }
            | Self::Recording { .. }
            | Self::StopRecording { .. }
            | Self::DeleteRecording { .. }
            | Self::Done { .. }
            | Self::Capability(_)
            | Self::GetFacts { .. }
            | Self::GetManifest { .. }
            | Self::Manifest { .. }
            | Self::Play { .. }
            | Self::Session(_)
            | Self::FindSources { .. }
            | Self::Sources { .. }
            | Self::Stat { .. }
            | Self::Want { .. } => Ok(()),
        }
    }

    /// The number of the request that this message answers.
    #[must_use]
    pub fn answers(&self) -> Option<ReqId> {
        match self {
            Self::Enrolled { req, .. }
            | Self::Refused { req, .. }
            | Self::Channels { req, .. }
            | Self::Recordings { req, .. }
            | Self::Recording { req, .. }
            | Self::Done { req }
            | Self::Manifest { req, .. }
            | Self::Sources { req, .. } => Some(*req),
            Self::Session(session) => Some(session.req),
            _ => None,
        }
    }
}

impl SourcePlan {
    /// The plan's sources, as far as its bounds allow, if it is for `device` and still holds.
    #[must_use]
    pub fn usable(plan: &Verified<Self>, device: DeviceId, now: UnixMillis) -> &[RankedSource] {
        if plan.device != device || now >= plan.expires {
            return &[];
        }
        &plan.sources[..plan.sources.len().min(MAX_CTL_LIST)]
    }
}
