//! The seed's key: its libp2p identity and the signature under every statement.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use aftercast_protocol::sign::SecretKey;
use anyhow::Context;

const FILE_NAME: &str = "seed.key";

/// Makes the key of a new seed.
///
/// # Errors
/// When there is one already (it is never overwritten), or the folder cannot be written.
pub fn create(dir: &Path) -> anyhow::Result<SecretKey> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|e| anyhow::anyhow!("no randomness from the system: {e}"))?;
    let path = dir.join(FILE_NAME);
    // Readable by its owner alone from the first byte on; a key that exists is never replaced.
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).with_context(|| {
            format!("cannot make the key {}; every node enrolled trusts the old one", path.display())
        })?;
    file.write_all(&secret)
        .and_then(|()| file.sync_all())
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(SecretKey::from_bytes(&secret))
}

/// Reads the key.
///
/// # Errors
/// When it is missing or not a key.
pub fn load(dir: &Path) -> anyhow::Result<SecretKey> {
    let path = dir.join(FILE_NAME);
    let bytes = std::fs::read(&path)
        .with_context(|| format!("cannot read the key {}; `aftercast-seed init DIR` makes one", path.display()))?;
    let secret: [u8; 32] =
        bytes.try_into().map_err(|_| anyhow::anyhow!("{} is not a key of 32 bytes", path.display()))?;
    Ok(SecretKey::from_bytes(&secret))
}
