//! Secrets of the node: its key on the network, which is never a publisher's key, and the token of the local API. Both
//! are generated at the first start.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use data_encoding::HEXLOWER;
use reg_api::fault::is_disk_full;
use reg_keys::keyring::forbid_core_dumps;
use thiserror::Error;

/// Counts the secrets that this process has made, for the names of temporary files.
static CREATED: AtomicU64 = AtomicU64::new(0);

/// Why a secret cannot be read or generated.
#[derive(Debug, Error)]
pub enum IdentityError {
    #[error("{path} can be neither read nor created")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} does not hold 64 hex digits: move it away, and the next start creates a new one")]
    Damaged { path: PathBuf },
    #[error("the system gives no random bytes")]
    Random(#[from] getrandom::Error),
}

/// Returns the secret in the file at `path`: 32 random bytes in hex. Creates the file where there is none, or where a
/// crash has left it empty, readable by its owner only. On Linux the process writes no core dump from now on.
pub(super) fn secret(path: &Path) -> Result<[u8; 32], IdentityError> {
    forbid_core_dumps();
    match fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => create(path),
        Ok(text) => parse(&text).ok_or_else(|| IdentityError::Damaged { path: path.to_owned() }),
        Err(error) if error.kind() == ErrorKind::NotFound => create(path),
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            Err(IdentityError::Damaged { path: path.to_owned() })
        }
        Err(source) => Err(IdentityError::Io { path: path.to_owned(), source }),
    }
}

/// Returns the token of the local API, in hex. Replaces a damaged one: programs read it from the file whenever they need
/// it. Where a full disk takes no file, the token is known to this process only, so that the node serves what it has.
pub(super) fn token(path: &Path) -> Result<String, IdentityError> {
    let secret = match secret(path) {
        Err(IdentityError::Damaged { path }) => {
            tracing::warn!(path = %path.display(), "the token of the local API is damaged and is made anew");
            create(&path)
        }
        secret => secret,
    };
    let secret = match secret {
        Err(IdentityError::Io { path, source }) if is_disk_full(&source) => {
            tracing::warn!(
                path = %path.display(),
                "the disk is full and takes no token: until the next start, only commands of `reg` on this machine may \
                 change anything"
            );
            random()
        }
        secret => secret,
    };
    secret.map(|bytes| HEXLOWER.encode(&bytes))
}

fn random() -> Result<[u8; 32], IdentityError> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)?;
    Ok(secret)
}

fn parse(text: &str) -> Option<[u8; 32]> {
    HEXLOWER.decode(text.trim().as_bytes()).ok()?.try_into().ok()
}

/// Writes a new secret to `path`: whole, or not at all. Returns the one of another process that was faster.
fn create(path: &Path) -> Result<[u8; 32], IdentityError> {
    let io = |source| IdentityError::Io { path: path.to_owned(), source };
    let secret = random()?;
    let count = CREATED.fetch_add(1, Ordering::Relaxed);
    let temporary = path.with_extension(format!("{}-{count}.new", std::process::id()));
    let written = write_new(&temporary, HEXLOWER.encode(&secret).as_bytes());
    let placed = written.and_then(|()| place(&temporary, path, secret));
    drop(fs::remove_file(&temporary));
    #[cfg(unix)]
    if let Some(dir) = path.parent() {
        fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(io)?;
    }
    placed.map_err(io)
}

/// Gives `temporary`, which holds `secret`, its name. Returns the secret that the name stands for then: where two processes
/// begin at once, both return the one of the faster.
fn place(temporary: &Path, path: &Path, secret: [u8; 32]) -> io::Result<[u8; 32]> {
    let other = || fs::read_to_string(path).ok().and_then(|text| parse(&text));
    match fs::hard_link(temporary, path) {
        Ok(()) => return Ok(secret),
        // Some file systems have no hard links. A damaged file gives way.
        Err(error) => tracing::trace!(path = %path.display(), %error, "a secret is not linked"),
    }
    match other() {
        Some(other) => Ok(other),
        None => fs::rename(temporary, path).map(|()| secret),
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    drop(fs::remove_file(path));
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_begin_at_once_have_one_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        let all: Vec<[u8; 32]> = std::thread::scope(|scope| {
            let begun: Vec<_> = (0..16).map(|_| scope.spawn(|| secret(&path).unwrap())).collect();
            begun.into_iter().map(|it| it.join().unwrap()).collect()
        });
        let kept = secret(&path).unwrap();
        assert!(all.iter().all(|it| *it == kept));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_token_is_made_anew_and_a_damaged_key_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        let first = token(&path).unwrap();
        assert_eq!(token(&path).unwrap(), first);
        for damage in ["zz", "", "\u{fffd}"] {
            fs::write(&path, damage).unwrap();
            let next = token(&path).unwrap();
            assert!(next != first && token(&path).unwrap() == next, "{damage:?}");
        }
        fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(matches!(secret(&path), Err(IdentityError::Damaged { .. })));
        assert!(token(&path).is_ok());
        fs::write(&path, "abc").unwrap();
        assert!(matches!(secret(&path), Err(IdentityError::Damaged { .. })));
        fs::write(&path, "").unwrap();
        let key = secret(&path).unwrap();
        assert_eq!(secret(&path).unwrap(), key, "a crash at the first start");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
