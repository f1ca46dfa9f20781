//! Makes a test programme; see `--help`.

use std::path::PathBuf;

use aftercast_tests::broadcast::{AudioCodec, BroadcastSpec, make};
use clap::Parser;

/// Makes a programme to record: moving picture, burnt-in time code, a tone whose pitch tells the second.
#[derive(Parser)]
#[command(name = "aftercast-broadcast", version)]
struct Arguments {
    /// Where it goes (a transport stream)
    output: PathBuf,
    /// Length in seconds
    #[arg(long, default_value_t = BroadcastSpec::default().seconds)]
    seconds: u32,
    /// Pixels across
    #[arg(long, default_value_t = BroadcastSpec::default().size.0)]
    width: u32,
    /// Pixels down
    #[arg(long, default_value_t = BroadcastSpec::default().size.1)]
    height: u32,
    /// Frames a second
    #[arg(long, default_value_t = BroadcastSpec::default().frame_rate)]
    frame_rate: u32,
    /// Video bits a second
    #[arg(long, default_value_t = BroadcastSpec::default().video_bitrate)]
    video_bitrate: u64,
    /// Multiplex bits a second, null packets included
    #[arg(long, default_value_t = BroadcastSpec::default().mux_rate)]
    mux_rate: u64,
    /// Frames from one key frame to the next
    #[arg(long, default_value_t = BroadcastSpec::default().gop)]
    gop: u32,
    /// B-frames between two others
    #[arg(long, default_value_t = BroadcastSpec::default().b_frames)]
    b_frames: u32,
    /// Audio codec
    #[arg(long, value_enum, default_value = "aac")]
    audio: AudioCodec,
    /// Audio sampling rate in Hz
    #[arg(long, default_value_t = BroadcastSpec::default().sample_rate)]
    sample_rate: u32,
    /// Language of an audio stream; give it several times for several streams
    #[arg(long, default_value = "eng")]
    language: Vec<String>,
    /// Milliseconds added to all times
    #[arg(long, default_value_t = 0)]
    start_ms: u64,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let spec = BroadcastSpec {
        seconds: arguments.seconds,
        size: (arguments.width, arguments.height),
        frame_rate: arguments.frame_rate,
        video_bitrate: arguments.video_bitrate,
        gop: arguments.gop,
        b_frames: arguments.b_frames,
        audio: arguments.audio,
        sample_rate: arguments.sample_rate,
        languages: arguments.language,
        mux_rate: arguments.mux_rate,
        start_ms: arguments.start_ms,
    };
    make(&spec, &arguments.output)?;
    println!("{}", arguments.output.display());
    Ok(())
}
