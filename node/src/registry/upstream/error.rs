//! [`UpstreamError`]: why a file of the endpoint cannot be given to a client.

use reg_api::fault::{Fault, FaultKind};
use reg_proto::content::kind::ContentKind;
use reg_proto::piece::BlobTooLarge;
use thiserror::Error;

use crate::endpoint::HubError;
use crate::registry::import::{GatherError, UploadError};
use crate::registry::limits::PLAIN_BYTES_MAX;
use crate::registry::read::ReaderError;
use crate::store::{PartialError, ReadError, ReserveError, ResumeError, WriteError};

/// Why a file of the endpoint cannot be given to a client.
#[derive(Debug, Error)]
pub enum UpstreamError {
    #[error(transparent)]
    Hub(#[from] HubError),
    #[error("endpoint names no digest that proves {path}")]
    NoName { path: String },
    #[error("{path} is not what the endpoint says: the bytes that it sent have another hash")]
    Other { path: String },
    #[error("{path} ended after {found} of {expected} bytes")]
    Short { path: String, expected: u64, found: u64 },
    #[error("{path} has more than {PLAIN_BYTES_MAX} bytes, and is not in LFS")]
    PlainTooLarge { path: String },
    #[error("{path} is too large")]
    TooLarge { path: String, source: BlobTooLarge },
    #[error("{path} is of kind {kind}, which is refused: {reason}")]
    Denied { path: String, kind: ContentKind, reason: &'static str },
    #[error("{path} cannot be read")]
    Unread { path: String, source: std::io::Error },
    #[error("{path} is still being fetched")]
    Coming { path: String },
    #[error("too many files are being fetched at once")]
    Busy,
    #[error("there is no room for the file")]
    Reserve(#[from] ReserveError),
    #[error("partial file cannot be resumed")]
    Resume(#[from] ResumeError),
    #[error("store cannot keep the file")]
    Write(#[from] WriteError),
    #[error("store cannot keep the file")]
    Partial(#[from] PartialError),
    #[error("file cannot be read")]
    Read(#[from] ReadError),
    #[error("blob cannot be kept")]
    Keep(#[from] UploadError),
    #[error(transparent)]
    Reader(#[from] ReaderError),
    #[error("a task ended early")]
    Interrupted,
}

impl From<GatherError> for UpstreamError {
    fn from(error: GatherError) -> Self {
        match error {
            GatherError::Hub(source) => Self::Hub(source),
            GatherError::Write(source) => Self::Write(source),
            GatherError::Interrupted => Self::Interrupted,
        }
    }
}

impl Fault for UpstreamError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Hub(HubError::NotFound { .. }) => FaultKind::NotFound,
            Self::Hub(HubError::Denied { .. } | HubError::Refused { .. }) | Self::Denied { .. } => {
                FaultKind::Denied
            }
            Self::Hub(_) | Self::Short { .. } => FaultKind::Unreachable,
            Self::NoName { .. } | Self::Other { .. } => FaultKind::Verification,
            Self::Coming { .. } | Self::Busy | Self::Resume(ResumeError::Busy { .. }) => {
                FaultKind::RetryLater
            }
            Self::Reserve(source) => source.kind(),
            Self::Write(source) | Self::Resume(ResumeError::Write(source)) if source.is_disk_full() => {
                FaultKind::DiskFull
            }
            Self::Partial(source) if source.is_disk_full() => FaultKind::DiskFull,
            Self::Keep(source) if source.kind() == FaultKind::DiskFull => FaultKind::DiskFull,
            Self::PlainTooLarge { .. } | Self::TooLarge { .. } => FaultKind::Invalid,
            Self::Reader(source) => source.kind(),
            Self::Resume(_)
            | Self::Write(_)
            | Self::Partial(_)
            | Self::Keep(_)
            | Self::Read(_)
            | Self::Unread { .. }
            | Self::Interrupted => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Reader(ReaderError::Source(source)) => source.hint(),
            Self::Reserve(source) => source.hint(),
            Self::Coming { .. } => Some("ask again: what was fetched is kept".to_owned()),
            Self::Denied { kind, .. } => {
                Some(format!("leave the file out, or start the daemon with --allow {kind}"))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn what_a_reader_passes_on_keeps_its_kind_and_hint() {
        for error in [UpstreamError::Coming { path: "a".to_owned() }, UpstreamError::Busy] {
            let (kind, hint) = (error.kind(), error.hint());
            let passed = ReaderError::Source(Arc::new(error));
            assert_eq!((passed.kind(), passed.hint()), (kind, hint.clone()));
            let back = UpstreamError::from(passed);
            assert_eq!((back.kind(), back.hint()), (kind, hint));
        }
    }
}
