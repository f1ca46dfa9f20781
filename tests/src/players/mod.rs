//! Players that are not ours, in front of a real node: VLC, and hls.js in a browser.

pub mod browser;
pub mod vlc;

/// What a player got out of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Pictures decoded.
    pub pictures: u64,
    /// Milliseconds of sound decoded, where the player tells.
    pub sound_ms: Option<u64>,
    /// What it complained about.
    pub complaints: Vec<String>,
}
