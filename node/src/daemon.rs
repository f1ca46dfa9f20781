//! The running node: starts its parts, says that it is ready, ends them in order.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use aftercast_net::exchange::LanePool;
use aftercast_net::{Net, NetConfig};
use aftercast_store::{Store, StoreConfig};
use anyhow::Context as _;
use prometheus_client::metrics::counter::Counter;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::acquaintances::Acquaintances;
use crate::api::status::FetchStatus;
use crate::api::{self, Node};
use crate::config::Config;
use crate::identity;
use crate::library::{Library, blocking};
use crate::metrics::Metrics;
use crate::peers::Peers;
use crate::playback::{LANES_PER_SOURCE, NodeReach, Playback, Reach};
use crate::recorder::Recorder;
use crate::repair::{RepairCounters, Repairer};
use crate::seed::SeedClient;
use crate::seed::session::{self, SessionContext};
use crate::serve::Uplink;
use crate::swarm::{self, Swarm};

const READY_FILE: &str = "ready.json";

/// What a started daemon says of itself: one line on standard output, and a file in its data folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ready {
    /// Always true.
    pub ready: bool,
    /// This device.
    pub device: String,
    /// Where its HTTP interface is.
    pub http: String,
    /// Where it listens for the seed and peers, as multiaddrs.
    pub listen: Vec<String>,
}

impl Ready {
    /// What the daemon of a data folder said when it started last.
    #[must_use]
    pub fn read(data_dir: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(data_dir.join(READY_FILE)).ok()?).ok()
    }
}

/// Runs until it is told to end (SIGINT, SIGTERM), or the store fails.
///
/// # Errors
/// What could not be started, or why the store failed.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let key = identity::device_key(&config.data_dir)?;
    let enrolment = identity::enrolment(&config, key.device())?;
    let store_config = StoreConfig {
        quota_bytes: config.store.quota_bytes,
        reserve_free_bytes: config.store.reserve_free_bytes,
        ..StoreConfig::default()
    };
    let folder = config.data_dir.join("store");
    let library = blocking(|| anyhow::Ok(Library::open(Store::open(&folder, store_config)?)?))?;

    let mut net_config = NetConfig::new(key);
    net_config.listen.clone_from(&config.listen);
    net_config.announce.clone_from(&config.announce);
    net_config.private_is_home = config.private_is_home;
    net_config.mdns = config.mdns;
    if let Some(enrolment) = &enrolment {
        net_config.reach = aftercast_net::Reach::Home { introducer: enrolment.seed, upnp: config.upnp };
    }
    let (net, events) = Net::start(net_config).await?;
    let http = TcpListener::bind(config.http).await.with_context(|| format!("cannot listen on {}", config.http))?;
    let http_addr = http.local_addr()?;
    if !http_addr.ip().is_loopback() {
        tracing::warn!(%http_addr, "the HTTP interface is open to the network: whoever reaches it may delete recordings");
    }

    let seed = SeedClient::new(net.clone(), Arc::clone(&library), enrolment, config.data_dir.clone());
    let peers = Peers::new(net.clone(), Arc::clone(&seed), Arc::clone(&library));
    let uplink = Uplink::start(config.uplink.clone(), &library, seed.device());
    let recorder = Recorder::new(Arc::clone(&library), config.inputs.clone(), seed.device());
    let known = Acquaintances::open(net.clone(), Arc::clone(&library));
    let reach = NodeReach::new(net.clone(), Arc::clone(&seed), Arc::clone(&peers), Arc::clone(&known));
    let reach: Arc<dyn Reach> = Arc::new(reach);
    let lanes = LanePool::new(net.clone(), usize::from(LANES_PER_SOURCE));
    let playback = Playback::of_node(Arc::clone(&library), Arc::clone(&seed), Arc::clone(&reach), lanes.clone());
    let repair = RepairCounters::default();
    let repairer = Repairer::new(Arc::clone(&library), reach, lanes, repair.clone());
    let malformed = Counter::default();
    let metrics = Metrics::new(malformed.clone(), |registry| {
        net.metrics().register(registry);
        uplink.gate().metrics().register(registry);
        repair.register(registry);
    });
    let node = Arc::new(Node {
        net: net.clone(),
        library: Arc::clone(&library),
        seed: Arc::clone(&seed),
        peers: Arc::clone(&peers),
        uplink: Arc::clone(&uplink),
        recorder: Arc::clone(&recorder),
        repair,
        playback_status: Box::new(playback_status(&playback)),
        metrics,
    });
    let app = api::router(Arc::clone(&node)).merge(playback.router());

    // All of these end with the set.
    let mut tasks = JoinSet::new();
    let swarm = Swarm {
        net: net.clone(),
        seed: Arc::clone(&seed),
        peers: Arc::clone(&peers),
        library: Arc::clone(&library),
        uplink: Arc::clone(&uplink),
        playback,
        malformed,
    };
    tasks.spawn(swarm.run(events));
    tasks.spawn(session::run(SessionContext {
        net: net.clone(),
        seed: Arc::clone(&seed),
        library: Arc::clone(&library),
        uplink: Arc::clone(&uplink),
        recorder: Arc::clone(&recorder),
    }));
    tasks.spawn(repairer.run());
    let remembering = Arc::clone(&known);
    tasks.spawn(async move { remembering.run().await });
    tasks.spawn(swarm::announce(Arc::clone(&library), peers));
    tasks.spawn(swarm::watch_reach(Arc::clone(&library), net.clone()));
    tasks.spawn(swarm::provide(Arc::clone(&library), net.clone()));
    let (metered, watched) = (Arc::clone(&uplink), Arc::clone(&library));
    tasks.spawn(async move { metered.watch(&watched).await });
    let follow = Arc::clone(&recorder);
    tasks.spawn(async move { follow.run().await });
    tasks.spawn(async move {
        if let Err(error) = axum::serve(http, app).await {
            tracing::error!(%error, "the HTTP interface ended");
        }
    });

    say_ready(&config.data_dir, &net, http_addr)?;
    let ended = until_told(&recorder).await;
    tracing::info!("ending");
    tasks.shutdown().await;
    known.keep_changed();
    let stopping = Arc::clone(&recorder);
    tokio::task::spawn_blocking(move || stopping.stop()).await?;
    blocking(|| library.store().sync()).context("the store was not synced")?;
    ended
}

fn playback_status(playback: &Playback) -> impl Fn() -> (Value, FetchStatus) + Send + Sync + 'static {
    let playback = playback.clone();
    move || {
        let (wanted, missing) = (playback.chunks_wanted(), playback.chunks_missing());
        let fetch = FetchStatus { wanted, missing, stats: playback.fetch_stats() };
        (serde_json::to_value(playback.reports()).unwrap_or_default(), fetch)
    }
}

async fn until_told(recorder: &Recorder) -> anyhow::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut fatal = recorder.fatal();
    tokio::select! {
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
        failed = fatal.wait_for(Option::is_some) => {
            let reason = failed.ok().and_then(|reason| reason.clone()).unwrap_or_default();
            anyhow::bail!("{reason}; start the program again to recover what was written safely")
        }
    }
}

fn say_ready(data_dir: &Path, net: &Net, http: SocketAddr) -> anyhow::Result<()> {
    let ready = Ready {
        ready: true,
        device: net.device().to_string(),
        http: format!("http://{http}"),
        listen: net.listen_addrs().iter().map(ToString::to_string).collect(),
    };
    let line = serde_json::to_string(&ready)?;
    identity::write_whole(&data_dir.join(READY_FILE), line.as_bytes()).context("cannot write the data folder")?;
    println!("{line}");
    Ok(())
}
