//! How bytes get from one device to another: TCP and QUIC, secured and split into streams.
//!
//! ```text
//!   TCP    socket - read buffer - TLS 1.3 (or Noise) - Yamux, frames of a group - streams
//!   QUIC   socket - libp2p's QUIC ------------------------------------------------ streams
//!   relay  a stream of the connection with the relay - TLS - Yamux --------------- streams
//! ```
//!
//! What it is for: bulk at the speed of the processors at both ends. TLS is offered first, with the cipher that both
//! do fast ([`tls`]); a peer that only knows Noise is served all the same. On the wire everything is what the libp2p
//! specifications say, so any libp2p program can be at the other end. A device that has both transports is dialled by
//! TCP first, and through a relay last. What it is not for: what the streams carry.

mod cipher;
mod direct_first;
mod gather;
mod mux;
mod secure;
mod tcp_first;
#[cfg(test)]
mod tests;
mod tls;
mod under_way;
mod verifier;

use std::time::Duration;

use aftercast_protocol::limits::{CIRCUIT_HEAD_START, DIAL_HEAD_START, MAX_STREAMS_PER_CONNECTION};
use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::transport::timeout::TransportTimeout;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{PeerId, Transport, quic, relay, tcp};

pub use self::cipher::Cipher;
use self::direct_first::DirectFirst;
pub use self::mux::{Mux, Muxer};
pub use self::secure::{Secure, SecureError, Secured};
use self::tcp_first::TcpFirst;
pub use self::tls::{Tls, TlsError};
use crate::errors::StartError;
use crate::holes::Holes;

/// Longest wait for a connection, from the first packet to the last handshake.
const SETUP_TIMEOUT: Duration = Duration::from_secs(10);

/// A transport whose connections are secured and split.
pub type Carriage = Boxed<(PeerId, StreamMuxerBox)>;

/// All transports, for a swarm: TCP first where a device has QUIC too, a relay last. `holes`: with whom they are punched.
///
/// # Errors
/// When no certificate can be made for the key.
pub(crate) fn all(
    keypair: &Keypair,
    relay: Option<relay::client::Transport>,
    holes: Holes,
) -> Result<Carriage, StartError> {
    let secure = Secure::new(keypair)?;
    let tcp_head_start = Duration::from_micros(DIAL_HEAD_START.0);
    let direct = TcpFirst::new(tcp(secure.clone()), quic(keypair), tcp_head_start, holes).boxed();
    let all = match relay {
        None => direct,
        Some(relay) => {
            let head_start = Duration::from_micros(CIRCUIT_HEAD_START.0);
            DirectFirst::new(direct, split(relay, secure), head_start).boxed()
        }
    };
    Ok(TransportTimeout::new(all, SETUP_TIMEOUT).boxed())
}

/// TCP alone.
#[must_use]
pub fn tcp(secure: Secure) -> Carriage {
    split(tcp::tokio::Transport::new(tcp::Config::default().nodelay(true)), secure)
}

/// Connections that are one stream, secured and split.
fn split<T, C>(transport: T, secure: Secure) -> Carriage
where
    T: Transport<Output = C> + Send + Unpin + 'static,
    T::Error: Send + Sync + 'static,
    T::ListenerUpgrade: Send,
    T::Dial: Send,
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    transport
        .upgrade(Version::V1Lazy)
        .authenticate(secure)
        .multiplex(Mux)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .boxed()
}

/// QUIC alone.
#[must_use]
pub fn quic(keypair: &Keypair) -> Carriage {
    let mut config = quic::Config::new(keypair);
    config.max_concurrent_stream_limit = MAX_STREAMS_PER_CONNECTION as u32;
    quic::tokio::Transport::new(config).map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))).boxed()
}
