//! Whole blobs: keeps, opens, reads and removes them.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use reg_proto::digest::Digest;
use reg_proto::piece::{BlobLayout, PieceIndex};
use reg_proto::states::{Hashed, PieceStates, StateHasher};

use super::error::{ReadError, WriteError};
use super::fingerprint::Fingerprint;
use super::front::Store;
use super::index::BlobRecord;
use super::rehash::{self, Search};
use super::{disk, paths};

/// How often a read that meets a change of the file's metadata is repeated.
const READS_MAX: usize = 3;

/// A blob of the store, open for reading.
#[derive(Debug)]
pub struct BlobFile {
    store: Store,
    digest: Digest,
    layout: BlobLayout,
    path: PathBuf,
    file: File,
    /// The fingerprint with which the file was verified last; `None` where it never was.
    verified: Mutex<Option<Fingerprint>>,
}

/// How the bytes of a file that is to be kept were seen.
#[derive(Debug, Clone, Copy)]
pub(super) enum Seen {
    /// The store wrote them to a file of its own.
    Written,
    /// The store read them from a file that other processes may write to, with the fingerprints at the begin and end.
    Read { before: Fingerprint, after: Fingerprint },
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
        disk::read_at(&self.file, bytes, offset).map_err(|source| self.failed(source))
    }

    /// Reads a piece into `bytes`, replacing their content. Verifies it where the file has changed since it was
    /// verified.
    ///
    /// # Errors
    /// Fails where the piece is damaged or cannot be verified, or the file cannot be read.
    pub fn read_piece(&self, piece: PieceIndex, bytes: &mut Vec<u8>) -> Result<(), ReadError> {
        bytes.resize(self.layout.piece_len(piece), 0);
        let offset = self.layout.offset(piece);
        if self.read_as_verified(offset, bytes)? {
            return Ok(());
        }
        let unverified = || ReadError::Unverified { digest: self.digest };
        let doubt =
            self.store.doubt(&self.digest, self.layout.size(), self.fingerprint()?).ok_or_else(unverified)?;
        match disk::read_at(&self.file, bytes, offset) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(unverified()),
            read => read.map_err(|source| self.failed(source))?,
        }
        let is_unchanged = self.fingerprint()? == doubt.fingerprint();
        if is_unchanged && doubt.is_checked(piece) {
            return Ok(());
        }
        if !doubt.verify(&self.digest, piece, bytes) {
            return Err(unverified());
        }
        if is_unchanged { self.store.note_checked(&self.digest, &doubt, piece) } else { Ok(()) }
    }

    /// Fills `bytes` from `offset`, and returns whether they are of the verified content.
    fn read_as_verified(&self, offset: u64, bytes: &mut [u8]) -> Result<bool, ReadError> {
        for _ in 0..READS_MAX {
            // A file that became shorter is in doubt, as one of the same length is.
            let is_whole = match disk::read_at(&self.file, bytes, offset) {
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => false,
                read => read.map(|()| true).map_err(|source| self.failed(source))?,
            };
            // The fingerprint is taken after the read, so that it shows every write before the read.
            if self.is_as_verified()? {
                return Ok(is_whole);
            }
            let (now, recorded) = (self.fingerprint()?, self.store.verified(&self.digest)?);
            if recorded != Some(now) {
                return Ok(false);
            }
            // The file was verified anew, or linked by the store.
            *self.verified() = recorded;
        }
        Ok(false)
    }

    /// Tells whether the file has not changed since it was verified.
    pub(super) fn is_as_verified(&self) -> Result<bool, ReadError> {
        let now = self.fingerprint()?;
        Ok(*self.verified() == Some(now))
    }

    /// Returns those of `pieces` that do not match the states: all, or at least one if there are any.
    pub(super) fn wrong_pieces(
        &self,
        states: &PieceStates,
        pieces: &[PieceIndex],
        search: Search,
        on_bytes: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<PieceIndex>, ReadError> {
        let read = |bytes: &mut [u8], offset| disk::read_at(&self.file, bytes, offset);
        rehash::wrong_pieces(&read, (&self.digest, states), pieces, search, on_bytes)
            .map_err(|source| self.failed(source))
    }

    /// Returns the present fingerprint of the file.
    pub(super) fn fingerprint(&self) -> Result<Fingerprint, ReadError> {
        self.file.metadata().map(|it| Fingerprint::of(&it)).map_err(|source| self.failed(source))
    }

    fn verified(&self) -> MutexGuard<'_, Option<Fingerprint>> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, source: io::Error) -> ReadError {
        ReadError::Io { path: self.path.clone(), source }
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

    /// Writes the states of a hashed and synced file of the store, and then renames it to its final name.
    pub(super) fn keep(&self, hashed: &Hashed, file: &Path) -> Result<(), WriteError> {
        self.keep_seen(hashed, file, Seen::Written)
    }

    /// Keeps a file as [`Self::keep`] does. Where it may have changed since it was read, it is in doubt.
    pub(super) fn keep_seen(&self, hashed: &Hashed, file: &Path, seen: Seen) -> Result<(), WriteError> {
        let Hashed { digest, states } = hashed;
        if self.is_verified(digest) {
            return paths::remove(file);
        }
        self.put_states(digest, states)?;
        let path = self.paths().blob(digest);
        self.rename_verified(digest, (file, &path), seen)?;
        let synced = path.parent().map_or(Ok(()), disk::sync_dir);
        synced.map_err(|source| {
            self.unkeep(digest, (file, &path));
            WriteError::Io { path: path.clone(), source }
        })
    }

    /// Takes a blob back if its name may not survive a power cut. A second sync of its directory would prove nothing, so
    /// the blob must be renamed again.
    pub(super) fn unkeep(&self, digest: &Digest, (file, path): (&Path, &Path)) {
        let _one = self.records_lock();
        if let Err(error) = fs::rename(path, file) {
            tracing::warn!(%error, blob = %digest, "a blob of which the directory cannot be synced stays");
        }
        match self.index().blob(digest) {
            Ok(Some(record)) if self.index().remove_blob(digest).is_ok() => self.count(0, record.size),
            _ => {}
        }
    }

    /// Renames a file to the name of its blob, and records its fingerprint. One thread does this at a time: else the
    /// record of one file could stay with the name of another.
    pub(super) fn rename_verified(
        &self,
        digest: &Digest,
        (file, path): (&Path, &Path),
        seen: Seen,
    ) -> Result<(), WriteError> {
        let io = |source| WriteError::Io { path: path.to_owned(), source };
        paths::make_dir_of(path).map_err(io)?;
        let _one = self.records_lock();
        let before = Fingerprint::of(&fs::metadata(file).map_err(io)?);
        disk::make_read_only(file).map_err(io)?;
        fs::rename(file, path).map_err(io)?;
        if matches!(seen, Seen::Read { .. }) {
            // It remains where it is a link to the file that it was to replace.
            drop(fs::remove_file(file));
        }
        let metadata = fs::metadata(path).map_err(io)?;
        let now = Fingerprint::of(&metadata);
        let was_seen = match seen {
            Seen::Written => true,
            Seen::Read { before: begin, after: end } => begin == end && end == before,
        };
        let verified = (was_seen && before.differs_in_change_only(&now)).then_some(now);
        self.put_record(digest, BlobRecord { size: metadata.len(), verified })
    }

    /// Writes the states of a blob of more than one piece.
    pub(super) fn put_states(&self, digest: &Digest, states: &PieceStates) -> Result<(), WriteError> {
        if states.layout().piece_count() == 1 {
            return Ok(());
        }
        self.paths().write_file(&self.paths().states(digest), &states.to_bytes())
    }

    /// Tells whether the store holds a whole blob. [`Self::open_blob`] finds out whether it is damaged.
    pub fn contains(&self, digest: &Digest) -> bool {
        matches!(self.index().blob(digest), Ok(Some(_)))
    }

    /// Tells whether the store holds a whole blob that has not changed since it was verified. Hashes nothing.
    pub fn is_verified(&self, digest: &Digest) -> bool {
        self.open_known(digest).and_then(|blob| blob.is_as_verified()).unwrap_or(false)
    }

    /// Returns the fingerprint of the file of a whole blob, verified or not; `None` where the store does not hold it. Hashes
    /// nothing.
    pub fn file_of(&self, digest: &Digest) -> Option<Fingerprint> {
        self.open_known(digest).and_then(|blob| blob.fingerprint()).ok()
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

    /// Opens a verified blob for reading. Rehashes it first where its file has changed since it was verified, which
    /// takes long for a large blob.
    ///
    /// # Errors
    /// Fails where the store does not hold it, or it is damaged or cannot be read.
    pub fn open_blob(&self, digest: &Digest) -> Result<BlobFile, ReadError> {
        for _ in 0..READS_MAX {
            let blob = self.open_known(digest)?;
            if blob.is_as_verified()? {
                return Ok(blob);
            }
            self.end_doubt(digest)?;
        }
        Err(ReadError::Unverified { digest: *digest })
    }

    /// Opens the file of a blob of this size that has not changed since it was verified, and returns it with its path.
    pub(super) fn verified_file(&self, digest: &Digest, size: u64) -> Option<(File, PathBuf)> {
        let blob = self.open_known(digest).ok()?;
        let is_it = blob.layout.size() == size && blob.is_as_verified().ok()?;
        is_it.then_some((blob.file, blob.path))
    }

    /// Opens a blob for reading by pieces, and hashes nothing yet: [`BlobFile::read_piece`] verifies each piece where
    /// the file has changed since it was verified.
    ///
    /// # Errors
    /// Fails where the store does not hold it or it cannot be opened, or it has changed and its states are not stored.
    pub fn open_pieces(&self, digest: &Digest) -> Result<BlobFile, ReadError> {
        let blob = self.open_known(digest)?;
        if !blob.is_as_verified()? {
            let doubt = self.doubt(digest, blob.layout.size(), blob.fingerprint()?);
            doubt.ok_or(ReadError::Unverified { digest: *digest })?;
        }
        Ok(blob)
    }

    /// Opens the file of a blob that the index names.
    pub(super) fn open_known(&self, digest: &Digest) -> Result<BlobFile, ReadError> {
        let record = self.index().blob(digest)?.ok_or(ReadError::NotHere { digest: *digest })?;
        let path = self.paths().blob(digest);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(ReadError::NotHere { digest: *digest });
            }
            Err(source) => return Err(ReadError::Io { path, source }),
        };
        let layout = BlobLayout::new(record.size).map_err(|_| ReadError::Unverified { digest: *digest })?;
        let verified = Mutex::new(record.verified);
        Ok(BlobFile { store: self.clone(), digest: *digest, layout, path, file, verified })
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
    /// Fails where the store does not hold it, or it is damaged or cannot be read.
    pub fn read_range(&self, digest: &Digest, offset: u64, length: usize) -> Result<Vec<u8>, ReadError> {
        for _ in 0..READS_MAX {
            let blob = self.open_blob(digest)?;
            let left = blob.layout.size().saturating_sub(offset);
            let mut bytes = vec![0; usize::try_from(left).map_or(length, |left| left.min(length))];
            if blob.read_as_verified(offset, &mut bytes)? {
                return Ok(bytes);
            }
        }
        Err(ReadError::Unverified { digest: *digest })
    }

    /// Opens the file of a verified blob, read-only.
    ///
    /// # Errors
    /// Fails where the store does not hold it, or it is damaged or cannot be read.
    pub fn open_file(&self, digest: &Digest) -> Result<File, ReadError> {
        Ok(self.open_blob(digest)?.file)
    }

    /// Returns the piece states of a blob: the stored ones, or else computed from its bytes and then stored.
    ///
    /// # Errors
    /// Fails where the store does not hold it, or it cannot be read or is damaged.
    pub fn states(&self, digest: &Digest) -> Result<PieceStates, ReadError> {
        if let Some(states) = self.states_here(digest) {
            return Ok(states);
        }
        if self.blob_size(digest).is_none() {
            return Err(ReadError::NotHere { digest: *digest });
        }
        let hashed = self.hash_blob(digest, &|_| {})?;
        if hashed.digest != *digest {
            return Err(ReadError::Damaged { digest: *digest });
        }
        self.put_states(digest, &hashed.states).map_err(|error| ReadError::SetAside(Box::new(error)))?;
        Ok(hashed.states)
    }

    /// Returns the piece states of a blob, or of a part of it, if they are stored.
    pub fn states_here(&self, digest: &Digest) -> Option<PieceStates> {
        if let Some(partial) = self.open_partial(digest).first() {
            return Some(partial.states().clone());
        }
        self.kept_states(digest, self.blob_size(digest)?)
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
        let BlobFile { file, path, .. } = self.open_known(digest)?;
        let hashed = hash(file, on_bytes).map_err(|source| ReadError::Io { path, source })?;
        hashed.ok_or(ReadError::Damaged { digest: *digest })
    }

    /// Removes a blob that a model may need, as one that is damaged. Returns its size in bytes.
    pub(super) fn remove_blob(&self, digest: &Digest) -> Result<u64, WriteError> {
        let size = self.blob_size(digest).unwrap_or(0);
        self.index().remove_blob(digest)?;
        self.remove_files(digest, size)
    }

    /// Removes a blob that no model needs.
    pub(super) fn remove_unused_blob(&self, digest: &Digest) -> Result<(), WriteError> {
        let size = self.blob_size(digest).unwrap_or(0);
        self.index().remove_unused_blob(digest)?;
        self.remove_files(digest, size).map(drop)
    }

    fn remove_files(&self, digest: &Digest, size: u64) -> Result<u64, WriteError> {
        self.forget_doubt(digest);
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
