//! A home plays its recording, and what came out is held against the source.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use aftercast_protocol::ids::ChunkCid;
use anyhow::Context;

use super::group::Member;
use super::prepare::Programme;
use crate::media::compare::{pictures, sound};
use crate::media::ffmpeg::{Decoded, Frame, decode, decode_both, psnr};
use crate::processes::{ChunkLine, NodeStatus, PATIENCE, fetch, fetch_range, get_text, segment_names};
use crate::report::{HeadReport, PlayerReport};

/// Plays the whole recording of a home as FFmpeg's HLS player would, as fast as it comes.
pub fn play(
    member: &Member,
    programme: &Programme,
    source: &(Decoded, Decoded),
    folder: &Path,
) -> anyhow::Result<PlayerReport> {
    let (node, id) = (&member.node, member.recording.as_str());
    let chunks = programme.chunks.len() as u64;
    let known = |status: &NodeStatus| {
        let manifest = status.recording(id)?.manifest.as_ref()?;
        (manifest.complete && manifest.chunks >= chunks).then_some(())
    };
    // What is missing is told below.
    let _ = node.wait_for("it knows the whole recording", PATIENCE, known);
    let began = Instant::now();
    let playlist = node.playlist(id)?;
    let (video, audio) = decode_both(Path::new(&playlist)).with_context(|| format!("{} plays", node.name()))?;
    let took_seconds = began.elapsed().as_secs_f64();
    // Before anything below asks for the same bytes again.
    let status = node.status()?;
    let counted = status.played(id);

    let names = segment_names(&get_text(&playlist, PATIENCE)?);
    let head_name = names.first().filter(|name| name.starts_with("head-")).cloned();
    let cids = programme.cids();
    let segments = judge_segments(member, &names, &cids)?;
    let expected: Vec<&ChunkLine> = programme.chunks.iter().collect();
    // Behind a head, or behind what the home received of the edge, a decoder needs a moment: compared from the next on.
    let begins_otherwise = head_name.is_some() || segments.first_is_edge;
    let from = expected.get(usize::from(begins_otherwise)).map_or(0, |line| line.pts as i64);
    let span = from..expected.last().map_or(0, |line| (line.pts + line.duration) as i64);
    let wrong_in_file = wrong_in_file(member, &segments.whole)?;
    let head = head_name.map(|name| check_head(member, &name, expected[0], &source.0, folder)).transpose()?;
    Ok(PlayerReport {
        home: member.home.name.to_owned(),
        segments: names.len() as u64,
        bytes_local: counted.bytes_local,
        bytes_peer: counted.bytes_peer,
        bytes_seed: counted.bytes_seed,
        bytes_head: counted.bytes_head,
        startup_ms: counted.startup_ms,
        late: counted.late,
        took_seconds,
        pictures: pictures(&source.0.frames, &video.frames, &span),
        sound: sound(&source.1.frames, &audio.frames, &span),
        complaints: video.complaints,
        wrong_segments: segments.wrong,
        edge_segments: segments.edges,
        wrong_in_file,
        wrong_answers: counted.wrong_groups,
        head,
    })
}

fn cid_of(bytes: &[u8]) -> String {
    ChunkCid(*blake3::hash(bytes).as_bytes()).to_string()
}

/// What came of looking at every segment.
struct Segments {
    /// Those that are not the chunk of the source at their place; missing chunks count too.
    wrong: u64,
    /// Those at places where the source itself has no whole chunk: what the home received of an edge, for itself only.
    edges: u64,
    first_is_edge: bool,
    /// The whole form of all of them, one behind the other.
    whole: Vec<u8>,
}

fn judge_segments(member: &Member, names: &[String], cids: &BTreeMap<u64, String>) -> anyhow::Result<Segments> {
    let mut result = Segments { wrong: 0, edges: 0, first_is_edge: false, whole: Vec::new() };
    let mut right = 0;
    for (n, name) in names.iter().enumerate() {
        let name = name.trim_start_matches("head-");
        let bytes = fetch(&member.node.url(&format!("/recordings/{}/{name}", member.recording))?)?;
        let index = name.trim_end_matches(".ts").rsplit('-').next().and_then(|index| index.parse().ok());
        match index.and_then(|index: u64| cids.get(&index)) {
            None => {
                result.edges += 1;
                result.first_is_edge |= n == 0;
            }
            Some(cid) if *cid == cid_of(&bytes) => right += 1,
            Some(_) => result.wrong += 1,
        }
        result.whole.extend(bytes);
    }
    result.wrong += (cids.len() as u64).saturating_sub(right + result.wrong);
    Ok(result)
}

/// Whether the one-file form is its segments one behind the other, and a range is what it says.
fn wrong_in_file(member: &Member, expected: &[u8]) -> anyhow::Result<u64> {
    let url = member.node.stream(&member.recording)?;
    let file = fetch(&url)?;
    let (from, to) = (file.len() / 3, file.len() / 2);
    let (status, part) = fetch_range(&url, &format!("bytes={from}-{to}"))?;
    let range_is_right = status == 206 && file.get(from..=to) == Some(&part[..]);
    Ok(u64::from(file != expected) + u64::from(!range_is_right))
}

fn check_head(
    member: &Member,
    name: &str,
    first: &ChunkLine,
    source: &Decoded,
    folder: &Path,
) -> anyhow::Result<HeadReport> {
    let base = format!("/recordings/{}/", member.recording);
    let small = fetch(&member.node.url(&format!("{base}{name}"))?)?;
    let whole = fetch(&member.node.url(&format!("{base}{}", name.trim_start_matches("head-")))?)?;
    let (small_path, whole_path) = (folder.join("head.ts"), folder.join("first-chunk.ts"));
    std::fs::write(&small_path, &small)?;
    std::fs::write(&whole_path, &whole)?;
    let times = |frames: &[Frame]| frames.iter().map(|frame| frame.pts).collect::<Vec<_>>();
    let span = first.pts as i64..(first.pts + first.duration) as i64;
    let expected: Vec<_> = times(&source.frames).into_iter().filter(|pts| span.contains(pts)).collect();
    let got = times(&decode(&small_path, "v:0")?.frames);
    Ok(HeadReport {
        bytes: small.len() as u64,
        chunk_bytes: whole.len() as u64,
        frames: got.len() as u64,
        source_frames: expected.len() as u64,
        same_times: got == expected,
        psnr_db: psnr(&small_path, &whole_path)?,
    })
}
