//! Imports: blobs that arrive in order from an endpoint, with a digest that is known beforehand.
//!
//! The bytes of an unfinished import stay, so that a later process continues it. That process hashes them again, so it
//! need not trust them.

use std::fs::{self, File, TryLockError};

use reg_proto::digest::Digest;
use reg_proto::piece::PIECE_LEN;
use reg_proto::states::StateHasher;
use thiserror::Error;

use super::error::WriteError;
use super::front::Store;
use super::uncached::Uncached;
use super::upload::Upload;

/// Why an import cannot continue.
#[derive(Debug, Error)]
pub enum ResumeError {
    #[error("{digest} is being imported already")]
    Busy { digest: Digest },
    #[error("store cannot write the import")]
    Write(#[from] WriteError),
}

impl Store {
    /// Begins or continues an import of `digest`. Dropping the upload keeps its bytes for the next one; finishing it
    /// stores the blob, or deletes the bytes where they have another digest.
    ///
    /// # Errors
    /// Fails where another task or process is importing it, or its file cannot be read or written.
    pub fn resume_upload(&self, digest: &Digest) -> Result<Upload, ResumeError> {
        let dir = self.paths().imports();
        let path = dir.join(digest.hex());
        let io = |source| WriteError::Io { path: path.clone(), source };
        fs::create_dir_all(&dir).map_err(io)?;
        let file = File::options().read(true).append(true).create(true).open(&path).map_err(io)?;
        // Two writers would mix their bytes.
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ResumeError::Busy { digest: *digest }),
            Err(TryLockError::Error(source)) => return Err(io(source).into()),
        }
        let mut hasher = StateHasher::new();
        let mut size = 0;
        let whole = file.metadata().map_err(io)?.len();
        // The process before may have seen a sync fail. What is wrong on the disk shows in the digest at the end.
        let on_disk = Uncached::open(&path).map_err(io)?;
        let mut buffer = vec![0; PIECE_LEN as usize];
        while size < whole {
            let length = usize::try_from(whole - size).map_or(buffer.len(), |left| left.min(buffer.len()));
            on_disk.read_at(&mut buffer[..length], size).map_err(io)?;
            hasher.update(&buffer[..length]);
            size += length as u64;
        }
        Ok(Upload::kept(self.clone(), path, file, hasher, size))
    }

    /// Notes that an endpoint calls this blob `name`, some hex digits.
    ///
    /// # Errors
    /// Fails where the note cannot be written.
    pub fn note_import(&self, name: &str, digest: &Digest) -> Result<(), WriteError> {
        let dir = self.paths().imports();
        let path = dir.join(name);
        let io = |source| WriteError::Io { path: path.clone(), source };
        fs::create_dir_all(&dir).and_then(|()| fs::write(&path, digest.to_string())).map_err(io)
    }

    /// Returns the blob that was noted under `name`: a hint that the caller has to check.
    pub fn noted_import(&self, name: &str) -> Option<Digest> {
        fs::read_to_string(self.paths().imports().join(name)).ok()?.parse().ok()
    }

    /// Deletes unfinished imports, except those that are under way.
    pub(super) fn clear_imports(&self) {
        for entry in fs::read_dir(self.paths().imports()).into_iter().flatten().flatten() {
            let is_free = File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok());
            if is_free {
                drop(fs::remove_file(entry.path()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{CacheLimits, UploadError};

    fn open(dir: &std::path::Path) -> Store {
        Store::open(dir, CacheLimits::default()).unwrap()
    }

    #[test]
    fn an_import_goes_on_where_it_was_and_is_one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let expected = Digest::of(b"hello world");
        let store = open(dir.path());
        let mut import = store.resume_upload(&expected).unwrap();
        import.write(b"hello ").unwrap();
        assert!(matches!(store.resume_upload(&expected), Err(ResumeError::Busy { .. })));
        drop(import);
        drop(store);
        let store = open(dir.path());
        let mut import = store.resume_upload(&expected).unwrap();
        assert_eq!(import.size(), 6);
        store.gc(false).unwrap();
        import.write(b"world").unwrap();
        assert_eq!(import.finish(expected).unwrap().digest, expected, "a collection leaves it alone");
        assert_eq!(store.read_blob(&expected, 100).unwrap(), b"hello world");
    }

    #[test]
    fn what_is_wrong_is_thrown_away_and_what_is_stale_is_collected() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let expected = Digest::of(b"hello world");
        let mut import = store.resume_upload(&expected).unwrap();
        import.write(b"HELLO world").unwrap();
        assert!(matches!(import.finish(expected), Err(UploadError::Digest { .. })));
        assert_eq!(store.resume_upload(&expected).unwrap().size(), 0, "it begins anew");
        store.note_import("ce013625030ba8dba906f756967f9e9ca394464a", &expected).unwrap();
        assert_eq!(store.noted_import("ce013625030ba8dba906f756967f9e9ca394464a"), Some(expected));
        store.gc(false).unwrap();
        assert_eq!(fs::read_dir(dir.path().join("imports")).unwrap().count(), 0);
    }
}
