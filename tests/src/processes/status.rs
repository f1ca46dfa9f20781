//! Status pages, as far as the demo and the tests read them. Fields that are not here may come and go.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::daemon::Versioned;

/// Status of a seed.
#[derive(Debug, Clone, Deserialize)]
pub struct SeedStatus {
    version: u64,
    /// Channels.
    pub channels: Vec<SeedChannel>,
    /// Recordings of all subscribers.
    pub recordings: Vec<SeedRecording>,
    /// Enrolled devices.
    pub nodes: Vec<SeedNode>,
    /// Bytes pulled from nodes, repeats included.
    pub pulled_bytes: u64,
    /// Bytes of the chunks stored.
    pub unique_bytes: u64,
    /// Bytes of heads.
    pub head_bytes: u64,
    /// Heads made.
    pub heads: u64,
    /// Bytes of archive renditions.
    pub archive_bytes: u64,
    /// Bytes served to players.
    pub served_bytes: u64,
    /// Devices that it keeps a place for.
    pub relay_reservations: u64,
    /// Meetings under way.
    pub relay_circuits: u64,
    /// Requests refused, by reason.
    pub refusals: BTreeMap<String, u64>,
}

/// A channel in numbers of chunks.
#[derive(Debug, Clone, Deserialize)]
pub struct SeedChannel {
    /// Its id.
    pub channel: String,
    /// Devices that record it.
    pub recorders: u64,
    /// Vouched for by two subscribers or more.
    pub confirmed: u64,
    /// By one only.
    pub single: u64,
    /// In dispute.
    pub disputed: u64,
    /// Whole nowhere.
    pub damaged: u64,
    /// Not decided yet.
    pub pending: u64,
    /// Of confirmed and single ones: held by the seed.
    pub stored: u64,
    /// With a head.
    pub with_head: u64,
    /// With an archive rendition.
    pub with_archive: u64,
    /// Devices that said two things about one chunk.
    pub contradictions: u64,
    /// Clean reports that differ from what was confirmed.
    pub objections: u64,
    /// Decisions withdrawn.
    pub withdrawn: u64,
    /// Damaged receptions that spoke for a chunk, or against it.
    pub testimonies: u64,
    /// Chunks made of several damaged receptions.
    pub assembled: u64,
}

/// A recording.
#[derive(Debug, Clone, Deserialize)]
pub struct SeedRecording {
    /// Its id.
    pub recording: String,
    /// Whose.
    pub subscriber: String,
    /// Whether it grows.
    pub running: bool,
    /// Chunks that can be played.
    pub chunks: u64,
    /// Of which the seed holds its copy.
    pub stored: u64,
    /// Places without one.
    pub gaps: u64,
}

/// An enrolled device.
#[derive(Debug, Clone, Deserialize)]
pub struct SeedNode {
    /// Its id.
    pub device: String,
    /// Whose.
    pub subscriber: String,
    /// Whether it is connected.
    pub connected: bool,
    /// Chunks that it was ordered to upload and that are not there yet.
    pub uploads_due: u64,
    /// Bytes pulled from it.
    pub uploaded_bytes: u64,
}

impl SeedStatus {
    /// Sums of a count over all channels.
    #[must_use]
    pub fn sum(&self, count: impl Fn(&SeedChannel) -> u64) -> u64 {
        self.channels.iter().map(count).sum()
    }
}

impl Versioned for SeedStatus {
    const QUERY: &'static str = "newer_than";
    fn version(&self) -> u64 {
        self.version
    }
}

/// Status of a node.
#[derive(Debug, Clone, Deserialize)]
pub struct NodeStatus {
    version: u64,
    /// Its id.
    pub device: String,
    /// Its connection to the seed.
    pub seed: NodeSeed,
    /// How others reach it.
    pub reach: NodeReach,
    /// Connected peers.
    pub peers: u64,
    /// Its line.
    pub uplink: NodeUplink,
    /// Its store.
    pub store: NodeStore,
    /// Its inputs by channel, as far as they were received since the start.
    pub inputs: BTreeMap<String, InputStatus>,
    /// Its recordings.
    pub recordings: Vec<NodeRecording>,
    /// Requests of others that were refused, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Devices that were refused because they lied.
    pub banned: u64,
    /// What repair did since the start.
    pub repair: NodeRepair,
    /// What players got.
    pub playback: Vec<PlayReport>,
    /// What was fetched for them.
    pub fetch: NodeFetch,
}

/// Fetching for players, in numbers.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct NodeFetch {
    /// Chunks that players want and that are not here.
    pub missing: u64,
    /// Verified bytes from the seed.
    pub seed_bytes: u64,
    /// From peers elsewhere.
    pub peer_bytes: u64,
    /// From peers at home.
    pub lan_bytes: u64,
    /// That were there already.
    pub duplicate_bytes: u64,
    /// Requests made.
    pub requests: u64,
    /// Tails that went to another source.
    pub splits: u64,
    /// Of those: to the seed, because peers would have been late.
    pub takeovers: u64,
    /// Times that a second source was asked for what was needed next.
    pub hedges: u64,
    /// Sources found stalled.
    pub stalls: u64,
}

impl NodeFetch {
    /// Verified bytes that were of use.
    #[must_use]
    pub fn useful(&self) -> u64 {
        self.seed_bytes + self.peer_bytes + self.lan_bytes
    }
}

/// How others reach a node.
#[derive(Debug, Clone, Deserialize)]
pub struct NodeReach {
    /// One word.
    pub how: String,
    /// Devices met at the seed's relay.
    pub holes_tried: u64,
    /// Of those: reached directly then.
    pub holes_punched: u64,
    /// Of those: not reached.
    pub holes_failed: u64,
}

/// Repair in numbers.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct NodeRepair {
    /// Damaged chunks made whole.
    pub chunks: u64,
    /// Bytes that this took from others.
    pub fetched_bytes: u64,
    /// Attempts that ended without the chunk.
    pub failed: u64,
}

/// A node's connection to its seed.
#[derive(Debug, Clone, Deserialize)]
pub struct NodeSeed {
    /// Whether there is one.
    pub connected: bool,
    /// Why the seed does not talk to it.
    pub refused: Option<String>,
    /// Chunks ordered and not delivered.
    pub uploads_due: u64,
}

/// A node's line.
#[derive(Debug, Clone, Deserialize)]
pub struct NodeUplink {
    /// Bytes that left since the start.
    pub sent: NodeSent,
}

/// Bytes that left a node.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct NodeSent {
    /// To the seed.
    pub to_seed: u64,
    /// To peers.
    pub to_peers: u64,
}

/// A node's store.
#[derive(Debug, Clone, Deserialize)]
pub struct NodeStore {
    /// Chunks in it.
    pub chunks: u64,
    /// Their bytes.
    pub chunk_bytes: u64,
    /// Confirmed chunks held for others.
    pub held: u64,
}

/// Reception of a channel.
#[derive(Debug, Clone, Deserialize)]
pub struct InputStatus {
    /// One word.
    pub state: String,
    /// Bytes received.
    pub bytes: u64,
    /// RTP packets that never came.
    pub rtp_lost: u64,
    /// Blocks dropped because cutting did not keep up.
    pub overruns: u64,
    /// Chunks dropped because there was no room.
    pub dropped_for_room: u64,
}

/// A recording of a node.
#[derive(Debug, Clone, Deserialize)]
pub struct NodeRecording {
    /// Its id.
    pub id: String,
    /// Chunks received whole.
    pub clean: u64,
    /// Chunks withheld, by reason.
    pub withheld: BTreeMap<String, u64>,
    /// Of those: made whole with the help of others.
    pub repaired: u64,
    /// Of the clean ones: confirmed.
    pub confirmed: u64,
    /// Of the clean ones: another is confirmed.
    pub contradicted: u64,
    /// Of the clean ones: held by the seed.
    pub acknowledged: u64,
    /// Not told to the seed yet.
    pub unreported: u64,
    /// What the seed says of it.
    pub manifest: Option<NodeManifest>,
}

/// A manifest in numbers.
#[derive(Debug, Clone, Deserialize)]
pub struct NodeManifest {
    /// Whether nothing will be added.
    pub complete: bool,
    /// Chunks that can be played.
    pub chunks: u64,
    /// Of those: covered by the device's grant.
    pub granted: u64,
    /// Places without one.
    pub gaps: u64,
}

/// What players of one recording got, and from where.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct PlayReport {
    /// The recording.
    pub recording: String,
    /// Bytes that the device held.
    pub bytes_local: u64,
    /// Bytes from peers.
    pub bytes_peer: u64,
    /// Bytes from the seed, heads aside.
    pub bytes_seed: u64,
    /// Bytes of heads.
    pub bytes_head: u64,
    /// From the request of the playlist to the first byte of media, in milliseconds.
    pub startup_ms: Option<u64>,
    /// Chunks that came later than a player without pauses needs them.
    pub late: u64,
    /// Chunks played in their salvaged form.
    pub salvaged: u64,
    /// Answers discarded because they did not match their hash.
    pub wrong_groups: u64,
    /// Devices banned for them.
    pub liars_banned: u64,
}

impl NodeStatus {
    /// One recording.
    #[must_use]
    pub fn recording(&self, id: &str) -> Option<&NodeRecording> {
        self.recordings.iter().find(|one| one.id == id)
    }

    /// What players of a recording got so far.
    #[must_use]
    pub fn played(&self, id: &str) -> PlayReport {
        self.playback.iter().find(|one| one.recording == id).cloned().unwrap_or_default()
    }
}

impl Versioned for NodeStatus {
    const QUERY: &'static str = "wait_version";
    fn version(&self) -> u64 {
        self.version
    }
}
