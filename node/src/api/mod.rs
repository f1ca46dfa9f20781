//! The HTTP interface of the daemon, for the command line, scripts and the player's page. On loopback by default.
//!
//! | method and path | what |
//! | --- | --- |
//! | `GET /api/status` | everything ([`status::Status`]); with `?wait_version=N` the answer waits until there is a version above `N`, for 30 s at most |
//! | `GET /api/channels` | channels on offer, and which have an input |
//! | `GET /api/recordings` | recordings of this device |
//! | `POST /api/recordings` | `{"channel": "...", "from": ms?, "to": ms?}` begins one; gives its status |
//! | `GET /api/recordings/{id}` | one |
//! | `POST /api/recordings/{id}/stop` | ends one |
//! | `DELETE /api/recordings/{id}` | deletes one |
//! | `POST /api/share` | `{"action": "pause" \| "resume" \| "limit", "bps": n?}` |
//! | `GET /metrics` | for Prometheus |
//!
//! Errors are `{"error": "..."}` with a status code. To wait for something without polling: read the status, and ask
//! again with its `version` until what is waited for is true.

pub mod status;

use std::sync::Arc;
use std::time::Duration;

use aftercast_net::Net;
use aftercast_protocol::ids::{ChannelId, RecordingId};
use aftercast_protocol::time::UnixMillis;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::clock::wall;
use crate::library::{Library, LibraryError, ShareSetting, blocking};
use crate::metrics::Metrics;
use crate::peers::Peers;
use crate::recorder::Recorder;
use crate::repair::RepairCounters;
use crate::seed::{SeedClient, SeedError};
use crate::serve::Uplink;

/// Longest wait for a change of the status.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The running node, as its interface sees it.
pub struct Node {
    /// The network.
    pub net: Net,
    /// The state.
    pub library: Arc<Library>,
    /// The seed.
    pub seed: Arc<SeedClient>,
    /// The peers.
    pub peers: Arc<Peers>,
    /// The line.
    pub uplink: Arc<Uplink>,
    /// The inputs.
    pub recorder: Arc<Recorder>,
    /// What repair did.
    pub repair: RepairCounters,
    /// What players got, for the status.
    pub playback_status: Box<dyn Fn() -> (Value, status::FetchStatus) + Send + Sync>,
    /// The counters.
    pub metrics: Metrics,
}

type Shared = State<Arc<Node>>;

/// The routes.
pub fn router(node: Arc<Node>) -> Router {
    Router::new()
        .route("/api/status", get(show_status))
        .route("/api/channels", get(channels))
        .route("/api/recordings", get(recordings).post(record))
        .route("/api/recordings/{id}", get(recording).delete(delete))
        .route("/api/recordings/{id}/stop", post(stop))
        .route("/api/share", post(share))
        .route("/metrics", get(metrics))
        .with_state(node)
        .layer(from_fn(own_origin_only))
}

/// A page from elsewhere, open in a browser on this device, must not record, stop or delete.
async fn own_origin_only(request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) || is_own(request.headers()) {
        return next.run(request).await;
    }
    ApiError(StatusCode::FORBIDDEN, "requests from other origins change nothing here".into()).into_response()
}

fn is_own(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match (text(header::ORIGIN), text(header::HOST)) {
        (None, _) => headers.get(header::ORIGIN).is_none(), // no browser sent it
        (Some(origin), Some(host)) => origin.strip_prefix("http://") == Some(host),
        (Some(_), None) => false,
    }
}

/// An error as the interface tells it.
struct ApiError(StatusCode, String);

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

impl From<SeedError> for ApiError {
    fn from(error: SeedError) -> Self {
        let code = match &error {
            SeedError::NoSeed | SeedError::Offline | SeedError::Timeout => StatusCode::SERVICE_UNAVAILABLE,
            SeedError::Refused(_) => StatusCode::FORBIDDEN,
            SeedError::BadAnswer(_) => StatusCode::BAD_GATEWAY,
            SeedError::Request(_) => StatusCode::BAD_REQUEST,
            SeedError::Library(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self(code, error.to_string())
    }
}

impl From<LibraryError> for ApiError {
    fn from(error: LibraryError) -> Self {
        let code = match error {
            LibraryError::NoSuchRecording(_) => StatusCode::NOT_FOUND,
            LibraryError::Read(_) | LibraryError::Write(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self(code, error.to_string())
    }
}

impl From<JsonRejection> for ApiError {
    fn from(error: JsonRejection) -> Self {
        Self(StatusCode::BAD_REQUEST, error.body_text())
    }
}

fn id(text: &str) -> Result<RecordingId, ApiError> {
    text.parse().map_err(|error| ApiError(StatusCode::BAD_REQUEST, format!("recording id: {error}")))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wait {
    wait_version: Option<u64>,
}

async fn show_status(State(node): Shared, Query(wait): Query<Wait>) -> Json<status::Status> {
    if let Some(seen) = wait.wait_version {
        let mut changes = node.library.changes();
        // In time or not, the state is told.
        let _ = tokio::time::timeout(LONGEST_WAIT, changes.wait_for(|version| *version > seen)).await;
    }
    Json(blocking(|| node.status()))
}

async fn metrics(State(node): Shared) -> impl IntoResponse {
    let text = node.metrics.text(&blocking(|| node.status()));
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
}

async fn channels(State(node): Shared) -> Json<Value> {
    // Without the seed: what it said last, and what has an input.
    let offered = match node.seed.list_channels().await {
        Ok(channels) => channels,
        Err(_) => node.seed.known_channels(),
    };
    let inputs = node.recorder.inputs();
    let mut list: Vec<Value> = offered
        .iter()
        .map(|one| {
            json!({
                "channel": one.channel,
                "title": one.title,
                "interval": one.interval,
                "profile": one.profile,
                "input": inputs.contains_key(&one.channel),
            })
        })
        .collect();
    let unknown = inputs.keys().filter(|channel| !offered.iter().any(|one| one.channel == **channel));
    list.extend(unknown.map(|channel| json!({ "channel": channel, "title": Value::Null, "input": true })));
    Json(Value::Array(list))
}

async fn recordings(State(node): Shared) -> Json<Value> {
    let list: Vec<_> = node.library.recordings().iter().map(|one| node.recording_status(one)).collect();
    Json(json!(list))
}

async fn recording(State(node): Shared, Path(text): Path<String>) -> Result<Json<Value>, ApiError> {
    shown(&node, id(&text)?)
}

fn shown(node: &Node, id: RecordingId) -> Result<Json<Value>, ApiError> {
    let recording = node.library.recording(id).ok_or(LibraryError::NoSuchRecording(id))?;
    Ok(Json(json!(node.recording_status(&recording))))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewRecording {
    channel: ChannelId,
    from: Option<UnixMillis>,
    to: Option<UnixMillis>,
}

async fn record(
    State(node): Shared,
    body: Result<Json<NewRecording>, JsonRejection>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let Json(NewRecording { channel, from, to }) = body?;
    let begins = from.unwrap_or_else(wall);
    if to.is_some_and(|to| to <= begins || to <= wall()) {
        return Err(ApiError(StatusCode::BAD_REQUEST, "the recording would end before it begins, or is over".into()));
    }
    if !node.recorder.inputs().contains_key(&channel) {
        tracing::warn!(channel = %channel, "no input is configured: the recording will hold what others received");
    }
    let id = node.seed.record(channel, None, from, to).await?;
    Ok((StatusCode::CREATED, shown(&node, id)?))
}

async fn stop(State(node): Shared, Path(text): Path<String>) -> Result<Json<Value>, ApiError> {
    let id = id(&text)?;
    node.library.recording(id).ok_or(LibraryError::NoSuchRecording(id))?;
    blocking(|| node.library.stop(id, wall()))?;
    shown(&node, id)
}

async fn delete(State(node): Shared, Path(text): Path<String>) -> Result<StatusCode, ApiError> {
    let id = id(&text)?;
    node.library.recording(id).ok_or(LibraryError::NoSuchRecording(id))?;
    blocking(|| node.library.delete(id, wall()))?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShareOrder {
    action: ShareAction,
    bps: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum ShareAction {
    Pause,
    Resume,
    Limit,
}

async fn share(State(node): Shared, body: Result<Json<ShareOrder>, JsonRejection>) -> Result<Json<Value>, ApiError> {
    let Json(order) = body?;
    let now = node.library.share();
    let share = match (order.action, order.bps) {
        (ShareAction::Pause, None) => ShareSetting { paused: true, ..now },
        (ShareAction::Resume, None) => ShareSetting::default(),
        (ShareAction::Limit, Some(bps)) => ShareSetting { limit_bps: Some(bps), ..now },
        (ShareAction::Limit, None) => {
            return Err(ApiError(StatusCode::BAD_REQUEST, "limit needs \"bps\", in bits per second".into()));
        }
        _ => return Err(ApiError(StatusCode::BAD_REQUEST, "\"bps\" goes with limit only".into())),
    };
    blocking(|| node.library.set_share(share))?;
    node.uplink.set_share(share);
    Ok(Json(json!(share)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_from_elsewhere_change_nothing() {
        let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
        };
        assert!(is_own(&headers(&[("host", "127.0.0.1:8710")])));
        assert!(is_own(&headers(&[("host", "127.0.0.1:8710"), ("origin", "http://127.0.0.1:8710")])));
        assert!(!is_own(&headers(&[("host", "127.0.0.1:8710"), ("origin", "http://example.org")])));
        assert!(!is_own(&headers(&[("host", "127.0.0.1:8710"), ("origin", "null")])));
        assert!(!is_own(&headers(&[("origin", "http://127.0.0.1:8710")])));
    }
}
