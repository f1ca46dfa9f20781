//! The aux object of a chunk (CCF 8): teletext, subtitles, splice information and private data of its programme.
//!
//! Best effort: two receptions of one chunk may have different aux objects, which no id depends on. Made by the chunker,
//! kept beside the chunk, and written back into its bytes for playback by [`super::AuxLayout`].
//!
//! ```text
//! 0   4  "CCFA"
//! 4   1  version, 1
//! 5   3  zero
//! 8  16  first 16 bytes of BLAKE3 of what follows
//! 24     CBOR [chunk or null, [[stream type, descriptors], ...], [[stream, time, PES form or null, bytes], ...]]
//! ```

use minicbor::{Decode, Encode};

use super::roles::{Kind, kind};
use crate::ids::ChunkCid;
use crate::limits::{MAX_AUX_BYTES, MAX_AUX_STREAMS, MAX_AUX_UNITS};
use crate::time::{PTS_WRAP, Ticks};
use crate::ts::psi::{MapStream, crc32};

const MAGIC: [u8; 4] = *b"CCFA";
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 24;
/// Longest loop of descriptors of a stream: all that the longest PMT holds.
const MAX_DESCRIPTOR_BYTES: usize = 1000;
/// Largest unit: a PES packet whose length field is full.
const MAX_AUX_UNIT_BYTES: usize = 6 + 0xFFFF;
/// Shortest section that can be spread over the 16 packets that close its counter, with its pointer field. Splice
/// information has 17 bytes at least.
pub(super) const MIN_SECTION_BYTES: usize = 15;

/// Descriptors that a receiver needs: registration, language, metadata, VBI data and teletext, component tag, teletext,
/// subtitling, extension (TTML), cue identifier (SCTE 35, 8.2), ARIB data component. Others tell of scrambling or of
/// services beside the programme.
const KEPT: [u8; 12] = [0x05, 0x0A, 0x26, 0x27, 0x45, 0x46, 0x52, 0x56, 0x59, 0x7F, 0x8A, 0xFD];

/// What a stream beside the core carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AuxKind {
    /// Teletext (EN 300 472), or other data of the vertical blanking interval (EN 301 775).
    Teletext,
    /// DVB subtitles (EN 300 743).
    Subtitles,
    /// Splice information (SCTE 35).
    Splices,
    /// Timed metadata or other private data, in PES packets.
    Data,
}

/// A stream beside the core, as playback announces it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AuxStream {
    /// `stream_type` in a PMT (ISO/IEC 13818-1, table 2-34).
    #[n(0)]
    pub stream_type: u8,
    /// The descriptors that a receiver needs, as they stand in a PMT.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub descriptors: Vec<u8>,
}

/// One PES packet or section.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AuxUnit {
    /// Which of the object's streams.
    #[n(0)]
    pub stream: u8,
    /// Less the chunk's PTS: the PTS of a PES packet that has one; of all others, the DTS of the unit of the first core
    /// stream that was being sent.
    #[n(1)]
    pub time: Ticks,
    /// Of a PES packet; `None` for a section.
    #[n(2)]
    pub pes: Option<PesForm>,
    /// A PES packet's payload, or a whole section with its CRC.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub data: Vec<u8>,
}

/// What the header of a PES packet says beside its time and length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct PesForm {
    /// `stream_id`.
    #[n(0)]
    pub stream_id: u8,
    /// It has a PTS.
    #[n(1)]
    pub timed: bool,
    /// `data_alignment_indicator`.
    #[n(2)]
    pub aligned: bool,
}

/// Everything beside the core that belongs to one chunk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuxObject {
    /// The chunk, where this reception has it whole.
    pub chunk: Option<ChunkCid>,
    /// Streams that the programme has, with and without units, in the order of its map.
    pub streams: Vec<AuxStream>,
    /// Their units, by time and stream.
    pub units: Vec<AuxUnit>,
}

/// Bytes that are no sound aux object. Whoever gave them is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuxError {
    /// Something else altogether.
    #[error("not an aux object")]
    Magic,
    /// A version that this program does not read.
    #[error("aux object version {0} is not supported")]
    Version(u8),
    /// Its bytes are not those that were written.
    #[error("aux object is damaged")]
    Digest,
    /// Not the encoding of an aux object.
    #[error("malformed aux object: {0}")]
    Malformed(String),
    /// More streams, units or bytes than an aux object may have.
    #[error("aux object is too large")]
    TooLarge,
    /// A stream that no programme map can announce.
    #[error("stream {0} of the aux object is impossible")]
    Stream(usize),
    /// A unit that no stream can carry.
    #[error("unit {0} of the aux object is impossible")]
    Unit(usize),
}

impl AuxStream {
    /// A stream of a programme map, if it is one that aux objects carry: not a core stream, and PES packets or splice
    /// information. Carousels and tables of applications (stream types 0x05, 0x0B to 0x0D, 0x14) are repeated for
    /// receivers that tune in, belong to no time, and would outweigh the rest.
    pub(super) fn of(stream: &MapStream) -> Option<Self> {
        if !matches!(stream.stream_type, 0x06 | 0x15 | 0x86) || kind(stream) != Kind::Other {
            return None;
        }
        let mut descriptors = Vec::new();
        for (tag, content) in stream.descriptors.iter().filter(|(tag, _)| KEPT.contains(tag)) {
            descriptors.extend([*tag, u8::try_from(content.len()).ok()?]);
            descriptors.extend(content);
        }
        (descriptors.len() <= MAX_DESCRIPTOR_BYTES).then_some(Self { stream_type: stream.stream_type, descriptors })
    }

    /// What it carries.
    #[must_use]
    pub fn kind(&self) -> AuxKind {
        let has = |wanted: u8| self.descriptors().any(|(tag, _)| tag == wanted);
        match self.stream_type {
            0x86 => AuxKind::Splices,
            0x06 if has(0x56) || has(0x46) || has(0x45) => AuxKind::Teletext,
            0x06 if has(0x59) => AuxKind::Subtitles,
            _ => AuxKind::Data,
        }
    }

    /// Tags and contents of its descriptors.
    fn descriptors(&self) -> impl Iterator<Item = (u8, &[u8])> {
        let mut left = &self.descriptors[..];
        std::iter::from_fn(move || {
            let [tag, len, rest @ ..] = left else { return None };
            let (content, next) = rest.split_at_checked(usize::from(*len))?;
            left = next;
            Some((*tag, content))
        })
    }

    fn is_sound(&self) -> bool {
        let read: usize = self.descriptors().map(|(_, content)| 2 + content.len()).sum();
        read == self.descriptors.len() && read <= MAX_DESCRIPTOR_BYTES
    }
}

impl AuxUnit {
    fn is_sound(&self, streams: &[AuxStream]) -> bool {
        let Some(stream) = streams.get(usize::from(self.stream)) else { return false };
        if self.time.0.unsigned_abs() > PTS_WRAP {
            return false;
        }
        match self.pes {
            None => {
                let says = |len: [u8; 2]| 3 + usize::from(u16::from_be_bytes([len[0] & 0x0F, len[1]]));
                stream.kind() == AuxKind::Splices
                    && (MIN_SECTION_BYTES..=1024).contains(&self.data.len())
                    && self.data.get(1..3).is_some_and(|len| says([len[0], len[1]]) == self.data.len())
                    && crc32(&self.data) == 0
            }
            Some(form) => stream.kind() != AuxKind::Splices && form.can_carry(self.data.len()),
        }
    }
}

impl PesForm {
    /// Whether a PES packet of this form can carry so many bytes: its stream id is one whose packets have a header
    /// (ISO/IEC 13818-1, 2.4.3.7), and the longest header that is written before it leaves them room.
    pub(super) fn can_carry(self, bytes: usize) -> bool {
        let bare = matches!(self.stream_id, 0..=0xBC | 0xBE | 0xBF | 0xF0 | 0xF1 | 0xF2 | 0xF8 | 0xFF);
        !bare && (1..=MAX_AUX_UNIT_BYTES - 45).contains(&bytes)
    }
}

impl AuxObject {
    /// Bytes of all units.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.units.iter().map(|unit| unit.data.len()).sum()
    }

    /// The object as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + 64 + self.bytes() + 24 * self.units.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[VERSION, 0, 0, 0]);
        bytes.resize(HEADER_BYTES, 0);
        let mut e = minicbor::Encoder::new(&mut bytes);
        let written: Result<(), minicbor::encode::Error<std::convert::Infallible>> = (|| {
            e.array(3)?.encode(self.chunk)?.encode(&self.streams)?.encode(&self.units)?;
            Ok(())
        })();
        if let Err(impossible) = written {
            // A vector takes all bytes, and no field's encoder fails of itself.
            unreachable!("{impossible}");
        }
        let digest = blake3::hash(&bytes[HEADER_BYTES..]);
        bytes[8..HEADER_BYTES].copy_from_slice(&digest.as_bytes()[..16]);
        bytes
    }

    /// Reads an object and checks all of it.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, AuxError> {
        let Some((header, body)) = bytes.split_first_chunk::<HEADER_BYTES>() else { return Err(AuxError::Magic) };
        if header[..4] != MAGIC {
            return Err(AuxError::Magic);
        }
        if header[4] != VERSION || header[5..8] != [0; 3] {
            return Err(AuxError::Version(header[4]));
        }
        if body.len() > 2 * MAX_AUX_BYTES {
            return Err(AuxError::TooLarge);
        }
        if header[8..] != blake3::hash(body).as_bytes()[..16] {
            return Err(AuxError::Digest);
        }
        let object = Self::read(body)?;
        if let Some(at) = object.streams.iter().position(|stream| !stream.is_sound()) {
            return Err(AuxError::Stream(at));
        }
        let in_order = |at: usize| at == 0 || object.units[at - 1].order() <= object.units[at].order();
        let bad = |(at, unit): (usize, &AuxUnit)| !unit.is_sound(&object.streams) || !in_order(at);
        match object.units.iter().enumerate().position(bad) {
            Some(at) => Err(AuxError::Unit(at)),
            None if object.bytes() > MAX_AUX_BYTES => Err(AuxError::TooLarge),
            None => Ok(object),
        }
    }

    fn read(body: &[u8]) -> Result<Self, AuxError> {
        let malformed = |e: minicbor::decode::Error| AuxError::Malformed(e.to_string());
        let mut d = minicbor::Decoder::new(body);
        if d.array().map_err(malformed)? != Some(3) {
            return Err(AuxError::Malformed("not three parts".into()));
        }
        let chunk = d.decode().map_err(malformed)?;
        let streams = list(&mut d, MAX_AUX_STREAMS)?;
        let units = list(&mut d, MAX_AUX_UNITS)?;
        if d.position() != body.len() {
            return Err(AuxError::Malformed("bytes after the object".into()));
        }
        Ok(Self { chunk, streams, units })
    }
}

/// A list of bounded length. Its count is only a claim until the bytes follow, and reserves nothing.
fn list<'b, T: Decode<'b, ()>>(d: &mut minicbor::Decoder<'b>, most: usize) -> Result<Vec<T>, AuxError> {
    let malformed = |e: minicbor::decode::Error| AuxError::Malformed(e.to_string());
    let count = d.array().map_err(malformed)?.ok_or(AuxError::Malformed("unbounded list".into()))?;
    if count > most as u64 {
        return Err(AuxError::TooLarge);
    }
    let mut items = Vec::new();
    for _ in 0..count {
        items.push(d.decode().map_err(malformed)?);
    }
    Ok(items)
}

impl AuxUnit {
    /// By what units are sorted; those that are alike stay in the order received.
    pub(super) fn order(&self) -> (Ticks, u8) {
        (self.time, self.stream)
    }
}
