//! [`ReaderError`]: why a reader does not get the bytes of a blob.

use std::sync::Arc;

use reg_api::fault::{Fault, FaultKind};
use reg_proto::digest::Digest;
use thiserror::Error;

use crate::registry::fetch::DownloadError;
use crate::store::{PartialError, ReadError, ReserveError};

/// Why a reader does not get the bytes of a blob.
#[derive(Debug, Clone, Error)]
pub enum ReaderError {
    #[error("{blob} is not in the store, and no peer is asked because the node is offline")]
    Offline { blob: Digest },
    #[error("{blob} is not complete in the store, and no peer that has it could be reached")]
    NoStates { blob: Digest },
    #[error("no peer that has the rest of {blob} can be reached")]
    Deserted { blob: Digest },
    #[error("no peer has sent anything for {seconds} s")]
    Starved { seconds: u64 },
    #[error("there is no room for {blob}")]
    Reserve { blob: Digest, source: Arc<ReserveError> },
    #[error("{blob} cannot be written to the cache")]
    Partial { blob: Digest, source: Arc<PartialError> },
    #[error("fetching stopped")]
    Download(#[from] Arc<DownloadError>),
    #[error("{blob} cannot be read from the cache")]
    Read { blob: Digest, source: Arc<ReadError> },
    #[error("{blob} is not complete in the store, and fetching is paused")]
    Paused { blob: Digest },
    #[error("too many files are being read at once")]
    Busy,
    /// The room above fetches the blob from another source, and failed. Its error type contains this one, so it is passed on
    /// here as a [`Fault`]: a named type would make a circle of the two rooms.
    #[error(transparent)]
    Source(Arc<dyn Fault + Send + Sync>),
    #[error("a task ended early")]
    Interrupted,
}

impl Fault for ReaderError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Offline { .. } | Self::NoStates { .. } | Self::Deserted { .. } | Self::Starved { .. } => {
                FaultKind::Unreachable
            }
            Self::Reserve { source, .. } => source.kind(),
            Self::Partial { source, .. } if source.is_disk_full() => FaultKind::DiskFull,
            Self::Download(source) => match source.as_ref() {
                DownloadError::FalseStates { .. } | DownloadError::OnlyWrongBytes { .. } => {
                    FaultKind::Verification
                }
                DownloadError::Write { source, .. } if source.is_disk_full() => FaultKind::DiskFull,
                _ => FaultKind::Unreachable,
            },
            Self::Busy | Self::Paused { .. } => FaultKind::RetryLater,
            Self::Source(source) => source.kind(),
            Self::Partial { .. } | Self::Read { .. } | Self::Interrupted => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        if matches!(self, Self::Paused { .. }) {
            return Some("`reg resume` lets it continue".to_owned());
        }
        if let Self::Source(source) = self
            && let Some(hint) = source.hint()
        {
            return Some(hint);
        }
        if let Self::Reserve { source, .. } = self {
            return source.hint();
        }
        match self.kind() {
            FaultKind::Unreachable => {
                Some("try again when a peer that has it can be reached: what was fetched is kept".to_owned())
            }
            FaultKind::DiskFull => Some("free the disk and try again: what was fetched is kept".to_owned()),
            _ => None,
        }
    }
}
