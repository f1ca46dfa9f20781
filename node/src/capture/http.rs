//! Transport streams over HTTP, as network tuners give them.

use std::io::Read as _;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::{BLOCK_BYTES, Block, Outlet, STOP_CHECK};

/// Longest wait for a connection and for the answer's head.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// A stream that gives nothing for this long is opened anew.
const STALL: Duration = Duration::from_secs(15);
/// Waits between attempts: doubled from the first to the last.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// Reads until the outlet closes, across ends and failures of the connection. A body whose length was told is a file:
/// at its end nothing more will come.
pub fn read(url: &str, out: &Outlet) {
    let mut wait = BACKOFF.0;
    loop {
        let (gave, ended) = read_once(url, out);
        if !gave.is_zero() {
            wait = BACKOFF.0;
        }
        let Some(reason) = ended else { return };
        if !out.give(Block::Trouble(reason)) || !out.rest(wait) {
            return;
        }
        wait = (wait * 2).min(BACKOFF.1);
        out.counters().reopened.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a connection gives.
enum Part {
    Bytes(Vec<u8>),
    /// All that was announced has come.
    Whole,
    Failed(String),
}

/// How long the connection gave bytes, and why it gives no more; none where the reader should end.
fn read_once(url: &str, out: &Outlet) -> (Duration, Option<String>) {
    let (sender, chunks) = sync_channel(4);
    let asked = url.to_owned();
    // A read from a socket cannot be interrupted: a connection has its own thread, which ends with its next bytes.
    let reader = thread::Builder::new().name("capture-http".into()).spawn(move || connection(&asked, &sender));
    if let Err(error) = reader {
        return (Duration::ZERO, Some(format!("no thread for {url}: {error}")));
    }
    let mut first = None;
    let mut heard = Instant::now();
    let gave = |first: Option<Instant>| first.map_or(Duration::ZERO, |at: Instant| at.elapsed());
    loop {
        match chunks.recv_timeout(STOP_CHECK) {
            Ok(Part::Bytes(bytes)) => {
                heard = Instant::now();
                first.get_or_insert(heard);
                if !out.give_bytes(bytes) {
                    return (gave(first), None);
                }
            }
            Ok(Part::Whole) => {
                out.give(Block::End);
                return (gave(first), None);
            }
            Ok(Part::Failed(reason)) => return (gave(first), Some(reason)),
            Err(RecvTimeoutError::Timeout) if out.stopped() => return (gave(first), None),
            Err(RecvTimeoutError::Timeout) if heard.elapsed() > ANSWER_TIMEOUT + STALL => {
                return (gave(first), Some(format!("{url}: nothing for {} s", (ANSWER_TIMEOUT + STALL).as_secs())));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return (gave(first), Some(format!("{url}: the stream ended"))),
        }
    }
}

fn connection(url: &str, sender: &SyncSender<Part>) {
    let agent = ureq::Agent::new_with_config(
        ureq::Agent::config_builder()
            .timeout_connect(Some(ANSWER_TIMEOUT))
            .timeout_recv_response(Some(ANSWER_TIMEOUT))
            .build(),
    );
    let told = |error: &dyn std::fmt::Display| {
        // Nobody listens any more where this fails.
        let _ = sender.send(Part::Failed(format!("{url}: {error}")));
    };
    let body = match agent.get(url).call() {
        Ok(response) => response.into_body(),
        Err(error) => return told(&error),
    };
    let mut left = body.content_length();
    let mut body = body.into_reader();
    loop {
        let mut bytes = vec![0; BLOCK_BYTES];
        match body.read(&mut bytes) {
            Ok(0) => {
                if left == Some(0) {
                    let _ = sender.send(Part::Whole); // nobody listens any more where this fails
                }
                return;
            }
            Ok(len) => {
                bytes.truncate(len);
                left = left.map(|left| left.saturating_sub(len as u64));
                if sender.send(Part::Bytes(bytes)).is_err() {
                    return;
                }
            }
            Err(error) => return told(&error),
        }
    }
}
