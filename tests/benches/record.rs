//! What recording takes of a small core: a real node that receives four channels of 8 Mb/s over UDP at the pace of
//! the broadcast, cuts, hashes and stores them.
//!
//! `make bench`, or `cargo bench --profile dev --workspace --bench record -- [SECONDS]`

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use aftercast_tests::broadcast::{BroadcastSpec, generate};
use aftercast_tests::media::{Carrier, Clock, Feed, Pace, Sender};
use aftercast_tests::processes::{
    ChannelOptions, NodeOptions, NodeProcess, Programs, SeedOptions, SeedProcess, chunk_file,
};
use anyhow::Context;

const CHANNELS: usize = 4;
const MUX_RATE: u64 = 8_000_000;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let seconds = arguments.first().map_or(Ok(60), |text| text.parse()).context("SECONDS")?;
    let spec = BroadcastSpec {
        seconds,
        size: (1280, 720),
        video_bitrate: 7_300_000,
        gop: 48,
        mux_rate: MUX_RATE,
        ..BroadcastSpec::default()
    };
    eprintln!("making {seconds} s of broadcast (once) ...");
    let path = generate(&spec, Path::new(env!("CARGO_TARGET_TMPDIR")))?;
    let (programs, folder) = (Programs::find()?, tempfile::tempdir()?);
    let plan = folder.path().join("plan.toml");
    chunk_file(&programs, &path, &plan, Some("4s"))?;
    let names: Vec<String> = (1..=CHANNELS).map(|number| format!("channel-{number}")).collect();
    let channel = |name: &String| ChannelOptions { id: name.clone(), interval: "4s".into(), plan: plan.clone() };
    let mut options = SeedOptions::one(channel(&names[0]));
    options.channels = names.iter().map(channel).collect();
    let seed = SeedProcess::start(&programs, &folder.path().join("seed"), options)?;

    let ports = (0..CHANNELS).map(|_| NodeProcess::free_port()).collect::<std::io::Result<Vec<u16>>>()?;
    // A metered line: what is measured is recording, not sharing.
    let options = NodeOptions { metered: true, ..NodeOptions::new("home") };
    let with_inputs =
        |options: NodeOptions, (name, port): (&String, &u16)| options.input(name, &format!("udp://127.0.0.1:{port}"));
    let options = names.iter().zip(&ports).fold(options, with_inputs);
    let node = NodeProcess::start(&programs, &folder.path().join("home"), options, &seed)?;
    node.wait_online()?;
    let recordings = names.iter().map(|name| node.record(name)).collect::<anyhow::Result<Vec<String>>>()?;
    ports.iter().try_for_each(|port| node.wait_listening(*port))?;

    let bytes: Arc<[u8]> = std::fs::read(&path)?.into();
    let pace = Pace::from_pcr(&bytes);
    let feed = |port: &u16| Feed {
        to: SocketAddr::from(([127, 0, 0, 1], *port)),
        carrier: Carrier::Udp,
        bytes: Arc::clone(&bytes),
        pace: pace.clone(),
    };
    eprintln!("recording {CHANNELS} channels for {seconds} s ...");
    let before = node.used()?;
    let sender = Sender::new(ports.iter().map(feed).collect(), &Clock::new(1.0))?;
    sender.start();
    sender.join()?;
    recordings.iter().try_for_each(|id| node.stop_recording(id))?;
    let after = node.used()?;
    let status = node.status()?;
    let clean: u64 = recordings.iter().filter_map(|id| Some(status.recording(id)?.clean)).sum();
    let cpu = (after.cpu - before.cpu).as_secs_f64();
    println!("{CHANNELS} channels of 8 Mb/s, {seconds} s each: {clean} chunks of 4 s whole");
    println!(
        "{:.2} s of processor time: {:.1} % of one core, {:.1} CPU s per stream hour; {:.0} MiB resident at most",
        cpu,
        100.0 * cpu / f64::from(seconds),
        cpu * 3600.0 / f64::from(seconds) / CHANNELS as f64,
        after.peak_bytes as f64 / f64::from(1 << 20),
    );
    Ok(())
}
