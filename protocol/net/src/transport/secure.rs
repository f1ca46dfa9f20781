//! TLS first, Noise for those who do not speak it.

use futures::future::{BoxFuture, Either};
use futures::io::BufReader;
use futures::{AsyncRead, AsyncWrite, FutureExt as _};
use futures_rustls::TlsStream;
use libp2p::core::UpgradeInfo;
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use libp2p::identity::Keypair;
use libp2p::{PeerId, noise};

use super::tls::{NAME as TLS, Tls, TlsError};
use crate::errors::StartError;

/// Read from the socket at once. rustls asks for 4 KiB at a time, which would be four system calls for a record;
/// with this it is one for several records.
const READ_BUFFER_BYTES: usize = 64 * 1024;

/// Why a connection was not secured.
#[derive(Debug, thiserror::Error)]
pub enum SecureError {
    /// By TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// By Noise.
    #[error(transparent)]
    Noise(#[from] noise::Error),
}

/// The upgrade.
#[derive(Clone)]
pub struct Secure {
    tls: Tls,
    noise: noise::Config,
}

/// A secured connection.
pub type Secured<C> = Either<TlsStream<BufReader<C>>, noise::Output<BufReader<C>>>;

impl Secure {
    /// For a device.
    ///
    /// # Errors
    /// When its key is of no use for one of the two.
    pub fn new(keypair: &Keypair) -> Result<Self, StartError> {
        Self::with(Tls::new(keypair)?, keypair)
    }

    /// For a device, with a TLS of the caller's making.
    ///
    /// # Errors
    /// When its key is of no use for Noise.
    pub fn with(tls: Tls, keypair: &Keypair) -> Result<Self, StartError> {
        let noise = noise::Config::new(keypair).map_err(|e| StartError::Setup(format!("Noise: {e}")))?;
        Ok(Self { tls, noise })
    }
}

impl UpgradeInfo for Secure {
    type Info = &'static str;
    type InfoIter = [Self::Info; 2];

    fn protocol_info(&self) -> Self::InfoIter {
        [TLS, NOISE]
    }
}

const NOISE: &str = "/noise";

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> InboundConnectionUpgrade<C> for Secure {
    type Output = (PeerId, Secured<C>);
    type Error = SecureError;
    type Future = BoxFuture<'static, Result<Self::Output, SecureError>>;

    fn upgrade_inbound(self, socket: C, name: Self::Info) -> Self::Future {
        let socket = BufReader::with_capacity(READ_BUFFER_BYTES, socket);
        async move {
            if name == TLS {
                let (peer, stream) = self.tls.upgrade_inbound(socket, name).await?;
                return Ok((peer, Either::Left(stream)));
            }
            let (peer, stream) = self.noise.upgrade_inbound(socket, name).await?;
            Ok((peer, Either::Right(stream)))
        }
        .boxed()
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> OutboundConnectionUpgrade<C> for Secure {
    type Output = (PeerId, Secured<C>);
    type Error = SecureError;
    type Future = BoxFuture<'static, Result<Self::Output, SecureError>>;

    fn upgrade_outbound(self, socket: C, name: Self::Info) -> Self::Future {
        let socket = BufReader::with_capacity(READ_BUFFER_BYTES, socket);
        async move {
            if name == TLS {
                let (peer, stream) = self.tls.upgrade_outbound(socket, name).await?;
                return Ok((peer, Either::Left(stream)));
            }
            let (peer, stream) = self.noise.upgrade_outbound(socket, name).await?;
            Ok((peer, Either::Right(stream)))
        }
        .boxed()
    }
}
