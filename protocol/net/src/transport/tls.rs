//! libp2p's TLS with a cipher of our choice.
//!
//! `libp2p::tls` prefers ChaCha20 on every processor and has no say in it, which halves the rate on most. This
//! speaks the same protocol with the same certificates (libp2p TLS specification; RFC 8446).

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::{AsyncRead, AsyncWrite, FutureExt as _};
use futures_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use libp2p::core::UpgradeInfo;
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use libp2p::identity::Keypair;
use libp2p::tls::certificate;
use libp2p::{PeerId, tls};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{ClientConfig, CommonState, ServerConfig};

use super::cipher::Cipher;
use super::verifier::AnyDevice;
use crate::errors::StartError;

/// The protocol's name in multistream-select.
pub(super) const NAME: &str = "/tls/1.0.0";
/// The protocol's name inside TLS.
const ALPN: &[u8] = b"libp2p";
/// What may wait to be sent: with less, a frame of one group would be cut in two system calls.
const SEND_BUFFER_BYTES: usize = 256 * 1024;

/// Why a connection was not secured.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The handshake failed, or the connection did: the peer is at fault, or the network.
    #[error("TLS handshake failed: {0}")]
    Handshake(#[from] io::Error),
    /// The peer did not say who it is.
    #[error("the peer shows no certificate")]
    NoCertificate,
    /// The peer's certificate is not libp2p's.
    #[error("bad certificate: {0}")]
    Certificate(#[from] tls::certificate::ParseError),
}

/// The upgrade. Clones share the certificate, which lives as long as the program.
#[derive(Debug, Clone)]
pub struct Tls {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Tls {
    /// For a device, with what this processor does fast.
    ///
    /// # Errors
    /// When no certificate can be made for the key.
    pub fn new(keypair: &Keypair) -> Result<Self, StartError> {
        Self::preferring(Cipher::of_this_processor(), keypair)
    }

    /// [`Self::new`], with a preference of the caller's.
    ///
    /// # Errors
    /// When no certificate can be made for the key.
    pub fn preferring(cipher: Cipher, keypair: &Keypair) -> Result<Self, StartError> {
        let (certificate, key) = certificate::generate(keypair).map_err(|e| failed(&e))?;
        Self::showing(certificate, &key, cipher)
    }

    /// With a certificate and a key; whether they belong together shows in a handshake.
    pub(super) fn showing(
        certificate: CertificateDer<'static>,
        key: &PrivateKeyDer<'static>,
        cipher: Cipher,
    ) -> Result<Self, StartError> {
        let key = aws_lc_rs::sign::any_ecdsa_type(key).map_err(|e| failed(&e))?;
        let ours = Arc::new(SingleCertAndKey::from(CertifiedKey::new(vec![certificate], key)));
        let provider = Arc::new(CryptoProvider { cipher_suites: cipher.suites(), ..aws_lc_rs::default_provider() });

        let server = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let server = server.with_protocol_versions(&[&TLS13]).map_err(|e| failed(&e))?;
        let mut server =
            server.with_client_cert_verifier(Arc::new(AnyDevice)).with_cert_resolver(Arc::clone(&ours) as _);
        server.alpn_protocols = vec![ALPN.to_vec()];
        server.ignore_client_order = cipher.insists();
        // Connections last; nobody resumes one.
        server.send_tls13_tickets = 0;

        let client = ClientConfig::builder_with_provider(provider);
        let client = client.with_protocol_versions(&[&TLS13]).map_err(|e| failed(&e))?.dangerous();
        let mut client = client.with_custom_certificate_verifier(Arc::new(AnyDevice)).with_client_cert_resolver(ours);
        client.alpn_protocols = vec![ALPN.to_vec()];
        client.resumption = rustls::client::Resumption::disabled();

        Ok(Self { server: Arc::new(server), client: Arc::new(client) })
    }
}

fn failed(error: &dyn std::fmt::Display) -> StartError {
    StartError::Setup(format!("TLS: {error}"))
}

/// Who is at the other end.
fn peer_of(state: &CommonState) -> Result<PeerId, TlsError> {
    let Some([certificate]) = state.peer_certificates() else { return Err(TlsError::NoCertificate) };
    Ok(certificate::parse(certificate)?.peer_id())
}

impl UpgradeInfo for Tls {
    type Info = &'static str;
    type InfoIter = std::iter::Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        std::iter::once(NAME)
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> InboundConnectionUpgrade<C> for Tls {
    type Output = (PeerId, TlsStream<C>);
    type Error = TlsError;
    type Future = BoxFuture<'static, Result<Self::Output, TlsError>>;

    fn upgrade_inbound(self, socket: C, _: Self::Info) -> Self::Future {
        let accept = TlsAcceptor::from(self.server)
            .accept_with(socket, |connection| connection.set_buffer_limit(Some(SEND_BUFFER_BYTES)));
        async move {
            let stream = accept.await?;
            Ok((peer_of(stream.get_ref().1)?, stream.into()))
        }
        .boxed()
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> OutboundConnectionUpgrade<C> for Tls {
    type Output = (PeerId, TlsStream<C>);
    type Error = TlsError;
    type Future = BoxFuture<'static, Result<Self::Output, TlsError>>;

    fn upgrade_outbound(self, socket: C, _: Self::Info) -> Self::Future {
        // An address as the name means that no name is sent, as the specification wants it.
        let nobody = ServerName::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let connect = TlsConnector::from(self.client)
            .connect_with(nobody, socket, |connection| connection.set_buffer_limit(Some(SEND_BUFFER_BYTES)));
        async move {
            let stream = connect.await?;
            Ok((peer_of(stream.get_ref().1)?, stream.into()))
        }
        .boxed()
    }
}
