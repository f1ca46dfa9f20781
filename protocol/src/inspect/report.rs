//! What an inspection found.

use serde::Serialize;

use crate::ccf::MarkKind;
use crate::time::Pts33;

/// A transport stream, described.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Bytes read.
    pub bytes: u64,
    /// Packets found, null packets included.
    pub packets: u64,
    /// Null packets.
    pub null_packets: u64,
    /// Bytes that belong to no packet.
    pub skipped_bytes: u64,
    /// Media time by the first clock, jumps left out.
    pub seconds: f64,
    /// Rate of all packets, 188 bytes each.
    pub bits_per_second: u64,
    /// Programmes, in the order of their numbers.
    pub programs: Vec<ProgramReport>,
    /// How it was received.
    pub quality: Quality,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// Further things that happened and are only counted.
    pub events_left_out: u64,
}

/// A programme.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProgramReport {
    /// Its number.
    pub number: u16,
    /// PID of its programme map.
    pub pmt_pid: u16,
    /// Its streams, in the order of its map; none where the map never came.
    pub streams: Vec<StreamReport>,
}

/// A stream of a programme.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StreamReport {
    /// Its PID.
    pub pid: u16,
    /// `stream_type` (ISO/IEC 13818-1, table 2-34).
    pub stream_type: u8,
    /// What it is, in words.
    pub kind: String,
    /// Its language, by ISO 639-2.
    pub language: Option<String>,
    /// Its packets.
    pub packets: u64,
    /// Packets that its counter shows to be missing. Multiples of 16 do not show.
    pub lost_packets: u64,
    /// Packets that are scrambled.
    pub scrambled_packets: u64,
    /// Its rate.
    pub bits_per_second: u64,
    /// First presentation time.
    pub first_pts: Option<Pts33>,
    /// Last presentation time.
    pub last_pts: Option<Pts33>,
    /// Times that the 33-bit clock began again.
    pub pts_wraps: u64,
    /// Times that the clock became another one.
    pub clock_jumps: u64,
    /// For video that is understood: its pictures.
    pub pictures: Option<PictureReport>,
}

/// Pictures of a video stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct PictureReport {
    /// Coded pictures; two fields count as one.
    pub pictures: u64,
    /// Of those: damaged by loss.
    pub damaged: u64,
    /// Places where pictures may be missing.
    pub holes: u64,
    /// Pictures at which a decoder can begin.
    pub key_pictures: u64,
    /// Pictures of the shortest whole group.
    pub shortest_group: u64,
    /// Of the longest.
    pub longest_group: u64,
    /// Mean of all whole groups.
    pub mean_group: f64,
}

/// Reception quality, named as the measurements of ETSI TR 101 290 where it has them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Quality {
    /// 1.1 `TS_sync_loss`.
    pub sync_losses: u64,
    /// 1.3 `PAT_error`: none for 500 ms.
    pub pat_errors: u64,
    /// 1.4 `Continuity_count_error`.
    pub continuity_count_errors: u64,
    /// 1.5 `PMT_error`: none of a programme for 500 ms.
    pub pmt_errors: u64,
    /// 2.1 `Transport_error`.
    pub transport_errors: u64,
    /// 2.2 `CRC_error`, of PAT and PMT.
    pub crc_errors: u64,
    /// 2.3a `PCR_repetition_error`: over 100 ms apart.
    pub pcr_repetition_errors: u64,
    /// 2.3b `PCR_discontinuity_indicator_error`: the clock jumped, announced or not.
    pub pcr_discontinuities: u64,
    /// 2.5 `PTS_error`: over 700 ms apart.
    pub pts_errors: u64,
    /// Legal duplicates.
    pub duplicates: u64,
    /// Scrambled packets.
    pub scrambled_packets: u64,
    /// Packets whose header contradicts itself.
    pub malformed_packets: u64,
}

impl Quality {
    /// Whether anything was lost or wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        Self { duplicates: 0, ..*self } == Self::default()
    }
}

/// Something that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Event {
    /// Milliseconds of media time since the beginning.
    pub at_millis: u64,
    /// On which PID; none where that is not to be trusted.
    pub pid: Option<u16>,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum EventKind {
    /// A picture at which a decoder can begin.
    KeyPicture {
        /// Its presentation time, where it has one.
        pts: Option<Pts33>,
    },
    /// Packets are missing.
    Loss {
        /// How many, modulo 16.
        packets: u8,
    },
    /// A packet arrived damaged.
    TransportError,
    /// The clock became another one.
    ClockJump {
        /// By how much, in ticks of 90 kHz.
        ticks: i64,
    },
    /// The tables of programmes changed.
    NewTable,
    /// A splice is announced (SCTE 35).
    Splice {
        /// What happens.
        kind: MarkKind,
        /// For when; none where it happens at once.
        pts: Option<Pts33>,
    },
}
