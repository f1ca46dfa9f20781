//! A cell on its way to a player, written with what came beside its core.
//!
//! ```text
//! chunk, aux object held     all of it is read, and written anew by the layout
//! chunk alone                packets pass; its maps announce the layout's streams where they stand; null packets at
//!                            the end, where its aux object is gone, so that the length stays what players were told
//! ```

use std::ops::Range;
use std::sync::Arc;

use aftercast_protocol::ccf::{AuxLayout, AuxObject};
use aftercast_protocol::time::Pts33;
use bytes::Bytes;

use super::cells::{Cell, Dress, Media};
use super::ports::Shelf;
use crate::library::blocking;

/// Length of a transport stream packet (ISO/IEC 13818-1, 2.4.3.2).
const PACKET: usize = 188;
/// Null packets that are given at once.
const NULLS: u64 = 256;

/// Writes a cell for players.
pub(super) struct Coat {
    layout: Arc<AuxLayout>,
    /// To be written with the chunk once all of it is here.
    aux: Option<AuxObject>,
    pts: Pts33,
    /// Length of the chunk.
    len: u64,
    /// Bytes of what is written that the player still gets.
    wanted: Range<u64>,
    /// Bytes of the chunk that came and are not handed on yet, and where they begin.
    held: Vec<u8>,
    at: u64,
}

/// What a coat has to give.
pub(super) enum Given {
    Bytes(Bytes),
    /// More of the chunk is needed.
    More,
    End,
}

impl Coat {
    /// For the bytes `wanted` of a cell as it is written for players, and the bytes of its chunk that this takes.
    pub fn new(shelf: &dyn Shelf, cell: &Cell, media: Media, dress: Dress, wanted: Range<u64>) -> (Self, Range<u64>) {
        let len = media.bytes();
        let aux = if dress.bytes > len { blocking(|| shelf.aux(media.cid())) } else { None };
        // As it was when the length was told; a layout only grows, and what it grows by is not in this object.
        let aux = aux.filter(|aux| dress.layout.len_of(len, Some(aux)) == Some(dress.bytes));
        let packet = PACKET as u64;
        let part = match aux {
            Some(_) => 0..len,
            None => (wanted.start / packet * packet).min(len)..wanted.end.next_multiple_of(packet).min(len),
        };
        let coat = Self { layout: dress.layout, aux, pts: cell.pts, len, wanted, held: Vec::new(), at: part.start };
        (coat, part)
    }

    /// Whether the player has all of it.
    pub fn is_done(&self) -> bool {
        self.wanted.is_empty()
    }

    /// The player gets no more.
    pub fn end(&mut self) {
        self.wanted.start = self.wanted.end;
    }

    /// Takes bytes of the chunk that follow those before.
    pub fn push(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// What can be given now.
    pub fn give(&mut self) -> Given {
        loop {
            if self.is_done() {
                return Given::End;
            }
            let came = self.at + self.held.len() as u64;
            let written = match &self.aux {
                Some(_) if came < self.len => return Given::More,
                Some(aux) => {
                    let written = self.layout.mux(&self.held, self.pts, Some(aux));
                    self.aux = None;
                    // Verified bytes of a chunk can be written; were it otherwise they go out as they are.
                    match written {
                        Ok(written) => {
                            self.len = written.len() as u64;
                            self.held.clear();
                            written
                        }
                        Err(error) => {
                            tracing::error!(%error, "a chunk cannot be written for players");
                            std::mem::take(&mut self.held)
                        }
                    }
                }
                None if self.at >= self.len => null_packets(),
                None => {
                    let mut packets = std::mem::take(&mut self.held);
                    if came < self.len {
                        self.held = packets.split_off(packets.len() / PACKET * PACKET);
                    }
                    if packets.is_empty() {
                        return Given::More;
                    }
                    packets.as_chunks_mut::<PACKET>().0.iter_mut().for_each(|packet| self.layout.announce(packet));
                    packets
                }
            };
            let end = self.at + written.len() as u64;
            let from = self.wanted.start.clamp(self.at, end) - self.at;
            let to = self.wanted.end.clamp(self.at, end) - self.at;
            self.at = end;
            if from < to {
                self.wanted.start += to - from;
                return Given::Bytes(Bytes::from(written).slice(from as usize..to as usize));
            }
        }
    }
}

fn null_packets() -> Vec<u8> {
    let mut packet = [0xFF; PACKET];
    packet[..4].copy_from_slice(&[0x47, 0x1F, 0xFF, 0x10]);
    packet.repeat(NULLS as usize)
}

#[cfg(test)]
mod tests {
    use aftercast_protocol::ccf::{AuxStream, AuxUnit, ChunkState, Chunker, ChunkerEvent, PesForm, ProgramSelect};
    use aftercast_protocol::ids::{ChunkCid, ChunkIndex, Slot, TimelineId};
    use aftercast_protocol::time::{Ticks, UnixMillis};
    use proptest::prelude::*;

    use super::*;
    use crate::playback::tests::support::Home;

    /// A chunk, and an aux object for it.
    fn chunk() -> (Vec<u8>, Pts33, AuxObject) {
        let mut chunker = Chunker::discover(Ticks(43_200), ProgramSelect::First).unwrap();
        chunker.push(include_bytes!("../../../protocol/tests/data/avc-aac.ts"));
        chunker.finish();
        let clean = std::iter::from_fn(|| chunker.poll_event()).find_map(|event| match event {
            ChunkerEvent::Chunk(chunk) => match chunk.state {
                ChunkState::Clean(clean) => Some((clean.bytes, chunk.pts)),
                ChunkState::Withheld(_) => None,
            },
            _ => None,
        });
        let (bytes, pts) = clean.expect("the source has whole chunks");
        let stream = AuxStream { stream_type: 0x06, descriptors: b"\x59\x08fra\x10\x00\x01\x00\x01".to_vec() };
        let pes = Some(PesForm { stream_id: 0xBD, timed: true, aligned: true });
        let unit = |time| AuxUnit { stream: 0, time: Ticks(time), pes, data: vec![7; 700] };
        (bytes, pts, AuxObject { chunk: None, streams: vec![stream], units: vec![unit(0), unit(9000)] })
    }

    fn cell(bytes: &[u8], pts: Pts33, dress: Dress) -> Cell {
        let media = Media::Chunk { cid: ChunkCid::of(bytes), bytes: bytes.len() as u64, confirmed: true };
        Cell {
            slot: Slot { timeline: TimelineId(0), index: ChunkIndex(0) },
            pts,
            duration: Ticks(43_200),
            utc: UnixMillis(0),
            fresh: false,
            media,
            spare: None,
            dress: Some(dress),
        }
    }

    /// What a player gets that asks for a range, where the chunk comes in pieces of this size.
    fn given(home: &Home, bytes: &[u8], cell: &Cell, wanted: Range<u64>, piece: usize) -> Vec<u8> {
        let dress = cell.dress_of(cell.media).unwrap();
        let (mut coat, part) = Coat::new(home, cell, cell.media, dress, wanted);
        let mut pieces = bytes[part.start as usize..part.end as usize].chunks(piece);
        let mut out = Vec::new();
        loop {
            match coat.give() {
                Given::Bytes(bytes) => out.extend_from_slice(&bytes),
                Given::More => coat.push(pieces.next().expect("it asked for enough")),
                Given::End => return out,
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
        #[test]
        fn any_range_is_that_of_the_whole_with_units_without_and_where_they_are_gone(
            from in 0.0f64..1.0,
            share in 0.0f64..1.0,
            piece in 1usize..70_000,
        ) {
            let (bytes, pts, aux) = chunk();
            let mut layout = AuxLayout::default();
            layout.learn(&bytes, &aux.streams);
            let with = layout.mux(&bytes, pts, Some(&aux)).unwrap();
            let without = layout.mux(&bytes, pts, None).unwrap();
            let layout = Arc::new(layout);
            let padded = [&without[..], &null_packets()[..with.len() - without.len()]].concat();
            let mut holding = Home::default();
            holding.aux.insert(ChunkCid::of(&bytes), aux);
            let cases = [(&holding, &with), (&holding, &without), (&Home::default(), &padded)];
            for (home, whole) in cases {
                let dress = Dress { layout: Arc::clone(&layout), bytes: whole.len() as u64 };
                let start = (from * whole.len() as f64) as usize;
                let end = start + (share * (whole.len() - start) as f64) as usize;
                let cell = cell(&bytes, pts, dress);
                let given = given(home, &bytes, &cell, start as u64..end as u64, piece);
                prop_assert!(given == whole[start..end]);
            }
        }
    }
}
