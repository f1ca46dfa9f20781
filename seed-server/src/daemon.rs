//! The running seed: wires swarm, desk, pulls, transcoder and pages together, and takes them down in order.

use std::sync::Arc;
use std::time::Duration;

use aftercast_net::{Admits, Net, NetConfig, NetEvent, Reach, Verdict};
use aftercast_protocol::ids::DeviceId;
use aftercast_protocol::truth::RawFact;
use aftercast_store::{Store, StoreConfig};
use anyhow::Context;
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, watch};

use crate::access::Access;
use crate::clock::Clock;
use crate::config::Loaded;
use crate::desk::{Desk, Input, Status, Tools};
use crate::head::{self, Recipe};
use crate::ledger::Ledger;
use crate::metrics::SeedMetrics;
use crate::serve::Lanes;
use crate::{api, heads, identity, mend, pull};

/// Inputs that wait for the desk. Full, it slows senders down, which is what they should feel.
const DESK_QUEUE: usize = 1024;
/// Pulls ordered and not begun; duties bound those in flight far below it.
const PULL_QUEUE: usize = 1024;
/// Transcodings ordered and not begun. A programme start for every channel of a shard fits.
const HEAD_QUEUE: usize = 256;

/// Chunks to be mended; over it they are looked at again with the next report.
const MEND_QUEUE: usize = 256;

/// Longest wait for reads and writes under way at the end; each takes milliseconds, unless the disk hangs.
const SHUTDOWN: Duration = Duration::from_secs(30);

/// Runs until the process is told to stop.
///
/// # Errors
/// What could not be opened, or the fault of the database that ended it.
pub fn run(loaded: Loaded) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    let result = runtime.block_on(serve(loaded));
    // What still reads or writes the database is waited for: a thread that uses it while the process ends would find the
    // database's own globals gone.
    runtime.shutdown_timeout(SHUTDOWN);
    result
}

async fn serve(loaded: Loaded) -> anyhow::Result<()> {
    head::available().context("heads cannot be made; install Debian's FFmpeg with libx264")?;
    let key = identity::load(&loaded.data_dir)?;
    let store = open_store(&loaded)?;
    let clock = Clock::default();
    let metrics = Arc::new(SeedMetrics::default());
    let access = Arc::new(Access::default());

    let mut config = NetConfig::new(key.clone());
    config.listen = multiaddrs(&loaded.config.listen)?;
    config.announce = multiaddrs(&loaded.config.announce)?;
    config.mdns = loaded.config.mdns;
    let enrolled = Arc::clone(&access);
    let admits = Admits::those(move |device| enrolled.is_admitted(device, clock.utc()));
    config.reach = Reach::Introducer { admits };
    config.agent = concat!("aftercast-seed/", env!("CARGO_PKG_VERSION")).to_owned();
    let (net, events) = Net::start(config).await.context("cannot listen")?;
    for channel in &loaded.channels {
        net.subscribe(&channel.id).await;
    }

    let (desk_tx, desk_rx) = mpsc::channel(DESK_QUEUE);
    let (pull_tx, pull_rx) = mpsc::channel(PULL_QUEUE);
    let (head_tx, mut head_rx) = mpsc::channel(HEAD_QUEUE);
    let (mend_tx, mend_rx) = mpsc::channel(MEND_QUEUE);
    let (status_tx, status_rx) = watch::channel(Arc::new(Status::default()));
    let mut shown = status_rx.clone();

    let mut registry = Registry::default();
    metrics.register(&mut registry);
    net.metrics().register(&mut registry);
    let listener = tokio::net::TcpListener::bind(&loaded.config.http)
        .await
        .with_context(|| format!("cannot listen on {}", loaded.config.http))?;
    let http = listener.local_addr().context("no local address")?;
    let pages = api::router(status_rx, registry);

    let tools = Tools {
        net: net.clone(),
        ledger: Ledger::new(store.clone()),
        key: key.clone(),
        access: access.clone(),
        clock,
        metrics: metrics.clone(),
        pulls: pull_tx,
        heads: head_tx,
        mends: mend_tx,
        status: status_tx,
    };
    let recipe = recipe(&loaded);
    let desk = Desk::open(tools, loaded).context("cannot read the database")?;

    // The transcoder and the desk each have a thread of their own: both block, on the codec and on the disk.
    let (worker_store, worker_metrics, worker_desk) = (store.clone(), metrics.clone(), desk_tx.clone());
    let transcoder = std::thread::Builder::new()
        .name("heads".into())
        .spawn(move || heads::work(&worker_store, &recipe, &worker_metrics, &mut head_rx, &worker_desk))
        .context("cannot start a thread")?;
    let (ended_tx, mut ended) = mpsc::channel(1);
    let handle = tokio::runtime::Handle::current();
    std::thread::Builder::new()
        .name("desk".into())
        .spawn(move || {
            let result = handle.block_on(desk.run(desk_rx));
            let _ = ended_tx.blocking_send(result); // nobody listens any more only when the process is ending
        })
        .context("cannot start a thread")?;
    tokio::spawn(pull::work(net.clone(), store.clone(), pull_rx, desk_tx.clone()));
    tokio::spawn(mend::work(net.clone(), store.clone(), metrics.clone(), mend_rx, desk_tx.clone()));
    let lanes = Lanes::new(store.clone(), access, clock, metrics);
    tokio::spawn(pump(net.clone(), events, desk_tx.clone(), lanes, key.device()));
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, pages).await {
            tracing::error!(%error, "status pages ended");
        }
    });

    // Whoever waits for us may ask at once: the page then shows what the database holds.
    shown.changed().await.context("the desk ended before it began")?;
    announce_ready(&net, http);
    let outcome = tokio::select! {
        result = ended.recv() => match result {
            Some(Err(error)) => Err(error).context("the database failed; nothing that was promised is lost, start again"),
            Some(Ok(())) | None => Ok(()),
        },
        result = stop_signal() => {
            tracing::info!("stopping");
            // The desk ends between two decisions, while its clock still runs. Gone already, it said so above.
            let asked = desk_tx.send(Input::Stop).await.is_ok();
            let desk = if asked { ended.recv().await.unwrap_or(Ok(())) } else { Ok(()) };
            let synced = tokio::task::spawn_blocking(move || store.sync()).await;
            result.and(desk.context("the database failed")).and(synced?.context("cannot sync the database"))
        }
    };
    // It ends with the desk, after the head it is making.
    let _ = tokio::task::spawn_blocking(move || transcoder.join()).await;
    outcome
}

fn open_store(loaded: &Loaded) -> anyhow::Result<Store> {
    let defaults = StoreConfig::default();
    let config = StoreConfig {
        quota_bytes: loaded.config.store.quota_bytes,
        reserve_free_bytes: loaded.config.store.reserve_free_bytes.unwrap_or(1 << 30),
        ..defaults
    };
    let path = loaded.data_dir.join("store");
    Store::open(&path, config).with_context(|| format!("cannot open {}", path.display()))
}

fn recipe(loaded: &Loaded) -> Recipe {
    let bitrate_bps = u32::try_from(loaded.config.head.bitrate_bps).unwrap_or(u32::MAX);
    Recipe { name: format!("h264-{}k", bitrate_bps / 1000), bitrate_bps, ..Recipe::h264_1500k() }
}

fn multiaddrs(texts: &[String]) -> anyhow::Result<Vec<aftercast_net::Multiaddr>> {
    let parse = |text: &String| {
        text.parse().with_context(|| format!("{text:?} is no multiaddr; write for instance /ip4/0.0.0.0/tcp/4801"))
    };
    texts.iter().map(parse).collect()
}

/// One line of JSON on standard output once everything is up, for scripts that started us.
fn announce_ready(net: &Net, http: std::net::SocketAddr) {
    let listen: Vec<String> = net.listen_addrs().iter().map(ToString::to_string).collect();
    let line = serde_json::json!({
        "ready": true,
        "device": net.device().to_string(),
        "http": format!("http://{http}"),
        "listen": listen,
    });
    println!("{line}");
    tracing::info!(device = %net.device(), %http, ?listen, "seed is running");
}

/// Hands what the network says to whom it concerns.
async fn pump(net: Net, mut events: mpsc::Receiver<NetEvent>, desk: mpsc::Sender<Input>, lanes: Lanes, own: DeviceId) {
    while let Some(event) = events.recv().await {
        match event {
            NetEvent::Lane { lane, .. } => lanes.serve(lane),
            NetEvent::Gossip { data, token, .. } => {
                // We are the only author of facts, so a fact is genuine if we signed it.
                let genuine = minicbor::decode::<RawFact>(&data).is_ok_and(|fact| fact.verify(&own).is_ok());
                net.judge(token, if genuine { Verdict::Accept } else { Verdict::Reject }).await;
            }
            other => {
                if desk.send(Input::Net(other)).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn stop_signal() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result.context("cannot listen for signals"),
        _ = terminate.recv() => Ok(()),
    }
}
