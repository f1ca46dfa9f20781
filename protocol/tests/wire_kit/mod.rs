//! One fixed value of everything that travels.

use aftercast_protocol::ccf::{Anchor, AudioCodec, AudioProfile, Language, Profile, VideoCodec, WithheldReason};
use aftercast_protocol::duty::{Capability, Duty, DutyKind};
use aftercast_protocol::grant::{Certificate, EnrolCode, Grant, SlotSpan};
use aftercast_protocol::ids::{
    ChannelId, ChunkCid, ChunkIndex, DeviceId, RecordingId, Slot, SubscriberId, TimelineId, UnitDigest,
};
use aftercast_protocol::manifest::{Content, Entry, Gap, ManifestPage, Rendition};
use aftercast_protocol::plan::Plan;
use aftercast_protocol::sign::{Raw, SecretKey, Statement};
use aftercast_protocol::time::{Pts33, Ticks, UnixMillis};
use aftercast_protocol::truth::{Class, Decision, Fact, Reception, Report, Standing};
use aftercast_protocol::wire::ctl::{
    CTL_VERSION, ChannelInfo, CtlMsg, FirstChunk, Have, Hello, PeerAddr, RankedSource, RecordingInfo, Refused, ReqId,
    Role, Session, SourcePlan,
};

/// The key that signs all of it.
pub fn key() -> SecretKey {
    SecretKey::from_bytes(&[7; 32])
}

fn signed<T: Statement>(value: T) -> Raw<T> {
    key().sign(value).raw().clone()
}

fn channel() -> ChannelId {
    "das-erste.hd_1".parse().unwrap()
}

fn subscriber() -> SubscriberId {
    "home-17".parse().unwrap()
}

fn device() -> DeviceId {
    DeviceId([0xd1; 32])
}

fn recording() -> RecordingId {
    RecordingId([0x4e; 16])
}

/// A chunk's id.
pub fn cid() -> ChunkCid {
    ChunkCid::of(b"golden")
}

fn slot() -> Slot {
    Slot { timeline: TimelineId(2), index: ChunkIndex(23_861) }
}

fn opening() -> UnitDigest {
    UnitDigest([0x0b; 16])
}

fn span() -> SlotSpan {
    SlotSpan { timeline: TimelineId(2), from: ChunkIndex(23_800), to: ChunkIndex(u64::MAX) }
}

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
const LATER: UnixMillis = UnixMillis(1_800_003_600_000);
const PTS: Pts33 = Pts33(8_589_934_000);
const DURATION: Ticks = Ticks(360_360);

fn profile() -> Profile {
    let language = Language::new(*b"deu");
    let aac = AudioProfile { codec: AudioCodec::AacAdts, language, component_tag: Some(3), low_rate: false };
    let mpeg = AudioProfile { codec: AudioCodec::Mpeg, language: None, component_tag: None, low_rate: true };
    Profile::new(Some(VideoCodec::Avc), vec![aac, mpeg])
}

fn capability() -> Capability {
    Capability {
        uplink_declared_bps: 40_000_000,
        uplink_measured_bps: 38_500_000,
        share_percent: 25,
        backlog_bytes: 1_234_567,
        budget_left_bytes: 50_000_000_000,
        free_bytes: 1 << 40,
        metered: false,
        on_battery: true,
        paused: false,
    }
}

pub fn enrol_code() -> EnrolCode {
    EnrolCode { subscriber: subscriber(), nonce: [0x5a; 16], expires: LATER }
}

pub fn certificate() -> Certificate {
    Certificate { device: device(), subscriber: subscriber(), epoch: 3, issued: NOW, expires: LATER }
}

pub fn grant() -> Grant {
    Grant {
        device: device(),
        subscriber: subscriber(),
        channel: channel(),
        recording: recording(),
        spans: vec![span()],
        epoch: 3,
        issued: NOW,
        expires: LATER,
    }
}

pub fn plan() -> Plan {
    let anchor = Anchor { timeline: TimelineId(2), index: ChunkIndex(23_861), pts: PTS, digest: opening() };
    Plan {
        channel: channel(),
        version: 4,
        interval: Ticks(360_000),
        profile: profile(),
        anchors: vec![anchor],
        issued: NOW,
    }
}

pub fn duty() -> Duty {
    Duty {
        device: device(),
        channel: channel(),
        slot: slot(),
        kind: DutyKind::Upload,
        cid: Some(cid()),
        deadline: LATER,
        issued: NOW,
    }
}

pub fn fact() -> Fact {
    let decision =
        Decision::Confirmed { cid: cid(), bytes: 2_519_392, pts: PTS, duration: DURATION, opening: opening() };
    Fact { channel: channel(), seq: 900, slot: slot(), class: Class(0), decision, utc: NOW }
}

pub fn withdrawal() -> Fact {
    Fact { seq: 901, decision: Decision::Withdrawn { cid: cid() }, ..fact() }
}

fn rendition(recipe: &str) -> Rendition {
    Rendition { recipe: recipe.into(), cid: ChunkCid::of(recipe.as_bytes()), bytes: 750_000 }
}

pub fn manifest_page() -> ManifestPage {
    let entry = |index, content| Entry {
        slot: Slot { index: ChunkIndex(index), ..slot() },
        pts: PTS,
        duration: DURATION,
        opening: opening(),
        utc: NOW,
        content,
    };
    let head = Some(rendition("h264-1500k"));
    let archive = Some(rendition("h264-4000k"));
    let chunk = Content::Chunk { cid: cid(), bytes: 2_519_392, confirmed: true, head, archive };
    let single = Content::Chunk { cid: cid(), bytes: 2_519_392, confirmed: false, head: None, archive: None };
    let gaps = [Gap::Damaged, Gap::Disputed, Gap::Pending].map(|reason| Content::Gap { reason });
    let contents = [chunk, single].into_iter().chain(gaps);
    ManifestPage {
        recording: recording(),
        subscriber: subscriber(),
        channel: channel(),
        revision: 12,
        page: 0,
        pages: 1,
        complete: true,
        entries: (23_861..).zip(contents).map(|(index, content)| entry(index, content)).collect(),
    }
}

fn peer() -> PeerAddr {
    PeerAddr {
        device: device(),
        addrs: vec!["/ip4/192.0.2.7/tcp/4001".into(), "/ip6/2001:db8::7/udp/4001/quic-v1".into()],
    }
}

pub fn source_plan() -> SourcePlan {
    let sources = vec![RankedSource { peer: peer(), spans: vec![span()] }];
    SourcePlan { device: device(), channel: channel(), sources, expires: LATER }
}

fn report(reception: Reception, standing: Standing) -> Report {
    Report {
        channel: channel(),
        timeline: TimelineId(0),
        index: ChunkIndex(5),
        pts: PTS,
        duration: DURATION,
        opening: opening(),
        utc: NOW,
        reception,
        standing,
    }
}

/// One of every control message.
pub fn messages() -> Vec<CtlMsg> {
    let req = ReqId(77);
    let recording = recording();
    let clean = Reception::Clean { cid: cid(), bytes: 2_519_392 };
    let withheld = Reception::Withheld { reason: WithheldReason::Damaged, piece: None };
    let damaged = Reception::Withheld { reason: WithheldReason::Damaged, piece: Some(cid()) };
    vec![
        CtlMsg::Hello(Hello {
            version: CTL_VERSION,
            role: Role::Node,
            certificate: Some(signed(certificate())),
            capability: Some(capability()),
            grants: vec![signed(grant())],
            addrs: peer().addrs,
            agent: "aftercast/0.1.0".into(),
        }),
        CtlMsg::Enrol { req, code: signed(enrol_code()) },
        CtlMsg::Enrolled { req, certificate: signed(certificate()) },
        CtlMsg::Refused { req, reason: Refused::BadCode },
        CtlMsg::ListChannels { req },
        CtlMsg::Channels {
            req,
            channels: vec![ChannelInfo {
                channel: channel(),
                title: "Das Erste".into(),
                interval: Ticks(360_000),
                profile: profile(),
            }],
        },
        CtlMsg::Record { req, channel: channel(), resume: Some(recording), from: None, to: Some(LATER) },
        CtlMsg::Recording { req, recording, plan: signed(plan()), grant: signed(grant()), next_fact: 902 },
        CtlMsg::StopRecording { req, recording },
        CtlMsg::DeleteRecording { req, recording },
        CtlMsg::Done { req },
        CtlMsg::Reports {
            reports: vec![
                report(clean, Standing::Witness),
                report(withheld, Standing::Objection),
                report(damaged, Standing::Witness),
            ],
        },
        CtlMsg::Capability(capability()),
        CtlMsg::Duties { duties: vec![signed(duty())] },
        CtlMsg::Acked { cids: vec![cid(), ChunkCid::of(b"")] },
        CtlMsg::GetFacts { channel: channel(), from: 900 },
        CtlMsg::Facts { channel: channel(), facts: vec![signed(fact()), signed(withdrawal())], next: 902 },
        CtlMsg::GetManifest { req, recording, have_revision: Some(11) },
        CtlMsg::Manifest { req, page: signed(manifest_page()) },
        CtlMsg::Play { req, recording, at: Some(slot()), first_held: false },
        CtlMsg::Session(Session {
            req,
            recording,
            grant: signed(grant()),
            first: Some(FirstChunk { slot: slot(), cid: cid(), head: Some(rendition("h264-1500k")) }),
            sources: signed(source_plan()),
        }),
        CtlMsg::FindSources { req, recording, from: slot() },
        CtlMsg::Sources { req, sources: signed(source_plan()) },
        CtlMsg::Have(Have { channel: channel(), added: vec![span()], removed: vec![] }),
        CtlMsg::Grants { grants: vec![signed(grant())] },
        CtlMsg::Stat { rate: 1_250_000, queued: 65_536 },
        CtlMsg::Want { channel: channel(), from: slot(), to: ChunkIndex(23_900) },
        CtlMsg::Recordings {
            req,
            recordings: vec![RecordingInfo {
                recording,
                channel: channel(),
                from: NOW,
                to: Some(LATER),
                running: false,
                chunks: 900,
                duration: Ticks(324_000_000),
            }],
        },
        CtlMsg::ListRecordings { req },
    ]
}

/// A name for each, without a catch-all: a new message does not compile until it has a vector.
pub fn name(msg: &CtlMsg) -> &'static str {
    match msg {
        CtlMsg::Hello(_) => "hello",
        CtlMsg::Enrol { .. } => "enrol",
        CtlMsg::Enrolled { .. } => "enrolled",
        CtlMsg::Refused { .. } => "refused",
        CtlMsg::ListChannels { .. } => "list-channels",
        CtlMsg::Channels { .. } => "channels",
        CtlMsg::Record { .. } => "record",
        CtlMsg::Recording { .. } => "recording",
        CtlMsg::StopRecording { .. } => "stop-recording",
        CtlMsg::DeleteRecording { .. } => "delete-recording",
        CtlMsg::Done { .. } => "done",
        CtlMsg::Reports { .. } => "reports",
        CtlMsg::Capability(_) => "capability",
        CtlMsg::Duties { .. } => "duties",
        CtlMsg::Acked { .. } => "acked",
        CtlMsg::GetFacts { .. } => "get-facts",
        CtlMsg::Facts { .. } => "facts",
        CtlMsg::GetManifest { .. } => "get-manifest",
        CtlMsg::Manifest { .. } => "manifest",
        CtlMsg::Play { .. } => "play",
        CtlMsg::Session(_) => "session",
        CtlMsg::FindSources { .. } => "find-sources",
        CtlMsg::Sources { .. } => "sources",
        CtlMsg::Have(_) => "have",
        CtlMsg::Grants { .. } => "grants",
        CtlMsg::Stat { .. } => "stat",
        CtlMsg::Want { .. } => "want",
        CtlMsg::Recordings { .. } => "recordings",
        CtlMsg::ListRecordings { .. } => "list-recordings",
    }
}
