//! Signed statements: what the seed (or a device) says, provable to third parties and offline.
//!
//! A statement arrives as [`Raw`]: bytes and a signature, nothing read. Only [`Raw::verify`] gives the content, as
//! [`Verified`], and so the type carries the proof. Each kind of statement signs under its own domain, so a grant can
//! never be passed off as a duty; the signature covers the exact bytes received, so no re-encoding can change it.
//! Not for: deciding whether a valid statement still applies (expiry, holder); that is each statement's own method.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use ed25519_dalek::{Signer as _, Verifier as _};
use minicbor::{Decode, Encode};

use crate::ids::DeviceId;

/// A kind of content that is signed.
pub trait Statement: Encode<()> + for<'b> Decode<'b, ()> {
    /// Prefix of the signed bytes, unique to this kind and version.
    const DOMAIN: &'static str;
    /// Largest encoding accepted, in bytes.
    const MAX_BYTES: usize;
}

/// Why a statement was not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Larger than its kind allows.
    #[error("{domain}: {bytes} bytes, at most {most} allowed")]
    TooLarge {
        /// The kind.
        domain: &'static str,
        /// Size given.
        bytes: usize,
        /// Size allowed.
        most: usize,
    },
    /// The expected signer did not sign these bytes.
    #[error("{0}: signature does not verify")]
    BadSignature(&'static str),
    /// Signed, but not readable: the signer speaks another version.
    #[error("{domain}: {reason}")]
    Malformed {
        /// The kind.
        domain: &'static str,
        /// What the decoder said.
        reason: String,
    },
}

/// The key a seed or a device signs with.
#[derive(Clone)]
pub struct SecretKey(ed25519_dalek::SigningKey);

impl SecretKey {
    /// The key with this 32-byte Ed25519 seed.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(bytes))
    }

    /// The 32-byte Ed25519 seed, to be kept as a secret.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The public half, which names the device.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        DeviceId(self.0.verifying_key().to_bytes())
    }

    /// Signs a statement.
    #[must_use]
    pub fn sign<T: Statement>(&self, value: T) -> Verified<T> {
        let body = minicbor::to_vec(&value).expect("encoding into memory does not fail");
        let signature = self.0.sign(&signed_bytes::<T>(&body)).to_bytes();
        Verified { value, raw: Raw { body, signature, kind: PhantomData }, signer: self.device() }
    }
}

/// A further secret that only the holder of this key can know, for one purpose; the purpose is part of the secret.
#[must_use]
pub fn derive_secret(key: &SecretKey, purpose: &str) -> [u8; 32] {
    blake3::derive_key(purpose, &key.to_bytes())
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.device())
    }
}

fn signed_bytes<T: Statement>(body: &[u8]) -> Vec<u8> {
    // A zero byte ends the domain: no domain is another's prefix.
    [T::DOMAIN.as_bytes(), &[0], body].concat()
}

/// A statement as it travels: bytes and a signature that nobody has checked yet.
pub struct Raw<T> {
    body: Vec<u8>,
    signature: [u8; 64],
    kind: PhantomData<fn() -> T>,
}

impl<T: Statement> Raw<T> {
    /// Reads the statement if `signer` signed it.
    ///
    /// # Errors
    /// When it is too large, signed by somebody else or altered, or not readable by this version.
    pub fn verify(&self, signer: &DeviceId) -> Result<Verified<T>, StatementError> {
        if self.body.len() > T::MAX_BYTES {
            return Err(StatementError::TooLarge { domain: T::DOMAIN, bytes: self.body.len(), most: T::MAX_BYTES });
        }
        let bad = || StatementError::BadSignature(T::DOMAIN);
        let key = ed25519_dalek::VerifyingKey::from_bytes(&signer.0).map_err(|_| bad())?;
        let signature = ed25519_dalek::Signature::from_bytes(&self.signature);
        // Strict: a small-order key would let one signature fit many statements.
        key.verify_strict(&signed_bytes::<T>(&self.body), &signature).map_err(|_| bad())?;
        debug_assert!(key.verify(&signed_bytes::<T>(&self.body), &signature).is_ok());
        let mut decoder = minicbor::Decoder::new(&self.body);
        let malformed = |reason: String| StatementError::Malformed { domain: T::DOMAIN, reason };
        let value = decoder.decode().map_err(|e| malformed(e.to_string()))?;
        if decoder.position() != self.body.len() {
            return Err(malformed("bytes after the end".into()));
        }
        Ok(Verified { value, raw: self.clone(), signer: *signer })
    }
}

impl<T> Clone for Raw<T> {
    fn clone(&self) -> Self {
        Self { body: self.body.clone(), signature: self.signature, kind: PhantomData }
    }
}
impl<T> PartialEq for Raw<T> {
    fn eq(&self, other: &Self) -> bool {
        self.body == other.body && self.signature == other.signature
    }
}
impl<T> Eq for Raw<T> {}
impl<T: Statement> fmt::Debug for Raw<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Raw({}, {} bytes)", T::DOMAIN, self.body.len())
    }
}
impl<T, C> Encode<C> for Raw<T> {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.array(2)?.bytes(&self.body)?.bytes(&self.signature)?.ok()
    }
}
impl<'b, T: Statement, C> Decode<'b, C> for Raw<T> {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        if d.array()? != Some(2) {
            return Err(minicbor::decode::Error::message("a statement is body and signature"));
        }
        let body = d.bytes()?;
        if body.len() > T::MAX_BYTES {
            return Err(minicbor::decode::Error::message("statement over its kind's bound"));
        }
        let signature =
            d.bytes()?.try_into().map_err(|_| minicbor::decode::Error::message("a signature is 64 bytes"))?;
        Ok(Self { body: body.to_vec(), signature, kind: PhantomData })
    }
}

/// A statement whose signature was checked; reads like its content.
#[derive(Clone)]
pub struct Verified<T> {
    value: T,
    raw: Raw<T>,
    signer: DeviceId,
}

impl<T> Verified<T> {
    /// The bytes as signed, to pass on or to store.
    #[must_use]
    pub fn raw(&self) -> &Raw<T> {
        &self.raw
    }
    /// Who signed.
    #[must_use]
    pub fn signer(&self) -> DeviceId {
        self.signer
    }
    /// The content alone.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.value
    }
}
impl<T> Deref for Verified<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}
impl<T: fmt::Debug> fmt::Debug for Verified<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}
impl<T: PartialEq> PartialEq for Verified<T> {
    fn eq(&self, other: &Self) -> bool {
        self.raw == other.raw && self.signer == other.signer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Encode, Decode)]
    struct Note {
        #[n(0)]
        text: String,
    }
    impl Statement for Note {
        const DOMAIN: &'static str = "aftercast/test-note/1";
        const MAX_BYTES: usize = 64;
    }
    #[derive(Debug, PartialEq, Encode, Decode)]
    struct Other {
        #[n(0)]
        text: String,
    }
    impl Statement for Other {
        const DOMAIN: &'static str = "aftercast/test-other/1";
        const MAX_BYTES: usize = 64;
    }

    fn key() -> SecretKey {
        SecretKey::from_bytes(&[7; 32])
    }

    #[test]
    fn a_statement_survives_the_wire_and_verifies() {
        let signed = key().sign(Note { text: "hello".into() });
        let bytes = minicbor::to_vec(signed.raw()).unwrap();
        let raw: Raw<Note> = minicbor::decode(&bytes).unwrap();
        assert_eq!(raw.verify(&key().device()).unwrap().text, "hello");
    }

    #[test]
    fn refuses_another_signer_another_kind_and_altered_bytes() {
        let signed = key().sign(Note { text: "hello".into() });
        let other_key = SecretKey::from_bytes(&[8; 32]).device();
        assert!(signed.raw().verify(&other_key).is_err());

        let mut bytes = minicbor::to_vec(signed.raw()).unwrap();
        let as_other: Raw<Other> = minicbor::decode(&bytes).unwrap();
        assert!(as_other.verify(&key().device()).is_err(), "domains keep kinds apart");

        for at in 0..bytes.len() {
            bytes[at] ^= 1;
            if let Ok(raw) = minicbor::decode::<Raw<Note>>(&bytes) {
                assert!(raw.verify(&key().device()).is_err(), "byte {at}");
            }
            bytes[at] ^= 1;
        }
    }

    #[test]
    fn refuses_statements_over_their_bound() {
        let signed = key().sign(Note { text: "x".repeat(65) });
        assert!(matches!(signed.raw().verify(&key().device()), Err(StatementError::TooLarge { .. })));
        let bytes = minicbor::to_vec(signed.raw()).unwrap();
        assert!(minicbor::decode::<Raw<Note>>(&bytes).is_err());
    }
}
