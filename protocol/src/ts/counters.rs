//! What a reception was like, in numbers.

use serde::{Deserialize, Serialize};

/// Counts over a whole reception. All start at 0 and only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReceptionCounters {
    /// Bytes taken in.
    pub bytes: u64,
    /// Transport packets found, null packets included.
    pub packets: u64,
    /// Null packets (PID 0x1FFF).
    pub null_packets: u64,
    /// Bytes skipped while searching for sync.
    pub skipped_bytes: u64,
    /// Times that packet sync was lost.
    pub sync_losses: u64,
    /// Packets that arrived with the transport error indicator set, or cut short.
    pub errored_packets: u64,
    /// Packets of the programme that continuity counters show to be missing. Multiples of 16 do not show.
    pub lost_packets: u64,
    /// Continuity counter jumps in the programme's streams.
    pub discontinuities: u64,
    /// Legal duplicates dropped.
    pub duplicates: u64,
    /// Packets of the programme that are scrambled.
    pub scrambled_packets: u64,
    /// Sections of PAT and PMT with a bad CRC-32.
    pub crc_errors: u64,
    /// Units of teletext, subtitles, splice information and data that went to chunks.
    pub aux_units: u64,
    /// Such units that were damaged, or belong to no chunk, or are more than a chunk may have.
    pub aux_dropped: u64,
    /// Chunks emitted whole.
    pub clean_chunks: u64,
    /// Chunks withheld.
    pub withheld_chunks: u64,
}
