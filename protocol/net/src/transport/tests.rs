//! With ourselves, with stock libp2p, and with those who are not who they say.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::{future::poll_fn, io};

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, StreamExt as _};
use futures_rustls::TlsStream;
use libp2p::core::Endpoint;
use libp2p::core::muxing::{StreamMuxer as _, StreamMuxerBox, SubstreamBox};
use libp2p::core::transport::{DialOpts, ListenerId, PortUse, TransportEvent};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, Version};
use libp2p::identity::Keypair;
use libp2p::tls::certificate;
use libp2p::{PeerId, Transport as _, noise, tcp, tls, yamux};
use proptest::prelude::*;
use rustls::CipherSuite;
use rustls::CipherSuite::{TLS13_AES_128_GCM_SHA256 as AES, TLS13_CHACHA20_POLY1305_SHA256 as CHACHA};
use rustls::pki_types::CertificateDer;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

use super::gather::Gather;
use super::tls::NAME;
use super::verifier::sole;
use super::{Carriage, Cipher, Secure, Tls};

type Pipe = Compat<tokio::io::DuplexStream>;
type Outcome<E> = Result<(PeerId, TlsStream<Pipe>), E>;

fn keys() -> (Keypair, Keypair) {
    (Keypair::generate_ed25519(), Keypair::generate_ed25519())
}

/// A handshake through a pipe: what the dialler and the listener make of it.
async fn shake<D, L, E, F>(dialler: D, listener: L) -> (Outcome<E>, Outcome<F>)
where
    D: OutboundConnectionUpgrade<Pipe, Output = (PeerId, TlsStream<Pipe>), Error = E, Info = &'static str>,
    L: InboundConnectionUpgrade<Pipe, Output = (PeerId, TlsStream<Pipe>), Error = F, Info = &'static str>,
{
    let (a, b) = tokio::io::duplex(64 * 1024);
    let dial = async {
        let (peer, mut stream) = dialler.upgrade_outbound(a.compat(), NAME).await?;
        // In TLS 1.3 a dialler learns only by reading that it was refused.
        if stream.read(&mut [0; 1]).await.is_err() { Ok(None) } else { Ok(Some((peer, stream))) }
    };
    let listen = async {
        let (peer, mut stream) = listener.upgrade_inbound(b.compat(), NAME).await?;
        // A dialler that gave up is gone.
        let _ = stream.write_all(&[1]).await;
        let _ = stream.flush().await;
        Ok((peer, stream))
    };
    let (dialled, listened) = futures::join!(dial, listen);
    (dialled.map(|known| known.expect("refused after the handshake")), listened)
}

fn suite(stream: &TlsStream<Pipe>) -> CipherSuite {
    stream.get_ref().1.negotiated_cipher_suite().unwrap().suite()
}

#[tokio::test]
async fn aes_is_used_where_both_ends_prefer_it_and_chacha_everywhere_else() {
    use Cipher::{Aes, ChaCha};
    for (dialler, listener, expected) in
        [(Aes, Aes, AES), (Aes, ChaCha, CHACHA), (ChaCha, Aes, CHACHA), (ChaCha, ChaCha, CHACHA)]
    {
        let (a, b) = keys();
        let (dialled, listened) =
            shake(Tls::preferring(dialler, &a).unwrap(), Tls::preferring(listener, &b).unwrap()).await;
        let ((to, out), (from, into)) = (dialled.unwrap(), listened.unwrap());
        assert_eq!((to, from), (b.public().to_peer_id(), a.public().to_peer_id()));
        assert_eq!((suite(&out), suite(&into)), (expected, expected), "{dialler:?} to {listener:?}");
    }
}

#[tokio::test]
async fn stock_peers_are_understood_both_ways() {
    let (a, b) = keys();
    let ours = || Tls::preferring(Cipher::Aes, &a).unwrap();
    let (dialled, listened) = shake(ours(), tls::Config::new(&b).unwrap()).await;
    let ((to, out), (from, _)) = (dialled.unwrap(), listened.unwrap());
    assert_eq!((to, from, suite(&out)), (b.public().to_peer_id(), a.public().to_peer_id(), AES));
    let (dialled, listened) = shake(tls::Config::new(&b).unwrap(), ours()).await;
    let ((to, _), (from, into)) = (dialled.unwrap(), listened.unwrap());
    assert_eq!((to, from, suite(&into)), (a.public().to_peer_id(), b.public().to_peer_id(), CHACHA));
}

/// A TLS that shows a victim's certificate and signs with its own key.
fn impostor(victim: &Keypair) -> Tls {
    let (certificate, _) = certificate::generate(victim).unwrap();
    let (_, key) = certificate::generate(victim).unwrap();
    Tls::showing(certificate, &key, Cipher::Aes).unwrap()
}

#[tokio::test]
async fn a_copied_certificate_without_its_key_is_refused() {
    let (victim, ours) = keys();
    let (dialled, _) = shake(Tls::new(&ours).unwrap(), impostor(&victim)).await;
    assert!(dialled.is_err());
    let (a, b) = tokio::io::duplex(64 * 1024);
    let (_, listened) = futures::join!(
        impostor(&victim).upgrade_outbound(a.compat(), NAME),
        Tls::new(&ours).unwrap().upgrade_inbound(b.compat(), NAME),
    );
    assert!(listened.is_err());
}

#[tokio::test]
async fn a_dialler_without_a_certificate_is_refused() {
    let ours = Keypair::generate_ed25519();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let nobody = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut nobody =
        nobody.dangerous().with_custom_certificate_verifier(Arc::new(super::verifier::AnyDevice)).with_no_client_auth();
    nobody.alpn_protocols = vec![b"libp2p".to_vec()];
    let (a, b) = tokio::io::duplex(64 * 1024);
    let connect = futures_rustls::TlsConnector::from(Arc::new(nobody));
    let (_, listened) = futures::join!(
        connect.connect("localhost".try_into().unwrap(), a.compat()),
        Tls::new(&ours).unwrap().upgrade_inbound(b.compat(), NAME),
    );
    assert!(listened.is_err());
}

#[test]
fn no_changed_certificate_names_another_device() {
    let (certificate, _) = certificate::generate(&Keypair::generate_ed25519()).unwrap();
    let device = certificate::parse(&certificate).unwrap().peer_id();
    assert!(sole(&certificate, &[]).is_ok());
    assert!(sole(&certificate, std::slice::from_ref(&certificate)).is_err());
    for at in 0..certificate.len() {
        let mut changed = certificate.to_vec();
        changed[at] ^= 1;
        let changed = CertificateDer::from(changed);
        let named = certificate::parse(&changed).map(|certificate| certificate.peer_id());
        assert!(sole(&changed, &[]).is_err() || named.is_ok_and(|peer| peer == device), "byte {at}");
        let cut = certificate[..at].to_vec();
        assert!(sole(&CertificateDer::from(cut), &[]).is_err(), "cut at {at}");
    }
}

fn stock_tls(keypair: &Keypair) -> Carriage {
    tcp::tokio::Transport::default()
        .upgrade(Version::V1)
        .authenticate(tls::Config::new(keypair).unwrap())
        .multiplex(yamux::Config::default())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .boxed()
}

fn stock_noise(keypair: &Keypair) -> Carriage {
    tcp::tokio::Transport::default()
        .upgrade(Version::V1)
        .authenticate(noise::Config::new(keypair).unwrap())
        .multiplex(yamux::Config::default())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .boxed()
}

fn ours(keypair: &Keypair) -> Carriage {
    super::tcp(Secure::new(keypair).unwrap())
}

/// Sends bytes there and back over a stream that the dialler opens; who each found at the other end.
async fn talk(mut dialler: Carriage, mut listener: Carriage) -> (PeerId, PeerId) {
    listener.listen_on(ListenerId::next(), "/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
    let TransportEvent::NewAddress { listen_addr, .. } = listener.select_next_some().await else { panic!() };
    // A task of its own: a dialler's last negotiation goes out with its first bytes.
    let echo = tokio::spawn(async move {
        let (from, muxer) = loop {
            if let TransportEvent::Incoming { upgrade, .. } = listener.select_next_some().await {
                break upgrade.await.unwrap();
            }
        };
        let mut stream = opened(muxer, |muxer, cx| muxer.poll_inbound(cx)).await;
        let mut piece = vec![0; 50_000];
        while let Ok(read @ 1..) = stream.read(&mut piece).await {
            stream.write_all(&piece[..read]).await.unwrap();
            stream.flush().await.unwrap();
        }
        from
    });
    let opts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
    let (to, muxer) = dialler.dial(listen_addr, opts).unwrap().await.unwrap();
    let stream = opened(muxer, |muxer, cx| muxer.poll_outbound(cx)).await;
    let sent: Vec<u8> = (0..3_000_000u32).map(|at| (at.wrapping_mul(7) + at / 251) as u8).collect();
    let (mut reader, mut writer) = stream.split();
    let mut got = vec![0; sent.len()];
    let write = async {
        writer.write_all(&sent).await.unwrap();
        writer.flush().await.unwrap();
    };
    futures::join!(write, async { reader.read_exact(&mut got).await.unwrap() });
    assert!(got == sent, "the bytes came back changed");
    drop((reader, writer));
    (to, echo.await.unwrap())
}

/// A connection's first stream. The connection is driven from then on.
async fn opened(
    mut muxer: StreamMuxerBox,
    open: impl Fn(Pin<&mut StreamMuxerBox>, &mut Context<'_>) -> Poll<io::Result<SubstreamBox>>,
) -> SubstreamBox {
    let stream = poll_fn(|cx| open(Pin::new(&mut muxer), cx)).await.unwrap();
    tokio::spawn(async move { while poll_fn(|cx| Pin::new(&mut muxer).poll(cx)).await.is_ok() {} });
    stream
}

#[tokio::test]
async fn bytes_pass_between_us_and_stock_peers_with_tls_or_noise() {
    type Make = fn(&Keypair) -> Carriage;
    let cases: [(Make, Make); 5] =
        [(ours, ours), (ours, stock_tls), (stock_tls, ours), (ours, stock_noise), (stock_noise, ours)];
    for (dialler, listener) in cases {
        let (a, b) = keys();
        let met = talk(dialler(&a), listener(&b)).await;
        assert_eq!(met, (b.public().to_peer_id(), a.public().to_peer_id()));
    }
}

/// Takes as many bytes at a time as it is told, and none (pending) at zero.
struct Choosy {
    taken: Vec<u8>,
    moods: Vec<usize>,
    turn: usize,
}

impl AsyncWrite for Choosy {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mood = self.moods[self.turn % self.moods.len()];
        self.turn += 1;
        if mood == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let now = mood.min(buf.len());
        self.taken.extend_from_slice(&buf[..now]);
        Poll::Ready(Ok(now))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        self.as_mut().poll_write(cx, &all)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Choosy {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(0))
    }
}

proptest! {
    #[test]
    fn gathered_writes_arrive_whole_and_in_order(
        writes in prop::collection::vec((prop::collection::vec(any::<u8>(), 1..60), any::<bool>()), 1..30),
        mut moods in prop::collection::vec(0..40usize, 1..12),
    ) {
        moods.push(1);
        let mut inner = Choosy { taken: Vec::new(), moods, turn: 0 };
        let mut gather = Gather::new(&mut inner);
        futures::executor::block_on(async {
            for (bytes, flush) in &writes {
                gather.write_all(bytes).await.unwrap();
                if *flush {
                    gather.flush().await.unwrap();
                }
            }
            gather.close().await.unwrap();
        });
        let sent: Vec<u8> = writes.into_iter().flat_map(|(bytes, _)| bytes).collect();
        prop_assert_eq!(inner.taken, sent);
    }
}
