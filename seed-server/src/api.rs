//! Status and metrics over HTTP, for operators and scripts.
//!
//! - `GET /api/status`: a [`Status`] as JSON. With `?newer_than=N` the answer waits until the status has a version
//!   above N, or 25 seconds at most; so a script sees every change without asking over and over.
//! - `GET /metrics`: counters for Prometheus.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::registry::Registry;
use serde::Deserialize;
use tokio::sync::watch;

use crate::desk::Status;

/// Longest wait for a newer status: below the time-outs of common proxies.
const LONGEST_WAIT: Duration = Duration::from_secs(25);

#[derive(Clone)]
struct Shared {
    status: watch::Receiver<Arc<Status>>,
    registry: Arc<Registry>,
}

#[derive(Deserialize)]
struct Newer {
    newer_than: Option<u64>,
}

/// The pages.
pub fn router(status: watch::Receiver<Arc<Status>>, registry: Registry) -> Router {
    let shared = Shared { status, registry: Arc::new(registry) };
    Router::new().route("/api/status", get(get_status)).route("/metrics", get(get_metrics)).with_state(shared)
}

async fn get_status(State(mut shared): State<Shared>, Query(Newer { newer_than }): Query<Newer>) -> impl IntoResponse {
    if let Some(version) = newer_than {
        let newer = shared.status.wait_for(|status| status.version > version);
        // Nothing new in time, or the seed is stopping: the newest status there is.
        let _ = tokio::time::timeout(LONGEST_WAIT, newer).await;
    }
    let status = shared.status.borrow().clone();
    Json((*status).clone())
}

async fn get_metrics(State(shared): State<Shared>) -> impl IntoResponse {
    let mut text = String::new();
    let encoded = prometheus_client::encoding::text::encode(&mut text, &shared.registry);
    if encoded.is_err() {
        text.clear();
    }
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
}
