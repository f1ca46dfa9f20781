//! Who this device is: its key, its certificate, and its seed, each a small file in the data folder.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use aftercast_net::Multiaddr;
use aftercast_protocol::grant::Certificate;
use aftercast_protocol::ids::{DeviceId, SubscriberId};
use aftercast_protocol::sign::{Raw, SecretKey, Verified};
use minicbor::{Decode, Encode};

use crate::config::Config;

const KEY_FILE: &str = "device.key";
const ENROLMENT_FILE: &str = "enrolment.cbor";

/// A file of the identity that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The disk or its rights are at fault.
    #[error("{}: {reason}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// Not what this program wrote there. Losing it loses the device's enrolment, so it is never overwritten.
    #[error("{}: {reason}; move it away to start anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// Enrolment with a seed, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
struct EnrolmentFile {
    #[n(0)]
    version: u32,
    #[n(1)]
    seed: DeviceId,
    #[n(2)]
    addrs: Vec<String>,
    #[n(3)]
    certificate: Option<Raw<Certificate>>,
}

const ENROLMENT_VERSION: u32 = 1;

/// A seed and what it said of this device.
#[derive(Debug, Clone)]
pub struct Enrolment {
    /// The seed.
    pub seed: DeviceId,
    /// Where to dial it.
    pub addrs: Vec<Multiaddr>,
    /// Its word that this device belongs to a subscriber; none before `aftercast join`.
    pub certificate: Option<Verified<Certificate>>,
}

impl Enrolment {
    /// The subscriber this device belongs to.
    #[must_use]
    pub fn subscriber(&self) -> Option<&SubscriberId> {
        self.certificate.as_ref().map(|certificate| &certificate.subscriber)
    }
}

/// The device's key, made at the first call. Only the owner may read the file.
///
/// # Errors
/// See [`IdentityError`].
pub fn device_key(data_dir: &Path) -> Result<SecretKey, IdentityError> {
    let path = data_dir.join(KEY_FILE);
    let io = |reason| IdentityError::Io { path: path.clone(), reason };
    match fs::read(&path) {
        Ok(bytes) => {
            let bytes: [u8; 32] = bytes.try_into().map_err(|bytes: Vec<u8>| IdentityError::Damaged {
                path: path.clone(),
                reason: format!("{} bytes instead of 32", bytes.len()),
            })?;
            Ok(SecretKey::from_bytes(&bytes))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut bytes = [0; 32];
            getrandom::fill(&mut bytes).map_err(|error| io(error.into()))?;
            fs::create_dir_all(data_dir).map_err(io)?;
            write_whole(&path, &bytes).map_err(io)?;
            Ok(SecretKey::from_bytes(&bytes))
        }
        Err(error) => Err(io(error)),
    }
}

/// What is known of the seed: from `aftercast join`, or else from the configuration.
///
/// # Errors
/// See [`IdentityError`].
pub fn enrolment(config: &Config, device: DeviceId) -> Result<Option<Enrolment>, IdentityError> {
    let path = config.data_dir.join(ENROLMENT_FILE);
    let kept = match fs::read(&path) {
        Ok(bytes) => Some(read_enrolment(&path, &bytes, device)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(reason) => return Err(IdentityError::Io { path, reason }),
    };
    Ok(match (&config.seed, kept) {
        // The configuration may follow a seed that moved; a certificate counts only with the seed that gave it.
        (Some(said), Some(kept)) if said.device == kept.seed => Some(Enrolment { addrs: said.addrs.clone(), ..kept }),
        (Some(said), _) => Some(Enrolment { seed: said.device, addrs: said.addrs.clone(), certificate: None }),
        (None, kept) => kept,
    })
}

fn read_enrolment(path: &Path, bytes: &[u8], device: DeviceId) -> Result<Enrolment, IdentityError> {
    let damaged = |reason: String| IdentityError::Damaged { path: path.to_owned(), reason };
    let file: EnrolmentFile = minicbor::decode(bytes).map_err(|e| damaged(e.to_string()))?;
    if file.version != ENROLMENT_VERSION {
        return Err(damaged(format!("version {}, this program knows {ENROLMENT_VERSION}", file.version)));
    }
    let certificate = file.certificate.map(|raw| raw.verify(&file.seed)).transpose();
    let certificate = certificate.map_err(|e| damaged(e.to_string()))?;
    if certificate.as_ref().is_some_and(|certificate| certificate.device != device) {
        return Err(damaged("the certificate is another device's".into()));
    }
    let addrs = file.addrs.iter().filter_map(|addr| addr.parse().ok()).collect();
    Ok(Enrolment { seed: file.seed, addrs, certificate })
}

/// Keeps an enrolment.
///
/// # Errors
/// See [`IdentityError`].
pub fn save_enrolment(data_dir: &Path, enrolment: &Enrolment) -> Result<(), IdentityError> {
    let path = data_dir.join(ENROLMENT_FILE);
    let file = EnrolmentFile {
        version: ENROLMENT_VERSION,
        seed: enrolment.seed,
        addrs: enrolment.addrs.iter().map(ToString::to_string).collect(),
        certificate: enrolment.certificate.as_ref().map(|certificate| certificate.raw().clone()),
    };
    let bytes = minicbor::to_vec(&file).expect("encoding into memory does not fail");
    write_whole(&path, &bytes).map_err(|reason| IdentityError::Io { path, reason })
}

/// Whole or not at all, also after a power cut, and for the owner's eyes only.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("new");
    let mut out = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    out.write_all(bytes)?;
    out.sync_all()?;
    fs::rename(&draft, path)?;
    match path.parent() {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::config::SeedConfig;
    use aftercast_protocol::time::UnixMillis;

    #[test]
    fn the_key_is_made_once_and_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let key = device_key(folder.path()).unwrap();
        assert_eq!(device_key(folder.path()).unwrap().device(), key.device());
        let mode = fs::metadata(folder.path().join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_key_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(KEY_FILE), b"short").unwrap();
        assert!(matches!(device_key(folder.path()), Err(IdentityError::Damaged { .. })));
        assert_eq!(fs::read(folder.path().join(KEY_FILE)).unwrap(), b"short");
    }

    #[test]
    fn a_certificate_counts_with_its_own_seed_only() {
        let folder = tempfile::tempdir().unwrap();
        let seed = SecretKey::from_bytes(&[1; 32]);
        let device = SecretKey::from_bytes(&[2; 32]).device();
        let certificate = seed.sign(Certificate {
            device,
            subscriber: "alice".parse().unwrap(),
            epoch: 0,
            issued: UnixMillis(0),
            expires: UnixMillis(9),
        });
        let enrolled = Enrolment { seed: seed.device(), addrs: vec![], certificate: Some(certificate) };
        save_enrolment(folder.path(), &enrolled).unwrap();

        let mut config = Config { data_dir: folder.path().to_owned(), ..Config::default() };
        let known = enrolment(&config, device).unwrap().unwrap();
        assert_eq!(known.subscriber().map(SubscriberId::as_str), Some("alice"));
        config.seed = Some(SeedConfig { device: DeviceId([9; 32]), addrs: vec![] });
        assert!(enrolment(&config, device).unwrap().unwrap().certificate.is_none());
        assert!(enrolment(&Config { seed: None, ..config }, DeviceId([3; 32])).is_err(), "another device's file");
    }
}
