//! A home plays its recording, and what came out is held against the source.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use aftercast_protocol::ids::ChunkCid;
use anyhow::Context;

use super::group::Member;
use super::prepare::Programme;
use crate::media::ffmpeg::{Decoded, Frame, decode, decode_both, psnr};
use crate::processes::{ChunkLine, NodeStatus, PATIENCE, fetch, fetch_range, get_text};
use crate::report::{HeadReport, Match, PlayerReport};

/// FFmpeg rounds times of sound that is packed otherwise, by a tick or two; and a sound decoder needs the frame before.
const SOUND_EDGE: i64 = 9_000;

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

/// Names of segments in an HLS playlist (RFC 8216, 4.1).
fn segment_names(playlist: &str) -> Vec<String> {
    playlist
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
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

/// Pictures of a span, by time and content.
fn pictures(source: &[Frame], got: &[Frame], span: &std::ops::Range<i64>) -> Match {
    let of_span =
        |frames: &[Frame]| frames.iter().filter(|frame| span.contains(&frame.pts)).cloned().collect::<Vec<_>>();
    let (expected, got) = (of_span(source), of_span(got));
    let by_time: BTreeMap<i64, &str> = expected.iter().map(|frame| (frame.pts, frame.md5.as_str())).collect();
    let equal = got.iter().filter(|frame| by_time.get(&frame.pts) == Some(&frame.md5.as_str())).count();
    Match { expected: expected.len() as u64, got: got.len() as u64, equal: equal as u64 }
}

/// Sound of a span, a little inside of its edges: FFmpeg's times of it may be a tick or two beside the source's.
fn sound(source: &[Frame], got: &[Frame], span: &std::ops::Range<i64>) -> Match {
    let inner = span.start + SOUND_EDGE..span.end - SOUND_EDGE;
    let mut by_content: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for frame in got {
        by_content.entry(&frame.md5).or_default().push(frame.pts);
    }
    let is_there = |frame: &&Frame| {
        by_content.get(frame.md5.as_str()).is_some_and(|times| times.iter().any(|pts| pts.abs_diff(frame.pts) <= 2))
    };
    let expected: Vec<&Frame> = source.iter().filter(|frame| inner.contains(&frame.pts)).collect();
    let got = got.iter().filter(|frame| (inner.start - 2..inner.end + 2).contains(&frame.pts)).count();
    let equal = expected.iter().copied().filter(|frame| is_there(frame)).count();
    Match { expected: expected.len() as u64, got: got as u64, equal: equal as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(list: &[(i64, &str)]) -> Vec<Frame> {
        list.iter().map(|(pts, md5)| Frame { pts: *pts, md5: (*md5).to_owned() }).collect()
    }

    #[test]
    fn pictures_count_by_time_and_content() {
        let source = frames(&[(0, "a"), (10, "b"), (20, "c"), (30, "d")]);
        let got = frames(&[(0, "x"), (10, "b"), (20, "x"), (25, "c")]);
        assert_eq!(pictures(&source, &got, &(10..30)), Match { expected: 2, got: 3, equal: 1 });
    }

    #[test]
    fn sound_may_be_a_tick_beside_but_not_missing() {
        let source = frames(&[(0, "a"), (10_000, "b"), (12_000, "c"), (20_000, "d")]);
        let got = frames(&[(10_001, "b"), (20_000, "d")]);
        assert_eq!(sound(&source, &got, &(0..25_000)), Match { expected: 2, got: 1, equal: 1 });
    }

    #[test]
    fn playlists_name_segments_on_lines_of_their_own() {
        assert_eq!(
            segment_names("#EXTM3U\n#EXTINF:2,\nhead-0-1.ts\r\n\n#EXTINF:2,\n0-2.ts\n"),
            ["head-0-1.ts", "0-2.ts"]
        );
    }
}
