//! The HTTP endpoint for players.
//!
//! Media and playlists may be read by pages from elsewhere (CORS), as browser players need: whoever knows a
//! recording's id, 128 random bits, has it from this device. The list of recordings may not.

use std::sync::Arc;

use aftercast_protocol::ids::RecordingId;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

use super::Playback;
use super::cells::{Cell, Media, Track};
use super::fetch::FetchError;
use super::flow::{FileFlow, Flow, segment};
use super::head::{Due, PlayHead, media_spec};
use super::playlist::{hls, m3u, parse_segment_name};
use super::ports::Listed;
use super::range::{Layout, Wanted, wanted};
use super::session::Session;
use aftercast_protocol::manifest::Content;
use aftercast_protocol::time::Micros;

/// MIME type of HLS playlists (RFC 8216, 4).
const HLS: &str = "application/vnd.apple.mpegurl";
/// MIME type of transport streams (RFC 3555, 4.1.9).
const MP2T: &str = "video/mp2t";
/// MIME type of other M3U lists, as players expect it.
const M3U: &str = "audio/x-mpegurl";
/// How much longer than until it is due a chunk is waited for where our own salvaged form could play instead.
const SPARE_GRACE: Micros = Micros::from_secs(2);

pub(super) fn router(playback: Playback) -> Router {
    Router::new()
        .route("/recordings.m3u", get(list))
        .route("/watch", get(page))
        .route("/recordings/{file}", get(file).options(preflight))
        .route("/recordings/{id}/{file}", get(stream).options(preflight))
        .with_state(playback)
}

/// Why a request is not served.
enum Failure {
    NotFound(&'static str),
    /// Nothing to play yet.
    NotYet,
    Fetch(FetchError),
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        Self::Fetch(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Self::NotFound(what) => (StatusCode::NOT_FOUND, format!("{what}\n")).into_response(),
            Self::NotYet => {
                let retry = [(header::RETRY_AFTER, "2")];
                (StatusCode::SERVICE_UNAVAILABLE, retry, "nothing to play yet\n").into_response()
            }
            Self::Fetch(error) => {
                let status = match error {
                    FetchError::Absent(_) => StatusCode::GATEWAY_TIMEOUT,
                    FetchError::Full | FetchError::Ended => StatusCode::SERVICE_UNAVAILABLE,
                    FetchError::Length(_) | FetchError::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
                };
                (status, format!("{error}\n")).into_response()
            }
        }
    }
}

type Answer = Result<Response, Failure>;

/// Lets any page read the response.
fn shared(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("content-length, content-range, accept-ranges"),
    );
    response
}

async fn preflight() -> Response {
    let allow = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, OPTIONS"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "range"),
        (header::ACCESS_CONTROL_MAX_AGE, "86400"),
    ];
    shared((StatusCode::NO_CONTENT, allow).into_response())
}

/// `/recordings.m3u`.
async fn list(State(playback): State<Playback>, headers: HeaderMap) -> Response {
    let recordings = playback.inner.shelf.recordings();
    ([(header::CONTENT_TYPE, M3U)], m3u(&recordings, &base(&headers))).into_response()
}

/// Where the client reached us; nothing where it says nothing sensible, which makes the list's links relative.
fn base(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let plain = host.len() <= 255 && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte));
    if plain && !host.is_empty() { format!("http://{host}") } else { String::new() }
}

/// `/watch`: a list of recordings for a browser, with its own player where it knows HLS.
async fn page(State(playback): State<Playback>) -> Html<String> {
    let item = |listed: &Listed| {
        let Listed { recording, channel, .. } = listed;
        // Ids and names of channels hold nothing that means something in HTML (ids.rs).
        format!(
            "<h2>{channel}</h2><p>{}</p><video controls preload=\"none\" src=\"/recordings/{recording}/index.m3u8\">\
             </video><p><a href=\"/recordings/{recording}/index.m3u8\">HLS</a> \
             <a href=\"/recordings/{recording}.ts\">transport stream</a></p>\n",
            super::playlist::iso8601(listed.from)
        )
    };
    let items: String = playback.inner.shelf.recordings().iter().map(item).collect();
    Html(format!(
        "<!doctype html><meta charset=\"utf-8\"><title>Aftercast</title>\
         <style>body{{font-family:sans-serif;margin:2em auto;max-width:50em}}video{{width:100%}}</style>\
         <h1>Recordings</h1><p><a href=\"/recordings.m3u\">as a list for VLC</a></p>\n{items}"
    ))
}

impl Playback {
    fn listed(&self, id: &str) -> Result<Listed, Failure> {
        let recording: RecordingId = id.parse().map_err(|_| Failure::NotFound("not a recording's id"))?;
        self.inner.shelf.recording(recording).ok_or(Failure::NotFound("no such recording"))
    }
}

/// `/recordings/<id>/index.m3u8` and segments.
async fn stream(
    State(playback): State<Playback>,
    Path((id, file)): Path<(String, String)>,
    method: Method,
) -> Response {
    let answer = match playback.listed(&id) {
        Ok(listed) if file == "index.m3u8" => playlist(&playback, &listed).await,
        Ok(listed) => one_segment(&playback, &listed, &file, &method).await,
        Err(failure) => Err(failure),
    };
    shared(answer.into_response())
}

async fn playlist(playback: &Playback, listed: &Listed) -> Answer {
    let (track, complete) = playback.read_track(listed).await;
    if track.cells().is_empty() {
        return Err(if complete { Failure::NotFound("nothing was recorded") } else { Failure::NotYet });
    }
    let session = playback.session(listed);
    let head = session.head(playback, listed, &track).await;
    let mut cells = track.cells().to_vec();
    if let (Some(first), Some((slot, media))) = (cells.first_mut(), head)
        && first.slot == slot
    {
        first.media = media;
    }
    // A playlist that grows must not be kept.
    let headers = [(header::CONTENT_TYPE, HLS), (header::CACHE_CONTROL, "no-cache")];
    Ok((headers, hls(&cells, complete)).into_response())
}

async fn one_segment(playback: &Playback, listed: &Listed, file: &str, method: &Method) -> Answer {
    let (slot, small) = parse_segment_name(file).ok_or(Failure::NotFound("no such segment"))?;
    let track = playback.track(listed).await;
    let n = track.find(slot).ok_or(Failure::NotFound("no such segment"))?;
    let session = playback.session(listed);
    let track = if small {
        let head = session.head(playback, listed, &track).await;
        with_head(playback, listed, track, n, head)?
    } else {
        session.announce(playback, listed);
        track
    };
    let (cell, _) = track.get(n).ok_or(Failure::NotFound("no such segment"))?;
    if method == Method::HEAD {
        return Ok(media_response(StatusCode::OK, cell.bytes(), Body::empty()));
    }
    let player = session.player(playback, &track, n).ok_or(Failure::NotFound("no such segment"))?;
    let due = player.go(listed, &track, n)?;
    let cell = cell.clone();
    let (due, media) = settle(playback, listed, &session, &cell, due).await;
    let shape = (media.bytes(), cell.duration, matches!(media, Media::Head { .. }));
    let fetcher = playback.inner.fetcher.clone();
    let len = cell.dress_of(media).map_or(media.bytes(), |dress| dress.bytes);
    let flow = Flow::new(fetcher, session, player, due.want, due.at, shape);
    let mut flow = flow.dressed(&cell, media, 0..len);
    // Only once there is something to say; until then the request may still fail as a whole.
    let first = flow.next().await.unwrap_or(Err(FetchError::Ended))?;
    Ok(media_response(StatusCode::OK, len, Body::from_stream(segment(flow, first))))
}

/// The track with the head of a cell in its place: the session's, or one the manifest names.
fn with_head(
    playback: &Playback,
    listed: &Listed,
    track: Track,
    n: usize,
    head: Option<(aftercast_protocol::ids::Slot, Media)>,
) -> Result<Track, Failure> {
    let mut cells = track.cells().to_vec();
    let cell = cells.get_mut(n).ok_or(Failure::NotFound("no such segment"))?;
    let of_session = head.filter(|(slot, _)| *slot == cell.slot).map(|(_, media)| media);
    let of_manifest = || {
        let manifest = playback.inner.shelf.manifest(listed.recording)?;
        let entry = manifest.entries.iter().find(|entry| entry.slot == cell.slot)?;
        match &entry.content {
            Content::Chunk { head: Some(head), .. } => Some(Media::Head { cid: head.cid, bytes: head.bytes }),
            Content::Chunk { head: None, .. } | Content::Gap { .. } => None,
        }
    };
    cell.media = of_session.or_else(of_manifest).ok_or(Failure::NotFound("this segment has no head"))?;
    // Another encode, which announces its own streams.
    cell.dress = None;
    Ok(Track::new(cells))
}

/// What plays: the chunk; or our own salvaged form, where there is one and the chunk cannot be had in time.
async fn settle(playback: &Playback, listed: &Listed, session: &Arc<Session>, cell: &Cell, due: Due) -> (Due, Media) {
    let fetcher = &playback.inner.fetcher;
    if matches!(cell.media, Media::Salvaged { .. }) {
        session.counters.salvaged();
    }
    let Some(spare) = cell.spare.filter(|_| matches!(cell.media, Media::Chunk { .. })) else {
        return (due, cell.media);
    };
    let patience = (due.at - fetcher.now()) + SPARE_GRACE;
    if due.want.whole(patience).await {
        return (due, cell.media);
    }
    match fetcher.want(&media_spec(listed.recording, listed, cell, spare), due.at, &session.counters) {
        Ok(want) => {
            session.counters.salvaged();
            (Due { want: Arc::new(want), at: due.at }, spare)
        }
        // Evicted meanwhile: the chunk may still come.
        Err(_) => (due, cell.media),
    }
}

/// `/recordings/<id>.ts`.
async fn file(
    State(playback): State<Playback>,
    Path(file): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let answer = match file.strip_suffix(".ts") {
        Some(id) => match playback.listed(id) {
            Ok(listed) => one_file(&playback, listed, &method, &headers).await,
            Err(failure) => Err(failure),
        },
        None => Err(Failure::NotFound("no such file")),
    };
    shared(answer.into_response())
}

async fn one_file(playback: &Playback, listed: Listed, method: &Method, headers: &HeaderMap) -> Answer {
    let track = playback.track(&listed).await;
    let layout = Layout::of(track.cells());
    let len = layout.len();
    if layout.is_empty() {
        return Err(if listed.running { Failure::NotYet } else { Failure::NotFound("nothing was recorded") });
    }
    // Ranges are defined for GET alone (RFC 9110, 14.2).
    if method == Method::HEAD {
        return Ok(ranged(media_response(StatusCode::OK, len, Body::empty())));
    }
    let asked = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let (status, range) = match wanted(asked, len) {
        Wanted::All => (StatusCode::OK, 0..len),
        Wanted::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Wanted::Unsatisfiable => {
            let total = [(header::CONTENT_RANGE, format!("bytes */{len}"))];
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, total).into_response());
        }
    };
    let session = playback.session(&listed);
    let first = layout.piece(&range).ok_or(Failure::NotYet)?;
    let fetcher = playback.inner.fetcher.clone();
    let player = PlayHead::new(fetcher.clone(), Arc::clone(&session.counters), &track, first.cell);
    let player = Arc::new(player.ok_or(Failure::NotYet)?);
    session.announce(playback, &listed);
    let content = range.clone();
    let mut flow = FileFlow { fetcher, session, player, listed, track, layout, range, flow: None };
    let first = flow.next().await.unwrap_or(Err(FetchError::Ended))?;
    let body = Body::from_stream(flow.into_stream(first));
    let mut response = ranged(media_response(status, content.end - content.start, body));
    if status == StatusCode::PARTIAL_CONTENT {
        let text = format!("bytes {}-{}/{len}", content.start, content.end.saturating_sub(1));
        if let Ok(value) = HeaderValue::from_str(&text) {
            response.headers_mut().insert(header::CONTENT_RANGE, value);
        }
    }
    Ok(response)
}

fn ranged(mut response: Response) -> Response {
    response.headers_mut().insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    response
}

fn media_response(status: StatusCode, len: u64, body: Body) -> Response {
    let headers = [(header::CONTENT_TYPE, MP2T.to_owned()), (header::CONTENT_LENGTH, len.to_string())];
    (status, headers, body).into_response()
}
