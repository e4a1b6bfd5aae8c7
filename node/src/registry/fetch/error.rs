//! [`BeginError`]: why a download cannot begin.

use reg_api::fault::{Fault, FaultKind};
use reg_proto::digest::Digest;
use thiserror::Error;
use tokio::task::JoinError;

use super::downloader::DownloadError;
use crate::store::{PartialError, ReserveError};

/// Why the blobs of a model cannot be fetched at all.
#[derive(Debug, Error)]
pub enum BeginError {
    #[error("piece states that were signed for {blob} could not be fetched from any peer")]
    States { blob: Digest },
    #[error("every peer that has the model ({peers}) is behind a NAT that cannot be traversed")]
    BehindNat { peers: usize },
    #[error("{blob} cannot be written to the cache")]
    Partial { blob: Digest, source: PartialError },
    #[error("there is no room for the model")]
    Reserve(#[from] ReserveError),
    #[error("a task ended early")]
    Interrupted(#[from] JoinError),
}

/// Why a caller does not get its blobs from the downloads that it shares.
#[derive(Debug, Error)]
pub enum ShareError {
    #[error(transparent)]
    Begin(#[from] BeginError),
    #[error(transparent)]
    Download(#[from] DownloadError),
}

impl Fault for BeginError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::States { .. } | Self::BehindNat { .. } => FaultKind::Unreachable,
            Self::Reserve(source) => source.kind(),
            Self::Partial { source, .. } if source.is_disk_full() => FaultKind::DiskFull,
            Self::Partial { .. } | Self::Interrupted(_) => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::BehindNat { .. } => Some(NAT_HINT.into()),
            Self::Reserve(source) => source.hint(),
            error if error.kind() == FaultKind::DiskFull => {
                Some("free the disk and run the same command again: what was fetched is kept".into())
            }
            _ => None,
        }
    }
}

/// The hint for peers behind a NAT that no connection reaches.
pub const NAT_HINT: &str = "forward a port to a node at either end and name it there with --external, or pull from a node \
                            that is reached directly: --from MULTIADDR";
