//! The text that an operator hands to a viewer, and that enrols one device.
//!
//! It holds everything a new device needs: which seed, where it is, and a one-time code that the seed signed.

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Encode};

use super::EnrolCode;
use crate::ids::DeviceId;
use crate::limits::{MAX_ADDR_BYTES, MAX_ADDRS_PER_PEER};
use crate::sign::Raw;

/// What every join code begins with, so that people and programs recognise it.
const PREFIX: &str = "aftercast-join-";
/// Longest text accepted: the largest addresses and code, in base 16.
const MAX_TEXT: usize = 2 * (MAX_ADDRS_PER_PEER * (MAX_ADDR_BYTES + 8) + 1024);

/// A seed, its addresses and a right to enrol with it. As text: a prefix and lower-case hexadecimal of its encoding.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct JoinCode {
    /// The seed's key.
    #[n(0)]
    pub seed: DeviceId,
    /// Where to dial it, as multiaddr text.
    #[n(1)]
    pub addrs: Vec<String>,
    /// The one-time right.
    #[n(2)]
    pub code: Raw<EnrolCode>,
}

/// A text that is no join code. The viewer mistyped it, or got another text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinCodeError {
    /// Not the form at all.
    #[error("not a join code: it must begin with {PREFIX:?} and go on in letters and digits; copy the whole line")]
    Form,
    /// Cut short, altered, or of another version.
    #[error("join code is damaged or of another version: {0}")]
    Damaged(String),
}

impl fmt::Display for JoinCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        let bytes = minicbor::to_vec(self).map_err(|_| fmt::Error)?;
        bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for JoinCode {
    type Err = JoinCodeError;
    fn from_str(text: &str) -> Result<Self, JoinCodeError> {
        let hex = text.trim().strip_prefix(PREFIX).ok_or(JoinCodeError::Form)?;
        if hex.len() > MAX_TEXT || hex.len() % 2 != 0 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(JoinCodeError::Form);
        }
        let nibble = |b: u8| char::from(b).to_digit(16).unwrap_or(0) as u8;
        let bytes: Vec<u8> = hex.as_bytes().chunks_exact(2).map(|p| nibble(p[0]) << 4 | nibble(p[1])).collect();
        let code: Self = minicbor::decode(&bytes).map_err(|e| JoinCodeError::Damaged(e.to_string()))?;
        if code.addrs.len() > MAX_ADDRS_PER_PEER || code.addrs.iter().any(|addr| addr.len() > MAX_ADDR_BYTES) {
            return Err(JoinCodeError::Damaged("too many or too long addresses".into()));
        }
        // The seed will check it too; here it tells a mistyped code from a refused one.
        code.code.verify(&code.seed).map_err(|e| JoinCodeError::Damaged(e.to_string()))?;
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::SecretKey;
    use crate::time::UnixMillis;

    fn code() -> JoinCode {
        let key = SecretKey::from_bytes(&[3; 32]);
        let right = EnrolCode { subscriber: "alice".parse().unwrap(), nonce: [1; 16], expires: UnixMillis(99) };
        JoinCode {
            seed: key.device(),
            addrs: vec!["/ip4/127.0.0.1/tcp/4001".into()],
            code: key.sign(right).raw().clone(),
        }
    }

    #[test]
    fn survives_copying_with_white_space() {
        assert_eq!(format!("  {}\n", code()).parse(), Ok(code()));
    }

    #[test]
    fn any_altered_character_is_noticed() {
        let text = code().to_string();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'1' { b'2' } else { b'1' };
            let altered = String::from_utf8(bytes).unwrap();
            let read = altered.parse::<JoinCode>();
            // Addresses are no part of what the seed signed; everything else is.
            assert!(read.is_err() || read.unwrap().addrs != code().addrs, "character {at}");
        }
        assert!(text[..text.len() - 2].parse::<JoinCode>().is_err());
        assert_eq!("hello".parse::<JoinCode>(), Err(JoinCodeError::Form));
    }
}
