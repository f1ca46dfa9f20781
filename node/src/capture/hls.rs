//! HTTP Live Streaming (RFC 8216) as an input: a playlist is followed, its segments are joined to one transport stream.
//!
//! ```text
//! playlist --> segments not yet taken, in order --> whole segment in memory --> blocks
//!     ^                                                                          |
//!     +------------- again, while it is not ended (RFC 8216, 6.3.4) <------------+
//! ```
//!
//! Whole segments only: what broke off is fetched again from its beginning, and the cutter must not see bytes twice.
//! A playlist that lost segments before they were fetched has a hole, which the cutter sees like any other loss.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use m3u8_rs::{KeyMethod, MasterPlaylist, MediaPlaylist, MediaSegment, Playlist};
use url::Url;

use super::{BLOCK_BYTES, Block, Outlet};

/// Longest playlist: a day of two-second segments with long names.
const MAX_PLAYLIST_BYTES: u64 = 16 * 1024 * 1024;
/// Longest segment: ten seconds of the fastest channels.
const MAX_SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
/// Longest wait for a connection and for the answer's head.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest transfer of one playlist or segment; the reader ends no later than this after it is told to.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(30);
/// Waits between attempts: doubled from the first to the last.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// Where a live playlist is joined: so many segments before its end (RFC 8216, 6.3.3).
const LIVE_EDGE: usize = 3;
/// Shortest and longest wait between two looks at a live playlist.
const RELOAD: (f32, f32) = (0.2, 30.0);

/// Why the playlist cannot be followed now.
#[derive(Debug, thiserror::Error)]
enum HlsError {
    #[error("{0}: {1}")]
    Fetch(Url, String),
    #[error("{0}: longer than {1} bytes")]
    TooLong(Url, u64),
    #[error("{0} is no playlist")]
    NoPlaylist(Url),
    #[error("{0} names no variant with a transport stream")]
    NoVariant(Url),
    #[error("{0}: {1:?} is no address of a segment")]
    BadAddress(Url, String),
    #[error("{0}: encrypted segments cannot be recorded")]
    Encrypted(Url),
    #[error("{0}: fragmented MP4 is no transport stream")]
    NoTransportStream(Url),
}

impl HlsError {
    /// Whether trying again is of no use.
    fn is_final(&self) -> bool {
        matches!(self, Self::Encrypted(_) | Self::NoTransportStream(_) | Self::NoVariant(_))
    }
}

/// Reads until the outlet closes or the playlist is ended.
pub fn read(url: &Url, out: &Outlet) {
    let mut reader = Reader { playlist: url.clone(), next: None, web: agent(), out };
    let mut wait = BACKOFF.0;
    loop {
        let before = reader.next;
        let error = match reader.follow() {
            Ok(Followed::Ended) => {
                out.give(Block::End);
                return;
            }
            Ok(Followed::Stopped) => return,
            Err(error) => error,
        };
        let last = error.is_final();
        if !out.give(Block::Trouble(error.to_string())) || last {
            return;
        }
        if reader.next != before {
            wait = BACKOFF.0;
        }
        if !out.rest(wait) {
            return;
        }
        wait = (wait * 2).min(BACKOFF.1);
        out.counters().reopened.fetch_add(1, Ordering::Relaxed);
    }
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .timeout_connect(Some(ANSWER_TIMEOUT))
        .timeout_recv_response(Some(ANSWER_TIMEOUT))
        .timeout_global(Some(TRANSFER_TIMEOUT));
    ureq::Agent::new_with_config(config.build())
}

enum Followed {
    Ended,
    Stopped,
}

struct Reader<'a> {
    /// The media playlist, once the variant is chosen.
    playlist: Url,
    /// Media sequence number of the next segment to take.
    next: Option<u64>,
    web: ureq::Agent,
    out: &'a Outlet,
}

impl Reader<'_> {
    fn follow(&mut self) -> Result<Followed, HlsError> {
        let mut known = None;
        loop {
            let list = self.media_playlist()?;
            // Without news half a target duration is enough (RFC 8216, 6.3.4).
            let news = known.replace(end_of(&list)) != Some(end_of(&list));
            if !self.take(&list)? {
                return Ok(Followed::Stopped);
            }
            if list.end_list {
                return Ok(Followed::Ended);
            }
            let pause = list.target_duration as f32 * if news { 1.0 } else { 0.5 };
            if !self.out.rest(Duration::from_secs_f32(pause.clamp(RELOAD.0, RELOAD.1))) {
                return Ok(Followed::Stopped);
            }
        }
    }

    /// The playlist of segments; of several variants the one of the highest rate.
    fn media_playlist(&mut self) -> Result<MediaPlaylist, HlsError> {
        let parsed = self.parse()?;
        let master = match parsed {
            Playlist::MediaPlaylist(list) => return Ok(list),
            Playlist::MasterPlaylist(master) => master,
        };
        let best = best_variant(&master).ok_or_else(|| HlsError::NoVariant(self.playlist.clone()))?;
        self.playlist = self.resolve(best)?;
        match self.parse()? {
            Playlist::MediaPlaylist(list) => Ok(list),
            Playlist::MasterPlaylist(_) => Err(HlsError::NoVariant(self.playlist.clone())),
        }
    }

    fn parse(&self) -> Result<Playlist, HlsError> {
        let text = fetch(&self.web, &self.playlist, None, MAX_PLAYLIST_BYTES)?;
        m3u8_rs::parse_playlist_res(&text).map_err(|_| HlsError::NoPlaylist(self.playlist.clone()))
    }

    fn resolve(&self, address: &str) -> Result<Url, HlsError> {
        let url = self.playlist.join(address);
        // A playlist from the network must not read this machine's files.
        let url = url.ok().filter(|url| is_web(url) || !is_web(&self.playlist));
        url.ok_or_else(|| HlsError::BadAddress(self.playlist.clone(), address.to_owned()))
    }

    /// Hands over every segment that was not taken before. False when the reader should end.
    fn take(&mut self, list: &MediaPlaylist) -> Result<bool, HlsError> {
        let first = list.media_sequence;
        let edge = if list.end_list { 0 } else { list.segments.len().saturating_sub(LIVE_EDGE) };
        let mut next = self.next.unwrap_or(first.saturating_add(edge as u64));
        if next > end_of(list) {
            // Numbers went back: the server began anew.
            next = first;
        }
        if next < first {
            tracing::warn!(playlist = %self.playlist, missed = first - next, "segments went before they were fetched");
            next = first;
        }
        let mut place = Place::default();
        let mut encrypted = false;
        for (number, segment) in (first..).zip(&list.segments) {
            let range = place.of(segment);
            // A key holds for the segments after it, too.
            encrypted = segment.key.as_ref().map_or(encrypted, |key| key.method != KeyMethod::None);
            if number < next {
                continue;
            }
            if segment.map.is_some() {
                return Err(HlsError::NoTransportStream(self.playlist.clone()));
            }
            if encrypted {
                return Err(HlsError::Encrypted(self.playlist.clone()));
            }
            let url = self.resolve(&segment.uri)?;
            let bytes = fetch(&self.web, &url, range, MAX_SEGMENT_BYTES)?;
            self.next = Some(number + 1);
            for block in bytes.chunks(BLOCK_BYTES) {
                if !self.out.give_bytes(block.to_vec()) {
                    return Ok(false);
                }
            }
        }
        Ok(!self.out.stopped())
    }
}

/// Media sequence number after the last segment.
fn end_of(list: &MediaPlaylist) -> u64 {
    list.media_sequence.saturating_add(list.segments.len() as u64)
}

fn best_variant(master: &MasterPlaylist) -> Option<&str> {
    let playable = master.variants.iter().filter(|variant| !variant.is_i_frame);
    playable.max_by_key(|variant| variant.bandwidth).map(|variant| variant.uri.as_str())
}

fn is_web(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
}

/// Part of a resource: offset and length in bytes.
type Range = (u64, u64);

/// Where the next part of a resource begins, for segments that say only their length (RFC 8216, 4.3.2.2).
#[derive(Default)]
struct Place(u64);

impl Place {
    fn of(&mut self, segment: &MediaSegment) -> Option<Range> {
        let range = segment.byte_range.as_ref()?;
        let from = range.offset.unwrap_or(self.0);
        self.0 = from.saturating_add(range.length);
        Some((from, range.length))
    }
}

/// All bytes of a resource, or of a part of it.
fn fetch(web: &ureq::Agent, url: &Url, range: Option<Range>, most: u64) -> Result<Vec<u8>, HlsError> {
    let failed = |error: &dyn std::fmt::Display| HlsError::Fetch(url.clone(), error.to_string());
    if range.is_some_and(|(_, len)| len > most) {
        return Err(HlsError::TooLong(url.clone(), most));
    }
    let mut body: Box<dyn Read> = if is_web(url) {
        let mut request = web.get(url.as_str());
        if let Some((from, len)) = range {
            let last = from.saturating_add(len).saturating_sub(1);
            request = request.header("range", format!("bytes={from}-{last}"));
        }
        let response = request.call().map_err(|error| failed(&error))?;
        let partial = response.status().as_u16() == 206;
        let mut whole = response.into_body().into_reader();
        match range {
            // The server sends all of it: the part is cut out here.
            Some((from, len)) if !partial => {
                std::io::copy(&mut (&mut whole).take(from), &mut std::io::sink()).map_err(|error| failed(&error))?;
                Box::new(whole.take(len))
            }
            _ => Box::new(whole),
        }
    } else {
        let path = url.to_file_path().map_err(|()| failed(&"no path of this machine"))?;
        Box::new(open_part(&path, range).map_err(|error| failed(&error))?)
    };
    let mut bytes = Vec::new();
    (&mut body).take(most + 1).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
    if bytes.len() as u64 > most {
        return Err(HlsError::TooLong(url.clone(), most));
    }
    match range {
        Some((_, len)) if bytes.len() as u64 != len => Err(failed(&format_args!("{} of {len} bytes", bytes.len()))),
        _ => Ok(bytes),
    }
}

fn open_part(path: &Path, range: Option<Range>) -> std::io::Result<impl Read + use<>> {
    use std::io::{Seek as _, SeekFrom};
    let mut file = File::open(path)?;
    let (from, len) = range.unwrap_or((0, u64::MAX));
    file.seek(SeekFrom::Start(from))?;
    Ok(file.take(len))
}

#[cfg(test)]
mod tests;
