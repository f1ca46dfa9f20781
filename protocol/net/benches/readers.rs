//! Memory of a device that serves many slow readers: what 64 of them, with a chunk of 8 MiB each and a thin line, make
//! it hold.
//!
//! ```text
//!   this program: 64 devices, each takes a group every tenth of a second
//!        |  starts, and looks at its memory
//!        +--> server: one process, chunks in a file, as a store gives them
//! ```
//!
//! `cargo bench -p aftercast-net --profile dev --bench readers -- [--readers N] [--pause MS]`

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::FileExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aftercast_net::exchange::{ChunkProvider, Description, LanePool, ServeGate, Wanted, serve_lane};
use aftercast_net::{Multiaddr, Net, NetConfig, NetEvent};
use aftercast_protocol::ids::{ChunkCid, DeviceId, GroupIndex};
use aftercast_protocol::limits::GROUP_BYTES;
use aftercast_protocol::serve::{Class, ServeConfig, Usage};
use aftercast_protocol::sign::SecretKey;
use aftercast_protocol::time::Micros;
use aftercast_protocol::verify::{GroupHashes, GroupRange, GroupSet};
use aftercast_protocol::wire::lane::LaneRefusal;
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;

/// As in the programs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CHUNK: usize = 8 << 20;
/// What the server may grow by, in KiB.
const MOST: u64 = 64 << 10;

/// One chunk after another in a file.
struct Disk {
    file: File,
    chunks: BTreeMap<ChunkCid, (u64, GroupHashes)>,
}

impl ChunkProvider for Disk {
    fn authorise(&self, _: DeviceId, _: &ChunkCid, _: Class) -> Result<(), LaneRefusal> {
        Ok(())
    }

    fn describe(&self, _: DeviceId, cid: &ChunkCid) -> Option<Description> {
        let (_, hashes) = self.chunks.get(cid)?;
        Some(Description { hashes: hashes.clone(), have: GroupSet::full(hashes.groups()).ok()? })
    }

    fn read_group(&self, cid: &ChunkCid, index: GroupIndex) -> io::Result<Option<Bytes>> {
        let Some((start, hashes)) = self.chunks.get(cid) else { return Ok(None) };
        let mut group = vec![0; hashes.group_len(index)];
        self.file.read_exact_at(&mut group, start + u64::from(index.0) * GROUP_BYTES as u64)?;
        Ok(Some(group.into()))
    }
}

fn key(number: u16) -> SecretKey {
    let mut key = [7; 32];
    key[..2].copy_from_slice(&number.to_be_bytes());
    SecretKey::from_bytes(&key)
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let number = |name: &str, default: u64| -> Result<u64> {
        let at = args.iter().position(|arg| arg == name);
        at.map_or(Ok(default), |at| {
            args.get(at + 1).with_context(|| format!("{name} N"))?.parse().context(name.to_owned())
        })
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match args.first().map(String::as_str) {
        Some("serve") => runtime.block_on(serve(args.get(1).context("how many chunks")?.parse()?)),
        _ => runtime.block_on(read(u16::try_from(number("--readers", 64)?)?, number("--pause", 100)?)),
    }
}

/// The server's process: says where it is and what it has, and serves until its input ends.
async fn serve(count: u64) -> Result<()> {
    let mut file = tempfile::tempfile()?;
    let (mut chunks, mut cids) = (BTreeMap::new(), Vec::new());
    for number in 0..count {
        let bytes: Vec<u8> = (0..CHUNK).map(|at| ((at * 131 + at / 977) as u8) ^ number as u8).collect();
        let hashes = GroupHashes::of(&bytes);
        cids.push(hashes.cid());
        chunks.insert(hashes.cid(), (number * CHUNK as u64, hashes));
        file.write_all(&bytes)?;
    }
    let mut config = NetConfig::new(key(0));
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse()?];
    let (net, mut events) = Net::start(config).await?;
    println!("{}", net.listen_addrs().first().context("an address")?);
    cids.iter().for_each(|cid| println!("{cid}"));
    let (disk, gate) = (Arc::new(Disk { file, chunks }), ServeGate::start(ServeConfig::default(), Usage::default()));
    let ended = tokio::task::spawn_blocking(|| io::stdin().read_line(&mut String::new()));
    tokio::pin!(ended);
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(NetEvent::Lane { lane, .. }) => {
                    tokio::spawn(serve_lane(lane, Arc::clone(&disk) as Arc<dyn ChunkProvider>, gate.clone()));
                }
                Some(_) => {}
                None => return Ok(()),
            },
            _ = &mut ended => return Ok(()),
        }
    }
}

/// A figure of a process's memory in KiB (proc(5), /proc/pid/status).
fn memory(process: u32, name: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    Ok(line.context("no such figure")?.split_whitespace().next().context("no number")?.parse()?)
}

async fn read(readers: u16, pause: u64) -> Result<()> {
    let own = std::env::current_exe()?;
    let mut server = Command::new(own).args(["serve", "4"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(server.stdout.take().context("its output")?).lines();
    let mut line = || lines.next().context("the server said nothing")?.map_err(anyhow::Error::from);
    let addr: Multiaddr = line()?.parse()?;
    let cids = (0..4).map(|_| Ok(line()?.parse::<ChunkCid>()?)).collect::<Result<Vec<_>>>()?;
    let holder = key(0).device();

    let mut nets = Vec::new();
    for number in 1..=readers {
        let (net, mut events) = Net::start(NetConfig::new(key(number))).await?;
        tokio::spawn(async move { while events.recv().await.is_some() {} });
        net.dial(holder, vec![addr.clone()]).await?;
        nets.push(net);
    }
    let before = memory(server.id(), "VmRSS")?;
    let began = Instant::now();
    let mut reading = tokio::task::JoinSet::new();
    for (number, net) in nets.iter().enumerate() {
        let (pool, cid) = (LanePool::new(net.clone(), 2), cids[number % cids.len()]);
        reading.spawn(async move {
            let wanted = Wanted {
                cid,
                groups: GroupRange::new(0, (CHUNK / GROUP_BYTES) as u32),
                class: Class::Playback,
                deadline: Micros::from_secs(300),
                len: Some(CHUNK as u64),
                hashes: None,
            };
            let mut transfer = pool.fetch(holder, &wanted).await?;
            let mut got = 0;
            while let Some(group) = transfer.next().await {
                got += group?.1.len();
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            ensure!(got == CHUNK, "{got} bytes of {CHUNK}");
            anyhow::Ok(())
        });
    }
    let mut most = before;
    loop {
        tokio::select! {
            done = reading.join_next() => match done {
                Some(done) => done??,
                None => break,
            },
            () = tokio::time::sleep(Duration::from_millis(20)) => most = most.max(memory(server.id(), "VmRSS")?),
        }
    }
    let (took, grown) = (began.elapsed().as_secs_f64(), most - before);
    drop(server.stdin.take());
    server.wait()?;
    let mib = |kib: u64| kib as f64 / 1024.0;
    println!(
        "{readers} readers of {} MiB each, a group every {pause} ms, {took:.1} s: the server grew from {:.1} to {:.1} MiB, \
         by {:.1} ({} at most {:.0})",
        CHUNK >> 20,
        mib(before),
        mib(most),
        mib(grown),
        if grown <= MOST { "as promised:" } else { "NOT as promised:" },
        mib(MOST)
    );
    ensure!(grown <= MOST, "the server grew by {:.1} MiB", mib(grown));
    Ok(())
}
