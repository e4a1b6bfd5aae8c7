//! [`PullError`]: why a model was not pulled, and what to do about it.

use std::path::PathBuf;

use reg_api::fault::{Fault, FaultKind};
use reg_api::selection::SelectError;
use reg_keys::oms::bundle::BundleError;
use thiserror::Error;
use tokio::task::JoinError;

use super::tensors::TensorsError;
use super::versions::WithVersions;
use crate::registry::domains::DomainError;
use crate::registry::fetch::{BeginError, DownloadError, NAT_HINT, ShareError};
use crate::registry::model::checkout::CheckoutError;
use crate::registry::model::describe::DescribeError;
use crate::registry::publishers::TagsError;
use crate::registry::resolve::{PolicyError, ResolveError};
use crate::registry::trust::TrustError;
use crate::store::{ReserveError, WriteError};

/// Why a model was not pulled, or not completely. Verified pieces stay in the store.
#[derive(Debug, Error)]
pub enum PullError {
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error(transparent)]
    Domain(#[from] DomainError),
    #[error(transparent)]
    Elsewhere(WithVersions),
    #[error(transparent)]
    Select(#[from] SelectError),
    #[error(transparent)]
    Tensors(#[from] TensorsError),
    #[error("model is not complete in the store, and no peer is asked because the node is offline")]
    Offline,
    #[error("there is no room for the model")]
    Reserve(#[from] ReserveError),
    #[error(transparent)]
    Open(#[from] BeginError),
    #[error("fetching stopped")]
    Download(#[from] DownloadError),
    #[error("store cannot keep the model")]
    Write(#[from] WriteError),
    #[error("tag cannot be recorded")]
    Tags(#[from] TagsError),
    #[error(transparent)]
    Describe(#[from] DescribeError),
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error("OpenSSF bundle is refused")]
    Bundle(#[from] BundleError),
    #[error("model is in the cache, but cannot be put into {dest}")]
    Checkout { dest: PathBuf, source: CheckoutError },
    #[error("nothing is fetched, because {dest} cannot be used")]
    Dest { dest: PathBuf, source: CheckoutError },
    #[error("a peer has told of a newer version meanwhile")]
    Superseded,
    #[error("a task ended early")]
    Interrupted(#[from] JoinError),
}

impl From<ShareError> for PullError {
    fn from(error: ShareError) -> Self {
        match error {
            ShareError::Begin(error) => Self::Open(error),
            ShareError::Download(error) => Self::Download(error),
        }
    }
}

impl PullError {
    /// Tells whether the owner of this node has ended the pull.
    pub(super) const fn is_cancelled(&self) -> bool {
        matches!(self, Self::Download(DownloadError::Cancelled))
    }

    /// Tells whether the sources that said they have a version did not send it, so that another version may be used.
    pub(super) const fn is_withheld(&self) -> bool {
        matches!(
            self,
            Self::Download(
                DownloadError::Starved { .. }
                    | DownloadError::Paused { .. }
                    | DownloadError::Unfinished { .. }
                    | DownloadError::BehindNat { .. }
                    | DownloadError::LeftAlone { .. }
                    | DownloadError::OnlyWrongBytes { .. }
            ) | Self::Open(BeginError::States { .. } | BeginError::BehindNat { .. })
        )
    }
}

impl Fault for PullError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Resolve(source) => source.kind(),
            Self::Domain(source) => source.kind(),
            Self::Elsewhere(source) => source.kind(),
            Self::Select(_) => FaultKind::NoMatch,
            Self::Tensors(source) => source.kind(),
            Self::Offline
            | Self::Download(
                DownloadError::Starved { .. }
                | DownloadError::Paused { .. }
                | DownloadError::Unfinished { .. }
                | DownloadError::BehindNat { .. },
            ) => FaultKind::Unreachable,
            Self::Superseded | Self::Download(DownloadError::LeftAlone { .. }) => FaultKind::RetryLater,
            Self::Open(source) => source.kind(),
            Self::Reserve(source) => source.kind(),
            Self::Write(source) if source.is_disk_full() => FaultKind::DiskFull,
            Self::Download(DownloadError::Write { source, .. }) if source.is_disk_full() => {
                FaultKind::DiskFull
            }
            Self::Download(DownloadError::Keep { source, .. }) if source.is_disk_full() => {
                FaultKind::DiskFull
            }
            Self::Checkout { source, .. } | Self::Dest { source, .. } => source.kind(),
            Self::Policy(source) => source.kind(),
            Self::Download(DownloadError::FalseStates { .. } | DownloadError::OnlyWrongBytes { .. })
            | Self::Bundle(_) => FaultKind::Verification,
            Self::Download(DownloadError::Cancelled) => FaultKind::Denied,
            Self::Describe(error) if error.consent_missing().is_some() => FaultKind::Denied,
            Self::Trust(source) => source.kind(),
            Self::Write(_) | Self::Tags(_) | Self::Interrupted(_) | Self::Download(_) | Self::Describe(_) => {
                FaultKind::Internal
            }
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Resolve(source) => source.hint(),
            Self::Domain(source) => source.hint(),
            Self::Elsewhere(source) => source.hint(),
            Self::Select(source) => source.hint(),
            Self::Tensors(source) => source.hint(),
            Self::Reserve(source) => source.hint(),
            Self::Describe(error) if let Some(kind) = error.kinds_missing() => {
                Some(format!("pull it anyway with --allow {kind}, or with --allow-unsafe"))
            }
            Self::Trust(source) => source.hint(),
            Self::Download(DownloadError::LeftAlone { .. }) => {
                Some("run the same command again after that time: what was fetched is kept".into())
            }
            Self::Download(DownloadError::Paused { .. }) => Some(
                "its owner ends that with `reg resume`; then run the same command again: what was fetched is kept; --from \
                 MULTIADDR names another peer"
                    .into(),
            ),
            Self::Download(DownloadError::Cancelled) => {
                Some("run the same command again to go on: what was fetched is kept".into())
            }
            Self::Download(DownloadError::Starved { .. } | DownloadError::Unfinished { .. }) => Some(
                "run the same command again: what was fetched is kept; --from MULTIADDR names a peer".into(),
            ),
            Self::Open(source) => source.hint(),
            Self::Download(DownloadError::BehindNat { .. }) => Some(NAT_HINT.into()),
            Self::Download(DownloadError::FalseStates { .. }) => Some(
                "the publisher has to publish again; nothing of this blob was kept under its name".into(),
            ),
            Self::Checkout { source, .. } | Self::Dest { source, .. } => source.hint(),
            Self::Policy(source) => source.hint(),
            error if error.kind() == FaultKind::DiskFull => {
                Some("free the disk and run the same command again: what was fetched is kept".into())
            }
            _ => None,
        }
    }
}
