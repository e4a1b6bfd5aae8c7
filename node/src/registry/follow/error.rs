//! [`FollowError`]: why a follow is not made, changed or read.

use reg_api::fault::{Fault, FaultKind};
use reg_api::follow::{DELAY_MAX, KEEP_MAX};
use reg_proto::glob::ModelGlob;
use reg_proto::json::JsonError;
use reg_proto::name::Publisher;
use thiserror::Error;

use crate::registry::limits::FOLLOWS_MAX;
use crate::registry::trust::TrustError;
use crate::store::{ReadError, WriteError};

/// Why a follow is not made, changed or read.
#[derive(Debug, Error)]
pub enum FollowError {
    #[error("publisher of the follow is not known")]
    Trust(#[from] TrustError),
    #[error("{publisher}/{models} is not followed")]
    Missing { publisher: Publisher, models: ModelGlob },
    #[error("{FOLLOWS_MAX} follows are there already, which is the most that a node keeps")]
    Full,
    #[error("a follow keeps between 1 and {KEEP_MAX} versions, and waits for at most {DELAY_MAX} s")]
    Settings,
    #[error("follows in the store cannot be read")]
    Read(#[from] ReadError),
    #[error("follow {key} in the store cannot be parsed")]
    Parse { key: String, source: JsonError },
    #[error("follow {key} in the store has format {version}, which a later version of this program writes")]
    Version { key: String, version: u32 },
    #[error("follow cannot be written")]
    Write(#[from] WriteError),
    #[error("task that reads the follows has ended early")]
    Interrupted(#[from] tokio::task::JoinError),
}

impl Fault for FollowError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Trust(source) => source.kind(),
            Self::Missing { .. } => FaultKind::NotFound,
            Self::Full | Self::Settings => FaultKind::Invalid,
            Self::Write(source) if source.is_disk_full() => FaultKind::DiskFull,
            Self::Read(_)
            | Self::Parse { .. }
            | Self::Version { .. }
            | Self::Write(_)
            | Self::Interrupted(_) => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Trust(source) => source.hint(),
            Self::Missing { .. } => Some("`reg follow ls` shows what is followed".to_owned()),
            Self::Parse { key, .. } => {
                Some(format!("`reg follow rm '{key}'` removes it; follow the publisher again then"))
            }
            Self::Version { .. } => Some("upgrade to use it".to_owned()),
            Self::Full => Some("`reg follow rm PUBLISHER/MODELS` ends one".to_owned()),
            _ => None,
        }
    }
}
