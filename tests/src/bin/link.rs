//! Puts a link between two programs of this machine; see `--help`.

use std::io::Read;
use std::net::SocketAddr;

use aftercast_sim::link::LinkSpec;
use aftercast_tests::link::{LinkProxy, ProxySpec, Route};
use anyhow::Context;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

/// Forwards TCP (and UDP) to an address through links with rate, delay, jitter, losses and outages.
///
/// All connections share the two links fairly. Prints {"address":"..."} when it listens, and what went through when it
/// ends: when its standard input closes, or on SIGTERM or SIGINT.
#[derive(Parser)]
#[command(name = "aftercast-link", version, after_help = format!("Links (a list with commas):\n{}\n
Example: a holder of chunks at 6 Mb/s that stalls ten seconds in every thirty
  aftercast-link --to 127.0.0.1:4801 --up delay=10ms --down rate=6Mb/s,delay=10ms,stall=10s/every=30s", LinkSpec::HELP))]
struct Arguments {
    /// Where it listens; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where connections and datagrams go
    #[arg(long, value_name = "ADDRESS")]
    to: SocketAddr,
    /// The link towards --to
    #[arg(long, value_name = "LINK", default_value = "unlimited")]
    up: LinkSpec,
    /// The link back
    #[arg(long, value_name = "LINK", default_value = "unlimited")]
    down: LinkSpec,
    /// Forward UDP too, on the same port
    #[arg(long)]
    udp: bool,
    /// Decides all chance
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Lets the links' time run so many times as fast: rates times X, delays and outages divided by X
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    speed: f64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let Arguments { listen, to, up, down, udp, seed, speed } = Arguments::parse();
    let (mut terminated, mut interrupted) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let routes = vec![Route { listen, ..Route::to(to) }];
    let spec = ProxySpec { routes, up, down, udp, seed, speed };
    let proxy = LinkProxy::start(&spec).with_context(|| format!("cannot forward {listen} to {to}"))?;
    println!("{}", serde_json::json!({ "address": proxy.address() }));
    // A thread of its own, because a read of standard input cannot be given up.
    let (closed, input_closed) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut sink = [0; 4096];
        while std::io::stdin().read(&mut sink).is_ok_and(|length| length > 0) {}
        closed.send(())
    });
    tokio::select! {
        _ = input_closed => {}
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    println!("{}", serde_json::to_string(&proxy.end())?);
    Ok(())
}
