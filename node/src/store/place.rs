//! Puts a blob into a user's directory, without a second copy of its bytes where the file system can.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use reg_proto::digest::Digest;
use reg_proto::piece::PIECE_LEN;

use super::blobs::BlobFile;
use super::disk;
use super::error::{PlaceError, ReadError};
use super::fingerprint::Fingerprint;
use super::front::Store;
use super::index::BlobRecord;

/// Counts temporary files: several callers may place one blob in one directory at once.
static PLACED: AtomicU64 = AtomicU64::new(0);

/// How the names of temporary files end.
const TEMPORARY_END: &str = ".part";

fn temporary_name(digest: &Digest, process: u32, number: u64) -> String {
    format!(".{}.{process}-{number}{TEMPORARY_END}", digest.hex())
}

/// Returns the process that a temporary file is of; `None` where the name is not that of one.
fn process_of(name: &str) -> Option<u32> {
    let (digest, rest) = name.strip_prefix('.')?.strip_suffix(TEMPORARY_END)?.split_once('.')?;
    Digest::from_hex(digest).ok()?;
    // Earlier versions wrote no number.
    rest.split('-').next()?.parse().ok()
}

/// Removes the temporary files that processes have left in a directory because they were killed while they placed blobs there.
pub fn clear_leftovers(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let process = entry.file_name().to_str().and_then(process_of);
        if process.is_some_and(|it| it != std::process::id() && !disk::is_running(it)) {
            drop(fs::remove_file(entry.path()));
        }
    }
}

/// How often a blob is placed if its file changes meanwhile.
const TRIES_MAX: usize = 3;

/// How a blob may be put into a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaceMode {
    /// By reflink, else hard link, else copy. A blob of one piece is never hard-linked, because users edit small files
    /// in place.
    Auto,
    Copy,
}

/// How a blob was put into a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    Reflink,
    HardLink,
    Copy,
}

impl Store {
    /// Puts a verified blob at `path` atomically, replacing any file.
    ///
    /// # Errors
    /// Fails where the store does not hold the blob, it is damaged, or `path` cannot be written.
    pub fn place(&self, digest: &Digest, path: &Path, mode: PlaceMode) -> Result<Placed, PlaceError> {
        let io = |source| PlaceError::Io { path: path.to_owned(), source };
        let name = path.file_name().ok_or_else(|| io(io::ErrorKind::InvalidInput.into()))?;
        let path = path.with_file_name(name);
        let number = PLACED.fetch_add(1, Ordering::Relaxed);
        let temporary = path.with_file_name(temporary_name(digest, std::process::id(), number));
        for _ in 0..TRIES_MAX {
            let blob = self.open_blob(digest)?;
            drop(fs::remove_file(&temporary));
            let placed = self.place_once(&blob, digest, (&temporary, &path), mode);
            // It remains after a failure.
            drop(fs::remove_file(&temporary));
            if let Some(placed) = placed.map_err(io)? {
                return Ok(placed);
            }
        }
        Err(ReadError::Unverified { digest: *digest }.into())
    }

    /// Puts the bytes of a blob at `path` by way of `temporary`. Returns `None` where the blob has changed meanwhile.
    fn place_once(
        &self,
        blob: &BlobFile,
        digest: &Digest,
        (temporary, path): (&Path, &Path),
        mode: PlaceMode,
    ) -> io::Result<Option<Placed>> {
        let from = self.paths().blob(digest);
        let placed = if mode == PlaceMode::Auto && reflink_copy::reflink(&from, temporary).is_ok() {
            disk::make_writable(temporary)?;
            Placed::Reflink
        } else {
            if mode == PlaceMode::Auto && blob.layout().size() > PIECE_LEN {
                match self.link(digest, blob, (temporary, path))? {
                    Linked::Placed => return Ok(Some(Placed::HardLink)),
                    Linked::InDoubt => return Ok(None),
                    Linked::Impossible => {}
                }
            }
            fs::copy(&from, temporary)?;
            disk::make_writable(temporary)?;
            fs::File::open(temporary)?.sync_all()?;
            Placed::Copy
        };
        // The file was read by its name, and it may have been written to meanwhile.
        if !self.is_verified(digest) {
            return Ok(None);
        }
        fs::rename(temporary, path).map(|()| Some(placed))
    }

    /// Links a blob's file at `path`. The link changes the file's metadata; the new fingerprint is recorded at once,
    /// where nothing else has changed since the one before was seen to be the verified one.
    fn link(
        &self,
        digest: &Digest,
        blob: &BlobFile,
        (temporary, path): (&Path, &Path),
    ) -> io::Result<Linked> {
        let _one = self.records_lock();
        let record = self.index().blob(digest).map_err(io::Error::other)?;
        let before = blob.fingerprint().map_err(io::Error::other)?;
        let Some(record) = record.filter(|it| it.verified == Some(before)) else {
            return Ok(Linked::InDoubt);
        };
        if fs::symlink_metadata(path).is_ok_and(|it| Fingerprint::of(&it) == before) {
            // It is a link to this file already.
            return Ok(Linked::Placed);
        }
        if fs::hard_link(self.paths().blob(digest), temporary).is_err() {
            return Ok(Linked::Impossible);
        }
        let renamed = fs::rename(temporary, path);
        drop(fs::remove_file(temporary));
        let after = blob.fingerprint().map_err(io::Error::other)?;
        if before.differs_in_change_only(&after) {
            let record = BlobRecord { verified: Some(after), ..record };
            self.put_record(digest, record).map_err(io::Error::other)?;
        }
        renamed.map(|()| Linked::Placed)
    }
}

/// What came of a link.
enum Linked {
    Placed,
    /// The blob has to be verified first.
    InDoubt,
    /// The file system makes no link.
    Impossible,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_temporary_files_of_processes_that_have_ended_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let digest = Digest::of(b"blob");
        // No process has this id: it is above the largest that Linux gives.
        let ended = u32::MAX >> 2;
        let gone = [temporary_name(&digest, ended, 7), format!(".{}.{ended}.part", digest.hex())];
        let kept = [
            temporary_name(&digest, std::process::id(), 7),
            format!(".{}.part", digest.hex()),
            ".notes.17.part".to_owned(),
            "README.md".to_owned(),
        ];
        for name in gone.iter().chain(&kept) {
            fs::write(dir.path().join(name), b"x").unwrap();
        }
        clear_leftovers(dir.path());
        assert!(gone.iter().all(|name| !dir.path().join(name).exists()));
        assert!(kept.iter().all(|name| dir.path().join(name).exists()));
    }
}
