//! Whole blobs: keeps, opens, reads and removes them.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use reg_proto::digest::Digest;
use reg_proto::piece::{BlobLayout, PieceIndex};
use reg_proto::states::{Hashed, PieceStates, StateHasher};

use super::error::{ReadError, WriteError};
use super::fingerprint::{Compared, Fingerprint};
use super::front::Store;
use super::index::BlobRecord;
use super::{disk, paths};

/// A verified blob, open for reading.
#[derive(Debug)]
pub struct BlobFile {
    digest: Digest,
    layout: BlobLayout,
    path: PathBuf,
    file: File,
    verified: Fingerprint,
}

impl BlobFile {
    /// Returns the size of the blob and its pieces.
    pub const fn layout(&self) -> BlobLayout {
        self.layout
    }

    /// Fills `bytes` from `offset`. The caller verifies the bytes, because the file may have changed.
    ///
    /// # Errors
    /// Fails where the file ends before, or cannot be read.
    pub fn read_at(&self, offset: u64, bytes: &mut [u8]) -> Result<(), ReadError> {
        let io = |source| ReadError::Io { path: self.path.clone(), source };
        disk::read_at(&self.file, bytes, offset).map_err(io)
    }

    /// Reads a piece into `bytes`, replacing their content.
    ///
    /// # Errors
    /// Fails where the file has changed since it was verified, or cannot be read.
    pub fn read_piece(&self, piece: PieceIndex, bytes: &mut Vec<u8>) -> Result<(), ReadError> {
        let io = |source| ReadError::Io { path: self.path.clone(), source };
        bytes.resize(self.layout.piece_len(piece), 0);
        disk::read_at(&self.file, bytes, self.layout.offset(piece)).map_err(io)?;
        // The fingerprint is taken after the read, so that it shows every write before the read.
        let now = Fingerprint::of(&self.file.metadata().map_err(io)?);
        match self.verified.compare(&now) {
            Compared::Same | Compared::Linked => Ok(()),
            Compared::Changed => Err(ReadError::Unverified { digest: self.digest }),
        }
    }
}

impl Store {
    /// Stores a small blob, and returns its digest.
    ///
    /// # Errors
    /// Fails where the blob cannot be written.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<Digest, WriteError> {
        let mut hasher = StateHasher::new();
        hasher.update(bytes);
        let hashed = hasher.finish()?;
        if self.is_verified(&hashed.digest) {
            return Ok(hashed.digest);
        }
        let temporary = self.paths().temporary();
        self.paths().write_file(&temporary, bytes)?;
        self.keep(&hashed, &temporary)?;
        Ok(hashed.digest)
    }

    /// Writes the states of a hashed and synced file, and then renames it to its final name.
    pub(super) fn keep(&self, hashed: &Hashed, file: &Path) -> Result<(), WriteError> {
        let Hashed { digest, states } = hashed;
        if self.is_verified(digest) {
            return paths::remove(file);
        }
        self.put_states(digest, states)?;
        let path = self.paths().blob(digest);
        let io = |source| WriteError::Io { path: path.clone(), source };
        disk::make_read_only(file).map_err(io)?;
        paths::move_into_place(file, &path).map_err(io)?;
        self.record_verified(digest)
    }

    /// Writes the states of a blob of more than one piece.
    pub(super) fn put_states(&self, digest: &Digest, states: &PieceStates) -> Result<(), WriteError> {
        if states.layout().piece_count() == 1 {
            return Ok(());
        }
        self.paths().write_file(&self.paths().states(digest), &states.to_bytes())
    }

    /// Records the present fingerprint of a blob's file as verified.
    pub(super) fn record_verified(&self, digest: &Digest) -> Result<(), WriteError> {
        let path = self.paths().blob(digest);
        let metadata = fs::metadata(&path).map_err(|source| WriteError::Io { path, source })?;
        let record = BlobRecord { size: metadata.len(), verified: Some(Fingerprint::of(&metadata)) };
        let _one = self.records_lock();
        let before = self.index().blob(digest)?;
        self.index().put_blob(digest, &record)?;
        self.count(record.size, before.map_or(0, |it| it.size));
        Ok(())
    }

    /// Tells whether the store holds a whole blob. [`Self::open_blob`] finds out whether it has changed since it was
    /// verified.
    pub fn contains(&self, digest: &Digest) -> bool {
        matches!(self.index().blob(digest), Ok(Some(_)))
    }

    /// Tells whether the store holds a whole blob that has not changed since it was verified.
    pub fn is_verified(&self, digest: &Digest) -> bool {
        self.open_blob(digest).is_ok()
    }

    /// Returns the size in bytes of a whole blob; `None` where the store does not hold it.
    pub fn blob_size(&self, digest: &Digest) -> Option<u64> {
        self.index().blob(digest).ok().flatten().map(|record| record.size)
    }

    /// Lists the whole blobs.
    ///
    /// # Errors
    /// Fails where the index cannot be read.
    pub fn blobs(&self) -> Result<Vec<Digest>, ReadError> {
        Ok(self.index().blobs()?.into_iter().map(|(digest, _)| digest).collect())
    }

    /// Opens a blob for reading.
    ///
    /// # Errors
    /// Fails where the store does not hold it, or its file has changed since it was verified.
    pub fn open_blob(&self, digest: &Digest) -> Result<BlobFile, ReadError> {
        let record = self.index().blob(digest)?.ok_or(ReadError::NotHere { digest: *digest })?;
        let path = self.paths().blob(digest);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(ReadError::NotHere { digest: *digest });
            }
            Err(source) => return Err(ReadError::Io { path, source }),
        };
        let now = file.metadata().map_err(|source| ReadError::Io { path: path.clone(), source })?;
        let now = Fingerprint::of(&now);
        let unverified = || ReadError::Unverified { digest: *digest };
        let verified = record.verified.ok_or_else(unverified)?;
        match verified.compare(&now) {
            Compared::Same => {}
            Compared::Linked => {
                self.index().put_blob(digest, &BlobRecord { verified: Some(now), ..record })?
            }
            Compared::Changed => return Err(unverified()),
        }
        let layout = BlobLayout::new(record.size).map_err(|_| unverified())?;
        Ok(BlobFile { digest: *digest, layout, path, file, verified: now })
    }

    /// Reads a whole blob of at most `max` bytes, and verifies it.
    ///
    /// # Errors
    /// Fails where the store does not hold it, or it is too large or damaged.
    pub fn read_blob(&self, digest: &Digest, max: u64) -> Result<Vec<u8>, ReadError> {
        let size = self.blob_size(digest).ok_or(ReadError::NotHere { digest: *digest })?;
        if size > max {
            return Err(ReadError::TooLarge { digest: *digest, size, max });
        }
        let path = self.paths().blob(digest);
        let bytes = fs::read(&path).map_err(|source| ReadError::Io { path, source })?;
        if Digest::of(&bytes) == *digest { Ok(bytes) } else { Err(ReadError::Damaged { digest: *digest }) }
    }

    /// Reads at most `length` bytes of a verified blob from `offset`, fewer at its end.
    ///
    /// # Errors
    /// Fails where the store does not hold it, or its file has changed since it was verified.
    pub fn read_range(&self, digest: &Digest, offset: u64, length: usize) -> Result<Vec<u8>, ReadError> {
        let blob = self.open_blob(digest)?;
        let left = blob.layout.size().saturating_sub(offset);
        let mut bytes = vec![0; usize::try_from(left).map_or(length, |left| left.min(length))];
        disk::read_at(&blob.file, &mut bytes, offset)
            .map_err(|source| ReadError::Io { path: blob.path.clone(), source })?;
        Ok(bytes)
    }

    /// Opens the file of a verified blob, read-only.
    ///
    /// # Errors
    /// Fails where the store does not hold it, or its file has changed since it was verified.
    pub fn open_file(&self, digest: &Digest) -> Result<File, ReadError> {
        Ok(self.open_blob(digest)?.file)
    }

    /// Returns the piece states of a blob: the stored ones, or else computed from its bytes and then stored.
    ///
    /// # Errors
    /// Fails where the store does not hold it, or it cannot be read or is damaged.
    pub fn states(&self, digest: &Digest) -> Result<PieceStates, ReadError> {
        if let Some(partial) = self.open_partial(digest).first() {
            return Ok(partial.states().clone());
        }
        let size = self.blob_size(digest).ok_or(ReadError::NotHere { digest: *digest })?;
        if let Some(states) = self.kept_states(digest, size) {
            return Ok(states);
        }
        let hashed = self.hash_blob(digest, &|_| {})?;
        if hashed.digest != *digest {
            return Err(ReadError::Damaged { digest: *digest });
        }
        self.put_states(digest, &hashed.states).map_err(|error| ReadError::SetAside(Box::new(error)))?;
        Ok(hashed.states)
    }

    /// Returns the stored states; `None` where there are none or they are not those of `size` bytes.
    pub(super) fn kept_states(&self, digest: &Digest, size: u64) -> Option<PieceStates> {
        let layout = BlobLayout::new(size).ok()?;
        let bytes = if layout.piece_count() == 1 {
            Vec::new()
        } else {
            fs::read(self.paths().states(digest)).ok()?
        };
        PieceStates::parse(layout, &bytes).ok()
    }

    /// Hashes the present content of a blob's file.
    pub(super) fn hash_blob(&self, digest: &Digest, on_bytes: &dyn Fn(u64)) -> Result<Hashed, ReadError> {
        let path = self.paths().blob(digest);
        let io = |source| ReadError::Io { path: path.clone(), source };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(ReadError::NotHere { digest: *digest });
            }
            Err(source) => return Err(io(source)),
        };
        hash(file, on_bytes).map_err(io)?.ok_or(ReadError::Damaged { digest: *digest })
    }

    /// Removes a blob and its states, and returns its size in bytes.
    pub(super) fn remove_blob(&self, digest: &Digest) -> Result<u64, WriteError> {
        let size = self.blob_size(digest).unwrap_or(0);
        self.index().remove_blob(digest)?;
        paths::remove(&self.paths().blob(digest))?;
        paths::remove(&self.paths().states(digest))?;
        self.count(0, size);
        Ok(size)
    }
}

/// Hashes the present content of a file from its first byte to its last; `None` where it is larger than a blob may be.
pub(super) fn hash(mut file: File, on_bytes: &dyn Fn(u64)) -> io::Result<Option<Hashed>> {
    let mut hasher = StateHasher::new();
    let mut buffer = vec![0; crate::store::import_files::READ_AT_ONCE];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish().ok()),
            Ok(length) => {
                hasher.update(&buffer[..length]);
                on_bytes(length as u64);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
