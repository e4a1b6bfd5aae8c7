//! Puts a blob into a user's directory, without a second copy of its bytes where the file system can.

use std::fs;
use std::io;
use std::path::Path;

use reg_proto::digest::Digest;
use reg_proto::piece::PIECE_LEN;

use super::error::{PlaceError, ReadError, WriteError};
use super::front::Store;

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
    /// Fails where the store does not hold the blob, it has changed, or `path` cannot be written.
    pub fn place(&self, digest: &Digest, path: &Path, mode: PlaceMode) -> Result<Placed, PlaceError> {
        let blob = match self.open_blob(digest) {
            Err(ReadError::Unverified { .. }) => {
                self.recheck(digest, &|_| {})?;
                self.open_blob(digest)?
            }
            blob => blob?,
        };
        let io = |source| PlaceError::Io { path: path.to_owned(), source };
        let name = path.file_name().ok_or_else(|| io(io::ErrorKind::InvalidInput.into()))?;
        let temporary = path.with_file_name(format!(".{}.{}.part", digest.hex(), std::process::id()));
        drop(fs::remove_file(&temporary));
        let small = blob.layout().size() <= PIECE_LEN;
        let placed = bring(&self.paths().blob(digest), &temporary, mode, small)
            .and_then(|placed| fs::rename(&temporary, path.with_file_name(name)).map(|()| placed));
        // It remains after a failure, and where it was a link to the same file as `path`.
        drop(fs::remove_file(&temporary));
        let placed = placed.map_err(io)?;
        if placed == Placed::HardLink {
            // The link has changed the file's time of change; opening the blob records the new fingerprint.
            self.is_verified(digest);
        }
        Ok(placed)
    }
}

fn bring(from: &Path, to: &Path, mode: PlaceMode, small: bool) -> io::Result<Placed> {
    if mode == PlaceMode::Auto {
        if reflink_copy::reflink(from, to).is_ok() {
            crate::store::disk::make_writable(to)?;
            return Ok(Placed::Reflink);
        }
        if !small && fs::hard_link(from, to).is_ok() {
            return Ok(Placed::HardLink);
        }
    }
    fs::copy(from, to)?;
    crate::store::disk::make_writable(to)?;
    fs::File::open(to)?.sync_all()?;
    Ok(Placed::Copy)
}

/// A write needed a blob that cannot be read.
impl From<WriteError> for PlaceError {
    fn from(error: WriteError) -> Self {
        Self::Read(ReadError::SetAside(Box::new(error)))
    }
}
