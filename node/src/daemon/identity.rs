//! Secrets of the node: its key on the network, which is never a publisher's key, and the token of the local API. Both
//! are generated at the first start.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use reg_keys::keyring::forbid_core_dumps;
use thiserror::Error;

/// Why a secret cannot be read or generated.
#[derive(Debug, Error)]
pub enum IdentityError {
    #[error("{path} can be neither read nor created")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path} does not hold 64 hex digits: move it away, and the next start creates a new one")]
    Damaged { path: PathBuf },
    #[error("the system gives no random bytes")]
    Random(#[from] getrandom::Error),
}

/// Returns the secret in the file at `path`: 32 random bytes in hex. Creates the file where there is none, readable by
/// its owner only. On Linux the process writes no core dump from now on.
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

/// Returns the token of the local API, in hex.
pub(super) fn token(path: &Path) -> Result<String, IdentityError> {
    secret(path).map(|bytes| HEXLOWER.encode(&bytes))
}
