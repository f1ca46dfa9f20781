//! Every bound of the system, with its reason. Over a bound there is a refusal with a reason and a counter.

use crate::time::{Micros, Ticks};

/// Longest channel or subscriber name. Names become path and key parts; 64 leaves room in both.
pub const MAX_NAME_BYTES: usize = 64;

/// Unit of transfer, verification and storage: a BLAKE3 subtree of 64 leaves of 1 KiB. Small enough that a liar
/// costs at most this much, large enough that its hash is 0.05 % of the data.
pub const GROUP_BYTES: usize = 64 * 1024;

/// Largest chunk: a ten-second chunk (the longest a target may wait for a random access point) at 25 Mb/s, doubled.
pub const MAX_CHUNK_BYTES: usize = 64 * 1024 * 1024;

/// Longest note that a store keeps on a chunk. A unit index (CCF 20) of a ten-second chunk with every unit listed is
/// about 100 KiB.
pub const MAX_NOTE_BYTES: usize = 256 * 1024;

/// Longest key of a record in a store. Keys are made of ids and names, a few hundred bytes at most.
pub const MAX_TABLE_KEY_BYTES: usize = 1024;

/// Largest record in a store. A manifest of a day of four-second chunks is about 2 MiB; all of it passes the log twice.
pub const MAX_TABLE_VALUE_BYTES: usize = 16 * 1024 * 1024;

/// Most groups of a chunk.
pub const MAX_CHUNK_GROUPS: usize = MAX_CHUNK_BYTES / GROUP_BYTES;

/// Most units of a chunk: ten seconds at 120 pictures a second with 16 audios in 100 ms groups, several times over.
pub const MAX_CHUNK_UNITS: usize = 16 * 1024;

/// Most core audios of a channel: as many as a PMT of one packet holds. Real multiplexes carry up to about eight.
pub const MAX_CORE_AUDIO: usize = 14;

/// Shortest distance of targets: below it a chunk's 32 tables alone would outweigh a radio's audio.
pub const MIN_INTERVAL: Ticks = Ticks(18_000);
/// Longest distance of targets: a minute, beyond which a chunk of video outgrows [`MAX_CHUNK_BYTES`].
pub const MAX_INTERVAL: Ticks = Ticks(5_400_000);

/// Most anchors of a plan file or message that is kept at once: a wrap of 26.5 hours in 2-second chunks.
pub const MAX_PLAN_ANCHORS: usize = 48 * 1024;

/// Most anchors in a signed plan: enough newest ones to pin the numbering, small enough for one control frame.
pub const MAX_SIGNED_ANCHORS: usize = 16;
/// Anchors the seed remembers per channel to match reports with: an hour of 4-second chunks.
pub const MAX_TRACKED_ANCHORS: usize = 900;
/// Recorders' own numberings that the seed maps per channel: the recorders of one shard, with a clock jump or two.
pub const MAX_LOCAL_TIMELINES: usize = 4096;

/// Chunks per draw of witnesses: a quarter of an hour of 4-second chunks. Longer would let bad luck of one draw last,
/// shorter would send orders for nothing.
pub const WITNESS_EPOCH_CHUNKS: u64 = 225;
/// Devices that record one channel on one shard of the seed.
pub const MAX_RECORDERS: usize = 16 * 1024;
/// Most witnesses ever asked about one chunk: the first draw of nine and three more.
pub const MAX_WITNESSES_PER_SLOT: usize = 36;
/// Reports kept per chunk: every witness, and as many again of those who speak unasked. Later ones are counted only.
pub const MAX_REPORTS_PER_SLOT: usize = 72;
/// Chunks of a channel whose reports are kept: an hour of decided ones within reach of objections, and what several
/// devices that were offline for an hour report at once.
pub const MAX_SLOTS_IN_TRUTH: usize = 8 * 1024;
/// Undecided chunks that one device may have brought up: an hour's backlog. One device cannot fill the table.
pub const MAX_OPEN_SLOTS_PER_DEVICE: usize = 1024;
/// Decided chunks of a channel that are remembered, about 150 bytes each: three days of 4-second chunks.
pub const MAX_SETTLED_SLOTS: usize = 64 * 1024;

/// Chunks that wait for their upload, about 300 bytes each: a night of a channel whose uplinks cannot keep up. Over it
/// the seed offers them again later from its own list.
pub const MAX_DUTY_CHUNKS: usize = 16 * 1024;
/// Devices with an account of what they uploaded: all of one shard, with those who are away for a while.
pub const MAX_DUTY_NODES: usize = 32 * 1024;
/// Holders remembered per chunk until it is stored. A few would do; many spread the load.
pub const MAX_HOLDERS_PER_CHUNK: usize = 256;
/// Stand-ins named with a duty.
pub const MAX_STAND_INS: usize = 3;

/// Largest frame of the control stream. Larger things go over lanes or in pages.
pub const MAX_CTL_FRAME_BYTES: usize = 64 * 1024;
/// Most items of a list in a control frame: 128 facts or reports of up to 400 bytes fit a frame.
pub const MAX_CTL_LIST: usize = 128;
/// Grants one peer may show: a home watches a few recordings at once, not hundreds.
pub const MAX_GRANTS_PER_PEER: usize = 8;
/// Stretches of one grant: one per timeline of a recording; a clock that jumps more often is not worth following.
pub const MAX_GRANT_SPANS: usize = 64;
/// Addresses of one peer.
pub const MAX_ADDRS_PER_PEER: usize = 8;
/// Longest multiaddr text.
pub const MAX_ADDR_BYTES: usize = 256;
/// Longest free text of a message, such as a title.
pub const MAX_TEXT_BYTES: usize = 256;

/// Entries of a manifest page: the largest entries, two renditions each, still fit a control frame.
pub const MANIFEST_PAGE_ENTRIES: usize = 192;
/// Most pages of a manifest: a week in 4-second chunks, with room.
pub const MAX_MANIFEST_PAGES: u32 = 1024;
/// Largest video unit: no level of H.264 or H.265 that is broadcast allows an intra picture of 8 MiB.
pub const MAX_UNIT_BYTES: usize = 8 * 1024 * 1024;

/// Most bytes of one audio that wait for the video they belong to: a minute of the highest AAC and MPEG rates.
pub const MAX_AUDIO_WAITING_BYTES: u64 = 4 * 1024 * 1024;
/// Most frames of it: five minutes of AAC at 48 kHz.
pub const MAX_AUDIO_WAITING_FRAMES: usize = 16 * 1024;

/// Most chunks that wait for their audio. The wait ends 10 seconds of media time after a chunk at the latest; this
/// bounds it where the interval is short.
pub const MAX_CHUNKS_WAITING: usize = 128;
/// Most video bytes in those chunks: two of the largest.
pub const MAX_BYTES_WAITING: usize = 2 * MAX_CHUNK_BYTES;

/// Most places remembered of one elementary stream (PES packets begun, holes) that no unit or frame has claimed yet. A
/// unit of 8 MiB spans fewer in any stream that has units. Over it the oldest time is forgotten, and the newest holes
/// become one.
pub const MAX_STREAM_MARKS: usize = 4096;

/// Control frames queued towards one device: 4 MiB at worst. Over it senders wait, or are told.
pub const MAX_CTL_QUEUED_FRAMES: usize = 64;
/// Longest gossip message: gossipsub's own default, stated because peers must agree on it.
pub const MAX_GOSSIP_BYTES: usize = 64 * 1024;
/// Topics a peer may be subscribed to: one per channel it follows, with room. Over it gossipsub refuses.
pub const MAX_TOPICS_PER_PEER: usize = 256;

/// Connections of a node or seed, unless configured otherwise. Each costs some 100 KiB when idle.
pub const MAX_CONNECTIONS: u32 = 1024;
/// Connections to one device: both directions over both transports, one through a relay, and those by which the seed tests
/// whether a device can be reached.
pub const MAX_CONNECTIONS_PER_DEVICE: u32 = 8;
/// Inbound connections in their handshake. Over it the listener closes new ones.
pub const MAX_PENDING_INBOUND: u32 = 128;
/// Outbound connections in their handshake. Over it dials are refused.
pub const MAX_PENDING_DIALS: u32 = 128;
/// Longest wait for a connection, name resolution and control stream included.
pub const DIAL_TIMEOUT: Micros = Micros::from_secs(20);
/// How long a dial by QUIC waits for those by TCP to the same device: TCP, TLS and the two negotiations take four round
/// trips, so this lets TCP win up to 125 ms away, and costs half a second where TCP is silently dropped.
pub const DIAL_HEAD_START: Micros = Micros::from_millis(500);
/// Streams of one connection: lanes both ways, and what gossip, Kademlia and identify open for a moment.
pub const MAX_STREAMS_PER_CONNECTION: usize = 256;
/// What a peer may send on one connection's streams before we read it: the 256 KiB that Yamux gives each stream at
/// first, and 32 MiB for those whose window grows (1 Gb/s over 100 ms is 12 MiB, and windows grow to twice that).
pub const MAX_RECEIVE_WINDOW_BYTES: usize = MAX_STREAMS_PER_CONNECTION * 256 * 1024 + 32 * 1024 * 1024;
/// Longest wait for a stream to be negotiated: a round trip, under load.
pub const STREAM_OPEN_TIMEOUT: Micros = Micros::from_secs(10);
/// Devices remembered as banned; the oldest is forgotten first. A new key is free, so a longer list buys little.
pub const MAX_BANNED_DEVICES: usize = 4096;

/// Devices that the seed's relay keeps a place for: every connected one. A place is a few hundred bytes.
pub const MAX_RELAY_RESERVATIONS: usize = MAX_CONNECTIONS as usize;
/// Places of one device: one for each of its connections.
pub const MAX_RELAY_RESERVATIONS_PER_DEVICE: usize = MAX_CONNECTIONS_PER_DEVICE as usize;
/// How long a place lasts; the device asks again before that. An hour: a dead device's place is gone with its connection.
pub const RELAY_RESERVATION: Micros = Micros::from_secs(3600);
/// Circuits through the seed at once. With [`HOLE_TIMEOUT`] these are twenty meetings a second, or 32 MiB in all.
pub const MAX_RELAY_CIRCUITS: usize = 256;
/// Circuits of one device at once: it looks for eight holders of a chunk, twice where half of them do not answer.
pub const MAX_RELAY_CIRCUITS_PER_DEVICE: usize = 16;
/// Bytes that a circuit carries each way: handshakes and the meeting take some 20 KiB. No chunk fits through it.
pub const MAX_RELAY_CIRCUIT_BYTES: u64 = 128 * 1024;
/// How long a circuit lasts: a meeting takes [`HOLE_TIMEOUT`] at most; the relay protocol's usual bound is kept.
pub const RELAY_CIRCUIT: Micros = Micros::from_secs(120);
/// How long a dial through the relay waits for direct ones to the same device: a circuit is quickly set up, and would
/// win against a direct connection that takes a few round trips more.
pub const CIRCUIT_HEAD_START: Micros = Micros::from_millis(800);
/// Longest wait for a hole: two attempts of the five seconds that a QUIC handshake may take, and room for the meeting.
/// Below [`DIAL_TIMEOUT`], so that whoever dials learns the reason.
pub const HOLE_TIMEOUT: Micros = Micros::from_secs(12);
/// How long a pair whose hole was not punched is left alone: routers do not change their ways by the minute.
pub const HOLE_BACKOFF: Micros = Micros::from_secs(300);
/// Such pairs remembered; over it the oldest is forgotten, which costs one more attempt.
pub const MAX_HOLE_BACKOFFS: usize = 1024;
/// Own addresses, as the seed sees them, that are looked into. A home has one or two; one that moves on gets new ones.
pub const MAX_OBSERVED_ADDRS: usize = 16;

/// Lanes one device may have open to us: four in use (`MAX_LANES_PER_PEER`), and as many whose reset is under way.
/// Over it the lane is reset.
pub const MAX_INBOUND_LANES_PER_DEVICE: usize = 8;
/// Lanes open to us in all. Over it the lane is reset.
pub const MAX_INBOUND_LANES: usize = 512;
/// Lanes being opened towards one device at once.
pub const MAX_OPENING_LANES: usize = 16;
/// Streams that wait inside a connection for the swarm to take them over. Over it a lane is reset.
pub const MAX_UNDELIVERED_STREAMS: usize = 32;
/// Lanes kept open towards one peer: two fill a line, four hide the gaps between requests on a long one.
pub const MAX_LANES_PER_PEER: usize = 4;
/// Longest header of a request on a lane: far more than this version needs, room for later ones.
pub const MAX_LANE_REQUEST_BYTES: usize = 4 * 1024;
/// Longest header of an answer: the hashes of the longest chunk (32 KiB), ranges, and room.
pub const MAX_LANE_ANSWER_BYTES: usize = 36 * 1024;
/// Ranges of a partial answer. A chunk in more pieces is fetched with several requests.
pub const MAX_ANSWER_RANGES: usize = 64;
/// Byte ranges of a request for units: a tenth of the units of a chunk that a burst every second damaged. A chunk that
/// lacks more takes several requests.
pub const MAX_PART_RANGES: usize = 256;
/// Most bytes of an answer to such a request, and of a unit index: they wait in memory until they are proven.
/// [`MAX_CHUNK_UNITS`] entries of at most 44 bytes are less.
pub const MAX_PART_BYTES: usize = 1024 * 1024;
/// A lane without a request for this long is closed.
pub const LANE_IDLE: Micros = Micros::from_secs(60);
/// A transfer that makes no progress for this long is given up.
pub const LANE_STALL: Micros = Micros::from_secs(20);
/// Longest wait for a request's turn before the answer is Busy: shorter than the asker's patience ([`LANE_STALL`]).
pub const LANE_TURN: Micros = Micros::from_secs(15);

/// Events that wait for the application: 16 MiB of control frames at worst. Over it peers are slowed down.
pub const MAX_NET_EVENTS: usize = 256;
/// Gossip and discoveries that wait for room among those events. Over it they are dropped and counted.
pub const MAX_BACKLOG_EVENTS: usize = 256;
/// Commands that wait for the network task. Over it callers wait.
pub const MAX_NET_COMMANDS: usize = 256;

/// Keys we announce. Kademlia's store stops at 1,024 by default; channel-hours, heads and rare chunks of a busy seed
/// are some thousands.
pub const MAX_PROVIDED_KEYS: usize = 16 * 1024;
/// Keys kept for others, some 700 bytes for each provider. Over it records that lapsed are swept out, then new keys
/// refused.
pub const MAX_FOREIGN_KEYS: usize = 16 * 1024;
/// Providers kept per key: Kademlia's own replication factor. Over it new ones are ignored.
pub const MAX_PROVIDERS_PER_KEY: usize = 20;
/// Announcements under way at once; the others wait. Each asks some twenty peers.
pub const MAX_CONCURRENT_ANNOUNCEMENTS: usize = 8;
/// Provider look-ups under way at once. Over it callers wait.
pub const MAX_CONCURRENT_FINDS: usize = 32;
/// Providers taken from one look-up.
pub const MAX_FOUND_PROVIDERS: usize = 64;
/// Longest provider look-up.
pub const FIND_TIMEOUT: Micros = Micros::from_secs(15);

/// Bytes handed to connections and not yet written out, over all peers: what serving may cost in memory.
pub const SERVE_BYTES_TOTAL: u64 = 64 * 1024 * 1024;

/// The same for one peer: enough to fill 1 Gb/s over 30 ms, and sixteen slow readers cannot eat the total alone.
pub const SERVE_BYTES_PER_PEER: u64 = 4 * 1024 * 1024;

/// Requests one peer may have waiting: four lanes, a scheduler that looks a few chunks ahead, and room.
pub const SERVE_REQUESTS_PER_PEER: usize = 64;

/// Requests waiting in all; each costs some 32 bytes. Over it the answer is Busy.
pub const SERVE_REQUESTS_TOTAL: usize = 4096;

/// Peers with something waiting or in flight; each quantum handed out looks at all of them once.
pub const SERVE_PEERS: usize = 512;

/// Peers whose score is remembered, 100 bytes each; over it the one not heard of for longest is forgotten.
pub const MAX_SCORES: usize = 4096;

/// Peers remembered as not reached, 40 bytes each; over it the one tried longest ago is forgotten.
pub const MAX_UNREACHABLE: usize = 1024;

/// Banned peers remembered; over it the oldest ban is forgotten. Devices are enrolled, so new names are not free.
pub const MAX_BANS: usize = 4096;

/// Chunks wanted at once: more than an hour of read-ahead at 4 s. Over it a want is refused.
pub const MAX_WANTS: usize = 1024;

/// Holders remembered per wanted chunk. The scheduler samples eight; the rest is reserve.
pub const MAX_HOLDERS: usize = 64;

/// Connected sources that the scheduler weighs; over it a new one is not used until another goes.
pub const MAX_SOURCES: usize = 512;

/// Lanes to one source (one request each at a time; the scheduler keeps one more per lane waiting).
pub const MAX_LANES: u8 = 4;

/// Damaged chunks that wait for repair, some 300 bytes each: a bad night of four-second chunks. Over it the oldest
/// broadcast is left to whoever plays it.
pub const MAX_REPAIRS: usize = 8 * 1024;

/// Recordings of one subscriber: three years of one a day.
pub const MAX_RECORDINGS_PER_SUBSCRIBER: usize = 1024;
/// Players that wait for one head at once; more are told to come again.
pub const MAX_WAITING_PLAYERS: usize = 256;
/// Recorders of a channel that get facts directly and not only by gossip: a small channel is prompt, a large one does
/// not cost the seed an uplink per recorder.
pub const MAX_DIRECT_FACTS: usize = 64;
/// Slots that one message about holdings may touch: a day of a channel in 4-second chunks.
pub const MAX_HOLDING_SLOTS: usize = 21_600;
/// Peers in a source plan: eight to be probed, and as many to replace those that cannot be reached.
pub const MAX_SAMPLED_PEERS: usize = 16;
/// Stretches of a channel told per peer.
pub const MAX_SPANS_PER_PEER: usize = 32;

/// Channels of one peer's have-map: more than a home records of in a month.
pub const MAX_CHANNELS_PER_PEER: usize = 64;
/// Stretches of a peer's have-map per channel: a week of four-second chunks with a loss every ten minutes.
pub const MAX_HAVE_SPANS: usize = 1024;
/// Devices found on the local network that are dialled of our own accord. A home has a handful; a hotel must not
/// make us dial hundreds.
pub const MAX_LAN_PEERS: usize = 32;

/// Streams beside the core whose units are kept: a satellite channel with subtitles in twenty languages, teletext and
/// splice information. Those further down its map are left out.
pub const MAX_AUX_STREAMS: usize = 32;
/// Largest aux object, payloads alone: ten seconds at 3 Mb/s. Teletext in all lines takes a tenth of that. Units beyond
/// are dropped and counted.
pub const MAX_AUX_BYTES: usize = 4 * 1024 * 1024;
/// Most units of an aux object: a chunk of a minute with four units in each picture.
pub const MAX_AUX_UNITS: usize = 8 * 1024;
/// Most bytes of units that wait for their chunk to be cut: of one full object that is cut, and what came since. Over it
/// the oldest are dropped and counted.
pub const MAX_AUX_WAITING_BYTES: usize = 2 * MAX_AUX_BYTES;
/// Most marks that wait for their chunk. A splice is announced some seconds ahead; over it the oldest is forgotten.
pub const MAX_MARKS_WAITING: usize = 256;
