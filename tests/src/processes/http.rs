//! HTTP requests to daemons.

use std::io::Read;
use std::time::Duration;

use anyhow::{Context, bail};
use ureq::http::Response;

/// Longest a transfer may stand still or take in all; players of the demo move tens of megabytes.
const TRANSFER: Duration = Duration::from_secs(300);
/// Most of a file that is looked at at once.
const PIECE: usize = 1 << 16;

fn agent(timeout: Duration) -> ureq::Agent {
    let config = ureq::Agent::config_builder().timeout_global(Some(timeout)).http_status_as_error(false).build();
    ureq::Agent::new_with_config(config)
}

fn text(sent: Result<Response<ureq::Body>, ureq::Error>, url: &str) -> anyhow::Result<String> {
    let mut response = sent.with_context(|| format!("no answer from {url}"))?;
    let text = response.body_mut().read_to_string().with_context(|| format!("{url} broke off"))?;
    if !response.status().is_success() {
        bail!("{url} answered {}: {}", response.status(), text.trim());
    }
    Ok(text)
}

/// The body of a page.
///
/// # Errors
/// No answer in time, or another status than success.
pub fn get_text(url: &str, timeout: Duration) -> anyhow::Result<String> {
    text(agent(timeout).get(url).call(), url)
}

/// Posts JSON; the body of the answer.
///
/// # Errors
/// As [`get_text`].
pub(super) fn post(url: &str, json: &str, timeout: Duration) -> anyhow::Result<String> {
    text(agent(timeout).post(url).header("content-type", "application/json").send(json), url)
}

/// Sends DELETE.
///
/// # Errors
/// As [`get_text`].
pub(super) fn delete(url: &str, timeout: Duration) -> anyhow::Result<()> {
    text(agent(timeout).delete(url).call(), url).map(drop)
}

/// The bytes of a file; an answer of another status than success or another length than promised is an error.
///
/// # Errors
/// As [`get_text`].
pub fn fetch(url: &str) -> anyhow::Result<Vec<u8>> {
    let response = agent(TRANSFER).get(url).call().with_context(|| format!("no answer from {url}"))?;
    bytes(response, url).map(|(_, bytes)| bytes)
}

/// A range of a file, as in a `Range` header; the status beside the bytes.
///
/// # Errors
/// As [`get_text`].
pub fn fetch_range(url: &str, range: &str) -> anyhow::Result<(u16, Vec<u8>)> {
    let response =
        agent(TRANSFER).get(url).header("range", range).call().with_context(|| format!("no answer from {url}"))?;
    bytes(response, url)
}

/// Takes a file as it comes: `each` is given every piece, and the length of all, and says whether it wants more.
///
/// # Errors
/// As [`fetch`].
pub fn stream(url: &str, mut each: impl FnMut(&[u8], u64) -> bool) -> anyhow::Result<()> {
    let mut response = agent(TRANSFER).get(url).call().with_context(|| format!("no answer from {url}"))?;
    if !response.status().is_success() {
        let status = response.status();
        bail!("{url} answered {status}: {}", response.body_mut().read_to_string().unwrap_or_default().trim());
    }
    let all = response.body().content_length().with_context(|| format!("{url} has no length"))?;
    let (mut body, mut piece) = (response.body_mut().as_reader(), vec![0; PIECE]);
    loop {
        let read = body.read(&mut piece).with_context(|| format!("{url} broke off"))?;
        match piece.get(..read) {
            Some(bytes) if read > 0 && each(bytes, all) => {}
            _ => return Ok(()),
        }
    }
}

fn bytes(mut response: Response<ureq::Body>, url: &str) -> anyhow::Result<(u16, Vec<u8>)> {
    let status = response.status();
    let mut bytes = Vec::new();
    response.body_mut().as_reader().read_to_end(&mut bytes).with_context(|| format!("{url} broke off"))?;
    if !status.is_success() {
        bail!("{url} answered {status}: {}", String::from_utf8_lossy(&bytes).trim());
    }
    Ok((status.as_u16(), bytes))
}

/// Names of segments in an HLS playlist (RFC 8216, 4.1).
#[must_use]
pub fn segment_names(playlist: &str) -> Vec<String> {
    playlist
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn playlists_name_segments_on_lines_of_their_own() {
        assert_eq!(
            segment_names("#EXTM3U\n#EXTINF:2,\nhead-0-1.ts\r\n\n#EXTINF:2,\n0-2.ts\n"),
            ["head-0-1.ts", "0-2.ts"]
        );
    }
}
