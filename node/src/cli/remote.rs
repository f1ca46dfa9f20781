//! The commands that a running daemon carries out.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::{Value, json};

use super::client::{Daemon, DaemonArg};
use crate::clock::wall;

#[derive(Debug, Subcommand)]
pub(crate) enum RemoteCommand {
    /// List channels
    Channels {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        daemon: DaemonArg,
    },
    /// Record a channel
    Record {
        /// The channel's id
        channel: String,
        /// From when: seconds since 1970, or +30m, +2h (default: now)
        #[arg(long, value_name = "T", value_parser = parse_time)]
        from: Option<u64>,
        /// Until when, in the same forms (default: until stopped)
        #[arg(long, value_name = "T", value_parser = parse_time)]
        to: Option<u64>,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        daemon: DaemonArg,
    },
    /// End a recording
    Stop {
        /// The recording's id
        id: String,
        #[command(flatten)]
        daemon: DaemonArg,
    },
    /// Delete a recording
    Delete {
        /// The recording's id
        id: String,
        #[command(flatten)]
        daemon: DaemonArg,
    },
    /// List recordings
    Recordings {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        daemon: DaemonArg,
    },
    /// Say where a recording can be played, for VLC, mpv or a browser
    Play {
        /// The recording's id
        id: String,
        #[command(flatten)]
        daemon: DaemonArg,
    },
    /// Pause, resume or limit what leaves the home for others
    Share {
        #[command(subcommand)]
        action: Option<ShareAction>,
        #[command(flatten)]
        daemon: DaemonArg,
    },
    /// Say what the node does
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        daemon: DaemonArg,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ShareAction {
    /// Let nothing leave the home
    Pause,
    /// Share as the configuration says
    Resume,
    /// Share at most this much
    Limit {
        /// Bits per second: 500k, 2M
        #[arg(value_parser = parse_rate)]
        rate: u64,
    },
}

/// Milliseconds since 1970.
fn parse_time(text: &str) -> Result<u64, String> {
    let wrong = || "write it as seconds since 1970, or as +90s, +30m, +2h from now".to_owned();
    match text.strip_prefix('+') {
        Some(span) => {
            let (digits, unit) = span.split_at(span.len().saturating_sub(1));
            let factor = match unit {
                "s" => 1000,
                "m" => 60_000,
                "h" => 3_600_000,
                _ => return Err(wrong()),
            };
            let span = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(wrong)?;
            Ok(wall().plus_millis(span).0)
        }
        None => text.parse::<u64>().ok().and_then(|n| n.checked_mul(1000)).ok_or_else(wrong),
    }
}

fn parse_rate(text: &str) -> Result<u64, String> {
    let wrong = || "write it in bits per second: 500k, 2M, 1500000".to_owned();
    let (digits, factor) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1000),
        None => text.strip_suffix('M').map_or((text, 1), |digits| (digits, 1_000_000)),
    };
    digits.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(wrong)
}

pub(crate) fn run(command: RemoteCommand) -> anyhow::Result<ExitCode> {
    match command {
        RemoteCommand::Channels { json, daemon } => {
            let list = Daemon::find(&daemon)?.get("/api/channels")?;
            show(json, &list, |list| rows(list, channel_line))?;
        }
        RemoteCommand::Record { channel, from, to, json, daemon } => {
            let body = json!({ "channel": channel, "from": from, "to": to });
            let recording = Daemon::find(&daemon)?.post("/api/recordings", body)?;
            show(json, &recording, |one| text(&one["id"]))?;
        }
        RemoteCommand::Stop { id, daemon } => {
            Daemon::find(&daemon)?.post(&format!("/api/recordings/{}/stop", checked(&id)?), json!({}))?;
        }
        RemoteCommand::Delete { id, daemon } => {
            Daemon::find(&daemon)?.delete(&format!("/api/recordings/{}", checked(&id)?))?;
        }
        RemoteCommand::Recordings { json, daemon } => {
            let list = Daemon::find(&daemon)?.get("/api/recordings")?;
            show(json, &list, |list| rows(list, recording_line))?;
        }
        RemoteCommand::Play { id, daemon } => {
            let daemon = Daemon::find(&daemon)?;
            let id = checked(&id)?;
            daemon.get(&format!("/api/recordings/{id}"))?;
            println!("{}/recordings/{id}/index.m3u8", daemon.base());
            eprintln!("as one file, for tools: {}/recordings/{id}.ts", daemon.base());
        }
        RemoteCommand::Share { action, daemon } => {
            let daemon = Daemon::find(&daemon)?;
            let share = match action {
                None => daemon.get("/api/status")?["uplink"]["share"].take(),
                Some(ShareAction::Pause) => daemon.post("/api/share", json!({ "action": "pause" }))?,
                Some(ShareAction::Resume) => daemon.post("/api/share", json!({ "action": "resume" }))?,
                Some(ShareAction::Limit { rate }) => {
                    daemon.post("/api/share", json!({ "action": "limit", "bps": rate }))?
                }
            };
            let limit = share["limit_bps"].as_u64().map(|bps| format!(", at most {} Mb/s", bps as f64 / 1e6));
            let word = if share["paused"] == true { "paused" } else { "sharing" };
            println!("{word}{}", limit.unwrap_or_default());
        }
        RemoteCommand::Status { json, daemon } => {
            let status = Daemon::find(&daemon)?.get("/api/status")?;
            show(json, &status, status_text)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Ids go into paths: nothing but an id may.
fn checked(id: &str) -> anyhow::Result<aftercast_protocol::ids::RecordingId> {
    id.parse().with_context(|| format!("{id:?} is no recording's id"))
}

fn show(as_json: bool, value: &Value, for_people: impl Fn(&Value) -> String) -> io::Result<()> {
    let text = if as_json { value.to_string() } else { for_people(value) };
    writeln!(io::stdout().lock(), "{text}")
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| if value.is_null() { String::new() } else { value.to_string() }, str::to_owned)
}

fn rows(list: &Value, line: fn(&Value) -> String) -> String {
    let lines: Vec<String> = list.as_array().into_iter().flatten().map(line).collect();
    if lines.is_empty() { "none".to_owned() } else { lines.join("\n") }
}

fn channel_line(one: &Value) -> String {
    let input = if one["input"] == true { "received here" } else { "no input" };
    format!("{:<24} {:<14} {}", text(&one["channel"]), input, text(&one["title"]))
}

fn recording_line(one: &Value) -> String {
    let count = |value: &Value| value.as_u64().unwrap_or(0);
    let from = Duration::from_millis(wall().0.saturating_sub(count(&one["from"])));
    let playable = one["manifest"]["chunks"].as_u64().map_or("?".to_owned(), |n| n.to_string());
    let repaired = match count(&one["repaired"]) {
        0 => String::new(),
        repaired => format!(", {repaired} repaired"),
    };
    format!(
        "{}  {:<16} {:<10} began {} min ago, {} chunks received whole{repaired}, {} playable",
        text(&one["id"]),
        text(&one["channel"]),
        text(&one["state"]),
        from.as_secs() / 60,
        count(&one["clean"]),
        playable,
    )
}

fn holes_text(reach: &Value) -> String {
    match (reach["holes_tried"].as_u64().unwrap_or(0), &reach["holes_punched"]) {
        (0, _) => String::new(),
        (tried, punched) => format!("; {punched} of {tried} holes punched"),
    }
}

fn status_text(status: &Value) -> String {
    let seed = match (status["seed"]["connected"] == true, status["seed"]["refused"].as_str()) {
        (_, Some(reason)) => format!("refuses: {reason}"),
        (true, None) => "connected".to_owned(),
        (false, None) => "not connected".to_owned(),
    };
    let mib = |value: &Value| value.as_u64().unwrap_or(0) / (1 << 20);
    let mut lines = vec![
        format!("device      {}", text(&status["device"])),
        format!("subscriber  {}", status["subscriber"].as_str().unwrap_or("none; enrol with: aftercast join CODE")),
        format!("seed        {seed}"),
        format!("reachable   {}{}", text(&status["reach"]["words"]), holes_text(&status["reach"])),
        format!("peers       {}", status["peers"]),
        format!(
            "store       {} chunks, {} MiB, {} held for others",
            status["store"]["chunks"],
            mib(&status["store"]["chunk_bytes"]),
            status["store"]["held"]
        ),
        format!(
            "uploaded    {} MiB to the seed, {} MiB to peers",
            mib(&status["uplink"]["sent"]["to_seed"]),
            mib(&status["uplink"]["sent"]["to_peers"])
        ),
    ];
    if status["repair"]["chunks"].as_u64().unwrap_or(0) > 0 {
        let (chunks, fetched) = (&status["repair"]["chunks"], mib(&status["repair"]["fetched_bytes"]));
        lines.push(format!("repaired    {chunks} damaged chunks, for {fetched} MiB from others"));
    }
    for (channel, input) in status["inputs"].as_object().into_iter().flatten() {
        lines.push(format!("input       {channel}: {} {}", text(&input["state"]), text(&input["reason"])));
    }
    lines.extend(status["recordings"].as_array().into_iter().flatten().map(recording_line));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_rates_are_read_as_people_write_them() {
        assert_eq!(parse_time("1700000000"), Ok(1_700_000_000_000));
        assert!(parse_time("+2h").unwrap() > wall().0 + 7_199_000);
        for wrong in ["", "+", "+2", "+2d", "noon", "-5", "99999999999999999999"] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
        assert_eq!((parse_rate("500k"), parse_rate("2M"), parse_rate("7")), (Ok(500_000), Ok(2_000_000), Ok(7)));
        assert!(parse_rate("fast").is_err());
    }
}
