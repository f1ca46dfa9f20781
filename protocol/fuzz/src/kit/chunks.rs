//! Chunks: made of a stream, read, indexed, enveloped, repaired, put together from several.

use std::sync::OnceLock;

use aftercast_protocol::ccf::{
    Agreement, Bounds, Chunk, ChunkPlan, ChunkState, Chunker, ChunkerEvent, CleanChunk, Profile, ProgramSelect, Repair,
    Unit, UnitIndex, Voice, check_canonical, object, read_units, write_chunk,
};
use aftercast_protocol::ids::ChunkCid;
use aftercast_protocol::limits::{MAX_CHUNK_BYTES, MAX_CHUNK_UNITS};
use aftercast_protocol::time::Ticks;

use super::pieces::pieces;
use super::sources::SOURCES;

/// Short ones, since the sources are.
const INTERVALS: [i64; 4] = [18_000, 36_000, 43_200, 90_000];

/// How an input wants its stream cut, by a byte.
pub fn interval(how: u8) -> Ticks {
    Ticks(INTERVALS[usize::from(how & 3)])
}

/// A transport stream behind a byte that says how it is cut.
pub fn chunker(input: &[u8]) {
    let Some((&how, stream)) = input.split_first() else { return };
    let program = match how >> 2 & 3 {
        0 => ProgramSelect::Number(1),
        1 => ProgramSelect::Name("Service01".into()),
        _ => ProgramSelect::First,
    };
    check_stream(stream, || Chunker::discover(interval(how), program.clone()).expect("a legal interval"));
}

pub fn chunker_seeds() -> Vec<Vec<u8>> {
    SOURCES.iter().map(|(_, stream)| [&[0x08], *stream].concat()).collect()
}

/// Events of a whole run, and the plan that was in force.
fn run<'a>(mut chunker: Chunker, pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<ChunkerEvent>, Option<ChunkPlan>) {
    let mut events = Vec::new();
    for piece in pieces {
        chunker.push(piece);
        events.extend(std::iter::from_fn(|| chunker.poll_event()));
    }
    chunker.finish();
    events.extend(std::iter::from_fn(|| chunker.poll_event()));
    (events, chunker.plan().cloned())
}

/// The promises of a chunker on any stream: read sizes do not matter (law e); what is emitted reads as it was written
/// and, joined, is cut into the same again (law d).
pub fn check_stream(stream: &[u8], chunker: impl Fn() -> Chunker) {
    let (events, plan) = run(chunker(), std::iter::once(stream));
    assert_eq!(events, run(chunker(), pieces(stream, 5)).0, "the same whatever the read sizes");
    let Some(plan) = plan else { return };
    let chunks: Vec<&Chunk> = events
        .iter()
        .filter_map(|event| if let ChunkerEvent::Chunk(chunk) = event { Some(chunk) } else { None })
        .collect();
    chunks.iter().for_each(|chunk| check_chunk(chunk));
    let clean: Vec<(&Chunk, &CleanChunk)> = chunks.iter().filter_map(|chunk| Some((*chunk, clean(chunk)?))).collect();
    for run in clean.chunk_by(|(one, _), (next, _)| follows(one, next)).filter(|run| run.len() > 2) {
        check_joined(run, &plan);
    }
}

fn clean(chunk: &Chunk) -> Option<&CleanChunk> {
    if let ChunkState::Clean(clean) = &chunk.state { Some(clean) } else { None }
}

fn index_of(chunk: &Chunk, clean: &CleanChunk) -> UnitIndex {
    UnitIndex::of_chunk(chunk.pts, &clean.bytes).expect("our own form")
}

fn follows(one: &Chunk, next: &Chunk) -> bool {
    one.timeline == next.timeline && one.pts.0 + one.duration.0 as u64 == next.pts.0
}

fn check_chunk(chunk: &Chunk) {
    let made;
    let (bytes, index) = match &chunk.state {
        ChunkState::Clean(clean) => {
            assert_eq!(clean.cid, ChunkCid::of(&clean.bytes));
            assert_eq!(check_canonical(&clean.bytes), Ok(()));
            made = index_of(chunk, clean);
            (&clean.bytes, &made)
        }
        ChunkState::Withheld(withheld) => match &withheld.salvaged {
            Some(bytes) => (bytes, &withheld.units),
            None => return,
        },
    };
    assert!(bytes.len() <= MAX_CHUNK_BYTES && index.units.len() <= MAX_CHUNK_UNITS);
    assert_eq!(UnitIndex::decode(&index.encode()).as_ref(), Ok(index));
    let (_, units) = read_units(bytes).expect("our own form");
    assert_eq!(units.len(), index.units.len());
    for (unit, entry) in units.iter().zip(&index.units) {
        assert_eq!(unit.stream, entry.stream);
        assert_eq!(ChunkCid::of(&unit.data).0[..16], entry.digest.0);
        assert_eq!((unit.pts - unit.dts).0, entry.pts.0 - entry.dts.0);
        assert!(entry.start as usize + entry.len as usize <= bytes.len());
    }
}

/// Chunks that follow one another, joined and cut again: the same pictures at the same times, and no audio that was not
/// there, in its order. Its groups may differ: where received times strayed from the count of frames, by less than half
/// of one, a chunk does not tell by how much.
fn check_joined(run_of: &[(&Chunk, &CleanChunk)], plan: &ChunkPlan) {
    let joined: Vec<u8> = run_of.iter().flat_map(|(_, clean)| &clean.bytes).copied().collect();
    let chunker = Chunker::new(ChunkPlan { anchors: Vec::new(), ..plan.clone() }, ProgramSelect::First);
    let (events, _) = run(chunker.expect("the plan in force"), std::iter::once(&joined[..]));
    let has_video = plan.profile.video.is_some();
    for event in &events {
        let ChunkerEvent::Chunk(chunk) = event else { continue };
        let Some(again) = clean(chunk) else { continue };
        if has_video {
            let first = run_of.iter().find(|(first, _)| first.pts == chunk.pts).expect("a boundary that was one");
            assert_eq!(
                pictures(first.0, first.1),
                pictures(chunk, again),
                "{} at {} of the joined chunks",
                chunk.index,
                chunk.pts
            );
        }
        for stream in u8::from(has_video)..plan.profile.streams() as u8 {
            let all: Vec<u8> = run_of.iter().flat_map(|(_, clean)| audio(clean, stream)).collect();
            let part = audio(again, stream);
            assert!(part.is_empty() || memmem(&all, &part), "audio {stream} of {} is of the joined ones", chunk.index);
        }
    }
}

/// PTS, DTS and digest of a chunk's pictures.
fn pictures(chunk: &Chunk, clean: &CleanChunk) -> Vec<(Ticks, Ticks, [u8; 16])> {
    let video = index_of(chunk, clean).units.into_iter().filter(|unit| unit.stream == 0);
    video.map(|unit| (unit.pts, unit.dts, unit.digest.0)).collect()
}

fn audio(clean: &CleanChunk, stream: u8) -> Vec<u8> {
    let (_, units) = read_units(&clean.bytes).expect("canonical");
    units.into_iter().filter(|unit| unit.stream == stream).flat_map(|unit| unit.data).collect()
}

fn memmem(all: &[u8], part: &[u8]) -> bool {
    all.windows(part.len()).any(|window| window == part)
}

/// A source cut once: what repair and combination begin with.
struct Reference {
    profile: Profile,
    chunks: Vec<Known>,
}

/// A chunk, its form and index, and the DTS of the next one's opening unit from its own PTS.
struct Known {
    chunk: Chunk,
    wanted: CleanChunk,
    index: UnitIndex,
    next_dts: Ticks,
}

fn references() -> &'static [Reference] {
    static REFERENCES: OnceLock<Vec<Reference>> = OnceLock::new();
    REFERENCES.get_or_init(|| SOURCES.iter().map(|(_, stream)| reference(stream)).collect())
}

fn reference(stream: &[u8]) -> Reference {
    let chunker = Chunker::discover(interval(2), ProgramSelect::First).expect("a legal interval");
    let (events, plan) = run(chunker, std::iter::once(stream));
    let chunks: Vec<Chunk> = events
        .into_iter()
        .filter_map(|event| if let ChunkerEvent::Chunk(chunk) = event { Some(chunk) } else { None })
        .collect();
    let pairs = chunks.windows(2).filter_map(|pair| {
        let (own, next) = (clean(&pair[0])?, clean(&pair[1])?);
        let next_dts = Ticks(pair[0].duration.0 + index_of(&pair[1], next).units.first()?.dts.0);
        let index = index_of(&pair[0], own);
        Some(Known { chunk: pair[0].clone(), wanted: own.clone(), index, next_dts })
    });
    Reference { profile: plan.expect("discovered").profile, chunks: pairs.collect() }
}

/// Bytes that are said to be a chunk. What can be read and written again is canonical.
pub fn reader(input: &[u8]) {
    let Ok((profile, units)) = read_units(input) else {
        assert!(check_canonical(input).is_err());
        return;
    };
    assert!(units.iter().map(|unit| unit.data.len()).sum::<usize>() <= input.len());
    // Times of 33 bits cannot be put in order over half a wrap, 13 hours.
    let first = units.first().map(|unit| unit.dts);
    if units.iter().any(|unit| first.is_some_and(|first| (unit.dts - first).0.unsigned_abs() >= 1 << 31)) {
        return;
    }
    if let Ok(written) = write_chunk(&profile, &units) {
        assert_eq!(check_canonical(&written), Ok(()), "what the writer writes is canonical");
        assert_eq!(check_canonical(input).is_ok(), written == input);
    }
}

pub fn reader_seeds() -> Vec<Vec<u8>> {
    references().iter().flat_map(|one| one.chunks.first()).map(|known| known.wanted.bytes.clone()).collect()
}

pub fn unit_index(input: &[u8]) {
    let Ok(index) = UnitIndex::decode(input) else { return };
    // At least 20 bytes an entry.
    assert!(20 * index.units.len() <= input.len());
    assert_eq!(UnitIndex::decode(&index.encode()), Ok(index));
}

pub fn unit_index_seeds() -> Vec<Vec<u8>> {
    references().iter().flat_map(|one| one.chunks.first()).map(|known| known.index.encode()).collect()
}

/// Behind a byte: an object as it stands, or contents to make one of, and damage.
pub fn object(input: &[u8]) {
    let Some((&how, rest)) = input.split_first() else { return };
    if how & 1 == 0 {
        if let Ok(read) = object::decode(rest) {
            assert_eq!(object::encode(read.bytes), rest, "one object for one chunk");
        }
        return;
    }
    let made = object::encode(rest);
    match object::decode(&made) {
        Ok(read) => assert_eq!((read.cid, read.bytes), (ChunkCid::of(rest), rest)),
        Err(error) => assert!(rest.is_empty(), "{error}"),
    }
    let mut damaged = made;
    let at = usize::from(how >> 1) * damaged.len() / 128;
    damaged[at] ^= 1 << (how >> 5);
    assert!(object::decode(&damaged).is_err());
}

pub fn object_seeds() -> Vec<Vec<u8>> {
    let clean = &references()[0].chunks[0].wanted;
    vec![[&[0][..], &object::encode(&clean.bytes[..9_400])].concat(), [&[3][..], &clean.bytes[..1_880]].concat()]
}

/// One change of something: what, where, and to which value.
struct Edit {
    what: u8,
    at: usize,
    value: i64,
}

/// The chunk that an input is about, and what it changes: 8 bytes each.
fn edits(input: &[u8]) -> Option<(&'static Reference, &'static Known, Vec<Edit>)> {
    let (&[which, number], rest) = input.split_first_chunk::<2>()?;
    let reference = &references()[usize::from(which) % SOURCES.len()];
    let chunk = reference.chunks.get(usize::from(number) % reference.chunks.len().max(1))?;
    let edits = rest.as_chunks::<8>().0.iter().take(64).map(|edit| Edit {
        what: edit[0],
        at: usize::from(u16::from_be_bytes([edit[1], edit[2]])) << (edit[3] & 7),
        value: i64::from(i32::from_be_bytes([edit[4], edit[5], edit[6], edit[7]])) << (edit[3] >> 4 & 7),
    });
    Some((reference, chunk, edits.collect()))
}

pub fn edit_seeds() -> Vec<Vec<u8>> {
    let seed = |source: usize| {
        let mut seed = vec![source as u8, 1];
        (0..10u8).for_each(|what| seed.extend([what, 0, 3, 0, 0, 0, 0, what]));
        seed
    };
    (0..SOURCES.len()).map(seed).collect()
}

fn edit_index(index: &mut UnitIndex, edit: &Edit) {
    if index.units.is_empty() {
        return;
    }
    let at = edit.at % index.units.len();
    let unit = &mut index.units[at];
    match edit.value & 7 {
        0 => unit.stream = (edit.value >> 3) as u8,
        1 => unit.pts = Ticks(unit.pts.0.saturating_add(edit.value >> 3)),
        2 => unit.dts = Ticks(unit.dts.0.saturating_add(edit.value >> 3)),
        3 => unit.start = (edit.value >> 3) as u32,
        4 => unit.len = (edit.value >> 3) as u32,
        5 => unit.digest.0[0] ^= (edit.value >> 3) as u8,
        6 => drop(index.units.remove(at)),
        _ => {
            let copy = *unit;
            index.units.insert(at, copy);
        }
    }
}

/// Repair with a changed index, stock and bytes: the chunk that is wanted, or none.
pub fn repair(input: &[u8]) {
    let Some((reference, Known { chunk, wanted, index: whole, .. }, edits)) = edits(input) else { return };
    let mut index = whole.clone();
    let (mut stock, mut served) = (wanted.bytes.clone(), wanted.bytes.clone());
    for edit in &edits {
        match edit.what % 5 {
            0 => edit_index(&mut index, edit),
            1 | 2 => {
                let bytes = if edit.what % 5 == 1 { &mut stock } else { &mut served };
                let at = edit.at % bytes.len().max(1);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= edit.value as u8;
                }
            }
            3 => stock.truncate(stock.len().saturating_sub(edit.at % 3_000)),
            _ => {}
        }
    }
    let Ok(mut repair) = Repair::new(&reference.profile, chunk.pts, &index) else { return };
    let held = repair.stock(&stock).unwrap_or(0);
    assert!(held <= index.units.len());
    for edit in edits.iter().filter(|edit| edit.what % 5 == 4) {
        let from = edit.at.min(served.len());
        let to = from.saturating_add(edit.value.unsigned_abs() as usize).min(served.len());
        let _ = repair.handle_bytes(from as u64, &served[from..to]);
        let _ = repair.handle_bytes(edit.value as u64, &served[from..to]);
    }
    let missing = repair.missing();
    let mut end = 0;
    // Ranges follow one another where the index's do; the decoder refuses any other.
    let decoded = UnitIndex::decode(&index.encode()).is_ok();
    for range in missing.iter().filter(|_| decoded) {
        assert!(end <= range.start && range.start <= range.end);
        end = range.end;
    }
    let _ = repair.handle_bytes(0, &served);
    if let Ok(bytes) = repair.finish(wanted.cid) {
        assert_eq!(bytes, wanted.bytes);
    }
    // With the right index nothing that was taken before can hinder.
    if index == *whole {
        let taken = repair.handle_bytes(0, &wanted.bytes);
        assert!(taken.is_ok());
        assert_eq!(repair.finish(wanted.cid).as_ref(), Ok(&wanted.bytes));
    }
}

/// Three voices with changed indexes: a chunk in canonical form, or none.
pub fn combine(input: &[u8]) {
    let Some((reference, Known { chunk, wanted, index: whole, next_dts }, edits)) = edits(input) else { return };
    let mut indexes = [whole.clone(), whole.clone(), whole.clone()];
    let mut bounds = Bounds { opening: chunk.opening, duration: chunk.duration, next_dts: *next_dts };
    let mut subscribers = [0, 1, 2];
    for edit in &edits {
        match edit.what % 8 {
            who @ 0..3 => edit_index(&mut indexes[usize::from(who)], edit),
            3 => indexes.iter_mut().for_each(|index| edit_index(index, edit)),
            4 => indexes.iter_mut().take(2).for_each(|index| edit_index(index, edit)),
            5 => bounds.duration = Ticks(bounds.duration.0.saturating_add(edit.value)),
            6 => bounds.next_dts = Ticks(bounds.next_dts.0.saturating_add(edit.value)),
            _ => subscribers[edit.at % 3] = edit.value as u64,
        }
    }
    let voices: Vec<Voice<'_>> =
        subscribers.iter().zip(&indexes).map(|(&subscriber, units)| Voice { subscriber, units }).collect();
    let Ok(agreement) = Agreement::of(&reference.profile, bounds, &voices) else {
        assert!(!edits.is_empty(), "three that agree make the chunk");
        return;
    };
    let (_, units) = read_units(&wanted.bytes).expect("canonical");
    let find = |digest| whole.units.iter().position(|unit| unit.digest == digest).map(|at| &units[at]);
    let found: Vec<Option<&Unit>> = agreement.units().iter().map(|unit| find(unit.digest)).collect();
    let position = |wanted| agreement.units().iter().position(|unit| std::ptr::eq(unit, wanted));
    if let Ok(made) = agreement.build(&reference.profile, chunk.pts, |unit| found[position(unit)?]) {
        assert_eq!(made.cid, ChunkCid::of(&made.bytes));
        assert_eq!(check_canonical(&made.bytes), Ok(()));
        assert!(!edits.is_empty() || made.cid == wanted.cid);
    }
}
