//! hls.js in headless Chromium: a page plays a playlist to its end and tells what it saw.

use std::net::TcpListener as StdListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::response::Html;
use axum::routing::{get, post};
use serde::Deserialize;

use super::Seen;

/// Reached only when something is broken.
const PATIENCE: Duration = Duration::from_secs(90);

/// What the page tells.
#[derive(Debug, Deserialize)]
struct Told {
    pictures: u64,
    dropped: u64,
    seconds: f64,
    sound_bytes: u64,
    errors: Vec<String>,
}

/// Plays a playlist with the hls.js of this file. Also writes a screenshot's worth of the page: the last picture.
///
/// # Errors
/// Chromium is not there, or the page told nothing in time.
pub fn play(playlist: &str, hls_js: &Path) -> anyhow::Result<(Seen, f64)> {
    let script = std::fs::read_to_string(hls_js).with_context(|| hls_js.display().to_string())?;
    let page = include_str!("page.html").replace("PLAYLIST", &serde_json::to_string(playlist)?);
    let (tell, told) = channel();
    let listener = StdListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/", listener.local_addr()?);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let _serving = runtime.spawn(serve(listener, page, script, tell));
    let folder = tempfile::tempdir()?;
    let mut browser = start(&url, folder.path())?;
    let answer = wait(&told);
    // Its own children end with it.
    let _ = browser.kill();
    let _ = browser.wait();
    let told = answer?;
    let mut complaints = told.errors;
    if told.dropped > 0 {
        complaints.push(format!("{} pictures dropped", told.dropped));
    }
    if told.sound_bytes == 0 {
        complaints.push("no sound decoded".to_owned());
    }
    Ok((Seen { pictures: told.pictures, sound_ms: None, complaints }, told.seconds))
}

fn wait(told: &Receiver<String>) -> anyhow::Result<Told> {
    let text = told.recv_timeout(PATIENCE).context("the page told nothing in time")?;
    serde_json::from_str(&text).with_context(|| format!("the page told: {text}"))
}

async fn serve(listener: StdListener, page: String, script: String, tell: Sender<String>) -> anyhow::Result<()> {
    listener.set_nonblocking(true)?;
    let script = move || async move { ([("content-type", "text/javascript")], script) };
    let result = move |body: String| async move {
        let _ = tell.send(body); // after the first nobody listens any more
    };
    let router = Router::new().route("/", get(Html(page))).route("/hls.js", get(script)).route("/result", post(result));
    axum::serve(tokio::net::TcpListener::from_std(listener)?, router).await?;
    Ok(())
}

fn start(url: &str, folder: &Path) -> anyhow::Result<Child> {
    let mut command = Command::new("chromium");
    // A sandbox needs rights that a container seldom has; the page is our own.
    command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--mute-audio"]);
    command.args(["--no-first-run", "--disable-background-networking", "--disable-component-update"]);
    command.arg("--autoplay-policy=no-user-gesture-required");
    command.arg(format!("--user-data-dir={}", folder.display())).arg(url);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().context("cannot start chromium: install the package of that name")
}
