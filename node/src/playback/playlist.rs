//! Playlists as text: HLS (RFC 8216) of one recording, and the list of recordings for players that take M3U.

use std::fmt::Write as _;

use aftercast_protocol::ids::{ChunkIndex, Slot, TimelineId};
use aftercast_protocol::time::UnixMillis;

use super::cells::{Cell, Media};
use super::ports::Listed;

/// HLS media playlist of a recording. `cells` are all that can be played so far; `complete` once there will be no
/// more. The head, if any, stands in place of the first chunk.
///
/// EVENT while it grows, so that a player may go back to the beginning; VOD after. Gaps are left out between
/// discontinuities and show in the dates: `EXT-X-GAP` would be honest too, but FFmpeg up to 5.1 asks for such
/// segments and complains that they are not there.
#[must_use]
pub fn hls(cells: &[Cell], complete: bool) -> String {
    // Longest segment, rounded to the nearest second (RFC 8216, 4.3.3.1).
    let target = cells.iter().map(|cell| (cell.duration.0 + 45_000) / 90_000).max().unwrap_or(1).max(1);
    let kind = if complete { "VOD" } else { "EVENT" };
    // 3: durations with fractions (RFC 8216, 7).
    let mut text = format!(
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:{target}\n#EXT-X-MEDIA-SEQUENCE:0\n\
         #EXT-X-PLAYLIST-TYPE:{kind}\n#EXT-X-START:TIME-OFFSET=0\n"
    );
    for (before, cell) in [None].into_iter().chain(cells.iter().map(Some)).zip(cells) {
        segment(&mut text, before, cell);
    }
    if complete {
        text.push_str("#EXT-X-ENDLIST\n");
    }
    text
}

fn segment(text: &mut String, before: Option<&Cell>, cell: &Cell) {
    let after_head = before.is_some_and(|before| matches!(before.media, Media::Head { .. }));
    if cell.fresh || after_head {
        text.push_str("#EXT-X-DISCONTINUITY\n");
    }
    // Microseconds from 90 kHz, rounded down: 5 places of 1/100,000 s say 1/90,000 s apart.
    let micros = cell.duration.0.unsigned_abs().saturating_mul(100) / 9;
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "#EXT-X-PROGRAM-DATE-TIME:{}\n#EXTINF:{seconds}.{fraction:06},\n{}\n",
        iso8601(cell.utc),
        segment_name(cell)
    );
}

/// Name of a cell's segment, relative to its playlist.
#[must_use]
pub fn segment_name(cell: &Cell) -> String {
    let prefix = if matches!(cell.media, Media::Head { .. }) { "head-" } else { "" };
    format!("{prefix}{}-{}.ts", cell.slot.timeline, cell.slot.index)
}

/// Reads a segment's name: its place, and whether its head is meant.
#[must_use]
pub fn parse_segment_name(name: &str) -> Option<(Slot, bool)> {
    let stem = name.strip_suffix(".ts")?;
    let (head, place) = stem.strip_prefix("head-").map_or((false, stem), |place| (true, place));
    let (timeline, index) = place.split_once('-')?;
    let slot = Slot { timeline: TimelineId(digits(timeline)?), index: ChunkIndex(digits(index)?) };
    Some((slot, head))
}

/// One number has one spelling, so that one segment has one name.
fn digits<T: std::str::FromStr + std::fmt::Display>(text: &str) -> Option<T> {
    text.parse().ok().filter(|number: &T| number.to_string() == text)
}

/// The recordings as a list for players. `base` is where this device answers, such as `http://127.0.0.1:8080`.
#[must_use]
pub fn m3u(recordings: &[Listed], base: &str) -> String {
    let mut text = String::from("#EXTM3U\n");
    for Listed { recording, channel, from, running } in recordings {
        let note = if *running { " (recording)" } else { "" };
        // -1: of unknown length. Names of channels hold no comma or line end (ids.rs).
        let _ =
            write!(text, "#EXTINF:-1,{channel} {}{note}\n{base}/recordings/{recording}/index.m3u8\n", iso8601(*from));
    }
    text
}

/// A wall time as ISO 8601, UTC, with milliseconds.
pub(crate) fn iso8601(time: UnixMillis) -> String {
    // The end of the year 9999: beyond it the form has no room.
    let millis = time.0.min(253_402_300_799_999);
    let (days, of_day) = (millis / 86_400_000, millis % 86_400_000);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", of_day % 1000)
}

/// The Gregorian date of a day counted from 1970-01-01. Years are counted from March, so that the leap day comes last.
fn civil(days: u64) -> (u64, u64, u64) {
    // Days from 0000-03-01 to 1970-01-01, and the lengths of the calendar's cycles.
    const EPOCH: u64 = 719_468;
    const ERA: u64 = 146_097;
    let day = days + EPOCH;
    let (era, of_era) = (day / ERA, day % ERA);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / (ERA - 1)) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    // From March on, months of 31, 30, 31, 30, 31 days repeat: 153 days in five months.
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + carry, month, of_month)
}

#[cfg(test)]
mod tests {
    use aftercast_protocol::ids::{ChunkCid, RecordingId};
    use aftercast_protocol::time::{Pts33, Ticks};

    use super::*;

    fn cell(index: u64, duration: i64, fresh: bool) -> Cell {
        Cell {
            slot: Slot { timeline: TimelineId(2), index: ChunkIndex(index) },
            pts: Pts33(index * 360_000),
            duration: Ticks(duration),
            utc: UnixMillis(1_700_000_000_000 + index * 4_000),
            fresh,
            media: Media::Chunk { cid: ChunkCid([1; 32]), bytes: 188, confirmed: true },
            spare: None,
            dress: None,
        }
    }

    #[test]
    fn a_finished_recording_is_a_vod_whose_head_and_gaps_are_followed_by_discontinuities() {
        let mut head = cell(7, 360_000, false);
        head.media = Media::Head { cid: ChunkCid([2; 32]), bytes: 188 };
        let cells = [head, cell(8, 360_000, false), cell(9, 453_600, false), cell(12, 1, true)];
        assert_eq!(
            hls(&cells, true),
            "#EXTM3U\n\
             #EXT-X-VERSION:3\n\
             #EXT-X-TARGETDURATION:5\n\
             #EXT-X-MEDIA-SEQUENCE:0\n\
             #EXT-X-PLAYLIST-TYPE:VOD\n\
             #EXT-X-START:TIME-OFFSET=0\n\
             #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:48.000Z\n\
             #EXTINF:4.000000,\n\
             head-2-7.ts\n\
             #EXT-X-DISCONTINUITY\n\
             #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:52.000Z\n\
             #EXTINF:4.000000,\n\
             2-8.ts\n\
             #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:56.000Z\n\
             #EXTINF:5.040000,\n\
             2-9.ts\n\
             #EXT-X-DISCONTINUITY\n\
             #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:14:08.000Z\n\
             #EXTINF:0.000011,\n\
             2-12.ts\n\
             #EXT-X-ENDLIST\n"
        );
    }

    #[test]
    fn a_growing_recording_is_an_event_that_only_gets_longer() {
        let cells = [cell(7, 360_000, false), cell(8, 360_000, false)];
        let (short, long) = (hls(&cells[..1], false), hls(&cells, false));
        assert!(short.contains("#EXT-X-PLAYLIST-TYPE:EVENT\n") && !long.contains("ENDLIST"));
        assert!(long.starts_with(&short));
    }

    #[test]
    fn segments_have_one_name_each() {
        let mut head = cell(7, 1, false);
        assert_eq!(parse_segment_name(&segment_name(&head)), Some((head.slot, false)));
        head.media = Media::Head { cid: ChunkCid([2; 32]), bytes: 188 };
        assert_eq!(parse_segment_name(&segment_name(&head)), Some((head.slot, true)));
        for name in [
            "",
            ".ts",
            "2-7",
            "2.ts",
            "-7.ts",
            "2-07.ts",
            "+2-7.ts",
            "2-7-1.ts",
            "head-head-2-7.ts",
            "2-99999999999999999999.ts",
        ] {
            assert_eq!(parse_segment_name(name), None, "{name}");
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_123, "2000-02-29T00:00:00.123Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (u64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(iso8601(UnixMillis(millis)), text);
        }
    }

    #[test]
    fn recordings_are_listed_for_players() {
        let listed = Listed {
            recording: RecordingId([0xab; 16]),
            channel: "one".parse().unwrap(),
            from: UnixMillis(0),
            running: true,
        };
        assert_eq!(
            m3u(&[listed], "http://127.0.0.1:1"),
            "#EXTM3U\n#EXTINF:-1,one 1970-01-01T00:00:00.000Z (recording)\n\
             http://127.0.0.1:1/recordings/abababababababababababababababab/index.m3u8\n"
        );
    }
}
