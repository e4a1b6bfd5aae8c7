//! The node's own key: who it is on the network. Made at the first start, never a publisher's key.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use thiserror::Error;

use crate::registry::keyring::forbid_core_dumps;

/// Why the node's key, or its token, cannot be had.
#[derive(Debug, Error)]
pub enum IdentityError {
    #[error("{path} cannot be read or made")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path} does not hold 64 hex digits: move it away and a new one is made")]
    Damaged { path: PathBuf },
    #[error("the system gives no random bytes")]
    Random(#[from] getrandom::Error),
}

/// Returns the secret in the file at `path`: 32 random bytes in hex, made where there is none, for its owner's eyes
/// only. On Linux the process leaves no core dump from now on.
pub(super) fn secret(path: &Path) -> Result<[u8; 32], IdentityError> {
    forbid_core_dumps();
    let io = |source| IdentityError::Io { path: path.to_owned(), source };
    match fs::read_to_string(path) {
        Ok(text) => {
            let bytes = HEXLOWER.decode(text.trim().as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
            bytes.ok_or_else(|| IdentityError::Damaged { path: path.to_owned() })
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let mut secret = [0; 32];
            getrandom::fill(&mut secret)?;
            let mut options = fs::OpenOptions::new();
            options.write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let mut file = options.open(path).map_err(io)?;
            file.write_all(HEXLOWER.encode(&secret).as_bytes()).and_then(|()| file.sync_all()).map_err(io)?;
            Ok(secret)
        }
        Err(source) => Err(io(source)),
    }
}

/// Returns the token of the admin API, in hex.
pub(super) fn token(path: &Path) -> Result<String, IdentityError> {
    secret(path).map(|bytes| HEXLOWER.encode(&bytes))
}
