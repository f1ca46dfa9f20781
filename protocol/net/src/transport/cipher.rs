//! Which cipher bulk is sent with.
//!
//! AES-128-GCM is twice as fast as ChaCha20-Poly1305 where the processor has instructions for it, and several times
//! slower, and open to timing attacks, where it has none. So AES is used where both ends have them, else ChaCha20:
//!
//! | dialler \ listener | fast AES | no fast AES | stock libp2p |
//! | --- | --- | --- | --- |
//! | fast AES | AES | ChaCha20 | AES |
//! | no fast AES | ChaCha20 | ChaCha20 | ChaCha20 |
//! | stock libp2p | ChaCha20 | ChaCha20 | |
//!
//! The dialler says what it likes by the order of its list. A listener with fast AES follows that order; one without
//! takes ChaCha20 from any list (RFC 8446, 4.1.1 leaves the choice to the listener).

use rustls::SupportedCipherSuite;
use rustls::crypto::aws_lc_rs::cipher_suite::{
    TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
};

/// The cipher that a device likes best.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cipher {
    /// AES-128-GCM.
    Aes,
    /// ChaCha20-Poly1305.
    ChaCha,
}

impl Cipher {
    /// What this processor does fast: AES where it has instructions for AES and for GCM's multiplication.
    #[must_use]
    pub fn of_this_processor() -> Self {
        if fast_aes() { Self::Aes } else { Self::ChaCha }
    }

    /// The list to offer, best first. All three of libp2p are in it, so that there is always one in common.
    pub(super) fn suites(self) -> Vec<SupportedCipherSuite> {
        match self {
            Self::Aes => vec![TLS13_AES_128_GCM_SHA256, TLS13_CHACHA20_POLY1305_SHA256, TLS13_AES_256_GCM_SHA384],
            Self::ChaCha => vec![TLS13_CHACHA20_POLY1305_SHA256, TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384],
        }
    }

    /// Whether a listener goes by its own list instead of the dialler's.
    pub(super) fn insists(self) -> bool {
        self == Self::ChaCha
    }
}

#[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
fn fast_aes() -> bool {
    std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq")
}

#[cfg(target_arch = "aarch64")]
fn fast_aes() -> bool {
    std::arch::is_aarch64_feature_detected!("aes") && std::arch::is_aarch64_feature_detected!("pmull")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64")))]
fn fast_aes() -> bool {
    false
}
