//! `aftercast inspect`: what a transport stream is and how well it was received, for a person.

mod picture;

use std::fs;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::process::ExitCode;

use aftercast_protocol::inspect::{Inspector, PictureReport, ProgramReport, Quality, Report, StreamReport};
use anyhow::Context as _;
use indicatif::HumanBytes;

use super::input;
use super::progress::Progress;

/// Bytes read at once.
const READ_BYTES: usize = 1 << 20;

/// Describe a transport stream: streams, key pictures, clocks, reception quality.
#[derive(Debug, clap::Args)]
pub struct InspectArgs {
    /// Transport stream file, or - for standard input
    input: PathBuf,
    /// Print JSON, with everything that happened
    #[arg(long)]
    json: bool,
    /// Draw the timeline into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// Input that cannot be read, files that cannot be written. A stream without a single packet ends with code 1.
pub fn run(args: &InspectArgs) -> anyhow::Result<ExitCode> {
    let (mut input, total) = input::open(&args.input)?;
    let mut progress = Progress::new("inspecting", total);
    let mut inspector = Inspector::default();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let count = match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", args.input.display())),
        };
        inspector.push(buffer.get(..count).unwrap_or_default());
        progress.advance(count as u64);
    }
    let report = inspector.finish();
    if let Some(path) = &args.svg {
        fs::write(path, picture::svg(&report)).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let text = if args.json { serde_json::to_string(&report)? } else { describe(&report) };
    progress.print(text.trim_end())?;
    if report.packets == 0 {
        progress.note("error: no transport stream packets found; is it a transport stream?");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(report: &Report) -> String {
    let mut lines = vec![format!(
        "{}, {}, {}",
        duration(report.seconds),
        bit_rate(report.bits_per_second),
        HumanBytes(report.bytes)
    )];
    for program in &report.programs {
        lines.extend(describe_program(program, report.seconds));
    }
    if report.programs.is_empty() {
        lines.push("No programme: its tables never came whole.".into());
    }
    lines.push(describe_quality(&report.quality, report.skipped_bytes));
    lines.push(picture::text(report));
    lines.join("\n")
}

fn describe_program(program: &ProgramReport, seconds: f64) -> Vec<String> {
    let mut lines = vec![format!("Programme {}", program.number)];
    if program.streams.is_empty() {
        lines.push(format!("  its map (PID {}) never came whole", program.pmt_pid));
    }
    for stream in &program.streams {
        let name = match &stream.language {
            Some(language) => format!("{} ({language})", stream.kind),
            None => stream.kind.clone(),
        };
        let rate = bit_rate(stream.bits_per_second);
        let mut line = format!("  PID {:<5} {name:<26} {rate:>10}", stream.pid);
        for note in stream.pictures.iter().map(|found| pictures(found, seconds)).chain(notes(stream)) {
            line.push_str("  ");
            line.push_str(&note);
        }
        lines.push(line.trim_end().to_owned());
    }
    lines
}

fn pictures(found: &PictureReport, seconds: f64) -> String {
    let mut text = format!("{} pictures", found.pictures);
    if seconds > 0.0 {
        text.push_str(&format!(", {:.2} a second", found.pictures as f64 / seconds));
    }
    match found.key_pictures {
        0 => text.push_str(", no key picture"),
        1 => text.push_str(", one key picture"),
        _ => text.push_str(&format!(
            ", a key picture every {:.1} ({} to {})",
            found.mean_group, found.shortest_group, found.longest_group
        )),
    }
    if found.damaged > 0 {
        text.push_str(&format!(", {} damaged", found.damaged));
    }
    if found.holes > 0 {
        text.push_str(&format!(", {} times some missing", found.holes));
    }
    text
}

fn notes(stream: &StreamReport) -> impl Iterator<Item = String> {
    let of = |count: u64, what: &str| (count > 0).then(|| format!("{count} {what}"));
    let nothing = (stream.packets == 0).then(|| "nothing received".to_owned());
    [
        nothing,
        of(stream.lost_packets, "packets lost"),
        of(stream.scrambled_packets, "packets scrambled"),
        of(stream.clock_jumps, "clock jumps"),
        of(stream.pts_wraps, "clock wraps"),
    ]
    .into_iter()
    .flatten()
}

/// Figures with the numbers that TR 101 290 gives them.
fn describe_quality(quality: &Quality, skipped: u64) -> String {
    if quality.is_clean() && skipped == 0 {
        return "Reception: nothing lost, nothing wrong".into();
    }
    let counts = [
        (quality.sync_losses, "sync losses (1.1)"),
        (quality.pat_errors, "late PATs (1.3)"),
        (quality.continuity_count_errors, "continuity count errors (1.4)"),
        (quality.pmt_errors, "late PMTs (1.5)"),
        (quality.transport_errors, "transport errors (2.1)"),
        (quality.crc_errors, "CRC errors (2.2)"),
        (quality.pcr_repetition_errors, "late clock references (2.3a)"),
        (quality.pcr_discontinuities, "clock jumps (2.3b)"),
        (quality.pts_errors, "late times (2.5)"),
        (quality.scrambled_packets, "scrambled packets"),
        (quality.malformed_packets, "malformed packets"),
        (skipped, "bytes outside of packets"),
    ];
    let told: Vec<_> = counts.iter().filter(|(count, _)| *count > 0).map(|(n, what)| format!("{n} {what}")).collect();
    format!("Reception: {}", told.join(", "))
}

fn bit_rate(bits_per_second: u64) -> String {
    match bits_per_second {
        0 => "-".into(),
        1..1_000_000 => format!("{} kb/s", bits_per_second.div_ceil(1000)),
        _ => format!("{:.2} Mb/s", bits_per_second as f64 / 1e6),
    }
}

/// Hours only where there are any.
fn duration(seconds: f64) -> String {
    let tenths = (seconds.max(0.0) * 10.0).round() as u64;
    let (hours, minutes, rest) = (tenths / 36_000, tenths / 600 % 60, (tenths % 600) as f64 / 10.0);
    if hours > 0 { format!("{hours}:{minutes:02}:{rest:04.1}") } else { format!("{minutes}:{rest:04.1}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_as_people_read_them() {
        assert_eq!(duration(3725.21), "1:02:05.2");
        assert_eq!(duration(59.96), "1:00.0");
        assert_eq!((bit_rate(0), bit_rate(130_001), bit_rate(5_500_000)), {
            ("-".to_owned(), "131 kb/s".to_owned(), "5.50 Mb/s".to_owned())
        });
    }

    #[test]
    fn a_file_without_a_packet_is_described_all_the_same() {
        let mut inspector = Inspector::default();
        inspector.push(b"no transport stream");
        let report = inspector.finish();
        assert!(describe(&report).contains("No programme"));
        assert!(picture::svg(&report).starts_with("<svg"));
    }
}
