//! [`Upload`]: a blob that comes in order from somebody who does not say what it is until the end, or not truly.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use reg_proto::digest::Digest;
use reg_proto::piece::PIECE_LEN;
use reg_proto::states::StateHasher;

use super::blobs::Imported;
use super::error::{ImportError, UploadError, WriteError};
use super::fingerprint::{Compared, Fingerprint};
use super::front::Store;

/// A blob that is being written, hashed on the way. Dropping it throws away what has come.
#[derive(Debug)]
pub struct Upload {
    store: Store,
    path: PathBuf,
    file: File,
    hasher: StateHasher,
    size: u64,
    /// Whether what has come stays when this is dropped, to go on from there.
    is_kept: bool,
}

impl Store {
    /// Takes a file of the user's into the store by its inode, without copying its bytes: one read proves its name, then
    /// both names are links of one file. Falls back to a copy where the file system has no links.
    ///
    /// # Errors
    /// As for an import; a file that is not `expected` is refused.
    pub fn adopt_file(
        &self,
        path: &Path,
        expected: Option<&Digest>,
        on_bytes: &dyn Fn(u64),
    ) -> Result<Imported, ImportError> {
        let source = |source| ImportError::Source { path: path.to_owned(), source };
        let path = path.canonicalize().map_err(source)?;
        let temporary = self.paths().temporary();
        if fs::hard_link(&path, &temporary).is_err() {
            return self.import_file(&path, on_bytes);
        }
        let adopted = self.adopt_link(&path, &temporary, expected, on_bytes);
        if adopted.is_err() {
            drop(fs::remove_file(&temporary));
        }
        adopted
    }

    fn adopt_link(
        &self,
        path: &Path,
        link: &Path,
        expected: Option<&Digest>,
        on_bytes: &dyn Fn(u64),
    ) -> Result<Imported, ImportError> {
        let source = |source| ImportError::Source { path: path.to_owned(), source };
        let mut file = File::open(link).map_err(source)?;
        let before = Fingerprint::of(&file.metadata().map_err(source)?);
        let mut hasher = StateHasher::new();
        let mut buffer = vec![0; PIECE_LEN as usize];
        loop {
            match file.read(&mut buffer).map_err(source)? {
                0 => break,
                length => {
                    hasher.update(&buffer[..length]);
                    on_bytes(length as u64);
                }
            }
        }
        let hashed =
            hasher.finish().map_err(|source| ImportError::TooLarge { path: path.to_owned(), source })?;
        let after = Fingerprint::of(&file.metadata().map_err(source)?);
        if before.compare(&after) == Compared::Changed || expected.is_some_and(|it| *it != hashed.digest) {
            return Err(ImportError::Changed { path: path.to_owned() });
        }
        file.sync_all().map_err(source)?;
        self.keep(&hashed, link)?;
        Ok(Imported { digest: hashed.digest, size: hashed.states.layout().size(), states: hashed.states })
    }

    /// Begins an upload.
    ///
    /// # Errors
    /// The disk does not take it.
    pub fn upload(&self) -> Result<Upload, WriteError> {
        let path = self.paths().temporary();
        let file = File::create_new(&path).map_err(|source| WriteError::Io { path: path.clone(), source })?;
        Ok(Upload { store: self.clone(), path, file, hasher: StateHasher::new(), size: 0, is_kept: false })
    }
}

impl Upload {
    /// Makes an upload of what has come in `file`, which stays when this is dropped.
    pub(super) const fn kept(
        store: Store,
        path: PathBuf,
        file: File,
        hasher: StateHasher,
        size: u64,
    ) -> Self {
        Self { store, path, file, hasher, size, is_kept: true }
    }

    /// Returns how many bytes have come.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Adds bytes at the end.
    ///
    /// # Errors
    /// The disk does not take them; the upload is of no use then.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.file.write_all(bytes).map_err(|source| WriteError::Io { path: self.path.clone(), source })?;
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Keeps what has come under its name.
    ///
    /// # Errors
    /// It is not `expected`, or the disk does not take it; then it is thrown away.
    pub fn finish(mut self, expected: Digest) -> Result<Imported, UploadError> {
        let write = |source| WriteError::Io { path: self.path.clone(), source };
        let hashed = std::mem::take(&mut self.hasher).finish().map_err(WriteError::from)?;
        self.is_kept = false;
        if hashed.digest != expected {
            return Err(UploadError::Digest { expected, found: hashed.digest });
        }
        self.file.sync_all().map_err(write)?;
        self.store.keep(&hashed, &self.path)?;
        Ok(Imported { digest: hashed.digest, size: self.size, states: hashed.states })
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.is_kept {
            // Once it has its name, it is no longer here.
            drop(fs::remove_file(&self.path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::CacheLimits;

    #[test]
    fn what_is_not_what_it_was_said_to_be_is_thrown_away() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), CacheLimits { max_size: None, min_free: 0 }).unwrap();
        let expected = Digest::of(b"hello world");
        let mut upload = store.upload().unwrap();
        upload.write(b"hello ").unwrap();
        upload.write(b"world").unwrap();
        assert_eq!(upload.size(), 11);
        assert_eq!(upload.finish(expected).unwrap().digest, expected);
        assert!(store.is_verified(&expected));
        let mut other = store.upload().unwrap();
        other.write(b"hello").unwrap();
        assert!(matches!(other.finish(expected), Err(UploadError::Digest { .. })));
        drop(store.upload().unwrap());
        assert_eq!(fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
    }
}
