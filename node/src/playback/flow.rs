//! Bytes on their way to a player, group by group as they verify.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use aftercast_protocol::ids::GroupIndex;
use aftercast_protocol::limits::GROUP_BYTES;
use aftercast_protocol::time::{Micros, Mono, Ticks};
use bytes::Bytes;
use futures::stream::{self, Stream};

use super::cells::{Cell, Media, Track};
use super::coat::{Coat, Given};
use super::counters::{Origin, PlayCounters};
use super::fetch::{FetchError, Fetcher, Want};
use super::head::{PlayHead, micros};
use super::ports::Listed;
use super::range::Layout;
use super::session::Session;

/// How long a player is kept waiting for one group. A player gives up sooner, mostly; a connection that says nothing
/// for longer is of no use to one that does not.
pub(super) const PATIENCE: Micros = Micros::from_secs(60);
/// Less than this is not waiting.
const INSTANT: Micros = Micros::from_millis(5);

/// Part of one cell, going to a player.
pub(super) struct Flow {
    fetcher: Fetcher,
    session: Arc<Session>,
    player: Arc<PlayHead>,
    want: Arc<Want>,
    part: Range<u64>,
    /// Writes it for players who are told of streams beside its core.
    coat: Option<Coat>,
    /// Length of the whole cell in bytes, and how long it plays.
    len: u64,
    duration: Ticks,
    due: Mono,
    head: bool,
    late: bool,
}

impl Flow {
    pub fn new(
        fetcher: Fetcher,
        session: Arc<Session>,
        player: Arc<PlayHead>,
        want: Arc<Want>,
        due: Mono,
        cell: (u64, Ticks, bool),
    ) -> Self {
        let (len, duration, head) = cell;
        let part = 0..len;
        Self { fetcher, session, player, want, part, coat: None, len, duration, due, head, late: false }
    }

    /// Of a cell as it is written for players, of which `part` is wanted.
    pub fn dressed(mut self, cell: &Cell, media: Media, part: Range<u64>) -> Self {
        if let Some(dress) = cell.dress_of(media) {
            let (coat, of_chunk) = Coat::new(&**self.fetcher.shelf(), cell, media, dress, part);
            (self.coat, self.part) = (Some(coat), of_chunk);
        } else {
            self.part = part;
        }
        self
    }

    fn is_done(&self) -> bool {
        self.coat.as_ref().map_or(self.part.is_empty(), Coat::is_done)
    }

    fn counters(&self) -> &PlayCounters {
        &self.session.counters
    }

    /// The next bytes; none at the end.
    pub async fn next(&mut self) -> Option<Result<Bytes, FetchError>> {
        loop {
            match self.coat.as_mut().map(Coat::give) {
                None => return self.next_of_chunk().await,
                Some(Given::Bytes(bytes)) => return Some(Ok(bytes)),
                Some(Given::End) => return None,
                Some(Given::More) => {}
            }
            let item = self.next_of_chunk().await;
            let coat = self.coat.as_mut()?;
            match item {
                Some(Ok(bytes)) => coat.push(&bytes),
                Some(Err(error)) => {
                    coat.end();
                    return Some(Err(error));
                }
                None => return None,
            }
        }
    }

    async fn next_of_chunk(&mut self) -> Option<Result<Bytes, FetchError>> {
        if self.part.is_empty() {
            return None;
        }
        let asked = self.fetcher.now();
        let index = GroupIndex(u32::try_from(self.part.start / GROUP_BYTES as u64).unwrap_or(u32::MAX));
        let (group, origin) = match self.want.group(index, PATIENCE).await {
            Ok(arrived) => arrived,
            Err(error) => {
                self.part.start = self.part.end;
                return Some(Err(error));
            }
        };
        self.judge(asked);
        Some(Ok(self.cut(index, &group, origin)))
    }

    /// The part of a group that is wanted.
    fn cut(&mut self, index: GroupIndex, group: &Bytes, origin: Origin) -> Bytes {
        let begin = u64::from(index.0) * GROUP_BYTES as u64;
        let inside = |at: u64| usize::try_from(at.saturating_sub(begin)).unwrap_or(usize::MAX).min(group.len());
        let bytes = group.slice(inside(self.part.start)..inside(self.part.end));
        // A group of the wrong length cannot be: it was verified. But an endless loop must not be either.
        let step = if bytes.is_empty() { self.part.end - self.part.start } else { bytes.len() as u64 };
        self.part.start += step;
        self.counters().delivered(origin, self.head, bytes.len() as u64);
        self.session.note_first_byte();
        bytes
    }

    /// Notes whether the player had to wait for what it should be playing by now.
    fn judge(&mut self, asked: Mono) {
        let now = self.fetcher.now();
        let played = u128::from(micros(self.duration)) * u128::from(self.part.start) / u128::from(self.len.max(1));
        let needed = self.due + Micros(u64::try_from(played).unwrap_or(u64::MAX));
        let by = now - needed.max(asked);
        if now - asked > INSTANT && by > Micros(0) {
            self.counters().late(!self.late, by);
            self.late = true;
            self.player.slip(by);
            self.due = self.due + by;
        }
    }
}

/// Tells the play head how a response ended.
struct Open {
    player: Arc<PlayHead>,
    whole: bool,
}

impl Open {
    fn new(player: Arc<PlayHead>) -> Self {
        player.opened();
        Self { player, whole: false }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.player.closed(self.whole);
    }
}

/// A segment's body. `first` was taken from the flow already.
pub(super) fn segment(flow: Flow, first: Bytes) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let open = Open::new(Arc::clone(&flow.player));
    stream::unfold((flow, open, Some(first)), |(mut flow, mut open, first)| async move {
        if let Some(first) = first {
            open.whole = flow.is_done();
            return Some((Ok(first), (flow, open, None)));
        }
        let item = flow.next().await?;
        open.whole = flow.is_done() && item.is_ok();
        Some((item.map_err(io::Error::other), (flow, open, None)))
    })
}

/// A stretch of a recording as one file. Its player is nobody else's: it is gone with this.
pub(super) struct FileFlow {
    pub fetcher: Fetcher,
    pub session: Arc<Session>,
    pub player: Arc<PlayHead>,
    pub listed: Listed,
    pub track: Track,
    pub layout: Layout,
    pub range: Range<u64>,
    pub flow: Option<Flow>,
}

impl FileFlow {
    /// The next bytes; none at the end.
    pub async fn next(&mut self) -> Option<Result<Bytes, FetchError>> {
        loop {
            if let Some(item) = self.advance().await {
                return Some(item);
            }
            match self.open()? {
                Ok(flow) => self.flow = Some(flow),
                Err(error) => {
                    self.range.start = self.range.end;
                    return Some(Err(error));
                }
            }
        }
    }

    async fn advance(&mut self) -> Option<Result<Bytes, FetchError>> {
        let item = self.flow.as_mut()?.next().await;
        match &item {
            Some(Ok(bytes)) => self.range.start += bytes.len() as u64,
            Some(Err(_)) => self.range.start = self.range.end,
            None => self.flow = None,
        }
        item
    }

    /// The flow of the next piece; none at the end of the range.
    fn open(&mut self) -> Option<Result<Flow, FetchError>> {
        let piece = self.layout.piece(&self.range)?;
        let (cell, _) = self.track.get(piece.cell)?;
        let shape = (cell.media.bytes(), cell.duration, false);
        let due = match self.player.go(&self.listed, &self.track, piece.cell) {
            Ok(due) => due,
            Err(error) => return Some(Err(error)),
        };
        let (session, player) = (Arc::clone(&self.session), Arc::clone(&self.player));
        let part = piece.start..piece.end;
        let flow = Flow::new(self.fetcher.clone(), session, player, due.want, due.at, shape);
        Some(Ok(flow.dressed(cell, cell.media, part)))
    }

    /// As a response's body; `first` was taken already.
    pub fn into_stream(self, first: Bytes) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        stream::unfold((self, Some(first)), |(mut file, first)| async move {
            if let Some(first) = first {
                return Some((Ok(first), (file, None)));
            }
            let item = file.next().await?;
            Some((item.map_err(io::Error::other), (file, None)))
        })
    }
}
