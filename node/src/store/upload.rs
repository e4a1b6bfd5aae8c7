//! [`Upload`]: a blob that arrives in order from a client or an endpoint. Its digest is checked at the end.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use reg_proto::digest::Digest;
use reg_proto::states::StateHasher;

use super::disk;
use super::error::{ReadError, UploadError, WriteError};
use super::front::Store;
use super::import_files::Imported;

/// A blob that is being written, and hashed on the way. Dropping it deletes the bytes, unless `is_kept`.
#[derive(Debug)]
pub struct Upload {
    store: Store,
    path: PathBuf,
    file: File,
    hasher: StateHasher,
    size: u64,
    /// Whether the bytes stay when this is dropped, so that a later upload continues.
    is_kept: bool,
}

impl Store {
    /// Begins an upload.
    ///
    /// # Errors
    /// Fails where its file cannot be created.
    pub fn upload(&self) -> Result<Upload, WriteError> {
        let path = self.paths().temporary();
        let file = File::create_new(&path).map_err(|source| WriteError::Io { path: path.clone(), source })?;
        Ok(Upload { store: self.clone(), path, file, hasher: StateHasher::new(), size: 0, is_kept: false })
    }
}

/// Reads an upload while it is being written.
#[derive(Debug)]
pub struct UploadReader {
    path: PathBuf,
    file: File,
}

impl UploadReader {
    /// Reads at most `length` bytes from `offset`, fewer where less has been written.
    ///
    /// # Errors
    /// Fails where the file cannot be read.
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
    /// Continues an upload from the bytes in `file`, which stay when this is dropped.
    pub(super) const fn kept(
        store: Store,
        path: PathBuf,
        file: File,
        hasher: StateHasher,
        size: u64,
    ) -> Self {
        Self { store, path, file, hasher, size, is_kept: true }
    }

    /// Returns how many bytes have been written.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Returns a reader of the upload, which stays valid after the upload is finished.
    ///
    /// # Errors
    /// Fails where the file cannot be opened.
    pub fn reader(&self) -> Result<UploadReader, ReadError> {
        let path = self.path.clone();
        let file = File::open(&path).map_err(|source| ReadError::Io { path: path.clone(), source })?;
        Ok(UploadReader { path, file })
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// Fails where they cannot be written; the caller then drops the upload.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.file.write_all(bytes).map_err(|source| WriteError::Io { path: self.path.clone(), source })?;
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Stores the bytes as the blob `expected`.
    ///
    /// # Errors
    /// Fails where they have another digest or cannot be stored; then they are deleted.
    pub fn finish(mut self, expected: Digest) -> Result<Imported, UploadError> {
        let write = |source| WriteError::Io { path: self.path.clone(), source };
        let hashed = std::mem::take(&mut self.hasher).finish().map_err(WriteError::from)?;
        self.is_kept = false;
        if hashed.digest != expected {
            return Err(UploadError::Digest { expected, found: hashed.digest });
        }
        self.file.sync_all().map_err(write)?;
        self.store.keep(&hashed, &self.path)?;
        Ok(Imported { digest: hashed.digest, size: self.size, states: hashed.states, is_copy: true })
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.is_kept {
            // A finished upload was renamed, so there is nothing to remove.
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
        let store = Store::open(dir.path(), CacheLimits::default()).unwrap();
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
