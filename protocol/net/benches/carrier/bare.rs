//! Streams without a protocol on them: the asker says how much it wants, the holder writes it.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::{Duration, Instant};

use aftercast_net::transport::{self, Carriage, Mux, Secure, Tls};
use anyhow::{Context as _, Result};
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::core::Endpoint;
use libp2p::core::muxing::{StreamMuxer as _, StreamMuxerBox, SubstreamBox};
use libp2p::core::transport::{DialOpts, ListenerId, PortUse, TransportEvent};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, Transport as _, noise, tcp, tls, yamux};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::{LANES, PIECE, Usage};

/// The transport of a row.
fn carriage(row: usize, keypair: &Keypair) -> Result<Carriage> {
    let socket = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true)).upgrade(Version::V1Lazy);
    Ok(match row {
        1 => socket
            .authenticate(noise::Config::new(keypair)?)
            .multiplex(yamux::Config::default())
            .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
            .boxed(),
        2 => socket
            .authenticate(tls::Config::new(keypair)?)
            .multiplex(yamux::Config::default())
            .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
            .boxed(),
        3 => socket
            .authenticate(Tls::new(keypair)?)
            .multiplex(yamux::Config::default())
            .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
            .boxed(),
        4 => socket
            .authenticate(noise::Config::new(keypair)?)
            .multiplex(Mux)
            .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
            .boxed(),
        5 => transport::tcp(Secure::new(keypair)?),
        _ => transport::quic(keypair),
    })
}

pub async fn hold(row: usize, say: mpsc::Sender<String>) -> Result<()> {
    if row == 0 {
        return hold_raw(say).await;
    }
    let mut carriage = carriage(row, &Keypair::generate_ed25519())?;
    let at = if row == 8 { "/ip4/127.0.0.1/udp/0/quic-v1" } else { "/ip4/127.0.0.1/tcp/0" };
    carriage.listen_on(ListenerId::next(), at.parse()?)?;
    loop {
        match carriage.select_next_some().await {
            TransportEvent::NewAddress { listen_addr, .. } => say.send(listen_addr.to_string()).await?,
            TransportEvent::Incoming { upgrade, .. } => {
                tokio::spawn(async move {
                    let (_, muxer) = upgrade.await?;
                    serve(muxer).await
                });
            }
            _ => {}
        }
    }
}

/// Answers every stream of a connection, until it ends.
async fn serve(mut muxer: StreamMuxerBox) -> Result<()> {
    loop {
        let next = poll_fn(|cx| {
            let arrived = Pin::new(&mut muxer).poll_inbound(cx);
            if arrived.is_pending() {
                // Drives the streams that are open.
                if let std::task::Poll::Ready(Err(error)) = Pin::new(&mut muxer).poll(cx) {
                    return std::task::Poll::Ready(Err(error));
                }
            }
            arrived
        });
        let mut stream = next.await?;
        tokio::spawn(async move {
            let mut wanted = [0; 8];
            stream.read_exact(&mut wanted).await?;
            let mut left = u64::from_be_bytes(wanted);
            let piece = vec![7; PIECE];
            while left > 0 {
                let now = left.min(PIECE as u64);
                stream.write_all(&piece[..now as usize]).await?;
                left -= now;
            }
            stream.flush().await?;
            // Until the asker has it all.
            let _ = stream.read(&mut [0]).await;
            anyhow::Ok(())
        });
    }
}

pub async fn ask(row: usize, at: &str, bytes: u64) -> Result<(Duration, Usage)> {
    if row == 0 {
        return ask_raw(at, bytes).await;
    }
    let mut carriage = carriage(row, &Keypair::generate_ed25519())?;
    let addr: Multiaddr = at.parse()?;
    let dial = carriage.dial(addr, DialOpts { role: Endpoint::Dialer, port_use: PortUse::New })?;
    // QUIC needs its transport polled.
    tokio::spawn(async move { while carriage.next().await.is_some() {} });
    let (_, mut muxer) = dial.await?;
    let before = Usage::now()?;
    let began = Instant::now();
    let mut streams = Vec::new();
    for _ in 0..LANES {
        streams.push(poll_fn(|cx| Pin::new(&mut muxer).poll_outbound(cx)).await?);
    }
    tokio::spawn(async move {
        loop {
            if poll_fn(|cx| Pin::new(&mut muxer).poll(cx)).await.is_err() {
                return;
            }
        }
    });
    let reading: Vec<_> = streams.into_iter().map(|stream| tokio::spawn(take(stream, bytes / LANES as u64))).collect();
    for reading in reading {
        reading.await??;
    }
    Ok((began.elapsed(), before))
}

async fn take(mut stream: SubstreamBox, bytes: u64) -> Result<()> {
    stream.write_all(&bytes.to_be_bytes()).await?;
    stream.flush().await?;
    let mut left = bytes;
    let mut piece = vec![0; PIECE];
    while left > 0 {
        let read = stream.read(&mut piece).await?;
        anyhow::ensure!(read > 0, "the stream ended early");
        left = left.saturating_sub(read as u64);
    }
    Ok(())
}

async fn hold_raw(say: mpsc::Sender<String>) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    say.send(listener.local_addr()?.to_string()).await?;
    loop {
        let (mut socket, _) = listener.accept().await?;
        tokio::spawn(async move {
            let mut left = socket.read_u64().await?;
            let piece = vec![7; PIECE];
            while left > 0 {
                let now = left.min(PIECE as u64);
                socket.write_all(&piece[..now as usize]).await?;
                left -= now;
            }
            anyhow::Ok(())
        });
    }
}

async fn ask_raw(at: &str, bytes: u64) -> Result<(Duration, Usage)> {
    let before = Usage::now()?;
    let began = Instant::now();
    let mut reading = Vec::new();
    for _ in 0..LANES {
        let mut socket = TcpStream::connect(at).await?;
        reading.push(tokio::spawn(async move {
            let mut left = bytes / LANES as u64;
            socket.write_u64(left).await?;
            let mut piece = vec![0; PIECE];
            while left > 0 {
                let read = socket.read(&mut piece).await?;
                anyhow::ensure!(read > 0, "the socket ended early");
                left = left.saturating_sub(read as u64);
            }
            Ok(())
        }));
    }
    for reading in reading {
        reading.await.context("a reader")??;
    }
    Ok((began.elapsed(), before))
}
