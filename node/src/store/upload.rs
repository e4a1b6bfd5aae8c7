//! [`Upload`]: a blob that comes in order from somebody who does not say what it is until the end, or not truly.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use reg_proto::digest::Digest;
use reg_proto::states::StateHasher;

use super::disk;
use super::error::{ReadError, UploadError, WriteError};
use super::front::Store;
use super::import_files::Imported;

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

/// What has come of an upload, to be read while more comes.
#[derive(Debug)]
pub struct UploadReader {
    path: PathBuf,
    file: File,
}

impl UploadReader {
    /// Reads at most `length` bytes from `offset`, fewer at the end of what has come.
    ///
    /// # Errors
    /// The disk does not give them.
    pub fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>, ReadError> {
        let read = || {
            let left = self.file.metadata()?.len().saturating_sub(offset);
            let mut bytes = vec![0; usize::try_from(left).map_or(length, |left| left.min(length))];
            disk::read_at(&self.file, &mut bytes, offset)?;
            Ok(bytes)
        };
        read().map_err(|source| ReadError::Io { path: self.path.clone(), source })
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

    /// Returns a reader of what has come, which goes on reading once it has its name.
    ///
    /// # Errors
    /// The disk does not give it.
    pub fn reader(&self) -> Result<UploadReader, ReadError> {
        let path = self.path.clone();
        let file = File::open(&path).map_err(|source| ReadError::Io { path: path.clone(), source })?;
        Ok(UploadReader { path, file })
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
