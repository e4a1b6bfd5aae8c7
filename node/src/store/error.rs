//! Why an operation of the store fails: one enum for each.

use std::io::{self, ErrorKind};
use std::path::PathBuf;

use reg_api::fault::{Fault, FaultKind};
use reg_api::size::Size;
use reg_proto::digest::Digest;
use reg_proto::piece::{BlobTooLarge, PieceIndex};
use thiserror::Error;

use super::index::IndexError;

/// Tells whether an I/O error means that the disk or the user's quota is full.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Why a store cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error("store {path} is in use by another process")]
    InUse { path: PathBuf },
    #[error("{path} says version {found:?}, and this program writes version {expected}")]
    Version { path: PathBuf, found: String, expected: u32 },
    #[error("{path} cannot be used")]
    Io { path: PathBuf, source: io::Error },
    #[error("index can be neither opened nor rebuilt")]
    Index(#[from] IndexError),
}

/// Why the store cannot write a file. No file is half-written under its final name.
#[derive(Debug, Error)]
pub enum WriteError {
    #[error("{path} cannot be written")]
    Io { path: PathBuf, source: io::Error },
    #[error("index cannot be written")]
    Index(#[from] IndexError),
    #[error("blob cannot be stored")]
    TooLarge(#[from] BlobTooLarge),
    #[error("document that is to be replaced cannot be read")]
    Before(#[from] Box<ReadError>),
}

impl From<ReadError> for WriteError {
    fn from(error: ReadError) -> Self {
        Self::Before(Box::new(error))
    }
}

/// Why a file is not imported.
#[derive(Debug, Error)]
pub enum ImportError {
    #[error("{path} cannot be read")]
    Source { path: PathBuf, source: io::Error },
    #[error("{path} changed while it was read")]
    Changed { path: PathBuf },
    #[error("{path} is too large")]
    TooLarge { path: PathBuf, source: BlobTooLarge },
    #[error("{path} is not what its name says: its digest is {found}")]
    Digest { path: PathBuf, found: Digest },
    #[error("import was cancelled")]
    Cancelled,
    #[error("store cannot write the imported file")]
    Write(#[from] WriteError),
}

/// Why an upload is not stored.
#[derive(Debug, Error)]
pub enum UploadError {
    #[error("uploaded bytes have the digest {found}, not {expected}")]
    Digest { expected: Digest, found: Digest },
    #[error("store cannot write the upload")]
    Write(#[from] WriteError),
}

/// Why the store cannot read a blob or document.
#[derive(Debug, Error)]
pub enum ReadError {
    #[error("{digest} is not in the store")]
    NotHere { digest: Digest },
    #[error("{digest} has changed since it was verified")]
    Unverified { digest: Digest },
    #[error("{digest} is damaged")]
    Damaged { digest: Digest },
    #[error("{digest} has {size} bytes, more than the {max} that are read at once")]
    TooLarge { digest: Digest, size: u64, max: u64 },
    #[error("{digest} has no verified piece {piece}")]
    NoPiece { digest: Digest, piece: PieceIndex },
    #[error("{path} cannot be read")]
    Io { path: PathBuf, source: io::Error },
    #[error("index cannot be read")]
    Index(#[from] IndexError),
    #[error("damaged blob cannot be turned into a partial one")]
    SetAside(#[source] Box<WriteError>),
    #[error("document {key:?} is in doubt since a write of it failed, and cannot be written anew")]
    InDoubt { key: String, source: Box<WriteError> },
}

/// Why a partial blob cannot be opened, checkpointed or finished.
#[derive(Debug, Error)]
pub enum PartialError {
    #[error("piece states of {digest} are those of another size")]
    OtherSize { digest: Digest },
    #[error("{digest} lacks {missing} pieces")]
    Incomplete { digest: Digest, missing: u32 },
    #[error("{path} cannot be used")]
    Io { path: PathBuf, source: io::Error },
    #[error("store cannot write the partial blob")]
    Write(#[from] WriteError),
}

/// Why a piece is not written.
#[derive(Debug, Error)]
pub enum WritePieceError {
    #[error("piece {piece} of {digest} does not match the piece states")]
    Mismatch { digest: Digest, piece: PieceIndex },
    #[error("{path} cannot be written")]
    Io { path: PathBuf, source: io::Error },
    #[error("progress cannot be recorded")]
    Checkpoint(#[source] Box<PartialError>),
}

/// Why the store cannot reserve room.
#[derive(Debug, Error)]
pub enum ReserveError {
    #[error("{} are needed, and the cache holds {} at most", Size(*.bytes), Size(*.max_size))]
    TooLarge { bytes: u64, max_size: u64 },
    #[error(
        "{} are needed, and no more can be evicted: {} of {} are pinned, published here, or in use",
        Size(*.bytes), Size(*.used), Size(*.max_size)
    )]
    CacheFull { bytes: u64, used: u64, max_size: u64 },
    #[error(
        "{} are needed, {} are free on the disk{}",
        Size(*.bytes), Size(*.free), kept_free(*.min_free)
    )]
    DiskFull { bytes: u64, free: u64, min_free: u64 },
    #[error("cache cannot be read")]
    Read(#[from] ReadError),
    #[error("blobs cannot be evicted")]
    Write(#[from] WriteError),
}

fn kept_free(min_free: u64) -> String {
    if min_free == 0 { String::new() } else { format!(", and {} of them have to stay free", Size(min_free)) }
}

/// Why a blob cannot be put into a directory.
#[derive(Debug, Error)]
pub enum PlaceError {
    #[error("blob cannot be read")]
    Read(#[from] ReadError),
    #[error("{path} cannot be written")]
    Io { path: PathBuf, source: io::Error },
}

impl WriteError {
    /// Tells whether the disk is full.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => is_full(source),
            Self::Index(error) => error.is_disk_full(),
            Self::TooLarge(_) | Self::Before(_) => false,
        }
    }
}

impl Fault for ReserveError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::TooLarge { .. } | Self::CacheFull { .. } | Self::DiskFull { .. } => FaultKind::DiskFull,
            Self::Write(source) if source.is_disk_full() => FaultKind::DiskFull,
            Self::Read(_) | Self::Write(_) => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::TooLarge { .. } => {
                "raise cache.max_size in the configuration (`reg config path` names the file), or pull a part: --include"
            }
            Self::CacheFull { .. } => {
                "remove a model with `reg rm REF` or let go of one with `reg unpin REF` (`reg ls` shows which are kept), or \
                 raise cache.max_size in the configuration (`reg config path` names the file)"
            }
            Self::DiskFull { min_free: 0, .. } => {
                "delete other files on that disk, or remove models with `reg rm REF`"
            }
            Self::DiskFull { .. } => {
                "delete other files on that disk, remove models with `reg rm REF`, or lower cache.min_free in the \
                 configuration (`reg config path` names the file)"
            }
            Self::Read(_) | Self::Write(_) => return None,
        };
        Some(hint.to_owned())
    }
}

impl ReserveError {
    /// Returns what a publisher can do: link the files, and not leave a part of them out.
    pub fn publish_hint(&self) -> Option<String> {
        match self {
            Self::TooLarge { .. } => Some(
                "raise cache.max_size in the configuration (`reg config path` names the file)".to_owned(),
            ),
            Self::DiskFull { .. } => self.hint().map(|hint| {
                format!("publish with --link, which keeps no second copy of large files on one disk with the store; or {hint}")
            }),
            _ => self.hint(),
        }
    }
}

impl ImportError {
    /// Tells whether the disk is full.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Write(error) if error.is_disk_full())
    }
}

impl PartialError {
    /// Tells whether the disk is full.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => is_full(source),
            Self::Write(error) => error.is_disk_full(),
            Self::OtherSize { .. } | Self::Incomplete { .. } => false,
        }
    }
}

impl WritePieceError {
    /// Tells whether the disk is full.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => is_full(source),
            Self::Checkpoint(error) => error.is_disk_full(),
            Self::Mismatch { .. } => false,
        }
    }
}

impl PlaceError {
    /// Tells whether the disk is full.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if is_full(source))
    }
}
